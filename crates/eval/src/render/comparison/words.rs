//! Texts shared by the Markdown and the HTML output.

use crate::comparison::{Comparison, DataInput, DataResult, Scope, Verdict};
use crate::render::numbers::percent;

/// Returns sentences that explain the tables.
pub(super) fn reading(comparison: &Comparison) -> Vec<String> {
    let confidence = percent(comparison.input.confidence).replace(".0 %", " %");
    let error = percent(1.0 - comparison.input.confidence).replace(".0 %", " %");
    vec![
        format!(
            "Means are over seeds, on test rows, with half the width of their {confidence} interval \
             (Student's t). The best mean of a task is bold, whether or not the difference is significant."
        ),
        format!(
            "Differences are paired by seed: method minus reference, with a {confidence} interval, the \
             p-value, and the p-value adjusted by Holm's correction over the methods. Verdicts use the \
             adjusted p-value: for one figure of one task of one data set against one reference, equal \
             methods are called different in at most {error} of comparisons."
        ),
    ]
}

/// Describes the sources of variation that the differences of a data set account for; `None` without any.
pub(super) fn scope(result: &DataResult) -> Option<&'static str> {
    let is = |scope: Scope| move |one: &crate::comparison::MethodDifference| one.scope == scope;
    let differences = &result.differences;
    if differences.is_empty() {
        return None;
    }
    Some(if differences.iter().all(is(Scope::SeedsAndRows)) {
        "Intervals, p-values and verdicts account for variation over seeds and over test rows."
    } else if differences.iter().all(is(Scope::Seeds)) {
        "Intervals, p-values and verdicts account for variation over seeds, with the test rows of each seed."
    } else {
        "Intervals, p-values and verdicts account for variation over seeds; if every seed was evaluated on the \
         same rows and the figure is a mean over rows, also for variation over test rows."
    })
}

/// Returns the command that measured a data set.
pub(super) fn command<'a>(comparison: &'a Comparison, data: &'a DataInput) -> &'a str {
    if data.command.is_empty() {
        &comparison.input.command
    } else {
        &data.command
    }
}

pub(super) fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Better => "better",
        Verdict::Worse => "worse",
        Verdict::NotSignificant => "not significant",
        Verdict::TooFewSeeds => "single seed",
    }
}
