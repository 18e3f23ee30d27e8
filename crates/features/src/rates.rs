//! Counts and rates of the past: how often an id, or a pair of ids, was shown in training, and how often the rows
//! that showed it were clicked or bought.
//!
//! A rate is shrunk towards the overall rate `m` of its task by the evidence that it rests on: with `n` known labels
//! of which `s` are positive, `p = (s + k m) / (n + k)`, the mean of the beta posterior. The strength `k` follows from
//! the rows by the method of moments of the beta-binomial (Kleinman 1973): see `moments.rs`. What the
//! network sees is `logit(p) - logit(m)`, on the scale of [`Piecewise`], missing where nothing is known.
//!
//! Rows that come after training see all training rows. A training row sees only the blocks of rows before its
//! own: [`Histories`] keeps these apart.

mod cells;
mod counts;
mod history;
mod moments;
mod past;

pub use counts::{Counts, MOST_KEYS};
pub use history::Histories;
pub use past::{PastRates, RateNote};

use crate::batch::{Batch, FieldIds};
use crate::piecewise::{PER_ROW, Piecewise};
use crate::schema::{IdSpace, Schema};
use serde::{Deserialize, Serialize};

/// Columns that a rate can be of.
pub const MOST_COLUMNS: usize = 2;

/// Pieces of the scale of a number (docs/decisions/0031-numbers-piecewise.md).
pub const PIECES: u32 = 16;

/// Selection of past counts and rates as features, before any row is read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RatesPlan {
    /// None.
    #[default]
    None,
    /// Rates of single categorical columns of more than 100 values that predict labels of later training
    /// rows.
    Auto,
    /// These.
    These(Vec<RatePlan>),
}

impl RatesPlan {
    /// Returns true if there are no rates.
    pub fn is_none(&self) -> bool {
        *self == RatesPlan::None
    }

    /// Returns the number of fields, if the plan lists them.
    pub fn n_fields(&self) -> usize {
        match self {
            RatesPlan::None | RatesPlan::Auto => 0,
            RatesPlan::These(rates) => rates.iter().map(|rate| 1 + rate.tasks.len()).sum(),
        }
    }
}

/// Rates of one column or pair.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RatePlan {
    /// The categorical fields, one or two, by their place in the schema.
    pub of: Vec<usize>,
    /// The tasks whose rates are wanted, by their place; their labels are 0 or 1.
    pub tasks: Vec<usize>,
}

/// Returns the rates of a fitted schema as a plan lists them.
pub(crate) fn rates_of(schema: &Schema) -> Vec<RatePlan> {
    let mut rates: Vec<RatePlan> = Vec::new();
    for table in &schema.tables {
        let IdSpace::Rate(rate) = &table.ids else {
            continue;
        };
        let is_last = rates.last().is_some_and(|last| last.of == rate.of);
        if !is_last {
            rates.push(RatePlan {
                of: rate.of.clone(),
                tasks: Vec::new(),
            });
        }
        if let (Measure::Task { task, .. }, Some(last)) = (rate.measure, rates.last_mut()) {
            last.tasks.push(task);
        }
    }
    rates
}

/// A fitted count or rate: the state after all training rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    /// The categorical fields, by their place in the schema, each before this one.
    pub of: Vec<usize>,
    /// Quantity that the feature measures.
    pub measure: Measure,
    /// Rows by the ids of those fields.
    pub counts: Counts,
    /// Encoding of the number in the first layer, fitted to the values that training rows have.
    pub scale: Piecewise,
}

/// Quantity measured for an id.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// The number of rows, times `factor`: as if so many rows were behind it as trained the network.
    Rows {
        /// Training rows over the rows that are counted.
        factor: f64,
    },
    /// The log-odds of a task's smoothed rate, above those of its overall rate.
    Task {
        /// The task, by its place in the schema.
        task: usize,
        /// Its overall rate, in (0, 1).
        overall: f64,
        /// Strength of the prior: the number of rows as which the overall rate counts.
        strength: f64,
    },
}

impl Measure {
    /// Returns the value from the numbers of known and of positive labels; `None` if there are no known
    /// labels.
    pub fn value(&self, known: u32, positives: u32) -> Option<f64> {
        if known == 0 {
            return None;
        }
        Some(match *self {
            Measure::Rows { factor } => f64::from(known) * factor,
            Measure::Task { overall, .. } => logit(self.rate(known, positives)) - logit(overall),
        })
    }

    /// Returns the smoothed rate; 1 for a number of rows.
    pub fn rate(&self, known: u32, positives: u32) -> f64 {
        match *self {
            Measure::Rows { .. } => 1.0,
            Measure::Task {
                overall, strength, ..
            } => (f64::from(positives) + strength * overall) / (f64::from(known) + strength),
        }
    }

    /// Returns true if its numbers are valid.
    fn is_sound(&self, n_tasks: usize) -> bool {
        match *self {
            Measure::Rows { factor } => factor.is_finite() && factor > 0.0,
            Measure::Task {
                task,
                overall,
                strength,
            } => {
                let is_rate = overall > 0.0 && overall < 1.0;
                task < n_tasks && is_rate && strength.is_finite() && strength > 0.0
            }
        }
    }
}

