//! The folder of a made-up log: which files in it `ncs synth` wrote and may replace.
//!
//! A record beside them holds the hash of each. A file that is not in it, or is no longer what was
//! written, belongs to somebody else.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use ncs_model::tensor_file;

const RECORD: &str = ".synthetic.json";

/// How the names of files end that a writer has not finished: `.train.csv.123.unfinished`.
const UNFINISHED: &str = ".unfinished";

/// A folder that holds nothing, or a log that is being made up.
#[derive(Debug)]
pub(crate) struct MadeUpFolder {
    path: PathBuf,
    /// The BLAKE3 hash of each file that was written, by name.
    written: BTreeMap<String, String>,
}

impl MadeUpFolder {
    /// Makes the folder, or takes away the made-up log that it holds.
    ///
    /// # Errors
    /// It holds a file that was not written here or was changed since, and is left as it is; or the
    /// file system refuses.
    pub(crate) fn open(path: &Path) -> Result<MadeUpFolder, String> {
        fs::create_dir_all(path).map_err(cannot(path, "make the folder"))?;
        let record = record(path);
        let mut own = Vec::new();
        for entry in fs::read_dir(path).map_err(cannot(path, "read"))? {
            let name = entry.map_err(cannot(path, "read"))?.file_name();
            if !is_own(path, &name.to_string_lossy(), &record) {
                return Err(foreign(path, &name.to_string_lossy()));
            }
            own.push(path.join(name));
        }
        // The record last: as long as a file is left, it says whose it is.
        own.sort_by_key(|file| file.ends_with(RECORD));
        for file in own {
            fs::remove_file(&file).map_err(cannot(&file, "replace"))?;
        }
        Ok(MadeUpFolder {
            path: path.to_owned(),
            written: BTreeMap::new(),
        })
    }

    /// Records that the file `name` was written.
    ///
    /// # Errors
    /// It cannot be read, or the record cannot be written.
    pub(crate) fn add(&mut self, name: &str) -> Result<(), Box<dyn Error>> {
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

/// What was written earlier; nothing where there is no record, or none that can be read.
fn record(folder: &Path) -> BTreeMap<String, String> {
    let text = fs::read_to_string(folder.join(RECORD)).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

fn is_own(folder: &Path, name: &str, record: &BTreeMap<String, String>) -> bool {
    let as_written = |wanted: &String| hash(&folder.join(name)).is_ok_and(|hash| hash == *wanted);
    is_unfinished(name) || name == RECORD || record.get(name).is_some_and(as_written)
}

/// `.train.csv.123.unfinished`, where 123 is any number.
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
        "{}: the folder holds {name}, which `ncs synth` did not write or which was changed since; \
         name another folder, or empty this one",
        folder.display()
    )
}

fn cannot(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> String {
    let path = path.to_owned();
    move |error| format!("{}: cannot {doing}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drafts_are_told_by_their_names() {
        let check = |name, expected| assert_eq!(is_unfinished(name), expected, "{name}");
        check(".train.csv.123.unfinished", true);
        check(".test.parquet.9.unfinished", true);
        check(".train.csv.unfinished", false);
        check(".mine.csv.123.unfinished", false);
        check("train.csv.123.unfinished", false);
        check("train.csv", false);
    }
}
