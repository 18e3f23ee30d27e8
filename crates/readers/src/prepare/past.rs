//! Past counts and rates for training rows: blocks of rows, ordered by the time at which they count as seen.
//!
//! If rows are split by time, blocks are periods of about the length of the validation period, so that the
//! counts of a training row are as old as those of a served row. Otherwise the order of rows is unknown: a
//! hash assigns rows to blocks, as in ordered target statistics (Prokhorenkova et al. 2018) with few updates.
//! If a hash of a column splits the rows, all rows of one value are in one block, just as they are in one
//! part.

use super::filter::{Sifted, rows_of};
use super::passes::{Base, Passes};
use super::{PrepareError, Stage};
use crate::plan::Split;
use crate::split::{Moment, Part, TimeFormat, time_of};
use ncs_features::hash::{below, seeded_hash};
use ncs_features::value::TextBuffer;
use ncs_features::{Block, Encoder, Histories, PastRates, RateNote, RatesPlan, Schema, SchemaPlan};
use std::sync::Arc;

/// Blocks of rows that no time orders.
const HASHED_BLOCKS: usize = 32;

/// The fewest training rows for which `RatesPlan::Auto` takes rates: on synthetic logs of fewer, clicks lose by them
/// (docs/decisions/0065-past-rates-for-clicks-alone.md).
const FEWEST_ROWS: u64 = 30_000;

/// The fewest and the most blocks of time.
const TIME_BLOCKS: (f64, f64) = (4.0, 10.0);

/// Times from which the boundaries of blocks are found; up to here they are exact.
const MOST_TIMES: usize = 100_000;

/// Blocks are dealt under this seed, so that they are not the parts of a split.
const SEED: u64 = 0x5EED_0F7A_57B1_0C45;

/// The block of each training row.
enum Blocks {
    Time {
        column: String,
        format: Option<TimeFormat>,
        /// Ascending: where each block but the first begins.
        starts: Vec<f64>,
    },
    /// By a hash of a column.
    Column(String),
    /// By a hash of the row's number.
    Row,
}

impl Blocks {
    fn n_blocks(&self) -> usize {
        match self {
            Blocks::Time { starts, .. } => starts.len() + 1,
            Blocks::Column(_) | Blocks::Row => HASHED_BLOCKS,
        }
    }

    /// Returns the block of each row of a block of the files, whose first row is number `first` of the usable
    /// rows.
    fn of(&self, rows: &Block, first: u64) -> Vec<u8> {
        let hashed = |name: &[u8]| (seeded_hash(name, SEED) % HASHED_BLOCKS as u64) as u8;
        let by_number = |row: usize| hashed(&(first + row as u64).to_le_bytes());
        let all = 0..rows.n_rows;
        match self {
            Blocks::Row => all.map(by_number).collect(),
            Blocks::Column(name) => {
                let column = rows.column(name);
                let mut buffer = TextBuffer::default();
                let mut block = |row: usize| {
                    let value = column.and_then(|column| Some((column, column.only(row).ok()??)));
                    match value {
                        Some((column, i)) => hashed(buffer.text(&column.values, i)),
                        None => by_number(row),
                    }
                };
                all.map(&mut block).collect()
            }
            Blocks::Time {
                column,
                format,
                starts,
            } => {
                let column = rows.column(column);
                let block = |row: usize| {
                    let time = time_of(column?, row, format.as_ref()).ok()?;
                    Some(starts.partition_point(|&start| start <= place(time)))
                };
                // A row without a time is in no split by time, and of the latest block.
                let block = |row| block(row).unwrap_or(starts.len()) as u8;
                all.map(block).collect()
            }
        }
    }
}

/// Converts a time to a number of the same order; all times of a column have one type.
fn place(time: Moment) -> f64 {
    match time {
        Moment::Number(number) => number,
        Moment::Instant(time) => time.seconds_f64(),
    }
}

/// Times of training rows, from which blocks are made.
pub(super) struct Times {
    split: Split,
    is_wanted: bool,
    sample: Vec<f64>,
    seen: u64,
    random: u64,
}

