//! Empirical-Bayes shrinkage of embedding-row updates, by the Fisher information of a task's labels about each row.
//!
//! A task with few labels adds noise to the vectors of rare ids, which harms the other tasks that share
//! them. For row `r` of a table let `n` be the number of labelled training rows of the task that contain `r`,
//! `p` the share of positives among all of the task's labelled rows, and `I = n p (1 - p)`: the information of
//! these labels about a logit. The task's factor for the row is `s = cap I / (I + k)`: the weight of an estimate of such
//! precision against a prior of precision `k` (empirical Bayes). `k` is set, or estimated for each
//! table: `1 / k` is the variance of the rows' effects, by the moments of DerSimonian and Laird (1986). With
//! `x` positives in a row, `Q = sum (x - n p)^2 / I` over the `R` rows that labels reach, and
//! `1 / k = max(0, (Q - (R - 1)) / (sum I - sum I^2 / sum I))`; where that is 0 the table's rows do not differ for
//! this task significantly, and none of them is updated. In a step of that task alone the row's update is
//! multiplied by `s`; in a joint step the task's gradient is multiplied by `s`, and the row makes one step of the
//! sum (a factor on a whole gradient would cancel in Adam). If every task of a joint step is shrunk, the
//! row's update is multiplied by the largest factor, and each gradient by its factor divided by the largest.
//!
//! *Guarded*: the factor is relative to that of the task in `where` (clicks): `s' = s / s_click` where
//! `s_click > s`, else `s`. If clicks also have little information about a row, few conversions do not justify a
//! small factor; `s'` is in [`s`, 1].

use crate::error::TrainError;
use crate::id_dropout::IdDropout;
use crate::ranks::Ranks;
use ncs_features::{Batch, Population, Schema, Task};
use ncs_model::{Gradient, TableGradient};
use ncs_readers::batches::BatchPlan;
use ncs_readers::cache::Cache;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Shrinkage factor of a row: cap I / (I + k), where I = n p (1 - p), n is the number of its labelled training rows and p the
/// positive rate of the task.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "settings", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "settings", schemars(rename = "EvidenceSettings"))]
#[serde(default, deny_unknown_fields)]
pub struct ShrinkageRule {
    /// Information at which the factor is cap / 2; default: estimated for each table.
    #[cfg_attr(feature = "settings", schemars(extend("exclusiveMinimum" = 0.0)))]
    pub k: Option<f64>,
    /// Maximum factor.
    #[cfg_attr(feature = "settings", schemars(extend("exclusiveMinimum" = 0.0, "maximum" = 1.0)))]
    pub cap: f64,
    /// If true, divides the factor s by that of the task in where, if that is larger.
    pub guarded: bool,
}

impl Default for ShrinkageRule {
    /// Derived for each table.
    fn default() -> ShrinkageRule {
        ShrinkageRule {
            k: None,
            cap: 1.0,
            guarded: false,
        }
    }
}

/// The training rows whose labels are counted.
#[derive(Clone, Copy)]
pub(crate) struct CountedRows<'a> {
    pub(crate) schema: &'a Schema,
    pub(crate) train: &'a Cache,
    pub(crate) id_dropout: &'a IdDropout,
    /// Each rank counts for the table rows that it holds.
    pub(crate) ranks: Ranks<'a>,
}

/// Shrinkage factors of a task for each row of each table.
#[derive(Clone, Debug)]
pub(crate) struct RowShrinkage {
    /// By table and row; rows that no labelled row holds have none.
    parts: Vec<HashMap<u32, f32>>,
    /// Tables whose rows are weighted by the numbers of a vector: all rows of the log are about each of them, so that
    /// they move as the layers do.
    exempt: Vec<bool>,
}

