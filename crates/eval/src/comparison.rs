//! Comparison of methods on data sets: from measured runs to means, differences and verdicts.
//!
//! A [`ComparisonInput`] holds the measurements; [`Comparison::of`] evaluates them. A method is better or worse
//! than a reference only if the paired difference, over common seeds and (where rows were kept) over test rows,
//! is significant after Holm's correction. The family of a correction is one figure of one task of one data set
//! against one reference: in such a family, equal methods are called different by mistake in at most `1 -
//! confidence` of all comparisons.
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

/// Measurements of a comparison, and how they were taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ComparisonInput {
    /// Title of the report.
    pub title: String,
    /// Command that ran the whole comparison.
    pub command: String,
    /// Sentences that describe the protocol.
    pub protocol: Vec<String>,
    /// Names of the methods that others are compared with.
    pub references: Vec<String>,
    /// Confidence level of the intervals; one minus this is the significance level.
    pub confidence: f64,
    /// Data sets in display order.
    pub data: Vec<DataInput>,
}

impl Default for ComparisonInput {
    /// An empty comparison at 95 % confidence.
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

/// One data set and its measurements.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DataInput {
    /// The data set's name.
    pub name: String,
    /// Description: rows, tasks, split.
    pub about: String,
    /// Command that measured this part; empty: that of the whole comparison.
    pub command: String,
    /// Degree of sharing of a synthetic log, 0 to 1.
    pub share: Option<f64>,
    /// Group of data sets that form one line over `share`.
    pub group: Option<String>,
    /// Published figures.
    pub published: Vec<Published>,
    /// Methods in display order.
    pub methods: Vec<MethodInput>,
}

/// A published figure for a data set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Published {
    /// Name of the corresponding method in this comparison.
    pub method: String,
    /// Task and figure, such as `cvr AUC`; the figure alone where only one task has it.
    pub figure: String,
    /// The published value.
    pub value: f64,
    /// Source, and the differences in protocol.
    pub source: String,
}

/// One method on one data set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MethodInput {
    /// The method's name, the same on all data sets.
    pub name: String,
    /// One-sentence description.
    pub about: String,
    /// Its settings as `key=value`, the tuned ones included.
    pub settings: Vec<String>,
    /// Family of methods that form one line over density.
    pub family: Option<String>,
    /// Trials among which the settings were chosen.
    pub trials: Vec<Trial>,
    /// Index of the chosen trial.
    pub picked: Option<usize>,
    /// Evaluated runs, one a seed.
    pub seeds: Vec<MeasuredRun>,
}

/// One trial of the tuning.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// Settings as `key=value`.
    pub settings: Vec<String>,
    /// Validation figure by which the trial was chosen.
    pub validation: Option<f64>,
    /// Folder of the run, relative to the report.
    pub folder: String,
}

/// One run with one seed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MeasuredRun {
    /// Seed of the initial weights, of the order of rows and, for a synthetic log, of the log.
    pub seed: u64,
    /// Folder of the run, relative to the report.
    pub folder: String,
    /// Metrics on test rows.
    pub metrics: Metrics,
    /// Cost of the run.
    pub cost: RunCost,
    /// Share of connections that each task keeps.
    pub densities: Vec<(String, f64)>,
    /// Mask overlap by layer.
    pub sharing: Vec<LayerSharing>,
    /// Learning curve of each task.
    pub learning: Vec<LearningCurve>,
    /// Calibration curve of each task.
    pub calibration: Vec<CalibrationCurve>,
    /// Per-row values of the figures. Not stored: a comparison that was read back keeps its verdicts but cannot
    /// be evaluated again with rows.
    #[serde(skip)]
    pub rows: Vec<(FigureKey, RowValues)>,
}

/// Cost of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunCost {
    /// Number of trainings, including those of the search.
    pub trainings: u32,
    /// Number of rows read by all trainings.
    pub samples: u64,
    /// Processor time, in seconds.
    pub seconds: f64,
    /// Peak memory, in bytes.
    pub peak_bytes: u64,
    /// Number of trained parameters, including embedding tables.
    pub parameters: u64,
    /// Number of kept weights of layers and heads.
    pub weights: u64,
    /// Multiply-adds to score one row for all tasks.
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

