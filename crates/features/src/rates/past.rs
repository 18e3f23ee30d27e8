//! From counts by block to the fields of a schema, and to what training rows know.

use super::history::{History, OF_ROWS};
use super::moments::Moments;
use super::{Counts, Keys, MOST_KEYS, Measure, PIECES, Rate};
use crate::batch::Batch;
use crate::fit::Sample;
use crate::piecewise::{PER_ROW, Piecewise};
use crate::schema::{Field, IdSpace, Schema, Table};

/// Numbers from which a scale is fitted.
const SAMPLE: usize = 200_000;

/// Minimum gain of a rate in log-likelihood under `RatesPlan::Auto`, in standard errors.
const CLEARLY_MORE: f64 = 5.0;

/// Past counts and rates for training rows: those of the blocks before their own.
#[derive(Debug, Default)]
pub struct PastRates {
    fields: Vec<PastField>,
    histories: Vec<Known>,
}

/// One field.
#[derive(Debug)]
struct PastField {
    /// Its place in the schema.
    field: usize,
    /// Index of the history that it reads; `slot` selects the numbers.
    history: usize,
    slot: Slot,
    /// Block by block.
    measures: Vec<Measure>,
    scale: Piecewise,
}

/// Numbers of a cell that are read.
#[derive(Clone, Copy, Debug)]
enum Slot {
    Rows,
    /// A task, by its place among those of the history.
    Task(usize),
}

impl Slot {
    fn of(self, numbers: &[u32]) -> (u32, u32) {
        match self {
            Slot::Rows => (numbers[0], 0),
            Slot::Task(t) => (numbers[OF_ROWS + 2 * t], numbers[OF_ROWS + 2 * t + 1]),
        }
    }
}

/// Totals before each cell.
#[derive(Debug)]
struct Known {
    of: Vec<usize>,
    keys: Keys,
    /// Keys and blocks, ascending.
    cells: Vec<(u64, u8)>,
    before: Vec<u32>,
    stride: usize,
    /// Block `b` of the rows is block `n_before + (b >> joined)` of the cells.
    n_before: u8,
    joined: u32,
}

/// Report on one count or rate.
#[derive(Clone, Debug, PartialEq)]
pub struct RateNote {
    /// The field's name.
    pub field: String,
    /// Its columns.
    pub of: Vec<String>,
    /// The task, by its place; `None` for a number of rows.
    pub task: Option<usize>,
    /// Keys that have a count.
    pub keys: usize,
    /// The evidence strength.
    pub strength: f64,
    /// AUC of the rate alone on the labels of training rows, with the values that these rows have.
    pub auc: f64,
    /// Its gain of log-likelihood over the overall rate on these rows, in standard errors over keys.
    pub gain: f64,
    /// True if it is used as a feature.
    pub is_kept: bool,
    /// Training rows that were not counted, since there were too many keys.
    pub left_out: u64,
}

/// Counts of a history by key and block.
pub(super) struct Cells {
    known: Known,
    tasks: Vec<usize>,
    /// The cells' own numbers.
    own: Vec<u32>,
    n_blocks: usize,
    /// Rows that were not counted, since there were too many keys.
    left_out: u64,
}

impl Cells {
    /// Sorts what was gathered and adds up what comes before.
    pub(super) fn of(history: History) -> Cells {
        let (stride, n_blocks) = (history.stride(), history.n_blocks());
        let mut known = Known {
            of: history.of.clone(),
            keys: history.keys.clone(),
            cells: Vec::new(),
            before: Vec::new(),
            stride,
            n_before: history.before,
            joined: history.joined,
        };
        let mut own = Vec::new();
        let mut sums = vec![0; stride];
        let mut last = None;
        for ((key, block), numbers) in history.sorted() {
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
            left_out: history.left_out,
            tasks: history.tasks,
            own,
            n_blocks,
        }
    }

    /// Returns the ranges of cells of one key.
    fn keys(&self) -> impl Iterator<Item = std::ops::Range<usize>> {
        let mut start = 0;
        let runs = self.known.cells.chunk_by(|a, b| a.0 == b.0);
        runs.map(move |run| {
            start += run.len();
            start - run.len()..start
        })
    }

    fn own(&self, cell: usize, slot: Slot) -> (u32, u32) {
        slot.of(&self.own[cell * self.known.stride..][..self.known.stride])
    }

    fn before(&self, cell: usize, slot: Slot) -> (u32, u32) {
        self.known.before(cell, slot)
    }

    /// Returns the totals of a key after all its cells.
    fn total(&self, cells: &std::ops::Range<usize>, slot: Slot) -> (u32, u32) {
        let last = cells.end - 1;
        let (own, before) = (self.own(last, slot), self.before(last, slot));
        (
            own.0.saturating_add(before.0),
            own.1.saturating_add(before.1),
        )
    }

