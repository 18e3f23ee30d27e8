//! Shares of rows and ids that were found, and the ages of records.

use super::Lookup;
use ncs_features::Column;
use ncs_features::lookup::{FeatureTable, Place};
use ncs_features::time::Timestamp;
use ncs_features::value::TextBuffer;
use std::collections::HashSet;

/// Ages that are kept.
const MOST_AGES: usize = 1 << 16;

/// Counts of looked-up rows.
#[derive(Clone, Debug, Default)]
pub struct LookupTally {
    /// Rows.
    pub rows: u64,
    /// Rows with a record.
    pub found: u64,
    /// Rows without an id.
    pub without_id: u64,
    /// Rows whose id is in no record.
    pub unknown: u64,
    /// Rows before the first record of their id, or without a moment.
    pub early: u64,
    /// True for the records that were found.
    seen: Vec<bool>,
    /// Hashes of ids that are in no record.
    unknown_ids: HashSet<u64>,
    ages: Ages,
}

impl LookupTally {
    /// Counts nothing yet.
    pub(super) fn new(table: &FeatureTable) -> LookupTally {
        LookupTally {
            seen: vec![false; table.n_ids()],
            ..LookupTally::default()
        }
    }

    /// Counts rows by their places.
    pub(super) fn add(
        &mut self,
        table: &FeatureTable,
        ids: &Column,
        places: &[Place],
        moment: impl Fn(usize) -> Option<Timestamp>,
    ) {
        let mut buffer = TextBuffer::default();
        for (row, place) in places.iter().enumerate() {
            self.rows += 1;
            match *place {
                Place::NoId => self.without_id += 1,
                Place::Early => self.early += 1,
                Place::Unknown => {
                    self.unknown += 1;
                    let id = buffer.text(&ids.values, row);
                    self.unknown_ids.insert(hashed(id));
                }
                Place::Record(record) => {
                    self.found += 1;
                    self.seen[table.id_of(record)] = true;
                    if let (Some(time), Some(moment)) = (table.time(record), moment(row)) {
                        self.ages.add(moment.seconds_f64() - time.seconds_f64());
                    }
                }
            }
        }
    }

    /// Returns a sentence on what was found; `None` if no row was looked up.
    pub(super) fn note(&self, lookup: &Lookup, table: &FeatureTable) -> Option<String> {
        if self.rows == 0 {
            return None;
        }
        let n_seen = self.seen.iter().filter(|seen| **seen).count();
        let n_ids = n_seen + self.unknown_ids.len();
        let share = |n: u64, of: u64| 100.0 * n as f64 / of.max(1) as f64;
        let mut text = format!(
            "features by {} ({}: {} ids, {} records, {:.1} MiB in memory): found for {:.1} % of {} rows",
            lookup.key,
            lookup.files.join(", "),
            table.n_ids(),
            table.n_records(),
            table.n_bytes() as f64 / f64::from(1 << 20),
            share(self.found, self.rows),
            self.rows,
        );
        if n_ids > 0 {
            let of_ids = share(n_seen as u64, n_ids as u64);
            text += &format!(" and {of_ids:.1} % of {n_ids} ids");
        }
        for (n, what) in [
            (self.unknown, "have an id that is not there"),
            (self.early, "are earlier than the first record of their id"),
            (self.without_id, "have no id"),
        ] {
            if n > 0 {
                text += &format!("; {:.1} % {what}", share(n, self.rows));
            }
        }
        if let Some([half, most]) = self.ages.quantiles([0.5, 0.9]) {
            text += &format!(
                "; half of the records are at most {} old, nine of ten {}",
                duration(half),
                duration(most)
            );
        }
        Some(text)
    }
}

fn hashed(id: &[u8]) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}

/// Formats seconds: `12.5 hours`.
fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 120.0 => format!("{s:.0} seconds"),
        s if s < 7_200.0 => format!("{:.0} minutes", s / 60.0),
        s if s < 172_800.0 => format!("{:.1} hours", s / 3_600.0),
        s => format!("{:.1} days", s / 86_400.0),
    }
}

/// Ages in seconds: every one, then every other one and so on, so that they stay few.
#[derive(Clone, Debug)]
struct Ages {
    kept: Vec<f64>,
    n: u64,
    stride: u64,
}

impl Default for Ages {
    fn default() -> Ages {
        Ages {
            kept: Vec::new(),
            n: 0,
            stride: 1,
        }
    }
}

impl Ages {
    fn add(&mut self, age: f64) {
        if self.n.is_multiple_of(self.stride) {
            if self.kept.len() == MOST_AGES {
                let mut place = 0;
                self.kept.retain(|_| {
                    place += 1;
                    place % 2 == 1
                });
                self.stride *= 2;
            }
            if self.n.is_multiple_of(self.stride) {
                self.kept.push(age);
            }
        }
        self.n += 1;
    }

    /// Returns the ages that these shares of all do not exceed; `None` if there are none.
    fn quantiles<const N: usize>(&self, shares: [f64; N]) -> Option<[f64; N]> {
        let mut sorted = self.kept.clone();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().checked_sub(1)?;
        Some(shares.map(|share| sorted[(share * last as f64).round() as usize]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_ages_are_those_of_a_sample() {
        let mut ages = Ages::default();
        assert_eq!(ages.quantiles([0.5]), None);
        let n = 3 * MOST_AGES;
        (0..n).for_each(|age| ages.add(age as f64));
        assert!(ages.kept.len() <= MOST_AGES);
        let [half, most] = ages.quantiles([0.5, 0.9]).unwrap();
        assert!((half / n as f64 - 0.5).abs() < 1e-3, "{half}");
        assert!((most / n as f64 - 0.9).abs() < 1e-3, "{most}");
    }

    #[test]
    fn durations_have_a_unit_of_their_size() {
        let check = |seconds, expected: &str| assert_eq!(duration(seconds), expected);
        check(0.0, "0 seconds");
        check(600.0, "10 minutes");
        check(90_000.0, "25.0 hours");
        check(864_000.0, "10.0 days");
    }
}
