//! `ncs score`

use std::path::{Path, PathBuf};

use ncs_features::{Encoder, Schema};
use ncs_readers::Encoded;

use super::{Outcome, model, print};
use crate::arguments::Score;
use crate::interrupt;
use crate::progress::Progress;
use crate::score_file::{ScoreFile, column_of};

/// Writes the probability (or ratio) of every task for every row, in the order of the rows, and the product
/// of a click and a conversion task; before them, the columns of the rows that are to be kept.
///
/// # Errors
/// The model or a row cannot be read, the file cannot be written or is one of those that are read,
/// or it was asked to stop; then nothing is written.
pub fn run(arguments: &Score, progress: Progress) -> Outcome {
    let asked = interrupt::flag()?;
    let scorer = model::scorer(&arguments.model)?;
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
    let mut rows = Encoded::open_keeping(files, &reading, encoder, false, &keep);
    while let Some(next) = rows.next_kept() {
        let (batch, kept) = next?;
        interrupt::refuse(asked, "no scores were written")?;
        let mut scores = scorer.score(&batch, &mut pass);
        scores.extend(product.as_ref().map(|product| product.of(&scores)));
        out.write(kept, scores)?;
        job.advance(batch.n_rows as u64);
    }
    let rows = out.finish()?;
    job.finish();
    print(&format!("{}: {rows} rows\n", arguments.out.display()))
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
