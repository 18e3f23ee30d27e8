//! One thin function for each verb of the command line.

pub mod cache;
pub mod check;
pub mod evaluate;
pub mod inspect;
pub mod quickstart;
pub mod schema;
pub mod score;
pub mod synth;
pub mod train;

use std::error::Error;
use std::io::{self, Write};

use crate::progress::Progress;
use crate::run_file::{RunFile, RunFileError};

/// Done, or the reason why not, worded for people.
pub type Outcome = Result<(), Box<dyn Error>>;

/// Opens a run file and says what is worth knowing about it.
fn open(run: &crate::arguments::Run, progress: Progress) -> Result<RunFile, RunFileError> {
    let file = RunFile::open(&run.file, &run.assignments)?;
    for note in &file.notes {
        progress.say(&format!("{}: note: {note}", run.file.display()));
    }
    Ok(file)
}

/// Prints a result. A reader that has gone away, such as `head`, is no failure.
fn print(text: &str) -> Outcome {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => Ok(done?),
    }
}
