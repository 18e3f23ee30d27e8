//! Crosses: a category of its own for each combination of the values of two or three features, such as a user and a
//! category of items, by hash.
//!
//! A cross is computed from the ids of its parts, not from their texts, so that it follows wherever these do: from the
//! context of a request and from its candidates. It is missing where a part is, and unknown where a part
//! is a value outside of a vocabulary.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Numbers of features that a cross can be of.
pub const PARTS: std::ops::RangeInclusive<usize> = 2..=3;

/// Combinations of values as a category.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cross {
    /// The features, by their place in the schema. Each has one id a row.
    pub of: Vec<usize>,
    /// Number of buckets, at least 1: row `1 + hash mod buckets` of the table, 0 for "missing", `buckets + 1` for
    /// "unknown".
    pub buckets: u32,
}

impl Cross {
    /// Returns the row of unknown combinations.
    pub fn unknown(&self) -> u32 {
        self.buckets + 1
    }

    /// Returns the id of a combination of ids, each with that of its unknown values.
    pub(crate) fn id(&self, parts: impl Iterator<Item = (u32, Option<u32>)>) -> u32 {
        let mut bytes = [0; 4 * *PARTS.end()];
        let (mut n, mut is_unknown) = (0, false);
        for (id, unknown) in parts {
            if id == 0 {
                return 0;
            }
            is_unknown |= Some(id) == unknown;
            bytes[n..n + 4].copy_from_slice(&id.to_le_bytes());
            n += 4;
        }
        if is_unknown {
            self.unknown()
        } else {
            1 + (xxh3_64_with_seed(&bytes[..n], 0) % u64::from(self.buckets.max(1))) as u32
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(parts: &[(u32, Option<u32>)]) -> u32 {
        let cross = Cross {
            of: vec![],
            buckets: 1000,
        };
        cross.id(parts.iter().copied())
    }

    #[test]
    fn a_combination_has_an_id_of_its_own() {
        let (a, b) = (
            id(&[(2, Some(1)), (3, None)]),
            id(&[(3, Some(1)), (2, None)]),
        );
        assert!(a != b && (1..=1000).contains(&a) && (1..=1000).contains(&b));
        assert_eq!(a, id(&[(2, Some(1)), (3, None)]));
        assert_ne!(id(&[(2, None), (3, None), (4, None)]), a);
    }

    #[test]
    fn missing_parts_make_it_missing_and_unknown_ones_unknown() {
        assert_eq!(id(&[(0, Some(1)), (3, None)]), 0);
        assert_eq!(id(&[(1, Some(1)), (0, None)]), 0);
        assert_eq!(id(&[(1, Some(1)), (3, None)]), 1001);
        assert_eq!(id(&[(5, None), (9, Some(9))]), 1001);
    }
}
