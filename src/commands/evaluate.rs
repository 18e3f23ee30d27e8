//! `ncs evaluate`

use ncs_eval::report::ResultTable;
use ncs_eval::{RunReport, render_text};
use ncs_experiments::progress::Progress;
use ncs_experiments::scoring::{self, Evaluation, EvaluationListener, LoadedModel, Rows};
use ncs_model::Scorer;

use super::{Outcome, model, print, print_json};
use crate::arguments::Evaluate;
use crate::interrupt;

/// Evaluates a model on labelled rows.
///
/// # Errors
/// The model or the rows cannot be read, a row has no score, a label is absent, or it was asked to stop.
pub fn run(arguments: &Evaluate, progress: Progress) -> Outcome {
    let asked = interrupt::flag()?;
    let loaded = LoadedModel::open(&arguments.model)?;
    let rows = Rows::Files {
        files: model::files(&arguments.rows)?,
        reading: model::reading(&arguments.rows),
    };
    let mut pass = model::pass(&arguments.rows);
    let mut job = progress.job("evaluate", None, "rows");
    let mut listener = EvaluationListener {
        note: &mut |text| progress.log(&text),
        advance: &mut |rows| job.advance(rows),
        finish: &mut |encoded| model::say_notes(encoded, &arguments.rows, progress),
    };
    let evaluation = scoring::evaluate(&loaded, rows, &mut pass, asked, &mut listener)?;
    job.finish();
    if arguments.json {
        print_json(&evaluation)
    } else {
        print(&table(arguments, &loaded.scorer, evaluation))
    }
}

fn table(arguments: &Evaluate, scorer: &Scorer, evaluation: Evaluation) -> String {
    let name = scorer.spec().plan.kind.name().to_owned();
    let rows = arguments.rows.data.join(" ");
    let table = ResultTable::of_metrics(
        &format!("{} on {rows}", arguments.model.display()),
        &[(name, evaluation.metrics)],
    );
    render_text(&RunReport {
        results: vec![table],
        columns: vec![evaluation.columns],
        notes: evaluation.notes,
        ..RunReport::default()
    })
}
