//! Preview of a feature.

use ncs_features::{
    Batch, Beside, Block, Cross, Encoder, Field, HashFunction, IdSpace, IdSpacePlan, NumericPlan,
    Pooling, Schema, SchemaPlan, TimePart,
};
use serde::Serialize;
use std::collections::HashSet;

use super::gathered::{Gathered, Reads};
use super::{doubts, leak, list_texts};
use crate::exact_values::{Folds, are_informative};
use crate::past_rates::worth;
use crate::progress::grouped;
use crate::run_report::{columns_read, part_in_words};

/// Preview of a feature from the first rows.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ColumnLook {
    /// The feature's name.
    pub(crate) name: String,
    /// The column of the log.
    pub(crate) column: String,
    /// `categorical`, `list`, `numeric`, `vector`, `cross` or `time`.
    pub(crate) kind: &'static str,
    /// Type of the values in the file: `text`, `integer`, `number` or `time`.
    pub(crate) holds: &'static str,
    /// Id space.
    pub(crate) table: String,
    /// Encoding of values as ids.
    pub(crate) ids: String,
    /// Number of distinct values.
    pub(crate) distinct: usize,
    /// Number of rows without a value.
    pub(crate) nulls: u64,
    /// Most frequent values.
    pub(crate) examples: Vec<String>,
    /// Warnings.
    pub(crate) warnings: Vec<String>,
    /// Advice on a setting that would use more of the column's information.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) advice: Option<String>,
}

/// Inputs for the preview of the features.
pub(super) struct FeaturePreview<'a> {
    pub(super) plan: &'a SchemaPlan,
    /// Schema fitted to the rows; `None` if fitting failed.
    pub(super) fitted: Option<&'a Schema>,
    /// Labels of the rows, `[task][row]`.
    pub(super) labels: &'a [Vec<f32>],
    /// For each feature, true if it varies between training rows; empty if unknown.
    pub(super) varies: Vec<bool>,
    /// For each row, true if a split by time puts it after the training rows; `None` for other splits.
    pub(super) later: Option<Vec<bool>>,
    /// Words for the previewed rows: `in these rows`, or `on all rows`.
    pub(super) which: &'static str,
}

