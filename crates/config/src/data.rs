//! The run file's files, how they are read and split, and the columns they hold.

use std::path::{Path, PathBuf};

use ncs_readers::{DataPlan, Encoding, Format, Moment, ReadError, Reading, Split, TimeFormat};

use super::checks::Checks;
use super::days;
use super::file_columns::FileColumns;
use super::lookups;
use super::toml_types;

/// Why the columns could not be listed: the key of `[data]` that is to blame, and the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListingError {
    /// `train`, `valid` or `test`.
    pub key: &'static str,
    /// Description of the error.
    pub text: String,
}

/// Finds the columns of the first file of each part.
pub type ColumnLister<'a> = dyn Fn(&DataPlan) -> Result<Vec<FileColumns>, ListingError> + 'a;

/// The columns of the first file of each part, read from the files.
///
/// # Errors
/// A pattern matches no file, or a file cannot be read.
pub fn list_columns(plan: &DataPlan) -> Result<Vec<FileColumns>, ListingError> {
    let parts = [
        ("train", &plan.train),
        ("valid", &plan.valid),
        ("test", &plan.test),
    ];
    let mut listed = Vec::new();
    for (key, patterns) in parts {
        let file = first_file(plan, patterns).map_err(|error| ListingError {
            key,
            text: error.to_string(),
        });
        listed.extend(file?);
    }
    Ok(listed)
}

/// The columns of the first file with columns that `patterns` name; `None` without patterns.
fn first_file(plan: &DataPlan, patterns: &[String]) -> Result<Option<FileColumns>, ReadError> {
    let files = ncs_readers::files(patterns, &plan.root)?;
    let found = ncs_readers::first_column_names(&files, &plan.reading)?;
    Ok(found.map(|(file, columns)| FileColumns {
        name: ncs_readers::shown_path(&file),
        columns,
    }))
}

/// The plan; `None` where the files' columns are not known, so that no more can be checked.
pub(crate) fn plan(
    config: &toml_types::Data,
    root: &Path,
    lister: &ColumnLister<'_>,
    checks: &mut Checks<'_>,
) -> Option<DataPlan> {
    let mut plan = DataPlan {
        train: config.train.to_vec(),
        valid: config.valid.to_vec(),
        test: config.test.to_vec(),
        root: root.to_owned(),
        reading: reading(config, checks),
        split: split(config.split.as_ref(), checks),
        cache: config
            .cache
            .as_ref()
            .map(|folder| root.join(folder))
            .or_else(shared_cache)
            .unwrap_or_else(|| root.join("rows")),
    };
    plan.reading.lookups = lookups::lookups(config, &plan.split, root, checks);
    if plan.train.is_empty() {
        checks.say(
            &["data", "train"],
            "data.train is empty; it needs a file, a glob or a folder",
        );
        return None;
    }
    match days::choose(config, &plan) {
        Ok(None) => {}
        Ok(Some(chosen)) => {
            plan.train = chosen.files;
            checks.note(chosen.note);
        }
        Err((key, text)) => {
            checks.say(&["data", key], text);
            return None;
        }
    }
    if !lookups::check_files(&plan.reading, checks) {
        return None;
    }
    match lister(&plan) {
        Ok(files) => checks.know(files),
        Err(error) => {
            checks.say(&["data", error.key], error.text);
            return None;
        }
    }
    split_column(&plan.split, checks);
    lookups::check_rows(&plan.reading, checks);
    Some(plan)
}

/// Whether there are rows to validate on.
pub fn has_validation(plan: &DataPlan) -> bool {
    !plan.valid.is_empty() || plan.split != Split::Files
}

fn reading(config: &toml_types::Data, checks: &mut Checks<'_>) -> Reading {
    let delimiter = config
        .delimiter
        .and_then(|delimiter| u8::try_from(delimiter).ok());
    if config
        .delimiter
        .is_some_and(|delimiter| !delimiter.is_ascii())
    {
        checks.say(
            &["data", "delimiter"],
            "data.delimiter must be an ASCII character",
        );
    }
    Reading {
        format: config.format.map(format),
        max_broken_share: config.max_broken_share,
        delimiter,
        header: config.header.clone(),
        encoding: config.encoding.map_or(Encoding::Utf8, encoding),
        lookups: Vec::new(),
    }
}

fn encoding(config: toml_types::Encoding) -> Encoding {
    match config {
        toml_types::Encoding::Utf8 => Encoding::Utf8,
        toml_types::Encoding::Latin1 => Encoding::Latin1,
        toml_types::Encoding::Windows1252 => Encoding::Windows1252,
    }
}

fn format(config: toml_types::Format) -> Format {
    match config {
        toml_types::Format::TfRecord => Format::TfRecord,
        toml_types::Format::Parquet => Format::Parquet,
        toml_types::Format::Csv => Format::Csv,
        toml_types::Format::JsonLines => Format::JsonLines,
        toml_types::Format::Arrow => Format::Arrow,
    }
}

