//! The comparison file in TOML.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Placeholders for the data set's name and the seed in a file name.
pub(super) const DATA: &str = "{data}";
pub(super) const SEED: &str = "{seed}";

/// A comparison: data sets, methods, seeds.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CompareFile {
    /// Title of the report.
    #[serde(default = "title")]
    pub(crate) title: String,
    /// Seeds of the runs of each method on each data set.
    #[serde(default = "five")]
    #[schemars(length(min = 1))]
    pub(crate) seeds: Vec<u64>,
    /// Worker threads of one run.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 4096))]
    pub(crate) threads: u32,
    /// Budget to equalise across networks by scaling their hidden layers. The budget is that of the shared
    /// bottom with the widths of the data set's run file.
    #[serde(rename = "match", default)]
    pub(crate) matching: Match,
    /// Reference methods that all others are compared with.
    #[serde(default)]
    pub(crate) references: Vec<String>,
    /// Search over learning rate, weight decay and task weight, the same for every method.
    #[serde(default)]
    pub(crate) tuning: Tuning,
    /// Settings that override those of every run file, and that data sets and methods override. To compare networks on
    /// the same features, state features.rates: by default only networks with masks have past rates.
    #[serde(default)]
    pub(crate) set: Map<String, Value>,
    /// Data sets by name.
    #[schemars(extend("minProperties" = 1, "examples" = [{ "mine": { "run": "run.toml" } }]))]
    pub(crate) data: IndexMap<String, DataSet>,
    /// File of methods that several comparisons share, relative to this file.
    #[schemars(length(min = 1))]
    pub(crate) include: Option<String>,
    /// Methods by name; they replace included methods of the same name.
    #[serde(default)]
    pub(crate) methods: IndexMap<String, Method>,
}

/// File of methods that several comparisons share.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MethodsFile {
    /// Methods by name.
    #[schemars(extend("minProperties" = 1, "examples" = [{ "mmoe": { "set": { "network": { "kind": "mmoe" } } } }]))]
    pub(crate) methods: IndexMap<String, Method>,
}

fn title() -> String {
    "Comparison".to_owned()
}

fn five() -> Vec<u64> {
    (1..=5).collect()
}

fn one() -> u32 {
    1
}

/// Budget to equalise across networks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Match {
    /// None: the widths of the run file.
    #[default]
    None,
    /// Number of weights and biases of layers and heads that any task keeps.
    Parameters,
    /// Number of multiplications to score one row for all tasks.
    Flops,
}

/// Search over settings on validation rows.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Tuning {
    /// Number of settings to try for each method on each data set; the first are those of the run file.
    #[schemars(range(min = 1, max = 1000))]
    pub(crate) trials: u32,
    /// Seeds of the trials; settings are compared by their mean validation score. With few validation labels of a
    /// task, a single seed selects settings at random.
    #[schemars(length(min = 1))]
    pub(crate) seeds: Vec<u64>,
    /// Minimum and maximum learning rate, sampled on a log scale.
    pub(crate) learning_rate: Range,
    /// Minimum and maximum weight decay, sampled on a log scale.
    pub(crate) weight_decay: Range,
    /// Minimum and maximum weight of the last task, sampled on a log scale.
    pub(crate) weight: Range,
}

impl Default for Tuning {
    fn default() -> Tuning {
        Tuning {
            trials: 4,
            seeds: vec![1],
            learning_rate: Range(3e-4, 3e-3),
            weight_decay: Range(1e-6, 1e-2),
            weight: Range(0.2, 2.0),
        }
    }
}

/// Two positive numbers, the smaller first.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
pub(crate) struct Range(pub(crate) f64, pub(crate) f64);

impl JsonSchema for Range {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Range".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "array",
            "items": { "type": "number", "exclusiveMinimum": 0.0 },
            "minItems": 2,
            "maxItems": 2,
        })
    }
}

