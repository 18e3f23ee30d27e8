//! Columns in the making, for formats and requests that come value by value.

use crate::block::{Column, Texts, Values};
use crate::value::TextBuffer;

/// A column in the making. Its type is that of its values: whole numbers, floating-point numbers
/// where one of them is, texts where one of them is (or where a number would lose digits).
#[derive(Debug)]
pub struct ColumnBuilder {
    name: String,
    /// True if some row of the file has the column.
    seen: bool,
    values: Option<Values>,
    n_values: u32,
    /// Offset at which the values of each row end; a row without values is null.
    ends: Vec<u32>,
    has_nulls: bool,
    is_list: bool,
    /// Rows that are empty lists, or not yet ended.
    empty_lists: Vec<usize>,
}

/// Largest whole number up to which every integer is exact in floating point.
const EXACT: u64 = 1 << 53;

impl ColumnBuilder {
    /// Returns a column without rows.
    pub fn new(name: &str) -> ColumnBuilder {
        ColumnBuilder {
            name: name.to_owned(),
            seen: false,
            values: None,
            n_values: 0,
            ends: Vec::new(),
            has_nulls: false,
            is_list: false,
            empty_lists: Vec::new(),
        }
    }

    /// Returns the column's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the memory size of the values of the current block in bytes.
    pub fn n_bytes(&self) -> usize {
        self.values.as_ref().map_or(0, Values::n_bytes) + 4 * self.ends.len()
    }

    /// Returns true if some row had this column, even if only as a null.
    pub fn is_seen(&self) -> bool {
        self.seen
    }

    /// Marks the column as present in the row, even if only as a null.
    pub fn see(&mut self) {
        self.seen = true;
    }

    /// Begins a list of `n_items`, which follow.
    pub fn begin_list(&mut self, n_items: usize) {
        self.seen = true;
        self.is_list = true;
        if n_items == 0 {
            self.empty_lists.push(self.ends.len());
        }
    }

    /// Adds a whole number.
    pub fn push_int(&mut self, x: i64) {
        self.count();
        match self.values.get_or_insert_with(|| Values::Int(Vec::new())) {
            Values::Int(numbers) => numbers.push(x),
            Values::Float(numbers) if x.unsigned_abs() <= EXACT => numbers.push(x as f64),
            _ => self.push_as_text(&Values::Int(vec![x])),
        }
    }

    /// Adds a floating-point number.
    pub fn push_float(&mut self, x: f64) {
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

    /// Adds a text.
    pub fn push_text(&mut self, text: &[u8]) {
        self.count();
        self.texts().push(text);
    }

    fn count(&mut self) {
        self.seen = true;
        self.n_values += 1;
    }

    fn push_as_text(&mut self, value: &Values) {
        let mut buffer = TextBuffer::default();
        self.texts().push(buffer.plain(value, 0));
    }

    /// Converts the values to texts, for this and all later values.
    fn texts(&mut self) -> &mut Texts {
        if !matches!(self.values, Some(Values::Text(_))) {
            let mut texts = Texts::default();
            let mut buffer = TextBuffer::default();
            if let Some(values) = &self.values {
                (0..values.len()).for_each(|i| texts.push(buffer.plain(values, i)));
            }
            self.values = Some(Values::Text(texts));
        }
        match &mut self.values {
            Some(Values::Text(texts)) => texts,
            _ => unreachable!("they were just made texts"),
        }
    }

    /// Ends the row; it is null if no value was added and no list was begun.
    pub fn end_row(&mut self) {
        let start = self.ends.last().copied().unwrap_or(0);
        self.has_nulls |= start == self.n_values;
        self.ends.push(self.n_values);
    }

    /// Returns the collected column and starts the next block.
    pub fn finish(&mut self) -> Column {
        let ends = std::mem::take(&mut self.ends);
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
        let (values, offsets) = if is_list {
            (values, Some([&[0], &ends[..]].concat()))
        } else if self.has_nulls {
            (spread(&values, &nulls), None)
        } else {
            (values, None)
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
pub fn spread(values: &Values, nulls: &[bool]) -> Values {
    let mut next = 0..values.len();
    let places = nulls
        .iter()
        .map(|&null| if null { None } else { next.next() });
    values.select_or_fill(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(push: impl Fn(&mut ColumnBuilder, usize), n_rows: usize) -> Column {
        let mut column = ColumnBuilder::new("x");
        for row in 0..n_rows {
            push(&mut column, row);
            column.end_row();
        }
        column.finish()
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
}
