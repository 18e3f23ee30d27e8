//! Finished trainings and evaluations, by key, in `steps.json`.

use crate::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use ncs_eval::BacktestDay;
use ncs_model::tensor_file;
use serde::{Deserialize, Serialize};

const FILE: &str = "steps.json";

/// A training that has ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Ended {
    /// It has a model.
    Trained {
        /// Processor time, in seconds.
        seconds: f64,
    },
    /// Its rows allow no training.
    Skipped {
        /// Why not.
        reason: String,
    },
}

/// Finished steps.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Steps {
    #[serde(skip)]
    path: PathBuf,
    trainings: IndexMap<String, Ended>,
    /// By the keys of the training and of the day.
    evaluations: IndexMap<String, BacktestDay>,
}

impl Steps {
    /// Reads the steps of a folder; none where there is no file.
    ///
    /// # Errors
    /// The file cannot be read, or was changed.
    pub(super) fn open(folder: &Path) -> Result<Steps, String> {
        let path = folder.join(FILE);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Steps {
                    path,
                    ..Steps::default()
                });
            }
            text => text.map_err(|error| format!("{}: {error}", path.display()))?,
        };
        let steps: Steps = serde_json::from_str(&text).map_err(|error| {
            format!(
                "{}: not the steps of a backtest: {error}; delete the file to do all of them again",
                path.display()
            )
        })?;
        Ok(Steps { path, ..steps })
    }

    pub(super) fn training(&self, key: &str) -> Option<&Ended> {
        self.trainings.get(key)
    }

    pub(super) fn evaluation(&self, key: &str) -> Option<&BacktestDay> {
        self.evaluations.get(key)
    }

    /// Adds a training, on disk as well.
    pub(super) fn add_training(&mut self, key: &str, ended: Ended) -> Result<(), Error> {
        self.trainings.insert(key.to_owned(), ended);
        self.write()
    }

    /// Adds an evaluation, on disk as well.
    pub(super) fn add_evaluation(&mut self, key: &str, day: BacktestDay) -> Result<(), Error> {
        self.evaluations.insert(key.to_owned(), day);
        self.write()
    }

    fn write(&self) -> Result<(), Error> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        Ok(tensor_file::write_bytes(&self.path, text.as_bytes())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_kept_and_a_changed_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut steps = Steps::open(folder.path()).unwrap();
        steps
            .add_training("a", Ended::Trained { seconds: 2.5 })
            .unwrap();
        let reason = "no labels".to_owned();
        steps.add_training("b", Ended::Skipped { reason }).unwrap();
        let day = BacktestDay {
            day: "2024-01-02".to_owned(),
            ..BacktestDay::default()
        };
        steps.add_evaluation("a/x", day.clone()).unwrap();
        let again = Steps::open(folder.path()).unwrap();
        assert_eq!(again.training("a"), Some(&Ended::Trained { seconds: 2.5 }));
        assert!(matches!(again.training("b"), Some(Ended::Skipped { .. })));
        assert_eq!(again.evaluation("a/x"), Some(&day));
        assert_eq!(again.training("c"), None);
        fs::write(folder.path().join(FILE), "{").unwrap();
        assert!(
            Steps::open(folder.path())
                .unwrap_err()
                .contains("delete the file")
        );
    }
}
