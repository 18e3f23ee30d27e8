//! Latest share of the rows by time: converts a share to the exact time from which on rows belong to it, by
//! passes over the time column in bounded memory.
//!
//! Times become whole numbers in their order. A pass counts them by their leading bits, and drops one more bit
//! whenever there would be too many counters, so what it finds does not depend on the order of rows. The counter
//! in which the boundary lies is counted alone by the next pass, until it holds one time.

use super::Part;
use super::times::{Moment, time_of};
use crate::find::files;
use crate::plan::{DataPlan, Split};
use crate::rows::Rows;
use crate::source::ReadError;
use ncs_features::Column;
use ncs_features::time::Timestamp;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// Counters that a pass keeps, each about 100 bytes with its place in the tree.
const MOST_COUNTERS: usize = 1 << 18;

/// A split by shares of time, as the split by moments that it is on these files.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// A [`Split::Time`].
    pub split: Split,
    /// The share of the rows that each part gets: training, validation, test.
    pub shares: [f64; 3],
    /// Number of rows.
    pub rows: u64,
}

impl Resolved {
    /// `validation: rows from 2024-01-05 on by time (10.0 % of 84000 rows)`
    pub fn note(&self) -> String {
        let Split::Time {
            column,
            valid_from,
            test_from,
            ..
        } = &self.split
        else {
            return String::new();
        };
        let percent = |part: Part| 100.0 * self.shares[part as usize];
        let test = test_from
            .map(|from| format!("; test: rows from {from} on ({:.1} %)", percent(Part::Test)));
        format!(
            "validation: the rows from {valid_from} on by column \"{column}\" ({:.1} % of {} rows){}",
            percent(Part::Valid),
            self.rows,
            test.unwrap_or_default()
        )
    }
}

/// Why a share of time cannot be made a boundary.
#[derive(Debug, thiserror::Error)]
pub enum LatestError {
    /// A file cannot be read, or a row has no time and none may be broken.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// There is no such boundary.
    #[error("{0}")]
    NoBoundary(String),
    /// The caller asked to stop.
    #[error("stopped while times were read; nothing is lost")]
    Stopped,
}

/// Returns the boundaries of a [`Split::Latest`] on the training files of a plan; `None` for every other
/// split. `on` receives the rows and the bytes on disk that a pass has read so far.
///
/// A boundary is a time of some row, so that rows of one time are in one part. It is the time from which on
/// the share of the rows is nearest to the requested share; of two equally near times, the earlier one. Rows
/// without a time are left out where rows may be broken.
///
/// # Errors
/// A file cannot be read, a row has no time and no rows may be broken, times are partly numbers and partly
/// instants, or there are too few different times.
pub fn resolve(
    plan: &DataPlan,
    on: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
) -> Result<Option<Resolved>, LatestError> {
    let Split::Latest {
        column,
        valid,
        test,
        format,
    } = &plan.split
    else {
        return Ok(None);
    };
    let mut times = Times { plan, on };
    let all = times.count(None)?;
    let n_rows = all.rows;
    let mut boundary = |share: f64| times.boundary(&all, share * n_rows as f64);
    let test_at = (*test > 0.0)
        .then(|| boundary(*test))
        .transpose()?
        .flatten();
    let valid_at = boundary(valid + test)?;
    let few = || {
        LatestError::NoBoundary(format!(
            "the rows have too few different times in column \"{column}\" to divide them; split by hash or row, or \
             name validation files"
        ))
    };
    let valid_at = valid_at.ok_or_else(few)?;
    if *test > 0.0 && test_at.is_none_or(|test| test.key <= valid_at.key) {
        return Err(few());
    }
    let n_test = test_at.map_or(0, |at| at.rows);
    let shares = [n_rows - valid_at.rows, valid_at.rows - n_test, n_test];
    Ok(Some(Resolved {
        split: Split::Time {
            column: column.clone(),
            valid_from: all.kind.moment(valid_at.key),
            test_from: test_at.map(|at| all.kind.moment(at.key)),
            format: format.clone(),
        },
        shares: shares.map(|rows| rows as f64 / n_rows as f64),
        rows: n_rows,
    }))
}

/// Type of the times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Number,
    Instant,
}

/// A time as a whole number: in the order of the times of its kind.
type Key = u128;

impl Kind {
    fn of(time: Moment) -> (Kind, Key) {
        match time {
            Moment::Number(number) => {
                // Adding 0 makes -0 the same time as 0. The bits of floating-point numbers are in their order up to the
                // sign: negative ones are turned round.
                let bits = (number + 0.0).to_bits();
                let negative = bits >> 63 == 1;
                let key = if negative { !bits } else { bits | 1 << 63 };
                (Kind::Number, u128::from(key))
            }
            Moment::Instant(time) => {
                let seconds = (time.whole_seconds() as u64) ^ (1 << 63);
                (
                    Kind::Instant,
                    u128::from(seconds) << 32 | u128::from(time.nanos()),
                )
            }
        }
    }

