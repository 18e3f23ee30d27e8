//! Raw rows as they come from a log, by column: what readers produce and the encoder consumes.

use crate::time::Timestamp;

/// Rows of a log, in file order, with one [`Column`] for each requested column.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Block {
    /// Number of rows.
    pub n_rows: usize,
    /// Columns, in the requested order.
    pub columns: Vec<Column>,
}

/// One column of a [`Block`].
///
/// Without `offsets` it holds one value a row. With `offsets` (`n_rows + 1` of them) row `r` holds
/// the values `offsets[r]..offsets[r + 1]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Column {
    /// The column's name.
    pub name: String,
    /// The values, list items one after another.
    pub values: Values,
    /// Offset at which each row's list starts; `None` for one value per row.
    pub offsets: Option<Vec<u32>>,
    /// One flag a row: the row's value is null. Empty: none is. (The value at a null is arbitrary;
    /// a null list is an empty list.)
    pub nulls: Vec<bool>,
}

/// The values of a column, in the type in which the file holds them.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Texts, stored end to end.
    Text(Texts),
    /// Whole numbers, and booleans as 0 and 1. (Integers beyond 64 bits and long decimals are stored as
    /// texts, which keep all digits.)
    Int(Vec<i64>),
    /// Floating-point numbers. NaN is no value.
    Float(Vec<f64>),
    /// Dates and instants.
    Time(Vec<Timestamp>),
}

impl Values {
    /// Returns the memory size of the values in bytes.
    pub fn n_bytes(&self) -> usize {
        match self {
            Values::Text(texts) => texts.n_bytes(),
            Values::Int(numbers) => 8 * numbers.len(),
            Values::Float(numbers) => 8 * numbers.len(),
            Values::Time(times) => size_of_val(&times[..]),
        }
    }

    /// Returns the number of values.
    pub fn len(&self) -> usize {
        match self {
            Values::Text(texts) => texts.len(),
            Values::Int(numbers) => numbers.len(),
            Values::Float(numbers) => numbers.len(),
            Values::Time(times) => times.len(),
        }
    }

    /// Returns true if there are no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the values at these places, in that order.
    pub fn select(&self, places: impl Iterator<Item = usize>) -> Values {
        self.select_or_fill(places.map(Some))
    }

    /// Returns the values at these places, in that order: an empty text, 0 or the start of 1970 at `None`.
    pub fn select_or_fill(&self, places: impl Iterator<Item = Option<usize>>) -> Values {
        fn selected<T: Copy + Default>(
            values: &[T],
            places: impl Iterator<Item = Option<usize>>,
        ) -> Vec<T> {
            places
                .map(|i| i.map_or_else(T::default, |i| values[i]))
                .collect()
        }
        match self {
            Values::Int(numbers) => Values::Int(selected(numbers, places)),
            Values::Float(numbers) => Values::Float(selected(numbers, places)),
            Values::Time(times) => Values::Time(selected(times, places)),
            Values::Text(texts) => {
                let mut selected = Texts::default();
                places.for_each(|i| selected.push(i.map_or(&b""[..], |i| texts.get(i))));
                Values::Text(selected)
            }
        }
    }
}

impl Default for Values {
    fn default() -> Self {
        Values::Text(Texts::default())
    }
}

/// Texts stored end to end: `text(i)` is `bytes[ends[i - 1]..ends[i]]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Texts {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Texts {
    /// Appends a text.
    pub fn push(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(text);
        self.ends.push(self.bytes.len());
    }

    /// Returns the memory size of the texts in bytes.
    pub fn n_bytes(&self) -> usize {
        self.bytes.len() + size_of::<usize>() * self.ends.len()
    }

    /// Returns the bytes of text `i`, as the file holds them (not necessarily valid UTF-8).
    pub fn get(&self, i: usize) -> &[u8] {
        let start = if i == 0 { 0 } else { self.ends[i - 1] };
        &self.bytes[start..self.ends[i]]
    }

    /// Returns the index of the first text that is not UTF-8.
    pub fn not_utf8(&self) -> Option<usize> {
        // All of them at once: they are if they are end to end, and none ends inside a character.
        let whole = std::str::from_utf8(&self.bytes);
        let is_cut_well = |text: &str| {
            let mut ends = self.ends.iter();
            ends.all(|&end| text.is_char_boundary(end))
        };
        if whole.is_ok_and(is_cut_well) {
            None
        } else {
            (0..self.len()).find(|&i| std::str::from_utf8(self.get(i)).is_err())
        }
    }

    /// Returns the number of texts.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Returns true if there are no values.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
}

impl Column {
    /// Returns true if row `row` holds no value.
    pub fn is_null(&self, row: usize) -> bool {
        self.nulls.get(row).copied().unwrap_or(false)
    }

    /// Returns the rows `rows` of this column, in that order.
    pub fn select(&self, rows: &[usize]) -> Column {
        let nulls = rows
            .iter()
            .filter_map(|&row| self.nulls.get(row).copied())
            .collect();
        let Some(old) = &self.offsets else {
            return Column {
                name: self.name.clone(),
                values: self.values.select(rows.iter().copied()),
                offsets: None,
                nulls,
            };
        };
        let mut offsets = vec![0];
        let mut end = 0;
        for &row in rows {
            end += old[row + 1] - old[row];
            offsets.push(end);
        }
        Column {
            name: self.name.clone(),
            values: self
                .values
                .select(rows.iter().flat_map(|&row| self.range(row))),
            offsets: Some(offsets),
            nulls,
        }
    }

    /// Returns the first row, from 0, with a text that is not UTF-8.
    pub fn not_utf8(&self) -> Option<usize> {
        let Values::Text(texts) = &self.values else {
            return None;
        };
        let i = texts.not_utf8()?;
        Some(match &self.offsets {
            None => i,
            Some(offsets) => offsets.partition_point(|&start| start as usize <= i) - 1,
        })
    }

    /// Returns the range of values that row `row` holds.
    pub fn range(&self, row: usize) -> std::ops::Range<usize> {
        match &self.offsets {
            Some(offsets) => offsets[row] as usize..offsets[row + 1] as usize,
            None if self.is_null(row) => row..row,
            None => row..row + 1,
        }
    }
}

impl Block {
    /// Returns the memory size of the values in bytes.
    pub fn n_bytes(&self) -> usize {
        self.columns
            .iter()
            .map(|column| column.values.n_bytes())
            .sum()
    }

    /// Returns the column of this name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// Returns the rows `rows` of this block, in that order.
    pub fn select(&self, rows: &[usize]) -> Block {
        Block {
            n_rows: rows.len(),
            columns: self
                .columns
                .iter()
                .map(|column| column.select(rows))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selected_rows_keep_their_values() {
        let column = |values: &[i64], offsets: &[u32], nulls: &[bool]| Column {
            name: "x".into(),
            values: Values::Int(values.into()),
            offsets: (!offsets.is_empty()).then(|| offsets.into()),
            nulls: nulls.into(),
        };
        let check = |before: Column, after: Column| {
            let block = |n_rows, column| Block {
                n_rows,
                columns: vec![column],
            };
            assert_eq!(block(3, before).select(&[2, 0]), block(2, after));
        };
        check(column(&[7, 8, 9], &[], &[]), column(&[9, 7], &[], &[]));
        check(
            column(&[7, 8, 9], &[], &[true, false, false]),
            column(&[9, 7], &[], &[false, true]),
        );
        check(
            column(&[7, 8, 9], &[0, 1, 1, 3], &[]),
            column(&[8, 9, 7], &[0, 2, 3], &[]),
        );
    }
}
