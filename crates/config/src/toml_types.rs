//! The run file as TOML holds it. The doc comments and ranges here are the JSON schema's, and every
//! run file is checked against that schema, so this is the one place that says what a key may be.

use super::kind_or_table::KindOrTable;
use super::loss_types::cross_entropy;
use indexmap::IndexMap;
use ncs_train::{Eviction, ModelFiles, RankTables};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(crate) use super::column_types::*;
pub(crate) use super::loss_types::Loss;
pub(crate) use super::search_types::*;
pub(crate) use super::training_types::*;

/// A run of ncs: data, columns, tasks, network, mask search, training.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunFile {
    /// Seed of the initial weights, the order of rows, and dropout.
    #[serde(default = "one")]
    pub(crate) seed: u64,
    /// Worker threads. The result is the same, byte for byte, for the same number of threads.
    /// Without it: all cores of the machine.
    #[schemars(range(min = 1, max = 4096))]
    pub(crate) threads: Option<usize>,
    /// Source of the rows.
    #[schemars(extend("examples" = [{ "train": "log.parquet" }]))]
    pub(crate) data: Data,
    /// The features, in the order of the network's fields.
    #[schemars(extend("minProperties" = 1, "examples" = [{ "user_id": "categorical" }]))]
    pub(crate) columns: IndexMap<String, Column>,
    /// Lifetimes of the rows of id spaces, by the name of the id space: that of its column, unless columns share one.
    /// They act where a training goes on from a model.
    #[schemars(extend("examples" = [{ "user_id": { "expire_after": 30 } }]))]
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub(crate) tables: IndexMap<String, Lifetime>,
    /// Features that follow from others.
    #[serde(default)]
    pub(crate) features: Features,
    /// Prediction tasks.
    #[schemars(extend("minProperties" = 1, "examples" = [{ "ctr": { "label": "click" } }]))]
    pub(crate) tasks: IndexMap<String, Task>,
    /// Evaluation of the trained model.
    #[serde(default)]
    pub(crate) evaluation: Evaluation,
    /// Network and its sizes.
    #[serde(default)]
    pub(crate) network: Network,
    /// Mask search, for network.kind = "sparse_sharing".
    pub(crate) search: Option<Search>,
    /// Training: losses, optimizers, stopping.
    #[serde(default)]
    pub(crate) training: Training,
    /// Training on several processes, which an MPI launcher starts.
    #[serde(default)]
    pub(crate) distributed: Distributed,
    /// The model that training goes on from.
    pub(crate) start: Option<Start>,
    /// Calibration of its probabilities.
    #[serde(default)]
    pub(crate) calibration: Calibration,
    /// Requests that the model will serve.
    #[serde(default)]
    pub(crate) serving: Serving,
}

fn one() -> u64 {
    1
}

/// Training on several processes, which an MPI launcher starts. One process alone ignores it.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Distributed {
    /// Where the processes hold the tables, with their optimizer moments. The model is the same.
    pub(crate) tables: RankTables,
    /// Files of the table rows in the model's folder: one with all, or one written by each process, its rows, at the same
    /// time. The model is the same.
    pub(crate) model: ModelFiles,
}

/// Lifetime of the rows of an id space.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Lifetime {
    /// Trainings without a sighting after which a row goes, with its vocabulary entry, its past counts and its moments;
    /// or days, as "30 days", between the days of trainings: those of the folders by day that data.train names. Default:
    /// it stays.
    pub(crate) expire_after: Option<ExpireAfter>,
    /// Rows that a training takes over; the others go, in the order of evict. New values of the training come on top.
    /// Default: all.
    #[schemars(range(min = 1))]
    pub(crate) capacity: Option<u32>,
    /// Which rows beyond the capacity go first: the least recently seen, or those with the least evidence (sightings).
    #[serde(default)]
    pub(crate) evict: Eviction,
    /// Of hashed ids: sightings from which on a row is trained, counted on over trainings; before it is read as an unknown
    /// id. Vocabularies have a min_count of their own. Default: from the first.
    #[schemars(range(min = 1))]
    pub(crate) min_count: Option<u32>,
}