    fn moment(self, key: Key) -> Moment {
        match self {
            Kind::Number => {
                let key = key as u64;
                let bits = if key >> 63 == 1 {
                    key & !(1 << 63)
                } else {
                    !key
                };
                Moment::Number(f64::from_bits(bits))
            }
            Kind::Instant => {
                let seconds = ((key >> 32) as u64 ^ (1 << 63)) as i64;
                Moment::Instant(Timestamp::new(seconds, key as u32))
            }
        }
    }
}

/// A boundary, and the number of rows from it on.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Boundary {
    key: Key,
    rows: u64,
}

/// Times with the same leading bits.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Counter {
    rows: u64,
    first: Key,
    last: Key,
}

/// Counts of times.
#[derive(Clone, Debug)]
struct Counts {
    kind: Kind,
    /// Bits that are dropped.
    shift: u32,
    counters: BTreeMap<Key, Counter>,
    most: usize,
    rows: u64,
}

impl Counts {
    fn new(kind: Kind, most: usize) -> Counts {
        Counts {
            kind,
            shift: 0,
            counters: BTreeMap::new(),
            most,
            rows: 0,
        }
    }

    fn add(&mut self, key: Key) {
        self.rows += 1;
        let one = Counter {
            rows: 1,
            first: key,
            last: key,
        };
        join(&mut self.counters, key >> self.shift, one);
        while self.counters.len() > self.most {
            self.shift += 1;
            for (place, counter) in std::mem::take(&mut self.counters) {
                join(&mut self.counters, place >> 1, counter);
            }
        }
    }
}

fn join(counters: &mut BTreeMap<Key, Counter>, place: Key, other: Counter) {
    let counter = counters
        .entry(place)
        .or_insert(Counter { rows: 0, ..other });
    counter.rows += other.rows;
    counter.first = counter.first.min(other.first);
    counter.last = counter.last.max(other.last);
}

/// Finds the counter that holds the boundary of `wanted` rows: the latest counter from whose beginning on
/// there are at least that many rows. Also returns the number of rows after it and the first time after it.
fn search(counts: &Counts, wanted: f64, after: u64) -> Option<(Counter, u64, Option<Key>)> {
    let (mut later, mut next) = (after, None);
    for counter in counts.counters.values().rev() {
        if (later + counter.rows) as f64 >= wanted {
            return Some((*counter, later, next));
        }
        later += counter.rows;
        next = Some(counter.first);
    }
    None
}

struct Times<'a> {
    plan: &'a DataPlan,
    on: &'a mut dyn FnMut(u64, u64) -> ControlFlow<()>,
}

impl Times<'_> {
    /// Returns the time from which on there are about `wanted` rows; `None` if all rows have one time.
    fn boundary(&mut self, all: &Counts, wanted: f64) -> Result<Option<Boundary>, LatestError> {
        let begin = all.counters.values().next().map(|counter| counter.first);
        let mut found = search(all, wanted, 0);
        // The first time after the counters that a pass was about.
        let mut beyond = None;
        while let Some((counter, after, next)) = found {
            let next = next.or(beyond);
            if counter.first == counter.last {
                return Ok(nearest(counter, after, next, wanted, begin));
            }
            let inside = self.count(Some((all.kind, counter.first, counter.last)))?;
            beyond = next;
            found = search(&inside, wanted, after);
        }
        Ok(None)
    }

    /// Counts the times of all rows, or those of a kind from one to another, both included.
    fn count(&mut self, within: Option<(Kind, Key, Key)>) -> Result<Counts, LatestError> {
        let plan = self.plan;
        let (Split::Latest { column, format, .. }, files) =
            (&plan.split, files(&plan.train, &plan.root)?)
        else {
            unreachable!("only shares of time are resolved");
        };
        let mut rows = Rows::open(files, &plan.reading, vec![column.clone()]);
        let mut counts: Option<Counts> = None;
        let mut n_rows = 0;
        while let Some(read) = rows.next_block()? {
            let block = &read.block;
            let times = block.require(column, "the split");
            let times: &Column = times.map_err(|error| read.error(error))?;
            for row in 0..block.n_rows {
                let time = match time_of(times, row, format.as_ref()) {
                    Ok(time) => time,
                    Err(_) if plan.reading.max_broken_share > 0.0 => continue,
                    Err(error) => return Err(read.split_error(error).into()),
                };
                let (kind, key) = Kind::of(time);
                let counts = counts.get_or_insert_with(|| Counts::new(kind, MOST_COUNTERS));
                if counts.kind != kind {
                    return Err(mixed(
                        column,
                        &read.file.display().to_string(),
                        read.in_file(row as u64 + 1),
                    ));
                }
                if within.is_none_or(|(_, first, last)| (first..=last).contains(&key)) {
                    counts.add(key);
                }
            }
            n_rows += block.n_rows as u64;
            if (self.on)(n_rows, read.bytes_read).is_break() {
                return Err(LatestError::Stopped);
            }
        }
        let kind = within.map_or(Kind::Number, |(kind, ..)| kind);
        Ok(counts.unwrap_or_else(|| Counts::new(kind, MOST_COUNTERS)))
    }
}

