//! Past counts for training rows: counts by key and block of rows, gathered in one pass.

use super::cells::{Cells, Known, OF_ROWS};
use super::past::{PastRates, RateNote};
use super::{Keys, Measure, RatesPlan, rates_of};
use crate::batch::Batch;
use crate::schema::{IdSpace, Schema, Task};
use std::collections::HashMap;

/// Maximum number of cells (one for each key and block) that all histories together keep, about 70 bytes each. Where
/// they would be more, blocks are joined two by two.
const MOST_CELLS: usize = 4_000_000;

/// The fewest blocks that are left by joining.
const FEWEST_BLOCKS: usize = 4;

/// Blocks that rows can be in: one more may precede them.
const MOST_BLOCKS: usize = 255;

/// `RatesPlan::Auto` looks at columns of more values: the rows of fewer learn their rates themselves.
const MANY_VALUES: usize = 100;

/// Gathers counts of training rows for all rates of a plan.
#[derive(Debug)]
pub struct Histories {
    all: Vec<History>,
    /// True if only rates that predict labels are kept.
    is_auto: bool,
}

/// Counts of one column or pair.
#[derive(Debug)]
pub(super) struct History {
    pub(super) of: Vec<usize>,
    pub(super) tasks: Vec<usize>,
    pub(super) keys: Keys,
    /// Offset in `numbers` at which the counts of a key and block begin.
    cells: HashMap<(u64, u8), usize>,
    /// Rows, then known and positive labels of each task.
    numbers: Vec<u32>,
    /// Block `b` of the rows is block `b >> joined` of this history.
    pub(super) joined: u32,
    /// Cells that it may keep.
    most_cells: usize,
    /// Blocks of the rows.
    n_blocks: usize,
    /// Blocks before those of the rows: one if the counts of an earlier model precede them.
    pub(super) before: u8,
    /// Rows that were not counted, since there are too many keys.
    pub(super) left_out: u64,
}

impl Histories {
    /// Creates empty histories. Rows are assigned to one of `n_blocks` blocks, at most 255, and use the
    /// counts of earlier blocks. `schema` is fitted, except for the rates.
    pub fn new(schema: &Schema, plan: &RatesPlan, n_blocks: usize) -> Histories {
        let n_blocks = n_blocks.clamp(1, MOST_BLOCKS);
        let is_binary = |task: &Task| task.objective.is_binary();
        let tasks = schema.tasks.iter().enumerate();
        let binary: Vec<usize> = tasks
            .filter(|(_, t)| is_binary(t))
            .map(|(t, _)| t)
            .collect();
        let mut all: Vec<History> = match plan {
            RatesPlan::None => Vec::new(),
            RatesPlan::These(rates) => {
                let history = |rate: &super::RatePlan| History::new(schema, &rate.of, &rate.tasks);
                rates.iter().map(history).collect()
            }
            RatesPlan::Auto => {
                let fields = (0..schema.fields.len()).filter(|&f| has_many_values(schema, f));
                fields
                    .map(|f| History::new(schema, &[f], &binary))
                    .collect()
            }
        };
        let most_cells = MOST_CELLS / all.len().max(1);
        for history in &mut all {
            (history.n_blocks, history.most_cells) = (n_blocks, most_cells);
        }
        Histories {
            all,
            is_auto: *plan == RatesPlan::Auto,
        }
    }

    /// Creates empty histories like [`Histories::new`], for the rates of `base`, whose scales are kept.
    pub fn extending(schema: &Schema, base: &Schema, n_blocks: usize) -> Histories {
        let rates = rates_of(base);
        Histories::new(schema, &RatesPlan::These(rates), n_blocks)
    }

    /// Has the counts of an earlier model of the schema `earlier` precede all blocks.
    pub fn continue_from(&mut self, earlier: &Schema) {
        for history in &mut self.all {
            history.continue_from(earlier);
        }
    }

