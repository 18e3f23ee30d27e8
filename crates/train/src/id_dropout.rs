//! Id dropout: replaces ids by the unknown id in training, as often as ids are unknown at serving time.
//!
//! An id that training has not seen has the vector of the row "unknown". Trained on rare ids alone, or not at all,
//! that row describes what rare ids have in common; the ids that a model scores later are *new* ids. So in each
//! training step an id becomes unknown with probability `p = (U_v - U_t) / (1 - U_t)`, column by column: `U_v` is
//! the share of unknown values in the validation rows (the latest, where the split is by time), `U_t` that in
//! the training rows themselves. The network then learns to score such rows from the other columns, and the
//! row "unknown" learns the average effect of an id (docs/decisions/0032-ids-that-become-unknown.md).

use ncs_features::piecewise::{MISSING, PER_ROW};
use ncs_features::{Batch, Field, FieldIds, IdSpace, Schema};
use ncs_model::CounterRng;
use ncs_readers::batches::BatchPlan;
use ncs_readers::cache::{Cache, CacheError};
use serde::{Deserialize, Serialize};

/// Maximum probability: training must see some ids, even if most later ids are new.
const MAX_RATE: f64 = 0.9;

/// Id dropout: automatic, none, or a fixed rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "settings", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "settings", schemars(rename = "IdDropout"))]
#[serde(rename_all = "snake_case")]
pub enum IdDropoutPlan {
    /// In each column as many as are unknown in the validation rows.
    Auto,
    /// None.
    #[default]
    None,
    /// This share of the ids of every column.
    #[serde(untagged)]
    Rate(
        #[cfg_attr(
            feature = "settings",
            schemars(extend("exclusiveMinimum" = 0.0, "exclusiveMaximum" = 1.0))
        )]
        f64,
    ),
}

/// For each field the probability that an id becomes unknown in a step, and the row of unknown ids; `None`
/// where none does.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct IdDropout {
    fields: Vec<Option<(f64, u32)>>,
    /// Crosses, their rows of unknown combinations, and the fields that they are of: a combination with an unknown id is
    /// unknown.
    crosses: Vec<(usize, u32, Vec<usize>)>,
    /// Past-rate fields and their source fields: an unknown id has no past rate.
    rates: Vec<(usize, Vec<usize>)>,
}

impl IdDropout {
    /// Measures the shares in one pass over each part, where the plan asks for it.
    ///
    /// # Errors
    /// The rows cannot be read.
    pub fn measure(
        plan: IdDropoutPlan,
        schema: &Schema,
        train: &Cache,
        valid: Option<&Cache>,
    ) -> Result<IdDropout, CacheError> {
        let unknown = |field: &Field| schema.tables[field.table].ids.unknown();
        let unknown: Vec<Option<u32>> = schema.fields.iter().map(unknown).collect();
        let unknown_of = |f: usize| schema.tables[schema.fields[f].table].ids.unknown();
        let rates: Vec<f64> = match (plan, valid) {
            (IdDropoutPlan::Rate(rate), _) => vec![rate; unknown.len()],
            (IdDropoutPlan::Auto, Some(valid)) => later_rates(schema, &unknown, train, valid)?,
            _ => return Ok(IdDropout::default()),
        };
        let crosses = (0..schema.fields.len()).filter_map(|f| Some((f, cross_of(schema, f)?)));
        let crosses: Vec<(usize, Vec<usize>)> = crosses.collect();
        let rates = beside_parts(rates, &crosses);
        let pairs = rates.into_iter().zip(unknown);
        let past = (0..schema.fields.len()).filter_map(|f| Some((f, schema.rate(f)?.of.clone())));
        let of_cross = |(f, of): (usize, Vec<usize>)| Some((f, unknown_of(f)?, of));
        Ok(IdDropout {
            crosses: crosses.into_iter().filter_map(of_cross).collect(),
            rates: past.collect(),
            fields: pairs
                .map(|(rate, id)| id.filter(|_| rate > 0.0).map(|id| (rate, id)))
                .collect(),
        })
    }

    /// The probability that an id of a field becomes unknown, and the row of unknown ids.
    pub fn of_field(&self, field: usize) -> Option<(f64, u32)> {
        self.fields.get(field).copied().flatten()
    }

