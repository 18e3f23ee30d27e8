//! From the plan to the schema: vocabularies, means and quantiles of the training rows.

use crate::block::Block;
use crate::encode::signed_log;
use crate::error::{EncodeError, FitError};
use crate::hash::{TextHash, below};
use crate::schema::{
    Field, IdSpace, IdSpacePlan, NumericPlan, Schema, SchemaPlan, Table, TablePlan,
};
use crate::value::FieldReader;
use std::collections::HashMap;

/// Numbers that a quantile table keeps: up to here its boundaries are exact, beyond they come from a
/// seeded sample of this size.
const QUANTILE_SAMPLE: usize = 1_000_000;

/// Learns what the tables need from the training rows, in their order; the same rows give the same
/// schema.
pub struct Fit {
    plan: SchemaPlan,
    /// One for each table.
    learners: Vec<Learner>,
    rows: u64,
}

impl Fit {
    /// Nothing seen yet.
    pub fn new(plan: SchemaPlan) -> Fit {
        let learners = plan
            .tables
            .iter()
            .map(|table| Learner::new(&table.ids))
            .collect();
        Fit {
            plan,
            learners,
            rows: 0,
        }
    }

    /// Whether some table learns from rows; otherwise the pass can be left out.
    pub fn needs_rows(&self) -> bool {
        self.learners.iter().any(Learner::needs_rows)
    }

    /// Learns from some training rows.
    ///
    /// # Errors
    /// A column is absent, or a numeric one holds something other than finite numbers.
    pub fn observe(&mut self, block: &Block) -> Result<(), EncodeError> {
        self.rows += block.n_rows as u64;
        for field in &self.plan.fields {
            self.learners[field.table].observe(field, block)?;
        }
        Ok(())
    }

    /// The schema.
    ///
    /// # Errors
    /// Some table needs rows, and there were none, or none with a number.
    pub fn finish(self) -> Result<Schema, FitError> {
        if self.needs_rows() && self.rows == 0 {
            return Err(FitError::NoRows {
                tables: self.learning_tables(),
            });
        }
        let tables = self.plan.tables.into_iter().zip(self.learners);
        Ok(Schema {
            tables: tables
                .map(|(plan, learner)| learner.table(plan))
                .collect::<Result<_, _>>()?,
            fields: self.plan.fields,
            tasks: self.plan.tasks,
            group: self.plan.group,
        })
    }

    fn learning_tables(&self) -> String {
        let tables = self.plan.tables.iter().zip(&self.learners);
        let learning = tables.filter(|(_, learner)| learner.needs_rows());
        let names: Vec<String> = learning
            .map(|(table, _)| format!("\"{}\"", table.name))
            .collect();
        names.join(", ")
    }
}

/// What one table has learned so far.
enum Learner {
    /// A hash needs no rows.
    Hash,
    Vocabulary(HashMap<Box<[u8]>, u64, TextHash>),
    Scale(Moments),
    Quantiles(Sample),
}

impl Learner {
    fn new(plan: &IdSpacePlan) -> Learner {
        match plan {
            IdSpacePlan::Hash { .. } => Learner::Hash,
            IdSpacePlan::Vocabulary { .. } => Learner::Vocabulary(HashMap::default()),
            IdSpacePlan::Numeric(NumericPlan::Quantiles { .. }) => {
                Learner::Quantiles(Sample::new(QUANTILE_SAMPLE))
            }
            IdSpacePlan::Numeric(numeric) => Learner::Scale(Moments {
                log: *numeric == NumericPlan::Log,
                ..Moments::default()
            }),
        }
    }

    fn needs_rows(&self) -> bool {
        !matches!(self, Learner::Hash)
    }

    fn observe(&mut self, field: &Field, block: &Block) -> Result<(), EncodeError> {
        if !self.needs_rows() {
            return Ok(());
        }
        let mut reader = FieldReader::new(field, block)?;
        for row in 0..block.n_rows {
            match self {
                Learner::Hash => {}
                Learner::Vocabulary(counts) => reader.texts(row, |text| {
                    count(counts, text);
                    Ok(())
                })?,
                Learner::Scale(moments) => reader.numbers(row, |x| moments.add(x))?,
                Learner::Quantiles(sample) => reader.numbers(row, |x| sample.add(x))?,
            }
        }
        Ok(())
    }

