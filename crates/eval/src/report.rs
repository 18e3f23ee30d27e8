//! What a run says of itself: plain data, stored as JSON, drawn by [`crate::render`].

use serde::{Deserialize, Serialize};

use crate::calibration::CalibrationBin;
use crate::columns::PartColumns;
use crate::figures::{FIGURES, FUNNEL, Figure};
use crate::metrics::{Metrics, TaskMetrics};
use crate::sharing::LayerSharing;
use crate::statistics::Estimate;

/// Everything worth knowing about a run. Empty parts are left out of the drawing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunReport {
    /// Headline.
    pub title: String,
    /// One sentence below it: what was run, when, on what.
    pub subtitle: String,
    /// What a reader must know before believing the figures.
    pub notes: Vec<Note>,
    /// Tables of results.
    pub results: Vec<ResultTable>,
    /// The masks, layer by layer.
    pub sharing: Vec<SharingPicture>,
    /// One for each task whose mask was searched.
    pub search: Vec<SearchCurve>,
    /// One for each network and task.
    pub learning: Vec<LearningCurve>,
    /// One for each network and task.
    pub calibration: Vec<CalibrationCurve>,
    /// Rows and label rates.
    pub data: DataSummary,
    /// The columns of each part, against what training saw.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<PartColumns>,
    /// The features.
    #[serde(default)]
    pub features: Vec<ColumnSummary>,
    /// What the masks keep of each input of the first layer.
    #[serde(default)]
    pub inputs: Vec<InputTable>,
    /// Settings of the run, by name and value.
    pub settings: Vec<(String, String)>,
    /// The program and its version.
    #[serde(default)]
    pub version: String,
    /// Seconds that the run took. It is drawn, not stored: the same run gives the same stored report.
    #[serde(skip)]
    pub seconds: Option<f64>,
}

/// A feature.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnSummary {
    /// The feature's name.
    pub name: String,
    /// The column of the log.
    pub column: String,
    /// `categorical`, `list` or `numeric`.
    pub kind: String,
    /// How values become ids or numbers.
    pub ids: String,
    /// Rows of its table.
    pub table_rows: u64,
}

/// The share of the first-layer connections of each input that tasks keep.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct InputTable {
    /// The network's name.
    pub network: String,
    /// Names of the tasks.
    pub tasks: Vec<String>,
    /// The features in their order, then their products.
    pub rows: Vec<InputRow>,
}

/// What is kept of one input.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct InputRow {
    /// The feature's name.
    pub name: String,
    /// The share that each task keeps.
    pub kept: Vec<f64>,
    /// The share that all tasks keep.
    pub shared: f64,
}

/// A data file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataFile {
    /// The part that the run file names it under.
    pub part: String,
    /// Where it lies.
    pub path: String,
    /// Its rows that could be used.
    pub rows: u64,
}

/// A remark on the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Whether it puts the figures in doubt.
    pub warning: bool,
    /// One sentence or two.
    pub text: String,
}

impl Note {
    /// On a line of its own: `warning: ...` or `note: ...`.
    pub fn line(&self) -> String {
        let kind = if self.warning { "warning" } else { "note" };
        format!("{kind}: {}", self.text)
    }
}

/// Rows and labels of each part of the data.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DataSummary {
    /// Names of the tasks.
    pub tasks: Vec<String>,
    /// Training, validation, test.
    pub parts: Vec<DataPart>,
    /// The files.
    #[serde(default)]
    pub files: Vec<DataFile>,
}

/// One part of the data.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DataPart {
    /// Such as `train`.
    pub name: String,
    /// Rows read.
    pub rows: u64,
    /// For each task.
    pub labels: Vec<LabelSummary>,
}

/// The labels of one task in one part of the data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LabelSummary {
    /// Rows whose label is known.
    pub known: u64,
    /// Mean of the known labels; null without any.
    pub rate: Option<f64>,
}

/// Figures of networks (or methods), task by task.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ResultTable {
    /// What is compared, on which rows.
    pub title: String,
    /// The figures.
    pub columns: Vec<ResultColumn>,
    /// In the order of drawing; rows of one task stand together.
    pub rows: Vec<ResultRow>,
}

/// A figure by which networks are judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResultColumn {
    /// Such as `AUC`.
    pub name: String,
    /// Which values are good, so that the best of each task can be marked.
    pub better: Better,
    /// Digits after the point; 0 for counts.
    pub decimals: usize,
}

/// Which values of a figure are good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// AUC.
    Higher,
    /// Losses and errors.
    Lower,
    /// Counts, and figures whose best value lies within.
    Neither,
}

/// One network on one task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResultRow {
    /// The task's name.
    pub task: String,
    /// The network's or method's name.
    pub network: String,
    /// One for each column.
    pub cells: Vec<ResultCell>,
}

/// A figure and how sure it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ResultCell {
    /// Null where the figure does not apply.
    pub value: Option<f64>,
    /// Its 95 % interval, where one was taken.
    pub interval: Option<[f64; 2]>,
}

impl From<Estimate> for ResultCell {
    fn from(estimate: Estimate) -> ResultCell {
        ResultCell {
            value: Some(estimate.mean),
            interval: estimate.interval,
        }
    }
}

impl From<Option<f64>> for ResultCell {
    fn from(value: Option<f64>) -> ResultCell {
        ResultCell {
            value,
            interval: None,
        }
    }
}