    /// Applies id dropout to a batch with the random numbers of a step. Missing values stay missing.
    pub(crate) fn apply(&self, batch: &mut Batch, rng: CounterRng) {
        for (f, ids) in batch.fields.iter_mut().enumerate() {
            let Some((rate, unknown)) = self.of_field(f) else {
                continue;
            };
            let rng = rng.at(f as u64);
            for (id, i) in ids.ids.iter_mut().zip(0..) {
                if *id != 0 && rng.uniform(i) < rate {
                    *id = unknown;
                }
            }
        }
        for (cross, unknown, of) in &self.crosses {
            self.forget_combinations(batch, *cross, *unknown, of);
        }
        for (rate, of) in &self.rates {
            for &f in of {
                self.forget(batch, *rate, f);
            }
        }
    }

    /// Makes a combination unknown in the rows where one of its ids has become unknown.
    fn forget_combinations(&self, batch: &mut Batch, cross: usize, unknown: u32, of: &[usize]) {
        for &f in of {
            let Some((_, unknown_part)) = self.of_field(f) else {
                continue;
            };
            for row in 0..batch.n_rows {
                if batch.fields[f].ids[row] == unknown_part && batch.fields[cross].ids[row] != 0 {
                    batch.fields[cross].ids[row] = unknown;
                }
            }
        }
    }

    /// Makes a past rate of a field missing in the rows whose id is unknown.
    fn forget(&self, batch: &mut Batch, rate: usize, of: usize) {
        let Some((_, unknown)) = self.of_field(of) else {
            return;
        };
        for row in 0..batch.n_rows {
            if batch.fields[of].ids[row] == unknown {
                let place = row * PER_ROW;
                let numbers = &mut batch.fields[rate].numbers[place..place + PER_ROW];
                numbers.copy_from_slice(&MISSING);
            }
        }
    }
}

/// Returns the fields that a field crosses, if it is a cross.
fn cross_of(schema: &Schema, f: usize) -> Option<Vec<usize>> {
    match &schema.tables[schema.fields[f].table].ids {
        IdSpace::Cross(cross) => Some(cross.of.clone()),
        _ => None,
    }
}

/// Returns the rates with those of crosses lowered, since a combination becomes unknown with its parts already: for a
/// rate `p` of the cross and the probability `q` that none of its parts becomes unknown, `1 - (1 - p) / q`.
fn beside_parts(mut rates: Vec<f64>, crosses: &[(usize, Vec<usize>)]) -> Vec<f64> {
    for (cross, of) in crosses {
        let stays: f64 = of.iter().map(|&part| 1.0 - rates[part]).product();
        rates[*cross] = (1.0 - (1.0 - rates[*cross]) / stays).max(0.0);
    }
    rates
}

/// Returns the dropout rate of each field: 0 if as many values are unknown in training as in validation.
fn later_rates(
    schema: &Schema,
    unknown: &[Option<u32>],
    train: &Cache,
    valid: &Cache,
) -> Result<Vec<f64>, CacheError> {
    let rows = schema.tables.iter().map(|table| table.ids.n_rows());
    let mut seen: Vec<Vec<bool>> = rows.map(|rows| vec![false; rows]).collect();
    let mut in_train = vec![Share::default(); unknown.len()];
    for batch in train.batches(BatchPlan::default()) {
        for (f, ids) in batch?.fields.iter().enumerate() {
            let seen = &mut seen[schema.fields[f].table];
            ids.ids.iter().for_each(|&id| seen[id as usize] = true);
            in_train[f].count(ids, |id| Some(id) == unknown[f]);
        }
    }
    let mut in_valid = vec![Share::default(); unknown.len()];
    for batch in valid.batches(BatchPlan::default()) {
        for (f, ids) in batch?.fields.iter().enumerate() {
            let seen = &seen[schema.fields[f].table];
            in_valid[f].count(ids, |id| Some(id) == unknown[f] || !seen[id as usize]);
        }
    }
    let pairs = in_train.iter().zip(&in_valid);
    Ok(pairs
        .map(|(train, valid)| rate(train.value(), valid.value()))
        .collect())
}

/// Returns the probability that raises the share of unknown values from `now` to `later`.
fn rate(now: f64, later: f64) -> f64 {
    if now < later {
        ((later - now) / (1.0 - now)).min(MAX_RATE)
    } else {
        0.0
    }
}

/// Number of values and of unknown values, missing ones excluded.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    values: u64,
    unknown: u64,
}

