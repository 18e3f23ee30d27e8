//! Ancestry of a model: trainings, calibrations and erasures since the first training.

use serde::{Deserialize, Serialize};

/// One step from a model to the next.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ancestor {
    /// BLAKE3 of the manifest of the model that was trained further, calibrated again or erased from, in hexadecimal.
    pub model: String,
    /// The rows of this step: those that it was trained further on, or calibrated on. 0 for an erasure.
    pub rows: u64,
    /// Day of the newest rows of a training, in days since 1970 or as the folders number days; `None`: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub day: Option<i64>,
    /// Change made by the step, where it only fitted calibrators; `None` for a training.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Recalibration>,
    /// Values that the step erased; `None` for a training or a calibration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub erasure: Option<Erasure>,
}

/// Values erased from a model. The values themselves are not recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erasure {
    /// The column.
    pub column: String,
    /// Number of values that were to be erased, held by the model or not.
    pub values: u64,
}

/// New calibrators for a model whose weights stay.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Recalibration {
    /// First and last time of the rows, as text; `None`: no time column was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<[String; 2]>,
    /// The tasks, in the order of the model. Tasks whose calibrator stayed are left out.
    pub tasks: Vec<TaskRecalibration>,
}

/// The new calibrator of one task.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TaskRecalibration {
    /// The task's name.
    pub task: String,
    /// Rows with a known label.
    pub rows: u64,
    /// Rows with label 1.
    pub positives: u64,
    /// Figures of the calibrator before, on these rows.
    pub before: CalibrationFigures,
    /// Figures of the new calibrator on these rows: each half of the rows is scored by a fit to the other half.
    pub after: CalibrationFigures,
}

/// Agreement of probabilities with labels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CalibrationFigures {
    /// Mean cross-entropy, in nats.
    pub log_loss: Option<f64>,
    /// Sum of predictions over sum of labels.
    pub pcoc: Option<f64>,
    /// Expected calibration error.
    pub ece: Option<f64>,
}