    /// Returns the sums of each state: before each block, and after all.
    fn moments(&self, slot: Slot) -> Vec<Moments> {
        let mut moments = vec![Moments::default(); self.n_blocks + 1];
        for cells in self.keys() {
            let mut cell = cells.start;
            for (block, moments) in moments.iter_mut().enumerate() {
                while cell < cells.end && usize::from(self.known.cells[cell].1) < block {
                    cell += 1;
                }
                let (known, positives) = if cell < cells.end {
                    self.before(cell, slot)
                } else {
                    self.total(&cells, slot)
                };
                moments.add(known, positives);
            }
        }
        moments
    }

    fn counts(&self, slot: Slot) -> Counts {
        let totals = self.keys().map(|cells| {
            let key = self.known.cells[cells.start].0;
            (key, self.total(&cells, slot))
        });
        Counts::new(totals.filter(|(_, (known, _))| *known > 0).take(MOST_KEYS))
    }

    /// Returns the value of the feature for the rows of a cell.
    fn value(&self, cell: usize, slot: Slot, measures: &[Measure]) -> Option<f64> {
        let (known, positives) = self.before(cell, slot);
        measures[usize::from(self.known.cells[cell].1)].value(known, positives)
    }

    /// Returns the scale fitted to the values of training rows.
    fn scale(&self, slot: Slot, measures: &[Measure]) -> Piecewise {
        let mut sample = Sample::new(SAMPLE);
        for cell in 0..self.known.cells.len() {
            let (rows, _) = self.own(cell, Slot::Rows);
            if let Some(value) = self.value(cell, slot, measures) {
                (0..rows).for_each(|_| sample.add(Some(value)));
            }
        }
        match sample.range() {
            Some(range) => sample.scale(PIECES, range),
            None => Piecewise::fit(&[0.0], [0.0, 0.0], PIECES),
        }
    }

    /// Measures the fit of the rates of each cell to its labels: AUC, and gain over the overall rate in
    /// standard errors.
    fn fit(&self, slot: Slot, measures: &[Measure]) -> (f64, f64) {
        let (mut ranked, mut sum, mut squares) = (Vec::new(), 0.0, 0.0);
        for cells in self.keys() {
            let mut of_key = 0.0;
            for cell in cells {
                let (known, positives) = self.own(cell, slot);
                let Some(value) = self.value(cell, slot, measures) else {
                    continue;
                };
                let (s, f) = (f64::from(positives), f64::from(known - positives));
                ranked.push((value, s, f));
                let measure = &measures[usize::from(self.known.cells[cell].1)];
                let Measure::Task { overall: m, .. } = *measure else {
                    continue;
                };
                let before = self.before(cell, slot);
                let p = measure.rate(before.0, before.1);
                of_key += s * (p / m).ln() + f * ((1.0 - p) / (1.0 - m)).ln();
            }
            sum += of_key;
            squares += of_key * of_key;
        }
        let gain = if squares > 0.0 {
            sum / squares.sqrt()
        } else {
            0.0
        };
        (auc(ranked), gain)
    }
}

/// Returns the AUC of values with the given numbers of positives and negatives; 1/2 without either.
fn auc(mut ranked: Vec<(f64, f64, f64)>) -> f64 {
    ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut below, mut area, mut positives) = (0.0, 0.0, 0.0);
    for same in ranked.chunk_by(|a, b| a.0 == b.0) {
        let s: f64 = same.iter().map(|(_, s, _)| s).sum();
        let f: f64 = same.iter().map(|(_, _, f)| f).sum();
        area += s * (below + f / 2.0);
        below += f;
        positives += s;
    }
    if positives * below > 0.0 {
        area / (positives * below)
    } else {
        0.5
    }
}

impl Known {
    /// Returns the block of the cells that holds a block of the rows.
    fn block(&self, block: u8) -> u8 {
        self.n_before + (block >> self.joined)
    }

    fn before(&self, cell: usize, slot: Slot) -> (u32, u32) {
        slot.of(&self.before[cell * self.stride..][..self.stride])
    }

    /// Returns the past counts of a key for a block; `None` for a key that was not counted.
    fn find(&self, key: u64, block: u8, slot: Slot) -> Option<(u32, u32)> {
        let block = self.block(block);
        let cell = self.cells.binary_search(&(key, block)).ok()?;
        Some(self.before(cell, slot))
    }
}

impl PastRates {
    /// Returns true if there are no past counts.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// Puts in the numbers that training rows know, in place of those after all rows. `rows` are training rows of
    /// the batch, `blocks` the blocks of all its rows.
    pub fn put_back(&self, batch: &mut Batch, rows: &[usize], blocks: &[u8]) {
        for field in &self.fields {
            let known = &self.histories[field.history];
            for &row in rows {
                let value = self.value_of(field, known, batch, row, blocks[row]);
                let numbers = field.scale.encode(value);
                let place = row * PER_ROW;
                batch.fields[field.field].numbers[place..place + PER_ROW].copy_from_slice(&numbers);
            }
        }
    }

    /// Returns the unscaled value, for a training row in block `block`, of the field at position `field` of
    /// the schema.
    pub fn value(&self, field: usize, batch: &Batch, row: usize, block: u8) -> Option<f64> {
        let found = self.fields.iter().find(|past| past.field == field)?;
        let known = &self.histories[found.history];
        self.value_of(found, known, batch, row, block)
    }

