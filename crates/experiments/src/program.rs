//! Starts the program again: comparisons run each training as a separate process.

use std::ffi::OsString;
use std::io;
use std::process::Command;
use std::sync::OnceLock;

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
