//! Folders of models: names, versions, labels, changes.

use crate::api_error::ApiError;
use crate::registry::Labels;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// File with the labels of a model's versions.
pub(super) const LABELS: &str = "labels.json";

/// A model's name and folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The model's name: letters, digits, `_`, `.` and `-`.
    pub name: Arc<str>,
    /// The folder.
    pub folder: PathBuf,
}

impl Source {
    /// Parses `NAME=DIR`, or `DIR`, whose last part becomes the name.
    ///
    /// # Errors
    /// The name contains other characters, or there is no such folder.
    pub fn parse(text: &str) -> Result<Source, SourceError> {
        let (name, folder) = match text.split_once('=') {
            Some((name, folder)) => (name.to_owned(), PathBuf::from(folder)),
            None => {
                let folder = PathBuf::from(text);
                (name_of(&folder), folder)
            }
        };
        if !is_name(&name) {
            let text = text.to_owned();
            return Err(SourceError::Name { text, name });
        }
        if !folder.is_dir() {
            return Err(SourceError::NoFolder(folder));
        }
        let name = name.into();
        Ok(Source { name, folder })
    }
}

/// Error of a model's name or folder.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The name is not valid.
    #[error(
        "{text}: \"{name}\" is not a valid model name (letters, digits, _, . and -); set one with NAME=DIR"
    )]
    Name {
        /// The whole argument.
        text: String,
        /// The name.
        name: String,
    },
    /// There is no such folder.
    #[error("{}: no such folder", .0.display())]
    NoFolder(PathBuf),
    /// Two models have the same name.
    #[error(
        "{} and {} are both called \"{name}\"; give one another name with NAME=DIR",
        folders[0].display(),
        folders[1].display()
    )]
    Twice {
        /// The name.
        name: Arc<str>,
        /// Both folders.
        folders: [PathBuf; 2],
    },
}

/// Returns the last part of a path; for `DIR/model` as written by `ncs train`, the part before.
fn name_of(folder: &Path) -> String {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let own = folder.file_name().unwrap_or_default();
    let outer = folder.parent().and_then(Path::file_name);
    let name = match outer {
        Some(outer) if own == "model" => outer,
        _ => own,
    };
    name.to_string_lossy().into_owned()
}

/// Returns true if a text is a valid model name: it cannot escape a folder or inject a header.
pub fn is_name(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    !text.is_empty() && text.len() <= 128 && !text.starts_with('.') && text.chars().all(is_plain)
}

/// State of a folder: names, sizes and modification times of its files. A changed folder is loaded again.
pub(super) type Fingerprint = Vec<(PathBuf, u64, Option<SystemTime>)>;

/// Returns true if a folder is a model or a training run's folder.
pub(super) fn is_model(folder: &Path) -> bool {
    folder.join("manifest.json").exists() || folder.join("model/manifest.json").exists()
}

/// Returns the model's folder: `folder` itself, or the `model` in the folder of a training run.
fn model_in(folder: &Path) -> PathBuf {
    let inner = folder.join("model");
    if inner.is_dir() && !folder.join("manifest.json").exists() {
        inner
    } else {
        folder.to_owned()
    }
}

/// Returns the versions in a folder, by number.
pub(super) fn versions(folder: &Path) -> BTreeMap<u64, PathBuf> {
    if is_model(folder) {
        return BTreeMap::from([(1, model_in(folder))]);
    }
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let numbered = entries.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let number: u64 = name.parse().ok()?;
        // 07 would be a second folder of version 7.
        let is_plain = number.to_string() == name && entry.path().is_dir();
        is_plain.then(|| (number, model_in(&entry.path())))
    });
    numbered.collect()
}

pub(super) fn labels(folder: &Path) -> Result<Labels, ApiError> {
    let path = folder.join(LABELS);
    let wrong = |what: String| ApiError::invalid(format!("{}: {what}", path.display()));
    let text = match fs::read(&path) {
        Ok(text) if !is_model(folder) => text,
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(wrong(error.to_string()));
        }
        _ => return Ok(Labels::default()),
    };
    let labels: Labels = serde_json::from_slice(&text).map_err(|error| {
        wrong(format!(
            "{error}; write {{\"stable\": 1, \"canary\": {{\"version\": 2, \"share\": 0.05}}, \"shadow\": [3]}}"
        ))
    })?;
    labels.check().map_err(|error| wrong(error.to_string()))?;
    Ok(labels)
}

pub(super) fn fingerprint(folder: &Path) -> Fingerprint {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let files = entries.map(|entry| {
        let found = entry.metadata().ok();
        let size = found.as_ref().map_or(0, fs::Metadata::len);
        (
            entry.path(),
            size,
            found.and_then(|found| found.modified().ok()),
        )
    });
    let mut files: Fingerprint = files.collect();
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn model_names_are_checked() {
        let check = |name: &str, expected: bool| assert_eq!(is_name(name), expected, "{name:?}");
        check("feed-v2_1.b", true);
        check("", false);
        check("..", false);
        check(".hidden", false);
        check("a/b", false);
        check("a\\b", false);
        check("..%2f..", false);
        check("a b", false);
        check("a\r\nb", false);
        check("\u{e9}", false);
        check(&"a".repeat(129), false);
    }
}