    fn value_of(
        &self,
        field: &PastField,
        known: &Known,
        batch: &Batch,
        row: usize,
        block: u8,
    ) -> Option<f64> {
        let key = known.keys.of_row(batch, &known.of, row)?;
        let (n, positives) = known.find(key, block, field.slot)?;
        field.measures[usize::from(known.block(block))].value(n, positives)
    }

    /// Adds the fields of a history to the schema.
    pub(super) fn add(
        &mut self,
        schema: &mut Schema,
        cells: Cells,
        is_auto: bool,
        base: Option<&Schema>,
    ) -> Vec<RateNote> {
        let n_before = self.fields.len();
        let mut notes = Vec::new();
        for (t, &task) in cells.tasks.iter().enumerate() {
            let found = Found::of(&cells, Slot::Task(t), Some(task), schema, base);
            let (auc, gain) = cells.fit(found.slot, &found.measures);
            let is_whole = cells.left_out == 0 && found.rate.counts.len() < MOST_KEYS;
            let is_kept = !is_auto || gain > CLEARLY_MORE && is_whole;
            let note = found.note(schema, auc, gain, is_kept);
            notes.push(RateNote {
                left_out: cells.left_out,
                ..note
            });
            if is_kept {
                self.push(found, schema);
            }
        }
        // The number of rows is not predictive alone: it gives the reliability of a rate.
        if self.fields.len() > n_before || !is_auto {
            let found = Found::of(&cells, Slot::Rows, None, schema, base);
            notes.push(found.note(schema, 0.5, 0.0, true));
            self.push(found, schema);
        }
        if self.fields.len() > n_before {
            self.histories.push(cells.known);
        }
        notes
    }

    fn push(&mut self, found: Found, schema: &mut Schema) {
        self.fields.push(PastField {
            field: schema.fields.len(),
            history: self.histories.len(),
            slot: found.slot,
            measures: found.measures,
            scale: found.rate.scale.clone(),
        });
        schema.fields.push(Field {
            name: found.name.clone(),
            column: schema.fields[found.rate.of[0]].column.clone(),
            table: schema.tables.len(),
            pooling: None,
            separator: None,
            max_values: None,
            missing: Vec::new(),
        });
        schema.tables.push(Table {
            name: found.name,
            ids: IdSpace::Rate(found.rate),
            range: None,
        });
    }
}

/// A count or rate that may become a field.
struct Found {
    name: String,
    slot: Slot,
    rate: Rate,
    /// Block by block.
    measures: Vec<Measure>,
}

impl Found {
    fn of(
        cells: &Cells,
        slot: Slot,
        task: Option<usize>,
        schema: &Schema,
        base: Option<&Schema>,
    ) -> Found {
        let columns = cells
            .known
            .of
            .iter()
            .map(|&f| schema.fields[f].name.as_str());
        let name = name(columns, task.map(|task| schema.tasks[task].name.as_str()));
        let base = base.and_then(|base| rate_named(base, &name));
        let states = cells.moments(slot);
        let after = states[cells.n_blocks].rows();
        let rows = base.map_or(after, |base| match base.measure {
            Measure::Rows { factor } => base.counts.rows() as f64 * factor,
            Measure::Task { .. } => after,
        });
        let measure = |state: &Moments| match task {
            Some(task) => state.task(task),
            None => Measure::Rows {
                factor: rows.max(1.0) / state.rows().max(1.0),
            },
        };
        let mut measures: Vec<Measure> = states.iter().map(measure).collect();
        let last = measures.pop().unwrap_or(Measure::Rows { factor: 1.0 });
        let scale = match base {
            Some(base) => base.scale.clone(),
            None => cells.scale(slot, &measures),
        };
        let rate = Rate {
            of: cells.known.of.clone(),
            measure: last,
            counts: cells.counts(slot),
            scale,
        };
        Found {
            name,
            slot,
            rate,
            measures,
        }
    }

    fn note(&self, schema: &Schema, auc: f64, gain: f64, is_kept: bool) -> RateNote {
        let column = |&f: &usize| schema.fields[f].name.clone();
        let (task, strength) = match self.rate.measure {
            Measure::Rows { .. } => (None, 0.0),
            Measure::Task { task, strength, .. } => (Some(task), strength),
        };
        RateNote {
            field: self.name.clone(),
            of: self.rate.of.iter().map(column).collect(),
            task,
            keys: self.rate.counts.len(),
            strength,
            auc,
            gain,
            is_kept,
            left_out: 0,
        }
    }
}

/// `user_id.past_ctr`, `user_id.past_rows`, `user_id+category.past_ctr`.
pub(crate) fn name<'n>(columns: impl Iterator<Item = &'n str>, task: Option<&str>) -> String {
    let columns: Vec<&str> = columns.collect();
    format!("{}.past_{}", columns.join("+"), task.unwrap_or("rows"))
}

fn rate_named<'s>(schema: &'s Schema, name: &str) -> Option<&'s Rate> {
    let table = schema.tables.iter().find(|table| table.name == name)?;
    match &table.ids {
        IdSpace::Rate(rate) => Some(rate),
        _ => None,
    }
}
