//! The trainings of a backtest: each is done when its model is needed, and not again if it is finished.

use crate::error::Error;
use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::AtomicBool;

use ncs_eval::BacktestDay;
use ncs_readers::{PrepareError, Reading, Split};

use super::days::Day;
use super::late::LateTasks;
use super::steps::{Ended, Steps};
use super::{BacktestPlan, day_of};
use crate::progress::{Progress, grouped};
use crate::scoring::{self, EvaluationListener, LoadedModel, Rows};
use crate::{cost, memory, stop, training};
use ncs_config::RunFile;

/// A training of some days that goes on from another one, or starts from scratch.
#[derive(Clone, Debug)]
pub(super) struct Step {
    /// Hash of its settings, its rows and the training before.
    pub(super) key: String,
    days: RangeInclusive<usize>,
    parent: Option<Rc<Step>>,
}

/// The trainings and evaluations.
pub(super) struct Trainings<'a> {
    plan: &'a BacktestPlan<'a>,
    days: &'a [Day],
    late: LateTasks,
    steps: Steps,
    /// The run file after its overrides, as a text.
    settings: String,
    /// Overrides that are the same for every training.
    assignments: Vec<String>,
    notes: Vec<String>,
    progress: Progress,
    stop: &'a AtomicBool,
}

impl<'a> Trainings<'a> {
    pub(super) fn new(
        plan: &'a BacktestPlan<'a>,
        base: &RunFile,
        days: &'a [Day],
        late: LateTasks,
        steps: Steps,
        progress: Progress,
        stop: &'a AtomicBool,
    ) -> Result<Trainings<'a>, Error> {
        let mut assignments = plan.assignments.to_vec();
        assignments.extend(["data.valid=[]".to_owned(), "data.test=[]".to_owned()]);
        assignments.push(split(&base.plan.data.split, plan.valid));
        // Intervals of the validation rows are not used.
        assignments.push("evaluation.bootstrap=0".to_owned());
        let was_separated = days.iter().any(|day| day.reading != base.plan.data.reading);
        assignments.extend(lookups(&base.plan.data.reading, was_separated));
        if was_separated || base.states(&["data", "format"]) {
            let format = days
                .first()
                .and_then(|day| day.files.first()?.extension()?.to_str());
            if format == Some("arrow") {
                assignments.push("data.format=\"arrow\"".to_owned());
            }
        }
        Ok(Trainings {
            plan,
            days,
            late,
            steps,
            settings: base.standing_alone(),
            assignments,
            notes: Vec::new(),
            progress,
            stop,
        })
    }

    /// Returns notes about days that no model was trained on.
    pub(super) fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Returns the training on `days`, from scratch or going on from `parent`, done now unless it is finished. `None`
    /// if these rows allow none, which is noted.
    pub(super) fn train(
        &mut self,
        days: RangeInclusive<usize>,
        parent: Option<Rc<Step>>,
    ) -> Result<Option<Rc<Step>>, Error> {
        let step = Step {
            key: self.key(&days, parent.as_deref()),
            days,
            parent,
        };
        if self.steps.training(&step.key).is_none() {
            self.do_training(&step)?;
        }
        match self.steps.training(&step.key) {
            Some(Ended::Skipped { reason }) => {
                let note = format!("not trained on {}: {reason}", self.span(&step.days));
                if !self.notes.contains(&note) {
                    self.progress.log(&note);
                    self.notes.push(note);
                }
                Ok(None)
            }
            _ => Ok(Some(Rc::new(step))),
        }
    }

    fn key(&self, days: &RangeInclusive<usize>, parent: Option<&Step>) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.settings.as_bytes());
        // Files may move; what they hold is part of the key below.
        hasher.update(self.assignments.join("\n").as_bytes());
        let known = parent.map(|parent| *parent.days.end());
        for day in &self.days[self.late.reach(self.days, days, known)] {
            hasher.update(day.key.to_string().as_bytes());
            hasher.update(day.hash.as_bytes());
        }
        hasher.update(
            parent
                .map_or("from scratch", |parent| &parent.key)
                .as_bytes(),
        );
        hasher.finalize().to_hex().to_string()
    }

    /// `2024-01-03`, or `2024-01-01..2024-01-03`
    fn span(&self, days: &RangeInclusive<usize>) -> String {
        let [first, last] = [days.start(), days.end()].map(|at| self.days[*at].key);
        if first == last {
            first.to_string()
        } else {
            format!("{first}..{last}")
        }
    }

    fn rows(&self, step: &Step) -> u64 {
        self.days[step.days.clone()]
            .iter()
            .map(|day| day.rows)
            .sum()
    }

    fn folder(&self, step: &Step) -> PathBuf {
        let name = format!("{}-{:.12}", self.days[*step.days.end()].key, step.key);
        self.plan.folder.join("models").join(name)
    }

    /// Trains, or resumes, and records the end.
    fn do_training(&mut self, step: &Step) -> Result<(), Error> {
        let parent = step.parent.clone();
        let parent = parent.map(|parent| self.model(&parent)).transpose()?;
        let file = self.open(step, parent.as_deref())?;
        memory::check(&file)?;
        let rows = grouped(self.rows(step));
        let how = if parent.is_some() { "further " } else { "" };
        let span = self.span(&step.days);
        self.progress
            .log(&format!("{span}: training {how}on {rows} rows"));
        let folder = self.folder(step);
        let done = training::run(&file, &folder, Progress::Quiet, self.stop);
        stop::refuse(self.stop, "run the same command again to continue")?;
        let ended = match done {
            Ok(_) => Ended::Trained {
                seconds: cost::read(&folder)?.seconds,
            },
            // The run file was right before the rows were read: the labels or the features of these rows are at fault.
            Err(error) if is_of_rows(&error) => Ended::Skipped {
                reason: error.to_string(),
            },
            Err(error) => return Err(error),
        };
        if let Ended::Skipped { .. } = &ended {
            remove(&folder)?;
        }
        self.steps.add_training(&step.key, ended)
    }

    /// Returns the run file of a training.
    fn open(&self, step: &Step, parent: Option<&Path>) -> Result<RunFile, Error> {
        let known = step.parent.as_ref().map(|parent| *parent.days.end());
        let files = self.days[self.late.reach(self.days, &step.days, known)]
            .iter()
            .flat_map(|day| &day.files);
        let files = files.map(|file| {
            let file = ncs_readers::absolute(file);
            toml::Value::String(file.display().to_string())
        });
        let files = files.collect::<Vec<_>>();
        let mut assignments = self.assignments.clone();
        assignments.push(format!("data.train={}", toml::Value::Array(files)));
        let last = *step.days.end();
        assignments.extend(self.late.assignments(self.days, last, known));
        if let Some(parent) = parent {
            let parent = std::path::absolute(parent)?.display().to_string();
            assignments.push(format!("start.model={}", toml::Value::String(parent)));
        }
        Ok(RunFile::open(self.plan.run, &assignments)?)
    }

    /// Returns the folder with the model of a training; if it was deleted, the training is done again.
    fn model(&mut self, step: &Step) -> Result<PathBuf, Error> {
        let folder = self.folder(step);
        if !(cost::is_finished(&folder) && folder.join("model/manifest.json").is_file()) {
            self.do_training(step)?;
        }
        Ok(folder)
    }

    /// Evaluates the model of a training on day number `at`; `is_new`: it was trained for this day. `None` if the day
    /// has no labels, which is noted.
    pub(super) fn evaluate(
        &mut self,
        step: &Step,
        at: usize,
        is_new: bool,
    ) -> Result<Option<BacktestDay>, Error> {
        let days = self.days;
        let key = format!("{}/{}/{}", step.key, days[at].key, days[at].hash.to_hex());
        let found = match self.steps.evaluation(&key) {
            Some(found) => found.clone(),
            None => {
                let found = self.evaluate_now(step, &days[at])?;
                self.steps.add_evaluation(&key, found.clone())?;
                found
            }
        };
        if found.metrics.tasks.values().all(|task| task.rows == 0) {
            let note = format!("{} has no labels; it is not evaluated", days[at].key);
            if !self.notes.contains(&note) {
                self.progress.log(&note);
                self.notes.push(note);
            }
            return Ok(None);
        }
        let seconds = match self.steps.training(&step.key) {
            Some(Ended::Trained { seconds }) if is_new => Some(*seconds),
            _ => None,
        };
        Ok(Some(BacktestDay {
            trained_on: self.span(&step.days),
            training_rows: self.rows(step),
            seconds,
            ..found
        }))
    }

    fn evaluate_now(&mut self, step: &Step, day: &Day) -> Result<BacktestDay, Error> {
        let folder = self.model(step)?;
        let model = LoadedModel::open(&folder)?;
        let rows = Rows::Files {
            files: day.files.clone(),
            reading: day.reading.clone(),
        };
        let mut listener = EvaluationListener {
            note: &mut |_| {},
            advance: &mut |_| {},
            finish: &mut |_| Ok(()),
        };
        let mut pass = scoring::pass(None);
        let evaluation = scoring::evaluate(&model, rows, &[], &mut pass, self.stop, &mut listener);
        stop::refuse(self.stop, "run the same command again to continue")?;
        let found = day_of(day, &evaluation?);
        let auc = |(name, task): (&String, &ncs_eval::TaskMetrics)| {
            let auc = task
                .auc
                .map_or("none".to_owned(), |auc| format!("{auc:.4}"));
            format!("{name} AUC {auc}")
        };
        let figures: Vec<String> = found.metrics.tasks.iter().map(auc).collect();
        let trained = self.span(&step.days);
        self.progress.log(&format!(
            "{} by the model of {trained}: {}",
            day.key,
            figures.join(", ")
        ));
        Ok(found)
    }

    /// Deletes the model of a training that no later one goes on from, unless all are kept.
    pub(super) fn drop_model(&self, step: &Step) -> Result<(), String> {
        if self.plan.keep_models {
            Ok(())
        } else {
            remove(&self.folder(step))
        }
    }
}

