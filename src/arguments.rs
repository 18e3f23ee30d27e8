//! Command-line arguments.

pub mod compare;
pub mod daily;
pub mod delta;
pub mod export;
pub mod init;
pub mod model;
pub mod plan;
pub mod serve;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use compare::Compare;
pub use model::{Evaluate, Importance, Score, Shard};
pub use plan::Plan;

/// Predict clicks and conversions with one model: each task uses its own subnetwork of a shared network.
#[derive(Clone, Debug, Parser)]
#[command(name = "ncs", version, max_term_width = 100)]
pub struct Arguments {
    /// The command.
    #[command(subcommand)]
    pub command: Command,
    /// Print results and errors only, no progress.
    #[arg(short, long, global = true)]
    pub quiet: bool,
}

/// A command and its arguments.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Generate synthetic logs, train three networks on each, compare them, write a report.
    Quickstart(Quickstart),
    /// Write a run file for a log: the kind of each column, without suspected label leaks.
    Init(Box<init::Init>),
    /// Check a run file against its data, and summarise the columns.
    Check(Check),
    /// Search masks, train and evaluate; write the model and a report. Resumes an interrupted run.
    Train(Train),
    /// Predict time, memory and traffic of a training on several processes from the costs of a step, measured here.
    Plan(Plan),
    /// Tune the settings that the run file does not set, on validation rows; write the best run file. Resumes an
    /// interrupted tuning.
    Tune(Tune),
    /// Compare methods on data sets over several seeds: equal tuning budgets, intervals, significance tests. Resumes an
    /// interrupted comparison.
    Compare(Compare),
    /// Backtest in time order: train further on each day, evaluate on the next. Resumes an interrupted
    /// backtest.
    Backtest(Box<daily::Backtest>),
    /// Compare new rows with those of a model's training: shift of columns and scores, unseen values, calibration
    Drift(daily::Drift),
    /// Evaluate a trained model on labelled data.
    Evaluate(Evaluate),
    /// Measure permutation importance: the loss of AUC when the values of a column are permuted between rows.
    Importance(Importance),
    /// Score rows: write the probability of each task for each row.
    Score(Score),
    /// Recalibrate a trained model on new labelled rows; its weights do not change.
    Calibrate(daily::Calibrate),
    /// Compare a candidate with the live model on new rows, and promote it unless it is worse.
    Promote(Box<daily::Promote>),
    /// Write what differs between two models, or apply it: a model without the file of all its weights.
    #[command(subcommand)]
    Delta(delta::Delta),
    /// Erase values, such as a user's id, from a model, its run, id caches and score logs, and prove it.
    Forget(daily::Forget),
    /// Serve predictions over HTTP and gRPC.
    Serve(Box<serve::Serve>),
    /// Show the contents of a trained model: columns, layers, what the masks keep and share.
    Inspect(Inspect),
    /// Write a trained model in the format of another runtime: ONNX.
    Export(export::Export),
    /// Score the rows of a score log again and compare with the logged scores.
    Replay(serve::Replay),
    /// Generate a synthetic log with known probabilities.
    Synth(Synth),
    /// List or delete cached rows.
    #[command(subcommand)]
    Cache(Cache),
    /// Print the JSON schema of the run file or of a comparison file.
    Schema(Schema),
}

/// `ncs quickstart`
#[derive(Args, Clone, Debug)]
pub struct Quickstart {
    /// Repetitions with different seeds.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub seeds: u32,
    /// Folder for the log, the models and the report.
    #[arg(long, value_name = "DIR", default_value = "quickstart")]
    pub out: PathBuf,
}

/// A run file and its overrides.
#[derive(Args, Clone, Debug)]
pub struct Run {
    /// The run file.
    #[arg(value_name = "RUN.toml")]
    pub file: PathBuf,
    /// Override a key of the run file, such as training.epochs=3. Can be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = assignment)]
    pub assignments: Vec<String>,
}

/// `ncs tune`
#[derive(Args, Clone, Debug)]
pub struct Tune {
    #[command(flatten)]
    #[expect(
        missing_docs,
        reason = "a comment here would replace the help of the command"
    )]
    pub run: Run,
    /// Time budget, such as 10m or 2h. A started trial is completed.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = humantime::parse_duration)]
    pub budget: std::time::Duration,
    /// Folder for the trials, the best run file and the report.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

/// `ncs check`
#[derive(Args, Clone, Debug)]
pub struct Check {
    #[command(flatten)]
    #[expect(
        missing_docs,
        reason = "a comment here would replace the help of the command"
    )]
    pub run: Run,
    /// Read only the first N rows of each part. Default: 10,000 rows are shown, and all rows are read if the
    /// files have at most 64 MiB together.
    #[arg(long, value_name = "N", value_parser = at_least_1)]
    pub rows: Option<usize>,
    /// Read all rows, regardless of file size.
    #[arg(long)]
    pub all: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `ncs train`
