//! What both drawings say.

use crate::comparison::{Comparison, DataInput, DataResult, Scope, Verdict};
use crate::render::numbers::percent;

/// How to read the tables, sentence by sentence.
pub(super) fn reading(comparison: &Comparison) -> Vec<String> {
    let confidence = percent(comparison.input.confidence).replace(".0 %", " %");
    let error = percent(1.0 - comparison.input.confidence).replace(".0 %", " %");
    vec![
        format!(
            "Means are over seeds, on test rows, with half the width of their {confidence} interval \
             (Student's t); the best mean of a task is bold, separable from the next or not."
        ),
        format!(
            "Differences are paired: method less reference, seed by seed, with a {confidence} interval \
             and two p: uncorrected, and after Holm's correction over the methods. A verdict follows \
             the corrected one: of one figure of one task of one data set against one reference, \
             equal methods are called different in at most {error} of comparisons."
        ),
    ]
}

/// What the differences of a data set generalise to; `None` without any.
pub(super) fn scope(result: &DataResult) -> Option<&'static str> {
    let is = |scope: Scope| move |one: &crate::comparison::MethodDifference| one.scope == scope;
    let differences = &result.differences;
    if differences.is_empty() {
        return None;
    }
    Some(if differences.iter().all(is(Scope::SeedsAndRows)) {
        "Intervals, p and verdicts are about new seeds and new test rows."
    } else if differences.iter().all(is(Scope::Seeds)) {
        "Intervals, p and verdicts are about new seeds, with the test rows that each seed had."
    } else {
        "Intervals, p and verdicts are about new seeds; where every seed was judged on the same rows \
         and the figure is a mean over rows, about new test rows too."
    })
}

/// The command that measured a data set.
pub(super) fn command<'a>(comparison: &'a Comparison, data: &'a DataInput) -> &'a str {
    match data.command.is_empty() {
        true => &comparison.input.command,
        false => &data.command,
    }
}

pub(super) fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Better => "better",
        Verdict::Worse => "worse",
        Verdict::NotSeparable => "not separable",
        Verdict::TooFewSeeds => "a single seed",
    }
}
