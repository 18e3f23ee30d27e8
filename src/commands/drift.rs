//! `ncs drift`: later rows beside those that a model was trained on.

use std::sync::atomic::AtomicBool;

use ncs_eval::drift::Drift as DriftReport;
use ncs_eval::{drift_text, render_drift_html};
use ncs_experiments::drift;
use ncs_experiments::progress::Progress;
use ncs_experiments::scoring::EvaluationListener;
use ncs_model::tensor_file;

use super::{Outcome, model, print, print_json};
use crate::arguments::daily::Drift;
use crate::error::Error;
use crate::interrupt;

/// Compares rows with those of a model's training, prints the tables and writes the page.
///
/// # Errors
/// The model or the rows cannot be read, the model carries no distributions, the page cannot be written, or it was
/// asked to stop.
pub fn run(arguments: &Drift, progress: Progress) -> Outcome {
    let found = make(arguments, progress, interrupt::flag()?)?;
    if arguments.json {
        print_json(&found)
    } else {
        print(&drift_text(&found))
    }
}

/// Compares, and writes the page.
///
/// # Errors
/// As [`run`].
pub fn make(
    arguments: &Drift,
    progress: Progress,
    stop: &AtomicBool,
) -> Result<DriftReport, Error> {
    let (loaded, rows, mut pass) = model::open(&arguments.input)?;
    let mut job = progress.job("drift", None, "rows");
    let mut listener = EvaluationListener {
        note: &mut |text| progress.log(&text),
        advance: &mut |rows| job.advance(rows),
        finish: &mut |encoded| model::log_notes(encoded, &arguments.input.rows, progress),
    };
    let found = drift::drift(&loaded, rows, &mut pass, stop, &mut listener)?;
    job.finish();
    if let Some(path) = &arguments.html {
        tensor_file::write_bytes(path, render_drift_html(&found).as_bytes())?;
        progress.log(&format!("report: {}", path.display()));
    }
    Ok(found)
}
