//! `ncs evaluate`

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use ncs_eval::report::{Note, ResultTable};
use ncs_eval::{MetricSettings, Metrics, PartColumns, Predictions, RunReport, render_text};
use ncs_features::{ColumnCoverage, Coverage, Encoder, Schema, Task};
use ncs_model::Scorer;
use ncs_readers::{Encoded, ReadError};
use ncs_train::predict;
use serde::Serialize;

use super::{Outcome, model, print, print_json};
use crate::arguments::Evaluate;
use crate::progress::Progress;
use crate::run_report::{doubts, network_name};

/// Judges a model on labelled rows.
///
/// # Errors
/// The model or the rows cannot be read, a row has no score, or a label is absent.
pub fn run(arguments: &Evaluate, progress: Progress) -> Outcome {
    let artifact = model::read(&arguments.model)?;
    let scorer = model::scorer_of(&arguments.model, &artifact)?;
    let (predictions, columns) = predict(arguments, &scorer, progress)?;
    let metrics = Metrics::of(&predictions, &MetricSettings::default())?;
    let columns = PartColumns {
        part: "rows".to_owned(),
        columns,
        reference: artifact.shares,
        compared_with: "validation".to_owned(),
    };
    let mut notes = doubts("these rows", &predictions, &metrics);
    notes.extend(columns.remarks());
    if arguments.json {
        return print_json(&Evaluation {
            metrics: &metrics,
            columns: &columns.columns,
            notes: &notes,
        });
    }
    print(&table(arguments, &scorer, metrics, columns, notes))
}

/// What `--json` prints: the figures, and beside them the columns against what training saw.
#[derive(Serialize)]
struct Evaluation<'a> {
    #[serde(flatten)]
    metrics: &'a Metrics,
    columns: &'a [ColumnCoverage],
    notes: &'a [Note],
}

fn predict(
    arguments: &Evaluate,
    scorer: &Scorer,
    progress: Progress,
) -> Result<(Predictions, Vec<ColumnCoverage>), Box<dyn Error>> {
    let files = model::files(&arguments.rows)?;
    let reading = model::reading(&arguments.rows);
    let schema = match ncs_readers::first_column_names(&files, &reading)? {
        Some((file, columns)) => present(scorer.schema(), &file, &columns, progress),
        None => scorer.schema().clone(),
    };
    let tasks = schema.tasks.clone();
    let mut predictions = predict::no_predictions(&tasks);
    let mut pass = model::pass(&arguments.rows);
    let mut job = progress.job("evaluate", None, "rows");
    let mut coverage = Coverage::new(&schema);
    let mut encoded = Encoded::open(files, &reading, Encoder::new(schema), true);
    while let Some(next) = encoded.next_rows() {
        let (rows, batch) = next.map_err(|error| absent_label(error, &tasks))?;
        let scores = scorer.score(&batch, &mut pass);
        model::check_scores(&rows, &batch, &scores, scorer)?;
        model::cover(&mut coverage, scorer, &rows, &batch);
        predict::append(&mut predictions, &batch, &scores);
        job.advance(batch.n_rows as u64);
    }
    job.finish();
    model::say_notes(&encoded, &arguments.rows, progress)?;
    let columns = coverage.finish(|field, id| scorer.is_unseen(field, id));
    Ok((predictions, columns))
}

/// The schema without the group and the truths that the rows lack: what they are for is left out.
fn present(
    schema: &Arc<Schema>,
    file: &Path,
    columns: &[String],
    progress: Progress,
) -> Arc<Schema> {
    let mut schema = Schema::clone(schema);
    let note = |column: &str, without: &str| {
        let file = file.display();
        progress.say(&format!(
            "{file}: note: no column {column:?}, so no {without}"
        ));
    };
    if let Some(group) = schema.group.take_if(|group| !columns.contains(group)) {
        note(&group, "grouped AUC");
    }
    for task in &mut schema.tasks {
        if let Some(truth) = task.truth.take_if(|truth| !columns.contains(truth)) {
            note(&truth, "entire-space AUC");
        }
    }
    Arc::new(schema)
}

/// Says of a missing column that it is a label, and what works without.
fn absent_label(error: ReadError, tasks: &[Task]) -> Box<dyn Error> {
    let ReadError::MissingColumn { column, .. } = &error else {
        return error.into();
    };
    match tasks.iter().find(|task| task.label == *column) {
        None => error.into(),
        Some(task) => format!(
            "{error}; it is the label of task {:?}, and a model is judged by labels (ncs score \
             needs none)",
            task.name
        )
        .into(),
    }
}

fn table(
    arguments: &Evaluate,
    scorer: &Scorer,
    metrics: Metrics,
    columns: PartColumns,
    notes: Vec<Note>,
) -> String {
    let name = network_name(scorer.spec().plan.kind).to_owned();
    let rows = arguments.rows.data.join(" ");
    let table = ResultTable::of_metrics(
        &format!("{} on {rows}", arguments.model.display()),
        &[(name, metrics)],
    );
    render_text(&RunReport {
        results: vec![table],
        columns: vec![columns],
        notes,
        ..RunReport::default()
    })
}
