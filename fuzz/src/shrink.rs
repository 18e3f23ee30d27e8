//! Shrinks a failing input.

use crate::targets::Target;
use crate::watch::watch;

/// Maximum number of runs.
const MAX_TRIES: usize = 3000;

/// Returns the part of a failure message that identifies it: the place of a panic, or the whole message.
pub fn key(failure: &str) -> &str {
    // `src/a.rs:12:5: message`, or a message alone.
    match failure.split_once(": ") {
        Some((place, _)) if place.contains(".rs:") => place,
        _ => failure,
    }
}

/// Removes spans of the input as long as it fails in the same way.
pub fn shrink(target: &Target, input: &[u8], failure: &str) -> Vec<u8> {
    let fails = |input: &[u8]| {
        let other = watch(target, input).failure;
        other.is_some_and(|other| key(&other) == key(failure))
    };
    let mut smallest = input.to_vec();
    let mut length = smallest.len().div_ceil(2);
    let mut tries = 0;
    while length > 0 && tries < MAX_TRIES {
        let mut at = 0;
        while at < smallest.len() && tries < MAX_TRIES {
            let end = smallest.len().min(at + length);
            let without = [&smallest[..at], &smallest[end..]].concat();
            tries += 1;
            if fails(&without) {
                smallest = without
            } else {
                at += length
            }
        }
        length /= 2;
    }
    smallest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mutate::Form;

    #[test]
    fn irrelevant_bytes_are_removed() {
        fn run(input: &[u8]) -> Result<String, String> {
            assert!(!(input.contains(&b'a') && input.contains(&b'z')));
            Ok(String::new())
        }
        let target = Target {
            name: "test",
            run,
            seeds: Vec::new,
            form: Form::Bytes,
            words: &[],
            max_length: 100,
        };
        let input = b"the lazy dog jumps over the quick brown fox";
        let failure = watch(&target, input).failure.unwrap();
        assert_eq!(shrink(&target, input, &failure), b"az");
    }
}
