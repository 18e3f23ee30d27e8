//! Metrics of a model, comparisons between models, and reports that show them.
//!
//! [`Predictions`] (labels and scores, task by task) become [`Metrics`]; the masks become
//! [`LayerSharing`]; both go into a [`RunReport`], which [`render_html`] and [`render_text`] draw.
//!
//! ```
//! use ncs_eval::{MetricSettings, Metrics, Predictions, TaskPredictions};
//!
//! let click = TaskPredictions {
//!     name: "click".into(),
//!     kind: ncs_features::LabelKind::Binary,
//!     labels: vec![0.0, 1.0, f32::NAN, 1.0], // NaN: unknown, the row does not count
//!     scores: vec![0.1, 0.8, 0.9, 0.6],
//!     ..TaskPredictions::default()
//! };
//! let predictions = Predictions { tasks: vec![click], ..Predictions::default() };
//! let metrics = Metrics::of(&predictions, &MetricSettings::default()).unwrap();
//! assert_eq!(metrics.tasks["click"].auc, Some(1.0));
//! assert_eq!(metrics.tasks["click"].rows, 3);
//! ```

pub mod auc;
pub mod backtest;
pub mod bootstrap;
pub mod calibration;
pub mod cells;
pub mod columns;
pub mod comparison;
pub mod diagnoses;
pub mod drift;
pub mod errors;
pub mod figures;
pub mod metrics;
pub mod note;
pub mod paired;
mod products;
pub mod render;
pub mod report;
pub mod sharing;
pub mod statistics;
pub mod tensorboard;
pub mod tuning;
pub mod values;
pub mod weights;

pub use auc::{GroupedAuc, Real, auc, ctcvr_auc, grouped_auc, soft_auc, weighted_auc};
pub use backtest::{Backtest, BacktestDay, BacktestLine};
pub use bootstrap::{Resampling, auc_interval};
pub use calibration::{
    Binning, CalibrationBin, calibration_bins, expected_calibration_error, predicted_over_observed,
};
pub use columns::PartColumns;
pub use comparison::{Comparison, ComparisonInput};
pub use errors::{LabelRange, log_loss, squared_error};
pub use metrics::{
    FunnelMetrics, MetricSettings, Metrics, PredictionError, Predictions, TaskMetrics,
    TaskPredictions, TaskProduct,
};
pub use paired::{
    PairedDifference, auc_difference, difference_by_weight, difference_of_kind,
    relative_squared_error_difference, squared_error_difference,
};
pub use render::{
    backtest_text, columns_text, comparison_markdown, drift_text, render_backtest_html,
    render_comparison_html, render_drift_html, render_html, render_text, render_tuning_html,
    text_table, units_table,
};
pub use report::RunReport;
pub use sharing::{LayerSharing, Overlap, PairOverlap, layer_sharing, mask_overlap};
pub use statistics::{Difference, Estimate, estimate, paired_difference};
pub use tensorboard::EventWriter;
pub use weights::Weights;
