//! Figures of a finished run.

use std::fs;
use std::path::Path;

use ncs_eval::Metrics;
use serde::Deserialize;

use crate::error::Error;

/// Contents of `metrics.json` of a run.
#[derive(Debug, Deserialize)]
pub(crate) struct Figures {
    pub(crate) part: Option<String>,
    #[serde(flatten)]
    pub(crate) metrics: Metrics,
    pub(crate) valid: Option<Metrics>,
}

/// Reads `metrics.json` of a finished run.
///
/// # Errors
/// Fails if it cannot be read.
pub(crate) fn figures(folder: &Path) -> Result<Figures, Error> {
    let path = folder.join("metrics.json");
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let figures =
        serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(figures)
}
