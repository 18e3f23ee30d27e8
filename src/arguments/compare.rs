//! `ncs compare`

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use ncs_experiments::compare::{CompareOptions, Match};

use super::at_least_1;

/// `ncs compare`
#[derive(Args, Clone, Debug)]
pub struct Compare {
    /// The comparison file.
    #[arg(value_name = "COMPARE.toml")]
    pub file: PathBuf,
    /// Folder for logs, runs and the report; several processes can share it.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Number of parallel runs (default: one per core).
    #[arg(long, value_name = "N", value_parser = at_least_1)]
    pub jobs: Option<usize>,
    /// Budget to equalise across networks (overrides the file).
    #[arg(long = "match", value_enum)]
    pub matching: Option<Matching>,
    /// Train nothing; only report the finished runs.
    #[arg(long)]
    pub only_report: bool,
    /// Base folder of relative paths of score files (default: folder of the comparison file).
    #[arg(long, value_name = "DIR")]
    pub scores: Option<PathBuf>,
}

/// Budget to equalise across networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Matching {
    /// None: the widths of the run file.
    None,
    /// Number of dense parameters that at least one task keeps.
    Parameters,
    /// Number of multiplications to score one row for all tasks.
    Flops,
}

impl Compare {
    /// Returns the options of the comparison.
    pub fn options(&self) -> CompareOptions {
        CompareOptions {
            jobs: self.jobs.unwrap_or(0),
            matching: self.matching.map(|matching| match matching {
                Matching::None => Match::None,
                Matching::Parameters => Match::Parameters,
                Matching::Flops => Match::Flops,
            }),
            only_report: self.only_report,
            scores: self.scores.clone(),
        }
    }
}
