//! The kind of a column, by the rules in docs/decisions.

use ncs_features::vector::MOST_NUMBERS;

use super::lists::{self, ListText};
use super::names::{NameHint, name_hint};
use super::profile::{Profile, ValueType};
use super::time;
use crate::progress::grouped;

/// Kind of a feature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Categorical,
    /// A number, with the texts of missing values.
    Numeric {
        missing: Vec<String>,
    },
    /// A list, with the separator if it is a text, and the column whose ids it shares.
    List {
        separator: Option<char>,
        table: Option<String>,
    },
    /// A list of numbers of this length.
    Vector {
        length: usize,
    },
}

/// Decision about a column.
#[derive(Clone, Debug)]
pub(super) struct Decision {
    pub(super) kind: Kind,
    /// Reason for the kind, if it is not obvious.
    pub(super) why: &'static str,
    /// Reason why it is not a feature, if it is left out.
    pub(super) out: Option<String>,
}

impl Decision {
    fn of(kind: Kind, why: &'static str) -> Decision {
        Decision {
            kind,
            why,
            out: None,
        }
    }

    fn out(self, reason: impl Into<String>) -> Decision {
        Decision {
            out: Some(reason.into()),
            ..self
        }
    }
}

/// Maximum number of distinct integers that are categories regardless of the name.
const FEW_VALUES: usize = 10;
/// Maximum number of distinct integers that are categories unless the name hints at a quantity.
const SMALL_RANGE: usize = 20;
/// Minimum number of rows to conclude that values do not repeat.
const MIN_ROWS: usize = 200;

/// Decides about a column. `all_rows` is true if the files have no other rows.
pub(super) fn decide(profile: &Profile, all_rows: bool) -> Decision {
    let decision = by_values(profile);
    if decision.out.is_some() {
        return decision;
    }
    let (distinct, known) = (profile.counts.len(), profile.known());
    let is_many = distinct > FEW_VALUES * FEW_VALUES && distinct * 100 >= known;
    if name_hint(&profile.name) == Some(NameHint::Event) && is_many {
        return decision.out("names one event: rows to predict have other values");
    }
    let is_unique = known >= MIN_ROWS && distinct * 50 >= known * 49;
    if decision.kind == Kind::Categorical && is_unique && (all_rows || counts_rows(profile)) {
        return decision.out("nearly every row has its own value: values do not repeat");
    }
    decision
}

fn by_values(profile: &Profile) -> Decision {
    let categorical = || Decision::of(Kind::Categorical, "");
    if profile.known() == 0 {
        return categorical().out("no row has a value");
    }
    if profile.counts.len() == 1 && profile.nulls == 0 && profile.n_values() == profile.n_rows() {
        let value = profile.counts.keys().next().map(|text| quoted(text));
        return categorical().out(format!("constant: {}", value.unwrap_or_default()));
    }
    if profile.is_list {
        return list(profile, None);
    }
    if time::is_time(profile) {
        let reason =
            "a time: rows to predict have later ones; derive hour or weekday from it beforehand";
        return categorical().out(reason);
    }
    match non_numeric_texts(profile) {
        Some(missing) => number(profile, missing),
        None => text(profile),
    }
}

fn list(profile: &Profile, separator: Option<char>) -> Decision {
    let kind = Kind::List {
        separator,
        table: None,
    };
    let is_fraction = |_: &[u8], x: f64| !x.is_nan() && x.fract() != 0.0;
    let is_number = |_: &[u8], x: f64| !x.is_nan();
    let decision = Decision::of(kind, "");
    if profile.share(is_number) > 0.9 && profile.share(is_fraction) > 0.5 {
        return match profile.common_length() {
            Some(length) if length <= MOST_NUMBERS as usize => Decision::of(
                Kind::Vector { length },
                "lists of numbers, all of this length",
            ),
            _ => decision.out(
                "lists of numbers with fractions, whose lengths differ: a vector has one length",
            ),
        };
    }
    decision
}

/// Returns the texts among numbers, such as `NA`, if nearly all values are numbers; `None` otherwise.
fn non_numeric_texts(profile: &Profile) -> Option<Vec<String>> {
    if profile.share(|_, x| !x.is_nan()) < 0.95 {
        return None;
    }
    let values = profile.counts.keys().zip(&profile.numbers);
    let words = values.filter(|(_, x)| x.is_nan());
    let words: Option<Vec<String>> = words
        .map(|(text, _)| String::from_utf8(text.to_vec()).ok())
        .collect();
    words.filter(|words| words.len() <= 5)
}

fn number(profile: &Profile, mut missing: Vec<String>) -> Decision {
    let numbers = || profile.numbers.iter().copied().filter(|x| !x.is_nan());
    missing.extend(sentinel(profile));
    let numeric = |why| {
        let missing = missing.clone();
        Decision::of(Kind::Numeric { missing }, why)
    };
    let categorical = |why| Decision::of(Kind::Categorical, why);
    let name = name_hint(&profile.name);
    let distinct = profile.counts.len();
    if numbers().any(|x| x.fract() != 0.0) {
        return match name {
            Some(NameHint::Code) if profile.value_type == ValueType::Text => {
                categorical("named like a code")
            }
            _ => numeric(""),
        };
    }
    match name {
        _ if distinct <= FEW_VALUES => categorical("few values"),
        Some(NameHint::Code | NameHint::Event) => categorical("named like an id or a code"),
        Some(NameHint::Calendar) if distinct <= 60 => categorical("part of a calendar"),
        Some(NameHint::Quantity | NameHint::Time | NameHint::Calendar) => {
            numeric("named like a quantity")
        }
        None if distinct <= SMALL_RANGE => categorical("few values"),
        None => by_shape(profile, numeric, categorical),
    }
}

