//! Values and scores of requests in the bins of a model's training, for its metrics.

use ncs_features::distribution::{Distribution, Distributions, stability_index};
use ncs_features::{FieldIds, IdSpace};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Fewest values that are compared: an index of fewer is mostly chance.
const FEWEST: u64 = 500;

/// Counts of values by bin since a version was loaded.
#[derive(Debug)]
pub struct DriftCounts {
    before: Arc<Distributions>,
    /// For each column, the bins, missing values last.
    columns: Vec<Vec<AtomicU64>>,
    scores: Vec<Vec<AtomicU64>>,
}

impl DriftCounts {
    /// Returns counts of nothing, in the bins of a training.
    pub fn new(before: Arc<Distributions>) -> DriftCounts {
        let bins = |found: &Distribution| {
            let all = 0..=found.counts.len();
            all.map(|_| AtomicU64::new(0)).collect()
        };
        DriftCounts {
            columns: before.columns.iter().map(bins).collect(),
            scores: before.scores.iter().map(bins).collect(),
            before,
        }
    }

    /// Counts the values of all rows of a field, each `times` times: those of a request's context once for each
    /// candidate, as rows of a log have them. A part of a request without the field counts nothing.
    pub fn count_column(
        &self,
        f: usize,
        ids: &IdSpace,
        field: &FieldIds,
        n_rows: usize,
        times: u64,
    ) {
        let is_absent =
            field.ids.is_empty() && field.offsets.is_empty() && field.numbers.is_empty();
        let (Some(before), false) = (self.before.columns.get(f), is_absent) else {
            return;
        };
        let bins = &self.columns[f];
        before.bins_of(ids, field, 0..n_rows, |bin| {
            bins[bin].fetch_add(times, Relaxed);
        });
    }

    /// Counts the scores of an output.
    pub fn count_scores(&self, output: usize, scores: &[f32]) {
        if let Some(before) = self.before.scores.get(output) {
            let bins = &self.scores[output];
            for score in scores {
                bins[before.bin_of_number(*score)].fetch_add(1, Relaxed);
            }
        }
    }

    /// Returns the population stability index of a column since the version was loaded; `None` for fewer than 500
    /// values.
    pub fn column_index(&self, f: usize) -> Option<f64> {
        index(self.before.columns.get(f)?, &self.columns[f])
    }

    /// Returns the same of the scores of an output.
    pub fn score_index(&self, output: usize) -> Option<f64> {
        index(self.before.scores.get(output)?, &self.scores[output])
    }
}

fn index(before: &Distribution, now: &[AtomicU64]) -> Option<f64> {
    let now: Vec<u64> = now.iter().map(|count| count.load(Relaxed)).collect();
    let is_enough = now.iter().sum::<u64>() >= FEWEST;
    is_enough
        .then(|| stability_index(&before.all_counts(), &now))
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ncs_features::distribution::Bins;

    fn counts() -> DriftCounts {
        DriftCounts::new(Arc::new(Distributions {
            rows: 1000,
            columns: vec![Distribution {
                bins: Bins::Ids(vec![7, 9]),
                counts: vec![600, 300, 100],
                missing: 0,
            }],
            score_rows: 1000,
            scores: vec![Distribution::of_numbers(
                (0..1000).map(|x| x as f32 / 1000.0).collect(),
            )],
        }))
    }

    #[test]
    fn values_of_a_context_count_for_each_candidate() {
        let counts = counts();
        let space = IdSpace::Vocabulary { values: Vec::new() };
        let field = |ids: &[u32]| FieldIds {
            ids: ids.to_vec(),
            ..FieldIds::default()
        };
        counts.count_column(0, &space, &field(&[]), 5, 1);
        counts.count_column(0, &space, &field(&[7]), 1, 499);
        assert_eq!(counts.column_index(0), None);
        counts.count_column(0, &space, &field(&[9, 9, 0]), 3, 1);
        let expected = stability_index(&[600, 300, 100, 0], &[499, 2, 0, 1]);
        assert_eq!(counts.column_index(0), expected);
        assert!(expected.unwrap() > 0.25);
    }

    #[test]
    fn scores_like_those_of_the_training_have_no_shift() {
        let counts = counts();
        let scores: Vec<f32> = (0..500).map(|x| x as f32 / 500.0).collect();
        counts.count_scores(0, &scores);
        assert!(counts.score_index(0).unwrap() < 0.01);
        counts.count_scores(0, &[0.999; 2000]);
        assert!(counts.score_index(0).unwrap() > 0.25);
        counts.count_scores(5, &scores);
        assert_eq!(counts.score_index(5), None);
    }
}
