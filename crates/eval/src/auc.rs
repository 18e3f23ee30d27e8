//! The area under the ROC curve: the chance that a positive row outranks a negative one, equal
//! scores counting one half. For all rows, for weighted rows, within groups, along the funnel.

use crate::weights::Weights;
use ncs_features::NO_GROUP;

/// A label, score or weight: `f32` or `f64`. All sums are in `f64`.
pub trait Real: Copy + Into<f64> {}

impl<T: Copy + Into<f64>> Real for T {}

/// AUC of `scores` against 0/1 `labels`, both of one entry a row, in O(n log n).
///
/// A row with a NaN label is unknown and does not count. `None` where one of the classes is
/// missing, or a known row's score is not a number.
pub fn auc<L: Real, S: Real>(labels: &[L], scores: &[S]) -> Option<f64> {
    auc_by_weight(labels, scores, Weights::NONE)
}

/// AUC in which a row counts by its weight.
pub fn auc_by_weight<L: Real, S: Real>(
    labels: &[L],
    scores: &[S],
    weights: Weights<'_>,
) -> Option<f64> {
    assert_eq!(labels.len(), scores.len(), "one label for each score");
    Ranking::of(labels, scores)?.auc(|row| class_masses(labels[row], weights.get(row)))
}

/// AUC in which row i counts `positives[i]` times as a positive and `negatives[i]` times as a
/// negative row, its own two halves tying with each other.
///
/// Weights are finite and not negative. `None` where either sum is zero or a score is not a number.
pub fn weighted_auc<W: Real, S: Real>(
    positives: &[W],
    negatives: &[W],
    scores: &[S],
) -> Option<f64> {
    assert_eq!(positives.len(), scores.len(), "one weight for each score");
    Ranking::of(positives, scores)?.auc(|row| (positives[row].into(), negatives[row].into()))
}

/// AUC against the true probabilities of a synthetic log: a row of true probability p counts p times as a
/// positive and 1 - p times as a negative row. Rows with a NaN probability do not count.
pub fn soft_auc<P: Real, S: Real>(true_probabilities: &[P], scores: &[S]) -> Option<f64> {
    assert_eq!(
        true_probabilities.len(),
        scores.len(),
        "one true probability for each score"
    );
    Ranking::of(true_probabilities, scores)?.auc(|row| {
        let p: f64 = true_probabilities[row].into();
        (p, 1.0 - p)
    })
}

/// AUC of `p_ctr * p_cvr` against "clicked and converted", over all impressions where that is
/// known: no click means no conversion; a click of unknown conversion does not count.
pub fn ctcvr_auc<T: Real>(
    clicks: &[T],
    conversions: &[T],
    p_ctr: &[T],
    p_cvr: &[T],
) -> Option<f64> {
    auc(
        &funnel_labels(clicks, conversions),
        &funnel_scores(p_ctr, p_cvr),
    )
}

/// "Clicked and converted" for each row, NaN where unknown.
pub fn funnel_labels<T: Real>(clicks: &[T], conversions: &[T]) -> Vec<f64> {
    assert_eq!(
        clicks.len(),
        conversions.len(),
        "one conversion label for each click label"
    );
    let both = |(&click, &conversion): (&T, &T)| {
        let click: f64 = click.into();
        if click == 0.0 {
            0.0
        } else {
            click * conversion.into()
        }
    };
    clicks.iter().zip(conversions).map(both).collect()
}

/// The product of the two probabilities for each row.
pub fn funnel_scores<T: Real>(p_ctr: &[T], p_cvr: &[T]) -> Vec<f64> {
    assert_eq!(p_ctr.len(), p_cvr.len(), "both probabilities for each row");
    p_ctr
        .iter()
        .zip(p_cvr)
        .map(|(&ctr, &cvr)| ctr.into() * cvr.into())
        .collect()
}

/// Mean AUC within groups (users, sessions), weighted by their impressions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GroupedAuc {
    /// Mean of the groups' AUCs, each weighted by its known rows; `None` where no group counts.
    pub auc: Option<f64>,
    /// Number of groups that have both classes and therefore count.
    pub groups: usize,
}

/// Impression-weighted mean AUC over the groups that have both classes; rows of unknown label and rows
/// without a group ([`NO_GROUP`]) do not count. `groups[i]` names the group of row i.
pub fn grouped_auc<L: Real, S: Real>(labels: &[L], scores: &[S], groups: &[u64]) -> GroupedAuc {
    grouped_auc_by_weight(labels, scores, groups, Weights::NONE)
}

