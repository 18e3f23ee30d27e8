//! Columns in the making, for formats that come row by row.

use crate::source::{BrokenRow, RawBlock, ReadError, Source};
use ncs_features::value::TextBuffer;
use ncs_features::{Block, Column, Texts, Values};
use std::path::Path;

/// Rows of a block, the last of a file excepted.
pub(crate) const BLOCK_ROWS: usize = 8192;
/// A block that holds this much ends earlier.
const BLOCK_BYTES: usize = 64 << 20;

/// A format that comes row by row.
pub(crate) trait ReadRow: Send {
    /// Reads one row into `rows`, which it ends or breaks; `false` after the last row.
    fn read_row(&mut self, rows: &mut RowsBuilder) -> Result<bool, ReadError>;

    /// Bytes on disk that were read so far.
    fn bytes_read(&self) -> u64;
}

/// A [`Source`] of a format that comes row by row.
pub(crate) struct ByRow<R> {
    reader: R,
    rows: RowsBuilder,
    /// Read when the file was opened.
    first: Option<RawBlock>,
}

impl<R: ReadRow> ByRow<R> {
    /// Reads the first block, and has `path` refused where a column appears nowhere in it, unless
    /// `absent_is_null`. `present` lists the columns of such a file.
    pub(crate) fn open(
        reader: R,
        path: &Path,
        columns: &[String],
        absent_is_null: bool,
        present: impl FnOnce() -> Result<Vec<String>, ReadError>,
    ) -> Result<ByRow<R>, ReadError> {
        let mut source = ByRow {
            reader,
            rows: RowsBuilder::new(columns),
            first: None,
        };
        source.first = source.read_block()?;
        let has_rows = source
            .first
            .as_ref()
            .is_some_and(|first| first.block.n_rows > 0);
        let unseen = source.rows.columns.iter().find(|column| !column.seen);
        match unseen {
            Some(column) if has_rows && !absent_is_null => {
                Err(ReadError::missing(path, &column.name, &present()?))
            }
            _ => Ok(source),
        }
    }

    fn read_block(&mut self) -> Result<Option<RawBlock>, ReadError> {
        while !self.rows.is_full() && self.reader.read_row(&mut self.rows)? {}
        Ok(self.rows.finish(self.reader.bytes_read()))
    }
}

impl<R: ReadRow> Source for ByRow<R> {
    fn next_block(&mut self) -> Result<Option<RawBlock>, ReadError> {
        match self.first.take() {
            Some(block) => Ok(Some(block)),
            None => self.read_block(),
        }
    }
}

/// A block in the making.
pub(crate) struct RowsBuilder {
    columns: Vec<ColumnBuilder>,
    n_rows: usize,
    n_bytes: usize,
    broken: Vec<BrokenRow>,
    /// Rows of the file before this block.
    rows_before: u64,
}

impl RowsBuilder {
    pub(crate) fn new(columns: &[String]) -> RowsBuilder {
        RowsBuilder {
            columns: columns
                .iter()
                .map(|name| ColumnBuilder::new(name))
                .collect(),
            n_rows: 0,
            n_bytes: 0,
            broken: Vec::new(),
            rows_before: 0,
        }
    }

    /// Rows of the file that are done, broken ones included.
    pub(crate) fn rows_done(&self) -> u64 {
        self.rows_before + (self.n_rows + self.broken.len()) as u64
    }

    pub(crate) fn column(&mut self, i: usize) -> &mut ColumnBuilder {
        &mut self.columns[i]
    }

    /// Ends a row of `n_bytes`; columns that got no value are null there.
    pub(crate) fn end_row(&mut self, n_bytes: usize) {
        self.n_rows += 1;
        self.n_bytes += n_bytes;
        self.columns.iter_mut().for_each(ColumnBuilder::end_row);
    }

    /// The row cannot be read; none of its values was pushed.
    pub(crate) fn break_row(&mut self, n_bytes: usize, what: &str) {
        self.n_bytes += n_bytes;
        let row = self.rows_done() + 1;
        let what = format!("row {row}: {what}");
        self.broken.push(BrokenRow { row, what });
    }

    fn is_full(&self) -> bool {
        self.n_rows + self.broken.len() >= BLOCK_ROWS || self.n_bytes >= BLOCK_BYTES
    }

