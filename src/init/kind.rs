//! The kind of a column, by rules that docs/decisions state.

use super::lists::{self, ListText};
use super::names::{Named, named};
use super::profile::{Holds, Profile};
use super::time;
use crate::progress::grouped;

/// How a column enters the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Categorical,
    /// A number; texts that mean that there is none.
    Numeric {
        missing: Vec<String>,
    },
    /// A list; what stands between items where it is a text, and the column whose ids it shares.
    List {
        separator: Option<char>,
        table: Option<String>,
    },
}

/// What becomes of a column.
#[derive(Clone, Debug)]
pub(super) struct Decision {
    pub(super) kind: Kind,
    /// Why this kind, where that is not plain.
    pub(super) why: &'static str,
    /// Why it is no feature, if it is none.
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

/// Integers of at most so many values are categories, whatever they are called.
const FEW: usize = 10;
/// Integers of at most so many values are categories, unless their name says that they are quantities.
const SMALL: usize = 20;
/// Fewer rows do not show that values never come again.
const ENOUGH_ROWS: usize = 200;

/// Decides what becomes of a column. `all_rows` says whether the files hold no other rows.
pub(super) fn decide(profile: &Profile, all_rows: bool) -> Decision {
    let decision = by_values(profile);
    if decision.out.is_some() {
        return decision;
    }
    let (distinct, known) = (profile.counts.len(), profile.known());
    let is_many = distinct > FEW * FEW && distinct * 100 >= known;
    if named(&profile.name) == Some(Named::Event) && is_many {
        return decision.out("names one event: the rows to predict have others");
    }
    let is_unique = known >= ENOUGH_ROWS && distinct * 50 >= known * 49;
    if decision.kind == Kind::Categorical && is_unique && (all_rows || counts_rows(profile)) {
        return decision.out("nearly every row has a value of its own: nothing comes again");
    }
    decision
}

fn by_values(profile: &Profile) -> Decision {
    let categorical = || Decision::of(Kind::Categorical, "");
    if profile.known() == 0 {
        return categorical().out("no row has a value");
    }
    if profile.counts.len() == 1 && profile.nulls == 0 && profile.n_values() == profile.n_rows() {
        let value = profile.counts.keys().next().map(|text| shown(text));
        return categorical().out(format!("constant: {}", value.unwrap_or_default()));
    }
    if profile.is_list {
        return list(profile, None);
    }
    if time::is_time(profile) {
        let reason = "a time: the rows to predict have later ones; derive hour or weekday from it beforehand";
        return categorical().out(reason);
    }
    match numeric_words(profile) {
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
        return decision
            .out("lists of numbers with fractions: make a numeric column of each number");
    }
    decision
}

/// The texts beside numbers, such as `NA`, where nearly all values are numbers; `None` where they are not.
fn numeric_words(profile: &Profile) -> Option<Vec<String>> {
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
    let name = named(&profile.name);
    let distinct = profile.counts.len();
    if numbers().any(|x| x.fract() != 0.0) {
        return match name {
            Some(Named::Code) if profile.holds == Holds::Text => categorical("named like a code"),
            _ => numeric(""),
        };
    }
    match name {
        _ if distinct <= FEW => categorical("few values"),
        Some(Named::Code | Named::Event) => categorical("named like an id or a code"),
        Some(Named::Calendar) if distinct <= 60 => categorical("part of a calendar"),
        Some(Named::Quantity | Named::Time | Named::Calendar) => numeric("named like a quantity"),
        None if distinct <= SMALL => categorical("few values"),
        None => by_shape(profile, numeric, categorical),
    }
}

/// `-1` where it is the only number below 0: it stands for "unknown" then.
fn sentinel(profile: &Profile) -> Option<String> {
    let below: Vec<f64> = profile
        .numbers
        .iter()
        .copied()
        .filter(|x| *x < 0.0)
        .collect();
    (below == [-1.0] && profile.counts.len() > 2).then(|| "-1".to_owned())
}

/// Integers whose name says nothing. Of few different ones, quantities are as frequent as their neighbours; of
/// many, most are small. Codes are neither.
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
    if is_dense && neighbours_agree(&values) > 0.7 {
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

/// The correlation between how often a value is there and how often the next one is, in logarithms.
fn neighbours_agree(values: &[(f64, usize)]) -> f64 {
    let logs: Vec<f64> = values.iter().map(|(_, n)| (*n as f64).ln()).collect();
    let mean = logs.iter().sum::<f64>() / logs.len() as f64;
    let variance: f64 = logs.iter().map(|x| (x - mean).powi(2)).sum();
    let pairs = logs.windows(2);
    let together: f64 = pairs.map(|pair| (pair[0] - mean) * (pair[1] - mean)).sum();
    if variance > 0.0 {
        together / variance
    } else {
        1.0
    }
}

fn text(profile: &Profile) -> Decision {
    let categorical = Decision::of(Kind::Categorical, "");
    match lists::of(profile) {
        Some(ListText::Separated(separator)) => return list(profile, Some(separator)),
        Some(ListText::Weighted) => {
            let reason = "items with a number behind a colon: write the items alone";
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

/// Whether each row has the number after that of the row before.
fn counts_rows(profile: &Profile) -> bool {
    let numbers: Vec<Option<f64>> = (0..profile.n_rows())
        .map(|row| profile.number(row))
        .collect();
    let pairs = numbers.windows(2);
    let next = pairs.filter(|pair| matches!(pair, [Some(a), Some(b)] if b - a == 1.0));
    next.count() * 100 >= numbers.len() * 99
}

/// A value in quotes, short.
fn shown(text: &[u8]) -> String {
    format!("{:?}", ncs_features::value::shown_text(text))
}

/// What the file holds of a column: `integer, 8,312 distinct, 1.5 % null`.
pub(super) fn described(profile: &Profile, kind: &Kind) -> String {
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
    let holds = match profile.holds {
        Holds::Text if numeric_words(profile).is_some() && !profile.counts.is_empty() => {
            if whole() { "integer" } else { "float" }
        }
        Holds::Text => "text",
        Holds::Integer => "integer",
        Holds::Float if !is_number && whole() => "integer",
        Holds::Float => "float",
    };
    let list = if profile.is_list { "lists of " } else { "" };
    let distinct = grouped(profile.counts.len() as u64);
    let nulls = match 100.0 * profile.nulls as f64 / profile.n_rows().max(1) as f64 {
        0.0 => String::new(),
        share if share < 0.1 => ", under 0.1 % null".to_owned(),
        share => format!(", {share:.1} % null"),
    };
    format!("{list}{holds}, {distinct} distinct{nulls}")
}
