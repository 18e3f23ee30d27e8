//! From the plan to the schema: vocabularies, means and quantiles of the training rows.

use crate::block::Block;
use crate::canonical::ValueRule;
use crate::delays;
use crate::error::{EncodeError, FitError};
use crate::hash::TextHash;
use crate::late::DelaySample;
use crate::piecewise::signed_log;
use crate::range::{Moments, mean_and_deviation};
use crate::sample::Sample;
use crate::schema::{
    Field, IdSpace, IdSpacePlan, NumericPlan, Schema, SchemaPlan, Table, TablePlan, Task,
};
use crate::value::FieldReader;
use crate::value_scales;
use crate::vector_reader::VectorScale;
use std::collections::HashMap;

/// Numbers that a quantile table keeps: up to here its boundaries are exact, beyond they come from a
/// seeded sample of this size.
const QUANTILE_SAMPLE: usize = 1_000_000;

/// Numbers that a scaled table keeps to find its range.
const RANGE_SAMPLE: usize = 100_000;

/// Learns what the tables need from the training rows, in their order; the same rows give the same
/// schema.
pub struct Fit {
    plan: SchemaPlan,
    /// One for each table.
    learners: Vec<Learner>,
    rows: u64,
    /// The tables that are extended; empty where they are learned anew.
    base: Vec<Table>,
    /// Tasks of the schema that is extended.
    base_tasks: Vec<Task>,
    /// Delays of the conversions of mature rows, task by task.
    delays: Vec<DelaySample>,
    /// Labels that are numbers, task by task.
    values: Vec<Moments>,
}

impl Fit {
    /// Starts a fit without rows.
    pub fn new(plan: SchemaPlan) -> Fit {
        let learners = plan
            .tables
            .iter()
            .map(|table| Learner::new(&table.ids))
            .collect();
        Fit {
            delays: vec![DelaySample::default(); plan.tasks.len()],
            values: vec![Moments::default(); plan.tasks.len()],
            plan,
            learners,
            rows: 0,
            base: Vec::new(),
            base_tasks: Vec::new(),
        }
    }

    /// Learns what rows add to a schema that was fitted by this plan: values beyond its vocabularies, which get the
    /// ids after theirs. Every id stays what it was, and so do scales, knots and ranges. The rows are all of
    /// them, those of the first fit included: [`IdSpacePlan::Vocabulary`]'s `min_count` is about all.
    pub fn extending(plan: SchemaPlan, base: &Schema) -> Fit {
        let learner = |table: &TablePlan| match table.ids {
            IdSpacePlan::Vocabulary { .. } => Learner::new(&table.ids),
            _ => Learner::Nothing,
        };
        Fit {
            learners: plan.tables.iter().map(learner).collect(),
            delays: vec![DelaySample::default(); plan.tasks.len()],
            values: vec![Moments::default(); plan.tasks.len()],
            plan,
            rows: 0,
            base: base.tables.clone(),
            base_tasks: base.tasks.clone(),
        }
    }

    /// Returns true if some table learns from rows; otherwise the pass can be skipped.
    pub fn needs_rows(&self) -> bool {
        let mut tasks = self.plan.tasks.iter();
        self.learners.iter().any(Learner::needs_rows)
            || tasks.any(|task| task.row_rules.late.is_some() || value_scales::is_fitted(task))
    }

    /// Learns from some training rows.
    ///
    /// # Errors
    /// A column is absent, or a numeric one holds something other than finite numbers.
    pub fn observe(&mut self, block: &Block) -> Result<(), EncodeError> {
        self.observe_delays(block)?;
        self.observe_values(block)
    }

    /// Learns how late conversions are.
    ///
    /// # Errors
    /// A column is absent, or a time is missing or wrong.
    pub fn observe_delays(&mut self, block: &Block) -> Result<(), EncodeError> {
        delays::observe(&self.plan.tasks, block, &mut self.delays)
    }