/// Time without a sighting.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum ExpireAfter {
    /// Trainings.
    Trainings(#[schemars(range(min = 1))] u32),
    /// Days, such as "30 days".
    Days(#[schemars(regex(pattern = r"^[1-9][0-9]* days?$"))] String),
}

/// The model that training goes on from: its weights, ids, scales and masks. Columns, tasks and network must be its
/// own; values that are new in the training rows get rows of their own.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Start {
    /// A folder written by ncs train, or the model in it. A relative path starts at the run file.
    #[schemars(length(min = 1))]
    pub(crate) model: String,
    /// Masks of network.kind = "sparse_sharing".
    #[serde(default)]
    pub(crate) masks: StartMasks,
    /// Optimizer moments.
    #[serde(default)]
    pub(crate) moments: StartMoments,
}

/// Optimizer moments of a training that goes on from a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StartMoments {
    /// "keep" for networks with masks, "reset" for others.
    #[default]
    Auto,
    /// Those of the last checkpoint: start.model is the folder of a training that still has it.
    Keep,
    /// None: they start anew.
    Reset,
}

/// Masks of a training that goes on from a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StartMasks {
    /// Those of the model.
    #[default]
    Keep,
    /// New ones, searched as [search] states, from the model's weights.
    Search,
}

/// Source of the rows.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Data {
    /// Files, globs and folders of the training part, or of everything where split divides it.
    /// Relative paths start at the run file.
    pub(crate) train: Files,
    /// Days of train to use, where its files are in folders named day=2026-11-28, date= or dt=:
    /// "2026-11-01..2026-11-14" (either may be left out), or "last 7". Default: all.
    pub(crate) days: Option<String>,
    /// First day that is too late for train, such as the day of the training; "last 7" are the days before it.
    /// Without it, "last 7" ends with the latest day that there is.
    pub(crate) as_of: Option<String>,
    /// Files, globs and folders of the validation part.
    #[serde(default)]
    pub(crate) valid: Files,
    /// Files, globs and folders of the test part.
    #[serde(default)]
    pub(crate) test: Files,
    /// Division of the rows of train; files under valid and test are used whole, in addition.
    pub(crate) split: Option<Split>,
    /// The format; without it, each file's name tells.
    pub(crate) format: Option<Format>,
    /// Share of broken rows above which reading stops with an error; 0 refuses the first one.
    #[serde(default)]
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
    pub(crate) max_broken_share: f64,
    /// Field separator of CSV files; without it, a tab for .tsv and a comma otherwise.
    pub(crate) delimiter: Option<char>,
    /// Column names of CSV files that have no header line.
    #[schemars(length(min = 1))]
    pub(crate) header: Option<Vec<String>>,
    /// Encoding of texts; default: "utf-8". Applies to CSV files and JSON lines as a whole, and in
    /// Parquet and TFRecord to texts that are not valid UTF-8.
    pub(crate) encoding: Option<Encoding>,
    /// Folder of the id cache, which runs can share; default: NCS_CACHE, or rows in the run's own folder.
    #[schemars(length(min = 1))]
    pub(crate) cache: Option<String>,
    /// Features by id: files whose columns are added to every row, by a column of ids, which names the section. `ncs serve
    /// --lookup` adds the same columns to requests.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub(crate) lookup: IndexMap<String, Lookup>,
}

/// Files of features by id.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Lookup {
    /// Files, globs and folders with the column of ids, the formats told by their names. Relative paths start at the run
    /// file.
    pub(crate) files: Files,
    /// Column of the files: the moment from which on a record is known. A row gets the newest record of its id that is not
    /// later than the row. Default: an id has one record, which every row gets.
    #[schemars(length(min = 1))]
    pub(crate) time: Option<String>,
    /// Column of the rows with their moments. Default: the column of data.split, where it divides by time.
    #[schemars(length(min = 1))]
    pub(crate) row_time: Option<String>,
    /// Unit in which numbers count time since 1970, in the files and in the rows. Default: by their size.
    pub(crate) unit: Option<Unit>,
    /// Columns to take of the files. Default: all.
    #[schemars(length(min = 1))]
    pub(crate) columns: Option<Vec<String>>,
}

/// One path or a list of them.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Files {
    /// A file, a glob or a folder.
    One(String),
    /// Files, globs and folders.
    Many(Vec<String>),
}

impl Default for Files {
    fn default() -> Files {
        Files::Many(Vec::new())
    }
}

impl Files {
    pub(crate) fn to_vec(&self) -> Vec<String> {
        match self {
            Files::One(file) => vec![file.clone()],
            Files::Many(files) => files.clone(),
        }
    }
}

/// A file format.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Format {
    /// TFRecord of tf.train.Example, plain, gzip or zlib.
    #[serde(rename = "tfrecord")]
    TfRecord,
    /// Parquet.
    Parquet,
    /// Comma- or tab-separated text, plain, .gz or .zst.
    Csv,
    /// One JSON object a line, plain, .gz or .zst.
    JsonLines,
    /// Arrow: the file format (Feather of version 2) or the stream format.
    Arrow,
}

