//! `ncs score`

use std::path::{Path, PathBuf};

use ncs_features::Encoder;
use ncs_readers::Encoded;

use super::{Outcome, model, print};
use crate::arguments::Score;
use crate::interrupt;
use crate::progress::Progress;
use crate::score_file::ScoreFile;

/// Writes the probability (or ratio) of every task for every row, in the order of the rows: as many as
/// the files hold.
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
    let mut out = ScoreFile::create(&arguments.out, &scorer.spec().tasks)?;
    let mut job = progress.job("score", None, "rows");
    let encoder = Encoder::new(scorer.schema().clone());
    let mut rows = Encoded::open(files, &reading, encoder, false);
    for batch in &mut rows {
        let batch = batch?;
        interrupt::refuse(asked, "no scores were written")?;
        out.write(scorer.score(&batch, &mut pass))?;
        job.advance(batch.n_rows as u64);
    }
    refuse_other_number(out.rows(), rows.rows_read())?;
    let n_rows = out.finish()?;
    job.finish();
    model::say_notes(&rows, progress);
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
