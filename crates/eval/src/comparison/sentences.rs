//! Verdicts in words.

use super::{ChanceResult, ComparisonInput, DataInput, FigureKey, MethodDifference, Verdict};
use crate::render::{p_value, signed};

/// More methods than these that are all not separable are counted, not named.
const MOST_NAMES: usize = 6;

/// The sentences on one data set: by each figure, what is separable from chance, what is better or
/// worse than each reference, and what is not separable from it; then what has too few seeds.
pub(super) fn of(
    data: &DataInput,
    input: &ComparisonInput,
    differences: &[MethodDifference],
    chance: &[ChanceResult],
) -> Vec<String> {
    let mut sentences = Vec::new();
    for key in data.keys() {
        let chance: Vec<_> = chance.iter().filter(|one| one.key == key).collect();
        sentences.extend(on_chance(&key, &chance));
        for reference in &input.references {
            let is_meant = |one: &&MethodDifference| one.key == key && one.reference == *reference;
            let differences: Vec<_> = differences.iter().filter(is_meant).collect();
            sentences.extend(on_verdict(&key, reference, Verdict::Better, &differences));
            sentences.extend(on_verdict(&key, reference, Verdict::Worse, &differences));
            sentences.extend(on_equals(&key, reference, &differences));
        }
    }
    sentences.extend(on_too_few_seeds(input, differences));
    sentences
}

/// `cvr AUC: better than shared_bottom: sparse_sharing (+0.0123 [+0.0100, +0.0146], adjusted p 0.004)`.
fn on_verdict(
    key: &FigureKey,
    reference: &str,
    verdict: Verdict,
    differences: &[&MethodDifference],
) -> Option<String> {
    let word = match verdict {
        Verdict::Better => "better",
        Verdict::Worse => "worse",
        Verdict::NotSeparable | Verdict::TooFewSeeds => return None,
    };
    let meant = differences.iter().filter(|one| one.verdict == verdict);
    let said: Vec<String> = meant.filter_map(|one| with_numbers(one)).collect();
    (!said.is_empty()).then(|| format!("{key}: {word} than {reference}: {}", said.join(", ")))
}

/// `sparse_sharing (+0.0123 [+0.0100, +0.0146], adjusted p 0.004)`
fn with_numbers(one: &MethodDifference) -> Option<String> {
    let p = p_value(one.adjusted?);
    let (mean, interval) = signed(&one.difference.estimate, &one.key);
    Some(format!(
        "{} ({mean} {}, adjusted p {p})",
        one.method, interval?
    ))
}

fn on_equals(
    key: &FigureKey,
    reference: &str,
    differences: &[&MethodDifference],
) -> Option<String> {
    let is_equal = |one: &&&MethodDifference| one.verdict == Verdict::NotSeparable;
    let equal: Vec<_> = differences.iter().filter(is_equal).collect();
    if equal.len() == differences.len() && equal.len() > 1 {
        return Some(format!("{key}: no method is separable from {reference}"));
    }
    let equals = match equal.len() {
        n if n > MOST_NAMES => format!("the other {n}"),
        _ => names(equal.iter().map(|one| one.method.as_str()))?,
    };
    Some(format!("{key}: not separable from {reference}: {equals}"))
}

/// Says which methods are not separable from chance, if any.
fn on_chance(key: &FigureKey, results: &[&ChanceResult]) -> Option<String> {
    let is_equal = |one: &&&ChanceResult| one.verdict == Verdict::NotSeparable;
    let equals: Vec<_> = results.iter().filter(is_equal).collect();
    let said = names(equals.iter().map(|one| one.method.as_str()))?;
    Some(match equals.len() == results.len() {
        true => format!("{key}: not separable from chance"),
        false => format!("{key}: not separable from chance: {said}"),
    })
}

fn on_too_few_seeds(
    input: &ComparisonInput,
    differences: &[MethodDifference],
) -> impl Iterator<Item = String> {
    let of_reference = |reference: &String| {
        let few = differences
            .iter()
            .filter(|one| one.reference == *reference && one.verdict == Verdict::TooFewSeeds);
        let methods = names(few.map(|one| one.method.as_str()))?;
        Some(format!(
            "a single seed gives no verdict: {methods} against {reference}"
        ))
    };
    input.references.iter().filter_map(of_reference)
}

/// The names, each once; `None` without any.
fn names<'a>(names: impl Iterator<Item = &'a str>) -> Option<String> {
    let mut distinct: Vec<&str> = Vec::new();
    for name in names {
        if !distinct.contains(&name) {
            distinct.push(name);
        }
    }
    (!distinct.is_empty()).then(|| distinct.join(", "))
}
