//! Where the runs of a comparison stand: which settings each has, which are finished, which can start.

use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use ncs_eval::{Metrics, TaskMetrics};
use ncs_model::NetworkKind;
use serde::Deserialize;

use super::plan::{Cell, Plan, RunOf, absolute};
use super::sizes;
use super::toml_types::Match;
use crate::cost;
use crate::memory;
use crate::run_file::RunFile;

/// A plan and what is known of its runs.
#[derive(Debug)]
pub(crate) struct RunTable<'a> {
    pub(crate) plan: &'a Plan,
    /// What was found when the settings of each cell that is trained were checked, in their order.
    checked: Vec<Checked>,
    /// What finished trials came to on validation, by their folder.
    validations: HashMap<PathBuf, Option<f64>>,
    /// Folders of this comparison's runs that were found finished or failed.
    over: HashSet<PathBuf>,
    /// Why runs failed in this process, by their folder.
    pub(crate) failed: HashMap<PathBuf, String>,
}

/// What is known of a cell before it runs.
#[derive(Debug)]
struct Checked {
    last_task: String,
    /// Widths that fit the budget.
    hidden: Option<Vec<usize>>,
    /// What networks are scaled to, as the plan's [`Match`] counts it.
    budget: f64,
}

/// What a run is started with.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    pub(crate) run: RunOf,
    pub(crate) run_file: PathBuf,
    pub(crate) settings: Vec<String>,
    pub(crate) folder: PathBuf,
}

/// How far a cell is.
#[derive(Debug)]
pub(crate) enum Next {
    /// These runs can start.
    Runs(Vec<Start>),
    /// It waits for runs of another method.
    Waits,
    /// All its runs are finished or have failed.
    Done,
}

/// `metrics.json` of a run.
#[derive(Debug, Deserialize)]
pub(crate) struct Figures {
    pub(crate) part: Option<String>,
    #[serde(flatten)]
    pub(crate) metrics: Metrics,
    pub(crate) valid: Option<Metrics>,
}

