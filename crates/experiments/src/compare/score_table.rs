//! A file of another program's scores: one row for each evaluated row, one column `p_TASK` for each task.

use std::path::{Path, PathBuf};

use ncs_features::{Block, Column, LabelKind, Values};
use ncs_readers::{Reading, column_names};

use crate::error::Error;

/// Index of the evaluated row, from 0; without it, rows are in the order of the evaluated rows.
const ROW: &str = "row";
/// Seed of the training.
const SEED: &str = "seed";
/// Processor time of the training, in seconds.
const CPU_SECONDS: &str = "cpu_seconds";

/// Contents of a score file, in the order of the evaluated rows.
#[derive(Debug)]
pub(crate) struct ScoreTable {
    path: PathBuf,
    tasks: Vec<String>,
    /// Scores, `[task][row]`.
    scores: Vec<Vec<f32>>,
    /// Labels in the file, `[task][row]`, NaN where unknown; `None` for a task without a label column.
    labels: Vec<Option<Vec<f32>>>,
    /// Processor time of the training in seconds; 0 if the file does not have it.
    pub(crate) cpu_seconds: f64,
}

impl ScoreTable {
    /// Reads the scores of `tasks` for `n_rows` rows by a training with `seed`.
    ///
    /// Fails if the file cannot be read, lacks a task, has another number of rows, a value that is not a
    /// probability, or another seed.
    pub(crate) fn read(
        path: &Path,
        tasks: &[(String, LabelKind)],
        n_rows: usize,
        seed: u64,
    ) -> Result<ScoreTable, Error> {
        let names: Vec<String> = tasks.iter().map(|(name, _)| name.clone()).collect();
        let columns = Columns::read(path, &names)?;
        columns.check_length(n_rows)?;
        columns.check_constant(SEED, |found| {
            (found != seed as f64)
                .then(|| format!("the scores are of seed {found}; expected seed {seed}"))
        })?;
        columns.check_constant(CPU_SECONDS, |found| {
            let is_valid = found.is_finite() && found >= 0.0;
            (!is_valid).then(|| format!("{found} is not a number of seconds"))
        })?;
        let order = columns.order()?;
        let in_order = |values: &[f64]| match &order {
            Some(order) => order.iter().map(|&row| values[row] as f32).collect(),
            None => values.iter().map(|&value| value as f32).collect(),
        };
        let mut table = ScoreTable {
            cpu_seconds: columns.first(CPU_SECONDS).unwrap_or(0.0),
            path: path.to_owned(),
            tasks: names,
            scores: Vec::new(),
            labels: Vec::new(),
        };
        for (task, kind) in tasks {
            table.scores.push(in_order(columns.scores(task, *kind)?));
            table.labels.push(columns.get(&y(task)).map(in_order));
        }
        Ok(table)
    }

    /// Returns the scores of some evaluated rows, `[task][row]`.
    ///
    /// Fails if a label in the file differs from that of the evaluated row. `labels` are the labels of these
    /// rows, `[task][row]`, NaN where unknown.
    pub(crate) fn rows(
        &self,
        rows: std::ops::Range<usize>,
        labels: &[Vec<f32>],
    ) -> Result<Vec<Vec<f32>>, Error> {
        for (task, labels) in labels.iter().enumerate() {
            self.check_labels(task, rows.start, labels)?;
        }
        let of_task = |scores: &Vec<f32>| scores[rows.clone()].to_vec();
        Ok(self.scores.iter().map(of_task).collect())
    }

    fn check_labels(&self, task: usize, first: usize, labels: &[f32]) -> Result<(), Error> {
        let Some(file_labels) = &self.labels[task] else {
            return Ok(());
        };
        let differs = |(ours, theirs): (&f32, &f32)| !ours.is_nan() && ours != theirs;
        match labels.iter().zip(&file_labels[first..]).position(differs) {
            None => Ok(()),
            Some(at) => Err(format!(
                "{}, column \"{}\": the label of row {} is {}, but {} in the data: the scores are for other \
                 rows, or in another order",
                self.path.display(),
                y(&self.tasks[task]),
                first + at,
                label_text(file_labels[first + at]),
                label_text(labels[at]),
            ).into()),
        }
    }
}

fn p(task: &str) -> String {
    format!("p_{task}")
}

fn y(task: &str) -> String {
    format!("y_{task}")
}

fn label_text(label: f32) -> String {
    if label.is_nan() {
        return "unknown".to_owned();
    }
    label.to_string()
}

/// The known columns of a file, NaN where a row has no number.
struct Columns {
    path: PathBuf,
    names: Vec<String>,
    values: Vec<Vec<f64>>,
}

