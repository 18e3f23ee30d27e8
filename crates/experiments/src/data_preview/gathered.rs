//! Values of a feature in the previewed rows, as the encoder reads them.

use indexmap::IndexMap;
use ncs_features::canonical::{canonical, trimmed};
use ncs_features::value::{TextBuffer, each_number, each_text, number_of_text, shown_text};
use ncs_features::vector_reader::each_vector;
use ncs_features::{Block, Column, Field, IdSpacePlan, NumericPlan, Values};

use crate::column_auc::ColumnValues;

/// Maximum number of example values.
const EXAMPLES: usize = 3;

/// Maximum number of distinct whole texts that are kept to detect lists.
const MAX_TEXTS: usize = 5_000;

/// What the encoder reads of a feature.
#[derive(Clone, Copy)]
pub(super) enum Reads {
    /// Texts, as ids.
    Texts,
    /// Numbers.
    Numbers,
    /// Vectors of this length.
    Vectors(u32),
}

impl Reads {
    pub(super) fn of(ids: &IdSpacePlan) -> Reads {
        match ids {
            IdSpacePlan::Numeric(NumericPlan::Vector(vector)) => Reads::Vectors(vector.length),
            IdSpacePlan::Numeric(_) => Reads::Numbers,
            IdSpacePlan::Hash { .. }
            | IdSpacePlan::Vocabulary { .. }
            | IdSpacePlan::Cross(_)
            | IdSpacePlan::Time(_) => Reads::Texts,
        }
    }
}

/// Values of a feature in some rows.
pub(super) struct Gathered {
    /// Type of the values in the file: `text`, `integer`, `number` and the like.
    pub(super) holds: &'static str,
    /// True if the file has lists.
    pub(super) has_lists: bool,
    /// Number of rows without a value.
    pub(super) nulls: u64,
    /// Distinct values with their counts, in order of first occurrence.
    pub(super) counts: IndexMap<Box<[u8]>, u64>,
    /// Start of each row's values in `values`, plus the end of the last row.
    starts: Vec<u32>,
    /// Values as indices into `counts`.
    values: Vec<u32>,
    /// Number of each row of a numeric feature, NaN if it has none; empty for other features.
    pub(super) numbers: Vec<f64>,
    /// Floating-point numbers that are too large to keep the digits of an id, as texts with their counts; at
    /// most [`MAX_TEXTS`].
    pub(super) coarse: IndexMap<Box<[u8]>, u64>,
    /// Whole texts before splitting, with the number of their rows, if the file has texts.
    pub(super) texts: IndexMap<Box<[u8]>, u64>,
}

