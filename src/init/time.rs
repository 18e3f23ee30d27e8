//! Which column tells when a row happened, and from where on rows are validation.

use ncs_features::value::TextBuffer;
use ncs_readers::{DataPlan, ReadError, Rows, files};

use super::names;
use super::profile::Profile;
use super::shown_path;
use crate::progress::Progress;

/// Moments of the rows that are kept at most; of more rows, every second one is left out, again and again.
const MOMENTS: usize = 2_000_000;
/// The share of the rows that is validation.
const VALID: f64 = 0.1;
/// A boundary between days may lie so that more of the rows come after it, but not more than this.
const MOST_VALID: f64 = 0.35;

/// Whether the values are moments.
pub(super) fn is_time(profile: &Profile) -> bool {
    let is_iso = |text: &[u8], _| is_iso(text);
    if profile.share(is_iso) > 0.99 {
        return true;
    }
    let is_named = names::is_time(&profile.name);
    if profile.numbers.iter().any(|x| x.is_nan()) || profile.counts.len() < 3 {
        return false;
    }
    let increases = || increases(profile) && profile.counts.len() >= 10;
    let named = names::named(&profile.name);
    if epoch_or_date(&profile.numbers) {
        is_named || named.is_none() && increases()
    } else {
        named == Some(names::Named::Time) && increases()
    }
}

/// Whether all numbers may be moments from 2000 to 2050, in seconds or smaller units, or days as `20261130`.
fn epoch_or_date(numbers: &[f64]) -> bool {
    const YEARS: [f64; 2] = [946_684_800.0, 2_524_608_000.0];
    let is_date = |x: &f64| {
        let (month, day) = ((x / 100.0).floor() % 100.0, x % 100.0);
        (19_900_101.0..20_501_231.0).contains(x)
            && (1.0..=12.0).contains(&month)
            && (1.0..=31.0).contains(&day)
    };
    let of_unit = |unit: f64| {
        let span = YEARS[0] * unit..YEARS[1] * unit;
        numbers.iter().all(|x| span.contains(x))
    };
    [1.0, 1e3, 1e6, 1e9].into_iter().any(of_unit) || numbers.iter().all(is_date)
}

/// Whether the numbers or texts never fall from row to row, with few exceptions, and rise.
fn increases(profile: &Profile) -> bool {
    let key = |row: usize| {
        let value = *profile.row(row).first()? as usize;
        let (text, _) = profile.counts.get_index(value)?;
        Some((profile.numbers[value], &**text))
    };
    let keys: Vec<_> = (0..profile.n_rows()).filter_map(key).collect();
    let order = |a: &(f64, &[u8]), b: &(f64, &[u8])| {
        if a.0.is_nan() {
            a.1.cmp(b.1)
        } else {
            a.0.total_cmp(&b.0)
        }
    };
    let falls = keys
        .windows(2)
        .filter(|pair| order(&pair[0], &pair[1]).is_gt());
    let rises = keys
        .first()
        .zip(keys.last())
        .is_some_and(|(first, last)| order(first, last).is_lt());
    rises && falls.count() * 1000 <= keys.len()
}

/// `2026-11-30`, and what may follow in ISO 8601.
fn is_iso(text: &[u8]) -> bool {
    let Some((date, rest)) = text.split_at_checked(10) else {
        return false;
    };
    let is_digit = |at: usize| date[at].is_ascii_digit();
    let is_date =
        [0, 1, 2, 3, 5, 6, 8, 9].into_iter().all(is_digit) && date[4] == b'-' && date[7] == b'-';
    let is_clock = match rest.split_first() {
        None => true,
        Some((between, clock)) => {
            matches!(between, b'T' | b't' | b' ')
                && clock.len() >= 5
                && clock
                    .iter()
                    .all(|byte| byte.is_ascii_digit() || b":.,+-ZzUTC ".contains(byte))
        }
    };
    is_date && is_clock
}

/// Whether the values are dates such as `11/30/2026`.
pub(super) fn is_other_date(profile: &Profile) -> bool {
    let is_date = |text: &[u8], _| {
        let mut parts = text.split(|byte| b"/. -".contains(byte));
        let is_part = |part: Option<&[u8]>| {
            part.is_some_and(|part| {
                matches!(part.len(), 1 | 2 | 4) && part.iter().all(u8::is_ascii_digit)
            })
        };
        text.len() >= 8 && text.contains(&b'/') && (0..3).all(|_| is_part(parts.next()))
    };
    profile.share(is_date) > 0.95
}

/// What makes one time column more likely than another to tell when the row happened; `None` for one that
/// cannot divide rows.
pub(super) fn rank(profile: &Profile) -> Option<(bool, bool, usize)> {
    let may_be = is_time(profile) && profile.nulls == 0 && !names::is_of_a_thing(&profile.name);
    may_be.then(|| {
        let is_named = names::named(&profile.name) == Some(names::Named::Time);
        (increases(profile), is_named, profile.counts.len())
    })
}

/// A value of a time column.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Moment {
    /// A number.
    Number(f64),
    /// A date, or a date and a time of day.
    Text(String),
}

impl Moment {
    /// A value as its column holds it.
    pub(super) fn of(text: &[u8]) -> Option<Moment> {
        let text = std::str::from_utf8(text).ok()?;
        if is_iso(text.as_bytes()) {
            return Some(Moment::Text(text.to_owned()));
        }
        let number = text.parse().ok().filter(|x: &f64| x.is_finite());
        number.map(Moment::Number)
    }

