//! Tests of methods against references: paired differences, corrected for multiple comparisons, and
//! verdicts.

use super::{ComparisonInput, DataInput, FigureKey, MeasuredRun, MethodDifference, MethodInput};
use super::{RowValues, Scope, Verdict};
use crate::report::Better;
use crate::statistics::{VariancePart, holm, paired_difference_with};

/// Returns all differences of a data set. One reference by one figure is one family of the correction.
pub(super) fn against_references(
    data: &DataInput,
    input: &ComparisonInput,
) -> Vec<MethodDifference> {
    let keys = data.keys().into_iter().filter(FigureKey::is_decisive);
    let keys: Vec<FigureKey> = keys.collect();
    let references = input.references.iter().filter_map(|name| data.method(name));
    let family = |reference| {
        let keys = keys.iter();
        keys.flat_map(move |key| family(data, reference, key, input.confidence))
    };
    references.flat_map(family).collect()
}

fn family(
    data: &DataInput,
    reference: &MethodInput,
    key: &FigureKey,
    confidence: f64,
) -> Vec<MethodDifference> {
    let others = data.methods.iter().filter(|m| m.name != reference.name);
    let mut family: Vec<MethodDifference> = others
        .filter_map(|method| difference(method, reference, key, confidence))
        .collect();
    correct(&mut family, confidence);
    family
}

/// Fills in adjusted p-values and the verdicts that follow from them.
fn correct(family: &mut [MethodDifference], confidence: f64) {
    let tested: Vec<&mut MethodDifference> = family
        .iter_mut()
        .filter(|one| one.difference.p_value.is_some())
        .collect();
    let p_values: Vec<f64> = tested
        .iter()
        .filter_map(|one| one.difference.p_value)
        .collect();
    for (one, adjusted) in tested.into_iter().zip(holm(&p_values)) {
        one.adjusted = Some(adjusted);
        one.verdict = if adjusted < 1.0 - confidence {
            direction(one.difference.estimate.mean, &one.key)
        } else {
            Verdict::NotSignificant
        };
    }
}

fn direction(mean: f64, key: &FigureKey) -> Verdict {
    let lower_is_better = key.known().is_some_and(|f| f.better == Better::Lower);
    if (mean > 0.0) != lower_is_better {
        Verdict::Better
    } else {
        Verdict::Worse
    }
}

/// Returns the difference before correction; `None` if the methods have no seed with this figure in common.
fn difference(
    method: &MethodInput,
    reference: &MethodInput,
    key: &FigureKey,
    confidence: f64,
) -> Option<MethodDifference> {
    let pairs = common_seeds(method, reference, key);
    let values = |side: fn(&(Side, Side)) -> f64| pairs.iter().map(side).collect::<Vec<f64>>();
    let (ours, theirs) = (values(|pair| pair.0.1), values(|pair| pair.1.1));
    let rows = over_rows(&pairs, key);
    let scope = match rows {
        Some(_) => Scope::SeedsAndRows,
        None => Scope::Seeds,
    };
    let further = rows.unwrap_or_default();
    Some(MethodDifference {
        method: method.name.clone(),
        reference: reference.name.clone(),
        key: key.clone(),
        difference: paired_difference_with(&ours, &theirs, &further, confidence)?,
        scope,
        adjusted: None,
        verdict: Verdict::TooFewSeeds,
    })
}

/// A run and its value of the figure.
type Side<'a> = (&'a MeasuredRun, f64);

fn common_seeds<'a>(
    method: &'a MethodInput,
    reference: &'a MethodInput,
    key: &FigureKey,
) -> Vec<(Side<'a>, Side<'a>)> {
    let pair = |ours: &'a MeasuredRun| {
        let theirs = reference.seeds.iter().find(|run| run.seed == ours.seed)?;
        Some(((ours, ours.figure(key)?), (theirs, theirs.figure(key)?)))
    };
    method.seeds.iter().filter_map(pair).collect()
}

/// Returns the variance over test rows, if all seeds were evaluated on the same ones and rows were kept.
///
/// The variance over seeds already contains part of the interaction between seeds and rows, which is counted
/// again here: intervals are slightly too wide rather than too narrow.
fn over_rows(pairs: &[(Side, Side)], key: &FigureKey) -> Option<Vec<VariancePart>> {
    let ours: Option<Vec<_>> = pairs.iter().map(|pair| pair.0.0.row_values(key)).collect();
    let theirs: Option<Vec<_>> = pairs.iter().map(|pair| pair.1.0.row_values(key)).collect();
    RowValues::mean_difference(&ours?, &theirs?)?.variance_parts()
}
