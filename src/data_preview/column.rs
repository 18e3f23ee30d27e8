//! What the first rows hold of a feature.

use ncs_features::{
    Block, Field, HashFunction, IdSpace, IdSpacePlan, NumericPlan, Schema, SchemaPlan,
};
use serde::Serialize;

use super::gathered::Gathered;
use super::{doubts, leak, list_texts};
use crate::exact_values::{Folds, tell_more};

/// What the first rows hold of a feature.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ColumnLook {
    /// The feature's name.
    pub(crate) name: String,
    /// The column of the log.
    pub(crate) column: String,
    /// `categorical`, `list` or `numeric`.
    pub(crate) kind: &'static str,
    /// What the file holds: `text`, `integer`, `number` or `time`.
    pub(crate) holds: &'static str,
    /// The id space.
    pub(crate) table: String,
    /// How values become ids.
    pub(crate) ids: String,
    /// Different values.
    pub(crate) distinct: usize,
    /// Rows without a value.
    pub(crate) nulls: u64,
    /// The most frequent values.
    pub(crate) examples: Vec<String>,
    /// What is worth a second look.
    pub(crate) warnings: Vec<String>,
    /// A setting that would use more of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) advice: Option<String>,
}

/// What the features are looked at with.
pub(super) struct Sight<'a> {
    pub(super) plan: &'a SchemaPlan,
    /// The schema that the rows give; `None` where they give none.
    pub(super) fitted: Option<&'a Schema>,
    /// The labels of the rows, `[task][row]`.
    pub(super) labels: &'a [Vec<f32>],
    /// For each feature, whether it differs between training rows; empty where that is not known.
    pub(super) varies: Vec<bool>,
    /// Which rows a split by time puts behind those of training.
    pub(super) later: Option<Vec<bool>>,
    /// `in these rows`, or `on all rows`.
    pub(super) which: &'static str,
}

impl Sight<'_> {
    /// One look for each feature.
    pub(super) fn looks<'b>(
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
        blocks: impl Iterator<Item = &'b Block>,
    ) -> ColumnLook {
        let table = &self.plan.tables[field.table];
        let is_numeric = matches!(table.ids, IdSpacePlan::Numeric(_));
        let gathered = Gathered::of(field, is_numeric, blocks);
        ColumnLook {
            name: field.name.clone(),
            column: field.column.clone(),
            kind: match (is_numeric, field.pooling) {
                (true, _) => "numeric",
                (false, Some(_)) => "list",
                (false, None) => "categorical",
            },
            holds: gathered.holds,
            table: table.name.clone(),
            ids: ids(&table.ids),
            distinct: gathered.counts.len(),
            nulls: gathered.nulls,
            examples: gathered.examples(),
            advice: self.exact_values(field, &table.ids, &gathered),
            warnings: self.warnings(number, field, &table.ids, &gathered),
        }
    }

    /// One that says that nothing is there to learn from makes the others pointless.
    fn warnings(
        &self,
        number: usize,
        field: &Field,
        ids: &IdSpacePlan,
        gathered: &Gathered,
    ) -> Vec<String> {
        // The first rows may be of one kind where others, which were read as well, are not.
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

    /// That a number should be a category as well, where it should and is not.
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
        tell_more(gathered, labels, folds).then(|| {
            format!(
                "the exact values of {column:?} predict labels better than a scale of them does; add a feature \
                 {:?} = {{ kind = \"categorical\", column = {column:?} }}",
                format!("{}_value", field.name)
            )
        })
    }

    /// The values that have rows of their own.
    fn vocabulary(&self, field: &Field) -> Option<&[String]> {
        match &self.fitted?.tables[field.table].ids {
            IdSpace::Vocabulary { values } => Some(values),
            _ => None,
        }
    }
}

fn ids(plan: &IdSpacePlan) -> String {
    match plan {
        IdSpacePlan::Hash { buckets, function } => {
            let name = match function {
                HashFunction::Xxh3 => "xxh3",
                HashFunction::Farm => "farm",
            };
            format!("{name}, {buckets} buckets")
        }
        IdSpacePlan::Vocabulary { min_count, .. } => format!("vocabulary, seen {min_count} times"),
        IdSpacePlan::Numeric(NumericPlan::Standardise) => "standardised".to_owned(),
        IdSpacePlan::Numeric(NumericPlan::Log) => "log, standardised".to_owned(),
        IdSpacePlan::Numeric(NumericPlan::Quantiles { buckets }) => format!("{buckets} quantiles"),
        IdSpacePlan::Numeric(NumericPlan::Piecewise { pieces }) => {
            format!("piecewise linear, {pieces} pieces")
        }
    }
}
