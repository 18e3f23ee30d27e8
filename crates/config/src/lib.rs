//! A TOML run file, with the overrides of the command line, to plans that are checked.
//!
//! Checking goes in chapters: TOML to a tree that knows its lines (`tree`), the tree against the
//! schema (`conform`), then what only this program knows: files (`data`), columns (`columns`),
//! tasks (`tasks`), network, search and training (`training`). All that a chapter finds wrong is
//! reported together, each with its line and the nearest known name.

mod checks;
mod column_kinds;
mod column_types;
mod columns;
mod data;
mod days;
mod file_columns;
mod funnel;
mod given_masks;
mod initial;
mod kind_or_table;
mod late;
mod lifetimes;
mod lookups;
mod loss_types;
mod problem;
mod rates;
mod reference;
mod schema;
mod search_types;
mod sequences;
mod smoothing;
mod start;
mod task_groups;
mod tasks;
mod times;
mod toml_types;
mod training;
mod training_types;
mod tree;
mod units;
mod validate;
mod written;

use std::path::{Path, PathBuf};

use ncs_features::SchemaPlan;
use ncs_model::NetworkPlan;
use ncs_readers::DataPlan;
use ncs_train::TrainPlan;
use ncs_train::calibrate::Calibration;
use serde::Deserialize;

pub use data::{
    ColumnLister, ListingError, has_validation, list_columns, shared_cache, user_cache,
};
pub use file_columns::FileColumns;
pub use initial::TableInit;
pub use problem::{RunFileError, hint};
pub use schema::{reference, text as json_schema};
pub use start::StartPlan;
pub use tree::{ASSIGNMENT_WANTED, is_assignment};

use checks::Checks;
use problem::Problem;
use tree::{Node, Span};

/// Everything that a run file says, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct RunPlan {
    /// The files, how they are read and split.
    pub data: DataPlan,
    /// Whether the run file, or `NCS_CACHE`, says where rows are cached: otherwise in the run's folder.
    pub shares_cache: bool,
    /// Columns, id spaces and tasks, before fitting.
    pub schema: SchemaPlan,
    /// Network and its sizes.
    pub network: NetworkPlan,
    /// Training plan, mask search included.
    pub train: TrainPlan,
    /// The model that it goes on from.
    pub start: Option<StartPlan>,
    /// The tables whose rows begin at the vectors of a file.
    pub initial: Vec<TableInit>,
    /// Evaluation settings.
    pub evaluation: EvaluationPlan,
    /// Calibration of its probabilities, on the validation rows.
    pub calibration: Option<Calibration>,
    /// Columns that clients will send as the context of their requests.
    pub context_columns: Vec<String>,
}

/// Evaluation of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvaluationPlan {
    /// Resamplings for each interval; 0: no intervals.
    pub bootstrap: u32,
    /// Columns by whose values the evaluated rows are divided in the report.
    pub slices: Vec<String>,
    /// Time column by whose days they are.
    pub days: Option<String>,
    /// Whether labels and scores of the evaluated rows are kept.
    pub keep_scores: bool,
    /// Whether test rows are scored; a tuning must not.
    pub test: bool,
}

/// A run file that was read and found right.
#[derive(Clone, Debug)]
pub struct RunFile {
    /// Text of the message.
    pub plan: RunPlan,
    /// Notes that are not errors, such as settings without effect.
    pub notes: Vec<String>,
    name: String,
    tree: Node,
}

impl RunFile {
    /// Reads and checks the run file at `path` after `assignments` (`training.epochs=3`), against
    /// the columns that its files hold.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its line or its assignment.
    pub fn open(path: &Path, assignments: &[String]) -> Result<RunFile, RunFileError> {
        let (name, text) = read(path)?;
        RunFile::parse(&name, &text, root_of(path), assignments, &list_columns)
    }

    /// As [`RunFile::open`], or from settings that a program states; `lister` finds the columns of the files.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its line, its key or its assignment.
    pub fn of(
        config: &RunSource,
        assignments: &[String],
        lister: &ColumnLister<'_>,
    ) -> Result<RunFile, RunFileError> {
        match config {
            RunSource::File(path) => {
                let (name, text) = read(path)?;
                RunFile::parse(&name, &text, root_of(path), assignments, lister)
            }
            RunSource::Settings { name, table, root } => {
                let tree = Node::of_toml(&toml::Value::Table(table.clone()));
                RunFile::of_tree(name, with(tree, assignments), root, lister)
            }
        }
    }

    /// The same from a text: `name` is what messages call it, `root` the folder that its relative
    /// paths start at, and `lister` finds the columns of its files.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its line or its assignment.
    pub fn parse(
        name: &str,
        text: &str,
        root: &Path,
        assignments: &[String],
        lister: &ColumnLister<'_>,
    ) -> Result<RunFile, RunFileError> {
        RunFile::of_tree(name, tree(text, assignments), root, lister)
    }