    /// Learns all but how late conversions are.
    ///
    /// # Errors
    /// As [`Fit::observe`].
    pub fn observe_values(&mut self, block: &Block) -> Result<(), EncodeError> {
        self.rows += block.n_rows as u64;
        for field in &self.plan.fields {
            self.learners[field.table].observe(field, block)?;
        }
        value_scales::observe(&self.plan.tasks, block, &mut self.values)
    }

    /// Returns the schema.
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
        let tables: Vec<Table> = if self.base.is_empty() {
            tables
                .map(|(plan, learner)| learner.table(plan))
                .collect::<Result<_, _>>()?
        } else {
            let pairs = self.base.into_iter().zip(tables);
            pairs
                .map(|(base, (plan, learner))| learner.extended(plan, base))
                .collect()
        };
        let mut tasks = self.plan.tasks;
        delays::fit(&mut tasks, self.delays, &self.base_tasks)?;
        value_scales::fit(&mut tasks, &self.values);
        value_scales::keep(&mut tasks, &self.base_tasks);
        Ok(Schema {
            value_rule: ValueRule::CURRENT,
            tables,
            fields: self.plan.fields,
            tasks,
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

/// State that one table has learned so far.
enum Learner {
    /// Such as a hash, which needs no rows.
    Nothing,
    Vocabulary(HashMap<Box<[u8]>, u64, TextHash>),
    Scale(Scale),
    Quantiles(Sample),
    Vectors(VectorScale),
}

impl Learner {
    fn new(plan: &IdSpacePlan) -> Learner {
        match plan {
            IdSpacePlan::Hash { .. } | IdSpacePlan::Cross(_) | IdSpacePlan::Time(_) => {
                Learner::Nothing
            }
            IdSpacePlan::Numeric(NumericPlan::Boundaries(_)) => Learner::Nothing,
            IdSpacePlan::Vocabulary { .. } => Learner::Vocabulary(HashMap::default()),
            IdSpacePlan::Numeric(NumericPlan::Quantiles { .. } | NumericPlan::Piecewise { .. }) => {
                Learner::Quantiles(Sample::new(QUANTILE_SAMPLE))
            }
            IdSpacePlan::Numeric(NumericPlan::Vector(plan)) => {
                if plan.standardise {
                    Learner::Vectors(VectorScale::new(plan.length))
                } else {
                    Learner::Nothing
                }
            }
            IdSpacePlan::Numeric(numeric) => Learner::Scale(Scale {
                log: *numeric == NumericPlan::Log,
                moments: Moments::default(),
                sample: Sample::new(RANGE_SAMPLE),
            }),
        }
    }

    fn needs_rows(&self) -> bool {
        !matches!(self, Learner::Nothing)
    }

    fn observe(&mut self, field: &Field, block: &Block) -> Result<(), EncodeError> {
        if !self.needs_rows() {
            return Ok(());
        }
        if let Learner::Vectors(scale) = self {
            return scale.observe(field, block);
        }
        let mut reader = FieldReader::new(field, block, ValueRule::CURRENT)?;
        for row in 0..block.n_rows {
            match self {
                Learner::Nothing | Learner::Vectors(_) => {}
                Learner::Vocabulary(counts) => reader.texts(row, |text| {
                    count(counts, text);
                    Ok(())
                })?,
                Learner::Scale(scale) => reader.numbers(row, |x| scale.add(x))?,
                Learner::Quantiles(sample) => reader.numbers(row, |x| sample.add(x))?,
            }
        }
        Ok(())
    }

    fn table(self, plan: TablePlan) -> Result<Table, FitError> {
        let (ids, range) = match (self, plan.ids) {
            (
                Learner::Vocabulary(counts),
                IdSpacePlan::Vocabulary {
                    min_count,
                    max_size,
                },
            ) => (most_frequent(counts, min_count, max_size), None),
            (Learner::Scale(scale), _) => {
                let (ids, range) = scale.finish().ok_or_else(|| no_numbers(&plan.name))?;
                (ids, Some(range))
            }
            (
                Learner::Quantiles(sample),
                IdSpacePlan::Numeric(NumericPlan::Quantiles { buckets }),
            ) => {
                // The outer buckets reach as far as there are numbers: nothing is far off from them.
                let range = sample.extent.ok_or_else(|| no_numbers(&plan.name))?;
                (sample.quantiles(buckets, range[0]), Some(range))
            }
            (
                Learner::Quantiles(sample),
                IdSpacePlan::Numeric(NumericPlan::Piecewise { pieces }),
            ) => {
                let range = sample.range().ok_or_else(|| no_numbers(&plan.name))?;
                (sample.piecewise(pieces, range), Some(range))
            }
            (_, IdSpacePlan::Hash { buckets, function }) => {
                let ids = IdSpace::Hash {
                    buckets,
                    function,
                    unknown: true,
                };
                (ids, None)
            }
            (learner, IdSpacePlan::Numeric(NumericPlan::Vector(vector))) => {
                let scale = match learner {
                    Learner::Vectors(scale) => {
                        scale.finish().ok_or_else(|| no_numbers(&plan.name))?
                    }
                    _ => Vec::new(),
                };
                (IdSpace::Vector(vector.fitted(scale)), None)
            }
            (_, IdSpacePlan::Cross(cross)) => (IdSpace::Cross(cross), None),
            (_, IdSpacePlan::Time(part)) => (IdSpace::Time(part), None),
            (_, IdSpacePlan::Numeric(NumericPlan::Boundaries(boundaries))) => {
                (IdSpace::Quantiles { boundaries }, None)
            }
            _ => unreachable!("a learner is made from its table's plan"),
        };
        Ok(Table {
            name: plan.name,
            ids,
            range,
        })
    }
}

impl Learner {
    /// Returns the table, with missing values appended to its vocabulary.
    fn extended(self, plan: TablePlan, base: Table) -> Table {
        let (
            Learner::Vocabulary(mut counts),
            IdSpacePlan::Vocabulary {
                min_count,
                max_size,
            },
            IdSpace::Vocabulary { mut values },
        ) = (self, plan.ids, base.ids.clone())
        else {
            return base;
        };
        for value in &values {
            counts.remove(value.as_bytes());
        }
        let free: Vec<usize> = (0..values.len())
            .filter(|&at| values[at].is_empty())
            .collect();
        let taken = (values.len() - free.len()) as u32;
        let room = max_size.map(|size| size.saturating_sub(taken));
        if let IdSpace::Vocabulary { values: new } = most_frequent(counts, min_count, room) {
            let mut new = new.into_iter();
            // Places that erased and evicted values have left, first.
            free.iter()
                .zip(&mut new)
                .for_each(|(&at, value)| values[at] = value);
            values.extend(new);
        }
        Table {
            ids: IdSpace::Vocabulary { values },
            ..base
        }
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

/// Returns the values seen often enough, most frequent first, ties by text.
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

/// Statistics of a scaled column.
struct Scale {
    log: bool,
    /// Of the numbers as they are scaled, after the logarithm.
    moments: Moments,
    /// Of the numbers as the log has them.
    sample: Sample,
}

impl Scale {
    fn add(&mut self, x: Option<f64>) {
        let Some(x) = x else { return };
        self.moments.add(self.transformed(x));
        self.sample.add(Some(x));
    }

    fn transformed(&self, x: f64) -> f64 {
        if self.log { signed_log(x) } else { x }
    }

    /// Returns the scale and the range; `None` without numbers. If some numbers are far off, mean and
    /// deviation are computed on the clipped numbers.
    fn finish(self) -> Option<(IdSpace, [f64; 2])> {
        let extent = self.sample.extent?;
        let range = self.sample.range()?;
        let (mean, deviation) = match self.moments.finish() {
            Some(moments) if range == extent => moments,
            _ => {
                let clipped = self
                    .sample
                    .numbers
                    .iter()
                    .map(|x| x.clamp(range[0], range[1]));
                mean_and_deviation(clipped.map(|x| self.transformed(x)))
            }
        };
        let log = self.log;
        let scaled = IdSpace::Scaled {
            log,
            mean,
            deviation,
        };
        Some((scaled, range))
    }
}

fn no_numbers(table: &str) -> FitError {
    FitError::NoNumbers {
        table: table.to_owned(),
    }
}
