//! New calibrators for a trained model, fitted to new labelled rows; its weights stay.
//!
//! The figures of a calibrator on the rows that it was fitted to flatter it. Those that are recorded are therefore
//! cross-fitted: each half of the rows is scored by a fit to the other half.

use crate::error::Error;
pub use crate::recalibration_error::RecalibrationError;
use crate::task_metrics::metrics_of;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use ncs_eval::{Predictions, TaskPredictions};
use ncs_features::distribution::Distribution;
use ncs_model::artifact::{
    Ancestor, Artifact, CalibrationFigures, DELTA, Recalibration, TaskRecalibration,
};
use ncs_model::{Calibrator, Scorer, SelfTest, Workspace, tensor_file};
use ncs_readers::Moment;
use ncs_readers::split::time_of;
use ncs_train::calibrate::{self, Calibration};

use crate::scoring::{self, EvaluationListener, Labelled, LoadedModel, Rows};

/// Labels of each class from which a logistic curve is fitted: a rate from 200 labels has a standard error of 7 %.
const LABELS_OF_PLATT: usize = 200;

/// Labels of each class from which an increasing function is fitted.
const LABELS_OF_ISOTONIC: usize = 1000;

/// Calibrators to fit, and the method.
#[derive(Clone, Debug, Default)]
pub struct RecalibrationSettings {
    /// Tasks by name; empty: all tasks with labels 0 and 1.
    pub tasks: Vec<String>,
    /// The method; `None`: that of the task's calibrator, or Platt's.
    pub method: Option<Calibration>,
    /// Labels of each class that a task needs; `None`: the method's own number.
    pub min_labels: Option<usize>,
    /// Column with the time of a row.
    pub time: Option<String>,
}

/// A model with new calibrators.
#[derive(Clone, Debug)]
pub struct Recalibrated {
    /// The model, with this calibration as the last step of its ancestry.
    pub artifact: Artifact,
    /// Rows that the calibrators were fitted to.
    pub rows: u64,
    /// The change, as recorded in the model.
    pub change: Recalibration,
}

/// Fits new calibrators for `model` to `rows`.
///
/// # Errors
/// The rows cannot be read, have too few labels of a class, rank against the labels, or `stop` was set.
pub fn recalibrate(
    model: &LoadedModel,
    rows: Rows,
    settings: &RecalibrationSettings,
    pass: &mut Workspace,
    stop: &AtomicBool,
    listener: &mut EvaluationListener<'_>,
) -> Result<Recalibrated, Error> {
    let chosen = chosen(model, &settings.tasks)?;
    let keep: Vec<String> = settings.time.iter().cloned().collect();
    let mut times = Times::default();
    let labelled = Labelled {
        before_calibration: true,
        keep: &keep,
        kept: &mut |rows, block| {
            for column in &block.columns {
                for row in 0..block.n_rows {
                    let time = time_of(column, row, None);
                    times.add(time.map_err(|error| rows.split_error(error))?);
                }
            }
            Ok(())
        },
    };
    let (predictions, _) = scoring::predictions(model, rows, labelled, pass, stop, listener)?;
    let fits = fits(model, &predictions, &chosen, settings)?;
    let rows = predictions
        .tasks
        .first()
        .map_or(0, |task| task.labels.len());
    let change = Recalibration {
        times: times.texts(),
        tasks: fits.iter().map(|fit| fit.change.clone()).collect(),
    };
    let mut artifact = Artifact::clone(&model.artifact);
    artifact.calibrators.resize(predictions.tasks.len(), None);
    for fit in fits {
        artifact.calibrators[fit.task] = Some(fit.calibrator);
    }
    artifact.ancestry.push(Ancestor {
        day: None,
        model: Artifact::hash(&model.folder)?.to_hex().to_string(),
        rows: rows as u64,
        calibration: Some(change.clone()),
        erasure: None,
    });
    // The scores of its rows are calibrated ones.
    let scorer = Scorer::new(&artifact).ok_or("the model's weights do not fit its network")?;
    if let Some(distributions) = &mut artifact.distributions {
        // The calibrators have shifted all scores.
        let distributions = Arc::make_mut(distributions);
        distributions.score_rows = rows as u64;
        distributions.scores = scores(&scorer, &predictions);
    }
    let test = artifact.self_test.take();
    artifact.self_test = test.and_then(|test| SelfTest::record(&scorer, &test.rows));
    Ok(Recalibrated {
        artifact,
        rows: rows as u64,
        change,
    })
}

