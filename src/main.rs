//! The command line: which verb is asked for.

use std::process::ExitCode;

use clap::Parser;
use ncs4cvr::arguments::{Arguments, Command};
use ncs4cvr::commands;
use ncs4cvr::interrupt;
use ncs4cvr::progress::Progress;

/// 0 success; 1 failure, with the reason on standard error; 2 invalid arguments; 130 and 143 stopped by
/// Ctrl-C and by SIGTERM.
fn main() -> ExitCode {
    let arguments = Arguments::parse();
    interrupt::report_file_limits();
    match run(&arguments.command, Progress::new(arguments.quiet)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Standard error may be closed, or on a full disk: the exit code tells even then.
            ncs4cvr::progress::tell(&error.to_string());
            interrupt::exit_code().map_or(ExitCode::FAILURE, ExitCode::from)
        }
    }
}

fn run(command: &Command, progress: Progress) -> commands::Outcome {
    match command {
        Command::Quickstart(arguments) => commands::quickstart::run(arguments, progress),
        Command::Init(arguments) => commands::init::run(arguments, progress),
        Command::Check(arguments) => commands::check::run(arguments, progress),
        Command::Train(arguments) => commands::train::run(arguments, progress),
        Command::Tune(arguments) => commands::tune::run(arguments, progress),
        Command::Compare(arguments) => commands::compare::run(arguments, progress),
        Command::Evaluate(arguments) => commands::evaluate::run(arguments, progress),
        Command::Score(arguments) => commands::score::run(arguments, progress),
        Command::Serve(arguments) => commands::serve::run(arguments),
        Command::Inspect(arguments) => commands::inspect::run(arguments),
        Command::Replay(arguments) => commands::replay::run(arguments, progress),
        Command::Synth(arguments) => commands::synth::run(arguments, progress),
        Command::Cache(arguments) => commands::cache::run(arguments),
        Command::Schema(arguments) => commands::schema::run(arguments),
    }
}
