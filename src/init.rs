//! A run file from the data alone: the columns by kind, what is left out and why, a split, the tasks.
//! The rules are in docs/decisions; [`Draft::read`] applies them in order.

use std::collections::HashSet;
use std::error::Error;
use std::path::Path;

use ncs_features::labels::labels;
use ncs_features::{Block, Objective, Population, Task};
use ncs_readers::{DataPlan, column_names, files};

use crate::progress::Progress;
use kind::{Decision, Kind};
use leak::Labels;
use profile::Profile;
use sample::Sample;
use time::Boundary;

mod document;
mod group;
mod kind;
mod later;
mod leak;
mod lists;
mod names;
pub(crate) mod paths;
mod profile;
mod sample;
mod time;

/// What is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    /// The files as they are read now: their paths start at the working folder.
    pub(crate) data: DataPlan,
    /// The tasks.
    pub(crate) tasks: Vec<TaskDraft>,
    /// The time column, where it is not to be found.
    pub(crate) time: Option<String>,
    /// The column of the groups, where it is not to be guessed.
    pub(crate) group: Option<String>,
}

/// A task of the run file.
#[derive(Clone, Debug)]
pub(crate) struct TaskDraft {
    /// Its name.
    pub(crate) name: String,
    /// Its label's column.
    pub(crate) label: String,
    /// The task whose positive rows it is about, if not all.
    pub(crate) population: Option<String>,
    /// Whether the label is a share and not 0 or 1.
    pub(crate) is_ratio: bool,
}

/// A run file to be.
pub(crate) struct Draft {
    /// Paths as the run file is to state them.
    pub(crate) train: Vec<String>,
    /// The same, of validation files.
    pub(crate) valid: Vec<String>,
    /// The same, of test files.
    pub(crate) test: Vec<String>,
    /// Keys of `[data]` that say how files are read, and their values as TOML.
    pub(crate) reading: Vec<(&'static str, String)>,
    /// How many rows were looked at.
    pub(crate) rows: usize,
    /// The columns, in the order of the file; labels are not among them.
    pub(crate) columns: Vec<Column>,
    all_rows: bool,
    broken: Option<String>,
    split: Split,
    unreadable: Vec<(String, String)>,
    tasks: Vec<TaskDraft>,
    group: Option<String>,
}

/// A column and what becomes of it.
pub(crate) struct Column {
    pub(crate) name: String,
    /// What it holds, for people.
    described: String,
    decision: Decision,
    nulls: usize,
    known: usize,
    distinct: usize,
    /// The values of an id, or of a list of ids.
    ids: HashSet<Box<[u8]>>,
    /// How fit it is to tell when a row happened.
    time: Option<(bool, bool, usize)>,
    /// Whether a number should be a category as well.
    has_exact_values: bool,
}

impl Column {
    /// Why it is no feature, if it is none.
    pub(crate) fn left_out(&self) -> Option<&str> {
        self.decision.out.as_deref()
    }
}

enum Split {
    Files,
    Time { column: String, boundary: Boundary },
    Hash { column: String, why: String },
    Row { why: String },
}

/// Rows that cannot be read are left out up to this share; of more, something is wrong with the files.
const MOST_BROKEN: f64 = 0.01;

impl Draft {
    /// Reads rows of the files and decides. Paths of the draft are those of the wish.
    ///
    /// # Errors
    /// A file cannot be read, a column that is named is absent, or a label is no label.
    pub(crate) fn read(wish: &Wish, progress: Progress) -> Result<Draft, Box<dyn Error>> {
        let sample = Sample::read(&wish.data, progress)?;
        let broken = broken(&sample)?;
        let named = wish.tasks.iter().map(|task| &task.label);
        for name in named.chain(&wish.time).chain(&wish.group) {
            require(name, &sample)?;
        }
        let mut tasks = wish.tasks.clone();
        let labels = label_values(&mut tasks, &sample)?;
        let mut columns = columns(&sample, &tasks, &labels);
        absent_elsewhere(&wish.data, &mut columns)?;
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
        format!("no column is left to be a feature:{reasons}")
    }

