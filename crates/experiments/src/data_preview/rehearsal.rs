//! Dry run of the steps of training before its first step, so that `ncs check` rejects the same data.

use std::ops::ControlFlow;

use ncs_config::{RunFile, RunPlan};
use ncs_features::{FitError, LabelCounts, Schema};
use ncs_readers::split::Part;
use ncs_readers::{Progress as Rows, Report, Stage, check_files, rehearse};
use ncs_train::label_problems;

use super::DataPreview;
use crate::error::Error;
use crate::progress::Progress;
use crate::training;

/// Reads, fits, splits and encodes every row, without keeping them, and returns the fitted schema. Reasons for
/// which training would reject the data are stored in the preview.
///
/// Fails for files and rows that training would reject.
pub(super) fn run(
    file: &RunFile,
    progress: Progress,
    look: &mut DataPreview,
) -> Result<Schema, Error> {
    let plan = &file.plan;
    let mut job = progress.job("check every row", None, "rows");
    let earlier = plan
        .start
        .as_ref()
        .map(|start| &*start.earlier.artifact.schema);
    let (schema, report) = rehearse(&plan.data, &plan.schema, earlier, &mut |now: Rows| {
        if now.stage == Stage::Encode {
            job.reach(now.rows);
        }
        ControlFlow::Continue(())
    })?;
    drop(job);
    look.rehearsed = true;
    look.refusal = refusal(file, &schema, &report);
    look.varies = report.varies;
    let is_new = |note: &String| !look.notes.contains(note);
    let notes: Vec<String> = report.notes.into_iter().filter(is_new).collect();
    look.notes.extend(notes);
    Ok(schema)
}

fn refusal(file: &RunFile, schema: &Schema, report: &Report) -> Option<String> {
    let plan = &file.plan;
    let counts = |part: Part| {
        let mut parts = report.parts.iter();
        parts
            .find(|counts| counts.part == part)
            .map(|counts| &counts.labels)
    };
    let none = LabelCounts::new(schema.tasks.len());
    let train = counts(Part::Train).unwrap_or(&none);
    let valid = counts(Part::Valid);
    let labels = label_problems(schema, &plan.network, &plan.train, train, valid);
    let mut problems: Vec<String> = labels
        .into_iter()
        .map(|error| training::located(file, error).to_string())
        .collect();
    let features = training::check_features(file, &report.varies);
    problems.extend(features.err().map(|error| error.to_string()));
    (!problems.is_empty()).then(|| problems.join("\n"))
}

/// Adds warnings from the first rows, if they are not all rows.
///
/// Fails if the files cannot be found, or if a file is in two parts.
pub(super) fn forecast(
    plan: &RunPlan,
    fitted: Result<Schema, FitError>,
    look: &mut DataPreview,
) -> Result<Option<Schema>, Error> {
    check_files(&plan.data)?;
    let faults = look.tasks.iter().filter_map(|task| task.fault());
    let faults: Vec<String> = faults
        .map(|fault| format!("in these rows, {fault}"))
        .collect();
    look.warnings.extend(faults);
    match fitted {
        Ok(schema) => Ok(Some(schema)),
        Err(unfit) => {
            look.warnings.push(format!("in these rows, {unfit}"));
            Ok(None)
        }
    }
}