impl RowShrinkage {
    /// Counts the training rows of a task, in one pass. `None` for a task whose labels are not 0 and 1.
    ///
    /// # Errors
    /// The rows cannot be read.
    pub(crate) fn count(
        rule: ShrinkageRule,
        task: usize,
        rows: CountedRows<'_>,
    ) -> Result<Option<RowShrinkage>, TrainError> {
        let CountedRows {
            schema,
            train,
            id_dropout,
            ranks,
        } = rows;
        if !schema.tasks[task].objective.is_binary() {
            return Ok(None);
        }
        let tables = schema.tables.iter();
        let exempt: Vec<bool> = tables.map(|table| table.ids.vector().is_some()).collect();
        let mut counts = vec![HashMap::new(); schema.tables.len()];
        // Expected additional labels of the unknown rows, from id dropout.
        let mut unknown = vec![HashMap::new(); schema.tables.len()];
        for batch in train.batches(BatchPlan::default()) {
            let batch = batch?;
            let fields = schema.fields.iter().enumerate();
            for (field, spec) in fields.filter(|(_, spec)| !exempt[spec.table]) {
                let owns = |id| ranks.owns(id);
                count(&batch, field, task, owns, &mut counts[spec.table]);
                let of_field = id_dropout.of_field(field);
                if let Some((share, id)) = of_field.filter(|&(_, id)| ranks.owns(id)) {
                    let known = batch.labels[task].iter().filter(|label| !label.is_nan());
                    *unknown[spec.table].entry(id).or_default() += share * known.count() as f64;
                }
            }
        }
        let labels = &train.label_counts().tasks[task];
        let rate = labels.positives as f64 / labels.known.max(1) as f64;
        let parts = counts.into_iter().zip(unknown);
        let parts = parts.map(|(counts, unknown)| rule.parts(counts, unknown, rate, ranks));
        Ok(Some(RowShrinkage {
            parts: parts.collect::<Result<_, _>>()?,
            exempt,
        }))
    }

    /// Divides the factors by those of the task in `where`.
    pub(crate) fn guarded_by(self, other: &RowShrinkage) -> RowShrinkage {
        let table = |(own, other): (HashMap<u32, f32>, &HashMap<u32, f32>)| {
            let guarded = |(id, part): (u32, f32)| {
                let others = other.get(&id).copied().unwrap_or(0.0);
                (id, if others > part { part / others } else { part })
            };
            own.into_iter().map(guarded).collect()
        };
        RowShrinkage {
            parts: self
                .parts
                .into_iter()
                .zip(&other.parts)
                .map(table)
                .collect(),
            exempt: self.exempt,
        }
    }

    /// Returns the factor of each row of a gradient, `[table][id of the gradient]`.
    pub(crate) fn parts(&self, gradient: &Gradient) -> Vec<Vec<f32>> {
        let tables = self.parts.iter().zip(&self.exempt).zip(&gradient.tables);
        let of_table =
            |((parts, is_exempt), gradient): ((&HashMap<u32, f32>, &bool), &TableGradient<f32>)| {
                let without = if *is_exempt { 1.0 } else { 0.0 };
                let part = |id: &u32| parts.get(id).copied().unwrap_or(without);
                gradient.ids.iter().map(part).collect()
            };
        tables.map(of_table).collect()
    }
}

/// Returns, if there is a rule, the shrinkage factors of each task; without `of_all`, only for
/// tasks that count the rows of another.
pub(crate) fn of_tasks(
    rule: Option<ShrinkageRule>,
    of_all: bool,
    rows: CountedRows<'_>,
) -> Result<Vec<Option<RowShrinkage>>, TrainError> {
    let Some(rule) = rule else {
        return Ok(Vec::new());
    };
    let count = |rule: ShrinkageRule, number: usize| RowShrinkage::count(rule, number, rows);
    let of_task = |(number, task): (usize, &Task)| {
        let click = match task.population {
            Population::All if of_all => return count(rule, number),
            Population::All => return Ok(None),
            Population::Where(click) => click,
        };
        let own = count(rule, number)?;
        if !rule.guarded || own.is_none() {
            return Ok(own);
        }
        let clicks = count(ShrinkageRule { cap: 1.0, ..rule }, click)?;
        Ok(match (own, clicks) {
            (Some(own), Some(clicks)) => Some(own.guarded_by(&clicks)),
            (own, _) => own,
        })
    };
    rows.schema.tasks.iter().enumerate().map(of_task).collect()
}

