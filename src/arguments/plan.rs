//! Arguments of `ncs plan`.

use super::{Run, at_least_1};
use clap::Args;
use std::path::PathBuf;

/// `ncs plan`
#[derive(Args, Clone, Debug)]
pub struct Plan {
    #[command(flatten)]
    #[expect(
        missing_docs,
        reason = "a comment here would replace the help of the command"
    )]
    pub run: Run,
    /// Largest number of processes.
    #[arg(long, value_name = "N", default_value = "64", value_parser = at_least_1)]
    pub ranks: usize,
    /// Rows of the log, such as 1e11. Default: the training rows of the run file.
    #[arg(long, value_name = "N", value_parser = positive)]
    pub rows: Option<f64>,
    /// Rows of all tables that training uses, such as 5e9. Default: all rows that the tables of the run file have.
    #[arg(long, value_name = "N", value_parser = positive)]
    pub table_rows: Option<f64>,
    /// Bandwidth of each process, in Gbit/s.
    #[arg(long, value_name = "GBIT", default_value = "10", value_parser = positive)]
    pub gbit: f64,
    /// Latency of an exchange, in milliseconds.
    #[arg(long, value_name = "MS", default_value = "0.1", value_parser = positive)]
    pub latency_ms: f64,
    /// Time for each of the two trainings that are measured.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = humantime::parse_duration)]
    pub time: std::time::Duration,
    /// Take the costs of a step from what --json has printed, in the place of measuring them.
    #[arg(long, value_name = "FILE")]
    pub costs: Option<PathBuf>,
    /// Print JSON: the costs, and what follows from them.
    #[arg(long)]
    pub json: bool,
}

fn positive(text: &str) -> Result<f64, String> {
    let number = text.parse().ok();
    let number = number.filter(|number: &f64| *number > 0.0 && number.is_finite());
    number.ok_or_else(|| "expected a number above 0".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_above_0_are_taken() {
        assert_eq!(positive("1e11"), Ok(1e11));
        for text in ["0", "-1", "inf", "NaN", "many"] {
            assert!(positive(text).is_err(), "{text}");
        }
    }
}
