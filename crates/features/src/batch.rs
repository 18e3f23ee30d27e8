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
    /// `truths[task][row]`: the true probability in a synthetic log; empty otherwise.
    pub truths: Vec<Vec<f32>>,
    /// One for each task; empty where no task has [`crate::RowRules`].
    pub terms: Vec<RowTerms>,
    /// The hashed value of the group column of each row, [`NO_GROUP`] where it has none; empty without such a
    /// column.
    pub groups: Vec<u64>,
}

/// Numbers of each row that a task's loss and metrics use beside its label.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RowTerms {
    /// The weight of each row, above 0 where its label is known; empty: every row counts once.
    pub weights: Vec<f32>,
    /// The share of rows of label 0 that was kept of rows like this one, in (0, 1]; empty: all were.
    pub negative_rates: Vec<f32>,
    /// Time from click to conversion, in attribution windows; NaN without a conversion. Empty: labels are not late.
    pub delays: Vec<f32>,
    /// Time from click to the moment at which training looks, in attribution windows; NaN where no label is known, but
    /// for rows after an earlier training ([`crate::LateRules::since`]).
    pub ages: Vec<f32>,
    /// The chance that a conversion is known at that moment, if there is one; NaN where no label is known.
    pub known_shares: Vec<f32>,
}

static NO_TERMS: RowTerms = RowTerms {
    weights: Vec::new(),
    negative_rates: Vec::new(),
    delays: Vec::new(),
    ages: Vec::new(),
    known_shares: Vec::new(),
};

impl RowTerms {
    /// Number of columns that rows may have.
    pub const COLUMNS: usize = 5;

    /// Returns the columns, each empty or of one number a row.
    pub fn columns(&self) -> [&Vec<f32>; RowTerms::COLUMNS] {
        [
            &self.weights,
            &self.negative_rates,
            &self.delays,
            &self.ages,
            &self.known_shares,
        ]
    }

    /// Returns the columns for changing them.
    pub fn columns_mut(&mut self) -> [&mut Vec<f32>; RowTerms::COLUMNS] {
        [
            &mut self.weights,
            &mut self.negative_rates,
            &mut self.delays,
            &mut self.ages,
            &mut self.known_shares,
        ]
    }

    /// Returns the weight of a row in the loss.
    pub fn weight(&self, row: usize) -> f64 {
        self.weights.get(row).map_or(1.0, |&weight| weight.into())
    }

    /// Returns what the loss adds to the logit of a row: `-ln w` where the share `w` of the rows of label 0 was kept.
    ///
    /// Among the kept rows the odds of label 1 are `1 / w` times as high as among all. So the loss of the shifted logit
    /// is that of the kept rows, and the logit itself predicts for all rows (docs/decisions/0067).
    pub fn offset(&self, row: usize) -> f64 {
        let rate = self.negative_rates.get(row);
        rate.map_or(0.0, |&rate| -f64::from(rate).ln())
    }

    /// Returns the weight of a row of this label in metrics: a row of label 0 stands for those that were left out.
    pub fn weight_among_all(&self, row: usize, label: f32) -> f64 {
        let rate = self.negative_rates.get(row).filter(|_| label <= 0.5);
        self.weight(row) / rate.map_or(1.0, |&rate| rate.into())
    }

    /// Returns true if rows may count other than once in metrics.
    pub fn weigh(&self) -> bool {
        !(self.weights.is_empty() && self.negative_rates.is_empty())
    }

    /// Returns true if every row counts once in metrics.
    pub fn are_plain(&self) -> bool {
        let are_ones = |numbers: &[f32]| numbers.iter().all(|number| *number == 1.0);
        are_ones(&self.weights) && are_ones(&self.negative_rates)
    }

    fn push_row(&mut self, other: &RowTerms, row: usize) {
        let columns = self.columns_mut().into_iter().zip(other.columns());
        columns.for_each(|(mine, theirs)| mine.extend(theirs.get(row)));
    }

    fn gather(&mut self, sources: &[&RowTerms], picks: &[Pick]) {
        for (c, mine) in self.columns_mut().into_iter().enumerate() {
            let theirs = sources.iter().map(|source| source.columns()[c]);
            gather_values(mine, theirs, picks);
        }
    }
}

/// The group of rows that have none, XXH3 of the empty text: they are no group of their own.
pub const NO_GROUP: u64 = 0x2D06_8005_38D3_94C2;

/// The ids of one field, row by row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FieldIds {
    /// Table rows.
    pub ids: Vec<u32>,
    /// For lists and scaled numbers: `n_rows + 1` offsets into `ids`. Empty: one id a row.
    pub offsets: Vec<u32>,
    /// For scaled numbers: the factor of each id's vector. Empty: all 1.
    pub weights: Vec<f32>,
    /// Row of each number that was clipped to its table's range, ascending. Only the encoder fills this in;
    /// it is empty after rows are gathered, selected or cached.
    pub clipped: Vec<u32>,
    /// For fields that enter the first layer directly ([`crate::Piecewise`], [`crate::Vector`]): `width` numbers a
    /// row, and no ids.
    pub numbers: Vec<f32>,
    /// Numbers of each row in `numbers`; 0 for fields with ids.
    pub width: usize,
}

/// A row of one of several batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pick {
    /// Index of the batch.
    pub source: u32,
    /// Index of the row in the batch.
    pub row: u32,
}

impl Pick {
    /// Selects row `row` of batch `source`.
    pub fn new(source: usize, row: usize) -> Pick {
        Pick {
            source: source as u32,
            row: row as u32,
        }
    }
}

impl FieldIds {
    /// Returns the ids of no row of a field that enters the first layer by `width` numbers a row.
    pub fn of_numbers(width: usize) -> FieldIds {
        FieldIds {
            width,
            ..FieldIds::default()
        }
    }