/// Returns `-1` if it is the only number below 0: it then means "unknown".
fn sentinel(profile: &Profile) -> Option<String> {
    let below: Vec<f64> = profile
        .numbers
        .iter()
        .copied()
        .filter(|x| *x < 0.0)
        .collect();
    (below == [-1.0] && profile.counts.len() > 2).then(|| "-1".to_owned())
}

/// Decides about integers whose name gives no hint. Quantities with few distinct values are as frequent as
/// their neighbours; with many, most values are small. Codes have neither property.
fn by_shape(
    profile: &Profile,
    numeric: impl Fn(&'static str) -> Decision,
    categorical: impl Fn(&'static str) -> Decision,
) -> Decision {
    let values = profile.numbers.iter().zip(profile.counts.values());
    let mut values: Vec<(f64, usize)> = values.map(|(x, n)| (*x, *n)).collect();
    values.retain(|(x, _)| !x.is_nan());
    values.sort_by(|a, b| a.0.total_cmp(&b.0));
    let at = |share: f64| values[((values.len() - 1) as f64 * share) as usize].0;
    let middle = (at(0.5) - at(0.0)) / (at(0.95) - at(0.0)).max(1.0);
    let is_dense = values.len() <= 200 && profile.known() >= 5 * values.len();
    if is_dense && neighbour_correlation(&values) > 0.7 {
        return numeric(
            "as frequent as their neighbours, like a quantity; if these are codes: \"categorical\"",
        );
    }
    if !is_dense && middle < 0.25 {
        return numeric(
            "mostly small numbers, like a quantity; if these are codes: \"categorical\"",
        );
    }
    categorical("in no order, like codes; if these are a quantity: \"numeric\"")
}

/// Returns the correlation between the log frequency of a value and that of the next value.
fn neighbour_correlation(values: &[(f64, usize)]) -> f64 {
    let logs: Vec<f64> = values.iter().map(|(_, n)| (*n as f64).ln()).collect();
    let mean = logs.iter().sum::<f64>() / logs.len() as f64;
    let variance: f64 = logs.iter().map(|x| (x - mean).powi(2)).sum();
    let pairs = logs.windows(2);
    let covariance: f64 = pairs.map(|pair| (pair[0] - mean) * (pair[1] - mean)).sum();
    if variance > 0.0 {
        covariance / variance
    } else {
        1.0
    }
}

fn text(profile: &Profile) -> Decision {
    let categorical = Decision::of(Kind::Categorical, "");
    match lists::of(profile) {
        Some(ListText::Separated(separator)) => return list(profile, Some(separator)),
        Some(ListText::Weighted) => {
            let reason = "items with a number after a colon: write only the items";
            return categorical.out(reason);
        }
        None => {}
    }
    let words = |text: &[u8]| text.split(|byte| *byte == b' ').count();
    let is_long = profile.share(|text, _| words(text) >= 4) > 0.5;
    if is_long && profile.counts.len() >= 1_000 {
        return categorical.out("free text: each text would be one category");
    }
    if time::is_other_date(profile) {
        let reason = "a date that is not in ISO 8601 (2026-11-30): derive hour or weekday from it beforehand";
        return categorical.out(reason);
    }
    categorical
}

/// Returns true if the numbers count up by one from row to row.
fn counts_rows(profile: &Profile) -> bool {
    let numbers: Vec<Option<f64>> = (0..profile.n_rows())
        .map(|row| profile.number(row))
        .collect();
    let pairs = numbers.windows(2);
    let next = pairs.filter(|pair| matches!(pair, [Some(a), Some(b)] if b - a == 1.0));
    next.count() * 100 >= numbers.len() * 99
}

/// Returns a shortened value in quotes.
fn quoted(text: &[u8]) -> String {
    format!("{:?}", ncs_features::value::shown_text(text))
}

/// Describes the values of a column: `integer, 8,312 distinct, 1.5 % null`.
pub(super) fn description(profile: &Profile, kind: &Kind) -> String {
    if profile.known() == 0 {
        return String::new();
    }
    let is_number = matches!(kind, Kind::Numeric { .. });
    let whole = || {
        profile
            .numbers
            .iter()
            .all(|x| x.is_nan() || x.fract() == 0.0)
    };
    let type_name =
        match profile.value_type {
            ValueType::Text
                if non_numeric_texts(profile).is_some() && !profile.counts.is_empty() =>
            {
                if whole() { "integer" } else { "float" }
            }
            ValueType::Text => "text",
            ValueType::Integer => "integer",
            ValueType::Float if !is_number && whole() => "integer",
            ValueType::Float => "float",
        };
    let list = if profile.is_list { "lists of " } else { "" };
    let distinct = grouped(profile.counts.len() as u64);
    let nulls = match 100.0 * profile.nulls as f64 / profile.n_rows().max(1) as f64 {
        0.0 => String::new(),
        share if share < 0.1 => ", under 0.1 % null".to_owned(),
        share => format!(", {share:.1} % null"),
    };
    format!("{list}{type_name}, {distinct} distinct{nulls}")
}
