//! The command line of ncs: its arguments, one thin function for each subcommand, signals.
//!
//! A program that uses ncs without a command line depends on the crates below: `ncs-config` reads run files,
//! `ncs-experiments` runs and compares them, `ncs-score-log` keeps and replays the scores of a server. Their modules are
//! re-exported here under the names that they had when they were part of this package; `run_file` is `ncs-config`.

pub mod arguments;
pub mod commands;
pub mod interrupt;
pub mod program;
mod ranks;

pub use ncs_config as run_file;
pub use ncs_experiments::{
    Error, ErrorKind, backtest, compare, comparison, error, forget, frames, memory, progress,
    promotion, recalibration, run_folder, run_log, run_report, scoring, sharing, synthetic,
    training, tune,
};
pub use ncs_score_log as score_log;
