//! Remarks on a run.

use serde::{Deserialize, Serialize};

/// A remark on the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// True if the remark puts the figures in doubt.
    pub warning: bool,
    /// Text of one or two sentences.
    pub text: String,
}

impl Note {
    /// Formats the note as a line: `warning: ...` or `note: ...`.
    pub fn line(&self) -> String {
        let kind = if self.warning { "warning" } else { "note" };
        format!("{kind}: {}", self.text)
    }
}
