//! The program: a command line run to its exit code, and the command that starts it again, since comparisons run each
//! training as a process of its own.

use std::ffi::OsString;
use std::io;
use std::process::Command;
use std::sync::OnceLock;

use crate::arguments::Arguments;
use crate::progress::Progress;
use crate::{commands, interrupt};

/// Runs what the command line says: 0 success; 1 failure, with the reason on standard error; 130 and 143 stopped by
/// Ctrl-C and by SIGTERM.
pub fn run(arguments: &Arguments) -> u8 {
    interrupt::report_file_limits();
    match commands::run(&arguments.command, Progress::new(arguments.quiet)) {
        Ok(()) => 0,
        Err(error) => {
            // Standard error may be closed, or on a full disk: the exit code tells even then.
            crate::progress::tell(&error.to_string());
            interrupt::exit_code().unwrap_or(1)
        }
    }
}

static WORDS: OnceLock<Vec<OsString>> = OnceLock::new();

/// Says how `ncs` is started where it is not this very program: inside Python, `python -m ncs4cvr`. The first call
/// counts.
pub fn is_started_by(words: Vec<OsString>) {
    let _ = WORDS.set(words);
}

/// `ncs`, without arguments.
///
/// # Errors
/// The system does not say which program this is.
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
