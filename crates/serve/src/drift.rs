//! Values and scores of requests in the bins of a model's training, for its metrics.

use ncs_features::distribution::{Distribution, Distributions, stability_index};
use ncs_features::{FieldIds, IdSpace};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Fewest values that are compared: an index of fewer is mostly chance.
const FEWEST: u64 = 500;

/// The window of the latest values.
const WINDOW: Duration = Duration::from_secs(3600);

/// Counts are kept this often, so that a window begins up to this much early.
const KEPT_EVERY: Duration = Duration::from_secs(300);

/// Counts of values by bin since a version was loaded, and in the last hour.
#[derive(Debug)]
pub struct DriftCounts {
    before: Arc<Distributions>,
    /// For each column, the bins, missing values last.
    columns: Vec<Vec<AtomicU64>>,
    scores: Vec<Vec<AtomicU64>>,
    began: Instant,
    /// Seconds after the beginning at which counts are kept next.
    due: AtomicU64,
    /// Earlier counts, oldest first.
    kept: Mutex<VecDeque<Kept>>,
}

/// The counts at a moment.
#[derive(Debug)]
struct Kept {
    at: Instant,
    columns: Vec<Vec<u64>>,
    scores: Vec<Vec<u64>>,
}

/// Which values an index is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// All since the version was loaded.
    Loaded,
    /// Those of the last hour before this moment.
    Hour(Instant),
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
            began: Instant::now(),
            due: AtomicU64::new(KEPT_EVERY.as_secs()),
            kept: Mutex::default(),
        }
    }

    /// Keeps the counts of now if it is time; called before values are counted.
    pub fn keep_due(&self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.began).as_secs();
        if elapsed < self.due.load(Relaxed) {
            return;
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if elapsed < self.due.load(Relaxed) {
            return;
        }
        self.due.store(elapsed + KEPT_EVERY.as_secs(), Relaxed);
        let all = |bins: &Vec<Vec<AtomicU64>>| bins.iter().map(|bins| loaded(bins)).collect();
        kept.push_back(Kept {
            at: now,
            columns: all(&self.columns),
            scores: all(&self.scores),
        });
        // The first one stays older than the window.
        while kept.get(1).is_some_and(|next| next.at + WINDOW <= now) {
            kept.pop_front();
        }
    }

    /// Returns counts without those of before the window; `earlier` selects them.
    fn since(
        &self,
        since: Since,
        bins: &[AtomicU64],
        earlier: impl Fn(&Kept) -> &[u64],
    ) -> Vec<u64> {
        let mut counts = loaded(bins);
        if let Since::Hour(now) = since {
            let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            let before = kept.iter().rev().find(|kept| kept.at + WINDOW <= now);
            for (count, before) in counts.iter_mut().zip(before.map_or(&[][..], earlier)) {
                *count = count.saturating_sub(*before);
            }
        }
        counts
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

    /// Returns the population stability index of a column; `None` for fewer than 500 values.
    pub fn column_index(&self, f: usize, since: Since) -> Option<f64> {
        let before = self.before.columns.get(f)?;
        index(
            before,
            &self.since(since, &self.columns[f], |kept| &kept.columns[f]),
        )
    }

    /// Returns the same of the scores of an output.
    pub fn score_index(&self, output: usize, since: Since) -> Option<f64> {
        let before = self.before.scores.get(output)?;
        index(
            before,
            &self.since(since, &self.scores[output], |kept| &kept.scores[output]),
        )
    }
}

fn loaded(bins: &[AtomicU64]) -> Vec<u64> {
    bins.iter().map(|count| count.load(Relaxed)).collect()
}

fn index(before: &Distribution, now: &[u64]) -> Option<f64> {
    let is_enough = now.iter().sum::<u64>() >= FEWEST;
    is_enough
        .then(|| stability_index(&before.all_counts(), now))
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
        assert_eq!(counts.column_index(0, Since::Loaded), None);
        counts.count_column(0, &space, &field(&[9, 9, 0]), 3, 1);
        let expected = stability_index(&[600, 300, 100, 0], &[499, 2, 0, 1]);
        assert_eq!(counts.column_index(0, Since::Loaded), expected);
        assert!(expected.unwrap() > 0.25);
    }

    #[test]
    fn scores_like_those_of_the_training_have_no_shift() {
        let counts = counts();
        let scores: Vec<f32> = (0..500).map(|x| x as f32 / 500.0).collect();
        counts.count_scores(0, &scores);
        assert!(counts.score_index(0, Since::Loaded).unwrap() < 0.01);
        counts.count_scores(0, &[0.999; 2000]);
        assert!(counts.score_index(0, Since::Loaded).unwrap() > 0.25);
        counts.count_scores(5, &scores);
        assert_eq!(counts.score_index(5, Since::Loaded), None);
    }

    #[test]
    fn an_hour_forgets_what_came_before() {
        let counts = counts();
        let after = |minutes: u64| counts.began + Duration::from_secs(60 * minutes);
        let alike: Vec<f32> = (0..1000).map(|x| x as f32 / 1000.0).collect();
        counts.keep_due(after(0));
        counts.count_scores(0, &[0.999; 2000]);
        let index = |minutes| counts.score_index(0, Since::Hour(after(minutes)));
        assert!(index(4).unwrap() > 0.25, "loaded less than an hour ago");
        for minutes in [10, 20, 30] {
            counts.keep_due(after(minutes));
        }
        counts.count_scores(0, &alike);
        assert!(index(69).unwrap() > 0.25);
        assert!(
            index(70).unwrap() < 0.01,
            "what came before the tenth minute is forgotten"
        );
        assert_eq!(index(90), Some(index(70).unwrap()));
        counts.keep_due(after(200));
        assert_eq!(index(259), Some(index(90).unwrap()));
        assert_eq!(index(260), None, "nothing came in the last hour");
        assert_eq!(counts.kept.lock().unwrap().len(), 2);
        assert!(counts.score_index(0, Since::Loaded).unwrap() > 0.25);
    }
}