fn logit(p: f64) -> f64 {
    (p / (1.0 - p)).ln()
}

impl Rate {
    /// Returns the number of rows with these ids.
    pub fn value(&self, key: u64) -> Option<f64> {
        let (known, positives) = self.counts.get(key)?;
        self.measure.value(known, positives)
    }

    /// Returns the values for the rows of a batch; `ids_of(field)` returns the ids of a field and true if
    /// they are the one row that all rows share.
    pub(crate) fn encode<'b>(
        &self,
        schema: &Schema,
        n_rows: usize,
        ids_of: impl Fn(usize) -> (&'b FieldIds, bool),
    ) -> FieldIds {
        let mut out = FieldIds::of_numbers(PER_ROW);
        self.each_value(schema, n_rows, ids_of, |value| {
            out.numbers.extend(self.scale.encode(value));
        });
        out
    }

    /// Calls `each` with the value of every row, `None` where nothing is known; `ids_of` as in [`Rate::encode`].
    pub(crate) fn each_value<'b>(
        &self,
        schema: &Schema,
        n_rows: usize,
        ids_of: impl Fn(usize) -> (&'b FieldIds, bool),
        mut each: impl FnMut(Option<f64>),
    ) {
        let keys = Keys::new(schema, &self.of);
        let parts: Vec<_> = self.of.iter().map(|&field| ids_of(field)).collect();
        for row in 0..n_rows {
            let ids = parts
                .iter()
                .map(|(ids, is_shared)| ids.ids[if *is_shared { 0 } else { row }]);
            each(keys.key(ids).and_then(|key| self.value(key)));
        }
    }

    /// Returns the value for each id of the single field that the rate is of, by id from 0 to `n_ids`, NaN where
    /// nothing is known; `None` for a rate of a pair.
    pub fn values_by_id(&self, schema: &Schema, n_ids: u32) -> Option<Vec<f64>> {
        let [_] = self.of[..] else { return None };
        let keys = Keys::new(schema, &self.of);
        let value = |id| self.value(keys.key(std::iter::once(id))?);
        Some((0..n_ids).map(|id| value(id).unwrap_or(f64::NAN)).collect())
    }

    /// Checks that this is a count or rate of fields of this schema, at position `place`.
    ///
    /// # Errors
    /// The text describes the error.
    pub fn check(&self, schema: &Schema, place: usize) -> Result<(), String> {
        let is_category = |&f: &usize| {
            f < place
                && schema.fields[f].pooling.is_none()
                && schema
                    .tables
                    .get(schema.fields[f].table)
                    .is_some_and(|table| {
                        matches!(table.ids, IdSpace::Hash { .. } | IdSpace::Vocabulary { .. })
                    })
        };
        let fits = (1..=MOST_COLUMNS).contains(&self.of.len())
            && self.of.iter().all(is_category)
            && self.measure.is_sound(schema.tasks.len())
            && !self.scale.knots.is_empty();
        if fits {
            Ok(())
        } else {
            Err(format!(
                "past rate \"{}\" is not of categories and a task",
                schema.fields[place].name
            ))
        }
    }
}

/// From ids to the key of a count.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    /// For each field the id of values that training has not seen.
    unknown: Vec<Option<u32>>,
}

impl Keys {
    pub(crate) fn new(schema: &Schema, of: &[usize]) -> Keys {
        let unknown = |&field: &usize| schema.tables[schema.fields[field].table].ids.unknown();
        Keys {
            unknown: of.iter().map(unknown).collect(),
        }
    }

    /// Returns the key of the ids; `None` if a value is missing or unknown.
    pub(crate) fn key(&self, ids: impl Iterator<Item = u32>) -> Option<u64> {
        let mut key = 0;
        for (id, unknown) in ids.zip(&self.unknown) {
            if id == 0 || Some(id) == *unknown {
                return None;
            }
            key = key << 32 | u64::from(id);
        }
        Some(key)
    }

    /// Returns the key of a row of a batch.
    pub(crate) fn of_row(&self, batch: &Batch, of: &[usize], row: usize) -> Option<u64> {
        self.key(of.iter().map(|&field| batch.fields[field].ids[row]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_moves_from_the_overall_one_as_evidence_grows() {
        let measure = Measure::Task {
            task: 0,
            overall: 0.1,
            strength: 10.0,
        };
        assert_eq!(measure.value(0, 0), None);
        assert!((measure.rate(10, 10) - 0.55).abs() < 1e-12);
        assert!((measure.rate(90, 0) - 0.01).abs() < 1e-12);
        assert!(measure.value(10, 1).unwrap().abs() < 1e-12);
        assert!(measure.value(10, 5).unwrap() > 0.0);
        assert!(measure.value(10, 0).unwrap() < 0.0);
        assert_eq!(Measure::Rows { factor: 2.0 }.value(7, 0), Some(14.0));
    }

    #[test]
    fn missing_and_unknown_ids_have_no_key() {
        let keys = Keys {
            unknown: vec![Some(1), None],
        };
        assert_eq!(keys.key([5, 1].into_iter()), Some(5 << 32 | 1));
        assert_eq!(keys.key([1, 5].into_iter()), None);
        assert_eq!(keys.key([5, 0].into_iter()), None);
    }
}
