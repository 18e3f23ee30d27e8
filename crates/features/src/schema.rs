//! Columns, id spaces and tasks: the plan as a run file states it, and the schema once fitted.

use crate::beside::Beside;
use crate::canonical::{ValueRule, canonical_text};
use crate::cross::Cross;
pub use crate::objective::Objective;
use crate::piecewise::{PER_ROW, Piecewise};
pub use crate::products::{Product, chain, funnel, products};
use crate::rates::{Rate, RatesPlan};
use crate::row_rules::RowRules;
use crate::sequence::EventAttribute;
use crate::time_part::TimePart;
use crate::vector::{Vector, VectorPlan};
use serde::{Deserialize, Serialize};

/// Settings of the columns in the run file, before any row is read.
///
/// [`crate::fit::Fit`] turns it into a [`Schema`] by one pass over the training rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SchemaPlan {
    /// The fields, in the order of the network's field vectors.
    pub fields: Vec<Field>,
    /// The id spaces that the fields point into.
    pub tables: Vec<TablePlan>,
    /// The tasks, in the order of the run file.
    pub tasks: Vec<Task>,
    /// Column that groups rows for grouped AUC (a user or a session).
    pub group: Option<String>,
    /// Counts and rates of the past, which become fields behind `fields`.
    #[serde(default, skip_serializing_if = "RatesPlan::is_none")]
    pub rates: RatesPlan,
}

/// The fitted schema: immutable, shared by all, saved in the artifact.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Schema {
    /// The rule by which values become texts.
    #[serde(default = "ValueRule::unnamed")]
    pub value_rule: ValueRule,
    /// The fields, in the order of the network's field vectors.
    pub fields: Vec<Field>,
    /// The id spaces that the fields point into.
    pub tables: Vec<Table>,
    /// The tasks, in the order of the run file.
    pub tasks: Vec<Task>,
    /// Column that groups rows for grouped AUC (a user or a session).
    pub group: Option<String>,
}

impl Schema {
    /// Returns the past count or rate of a field, if it is one: its number is computed from ids, not read
    /// from a column.
    pub fn rate(&self, field: usize) -> Option<&Rate> {
        self.tables.get(self.fields.get(field)?.table)?.ids.rate()
    }

    /// Returns the fields from whose ids a field is computed, if it reads no column: a cross, or a past count or rate.
    pub fn parts(&self, field: usize) -> Option<&[usize]> {
        self.tables.get(self.fields.get(field)?.table)?.ids.parts()
    }

    /// Returns the click and the conversion task: the first task about rows where the label of a task of all rows is 1, and
    /// that other; a task of labels 0 and 1, if there is one.
    pub fn funnel(&self) -> Option<[usize; 2]> {
        funnel(&self.tasks)
    }

    /// Returns the products of tasks that are predicted with them: see [`products`].
    pub fn products(&self) -> Vec<Product> {
        products(&self.tasks)
    }

    /// Returns the place among [`Schema::products`] of the one to rank by: that of the longest chain, of several the first.
    pub fn main_product(&self) -> Option<usize> {
        let products = self.products();
        let longest = products.iter().map(|product| product.tasks.len()).max()?;
        products.iter().position(|p| p.tasks.len() == longest)
    }
}

/// One feature: a column of the log, read into ids of one table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Field {
    /// Unique name; default: the column's name.
    pub name: String,
    /// The column of the log that it reads.
    pub column: String,
    /// Index into `tables`.
    pub table: usize,
    /// `None`: one value a row. `Some`: a list, pooled so.
    pub pooling: Option<Pooling>,
    /// Splits a text value into a list (lists in CSV and the like).
    pub separator: Option<char>,
    /// Maximum number of values of a list; the first ones are kept, of events the most recent ones.
    pub max_values: Option<usize>,
    /// The second source of its values, if it has one.
    #[serde(default, skip_serializing_if = "Beside::is_none")]
    pub beside: Beside,
    /// Texts that mean "missing", beside null, the empty text and NaN. They are compared as the values
    /// are: by their one text.
    pub missing: Vec<String>,
}

impl Field {
    /// Returns the columns that it reads: its own, and those beside it.
    pub fn columns(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.column).chain(self.beside.columns())
    }

    /// Returns the texts that mean "missing" in a column of categories, beside the empty text, as `rule` has them.
    pub fn missing_texts(&self, rule: ValueRule) -> Vec<String> {
        let text = |text: &String| match rule {
            ValueRule::Verbatim => text.clone(),
            ValueRule::Canonical => canonical_text(text),
        };
        self.missing.iter().map(text).collect()
    }
}

