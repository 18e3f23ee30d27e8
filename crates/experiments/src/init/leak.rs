//! Columns that predict a label too well to be known before it.

use crate::column_auc::{auc_of_number, auc_of_values};

use super::kind::Kind;
use super::names::is_after_the_event;
use super::profile::Profile;

/// AUC that no single column known before the event reaches.
const SUSPICIOUS_AUC: f64 = 0.98;
/// Minimum number of labels of each class for a test.
const MIN_LABELS: u32 = 30;
/// Significance level of the test for columns that are known only in positive rows.
const SIGNIFICANCE: f64 = 1e-6;

/// Labels of a task in the sampled rows.
pub(super) struct Labels {
    /// Column of the label.
    pub(super) column: String,
    /// Label of each row, NaN if the row is outside the task's population or the label is unknown.
    pub(super) of_rows: Vec<f32>,
    /// Label of each row regardless of the task's population; NaN where unknown.
    pub(super) raw: Vec<f32>,
}

/// Returns the reason why a column seems to be written after the labelled event, if it does.
pub(super) fn suspicion(profile: &Profile, kind: &Kind, labels: &[Labels]) -> Option<String> {
    let all = labels.iter();
    let copy = all.clone().find_map(|labels| copy_of(profile, labels));
    let filled = all.clone().find_map(|labels| filled_after(profile, labels));
    let ranked = || {
        labels
            .iter()
            .find_map(|labels| ranks(profile, kind, labels))
    };
    let by_name = || {
        let reason = "named like what happens after a click";
        is_after_the_event(&profile.name).then(|| reason.to_owned())
    };
    copy.or(filled).or_else(ranked).or_else(by_name)
}

fn copy_of(profile: &Profile, labels: &Labels) -> Option<String> {
    let known = rows(&labels.raw);
    let same = |row: &usize| {
        let number = profile.number(*row).or(flag(profile, *row));
        number == Some(f64::from(labels.raw[*row]))
    };
    (known.len() >= MIN_LABELS as usize && known.iter().all(same))
        .then(|| format!("a copy of {}", labels.column))
}

/// Returns `true` and `false` as numbers.
fn flag(profile: &Profile, row: usize) -> Option<f64> {
    let value = profile.row(row).first()?;
    let (text, _) = profile.counts.get_index(*value as usize)?;
    let flags: [(&[u8], f64); 2] = [(b"true", 1.0), (b"false", 0.0)];
    let flag = flags
        .into_iter()
        .find(|(flag, _)| text.eq_ignore_ascii_case(flag));
    flag.map(|(_, number)| number)
}

fn rows(labels: &[f32]) -> Vec<usize> {
    (0..labels.len())
        .filter(|row| !labels[*row].is_nan())
        .collect()
}

/// Tests for a column that has a value, or a value other than 0, only where the label is 1 (or only where it is
/// 0).
fn filled_after(profile: &Profile, labels: &Labels) -> Option<String> {
    let rows = rows(&labels.of_rows);
    let is_known = |row: usize| !profile.row(row).is_empty();
    let zero = (0..profile.counts.len()).find(|place| profile.numbers[*place] == 0.0);
    let is_usual = zero.is_some() && profile.mode() == zero.map(|place| place as u32);
    let is_number = profile.numbers.iter().all(|x| !x.is_nan());
    let column = &labels.column;
    for at in [1.0, 0.0] {
        if only_at(at, &rows, &labels.of_rows, is_known) {
            return Some(format!(
                "known only where {column} is {at}: written after it"
            ));
        }
        let is_set = |row: usize| profile.number(row).is_some_and(|x| x != 0.0);
        if is_usual && is_number && only_at(at, &rows, &labels.of_rows, is_set) {
            return Some(format!("0 except where {column} is {at}: written after it"));
        }
    }
    None
}

/// Returns true if only rows with label `at` are set, exactly or nearly, and so many that even a feature which
/// multiplies the odds of that label tenfold would hardly ever do so. For label 0 they must also be half of its
/// rows: a rare flag of items that are never clicked may well be known in time.
fn only_at(at: f32, rows: &[usize], labels: &[f32], is_set: impl Fn(usize) -> bool) -> bool {
    let (mut own, mut own_set, mut others, mut others_set) = (0u32, 0u32, 0u32, 0u32);
    for &row in rows {
        let is_own = (labels[row] > 0.0) == (at > 0.0);
        let set = u32::from(is_set(row));
        if is_own {
            (own, own_set) = (own + 1, own_set + set);
        } else {
            (others, others_set) = (others + 1, others_set + set);
        }
    }
    if own < MIN_LABELS || others < MIN_LABELS || own_set < MIN_LABELS {
        return false;
    }
    let odds = 10.0 * f64::from(own) / f64::from(others);
    let is_significant = f64::from(own_set) * (odds / (1.0 + odds)).ln() < SIGNIFICANCE.ln();
    let is_exact = others_set == 0 && at > 0.0;
    let is_nearly = others_set * 200 <= others && own_set * 2 >= own;
    is_significant && (is_exact || is_nearly)
}

/// Tests for a column that ranks the labels almost perfectly.
fn ranks(profile: &Profile, kind: &Kind, labels: &Labels) -> Option<String> {
    let rows = rows(&labels.of_rows);
    let classes: Vec<f32> = rows
        .iter()
        .map(|row| f32::from(labels.of_rows[*row] > 0.0))
        .collect();
    let positives = classes.iter().filter(|class| **class > 0.0).count();
    if positives.min(classes.len() - positives) < MIN_LABELS as usize {
        return None;
    }
    let by_value = auc_of_values(profile, &rows, &classes);
    let by_number = match kind {
        Kind::Numeric { .. } => auc_of_number(profile, &rows, &classes),
        _ => 0.5,
    };
    let best = by_value.max(by_number);
    (best > SUSPICIOUS_AUC)
        .then(|| format!("alone ranks {} with an AUC of {best:.3}", labels.column))
}