    /// What is left out, with its reason, and what cannot be read.
    pub(crate) fn left_out(&self) -> Vec<(&str, &str)> {
        let columns = self.columns.iter();
        let out = columns.filter_map(|column| Some((column.name.as_str(), column.left_out()?)));
        let unreadable = self.unreadable.iter();
        out.chain(unreadable.map(|(name, why)| (name.as_str(), why.as_str())))
            .collect()
    }
}

/// A path as it was stated, without the `./` that the reader puts before it.
fn shown_path(path: &Path) -> String {
    path.strip_prefix(".").unwrap_or(path).display().to_string()
}

fn broken(sample: &Sample) -> Result<Option<String>, Box<dyn Error>> {
    let (n, Some(first)) = &sample.broken else {
        return Ok(None);
    };
    let text = format!("{n} rows cannot be read; the first: {first}");
    if *n as f64 > MOST_BROKEN * sample.n_rows() as f64 {
        return Err(format!("{text}; mend the files, or state --delimiter or --header").into());
    }
    Ok(Some(text))
}

/// The share of broken rows that the run file lets be left out.
fn broken_share(sample: &Sample) -> f64 {
    match sample.broken.1 {
        Some(_) => MOST_BROKEN,
        None => 0.0,
    }
}

fn require(name: &str, sample: &Sample) -> Result<(), Box<dyn Error>> {
    if sample.columns.iter().any(|column| column == name) {
        return Ok(());
    }
    if let Some((_, why)) = sample.unreadable.iter().find(|(column, _)| column == name) {
        return Err(format!("column {name:?} is {why}").into());
    }
    let known = sample.columns.iter().map(String::as_str);
    Err(format!(
        "no column {name:?} in the files{}",
        crate::run_file::hint(name, known)
    )
    .into())
}

/// The labels of every task; a label of another kind than 0 and 1 makes its task one of shares.
fn label_values(tasks: &mut [TaskDraft], sample: &Sample) -> Result<Vec<Labels>, Box<dyn Error>> {
    let bases: Vec<String> = tasks
        .iter()
        .filter_map(|task| task.population.clone())
        .collect();
    for task in tasks.iter_mut() {
        let is_base = bases.contains(&task.name);
        let profile = Profile::of(&task.label, None, blocks(sample));
        let is_share = |x: &f64| (0.0..=1.0).contains(x);
        let has_fraction = profile.numbers.iter().any(|x| x.fract() != 0.0);
        task.is_ratio = !is_base && has_fraction && profile.numbers.iter().all(is_share);
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
    let mut found: Vec<Labels> = tasks
        .iter()
        .map(|task| Labels {
            column: task.label.clone(),
            of_rows: Vec::new(),
            raw: Vec::new(),
        })
        .collect();
    for rows in &sample.blocks {
        let of = |tasks: &[Task]| labels(tasks, &rows.block).map_err(|error| rows.error(error));
        for ((found, raw), own) in found.iter_mut().zip(of(&raw)?).zip(of(&of_rows)?) {
            found.raw.extend(raw);
            found.of_rows.extend(own);
        }
    }
    for (task, labels) in tasks.iter().zip(&found).filter(|_| sample.all_rows) {
        both_kinds(task, &labels.of_rows)?;
    }
    Ok(found)
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
    }
}

fn both_kinds(task: &TaskDraft, labels: &[f32]) -> Result<(), Box<dyn Error>> {
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
        "the label {:?} of task {:?} is {first} in every row where it is known: nothing can be learned",
        task.label, task.name
    )
    .into())
}

fn blocks(sample: &Sample) -> impl Iterator<Item = &Block> {
    sample.blocks.iter().map(|rows| &rows.block)
}

/// All columns but the labels, decided one by one.
fn columns(sample: &Sample, tasks: &[TaskDraft], labels: &[Labels]) -> Vec<Column> {
    let is_label = |name: &&String| tasks.iter().any(|task| task.label == **name);
    let others = sample.columns.iter().filter(|name| !is_label(name));
    others.map(|name| column(name, sample, labels)).collect()
}

fn column(name: &str, sample: &Sample, labels: &[Labels]) -> Column {
    let whole = Profile::of(name, None, blocks(sample));
    let mut decision = kind::decide(&whole, sample.all_rows);
    let time = time::rank(&whole);
    let described = kind::described(&whole, &decision.kind);
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
        described,
        nulls: profile.nulls,
        known: profile.known(),
        distinct: profile.counts.len(),
        ids: profile.counts.into_keys().filter(|_| has_ids).collect(),
        decision,
        time,
        has_exact_values: false,
    }
}

/// Leaves out columns that the files of another part lack.
fn absent_elsewhere(data: &DataPlan, columns: &mut [Column]) -> Result<(), Box<dyn Error>> {
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

/// Lets lists of ids share the table of the column whose ids they hold.
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

/// The single-valued column that holds the ids of a list, if one does.
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
    let are_same = || is_sparse(&other.ids) || names::share_a_thing(&list.name, &other.name);
    (share > SAME_IDS && are_same()).then_some(other)
}

/// Two columns hold the same ids if so many of the different ones of the smaller are in the other.
const SAME_IDS: f64 = 0.2;

/// Whether ids are texts or numbers with gaps between them, so that two columns hold the same ones hardly by
/// chance.
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
) -> Result<Split, Box<dyn Error>> {
    if !wish.data.valid.is_empty() {
        return Ok(Split::Files);
    }
    let ranked = columns
        .iter()
        .filter_map(|column| Some((column.time?, &column.name)));
    let found = ranked.max_by_key(|(rank, _)| *rank).map(|(_, name)| name);
    let why = match wish.time.as_ref().or(found) {
        None => "none was found: name one with --time".to_owned(),
        Some(column) => match time::boundary(&wish.data, column, broken_share(sample), progress)? {
            Ok(boundary) if later::divides(&boundary, sample, labels) => {
                let column = column.clone();
                return Ok(Split::Time { column, boundary });
            }
            Ok(boundary) => format!(
                "from {column} {} on, a label is always the same",
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
