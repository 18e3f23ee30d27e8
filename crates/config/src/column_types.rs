//! Columns as TOML holds them.

use indexmap::IndexMap;
use ncs_train::RateReaders;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A feature, by kind alone or with settings.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Column {
    /// A kind with its usual settings.
    Named(ColumnKind),
    /// A kind with settings.
    With(ColumnSettings),
}

/// Kind of a column and its settings.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ColumnKind {
    /// One value a row, turned into an id.
    Categorical,
    /// Several values a row, turned into ids and pooled.
    List,
    /// A number.
    Numeric,
}

/// A feature with settings.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum ColumnSettings {
    /// One value a row, turned into an id.
    Categorical {
        /// The column of the log; without it, the name of the feature.
        column: Option<String>,
        /// Texts that mean "missing", beside null and the empty text.
        #[serde(default)]
        missing: Vec<String>,
        /// The id space: the name of another column that it shares ids with, or a name of its own.
        table: Option<String>,
        /// Ids by hash, into so many buckets.
        #[schemars(range(min = 1, max = 4_000_000_000u32))]
        buckets: Option<u32>,
        /// The hash, with buckets.
        hash: Option<Hash>,
        /// Ids by vocabulary: values seen often enough in training have rows of their own.
        vocabulary: Option<Vocabulary>,
        /// Vectors of a file at which the vectors of its values begin.
        init: Option<Box<Init>>,
    },
    /// Several values a row, turned into ids; their vectors are pooled into one.
    List {
        /// The column of the log; without it, the name of the feature.
        column: Option<String>,
        /// Texts that mean "missing", beside null and the empty text.
        #[serde(default)]
        missing: Vec<String>,
        /// The id space: the name of another column that it shares ids with, or a name of its own.
        table: Option<String>,
        /// Ids by hash, into so many buckets.
        #[schemars(range(min = 1, max = 4_000_000_000u32))]
        buckets: Option<u32>,
        /// The hash, with buckets.
        hash: Option<Hash>,
        /// Ids by vocabulary: values seen often enough in training have rows of their own.
        vocabulary: Option<Vocabulary>,
        /// Pooling of the values' vectors into one.
        #[serde(default)]
        pooling: Pooling,
        /// Keep the first so many values.
        #[schemars(range(min = 1))]
        max_values: Option<usize>,
        /// Splits a text into values.
        separator: Option<char>,
        /// A column of lists of weights, one for each value: the mean or sum is that of the vectors times the weights.
        weights: Option<String>,
        /// The character between a value and its weight, where each text holds both, such as ":" in "sport:0.5". A value
        /// without it has weight 1.
        weight_separator: Option<char>,
        /// Vectors of a file at which the vectors of its values begin.
        init: Option<Box<Init>>,
    },
    /// A number.
    Numeric {
        /// The column of the log; without it, the name of the feature.
        column: Option<String>,
        /// Texts that mean "missing", beside null and the empty text.
        #[serde(default)]
        missing: Vec<String>,
        /// Encoding of the number.
        #[serde(default)]
        transform: Transform,
        /// Number of pieces, with transform = "piecewise" (default: 16), or of quantiles, with transform =
        /// "quantiles" (default: 32).
        #[schemars(range(min = 2, max = 1_000_000))]
        buckets: Option<u32>,
        /// Boundaries of buckets, ascending, in the place of a transform: the bucket that a number falls into is its id. A
        /// number at a boundary is in the upper bucket.
        #[schemars(length(min = 1, max = 4096))]
        boundaries: Option<Vec<f64>>,
        /// A second column: both hold times, and the number is the hours from the time in this column to the other, such as
        /// the age of an item when it is shown.
        since: Option<String>,
        /// Unit of times that are numbers, with since. Default: told by the size of each number.
        unit: Option<Unit>,
    },
    /// A part of a time as a category, such as the hour of the day. The column holds times, texts in ISO 8601 or numbers
    /// that count since 1970.
    Time {
        /// The column of the log; without it, the name of the feature.
        column: Option<String>,
        /// Texts that mean "missing", beside null and the empty text.
        #[serde(default)]
        missing: Vec<String>,
        /// The part.
        part: TimePart,
        /// Hours from UTC to the time zone in which the part is taken, in quarters of an hour; summer time is not known.
        #[serde(default)]
        #[schemars(range(min = -14.0, max = 14.0))]
        utc_offset: f64,
        /// Unit of times that are numbers. Default: told by the size of each number.
        unit: Option<Unit>,
    },
    /// A category for each combination of the values of two or three features, by hash: missing where one of them is. In
    /// requests it follows from these features.
    Cross {
        /// The features: categorical columns of [columns], each with one value a row.
        #[schemars(length(min = 2, max = 3))]
        of: Vec<String>,
        /// Number of buckets; more than there are combinations.
        #[serde(default = "cross_buckets")]
        #[schemars(range(min = 1, max = 4_000_000_000u32))]
        buckets: u32,
    },
    /// A list of numbers of one length, such as an embedding by another model. Null, an empty list and an empty text
    /// mean that there is none.
    Vector {
        /// The column of the log; without it, the name of the feature.
        column: Option<String>,
        /// Number of numbers; a vector of another length is an error.
        #[schemars(range(min = 1, max = 65_536))]
        length: u32,
        /// Splits a text into numbers; a text in brackets, such as [0.1, 0.2], needs none.
        separator: Option<char>,
        /// Whether each number is standardised by its mean and deviation over the training rows.
        #[serde(default)]
        standardise: bool,
        /// Whether a learned matrix makes one vector of network.dim of it, which takes part in the products of field
        /// vectors. Default: its numbers are inputs of the first layer.
        #[serde(default)]
        projected: bool,
    },
    /// What a user did before: events with several attributes, each in a list column of its own, parallel to the others.
    Sequence {
        /// The attributes of the events, by name.
        #[schemars(extend("minProperties" = 1))]
        attributes: IndexMap<String, EventAttribute>,
        /// Pooling of the events.
        #[serde(default)]
        pooling: SequencePooling,
        /// Keep so many events, the most recent ones.
        #[serde(default = "fifty")]
        #[schemars(range(min = 1, max = 100_000))]
        max_length: usize,
        /// Position of the most recent event in the lists.
        #[serde(default)]
        newest: Newest,
        /// Splits a text into values.
        separator: Option<char>,
        /// Widths of the two hidden layers of the attention, with pooling = "din". Default: [32, 16].
        #[schemars(inner(range(min = 1, max = 1024)))]
        hidden: Option<[u32; 2]>,
        /// Whether the weights of the events are a softmax, so that they add up to 1, with pooling = "din". Default: false: they
        /// are what the network says, as in the paper.
        softmax: Option<bool>,
        /// Number of heads, with pooling = "mha". Default: 4.
        #[schemars(range(min = 1, max = 64))]
        heads: Option<u32>,
        /// Weights of events that decay with their age. Default: events count by pooling alone.
        decay: Option<EventDecay>,
    },
}