#[derive(Args, Clone, Debug)]
pub struct Train {
    #[command(flatten)]
    #[expect(
        missing_docs,
        reason = "a comment here would replace the help of the command"
    )]
    pub run: Run,
    /// Folder for checkpoints, the model and the report.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Continue training from the model in this folder (sets start.model).
    #[arg(long, value_name = "MODEL")]
    pub from: Option<PathBuf>,
    /// Start over, even if the folder holds a checkpoint of the same run.
    #[arg(long)]
    pub fresh: bool,
    /// Started by mpirun or srun: end the job if a process does not answer for so long.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = time_above_0)]
    pub rank_timeout: std::time::Duration,
}

/// Reading options of files.
#[derive(Args, Clone, Debug, Default)]
pub struct ReadingOptions {
    /// Format of the files (default: by file name).
    #[arg(long, value_enum)]
    pub format: Option<FileFormat>,
    /// Field separator of CSV files (default: tab for .tsv, otherwise comma).
    #[arg(long, value_name = "CHARACTER", value_parser = delimiter)]
    pub delimiter: Option<u8>,
    /// Column names of CSV files that have no header line.
    #[arg(long, value_name = "NAME,NAME,...", value_delimiter = ',')]
    pub header: Option<Vec<String>>,
    /// Encoding of texts (default: utf-8).
    #[arg(long, value_enum)]
    pub encoding: Option<TextEncoding>,
}

/// Rows to run a model on.
#[derive(Args, Clone, Debug)]
pub struct Rows {
    /// Files, globs and folders of rows.
    #[arg(long, value_name = "PATH", required = true, num_args = 1..)]
    pub data: Vec<String>,
    /// Features by id: the columns that the rows lack are taken from a file, by the rows' ids in this column, as in a
    /// training with [data.lookup.COLUMN]. Can be repeated.
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
}

/// A model, and rows to run it on.
#[derive(Args, Clone, Debug)]
pub struct ModelAndRows {
    /// A folder written by ncs train, or the model in it.
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    #[command(flatten)]
    #[expect(
        missing_docs,
        reason = "a comment here would replace the help of the command"
    )]
    pub rows: Rows,
}

/// `ncs inspect`
#[derive(Args, Clone, Debug)]
pub struct Inspect {
    /// A folder written by ncs train, or the model in it.
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `ncs synth`
#[derive(Args, Clone, Debug)]
pub struct Synth {
    /// Impressions: 60 % training, 20 % validation, 20 % test.
    #[arg(long, value_name = "N", default_value_t = 140_000, value_parser = clap::value_parser!(u64).range(5..))]
    pub rows: u64,
    /// Share of the click factors that also drive conversions, from 0 to 1.
    #[arg(long, value_name = "SHARE", default_value_t = 0.5, value_parser = share)]
    pub share: f64,
    /// Part of the generating model in which the tasks conflict.
    #[arg(long, value_enum, default_value_t = SynthConflict::Network)]
    pub conflict: SynthConflict,
    /// Clicks per impression.
    #[arg(long, value_name = "RATE", default_value_t = 0.1, value_parser = rate)]
    pub click_rate: f64,
    /// Conversions per click.
    #[arg(long, value_name = "RATE", default_value_t = 0.03, value_parser = rate)]
    pub conversion_rate: f64,
    /// Further labels after clicks: a like and a long view, or a cart and a purchase.
    #[arg(long, value_enum, default_value_t = SynthTasks::Conversion)]
    pub tasks: SynthTasks,
    /// Add new items every day, with decaying popularity, and drifting base rates: share of the test rows whose
    /// item is not in the training rows. Rows then have a timestamp, and the parts follow each other in time.
    #[arg(long, value_name = "SHARE", value_parser = rate)]
    pub unseen: Option<f64>,
    /// Number of days, with --unseen.
    #[arg(long, value_name = "N", default_value_t = 20, requires = "unseen", value_parser = clap::value_parser!(u32).range(5..=1000))]
    pub days: u32,
    /// Standard deviation of the daily change of the base rates' log odds, with --unseen.
    #[arg(long, value_name = "X", default_value_t = 0.05, requires = "unseen", value_parser = share)]
    pub drift: f64,
    /// Conversions come late, with --unseen: after this many days by scale, four times as many or a fourth of it
    /// depending on the delivery. Column conversion_time.
    #[arg(long, value_name = "DAYS", requires = "unseen", conflicts_with = "tasks", value_parser = days)]
    pub delays: Option<f64>,
    /// Days within which all conversions come, with --delays.
    #[arg(long, value_name = "DAYS", default_value_t = 6.0, requires = "delays", value_parser = days)]
    pub delay_window: f64,
    /// Seed of the log.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Folder for the files and the run file: new, empty, or written by ncs synth.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Format of the files.
    #[arg(long, value_enum, default_value_t = FileFormat::Parquet)]
    pub format: FileFormat,
}

/// Tasks of a synthetic log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SynthTasks {
    /// Click, and conversion after it.
    Conversion,
    /// Click, and like and long view after it.
    Engagement,
    /// Click, cart after it, purchase after that.
    Chain,
}

/// Part of the generating model in which the two tasks of a synthetic log conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SynthConflict {
    /// In the first-layer weights over the same hidden vectors.
    Network,
    /// In the hidden vectors of the ids.
    Vectors,
    /// In both.
    Both,
}

