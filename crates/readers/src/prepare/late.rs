//! Labels that become known after a while: what training and validation rows knew, and what is still to come.

use super::filter::Sifted;
use crate::split::Part;
use ncs_features::{Batch, LateRules, Schema, Task};

/// Replaces labels by what was known of them; those of test rows stay final.
pub(super) fn know(schema: &Schema, batch: &mut Batch, parts: &[Part]) {
    for (t, late) in late_tasks(schema) {
        let (terms, labels) = (&batch.terms[t], &mut batch.labels[t]);
        for (row, (label, part)) in labels.iter_mut().zip(parts).enumerate() {
            let (delay, age) = (terms.delays[row], terms.ages[row]);
            if *part != Part::Test {
                *label = late.known(*label, delay, age, *part == Part::Train);
            }
        }
    }
    forget_earlier(schema, batch, parts);
}

/// Makes labels of the other tasks unknown on rows that an earlier training knew (`LateRules::since`).
fn forget_earlier(schema: &Schema, batch: &mut Batch, parts: &[Part]) {
    for (t, late) in late_tasks(schema).filter(|(_, late)| late.since.is_some()) {
        let since_then = late.since_then();
        let ages = batch.terms[t].ages.clone();
        let others = schema.tasks.iter().zip(&mut batch.labels);
        for (_, labels) in others.filter(|(task, _)| task.row_rules.late.is_none()) {
            let rows = labels.iter_mut().zip(&ages).zip(parts);
            rows.filter(|((_, age), part)| **part != Part::Test && f64::from(**age) >= since_then)
                .for_each(|((label, _), _)| *label = f32::NAN);
        }
    }
}

/// Returns true if rows that an earlier training knew are read again, for what came since.
pub(super) fn rereads(schema: &[Task]) -> bool {
    let mut late = schema
        .iter()
        .filter_map(|task| task.row_rules.late.as_ref());
    late.any(|late| late.since.is_some())
}

/// Returns those of these rows that some task learns from.
pub(super) fn labelled(batch: &Batch, rows: &[usize]) -> Vec<usize> {
    let is_known = |row: &&usize| batch.labels.iter().any(|labels| !labels[**row].is_nan());
    rows.iter().filter(is_known).copied().collect()
}

fn late_tasks(schema: &Schema) -> impl Iterator<Item = (usize, &LateRules)> {
    let tasks = schema.tasks.iter().enumerate();
    tasks.filter_map(|(t, task)| Some((t, task.row_rules.late.as_ref()?)))
}

/// Counts training rows whose label is not final.
pub(super) struct Immature {
    tasks: Vec<(Task, Counts)>,
}

#[derive(Clone, Copy, Default)]
struct Counts {
    /// Rows of which a label is known some day.
    rows: u64,
    /// Rows that are younger than the attribution window.
    immature: u64,
    /// Rows after the moment at which training looks.
    later: u64,
    /// Conversions of immature rows that were known.
    known: u64,
    /// All conversions of immature rows, estimated: each known one counts by the inverse of the chance that it is.
    expected: f64,
}

/// The least chance by which a known conversion is divided.
const LEAST_SHARE: f64 = 0.01;

impl Immature {
    pub(super) fn new(schema: &Schema) -> Immature {
        let late = schema
            .tasks
            .iter()
            .filter(|task| task.row_rules.late.is_some());
        Immature {
            tasks: late.map(|task| (task.clone(), Counts::default())).collect(),
        }
    }

    /// Counts the training rows of a block.
    pub(super) fn observe(&mut self, schema: &Schema, sifted: &Sifted<'_>) {
        let pairs = late_tasks(schema).zip(&mut self.tasks);
        for ((t, _), (_, counts)) in pairs {
            let terms = &sifted.batch.terms[t];
            let rows = sifted.parts.iter().enumerate();
            for (row, _) in rows.filter(|(_, part)| **part == Part::Train) {
                let known = terms.known_shares[row];
                counts.observe(terms.delays[row], terms.ages[row], known);
            }
        }
    }

    /// Says how many rows are immature, and how many conversions are still to come.
    pub(super) fn notes(&self) -> impl Iterator<Item = String> {
        self.tasks.iter().map(|(task, counts)| {
            let Counts {
                rows,
                immature,
                known,
                later,
                ..
            } = counts;
            let to_come = match task.row_rules.late.as_ref().map(|late| late.delays.is_empty()) {
                Some(false) => format!(
                    "an estimated {:.0} % of their conversions are still to come, by the delays of older rows",
                    100.0 * counts.share_to_come()
                ),
                _ => "how many more are to come is unknown, since no older row has converted".to_owned(),
            };
            let later = match later {
                0 => String::new(),
                later => format!("; {later} rows are after as_of and not used"),
            };
            format!(
                "task {:?}: {immature} of {rows} training rows with a label are younger than the attribution window at \
                 as_of; {known} conversions of theirs are known, {to_come}{later}",
                task.name
            )
        })
    }
}

impl Counts {
    fn observe(&mut self, delay: f32, age: f32, known_share: f32) {
        if known_share.is_nan() {
            return;
        }
        self.rows += 1;
        if age < 0.0 {
            self.later += 1;
        } else if age < 1.0 {
            self.immature += 1;
            if delay <= age {
                self.known += 1;
                self.expected += 1.0 / f64::from(known_share).max(LEAST_SHARE);
            }
        }
    }

    fn share_to_come(&self) -> f64 {
        if self.expected > 0.0 {
            1.0 - self.known as f64 / self.expected
        } else {
            0.0
        }
    }
}
