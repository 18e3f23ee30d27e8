//! The folder of a synthetic log, with a record of the files that `ncs synth` wrote and may replace.
//!
//! The record has the hash of each file. A file that is not in it, or has changed since, is never replaced.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use ncs_model::tensor_file;

use crate::error::Error;

const RECORD: &str = ".synthetic.json";

/// Suffix of unfinished files: `.train.csv.123.unfinished`.
const UNFINISHED: &str = ".unfinished";

/// An empty folder, or one with a synthetic log that is being written.
#[derive(Debug)]
pub struct SyntheticFolder {
    path: PathBuf,
    /// BLAKE3 hash of each written file, by name.
    written: BTreeMap<String, String>,
}

impl SyntheticFolder {
    /// Creates the folder, or removes the synthetic log in it.
    ///
    /// # Errors
    /// Fails if the folder has a file that was not written here or was changed since (nothing is removed then),
    /// or on an error of the file system.
    pub fn open(path: &Path) -> Result<SyntheticFolder, Error> {
        fs::create_dir_all(path).map_err(cannot(path, "create the folder"))?;
        let record = record(path);
        let mut own = Vec::new();
        for entry in fs::read_dir(path).map_err(cannot(path, "read"))? {
            let name = entry.map_err(cannot(path, "read"))?.file_name();
            if !is_own(path, &name.to_string_lossy(), &record) {
                return Err(foreign(path, &name.to_string_lossy()).into());
            }
            own.push(path.join(name));
        }
        // The record last, so that the remaining files stay identifiable after an interruption.
        own.sort_by_key(|file| file.ends_with(RECORD));
        for file in own {
            fs::remove_file(&file).map_err(cannot(&file, "replace"))?;
        }
        Ok(SyntheticFolder {
            path: path.to_owned(),
            written: BTreeMap::new(),
        })
    }

    /// Records that the file `name` was written.
    ///
    /// # Errors
    /// Fails if the file cannot be read, or the record cannot be written.
    pub fn add(&mut self, name: &str) -> Result<(), Error> {
        let file = self.path.join(name);
        let hash = hash(&file).map_err(cannot(&file, "read"))?;
        self.written.insert(name.to_owned(), hash);
        let text = serde_json::to_string_pretty(&self.written)? + "\n";
        Ok(tensor_file::write_bytes(
            &self.path.join(RECORD),
            text.as_bytes(),
        )?)
    }
}

/// Reads the record of files that were written earlier; empty if it is missing or unreadable.
fn record(folder: &Path) -> BTreeMap<String, String> {
    let text = fs::read_to_string(folder.join(RECORD)).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

fn is_own(folder: &Path, name: &str, record: &BTreeMap<String, String>) -> bool {
    let is_unchanged =
        |recorded: &String| hash(&folder.join(name)).is_ok_and(|hash| hash == *recorded);
    is_unfinished(name) || name == RECORD || record.get(name).is_some_and(is_unchanged)
}

/// Returns true for names such as `.train.csv.123.unfinished`, with any number.
fn is_unfinished(name: &str) -> bool {
    const NAMES: [&str; 3] = [".train.", ".valid.", ".test."];
    let draft = name.strip_suffix(UNFINISHED);
    let number = draft.and_then(|draft| draft.rsplit('.').next());
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    number.is_some_and(is_number) && NAMES.iter().any(|start| name.starts_with(start))
}

fn hash(file: &Path) -> io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(file)?)?;
    Ok(hasher.finalize().to_hex().to_string())
}

fn foreign(folder: &Path, name: &str) -> String {
    format!(
        "{}: the folder contains {name}, which was not written by `ncs synth` or was changed since; \
         choose another folder, or empty this one",
        folder.display()
    )
}

fn cannot(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> String {
    let path = path.to_owned();
    move |error| format!("{}: cannot {action}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unfinished_files_are_recognised_by_name() {
        let check = |name, expected| assert_eq!(is_unfinished(name), expected, "{name}");
        check(".train.csv.123.unfinished", true);
        check(".test.parquet.9.unfinished", true);
        check(".train.csv.unfinished", false);
        check(".mine.csv.123.unfinished", false);
        check("train.csv.123.unfinished", false);
        check("train.csv", false);
    }
}
