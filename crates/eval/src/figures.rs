//! Figures of merit in column order: the one list for tables, differences and charts.

use crate::cells::{Better, ResultCell, ResultColumn};
use crate::metrics::{FunnelMetrics, Metrics, TaskMetrics};

/// Task name of the product of click and conversion.
pub const FUNNEL: &str = "CTCVR";

/// Name of the figure for the area under the ROC curve.
pub const AUC: &str = "AUC";

/// A figure of one task.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    /// Name, such as `AUC`.
    pub name: &'static str,
    /// Direction of improvement.
    pub better: Better,
    /// Digits after the point.
    pub decimals: usize,
    /// Role in a comparison.
    pub role: Role,
    /// Computes the value; `None` if the figure does not apply.
    pub value: fn(&TaskMetrics) -> Option<f64>,
}

/// Role of a figure in a comparison of methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Methods are tested by it.
    Decisive,
    /// Shown without a test.
    Shown,
    /// Measures calibration; shown without a test.
    Calibration,
}

const fn figure(
    name: &'static str,
    better: Better,
    decimals: usize,
    role: Role,
    value: fn(&TaskMetrics) -> Option<f64>,
) -> Figure {
    Figure {
        name,
        better,
        decimals,
        role,
        value,
    }
}

/// Every figure of [`TaskMetrics`] but the counts.
pub const FIGURES: [Figure; 10] = [
    figure(AUC, Better::Higher, 4, Role::Decisive, |m| m.auc),
    figure("grouped AUC", Better::Higher, 4, Role::Shown, |m| m.gauc),
    figure("entire-space AUC", Better::Higher, 4, Role::Decisive, |m| {
        m.auc_entire_space
    }),
    figure("log-loss", Better::Lower, 4, Role::Shown, |m| m.log_loss),
    figure("squared error", Better::Lower, 5, Role::Decisive, |m| {
        m.squared_error
    }),
    figure(
        "relative squared error",
        Better::Lower,
        4,
        Role::Shown,
        |m| m.relative_squared_error,
    ),
    figure("mean absolute error", Better::Lower, 4, Role::Shown, |m| {
        m.absolute_error
    }),
    figure("normalised Gini", Better::Higher, 4, Role::Shown, |m| {
        m.gini
    }),
    figure("PCOC", Better::Neither, 3, Role::Calibration, |m| m.pcoc),
    figure("ECE", Better::Lower, 4, Role::Calibration, |m| m.ece),
];

impl Figure {
    /// Returns the figure of this name.
    pub fn named(name: &str) -> Option<&'static Figure> {
        FIGURES.iter().find(|figure| figure.name == name)
    }

    /// Returns true if the figure is an AUC, whose chance level is 0.5.
    pub fn is_area(&self) -> bool {
        self.name.ends_with(AUC)
    }

    /// Returns the figure as a column of a table.
    pub fn column(&self) -> ResultColumn {
        ResultColumn {
            name: self.name.to_owned(),
            better: self.better,
            decimals: self.decimals,
        }
    }

    /// Returns the figure as a cell of a table, with its interval over rows if there is one.
    pub fn cell(&self, metrics: &TaskMetrics) -> ResultCell {
        ResultCell {
            value: (self.value)(metrics),
            interval: metrics.auc_interval.filter(|_| self.name == AUC),
        }
    }
}

impl Metrics {
    /// Returns the figures of a task, or of a product: [`FUNNEL`], or that of this name.
    pub fn of_task(&self, task: &str) -> Option<TaskMetrics> {
        let funnel = || self.ctcvr.filter(|_| task == FUNNEL);
        let product = || self.products.get(task).copied().or_else(funnel);
        let product = || product().map(TaskMetrics::from);
        self.tasks.get(task).copied().or_else(product)
    }
}

impl From<FunnelMetrics> for TaskMetrics {
    /// Converts the metrics of the product, which has an AUC only.
    fn from(product: FunnelMetrics) -> TaskMetrics {
        TaskMetrics {
            rows: product.rows,
            positives: product.positives,
            auc: product.auc,
            auc_interval: product.auc_interval,
            ..TaskMetrics::default()
        }
    }
}
