//! The report of a run: plain data, stored as JSON, rendered by [`crate::render`].

use indexmap::IndexSet;
use serde::{Deserialize, Serialize};

pub use crate::cells::{Better, ResultCell, ResultColumn};
pub use crate::note::Note;

use crate::calibration::CalibrationBin;
use crate::columns::PartColumns;
use crate::diagnoses::{GainCurve, ImportanceBars, SliceTable, TableCost};
use crate::figures::{FIGURES, FUNNEL, Figure};
use crate::metrics::{Metrics, TaskMetrics};
use crate::sharing::{LayerSharing, PairOverlap};

/// Contents of the report of a run. Empty parts are not rendered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunReport {
    /// Title.
    pub title: String,
    /// Sentence below the title: command, time and data.
    pub subtitle: String,
    /// Warnings and notes that qualify the figures.
    pub notes: Vec<Note>,
    /// Result tables.
    pub results: Vec<ResultTable>,
    /// Mask overlap by layer.
    pub sharing: Vec<SharingPicture>,
    /// Search curve of each task whose mask was searched.
    pub search: Vec<SearchCurve>,
    /// Learning curve of each network and task.
    pub learning: Vec<LearningCurve>,
    /// Calibration curve of each network and task.
    pub calibration: Vec<CalibrationCurve>,
    /// Gains of each network and task.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gains: Vec<GainCurve>,
    /// Figures by the values of columns, and by day.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slices: Vec<SliceTable>,
    /// Permutation importance, where it was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub importance: Option<ImportanceBars>,
    /// Parameters by table, most bytes first, and those of layers and heads.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub costs: Vec<TableCost>,
    /// Row counts and label rates.
    pub data: DataSummary,
    /// Column values of each part, compared with the training rows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<PartColumns>,
    /// The features.
    #[serde(default)]
    pub features: Vec<ColumnSummary>,
    /// Share of the first layer's connections that the masks keep for each input.
    #[serde(default)]
    pub inputs: Vec<InputTable>,
    /// Settings of the run as (name, value).
    pub settings: Vec<(String, String)>,
    /// Program name and version.
    #[serde(default)]
    pub version: String,
    /// Wall time of the run in seconds. It is rendered but not stored, so that the same run gives the same
    /// stored report.
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
    /// Encoding of values as ids or numbers.
    pub ids: String,
    /// Number of rows of its embedding table.
    pub table_rows: u64,
}

/// The share of the first-layer connections of each input that tasks keep.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct InputTable {
    /// The network's name.
    pub network: String,
    /// Names of the tasks.
    pub tasks: Vec<String>,
    /// The features in order, then their products.
    pub rows: Vec<InputRow>,
}

/// Kept connections of one input.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct InputRow {
    /// The feature's name.
    pub name: String,
    /// Share of connections that each task keeps.
    pub kept: Vec<f64>,
    /// Share of connections that all tasks keep.
    pub shared: f64,
}

/// A data file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataFile {
    /// Part of the data that the run file lists the file under.
    pub part: String,
    /// Path of the file.
    pub path: String,
    /// Number of valid rows.
    pub rows: u64,
}

/// Rows and labels of each part of the data.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DataSummary {
    /// Names of the tasks.
    pub tasks: Vec<String>,
    /// Parts: training, validation, test.
    pub parts: Vec<DataPart>,
    /// Data files.
    #[serde(default)]
    pub files: Vec<DataFile>,
}

/// One part of the data.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DataPart {
    /// Name of the part, such as `train`.
    pub name: String,
    /// Number of rows read.
    pub rows: u64,
    /// Label summary of each task.
    pub labels: Vec<LabelSummary>,
}

/// The labels of one task in one part of the data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LabelSummary {
    /// Number of rows whose label is known.
    pub known: u64,
    /// Mean of the known labels; null without any.
    pub rate: Option<f64>,
}

/// Figures of networks (or methods), task by task.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ResultTable {
    /// Title: what is compared, on which rows.
    pub title: String,
    /// Columns of figures.
    pub columns: Vec<ResultColumn>,
    /// Rows in display order; rows of one task are adjacent.
    pub rows: Vec<ResultRow>,
}

/// Results of one network on one task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResultRow {
    /// The task's name.
    pub task: String,
    /// The network's or method's name.
    pub network: String,
    /// One cell for each column.
    pub cells: Vec<ResultCell>,
}

/// Learning curve of a network on a task.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LearningCurve {
    /// The task's name.
    pub task: String,
    /// The network's name.
    pub network: String,
    /// Unit of positions: `epoch` or `step`.
    pub position_name: String,
    /// Name of the validation metric, such as `AUC`.
    pub metric_name: String,
    /// Points in ascending order of position.
    pub points: Vec<LearningPoint>,
    /// Index of the point whose weights were kept.
    pub picked: Option<usize>,
}

/// A point of a learning curve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LearningPoint {
    /// Number of completed epochs or steps.
    pub position: f64,
    /// Mean training loss since the last point.
    pub train_loss: Option<f64>,
    /// Loss on the validation rows.
    pub validation_loss: Option<f64>,
    /// Metric on the validation rows.
    pub validation_metric: Option<f64>,
}

/// Rounds of a task's mask search.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SearchCurve {
    /// The task's name.
    pub task: String,
    /// Name of the validation metric, such as `AUC`.
    pub metric_name: String,
    /// Rounds in the order of pruning.
    pub rounds: Vec<SearchRound>,
    /// Index of the round whose mask was selected.
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
    /// Bins in ascending order of prediction.
    pub bins: Vec<CalibrationBin>,
}

/// Mask overlap of a network, by layer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SharingPicture {
    /// The network's name.
    pub network: String,
    /// Names of the tasks, in the order of [`LayerSharing::only`].
    pub tasks: Vec<String>,
    /// Layers from the input on.
    pub layers: Vec<LayerSharing>,
    /// Overlap of the masks of each pair of tasks, over all layers; empty without masks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pairs: Vec<PairOverlap>,
    /// Further remarks on the sharing, one sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
}

impl ResultTable {
    /// Builds a table of the metrics of some networks (name first), rows of a task together. Figures that apply
    /// to none are left out.
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

    /// Returns true if the cell is the best of its task in its column, among two or more.
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

/// Returns `(task, network, metrics)`, tasks in the order of their first network, the product last.
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
    let funnels = networks.iter().filter_map(|(network, metrics)| {
        Some((FUNNEL.to_owned(), network.clone(), metrics.ctcvr?.into()))
    });
    let names = networks
        .iter()
        .flat_map(|(_, metrics)| metrics.products.keys());
    let names: IndexSet<&String> = names.collect();
    let further = names.into_iter().flat_map(|name| {
        let of_network = move |(network, metrics): &(String, Metrics)| {
            let product = *metrics.products.get(name)?;
            Some((name.clone(), network.clone(), product.into()))
        };
        networks.iter().filter_map(of_network)
    });
    let products = funnels.chain(further);
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
