//! Rows of several blocks as one table: ids as numbers, and the times of the rows.

use super::TableError;
use crate::block::{Block, Column, Texts, Values};
use crate::time::{TimeUnit, Timestamp};
use crate::time_reader::TimeReader;
use crate::value::{TextBuffer, shown};
use std::collections::HashMap;

/// The number of each id, by its canonical text.
pub(super) type Numbers = HashMap<Box<[u8]>, u32>;

/// Returns a number for each id, and that of each row; `None` for rows without an id.
pub(super) fn numbered(ids: &Column, n_rows: u32) -> (Numbers, Vec<Option<u32>>) {
    let mut numbers = Numbers::new();
    let mut buffer = TextBuffer::default();
    let mut number = |row: u32| {
        if ids.is_null(row as usize) {
            return None;
        }
        let id = buffer.text(&ids.values, row as usize);
        if id.is_empty() {
            return None;
        }
        let next = numbers.len() as u32;
        if let Some(&number) = numbers.get(id) {
            return Some(number);
        }
        numbers.insert(id.into(), next);
        Some(next)
    };
    let of_rows = (0..n_rows).map(&mut number).collect();
    (numbers, of_rows)
}

/// Returns the time of each row that has an id.
pub(super) fn times_of(
    rows: &Block,
    column: &str,
    unit: Option<TimeUnit>,
    numbers: &[Option<u32>],
) -> Result<Vec<Timestamp>, TableError> {
    let found = rows.column(column);
    let found = found.ok_or_else(|| TableError::NoTime(column.to_owned()))?;
    let reader = TimeReader::plain(found, unit);
    let time = |(row, number): (usize, &Option<u32>)| match reader.row(row) {
        Ok(Some(time)) => Ok(time),
        Ok(None) if number.is_none() => Ok(Timestamp::default()),
        Ok(None) => Err(TableError::Untimed {
            column: column.to_owned(),
            row: row as u32 + 1,
        }),
        Err(_) => Err(TableError::NotATime {
            column: column.to_owned(),
            row: row as u32 + 1,
            found: shown(&found.values, found.range(row).start),
        }),
    };
    numbers.iter().enumerate().map(time).collect()
}

/// Refuses records of the same id and time; `order` is sorted by both.
pub(super) fn refuse_twice(
    order: &[u32],
    number_of: impl Fn(u32) -> Option<u32>,
    time_of: impl Fn(u32) -> Timestamp,
    ids: &Column,
    is_timed: bool,
) -> Result<(), TableError> {
    let same = |pair: &&[u32]| {
        number_of(pair[0]) == number_of(pair[1]) && time_of(pair[0]) == time_of(pair[1])
    };
    let Some(&[first, second]) = order.windows(2).find(same) else {
        return Ok(());
    };
    let mut buffer = TextBuffer::default();
    let id = buffer.text(&ids.values, first as usize);
    let id = String::from_utf8_lossy(id).into_owned();
    Err(if is_timed {
        TableError::TwiceAt {
            id,
            time: time_of(first),
            first: first + 1,
            second: second + 1,
        }
    } else {
        TableError::Twice {
            id,
            first: first + 1,
            second: second + 1,
        }
    })
}

/// Appends the rows of a block with the same columns.
pub(super) fn append(all: &mut Block, block: Block) -> Result<(), TableError> {
    if all.columns.is_empty() {
        *all = block;
        return Ok(());
    }
    for (column, other) in all.columns.iter_mut().zip(block.columns) {
        match (&mut column.offsets, &other.offsets) {
            (None, None) => {}
            (Some(offsets), Some(others)) => {
                let start = offsets.last().copied().unwrap_or(0);
                offsets.extend(others.iter().skip(1).map(|end| start + end));
            }
            _ => return Err(TableError::Mixed(column.name.clone())),
        }
        if !(column.nulls.is_empty() && other.nulls.is_empty()) {
            column.nulls.resize(all.n_rows, false);
            column.nulls.extend(&other.nulls);
            column.nulls.resize(all.n_rows + block.n_rows, false);
        }
        append_values(&mut column.values, other.values);
    }
    all.n_rows += block.n_rows;
    Ok(())
}

/// Appends values, as texts where their types differ.
fn append_values(values: &mut Values, others: Values) {
    match (&mut *values, others) {
        (Values::Int(values), Values::Int(others)) => values.extend(others),
        (Values::Float(values), Values::Float(others)) => values.extend(others),
        (Values::Time(values), Values::Time(others)) => values.extend(others),
        (Values::Text(texts), others) => push_texts(texts, &others),
        (_, others) => {
            let mut texts = Texts::default();
            push_texts(&mut texts, values);
            push_texts(&mut texts, &others);
            *values = Values::Text(texts);
        }
    }
}

fn push_texts(texts: &mut Texts, values: &Values) {
    let mut buffer = TextBuffer::default();
    (0..values.len()).for_each(|i| texts.push(buffer.plain(values, i)));
}

/// Appends a null row to a column of `n_rows` rows.
pub(super) fn end(column: &mut Column, n_rows: usize) {
    column.nulls.resize(n_rows, false);
    column.nulls.push(true);
    match &mut column.offsets {
        Some(offsets) => offsets.push(offsets.last().copied().unwrap_or(0)),
        None => {
            column.values = column
                .values
                .select_or_fill((0..n_rows).map(Some).chain([None]))
        }
    }
}
