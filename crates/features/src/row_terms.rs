//! Numbers of rows beside their labels: weights, rates of sampled negatives, times.

use crate::batch::RowTerms;
use crate::block::{Block, Column};
use crate::error::{EncodeError, RowTerm};
use crate::labels::label_number;
use crate::late::LateRules;
use crate::schema::Task;
use crate::value::{TextBuffer, shown_label};

/// Returns the numbers of every task's rows beside their labels (see [`RowTerms`]); empty if no task has
/// [`crate::RowRules`]. A row of weight 0 does not count: its label becomes unknown.
///
/// # Errors
/// A column is absent; a weight is negative or not a finite number, a negative rate not in (0, 1], or one of them
/// missing where the label is known. A click without a time, or a conversion without one or before its click.
pub fn terms(
    tasks: &[Task],
    block: &Block,
    labels: &mut [Vec<f32>],
) -> Result<Vec<RowTerms>, EncodeError> {
    if tasks.iter().all(|task| task.row_rules.are_none()) {
        return Ok(Vec::new());
    }
    let pairs = tasks.iter().zip(labels);
    pairs
        .map(|(task, labels)| {
            let weights = weights(task, block, labels)?;
            let negative_rates = negative_rates(task, block, labels)?;
            let [delays, ages, known_shares] = times(task, block, labels)?;
            Ok(RowTerms {
                weights,
                negative_rates,
                delays,
                ages,
                known_shares,
            })
        })
        .collect()
}

fn weights(task: &Task, block: &Block, labels: &mut [f32]) -> Result<Vec<f32>, EncodeError> {
    let Some(name) = &task.row_rules.weight_column else {
        return Ok(Vec::new());
    };
    let term = TermColumn {
        task,
        column: required(task, RowTerm::Weight, name, block)?,
        term: RowTerm::Weight,
        fits: |weight| weight.is_finite() && weight >= 0.0,
    };
    let weights = term.read(labels)?;
    for (label, _) in labels.iter_mut().zip(&weights).filter(|(_, w)| **w == 0.0) {
        *label = f32::NAN;
    }
    Ok(weights)
}

fn negative_rates(task: &Task, block: &Block, labels: &mut [f32]) -> Result<Vec<f32>, EncodeError> {
    let Some(name) = &task.row_rules.negative_rate_column else {
        return Ok(Vec::new());
    };
    let term = TermColumn {
        task,
        column: required(task, RowTerm::NegativeRate, name, block)?,
        term: RowTerm::NegativeRate,
        fits: |rate| rate > 0.0 && rate <= 1.0,
    };
    let mut rates = term.read(labels)?;
    // Where no label is known, none was left out.
    rates
        .iter_mut()
        .filter(|rate| **rate == 0.0)
        .for_each(|rate| *rate = 1.0);
    Ok(rates)
}

/// Returns delays and ages of rows, and the chance that a conversion is known; a conversion after the attribution
/// window is none.
fn times(task: &Task, block: &Block, labels: &mut [f32]) -> Result<[Vec<f32>; 3], EncodeError> {
    let Some(late) = &task.row_rules.late else {
        return Ok([Vec::new(), Vec::new(), Vec::new()]);
    };
    let of = |term, name: &String| {
        Ok(TermColumn {
            task,
            column: required(task, term, name, block)?,
            term,
            fits: f32::is_finite,
        })
    };
    let click = of(RowTerm::ClickTime, &late.click_time)?;
    let conversion = of(RowTerm::ConversionTime, &late.conversion_time)?;
    let values = late_values(task, late, block)?;
    let mut times = [(); 3].map(|()| vec![f32::NAN; labels.len()]);
    for (row, label) in labels.iter_mut().enumerate() {
        // After an earlier training the other tasks use the rows since then: every row has a time.
        if label.is_nan() && late.since.is_none() {
            continue;
        }
        let clicked = click.time(row)?;
        let age = ((late.as_of - clicked) / late.window) as f32;
        times[1][row] = age;
        if label.is_nan() {
            continue;
        }
        let value = values.get(row).map_or("", String::as_str);
        times[2][row] = late.share_known(value, age) as f32;
        if *label > 0.0 {
            let delay = (conversion.time(row)? - clicked) / late.window;
            if delay < 0.0 {
                return Err(conversion.refused(row, "before the click".to_owned()));
            }
            if delay > 1.0 {
                *label = 0.0;
            } else {
                times[0][row] = delay as f32;
            }
        }
    }
    Ok(times)
}

/// Returns the value of each row by which delays differ, empty where it is missing; none without such a column.
pub(crate) fn late_values(
    task: &Task,
    late: &LateRules,
    block: &Block,
) -> Result<Vec<String>, EncodeError> {
    let Some(name) = &late.by else {
        return Ok(Vec::new());
    };
    let column = block.require(name, &format!("late.by of task \"{}\"", task.name))?;
    let mut buffer = TextBuffer::default();
    let mut value = |row| {
        let text = |i| String::from_utf8_lossy(buffer.text(&column.values, i)).into_owned();
        Ok(column.only(row)?.map_or_else(String::new, text))
    };
    (0..block.n_rows).map(&mut value).collect()
}

fn required<'b>(
    task: &Task,
    term: RowTerm,
    name: &str,
    block: &'b Block,
) -> Result<&'b Column, EncodeError> {
    let wanted_by = format!("the {} of task \"{}\"", term.name(), task.name);
    block.require(name, &wanted_by)
}

/// A column with a number for each row of a task.
struct TermColumn<'a> {
    task: &'a Task,
    column: &'a Column,
    term: RowTerm,
    fits: fn(f32) -> bool,
}

impl TermColumn<'_> {
    /// Returns the number of each row; 0 where it is missing, which only rows of unknown label may have.
    fn read(&self, labels: &[f32]) -> Result<Vec<f32>, EncodeError> {
        let rows = labels.iter().enumerate();
        rows.map(|(row, label)| match self.column.only(row)? {
            None if label.is_nan() => Ok(0.0),
            None => Err(self.refused(row, "missing".to_owned())),
            Some(i) => {
                let values = &self.column.values;
                let number = label_number(values, i).map(|number| number as f32);
                let number = number.filter(|&number| (self.fits)(number));
                number.ok_or_else(|| self.refused(row, shown_label(values, i)))
            }
        })
        .collect()
    }

    /// Returns the time of a row, in seconds.
    fn time(&self, row: usize) -> Result<f64, EncodeError> {
        let time = match self.column.only(row)? {
            Some(i) => self.column.number(row, i)?,
            None => None,
        };
        time.ok_or_else(|| self.refused(row, "missing".to_owned()))
    }

    fn refused(&self, row: usize, found: String) -> EncodeError {
        EncodeError::Term {
            column: self.column.name.clone(),
            row: row as u64 + 1,
            term: self.term,
            task: self.task.name.clone(),
            found,
        }
    }
}
