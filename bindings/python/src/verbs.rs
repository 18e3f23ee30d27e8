//! Other commands of the command line, called with its arguments; it checks them and supplies the defaults.

use std::ffi::OsString;
use std::sync::atomic::AtomicBool;

use clap::{CommandFactory, FromArgMatches, Parser};
use ncs_experiments::progress::Progress;
use ncs_experiments::{compare as comparisons, tune as tune_verb};
use ncs4cvr::arguments::init::Init;
use ncs4cvr::arguments::{Arguments, Compare, Synth, Tune};
use ncs4cvr::commands::{init as init_verb, synth as synth_verb};
use ncs4cvr::program;
use pyo3::prelude::*;
use serde::Serialize;
use serde_json::{Value, json};

use crate::errors::Failure;
use crate::run::{progress, watched};
use crate::{json as to_json, work};

/// Parses the arguments of the command `verb`, whose type is `T`.
pub(crate) fn parsed<T: FromArgMatches>(verb: &str, arguments: Vec<String>) -> Result<T, Failure> {
    let mut program = Arguments::command();
    program.build();
    let command = program
        .find_subcommand_mut(verb)
        .ok_or_else(|| Failure::new("NcsError", format!("ncs has no command {verb}")))?;
    let words = std::iter::once(verb.to_owned()).chain(arguments);
    let matches = command.try_get_matches_from_mut(words);
    let parsed = matches.and_then(|matches| T::from_arg_matches(&matches));
    parsed.map_err(|error| {
        let text = error.to_string();
        let text = text.split("\n\nUsage:").next().unwrap_or_default();
        Failure::new("ConfigError", text.trim_start_matches("error: ").trim())
    })
}

/// Runs the command `verb`, whose arguments are of type `T`; returns the JSON of what `make` makes of them.
pub(crate) fn run<T: FromArgMatches, V: Serialize>(
    py: Python<'_>,
    (verb, arguments): (&str, Vec<String>),
    watcher: Option<Py<PyAny>>,
    make: impl FnOnce(&T, Progress, &AtomicBool) -> Result<V, Failure> + Send,
) -> PyResult<Py<PyAny>> {
    let watched = watched(watcher);
    let value = work::run(py, |stop| {
        let arguments: T = parsed(verb, arguments)?;
        to_json::text(&make(&arguments, progress(watched.as_ref()), stop)?)
    })?;
    to_json::to_python(py, &value)
}

/// Generates a synthetic log; returns its files and its run file.
#[pyfunction]
#[pyo3(signature = (arguments, watcher))]
pub(crate) fn synth(
    py: Python<'_>,
    arguments: Vec<String>,
    watcher: Option<Py<PyAny>>,
) -> PyResult<Py<PyAny>> {
    run(
        py,
        ("synth", arguments),
        watcher,
        |arguments: &Synth, progress, stop| {
            let (files, run_file) = synth_verb::make(arguments, progress, stop)?;
            let paths = files.iter().map(|file| file.path.display().to_string());
            let paths: Vec<String> = paths.collect();
            Ok(json!({ "files": paths, "run_file": run_file.display().to_string() }))
        },
    )
}

/// Writes a run file for data; returns its messages.
#[pyfunction]
#[pyo3(signature = (arguments, watcher))]
pub(crate) fn init(
    py: Python<'_>,
    arguments: Vec<String>,
    watcher: Option<Py<PyAny>>,
) -> PyResult<String> {
    let watched = watched(watcher);
    work::run(py, |_| {
        let arguments: Init = parsed("init", arguments)?;
        Ok(init_verb::write(&arguments, progress(watched.as_ref()))?)
    })
}

/// Runs a comparison with each training as a process started by `program`; returns its JSON and the failed runs.
#[pyfunction]
#[pyo3(signature = (arguments, program, watcher))]
pub(crate) fn compare(
    py: Python<'_>,
    arguments: Vec<String>,
    program: Vec<OsString>,
    watcher: Option<Py<PyAny>>,
) -> PyResult<(Py<PyAny>, Vec<String>)> {
    program::is_started_by(program);
    let watched = watched(watcher);
    let (value, failed): (Value, _) = work::run(py, |stop| {
        let arguments: Compare = parsed("compare", arguments)?;
        let options = arguments.options();
        let progress = progress(watched.as_ref());
        let compared = comparisons::run(&arguments.file, &arguments.out, options, progress, stop)?;
        Ok((to_json::text(&compared.comparison)?, compared.failed))
    })?;
    Ok((to_json::to_python(py, &value)?, failed))
}

/// Tunes a run file; returns the result as JSON.
#[pyfunction]
#[pyo3(signature = (arguments, watcher))]
pub(crate) fn tune(
    py: Python<'_>,
    arguments: Vec<String>,
    watcher: Option<Py<PyAny>>,
) -> PyResult<Py<PyAny>> {
    run(
        py,
        ("tune", arguments),
        watcher,
        |arguments: &Tune, progress, stop| {
            let (file, assignments) = (&arguments.run.file, &arguments.run.assignments);
            let (out, budget) = (&arguments.out, arguments.budget);
            Ok(tune_verb::run(
                file,
                assignments,
                out,
                budget,
                progress,
                stop,
            )?)
        },
    )
}

/// Runs the command line `ncs` with `arguments`; returns the exit code. Comparisons use `program` to start it again.
#[pyfunction]
pub(crate) fn main(py: Python<'_>, arguments: Vec<OsString>, program: Vec<OsString>) -> u8 {
    program::is_started_by(program);
    let words = std::iter::once(OsString::from("ncs")).chain(arguments);
    match Arguments::try_parse_from(words) {
        Ok(arguments) => py.detach(|| program::run(&arguments)),
        Err(error) => {
            // `--help` and `--version` also end up here.
            let _ = error.print();
            u8::try_from(error.exit_code()).unwrap_or(2)
        }
    }
}