    /// What was gathered, `None` where nothing was; the next block begins.
    fn finish(&mut self, bytes_read: u64) -> Option<RawBlock> {
        let first_row = self.rows_before + 1;
        self.rows_before = self.rows_done();
        let block = Block {
            n_rows: std::mem::take(&mut self.n_rows),
            columns: self.columns.iter_mut().map(ColumnBuilder::finish).collect(),
        };
        self.n_bytes = 0;
        let broken = std::mem::take(&mut self.broken);
        (block.n_rows + broken.len() > 0).then_some(RawBlock {
            block,
            first_row,
            broken,
            bytes_read,
        })
    }
}

/// A column in the making. Its type is that of its values: whole numbers, floating-point numbers
/// where one of them is, texts where one of them is (or where a number would lose digits).
pub(crate) struct ColumnBuilder {
    name: String,
    /// Whether the column was in some row of the file.
    seen: bool,
    values: Option<Values>,
    n_values: u32,
    /// Where the values of each row end; a row without is null.
    ends: Vec<u32>,
    has_nulls: bool,
    is_list: bool,
    /// Rows that are empty lists, or not yet ended.
    empty_lists: Vec<usize>,
}

/// Whole numbers up to here are floating-point numbers too.
const EXACT: u64 = 1 << 53;

impl ColumnBuilder {
    fn new(name: &str) -> ColumnBuilder {
        ColumnBuilder {
            name: name.to_owned(),
            seen: false,
            values: None,
            n_values: 0,
            ends: Vec::with_capacity(BLOCK_ROWS),
            has_nulls: false,
            is_list: false,
            empty_lists: Vec::new(),
        }
    }

    /// The row has this column, if only as a null.
    pub(crate) fn see(&mut self) {
        self.seen = true;
    }

    /// The row holds a list of `n_items`, which follow.
    pub(crate) fn begin_list(&mut self, n_items: usize) {
        self.seen = true;
        self.is_list = true;
        if n_items == 0 {
            self.empty_lists.push(self.ends.len());
        }
    }

    pub(crate) fn push_int(&mut self, x: i64) {
        self.count();
        match self.values.get_or_insert_with(|| Values::Int(Vec::new())) {
            Values::Int(numbers) => numbers.push(x),
            Values::Float(numbers) if x.unsigned_abs() <= EXACT => numbers.push(x as f64),
            _ => self.push_as_text(&Values::Int(vec![x])),
        }
    }

    pub(crate) fn push_float(&mut self, x: f64) {
        self.count();
        if let Some(Values::Int(numbers)) = &self.values
            && numbers.iter().all(|x| x.unsigned_abs() <= EXACT)
        {
            let floats = numbers.iter().map(|&x| x as f64);
            self.values = Some(Values::Float(floats.collect()));
        }
        match self.values.get_or_insert_with(|| Values::Float(Vec::new())) {
            Values::Float(numbers) => numbers.push(x),
            _ => self.push_as_text(&Values::Float(vec![x])),
        }
    }

    pub(crate) fn push_text(&mut self, text: &[u8]) {
        self.count();
        self.texts().push(text);
    }

    fn count(&mut self) {
        self.seen = true;
        self.n_values += 1;
    }

    fn push_as_text(&mut self, value: &Values) {
        let mut buffer = TextBuffer::default();
        self.texts().push(buffer.text(value, 0));
    }

    /// The values as texts, now and from now on.
    fn texts(&mut self) -> &mut Texts {
        if !matches!(self.values, Some(Values::Text(_))) {
            let mut texts = Texts::default();
            let mut buffer = TextBuffer::default();
            if let Some(values) = &self.values {
                (0..count(values)).for_each(|i| texts.push(buffer.text(values, i)));
            }
            self.values = Some(Values::Text(texts));
        }
        match &mut self.values {
            Some(Values::Text(texts)) => texts,
            _ => unreachable!("they were just made texts"),
        }
    }

    fn end_row(&mut self) {
        let start = self.ends.last().copied().unwrap_or(0);
        self.has_nulls |= start == self.n_values;
        self.ends.push(self.n_values);
    }

    fn finish(&mut self) -> Column {
        let ends = std::mem::replace(&mut self.ends, Vec::with_capacity(BLOCK_ROWS));
        let mut nulls = Vec::new();
        if self.has_nulls {
            let starts = std::iter::once(0).chain(ends.iter().copied());
            nulls = starts
                .zip(&ends)
                .map(|(start, &end)| start == end)
                .collect();
            self.empty_lists.iter().for_each(|&row| nulls[row] = false);
        }
        let values = self.values.take().unwrap_or_default();
        let is_list = std::mem::take(&mut self.is_list);
        let (values, offsets) = match is_list {
            true => (values, Some([&[0], &ends[..]].concat())),
            false if self.has_nulls => (spread(&values, &nulls), None),
            false => (values, None),
        };
        self.has_nulls = false;
        self.n_values = 0;
        self.empty_lists.clear();
        Column {
            name: self.name.clone(),
            values,
            offsets,
            nulls,
        }
    }
}