    pub(super) fn is_before(&self, other: &Moment) -> bool {
        match (self, other) {
            (Moment::Number(one), Moment::Number(other)) => one < other,
            (Moment::Text(one), Moment::Text(other)) => one < other,
            _ => false,
        }
    }

    /// As TOML.
    pub(super) fn to_toml(&self) -> String {
        match self {
            Moment::Number(x) => x.to_string(),
            Moment::Text(text) => toml::Value::String(text.clone()).to_string(),
        }
    }
}

/// From where on rows are validation.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Boundary {
    pub(super) from: Moment,
    /// The share of the rows from there on.
    pub(super) share: f64,
}

/// Reads the time column of every row of `data.train`. The error says why it divides them badly.
///
/// # Errors
/// A file cannot be read.
pub(super) fn boundary(
    data: &DataPlan,
    column: &str,
    progress: Progress,
) -> Result<Result<Boundary, String>, ReadError> {
    let mut reading = data.reading.clone();
    reading.max_broken_share = 0.999;
    let mut rows = Rows::open(
        files(&data.train, &data.root)?,
        &reading,
        vec![column.to_owned()],
    );
    let mut job = progress.job("read times", None, "rows");
    let mut moments = Moments::default();
    while let Some(block) = rows.next_block()? {
        job.advance(block.block.n_rows as u64);
        let (Some(times), mut buffer) = (block.block.column(column), TextBuffer::default()) else {
            continue;
        };
        for row in 0..block.block.n_rows {
            let text = times
                .range(row)
                .next()
                .map(|i| buffer.text(&times.values, i).trim_ascii());
            let Some(moment) = text.and_then(Moment::of) else {
                return Ok(Err(format!(
                    "{column} has no time in row {} of {}",
                    block.in_file(row as u64 + 1),
                    shown_path(&block.file)
                )));
            };
            moments.add(moment);
        }
    }
    job.finish();
    Ok(moments.boundary(column))
}

/// The moments of some rows: all of them, every second one, every fourth one, ...
#[derive(Default)]
struct Moments {
    kept: Vec<Moment>,
    n_rows: usize,
    /// Rows between two that are kept, less one.
    skips: usize,
}

impl Moments {
    fn add(&mut self, moment: Moment) {
        if self.n_rows.is_multiple_of(self.skips + 1) {
            self.kept.push(moment);
        }
        self.n_rows += 1;
        if self.kept.len() > MOMENTS {
            let mut at = 0;
            self.kept.retain(|_| {
                at += 1;
                at % 2 == 1
            });
            self.skips = 2 * self.skips + 1;
        }
    }

    /// The moment from which on the share of the rows is nearest to what is wanted.
    fn boundary(mut self, column: &str) -> Result<Boundary, String> {
        let is_text = |moment: &Moment| matches!(moment, Moment::Text(_));
        let texts = self.kept.iter().filter(|moment| is_text(moment)).count();
        if texts != 0 && texts != self.kept.len() {
            return Err(format!("{column} holds numbers and dates"));
        }
        self.kept.sort_by(|a, b| match (a, b) {
            (Moment::Number(a), Moment::Number(b)) => a.total_cmp(b),
            (Moment::Text(a), Moment::Text(b)) => a.cmp(b),
            _ => std::cmp::Ordering::Equal,
        });
        let n = self.kept.len();
        let begins = (1..n).filter(|at| self.kept[*at - 1].is_before(&self.kept[*at]));
        let share = |at: usize| (n - at) as f64 / n as f64;
        let distance = |at: &usize| (share(*at) - VALID).abs();
        let best = begins.min_by(|a, b| distance(a).total_cmp(&distance(b)));
        match best.filter(|at| share(*at) <= MOST_VALID) {
            Some(at) => Ok(Boundary {
                from: self.kept[at].clone(),
                share: share(at),
            }),
            None => Err(format!("{column} has too few different times")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_iso_8601_are_moments() {
        for text in [
            "2026-11-30",
            "2026-11-30 12:30:00",
            "2026-11-30T12:30:00.25+01:00",
            "2026-11-30T12:30Z",
        ] {
            assert!(is_iso(text.as_bytes()), "{text}");
        }
        for text in [
            "2026-11-3",
            "11/30/2026",
            "2026-11-30 noon",
            "user-1234",
            "2026-11-30x",
        ] {
            assert!(!is_iso(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn the_boundary_leaves_a_tenth_or_the_last_day() {
        let check = |times: &[f64], expected: Result<(f64, f64), &str>| {
            let mut moments = Moments::default();
            times
                .iter()
                .for_each(|time| moments.add(Moment::Number(*time)));
            let found = moments
                .boundary("ts")
                .map(|found| (found.from, found.share));
            let expected = expected.map(|(from, share)| (Moment::Number(from), share));
            assert_eq!(found, expected.map_err(str::to_owned));
        };
        let hundred: Vec<f64> = (0..100).map(|i| f64::from(i * 7 % 100)).collect();
        check(&hundred, Ok((90.0, 0.1)));
        check(&[1.0, 2.0, 3.0, 4.0], Ok((4.0, 0.25)));
        check(&[1.0, 1.0, 2.0, 2.0], Err("ts has too few different times"));
    }
}
