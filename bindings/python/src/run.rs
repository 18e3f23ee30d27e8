//! `train`, `check` and `schema`: from a run file or settings, and rows.

use std::path::{Path, PathBuf};

use ncs_config::{RunFile, RunSource, json_schema, list_columns};
use ncs_experiments::frames::{self, PartFrame, Training};
use ncs_experiments::progress::{Progress, Watched};
use ncs_readers::Frame;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use serde_json::Value;

use crate::errors::Failure;
use crate::watch::{EventTeller, PythonWatcher};
use crate::{json, work};

/// Name that messages use for settings given without a file.
const SETTINGS: &str = "run";

/// Source of a run's settings: the path of a run file, or JSON.
pub(crate) struct RunArgument {
    path: Option<PathBuf>,
    settings: Option<String>,
}

impl<'py> FromPyObject<'_, 'py> for RunArgument {
    type Error = PyErr;

    /// Extracts `(path, None)` or `(None, JSON)`.
    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<RunArgument> {
        let (path, settings) = object.extract()?;
        Ok(RunArgument { path, settings })
    }
}

impl RunArgument {
    /// Converts to [`RunSource`]; relative paths in settings start at the working folder.
    fn source(self) -> Result<RunSource, Failure> {
        match (self.path, self.settings) {
            (Some(path), _) => Ok(RunSource::File(path)),
            (None, settings) => Ok(RunSource::of_json(
                SETTINGS,
                &settings.unwrap_or_default(),
                Path::new("."),
            )?),
        }
    }
}

/// Forwards progress to a Python object, if given, until the result is dropped.
pub(crate) fn watched(watcher: Option<Py<PyAny>>) -> Option<Watched> {
    watcher.map(|object| Watched::by(PythonWatcher::new(object)))
}

pub(crate) fn progress(watched: Option<&Watched>) -> Progress {
    watched.map_or(Progress::Quiet, Watched::progress)
}

/// Returns the frames of the parts `train`, `valid` and `test`.
fn part_frames(frames: &Bound<'_, PyDict>) -> PyResult<Vec<PartFrame>> {
    let mut found = Vec::new();
    for (key, data) in frames {
        let key: String = key.extract()?;
        let part = ["train", "valid", "test"]
            .into_iter()
            .find(|part| *part == key);
        let Some(part) = part else {
            return Err(PyValueError::new_err(format!(
                "no part {key:?}; there are train, valid and test"
            )));
        };
        let frame = crate::frames::frame(&data, &format!("{part} frame"))?;
        found.extend(frame.map(|frame| (part, frame)));
    }
    Ok(found)
}

/// Trains into the folder `out`, resuming an interrupted run; returns the report.
#[pyfunction]
#[pyo3(signature = (run, assignments, frames, out, fresh, watcher, on_event))]
#[expect(
    clippy::too_many_arguments,
    reason = "what train takes in Python, by position from the package alone"
)]
pub(crate) fn train(
    py: Python<'_>,
    run: RunArgument,
    assignments: Vec<String>,
    frames: &Bound<'_, PyDict>,
    out: PathBuf,
    fresh: bool,
    watcher: Option<Py<PyAny>>,
    on_event: Option<Bound<'_, PyAny>>,
) -> PyResult<Py<PyAny>> {
    work::refuse_after_fork().map_err(|failure| failure.raised(py))?;
    let frames = part_frames(frames)?;
    let watched = watched(watcher);
    let is_heard = on_event.is_some();
    let report = work::run_telling(py, on_event, |stop, teller| {
        let mut listener = EventTeller { teller, is_heard };
        let training = Training {
            source: run.source()?,
            assignments,
            frames,
            out: &out,
            fresh,
        };
        let finished = frames::train(training, progress(watched.as_ref()), stop, &mut listener)?;
        json::text(&finished.report)
    })?;
    json::to_python(py, &report)
}

/// Checks the rows of a run; returns the JSON of `ncs check --json` and its text.
#[pyfunction]
#[pyo3(signature = (run, assignments, rows, all_rows, watcher))]
pub(crate) fn check(
    py: Python<'_>,
    run: RunArgument,
    assignments: Vec<String>,
    rows: Option<usize>,
    all_rows: bool,
    watcher: Option<Py<PyAny>>,
) -> PyResult<(Py<PyAny>, String)> {
    let watched = watched(watcher);
    let (value, text) = work::run(py, |_| {
        let file = RunFile::of(&run.source()?, &assignments, &list_columns)?;
        let progress = progress(watched.as_ref());
        let checked = ncs_experiments::data_check::check(&file, rows, all_rows, progress)?;
        Ok((json::text(&checked)?, checked.text()))
    })?;
    Ok((json::to_python(py, &value)?, text))
}

/// Returns the settings after the overrides, checked, as TOML with absolute paths.
#[pyfunction]
pub(crate) fn standing_alone(
    py: Python<'_>,
    run: RunArgument,
    assignments: Vec<String>,
) -> PyResult<String> {
    work::run(py, |_| {
        let file = RunFile::of(&run.source()?, &assignments, &list_columns)?;
        Ok(file.standing_alone())
    })
}

/// Writes all columns of a frame into `folder` as an Arrow file named after its content hash; returns its path.
#[pyfunction]
pub(crate) fn keep_frame(
    py: Python<'_>,
    frame: &Bound<'_, PyAny>,
    name: &str,
    folder: PathBuf,
) -> PyResult<String> {
    work::refuse_after_fork().map_err(|failure| failure.raised(py))?;
    let frame: Option<Frame> = crate::frames::frame(frame, &format!("{name} frame"))?;
    let frame = frame.ok_or_else(|| PyValueError::new_err("not a data frame"))?;
    work::run(py, |stop| {
        Ok(frames::keep_frame(
            name,
            frame,
            None,
            &folder,
            Progress::Quiet,
            stop,
        )?)
    })
}

/// Returns the JSON schema of the run file.
#[pyfunction]
pub(crate) fn schema(py: Python<'_>) -> PyResult<Py<PyAny>> {
    let parsed: Result<Value, _> = serde_json::from_str(&json_schema());
    json::to_python(py, &parsed.map_err(crate::table::wrong)?)
}
