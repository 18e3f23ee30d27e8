//! The command line of ncs: run files to checked plans, one thin function for each verb, progress.
//!
//! It is a library so that its tests stand at the front door; programs use the crates below it.

pub mod arguments;
pub mod backtest;
mod clock;
mod column_auc;
pub mod commands;
pub mod compare;
pub mod comparison;
mod cost;
mod data_preview;
pub mod error;
mod exact_values;
pub mod frames;
mod init;
pub mod interrupt;
pub mod memory;
mod past_rates;
mod predictions_file;
pub mod program;
pub mod progress;
pub mod promotion;
pub mod recalibration;
mod replay;
pub mod run_file;
pub mod run_folder;
pub mod run_log;
pub mod run_report;
mod score_file;
pub mod score_log;
pub mod scoring;
pub mod sharing;
pub mod synthetic;
mod synthetic_folder;
pub mod training;
pub mod tune;

pub use error::{Error, ErrorKind};