impl ShrinkageRule {
    /// Returns the factors of a table's rows from the `counts` of labels and positives, with the additional labels
    /// of rows that dropped ids add (`dropped`); `rate` is the task's. Each rank passes the counts of its rows.
    fn parts(
        self,
        counts: HashMap<u32, [u32; 2]>,
        dropped: HashMap<u32, f64>,
        rate: f64,
        ranks: Ranks<'_>,
    ) -> Result<HashMap<u32, f32>, TrainError> {
        let precision = match self.k {
            Some(k) => k,
            None => 1.0 / variance(ranks.sums_over_rows(deviations(&counts, rate))?),
        };
        let mut labels: HashMap<u32, f64> = dropped;
        for (id, [n, _]) in counts {
            *labels.entry(id).or_default() += f64::from(n);
        }
        let part = |(id, n): (u32, f64)| {
            let information = n * rate * (1.0 - rate);
            (
                id,
                (self.cap * information / (information + precision)) as f32,
            )
        };
        Ok(labels.into_iter().map(part).collect())
    }
}

/// Returns the number of rows, `Q`, the sum of their information `I`, and that of its squares.
fn deviations(counts: &HashMap<u32, [u32; 2]>, rate: f64) -> [f64; 4] {
    let each = rate * (1.0 - rate);
    let (mut spread, mut sum, mut squares) = (0.0, 0.0, 0.0);
    // In the order of the rows, so that the sum is the same in every run.
    let mut rows: Vec<(u32, [u32; 2])> = counts.iter().map(|(&id, &count)| (id, count)).collect();
    rows.sort_unstable();
    for (_, [n, positives]) in rows {
        let information = f64::from(n) * each;
        spread += (f64::from(positives) - f64::from(n) * rate).powi(2) / information;
        sum += information;
        squares += information * information;
    }
    [counts.len() as f64, spread, sum, squares]
}

/// Returns the between-row variance of the effects on a task's logit (DerSimonian-Laird estimate, at least 0).
fn variance([n_rows, spread, sum, squares]: [f64; 4]) -> f64 {
    let excess = spread - (n_rows - 1.0);
    let variance = excess / (sum - squares / sum);
    // One row, or labels of one class only, carry no information.
    if variance.is_finite() {
        variance.max(0.0)
    } else {
        0.0
    }
}

