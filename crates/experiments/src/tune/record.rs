//! The trials that are finished, in `trials.json`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ncs_eval::tuning::TuningTrial;
use ncs_model::tensor_file;
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// Finished trials, and of which run file they are.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Record {
    #[serde(skip)]
    path: PathBuf,
    run_file: String,
    trials: Vec<TuningTrial>,
}

impl Record {
    /// The record of a folder, empty where there is none.
    pub(super) fn open(folder: &Path, run_file: &str) -> Result<Record, Error> {
        let path = folder.join("trials.json");
        let failed = |what: &str| {
            format!(
                "{}: {what}; choose another folder with --out",
                path.display()
            )
        };
        if !path.exists() {
            let made = fs::create_dir_all(folder);
            made.map_err(|error| failed(&format!("cannot make its folder: {error}")))?;
            return Ok(Record {
                path,
                run_file: run_file.to_owned(),
                trials: Vec::new(),
            });
        }
        let text = fs::read_to_string(&path)?;
        let record: Record = serde_json::from_str(&text)
            .map_err(|error| failed(&format!("is not a record of trials: {error}")))?;
        if record.run_file != run_file {
            return Err(failed("holds trials of another run file").into());
        }
        Ok(Record { path, ..record })
    }

    pub(super) fn trials(&self) -> &[TuningTrial] {
        &self.trials
    }

    /// Adds a trial, on disk as well.
    pub(super) fn add(&mut self, trial: TuningTrial) -> Result<(), Error> {
        self.trials.push(trial);
        let text = serde_json::to_string_pretty(self)? + "\n";
        Ok(tensor_file::write_bytes(&self.path, text.as_bytes())?)
    }

    /// A finished trial of a rung.
    pub(super) fn find(&self, number: usize, rung: usize) -> Option<&TuningTrial> {
        let mut trials = self.trials.iter();
        trials.find(|trial| trial.number == number && trial.rung == rung)
    }

    /// Wall time of all trials.
    pub(super) fn spent(&self) -> Duration {
        Duration::from_secs_f64(self.trials.iter().map(|trial| trial.seconds).sum())
    }

    /// Returns the best of a rung, one in `one_of` of the successful trials, best first; trial 0 is among them.
    pub(super) fn best(&self, rung: usize, one_of: usize) -> Vec<usize> {
        let trials = self.trials.iter().filter(|trial| trial.rung == rung);
        let scored = trials.filter_map(|trial| Some((trial.number, trial.validation_score?)));
        let mut scored: Vec<(usize, f64)> = scored.collect();
        scored.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let n = scored.len().div_ceil(one_of);
        let has_untouched = scored.iter().any(|&(number, _)| number == 0);
        let mut best: Vec<usize> = scored.iter().map(|&(number, _)| number).collect();
        best.truncate(n);
        if has_untouched && !best.contains(&0) {
            best.push(0);
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(number: usize, rung: usize, validation_score: Option<f64>) -> TuningTrial {
        TuningTrial {
            number,
            rung,
            validation_score,
            seconds: 1.5,
            settings: vec![],
        }
    }

    #[test]
    fn the_best_go_on_and_the_untouched_run_file_too() {
        let folder = tempfile::tempdir().unwrap();
        let mut record = Record::open(folder.path(), "a run").unwrap();
        let scores = [0.5, 0.7, 0.6, 0.9, 0.8, 0.4];
        for (number, score) in scores.into_iter().enumerate() {
            record.add(trial(number, 0, Some(score))).unwrap();
        }
        record.add(trial(6, 0, None)).unwrap();
        record.add(trial(7, 1, Some(0.99))).unwrap();
        assert_eq!(record.best(0, 3), [3, 4, 0]);
        assert_eq!(record.best(2, 3), [0usize; 0]);
        assert_eq!(record.spent(), Duration::from_secs(12));
        let again = Record::open(folder.path(), "a run").unwrap();
        assert_eq!(again.trials(), record.trials());
        assert!(again.find(7, 1).is_some() && again.find(7, 0).is_none());
        let error = Record::open(folder.path(), "another").unwrap_err();
        assert!(error.to_string().contains("trials of another run file"));
    }
}
