//! `ncs init`

use std::path::Path;

use ncs_config::user_cache;
use ncs_experiments::error::Error;
use ncs_experiments::init::{self, TaskDraft, Wish};
use ncs_experiments::progress::Progress;
use ncs_readers::{DataPlan, Reading, Split};

use super::{Outcome, file_format, print};
use crate::arguments::FileFormat;
use crate::arguments::init::Init;

/// Writes a run file for the data: the columns by kind, leak suspects left out, a split, the tasks.
///
/// # Errors
/// The data cannot be read, a column is absent, a label is not a label, or the file exists.
pub fn run(arguments: &Init, progress: Progress) -> Outcome {
    print(&write(arguments, progress)?)
}

/// Writes the run file and returns a summary of it.
///
/// # Errors
/// As [`run`].
pub fn write(arguments: &Init, progress: Progress) -> Result<String, Error> {
    let out = &arguments.out;
    if out.exists() && !arguments.force {
        let text = "exists already; choose another --out, or use --force to overwrite it";
        return Err(format!("{}: {text}", out.display()).into());
    }
    init::write(&wish(arguments)?, out, reading_keys(arguments), progress)
}

fn wish(arguments: &Init) -> Result<Wish, Error> {
    let data = DataPlan {
        train: arguments.data.clone(),
        valid: arguments.valid.clone(),
        test: arguments.test.clone(),
        root: Path::new(".").to_owned(),
        reading: Reading {
            format: arguments.format.map(file_format),
            delimiter: arguments.delimiter,
            header: arguments.header.clone(),
            ..Reading::default()
        },
        split: Split::Files,
        cache: user_cache(),
    };
    Ok(Wish {
        data,
        tasks: tasks(arguments)?,
        time: arguments.time.clone(),
        group: arguments.group.clone(),
    })
}

fn tasks(arguments: &Init) -> Result<Vec<TaskDraft>, Error> {
    let task = |name: &str, label: &str, population: Option<&str>| TaskDraft {
        name: name.to_owned(),
        label: label.to_owned(),
        population: population.map(str::to_owned),
        is_ratio: false,
    };
    let click = arguments.click.iter().map(|label| task("ctr", label, None));
    let conversion = arguments
        .conversion
        .iter()
        .map(|label| task("cvr", label, Some("ctr")));
    let others = arguments
        .tasks
        .iter()
        .map(|(name, label)| task(name, label, None));
    let tasks: Vec<TaskDraft> = click.chain(conversion).chain(others).collect();
    for (at, task) in tasks.iter().enumerate() {
        if tasks[..at].iter().any(|other| other.name == task.name) {
            return Err(format!(
                "two tasks are called {:?}; give each --task a unique name",
                task.name
            )
            .into());
        }
    }
    Ok(tasks)
}

/// Reading options, as keys of `[data]`.
fn reading_keys(arguments: &Init) -> Vec<(&'static str, String)> {
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let format = arguments.format.map(|format| match format {
        FileFormat::Parquet => "parquet",
        FileFormat::Csv => "csv",
        FileFormat::JsonLines => "json_lines",
        FileFormat::Arrow => "arrow",
        FileFormat::Tfrecord => "tfrecord",
    });
    let delimiter = arguments
        .delimiter
        .map(|byte| quoted(&char::from(byte).to_string()));
    let header = arguments.header.as_ref().map(|names| {
        let names: Vec<String> = names.iter().map(|name| quoted(name)).collect();
        format!("[{}]", names.join(", "))
    });
    let keys = [
        ("format", format.map(quoted)),
        ("delimiter", delimiter),
        ("header", header),
    ];
    keys.into_iter()
        .filter_map(|(key, value)| Some((key, value?)))
        .collect()
}
