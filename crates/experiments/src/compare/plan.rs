//! Plan of a comparison: the settings of each method on each data set, checked before the first run.

use std::path::{Path, PathBuf};

use ncs_config::{RunFileError, Shaped};
use serde_json::{Map, Value};

use super::toml_types::{CompareFile, DataSet, Match, Method, MethodsFile};
use super::{problems, trials};

/// A comparison file that was read and validated, as far as possible without its data.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) file: CompareFile,
    /// Path of the file, for messages and the report.
    pub(crate) path: PathBuf,
    /// Output folder.
    pub(crate) folder: PathBuf,
    /// Folder that relative paths of score files start at.
    pub(crate) scores: PathBuf,
    pub(crate) matching: Match,
    /// Cells by data set in the order of the file: each method that runs on it.
    pub(crate) cells: Vec<Cell>,
}

/// One method on one data set.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Cell {
    pub(crate) data: String,
    pub(crate) method: String,
}

/// One run: a cell, a seed, and the settings of a trial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RunOf {
    pub(crate) cell: Cell,
    pub(crate) seed: u64,
    pub(crate) trial: u32,
}

impl Plan {
    /// Reads and checks `path`; `matching` overrides the file's `match`.
    ///
    /// Fails with all errors in the file, each with its line.
    pub(crate) fn open(
        path: &Path,
        folder: &Path,
        matching: Option<Match>,
    ) -> Result<Plan, RunFileError> {
        let mut shaped = Shaped::<CompareFile>::open(path)?;
        if let Some(include) = &shaped.config.include {
            let included = Shaped::<MethodsFile>::open(&root(path).join(include))?;
            let mut methods = included.config.methods;
            methods.extend(std::mem::take(&mut shaped.config.methods));
            shaped.config.methods = methods;
        }
        let problems = problems::of(&shaped.config);
        if !problems.is_empty() {
            return Err(shaped.errors(problems));
        }
        let file = shaped.config;
        Ok(Plan {
            cells: cells(&file),
            matching: matching.unwrap_or(file.matching),
            path: path.to_owned(),
            folder: folder.to_owned(),
            scores: root(path).to_owned(),
            file,
        })
    }

    pub(crate) fn data(&self, cell: &Cell) -> &DataSet {
        &self.file.data[&cell.data]
    }

    pub(crate) fn method(&self, cell: &Cell) -> &Method {
        &self.file.methods[&cell.method]
    }

    /// Returns the cells that are trained here.
    pub(crate) fn trained_cells(&self) -> impl Iterator<Item = &Cell> {
        self.cells.iter().filter(|cell| !self.is_scored(cell))
    }

    /// Returns the cells that are score files of other programs.
    pub(crate) fn scored_cells(&self) -> impl Iterator<Item = &Cell> {
        self.cells.iter().filter(|cell| self.is_scored(cell))
    }

    pub(crate) fn is_scored(&self, cell: &Cell) -> bool {
        self.method(cell).scores.is_some()
    }

    /// Returns the cell whose masks or number of weights this one reuses.
    pub(crate) fn base(&self, cell: &Cell) -> Option<Cell> {
        let method = self.method(cell);
        let base = method.masks_of.as_ref().or(method.weights_of.as_ref())?;
        Some(Cell {
            method: base.clone(),
            ..cell.clone()
        })
    }

    /// Returns the run file of a data set; of a synthetic one without its own, that of a seed's log.
    pub(crate) fn run_file(&self, data: &str, seed: u64) -> PathBuf {
        match &self.file.data[data].run {
            Some(run) => root(&self.path).join(run),
            None => self.log_folder(data, seed).join("run.toml"),
        }
    }

    /// Returns the folder of the synthetic log of a seed.
    pub(crate) fn log_folder(&self, data: &str, seed: u64) -> PathBuf {
        self.folder
            .join("data")
            .join(data)
            .join(format!("seed-{seed}"))
    }