impl Times {
    pub(super) fn new(rates: &RatesPlan, split: &Split) -> Times {
        Times {
            split: split.clone(),
            is_wanted: !rates.is_none() && matches!(split, Split::Time { .. }),
            sample: Vec::new(),
            seen: 0,
            random: 0,
        }
    }

    /// Returns true if blocks need the times of the training rows.
    pub(super) fn are_wanted(&self) -> bool {
        self.is_wanted
    }

    /// Takes in the times of the training rows `rows`.
    pub(super) fn observe(&mut self, block: &Block, rows: &[usize]) {
        let Split::Time { column, format, .. } = &self.split else {
            return;
        };
        let Some(column) = block.column(column).filter(|_| self.is_wanted) else {
            return;
        };
        for &row in rows {
            let Ok(time) = time_of(column, row, format.as_ref()) else {
                continue;
            };
            self.seen += 1;
            if self.sample.len() < MOST_TIMES {
                self.sample.push(place(time));
            } else if let Some(kept) = {
                let at = below(&mut self.random, self.seen) as usize;
                self.sample.get_mut(at)
            } {
                *kept = place(time);
            }
        }
    }

    /// Blocks of as many training rows as there are rows of validation, `later`.
    fn blocks(mut self, later: u64) -> Blocks {
        match self.split {
            Split::Time { column, format, .. } => {
                let (fewest, most) = TIME_BLOCKS;
                let wanted = self.seen as f64 / later.max(1) as f64;
                let n = wanted.round().clamp(fewest, most) as usize;
                self.sample.sort_unstable_by(f64::total_cmp);
                let start = |k: usize| self.sample.get(k * self.sample.len() / n).copied();
                let mut starts: Vec<f64> = (1..n).filter_map(start).collect();
                starts.dedup();
                Blocks::Time {
                    column,
                    format,
                    starts,
                }
            }
            Split::Hash { column, .. } => Blocks::Column(column),
            Split::Files | Split::Row { .. } | Split::Latest { .. } => Blocks::Row,
        }
    }
}

/// Past counts and rates of training rows, to be added when the rows are encoded.
pub(super) struct Past {
    rates: PastRates,
    blocks: Blocks,
    seen: u64,
    /// Notes for the report.
    pub(super) notes: Vec<String>,
}

impl Past {
    fn none() -> Past {
        Past {
            rates: PastRates::default(),
            blocks: Blocks::Row,
            seen: 0,
            notes: Vec::new(),
        }
    }

    /// Has training rows of the next block hold what they know.
    pub(super) fn put_back(&mut self, sifted: &mut Sifted<'_>) {
        if self.rates.is_empty() {
            return;
        }
        let blocks = self.blocks.of(&sifted.block, self.seen);
        self.seen += sifted.batch.n_rows as u64;
        let rows = rows_of(&sifted.parts, Part::Train);
        self.rates.put_back(&mut sifted.batch, &rows, &blocks);
    }
}