    fn table(self, plan: TablePlan) -> Result<Table, FitError> {
        let ids = match (self, plan.ids) {
            (
                Learner::Vocabulary(counts),
                IdSpacePlan::Vocabulary {
                    min_count,
                    max_size,
                },
            ) => most_frequent(counts, min_count, max_size),
            (Learner::Scale(moments), _) => moments.scale(&plan.name)?,
            (
                Learner::Quantiles(sample),
                IdSpacePlan::Numeric(NumericPlan::Quantiles { buckets }),
            ) => sample.quantiles(buckets, &plan.name)?,
            (_, IdSpacePlan::Hash { buckets, function }) => IdSpace::Hash { buckets, function },
            _ => unreachable!("a learner is made from its table's plan"),
        };
        Ok(Table {
            name: plan.name,
            ids,
        })
    }
}

fn count(counts: &mut HashMap<Box<[u8]>, u64, TextHash>, text: Option<&[u8]>) {
    let Some(text) = text else { return };
    match counts.get_mut(text) {
        Some(n) => *n += 1,
        None => {
            counts.insert(text.into(), 1);
        }
    }
}

/// The values seen often enough, most frequent first, ties by text. Values that are not UTF-8 stay
/// unknown.
fn most_frequent(
    counts: HashMap<Box<[u8]>, u64, TextHash>,
    min_count: u32,
    max_size: Option<u32>,
) -> IdSpace {
    let often = counts
        .into_iter()
        .filter(|(_, n)| *n >= u64::from(min_count));
    let readable = often.filter_map(|(text, n)| Some((String::from_utf8(text.into()).ok()?, n)));
    let mut values: Vec<(String, u64)> = readable.collect();
    values.sort_unstable_by(|(a, n_a), (b, n_b)| n_b.cmp(n_a).then_with(|| a.cmp(b)));
    values.truncate(max_size.map_or(usize::MAX, |size| size as usize));
    IdSpace::Vocabulary {
        values: values.into_iter().map(|(text, _)| text).collect(),
    }
}

/// Running mean and sum of squared deviations (Welford 1962).
#[derive(Default)]
struct Moments {
    log: bool,
    n: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    fn add(&mut self, x: Option<f64>) {
        let Some(x) = x else { return };
        let x = if self.log { signed_log(x) } else { x };
        self.n += 1.0;
        let delta = x - self.mean;
        self.mean += delta / self.n;
        self.squares += delta * (x - self.mean);
    }

    fn scale(&self, table: &str) -> Result<IdSpace, FitError> {
        if self.n == 0.0 {
            return Err(no_numbers(table));
        }
        let deviation = (self.squares / self.n).sqrt();
        Ok(IdSpace::Scaled {
            log: self.log,
            mean: self.mean,
            deviation: if deviation > 0.0 && deviation.is_finite() {
                deviation
            } else {
                1.0
            },
        })
    }
}

/// A uniform sample of at most `size` numbers (reservoir sampling, Vitter's algorithm R).
struct Sample {
    size: usize,
    seen: u64,
    numbers: Vec<f64>,
    random: u64,
}

impl Sample {
    fn new(size: usize) -> Sample {
        Sample {
            size,
            seen: 0,
            numbers: Vec::new(),
            random: 0,
        }
    }

    fn add(&mut self, x: Option<f64>) {
        let Some(x) = x else { return };
        self.seen += 1;
        if self.numbers.len() < self.size {
            self.numbers.push(x);
            return;
        }
        let place = below(&mut self.random, self.seen) as usize;
        if let Some(number) = self.numbers.get_mut(place) {
            *number = x;
        }
    }

    /// Boundary `k` of `buckets` is the value that `k / buckets` of the numbers are below; equal ones
    /// count once, and none stands at the smallest number.
    fn quantiles(mut self, buckets: u32, table: &str) -> Result<IdSpace, FitError> {
        self.numbers.sort_unstable_by(f64::total_cmp);
        let n = self.numbers.len();
        let mut last = *self.numbers.first().ok_or_else(|| no_numbers(table))?;
        let mut boundaries = Vec::new();
        for k in 1..buckets as usize {
            let boundary = self.numbers[k * n / buckets as usize];
            if boundary > last {
                boundaries.push(boundary);
                last = boundary;
            }
        }
        Ok(IdSpace::Quantiles { boundaries })
    }
}

fn no_numbers(table: &str) -> FitError {
    FitError::NoNumbers {
        table: table.to_owned(),
    }
}