    fn of_tree(
        name: &str,
        tree: Result<Node, Vec<Problem>>,
        root: &Path,
        lister: &ColumnLister<'_>,
    ) -> Result<RunFile, RunFileError> {
        let wrong = |problems| RunFileError::new(name, problems);
        let tree = tree.map_err(wrong)?;
        let config = shape(&tree).map_err(wrong)?;
        let mut checks = Checks::new(&tree);
        let plan = plan(&config, root, lister, &mut checks);
        let (problems, notes) = checks.finish();
        match plan {
            Some(plan) if problems.is_empty() => Ok(RunFile {
                plan,
                notes,
                name: name.to_owned(),
                tree,
            }),
            _ => Err(wrong(problems)),
        }
    }

    /// Whether the run file, or an override, states the key at `path`.
    pub fn states(&self, path: &[&str]) -> bool {
        self.tree.states(path)
    }

    /// Text of the run file after the overrides, with absolute paths: it can be run from anywhere.
    pub fn standing_alone(&self) -> String {
        let mut settings = self.tree.to_toml();
        if let Some(data) = settings.get_mut("data") {
            for key in ["train", "valid", "test", "cache"] {
                if let Some(paths) = data.get_mut(key) {
                    make_absolute(paths, &self.plan.data.root);
                }
            }
            let lookups = data.get_mut("lookup");
            let lookups = lookups.and_then(toml::Value::as_table_mut);
            for (_, lookup) in lookups.into_iter().flatten() {
                if let Some(files) = lookup.get_mut("files") {
                    make_absolute(files, &self.plan.data.root);
                }
            }
        }
        let columns = settings.get_mut("columns");
        let columns = columns.and_then(toml::Value::as_table_mut);
        for (_, column) in columns.into_iter().flatten() {
            for key in ["file", "ids"] {
                let init = column.get_mut("init");
                if let Some(path) = init.and_then(|init| init.get_mut(key)) {
                    make_absolute(path, &self.plan.data.root);
                }
            }
        }
        for table in ["search", "start"] {
            let table = settings.get_mut(table);
            if let Some(model) = table.and_then(|table| table.get_mut("model")) {
                make_absolute(model, &self.plan.data.root);
            }
        }
        let training = settings.get_mut("training");
        if let Some(folder) = training.and_then(|training| training.get_mut("table_folder")) {
            make_absolute(folder, &self.plan.data.root);
        }
        let text = written::document(&settings);
        format!("# {}, with all overrides\n\n{text}", self.name)
    }

    /// An error about the key at `path` that was found later, such as a label that turned out to be
    /// constant: `run.toml:14: ...`.
    pub fn error_at(&self, path: &[&str], text: impl Into<String>) -> RunFileError {
        let problem = Problem::new(self.tree.place_of(path), text);
        RunFileError::new(&self.name, vec![problem])
    }
}

/// Source of a run's settings.
#[derive(Clone, Debug)]
pub enum RunSource {
    /// In a run file.
    File(PathBuf),
    /// By a program.
    Settings {
        /// Name of the settings in messages.
        name: String,
        /// Text of the settings.
        table: toml::Table,
        /// The folder that relative paths start at.
        root: PathBuf,
    },
}

impl RunSource {
    /// Settings that a program states as JSON.
    ///
    /// # Errors
    /// They are no table, or hold what TOML has no values for, such as null.
    pub fn of_json(name: &str, json: &str, root: &Path) -> Result<RunSource, RunFileError> {
        match serde_json::from_str(json) {
            Ok(table) => Ok(RunSource::Settings {
                name: name.to_owned(),
                table,
                root: root.to_owned(),
            }),
            Err(error) => {
                let text = format!("no settings: {error}");
                Err(RunFileError::new(
                    name,
                    vec![Problem::new(Span::File, text)],
                ))
            }
        }
    }
}

/// Name of the file in messages, and its text.
fn read(path: &Path) -> Result<(String, String), RunFileError> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| {
        let text = format!("cannot read the run file: {error}");
        RunFileError::new(&name, vec![Problem::new(Span::File, text)])
    })?;
    Ok((name, text))
}

/// The folder that the relative paths of a run file start at: "." and not "", since with an empty root a glob would
/// start at the root of the file system.
fn root_of(path: &Path) -> &Path {
    let parent = path.parent().filter(|parent| *parent != Path::new(""));
    parent.unwrap_or(Path::new("."))
}

/// A file of settings of another kind, read and checked against its own schema.
#[derive(Debug)]
pub struct Shaped<T> {
    /// Its settings.
    pub config: T,
    name: String,
    tree: Node,
}