/// Returns the distributions of the calibrated scores of some rows.
fn scores(scorer: &Scorer, predictions: &Predictions) -> Vec<Distribution> {
    let tasks = predictions.tasks.iter();
    let mut scores: Vec<Vec<f32>> = tasks.map(|task| task.scores.clone()).collect();
    scorer.calibrate(&mut scores);
    let products = scorer.schema().products();
    let of_products: Vec<_> = products.iter().map(|p| p.of(&scores)).collect();
    scores.extend(of_products);
    scores.into_iter().map(Distribution::of_numbers).collect()
}

/// Returns the indices of the tasks to calibrate.
fn chosen(model: &LoadedModel, names: &[String]) -> Result<Vec<usize>, RecalibrationError> {
    let tasks = &model.schema().tasks;
    if names.is_empty() {
        let binary = (0..tasks.len()).filter(|&t| tasks[t].objective.is_binary());
        let binary: Vec<usize> = binary.collect();
        return if binary.is_empty() {
            Err(RecalibrationError::NoBinary)
        } else {
            Ok(binary)
        };
    }
    let find = |name: &String| {
        let found = tasks.iter().position(|task| task.name == *name);
        let t = found.ok_or_else(|| RecalibrationError::NoTask {
            task: name.clone(),
            known: tasks.iter().map(|task| task.name.clone()).collect(),
        })?;
        if tasks[t].objective.is_binary() {
            Ok(t)
        } else {
            Err(RecalibrationError::Ratio { task: name.clone() })
        }
    };
    let mut chosen = names.iter().map(find).collect::<Result<Vec<_>, _>>()?;
    chosen.sort_unstable();
    chosen.dedup();
    Ok(chosen)
}

/// A fitted calibrator.
struct Fit {
    task: usize,
    calibrator: Calibrator,
    change: TaskRecalibration,
}

fn fits(
    model: &LoadedModel,
    predictions: &Predictions,
    chosen: &[usize],
    settings: &RecalibrationSettings,
) -> Result<Vec<Fit>, RecalibrationError> {
    let current = |t: usize| model.artifact.calibrators.get(t).and_then(Option::as_ref);
    let method = |t: usize| {
        settings.method.unwrap_or(match current(t) {
            Some(Calibrator::Isotonic { .. }) => Calibration::Isotonic,
            _ => Calibration::Platt,
        })
    };
    let too_few = |&t: &usize| too_few(&predictions.tasks[t], method(t), settings.min_labels);
    let tasks: Vec<String> = chosen.iter().filter_map(too_few).collect();
    if !tasks.is_empty() {
        return Err(RecalibrationError::TooFew { tasks });
    }
    let fit = |&t: &usize| {
        let fitted = fit(method(t), &predictions.tasks[t], current(t));
        let (calibrator, change) = fitted.ok_or_else(|| RecalibrationError::NotRising {
            task: predictions.tasks[t].name.clone(),
        })?;
        Ok(Fit {
            task: t,
            calibrator,
            change,
        })
    };
    chosen.iter().map(fit).collect()
}

/// Returns the number of known labels of 0 and of 1.
fn counts(task: &TaskPredictions) -> [usize; 2] {
    let known = task.labels.iter().zip(&task.scores);
    let known = known.filter(|(label, score)| !label.is_nan() && !score.is_nan());
    known.fold([0, 0], |mut counts, (label, _)| {
        counts[usize::from(*label > 0.5)] += 1;
        counts
    })
}