/// How a task was learnt by a network.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LearningCurve {
    /// The task's name.
    pub task: String,
    /// The network's name.
    pub network: String,
    /// What positions count: `epoch` or `step`.
    pub position_name: String,
    /// What the validation metric is, such as `AUC`.
    pub metric_name: String,
    /// In rising order of position.
    pub points: Vec<LearningPoint>,
    /// The point whose weights were kept.
    pub picked: Option<usize>,
}

/// A moment of the training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LearningPoint {
    /// Epochs or steps done.
    pub position: f64,
    /// Mean training loss since the last point.
    pub train_loss: Option<f64>,
    /// Loss on the validation rows.
    pub validation_loss: Option<f64>,
    /// Metric on the validation rows.
    pub validation_metric: Option<f64>,
}

/// A task's mask search, round by round.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SearchCurve {
    /// The task's name.
    pub task: String,
    /// What the validation metric is, such as `AUC`.
    pub metric_name: String,
    /// In the order of pruning.
    pub rounds: Vec<SearchRound>,
    /// The round whose mask was taken.
    pub picked: Option<usize>,
}

/// One round: the subnetwork of this density, trained alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SearchRound {
    /// Share of the maskable connections that are kept.
    pub density: f64,
    /// Metric on the validation rows.
    pub validation_metric: Option<f64>,
}

/// Predicted against observed rates of a task.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CalibrationCurve {
    /// The task's name.
    pub task: String,
    /// The network's name.
    pub network: String,
    /// In rising order of prediction.
    pub bins: Vec<CalibrationBin>,
}

/// Who keeps which connections of a network.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SharingPicture {
    /// The network's name.
    pub network: String,
    /// Names of the tasks, in the order of [`LayerSharing::only`].
    pub tasks: Vec<String>,
    /// From the input on.
    pub layers: Vec<LayerSharing>,
    /// What else is to be said of what the tasks share, a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
}

impl ResultTable {
    /// The metrics of some networks (name first) side by side, rows of a task together. Figures
    /// that apply to none are left out.
    pub fn of_metrics(title: &str, networks: &[(String, Metrics)]) -> ResultTable {
        let rows = metric_rows(networks);
        let applies =
            |column: &MetricColumn| rows.iter().any(|row| column.cell(&row.2).value.is_some());
        let columns: Vec<MetricColumn> = MetricColumn::all().filter(applies).collect();
        let cells = |metrics: &TaskMetrics| columns.iter().map(|c| c.cell(metrics)).collect();
        let row = |(task, network, metrics): &(String, String, TaskMetrics)| ResultRow {
            task: task.clone(),
            network: network.clone(),
            cells: cells(metrics),
        };
        ResultTable {
            title: title.to_string(),
            columns: columns.iter().map(MetricColumn::column).collect(),
            rows: rows.iter().map(row).collect(),
        }
    }

    /// Whether the cell is the best of its task in its column, among two or more.
    pub fn is_best(&self, row: usize, column: usize) -> bool {
        let value = |row: &ResultRow| row.cells.get(column).and_then(|cell| cell.value);
        let rivals = self
            .rows
            .iter()
            .filter(|rival| rival.task == self.rows[row].task);
        let values: Vec<f64> = rivals.filter_map(value).collect();
        let Some(own) = value(&self.rows[row]).filter(|_| values.len() > 1) else {
            return false;
        };
        match self.columns[column].better {
            Better::Higher => values.iter().all(|other| own >= *other),
            Better::Lower => values.iter().all(|other| own <= *other),
            Better::Neither => false,
        }
    }
}

/// `(task, network, metrics)`, tasks in the order of their first network, the product last.
fn metric_rows(networks: &[(String, Metrics)]) -> Vec<(String, String, TaskMetrics)> {
    let mut tasks: Vec<&String> = Vec::new();
    for task in networks
        .iter()
        .flat_map(|(_, metrics)| metrics.tasks.keys())
    {
        if !tasks.contains(&task) {
            tasks.push(task);
        }
    }
    let of_task = |task: &'_ String| {
        let row = |(network, metrics): &(String, Metrics)| {
            Some((task.clone(), network.clone(), *metrics.tasks.get(task)?))
        };
        networks.iter().filter_map(row).collect::<Vec<_>>()
    };
    let products = networks.iter().filter_map(|(network, metrics)| {
        Some((FUNNEL.to_owned(), network.clone(), metrics.ctcvr?.into()))
    });
    tasks
        .into_iter()
        .flat_map(of_task)
        .chain(products)
        .collect()
}

/// A column of [`ResultTable::of_metrics`].
#[derive(Clone, Copy)]
enum MetricColumn {
    Count(&'static str, fn(&TaskMetrics) -> u64),
    Figure(&'static Figure),
}

impl MetricColumn {
    fn all() -> impl Iterator<Item = MetricColumn> {
        let counts = [
            MetricColumn::Count("rows", |metrics| metrics.rows),
            MetricColumn::Count("positives", |metrics| metrics.positives),
        ];
        counts
            .into_iter()
            .chain(FIGURES.iter().map(MetricColumn::Figure))
    }

    fn cell(&self, metrics: &TaskMetrics) -> ResultCell {
        match self {
            MetricColumn::Count(_, count) => Some(count(metrics) as f64).into(),
            MetricColumn::Figure(figure) => figure.cell(metrics),
        }
    }

    fn column(&self) -> ResultColumn {
        match self {
            MetricColumn::Figure(figure) => figure.column(),
            MetricColumn::Count(name, _) => ResultColumn {
                name: (*name).to_owned(),
                better: Better::Neither,
                decimals: 0,
            },
        }
    }
}
