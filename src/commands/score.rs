//! `ncs score`

use std::path::{Path, PathBuf};

use ncs_eval::{PartColumns, columns_text};
use ncs_experiments::error::Error;
use ncs_experiments::progress::Progress;
use ncs_experiments::score_file::{ScoreFile, column_of};
use ncs_experiments::scoring::{self, LoadedModel, Rows};
use ncs_features::{Block, Encoder};
use ncs_model::Precision;

use super::{Outcome, model, print};
use crate::arguments::Score;
use crate::interrupt;

/// Writes the probability (or ratio) of every task for every row, in the order of the rows (as many as the files
/// hold), and the product
/// of a click and a conversion task; before them, the columns of the rows that are to be kept.
///
/// # Errors
/// The model or a row cannot be read, a row has no score, the file cannot be written or is one of those that are read,
/// or it was asked to stop; then nothing is written.
pub fn run(arguments: &Score, progress: Progress) -> Outcome {
    let stop_requested = interrupt::flag()?;
    let loaded = match arguments.map_tables {
        true => LoadedModel::map(&arguments.input.model)?,
        false => LoadedModel::open(&arguments.input.model)?,
    };
    let files = model::files(&arguments.input.rows)?;
    refuse_own_input(&arguments.out, &files)?;
    let files = files_of_shard(files, arguments)?;
    let mut pass = model::pass(&arguments.input.rows);
    let outputs = loaded.outputs();
    let keep = kept_columns(&arguments.keep, &outputs)?;
    let mut out = ScoreFile::create(&arguments.out, &keep, &outputs)?;
    let mut job = progress.job("score", None, "rows");
    let rows = Rows::Files {
        files,
        reading: model::reading(&arguments.input.rows, [&*loaded.artifact]),
    };
    scoring::check_looked_up(&loaded, &rows)?;
    let mut encoded = rows.encoded(Encoder::new(loaded.schema().clone()), false, &keep)?;
    let precision = if arguments.half {
        Precision::Half
    } else {
        Precision::Single
    };
    let each = |kept: Block, scores| {
        let n_rows = kept.n_rows;
        out.write(kept, scores)?;
        job.advance(n_rows as u64);
        Ok(())
    };
    let columns = scoring::score(
        &loaded,
        &mut encoded,
        &mut pass,
        precision,
        stop_requested,
        each,
    )?;
    refuse_other_number(out.rows(), encoded.rows_read())?;
    let n_rows = out.finish()?;
    job.finish();
    model::log_notes(&encoded, &arguments.input.rows, progress)?;
    log_columns(progress, &columns);
    print(&format!("{}: {n_rows} rows\n", arguments.out.display()))
}

/// Returns the files of the shard that the arguments name.
fn files_of_shard(files: Vec<PathBuf>, arguments: &Score) -> Result<Vec<PathBuf>, Error> {
    let Some(shard) = arguments.shard else {
        return Ok(files);
    };
    let n_files = files.len();
    let own = shard.of(files);
    if own.is_empty() {
        let text = format!(
            "shard {}/{} has no file: {} names {n_files}; use {n_files} shards at most",
            shard.k,
            shard.n,
            arguments.input.rows.data.join(" ")
        );
        return Err(text.into());
    }
    Ok(own)
}

/// Fails if the numbers differ: scores and rows are matched by position only.
fn refuse_other_number(written: u64, read: u64) -> Result<(), Error> {
    if written == read {
        return Ok(());
    }
    Err(
        format!("{written} scores for {read} rows; no scores were written: please report this")
            .into(),
    )
}

/// Differences from the rows that the model was trained on.
fn log_columns(progress: Progress, columns: &PartColumns) {
    let table = columns_text(std::slice::from_ref(columns));
    if !table.is_empty() {
        progress.log(table.trim_end());
    }
    for note in columns.remarks() {
        progress.log(&note.line());
    }
}

/// The columns to keep, each once.
fn kept_columns(requested: &[String], outputs: &[String]) -> Result<Vec<String>, Error> {
    let mut keep: Vec<String> = Vec::new();
    for name in requested.iter().filter(|name| !name.is_empty()) {
        if outputs.iter().any(|output| column_of(output) == *name) {
            return Err(format!(
                "--keep names {name:?}, which is the name of a score column; rename it in the data"
            )
            .into());
        }
        if !keep.contains(name) {
            keep.push(name.clone());
        }
    }
    Ok(keep)
}

/// Fails if the output file is one of the input files.
fn refuse_own_input(out: &Path, files: &[PathBuf]) -> Result<(), Error> {
    let Ok(place) = out.canonicalize() else {
        // Absent, so none of the files.
        return Ok(());
    };
    let is_out = |file: &&PathBuf| file.canonicalize().is_ok_and(|file| file == place);
    match files.iter().find(is_out) {
        None => Ok(()),
        Some(file) => Err(format!(
            "{}: --out is {}, one of the files of --data; name another file for the scores",
            out.display(),
            file.display()
        )
        .into()),
    }
}
