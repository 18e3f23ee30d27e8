//! A comparison as TOML holds it.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A comparison of ncs: data sets, methods, seeds.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CompareFile {
    /// Headline of the report.
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
    /// What is made equal between the networks by scaling their hidden layers. The budget is the shared
    /// bottom's, with the widths of the data set's run file.
    #[serde(rename = "match", default)]
    pub(crate) matching: Match,
    /// Methods that all others are compared with.
    #[serde(default)]
    pub(crate) references: Vec<String>,
    /// The search over learning rate, weight decay and weight, the same for every method.
    #[serde(default)]
    pub(crate) tuning: Tuning,
    /// The data sets.
    #[schemars(extend("minProperties" = 1, "examples" = [{ "mine": { "run": "run.toml" } }]))]
    pub(crate) data: IndexMap<String, DataSet>,
    /// A file of methods that several comparisons share; a relative path starts at this file.
    #[schemars(length(min = 1))]
    pub(crate) include: Option<String>,
    /// The methods; of the same name, these replace the included ones.
    #[serde(default)]
    pub(crate) methods: IndexMap<String, Method>,
}

/// Methods that several comparisons share.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MethodsFile {
    /// The methods.
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

/// What is made equal between the networks.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema, clap::ValueEnum,
)]
#[serde(rename_all = "snake_case")]
pub enum Match {
    /// Nothing: widths are those of the run file.
    #[default]
    None,
    /// Weights and biases of layers and heads that some task keeps.
    Parameters,
    /// Multiplications for one row scored for all tasks.
    Flops,
}

/// The search over settings, on validation rows.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Tuning {
    /// Settings that are tried for each method on each data set; the first is the run file's own.
    #[schemars(range(min = 1, max = 1000))]
    pub(crate) trials: u32,
    /// Seeds of the trials: settings are judged by their mean. Where validation rows have few labels of a
    /// task, one seed judges by chance.
    #[schemars(length(min = 1))]
    pub(crate) seeds: Vec<u64>,
    /// From and to, by equal ratios.
    pub(crate) learning_rate: Range,
    /// From and to, by equal ratios.
    pub(crate) weight_decay: Range,
    /// From and to, by equal ratios: the weight of the last task.
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

/// A data set: a run file, or a made-up log.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DataSet {
    /// The run file that says columns, tasks and sizes. A relative path starts at this file. Beside synth: the
    /// run file of the synthetic log, whose files take the place of its own.
    #[schemars(length(min = 1))]
    pub(crate) run: Option<String>,
    /// A log to be made up, one for each seed; without run, its run file is the one that ncs synth writes.
    pub(crate) synth: Option<SynthLog>,
    /// What it is, in a sentence.
    #[serde(default)]
    pub(crate) about: String,
    /// Made-up logs of one group form the line over `share`.
    pub(crate) group: Option<String>,
    /// Settings laid over the run file.
    #[serde(default)]
    pub(crate) set: Map<String, Value>,
    /// The methods that run on it; without it, all.
    pub(crate) methods: Option<Vec<String>>,
    /// Published numbers that stand beside ours.
    #[serde(default)]
    pub(crate) published: Vec<Published>,
}

/// A log that is made up, as `ncs synth` does.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SynthLog {
    /// Impressions.
    #[schemars(range(min = 5, max = 1_000_000_000_000u64))]
    pub(crate) rows: u64,
    /// How much the tasks share.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub(crate) share: f64,
    /// Where what is not shared is in conflict: network, vectors, both.
    pub(crate) conflict: SynthConflict,
    /// Clicks an impression.
    #[schemars(extend("exclusiveMinimum" = 0.0, "exclusiveMaximum" = 1.0))]
    pub(crate) click_rate: f64,
    /// Conversions a click.
    #[schemars(extend("exclusiveMinimum" = 0.0, "exclusiveMaximum" = 1.0))]
    pub(crate) conversion_rate: f64,
}

impl Default for SynthLog {
    /// Those of `ncs synth`.
    fn default() -> SynthLog {
        SynthLog {
            rows: 140_000,
            share: 0.5,
            conflict: SynthConflict::Network,
            click_rate: 0.1,
            conversion_rate: 0.03,
        }
    }
}

/// Where the truths of the tasks are in conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SynthConflict {
    /// In the first-layer weights.
    Network,
    /// In the hidden vectors of the ids.
    Vectors,
    /// In both.
    Both,
}

/// A published number.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Published {
    /// Our name of the method.
    pub(crate) method: String,
    /// The task.
    pub(crate) task: String,
    /// Such as AUC.
    pub(crate) figure: String,
    /// The number.
    pub(crate) value: f64,
    /// Where it stands, and how its protocol differs.
    pub(crate) source: String,
}

/// A method: settings laid over the run file, or score files of another program.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Method {
    /// What it is, in a sentence.
    #[serde(default)]
    pub(crate) about: String,
    /// Settings laid over the run file.
    #[serde(default)]
    pub(crate) set: Map<String, Value>,
    /// Takes the masks of this method's run with the same seed, and its widths.
    pub(crate) masks_of: Option<String>,
    /// Hidden layers are scaled to as many weights as this method's run keeps.
    pub(crate) weights_of: Option<String>,
    /// Hidden layers are so many times as wide as the data set's run file says; without it, as wide. Only with
    /// match = "none".
    #[schemars(extend("exclusiveMinimum" = 0.0, "maximum" = 1000.0))]
    pub(crate) width: Option<f64>,
    /// Methods of one family form the line over density.
    pub(crate) family: Option<String>,
    /// Files of another program's probabilities of the test rows, one for each seed, such as
    /// "{data}/lightgbm-{seed}.parquet": {data} is the name of the data set. A relative path starts at this file,
    /// or at the folder of --scores. A file has a column p_TASK for each task and a row for each test row, in
    /// their order. Optional columns: row (the number of the test row, from 0), y_TASK (labels, which are
    /// compared with those of the data), seed, cpu_seconds (of training).
    #[schemars(length(min = 1))]
    pub(crate) scores: Option<String>,
}
