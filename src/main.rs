//! The command line.

use std::process::ExitCode;

use clap::Parser;
use ncs4cvr::arguments::Arguments;
use ncs4cvr::program;

/// 0 success; 1 failure, with the reason on standard error; 2 invalid arguments; 3 a candidate that `ncs promote`
/// refuses; 130 and 143 stopped by Ctrl-C and by SIGTERM.
fn main() -> ExitCode {
    ExitCode::from(program::run(&Arguments::parse()))
}
