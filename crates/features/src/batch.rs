//! Rows as the network sees them: ids, labels, groups.

/// A block of encoded rows. Made by the encoder, kept in the id cache, lent to one step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// Number of rows.
    pub n_rows: usize,
    /// One for each field of the schema, in its order.
    pub fields: Vec<FieldIds>,
    /// `labels[task][row]`; NaN where unknown (null, or outside the task's population).
    pub labels: Vec<Vec<f32>>,
    /// `truths[task][row]`: the true probability where the log is made up; empty otherwise.
    pub truths: Vec<Vec<f32>>,
    /// The hashed value of the group column of each row; empty without one.
    pub groups: Vec<u64>,
}

/// The ids of one field, row by row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FieldIds {
    /// Table rows.
    pub ids: Vec<u32>,
    /// For lists and scaled numbers: `n_rows + 1` offsets into `ids`. Empty: one id a row.
    pub offsets: Vec<u32>,
    /// For scaled numbers: the factor of each id's vector. Empty: all 1.
    pub weights: Vec<f32>,
}

impl FieldIds {
    /// The range of `ids` that belongs to `row`.
    pub fn range(&self, row: usize) -> std::ops::Range<usize> {
        if self.offsets.is_empty() {
            row..row + 1
        } else {
            self.offsets[row] as usize..self.offsets[row + 1] as usize
        }
    }

    /// Appends the ids of `row` of `other`, a field of the same layout.
    pub fn push_row(&mut self, other: &FieldIds, row: usize) {
        let range = other.range(row);
        self.ids.extend_from_slice(&other.ids[range.clone()]);
        if !other.weights.is_empty() {
            self.weights.extend_from_slice(&other.weights[range]);
        }
        if !other.offsets.is_empty() {
            if self.offsets.is_empty() {
                self.offsets.push(0);
            }
            self.offsets.push(self.ids.len() as u32);
        }
    }
}

impl Batch {
    /// An empty batch with the layout of `like`.
    pub fn empty_like(like: &Batch) -> Batch {
        let field = |f: &FieldIds| FieldIds {
            offsets: if f.offsets.is_empty() {
                Vec::new()
            } else {
                vec![0]
            },
            ..FieldIds::default()
        };
        Batch {
            n_rows: 0,
            fields: like.fields.iter().map(field).collect(),
            labels: vec![Vec::new(); like.labels.len()],
            truths: vec![Vec::new(); like.truths.len()],
            groups: Vec::new(),
        }
    }

    /// Appends `row` of `other`, a batch of the same layout.
    pub fn push_row(&mut self, other: &Batch, row: usize) {
        self.n_rows += 1;
        for (field, theirs) in self.fields.iter_mut().zip(&other.fields) {
            field.push_row(theirs, row);
        }
        for (mine, theirs) in self.labels.iter_mut().zip(&other.labels) {
            mine.push(theirs[row]);
        }
        for (mine, theirs) in self.truths.iter_mut().zip(&other.truths) {
            mine.extend(theirs.get(row));
        }
        self.groups.extend(other.groups.get(row));
    }

    /// The rows `rows` of this batch, in that order.
    pub fn select(&self, rows: &[usize]) -> Batch {
        let mut selected = Batch::empty_like(self);
        for &row in rows {
            selected.push_row(self, row);
        }
        selected
    }
}