impl FeaturePreview<'_> {
    /// Returns the preview of each feature.
    pub(super) fn previews<'b>(
        &self,
        blocks: impl Iterator<Item = &'b Block> + Clone,
    ) -> Vec<ColumnLook> {
        let fields = self.plan.fields.iter().enumerate();
        fields
            .map(|(f, field)| self.look(f, field, blocks.clone()))
            .collect()
    }

    fn look<'b>(
        &self,
        number: usize,
        field: &Field,
        blocks: impl Iterator<Item = &'b Block> + Clone,
    ) -> ColumnLook {
        let table = &self.plan.tables[field.table];
        match &table.ids {
            IdSpacePlan::Cross(cross) => return self.cross(number, field, cross, blocks),
            IdSpacePlan::Time(part) => return self.time(number, field, part, blocks),
            _ => {}
        }
        let is_numeric = matches!(table.ids, IdSpacePlan::Numeric(_));
        let gathered = Gathered::of(field, Reads::of(&table.ids), blocks);
        ColumnLook {
            name: field.name.clone(),
            column: columns_read(field),
            kind: match (Reads::of(&table.ids), field.pooling) {
                (Reads::Vectors(_), _) => "vector",
                (_, Some(Pooling::Events(_))) => "sequence",
                (Reads::Numbers, _) => "numeric",
                (Reads::Texts, Some(_)) => "list",
                (Reads::Texts, None) => "categorical",
            },
            holds: gathered.holds,
            table: table.name.clone(),
            ids: with_beside(ids(&table.ids), field),
            distinct: gathered.counts.len(),
            nulls: gathered.nulls,
            examples: gathered.examples(),
            advice: if is_numeric {
                self.exact_values(field, &table.ids, &gathered)
            } else {
                self.past_rate(field, &gathered)
            },
            warnings: self.warnings(number, field, &table.ids, &gathered),
        }
    }

    /// Returns the preview of a cross: its combinations, and a warning where many share a bucket.
    fn cross<'b>(
        &self,
        number: usize,
        field: &Field,
        cross: &Cross,
        blocks: impl Iterator<Item = &'b Block>,
    ) -> ColumnLook {
        let (mut buckets, mut nulls, mut combinations) = (HashSet::new(), 0, HashSet::new());
        for batch in self.encoded(blocks) {
            for (row, &id) in batch.fields[number].ids.iter().enumerate() {
                let parts = cross.of.iter().map(|&part| batch.fields[part].ids[row]);
                if id == 0 {
                    nulls += 1;
                } else {
                    buckets.insert(id);
                    combinations.insert(parts.collect::<Vec<u32>>());
                }
            }
        }
        let parts = cross
            .of
            .iter()
            .map(|&part| self.plan.fields[part].column.as_str());
        let columns = parts.collect::<Vec<_>>().join(" + ");
        let shares = combinations.len() - buckets.len().min(combinations.len());
        let is_full = shares * 10 > combinations.len();
        let warning = is_full.then(|| {
            format!(
                "cross {:?} has {} combinations {}, and {shares} of them share a bucket with another: state more buckets than {}",
                field.name,
                grouped(combinations.len() as u64),
                self.which,
                grouped(cross.buckets.into()),
            )
        });
        ColumnLook {
            name: field.name.clone(),
            column: columns.clone(),
            kind: "cross",
            holds: "",
            table: self.plan.tables[field.table].name.clone(),
            ids: format!("{columns}, {}", ids(&self.plan.tables[field.table].ids)),
            distinct: combinations.len(),
            nulls,
            examples: Vec::new(),
            advice: None,
            warnings: warning.into_iter().collect(),
        }
    }

    /// Returns the preview of a part of a time, with a warning where all rows have the same one.
    fn time<'b>(
        &self,
        number: usize,
        field: &Field,
        part: &TimePart,
        blocks: impl Iterator<Item = &'b Block> + Clone,
    ) -> ColumnLook {
        let gathered = Gathered::of(field, Reads::Texts, blocks.clone());
        let mut ids: HashSet<u32> = HashSet::new();
        for batch in self.encoded(blocks) {
            ids.extend(batch.fields[number].ids.iter().filter(|&&id| id > 0));
        }
        let is_mixed = self.varies.get(number) == Some(&true);
        let warning = (ids.len() == 1 && !is_mixed).then(|| {
            format!(
                "feature {:?} has the same {} in all rows {}: nothing can be learned from it",
                field.name,
                part.part.name(),
                self.which
            )
        });
        ColumnLook {
            name: field.name.clone(),
            column: field.column.clone(),
            kind: "time",
            holds: gathered.holds,
            table: self.plan.tables[field.table].name.clone(),
            ids: part_in_words(part),
            distinct: ids.len(),
            nulls: gathered.nulls,
            examples: gathered.examples(),
            advice: None,
            warnings: warning.into_iter().collect(),
        }
    }

    /// Returns the encoded blocks; none without a fitted schema.
    fn encoded<'b>(&self, blocks: impl Iterator<Item = &'b Block>) -> impl Iterator<Item = Batch> {
        let encoder = self
            .fitted
            .map(|schema| Encoder::new(schema.clone().into()));
        // The rows have been encoded before, so that this cannot fail.
        blocks.filter_map(move |block| encoder.as_ref()?.encode_features(block).ok())
    }

    /// Returns the warnings. If nothing can be learned from the feature, other warnings are left out.
    fn warnings(
        &self,
        number: usize,
        field: &Field,
        ids: &IdSpacePlan,
        gathered: &Gathered,
    ) -> Vec<String> {
        // The first rows may be constant although later rows, which were also read, are not.
        let is_mixed = self.varies.get(number) == Some(&true);
        let same = doubts::same(field, gathered, self.which).filter(|_| !is_mixed);
        let unknown = || doubts::unknown(field, self.vocabulary(field), ids, gathered, self.which);
        let useless = same.or_else(unknown);
        let of_list = list_texts::warning(field, ids, gathered);
        let coarse = doubts::coarse(field, ids, gathered);
        if let Some(useless) = useless {
            return of_list.into_iter().chain(coarse).chain([useless]).collect();
        }
        let mut warnings: Vec<String> = of_list.into_iter().collect();
        if warnings.is_empty() {
            warnings.extend(doubts::of_kind(field, ids, gathered));
        }
        warnings.extend(coarse);
        warnings.extend(leak::suspicion(field, self.plan, gathered, self.labels));
        warnings
    }

    /// Advises to make a number a category as well, if it should be and is not.
    fn exact_values(
        &self,
        field: &Field,
        ids: &IdSpacePlan,
        gathered: &Gathered,
    ) -> Option<String> {
        let is_number = |ids: &IdSpacePlan| matches!(ids, IdSpacePlan::Numeric(_));
        let mut others = self.plan.fields.iter();
        let is_category = others.any(|other| {
            other.column == field.column && !is_number(&self.plan.tables[other.table].ids)
        });
        if !is_number(ids) || is_category {
            return None;
        }
        let folds = self.later.as_deref().map_or(Folds::Halves, Folds::Later);
        let labels = self.labels.iter().map(Vec::as_slice);
        let column = &field.column;
        are_informative(gathered, labels, folds).then(|| {
            format!(
                "the exact values of {column:?} predict labels better than a scale; add a feature \
                 {:?} = {{ kind = \"categorical\", column = {column:?} }}",
                format!("{}_value", field.name)
            )
        })
    }

    /// That a category's past rates would be features worth having, where the run file has none.
    fn past_rate(&self, field: &Field, gathered: &Gathered) -> Option<String> {
        if !self.plan.rates.is_none() || field.pooling.is_some() {
            return None;
        }
        let folds = self.later.as_deref().map_or(Folds::Halves, Folds::Later);
        let on = match folds {
            Folds::Halves => "on the other half of the rows",
            Folds::Later(_) => "on validation rows",
        };
        let tasks = self.plan.tasks.iter().zip(self.labels);
        let binary = tasks.filter(|(task, _)| task.objective.is_binary());
        let found =
            binary.filter_map(|(task, labels)| Some((worth(gathered, labels, folds)?, task)));
        let (auc, task) = found.max_by(|(a, _), (b, _)| a.total_cmp(b))?;
        Some(format!(
            "a past rate of {:?} alone, by the labels of task {:?}, has AUC {auc:.2} {on}; features.rates = \"auto\" \
             makes features of such rates where they help",
            field.name, task.name
        ))
    }

    /// The values that have rows of their own.
    fn vocabulary(&self, field: &Field) -> Option<&[String]> {
        match &self.fitted?.tables[field.table].ids {
            IdSpace::Vocabulary { values } => Some(values),
            _ => None,
        }
    }
}