/// The same where a row counts by its weight.
pub fn grouped_auc_by_weight<L: Real, S: Real>(
    labels: &[L],
    scores: &[S],
    groups: &[u64],
    weights: Weights<'_>,
) -> GroupedAuc {
    assert_eq!(labels.len(), scores.len(), "one label for each score");
    assert_eq!(labels.len(), groups.len(), "one group for each row");
    let Some(rows) = rows_by_group(labels, scores, groups) else {
        return GroupedAuc {
            auc: None,
            groups: 0,
        };
    };
    let (mut sum, mut weight, mut n_groups) = (0.0, 0.0, 0);
    for group in rows.chunk_by(|a, b| a.0 == b.0) {
        let weight_of = |row: u32| weights.get(row as usize);
        let masses = group
            .iter()
            .map(|&(_, key, row)| (key, class_masses(labels[row as usize], weight_of(row))));
        if let Some(area) = area(masses) {
            let mass: f64 = group.iter().map(|&(.., row)| weight_of(row)).sum();
            sum += area * mass;
            weight += mass;
            n_groups += 1;
        }
    }
    GroupedAuc {
        auc: (n_groups > 0).then(|| sum / weight),
        groups: n_groups,
    }
}

/// `(group, score key, row)` of the known rows, sorted; `None` where a score is not a number.
fn rows_by_group<L: Real, S: Real>(
    labels: &[L],
    scores: &[S],
    groups: &[u64],
) -> Option<Vec<(u64, u64, u32)>> {
    let ranking = Ranking::unsorted(labels, scores)?;
    let with_group = |&(key, row): &(u64, u32)| (groups[row as usize], key, row);
    let rows = ranking.iter().map(with_group);
    let mut rows: Vec<_> = rows.filter(|(group, ..)| *group != NO_GROUP).collect();
    rows.sort_unstable();
    Some(rows)
}

/// Weight of a row with this label as (positive, negative); zero for an unknown label.
pub(crate) fn class_masses<L: Real>(label: L, weight: f64) -> (f64, f64) {
    let label: f64 = label.into();
    match label {
        _ if label.is_nan() => (0.0, 0.0),
        _ if label > 0.5 => (weight, 0.0),
        _ => (0.0, weight),
    }
}

/// The known rows, sorted once by score; equal scores have equal keys.
pub(crate) struct Ranking {
    /// `(score key, row)`, lowest score first, rows of one score in their order.
    pub(crate) rows: Vec<(u64, u32)>,
}

impl Ranking {
    /// Ranks the rows whose label is known; `None` where one of their scores is not a number.
    pub(crate) fn of<L: Real, S: Real>(labels: &[L], scores: &[S]) -> Option<Ranking> {
        let mut rows = Ranking::unsorted(labels, scores)?;
        rows.sort_unstable();
        Some(Ranking { rows })
    }

    fn unsorted<L: Real, S: Real>(labels: &[L], scores: &[S]) -> Option<Vec<(u64, u32)>> {
        let known = |row: &usize| !labels[*row].into().is_nan();
        let key = |row: usize| Some((score_key(scores[row].into())?, row as u32));
        (0..scores.len()).filter(known).map(key).collect()
    }

    /// Returns the AUC where `masses(row)` is the weight of a row as (positive, negative).
    fn auc(&self, masses: impl Fn(usize) -> (f64, f64)) -> Option<f64> {
        area(
            self.rows
                .iter()
                .map(|&(key, row)| (key, masses(row as usize))),
        )
    }
}

/// An integer that sorts as the score does; `None` for NaN.
fn score_key(score: f64) -> Option<u64> {
    let bits = (score + 0.0).to_bits(); // + 0.0: minus zero and zero are one score
    let key = if bits >> 63 == 0 {
        bits | (1 << 63)
    } else {
        !bits
    };
    (!score.is_nan()).then_some(key)
}

/// The area under `(key, (positive mass, negative mass))` rows in rising order of key: each
/// positive beats the negatives below it and half of those beside it.
pub(crate) fn area<K: PartialEq>(rows: impl Iterator<Item = (K, (f64, f64))>) -> Option<f64> {
    let (mut won, mut positives, mut negatives) = (0.0, 0.0, 0.0);
    let (mut tied_positives, mut tied_negatives) = (0.0, 0.0);
    let mut tied_key = None;
    for (key, (positive, negative)) in rows {
        if tied_key.as_ref() != Some(&key) {
            won += tied_positives * (negatives + 0.5 * tied_negatives);
            positives += tied_positives;
            negatives += tied_negatives;
            (tied_positives, tied_negatives, tied_key) = (0.0, 0.0, Some(key));
        }
        tied_positives += positive;
        tied_negatives += negative;
    }
    won += tied_positives * (negatives + 0.5 * tied_negatives);
    let pairs = (positives + tied_positives) * (negatives + tied_negatives);
    (pairs > 0.0).then(|| won / pairs)
}
