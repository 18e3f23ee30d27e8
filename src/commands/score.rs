//! `ncs score`

use ncs_features::Encoder;
use ncs_readers::Encoded;

use super::{Outcome, model, print};
use crate::arguments::Score;
use crate::progress::Progress;
use crate::score_file::ScoreFile;

/// Writes the probability (or ratio) of every task for every row, in the order of the rows.
///
/// # Errors
/// The model or a row cannot be read, or the file cannot be written; then there is no file.
pub fn run(arguments: &Score, progress: Progress) -> Outcome {
    let scorer = model::scorer(&arguments.model)?;
    let files = model::files(&arguments.rows)?;
    let reading = model::reading(&arguments.rows);
    let mut pass = model::pass(&arguments.rows);
    let mut out = ScoreFile::create(&arguments.out, &scorer.spec().tasks)?;
    let mut job = progress.job("score", None, "rows");
    let encoder = Encoder::new(scorer.schema().clone());
    for batch in Encoded::open(files, &reading, encoder, false) {
        let batch = batch?;
        out.write(scorer.score(&batch, &mut pass))?;
        job.advance(batch.n_rows as u64);
    }
    let rows = out.finish()?;
    job.finish();
    print(&format!("{}: {rows} rows\n", arguments.out.display()))
}
