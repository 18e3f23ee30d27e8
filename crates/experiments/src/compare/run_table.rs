//! State of a comparison's runs: the settings of each run, the finished runs, and the runs that can start.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use ncs_config::RunFile;
use ncs_eval::TaskMetrics;
use serde_json::json;

use super::figures::figures;
use super::plan::{Cell, Plan, RunOf, absolute};
use super::sizes;
use super::toml_types::Match;
use crate::cost;
use crate::error::Error;
use crate::memory;

/// A plan and the state of its runs.
#[derive(Debug)]
pub(crate) struct RunTable<'a> {
    pub(crate) plan: &'a Plan,
    /// Results of the settings check, one for each trained cell in order.
    checked: Vec<Checked>,
    /// Validation scores of finished trials, by run folder.
    validations: HashMap<PathBuf, Option<f64>>,
    /// Folders of this comparison's runs that have finished or failed.
    ended: HashSet<PathBuf>,
    /// Reasons of runs that failed in this process, by run folder.
    pub(crate) failed: HashMap<PathBuf, String>,
}

/// Results of the settings check of a cell.
#[derive(Debug)]
struct Checked {
    last_task: String,
    /// Hidden widths that fit the budget.
    hidden: Option<Vec<usize>>,
    /// Size that networks are scaled to, in the units of the plan's [`Match`].
    budget: f64,
}

/// Arguments to start a run.
#[derive(Clone, Debug)]
pub(crate) struct RunArguments {
    pub(crate) run: RunOf,
    pub(crate) run_file: PathBuf,
    pub(crate) settings: Vec<String>,
    pub(crate) folder: PathBuf,
}

/// State of a cell.
#[derive(Debug)]
pub(crate) enum CellState {
    /// Runs that can start.
    Runs(Vec<RunArguments>),
    /// All remaining runs need runs of another method first.
    Blocked,
    /// All runs have finished or failed.
    Done,
}

