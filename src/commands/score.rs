//! `ncs score`

use std::path::{Path, PathBuf};

use ncs_eval::{PartColumns, columns_text};
use ncs_features::{Coverage, Encoder, Schema};
use ncs_readers::Encoded;

use super::{Outcome, model, print};
use crate::arguments::Score;
use crate::interrupt;
use crate::progress::Progress;
use crate::score_file::{ScoreFile, column_of};

/// Writes the probability (or ratio) of every task for every row, in the order of the rows (as many as the files
/// hold), and the product
/// of a click and a conversion task; before them, the columns of the rows that are to be kept.
///
/// # Errors
/// The model or a row cannot be read, a row has no score, the file cannot be written or is one of those that are read,
/// or it was asked to stop; then nothing is written.
pub fn run(arguments: &Score, progress: Progress) -> Outcome {
    let asked = interrupt::flag()?;
    let artifact = model::read(&arguments.model)?;
    let scorer = model::scorer_of(&arguments.model, &artifact)?;
    let files = model::files(&arguments.rows)?;
    refuse_own_input(&arguments.out, &files)?;
    let reading = model::reading(&arguments.rows);
    let mut pass = model::pass(&arguments.rows);
    let outputs = outputs(scorer.schema());
    let keep = kept_columns(&arguments.keep, &outputs)?;
    let product = scorer.schema().product();
    let mut out = ScoreFile::create(&arguments.out, &keep, &outputs)?;
    let mut job = progress.job("score", None, "rows");
    let encoder = Encoder::new(scorer.schema().clone());
    let mut coverage = Coverage::new(scorer.schema());
    let mut encoded = Encoded::open_keeping(files, &reading, encoder, false, &keep);
    while let Some(next) = encoded.next_rows() {
        let (rows, batch) = next?;
        interrupt::refuse(asked, "no scores were written")?;
        let mut scores = scorer.score(&batch, &mut pass);
        model::check_scores(&rows, &batch, &scores, &scorer)?;
        model::cover(&mut coverage, &scorer, &rows, &batch);
        scores.extend(product.as_ref().map(|product| product.of(&scores)));
        out.write(encoded.kept(&rows.block), scores)?;
        job.advance(batch.n_rows as u64);
    }
    refuse_other_number(out.rows(), encoded.rows_read())?;
    let n_rows = out.finish()?;
    job.finish();
    model::say_notes(&encoded, &arguments.rows, progress)?;
    let columns = PartColumns {
        part: "rows".to_owned(),
        columns: coverage.finish(|field, id| scorer.is_unseen(field, id)),
        reference: artifact.shares,
        compared_with: "validation".to_owned(),
    };
    say_columns(progress, &columns);
    print(&format!("{}: {n_rows} rows\n", arguments.out.display()))
}

/// Scores stand beside rows by their number alone.
fn refuse_other_number(written: u64, read: u64) -> Result<(), String> {
    if written == read {
        return Ok(());
    }
    Err(format!(
        "{written} scores for {read} rows; no scores were written: please report this"
    ))
}

/// What differs from the rows that the model was trained on.
fn say_columns(progress: Progress, columns: &PartColumns) {
    let table = columns_text(std::slice::from_ref(columns));
    if !table.is_empty() {
        progress.say(table.trim_end());
    }
    for note in columns.remarks() {
        progress.say(&note.line());
    }
}

/// The tasks, then their product where one is about another's positives.
fn outputs(schema: &Schema) -> Vec<String> {
    let tasks = schema.tasks.iter().map(|task| task.name.clone());
    tasks
        .chain(schema.product().map(|product| product.name))
        .collect()
}

/// The columns to keep, each once.
fn kept_columns(said: &[String], outputs: &[String]) -> Result<Vec<String>, String> {
    let mut keep: Vec<String> = Vec::new();
    for name in said.iter().filter(|name| !name.is_empty()) {
        if outputs.iter().any(|output| column_of(output) == *name) {
            return Err(format!(
                "--keep names {name:?}, which is a column of the scores; rename it in the data"
            ));
        }
        if !keep.contains(name) {
            keep.push(name.clone());
        }
    }
    Ok(keep)
}

/// Scores would replace the rows that they are for.
fn refuse_own_input(out: &Path, files: &[PathBuf]) -> Result<(), String> {
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
        )),
    }
}