/// Returns the nearer of two times: the one from which on there are at least as many rows as wanted, and the
/// next one with fewer. Never returns the first time of all, before which there are no training rows.
fn nearest(
    time: Counter,
    after: u64,
    next: Option<Key>,
    wanted: f64,
    begin: Option<Key>,
) -> Option<Boundary> {
    let at = Boundary {
        key: time.first,
        rows: after + time.rows,
    };
    let later = next.map(|key| Boundary { key, rows: after });
    let distance = |at: &Boundary| (at.rows as f64 - wanted).abs();
    let both = [(Some(at.key) != begin).then_some(at), later];
    let both = both.into_iter().flatten();
    both.min_by(|a, b| distance(a).total_cmp(&distance(b)))
}

fn mixed(column: &str, file: &str, row: u64) -> LatestError {
    LatestError::NoBoundary(format!(
        "{file}: row {row}: column \"{column}\" holds numbers in some rows and dates or time stamps in others; \
         write all of them in one form, or state valid_from"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Returns the boundary by sorting all times.
    fn by_sorting(times: &[Key], wanted: f64) -> Option<Boundary> {
        let mut different = times.to_vec();
        different.sort_unstable();
        different.dedup();
        let rows = |from: Key| times.iter().filter(|&&time| time >= from).count() as u64;
        let all = different.iter().skip(1).map(|&key| Boundary {
            key,
            rows: rows(key),
        });
        all.min_by(|a, b| {
            let distance = |at: &Boundary| (at.rows as f64 - wanted).abs();
            distance(a).total_cmp(&distance(b))
        })
    }

    /// Returns the boundary by passes with at most `most` counters.
    fn by_passes(times: &[Key], wanted: f64, most: usize) -> (Option<Boundary>, usize) {
        let count = |first: Key, last: Key| {
            let mut counts = Counts::new(Kind::Number, most);
            let inside = times.iter().filter(|key| (first..=last).contains(*key));
            inside.for_each(|&key| counts.add(key));
            counts
        };
        let all = count(0, Key::MAX);
        let begin = all.counters.values().next().map(|counter| counter.first);
        let (mut found, mut beyond, mut passes) = (search(&all, wanted, 0), None, 1);
        while let Some((counter, after, next)) = found {
            let next = next.or(beyond);
            if counter.first == counter.last {
                return (nearest(counter, after, next, wanted, begin), passes);
            }
            passes += 1;
            beyond = next;
            found = search(&count(counter.first, counter.last), wanted, after);
        }
        (None, passes)
    }

    proptest! {
        #[test]
        fn few_counters_find_what_sorting_finds(
            times in prop::collection::vec(0u64..400, 1..300),
            spread in 0u32..50,
            share in 0.01f64..0.9,
            most in 2usize..40,
        ) {
            let times: Vec<Key> = times.iter().map(|&time| Key::from(time) << spread).collect();
            let wanted = share * times.len() as f64;
            let (found, passes) = by_passes(&times, wanted, most);
            prop_assert_eq!(found, by_sorting(&times, wanted));
            // A pass that halves what is left at least, of 58 bits.
            prop_assert!(passes <= 60);
        }

        #[test]
        fn keys_keep_times_and_their_order(a in -1e12f64..1e12, b in -1e12f64..1e12, nanos in 0u32..1_000_000_000) {
            let numbers = [a, b].map(Moment::Number);
            let instants = [a, b].map(|x| Moment::Instant(Timestamp::new(x as i64, nanos)));
            for times in [numbers, instants] {
                let [(kind, first), (_, second)] = times.map(Kind::of);
                prop_assert_eq!(kind.moment(first), times[0]);
                prop_assert_eq!(times[0].is_from(times[1]), Some(first >= second));
            }
        }
    }

    #[test]
    fn no_boundary_lies_before_all_rows() {
        let times: Vec<Key> = [vec![3; 60], vec![9; 40]].concat();
        let check = |wanted, expected| assert_eq!(by_passes(&times, wanted, 100).0, expected);
        let at_nine = Some(Boundary { key: 9, rows: 40 });
        check(10.0, at_nine);
        check(95.0, at_nine);
        assert_eq!(by_passes(&[5; 10], 1.0, 100).0, None);
        assert_eq!(by_passes(&[], 1.0, 100).0, None);
    }

    #[test]
    fn zero_is_one_time_whatever_its_sign() {
        assert_eq!(
            Kind::of(Moment::Number(-0.0)),
            Kind::of(Moment::Number(0.0))
        );
    }
}
