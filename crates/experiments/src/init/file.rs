//! Writes a drafted run file.

use std::fs;
use std::path::Path;

use ncs_config::{RunFile, list_columns};
use ncs_model::tensor_file;

use super::{Draft, Wish, paths};
use crate::error::Error;
use crate::progress::{Progress, grouped};

/// Writes a run file for data to `out`: the columns by kind, leak suspects left out, a split, the tasks. `reading` are
/// keys of `[data]` for reading files, with their values as TOML. Returns a summary with the next steps.
///
/// # Errors
/// The data cannot be read, a column is missing, a label is invalid, or the file cannot be written.
pub fn write(
    wish: &Wish,
    out: &Path,
    reading: Vec<(&'static str, String)>,
    progress: Progress,
) -> Result<String, Error> {
    let mut draft = Draft::read(wish, progress)?;
    let folder = out.parent().filter(|folder| *folder != Path::new(""));
    let folder = folder.unwrap_or(Path::new("."));
    fs::create_dir_all(folder)
        .map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    for files in [&mut draft.train, &mut draft.valid, &mut draft.test] {
        for path in files {
            *path = paths::seen_from(folder, path)?;
        }
    }
    draft.reading = reading;
    let name = out.display().to_string();
    let text = draft.text(&name);
    // What is written must be read again.
    RunFile::parse(&name, &text, folder, &[], &list_columns)?;
    tensor_file::write_bytes(out, text.as_bytes())?;
    Ok(summary(&draft, &name))
}

/// `run.toml: 23 features of 27 columns, by 100,000 rows`, what is left out, and what to do next.
fn summary(draft: &Draft, name: &str) -> String {
    let left_out = draft.left_out();
    let used = draft
        .columns
        .iter()
        .filter(|column| column.left_out().is_none())
        .count();
    let lines = left_out
        .iter()
        .map(|(column, reason)| format!("  {column}: {reason}\n"));
    let lines: String = lines.collect();
    let out = if lines.is_empty() {
        String::new()
    } else {
        format!("Left out:\n{lines}")
    };
    format!(
        "{name}: {used} features, by {} rows\n{out}Look through it, then:\n  ncs check {name}\n  ncs train {name} --out DIR\n",
        grouped(draft.rows as u64)
    )
}
