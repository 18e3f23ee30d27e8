//! A score log scored again, from its files, by the path of training: does the server say the same?
//!
//! Rows of the very model are held to a tolerance. Rows of another one are told apart: of them it says how
//! this model's scores would have differed.

mod report;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use ncs_features::value::TextBuffer;
use ncs_features::{Batch, Block, Column, Encoder, Schema, Values};
use ncs_model::Workspace;
use ncs_readers::{ReadError, Reading, Rows, RowsBlock};
use ncs_serve::version::Version;

use crate::interrupt;
use crate::progress::Job;
use crate::score_log::layout::Prefix;

use report::Place;
pub(crate) use report::Report;

/// Scores the rows of `log`, a file or a folder of `.parquet` files, and compares.
///
/// # Errors
/// A file is none of a score log or cannot be read, a file of this very model lacks a column, no file can be
/// compared, or it was asked to stop.
pub(crate) fn replay(
    log: &Path,
    version: &Version,
    tolerance: f64,
    asked: &AtomicBool,
    job: &mut Job,
) -> Result<Report, Box<dyn Error>> {
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    let mut replay = Replay {
        version,
        encoder: Encoder::new(version.identity.schema.clone()),
        pass: Workspace::new(cores),
        report: Report::new(&version.identity, tolerance),
    };
    for file in files(log)? {
        match Comparable::find(&file, version)? {
            Ok(file) => replay.file(&file, asked, job)?,
            Err(reason) => replay.report.passed_over.push(reason),
        }
    }
    let report = replay.report;
    match (report.files, report.passed_over.first()) {
        (0, Some(reason)) => Err(format!("nothing can be compared: {reason}").into()),
        _ => Ok(report),
    }
}

/// The file itself, or the Parquet files of the folder by name.
fn files(log: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut files = Vec::new();
    if !log.is_dir() {
        return Ok(vec![log.to_owned()]);
    }
    for entry in std::fs::read_dir(log).map_err(|error| unread(log, &error))? {
        let path = entry.map_err(|error| unread(log, &error))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(".parquet") && !name.starts_with('.') {
            files.push(path);
        }
    }
    if files.is_empty() {
        return Err(format!(
            "{}: no .parquet file in this folder; name that of --score-log. What a server is writing has \
             another name until it is closed: after --score-log-seconds, or when the server ends",
            log.display()
        )
        .into());
    }
    files.sort();
    Ok(files)
}

fn unread(folder: &Path, error: &std::io::Error) -> String {
    format!("{}: cannot read the folder: {error}", folder.display())
}

/// A file that holds what this model reads, and scores of it.
struct Comparable {
    path: PathBuf,
    /// Whether this very model scored its first row, and so all of them.
    is_same: bool,
    prefix: Prefix,
    /// Numbers of the outputs that it has scores of.
    outputs: Vec<usize>,
}

impl Comparable {
    /// Looks at the columns of a file; a file of another model may lack some: then this is the reason why
    /// it is passed over.
    fn find(path: &Path, version: &Version) -> Result<Result<Comparable, String>, Box<dyn Error>> {
        let names = ncs_readers::column_names(path, &Reading::default())?;
        let prefix = Prefix::found_in(&names).ok_or_else(|| {
            format!(
                "{}: no file of a score log: it has no column \"ncs_request_id\"; name a file that ncs \
                 serve wrote, or its folder",
                path.display()
            )
        })?;
        let all = version.identity.outputs.iter();
        let outputs: Vec<String> = all.map(|output| prefix.of_output(output)).collect();
        let features = feature_columns(version.schema());
        let absent = |column: &&String| !names.contains(column);
        let lost = features.iter().chain(&outputs).find(absent);
        let has_scores = |output: &usize| names.contains(&outputs[*output]);
        let found = Comparable {
            path: path.to_owned(),
            is_same: first_hash(path, &prefix)? == *version.identity.hash,
            outputs: (0..outputs.len()).filter(has_scores).collect(),
            prefix,
        };
        let Some(lost) = lost else {
            return Ok(Ok(found));
        };
        let reason = format!("{}: no column \"{lost}\"", path.display());
        if found.is_same {
            return Err(format!(
                "{reason}, which the model that scored it must have had; take the file as the server \
                 wrote it"
            )
            .into());
        }
        let is_scored = features.iter().all(|column| names.contains(column));
        match is_scored && !found.outputs.is_empty() {
            true => Ok(Ok(found)),
            false => Ok(Err(format!("{reason}, which this model has"))),
        }
    }

