//! Drafts a run file from the data alone: the kinds of the columns, left-out columns with reasons, a split, the
//! tasks. The rules are in docs/decisions; `Draft::read` applies them in order.

use std::collections::HashSet;
use std::path::Path;

use ncs_features::labels::labels;
use ncs_features::{Block, Objective, Population, Task};
use ncs_readers::{DataPlan, column_names, files};

use crate::error::Error;
use crate::progress::Progress;
use kind::{Decision, Kind};
use leak::Labels;
use profile::Profile;
use sample::Sample;
use time::Boundary;

mod document;
mod file;
mod group;
mod kind;
mod later;
mod leak;
mod lists;
mod names;
mod paths;
mod profile;
mod sample;
mod time;

pub use file::write;

/// Options of `ncs init`.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Files to read; their paths are relative to the working directory.
    pub data: DataPlan,
    /// The tasks.
    pub tasks: Vec<TaskDraft>,
    /// Time column; `None`: to be found.
    pub time: Option<String>,
    /// Group column; `None`: to be guessed.
    pub group: Option<String>,
}

/// A task of the run file.
#[derive(Clone, Debug)]
pub struct TaskDraft {
    /// Name of the task.
    pub name: String,
    /// Column of the label.
    pub label: String,
    /// Task to whose positive rows this one is restricted; `None`: all rows.
    pub population: Option<String>,
    /// True if the label is a ratio, not 0 or 1.
    pub is_ratio: bool,
}

/// A draft of a run file.
struct Draft {
    /// Paths of training files as in the run file.
    train: Vec<String>,
    /// Paths of validation files as in the run file.
    valid: Vec<String>,
    /// Paths of test files as in the run file.
    test: Vec<String>,
    /// Keys of `[data]` for reading files, with their values as TOML.
    reading: Vec<(&'static str, String)>,
    /// Number of sampled rows.
    rows: usize,
    /// Columns in the order of the file, without labels.
    columns: Vec<Column>,
    all_rows: bool,
    broken: Option<String>,
    split: Split,
    unreadable: Vec<(String, String)>,
    tasks: Vec<TaskDraft>,
    group: Option<String>,
}

/// A column and the decision about it.
struct Column {
    name: String,
    /// Description of its values.
    description: String,
    decision: Decision,
    nulls: usize,
    known: usize,
    distinct: usize,
    /// Distinct values of an id column, or of a list of ids.
    ids: HashSet<Box<[u8]>>,
    /// Rank as a time column; `None` if it cannot be one.
    time: Option<(bool, bool, usize)>,
    /// True if a number should also be a category.
    has_exact_values: bool,
}

impl Column {
    /// Returns the reason why it is not a feature, if it is left out.
    fn left_out(&self) -> Option<&str> {
        self.decision.out.as_deref()
    }
}

enum Split {
    Files,
    Time { column: String, boundary: Boundary },
    Hash { column: String, why: String },
    Row { why: String },
}

/// Maximum share of unreadable rows; above it the files are rejected.
const MAX_BROKEN_SHARE: f64 = 0.01;

impl Draft {
    /// Samples rows of the files and decides about the columns. Paths of the draft are those of the options.
    ///
    /// Fails if a file cannot be read, a named column is missing, or a label is invalid.
    fn read(wish: &Wish, progress: Progress) -> Result<Draft, Error> {
        let sample = Sample::read(&wish.data, progress)?;
        let broken = broken(&sample)?;
        let named = wish.tasks.iter().map(|task| &task.label);
        for name in named.chain(&wish.time).chain(&wish.group) {
            require(name, &sample)?;
        }
        let mut tasks = wish.tasks.clone();
        let labels = label_values(&mut tasks, &sample)?;
        let mut columns = columns(&sample, &tasks, &labels);
        leave_out_missing(&wish.data, &mut columns)?;
        share_tables(&mut columns);
        let group = wish.group.clone();
        let group = group.or_else(|| group::guess(&columns).map(|column| column.name.clone()));
        let split = split(wish, &sample, &columns, group.as_deref(), &labels, progress)?;
        later::find_exact_values(&mut columns, &sample, &split, &labels);
        let draft = Draft {
            train: wish.data.train.clone(),
            valid: wish.data.valid.clone(),
            test: wish.data.test.clone(),
            reading: Vec::new(),
            rows: sample.n_rows(),
            all_rows: sample.all_rows,
            columns,
            broken,
            split,
            unreadable: sample.unreadable,
            tasks,
            group,
        };
        let is_used = |column: &Column| column.left_out().is_none();
        if draft.columns.iter().any(is_used) {
            Ok(draft)
        } else {
            Err(draft.no_feature().into())
        }
    }

    fn no_feature(&self) -> String {
        let reason = |column: &Column| {
            format!(
                "\n  {}: {}",
                column.name,
                column.left_out().unwrap_or_default()
            )
        };
        let reasons: String = self.columns.iter().map(reason).collect();
        format!("no column can be a feature:{reasons}")
    }

