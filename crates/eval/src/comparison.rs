//! Methods compared on data sets: from measured runs to means, differences and verdicts.
//!
//! A [`ComparisonInput`] holds what was measured; [`Comparison::of`] judges it. A method is better or
//! worse than a reference only where the paired difference, over common seeds and (where rows were
//! kept) over test rows, is significant after Holm's correction. The family of a correction is one
//! figure of one task of one data set against one reference: in such a family, equal methods are
//! called different by mistake in `1 - confidence` of all comparisons at most.
//!
//! ```
//! use ncs_eval::comparison::{Comparison, ComparisonInput};
//!
//! let comparison = Comparison::of(ComparisonInput::default());
//! assert_eq!(comparison.input.confidence, 0.95);
//! assert!(comparison.data.is_empty() && comparison.summary.is_empty());
//! ```

mod chance;
mod differences;
mod figures;
mod rows;
mod sentences;
mod summary;

use serde::{Deserialize, Serialize};

use crate::metrics::Metrics;
use crate::report::{CalibrationCurve, LearningCurve};
use crate::sharing::LayerSharing;
use crate::statistics::{Difference, Estimate};

pub use rows::{RowValues, row_values};

/// What was measured, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ComparisonInput {
    /// Headline.
    pub title: String,
    /// The command that measured all of it.
    pub command: String,
    /// Sentences on how it was run.
    pub protocol: Vec<String>,
    /// Names of the methods that others are compared with.
    pub references: Vec<String>,
    /// Share of intervals that hold the truth; one less this is the rate of wrong verdicts.
    pub confidence: f64,
    /// The data sets, in the order of showing.
    pub data: Vec<DataInput>,
}

impl Default for ComparisonInput {
    /// Nothing, at 95 %.
    fn default() -> ComparisonInput {
        ComparisonInput {
            title: String::new(),
            command: String::new(),
            protocol: Vec::new(),
            references: Vec::new(),
            confidence: 0.95,
            data: Vec::new(),
        }
    }
}

/// One data set and what was measured on it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DataInput {
    /// The data set's name.
    pub name: String,
    /// What it is: rows, tasks, split.
    pub about: String,
    /// The command that measured this part; empty: that of the whole comparison.
    pub command: String,
    /// Degree of sharing of a made-up log, 0 to 1.
    pub share: Option<f64>,
    /// Data sets of one group form the line over `share`.
    pub group: Option<String>,
    /// Figures that others published.
    pub published: Vec<Published>,
    /// The methods, in the order of showing.
    pub methods: Vec<MethodInput>,
}

/// A figure that others published for a data set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Published {
    /// The name that the method has here, so that ours can stand beside it.
    pub method: String,
    /// Task and figure, such as `cvr AUC`; the figure alone where only one task has it.
    pub figure: String,
    /// The published value.
    pub value: f64,
    /// Where it stands, and in what the protocol differs.
    pub source: String,
}

/// One method on one data set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MethodInput {
    /// The method's name, the same on all data sets.
    pub name: String,
    /// One sentence on it.
    pub about: String,
    /// Its settings as `key=value`, the tuned ones included.
    pub settings: Vec<String>,
    /// Methods of one family form the line over density.
    pub family: Option<String>,
    /// What was tried before the settings were chosen.
    pub trials: Vec<Trial>,
    /// Position of the chosen trial.
    pub picked: Option<usize>,
    /// The runs that are judged, one a seed.
    pub seeds: Vec<MeasuredRun>,
}

/// Settings that were tried.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// As `key=value`.
    pub settings: Vec<String>,
    /// The figure on validation rows that the choice was made by.
    pub validation: Option<f64>,
    /// The run's folder, as seen from the report.
    pub folder: String,
}

/// One run with one seed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MeasuredRun {
    /// Of initial weights, order of rows and, for a made-up log, the log.
    pub seed: u64,
    /// The run's folder, as seen from the report.
    pub folder: String,
    /// On test rows.
    pub metrics: Metrics,
    /// What it took.
    pub cost: RunCost,
    /// For each task: the share of connections that it keeps.
    pub densities: Vec<(String, f64)>,
    /// The masks, layer by layer.
    pub sharing: Vec<LayerSharing>,
    /// One for each task.
    pub learning: Vec<LearningCurve>,
    /// One for each task.
    pub calibration: Vec<CalibrationCurve>,
    /// How figures vary over test rows. Not stored: a comparison that was read back keeps its verdicts
    /// but cannot be judged again with rows.
    #[serde(skip)]
    pub rows: Vec<(FigureKey, RowValues)>,
}

/// What a run took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunCost {
    /// Trainings from the start, the search's included.
    pub trainings: u32,
    /// Rows that all trainings read.
    pub samples: u64,
    /// Processor time, in seconds.
    pub seconds: f64,
    /// Most memory at a time, in bytes.
    pub peak_bytes: u64,
    /// Trained numbers, the tables' included.
    pub parameters: u64,
    /// Kept weights of layers and heads.
    pub weights: u64,
    /// Multiplications with addition for one score of all tasks.
    pub multiply_adds: u64,
}

/// A figure of a task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FigureKey {
    /// The task's name, or `CTCVR`.
    pub task: String,
    /// The figure's name in [`FIGURES`](crate::figures::FIGURES).
    pub figure: String,
}

