//! Columns and cells of tables of figures.

use crate::statistics::Estimate;
use serde::{Deserialize, Serialize};

/// A figure by which networks are compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResultColumn {
    /// Name, such as `AUC`.
    pub name: String,
    /// Direction of improvement, used to mark the best value of each task.
    pub better: Better,
    /// Digits after the point; 0 for counts.
    pub decimals: usize,
}

/// Direction of improvement of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// Higher is better: AUC.
    Higher,
    /// Lower is better: losses and errors.
    Lower,
    /// Neither: counts, and figures whose best value is neither high nor low.
    Neither,
}

/// A figure and its confidence interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ResultCell {
    /// Value; null if the figure does not apply.
    pub value: Option<f64>,
    /// 95 % interval, if one was computed.
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
