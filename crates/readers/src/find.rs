//! Files, globs and folders to files.

mod objects;

use crate::partitions::is_partition;
use crate::remote::is_remote;
use crate::source::{ReadError, shown_path};
use globset::{GlobBuilder, GlobMatcher};
use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::Metadata;
use std::io;
use std::path::{Component, Path, PathBuf};
use walkdir::{DirEntry, WalkDir};

/// Returns the files that match files, globs and folders, in their order; those of a folder or glob by name.
/// Each is listed once. Of the folders inside a folder only those named `NAME=VALUE` are searched; names that
/// begin with `.` or `_` (such as `_SUCCESS`) are left out unless they are named in full.
///
/// In a glob, `*`, `?`, `[...]` and `{one,other}` match within one folder, and `**` matches any number of
/// folders.
///
/// URLs name objects in a store (`s3://`, `gs://`, `az://`), by the same rules, or one over `http://` or `https://`.
///
/// # Errors
/// A pattern matches nothing, or something that is not a file (a pipe, a device), or a folder holds no file.
pub fn files(patterns: &[String], root: &Path) -> Result<Vec<PathBuf>, ReadError> {
    let mut files: Vec<PathBuf> = Vec::new();
    let mut known = HashSet::new();
    for pattern in patterns {
        for file in files_of(pattern, root)? {
            if known.insert(file.clone()) {
                files.push(file);
            }
        }
    }
    Ok(files)
}

/// Describes the folders inside those of `patterns` that hold files that [`files`] leaves out, because they
/// are not named `NAME=VALUE`; `None` if there are none.
///
/// # Errors
/// A folder cannot be read.
pub fn skipped_folders(patterns: &[String], root: &Path) -> Result<Option<String>, ReadError> {
    let read = files(patterns, root)?;
    let mut found: Vec<PathBuf> = Vec::new();
    for pattern in patterns
        .iter()
        .filter(|pattern| !is_remote(pattern.as_ref()))
    {
        let path = root.join(pattern);
        let named = if path.exists() {
            vec![path]
        } else {
            globbed(pattern, root)?
        };
        for folder in named.iter().filter(|path| path.is_dir()) {
            found.extend(not_looked_into(folder)?);
        }
    }
    found
        .retain(|folder| holds_a_file(folder) && !read.iter().any(|file| file.starts_with(folder)));
    found.sort();
    found.dedup();
    let Some(first) = found.first() else {
        return Ok(None);
    };
    let first = shown_path(first);
    let which = match found.len() {
        1 => format!("{first}: the files of this folder in a folder are not read"),
        n => format!("the files of {n} folders in a folder are not read, the first: {first}"),
    };
    Ok(Some(format!(
        "{which}; only folders named NAME=VALUE are looked into: name it as well, or use a glob with ** if its \
         rows belong to the data"
    )))
}

/// Returns the folders not named `NAME=VALUE` in a folder and in its subfolders that are.
fn not_looked_into(folder: &Path) -> Result<Vec<PathBuf>, ReadError> {
    let mut others = Vec::new();
    let is_looked_into = |entry: &DirEntry| {
        let name = entry.file_name();
        if is_hidden(name) || !entry.file_type().is_dir() {
            return false;
        }
        if !is_partition(name) {
            others.push(entry.path().to_owned());
        }
        is_partition(name)
    };
    for entry in entries(folder).filter_entry(is_looked_into) {
        readable(entry)?;
    }
    Ok(others)
}

/// Returns true if the folder holds a file that is not hidden, at any depth.
fn holds_a_file(folder: &Path) -> bool {
    let shown = entries(folder).filter_entry(|entry| !is_hidden(entry.file_name()));
    shown.flatten().any(|entry| entry.file_type().is_file())
}

fn files_of(pattern: &str, root: &Path) -> Result<Vec<PathBuf>, ReadError> {
    if let Some(objects) = objects::objects(pattern)? {
        return Ok(objects);
    }
    let path = root.join(pattern);
    if let Ok(metadata) = std::fs::metadata(&path) {
        return files_at(path, &metadata);
    }
    let mut files = Vec::new();
    for path in globbed(pattern, root)? {
        let metadata = std::fs::metadata(&path).map_err(ReadError::io(&path, "read"))?;
        files.extend(files_at(path, &metadata)?);
    }
    if files.is_empty() {
        return Err(ReadError::NoFiles {
            pattern: pattern.to_owned(),
            path,
            root: root.to_owned(),
        });
    }
    Ok(files)
}

fn files_at(path: PathBuf, metadata: &Metadata) -> Result<Vec<PathBuf>, ReadError> {
    if metadata.is_dir() {
        return files_in(&path);
    }
    refuse_unless_file(&path, metadata)?;
    Ok(vec![path])
}

/// Refuses pipes, sockets and devices: they cannot be looked at first and read again, and may never end.
///
/// # Errors
/// It is one of them, or a folder.
pub(crate) fn refuse_unless_file(path: &Path, metadata: &Metadata) -> Result<(), ReadError> {
    if metadata.is_file() {
        return Ok(());
    }
    Err(ReadError::NoFile {
        path: path.to_owned(),
        found: kind(metadata),
    })
}

#[cfg(unix)]
fn kind(metadata: &Metadata) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    let kind = metadata.file_type();
    match () {
        () if kind.is_dir() => "a folder",
        () if kind.is_fifo() => "a pipe",
        () if kind.is_socket() => "a socket",
        () => "a device",
    }
}

#[cfg(not(unix))]
fn kind(metadata: &Metadata) -> &'static str {
    if metadata.is_dir() {
        "a folder"
    } else {
        "no plain file"
    }
}

