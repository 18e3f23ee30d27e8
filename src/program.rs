//! Runs a command line to its exit code.

use ncs_experiments::progress::{self, Progress};

use crate::arguments::Arguments;
use crate::{commands, interrupt};

pub use ncs_experiments::program::is_started_by;

/// Runs a command. Exit codes: 0 success; 1 failure, with the reason on standard error; 130 and 143 stopped by Ctrl-C
/// and by SIGTERM.
pub fn run(arguments: &Arguments) -> u8 {
    interrupt::report_file_limits();
    match commands::run(&arguments.command, Progress::new(arguments.quiet)) {
        Ok(()) => 0,
        Err(error) => {
            // Standard error may be closed or on a full disk: the exit code still reports the failure.
            progress::tell(&error.to_string());
            interrupt::exit_code().unwrap_or(1)
        }
    }
}