fn too_few(
    task: &TaskPredictions,
    method: Calibration,
    requested: Option<usize>,
) -> Option<String> {
    let needed = requested.unwrap_or(match method {
        Calibration::Isotonic => LABELS_OF_ISOTONIC,
        _ => LABELS_OF_PLATT,
    });
    let [negatives, positives] = counts(task);
    (negatives.min(positives) < needed).then(|| {
        format!(
            "task {:?} has {positives} labels 1 and {negatives} labels 0, and needs {needed} of each",
            task.name
        )
    })
}

/// Fits a calibrator to scores before calibration. `None` if the rate does not rise with the score.
fn fit(
    method: Calibration,
    task: &TaskPredictions,
    current: Option<&Calibrator>,
) -> Option<(Calibrator, TaskRecalibration)> {
    let calibrator = calibrate::fit(method, task)?;
    let [negatives, positives] = counts(task);
    let mut before = task.clone();
    if let Some(current) = current {
        for score in &mut before.scores {
            *score = current.apply(*score);
        }
    }
    let change = TaskRecalibration {
        task: task.name.clone(),
        rows: (negatives + positives) as u64,
        positives: positives as u64,
        before: figures(before),
        after: figures(crossed(method, task)?),
    };
    Some((calibrator, change))
}

/// Returns the task's predictions with the scores of each half of the known rows calibrated by a fit to the other.
fn crossed(method: Calibration, task: &TaskPredictions) -> Option<TaskPredictions> {
    let known: Vec<usize> = (0..task.labels.len())
        .filter(|&row| !task.labels[row].is_nan())
        .collect();
    let mut crossed = task.clone();
    for half in 0..2 {
        let own = || known.iter().skip(half).step_by(2);
        let mut others = task.clone();
        own().for_each(|&row| others.labels[row] = f32::NAN);
        let calibrator = calibrate::fit(method, &others)?;
        own().for_each(|&row| crossed.scores[row] = calibrator.apply(task.scores[row]));
    }
    Some(crossed)
}

fn figures(task: TaskPredictions) -> CalibrationFigures {
    let metrics = metrics_of(task);
    CalibrationFigures {
        log_loss: metrics.log_loss,
        pcoc: metrics.pcoc,
        ece: metrics.ece,
    }
}

/// The earliest and the latest time so far.
#[derive(Default)]
struct Times(Option<[Moment; 2]>);

impl Times {
    fn add(&mut self, time: Moment) {
        let [first, last] = self.0.unwrap_or([time, time]);
        let is_from = |a: Moment, b: Moment| a.is_from(b).unwrap_or(true);
        let first = if is_from(time, first) { first } else { time };
        let last = if is_from(last, time) { last } else { time };
        self.0 = Some([first, last]);
    }

    fn texts(&self) -> Option<[String; 2]> {
        self.0.map(|times| times.map(|time| time.to_string()))
    }
}

/// Returns the folder that the new model is written to.
///
/// # Errors
/// `out` holds something else than a model, or the model is a link, such as the one that `ncs promote` moves.
pub fn target(model: &LoadedModel, named: &Path, out: Option<&Path>) -> Result<PathBuf, String> {
    let Some(out) = out else {
        let is_link = |path: &Path| fs::symlink_metadata(path).is_ok_and(|m| m.is_symlink());
        return if is_link(named) || is_link(&model.folder) {
            Err(format!(
                "{}: is a link, so the model behind it is not replaced; write the new one into another folder with \
                 --out, and promote it",
                named.display()
            ))
        } else {
            Ok(model.folder.clone())
        };
    };
    let is_empty = fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_none());
    if !out.exists() || is_empty || out.join("manifest.json").is_file() {
        Ok(out.to_owned())
    } else {
        Err(format!(
            "{}: holds something else than a model; choose a new or an empty folder with --out",
            out.display()
        ))
    }
}