    /// Returns the left-out and unreadable columns with their reasons.
    fn left_out(&self) -> Vec<(&str, &str)> {
        let columns = self.columns.iter();
        let out = columns.filter_map(|column| Some((column.name.as_str(), column.left_out()?)));
        let unreadable = self.unreadable.iter();
        out.chain(unreadable.map(|(name, why)| (name.as_str(), why.as_str())))
            .collect()
    }
}

/// Returns a path as given, without the `./` that the reader adds.
fn shown_path(path: &Path) -> String {
    path.strip_prefix(".").unwrap_or(path).display().to_string()
}

fn broken(sample: &Sample) -> Result<Option<String>, Error> {
    let (n, Some(first)) = &sample.broken else {
        return Ok(None);
    };
    let text = format!("{n} rows cannot be read; the first: {first}");
    if *n as f64 > MAX_BROKEN_SHARE * sample.n_rows() as f64 {
        return Err(format!("{text}; fix the files, or set --delimiter or --header").into());
    }
    Ok(Some(text))
}

/// Returns the share of broken rows that the run file allows.
fn broken_share(sample: &Sample) -> f64 {
    match sample.broken.1 {
        Some(_) => MAX_BROKEN_SHARE,
        None => 0.0,
    }
}

fn require(name: &str, sample: &Sample) -> Result<(), Error> {
    if sample.columns.iter().any(|column| column == name) {
        return Ok(());
    }
    if let Some((_, why)) = sample.unreadable.iter().find(|(column, _)| column == name) {
        return Err(format!("column {name:?} is {why}").into());
    }
    let known = sample.columns.iter().map(String::as_str);
    Err(format!(
        "no column {name:?} in the files{}",
        ncs_config::hint(name, known)
    )
    .into())
}

/// Returns the labels of every task; a task whose label has fractions in [0, 1] becomes a ratio task.
fn label_values(tasks: &mut [TaskDraft], sample: &Sample) -> Result<Vec<Labels>, Error> {
    let bases: Vec<String> = tasks
        .iter()
        .filter_map(|task| task.population.clone())
        .collect();
    for task in tasks.iter_mut() {
        let is_base = bases.contains(&task.name);
        let profile = Profile::of(&task.label, None, blocks(sample));
        let is_ratio = |x: &f64| (0.0..=1.0).contains(x);
        let has_fraction = profile.numbers.iter().any(|x| x.fract() != 0.0);
        task.is_ratio = !is_base && has_fraction && profile.numbers.iter().all(is_ratio);
    }
    let raw: Vec<Task> = tasks
        .iter()
        .map(|task| to_task(task, Population::All))
        .collect();
    let place = |name: &String| tasks.iter().position(|task| task.name == *name);
    let population = |task: &TaskDraft| task.population.as_ref().and_then(place);
    let of_rows: Vec<Task> = tasks
        .iter()
        .map(|task| {
            to_task(
                task,
                population(task).map_or(Population::All, Population::Where),
            )
        })
        .collect();
    let mut all: Vec<Labels> = tasks
        .iter()
        .map(|task| Labels {
            column: task.label.clone(),
            of_rows: Vec::new(),
            raw: Vec::new(),
        })
        .collect();
    for rows in &sample.blocks {
        let of = |tasks: &[Task]| labels(tasks, &rows.block).map_err(|error| rows.error(error));
        for ((labels, raw), own) in all.iter_mut().zip(of(&raw)?).zip(of(&of_rows)?) {
            labels.raw.extend(raw);
            labels.of_rows.extend(own);
        }
    }
    for (task, labels) in tasks.iter().zip(&all).filter(|_| sample.all_rows) {
        check_both_classes(task, &labels.of_rows)?;
    }
    Ok(all)
}

fn to_task(task: &TaskDraft, population: Population) -> Task {
    Task {
        name: task.name.clone(),
        label: task.label.clone(),
        population,
        objective: if task.is_ratio {
            Objective::Ratio
        } else {
            Objective::CrossEntropy
        },
        weight: 1.0,
        truth: None,
        row_rules: Default::default(),
    }
}

fn check_both_classes(task: &TaskDraft, labels: &[f32]) -> Result<(), Error> {
    let mut known = labels.iter().filter(|label| !label.is_nan());
    let Some(first) = known.next() else {
        return Err(format!(
            "the label {:?} of task {:?} is unknown in every row",
            task.label, task.name
        )
        .into());
    };
    if known.any(|label| label != first) {
        return Ok(());
    }
    Err(format!(
        "the label {:?} of task {:?} is {first} in every row where it is known; nothing can be learned",
        task.label, task.name
    )
    .into())
}

fn blocks(sample: &Sample) -> impl Iterator<Item = &Block> {
    sample.blocks.iter().map(|rows| &rows.block)
}

/// Returns all columns except the labels, with a decision about each.
fn columns(sample: &Sample, tasks: &[TaskDraft], labels: &[Labels]) -> Vec<Column> {
    let is_label = |name: &&String| tasks.iter().any(|task| task.label == **name);
    let others = sample.columns.iter().filter(|name| !is_label(name));
    others.map(|name| column(name, sample, labels)).collect()
}

fn column(name: &str, sample: &Sample, labels: &[Labels]) -> Column {
    let whole = Profile::of(name, None, blocks(sample));
    let mut decision = kind::decide(&whole, sample.all_rows);
    let time = time::rank(&whole);
    let description = kind::description(&whole, &decision.kind);
    let profile = match decision.kind {
        Kind::List {
            separator: Some(separator),
            ..
        } => Profile::of(name, Some(separator), blocks(sample)),
        _ => whole,
    };
    if decision.out.is_none()
        && let Some(reason) = leak::suspicion(&profile, &decision.kind, labels)
    {
        decision.out = Some(format!("LEAK? {reason}"));
    }
    let has_ids = matches!(decision.kind, Kind::Categorical | Kind::List { .. })
        && decision.out.is_none()
        && profile.counts.len() > 100;
    Column {
        name: name.to_owned(),
        description,
        nulls: profile.nulls,
        known: profile.known(),
        distinct: profile.counts.len(),
        ids: profile.counts.into_keys().filter(|_| has_ids).collect(),
        decision,
        time,
        has_exact_values: false,
    }
}

/// Leaves out columns that are missing in the files of another part.
fn leave_out_missing(data: &DataPlan, columns: &mut [Column]) -> Result<(), Error> {
    for patterns in [&data.valid, &data.test] {
        let Some(file) = files(patterns, &data.root)?.into_iter().next() else {
            continue;
        };
        let present = column_names(&file, &data.reading)?;
        for column in columns
            .iter_mut()
            .filter(|column| !present.contains(&column.name))
        {
            let reason = format!("not in {}", shown_path(&file));
            column.decision.out.get_or_insert(reason);
        }
    }
    Ok(())
}

/// Makes lists of ids share the table of the column with the same ids.
fn share_tables(columns: &mut [Column]) {
    for at in 0..columns.len() {
        let owner = owner_of_ids(&columns[at], columns).map(|owner| owner.name.clone());
        let (Some(owner), Kind::List { table, .. }) = (owner, &mut columns[at].decision.kind)
        else {
            continue;
        };
        *table = Some(owner);
        columns[at].decision.why = "shares its ids";
    }
}

/// Returns the single-valued column with the ids of a list, if there is one.
fn owner_of_ids<'a>(list: &Column, columns: &'a [Column]) -> Option<&'a Column> {
    let overlap = |other: &Column| {
        let both = list.ids.intersection(&other.ids).count();
        both as f64 / list.ids.len().min(other.ids.len()).max(1) as f64
    };
    let singles = columns
        .iter()
        .filter(|column| column.decision.kind == Kind::Categorical && column.left_out().is_none());
    let shared = singles.map(|other| (overlap(other), other));
    let (share, other) = shared.max_by(|a, b| a.0.total_cmp(&b.0))?;
    let are_same = || is_sparse(&other.ids) || names::share_entity(&list.name, &other.name);
    (share > MIN_COMMON_IDS && are_same()).then_some(other)
}