    /// Returns true if there is nothing to gather.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Counts the rows `rows` of a batch, which are training rows; `blocks` are those of all rows of the batch.
    pub fn observe(&mut self, batch: &Batch, rows: &[usize], blocks: &[u8]) {
        for history in &mut self.all {
            for &row in rows {
                history.observe(batch, row, blocks[row]);
            }
        }
    }

    /// Returns the schema with the counts and rates as its last fields, the past counts of training rows, and
    /// notes. `base` provides the scales if a schema is extended.
    pub fn finish(
        self,
        mut schema: Schema,
        base: Option<&Schema>,
    ) -> (Schema, PastRates, Vec<RateNote>) {
        let is_auto = self.is_auto;
        let mut past = PastRates::default();
        let mut notes = Vec::new();
        for history in self.all {
            notes.extend(past.add(&mut schema, history.into_cells(), is_auto, base));
        }
        (schema, past, notes)
    }
}

/// Returns true if a field is categorical, with a single value per row and many distinct values.
fn has_many_values(schema: &Schema, field: usize) -> bool {
    let field = &schema.fields[field];
    let n_values = match &schema.tables[field.table].ids {
        IdSpace::Hash { buckets, .. } => *buckets as usize,
        IdSpace::Vocabulary { values } => values.len(),
        _ => 0,
    };
    field.pooling.is_none() && n_values > MANY_VALUES
}

impl History {
    fn new(schema: &Schema, of: &[usize], tasks: &[usize]) -> History {
        History {
            of: of.to_vec(),
            tasks: tasks.to_vec(),
            keys: Keys::new(schema, of),
            cells: HashMap::new(),
            numbers: Vec::new(),
            joined: 0,
            most_cells: MOST_CELLS,
            n_blocks: 1,
            before: 0,
            left_out: 0,
        }
    }

    /// Returns the number of blocks that cells can be of.
    pub(super) fn n_blocks(&self) -> usize {
        usize::from(self.before) + ((self.n_blocks - 1) >> self.joined) + 1
    }

    /// Has an earlier model's counts of the same columns precede the blocks of the rows.
    fn continue_from(&mut self, earlier: &Schema) {
        self.before = 1;
        for rate in earlier.tables.iter().filter_map(|table| table.ids.rate()) {
            let place = match rate.measure {
                Measure::Rows { .. } => Some(0),
                Measure::Task { task, .. } => {
                    let place = self.tasks.iter().position(|own| *own == task);
                    place.map(|place| OF_ROWS + 2 * place)
                }
            };
            let Some(place) = place.filter(|_| rate.of == self.of) else {
                continue;
            };
            for (key, (known, positives)) in rate.counts.iter() {
                let at = self.insert((key, 0));
                self.numbers[at + place] = known;
                if place > 0 {
                    self.numbers[at + place + 1] = positives;
                }
            }
        }
    }

    /// Returns where the numbers of a cell begin; a new cell has zeros.
    fn insert(&mut self, cell: (u64, u8)) -> usize {
        let (stride, end) = (self.stride(), self.numbers.len());
        let at = *self.cells.entry(cell).or_insert(end);
        if at == end {
            self.numbers.resize(end + stride, 0);
        }
        at
    }

    /// Joins blocks two by two; returns false if there are too few for it.
    fn join_blocks(&mut self) -> bool {
        if (self.n_blocks >> (self.joined + 1)) < FEWEST_BLOCKS {
            return false;
        }
        self.joined += 1;
        let cells = std::mem::take(&mut self.cells);
        let numbers = std::mem::take(&mut self.numbers);
        let (stride, before) = (self.stride(), self.before);
        for ((key, block), from) in cells {
            let block = match block.checked_sub(before) {
                Some(block) => before + (block >> 1),
                None => block,
            };
            let at = self.insert((key, block));
            for (sum, n) in self.numbers[at..at + stride]
                .iter_mut()
                .zip(&numbers[from..])
            {
                *sum = sum.saturating_add(*n);
            }
        }
        true
    }