impl Gathered {
    pub(super) fn of<'a>(
        field: &Field,
        reads: Reads,
        blocks: impl Iterator<Item = &'a Block>,
    ) -> Gathered {
        let mut gathered = Gathered {
            holds: "",
            has_lists: false,
            nulls: 0,
            counts: IndexMap::new(),
            starts: vec![0],
            values: Vec::new(),
            numbers: Vec::new(),
            coarse: IndexMap::new(),
            texts: IndexMap::new(),
        };
        for block in blocks {
            if let Some(column) = block.column(&field.column) {
                gathered.add_file_values(column, block.n_rows);
            }
            // The rows have been encoded before, so that reading them cannot fail.
            let _ = match reads {
                Reads::Texts => gathered.add_texts(field, block),
                Reads::Numbers => gathered.add_numbers(field, block),
                Reads::Vectors(length) => gathered.add_vectors(field, length, block),
            };
        }
        gathered
    }

    fn add_file_values(&mut self, column: &Column, n_rows: usize) {
        self.has_lists |= column.offsets.is_some();
        self.holds = match &column.values {
            Values::Text(_) => "text",
            Values::Int(_) => "integer",
            Values::Float(_) => "number",
            Values::Time(_) => "time",
        };
        self.add_coarse(column, n_rows);
        let (Values::Text(texts), None) = (&column.values, &column.offsets) else {
            return;
        };
        for i in (0..n_rows).flat_map(|row| column.range(row)) {
            let text = texts.get(i).trim_ascii();
            if let Some(n) = self.texts.get_mut(text) {
                *n += 1;
            } else if !text.is_empty() && self.texts.len() < MAX_TEXTS {
                self.texts.insert(text.into(), 1);
            }
        }
    }

    fn add_coarse(&mut self, column: &Column, n_rows: usize) {
        let mut buffer = TextBuffer::default();
        for i in (0..n_rows).flat_map(|row| column.range(row)) {
            if !is_coarse(&column.values, i) {
                continue;
            }
            let text = buffer.text(&column.values, i);
            if let Some(n) = self.coarse.get_mut(text) {
                *n += 1;
            } else if self.coarse.len() < MAX_TEXTS {
                self.coarse.insert(text.into(), 1);
            }
        }
    }

    fn add_texts(&mut self, field: &Field, block: &Block) -> Result<(), ncs_features::EncodeError> {
        let first = self.n_rows();
        each_text(field, block, |row, text| {
            self.end_rows(first + row);
            if let Some(text) = text {
                self.add(text);
            }
        })?;
        self.end_rows(first + block.n_rows);
        Ok(())
    }

    fn add_numbers(
        &mut self,
        field: &Field,
        block: &Block,
    ) -> Result<(), ncs_features::EncodeError> {
        let first = self.n_rows();
        let mut buffer = TextBuffer::default();
        each_number(field, block, |row, number| {
            self.end_rows(first + row);
            self.numbers.push(number.unwrap_or(f64::NAN));
            if let Some(x) = number {
                self.add(buffer.text(&Values::Float(vec![x]), 0));
            }
        })?;
        self.end_rows(first + block.n_rows);
        Ok(())
    }

    /// Adds each vector as one value.
    fn add_vectors(
        &mut self,
        field: &Field,
        length: u32,
        block: &Block,
    ) -> Result<(), ncs_features::EncodeError> {
        let first = self.n_rows();
        each_vector(field, length, block, |row, numbers| {
            self.end_rows(first + row);
            if let Some(numbers) = numbers {
                self.add(format!("{numbers:?}").as_bytes());
            }
        })?;
        self.end_rows(first + block.n_rows);
        Ok(())
    }

    fn add(&mut self, text: &[u8]) {
        let index = match self.counts.get_full_mut(text) {
            Some((index, _, n)) => {
                *n += 1;
                index
            }
            None => self.counts.insert_full(text.into(), 1).0,
        };
        self.values.push(index as u32);
    }

    /// Ends rows until there are `n_rows` rows.
    fn end_rows(&mut self, n_rows: usize) {
        while self.n_rows() < n_rows {
            let end = self.values.len() as u32;
            self.nulls += u64::from(self.starts.last() == Some(&end));
            self.starts.push(end);
        }
    }

    pub(super) fn n_rows(&self) -> usize {
        self.starts.len() - 1
    }

    /// Returns the values of a row as indices into `counts`.
    pub(super) fn row(&self, row: usize) -> &[u32] {
        &self.values[self.starts[row] as usize..self.starts[row + 1] as usize]
    }

    /// Returns the number of values of all rows.
    pub(super) fn n_values(&self) -> usize {
        self.values.len()
    }

    /// Returns the most frequent values, ties by text.
    pub(super) fn examples(&self) -> Vec<String> {
        let mut values: Vec<(&[u8], u64)> = self.counts.iter().map(|(t, n)| (&**t, *n)).collect();
        values.sort_unstable_by(|(a, n_a), (b, n_b)| n_b.cmp(n_a).then_with(|| a.cmp(b)));
        let first = values.iter().take(EXAMPLES);
        first.map(|(text, _)| shown_text(text)).collect()
    }
}

/// Returns true if a value is a floating-point number of 2^53 or more, or its text as programs write it
/// (`1.2345678901234567e+19`): from there on, distinct integers become equal.
fn is_coarse(values: &Values, i: usize) -> bool {
    const DIGITS_END: f64 = 9_007_199_254_740_992.0; // 2^53
    let number = match values {
        Values::Float(numbers) => Some(numbers[i]),
        Values::Text(texts) => {
            let text = texts.get(i);
            let is_scientific = text.contains(&b'e') || text.contains(&b'E');
            let is_converted = || canonical(text, &mut Vec::new()) != trimmed(text);
            let number = (is_scientific && is_converted()).then(|| number_of_text(text));
            number.flatten()
        }
        Values::Int(_) | Values::Time(_) => None,
    };
    number.is_some_and(|x| x.is_finite() && x.abs() >= DIGITS_END)
}

impl ColumnValues for Gathered {
    fn n_values(&self) -> usize {
        self.counts.len()
    }

    fn values_of(&self, row: usize) -> &[u32] {
        self.row(row)
    }

    fn number_of(&self, row: usize) -> Option<f64> {
        let number = self.numbers.get(row).copied();
        number.filter(|x| !x.is_nan())
    }
}