/// Writes the model; `from` is the folder of the model before, whose delta fits the new one as well, since the weights are
/// the same.
///
/// # Errors
/// The file system reports an error; an earlier model in the folder then stays.
pub fn write(recalibrated: &Recalibrated, from: &Path, folder: &Path) -> Result<(), Error> {
    if let Some(parent) = folder.parent().filter(|parent| *parent != Path::new("")) {
        fs::create_dir_all(parent).map_err(|error| format!("{}: {error}", parent.display()))?;
    }
    let delta = match fs::read(from.join(DELTA)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        read => Some(read.map_err(|error| format!("{}: {error}", from.join(DELTA).display()))?),
    };
    recalibrated.artifact.write_with(folder, |draft| {
        let written = delta.map(|bytes| tensor_file::write_bytes(&draft.join(DELTA), &bytes));
        Ok(written.transpose().map(|_| ())?)
    })?;
    // The new model must load, as any other.
    Ok(LoadedModel::open(folder).map(drop)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ncs_features::LabelKind;
    use ncs_features::time::Timestamp;

    /// Rows whose rate at score `p` is `factor * p`.
    fn task(factor: f64) -> TaskPredictions {
        let mut task = TaskPredictions {
            name: "cvr".to_owned(),
            kind: LabelKind::Binary,
            ..TaskPredictions::default()
        };
        for score in [0.02f32, 0.05, 0.1, 0.2, 0.3] {
            let positives = (factor * f64::from(score) * 2000.0).round() as usize;
            let label = |row| f32::from(u8::from(row < positives));
            task.labels.extend((0..2000).map(label));
            task.scores.extend([score; 2000]);
        }
        task
    }

    #[test]
    fn a_new_calibrator_brings_predicted_over_observed_to_one() {
        for method in [Calibration::Platt, Calibration::Isotonic] {
            let (_, change) = fit(method, &task(0.6), None).unwrap();
            let (before, after) = (change.before.pcoc.unwrap(), change.after.pcoc.unwrap());
            assert!((before - 1.0 / 0.6).abs() < 0.01, "{before}");
            assert!((after - 1.0).abs() < 0.03, "{method:?}: {after}");
            assert!(change.after.log_loss < change.before.log_loss, "{method:?}");
            assert!(change.after.ece < change.before.ece, "{method:?}");
        }
    }

    /// The halves have other rates: a fit to the own half would give the rate of that half.
    #[test]
    fn no_row_is_scored_by_a_fit_to_itself() {
        let mut halves = task(0.5);
        for row in (0..halves.labels.len()).step_by(2) {
            // Rates of .3 to .7, rising with the score.
            let positives = 3 + row / 2000;
            halves.labels[row] = f32::from(u8::from(row / 2 % 10 < positives));
        }
        let crossed = crossed(Calibration::Isotonic, &halves).unwrap();
        let rate = |half: usize, values: &[f32]| -> f32 {
            let own: Vec<f32> = values.iter().skip(half).step_by(2).copied().collect();
            own.iter().sum::<f32>() / own.len() as f32
        };
        assert!((rate(0, &halves.labels) - 0.5).abs() < 1e-3);
        assert!(rate(0, &crossed.scores) < 0.1);
        assert!(rate(1, &crossed.scores) > 0.4);
    }

    #[test]
    fn too_few_labels_are_told_with_the_number_needed() {
        let few = TaskPredictions {
            name: "cvr".to_owned(),
            kind: LabelKind::Binary,
            labels: vec![1.0, 0.0, 0.0, f32::NAN],
            scores: vec![0.5; 4],
            ..TaskPredictions::default()
        };
        let told = too_few(&few, Calibration::Platt, None).unwrap();
        assert_eq!(
            told,
            "task \"cvr\" has 1 labels 1 and 2 labels 0, and needs 200 of each"
        );
        assert!(
            too_few(&few, Calibration::Isotonic, None)
                .unwrap()
                .contains("1000")
        );
        assert_eq!(too_few(&few, Calibration::Platt, Some(1)), None);
    }

    #[test]
    fn the_span_of_times_is_that_of_all_rows() {
        let mut times = Times::default();
        assert_eq!(times.texts(), None);
        for day in [3, 1, 2] {
            times.add(Moment::Instant(Timestamp::new(day * 86_400, 0)));
        }
        let expected = ["1970-01-02", "1970-01-04"].map(str::to_owned);
        assert_eq!(times.texts(), Some(expected));
    }
}