impl<T: serde::de::DeserializeOwned + schemars::JsonSchema> Shaped<T> {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its line.
    pub fn open(path: &Path) -> Result<Shaped<T>, RunFileError> {
        let name = path.display().to_string();
        let wrong = |problems| RunFileError::new(&name, problems);
        let text = std::fs::read_to_string(path).map_err(|error| {
            let text = format!("cannot read the file: {error}");
            wrong(vec![Problem::new(Span::File, text)])
        })?;
        let tree = tree(&text, &[]).map_err(wrong)?;
        let problems = validate::problems(&schema::of::<T>(), &tree);
        if !problems.is_empty() {
            return Err(wrong(problems));
        }
        let config = T::deserialize(tree.to_toml());
        let config =
            config.map_err(|error| wrong(vec![Problem::new(Span::File, error.to_string())]))?;
        Ok(Shaped { config, name, tree })
    }
}

/// The JSON schema of another kind of settings, as it is printed.
pub fn schema_of<T: schemars::JsonSchema>() -> String {
    schema::printed(&schema::of::<T>())
}

impl<T> Shaped<T> {
    /// Errors about keys, each by its path.
    pub fn errors(&self, found: Vec<(Vec<String>, String)>) -> RunFileError {
        let problem = |(path, text): (Vec<String>, String)| {
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            Problem::new(self.tree.place_of(&path), text)
        };
        RunFileError::new(&self.name, found.into_iter().map(problem).collect())
    }
}

/// Paths (or a list of them) that start at `root`.
fn make_absolute(paths: &mut toml::Value, root: &Path) {
    match paths {
        toml::Value::String(path) if !ncs_readers::is_remote(path.as_ref()) => {
            let full = ncs_readers::absolute(&root.join(&*path));
            *path = full.display().to_string();
        }
        toml::Value::Array(items) => items.iter_mut().for_each(|item| make_absolute(item, root)),
        _ => {}
    }
}

fn tree(text: &str, assignments: &[String]) -> Result<Node, Vec<Problem>> {
    with(
        Node::parse(text).map_err(|problem| vec![problem])?,
        assignments,
    )
}

fn with(mut tree: Node, assignments: &[String]) -> Result<Node, Vec<Problem>> {
    let set = |assignment: &String| tree.set(assignment).err();
    let problems: Vec<Problem> = assignments.iter().filter_map(set).collect();
    if problems.is_empty() {
        Ok(tree)
    } else {
        Err(problems)
    }
}

fn shape(tree: &Node) -> Result<toml_types::RunFile, Vec<Problem>> {
    let problems = validate::problems(&schema::value(), tree);
    if !problems.is_empty() {
        return Err(problems);
    }
    let read = toml_types::RunFile::deserialize(tree.to_toml());
    read.map_err(|error| vec![Problem::new(Span::File, error.to_string())])
}

fn plan(
    config: &toml_types::RunFile,
    root: &Path,
    lister: &ColumnLister<'_>,
    checks: &mut Checks<'_>,
) -> Option<RunPlan> {
    let data = data::plan(&config.data, root, lister, checks)?;
    let schema = columns::plan(config, checks);
    let (network, mut train) = training::plan(config, &schema.tasks, &data, checks);
    late::note_since(config, checks);
    let initial = initial::plan(config, &schema, &data.root, checks);
    let lifetimes = lifetimes::plan(config, &schema, &data, checks);
    (train.lifetimes, train.day) = (lifetimes.of_tables, lifetimes.day);
    let start = start::plan(config, &schema, &network, &mut train, &data.root, checks);
    let evaluation = EvaluationPlan {
        bootstrap: config.evaluation.bootstrap,
        slices: config.evaluation.slices.clone(),
        days: config.evaluation.days.clone(),
        keep_scores: config.evaluation.keep_scores,
        test: true,
    };
    let calibration = match config.calibration.kind {
        toml_types::CalibrationKind::None => None,
        toml_types::CalibrationKind::Auto => {
            data::has_validation(&data).then_some(Calibration::Auto)
        }
        toml_types::CalibrationKind::Platt => Some(Calibration::Platt),
        toml_types::CalibrationKind::Isotonic => Some(Calibration::Isotonic),
    };
    if calibration.is_some() && !data::has_validation(&data) {
        let text = "a calibrator needs validation rows; state data.valid or data.split";
        checks.say(&["calibration", "kind"], text);
    }
    let context_columns = columns::of_context(config, &schema, checks);
    Some(RunPlan {
        context_columns,
        shares_cache: config.data.cache.is_some() || data::shared_cache().is_some(),
        data,
        schema,
        network,
        train,
        start,
        initial,
        evaluation,
        calibration,
    })
}