/// Pooling of the vectors of a list into one vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// Mean over the true length; an empty list is the zero vector.
    Mean,
    /// Sum over the true length; an empty list is the zero vector.
    Sum,
    /// Mean over the longest list of the batch, shorter lists filled with id 0, whose row is
    /// trained: what the paper's released code does. For parity only.
    PaddedMean,
    /// One attribute of the events of a sequence, pooled as [`EventAttribute::pooling`] has it.
    Events(EventAttribute),
}

/// An id space as planned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TablePlan {
    /// Unique name; default: the name of its first field.
    pub name: String,
    /// Mapping from values to ids.
    pub ids: IdSpacePlan,
}

/// Mapping from values of an id space to ids, before fitting.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum IdSpacePlan {
    /// `1 + hash(text) mod buckets`; 0 is "missing", `buckets + 1` "unknown".
    Hash {
        /// Number of buckets, at least 1.
        buckets: u32,
        /// The hash function.
        function: HashFunction,
    },
    /// Values seen often enough in training get rows of their own; 0 is "missing", 1 "unknown".
    Vocabulary {
        /// Values seen fewer times than this in training are unknown.
        min_count: u32,
        /// Maximum number of values; the most frequent ones are kept.
        max_size: Option<u32>,
    },
    /// A number.
    Numeric(NumericPlan),
    /// Combinations of the ids of other fields.
    Cross(Cross),
    /// Parts of moments.
    Time(TimePart),
}

/// Encoding of a numeric column in the network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NumericPlan {
    /// `(x - mean) / deviation` scales a learned vector, beside a learned offset vector.
    Standardise,
    /// `sign(x) log(1 + |x|)`, then standardised.
    Log,
    /// The quantile that it falls into is its id.
    Quantiles {
        /// Number of buckets, at least 2.
        buckets: u32,
    },
    /// Piecewise-linear between quantiles, straight into the first layer: see [`Piecewise`].
    Piecewise {
        /// Number of pieces, at least 1; fewer where the column has fewer distinct values.
        pieces: u32,
    },
    /// The bucket that it falls into is its id: `1 + number of boundaries <= x`. Ascending, distinct.
    Boundaries(Vec<f64>),
    /// A list of numbers of one length: see [`Vector`].
    Vector(VectorPlan),
}

/// A fitted id space and its number of rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// Unique name.
    pub name: String,
    /// Mapping from values to ids.
    pub ids: IdSpace,
    /// The least and the largest number of a numeric table: others are clipped to it. `None`: nothing is
    /// clipped, as in models of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<[f64; 2]>,
}

/// Mapping from values of an id space to ids, fitted to the training rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum IdSpace {
    /// `1 + hash(text) mod buckets`; 0 is "missing". `buckets + 1` rows, and one for "unknown".
    Hash {
        /// Number of buckets.
        buckets: u32,
        /// The hash function.
        function: HashFunction,
        /// True if row `buckets + 1` is shared by the ids that are in no training row; if false, they are the
        /// zero vector, as in models of earlier versions.
        #[serde(default)]
        unknown: bool,
    },
    /// 0 is "missing", 1 "unknown", `2 + i` is `values[i]`. `values.len() + 2` rows.
    Vocabulary {
        /// The values that have rows of their own, most frequent first, ties by text. The empty text is what an erased
        /// value has left ([`crate::erase`]): its id belongs to no value.
        values: Vec<String>,
    },
    /// 0 is "missing"; otherwise the field vector is `row 1 * z + row 2`, where
    /// `z = (x - mean) / deviation`. 3 rows.
    Scaled {
        /// Take `sign(x) log(1 + |x|)` first.
        log: bool,
        /// Mean over the training rows.
        mean: f64,
        /// Standard deviation over the training rows; 1 where the column is constant.
        deviation: f64,
    },
    /// 0 is "missing"; `1 + number of boundaries <= x`. `boundaries.len() + 2` rows.
    Quantiles {
        /// Ascending, distinct.
        boundaries: Vec<f64>,
    },
    /// Inputs of the first layer; no rows.
    Piecewise(Piecewise),
    /// A count or rate of the past, as such inputs; no rows. What it needs are the ids of other fields.
    Rate(Rate),
    /// Vectors that come with the rows.
    Vector(Vector),
    /// Combinations of the ids of other fields. `buckets + 2` rows.
    Cross(Cross),
    /// Parts of moments: 0 is "missing", `1 + value`.
    Time(TimePart),
}

