//! Tests of methods against the chance level of the AUC, 0.5.

use super::{ChanceResult, DataInput, FigureKey, MethodInput, Verdict};
use crate::metrics::TaskMetrics;
use crate::statistics::{MeanError, VariancePart, holm};

/// AUC of a model whose scores are independent of the labels.
const CHANCE_LEVEL: f64 = 0.5;

/// Tests every method by every decisive AUC; a figure is one family of the correction.
pub(super) fn against_chance(data: &DataInput, confidence: f64) -> Vec<ChanceResult> {
    let is_area = |key: &FigureKey| key.known().is_some_and(|figure| figure.is_area());
    let keys = data.keys().into_iter();
    let keys = keys.filter(|key| key.is_decisive() && is_area(key));
    keys.flat_map(|key| family(data, &key, confidence))
        .collect()
}

fn family(data: &DataInput, key: &FigureKey, confidence: f64) -> Vec<ChanceResult> {
    let methods = data.methods.iter();
    let mut family: Vec<_> = methods
        .filter_map(|method| of_method(method, key))
        .collect();
    let p_values: Vec<f64> = family.iter().filter_map(|one| one.p_value).collect();
    let tested = family.iter_mut().filter(|one| one.p_value.is_some());
    for (one, adjusted) in tested.zip(holm(&p_values)) {
        one.adjusted = Some(adjusted);
        one.verdict = if adjusted < 1.0 - confidence {
            Verdict::Better
        } else {
            Verdict::NotSignificant
        };
    }
    family
}

/// Returns the test of one method before correction; `None` if no seed has the figure.
fn of_method(method: &MethodInput, key: &FigureKey) -> Option<ChanceResult> {
    let values = method.values(key);
    let above = values.iter().sum::<f64>() / values.len() as f64 - CHANCE_LEVEL;
    let parts = [
        VariancePart::of_mean(values.iter().copied()),
        over_rows(method, key),
    ];
    let [seeds, rows] = parts;
    let p_value = seeds.zip(rows).map(|(seeds, rows)| {
        let error = MeanError::of(&[seeds, rows]);
        error.one_sided(above)
    });
    above.is_finite().then(|| ChanceResult {
        method: method.name.clone(),
        key: key.clone(),
        above,
        p_value,
        adjusted: None,
        verdict: Verdict::TooFewSeeds,
    })
}

/// Returns the variance of an AUC over rows where scores are independent of labels: (n1 + n0 + 1) / (12 n1 n0)
/// for n1 positive and n0 negative rows (Mann and Whitney 1947). Divided by the number of seeds if each seed
/// has rows of its own.
///
/// The entire space has more rows than those with a known label, which are counted here, so the variance is an
/// overestimate.
fn over_rows(method: &MethodInput, key: &FigureKey) -> Option<VariancePart> {
    let evaluated = method.seeds.iter().filter(|run| run.figure(key).is_some());
    let metrics = evaluated.map(|run| run.metrics.of_task(&key.task));
    let metrics: Option<Vec<TaskMetrics>> = metrics.collect();
    let counts: Vec<[f64; 2]> = metrics?.iter().map(classes).collect();
    let variance = |[positives, negatives]: &[f64; 2]| {
        (positives + negatives + 1.0) / (12.0 * positives * negatives)
    };
    let mean = counts.iter().map(variance).sum::<f64>() / counts.len() as f64;
    let has_own_rows = counts.windows(2).any(|pair| pair[0] != pair[1]);
    let n_samples = if has_own_rows {
        counts.len() as f64
    } else {
        1.0
    };
    mean.is_finite().then_some(VariancePart {
        variance: mean / n_samples,
        degrees_of_freedom: f64::INFINITY,
    })
}

/// Returns the numbers of positive and negative rows.
fn classes(metrics: &TaskMetrics) -> [f64; 2] {
    let negatives = metrics.rows.saturating_sub(metrics.positives);
    [metrics.positives as f64, negatives as f64]
}
