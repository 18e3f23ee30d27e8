//! Verdicts as sentences.

use super::{ChanceResult, ComparisonInput, DataInput, FigureKey, MethodDifference, Verdict};
use crate::render::p_value;

/// Methods without a significant difference are named up to this number, and counted above it.
const MOST_NAMES: usize = 6;

/// Returns the sentences on one data set: by each figure, the methods that are not significantly above the
/// chance level, those that are significantly better or worse than each reference, and those without a
/// significant difference from it; then those with too few seeds.
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
            let matches = |one: &&MethodDifference| one.key == key && one.reference == *reference;
            let differences: Vec<_> = differences.iter().filter(matches).collect();
            sentences.extend(on_verdict(&key, reference, Verdict::Better, &differences));
            sentences.extend(on_verdict(&key, reference, Verdict::Worse, &differences));
            sentences.extend(on_not_significant(&key, reference, &differences));
        }
    }
    sentences.extend(on_too_few_seeds(input, differences));
    sentences
}

/// `cvr AUC: better than shared_bottom: sparse_sharing (+0.0123 [+0.0100, +0.0146], adjusted p = 0.004)`.
fn on_verdict(
    key: &FigureKey,
    reference: &str,
    verdict: Verdict,
    differences: &[&MethodDifference],
) -> Option<String> {
    let word = match verdict {
        Verdict::Better => "better",
        Verdict::Worse => "worse",
        Verdict::NotSignificant | Verdict::TooFewSeeds => return None,
    };
    let of_verdict = differences.iter().filter(|one| one.verdict == verdict);
    let methods: Vec<String> = of_verdict.filter_map(|one| with_numbers(one)).collect();
    (!methods.is_empty()).then(|| format!("{key}: {word} than {reference}: {}", methods.join(", ")))
}

/// `sparse_sharing (+0.0123 [+0.0100, +0.0146], adjusted p = 0.004)`
fn with_numbers(one: &MethodDifference) -> Option<String> {
    let p = p_value(one.adjusted?);
    let (mean, interval) = one.key.signed(&one.difference.estimate);
    Some(format!(
        "{} ({mean} {}, adjusted p {p})",
        one.method, interval?
    ))
}

fn on_not_significant(
    key: &FigureKey,
    reference: &str,
    differences: &[&MethodDifference],
) -> Option<String> {
    let is_not_significant = |one: &&&MethodDifference| one.verdict == Verdict::NotSignificant;
    let similar: Vec<_> = differences.iter().filter(is_not_significant).collect();
    if similar.len() == differences.len() && similar.len() > 1 {
        return Some(format!(
            "{key}: no method differs significantly from {reference}"
        ));
    }
    let similar_names = match similar.len() {
        n if n > MOST_NAMES => format!("the other {n}"),
        _ => names(similar.iter().map(|one| one.method.as_str()))?,
    };
    Some(format!(
        "{key}: no significant difference from {reference}: {similar_names}"
    ))
}

/// Lists the methods that are not significantly above the chance level, if any.
fn on_chance(key: &FigureKey, results: &[&ChanceResult]) -> Option<String> {
    let is_not_significant = |one: &&&ChanceResult| one.verdict == Verdict::NotSignificant;
    let similar: Vec<_> = results.iter().filter(is_not_significant).collect();
    let methods = names(similar.iter().map(|one| one.method.as_str()))?;
    Some(if similar.len() == results.len() {
        format!("{key}: not significantly above chance level")
    } else {
        format!("{key}: not significantly above chance level: {methods}")
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
            "no significance test with a single seed: {methods} against {reference}"
        ))
    };
    input.references.iter().filter_map(of_reference)
}

/// Joins the distinct names; `None` without any.
fn names<'a>(names: impl Iterator<Item = &'a str>) -> Option<String> {
    let mut distinct: Vec<&str> = Vec::new();
    for name in names {
        if !distinct.contains(&name) {
            distinct.push(name);
        }
    }
    (!distinct.is_empty()).then(|| distinct.join(", "))
}
