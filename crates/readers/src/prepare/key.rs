//! The key of a data set: a name that another data set never has.

use super::{PlanFiles, PrepareError};
use crate::cache::VERSION;
use crate::data_file::FileFacts;
use crate::partitions::{Partition, partitions};
use crate::plan::{DataPlan, Reading, Split};
use crate::remote::is_remote;
use crate::source::ReadError;
use crate::split::Part;
use ncs_features::{SchemaPlan, ValueRule};
use serde::Serialize;
use std::fs::Metadata;
use std::path::Path;

/// Inputs that determine the bytes of a cache.
#[derive(Serialize)]
struct KeyOf<'a> {
    version: u32,
    value_rule: ValueRule,
    schema: &'a SchemaPlan,
    reading: &'a Reading,
    split: &'a Split,
    files: Vec<FileIdentity>,
    /// Those of features by id.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lookups: Vec<FileIdentity>,
}

/// Identity of a file without its bytes: hashing all of them would take as long as encoding them.
///
/// An edit changes the modification time, and mostly the size; but `cp -p`, `rsync -t` and `touch -r` reset
/// that time. No program can set the change time, and a replaced file has another inode: on Unix both are
/// used, elsewhere only modification time and size. At worst, a copy, a `touch` or a `chmod` causes the file
/// to be encoded again.
#[derive(Serialize)]
struct FileIdentity {
    part: Part,
    /// Absolute path without symbolic links, so that it does not depend on the spelling in the plan.
    path: String,
    /// The folders named `NAME=VALUE` that are columns: those of the path as the plan names it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    folders: Vec<Partition>,
    n_bytes: u64,
    /// Seconds and nanoseconds since 1970; negative ones before.
    modified: (i64, u32),
    /// `None` on other systems.
    on_unix: Option<OnUnix>,
    /// An object store's mark of this content.
    #[serde(skip_serializing_if = "Option::is_none")]
    e_tag: Option<String>,
}

/// Additional attributes of a file on Unix.
#[derive(Serialize)]
struct OnUnix {
    /// Time of the last change of content or metadata: seconds and nanoseconds since 1970.
    changed: (i64, i64),
    inode: u64,
}

#[cfg(unix)]
fn on_unix(metadata: &Metadata) -> Option<OnUnix> {
    use std::os::unix::fs::MetadataExt;
    Some(OnUnix {
        changed: (metadata.ctime(), metadata.ctime_nsec()),
        inode: metadata.ino(),
    })
}

#[cfg(not(unix))]
fn on_unix(_: &Metadata) -> Option<OnUnix> {
    None
}

/// Returns the BLAKE3 hash of [`KeyOf`] as JSON.
pub(super) fn key(
    plan: &DataPlan,
    schema: &SchemaPlan,
    files: &PlanFiles,
) -> Result<[u8; 32], PrepareError> {
    let identities = files.iter().map(|(part, path)| identity(part, path));
    let lookups = files.lookups.iter().map(|path| identity(Part::Train, path));
    let key_of = KeyOf {
        version: VERSION,
        value_rule: ValueRule::CURRENT,
        schema,
        reading: &plan.reading,
        split: &plan.split,
        files: identities.collect::<Result<_, _>>()?,
        lookups: lookups.collect::<Result<_, _>>()?,
    };
    let json = serde_json::to_vec(&key_of).expect("plans and names are JSON");
    Ok(*blake3::hash(&json).as_bytes())
}

fn identity(part: Part, path: &Path) -> Result<FileIdentity, ReadError> {
    let folders = partitions(path);
    if is_remote(path) {
        let facts = FileFacts::of(path)?;
        return Ok(FileIdentity {
            part,
            path: format!("{path:?}"),
            folders,
            n_bytes: facts.n_bytes,
            on_unix: None,
            modified: facts.modified.unwrap_or_default(),
            e_tag: facts.e_tag,
        });
    }
    let read = |error| ReadError::io(path, "look at the file")(error);
    let facts = FileFacts::of(path)?;
    let metadata = std::fs::metadata(path).map_err(read)?;
    let path = std::fs::canonicalize(path).map_err(read)?;
    Ok(FileIdentity {
        part,
        // Not `display`, which would make names that are no Unicode the same.
        path: format!("{path:?}"),
        folders,
        n_bytes: metadata.len(),
        on_unix: on_unix(&metadata),
        modified: facts.modified.unwrap_or_default(),
        e_tag: None,
    })
}