fn split(config: Option<&toml_types::Split>, checks: &mut Checks<'_>) -> Split {
    match config {
        None => Split::Files,
        Some(toml_types::Split::Hash {
            column,
            valid,
            test,
            seed,
        }) => {
            shares(*valid, *test, checks);
            Split::Hash {
                column: column.clone(),
                valid: *valid,
                test: *test,
                seed: *seed,
            }
        }
        Some(toml_types::Split::Row { valid, test, seed }) => {
            shares(*valid, *test, checks);
            Split::Row {
                valid: *valid,
                test: *test,
                seed: *seed,
            }
        }
        Some(toml_types::Split::Time {
            column,
            valid: valid_share,
            test: test_share,
            valid_from,
            test_from,
            format,
        }) => {
            let format = time_format(format.as_deref(), checks);
            let moments = (valid_from.as_ref(), test_from.as_ref());
            let shares = (*valid_share, *test_share);
            match moments {
                (None, None) => latest(column, shares, format, checks),
                _ if shares != (None, None) => {
                    checks.say(&["data", "split"], SHARES_AND_TIMES);
                    latest(column, shares, format, checks)
                }
                (None, Some(_)) => {
                    checks.say(&["data", "split"], "test_from needs valid_from beside it");
                    latest(column, shares, format, checks)
                }
                (Some(valid_from), test_from) => {
                    time_split(column, (valid_from, test_from), format, checks)
                }
            }
        }
    }
}

/// Share of validation where nothing is stated of it.
const LATEST: f64 = 0.1;

const SHARES_AND_TIMES: &str =
    "state either shares (valid, test) or times (valid_from, test_from), not both";

fn latest(
    column: &str,
    (valid, test): (Option<f64>, Option<f64>),
    format: Option<TimeFormat>,
    checks: &mut Checks<'_>,
) -> Split {
    let (valid, test) = (valid.unwrap_or(LATEST), test.unwrap_or(0.0));
    shares(valid, test, checks);
    Split::Latest {
        column: column.to_owned(),
        valid,
        test,
        format,
    }
}

fn time_format(config: Option<&str>, checks: &mut Checks<'_>) -> Option<TimeFormat> {
    let format = config.map(TimeFormat::new).transpose();
    format.unwrap_or_else(|what| {
        checks.say(&["data", "split", "format"], what);
        None
    })
}

fn time_split(
    column: &str,
    (valid_from, test_from): (&toml_types::Moment, Option<&toml_types::Moment>),
    format: Option<TimeFormat>,
    checks: &mut Checks<'_>,
) -> Split {
    let mut moment = |key, config| moment(key, config, format.as_ref(), checks);
    let valid_from = moment("valid_from", valid_from);
    let test_from = test_from.map(|config| moment("test_from", config));
    let is_later = |test: Moment| match (valid_from, test) {
        (Moment::Number(valid), Moment::Number(test)) => valid < test,
        (Moment::Instant(valid), Moment::Instant(test)) => valid < test,
        _ => false,
    };
    if test_from.is_some_and(|test| !is_later(test)) {
        checks.say(
            &["data", "split"],
            "test_from must be later than valid_from, and of its type",
        );
    }
    Split::Time {
        column: column.to_owned(),
        valid_from,
        test_from,
        format,
    }
}

fn shares(valid: f64, test: f64, checks: &mut Checks<'_>) {
    if valid + test >= 1.0 {
        let text = format!("valid {valid} and test {test} leave no rows to train on");
        checks.say(&["data", "split"], text);
    }
}

fn moment(
    key: &str,
    config: &toml_types::Moment,
    format: Option<&TimeFormat>,
    checks: &mut Checks<'_>,
) -> Moment {
    let text = match config {
        toml_types::Moment::Number(number) => return Moment::Number(*number),
        toml_types::Moment::Text(text) => text,
    };
    Moment::parse(text, format).unwrap_or_else(|| {
        let what = format!(
            "\"{text}\" is not a time; write a date such as 2024-02-01, a date and time such as \
             2024-02-01T12:30:00Z, or a number in the column's unit"
        );
        checks.say(&["data", "split", key], what);
        Moment::Number(0.0)
    })
}

fn split_column(split: &Split, checks: &mut Checks<'_>) {
    if let Some(column) = split.column() {
        checks.column(&["data", "split", "column"], column);
    }
}

/// The folder that runs share for their cached rows, where `NCS_CACHE` names one.
pub fn shared_cache() -> Option<PathBuf> {
    variable("NCS_CACHE")
}

/// The folder in which earlier versions kept the cached rows of all runs: `NCS_CACHE`, or `ncs4cvr` in the
/// system's place for caches.
pub fn user_cache() -> PathBuf {
    let system = || {
        let home = || variable("HOME").map(|home| home.join(".cache"));
        let folder = variable("XDG_CACHE_HOME").or_else(home);
        folder.unwrap_or_else(std::env::temp_dir).join("ncs4cvr")
    };
    shared_cache().unwrap_or_else(system)
}

fn variable(name: &str) -> Option<PathBuf> {
    let value = std::env::var_os(name);
    value.filter(|value| !value.is_empty()).map(PathBuf::from)
}
