//! The folder of tables in files, and whether its disk has room for them.

use super::{needed, size};
use ncs_config::RunPlan;
use ncs_features::Schema;
use ncs_train::StorageKind;
use std::path::Path;

/// Creates the folder of tables in files, that stated or the run's, and for a moment a file in it, so that a wrong folder
/// is known before any row is read.
///
/// # Errors
/// The folder cannot be created, or no file in it.
pub(crate) fn check_folder(plan: &RunPlan, run: &Path) -> Result<(), String> {
    if plan.train.table_storage == StorageKind::Memory {
        return Ok(());
    }
    let folder = folder(plan, run);
    let created = std::fs::create_dir_all(folder).and_then(|()| tempfile::tempfile_in(folder));
    created.map(drop).map_err(|error| {
        format!(
            "{}: cannot keep table rows in this folder: {error}; choose another with training.table_folder",
            ncs_readers::shown_path(folder)
        )
    })
}

/// Returns the folder of tables in files.
fn folder<'p>(plan: &'p RunPlan, run: &'p Path) -> &'p Path {
    plan.train.table_folder.as_deref().unwrap_or(run)
}

/// Returns where tables in files lie, with their bytes, and a warning if these are more than the disk has; nothing if they
/// are in memory.
pub(crate) fn notes(plan: &RunPlan, fitted: &Schema, run: &Path) -> Vec<String> {
    if plan.train.table_storage == StorageKind::Memory {
        return Vec::new();
    }
    let bytes = needed(plan, Some(fitted));
    let folder = folder(plan, run);
    let place = format!(
        "tables are in files in {}: at most {} on disk, and {} of memory to find their rows",
        ncs_readers::shown_path(folder),
        size(bytes.disk as f64),
        size(bytes.memory as f64),
    );
    let warning = warning(bytes.disk, folder);
    let warning = warning.map(|warning| format!("warning: {warning}"));
    [place].into_iter().chain(warning).collect()
}

/// Returns a warning if tables in the stated folder may need more bytes than its disk has.
pub(crate) fn warning_of_stated(plan: &RunPlan, bytes: u64) -> Option<String> {
    warning(bytes, plan.train.table_folder.as_deref()?)
}

fn warning(bytes: u64, folder: &Path) -> Option<String> {
    let free = free(folder)?;
    (bytes > free).then(|| {
        format!(
            "tables in files may need {}, and {} are free in {}: if so many of their rows are used, the training ends with an \
             error, and goes on from its last checkpoint with more space or another training.table_folder",
            size(bytes as f64),
            size(free as f64),
            ncs_readers::shown_path(folder),
        )
    })
}

/// Returns the bytes that this user can write to the disk of a folder, or of the nearest one above it that exists; `None`
/// if the system does not tell.
#[cfg(unix)]
fn free(folder: &Path) -> Option<u64> {
    let folder = std::path::absolute(folder).ok()?;
    let disk = folder
        .ancestors()
        .find_map(|folder| rustix::fs::statvfs(folder).ok())?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(not(unix))]
fn free(_: &Path) -> Option<u64> {
    None
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_is_too_small_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("not/yet");
        assert_eq!(warning(1, &missing), None);
        let text = warning(u64::MAX, &missing).unwrap();
        let start = "tables in files may need 16.0 EiB, and ";
        assert!(
            text.starts_with(start) && text.contains("not/yet"),
            "{text}"
        );
        assert!(free(folder.path()).unwrap() > 1 << 20);
    }
}