    /// Returns the files of a seed's synthetic log as overrides of the run file that all seeds share.
    pub(crate) fn log_files(&self, data: &str, seed: u64) -> Vec<String> {
        let set = &self.file.data[data];
        if set.run.is_none() || set.synth.is_none() {
            return Vec::new();
        }
        let folder = self.log_folder(data, seed);
        let file = |part: &str| absolute(&folder.join(format!("{part}.parquet")));
        ["train", "valid", "test"]
            .map(|part| format!("data.{part}={:?}", file(part)))
            .into()
    }

    /// Returns the settings of a data set that its file states for every method, after those for every data set.
    pub(crate) fn base_settings(&self, data: &str) -> Vec<String> {
        let mut settings = assignments(&self.file.set);
        settings.extend(assignments(&self.file.data[data].set));
        settings
    }

    /// Returns the overrides of a data set to its run file, which apply to every method.
    pub(crate) fn data_settings(&self, data: &str, seed: u64) -> Vec<String> {
        let mut settings = self.base_settings(data);
        settings.extend(self.log_files(data, seed));
        settings
    }

    /// Returns the first seed of the trials; settings are checked with its rows.
    pub(crate) fn first_seed(&self) -> u64 {
        self.file.tuning.seeds.first().copied().unwrap_or(1)
    }

    /// Returns the seeds whose logs or runs are needed: those of the comparison and those of the trials.
    pub(crate) fn all_seeds(&self) -> Vec<u64> {
        let mut seeds = self.file.tuning.seeds.clone();
        seeds.extend(&self.file.seeds);
        seeds.sort_unstable();
        seeds.dedup();
        seeds
    }

    /// Returns the settings of a data set and a method as overrides of the run file. A method with `masks_of`
    /// inherits the settings of that method, except those of the search.
    pub(crate) fn settings(&self, cell: &Cell) -> Vec<String> {
        let mut settings = self.base_settings(&cell.data);
        if let Some(base) = &self.method(cell).masks_of {
            let is_inherited = |setting: &String| {
                !setting.starts_with("search.") && !setting.starts_with("network.kind=")
            };
            let of_base = assignments(&self.file.methods[base].set);
            settings.extend(of_base.into_iter().filter(is_inherited));
            settings.extend([
                "network.kind=\"sparse_sharing\"".to_owned(),
                "search.kind=\"model\"".to_owned(),
            ]);
        }
        settings.extend(assignments(&self.method(cell).set));
        settings
    }

    /// Returns the settings of a trial; `last_task` is the task whose weight is tuned.
    pub(crate) fn trial(&self, trial: u32, last_task: &str) -> Vec<String> {
        trials::settings(&self.file.tuning, trial, last_task)
    }
}

pub(crate) fn absolute(path: &Path) -> String {
    ncs_readers::absolute(path).display().to_string()
}

/// Returns the folder that the relative paths in a file start at.
fn root(file: &Path) -> &Path {
    let root = file.parent().filter(|root| *root != Path::new(""));
    root.unwrap_or(Path::new("."))
}

fn cells(file: &CompareFile) -> Vec<Cell> {
    let of_data = |(data, set): (&String, &DataSet)| {
        let names = file.methods.keys();
        let runs = |method: &&String| set.methods.as_ref().is_none_or(|own| own.contains(*method));
        let cell = |method: &String| Cell {
            data: data.clone(),
            method: method.clone(),
        };
        names.filter(runs).map(cell).collect::<Vec<_>>()
    };
    file.data.iter().flat_map(of_data).collect()
}

/// Flattens tables into assignments: `{ network = { kind = "mmoe" } }` becomes `network.kind="mmoe"`.
pub(crate) fn assignments(set: &Map<String, Value>) -> Vec<String> {
    let mut assignments = Vec::new();
    flatten("", set, &mut assignments);
    assignments
}

fn flatten(prefix: &str, set: &Map<String, Value>, assignments: &mut Vec<String>) {
    for (key, value) in set {
        let path = match prefix {
            "" => key.clone(),
            prefix => format!("{prefix}.{key}"),
        };
        match value {
            Value::Object(inner) => flatten(&path, inner, assignments),
            // Numbers, strings and lists of them have the same syntax in JSON and TOML.
            value => assignments.push(format!("{path}={value}")),
        }
    }
}