/// Measurements and the results derived from them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Measurements.
    pub input: ComparisonInput,
    /// Results of each data set, in their order.
    pub data: Vec<DataResult>,
    /// Verdicts counted over data sets.
    pub summary: Vec<SummaryRow>,
}

/// Results for one data set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DataResult {
    /// The data set's name.
    pub name: String,
    /// Means over seeds, for each method and figure that applies.
    pub estimates: Vec<MethodEstimate>,
    /// Differences of every other method from each reference, by each decisive figure.
    pub differences: Vec<MethodDifference>,
    /// Comparison of every method with the chance level, by each AUC.
    pub chance: Vec<ChanceResult>,
    /// Verdicts as sentences.
    pub sentences: Vec<String>,
    /// Measured figures beside published ones.
    pub agreement: Vec<Agreement>,
}

/// A figure of a method, over its seeds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MethodEstimate {
    /// The method's name.
    pub method: String,
    /// The figure.
    pub key: FigureKey,
    /// Mean and interval over seeds.
    pub estimate: Estimate,
}

/// A method against a reference by one figure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MethodDifference {
    /// The method's name.
    pub method: String,
    /// The reference's name.
    pub reference: String,
    /// The figure.
    pub key: FigureKey,
    /// Method minus reference: mean over common seeds, with uncorrected interval and p-value.
    pub difference: Difference,
    /// Sources of variation that interval and p-value account for.
    pub scope: Scope,
    /// p-value after Holm's correction over the methods; null for a single common seed.
    pub adjusted: Option<f64>,
    /// Verdict from the adjusted p-value.
    pub verdict: Verdict,
}

/// Sources of variation that a statement accounts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Seeds. Where each seed has test rows of its own, this includes the sampling of test rows; where all
    /// seeds share them, the statement holds for these rows only.
    Seeds,
    /// Seeds and the sampling of test rows. The training rows are fixed.
    SeedsAndRows,
}

/// Result of a significance test of a method against a reference, or against the chance level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Significantly better; against the chance level: above it.
    Better,
    /// Significantly worse.
    Worse,
    /// Not significant: no difference was shown, which does not show that there is none.
    #[serde(rename = "not_separable")]
    NotSignificant,
    /// A single seed: no test is possible.
    TooFewSeeds,
}

/// A method's AUC against the chance level of 0.5.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChanceResult {
    /// The method's name.
    pub method: String,
    /// The AUC figure.
    pub key: FigureKey,
    /// Mean over seeds minus 0.5.
    pub above: f64,
    /// One-sided p-value; null for a single seed.
    pub p_value: Option<f64>,
    /// p-value after Holm's correction over the methods.
    pub adjusted: Option<f64>,
    /// `Better` or `NotSignificant`; `TooFewSeeds` for a single seed.
    pub verdict: Verdict,
}

/// Verdicts of a method against a reference by one figure, counted over all data sets that have both.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SummaryRow {
    /// The method's name.
    pub method: String,
    /// The reference's name.
    pub reference: String,
    /// The figure.
    pub key: FigureKey,
    /// Number of data sets on which the method is better.
    pub better: usize,
    /// Number of data sets on which it is worse.
    pub worse: usize,
    /// Number of data sets without a significant difference.
    #[serde(rename = "not_separable")]
    pub not_significant: usize,
    /// Number of data sets with too few seeds.
    pub no_verdict: usize,
}

/// A published figure and the measured one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// The published figure.
    pub published: Published,
    /// The measured figure; null if the method or figure was not measured.
    pub ours: Option<Estimate>,
}

impl Comparison {
    /// Evaluates the measurements.
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

    /// Returns the estimate of a figure of a method.
    pub fn estimate(&self, method: &str, key: &FigureKey) -> Option<Estimate> {
        let matches = |one: &&MethodEstimate| one.method == method && one.key == *key;
        self.estimates.iter().find(matches).map(|e| e.estimate)
    }

    /// Returns the difference between a method and a reference.
    pub fn difference(
        &self,
        method: &str,
        reference: &str,
        key: &FigureKey,
    ) -> Option<&MethodDifference> {
        let matches = |one: &&MethodDifference| {
            one.method == method && one.reference == reference && one.key == *key
        };
        self.differences.iter().find(matches)
    }

    /// Returns the figures that some method has, task by task, in display order.
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