/// A format of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FileFormat {
    /// Parquet.
    Parquet,
    /// Comma-separated text.
    Csv,
    /// One JSON object a line.
    JsonLines,
    /// TFRecord of tf.train.Example.
    Tfrecord,
    /// Arrow, the file format (Feather) or the stream format.
    Arrow,
}

/// The encoding of texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TextEncoding {
    /// UTF-8.
    #[value(name = "utf-8")]
    Utf8,
    /// ISO 8859-1.
    #[value(name = "latin-1")]
    Latin1,
    /// Windows-1252.
    #[value(name = "windows-1252")]
    Windows1252,
}

/// `ncs schema`
#[derive(Args, Clone, Debug)]
pub struct Schema {
    /// The file whose schema to print.
    #[arg(value_enum, default_value_t = SchemaOf::Run)]
    pub of: SchemaOf,
    /// Print the reference of the run file as a Markdown page instead (docs/run_file.md).
    #[arg(long)]
    pub markdown: bool,
}

/// A file that has a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SchemaOf {
    /// The run file.
    Run,
    /// The file of `ncs compare`.
    Compare,
}

/// `ncs cache`
#[derive(Clone, Debug, Subcommand)]
pub enum Cache {
    /// List cached rows and their size.
    List(CacheFolder),
    /// Delete cached rows.
    Clear(CacheFolder),
}

/// Location of the id cache.
#[derive(Args, Clone, Debug)]
pub struct CacheFolder {
    /// A run's folder, or the folder in data.cache. Default: NCS_CACHE, or the folder in which earlier
    /// versions kept the rows of all runs.
    #[arg(long, value_name = "DIR")]
    pub folder: Option<PathBuf>,
}

pub(crate) fn share(text: &str) -> Result<f64, String> {
    let share = text
        .parse()
        .ok()
        .filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "expected a number from 0 to 1".to_owned())
}

fn days(text: &str) -> Result<f64, String> {
    let is_time = |days: &f64| *days > 0.0 && days.is_finite();
    let days = text.parse().ok().filter(is_time);
    days.ok_or_else(|| "expected a number of days above 0".to_owned())
}

fn rate(text: &str) -> Result<f64, String> {
    let inside = |rate: &f64| 0.0 < *rate && *rate < 1.0;
    let rate = text.parse().ok().filter(inside);
    rate.ok_or_else(|| "expected a number between 0 and 1".to_owned())
}

fn delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        b"\\t" => Ok(b'\t'),
        [byte] if byte.is_ascii() => Ok(*byte),
        _ => Err("expected one ASCII character, or \\t for a tab".to_owned()),
    }
}

fn assignment(text: &str) -> Result<String, String> {
    if ncs_config::is_assignment(text) {
        Ok(text.to_owned())
    } else {
        Err(ncs_config::ASSIGNMENT_WANTED.to_owned())
    }
}

/// Parses a time above 0, such as `90s` or `10m`.
fn time_above_0(text: &str) -> Result<std::time::Duration, String> {
    match humantime::parse_duration(text) {
        Ok(time) if time.is_zero() => Err("it must be above 0".to_owned()),
        Ok(time) => Ok(time),
        Err(error) => Err(error.to_string()),
    }
}

pub(crate) fn at_least_1(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| "expected a whole number, at least 1".to_owned())
}

fn score_file(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    match path.extension().and_then(|end| end.to_str()) {
        Some("parquet" | "csv") => Ok(path),
        _ => Err("expected a name that ends in .parquet or .csv".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn wrong_arguments_are_refused() {
        let check = |line: &str, expected: Result<(), &str>| {
            let found = Arguments::try_parse_from(line.split(' '));
            match (found, expected) {
                (Ok(_), Ok(())) => {}
                (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
                (found, _) => panic!("{line}: {found:?}"),
            }
        };
        check("ncs train run.toml --out a --set a.b=1 --set c=2", Ok(()));
        check("ncs train run.toml", Err("--out <DIR>"));
        let wanted = Err("expected KEY=VALUE");
        check("ncs check run.toml --set training.epochs", wanted);
        check("ncs check run.toml --set =3", wanted);
        check("ncs check run.toml --set a..b=3", wanted);
        check("ncs check run.toml --rows 0", Err("at least 1"));
        check("ncs synth --share 1.5 --out a", Err("from 0 to 1"));
        check(
            "ncs score m --data a.csv --out a.txt",
            Err(".parquet or .csv"),
        );
        check("ncs synth --click-rate 1 --out a", Err("between 0 and 1"));
        check("ncs synth --rows 4 --out a", Err("4 is not in"));
        check(
            "ncs evaluate m --data a b --delimiter \\t --threads 2",
            Ok(()),
        );
        check("ncs evaluate m --data a --delimiter ab", Err("one ASCII"));
        check(
            "ncs score m --data a --out a.csv --threads 0",
            Err("at least 1"),
        );
        check("ncs export m --out m.onnx", Ok(()));
        check("ncs export m --out m.onnx --format onx", Err("'onnx'"));
        check("ncs quickstart --seeds 0", Err("0 is not in"));
        check("ncs trian run.toml", Err("train"));
    }
}