/// The encoding of texts.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
pub(crate) enum Encoding {
    /// UTF-8; a row with other bytes is broken.
    #[serde(rename = "utf-8")]
    Utf8,
    /// ISO 8859-1.
    #[serde(rename = "latin-1")]
    Latin1,
    /// Windows-1252: Latin-1 with printable characters from 0x80 to 0x9F.
    #[serde(rename = "windows-1252")]
    Windows1252,
}

/// Division of the rows of data.train into training, validation and test.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(tag = "by", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Split {
    /// By a hash of a column, so that a user or a session is in one part only. Rows without a value
    /// are placed by their number.
    Hash {
        /// The column that is hashed.
        column: String,
        /// Share of validation.
        #[schemars(extend("exclusiveMinimum" = 0.0, "exclusiveMaximum" = 1.0))]
        valid: f64,
        /// Share of test.
        #[serde(default)]
        #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
        test: f64,
        /// Another seed gives another split. It is not the run's seed: runs with several seeds are
        /// compared on the same rows.
        #[serde(default = "one")]
        seed: u64,
    },
    /// By a hash of the row's number, for logs without users or sessions, or where the test rows
    /// show the same users as the training rows.
    Row {
        /// Share of validation.
        #[schemars(extend("exclusiveMinimum" = 0.0, "exclusiveMaximum" = 1.0))]
        valid: f64,
        /// Share of test.
        #[serde(default)]
        #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
        test: f64,
        /// Another seed gives another split; it is not the run's seed.
        #[serde(default = "one")]
        seed: u64,
    },
    /// By a time column: dates and time stamps, texts in ISO 8601 or another form, or numbers. Without
    /// valid and valid_from, the latest tenth of the rows is validation.
    Time {
        /// The column.
        column: String,
        /// Share of validation: the latest rows, up to those of test. Rows of one time are in one part, so that the
        /// share is met as closely as the times allow; ncs check and ncs train print where it begins.
        #[schemars(extend("exclusiveMinimum" = 0.0, "exclusiveMaximum" = 1.0))]
        valid: Option<f64>,
        /// Share of test, the latest rows of all; default: 0.
        #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
        test: Option<f64>,
        /// Rows from here on are validation; instead of valid.
        valid_from: Option<Moment>,
        /// Rows from here on are test; beside valid_from.
        test_from: Option<Moment>,
        /// Format of times in the column's texts, where not ISO 8601, as of strftime:
        /// `%m/%d/%Y %H:%M`.
        format: Option<String>,
    },
}

/// A time.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Moment {
    /// A number in the column's unit. Beside dates and time stamps it counts since 1970: days below
    /// 10^6, seconds below 10^11, milliseconds below 10^14, microseconds below 10^17, or nanoseconds.
    Number(f64),
    /// A date, or a date and a time of day, in ISO 8601 or in the split's `format`; UTC without an
    /// offset.
    Text(String),
}

/// Something to predict of a row.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Task {
    /// The label's column; a null label is unknown.
    pub(crate) label: Option<String>,
    /// The task counts only rows where this other task's label is 1.
    #[serde(rename = "where")]
    pub(crate) population: Option<String>,
    /// Loss function.
    #[serde(default = "cross_entropy")]
    pub(crate) loss: KindOrTable<Loss>,
    /// Factor of its loss in joint training.
    #[serde(default = "unit")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub(crate) weight: f64,
    /// Share by which the labels of training rows are moved towards the task's rate: y becomes (1 - label_smoothing) y +
    /// label_smoothing rate. The mean of the predictions stays, and calibration restores their spread.
    #[serde(default, skip_serializing_if = "is_nought")]
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
    pub(crate) label_smoothing: f64,
    /// Column with the weight of each row in the task's loss and metrics, a finite number of at least 0; without it,
    /// every row counts once. (`weight` is the factor of the whole task.)
    pub(crate) weight_column: Option<String>,
    /// Share of the training rows of label 0 to train on; probabilities are corrected for it exactly, and validation
    /// and test rows stay whole. Default: all rows.
    #[schemars(extend("exclusiveMinimum" = 0.0, "maximum" = 1.0))]
    pub(crate) negative_rate: Option<f64>,
    /// Column with the share of rows of label 0 that the log has kept of rows like each one (1: all), for a log that
    /// was sampled before; probabilities and metrics are those of all rows.
    pub(crate) negative_rate_column: Option<String>,
    /// Labels that become known after a while, such as conversions.
    pub(crate) late: Option<Late>,
    /// Column with the true probability of a synthetic log; used in evaluation only.
    pub(crate) truth: Option<String>,
}

