//! How far a task may move each row of a table: by how much its training rows say about that row.
//!
//! A task with few labels drags the vectors of rare ids along by chance, and what tasks share suffers for
//! it. For row `r` of a table let `n` be the training rows of the task with a known label that hold `r`,
//! `p` the share of positives among them, and `I = n p (1 - p)`: the information of these labels about a
//! logit. The task's part in the row is `s = cap I / (I + k)`. In a step of that task alone the row moves by
//! `s` times its step; in a joint step the task's slope counts `s` times, and the row makes one step of the
//! sum (a factor on a whole gradient would cancel in Adam).

use ncs_features::{Batch, Schema};
use ncs_model::TableGradient;
use ncs_readers::batches::BatchPlan;
use ncs_readers::cache::{Cache, CacheError};
use std::collections::HashMap;

/// The rule's two numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EvidenceRule {
    /// The information at which a row moves by half of `cap`, above 0.
    pub k: f64,
    /// The part of a row with all the evidence in the world, in (0, 1].
    pub cap: f64,
}

/// A task's part in each row of each table.
#[derive(Clone, Debug)]
pub(crate) struct Evidence {
    /// By table and row; rows that no labelled row holds have none.
    parts: Vec<HashMap<u32, f32>>,
}

impl Evidence {
    /// Counts the training rows of a task, in one pass. `None` for a task whose labels are not 0 and 1.
    ///
    /// # Errors
    /// The rows cannot be read.
    pub(crate) fn count(
        rule: EvidenceRule,
        schema: &Schema,
        task: usize,
        train: &Cache,
    ) -> Result<Option<Evidence>, CacheError> {
        if !schema.tasks[task].objective.is_binary() {
            return Ok(None);
        }
        let mut counts = vec![HashMap::new(); schema.tables.len()];
        for batch in train.batches(BatchPlan::default()) {
            let batch = batch?;
            for (field, spec) in schema.fields.iter().enumerate() {
                count(&batch, field, task, &mut counts[spec.table]);
            }
        }
        let part = |(id, [n, positives]): (u32, [u32; 2])| (id, rule.part(n, positives));
        let parts = counts.into_iter();
        Ok(Some(Evidence {
            parts: parts
                .map(|counts| counts.into_iter().map(part).collect())
                .collect(),
        }))
    }

    /// The part of the task in each row of a table's gradient.
    pub(crate) fn parts_of(&self, table: usize, gradient: &TableGradient<f32>) -> Vec<f32> {
        let part = |id: &u32| self.parts[table].get(id).copied().unwrap_or(0.0);
        gradient.ids.iter().map(part).collect()
    }
}

impl EvidenceRule {
    /// The part of a row that `n` labelled rows hold, of which so many are positive.
    fn part(self, n: u32, positives: u32) -> f32 {
        let (n, positives) = (f64::from(n), f64::from(positives));
        let information = positives * (n - positives) / n.max(1.0);
        (self.cap * information / (information + self.k)) as f32
    }
}

/// Adds the labelled rows of a batch to the counts of one field's table. An id that a list holds twice
/// counts once.
fn count(batch: &Batch, field: usize, task: usize, counts: &mut HashMap<u32, [u32; 2]>) {
    let ids = &batch.fields[field];
    let labels = batch.labels[task].iter().enumerate();
    for (row, &label) in labels.filter(|(_, label)| !label.is_nan()) {
        let of_row = match ids.offsets.is_empty() {
            true => &ids.ids[row..=row],
            false => &ids.ids[ids.offsets[row] as usize..ids.offsets[row + 1] as usize],
        };
        for (at, &id) in of_row.iter().enumerate() {
            if !of_row[..at].contains(&id) {
                let found = counts.entry(id).or_default();
                found[0] += 1;
                found[1] += u32::from(label > 0.5);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ncs_features::FieldIds;

    #[test]
    fn a_row_moves_by_what_its_labels_say() {
        let rule = EvidenceRule { k: 10.0, cap: 0.8 };
        let check = |n, positives, expected: f64| {
            assert!((f64::from(rule.part(n, positives)) - expected).abs() < 1e-6);
        };
        check(0, 0, 0.0);
        check(5, 0, 0.0);
        check(7, 7, 0.0);
        // I = 40 * 1/2 * 1/2 = 10: half of the cap.
        check(40, 20, 0.4);
        check(160, 80, 0.64);
        assert!((0.799..0.8).contains(&rule.part(1_000_000, 500_000)));
    }

    #[test]
    fn labelled_rows_are_counted_by_id() {
        let single = FieldIds {
            ids: vec![3, 3, 4],
            ..FieldIds::default()
        };
        let list = FieldIds {
            ids: vec![5, 5, 6, 5],
            offsets: vec![0, 3, 3, 4],
            ..FieldIds::default()
        };
        let batch = Batch {
            n_rows: 3,
            fields: vec![single, list],
            labels: vec![vec![1.0, f32::NAN, 0.0]],
            ..Batch::default()
        };
        let mut counts = [HashMap::new(), HashMap::new()];
        count(&batch, 0, 0, &mut counts[0]);
        count(&batch, 1, 0, &mut counts[1]);
        assert_eq!(counts[0], HashMap::from([(3, [1, 1]), (4, [1, 0])]));
        assert_eq!(counts[1], HashMap::from([(5, [2, 1]), (6, [1, 1])]));
    }
}
