//! `ncs importance`: permutation importance of the columns of a model.

use std::sync::atomic::AtomicBool;

use ncs_eval::render::fixed;
use ncs_eval::text_table;
use ncs_experiments::importance::{self, ColumnImportance, ImportanceSettings, TaskImportance};
use ncs_experiments::progress::{Progress, grouped};
use ncs_experiments::scoring::EvaluationListener;

use super::{Outcome, model, print, print_json};
use crate::arguments::Importance;
use crate::error::Error;
use crate::interrupt;

/// Characters of the longest bar.
const BAR: f64 = 24.0;

/// Measures and prints the importance of every column.
///
/// # Errors
/// The model or the rows cannot be read, a label is absent, or it was asked to stop.
pub fn run(arguments: &Importance, progress: Progress) -> Outcome {
    let found = measure(arguments, progress, interrupt::flag()?)?;
    if arguments.report {
        let page = found.add_to_report(&arguments.input.model)?;
        progress.log(&format!("added to {}", page.display()));
    }
    if arguments.json {
        print_json(&found)
    } else {
        print(&table(&found))
    }
}

/// Measures the importance of every column.
///
/// # Errors
/// As [`run`].
pub fn measure(
    arguments: &Importance,
    progress: Progress,
    stop: &AtomicBool,
) -> Result<importance::Importance, Error> {
    let (loaded, rows, mut pass) = model::open(&arguments.input)?;
    let settings = ImportanceSettings {
        rows: arguments.sample,
        repeats: arguments.repeats,
        seed: arguments.seed,
    };
    let mut job = progress.job("read", None, "rows");
    let mut listener = EvaluationListener {
        note: &mut |_| {},
        advance: &mut |rows| job.advance(rows),
        finish: &mut |encoded| model::log_notes(encoded, &arguments.input.rows, progress),
    };
    let mut columns = progress.job("permute", None, "columns");
    let mut advance = |done, _| columns.reach(done);
    let found = importance::measure(
        &loaded,
        rows,
        settings,
        &mut pass,
        stop,
        &mut listener,
        &mut advance,
    )?;
    job.finish();
    columns.finish();
    Ok(found)
}

fn table(found: &importance::Importance) -> String {
    let tasks = found.columns.first().map(|column| &column.tasks);
    let tasks: Vec<&TaskImportance> = tasks.into_iter().flatten().collect();
    let mut header = vec!["column".to_owned()];
    for task in &tasks {
        header.push(format!("{}: loss of {}", task.task, task.metric));
        header.push(String::new());
    }
    let largest = |t: usize| {
        let losses = found
            .columns
            .iter()
            .filter_map(|column| column.tasks[t].loss);
        losses.fold(0.0, f64::max)
    };
    let scales: Vec<f64> = (0..tasks.len()).map(largest).collect();
    let rows = found.columns.iter().map(|column| {
        let cells = column.tasks.iter().zip(&scales).flat_map(|(task, &scale)| {
            let loss = fixed(task.loss.unwrap_or(f64::NAN), 4);
            let error = fixed(task.error.unwrap_or(f64::NAN), 4);
            let share = task.loss.map_or(0.0, |loss| (loss / scale).clamp(0.0, 1.0));
            let length = if scale > 0.0 {
                (share * BAR).round()
            } else {
                0.0
            };
            [format!("{loss} ± {error}"), "█".repeat(length as usize)]
        });
        std::iter::once(column.column.clone())
            .chain(cells)
            .collect()
    });
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let mut text = text_table(&header, &rows.collect::<Vec<Vec<String>>>());
    text += &format!(
        "Loss on {} rows when the values of a column are permuted between rows, mean of {} permutations, ± its standard \
         error over rows. Correlated columns can all look unimportant.\n",
        grouped(found.rows),
        found.repeats
    );
    if !found.unused.is_empty() {
        text += &format!(
            "Not significant for any task: {}.{} Train again without them (remove them from [columns]) and compare.\n",
            found.unused.join(", "),
            found
                .unused_together
                .as_ref()
                .map_or(String::new(), together)
        );
    }
    text
}

/// What columns cost together that cost nothing one by one.
fn together(found: &ColumnImportance) -> String {
    let cost = |task: &TaskImportance| {
        let number = |x: Option<f64>| fixed(x.unwrap_or(f64::NAN), 4);
        let (loss, error) = (number(task.loss), number(task.error));
        format!("{loss} ± {error} of {} ({})", task.metric, task.task)
    };
    let costs: Vec<String> = found.tasks.iter().map(cost).collect();
    let hint = match found.is_used() {
        true => ": some of them replace each other, so keep one",
        false => "",
    };
    format!(" Permuted together they cost {}{hint}.", costs.join(", "))
}
