//! `ncs calibrate`: new calibrators for a model, without training.

use crate::error::Error;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use ncs_eval::render::fixed;
use ncs_eval::text_table;
use ncs_model::artifact::{CalibrationFigures, Recalibration, TaskRecalibration};
use ncs_train::calibrate::Calibration;

use super::{Outcome, model, print, print_json};
use crate::arguments::daily::{Calibrate, CalibratorKind};
use crate::interrupt;
use crate::progress::{Progress, grouped};
use crate::recalibration::{self, RecalibrationSettings};
use crate::scoring::EvaluationListener;

/// Fits new calibrators to labelled rows and writes the model with them.
///
/// # Errors
/// The model or the rows cannot be read, labels are too few, the new model cannot be written, or it was asked to stop;
/// then nothing is written.
pub fn run(arguments: &Calibrate, progress: Progress) -> Outcome {
    let (change, folder) = make(arguments, progress, interrupt::flag()?)?;
    if arguments.json {
        return print_json(&change);
    }
    print(&table(&change))?;
    progress.log(&format!("model: {}", folder.display()));
    Ok(())
}

/// Fits and writes; returns the change and the folder of the new model.
///
/// # Errors
/// As [`run`].
pub fn make(
    arguments: &Calibrate,
    progress: Progress,
    stop: &AtomicBool,
) -> Result<(Recalibration, PathBuf), Error> {
    let (loaded, rows, mut pass) = model::open(&arguments.input)?;
    let folder = recalibration::target(&loaded, &arguments.input.model, arguments.out.as_deref())?;
    let settings = RecalibrationSettings {
        tasks: arguments.tasks.clone(),
        method: arguments.kind.map(method),
        min_labels: arguments.min_labels,
        time: arguments.time.clone(),
    };
    let mut job = progress.job("calibrate", None, "rows");
    let mut listener = EvaluationListener {
        // Groups and true probabilities are not needed here.
        note: &mut |_| {},
        advance: &mut |rows| job.advance(rows),
        finish: &mut |encoded| model::log_notes(encoded, &arguments.input.rows, progress),
    };
    let made =
        recalibration::recalibrate(&loaded, rows, &settings, &mut pass, stop, &mut listener)?;
    job.finish();
    progress.log(&format!("calibrated on {} rows", grouped(made.rows)));
    recalibration::write(&made, &loaded.folder, &folder)?;
    Ok((made.change, folder))
}

fn method(kind: CalibratorKind) -> Calibration {
    match kind {
        CalibratorKind::Platt => Calibration::Platt,
        CalibratorKind::Isotonic => Calibration::Isotonic,
    }
}

fn table(change: &Recalibration) -> String {
    const HEADER: [&str; 7] = [
        "task",
        "calibrator",
        "rows",
        "positives",
        "predicted / observed",
        "log loss",
        "ECE",
    ];
    let number = |value: Option<f64>, decimals| fixed(value.unwrap_or(f64::NAN), decimals);
    let row = |task: &TaskRecalibration, name: &str, figures: &CalibrationFigures| {
        vec![
            task.task.clone(),
            name.to_owned(),
            grouped(task.rows),
            grouped(task.positives),
            number(figures.pcoc, 3),
            number(figures.log_loss, 5),
            number(figures.ece, 5),
        ]
    };
    let rows = change.tasks.iter().flat_map(|task| {
        [
            row(task, "before", &task.before),
            row(task, "after", &task.after),
        ]
    });
    let table = text_table(&HEADER, &rows.collect::<Vec<_>>());
    let times = change.times.as_ref();
    let times = times.map_or(String::new(), |[first, last]| {
        format!("times of the rows: {first} to {last}\n")
    });
    format!(
        "{table}{times}After: two-fold cross-fitting (each half of the rows is scored by a fit to the other half).\n"
    )
}