fn unit() -> f64 {
    1.0
}

fn is_nought(number: &f64) -> bool {
    *number == 0.0
}

/// Labels that become known after a while.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Late {
    /// Column with the time of the click: times, texts in ISO 8601, or seconds.
    pub(crate) click_time: String,
    /// Column with the time of the conversion; null where there is none.
    pub(crate) conversion_time: String,
    /// Days from the click within which a conversion counts; later ones are none.
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub(crate) attribution_days: f64,
    /// Moment up to which training and validation know conversions. Rows whose click is later are not used.
    pub(crate) as_of: Moment,
    /// as_of of the training that start.model comes from: training rows teach what came since, each once. click_time
    /// is then needed in every row, and tasks without late use the rows since.
    pub(crate) since: Option<Moment>,
    /// Days after the click at which a row is a sample, for es_dfm and defer; default: a quarter of attribution_days.
    #[schemars(range(min = 0.0))]
    pub(crate) elapsed_days: Option<f64>,
    /// Column by whose values delays differ, such as a kind of product; without it, all rows have one distribution.
    pub(crate) by: Option<String>,
    /// Use of training rows that are younger than the attribution window at as_of. Validation takes older rows only.
    #[serde(default)]
    pub(crate) method: LateMethod,
}

/// Use of training rows whose label is not final.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LateMethod {
    /// They are left out: a waiting window.
    #[default]
    Wait,
    /// A row that has not converted yet is a negative.
    AsNegatives,
    /// Samples as negatives at the click and as positives at the conversion, with the importance weights of fake
    /// negatives (FNW, Ktena et al. 2019).
    Fnw,
    /// The same samples without weights; probabilities are corrected by b / (1 - b) (FNC, Ktena et al. 2019).
    Fnc,
    /// A row that has not converted yet counts by the chance that a conversion would be known, by the delays of older
    /// rows.
    DelayDistribution,
    /// The same, where a second head predicts the rate of an exponential delay for each row (DFM, Chapelle 2014).
    Dfm,
    /// Samples at elapsed_days, later conversions once more, with importance weights from two heads (ES-DFM, Yang et
    /// al. 2021).
    EsDfm,
    /// The same, and rows without a conversion once more after attribution_days, with weights from one head (DEFER,
    /// Gu et al. 2021).
    Defer,
    /// The final labels, whatever as_of: for comparisons on old logs only.
    Oracle,
}

/// Evaluation of the trained model.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Evaluation {
    /// Column that groups rows for grouped AUC: a user or a session.
    pub(crate) group: Option<String>,
    /// Resamplings for each interval; 0 gives no intervals.
    #[schemars(range(max = 1_000_000))]
    pub(crate) bootstrap: u32,
    /// Columns by whose values the evaluated rows are divided in the report, the 50 most frequent values of each; they need
    /// not be features. The files of these rows are read once more.
    pub(crate) slices: Vec<String>,
    /// Time column by whose days (UTC) the evaluated rows are divided in the report.
    pub(crate) days: Option<String>,
    /// Keep labels and scores of the evaluated rows in scores.safetensors.
    pub(crate) keep_scores: bool,
}

/// Requests to a server.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Serving {
    /// Columns that are equal for all candidates of a request, which clients send as its context. Their part of the network
    /// is prepared when a server loads the model; for other sets of columns with the first request that has them.
    #[schemars(extend("uniqueItems" = true, "examples" = [["user_id", "hour"]]))]
    pub(crate) context_columns: Vec<String>,
}

/// Calibration of probabilities.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Calibration {
    /// The calibrator that the model carries for each task, fitted to the validation rows.
    pub(crate) kind: CalibrationKind,
}

/// A calibrator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CalibrationKind {
    /// A logistic curve for each task with 1000 validation labels of each class or more, none for others.
    #[default]
    Auto,
    /// No calibration: the sigmoid of the network's logit.
    None,
    /// A logistic curve over the logit: two numbers, for few positives.
    Platt,
    /// Any rising function: for many positives.
    Isotonic,
}

impl Default for Evaluation {
    fn default() -> Evaluation {
        Evaluation {
            group: None,
            bootstrap: 200,
            slices: Vec::new(),
            days: None,
            keep_scores: false,
        }
    }
}
