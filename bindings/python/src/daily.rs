//! Commands that keep a model up to date, called with the arguments of the command line.

use ncs_experiments::backtest as backtests;
use ncs4cvr::arguments::daily::{Backtest, Calibrate, Drift, Forget, Promote};
use ncs4cvr::commands::{
    backtest as backtest_verb, calibrate as calibrate_verb, drift as drift_verb,
    forget as forget_verb, promote as promote_verb,
};
use pyo3::prelude::*;

use crate::run::{progress, watched};
use crate::verbs::{parsed, run};
use crate::{json, work};

/// Fits new calibrators to a model; returns the JSON of the change and the folder of the new model.
#[pyfunction]
#[pyo3(signature = (arguments, watcher))]
pub(crate) fn calibrate(
    py: Python<'_>,
    arguments: Vec<String>,
    watcher: Option<Py<PyAny>>,
) -> PyResult<(Py<PyAny>, String)> {
    let watched = watched(watcher);
    let (value, folder) = work::run(py, |stop| {
        let arguments: Calibrate = parsed("calibrate", arguments)?;
        let (change, folder) = calibrate_verb::make(&arguments, progress(watched.as_ref()), stop)?;
        Ok((json::text(&change)?, folder.display().to_string()))
    })?;
    Ok((json::to_python(py, &value)?, folder))
}

/// Runs a backtest; returns its JSON.
#[pyfunction]
#[pyo3(signature = (arguments, watcher))]
pub(crate) fn backtest(
    py: Python<'_>,
    arguments: Vec<String>,
    watcher: Option<Py<PyAny>>,
) -> PyResult<Py<PyAny>> {
    run(
        py,
        ("backtest", arguments),
        watcher,
        |arguments: &Backtest, progress, stop| {
            Ok(backtests::run(
                &backtest_verb::plan(arguments),
                progress,
                stop,
            )?)
        },
    )
}

/// Compares a candidate with the served model and promotes or refuses it, or returns to the version before;
/// returns the JSON of the decision, or `None` if the candidate serves already.
#[pyfunction]
#[pyo3(signature = (arguments, watcher))]
pub(crate) fn promote(
    py: Python<'_>,
    arguments: Vec<String>,
    watcher: Option<Py<PyAny>>,
) -> PyResult<Option<Py<PyAny>>> {
    let watched = watched(watcher);
    let value = work::run(py, |stop| {
        let arguments: Promote = parsed("promote", arguments)?;
        let promotion = promote_verb::make(&arguments, progress(watched.as_ref()), stop)?;
        promotion
            .map(|promotion| json::text(&promotion))
            .transpose()
    })?;
    value.map(|value| json::to_python(py, &value)).transpose()
}

/// Compares rows with those of a model's training; returns the JSON of the comparison.
#[pyfunction]
#[pyo3(signature = (arguments, watcher))]
pub(crate) fn drift(
    py: Python<'_>,
    arguments: Vec<String>,
    watcher: Option<Py<PyAny>>,
) -> PyResult<Py<PyAny>> {
    run(
        py,
        ("drift", arguments),
        watcher,
        |arguments: &Drift, progress, stop| Ok(drift_verb::make(arguments, progress, stop)?),
    )
}

/// Erases values from a model and from what was written beside it; returns the JSON of the report, complete or not.
#[pyfunction]
#[pyo3(signature = (arguments, watcher))]
pub(crate) fn forget(
    py: Python<'_>,
    arguments: Vec<String>,
    watcher: Option<Py<PyAny>>,
) -> PyResult<Py<PyAny>> {
    run(
        py,
        ("forget", arguments),
        watcher,
        |arguments: &Forget, progress, stop| Ok(forget_verb::make(arguments, progress, stop)?),
    )
}