/// A data set: a run file, or a synthetic log.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DataSet {
    /// Run file with columns, tasks and sizes, relative to this file. With synth: the run file of the synthetic
    /// log, whose files replace those of the run file.
    #[schemars(length(min = 1))]
    pub(crate) run: Option<String>,
    /// Synthetic log to generate, one for each seed; without run, its run file is the one that ncs synth writes.
    pub(crate) synth: Option<SynthLog>,
    /// One-sentence description.
    #[serde(default)]
    pub(crate) about: String,
    /// Group of synthetic logs that form one line over `share`.
    pub(crate) group: Option<String>,
    /// Settings that override the run file.
    #[serde(default)]
    pub(crate) set: Map<String, Value>,
    /// Methods to run on it; default: all.
    pub(crate) methods: Option<Vec<String>>,
    /// Published figures to show beside the measured ones.
    #[serde(default)]
    pub(crate) published: Vec<Published>,
}

/// A synthetic log, as `ncs synth` generates it.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SynthLog {
    /// Number of impressions.
    #[schemars(range(min = 5, max = 1_000_000_000_000u64))]
    pub(crate) rows: u64,
    /// Degree of sharing between the tasks.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub(crate) share: f64,
    /// Place of the conflict between the tasks: network, vectors, both.
    pub(crate) conflict: SynthConflict,
    /// Clicks per impression.
    #[schemars(extend("exclusiveMinimum" = 0.0, "exclusiveMaximum" = 1.0))]
    pub(crate) click_rate: f64,
    /// Conversions per click.
    #[schemars(extend("exclusiveMinimum" = 0.0, "exclusiveMaximum" = 1.0))]
    pub(crate) conversion_rate: f64,
    /// Share of the test rows whose item is in no training row; rows then have times.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0.0, "exclusiveMaximum" = 1.0))]
    pub(crate) unseen: Option<f64>,
    /// Scale of the delays of conversions in days, beside unseen.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub(crate) delays: Option<f64>,
}

impl Default for SynthLog {
    /// Returns the defaults of `ncs synth`.
    fn default() -> SynthLog {
        SynthLog {
            rows: 140_000,
            share: 0.5,
            conflict: SynthConflict::Network,
            click_rate: 0.1,
            conversion_rate: 0.03,
            unseen: None,
            delays: None,
        }
    }
}

/// Place of the conflict between the true models of the tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SynthConflict {
    /// The first-layer weights.
    Network,
    /// The hidden vectors of the ids.
    Vectors,
    /// Both.
    Both,
}

/// A published figure.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Published {
    /// Name of the method in this comparison.
    pub(crate) method: String,
    /// Name of the task.
    pub(crate) task: String,
    /// Name of the figure, such as AUC.
    pub(crate) figure: String,
    /// Published value.
    pub(crate) value: f64,
    /// Source, and the differences in protocol.
    pub(crate) source: String,
}

/// A method: settings that override the run file, or score files of another program.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Method {
    /// One-sentence description.
    #[serde(default)]
    pub(crate) about: String,
    /// Settings that override the run file.
    #[serde(default)]
    pub(crate) set: Map<String, Value>,
    /// Method whose masks and widths to reuse, from its run with the same seed.
    pub(crate) masks_of: Option<String>,
    /// Method whose number of kept weights the hidden layers are scaled to.
    pub(crate) weights_of: Option<String>,
    /// Factor of the hidden widths of the data set's run file; default: 1. Only with match = "none".
    #[schemars(extend("exclusiveMinimum" = 0.0, "maximum" = 1000.0))]
    pub(crate) width: Option<f64>,
    /// Family of methods that form one line over density.
    pub(crate) family: Option<String>,
    /// Files of another program's predicted probabilities for the test rows, one for each seed, such as
    /// "{data}/lightgbm-{seed}.parquet", where {data} is the name of the data set. Paths are relative to this
    /// file, or to the folder of --scores. A file has a column p_TASK for each task and a row for each test row,
    /// in their order. Optional columns: row (index of the test row, from 0), y_TASK (labels, checked against
    /// those of the data), seed, cpu_seconds (of training).
    #[schemars(length(min = 1))]
    pub(crate) scores: Option<String>,
}