/// Minimum share of the smaller column's distinct ids that the other column must contain for both to have the
/// same ids.
const MIN_COMMON_IDS: f64 = 0.2;

/// Returns true if ids are texts, or numbers with gaps, so that two columns hardly have common ids by
/// coincidence.
fn is_sparse(ids: &HashSet<Box<[u8]>>) -> bool {
    let number = |id: &[u8]| std::str::from_utf8(id).ok()?.parse::<f64>().ok();
    let numbers: Option<Vec<f64>> = ids.iter().map(|id| number(id)).collect();
    let Some(numbers) = numbers else { return true };
    let least = numbers.iter().copied().fold(f64::INFINITY, f64::min);
    let most = numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    most - least > 4.0 * numbers.len() as f64
}

fn split(
    wish: &Wish,
    sample: &Sample,
    columns: &[Column],
    group: Option<&str>,
    labels: &[Labels],
    progress: Progress,
) -> Result<Split, Error> {
    if !wish.data.valid.is_empty() {
        return Ok(Split::Files);
    }
    let ranked = columns
        .iter()
        .filter_map(|column| Some((column.time?, &column.name)));
    let best = ranked.max_by_key(|(rank, _)| *rank).map(|(_, name)| name);
    let why = match wish.time.as_ref().or(best) {
        None => "none was found: set one with --time".to_owned(),
        Some(column) => match time::boundary(&wish.data, column, broken_share(sample), progress)? {
            Ok(boundary) if later::splits_labels(&boundary, sample, labels) => {
                let column = column.clone();
                return Ok(Split::Time { column, boundary });
            }
            Ok(boundary) => format!(
                "a label is constant in the rows from {column} {} on",
                boundary.from
            ),
            Err(why) => why,
        },
    };
    if wish.time.is_some() {
        return Err(format!("--time: {why}").into());
    }
    Ok(match group.filter(|group| group::is_event(group)) {
        Some(column) => Split::Hash {
            column: column.to_owned(),
            why,
        },
        None => Split::Row { why },
    })
}
