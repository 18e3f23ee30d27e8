//! The command line of ncs: run files to checked plans, one thin function for each verb, progress.
//!
//! It is a library so that its tests stand at the front door; programs use the crates below it.

pub mod arguments;
pub mod commands;
mod first_look;
pub mod made_up;
pub mod progress;
pub mod run_file;
mod score_file;
pub mod sharing;
