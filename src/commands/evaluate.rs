//! `ncs evaluate`

use ncs_eval::render::fixed;
use ncs_eval::report::ResultTable;
use ncs_eval::{RunReport, render_text, text_table};
use ncs_experiments::progress::{Progress, grouped};
use ncs_experiments::scoring::{self, Evaluation, EvaluationListener};
use ncs_experiments::slices::SliceMetrics;
use ncs_model::Scorer;

use super::{Outcome, model, print, print_json};
use crate::arguments::Evaluate;
use crate::interrupt;

/// Evaluates a model on labelled rows.
///
/// # Errors
/// The model or the rows cannot be read, a row has no score, a label is absent, or it was asked to stop.
pub fn run(arguments: &Evaluate, progress: Progress) -> Outcome {
    let stop_requested = interrupt::flag()?;
    let (loaded, rows, mut pass) = model::open(&arguments.input)?;
    let mut job = progress.job("evaluate", None, "rows");
    let mut listener = EvaluationListener {
        note: &mut |text| progress.log(&text),
        advance: &mut |rows| job.advance(rows),
        finish: &mut |encoded| model::log_notes(encoded, &arguments.input.rows, progress),
    };
    let evaluation = scoring::evaluate(
        &loaded,
        rows,
        &arguments.slices,
        &mut pass,
        stop_requested,
        &mut listener,
    )?;
    job.finish();
    if arguments.json {
        print_json(&evaluation)
    } else {
        let slices = slices(&evaluation.slices);
        print(&(table(arguments, &loaded.scorer, evaluation) + &slices))
    }
}

fn table(arguments: &Evaluate, scorer: &Scorer, evaluation: Evaluation) -> String {
    let name = scorer.spec().plan.kind.name().to_owned();
    let rows = arguments.input.rows.data.join(" ");
    let table = ResultTable::of_metrics(
        &format!("{} on {rows}", arguments.input.model.display()),
        &[(name, evaluation.metrics)],
    );
    render_text(&RunReport {
        results: vec![table],
        columns: vec![evaluation.columns],
        notes: evaluation.notes,
        ..RunReport::default()
    })
}

/// Returns a table of the metrics by slice; nothing without slices.
fn slices(slices: &[SliceMetrics]) -> String {
    const HEADER: [&str; 8] = [
        "slice",
        "task",
        "rows",
        "positives",
        "AUC",
        "log-loss",
        "PCOC",
        "ECE",
    ];
    if slices.is_empty() {
        return String::new();
    }
    let number = |value: Option<f64>, decimals| fixed(value.unwrap_or(f64::NAN), decimals);
    let rows = slices.iter().flat_map(|slice| {
        slice.tasks.iter().map(move |(task, found)| {
            vec![
                format!("{} = {}", slice.column, slice.value),
                task.clone(),
                grouped(found.rows),
                grouped(found.positives),
                number(found.auc.or(found.squared_error), 4),
                number(found.log_loss, 4),
                number(found.pcoc, 3),
                number(found.ece, 4),
            ]
        })
    });
    format!("\n{}", text_table(&HEADER, &rows.collect::<Vec<_>>()))
}
