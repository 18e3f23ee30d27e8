//! A failing input made small.

use crate::targets::Target;
use crate::watch::watch;

/// Most tries.
const TRIES: usize = 3000;

/// The part of a failure by which it is known again: where it panicked.
pub fn key(failure: &str) -> &str {
    // `src/a.rs:12:5: words`, or words alone.
    match failure.split_once(": ") {
        Some((place, _)) if place.contains(".rs:") => place,
        _ => failure,
    }
}

/// The input with spans left out as long as it fails in the same way.
pub fn shrink(target: &Target, input: &[u8], failure: &str) -> Vec<u8> {
    let fails = |input: &[u8]| {
        let found = watch(target, input).failure;
        found.is_some_and(|found| key(&found) == key(failure))
    };
    let mut smallest = input.to_vec();
    let mut length = smallest.len().div_ceil(2);
    let mut tries = 0;
    while length > 0 && tries < TRIES {
        let mut at = 0;
        while at < smallest.len() && tries < TRIES {
            let end = smallest.len().min(at + length);
            let without = [&smallest[..at], &smallest[end..]].concat();
            tries += 1;
            match fails(&without) {
                true => smallest = without,
                false => at += length,
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
    fn what_does_not_matter_is_left_out() {
        fn run(input: &[u8]) -> Result<String, String> {
            assert!(!(input.contains(&b'a') && input.contains(&b'z')));
            Ok(String::new())
        }
        let target = Target {
            name: "made up",
            run,
            seeds: Vec::new,
            form: Form::Bytes,
            words: &[],
            longest: 100,
        };
        let input = b"the lazy dog jumps over the quick brown fox";
        let failure = watch(&target, input).failure.unwrap();
        assert_eq!(shrink(&target, input, &failure), b"az");
    }
}
