//! Figures of the evaluated rows by the values of columns and by day.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use ncs_config::RunPlan;
use ncs_eval::diagnoses::{SliceFigures, SliceRow, SliceTable};
use ncs_eval::{Predictions, TaskMetrics};
use ncs_features::Block;
use ncs_readers::PrepareError;
use ncs_readers::days::DayKey;
use ncs_readers::prepare::rows_of_part;
use ncs_readers::split::{Part, time_of};

use super::EvaluatedPart;
use crate::error::Error;
use crate::slices::{SliceColumns, SliceRows, metrics};

/// Most days of a table: the last ones.
const MOST_DAYS: usize = 400;

/// Returns the figures of a part by the columns that a plan states, and by its days; nothing where it states none. The
/// files are read once more, since the id cache holds features only.
///
/// # Errors
/// The files cannot be read or have changed, a column is absent, a row has several values or no time.
pub(crate) fn tables(plan: &RunPlan, evaluated: &EvaluatedPart) -> Result<Vec<SliceTable>, Error> {
    let evaluation = &plan.evaluation;
    if evaluation.slices.is_empty() && evaluation.days.is_none() {
        return Ok(Vec::new());
    }
    let mut columns = evaluation.slices.clone();
    columns.extend(evaluation.days.clone());
    let mut values = SliceColumns::new(&evaluation.slices);
    let mut days = Days::default();
    let mut n_rows = 0;
    let mut take = |block: &Block| {
        values.add_block(block).map_err(unreadable)?;
        if let Some(column) = &evaluation.days {
            days.add(column, block)?;
        }
        n_rows += block.n_rows;
        Ok(())
    };
    let part = match evaluated.part {
        "test" => Part::Test,
        _ => Part::Valid,
    };
    let mut on = |_| ControlFlow::Continue(());
    rows_of_part(&plan.data, &plan.schema, part, &columns, &mut on, &mut take)?;
    let predictions = &evaluated.predictions;
    let expected = predictions
        .tasks
        .first()
        .map_or(0, |task| task.scores.len());
    if n_rows != expected {
        return Err(format!(
            "evaluation.slices: the {} files have {n_rows} rows now and had {expected} when they were encoded; start again \
             with --fresh",
            evaluated.part
        )
        .into());
    }
    let (slices, _) = values.finish();
    let mut tables = Vec::new();
    for column in &evaluation.slices {
        let own = slices.iter().filter(|slice| slice.column == *column);
        tables.push(table(evaluated, column, own.cloned().collect(), false));
    }
    if let Some(column) = &evaluation.days {
        tables.push(table(evaluated, column, days.finish(column), true));
    }
    Ok(tables)
}

fn unreadable(error: ncs_features::EncodeError) -> PrepareError {
    PrepareError::Split(format!("evaluation.slices: {error}"))
}

/// The rows of each day.
#[derive(Default)]
struct Days {
    rows: BTreeMap<DayKey, Vec<usize>>,
    n_rows: usize,
}

impl Days {
    fn add(&mut self, name: &str, block: &Block) -> Result<(), PrepareError> {
        let refused = |why: String| PrepareError::Split(format!("evaluation.days: {why}"));
        let column = block.column(name);
        let column =
            column.ok_or_else(|| refused(format!("column {name:?} is not in the files")))?;
        for row in 0..block.n_rows {
            let time = time_of(column, row, None).map_err(|error| refused(error.to_string()))?;
            let day = DayKey::of(time);
            let day =
                day.ok_or_else(|| refused(format!("column {name:?} holds fractions of days")))?;
            self.rows.entry(day).or_default().push(self.n_rows);
            self.n_rows += 1;
        }
        Ok(())
    }

    fn finish(self, column: &str) -> Vec<SliceRows> {
        let skipped = self.rows.len().saturating_sub(MOST_DAYS);
        let days = self.rows.into_iter().skip(skipped);
        days.map(|(day, rows)| SliceRows {
            column: column.to_owned(),
            value: day.to_string(),
            rows,
        })
        .collect()
    }
}

fn table(
    evaluated: &EvaluatedPart,
    column: &str,
    slices: Vec<SliceRows>,
    is_days: bool,
) -> SliceTable {
    let predictions: &Predictions = &evaluated.predictions;
    let figures = |metrics: &TaskMetrics| SliceFigures {
        rows: metrics.rows,
        auc: metrics.auc,
        pcoc: metrics.pcoc,
    };
    let rows = metrics(predictions, slices)
        .into_iter()
        .map(|slice| SliceRow {
            value: slice.value,
            rows: slice.rows,
            figures: slice.tasks.values().map(figures).collect(),
        });
    SliceTable {
        column: column.to_owned(),
        part: evaluated.part.to_owned(),
        is_days,
        tasks: predictions
            .tasks
            .iter()
            .map(|task| task.name.clone())
            .collect(),
        rows: rows.collect(),
    }
}