impl Share {
    fn count(&mut self, ids: &FieldIds, is_unknown: impl Fn(u32) -> bool) {
        for &id in ids.ids.iter().filter(|&&id| id != 0) {
            self.values += 1;
            self.unknown += u64::from(is_unknown(id));
        }
    }

    fn value(self) -> f64 {
        self.unknown as f64 / self.values.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_makes_up_for_what_is_unknown_later() {
        assert_eq!(rate(0.0, 0.56), 0.56);
        assert!((rate(0.2, 0.6) - 0.5).abs() < 1e-12);
        assert_eq!(rate(0.3, 0.1), 0.0);
        assert_eq!(rate(0.0, 1.0), MAX_RATE);
    }

    #[test]
    fn ids_become_unknown_at_the_rate_and_missing_ones_stay() {
        let ids = |ids: Vec<u32>| FieldIds {
            ids,
            ..FieldIds::default()
        };
        let all: Vec<u32> = (0..10_000).map(|i| 2 * (i % 5)).collect();
        let batch = Batch {
            n_rows: all.len(),
            fields: vec![ids(all.clone()), ids(all.clone())],
            ..Batch::default()
        };
        let dropout = IdDropout {
            fields: vec![Some((0.25, 1)), None],
            ..IdDropout::default()
        };
        let dropped = |rng| {
            let mut batch = batch.clone();
            dropout.apply(&mut batch, rng);
            batch.fields
        };
        let rng = CounterRng::new(1, "ids");
        let fields = dropped(rng);
        assert_eq!(fields[1].ids, all);
        let unknown = fields[0].ids.iter().filter(|&&id| id == 1).count();
        assert!((1900..2100).contains(&unknown), "{unknown} of 8000");
        let kept = fields[0].ids.iter().zip(&all);
        assert!(
            kept.clone()
                .all(|(&now, &id)| now == id || (now == 1 && id != 0))
        );
        assert_eq!(dropped(rng), fields, "the same step, the same ids");
        assert_ne!(dropped(rng.at(1)), fields);
    }

    #[test]
    fn the_past_of_an_unknown_id_is_missing() {
        let n_rows = 1000;
        let ids = || FieldIds {
            ids: vec![7; n_rows],
            ..FieldIds::default()
        };
        let mut batch = Batch {
            n_rows,
            fields: vec![
                ids(),
                ids(),
                FieldIds {
                    numbers: vec![0.5; n_rows * PER_ROW],
                    ..FieldIds::of_numbers(PER_ROW)
                },
            ],
            ..Batch::default()
        };
        let dropout = IdDropout {
            fields: vec![Some((0.25, 1)), None, None],
            rates: vec![(2, vec![1, 0])],
            ..IdDropout::default()
        };
        dropout.apply(&mut batch, CounterRng::new(1, "ids"));
        let rows = batch.fields[2].numbers.chunks(PER_ROW);
        for (id, numbers) in batch.fields[0].ids.iter().zip(rows) {
            assert_eq!(*id == 1, numbers[0].is_nan());
            assert!(*id == 1 || *numbers == [0.5; PER_ROW]);
        }
        assert!(batch.fields[0].ids.contains(&1));
    }

    #[test]
    fn a_combination_becomes_unknown_with_its_parts() {
        let ids = |id| FieldIds {
            ids: vec![id; 1000],
            ..FieldIds::default()
        };
        let mut batch = Batch {
            n_rows: 1000,
            fields: vec![ids(7), ids(8), ids(9)],
            ..Batch::default()
        };
        let dropout = IdDropout {
            fields: vec![Some((0.25, 1)), None, None],
            crosses: vec![(2, 51, vec![0, 1])],
            ..IdDropout::default()
        };
        dropout.apply(&mut batch, CounterRng::new(1, "ids"));
        let pairs = batch.fields[0].ids.iter().zip(&batch.fields[2].ids);
        assert!(
            pairs
                .clone()
                .all(|(part, cross)| (*part == 1) == (*cross == 51))
        );
        assert!(batch.fields[2].ids.contains(&51) && batch.fields[2].ids.contains(&9));
        assert_eq!(
            beside_parts(vec![0.2, 0.0, 0.6], &[(2, vec![0, 1])]),
            [0.2, 0.0, 0.5]
        );
        assert_eq!(
            beside_parts(vec![0.5, 0.0, 0.2], &[(2, vec![0, 1])])[2],
            0.0
        );
    }
}