    /// Numbers of a cell.
    pub(super) fn stride(&self) -> usize {
        OF_ROWS + 2 * self.tasks.len()
    }

    fn observe(&mut self, batch: &Batch, row: usize, block: u8) {
        let Some(key) = self.keys.of_row(batch, &self.of, row) else {
            return;
        };
        let at = loop {
            let cell = (key, self.before + (block >> self.joined));
            if self.cells.len() < self.most_cells || self.cells.contains_key(&cell) {
                break self.insert(cell);
            }
            if !self.join_blocks() {
                self.left_out += 1;
                return;
            }
        };
        let stride = self.stride();
        let numbers = &mut self.numbers[at..at + stride];
        numbers[0] += 1;
        for (pair, &task) in numbers[OF_ROWS..].chunks_exact_mut(2).zip(&self.tasks) {
            let label = batch.labels[task][row];
            if !label.is_nan() {
                pair[0] += 1;
                pair[1] += u32::from(label > 0.5);
            }
        }
    }

    /// Sorts what was gathered and adds up what comes before.
    fn into_cells(self) -> Cells {
        let (stride, n_blocks) = (self.stride(), self.n_blocks());
        let mut known = Known {
            of: self.of.clone(),
            keys: self.keys.clone(),
            cells: Vec::new(),
            before: Vec::new(),
            stride,
            n_before: self.before,
            joined: self.joined,
        };
        let mut own = Vec::new();
        let mut sums = vec![0; stride];
        let mut last = None;
        for ((key, block), numbers) in self.sorted() {
            if last.replace(key) != Some(key) {
                sums.fill(0);
            }
            known.cells.push((key, block));
            known.before.extend_from_slice(&sums);
            own.extend_from_slice(numbers);
            for (sum, n) in sums.iter_mut().zip(numbers) {
                *sum = sum.saturating_add(*n);
            }
        }
        Cells {
            known,
            left_out: self.left_out,
            tasks: self.tasks,
            own,
            n_blocks,
        }
    }

    /// Returns all cells with their numbers, by key and block.
    pub(super) fn sorted(&self) -> Vec<((u64, u8), &[u32])> {
        let stride = self.stride();
        let cells = self.cells.iter();
        let mut cells: Vec<_> = cells
            .map(|(&cell, &at)| (cell, &self.numbers[at..at + stride]))
            .collect();
        cells.sort_unstable_by_key(|(cell, _)| *cell);
        cells
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(most_cells: usize, n_blocks: usize) -> History {
        History {
            of: vec![0],
            tasks: vec![0],
            keys: Keys {
                unknown: vec![None],
            },
            cells: HashMap::new(),
            numbers: Vec::new(),
            joined: 0,
            most_cells,
            n_blocks,
            before: 0,
            left_out: 0,
        }
    }

    /// One row of a key, clicked.
    fn row(key: u32) -> Batch {
        let mut batch = Batch {
            n_rows: 1,
            labels: vec![vec![1.0]],
            ..Batch::default()
        };
        batch.fields.push(crate::batch::FieldIds {
            ids: vec![key],
            ..Default::default()
        });
        batch
    }

    #[test]
    fn blocks_are_joined_where_cells_are_too_many_and_nothing_is_lost() {
        let mut history = history(20, 32);
        for block in 0..32 {
            for key in 1..=4 {
                history.observe(&row(key), 0, block);
            }
        }
        // 128 cells become 16: four blocks of eight.
        assert_eq!((history.joined, history.n_blocks()), (3, 4));
        assert_eq!(history.left_out, 0);
        let cells = history.sorted();
        assert_eq!(cells.len(), 16);
        assert!(cells.iter().all(|(_, numbers)| *numbers == [8, 8, 8]));
    }

    #[test]
    fn rows_of_more_values_than_fit_are_counted_as_left_out() {
        let mut history = history(5, 32);
        for key in 1..=9 {
            history.observe(&row(key), 0, 0);
        }
        assert_eq!((history.left_out, history.sorted().len()), (4, 5));
    }
}
