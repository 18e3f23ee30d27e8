//! Metrics of one model version while it is served.

use super::histogram::{DIFFERENCES, Histogram, SCORES};
use super::requests::Requests;
use crate::drift::DriftCounts;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Identity of a model version in metrics, logs and traces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedBy {
    /// Name of the model.
    pub model: Arc<str>,
    /// Version number.
    pub version: u64,
    /// BLAKE3 hash of its manifest, in hex.
    pub hash: Arc<str>,
}

/// Metrics of one version, looked up once. Created by [`Telemetry::serve`](super::Telemetry::serve).
#[derive(Debug)]
pub struct ServedVersion {
    pub(super) by: ServedBy,
    /// `by.version` as a label.
    pub(super) version: String,
    labels: Mutex<String>,
    /// Requests of all versions of this model.
    pub(super) requests: Arc<Requests>,
    pub(super) tasks: Box<[TaskScores]>,
    pub(super) columns: Box<[ColumnValues]>,
    pub(super) drift: OnceLock<Arc<DriftCounts>>,
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
            drift: OnceLock::new(),
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

    /// Returns the identity of the version.
    pub fn by(&self) -> &ServedBy {
        &self.by
    }

    /// Counts the scores of one output. `task` is the index of the output as registered; other indices are
    /// ignored.
    pub fn scores(&self, task: usize, scores: &[f32]) {
        if let Some(task) = self.tasks.get(task) {
            task.scores.observe_all(scores);
        }
    }

    /// Counts the absolute differences between the scores of this version, as a shadow, and those returned
    /// from another.
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

    /// Has these counts shown as indices of the shift of columns and scores; those that were given first stay.
    pub fn compare(&self, drift: Arc<DriftCounts>) {
        self.drift.get_or_init(|| drift);
    }

    /// Counts the values of a column, how many of them training never saw, and how many were numbers clipped
    /// to its range.
    pub fn values(&self, column: usize, n_values: u64, n_unseen: u64, n_clipped: u64) {
        if let Some(column) = self.columns.get(column) {
            column.values.fetch_add(n_values, Relaxed);
            column.unseen.fetch_add(n_unseen, Relaxed);
            column.clipped.fetch_add(n_clipped, Relaxed);
        }
    }

    /// Sets the labels of this version.
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
