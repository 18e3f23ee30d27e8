//! Runs a command line to its exit code, and starts the program again: comparisons run each training as a separate
//! process.

use std::ffi::OsString;
use std::io;
use std::process::Command;
use std::sync::OnceLock;

use crate::arguments::Arguments;
use crate::error::Error;
use crate::progress::Progress;
use crate::{commands, interrupt};

/// Exit code of `ncs promote` for a candidate that is refused.
const REFUSED: u8 = 3;

/// Runs a command. Exit codes: 0 success; 1 failure, with the reason on standard error; 3 a candidate that is not
/// promoted; 130 and 143 stopped by Ctrl-C and by SIGTERM.
pub fn run(arguments: &Arguments) -> u8 {
    interrupt::report_file_limits();
    match commands::run(&arguments.command, Progress::new(arguments.quiet)) {
        Ok(()) => 0,
        Err(error) => {
            // Standard error may be closed or on a full disk: the exit code still reports the failure.
            crate::progress::tell(&error.to_string());
            let otherwise = if let Error::Refused(_) = error {
                REFUSED
            } else {
                1
            };
            interrupt::exit_code().unwrap_or(otherwise)
        }
    }
}

static WORDS: OnceLock<Vec<OsString>> = OnceLock::new();

/// Sets the command that starts `ncs` if it is not the current executable: inside Python, `python -m ncs4cvr`. Only
/// the first call has an effect.
pub fn is_started_by(words: Vec<OsString>) {
    let _ = WORDS.set(words);
}

/// Returns the command that starts `ncs`, without arguments.
///
/// # Errors
/// The system does not report the path of the current executable.
pub(crate) fn command() -> io::Result<Command> {
    match WORDS.get().and_then(|words| words.split_first()) {
        None => Ok(Command::new(std::env::current_exe()?)),
        Some((program, arguments)) => {
            let mut command = Command::new(program);
            command.args(arguments);
            Ok(command)
        }
    }
}
