//! Counts by key, as they lie in memory and in a manifest.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Keys that a count keeps. More, which only pairs of columns with millions of values have, are left out in the
/// order in which the rows come; they read as missing.
pub const MOST_KEYS: usize = 2_000_000;

/// Known labels and positive ones of each key; cheap to clone.
///
/// As text it is base64 of the number of keys, then for each key its distance from the one before, its known
/// labels and its positive ones, as integers of 7 bits a byte, low ones first: four to eight characters a key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Counts {
    table: Arc<Table>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Table {
    /// Ascending, distinct.
    keys: Vec<u64>,
    /// Known labels and positive ones.
    counts: Vec<(u32, u32)>,
}

impl Counts {
    /// Counts by ascending keys.
    pub(crate) fn new(sorted: impl Iterator<Item = (u64, (u32, u32))>) -> Counts {
        let (keys, counts) = sorted.unzip();
        Counts {
            table: Arc::new(Table { keys, counts }),
        }
    }

    /// Returns the known labels of a key and the positive ones.
    pub fn get(&self, key: u64) -> Option<(u32, u32)> {
        let place = self.table.keys.binary_search(&key).ok()?;
        Some(self.table.counts[place])
    }

    /// Iterates over the keys, ascending, with their known labels and positive ones.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, (u32, u32))> + '_ {
        let table = &self.table;
        table.keys.iter().copied().zip(table.counts.iter().copied())
    }

    /// Returns the counts of the keys that are kept.
    pub(crate) fn filtered(&self, is_kept: impl Fn(u64) -> bool) -> Counts {
        Counts::new(self.iter().filter(|(key, _)| is_kept(*key)))
    }

    /// Returns the number of keys.
    pub fn len(&self) -> usize {
        self.table.keys.len()
    }

    /// Returns true if there are no counts.
    pub fn is_empty(&self) -> bool {
        self.table.keys.is_empty()
    }

    /// Returns the number of known labels of all keys.
    pub fn rows(&self) -> u64 {
        let known = self.table.counts.iter().map(|(known, _)| u64::from(*known));
        known.sum()
    }

    /// Returns the memory size of the counts in bytes.
    pub fn n_bytes(&self) -> usize {
        16 * self.len()
    }
}

impl From<Counts> for String {
    fn from(counts: Counts) -> String {
        let table = &*counts.table;
        let mut bytes = Vec::new();
        push(table.keys.len() as u64, &mut bytes);
        let mut before = 0;
        for (&key, &(known, positives)) in table.keys.iter().zip(&table.counts) {
            push(key - before, &mut bytes);
            push(u64::from(known), &mut bytes);
            push(u64::from(positives), &mut bytes);
            before = key;
        }
        STANDARD_NO_PAD.encode(bytes)
    }
}

impl TryFrom<String> for Counts {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Counts, Self::Error> {
        const WRONG: &str = "invalid counts of the past";
        let bytes = STANDARD_NO_PAD.decode(text).map_err(|_| WRONG)?;
        let table = read(&mut bytes.iter().copied()).ok_or(WRONG)?;
        Ok(Counts {
            table: Arc::new(table),
        })
    }
}

fn read(bytes: &mut impl ExactSizeIterator<Item = u8>) -> Option<Table> {
    let n_keys = usize::try_from(take(bytes)?).ok()?;
    // A key takes three bytes at least.
    if n_keys > MOST_KEYS || n_keys > bytes.len() / 3 {
        return None;
    }
    let mut table = Table::default();
    let mut before: Option<u64> = None;
    for _ in 0..n_keys {
        let distance = take(bytes)?;
        let key = before.unwrap_or(0).checked_add(distance)?;
        let (known, positives) = (take(bytes)?, take(bytes)?);
        let ascends = before.is_none_or(|before| before < key);
        if !ascends || positives > known {
            return None;
        }
        table.keys.push(key);
        table
            .counts
            .push((known.try_into().ok()?, positives.try_into().ok()?));
        before = Some(key);
    }
    bytes.next().is_none().then_some(table)
}

/// Appends a number in seven bits per byte, low bits first; the top bit marks that more bytes follow.
fn push(mut number: u64, bytes: &mut Vec<u8>) {
    while number > 0x7F {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn take(bytes: &mut impl Iterator<Item = u8>) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = bytes.next()?;
        let part = u64::from(byte & 0x7F);
        if part << shift >> shift != part {
            return None;
        }
        number |= part << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn counts_come_back_as_they_were(
            rows in prop::collection::btree_map(any::<u64>(), (any::<u32>(), any::<u32>()), 0..50),
        ) {
            let sound = rows.into_iter().map(|(key, (a, b))| (key, (a.max(b), a.min(b))));
            let counts = Counts::new(sound);
            let text = String::from(counts.clone());
            prop_assert_eq!(Counts::try_from(text), Ok(counts));
        }

        #[test]
        fn texts_that_are_no_counts_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let text = STANDARD_NO_PAD.encode(&bytes);
            if let Ok(counts) = Counts::try_from(text.clone()) {
                prop_assert_eq!(Counts::try_from(String::from(counts.clone())), Ok(counts));
            }
        }
    }

    #[test]
    fn what_is_cut_or_absurd_is_refused() {
        let counts = Counts::new([(3, (5, 1)), (900, (1, 0))].into_iter());
        assert_eq!(counts.get(900), Some((1, 0)));
        assert_eq!(counts.get(4), None);
        let text = String::from(counts);
        assert!(Counts::try_from(text[..text.len() - 2].to_owned()).is_err());
        assert!(Counts::try_from("!".to_owned()).is_err());
        let mut absurd = Vec::new();
        push(1 << 40, &mut absurd);
        assert!(Counts::try_from(STANDARD_NO_PAD.encode(absurd)).is_err());
        // One positive label of none known.
        assert!(Counts::try_from(STANDARD_NO_PAD.encode([1, 0, 0, 1])).is_err());
    }
}
