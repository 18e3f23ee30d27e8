//! Replay of a score log: scores its rows again by the offline path, and compares them with the logged scores.
//!
//! Rows of the same model must agree within a tolerance. For rows of other models, the differences are only
//! reported.

mod report;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use ncs_features::value::TextBuffer;
use ncs_features::{Batch, Block, Column, Encoder, Field, Schema, Values};
use ncs_model::Workspace;
use ncs_readers::{ReadError, Reading, Rows, RowsBlock};
use ncs_serve::version::Version;

use crate::layout::Prefix;

pub use report::Report;
use report::RowId;

/// A score log cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// Rows cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The files are no score log of this model, or cannot be compared; the text says why.
    #[error("{0}")]
    Unusable(String),
    /// The caller requested a stop.
    #[error("stopped; the rows that were compared so far are not reported")]
    Stopped,
}

impl From<String> for ReplayError {
    fn from(text: String) -> ReplayError {
        ReplayError::Unusable(text)
    }
}

/// Scores the rows of `log`, a file or a folder of `.parquet` files, and compares them with the logged scores.
/// `advance` receives the number of rows of each block once they are compared.
///
/// # Errors
/// Fails if a file is not part of a score log or cannot be read, a file of the same model lacks a column, no
/// file can be compared, or `stop` is set.
pub fn replay(
    log: &Path,
    version: &Version,
    tolerance: f64,
    stop: &AtomicBool,
    advance: &mut dyn FnMut(u64),
) -> Result<Report, ReplayError> {
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    let mut replay = Replay {
        version,
        encoder: Encoder::new(version.identity.schema.clone()),
        workspace: Workspace::new(cores),
        report: Report::new(&version.identity, tolerance),
    };
    for file in files(log)? {
        match Comparable::find(&file, version)? {
            Ok(file) => replay.file(&file, stop, advance)?,
            Err(reason) => replay.report.skipped_folders.push(reason),
        }
    }
    let report = replay.report;
    match (report.files, report.skipped_folders.first()) {
        (0, Some(reason)) => Err(format!("nothing can be compared: {reason}").into()),
        _ => Ok(report),
    }
}

/// Returns the file itself, or the Parquet files of the folder in order of their names.
fn files(log: &Path) -> Result<Vec<PathBuf>, ReplayError> {
    let mut files = Vec::new();
    if !log.is_dir() {
        return Ok(vec![log.to_owned()]);
    }
    for entry in std::fs::read_dir(log).map_err(|error| read_error(log, &error))? {
        let path = entry.map_err(|error| read_error(log, &error))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(".parquet") && !name.starts_with('.') {
            files.push(path);
        }
    }
    if files.is_empty() {
        return Err(format!(
            "{}: no .parquet file in this folder; use the folder of --score-log. A file that a server is \
             writing has another name until it is closed: after --score-log-seconds, or when the server stops",
            log.display()
        )
        .into());
    }
    files.sort();
    Ok(files)
}

fn read_error(folder: &Path, error: &std::io::Error) -> String {
    format!("{}: cannot read the folder: {error}", folder.display())
}

/// A file with the columns that this model reads, and with logged scores.
struct Comparable {
    path: PathBuf,
    /// True if the same model scored its first row, and therefore all rows.
    is_same: bool,
    prefix: Prefix,
    /// Indices of the outputs that it has scores of.
    outputs: Vec<usize>,
}

impl Comparable {
    /// Checks the columns of a file. Returns the reason for skipping it as the inner error: a file of another
    /// model may lack some columns.
    fn find(path: &Path, version: &Version) -> Result<Result<Comparable, String>, ReplayError> {
        let names = ncs_readers::column_names(path, &Reading::default())?;
        let prefix = Prefix::found_in(&names).ok_or_else(|| {
            format!(
                "{}: not a file of a score log: it has no column \"ncs_request_id\"; use a file that ncs \
                 serve wrote, or its folder",
                path.display()
            )
        })?;
        let all = version.identity.outputs.iter();
        let outputs: Vec<String> = all.map(|output| prefix.of_output(output)).collect();
        let features = feature_columns(version.schema());
        let is_missing = |column: &&String| !names.contains(column);
        let missing = features.iter().chain(&outputs).find(is_missing);
        let has_scores = |output: &usize| names.contains(&outputs[*output]);
        let comparable = Comparable {
            path: path.to_owned(),
            is_same: first_hash(path, &prefix)? == *version.identity.hash,
            outputs: (0..outputs.len()).filter(has_scores).collect(),
            prefix,
        };
        let Some(missing) = missing else {
            return Ok(Ok(comparable));
        };
        let reason = format!("{}: no column \"{missing}\"", path.display());
        if comparable.is_same {
            return Err(format!(
                "{reason}, which the model that scored it has read; use the file as the server \
                 wrote it"
            )
            .into());
        }
        let is_scored = features.iter().all(|column| names.contains(column));
        if is_scored && !comparable.outputs.is_empty() {
            Ok(Ok(comparable))
        } else {
            Ok(Err(format!("{reason}, which this model reads")))
        }
    }