fn fifty() -> usize {
    50
}

/// Weights of events that decay with their age: at the age of half_life an event counts half, at twice that age a quarter.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EventDecay {
    /// The list column with the age of each event, in the unit of half_life.
    pub(crate) ages: Option<String>,
    /// Instead of ages: the list column with the time of each event.
    pub(crate) times: Option<String>,
    /// With times: the column with the time from which ages are counted, such as that of the impression.
    pub(crate) at: Option<String>,
    /// With times: the unit of times that are numbers. Default: told by their size.
    pub(crate) unit: Option<Unit>,
    /// The age at which an event counts half: in hours with times, in the unit of the ages otherwise.
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub(crate) half_life: f64,
    /// Whether training learns the half-life, which then begins at half_life.
    #[serde(default)]
    pub(crate) learned: bool,
}

/// An attribute of the events of a sequence: a list for each row, with one value for each event.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EventAttribute {
    /// The column of the log.
    pub(crate) column: String,
    /// Texts that mean "missing", beside the empty text.
    #[serde(default)]
    pub(crate) missing: Vec<String>,
    /// The id space: the name of another column that it shares ids with, such as the candidate's, or a name of its own.
    pub(crate) table: Option<String>,
    /// The feature of the candidate that attention compares it with, with pooling = "din" or "mha". Default: table, if that is a
    /// feature.
    pub(crate) target: Option<String>,
    /// Ids by hash, into so many buckets.
    #[schemars(range(min = 1, max = 4_000_000_000u32))]
    pub(crate) buckets: Option<u32>,
    /// The hash, with buckets.
    pub(crate) hash: Option<Hash>,
    /// Ids by vocabulary: values seen often enough in training have rows of their own.
    pub(crate) vocabulary: Option<Vocabulary>,
    /// The values are numbers, such as the age of an event or the share that was watched: the quantile that a number falls
    /// into, of so many, is its id.
    #[schemars(range(min = 2, max = 1_000_000))]
    pub(crate) quantiles: Option<u32>,
}

/// Pooling of the events of a sequence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SequencePooling {
    /// A sum with weights by a small network over each event and the candidate (target attention, deep interest network).
    #[default]
    Din,
    /// Attention of the candidate by several heads, with learned vectors of the events' positions.
    Mha,
    /// The mean over the events.
    Mean,
    /// The most recent event.
    Last,
}

