//! `ncs tune`: settings that the run file leaves open, tried on validation rows by successive halving
//! (Jamieson and Talwalkar 2016).
//!
//! Many settings are trained for one epoch, the best third of them for three, the best third of those until
//! validation no longer improves; each rung may spend a third of the budget. Trial 0 is the run file as it is and
//! goes through all rungs, so the chosen settings validate at least as well. Test rows are never scored. Finished
//! trials are in `trials.json`: called again with the same folder, a tuning resumes.
//!
//! ```text
//! DIR/trials.json  tuned.toml  tune.html  tune.json  trials/NUMBER-RUNG/
//! ```

mod record;
mod space;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use ncs_config::{RunFile, RunPlan};
use ncs_eval::tuning::{Tuning, TuningTrial};
use ncs_eval::{Metrics, render_tuning_html};
use ncs_model::tensor_file;

use crate::error::Error;
use crate::progress::Progress;
use crate::training;
use record::Record;
use space::Space;

/// Epochs of each rung; the last runs as long as the run file states.
const RUNGS: [Option<u32>; 3] = [Some(1), Some(3), None];

/// Ratio of a rung's trials to those that go on to the next rung.
const KEPT: usize = 3;

/// Most trials of the first rung.
const MOST_TRIALS: usize = 243;

/// A tuning under way.
struct Tuner<'a> {
    run: &'a Path,
    assignments: &'a [String],
    folder: &'a Path,
    budget: Duration,
    space: Space,
    record: Record,
    progress: Progress,
    stop: &'a AtomicBool,
}

/// Tunes the run file at `run`, after `assignments`, for about `budget` of wall time, and writes the best run file
/// and what mattered into `folder`.
///
/// # Errors
/// The run file or its data are wrong, there are no validation rows, every trial failed, or a stop was requested.
pub fn run(
    run: &Path,
    assignments: &[String],
    folder: &Path,
    budget: Duration,
    progress: Progress,
    stop: &AtomicBool,
) -> Result<Tuning, Error> {
    let file = RunFile::open(run, assignments)?;
    let space = Space::of(&file);
    if !ncs_config::has_validation(&file.plan.data) {
        return Err(format!(
            "{}: tuning needs validation rows; state data.valid or data.split",
            run.display()
        )
        .into());
    }
    let record = Record::open(folder, &file.standing_alone())?;
    let mut tuner = Tuner {
        run,
        assignments,
        folder,
        budget,
        space,
        record,
        progress,
        stop,
    };
    tuner.run_rungs()?;
    let (best, tuning) = tuner.result()?;
    tuner.write(best, &tuning)?;
    Ok(tuning)
}

