//! The figures that methods are judged by, in the order of their columns: the one list for tables,
//! differences and charts.

use crate::metrics::{FunnelMetrics, Metrics, TaskMetrics};
use crate::report::{Better, ResultCell, ResultColumn};

/// The product of click and conversion, where tasks are named.
pub const FUNNEL: &str = "CTCVR";

/// The area under the ROC curve, where figures are named.
pub const AUC: &str = "AUC";

/// A figure of one task.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    /// Such as `AUC`.
    pub name: &'static str,
    /// Which values are good.
    pub better: Better,
    /// Digits after the point.
    pub decimals: usize,
    /// What it is good for.
    pub role: Role,
    /// Its value; `None` where it does not apply.
    pub value: fn(&TaskMetrics) -> Option<f64>,
}

/// What a figure is good for in a comparison of methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Methods are better or worse by it.
    Decisive,
    /// Shown, without a verdict.
    Shown,
    /// Whether predictions are rates; shown, without a verdict.
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
pub const FIGURES: [Figure; 7] = [
    figure(AUC, Better::Higher, 4, Role::Decisive, |m| m.auc),
    figure("grouped AUC", Better::Higher, 4, Role::Shown, |m| m.gauc),
    figure("entire-space AUC", Better::Higher, 4, Role::Decisive, |m| {
        m.auc_entire_space
    }),
    figure("log-loss", Better::Lower, 4, Role::Shown, |m| m.log_loss),
    figure("squared error", Better::Lower, 5, Role::Decisive, |m| {
        m.squared_error
    }),
    figure("PCOC", Better::Neither, 3, Role::Calibration, |m| m.pcoc),
    figure("ECE", Better::Lower, 4, Role::Calibration, |m| m.ece),
];

impl Figure {
    /// The figure of this name.
    pub fn named(name: &str) -> Option<&'static Figure> {
        FIGURES.iter().find(|figure| figure.name == name)
    }

    /// Whether 0.5 is what a model gets that knows nothing.
    pub fn is_area(&self) -> bool {
        self.name.ends_with(AUC)
    }

    /// The figure as a column of a table.
    pub fn column(&self) -> ResultColumn {
        ResultColumn {
            name: self.name.to_owned(),
            better: self.better,
            decimals: self.decimals,
        }
    }

    /// The figure as a cell of a table, with the interval over rows where there is one.
    pub fn cell(&self, metrics: &TaskMetrics) -> ResultCell {
        ResultCell {
            value: (self.value)(metrics),
            interval: metrics.auc_interval.filter(|_| self.name == AUC),
        }
    }
}

impl Metrics {
    /// The figures of a task, or of the product where `task` is [`FUNNEL`].
    pub fn of_task(&self, task: &str) -> Option<TaskMetrics> {
        let product = || self.ctcvr.filter(|_| task == FUNNEL).map(TaskMetrics::from);
        self.tasks.get(task).copied().or_else(product)
    }
}

impl From<FunnelMetrics> for TaskMetrics {
    /// The product has an area only.
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
