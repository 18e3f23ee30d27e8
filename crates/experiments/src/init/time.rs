//! The time column, and the boundary of the validation rows.

use std::ops::ControlFlow;

use ncs_readers::split::Part;
use ncs_readers::{DataPlan, LatestError, Moment, ReadError, Split, resolve};

use super::names;
use super::profile::Profile;
use crate::progress::Progress;

/// Target share of validation rows.
const VALID: f64 = 0.1;
/// Maximum share of validation rows: a boundary between days may have more rows after it than the target.
const MAX_VALID: f64 = 0.35;

/// Returns true if the values are times.
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
    let hint = names::name_hint(&profile.name);
    if epoch_or_date(&profile.numbers) {
        is_named || hint.is_none() && increases()
    } else {
        hint == Some(names::NameHint::Time) && increases()
    }
}

/// Returns true if all numbers may be times from 2000 to 2050, in seconds or smaller units, or days such as
/// `20261130`.
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

/// Returns true if the numbers or texts increase over the rows, with few exceptions.
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

/// Returns true for a date such as `2026-11-30`, with an optional time in ISO 8601.
fn is_iso(text: &[u8]) -> bool {
    let Some((date, rest)) = text.split_at_checked(10) else {
        return false;
    };
    let is_digit = |at: usize| date[at].is_ascii_digit();
    let is_date =
        [0, 1, 2, 3, 5, 6, 8, 9].into_iter().all(is_digit) && date[4] == b'-' && date[7] == b'-';
    let is_clock = match rest.split_first() {
        None => true,
        Some((separator, clock)) => {
            matches!(separator, b'T' | b't' | b' ')
                && clock.len() >= 5
                && clock
                    .iter()
                    .all(|byte| byte.is_ascii_digit() || b":.,+-ZzUTC ".contains(byte))
        }
    };
    is_date && is_clock
}

/// Returns true if the values are dates such as `11/30/2026`.
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

/// Returns the rank of a time column: higher is more likely to be the time of the row; `None` for a column that
/// cannot split rows.
pub(super) fn rank(profile: &Profile) -> Option<(bool, bool, usize)> {
    let may_be = is_time(profile) && profile.nulls == 0 && !names::is_of_entity(&profile.name);
    may_be.then(|| {
        let is_named = names::name_hint(&profile.name) == Some(names::NameHint::Time);
        (increases(profile), is_named, profile.counts.len())
    })
}

/// Boundary of the validation rows.
#[derive(Clone, Debug)]
pub(super) struct Boundary {
    /// Split at the time of the boundary.
    pub(super) split: Split,
    /// Time of the boundary.
    pub(super) from: Moment,
    /// Share of the rows from the boundary on.
    pub(super) share: f64,
}

/// Returns the boundary of the latest tenth of the rows, by the time column of every row of `data.train`; or
/// the reason why it splits them badly. Rows without a time are left out up to `max_broken_share`.
///
/// Fails if the training files cannot be found.
pub(super) fn boundary(
    data: &DataPlan,
    column: &str,
    max_broken_share: f64,
    progress: Progress,
) -> Result<Result<Boundary, String>, ReadError> {
    let mut data = data.clone();
    data.reading.max_broken_share = max_broken_share;
    data.split = Split::Latest {
        column: column.to_owned(),
        valid: VALID,
        test: 0.0,
        format: None,
    };
    let mut job = progress.job("read times", None, "rows");
    let resolved = resolve(&data, &mut |rows, _| {
        job.reach(rows);
        ControlFlow::Continue(())
    });
    job.finish();
    let resolved = match resolved {
        Ok(resolved) => resolved,
        Err(LatestError::Read(error @ ReadError::Row { .. })) => return Ok(Err(error.to_string())),
        Err(LatestError::Read(error)) => return Err(error),
        Err(LatestError::NoBoundary(_) | LatestError::Stopped) => None,
    };
    let few = || format!("{column} has too few distinct times");
    let boundary = resolved.and_then(|resolved| match resolved.split {
        Split::Time { valid_from, .. } => Some(Boundary {
            from: valid_from,
            share: resolved.shares[Part::Valid as usize],
            split: resolved.split,
        }),
        _ => None,
    });
    Ok(boundary
        .filter(|boundary| boundary.share <= MAX_VALID)
        .ok_or_else(few))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iso_8601_dates_are_times() {
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
}
