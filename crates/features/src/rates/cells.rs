//! Counts of a history by key and block, and totals before each block.

use super::moments::Moments;
use super::{Counts, Keys, MOST_KEYS, Measure, PIECES};
use crate::piecewise::Piecewise;
use crate::sample::Sample;

/// Numbers of a cell that are not of a task: its rows.
pub(super) const OF_ROWS: usize = 1;

/// Numbers from which a scale is fitted.
const SAMPLE: usize = 200_000;

/// Numbers of a cell that are read.
#[derive(Clone, Copy, Debug)]
pub(super) enum Slot {
    Rows,
    /// A task, by its place among those of the history.
    Task(usize),
}

impl Slot {
    pub(super) fn of(self, numbers: &[u32]) -> (u32, u32) {
        match self {
            Slot::Rows => (numbers[0], 0),
            Slot::Task(t) => (numbers[OF_ROWS + 2 * t], numbers[OF_ROWS + 2 * t + 1]),
        }
    }
}

/// Totals before each cell.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) of: Vec<usize>,
    pub(super) keys: Keys,
    /// Keys and blocks, ascending.
    pub(super) cells: Vec<(u64, u8)>,
    pub(super) before: Vec<u32>,
    pub(super) stride: usize,
    /// Block `b` of the rows is block `n_before + (b >> joined)` of the cells.
    pub(super) n_before: u8,
    pub(super) joined: u32,
}

/// Counts of a history by key and block.
pub(super) struct Cells {
    pub(super) known: Known,
    pub(super) tasks: Vec<usize>,
    /// The cells' own numbers.
    pub(super) own: Vec<u32>,
    pub(super) n_blocks: usize,
    /// Rows that were not counted, since there were too many keys.
    pub(super) left_out: u64,
}

impl Cells {
    /// Returns the ranges of cells of one key.
    pub(super) fn keys(&self) -> impl Iterator<Item = std::ops::Range<usize>> {
        let mut start = 0;
        let runs = self.known.cells.chunk_by(|a, b| a.0 == b.0);
        runs.map(move |run| {
            start += run.len();
            start - run.len()..start
        })
    }

    pub(super) fn own(&self, cell: usize, slot: Slot) -> (u32, u32) {
        slot.of(&self.own[cell * self.known.stride..][..self.known.stride])
    }

    pub(super) fn before(&self, cell: usize, slot: Slot) -> (u32, u32) {
        self.known.before(cell, slot)
    }

    /// Returns the totals of a key after all its cells.
    pub(super) fn total(&self, cells: &std::ops::Range<usize>, slot: Slot) -> (u32, u32) {
        let last = cells.end - 1;
        let (own, before) = (self.own(last, slot), self.before(last, slot));
        (
            own.0.saturating_add(before.0),
            own.1.saturating_add(before.1),
        )
    }

    /// Returns the sums of each state: before each block, and after all.
    pub(super) fn moments(&self, slot: Slot) -> Vec<Moments> {
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

    pub(super) fn counts(&self, slot: Slot) -> Counts {
        let totals = self.keys().map(|cells| {
            let key = self.known.cells[cells.start].0;
            (key, self.total(&cells, slot))
        });
        Counts::new(totals.filter(|(_, (known, _))| *known > 0).take(MOST_KEYS))
    }

    /// Returns the value of the feature for the rows of a cell.
    pub(super) fn value(&self, cell: usize, slot: Slot, measures: &[Measure]) -> Option<f64> {
        let (known, positives) = self.before(cell, slot);
        measures[usize::from(self.known.cells[cell].1)].value(known, positives)
    }

    /// Returns the scale fitted to the values of training rows.
    pub(super) fn scale(&self, slot: Slot, measures: &[Measure]) -> Piecewise {
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
    pub(super) fn fit(&self, slot: Slot, measures: &[Measure]) -> (f64, f64) {
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
    pub(super) fn block(&self, block: u8) -> u8 {
        self.n_before + (block >> self.joined)
    }

    pub(super) fn before(&self, cell: usize, slot: Slot) -> (u32, u32) {
        slot.of(&self.before[cell * self.stride..][..self.stride])
    }

    /// Returns the past counts of a key for a block; `None` for a key that was not counted.
    pub(super) fn find(&self, key: u64, block: u8, slot: Slot) -> Option<(u32, u32)> {
        let block = self.block(block);
        let cell = self.cells.binary_search(&(key, block)).ok()?;
        Some(self.before(cell, slot))
    }
}
