//! Bootstrap confidence interval of the AUC, with rows or whole groups of rows resampled.
//!
//! Each resample counts a row (or all rows of a group) k times, k Poisson with mean 1: the
//! bootstrap that needs neither a second sort nor random access, so a resample costs one pass.

use ncs_features::NO_GROUP;
use ncs_features::hash::split_mix;
use serde::{Deserialize, Serialize};

use crate::auc::{Ranking, Real, area, class_masses};
use crate::weights::Weights;

/// Settings of the bootstrap.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Resampling {
    /// Number of resamples; 0: no interval.
    pub resamples: usize,
    /// Confidence level: the share of resamples between the two ends.
    pub confidence: f64,
    /// The same seed gives the same interval, in every release.
    pub seed: u64,
}

impl Default for Resampling {
    /// 200 resamples, 95 %.
    fn default() -> Resampling {
        Resampling {
            resamples: 200,
            confidence: 0.95,
            seed: 0,
        }
    }
}

/// Percentile bootstrap interval of the AUC over the rows whose label is known.
///
/// With `groups` (one a row) whole groups are resampled, since rows of one user or session are not independent;
/// with an empty slice single rows are, and so is each row without a group ([`NO_GROUP`]). Returns `None` if
/// the AUC is `None`, if all rows belong to one group (each resample would be a copy of it), or if fewer than
/// half of the resamples contain both classes.
pub fn auc_interval<L: Real, S: Real>(
    labels: &[L],
    scores: &[S],
    groups: &[u64],
    resampling: &Resampling,
) -> Option<[f64; 2]> {
    auc_interval_by_weight(labels, scores, groups, Weights::NONE, resampling)
}

/// The same for an AUC in which a row counts by its weight. Rows or groups are resampled, whatever they weigh.
pub fn auc_interval_by_weight<L: Real, S: Real>(
    labels: &[L],
    scores: &[S],
    groups: &[u64],
    weights: Weights<'_>,
    resampling: &Resampling,
) -> Option<[f64; 2]> {
    assert_eq!(labels.len(), scores.len(), "one label for each score");
    let rows = RankedRows::of(labels, scores, groups, weights)?;
    if !groups.is_empty() && rows.n_groups < 2 {
        return None;
    }
    let mut stream = resampling.seed;
    let resample = |_| rows.resampled_auc(&mut stream);
    let mut areas: Vec<f64> = (0..resampling.resamples).filter_map(resample).collect();
    if areas.is_empty() || areas.len() * 2 < resampling.resamples {
        return None;
    }
    areas.sort_unstable_by(f64::total_cmp);
    let tail = (1.0 - resampling.confidence.clamp(0.0, 1.0)) / 2.0;
    Some([quantile(&areas, tail), quantile(&areas, 1.0 - tail)])
}

/// Known rows in rising order of score, laid out for one sequential pass.
struct RankedRows {
    keys: Vec<u64>,
    /// Weights as (positive, negative).
    masses: Vec<(f64, f64)>,
    /// Index of each row's group; empty: every row is resampled by itself.
    group_of: Vec<u32>,
    n_groups: usize,
}

impl RankedRows {
    fn of<L: Real, S: Real>(
        labels: &[L],
        scores: &[S],
        groups: &[u64],
        weights: Weights<'_>,
    ) -> Option<RankedRows> {
        let ranking = Ranking::of(labels, scores)?.rows;
        let (group_of, n_groups) = group_indices(&ranking, groups);
        let masses = |&(_, row): &(u64, u32)| {
            let row = row as usize;
            class_masses(labels[row], weights.get(row))
        };
        Some(RankedRows {
            keys: ranking.iter().map(|(key, _)| *key).collect(),
            masses: ranking.iter().map(masses).collect(),
            group_of,
            n_groups,
        })
    }

    fn resampled_auc(&self, stream: &mut u64) -> Option<f64> {
        let rows = self.keys.iter().zip(&self.masses);
        let counted =
            |&(positive, negative): &(f64, f64), times| (times * positive, times * negative);
        if self.group_of.is_empty() {
            return area(rows.map(|(key, masses)| (key, counted(masses, poisson(stream)))));
        }
        let times: Vec<f64> = (0..self.n_groups).map(|_| poisson(stream)).collect();
        let rows = rows.zip(&self.group_of);
        area(rows.map(|((key, masses), &g)| (key, counted(masses, times[g as usize]))))
    }
}

/// Returns the group of each ranked row as an index in order of group name, and the number of groups. A row
/// without a group gets an index of its own, after those.
fn group_indices(ranking: &[(u64, u32)], groups: &[u64]) -> (Vec<u32>, usize) {
    if groups.is_empty() {
        return (Vec::new(), 0);
    }
    let group = |&(_, row): &(u64, u32)| groups[row as usize];
    let mut names: Vec<u64> = ranking.iter().map(group).collect();
    names.retain(|name| *name != NO_GROUP);
    names.sort_unstable();
    names.dedup();
    let mut n_groups = names.len();
    let index = |ranked: &(u64, u32)| {
        let group = group(ranked);
        if group != NO_GROUP {
            return names.partition_point(|name| *name < group) as u32;
        }
        n_groups += 1;
        (n_groups - 1) as u32
    };
    let indices = ranking.iter().map(index).collect();
    (indices, n_groups)
}

/// Returns the quantile at `share`, by linear interpolation between the two nearest of the sorted values.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = share * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    below + (above - below) * at.fract()
}

/// Samples a Poisson number of mean 1 by inverting its cumulative distribution, and advances the seeded stream.
fn poisson(stream: &mut u64) -> f64 {
    let uniform = (split_mix(stream) >> 32) as u32;
    let reached = POISSON_STEPS.iter().filter(|step| uniform >= **step);
    reached.count() as f64
}

/// Cumulative distribution P(k <= 0), P(k <= 1), ... of a Poisson number of mean 1, in units of 2^-32.
const POISSON_STEPS: [u32; 10] = poisson_steps();

const fn poisson_steps() -> [u32; 10] {
    let mut steps = [0; 10];
    let (mut probability, mut sum, mut k) = (1.0 / std::f64::consts::E, 0.0, 0);
    while k < steps.len() {
        sum += probability;
        steps[k] = (sum * 4_294_967_296.0) as u32;
        k += 1;
        probability /= k as f64;
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn poisson_numbers_have_mean_and_variance_one() {
        let mut stream = 7;
        let numbers: Vec<f64> = (0..100_000).map(|_| poisson(&mut stream)).collect();
        let mean = numbers.iter().sum::<f64>() / 1e5;
        let variance = numbers.iter().map(|k| (k - mean).powi(2)).sum::<f64>() / 1e5;
        assert!((mean - 1.0).abs() < 0.01, "mean {mean}");
        assert!((variance - 1.0).abs() < 0.02, "variance {variance}");
    }

    #[test]
    fn quantiles_lie_between_the_values() {
        assert_eq!(quantile(&[1.0, 2.0, 4.0], 0.5), 2.0);
        assert_eq!(quantile(&[1.0, 2.0, 4.0], 0.75), 3.0);
        assert_eq!(quantile(&[3.0], 0.975), 3.0);
    }
}