/// Position of the most recent event in a list.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Newest {
    /// Events are in the order of time.
    #[default]
    Last,
    /// The most recent event comes first.
    First,
}

/// Buckets of a cross: four bytes each, and a vector for those that rows point to.
fn cross_buckets() -> u32 {
    1_000_000
}

/// A file of vectors by id.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Init {
    /// The file: Parquet, CSV, JSON lines or Arrow with an id and a vector in each row, or a matrix in NumPy's (.npy) or the
    /// safetensors format. Vectors must have network.dim numbers. Relative paths start at the run file.
    pub(crate) file: String,
    /// The column or tensor of the ids. Default: "id", or in a file of two columns the one without lists.
    pub(crate) id: Option<String>,
    /// The column or tensor of the vectors. Default: "vector", or in a file of two columns the one of lists.
    pub(crate) vector: Option<String>,
    /// For matrices: a file with the id of each row, a text with one on each line or integers in NumPy's format.
    pub(crate) ids: Option<String>,
    /// Whether training leaves these vectors as they are. Default: they are trained further.
    #[serde(default)]
    pub(crate) frozen: bool,
}

/// Unit of numbers that count time since 1970.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unit {
    /// Days.
    Days,
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Millis,
    /// Microseconds.
    Micros,
    /// Nanoseconds.
    Nanos,
}

/// A part of a time.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TimePart {
    /// The hour of the day, 24 values.
    Hour,
    /// The day of the week, 7 values.
    Weekday,
    /// The hour of the week, 168 values.
    HourOfWeek,
    /// The day of the month, 31 values.
    Day,
    /// The month, 12 values.
    Month,
}

/// A hash that is the same in every release.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Hash {
    /// XXH3, 64 bits.
    Xxh3,
    /// FarmHash Fingerprint64, as TensorFlow's string_to_hash_bucket_fast uses it.
    Farm,
    /// MurmurHash3, 32 bits: ONNX Runtime has it as an operator, so an exported model (`ncs export`) takes these texts themselves.
    Murmur3,
}

/// Ids by vocabulary.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Vocabulary {
    /// Values seen fewer times than this in training are unknown.
    #[schemars(range(min = 1))]
    pub(crate) min_count: u32,
    /// Keep at most so many values, the most frequent.
    #[schemars(range(min = 1))]
    pub(crate) max_size: Option<u32>,
}

impl Default for Vocabulary {
    /// Every value has a row: what rare ids have in common is not what new ids do.
    fn default() -> Vocabulary {
        Vocabulary {
            min_count: 1,
            max_size: None,
        }
    }
}

/// Pooling of a list's vectors into one.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Pooling {
    /// Mean over the true length; an empty list is the zero vector.
    #[default]
    Mean,
    /// Sum over the true length; an empty list is the zero vector.
    Sum,
    /// Mean over the longest list of the batch, as the paper's released code does. For parity only.
    PaddedMean,
}

/// Encoding of a number.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Transform {
    /// Piecewise linear between quantiles, beside the standardised number and its logarithm, straight into the
    /// first layer.
    #[default]
    Piecewise,
    /// Less its mean, over its deviation; scales a learned vector.
    Standardise,
    /// sign(x) log(1 + |x|), then standardised.
    Log,
    /// The quantile that it falls into is its id.
    Quantiles,
}

/// Features that follow from others.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Features {
    /// Counts and rates of the past: how often an id was shown in training, and how often its rows were clicked or bought.
    /// A training row knows earlier rows only, later rows all training rows; requests send ids as before. A list names
    /// them: `[[features.rates]]` with `of = ["user_id"]`, or two categorical features, and the `tasks`, if not all.
    /// Default: "auto" for `network.kind = "sparse_sharing"`, whose masks can give them to the click task alone; "none" for
    /// other networks.
    pub(crate) rates: Option<PastRates>,
    /// Tasks that read past counts and rates. Networks without masks have all tasks read them.
    pub(crate) rates_for: Option<RateReaders>,
}

/// Counts and rates of the past.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum PastRates {
    /// By name.
    Named(PastRatesName),
    /// These, each of one column or a pair.
    These(Vec<PastRate>),
}

/// Past counts and rates that are features, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PastRatesName {
    /// None.
    None,
    /// Those of each categorical column of more than 100 values, where they predict labels of later training rows; none in
    /// logs of fewer than 30,000 training rows.
    Auto,
}

/// Rates of the past, for each task, and the number of rows.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PastRate {
    /// The categorical feature, or the two of a pair.
    #[schemars(length(min = 1, max = 2))]
    pub(crate) of: Vec<String>,
    /// The tasks whose rates are wanted; default: all with labels of 0 and 1.
    #[schemars(length(min = 1))]
    pub(crate) tasks: Option<Vec<String>>,
}
