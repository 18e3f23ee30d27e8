//! Past counts for training rows: counts by key and block of rows, gathered in one pass.

use super::past::{Cells, PastRates, RateNote};
use super::{Keys, RatesPlan};
use crate::batch::Batch;
use crate::schema::{IdSpace, Schema, Task};
use std::collections::HashMap;

/// Maximum number of cells (one for each key and block) that are kept, about 50 bytes each.
const MOST_CELLS: usize = 4_000_000;

/// `RatesPlan::Auto` looks at columns of more values: the rows of fewer learn their rates themselves.
const MANY_VALUES: usize = 100;

/// Numbers of a cell that are not of a task: its rows.
pub(super) const OF_ROWS: usize = 1;

/// Gathers counts of training rows for all rates of a plan.
#[derive(Debug)]
pub struct Histories {
    all: Vec<History>,
    n_blocks: usize,
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
    /// Rows that were not counted, since there are too many keys.
    pub(super) left_out: u64,
}

impl Histories {
    /// Creates empty histories. Rows are assigned to one of `n_blocks` blocks, at most 256, and use the
    /// counts of earlier blocks. `schema` is fitted, except for the rates.
    pub fn new(schema: &Schema, plan: &RatesPlan, n_blocks: usize) -> Histories {
        let is_binary = |task: &Task| task.objective.is_binary();
        let tasks = schema.tasks.iter().enumerate();
        let binary: Vec<usize> = tasks
            .filter(|(_, t)| is_binary(t))
            .map(|(t, _)| t)
            .collect();
        let all = match plan {
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
        Histories {
            all,
            n_blocks: n_blocks.clamp(1, 256),
            is_auto: *plan == RatesPlan::Auto,
        }
    }

    /// Creates empty histories like [`Histories::new`], for the rates of `base`, whose scales are kept.
    pub fn extending(schema: &Schema, base: &Schema, n_blocks: usize) -> Histories {
        let mut rates: Vec<super::RatePlan> = Vec::new();
        for table in &base.tables {
            let IdSpace::Rate(rate) = &table.ids else {
                continue;
            };
            let is_last = rates.last().is_some_and(|last| last.of == rate.of);
            if !is_last {
                rates.push(super::RatePlan {
                    of: rate.of.clone(),
                    tasks: Vec::new(),
                });
            }
            if let (super::Measure::Task { task, .. }, Some(last)) =
                (rate.measure, rates.last_mut())
            {
                last.tasks.push(task);
            }
        }
        Histories::new(schema, &RatesPlan::These(rates), n_blocks)
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
        let (n_blocks, is_auto) = (self.n_blocks, self.is_auto);
        let mut past = PastRates::default();
        let mut notes = Vec::new();
        for history in self.all {
            let left_out = history.left_out;
            let cells = Cells::of(history, n_blocks);
            let found = past.add(&mut schema, cells, is_auto, base);
            notes.extend(found.into_iter().map(|note| RateNote { left_out, ..note }));
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
            left_out: 0,
        }
    }

    /// Numbers of a cell.
    pub(super) fn stride(&self) -> usize {
        OF_ROWS + 2 * self.tasks.len()
    }

    fn observe(&mut self, batch: &Batch, row: usize, block: u8) {
        let Some(key) = self.keys.of_row(batch, &self.of, row) else {
            return;
        };
        let (stride, is_full) = (self.stride(), self.cells.len() >= MOST_CELLS);
        let at = match self.cells.get(&(key, block)) {
            Some(&at) => at,
            None if is_full => {
                self.left_out += 1;
                return;
            }
            None => {
                let at = self.numbers.len();
                self.numbers.resize(at + stride, 0);
                self.cells.insert((key, block), at);
                at
            }
        };
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
