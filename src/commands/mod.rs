//! One thin function for each subcommand.

pub mod backtest;
pub mod cache;
pub mod calibrate;
pub mod check;
pub mod compare;
pub mod delta;
pub mod drift;
pub mod evaluate;
pub mod export;
pub mod forget;
pub mod importance;
pub mod init;
pub mod inspect;
pub mod lookup_file;
mod model;
pub mod plan;
pub mod promote;
pub mod quickstart;
pub mod replay;
pub mod schema;
pub mod score;
pub mod serve;
pub mod synth;
pub mod train;
pub mod tune;

use std::io::{self, Write};

use ncs_config::{RunFile, RunFileError};
use ncs_experiments::error::Error;
use ncs_experiments::progress::Progress;
use ncs_readers::{Encoding, Format};

use crate::arguments::{Command, FileFormat, TextEncoding};

/// Result of a command; the error is a message for users.
pub type Outcome = Result<(), Error>;

/// Runs a command.
///
/// # Errors
/// It failed, or it was asked to stop.
pub fn run(command: &Command, progress: Progress) -> Outcome {
    match command {
        Command::Quickstart(arguments) => quickstart::run(arguments, progress),
        Command::Init(arguments) => init::run(arguments, progress),
        Command::Check(arguments) => check::run(arguments, progress),
        Command::Train(arguments) => train::run(arguments, progress),
        Command::Plan(arguments) => plan::run(arguments, progress),
        Command::Tune(arguments) => tune::run(arguments, progress),
        Command::Compare(arguments) => compare::run(arguments, progress),
        Command::Backtest(arguments) => backtest::run(arguments, progress),
        Command::Drift(arguments) => drift::run(arguments, progress),
        Command::Evaluate(arguments) => evaluate::run(arguments, progress),
        Command::Importance(arguments) => importance::run(arguments, progress),
        Command::Score(arguments) => score::run(arguments, progress),
        Command::Calibrate(arguments) => calibrate::run(arguments, progress),
        Command::Promote(arguments) => promote::run(arguments, progress),
        Command::Delta(arguments) => delta::run(arguments, progress),
        Command::Forget(arguments) => forget::run(arguments, progress),
        Command::Serve(arguments) => serve::run(arguments),
        Command::Inspect(arguments) => inspect::run(arguments),
        Command::Export(arguments) => export::run(arguments),
        Command::Replay(arguments) => replay::run(arguments, progress),
        Command::Synth(arguments) => synth::run(arguments, progress),
        Command::Cache(arguments) => cache::run(arguments),
        Command::Schema(arguments) => schema::run(arguments),
    }
}

/// Opens a run file and logs its notes.
fn open(run: &crate::arguments::Run, progress: Progress) -> Result<RunFile, RunFileError> {
    let file = RunFile::open(&run.file, &run.assignments)?;
    for note in &file.notes {
        progress.log(&format!("{}: note: {note}", run.file.display()));
    }
    Ok(file)
}

/// The format that a flag names.
fn file_format(argument: FileFormat) -> Format {
    match argument {
        FileFormat::Parquet => Format::Parquet,
        FileFormat::Csv => Format::Csv,
        FileFormat::JsonLines => Format::JsonLines,
        FileFormat::Arrow => Format::Arrow,
        FileFormat::Tfrecord => Format::TfRecord,
    }
}

/// The encoding that a flag names.
fn encoding(argument: TextEncoding) -> Encoding {
    match argument {
        TextEncoding::Utf8 => Encoding::Utf8,
        TextEncoding::Latin1 => Encoding::Latin1,
        TextEncoding::Windows1252 => Encoding::Windows1252,
    }
}

/// Prints a value as pretty-printed JSON.
fn print_json(value: &impl serde::Serialize) -> Outcome {
    let text = serde_json::to_string_pretty(value)?;
    print(&format!("{text}\n"))
}

/// Prints a result. A closed pipe, as with `head`, is not an error.
fn print(text: &str) -> Outcome {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(format!("cannot write the result: {error}").into())
        }
        _ => Ok(()),
    }
}