/// Returns true if the rows of a training are at fault, and not the run file, which was right before they were read.
fn is_of_rows(error: &Error) -> bool {
    match error {
        Error::RunFile(_) => true,
        Error::Prepare(error) => matches!(
            **error,
            PrepareError::Fit(_) | PrepareError::NoTrainingRows { .. }
        ),
        _ => false,
    }
}

/// Deletes a folder, if there is one.
fn remove(folder: &Path) -> Result<(), String> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("{}: cannot delete it: {error}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// Returns the override that divides the rows of a training into those that teach and those that validate. A split by
/// time divides a log, not a day; the latest rows of a day are not alike to its others.
pub(super) fn split(stated: &Split, valid: f64) -> String {
    let text = |text: &str| toml::Value::String(text.to_owned());
    match stated {
        Split::Hash {
            column,
            valid,
            seed,
            ..
        } => format!(
            "data.split={{ by = \"hash\", column = {}, valid = {valid:?}, seed = {seed} }}",
            text(column)
        ),
        Split::Row { valid, seed, .. } => {
            format!("data.split={{ by = \"row\", valid = {valid:?}, seed = {seed} }}")
        }
        _ => format!("data.split={{ by = \"row\", valid = {valid:?} }}"),
    }
}

/// Returns the assignment of the lookups: none where the separated days have the columns, otherwise those of the run file,
/// with the moments of the rows stated, since another split no longer tells them.
fn lookups(reading: &Reading, was_separated: bool) -> Option<String> {
    if reading.lookups.is_empty() {
        return None;
    }
    let mut sections = toml::Table::new();
    for lookup in reading.lookups.iter().filter(|_| !was_separated) {
        let mut section = toml::Table::new();
        section.insert("files".to_owned(), lookup.files.clone().into());
        if let Some(columns) = &lookup.columns {
            section.insert("columns".to_owned(), columns.clone().into());
        }
        if let Some(time) = &lookup.time {
            section.insert("time".to_owned(), time.record.clone().into());
            section.insert("row_time".to_owned(), time.row.clone().into());
            let unit = time.unit.map(toml::Value::try_from);
            section.extend(
                unit.and_then(Result::ok)
                    .map(|unit| ("unit".to_owned(), unit)),
            );
        }
        sections.insert(lookup.key.clone(), section.into());
    }
    Some(format!("data.lookup={}", toml::Value::Table(sections)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_split_by_rows_is_kept_and_a_split_by_time_is_not() {
        let hash = Split::Hash {
            column: "user".to_owned(),
            valid: 0.2,
            test: 0.3,
            seed: 7,
        };
        assert_eq!(
            split(&hash, 0.1),
            "data.split={ by = \"hash\", column = \"user\", valid = 0.2, seed = 7 }"
        );
        assert_eq!(
            split(&Split::Files, 0.1),
            "data.split={ by = \"row\", valid = 0.1 }"
        );
    }
}
