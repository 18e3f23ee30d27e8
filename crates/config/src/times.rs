//! Settings of features that read times, boundaries or weights.

use ncs_features::time::TimeUnit;
use ncs_features::time_part::{MOST_OFFSET, Part};
use ncs_features::{Beside, Field, NumericPlan, TimePart};

use super::checks::Checks;
use super::toml_types;

/// Quarters of an hour in minutes.
const QUARTER: f64 = 15.0;

/// Returns a part of a time, its offset checked.
pub(crate) fn part(
    name: &str,
    part: toml_types::TimePart,
    utc_offset: f64,
    unit: Option<toml_types::Unit>,
    checks: &mut Checks<'_>,
) -> TimePart {
    let minutes = utc_offset * 60.0;
    let is_offset = minutes.abs() <= f64::from(MOST_OFFSET) && minutes % QUARTER == 0.0;
    if !is_offset {
        let text = format!(
            "columns.{name}.utc_offset is {utc_offset}; state hours from -14 to 14 in steps of 0.25"
        );
        checks.say(&["columns", name, "utc_offset"], text);
    }
    TimePart {
        part: match part {
            toml_types::TimePart::Hour => Part::Hour,
            toml_types::TimePart::Weekday => Part::Weekday,
            toml_types::TimePart::HourOfWeek => Part::HourOfWeek,
            toml_types::TimePart::Day => Part::Day,
            toml_types::TimePart::Month => Part::Month,
        },
        offset: minutes as i32,
        unit: unit.map(time_unit),
    }
}

pub(crate) fn time_unit(unit: toml_types::Unit) -> TimeUnit {
    match unit {
        toml_types::Unit::Days => TimeUnit::Days,
        toml_types::Unit::Seconds => TimeUnit::Seconds,
        toml_types::Unit::Millis => TimeUnit::Millis,
        toml_types::Unit::Micros => TimeUnit::Micros,
        toml_types::Unit::Nanos => TimeUnit::Nanos,
    }
}

/// Returns the second column of a number, if it is the time between two.
pub(crate) fn since(
    name: &str,
    column: &str,
    since: &Option<String>,
    unit: Option<toml_types::Unit>,
    checks: &mut Checks<'_>,
) -> Beside {
    let Some(since) = since else {
        if unit.is_some() {
            let text = format!("columns.{name}.unit goes with since, which is not stated");
            checks.say(&["columns", name, "unit"], text);
        }
        return Beside::None;
    };
    if since == column {
        let text = format!(
            "columns.{name}.since is {since:?}, the feature's own column; name the column of the earlier time"
        );
        checks.say(&["columns", name, "since"], text);
    }
    Beside::Since {
        column: since.clone(),
        unit: unit.map(time_unit),
    }
}

/// Returns the source of a list's weights.
pub(crate) fn weights(
    name: &str,
    weights: &Option<String>,
    separator: Option<char>,
    pooling: toml_types::Pooling,
    checks: &mut Checks<'_>,
) -> Beside {
    let beside = match (weights, separator) {
        (None, None) => return Beside::None,
        (Some(column), _) => Beside::Weights {
            column: column.clone(),
        },
        (None, Some(separator)) => Beside::WeightAfter { separator },
    };
    if weights.is_some() && separator.is_some() {
        let text = format!("columns.{name} states both weights and weight_separator; keep one");
        checks.say(&["columns", name, "weight_separator"], text);
    }
    if matches!(pooling, toml_types::Pooling::PaddedMean) {
        let text = format!(
            "columns.{name} states weights with pooling = \"padded_mean\", which has none; use \"mean\" or \"sum\""
        );
        checks.say(&["columns", name, "pooling"], text);
    }
    beside
}

/// Returns the encoding of a number by boundaries, which must be ascending.
pub(crate) fn boundaries(name: &str, stated: &[f64], checks: &mut Checks<'_>) -> NumericPlan {
    let at = ["columns", name, "boundaries"];
    if let Some(x) = stated.iter().find(|x| !x.is_finite()) {
        checks.say(
            &at,
            format!("columns.{name}.boundaries holds {x}; state finite numbers"),
        );
    }
    if let Some(pair) = stated.windows(2).find(|pair| pair[0] >= pair[1]) {
        let text = format!(
            "columns.{name}.boundaries holds {} before {}; state each once, in ascending order",
            pair[0], pair[1]
        );
        checks.say(&at, text);
    }
    for other in ["transform", "buckets"] {
        if checks.states(&["columns", name, other]) {
            let text = format!("columns.{name} states both boundaries and {other}; keep one");
            checks.say(&["columns", name, other], text);
        }
    }
    NumericPlan::Boundaries(stated.to_vec())
}

/// Checks that the second column of a field is in every file.
pub(crate) fn beside(field: &Field, checks: &mut Checks<'_>) {
    let key = match &field.beside {
        Beside::Since { .. } => "since",
        // Once for a sequence, not for each of its attributes.
        Beside::Ages(_) => return,
        _ => "weights",
    };
    if let Some(column) = field.beside.column() {
        checks.column(&["columns", &field.name, key], column);
    }
}
