//! Warnings about features from which nothing can be learned, and features that seem to be of another kind than
//! declared.

use std::collections::HashSet;

use ncs_features::value::shown_text;
use ncs_features::{Field, IdSpacePlan, NumericPlan, Pooling};

use super::gathered::Gathered;
use crate::progress::grouped;

/// Warns if a feature is constant.
pub(super) fn same(field: &Field, gathered: &Gathered, which: &str) -> Option<String> {
    let (column, n_rows) = (&field.column, gathered.n_rows() as u64);
    if n_rows == 0 {
        return None;
    }
    if gathered.nulls == n_rows {
        return Some(format!(
            "column {column:?} is null {which}: nothing can be learned from it; leave it out, or check the \
             file and the setting missing"
        ));
    }
    if gathered.counts.len() == 1 && gathered.nulls == 0 && is_once_a_row(gathered) {
        let value = gathered.examples().join("");
        return Some(format!(
            "column {column:?} has one value, {value:?}, {which}: nothing can be learned from a constant; \
             leave it out"
        ));
    }
    None
}

/// Warns if the values of a feature do not repeat often enough. `vocabulary` has the values that do.
pub(super) fn unknown(
    field: &Field,
    vocabulary: Option<&[String]>,
    ids: &IdSpacePlan,
    gathered: &Gathered,
    which: &str,
) -> Option<String> {
    let column = &field.column;
    if gathered.counts.is_empty() {
        return None;
    }
    if is_never_repeated(field, ids, gathered) {
        return Some(format!(
            "no value of column {column:?} is seen 2 times {which}: nothing learned from one row applies to another, and \
             new values are unknown; leave it out"
        ));
    }
    let IdSpacePlan::Vocabulary { min_count, .. } = ids else {
        return None;
    };
    let known: HashSet<&[u8]> = vocabulary?.iter().map(String::as_bytes).collect();
    let is_unknown = |value: &[u8]| !known.contains(value);
    gathered.counts.keys().all(|value| is_unknown(value)).then(|| {
        format!(
            "no value of column {column:?} is seen {min_count} times {which}: all {} values are unknown, so \
             nothing can be learned from them; set buckets, or vocabulary = {{ min_count = 1 }} if they \
             repeat, or leave it out",
            grouped(gathered.counts.len() as u64)
        )
    })
}

/// Returns true if each row has its own id.
fn is_never_repeated(field: &Field, ids: &IdSpacePlan, gathered: &Gathered) -> bool {
    let is_id = field.pooling.is_none() && !matches!(ids, IdSpacePlan::Numeric(_));
    is_id && gathered.n_values() >= MIN_ROWS && gathered.counts.values().all(|n| *n == 1)
}

fn is_once_a_row(gathered: &Gathered) -> bool {
    gathered.n_values() == gathered.n_rows()
}

/// Warns about a feature that seems to be of another kind than declared, or to be read in an unintended way.
pub(super) fn of_kind(field: &Field, ids: &IdSpacePlan, gathered: &Gathered) -> Option<String> {
    match ids {
        IdSpacePlan::Numeric(plan) => number(field, plan, gathered),
        _ if field.pooling.and_then(Pooling::attribute).is_some() => {
            vector(field, gathered).map(|_| fractions_of_events(field))
        }
        _ if field.pooling.is_some() => vector(field, gathered).or_else(|| scalar(field, gathered)),
        _ => None,
    }
}

/// Warns about a column of ids stored as floating-point numbers, which lose digits.
pub(super) fn coarse(field: &Field, ids: &IdSpacePlan, gathered: &Gathered) -> Option<String> {
    let is_value = |text: &[u8]| gathered.counts.contains_key(text);
    let coarse = gathered.coarse.iter().filter(|(text, _)| is_value(text));
    let n: u64 = coarse.clone().map(|(_, n)| n).sum();
    let (first, _) = coarse.into_iter().next()?;
    (!matches!(ids, IdSpacePlan::Numeric(_))).then(|| {
        format!(
            "column {:?} holds floating-point numbers of 2^53 or more in {} rows, such as {}: they keep about 16 digits, \
             so ids that differ in later digits become equal; write the column as integers or as texts",
            field.column,
            grouped(n),
            shown_text(first),
        )
    })
}

/// Minimum number of rows for a warning.
const MIN_ROWS: usize = 20;

/// Warns about numbers of events that are read as ids.
fn fractions_of_events(field: &Field) -> String {
    format!(
        "column {:?} holds lists of numbers with fractions, and each number is an id of its own; set quantiles for this \
         attribute",
        field.column
    )
}

/// Warns about a list with at most one value in each row.
fn scalar(field: &Field, gathered: &Gathered) -> Option<String> {
    let n_rows = gathered.n_rows();
    let is_single = (0..n_rows).all(|row| gathered.row(row).len() <= 1);
    (is_single && n_rows >= MIN_ROWS).then(|| {
        format!(
            "column {:?} is declared a list, but no row holds more than one value; declare it categorical, or \
             set the separator of its items",
            field.column
        )
    })
}

/// Warns about a list of numbers with fractions, each read as an id.
fn vector(field: &Field, gathered: &Gathered) -> Option<String> {
    let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<f64>().ok();
    let (mut numbers, mut fractions) = (0, 0);
    for (text, n) in &gathered.counts {
        if let Some(x) = number(text) {
            numbers += n;
            fractions += if x.fract() == 0.0 { 0 } else { *n };
        }
    }
    let n_values = gathered.n_values() as u64;
    let is_vector = n_values > 0 && numbers * 10 >= n_values * 9 && fractions * 2 > n_values;
    is_vector.then(|| vector_text(field, gathered.counts.len()))
}