/// Returns the files of a folder and of the folders in it that are named `NAME=VALUE`, by name.
fn files_in(folder: &Path) -> Result<Vec<PathBuf>, ReadError> {
    let is_looked_at = |entry: &DirEntry| {
        let name = entry.file_name();
        !is_hidden(name) && (!entry.file_type().is_dir() || is_partition(name))
    };
    let mut files = Vec::new();
    for entry in entries(folder).filter_entry(is_looked_at) {
        let Some(entry) = readable(entry)? else {
            continue;
        };
        if entry.file_type().is_dir() {
            continue;
        }
        let metadata = entry.metadata().map_err(|error| walk_error(&error))?;
        refuse_unless_file(entry.path(), &metadata)?;
        files.push(entry.into_path());
    }
    if files.is_empty() {
        return Err(ReadError::EmptyFolder {
            path: folder.to_owned(),
        });
    }
    Ok(files)
}

fn entries(folder: &Path) -> walkdir::IntoIter {
    WalkDir::new(folder)
        .min_depth(1)
        .follow_links(true)
        .sort_by_file_name()
        .into_iter()
}

/// Returns the entry; `None` for a hidden one, such as the broken link of an editor's lock.
fn readable(entry: Result<DirEntry, walkdir::Error>) -> Result<Option<DirEntry>, ReadError> {
    entry.map(Some).or_else(|error| {
        let name = error.path().and_then(Path::file_name);
        if name.is_some_and(is_hidden) {
            Ok(None)
        } else {
            Err(walk_error(&error))
        }
    })
}

fn walk_error(error: &walkdir::Error) -> ReadError {
    let path = error.path().unwrap_or(Path::new(""));
    let source = match (error.loop_ancestor(), error.io_error()) {
        (Some(folder), _) => io::Error::other(format!("a link back to {}", folder.display())),
        (None, Some(source)) => io::Error::new(source.kind(), source.to_string()),
        (None, None) => io::Error::other(error.to_string()),
    };
    ReadError::io(path, "read")(source)
}

/// A part of a glob, between slashes.
enum Part<'p> {
    Name(&'p OsStr),
    Glob(GlobMatcher, Option<u8>),
    AnyDepth,
}

impl<'p> Part<'p> {
    fn of(name: &'p OsStr, pattern: &str) -> Result<Part<'p>, ReadError> {
        let text = name.to_str().unwrap_or_default();
        if text == "**" {
            return Ok(Part::AnyDepth);
        }
        if !text.contains(['*', '?', '[', '{']) {
            return Ok(Part::Name(name));
        }
        let glob = GlobBuilder::new(text)
            .literal_separator(true)
            .backslash_escape(false)
            .build();
        let glob = glob.map_err(|error| ReadError::Pattern {
            pattern: pattern.to_owned(),
            what: error.kind().to_string(),
        })?;
        Ok(Part::Glob(
            glob.compile_matcher(),
            text.bytes().next().filter(|first| b"._".contains(first)),
        ))
    }

    /// Replaces folders by what this part names in them.
    fn step(&self, folders: Vec<PathBuf>) -> Result<Vec<PathBuf>, ReadError> {
        let mut found = Vec::new();
        for folder in folders {
            match self {
                Part::Name(name) => found.push(folder.join(name)),
                Part::Glob(glob, first) => {
                    let is_named = |name: &OsStr| {
                        let is_shown =
                            !is_hidden(name) || name.as_encoded_bytes().first() == first.as_ref();
                        is_shown && glob.is_match(Path::new(name))
                    };
                    found.extend(named(&folder, is_named)?);
                }
                Part::AnyDepth => {
                    found.extend(folders_below(&folder)?);
                    found.push(folder);
                }
            }
        }
        found.retain(|path| path.exists());
        found.sort();
        found.dedup();
        Ok(found)
    }
}

/// Returns the paths that match a glob, sorted by name.
fn globbed(pattern: &str, root: &Path) -> Result<Vec<PathBuf>, ReadError> {
    let mut found = vec![root.to_owned()];
    for part in Path::new(pattern).components() {
        found = match part {
            Component::Prefix(_) | Component::RootDir => {
                found.into_iter().map(|path| path.join(part)).collect()
            }
            Component::CurDir => found,
            Component::ParentDir | Component::Normal(_) => {
                Part::of(part.as_os_str(), pattern)?.step(found)?
            }
        };
    }
    Ok(found)
}

/// Returns the entries of a folder for whose name `is_named` returns true; empty if it is not a folder.
fn named(folder: &Path, is_named: impl Fn(&OsStr) -> bool) -> Result<Vec<PathBuf>, ReadError> {
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let read = |error| ReadError::io(folder, "read")(error);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(read)? {
        let entry = entry.map_err(read)?;
        if is_named(&entry.file_name()) {
            let path = entry.path();
            found.push(path.strip_prefix("./").map_or(path.clone(), Path::to_owned));
        }
    }
    Ok(found)
}

/// Returns the folders in a folder, at any depth, except for hidden ones.
fn folders_below(folder: &Path) -> Result<Vec<PathBuf>, ReadError> {
    let is_looked_at =
        |entry: &DirEntry| !is_hidden(entry.file_name()) && entry.file_type().is_dir();
    let mut found = Vec::new();
    for entry in entries(folder).filter_entry(is_looked_at) {
        found.extend(readable(entry)?.map(DirEntry::into_path));
    }
    Ok(found)
}

fn is_hidden(name: &OsStr) -> bool {
    matches!(name.as_encoded_bytes().first(), Some(b'.' | b'_'))
}
