//! Additions to a trained model before it is written: calibrators, and rows for its self-test.

use ncs_config::RunPlan;
use ncs_eval::report::Note;
use ncs_features::{Block, ColumnCoverage, Field, LookedUp};
use ncs_model::artifact::Artifact;
use ncs_model::{Scorer, SelfTest, Workspace};
use ncs_readers::batches::BatchPlan;
use ncs_readers::split::Part;
use ncs_readers::{Cache, Prepared, columns_of, first_rows};
use ncs_train::calibrate::{self, Calibration};
use ncs_train::{Trained, predict};
use std::sync::Arc;

use super::UNFIT;
use crate::distributions;
use crate::error::Error;
use crate::progress::grouped;

/// Number of rows that are saved with a model for its self-test.
const TEST_ROWS: usize = 32;

/// Artifacts of a training, and notes for the report.
pub(super) struct Frozen {
    /// The model with its calibrators and its self-test.
    pub(super) artifact: Artifact,
    /// Model before the refit on the validation rows, if there was one, with the same calibrators.
    pub(super) chosen: Option<Artifact>,
    /// Notes for the report.
    pub(super) notes: Vec<Note>,
}

/// Returns the artifact of a training with its calibrators and its self-test.
///
/// # Errors
/// The validation rows cannot be read.
pub(super) fn freeze(plan: &RunPlan, data: &Prepared, trained: &Trained) -> Result<Frozen, Error> {
    let mut artifact = trained.artifact.clone();
    let mut chosen = trained.chosen.clone();
    let valid = data
        .report
        .parts
        .iter()
        .find(|part| part.part == Part::Valid);
    let columns = valid.map_or(&[][..], |part| &part.columns);
    artifact.shares = columns.iter().map(ColumnCoverage::shares).collect();
    artifact.context_columns.clone_from(&plan.context_columns);
    artifact.looked_up = looked_up(plan)?;
    let mut notes = Vec::new();
    if chosen.is_some() {
        notes.push(refitted(data));
    }
    if let Some(how) = plan.calibration {
        let calibrated_model = chosen.as_mut().unwrap_or(&mut artifact);
        notes.push(calibrated(how, plan, data, calibrated_model)?);
        if let Some(chosen) = &chosen {
            artifact.calibrators = chosen.calibrators.clone();
        }
    }
    let scorer = Scorer::new(&artifact).ok_or(UNFIT)?;
    let mut pass = Workspace::new(plan.train.threads);
    let found = distributions::of_training(data, &scorer, &mut pass)?;
    artifact.distributions = Some(Arc::new(found));
    artifact.self_test = rows(plan).and_then(|rows| SelfTest::record(&scorer, &rows));
    Ok(Frozen {
        artifact,
        chosen,
        notes,
    })
}

/// Returns the columns of features that were looked up by ids.
fn looked_up(plan: &RunPlan) -> Result<Vec<LookedUp>, Error> {
    let fields = plan.schema.fields.iter();
    let read: Vec<String> = fields.flat_map(Field::columns).cloned().collect();
    let mut all = Vec::new();
    for lookup in &plan.data.reading.lookups {
        all.extend(lookup.looked_up(&read)?);
    }
    Ok(all)
}

fn refitted(data: &Prepared) -> Note {
    let n_valid = data.valid.as_ref().map_or(0, Cache::n_rows);
    let text = format!(
        "The model was trained again on training and validation rows ({} and {}), for as many passes as validation had \
         found best. Validation figures, curves and calibrators are those of the training before, which had not \
         learned from the validation rows.",
        grouped(data.train.n_rows()),
        grouped(n_valid)
    );
    Note {
        warning: false,
        text,
    }
}

/// Fits the calibrators to the validation rows.
fn calibrated(
    how: Calibration,
    plan: &RunPlan,
    data: &Prepared,
    artifact: &mut Artifact,
) -> Result<Note, Error> {
    let scorer = Scorer::new(artifact).ok_or(UNFIT)?;
    let mut pass = Workspace::new(plan.train.threads);
    let mut predictions = predict::empty_predictions(&artifact.schema.tasks);
    if let Some(rows) = &data.valid {
        for batch in rows.batches(BatchPlan::default()) {
            let batch = batch?;
            let scores = scorer.score_uncalibrated(&batch, &mut pass);
            predict::append(&mut predictions, &batch, &scores);
        }
    }
    let tasks = predictions.tasks.iter();
    artifact.calibrators = tasks
        .clone()
        .map(|task| calibrate::fit(how, task))
        .collect();
    let without = tasks.zip(&artifact.calibrators);
    let without = without.filter(|(_, calibrator)| calibrator.is_none());
    let without: Vec<&str> = without.map(|(task, _)| task.name.as_str()).collect();
    let fitted = "Probabilities are calibrated on the validation rows, whose own calibration figures \
                  therefore flatter the model; those of the test rows do not.";
    let text = if without.is_empty() {
        fitted.to_owned()
    } else if how == Calibration::Auto {
        format!(
            "{fitted} Not calibrated, since 1000 validation labels of each class are needed: {}.",
            without.join(", ")
        )
    } else {
        format!(
            "{fitted} Without a calibrator, for want of rows of both classes (or because their rate does \
             not rise with the score): {}.",
            without.join(", ")
        )
    };
    Ok(Note {
        warning: how != Calibration::Auto && !without.is_empty(),
        text,
    })
}

/// The first rows of the training files, of whatever part, as they come from the file: they only show that
/// whoever loads the model reads and scores as we do. `None` where they cannot be read any more, which must
/// not undo a training.
fn rows(plan: &RunPlan) -> Option<Block> {
    let columns = columns_of(&plan.data, &plan.schema);
    let first = first_rows(&plan.data, &columns, TEST_ROWS).ok()?;
    Some(first.blocks.into_iter().next()?.block)
}