/// Adds the labelled rows of a batch to the counts of one field's table. An id that a list holds twice
/// counts once. Table rows that this rank does not hold are left out.
fn count(
    batch: &Batch,
    field: usize,
    task: usize,
    owns: impl Fn(u32) -> bool,
    counts: &mut HashMap<u32, [u32; 2]>,
) {
    let ids = &batch.fields[field];
    if !ids.numbers.is_empty() {
        return;
    }
    let labels = batch.labels[task].iter().enumerate();
    for (row, &label) in labels.filter(|(_, label)| !label.is_nan()) {
        let of_row = if ids.offsets.is_empty() {
            &ids.ids[row..=row]
        } else {
            &ids.ids[ids.offsets[row] as usize..ids.offsets[row + 1] as usize]
        };
        for (at, &id) in of_row.iter().enumerate() {
            if owns(id) && !of_row[..at].contains(&id) {
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
    use crate::rank_tables::RankTables;
    use ncs_collective::Solo;
    use ncs_features::FieldIds;

    /// Returns the factors where there is one rank.
    fn alone(
        rule: ShrinkageRule,
        counts: HashMap<u32, [u32; 2]>,
        dropped: HashMap<u32, f64>,
        rate: f64,
    ) -> HashMap<u32, f32> {
        let ranks = Ranks::new(&Solo, RankTables::Sharded);
        rule.parts(counts, dropped, rate, ranks).unwrap()
    }

    #[test]
    fn a_guarded_part_is_measured_against_that_of_clicks() {
        let of = |parts: &[(u32, f32)]| RowShrinkage {
            parts: vec![parts.iter().copied().collect()],
            exempt: vec![false],
        };
        let own = of(&[(1, 0.5), (2, 0.5), (3, 0.5), (4, 0.0), (5, 0.2)]);
        let clicks = of(&[(1, 0.8), (2, 0.4), (4, 0.9), (5, 0.2)]);
        let found = own.guarded_by(&clicks);
        let expected = [(1, 0.625), (2, 0.5), (3, 0.5), (4, 0.0), (5, 0.2)];
        assert_eq!(found.parts, [HashMap::from(expected)]);
    }

    #[test]
    fn rows_that_a_vector_weighs_move_as_the_layers_do() {
        let evidence = RowShrinkage {
            parts: vec![HashMap::from([(7, 0.5)]), HashMap::new()],
            exempt: vec![false, true],
        };
        let table = |ids: &[u32]| TableGradient::new(ids.into(), vec![0.0; ids.len()]);
        let gradient = Gradient {
            tables: vec![table(&[7, 8]), table(&[1, 2])],
            ..Gradient::default()
        };
        assert_eq!(evidence.parts(&gradient), [[0.5, 0.0], [1.0, 1.0]]);
    }

    #[test]
    fn a_row_moves_by_what_its_labels_say() {
        let rule = ShrinkageRule {
            k: Some(10.0),
            cap: 0.8,
            guarded: false,
        };
        let part =
            |n| f64::from(alone(rule, HashMap::from([(3, [n, 0])]), HashMap::new(), 0.5)[&3]);
        assert!(part(0).abs() < 1e-6);
        // I = 40 * 1/2 * 1/2 = 10: half of the cap.
        assert!((part(40) - 0.4).abs() < 1e-6);
        assert!((part(160) - 0.64).abs() < 1e-6);
        assert!((0.799..0.8).contains(&part(1_000_000)));
    }

    /// Returns rows of 400 labels with rates around 0.1: `effects` are deviations of the logit.
    fn counted(effects: impl Fn(u32) -> f64) -> HashMap<u32, [u32; 2]> {
        let rng = ncs_model::CounterRng::new(1, "labels");
        let row = |id: u32| {
            let rate = 1.0 / (1.0 + (2.197_224_577 - effects(id)).exp());
            let is_positive = |i: &u32| rng.at(u64::from(id)).uniform(u64::from(*i)) < rate;
            (id, [400, (0..400).filter(is_positive).count() as u32])
        };
        (0..500).map(row).collect()
    }

    #[test]
    fn the_variance_of_the_effects_is_found() {
        let pooled = |counts: &HashMap<u32, [u32; 2]>| {
            let sum = |k: usize| counts.values().map(|c| f64::from(c[k])).sum::<f64>();
            sum(1) / sum(0)
        };
        let same = counted(|_| 0.0);
        assert!(variance(deviations(&same, pooled(&same))) < 0.01);
        // Plus and minus 0.3: a variance of 0.09.
        let differ = counted(|id| if id % 2 == 0 { 0.3 } else { -0.3 });
        let found = variance(deviations(&differ, pooled(&differ)));
        assert!((0.07..0.12).contains(&found), "{found}");
        let rule = ShrinkageRule::default();
        let rate = pooled(&differ);
        let information = 400.0 * rate * (1.0 - rate);
        let expected = information / (information + 1.0 / found);
        let parts = alone(rule, differ, HashMap::new(), rate);
        assert!(
            parts
                .values()
                .all(|&s| (f64::from(s) - expected).abs() < 1e-6)
        );
    }

    #[test]
    fn a_table_whose_rows_do_not_differ_is_left_alone() {
        let rule = ShrinkageRule::default();
        for counts in [
            HashMap::from([(1, [10, 1])]),
            HashMap::from([(1, [10, 1]), (2, [10, 1])]),
            HashMap::new(),
        ] {
            assert!(
                alone(rule, counts, HashMap::new(), 0.1)
                    .values()
                    .all(|&part| part == 0.0)
            );
        }
        let none = HashMap::from([(1, [10, 0]), (2, [5, 0])]);
        assert!(
            alone(rule, none, HashMap::new(), 0.0)
                .values()
                .all(|&part| part == 0.0)
        );
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
        count(&batch, 0, 0, |_| true, &mut counts[0]);
        count(&batch, 1, 0, |_| true, &mut counts[1]);
        assert_eq!(counts[0], HashMap::from([(3, [1, 1]), (4, [1, 0])]));
        assert_eq!(counts[1], HashMap::from([(5, [2, 1]), (6, [1, 1])]));
    }
}
