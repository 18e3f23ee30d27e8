//! Arguments of the commands that keep a model up to date: `ncs calibrate`, `ncs backtest`, `ncs promote`, `ncs
//! forget`,
//! `ncs drift`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{ModelAndRows, ReadingOptions, Rows, Run, at_least_1, rate, share};

/// `ncs calibrate`
#[derive(Args, Clone, Debug)]
pub struct Calibrate {
    #[command(flatten)]
    #[expect(
        missing_docs,
        reason = "a comment here would replace the help of the command"
    )]
    pub input: ModelAndRows,
    /// Folder of the new model: new, empty, or a model to replace. Default: replace MODEL, atomically.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Task to calibrate. Can be repeated. Default: every task with labels 0 and 1.
    #[arg(long = "task", value_name = "TASK")]
    pub tasks: Vec<String>,
    /// Calibrator (default: the kind that the model has for the task, otherwise platt).
    #[arg(long, value_enum)]
    pub kind: Option<CalibratorKind>,
    /// Minimum labels of each class per task (default: 200 for platt, 1000 for isotonic).
    #[arg(long, value_name = "N", value_parser = at_least_1)]
    pub min_labels: Option<usize>,
    /// Time column of the rows: its first and last value are recorded with the model.
    #[arg(long, value_name = "COLUMN")]
    pub time: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// A kind of calibrator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CalibratorKind {
    /// Platt scaling: a logistic curve over the logit.
    Platt,
    /// Isotonic regression.
    Isotonic,
}

/// `ncs backtest`
#[derive(Args, Clone, Debug)]
pub struct Backtest {
    #[command(flatten)]
    #[expect(
        missing_docs,
        reason = "a comment here would replace the help of the command"
    )]
    pub run: Run,
    /// Folder for the models, the table by day and the report.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Column with the day or time of a row, or key of the folders by day (day for day=2026-11-28/). Default: the
    /// column of data.split, or folders named day=, date= or dt=.
    #[arg(long, value_name = "COLUMN")]
    pub by: Option<String>,
    /// First and last day, such as 2026-11-01..2026-11-14. Either may be left out.
    #[arg(long, value_name = "FIRST..LAST")]
    pub days: Option<String>,
    /// Number of days to train the first model on.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = at_least_1)]
    pub initial: usize,
    /// Also train from scratch on the last W days, every day, for comparison.
    #[arg(long, value_name = "W", value_parser = at_least_1)]
    pub window: Option<usize>,
    /// Also evaluate the first model without further training, for comparison.
    #[arg(long)]
    pub frozen: bool,
    /// Share of validation rows in each training, unless data.split is by hash or row.
    #[arg(long, value_name = "SHARE", default_value_t = 0.1, value_parser = rate)]
    pub valid: f64,
    /// Keep the model of every day. Default: the first and the latest one.
    #[arg(long)]
    pub keep_models: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `ncs promote`
#[derive(Args, Clone, Debug)]
pub struct Promote {
    /// The model to promote: a folder written by ncs train, or the model in it.
    #[arg(
        value_name = "CANDIDATE",
        required_unless_present = "rollback",
        conflicts_with = "rollback"
    )]
    pub candidate: Option<PathBuf>,
    /// The live model: a symbolic link that this command creates and updates. Versions are kept in LIVE.versions, the
    /// record in LIVE.promotions.jsonl.
    #[arg(long, value_name = "LIVE")]
    pub live: PathBuf,
    /// Files, globs and folders of labelled rows that neither model was trained on.
    #[arg(long, value_name = "PATH", num_args = 1.., required_unless_present = "rollback", conflicts_with = "rollback")]
    pub data: Vec<String>,
    /// Also compare on each slice: the rows with one value of this column. Can be repeated.
    #[arg(long = "slice", value_name = "COLUMN")]
    pub slices: Vec<String>,
    /// Significance level: probability of rejecting a candidate that is as good as the live model, over all tests.
    #[arg(long, value_name = "P", default_value_t = 0.05, value_parser = rate)]
    pub level: f64,
    /// Tolerated loss of AUC (for ratios: increase of squared error; for values, of the relative one).
    #[arg(long, value_name = "X", default_value_t = 0.0, value_parser = share)]
    pub tolerance: f64,
    /// Allowed range of predicted / observed for each task.
    #[arg(long, value_name = "LOW..HIGH", default_value = "0.8..1.25", value_parser = bounds)]
    pub calibration_bound: [f64; 2],
    /// Minimum labels of each class to compare a task; slices with fewer are skipped.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = at_least_1)]
    pub min_labels: usize,
    /// Versions to keep; older ones are deleted.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = at_least_2)]
    pub keep: usize,
    /// Compare and print only: create no version, do not move the link, record nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Roll back to the version before the live one.
    #[arg(long)]
    pub rollback: bool,
    /// Features by id: the columns that the rows lack are taken from a file, by the rows' ids in this column. Can be
    /// repeated.
    #[arg(long = "lookup", value_name = "COLUMN=FILE", value_parser = crate::commands::lookup_file::parse)]
    pub lookups: Vec<(String, PathBuf)>,
    #[command(flatten)]
    #[expect(
        missing_docs,
        reason = "a comment here would replace the help of the command"
    )]
    pub reading: ReadingOptions,
    /// Worker threads (default: all cores).
    #[arg(long, value_name = "N", value_parser = at_least_1)]
    pub threads: Option<usize>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