impl Passes<'_> {
    /// Returns the schema with the past counts and rates of the plan, by a pass over the training rows.
    /// `later` is the number of validation rows.
    pub(super) fn gather(
        &mut self,
        plan: &SchemaPlan,
        schema: Schema,
        times: Times,
        later: u64,
    ) -> Result<(Schema, Past), PrepareError> {
        let adds_to_none = |base: Base<'_>| {
            base.schema
                .tables
                .iter()
                .all(|table| table.ids.rate().is_none())
        };
        if plan.rates.is_none() || self.base.is_some_and(adds_to_none) {
            return Ok((schema, Past::none()));
        }
        let blocks = times.blocks(later);
        let mut histories = match self.base {
            None => Histories::new(&schema, &plan.rates, blocks.n_blocks()),
            Some(base) => Histories::extending(&schema, base.schema, blocks.n_blocks()),
        };
        if let Some(earlier) = self.base.and_then(|base| base.earlier) {
            histories.continue_from(earlier);
        }
        if !histories.is_empty() {
            let n_rows = self.observe_past(&schema, &blocks, &mut histories)?;
            // A model that goes on has the rates that it has.
            if plan.rates == RatesPlan::Auto && self.base.is_none() && n_rows < FEWEST_ROWS {
                let past = Past {
                    notes: vec![too_few_rows(n_rows)],
                    ..Past::none()
                };
                return Ok((schema, past));
            }
        }
        let n_blocks = blocks.n_blocks();
        let (schema, rates, found) = histories.finish(schema, self.base.map(|base| base.schema));
        let notes = notes(&schema, &blocks, n_blocks, &plan.rates, &found);
        let past = Past {
            rates,
            blocks,
            seen: 0,
            notes,
        };
        Ok((schema, past))
    }

    /// Shows the training rows to the histories; returns their number.
    fn observe_past(
        &mut self,
        schema: &Schema,
        blocks: &Blocks,
        histories: &mut Histories,
    ) -> Result<u64, PrepareError> {
        let encoder = Encoder::new(Arc::new(schema.clone()));
        let (mut n_rows, mut seen) = (0, 0);
        let parts = self.training_parts();
        self.pass(Stage::Past, parts, &encoder, |sifted| {
            let blocks = blocks.of(&sifted.block, seen);
            seen += sifted.batch.n_rows as u64;
            let rows = rows_of(&sifted.parts, Part::Train);
            n_rows += rows.len() as u64;
            histories.observe(&sifted.batch, &rows, &blocks);
            Ok(())
        })?;
        Ok(n_rows)
    }
}

fn too_few_rows(n_rows: u64) -> String {
    format!(
        "past rates: none, for {n_rows} training rows; \"auto\" takes them from {FEWEST_ROWS} on, since clicks \
         lose by those of fewer; [[features.rates]] names them for any number"
    )
}

/// Returns notes about counts and rates.
fn notes(
    schema: &Schema,
    blocks: &Blocks,
    n_blocks: usize,
    plan: &RatesPlan,
    found: &[RateNote],
) -> Vec<String> {
    let of_tasks = || found.iter().filter(|note| note.task.is_some());
    let kept = of_tasks().filter(|note| note.is_kept).map(describe_rate);
    let kept: Vec<String> = kept.collect();
    let order = match blocks {
        Blocks::Time { column, .. } => format!("{n_blocks} blocks of time by \"{column}\""),
        Blocks::Column(column) => format!("{n_blocks} blocks by a hash of \"{column}\""),
        Blocks::Row => format!("{n_blocks} blocks by a hash of the row's number"),
    };
    let mut notes = Vec::new();
    if !kept.is_empty() {
        let kept = kept.join(", ");
        notes.push(format!(
            "past rates: {kept}; a training row knows the blocks before its own, of {order}"
        ));
    }
    let dropped: Vec<&str> = of_tasks()
        .filter(|note| !note.is_kept)
        .map(|note| note.field.as_str())
        .collect();
    if !dropped.is_empty() {
        notes.push(format!(
            "past rates that predict nothing of later rows, and are left out: {}",
            dropped.join(", ")
        ));
    } else if found.is_empty() && *plan == RatesPlan::Auto {
        notes.push("past rates: no column has more than 100 values".to_owned());
    }
    let idle = of_tasks().filter(|note| note.is_kept && note.gain < 0.0);
    notes.extend(idle.map(|note| {
        format!(
            "past rate {} predicts labels of later training rows no better than the overall rate of {}",
            note.field,
            note.task.map_or("", |task| &schema.tasks[task].name)
        )
    }));
    let full = of_tasks().filter(|note| note.left_out > 0);
    notes.extend(full.map(|note| {
        format!(
            "past rate {}: {} rows are not counted, of more values than are kept",
            note.field, note.left_out
        )
    }));
    notes
}

/// Describes a rate that is kept.
fn describe_rate(note: &RateNote) -> String {
    let strength = if note.strength < 1e5 {
        format!("{:.0} rows against each", note.strength.max(1.0))
    } else {
        "no two values differ beyond chance".to_owned()
    };
    format!(
        "{} (AUC {:.3} alone, on later rows; {} values; {strength})",
        note.field, note.auc, note.keys
    )
}
