//! Experiments: a run from its plan to its folder, comparisons of many runs, tuning, quick start, and what prepares
//! and explains them: a log to a run file, the check of a run file against its data, synthetic logs, scores of rows,
//! the contents of a model. No module reads a command line or catches a signal.

pub mod backtest;
mod column_auc;
pub mod compare;
pub mod comparison;
mod cost;
pub mod data_check;
mod data_preview;
pub mod distributed_plan;
mod distributions;
pub mod drift;
mod drift_error;
pub mod error;
mod exact_values;
pub mod forget;
pub mod frames;
pub mod importance;
pub mod init;
pub mod inspection;
mod leaks;
pub mod memory;
pub mod onnx;
mod past_rates;
mod predictions_file;
pub mod program;
pub mod progress;
pub mod promotion;
pub mod quick_start;
pub mod recalibration;
mod recalibration_error;
mod refused;
pub mod run_folder;
pub mod run_log;
pub mod run_report;
pub mod score_file;
pub mod scoring;
pub mod sharing;
pub mod slices;
pub mod stop;
pub mod synthetic;
pub mod synthetic_folder;
mod table_init;
mod task_metrics;
pub mod training;
pub mod tune;

pub use error::{Error, ErrorKind};
