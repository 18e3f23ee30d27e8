//! What is counted for one version of a model while it is served.

use super::histogram::{DIFFERENCES, Histogram, SCORES};
use super::requests::Requests;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// A version of a model, as metrics, logs and traces name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedBy {
    /// The model.
    pub model: Arc<str>,
    /// Its version.
    pub version: u64,
    /// BLAKE3 of its manifest, in hex.
    pub hash: Arc<str>,
}

/// The metrics of one version, found once and then counted in without a look-up. Made by
/// [`Telemetry::serve`](super::Telemetry::serve).
#[derive(Debug)]
pub struct ServedVersion {
    pub(super) by: ServedBy,
    /// `by.version` as a label.
    pub(super) version: String,
    labels: Mutex<String>,
    /// Those of all versions of this model.
    pub(super) requests: Arc<Requests>,
    pub(super) tasks: Box<[TaskScores]>,
    pub(super) columns: Box<[ColumnValues]>,
}

#[derive(Debug)]
pub(super) struct TaskScores {
    pub(super) name: String,
    pub(super) scores: Histogram,
    pub(super) differences: Histogram,
}

#[derive(Debug)]
pub(super) struct ColumnValues {
    pub(super) name: String,
    pub(super) values: AtomicU64,
    pub(super) unseen: AtomicU64,
    pub(super) clipped: AtomicU64,
}

impl ServedVersion {
    pub(super) fn new(
        by: ServedBy,
        requests: Arc<Requests>,
        tasks: &[impl AsRef<str>],
        columns: &[impl AsRef<str>],
    ) -> ServedVersion {
        ServedVersion {
            version: by.version.to_string(),
            by,
            labels: Mutex::default(),
            requests,
            tasks: tasks
                .iter()
                .map(|name| TaskScores::new(name.as_ref()))
                .collect(),
            columns: columns
                .iter()
                .map(|name| ColumnValues::new(name.as_ref()))
                .collect(),
        }
    }

    /// VersionSelector version this is.
    pub fn by(&self) -> &ServedBy {
        &self.by
    }

    /// Counts scores that were answered, all of one output. `task` is its place among the tasks that
    /// this version was made with; others are not counted.
    pub fn scores(&self, task: usize, scores: &[f32]) {
        if let Some(task) = self.tasks.get(task) {
            task.scores.observe_all(scores);
        }
    }

    /// Counts by how much the scores of this version, as a shadow, differ from those that were answered
    /// by another.
    pub fn shadow_differences(&self, task: usize, served: &[f32], shadow: &[f32]) {
        let Some(task) = self.tasks.get(task) else {
            return;
        };
        let mut differences = [0.0; 256];
        for (served, shadow) in served.chunks(256).zip(shadow.chunks(256)) {
            let n = served.len().min(shadow.len());
            let scores = served.iter().zip(shadow);
            for (difference, (served, shadow)) in differences.iter_mut().zip(scores) {
                *difference = (shadow - served).abs();
            }
            task.differences.observe_all(&differences[..n]);
        }
    }

    /// Counts values of a column, how many of them training never saw, and how many were numbers that were
    /// clipped to its range.
    pub fn values(&self, column: usize, n_values: u64, n_unseen: u64, n_clipped: u64) {
        if let Some(column) = self.columns.get(column) {
            column.values.fetch_add(n_values, Relaxed);
            column.unseen.fetch_add(n_unseen, Relaxed);
            column.clipped.fetch_add(n_clipped, Relaxed);
        }
    }

    /// The labels under which this version is asked from now on.
    pub fn set_labels(&self, labels: &[impl AsRef<str>]) {
        let labels: Vec<&str> = labels.iter().map(AsRef::as_ref).collect();
        *self.labels.lock().unwrap_or_else(PoisonError::into_inner) = labels.join(",");
    }

    pub(super) fn labels(&self) -> String {
        let labels = self.labels.lock().unwrap_or_else(PoisonError::into_inner);
        labels.clone()
    }
}

impl TaskScores {
    fn new(name: &str) -> TaskScores {
        TaskScores {
            name: name.to_owned(),
            scores: Histogram::new(SCORES),
            differences: Histogram::new(DIFFERENCES),
        }
    }
}

impl ColumnValues {
    fn new(name: &str) -> ColumnValues {
        ColumnValues {
            name: name.to_owned(),
            values: AtomicU64::new(0),
            unseen: AtomicU64::new(0),
            clipped: AtomicU64::new(0),
        }
    }
}