impl<'a> RunTable<'a> {
    /// Checks the settings of every cell against its data. Made-up logs must be there.
    ///
    /// # Errors
    /// The first cell whose settings are wrong, with everything that is wrong with them.
    pub(crate) fn new(plan: &'a Plan) -> Result<RunTable<'a>, Box<dyn Error>> {
        let mut bench = RunTable {
            plan,
            checked: Vec::new(),
            validations: HashMap::new(),
            over: HashSet::new(),
            failed: HashMap::new(),
        };
        for cell in plan.trained_cells() {
            let checked = bench.check(cell)?;
            bench.checked.push(checked);
        }
        Ok(bench)
    }

    fn check(&self, cell: &Cell) -> Result<Checked, Box<dyn Error>> {
        let plan = self.plan;
        let log = plan.log_files(&cell.data, plan.first_seed());
        let mut settings = plan.settings(cell);
        settings.extend(log.iter().cloned());
        let takes_masks = plan.method(cell).masks_of.is_some();
        if takes_masks {
            // The masks are not there yet.
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
            if base_run.plan.network.kind != NetworkKind::SparseSharing {
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
        let own_width = takes_masks || plan.method(cell).weights_of.is_some();
        let budget = sizes::budget(&run.plan, plan.matching);
        let hidden = match plan.method(cell).width {
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

    /// Weights, or multiplications a score, that the networks on the cell's data are scaled to.
    pub(crate) fn budget(&self, cell: &Cell) -> f64 {
        self.checked(cell).budget
    }

    fn checked(&self, cell: &Cell) -> &Checked {
        let place = self.plan.trained_cells().position(|known| known == cell);
        &self.checked[place.expect("a trained cell of this plan")]
    }

    /// What a cell can do next.
    ///
    /// # Errors
    /// Results of finished runs cannot be read.
    pub(crate) fn next(&mut self, cell: &Cell) -> Result<Next, Box<dyn Error>> {
        let tuning = &self.plan.file.tuning;
        let runs: Vec<RunOf> = match self.picked(cell)? {
            Picked::Waits => return Ok(Next::Waits),
            Picked::Open => (0..tuning.trials)
                .flat_map(|trial| tuning.seeds.iter().map(move |&seed| (seed, trial)))
                .map(|(seed, trial)| self.run_of(cell, seed, trial))
                .collect(),
            Picked::Trial(trial) => {
                let seeds = self.plan.file.seeds.iter();
                seeds.map(|&seed| self.run_of(cell, seed, trial)).collect()
            }
            Picked::None => return Ok(Next::Done),
        };
        let mut starts = Vec::new();
        let mut waits = false;
        for run in runs {
            match self.start(run)? {
                Some(start) if self.is_over(&start.folder) => {
                    self.over.insert(start.folder);
                }
                Some(start) => starts.push(start),
                None => waits = true,
            }
        }
        Ok(match (starts.is_empty(), waits) {
            (false, _) => Next::Runs(starts),
            (true, true) => Next::Waits,
            (true, false) => Next::Done,
        })
    }

    fn run_of(&self, cell: &Cell, seed: u64, trial: u32) -> RunOf {
        RunOf {
            cell: cell.clone(),
            seed,
            trial,
        }
    }

    /// How many runs were found finished or failed so far.
    pub(crate) fn n_over(&self) -> u64 {
        self.over.len() as u64
    }

    pub(crate) fn is_over(&self, folder: &Path) -> bool {
        cost::is_finished(folder) || self.failed.contains_key(folder)
    }

    /// The finished runs of a cell with the picked settings, and all its trials.
    ///
    /// # Errors
    /// Results of finished runs cannot be read.
    pub(crate) fn results(&mut self, cell: &Cell) -> Result<CellResults, Box<dyn Error>> {
        let tuning = &self.plan.file.tuning;
        let mut trials = Vec::new();
        for trial in 0..tuning.trials {
            let first = self.run_of(cell, self.plan.first_seed(), trial);
            if let Some(start) = self.start(first)? {
                let judged = self.judged(cell, trial)?;
                trials.push((start, judged.value()));
            }
        }
        let picked = match self.picked(cell)? {
            Picked::Trial(trial) => Some(trial),
            _ => None,
        };
        let mut seeds = Vec::new();
        for &seed in &self.plan.file.seeds {
            let Some(trial) = picked else { break };
            match self.start(self.run_of(cell, seed, trial))? {
                Some(start) if cost::is_finished(&start.folder) => seeds.push(start),
                _ => {}
            }
        }
        Ok(CellResults {
            trials,
            picked,
            seeds,
        })
    }

    /// The trial whose settings are best on validation; ties go to the earlier.
    fn picked(&mut self, cell: &Cell) -> Result<Picked, Box<dyn Error>> {
        let tuning = &self.plan.file.tuning;
        let mut best: Option<(u32, f64)> = None;
        for trial in 0..tuning.trials {
            let value = match self.judged(cell, trial)? {
                Judged::Waits => return Ok(Picked::Waits),
                Judged::Open => return Ok(Picked::Open),
                Judged::Over(value) => value,
            };
            if let Some(value) = value.filter(|value| best.is_none_or(|best| *value > best.1)) {
                best = Some((trial, value));
            }
        }
        Ok(best.map_or(Picked::None, |(trial, _)| Picked::Trial(trial)))
    }

    /// What a trial comes to on validation: the mean over the seeds of trials.
    fn judged(&mut self, cell: &Cell, trial: u32) -> Result<Judged, Box<dyn Error>> {
        let seeds = &self.plan.file.tuning.seeds;
        let mut values = Vec::new();
        for &seed in seeds {
            let Some(start) = self.start(self.run_of(cell, seed, trial))? else {
                return Ok(Judged::Waits);
            };
            if !self.is_over(&start.folder) {
                return Ok(Judged::Open);
            }
            values.push(self.validation(&start.folder)?);
            self.over.insert(start.folder);
        }
        let sum: Option<f64> = values.iter().copied().sum();
        Ok(Judged::Over(sum.map(|sum| sum / values.len() as f64)))
    }

    /// What a run is started with; `None` while it waits for another method's run.
    fn start(&mut self, run: RunOf) -> Result<Option<Start>, Box<dyn Error>> {
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
        // Where every seed has rows of its own, the scores of several are not compared row by row.
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
        let hash = blake3::hash(format!("{settings:?} {base:?} {text}").as_bytes());
        let name = format!("seed-{}-{}", run.seed, &hash.to_hex()[..8]);
        settings.push(format!(
            "data.cache={:?}",
            absolute(&plan.folder.join("cache"))
        ));
        settings.extend(plan.log_files(&cell.data, run.seed));
        if let Some(model) = model {
            settings.push(format!("search.model={:?}", absolute(&model)));
        }
        Ok(Some(Start {
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

    /// The folder of the base method's run with this seed, once it is finished.
    fn finished_base(&mut self, base: &Cell, seed: u64) -> Result<Option<PathBuf>, Box<dyn Error>> {
        let Picked::Trial(trial) = self.picked(base)? else {
            return Ok(None);
        };
        let start = self.start(self.run_of(base, seed, trial))?;
        Ok(start
            .map(|start| start.folder)
            .filter(|folder| cost::is_finished(folder)))
    }

    /// Widths with which a method has as many weights as the run in `folder` keeps.
    fn widths_like(&self, cell: &Cell, folder: &Path) -> Result<Vec<String>, Box<dyn Error>> {
        let path = self.plan.run_file(&cell.data, self.plan.first_seed());
        let mut settings = self.plan.settings(cell);
        settings.extend(self.plan.log_files(&cell.data, self.plan.first_seed()));
        let run = RunFile::open(&path, &settings)?;
        let budget = cost::read(folder)?.weights as f64;
        let hidden = sizes::hidden(&run.plan, budget, Match::Parameters);
        Ok(widths(Some(&hidden)))
    }

    /// What a finished run came to on the validation rows: the mean over tasks of AUC, or of minus the
    /// squared error. `None` where it failed or a task could not be judged.
    fn validation(&mut self, folder: &Path) -> Result<Option<f64>, Box<dyn Error>> {
        if let Some(known) = self.validations.get(folder) {
            return Ok(*known);
        }
        if !cost::is_finished(folder) {
            return Ok(None);
        }
        let figures = figures(folder)?;
        let on_valid = match figures.part.as_deref() {
            Some("valid") => Some(figures.metrics),
            _ => figures.valid,
        };
        let goodness = |task: &TaskMetrics| task.auc.or(task.squared_error.map(|error| -error));
        let value = on_valid.and_then(|metrics| {
            let values: Option<Vec<f64>> = metrics.tasks.values().map(goodness).collect();
            values.map(|values| values.iter().sum::<f64>() / values.len().max(1) as f64)
        });
        self.validations.insert(folder.to_owned(), value);
        Ok(value)
    }
}

/// Checks the settings of every cell whose data set is a run file; how many there are.
///
/// # Errors
/// The first cell whose settings are wrong.
pub(crate) fn check_files(plan: &Plan) -> Result<usize, Box<dyn Error>> {
    let bench = RunTable {
        plan,
        checked: Vec::new(),
        validations: HashMap::new(),
        over: HashSet::new(),
        failed: HashMap::new(),
    };
    let of_files = plan
        .trained_cells()
        .filter(|cell| plan.data(cell).synth.is_none());
    let checked: Result<Vec<Checked>, _> = of_files.map(|cell| bench.check(cell)).collect();
    Ok(checked?.len())
}

/// How far a trial is.
enum Judged {
    /// It waits for another method.
    Waits,
    /// It is not finished with every seed.
    Open,
    /// It is; without a value where some seed failed or a task could not be judged.
    Over(Option<f64>),
}

impl Judged {
    fn value(&self) -> Option<f64> {
        match self {
            Judged::Over(value) => *value,
            Judged::Waits | Judged::Open => None,
        }
    }
}

/// How far the trials of a cell are.
enum Picked {
    /// Some wait for another method.
    Waits,
    /// Some are not finished.
    Open,
    /// This one was best.
    Trial(u32),
    /// All have failed.
    None,
}

/// What a cell has come to.
pub(crate) struct CellResults {
    /// Each with its value on validation.
    pub(crate) trials: Vec<(Start, Option<f64>)>,
    pub(crate) picked: Option<u32>,
    /// Finished runs with the picked settings.
    pub(crate) seeds: Vec<Start>,
}

/// `metrics.json` of a finished run.
///
/// # Errors
/// It cannot be read.
pub(crate) fn figures(folder: &Path) -> Result<Figures, Box<dyn Error>> {
    let path = folder.join("metrics.json");
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let figures =
        serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(figures)
}

fn widths(hidden: Option<&Vec<usize>>) -> Vec<String> {
    hidden
        .map(|hidden| format!("network.hidden={hidden:?}"))
        .into_iter()
        .collect()
}