impl Tuner<'_> {
    fn run_rungs(&mut self) -> Result<(), Error> {
        let mut candidates: Vec<usize> = (0..MOST_TRIALS).collect();
        for rung in 0..RUNGS.len() {
            let until = self.budget.mul_f64((rung + 1) as f64 / RUNGS.len() as f64);
            for (place, &trial) in candidates.iter().enumerate() {
                let is_known = self.record.find(trial, rung).is_some();
                // Trial 0 and others to compare it with are trained even if the budget is spent.
                if !is_known && place >= KEPT && self.record.spent() >= until {
                    break;
                }
                if !is_known {
                    self.run_trial(trial, rung)?;
                }
            }
            candidates = self.record.best(rung, KEPT);
            if candidates.is_empty() {
                return Err("every trial failed; see the reasons above".into());
            }
        }
        Ok(())
    }

    fn run_trial(&mut self, trial: usize, rung: usize) -> Result<(), Error> {
        let settings = self.space.settings(trial);
        let started = Instant::now();
        let outcome = self.train(trial, rung, &settings);
        crate::stop::refuse(self.stop, "run the same command again to continue")?;
        let validation_score = match outcome {
            Ok(validation_score) => validation_score,
            Err(error) => {
                self.progress.log(&format!("trial {trial} failed: {error}"));
                None
            }
        };
        let seconds = started.elapsed().as_secs_f64();
        let shown = validation_score.map_or("-".to_owned(), |validation_score| {
            format!("{validation_score:.4}")
        });
        self.progress.log(&format!(
            "trial {trial}, rung {}: {shown}  {}",
            rung + 1,
            settings.join(" ")
        ));
        self.record.add(TuningTrial {
            number: trial,
            rung,
            validation_score,
            seconds,
            settings: settings.iter().filter_map(|text| pair(text)).collect(),
        })
    }

    /// Trains a trial and returns its validation metric.
    fn train(&self, trial: usize, rung: usize, settings: &[String]) -> Result<Option<f64>, Error> {
        let file = self.open(settings, RUNGS[rung])?;
        let folder = self.trial_folder(trial, rung);
        let finished = training::run(&file, &folder, Progress::new(true), self.stop)?;
        let valid = finished
            .evaluated
            .iter()
            .find(|evaluated| evaluated.part == "valid");
        let validation_score = valid.and_then(|evaluated| validation_score(&evaluated.metrics));
        // Weights of a trial are not needed after its evaluation.
        fs::remove_dir_all(&folder)?;
        Ok(validation_score)
    }

    fn trial_folder(&self, trial: usize, rung: usize) -> PathBuf {
        let name = format!("{trial:03}-{}", rung + 1);
        self.folder.join("trials").join(name)
    }

    /// Opens the run file with these settings, for `epochs` epochs if it does not state them, without test rows.
    fn open(&self, settings: &[String], epochs: Option<u32>) -> Result<RunFile, Error> {
        let mut assignments = self.assignments.to_vec();
        assignments.extend(settings.iter().cloned());
        if let Some(epochs) = epochs.filter(|_| self.space.may_shorten()) {
            assignments.push(format!("training.epochs={epochs}"));
        }
        let mut file = RunFile::open(self.run, &assignments)?;
        let RunPlan {
            data,
            evaluation,
            train,
            ..
        } = &mut file.plan;
        // A refit is about test rows alone: it leaves the validation figures as they are.
        train.refit = false;
        data.test.clear();
        evaluation.test = false;
        evaluation.bootstrap = 0;
        Ok(file)
    }

    /// The best trial of the last rung, and what all of them show.
    fn result(&self) -> Result<(usize, Tuning), Error> {
        let last = RUNGS.len() - 1;
        let best = self.record.best(last, 1);
        let best = *best.first().ok_or("no trial got through all rungs")?;
        let validation_score = |trial| {
            self.record
                .find(trial, last)
                .and_then(|t| t.validation_score)
        };
        let tuning = Tuning {
            title: format!("Tuning of {}", self.run.display()),
            best: self.record.find(best, last).cloned(),
            untouched: validation_score(0),
            effects: space::effects(self.record.trials()),
            trials: self.record.trials().to_vec(),
        };
        Ok((best, tuning))
    }

    fn write(&self, best: usize, tuning: &Tuning) -> Result<(), Error> {
        let mut assignments = self.assignments.to_vec();
        assignments.extend(self.space.settings(best));
        let tuned = RunFile::open(self.run, &assignments)?.standing_alone();
        let mut json = serde_json::to_string_pretty(tuning)?;
        json.push('\n');
        for (name, text) in [
            ("tuned.toml", tuned),
            ("tune.json", json),
            ("tune.html", render_tuning_html(tuning)),
        ] {
            tensor_file::write_bytes(&self.folder.join(name), text.as_bytes())?;
        }
        Ok(())
    }
}

fn pair(setting: &str) -> Option<(String, String)> {
    let (key, value) = setting.split_once('=')?;
    Some((key.to_owned(), value.to_owned()))
}

/// The mean over the tasks of AUC (of a ratio, of 1 less the squared error; of a value, of 1 less the relative one), each weighted by the root of the
/// labels that it rests on, as in training.
fn validation_score(metrics: &Metrics) -> Option<f64> {
    let (mut sum, mut weights) = (0.0, 0.0);
    for task in metrics.tasks.values() {
        let n = match task.auc {
            Some(_) => task.positives.min(task.rows - task.positives),
            None => task.rows,
        };
        let value = task.selection_score()?;
        let weight = (n as f64).sqrt();
        sum += weight * value;
        weights += weight;
    }
    Some(sum / weights).filter(|mean| mean.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ncs_eval::TaskMetrics;

    #[test]
    fn tasks_weigh_by_the_root_of_their_rarer_labels() {
        let task = |auc, rows, positives| TaskMetrics {
            auc: Some(auc),
            rows,
            positives,
            ..TaskMetrics::default()
        };
        let metrics = |tasks: Vec<(&str, TaskMetrics)>| Metrics {
            tasks: tasks.into_iter().map(|(n, t)| (n.to_owned(), t)).collect(),
            ..Metrics::default()
        };
        let found = validation_score(&metrics(vec![
            ("ctr", task(0.8, 10_000, 900)),
            ("cvr", task(0.6, 900, 800)),
        ]));
        assert!((found.unwrap() - (30.0 * 0.8 + 10.0 * 0.6) / 40.0).abs() < 1e-12);
        let none = TaskMetrics::default();
        assert_eq!(validation_score(&metrics(vec![("ctr", none)])), None);
    }
}