impl Columns {
    fn read(path: &Path, tasks: &[String]) -> Result<Columns, Error> {
        let present = column_names(path, &Reading::default())?;
        let expected: Vec<String> = tasks.iter().map(|task| p(task)).collect();
        if let Some(missing) = expected.iter().find(|name| !present.contains(name)) {
            let others = present.iter().filter(|name| !expected.contains(name));
            let text = format!(
                "{}: no column \"{missing}\"; scores are in a column p_TASK for each task, here {}{}",
                path.display(),
                expected.join(", "),
                ncs_config::hint(missing, others.map(String::as_str))
            );
            return Err(text.into());
        }
        let of_task = tasks.iter().flat_map(|task| [p(task), y(task)]);
        let all = of_task.chain([ROW, SEED, CPU_SECONDS].map(str::to_owned));
        let names: Vec<String> = all.filter(|name| present.contains(name)).collect();
        let mut columns = Columns {
            path: path.to_owned(),
            values: vec![Vec::new(); names.len()],
            names,
        };
        let mut source = ncs_readers::open(path, &Reading::default(), &columns.names)?;
        while let Some(raw) = source.next_block()? {
            if let Some(broken) = raw.broken.first() {
                let text = format!("{}, row {}: {}", path.display(), broken.row, broken.what);
                return Err(text.into());
            }
            columns.append(&raw.block)?;
        }
        Ok(columns)
    }

    fn append(&mut self, block: &Block) -> Result<(), Error> {
        for (column, values) in block.columns.iter().zip(&mut self.values) {
            let first = values.len() as u64;
            for row in 0..block.n_rows {
                let number = number(column, row)
                    .map_err(|error| format!("{}: {}", self.path.display(), error.after(first)));
                values.push(number?);
            }
        }
        Ok(())
    }

    fn get(&self, name: &str) -> Option<&[f64]> {
        let at = self.names.iter().position(|column| column == name)?;
        Some(&self.values[at])
    }

    fn first(&self, name: &str) -> Option<f64> {
        self.get(name)?.first().copied()
    }

    fn at(&self, name: &str, row: usize, text: &str) -> String {
        format!(
            "{}, column \"{name}\", row {}: {text}",
            self.path.display(),
            row + 1
        )
    }

    fn check_length(&self, expected: usize) -> Result<(), Error> {
        let found = self.values.first().map_or(0, Vec::len);
        if found == expected {
            return Ok(());
        }
        Err(format!(
            "{}: {found} rows of scores for {expected} evaluated rows; one is needed for each, in their order or \
             with a column \"{ROW}\" of their indices from 0",
            self.path.display()
        ).into())
    }

    /// Checks that a column about the whole training is constant, and that `fault` returns no error for its
    /// value.
    fn check_constant(
        &self,
        name: &str,
        fault: impl Fn(f64) -> Option<String>,
    ) -> Result<(), Error> {
        let values = self.get(name).unwrap_or(&[]);
        let Some(&first) = values.first() else {
            return Ok(());
        };
        if let Some(text) = fault(first) {
            return Err(self.at(name, 0, &text).into());
        }
        match values.iter().position(|value| *value != first) {
            None => Ok(()),
            Some(row) => {
                let text = format!(
                    "{}, but {first} in the first row; a file must be of one training",
                    values[row]
                );
                Err(self.at(name, row, &text).into())
            }
        }
    }

    /// Returns, for each evaluated row, the row of its scores in the file; `None` if the file has no column for
    /// it.
    fn order(&self) -> Result<Option<Vec<usize>>, Error> {
        let Some(rows) = self.get(ROW) else {
            return Ok(None);
        };
        let mut order = vec![usize::MAX; rows.len()];
        for (at, &row) in rows.iter().enumerate() {
            let is_valid = row >= 0.0 && row < rows.len() as f64 && row.fract() == 0.0;
            if !is_valid {
                let text = format!(
                    "{row} is not the index of an evaluated row, 0 to {}",
                    rows.len() - 1
                );
                return Err(self.at(ROW, at, &text).into());
            }
            let place = &mut order[row as usize];
            if *place != usize::MAX {
                let text = format!(
                    "evaluated row {row} already has scores, in row {}",
                    *place + 1
                );
                return Err(self.at(ROW, at, &text).into());
            }
            *place = at;
        }
        Ok(Some(order))
    }

    /// Returns the scores of a task, and checks that they are probabilities, or numbers for labels that are numbers.
    fn scores(&self, task: &str, kind: LabelKind) -> Result<&[f64], Error> {
        let name = p(task);
        let scores = self.get(&name).expect("the columns of all tasks were read");
        let is_valid = |score: &f64| match kind {
            LabelKind::Value => score.is_finite(),
            _ => (0.0..=1.0).contains(score),
        };
        match scores.iter().position(|score| !is_valid(score)) {
            None => Ok(scores),
            Some(row) if scores[row].is_nan() => Err(self
                .at(
                    &name,
                    row,
                    match kind {
                        LabelKind::Value => "no number; every evaluated row needs a prediction",
                        _ => "no number; every evaluated row needs a probability",
                    },
                )
                .into()),
            Some(row) => {
                let score = scores[row];
                let text = match kind {
                    LabelKind::Value => format!("{score} is not a finite number"),
                    _ => format!(
                        "{score} is not a probability in [0, 1]; logits need a sigmoid first"
                    ),
                };
                Err(self.at(&name, row, &text).into())
            }
        }
    }
}

/// Returns a row's number; NaN if it has none.
fn number(column: &Column, row: usize) -> Result<f64, ncs_features::EncodeError> {
    let Some(at) = column.only(row)? else {
        return Ok(f64::NAN);
    };
    match &column.values {
        // Some programs write an unknown label as NaN.
        Values::Float(numbers) => Ok(numbers[at]),
        _ => Ok(column.number(row, at)?.unwrap_or(f64::NAN)),
    }
}
