//! Runs a command and returns its exit code.

use ncs_experiments::progress::{self, Progress};

use crate::arguments::Arguments;
use crate::{commands, interrupt};
use ncs_experiments::Error;

pub use ncs_experiments::program::is_started_by;

/// Exit code of `ncs promote` for a candidate that is refused.
const REFUSED: u8 = 3;

/// Runs a command. Exit codes: 0 success; 1 failure, with the reason on standard error; 2 invalid arguments; 3 a candidate that is not
/// promoted; 130 and 143 stopped by Ctrl-C and by SIGTERM.
pub fn run(arguments: &Arguments) -> u8 {
    interrupt::report_file_limits();
    match commands::run(&arguments.command, Progress::new(arguments.quiet)) {
        Ok(()) => 0,
        Err(error) => {
            // Standard error may be closed or on a full disk: the exit code still reports the failure.
            progress::tell(&error.to_string());
            let otherwise = if let Error::Refused(_) = error {
                REFUSED
            } else {
                1
            };
            interrupt::exit_code().unwrap_or(otherwise)
        }
    }
}