impl Promote {
    /// Returns the rows to compare on.
    pub fn rows(&self) -> Rows {
        Rows {
            data: self.data.clone(),
            lookups: self.lookups.clone(),
            reading: self.reading.clone(),
            threads: self.threads,
        }
    }
}

/// `ncs forget`
#[derive(Args, Clone, Debug)]
pub struct Forget {
    /// A model: a folder written by ncs train (all of it is searched), the model in it, or the link that ncs promote
    /// moves.
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// The column whose values are erased.
    #[arg(long, value_name = "COLUMN")]
    pub column: String,
    /// File with the values, one a line.
    #[arg(long, value_name = "FILE")]
    pub values: PathBuf,
    /// Also erase under this folder: runs, models, id caches, score logs. Can be repeated.
    #[arg(long, value_name = "FOLDER")]
    pub also: Vec<PathBuf>,
    /// Search only.
    #[arg(long)]
    pub dry_run: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

fn at_least_2(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| *number > 1);
    number.ok_or_else(|| "expected a whole number, at least 2".to_owned())
}

/// Parses `0.8..1.25`: both above 0, the first one at most 1, the second one at least 1.
fn bounds(text: &str) -> Result<[f64; 2], String> {
    let parsed = text.split_once("..").and_then(|(low, high)| {
        let (low, high): (f64, f64) = (low.parse().ok()?, high.parse().ok()?);
        (0.0 < low && low <= 1.0 && 1.0 <= high && high.is_finite()).then_some([low, high])
    });
    parsed.ok_or_else(|| "expected LOW..HIGH around 1, such as 0.8..1.25".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::Arguments;
    use clap::Parser;

    #[test]
    fn a_promotion_has_a_candidate_and_rows_and_a_return_has_neither() {
        let parse = |line: &str| Arguments::try_parse_from(line.split(' ')).map(drop);
        assert!(parse("ncs promote new --live feed --data a b").is_ok());
        assert!(parse("ncs promote --live feed --rollback").is_ok());
        for wrong in [
            "ncs promote --live feed --data a",
            "ncs promote new --live feed",
            "ncs promote new --live feed --rollback",
            "ncs promote --live feed --data a --rollback",
            "ncs promote new --data a",
            "ncs promote new --live feed --data a --keep 1",
            "ncs backtest run.toml --out bt --initial 0",
            "ncs calibrate model",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_bound_lies_around_one() {
        assert_eq!(bounds("0.8..1.25"), Ok([0.8, 1.25]));
        assert_eq!(bounds("1..1"), Ok([1.0, 1.0]));
        for wrong in [
            "", "0.8", "1.1..1.2", "0..2", "0.8..0.9", "0.8..inf", "a..b",
        ] {
            assert!(bounds(wrong).is_err(), "{wrong}");
        }
    }
}

/// `ncs drift`
#[derive(Args, Clone, Debug)]
pub struct Drift {
    #[command(flatten)]
    #[expect(
        missing_docs,
        reason = "a comment here would replace the help of the command"
    )]
    pub input: ModelAndRows,
    /// Also write a page with pictures.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}