/// Returns the warning about a list of numbers that is read as a list of ids.
pub(super) fn vector_text(field: &Field, n_distinct: usize) -> String {
    format!(
        "column {:?} holds lists of numbers with fractions, and each of its {} distinct numbers is read as a \
         separate id; declare kind = \"vector\", with the length of the lists, which reads them as vectors",
        field.column,
        grouped(n_distinct as u64)
    )
}

fn number(field: &Field, plan: &NumericPlan, gathered: &Gathered) -> Option<String> {
    if let NumericPlan::Vector(_) = plan {
        return None;
    }
    id(field, gathered).or_else(|| match plan {
        NumericPlan::Log => negatives(field, gathered),
        _ => None,
    })
}

/// Warns about negative numbers with a log transform.
fn negatives(field: &Field, gathered: &Gathered) -> Option<String> {
    let below = || gathered.numbers.iter().filter(|x| **x < 0.0);
    let least = below().copied().fold(f64::INFINITY, f64::min);
    let n = below().count();
    (n > 0).then(|| {
        format!(
            "column {:?} has transform = \"log\", and {} of its numbers are below 0 (the least is {least}): they \
             are replaced by minus the log of their absolute value; if such a number means \"unknown\", add it to \
             missing, otherwise transform = \"quantiles\" treats all numbers alike",
            field.column,
            grouped(n as u64)
        )
    })
}

/// Suffixes of the names of ids.
const ID_NAMES: [&str; 17] = [
    "id", "ids", "uid", "uuid", "guid", "gid", "pid", "code", "hash", "key", "sku", "zip", "asin",
    "ean", "isbn", "cookie", "idx",
];

/// Warns about integers that seem to be ids: by the column's name, or because nearly each row has its own.
fn id(field: &Field, gathered: &Gathered) -> Option<String> {
    let numbers: Vec<f64> = gathered
        .numbers
        .iter()
        .copied()
        .filter(|x| x.is_finite())
        .collect();
    let is_whole = numbers.iter().all(|x| x.fract() == 0.0);
    let distinct = gathered.counts.len();
    if !is_whole || distinct < 10 || is_time(&numbers) {
        return None;
    }
    let is_unique = numbers.len() >= 100 && distinct * 20 >= numbers.len() * 19;
    let (least, most) = range(&numbers);
    let is_counted = is_unique && most - least < 2.0 * distinct as f64;
    let is_huge = least.abs().max(most.abs()) >= 1e9 && distinct * 2 >= numbers.len();
    let why = match (is_named_id(&field.column), is_counted, is_huge) {
        (true, ..) => "its name says so",
        (_, true, _) => "nearly every row has its own number, in sequence",
        (_, _, true) => "its numbers are huge and seldom repeat",
        _ => return None,
    };
    let column = &field.column;
    Some(format!(
        "column {column:?} is declared numeric, but looks like an id ({why}): ids have no order and are of little \
         use as numbers; declare it {{ kind = \"categorical\", buckets = 100_000 }} or the like, or leave it \
         out"
    ))
}

fn range(numbers: &[f64]) -> (f64, f64) {
    let least = numbers.iter().copied().fold(f64::INFINITY, f64::min);
    let most = numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    (least, most)
}

/// Returns true if all numbers may be times from 2000 to 2050, in seconds or smaller units.
fn is_time(numbers: &[f64]) -> bool {
    const YEARS: [f64; 2] = [946_684_800.0, 2_524_608_000.0];
    let (least, most) = range(numbers);
    let units = [1.0, 1e3, 1e6, 1e9];
    units
        .iter()
        .any(|unit| least >= YEARS[0] * unit && most <= YEARS[1] * unit)
}

/// Returns true for `user_id`, `userId`, `USERID` and `uid`, but not for `paid`.
fn is_named_id(column: &str) -> bool {
    let mut words: Vec<String> = vec![String::new()];
    let mut before_is_lower = false;
    for c in column.chars() {
        let begins = c.is_uppercase() && before_is_lower;
        if (begins || !c.is_alphanumeric()) && words.last().is_some_and(|word| !word.is_empty()) {
            words.push(String::new());
        }
        if c.is_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.extend(c.to_lowercase());
        }
        before_is_lower = c.is_lowercase() || c.is_numeric();
    }
    let last = words.iter().rfind(|word| !word.is_empty());
    let things = [
        "user", "item", "session", "device", "product", "article", "ad", "campaign",
    ];
    let is_thing_id = |word: &str| {
        let thing = word.strip_suffix("id");
        thing.is_some_and(|thing| things.contains(&thing))
    };
    last.is_some_and(|word| ID_NAMES.contains(&word.as_str()) || is_thing_id(word))
}

/// Returns a shortened text in quotes.
pub(super) fn quoted(text: &[u8]) -> String {
    format!("{:?}", shown_text(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_ids_are_recognised() {
        for name in [
            "user_id", "userId", "USER_ID", "userid", "id", "item.uid", "ad-id", "zip",
        ] {
            assert!(is_named_id(name), "{name}");
        }
        for name in [
            "paid", "price", "bid", "idle", "id_count", "grid", "width", "views",
        ] {
            assert!(!is_named_id(name), "{name}");
        }
    }

    #[test]
    fn times_are_not_ids() {
        assert!(is_time(&[1_763_900_000.0, 1_763_990_000.0]));
        assert!(is_time(&[1_763_900_000_000.0]));
        assert!(!is_time(&[17.0, 1_763_900_000.0]));
    }
}
