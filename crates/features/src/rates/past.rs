//! From counts by block to the fields of a schema, and to what training rows know.

use super::cells::{Cells, Known, Slot};
use super::moments::Moments;
use super::{MOST_KEYS, Measure, Rate};
use crate::batch::Batch;
use crate::piecewise::{PER_ROW, Piecewise};
use crate::schema::{Field, IdSpace, Schema, Table};

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
            beside: Default::default(),
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
