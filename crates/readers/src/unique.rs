//! Names for files in the making that no other process takes, on this host or another.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::SystemTime;

/// Returns a number unique to this call, from the system's random numbers, the process and the time. A
/// process number alone is not enough: in containers every process may be number 1.
pub fn unique_number() -> u64 {
    RandomState::new().hash_one((std::process::id(), SystemTime::now()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_drawn_once() {
        let mut numbers: Vec<u64> = (0..10_000).map(|_| unique_number()).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 10_000);
    }
}
