//! The record of promotions: one JSON object a line, beside the served model.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::gate::Gate;

/// Decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// The candidate serves.
    Promoted,
    /// The candidate was worse, or its probabilities were outside the bound.
    Refused,
    /// An earlier version serves again.
    RolledBack,
}

/// One decision; one line of the record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Promotion {
    /// Time of the decision.
    pub time: String,
    /// The decision.
    pub action: Action,
    /// Folder of the candidate.
    pub candidate: String,
    /// BLAKE3 of the candidate's manifest.
    pub candidate_hash: Option<String>,
    /// BLAKE3 of the manifest of the model that served; `None`: none did, or it could not be read.
    pub live_hash: Option<String>,
    /// The version that serves from now on, relative to the folder of the link; `None`: unchanged.
    pub version: Option<String>,
    /// The version that it replaced.
    pub replaced: Option<String>,
    /// Files, globs and folders that the models were compared on.
    pub data: Vec<String>,
    /// The comparison; `None` for a return.
    pub gate: Option<Gate>,
}

/// Appends a decision and flushes it to the disk.
///
/// # Errors
/// The file cannot be written.
pub(super) fn append(path: &Path, promotion: &Promotion) -> Result<(), String> {
    let line = serde_json::to_string(promotion).expect("a record is plain data") + "\n";
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        // One call, so that a line is whole or absent.
        file.write_all(line.as_bytes())?;
        file.sync_all()
    };
    write().map_err(|error| format!("{}: cannot record the decision: {error}", path.display()))
}

/// Reads the record; empty if there is none. A last line that was cut off by a full disk is left out.
///
/// # Errors
/// The file cannot be read, or a line of it is not a record.
pub(super) fn read(path: &Path) -> Result<Vec<Promotion>, String> {
    let text = match File::open(path).and_then(io::read_to_string) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        text => text.map_err(|error| format!("{}: {error}", path.display()))?,
    };
    let n_lines = text.lines().count();
    let mut found = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        match serde_json::from_str(line) {
            Ok(promotion) => found.push(promotion),
            Err(_) if number == n_lines && !text.ends_with('\n') => {}
            Err(error) => {
                return Err(format!(
                    "{}:{number}: not a record of a promotion: {error}; mend or delete the line",
                    path.display()
                ));
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_appended_and_a_cut_one_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("live.promotions.jsonl");
        assert_eq!(read(&path), Ok(vec![]));
        let promotion = |version: &str| Promotion {
            time: "2026-03-14 07:08:09 UTC".to_owned(),
            action: Action::Promoted,
            candidate: "run/model".to_owned(),
            candidate_hash: Some("ab".to_owned()),
            live_hash: None,
            version: Some(version.to_owned()),
            replaced: None,
            data: vec![],
            gate: None,
        };
        for version in ["a", "b"] {
            append(&path, &promotion(version)).unwrap();
        }
        assert_eq!(read(&path), Ok(vec![promotion("a"), promotion("b")]));
        let whole = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 9]).unwrap();
        assert_eq!(read(&path), Ok(vec![promotion("a")]));
        std::fs::write(&path, "{}\n").unwrap();
        assert!(read(&path).unwrap_err().contains("jsonl:1: not a record"));
    }
}