    /// Ours first: request, candidate, model, the scores in their order. Then the features'.
    fn columns(&self, version: &Version) -> Vec<String> {
        let ours = ["request_id", "candidate", "model_hash"];
        let mut columns: Vec<String> = ours.iter().map(|name| self.prefix.of(name)).collect();
        let outputs = self.outputs.iter().map(|&n| &version.identity.outputs[n]);
        columns.extend(outputs.map(|output| self.prefix.of_output(output)));
        columns.extend(feature_columns(version.schema()));
        columns
    }
}

/// The hash of the model of the first row.
fn first_hash(path: &Path, prefix: &Prefix) -> Result<String, ReadError> {
    let columns = vec![prefix.of("model_hash")];
    let mut rows = Rows::open(vec![path.to_owned()], &Reading::default(), columns);
    let first = rows.next_block()?;
    Ok(first.map_or_else(String::new, |rows| text(&rows.block.columns[0], 0)))
}

fn feature_columns(schema: &Schema) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for field in &schema.fields {
        if !names.contains(&field.column) {
            names.push(field.column.clone());
        }
    }
    names
}

struct Replay<'a> {
    version: &'a Version,
    encoder: Encoder,
    pass: Workspace,
    report: Report,
}

impl Replay<'_> {
    fn file(
        &mut self,
        file: &Comparable,
        asked: &AtomicBool,
        job: &mut Job,
    ) -> Result<(), Box<dyn Error>> {
        let columns = file.columns(self.version);
        let mut rows = Rows::open(vec![file.path.clone()], &Reading::default(), columns);
        self.report.files += 1;
        while let Some(rows) = rows.next_block()? {
            interrupt::refuse(asked, "the rows that were compared so far are not reported")?;
            match self.encoder.encode_features(&rows.block) {
                Ok(batch) => self.rows(file, &rows, &batch)?,
                Err(error) if file.is_same => return Err(rows.error(error).into()),
                Err(error) => {
                    let reason = format!("{}; the rows from there on", rows.error(error));
                    self.report.passed_over.push(reason);
                    break;
                }
            }
            job.advance(rows.block.n_rows as u64);
        }
        Ok(())
    }

    fn rows(&mut self, file: &Comparable, rows: &RowsBlock, batch: &Batch) -> Result<(), String> {
        let mut said = self.version.scorer().score(batch, &mut self.pass);
        if let Some([first, second]) = self.version.product() {
            let pairs = said[first].iter().zip(&said[second]);
            said.push(pairs.map(|(first, second)| first * second).collect());
        }
        let [requests, candidates, hashes, rest @ ..] = &rows.block.columns[..] else {
            unreachable!("three columns were asked for")
        };
        let mut logged = Vec::new();
        for (&output, column) in file.outputs.iter().zip(rest) {
            logged.push((output, scores(&file.path, column, &rows.block)?));
        }
        for row in 0..rows.block.n_rows {
            let tally = self.report.tally(&text(hashes, row));
            let place = || Place {
                request_id: text(requests, row),
                candidate: text(candidates, row).parse().unwrap_or(-1),
            };
            let pairs = logged.iter().map(|(output, logged)| {
                let said = f64::from(said[*output][row]);
                (*output, [logged[row], said])
            });
            tally.add(pairs, place);
        }
        Ok(())
    }
}

/// The scores of a column; NaN where it holds none. They were 32-bit numbers.
fn scores(path: &Path, column: &Column, block: &Block) -> Result<Vec<f64>, String> {
    let score = |row: usize| match (&column.values, column.is_null(row)) {
        (_, true) => Some(f64::NAN),
        (Values::Float(numbers), _) => Some(f64::from(numbers[row] as f32)),
        (Values::Int(numbers), _) => Some(numbers[row] as f64),
        (Values::Text(_) | Values::Time(_), _) => None,
    };
    let scores: Option<Vec<f64>> = (0..block.n_rows).map(score).collect();
    scores.filter(|_| column.offsets.is_none()).ok_or_else(|| {
        format!(
            "{}: column \"{}\" holds no numbers; take the file as the server wrote it",
            path.display(),
            column.name
        )
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