    /// Returns the numbers of `row`: `width` of them, or none where the field has ids.
    pub fn numbers_of(&self, row: usize) -> &[f32] {
        let range = row * self.width..(row + 1) * self.width;
        self.numbers.get(range).unwrap_or_default()
    }

    /// Returns the range of `ids` that belongs to `row`.
    pub fn range(&self, row: usize) -> std::ops::Range<usize> {
        if self.width > 0 {
            0..0
        } else if self.offsets.is_empty() {
            row..row + 1
        } else {
            self.offsets[row] as usize..self.offsets[row + 1] as usize
        }
    }

    /// Appends the ids of `row` of `other`, a field of the same layout.
    pub fn push_row(&mut self, other: &FieldIds, row: usize) {
        if other.width > 0 {
            self.width = other.width;
            return self.numbers.extend_from_slice(other.numbers_of(row));
        }
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

    fn gather(&mut self, sources: &[&FieldIds], picks: &[Pick]) {
        let width = sources.iter().map(|source| source.width).max();
        if let Some(width @ 1..) = width {
            self.numbers.reserve(picks.len() * width);
        } else if sources.iter().all(|source| source.offsets.is_empty()) {
            return gather_values(
                &mut self.ids,
                sources.iter().map(|source| &source.ids),
                picks,
            );
        } else {
            self.offsets.reserve(picks.len() + 1);
        }
        for pick in picks {
            self.push_row(sources[pick.source as usize], pick.row as usize);
        }
    }
}

/// Appends the picked values; nothing where the sources hold none.
fn gather_values<'a, T: Copy + 'a>(
    values: &mut Vec<T>,
    sources: impl Iterator<Item = &'a Vec<T>>,
    picks: &[Pick],
) {
    let sources: Vec<&[T]> = sources.map(Vec::as_slice).collect();
    if sources.iter().any(|source| !source.is_empty()) {
        let value = |pick: &Pick| sources[pick.source as usize][pick.row as usize];
        values.extend(picks.iter().map(value));
    }
}

impl Batch {
    /// Returns an empty batch with the layout of `like`.
    pub fn empty_like(like: &Batch) -> Batch {
        let field = |f: &FieldIds| FieldIds {
            offsets: if f.offsets.is_empty() {
                Vec::new()
            } else {
                vec![0]
            },
            width: f.width,
            ..FieldIds::default()
        };
        Batch {
            n_rows: 0,
            fields: like.fields.iter().map(field).collect(),
            labels: vec![Vec::new(); like.labels.len()],
            truths: vec![Vec::new(); like.truths.len()],
            terms: vec![RowTerms::default(); like.terms.len()],
            groups: Vec::new(),
        }
    }

    /// Returns what a task's loss and metrics use of each row beside its label.
    pub fn terms(&self, task: usize) -> &RowTerms {
        self.terms.get(task).unwrap_or(&NO_TERMS)
    }

    /// Appends `row` of `other`, a batch of the same layout.
    pub fn push_row(&mut self, other: &Batch, row: usize) {
        self.n_rows += 1;
        for (field, theirs) in self.fields.iter_mut().zip(&other.fields) {
            field.push_row(theirs, row);
        }
        for (mine, theirs) in self.labels.iter_mut().zip(&other.labels) {
            mine.extend(theirs.get(row));
        }
        for (mine, theirs) in self.truths.iter_mut().zip(&other.truths) {
            mine.extend(theirs.get(row));
        }
        for (mine, theirs) in self.terms.iter_mut().zip(&other.terms) {
            mine.push_row(theirs, row);
        }
        self.groups.extend(other.groups.get(row));
    }

    /// Returns the rows `rows` of this batch, in that order.
    pub fn select(&self, rows: &[usize]) -> Batch {
        let mut selected = Batch::empty_like(self);
        let picks: Vec<Pick> = rows.iter().map(|&row| Pick::new(0, row)).collect();
        selected.gather(std::slice::from_ref(self), &picks);
        selected
    }

    /// Appends the picked rows of `sources`, batches of the same layout, in that order: the fast way
    /// to many rows.
    pub fn gather(&mut self, sources: &[Batch], picks: &[Pick]) {
        self.n_rows += picks.len();
        for (f, field) in self.fields.iter_mut().enumerate() {
            let theirs: Vec<&FieldIds> = sources.iter().map(|source| &source.fields[f]).collect();
            field.gather(&theirs, picks);
        }
        for (t, labels) in self.labels.iter_mut().enumerate() {
            gather_values(
                labels,
                sources.iter().map(|source| &source.labels[t]),
                picks,
            );
        }
        for (t, truths) in self.truths.iter_mut().enumerate() {
            gather_values(
                truths,
                sources.iter().map(|source| &source.truths[t]),
                picks,
            );
        }
        for (t, terms) in self.terms.iter_mut().enumerate() {
            let theirs: Vec<&RowTerms> = sources.iter().map(|source| source.terms(t)).collect();
            terms.gather(&theirs, picks);
        }
        gather_values(
            &mut self.groups,
            sources.iter().map(|source| &source.groups),
            picks,
        );
    }

    /// Returns the least number of bytes that hold these rows.
    pub fn n_bytes(&self) -> usize {
        let fields = self
            .fields
            .iter()
            .map(|f| f.ids.len() + f.offsets.len() + f.weights.len() + f.numbers.len());
        let terms = self.terms.iter().flat_map(RowTerms::columns);
        let floats = self.labels.iter().chain(&self.truths).chain(terms);
        let floats = floats.map(Vec::len);
        4 * fields.chain(floats).sum::<usize>() + 8 * self.groups.len()
    }
}