    /// Returns the columns to read: request, candidate, model hash and the scores in order, then the features.
    fn columns(&self, version: &Version) -> Vec<String> {
        let own = ["request_id", "candidate", "model_hash"];
        let mut columns: Vec<String> = own.iter().map(|name| self.prefix.of(name)).collect();
        let outputs = self.outputs.iter().map(|&n| &version.identity.outputs[n]);
        columns.extend(outputs.map(|output| self.prefix.of_output(output)));
        columns.extend(feature_columns(version.schema()));
        columns
    }
}

/// Returns the hash of the model of the first row.
fn first_hash(path: &Path, prefix: &Prefix) -> Result<String, ReadError> {
    let columns = vec![prefix.of("model_hash")];
    let mut rows = Rows::open(vec![path.to_owned()], &Reading::default(), columns);
    let first = rows.next_block()?;
    Ok(first.map_or_else(String::new, |rows| text(&rows.block.columns[0], 0)))
}

fn feature_columns(schema: &Schema) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for column in schema.fields.iter().flat_map(Field::columns) {
        if !names.contains(column) {
            names.push(column.clone());
        }
    }
    names
}

struct Replay<'a> {
    version: &'a Version,
    encoder: Encoder,
    workspace: Workspace,
    report: Report,
}

impl Replay<'_> {
    fn file(
        &mut self,
        file: &Comparable,
        stop: &AtomicBool,
        advance: &mut dyn FnMut(u64),
    ) -> Result<(), ReplayError> {
        let columns = file.columns(self.version);
        let mut rows = Rows::open(vec![file.path.clone()], &Reading::default(), columns);
        self.report.files += 1;
        while let Some(rows) = rows.next_block()? {
            if stop.load(Ordering::Relaxed) {
                return Err(ReplayError::Stopped);
            }
            match self.encoder.encode_features(&rows.block) {
                Ok(batch) => self.rows(file, &rows, &batch)?,
                Err(error) if file.is_same => return Err(rows.error(error).into()),
                Err(error) => {
                    let reason = format!("{}; this and all later rows", rows.error(error));
                    self.report.skipped_folders.push(reason);
                    break;
                }
            }
            advance(rows.block.n_rows as u64);
        }
        Ok(())
    }

    fn rows(
        &mut self,
        file: &Comparable,
        rows: &RowsBlock,
        batch: &Batch,
    ) -> Result<(), ReplayError> {
        let mut replayed = self.version.scorer().score(batch, &mut self.workspace);
        let products = self.version.products().iter();
        let products: Vec<Vec<f32>> = products.map(|product| product.of(&replayed)).collect();
        replayed.extend(products);
        let [requests, candidates, hashes, rest @ ..] = &rows.block.columns[..] else {
            unreachable!("three columns were requested")
        };
        let mut logged = Vec::new();
        for (&output, column) in file.outputs.iter().zip(rest) {
            logged.push((output, scores(&file.path, column, &rows.block)?));
        }
        for row in 0..rows.block.n_rows {
            let tally = self.report.tally(&text(hashes, row));
            let row_id = || RowId {
                request_id: text(requests, row),
                candidate: text(candidates, row).parse().unwrap_or(-1),
            };
            let pairs = logged.iter().map(|(output, logged)| {
                let replayed = f64::from(replayed[*output][row]);
                (*output, [logged[row], replayed])
            });
            tally.add(pairs, row_id);
        }
        Ok(())
    }
}

/// Returns the scores of a column; NaN where it is null. Scores are logged as 32-bit numbers.
fn scores(path: &Path, column: &Column, block: &Block) -> Result<Vec<f64>, ReplayError> {
    let score = |row: usize| match (&column.values, column.is_null(row)) {
        (_, true) => Some(f64::NAN),
        (Values::Float(numbers), _) => Some(f64::from(numbers[row] as f32)),
        (Values::Int(numbers), _) => Some(numbers[row] as f64),
        (Values::Text(_) | Values::Time(_), _) => None,
    };
    let scores: Option<Vec<f64>> = (0..block.n_rows).map(score).collect();
    scores.filter(|_| column.offsets.is_none()).ok_or_else(|| {
        let (path, name) = (path.display(), &column.name);
        format!(
            "{path}: column \"{name}\" does not hold numbers; use the file as the server wrote it"
        )
        .into()
    })
}

fn text(column: &Column, row: usize) -> String {
    let mut buffer = TextBuffer::default();
    let text = column
        .range(row)
        .next()
        .map(|i| buffer.plain(&column.values, i));
    String::from_utf8_lossy(text.unwrap_or_default()).into_owned()
}