impl<'a> RunTable<'a> {
    /// Checks the settings of every cell against its data. Synthetic logs must exist.
    ///
    /// Fails for the first cell with invalid settings, with all errors in them.
    pub(crate) fn new(plan: &'a Plan) -> Result<RunTable<'a>, Error> {
        let mut table = RunTable {
            plan,
            checked: Vec::new(),
            validations: HashMap::new(),
            ended: HashSet::new(),
            failed: HashMap::new(),
        };
        for cell in plan.trained_cells() {
            let checked = table.check(cell)?;
            table.checked.push(checked);
        }
        Ok(table)
    }

    fn check(&self, cell: &Cell) -> Result<Checked, Error> {
        let plan = self.plan;
        let log = plan.log_files(&cell.data, plan.first_seed());
        let mut settings = plan.settings(cell);
        settings.extend(log.iter().cloned());
        let takes_masks = plan.method(cell).masks_of.is_some();
        if takes_masks {
            // The masks do not exist yet.
            settings.push("search.kind=\"random\"".to_owned());
        }
        let path = plan.run_file(&cell.data, plan.first_seed());
        let open = |settings: &[String]| {
            let opened = RunFile::open(&path, settings);
            let checked = opened.and_then(|file| memory::check(&file).map(|()| file));
            checked.map_err(|error| {
                format!(
                    "data set {:?}, method {:?}:\n{error}",
                    cell.data, cell.method
                )
            })
        };
        let run = open(&settings)?;
        if let (true, Some(base)) = (takes_masks, plan.base(cell)) {
            let base_run = open(&[plan.settings(&base), log].concat())?;
            if !base_run.plan.network.kind.has_masks() {
                let Cell { data, method } = cell;
                let text = format!(
                    "data set {data:?}, method {method:?}: masks_of names {:?}, whose network has no masks",
                    base.method
                );
                return Err(text.into());
            }
        }
        let last_task = run.plan.schema.tasks.last().map(|task| task.name.clone());
        let last_task = last_task.unwrap_or_default();
        for trial in 0..plan.file.tuning.trials {
            settings.extend(plan.trial(trial, &last_task));
        }
        let has_widths = run.plan.network.kind.has_hidden_layers();
        let own_width = takes_masks || plan.method(cell).weights_of.is_some();
        let budget = sizes::budget(&run.plan, plan.matching);
        let hidden = match plan.method(cell).width {
            _ if !has_widths => None,
            Some(factor) => Some(sizes::scaled(&run.plan.network.hidden, factor)),
            None => (plan.matching != Match::None && !own_width)
                .then(|| sizes::hidden(&run.plan, budget, plan.matching)),
        };
        settings.extend(widths(hidden.as_ref()));
        open(&settings)?;
        Ok(Checked {
            last_task,
            hidden,
            budget,
        })
    }

    /// Returns the budget of the networks on the cell's data: weights, or multiplications a score.
    pub(crate) fn budget(&self, cell: &Cell) -> f64 {
        self.checked(cell).budget
    }

    fn checked(&self, cell: &Cell) -> &Checked {
        let index = self.plan.trained_cells().position(|other| other == cell);
        &self.checked[index.expect("a trained cell of this plan")]
    }

    /// Returns the state of a cell.
    ///
    /// # Errors
    /// Fails if results of finished runs cannot be read.
    pub(crate) fn next(&mut self, cell: &Cell) -> Result<CellState, Error> {
        // A run may end between two looks at it. The trials that `selected` found unfinished have then all ended,
        // and the seeds are still to run: ask again.
        loop {
            let selection = self.selected(cell)?;
            let state = self.state_of(cell, &selection)?;
            let is_pending = matches!(selection, Selection::Pending);
            if !(is_pending && matches!(state, CellState::Done)) {
                return Ok(state);
            }
        }
    }

    /// Returns the state of the runs that a selection asks for: the trials while it is pending, else the seeds.
    fn state_of(&mut self, cell: &Cell, selection: &Selection) -> Result<CellState, Error> {
        let tuning = &self.plan.file.tuning;
        let runs: Vec<RunOf> = match *selection {
            Selection::Blocked => return Ok(CellState::Blocked),
            Selection::Pending => (0..tuning.trials)
                .flat_map(|trial| tuning.seeds.iter().map(move |&seed| (seed, trial)))
                .map(|(seed, trial)| self.run_of(cell, seed, trial))
                .collect(),
            Selection::Trial(trial) => {
                let seeds = self.plan.file.seeds.iter();
                seeds.map(|&seed| self.run_of(cell, seed, trial)).collect()
            }
            Selection::None => return Ok(CellState::Done),
        };
        let mut starts = Vec::new();
        let mut is_blocked = false;
        for run in runs {
            match self.start(run)? {
                Some(start) if self.has_ended(&start.folder) => {
                    self.ended.insert(start.folder);
                }
                Some(start) => starts.push(start),
                None => is_blocked = true,
            }
        }
        Ok(match (starts.is_empty(), is_blocked) {
            (false, _) => CellState::Runs(starts),
            (true, true) => CellState::Blocked,
            (true, false) => CellState::Done,
        })
    }

    fn run_of(&self, cell: &Cell, seed: u64, trial: u32) -> RunOf {
        RunOf {
            cell: cell.clone(),
            seed,
            trial,
        }
    }

    /// Returns the number of runs that have finished or failed so far.
    pub(crate) fn n_ended(&self) -> u64 {
        self.ended.len() as u64
    }

    pub(crate) fn has_ended(&self, folder: &Path) -> bool {
        cost::is_finished(folder) || self.failed.contains_key(folder)
    }

    /// Returns the finished runs of a cell with the selected settings, and all its trials.
    ///
    /// # Errors
    /// Fails if results of finished runs cannot be read.
    pub(crate) fn results(&mut self, cell: &Cell) -> Result<CellResults, Error> {
        let tuning = &self.plan.file.tuning;
        let mut trials = Vec::new();
        for trial in 0..tuning.trials {
            let first = self.run_of(cell, self.plan.first_seed(), trial);
            if let Some(start) = self.start(first)? {
                let state = self.trial_state(cell, trial)?;
                trials.push((start, state.value()));
            }
        }
        let selected = match self.selected(cell)? {
            Selection::Trial(trial) => Some(trial),
            _ => None,
        };
        let mut seeds = Vec::new();
        for &seed in &self.plan.file.seeds {
            let Some(trial) = selected else { break };
            match self.start(self.run_of(cell, seed, trial))? {
                Some(start) if cost::is_finished(&start.folder) => seeds.push(start),
                _ => {}
            }
        }
        Ok(CellResults {
            trials,
            selected,
            seeds,
        })
    }

    /// Selects the trial with the best validation score; ties go to the earlier.
    fn selected(&mut self, cell: &Cell) -> Result<Selection, Error> {
        let tuning = &self.plan.file.tuning;
        let mut best: Option<(u32, f64)> = None;
        for trial in 0..tuning.trials {
            let value = match self.trial_state(cell, trial)? {
                TrialState::Blocked => return Ok(Selection::Blocked),
                TrialState::Pending => return Ok(Selection::Pending),
                TrialState::Ended(value) => value,
            };
            if let Some(value) = value.filter(|value| best.is_none_or(|best| *value > best.1)) {
                best = Some((trial, value));
            }
        }
        Ok(best.map_or(Selection::None, |(trial, _)| Selection::Trial(trial)))
    }

    /// Returns the state of a trial; its validation score is the mean over the seeds of trials.
    fn trial_state(&mut self, cell: &Cell, trial: u32) -> Result<TrialState, Error> {
        let seeds = &self.plan.file.tuning.seeds;
        let mut values = Vec::new();
        for &seed in seeds {
            let Some(start) = self.start(self.run_of(cell, seed, trial))? else {
                return Ok(TrialState::Blocked);
            };
            if !self.has_ended(&start.folder) {
                return Ok(TrialState::Pending);
            }
            values.push(self.validation(&start.folder)?);
            self.ended.insert(start.folder);
        }
        let sum: Option<f64> = values.iter().copied().sum();
        Ok(TrialState::Ended(sum.map(|sum| sum / values.len() as f64)))
    }

    /// Returns the arguments of a run; `None` while it needs another method's run.
    fn start(&mut self, run: RunOf) -> Result<Option<RunArguments>, Error> {
        let plan = self.plan;
        let cell = run.cell.clone();
        let mut settings = plan.settings(&cell);
        let mut model = None;
        match plan.base(&cell) {
            Some(base) => {
                let Some(folder) = self.finished_base(&base, run.seed)? else {
                    return Ok(None);
                };
                if plan.method(&cell).masks_of.is_some() {
                    settings.extend(widths(self.checked(&base).hidden.as_ref()));
                    model = Some(folder);
                } else {
                    settings.extend(self.widths_like(&cell, &folder)?);
                }
            }
            None => settings.extend(widths(self.checked(&cell).hidden.as_ref())),
        }
        let last_task = &self.checked(&cell).last_task;
        settings.extend(plan.trial(run.trial, last_task));
        // If every seed has its own rows, scores are not compared row by row across seeds.
        let is_file = plan.data(&cell).synth.is_none();
        settings.extend([
            format!("seed={}", run.seed),
            format!("threads={}", plan.file.threads),
            "evaluation.bootstrap=0".to_owned(),
            format!("evaluation.keep_scores={is_file}"),
        ]);
        let run_file = plan.run_file(&cell.data, run.seed);
        let text = fs::read_to_string(&run_file)?;
        let base = model.as_ref().and_then(|model| model.file_name());
        let base = base.map(|name| name.to_string_lossy());
        let hash = blake3::hash(json!([settings, base, text]).to_string().as_bytes());
        let name = format!("seed-{}-{}", run.seed, &hash.to_hex()[..8]);
        settings.push(format!(
            "data.cache={:?}",
            absolute(&plan.folder.join("cache"))
        ));
        settings.extend(plan.log_files(&cell.data, run.seed));
        if let Some(model) = model {
            settings.push(format!("search.model={:?}", absolute(&model)));
        }
        Ok(Some(RunArguments {
            folder: plan
                .folder
                .join("runs")
                .join(&cell.data)
                .join(&cell.method)
                .join(name),
            run_file,
            settings,
            run,
        }))
    }

    /// Returns the folder of the base method's run with this seed, once it is finished.
    fn finished_base(&mut self, base: &Cell, seed: u64) -> Result<Option<PathBuf>, Error> {
        let Selection::Trial(trial) = self.selected(base)? else {
            return Ok(None);
        };
        let start = self.start(self.run_of(base, seed, trial))?;
        Ok(start
            .map(|start| start.folder)
            .filter(|folder| cost::is_finished(folder)))
    }

    /// Returns the widths with which a method has as many weights as the run in `folder` keeps.
    fn widths_like(&self, cell: &Cell, folder: &Path) -> Result<Vec<String>, Error> {
        let path = self.plan.run_file(&cell.data, self.plan.first_seed());
        let mut settings = self.plan.settings(cell);
        settings.extend(self.plan.log_files(&cell.data, self.plan.first_seed()));
        let run = RunFile::open(&path, &settings)?;
        let budget = cost::read(folder)?.weights as f64;
        let hidden = sizes::hidden(&run.plan, budget, Match::Parameters);
        Ok(widths(Some(&hidden)))
    }

    /// Returns the validation score of a finished run: the mean over tasks of AUC, or of minus the squared
    /// error. `None` if it failed or a task could not be evaluated.
    fn validation(&mut self, folder: &Path) -> Result<Option<f64>, Error> {
        if let Some(cached) = self.validations.get(folder) {
            return Ok(*cached);
        }
        if !cost::is_finished(folder) {
            return Ok(None);
        }
        let figures = figures(folder)?;
        let on_valid = match figures.part.as_deref() {
            Some("valid") => Some(figures.metrics),
            _ => figures.valid,
        };
        let value = on_valid.and_then(|metrics| {
            let scores = metrics.tasks.values().map(TaskMetrics::selection_score);
            let values: Option<Vec<f64>> = scores.collect();
            values.map(|values| values.iter().sum::<f64>() / values.len().max(1) as f64)
        });
        self.validations.insert(folder.to_owned(), value);
        Ok(value)
    }
}

/// Checks the settings of every cell whose data set is a run file, and returns their number.
///
/// # Errors
/// Fails for the first cell with invalid settings.
pub(crate) fn check_files(plan: &Plan) -> Result<usize, Error> {
    let table = RunTable {
        plan,
        checked: Vec::new(),
        validations: HashMap::new(),
        ended: HashSet::new(),
        failed: HashMap::new(),
    };
    let of_files = plan
        .trained_cells()
        .filter(|cell| plan.data(cell).synth.is_none());
    let checked: Result<Vec<Checked>, _> = of_files.map(|cell| table.check(cell)).collect();
    Ok(checked?.len())
}

/// State of a trial.
enum TrialState {
    /// Needs a run of another method first.
    Blocked,
    /// Not finished with every seed.
    Pending,
    /// Finished with every seed, with its validation score; `None` if a seed failed or a task could not be
    /// evaluated.
    Ended(Option<f64>),
}

impl TrialState {
    fn value(&self) -> Option<f64> {
        match self {
            TrialState::Ended(value) => *value,
            TrialState::Blocked | TrialState::Pending => None,
        }
    }
}

/// Result of selecting a trial of a cell.
enum Selection {
    /// Some trials need a run of another method first.
    Blocked,
    /// Some trials are not finished.
    Pending,
    /// The best trial.
    Trial(u32),
    /// All trials have failed.
    None,
}

/// Results of a cell.
pub(crate) struct CellResults {
    /// Trials with their validation scores.
    pub(crate) trials: Vec<(RunArguments, Option<f64>)>,
    pub(crate) selected: Option<u32>,
    /// Finished runs with the selected settings.
    pub(crate) seeds: Vec<RunArguments>,
}

fn widths(hidden: Option<&Vec<usize>>) -> Vec<String> {
    hidden
        .map(|hidden| format!("network.hidden={hidden:?}"))
        .into_iter()
        .collect()
}