/// Adds what a field reads beside its column.
fn with_beside(ids: String, field: &Field) -> String {
    match &field.beside {
        Beside::None => ids,
        Beside::Since { column, .. } => format!("{ids}, hours since {column}"),
        Beside::Weights { column } => format!("{ids}, weights of {column}"),
        Beside::Ages(ages) => format!("{ids}, half at {} of {}", ages.half_life, ages.column),
        Beside::WeightAfter { separator } => format!("{ids}, weights after {separator:?}"),
    }
}

fn ids(plan: &IdSpacePlan) -> String {
    match plan {
        IdSpacePlan::Hash { buckets, function } => {
            let name = match function {
                HashFunction::Xxh3 => "xxh3",
                HashFunction::Farm => "farm",
                HashFunction::Murmur3 => "murmur3",
            };
            format!("{name}, {buckets} buckets")
        }
        IdSpacePlan::Cross(cross) => format!("{} buckets", cross.buckets),
        IdSpacePlan::Time(part) => part_in_words(part),
        IdSpacePlan::Vocabulary { min_count, .. } => format!("vocabulary, seen {min_count} times"),
        IdSpacePlan::Numeric(NumericPlan::Standardise) => "standardised".to_owned(),
        IdSpacePlan::Numeric(NumericPlan::Log) => "log, standardised".to_owned(),
        IdSpacePlan::Numeric(NumericPlan::Quantiles { buckets }) => format!("{buckets} quantiles"),
        IdSpacePlan::Numeric(NumericPlan::Piecewise { pieces }) => {
            format!("piecewise linear, {pieces} pieces")
        }
        IdSpacePlan::Numeric(NumericPlan::Boundaries(boundaries)) => {
            format!("{} buckets by boundaries", boundaries.len() + 1)
        }
        IdSpacePlan::Numeric(NumericPlan::Vector(vector)) => {
            let enters = if vector.projected {
                "projected"
            } else {
                "inputs of the first layer"
            };
            format!("{} numbers, {enters}", vector.length)
        }
    }
}
