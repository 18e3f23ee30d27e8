//! Raw rows as they come from a log, by column: what readers produce and the encoder consumes.

/// Some rows of a log, in file order, one [`Column`] for each column that was asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Block {
    /// Number of rows.
    pub n_rows: usize,
    /// The columns, in the order in which they were asked for.
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
    /// Where each row's list starts; `None` for one value a row.
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
    /// Whole numbers, and booleans as 0 and 1.
    Int(Vec<i64>),
    /// Floating-point numbers. NaN is a value, not a null.
    Float(Vec<f64>),
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
    ends: Vec<u32>,
}

impl Texts {
    /// Appends a text.
    pub fn push(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(text);
        self.ends
            .push(u32::try_from(self.bytes.len()).expect("a block holds under 4 GiB of text"));
    }

    /// The bytes of text `i`, as the file holds them (not necessarily valid UTF-8).
    pub fn get(&self, i: usize) -> &[u8] {
        let start = if i == 0 { 0 } else { self.ends[i - 1] as usize };
        &self.bytes[start..self.ends[i] as usize]
    }

    /// Number of texts.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
}

impl Column {
    /// Whether row `row` holds no value.
    pub fn is_null(&self, row: usize) -> bool {
        self.nulls.get(row).copied().unwrap_or(false)
    }

    /// The range of values that row `row` holds.
    pub fn range(&self, row: usize) -> std::ops::Range<usize> {
        match &self.offsets {
            Some(offsets) => offsets[row] as usize..offsets[row + 1] as usize,
            None if self.is_null(row) => row..row,
            None => row..row + 1,
        }
    }
}

impl Block {
    /// The column of this name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }
}
