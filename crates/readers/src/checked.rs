//! Checks for the rows of every format: texts are UTF-8, and folders named `NAME=VALUE` are columns.

use crate::encoding::Encoding;
use crate::partitions::Partition;
use crate::source::{BrokenRow, RawBlock, ReadError, Source};
use ncs_features::{Column, Texts, Values};
use std::collections::BTreeMap;

/// The rows of a file, made to hold what holds for all formats.
pub(crate) struct Checked {
    pub(crate) rows: Box<dyn Source>,
    pub(crate) encoding: Encoding,
    /// Columns that are not in the file, by their position among the requested columns, in order.
    pub(crate) partitions: Vec<(usize, Partition)>,
}

impl Source for Checked {
    fn next_block(&mut self) -> Result<Option<RawBlock>, ReadError> {
        let Some(mut raw) = self.rows.next_block()? else {
            return Ok(None);
        };
        let mut broken = BTreeMap::new();
        for column in &mut raw.block.columns {
            make_utf8(column, self.encoding, &mut broken);
        }
        if !broken.is_empty() {
            leave_out(&mut raw, broken);
        }
        for (place, partition) in &self.partitions {
            let column = partition.column(raw.block.n_rows);
            raw.block.columns.insert(*place, column);
        }
        Ok(Some(raw))
    }
}

/// Decodes texts that are not UTF-8, or records the error of their rows, counted from 0.
fn make_utf8(column: &mut Column, encoding: Encoding, broken: &mut BTreeMap<usize, String>) {
    let Values::Text(texts) = &column.values else {
        return;
    };
    if texts.not_utf8().is_none() {
        return;
    }
    if encoding != Encoding::Utf8 {
        column.values = Values::Text(decoded(texts, encoding));
        return;
    }
    let bad: Vec<usize> = (0..texts.len())
        .filter(|&i| !is_utf8(texts.get(i)))
        .collect();
    let mut row = 0;
    for i in bad {
        while column.range(row).end <= i {
            row += 1;
        }
        let what = format!(
            "column {:?}: the bytes \"{}\" are not UTF-8; write it as UTF-8, or set encoding = \
             \"latin-1\" (or \"windows-1252\") if that is what it is",
            column.name,
            shown(texts.get(i))
        );
        broken.entry(row).or_insert(what);
    }
}

fn is_utf8(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok()
}

fn decoded(texts: &Texts, encoding: Encoding) -> Texts {
    let mut all = Texts::default();
    for i in 0..texts.len() {
        let text = texts.get(i);
        match encoding.decoded(text).filter(|_| !is_utf8(text)) {
            Some(text) => all.push(&text),
            None => all.push(text),
        }
    }
    all
}

/// Returns the first bytes, those that are not ASCII as `\xF6`.
fn shown(text: &[u8]) -> String {
    let bad = text.iter().position(|byte| !byte.is_ascii()).unwrap_or(0);
    let start = bad.saturating_sub(20);
    let end = text.len().min(start + 40);
    text[start..end].escape_ascii().to_string()
}

/// Makes these rows of the block, counted from 0, broken ones.
pub(crate) fn leave_out(raw: &mut RawBlock, rows: BTreeMap<usize, String>) {
    let kept: Vec<usize> = (0..raw.block.n_rows)
        .filter(|row| !rows.contains_key(row))
        .collect();
    let broken = rows.into_iter().map(|(row, what)| {
        let row = raw.in_file(row as u64 + 1);
        let what = format!("row {row}: {what}");
        BrokenRow { row, what }
    });
    let broken: Vec<BrokenRow> = broken.collect();
    raw.broken.extend(broken);
    raw.broken.sort_by_key(|broken| broken.row);
    raw.block = raw.block.select(&kept);
}