impl std::fmt::Display for FigureKey {
    /// `cvr AUC`.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} {}", self.task, self.figure)
    }
}

/// What was measured, and what follows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// What was measured.
    pub input: ComparisonInput,
    /// One for each data set, in their order.
    pub data: Vec<DataResult>,
    /// Verdicts counted over data sets.
    pub summary: Vec<SummaryRow>,
}

/// What follows for one data set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DataResult {
    /// The data set's name.
    pub name: String,
    /// Means over seeds, for each method and figure that applies.
    pub estimates: Vec<MethodEstimate>,
    /// Every other method against each reference, by each decisive figure.
    pub differences: Vec<MethodDifference>,
    /// Every method against chance, by each area.
    pub chance: Vec<ChanceResult>,
    /// The verdicts in words.
    pub sentences: Vec<String>,
    /// Our figures beside published ones.
    pub agreement: Vec<Agreement>,
}

/// A figure of a method, over its seeds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MethodEstimate {
    /// The method's name.
    pub method: String,
    /// Which figure.
    pub key: FigureKey,
    /// Its mean over seeds; the interval is over seeds too.
    pub estimate: Estimate,
}

/// A method against a reference by one figure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MethodDifference {
    /// The method's name.
    pub method: String,
    /// The reference's name.
    pub reference: String,
    /// Which figure.
    pub key: FigureKey,
    /// Method less reference: mean over common seeds, interval and p, both uncorrected.
    pub difference: Difference,
    /// What interval and p generalise to.
    pub scope: Scope,
    /// p after Holm's correction over the methods; null for a single common seed.
    pub adjusted: Option<f64>,
    /// What follows.
    pub verdict: Verdict,
}

/// What a statement generalises to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Other seeds. Where each seed has test rows of its own, this is other rows too; where all have the
    /// same, it is these rows only.
    Seeds,
    /// Other seeds, and other test rows drawn as these were. The training rows stay what they are.
    SeedsAndRows,
}

/// Whether a method can be told from a reference, or from chance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is better; against chance: above it.
    Better,
    /// It is worse.
    Worse,
    /// No difference was shown. (Nor that there is none.)
    NotSeparable,
    /// A single seed gives no verdict.
    TooFewSeeds,
}

/// A method's area against the 0.5 of a model that knows nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChanceResult {
    /// The method's name.
    pub method: String,
    /// Which area.
    pub key: FigureKey,
    /// Mean over seeds, less 0.5.
    pub above: f64,
    /// One-sided p; null for a single seed.
    pub p_value: Option<f64>,
    /// p after Holm's correction over the methods.
    pub adjusted: Option<f64>,
    /// `Better` or `NotSeparable`; `TooFewSeeds` for a single seed.
    pub verdict: Verdict,
}

/// How a method stands to a reference by one figure, over all data sets that have both.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SummaryRow {
    /// The method's name.
    pub method: String,
    /// The reference's name.
    pub reference: String,
    /// Which figure.
    pub key: FigureKey,
    /// Data sets on which the method is better.
    pub better: usize,
    /// Data sets on which it is worse.
    pub worse: usize,
    /// Data sets on which no difference was shown.
    pub not_separable: usize,
    /// Data sets with too few seeds.
    pub no_verdict: usize,
}

/// A published figure and ours.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// What was published.
    pub published: Published,
    /// What was measured here; null where the method or figure was not.
    pub ours: Option<Estimate>,
}

impl Comparison {
    /// Judges what was measured.
    pub fn of(input: ComparisonInput) -> Comparison {
        let data: Vec<DataResult> = input
            .data
            .iter()
            .map(|data| DataResult::of(data, &input))
            .collect();
        Comparison {
            summary: summary::count(&data),
            data,
            input,
        }
    }
}

impl DataResult {
    fn of(data: &DataInput, input: &ComparisonInput) -> DataResult {
        let estimates = figures::estimates(data, input.confidence);
        let differences = differences::against_references(data, input);
        let chance = chance::against_chance(data, input.confidence);
        DataResult {
            name: data.name.clone(),
            sentences: sentences::of(data, input, &differences, &chance),
            agreement: figures::agreement(&data.published, &estimates),
            estimates,
            differences,
            chance,
        }
    }

    /// The estimate of a figure of a method.
    pub fn estimate(&self, method: &str, key: &FigureKey) -> Option<Estimate> {
        let wanted = |found: &&MethodEstimate| found.method == method && found.key == *key;
        self.estimates.iter().find(wanted).map(|e| e.estimate)
    }

    /// A method's difference to a reference.
    pub fn difference(
        &self,
        method: &str,
        reference: &str,
        key: &FigureKey,
    ) -> Option<&MethodDifference> {
        let wanted = |found: &&MethodDifference| {
            found.method == method && found.reference == reference && found.key == *key
        };
        self.differences.iter().find(wanted)
    }

    /// The figures that some method has, task by task, in the order of showing.
    pub fn keys(&self) -> Vec<FigureKey> {
        let mut keys: Vec<FigureKey> = Vec::new();
        for estimate in &self.estimates {
            if !keys.contains(&estimate.key) {
                keys.push(estimate.key.clone());
            }
        }
        keys
    }
}