impl IdSpace {
    /// Returns the number of table rows, reserved ones included.
    pub fn n_rows(&self) -> usize {
        match self {
            IdSpace::Hash {
                buckets, unknown, ..
            } => *buckets as usize + 1 + usize::from(*unknown),
            IdSpace::Vocabulary { values } => values.len() + 2,
            IdSpace::Scaled { .. } => 3,
            IdSpace::Quantiles { boundaries } => boundaries.len() + 2,
            IdSpace::Piecewise(_) | IdSpace::Rate(_) => 0,
            IdSpace::Vector(vector) => vector.n_rows(),
            IdSpace::Cross(cross) => cross.buckets as usize + 2,
            IdSpace::Time(part) => part.n_rows(),
        }
    }

    /// The row of ids that no training row has, where the space has one.
    pub fn unknown(&self) -> Option<u32> {
        match self {
            IdSpace::Hash {
                buckets,
                unknown: true,
                ..
            } => Some(buckets + 1),
            IdSpace::Vocabulary { .. } => Some(1),
            IdSpace::Cross(cross) => Some(cross.unknown()),
            _ => None,
        }
    }

    /// Returns true if an id does not tell whether training has seen its value: only the rows of the table do.
    pub fn is_hashed(&self) -> bool {
        matches!(self, IdSpace::Hash { .. } | IdSpace::Cross(_))
    }

    /// Returns the fields, by their place in the schema, from whose ids this one is computed; `None` for fields that read
    /// a column.
    pub fn parts(&self) -> Option<&[usize]> {
        match self {
            IdSpace::Rate(rate) => Some(&rate.of),
            IdSpace::Cross(cross) => Some(&cross.of),
            _ => None,
        }
    }

    /// Returns the pieces of a number that enters the first layer directly.
    pub fn piecewise(&self) -> Option<&Piecewise> {
        match self {
            IdSpace::Piecewise(piecewise) => Some(piecewise),
            IdSpace::Rate(rate) => Some(&rate.scale),
            _ => None,
        }
    }

    /// Returns the vectors, if the field holds vectors that come with the rows.
    pub fn vector(&self) -> Option<&Vector> {
        match self {
            IdSpace::Vector(vector) => Some(vector),
            _ => None,
        }
    }

    /// Returns how many numbers a row holds of a field that enters the first layer directly; 0 for fields with
    /// ids.
    pub fn width(&self) -> usize {
        match self {
            IdSpace::Piecewise(_) | IdSpace::Rate(_) => PER_ROW,
            IdSpace::Vector(vector) if !vector.projected => vector.length as usize,
            _ => 0,
        }
    }

    /// Returns true if the rows of its table are weighted by numbers: no value has a row of its own.
    pub fn weighs_rows(&self) -> bool {
        match self {
            IdSpace::Scaled { .. } => true,
            IdSpace::Vector(vector) => vector.projected,
            _ => false,
        }
    }

    /// Returns true if exported models hash the texts themselves: ONNX Runtime has this hash as an operator.
    pub fn is_hashed_in_graphs(&self) -> bool {
        let function = match self {
            IdSpace::Hash { function, .. } => Some(function),
            _ => None,
        };
        function == Some(&HashFunction::Murmur3)
    }

    /// Returns the past count or rate, if the field is one.
    pub fn rate(&self) -> Option<&Rate> {
        match self {
            IdSpace::Rate(rate) => Some(rate),
            _ => None,
        }
    }

    /// Returns true if an id is the shared id of all values outside a vocabulary.
    pub fn is_unknown(&self, id: u32) -> bool {
        matches!(self, IdSpace::Vocabulary { .. }) && id == 1
    }
}

/// A stable hash of a text: the same in every release.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HashFunction {
    /// XXH3, 64 bits, seed 0, over the UTF-8 bytes.
    #[default]
    Xxh3,
    /// FarmHash Fingerprint64, as TensorFlow's `string_to_hash_bucket_fast` uses it.
    Farm,
    /// MurmurHash3, 32 bits, seed 0: ONNX Runtime has it as an operator, so exported models hash texts themselves.
    Murmur3,
}

/// One thing to predict of an impression.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// Unique name, such as `ctr`.
    pub name: String,
    /// The label's column.
    pub label: String,
    /// The rows that it is about.
    pub population: Population,
    /// Objective to minimise.
    pub objective: Objective,
    /// Factor of its loss in joint training.
    pub weight: f64,
    /// Column with the true probability in a synthetic log: for evaluation only, never a feature.
    pub truth: Option<String>,
    /// Use of its rows beyond their labels.
    #[serde(default, skip_serializing_if = "RowRules::are_none")]
    pub row_rules: RowRules,
}

/// The rows that a task is about. Outside them its label is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Population {
    /// Every row.
    All,
    /// Rows where the label of task number `.0` is 1 (CVR: the clicked rows).
    Where(usize),
}