/// One value a row, where the nulls had none.
pub(crate) fn spread(values: &Values, nulls: &[bool]) -> Values {
    let mut next = 0..count(values);
    let places = nulls
        .iter()
        .map(|&null| if null { None } else { next.next() });
    match values {
        Values::Int(numbers) => Values::Int(places.map(|i| i.map_or(0, |i| numbers[i])).collect()),
        Values::Float(numbers) => {
            Values::Float(places.map(|i| i.map_or(0.0, |i| numbers[i])).collect())
        }
        Values::Text(texts) => {
            let mut spread = Texts::default();
            places.for_each(|i| spread.push(i.map_or(&b""[..], |i| texts.get(i))));
            Values::Text(spread)
        }
    }
}

fn count(values: &Values) -> usize {
    match values {
        Values::Int(numbers) => numbers.len(),
        Values::Float(numbers) => numbers.len(),
        Values::Text(texts) => texts.len(),
    }
}

/// The number that has the shortest decimal text of `x`: 0.1 for 0.1f32, so that a number has the
/// same text whether a file holds it in 32 bits, in 64, or in decimal.
pub(crate) fn widen(x: f32) -> f64 {
    if x.trunc() == x || !x.is_finite() {
        return f64::from(x);
    }
    let text = x.to_string();
    text.parse().unwrap_or(f64::from(x))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(push: impl Fn(&mut ColumnBuilder, usize), n_rows: usize) -> Column {
        let mut rows = RowsBuilder::new(&["x".to_owned()]);
        for row in 0..n_rows {
            push(rows.column(0), row);
            rows.end_row(1);
        }
        rows.finish(0).unwrap().block.columns.remove(0)
    }

    fn texts(items: &[&str]) -> Values {
        let mut texts = Texts::default();
        items.iter().for_each(|item| texts.push(item.as_bytes()));
        Values::Text(texts)
    }

    #[test]
    fn the_type_is_that_of_the_values() {
        let column = built(|x, row| x.push_int(row as i64), 2);
        assert_eq!(column.values, Values::Int(vec![0, 1]));
        let column = built(
            |x, row| {
                if row == 1 {
                    x.push_float(0.5)
                } else {
                    x.push_int(7)
                }
            },
            3,
        );
        assert_eq!(column.values, Values::Float(vec![7.0, 0.5, 7.0]));
        let mixed = |x: &mut ColumnBuilder, row| match row {
            0 => x.push_int(7),
            1 => x.push_float(0.5),
            2 => x.push_text(b"a"),
            _ => x.push_float(2.0),
        };
        assert_eq!(built(mixed, 4).values, texts(&["7", "0.5", "a", "2"]));
        let digits = |x: &mut ColumnBuilder, row| match row {
            0 => x.push_int(9_007_199_254_740_993),
            _ => x.push_float(0.5),
        };
        assert_eq!(built(digits, 2).values, texts(&["9007199254740993", "0.5"]));
    }

    #[test]
    fn nulls_and_lists_keep_their_rows() {
        let column = built(
            |x, row| {
                if row != 1 {
                    x.push_int(row as i64)
                }
            },
            3,
        );
        assert_eq!(
            (column.values, column.offsets),
            (Values::Int(vec![0, 0, 2]), None)
        );
        assert_eq!(column.nulls, [false, true, false]);
        let list = |x: &mut ColumnBuilder, row| match row {
            0 => x.push_int(5),
            1 => x.begin_list(0),
            2 => {}
            _ => {
                x.begin_list(2);
                x.push_int(6);
                x.push_int(7);
            }
        };
        let column = built(list, 4);
        assert_eq!(column.values, Values::Int(vec![5, 6, 7]));
        assert_eq!(column.offsets, Some(vec![0, 1, 1, 1, 3]));
        assert_eq!(column.nulls, [false, false, true, false]);
    }

    #[test]
    fn a_short_number_keeps_its_text() {
        assert_eq!(widen(0.1), 0.1);
        assert_eq!(widen(-20.08), -20.08);
        assert_eq!(widen(16_777_216.0), 16_777_216.0);
        assert!(widen(f32::NAN).is_nan());
    }
}
