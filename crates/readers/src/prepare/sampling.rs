//! Training rows of label 0 that are left out (`RowRules::negative_rate`), as rows are written.

use super::filter::{Sifted, rows_of};
use super::late;
use crate::split::Part;
use ncs_features::hash::seeded_hash;
use ncs_features::{Batch, Schema};

/// Rows are chosen under this seed, so that the choice is neither a split nor a block of past rates.
const SEED: u64 = 0x0D0_3A11_5EED_C0DE;

/// Leaves out training rows of label 0, task by task. Which ones, a hash of the row's number says: a run that is begun
/// again has the same, and so have all seeds of a comparison.
pub(super) struct Sampling {
    rules: Vec<Rule>,
    /// Rows of all parts so far.
    seen: u64,
    /// True if rows are read again that an earlier training knew.
    rereads: bool,
}

struct Rule {
    task: usize,
    name: String,
    rate: f64,
    /// Training rows of label 0, and those of them that were left out.
    counts: [u64; 2],
}

impl Sampling {
    pub(super) fn new(schema: &Schema) -> Sampling {
        let tasks = schema.tasks.iter().enumerate();
        let rule = |(task, about): (usize, &ncs_features::Task)| {
            Some(Rule {
                task,
                name: about.name.clone(),
                rate: about.row_rules.negative_rate?,
                counts: [0; 2],
            })
        };
        Sampling {
            rules: tasks.filter_map(rule).collect(),
            seen: 0,
            rereads: late::rereads(&schema.tasks),
        }
    }

    /// Makes the labels of left-out rows unknown, and notes the rate on the rows of the training part.
    pub(super) fn apply(&mut self, sifted: &mut Sifted<'_>) {
        let first = self.seen;
        self.seen += sifted.batch.n_rows as u64;
        let rows = rows_of(&sifted.parts, Part::Train);
        for rule in &mut self.rules {
            rule.apply(&mut sifted.batch, &rows, first);
        }
    }

    /// Returns the rows of a part that are written: a training row that no task learns from any more is left out, and
    /// one that an earlier training knew if nothing of it came since.
    pub(super) fn kept(&self, batch: &Batch, part: Part, mut rows: Vec<usize>) -> Vec<usize> {
        let leaves_out = part == Part::Train && !self.rules.is_empty();
        if leaves_out || (self.rereads && part != Part::Test) {
            rows = late::labelled(batch, &rows);
        }
        rows
    }

    /// Says how many rows were left out.
    pub(super) fn notes(&self) -> impl Iterator<Item = String> {
        self.rules.iter().map(|rule| {
            let [all, left_out] = rule.counts;
            format!(
                "task {:?}: {left_out} of {all} training rows of label 0 are left out (negative_rate {}); its \
                 probabilities are those of all rows",
                rule.name, rule.rate
            )
        })
    }
}

impl Rule {
    fn apply(&mut self, batch: &mut Batch, rows: &[usize], first: u64) {
        let labels = &mut batch.labels[self.task];
        let rates = &mut batch.terms[self.task].negative_rates;
        rates.resize(batch.n_rows, 1.0);
        for &row in rows {
            // Beside a column of rates, both have left rows out.
            rates[row] *= self.rate as f32;
            if labels[row] == 0.0 {
                let is_left_out = place(first + row as u64) >= self.rate;
                self.counts[0] += 1;
                self.counts[1] += u64::from(is_left_out);
                if is_left_out {
                    labels[row] = f32::NAN;
                }
            }
        }
    }
}

/// Returns a number in [0, 1) for a row.
fn place(number: u64) -> f64 {
    (seeded_hash(&number.to_le_bytes(), SEED) >> 11) as f64 / (1_u64 << 53) as f64
}
