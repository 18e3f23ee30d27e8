//! Rows that a run keeps as ids in its own folder: one data set, logged with its size.

use std::path::Path;

use ncs_readers::Prepared;
use ncs_readers::cache::{self, CacheError};

use crate::progress::{Progress, grouped, size};

/// Deletes the data sets in `folder` other than this one and `all` of its rows for a refit, such as those of an earlier
/// state of the files, and
/// logs the rest.
///
/// # Errors
/// The file system refuses.
pub(super) fn keep_only(
    folder: &Path,
    data: &Prepared,
    all: Option<&Prepared>,
    progress: Progress,
) -> Result<(), CacheError> {
    let own: Vec<_> = [Some(data), all]
        .into_iter()
        .flatten()
        .map(|data| data.train.path().parent())
        .collect();
    for entry in cache::list(folder)? {
        if !own.contains(&Some(entry.path.as_path())) {
            cache::remove(&entry)?;
        }
    }
    if !data.was_cached {
        let parts = [Some(&data.train), data.valid.as_ref(), data.test.as_ref()];
        let parts = || parts.into_iter().flatten();
        let n_rows = parts().map(|part| part.n_rows()).sum();
        let n_bytes = parts().map(|part| part.n_bytes()).sum();
        progress.log(&format!(
            "rows: {} kept as ids in {}, {}; data.cache has runs share them",
            grouped(n_rows),
            folder.display(),
            size(n_bytes)
        ));
    }
    Ok(())
}
