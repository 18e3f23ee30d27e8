//! Files and folders that may hold values, by what wrote them.

use std::fs;
use std::path::{Path, PathBuf};

use ncs_readers::cache::is_cache_folder;
use ncs_score_log::erase::{is_draft, is_score_log};

/// What wrote a file or folder. In the order of erasure: models last, since they say which rows of the others are those
/// of the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// What a killed process has left.
    Stale,
    /// A checkpoint, or a level of a search.
    Tensors,
    /// Rows as ids.
    Cache,
    /// Rows that a run or a backtest has copied.
    Copy,
    /// An unfinished file of a score log.
    Draft,
    /// A file of a score log.
    ScoreLog,
    /// Texts that a run wrote.
    Report,
    /// Anything else; never changed.
    Other,
    /// A model.
    Model,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Stale => "left by a killed process",
            Kind::Tensors => "checkpoint",
            Kind::Cache => "id cache",
            Kind::Copy => "copied rows",
            Kind::Draft => "unfinished score log",
            Kind::ScoreLog => "score log",
            Kind::Report => "report",
            Kind::Other => "file of yours",
            Kind::Model => "model",
        }
    }
}

/// A file, or a folder that is one thing.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) path: PathBuf,
    pub(super) kind: Kind,
    /// The file itself, or the files of the folder.
    pub(super) files: Vec<PathBuf>,
    /// The folder of the run that it belongs to.
    pub(super) run: Option<PathBuf>,
}

/// Returns all places in these folders, and the files among them, by path. Symbolic links are not followed.
pub(super) fn walk(roots: &[PathBuf]) -> Result<Vec<Place>, String> {
    let mut places = Vec::new();
    for root in roots {
        let run = root.ancestors().find(|path| is_run(path));
        let run = run.map(Path::to_owned);
        if root.is_file() {
            places.push(file_place(root, run));
        } else {
            walk_folder(root, run, &mut places)?;
        }
    }
    Ok(places)
}

fn is_run(path: &Path) -> bool {
    path.join("run.id").is_file()
}

fn walk_folder(path: &Path, run: Option<PathBuf>, places: &mut Vec<Place>) -> Result<(), String> {
    let run = if is_run(path) {
        Some(path.to_owned())
    } else {
        run
    };
    if let Some(kind) = kind_of_folder(path) {
        places.push(Place {
            path: path.to_owned(),
            kind,
            files: files_in(path)?,
            run,
        });
        return Ok(());
    }
    for entry in entries(path)? {
        let metadata = fs::symlink_metadata(&entry);
        let metadata = metadata.map_err(|error| format!("{}: {error}", entry.display()))?;
        if metadata.is_dir() {
            walk_folder(&entry, run.clone(), places)?;
        } else if metadata.is_file() {
            places.push(file_place(&entry, run.clone()));
        }
    }
    Ok(())
}

/// Returns the kind of a folder that is one thing.
fn kind_of_folder(path: &Path) -> Option<Kind> {
    let has = |name: &str| path.join(name).is_file();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if let Some(named) = name.strip_prefix('.')
        && let Some(whole) = named.strip_suffix(".tmp").or(named.strip_suffix(".old"))
        && (path.with_file_name(whole).join("manifest.json").is_file())
    {
        // Models are written beside and exchanged.
        return Some(Kind::Stale);
    }
    if has("manifest.json") && has("weights.safetensors") {
        return Some(Kind::Model);
    }
    if is_cache_folder(path) {
        return Some(Kind::Cache);
    }
    // Of a backtest.
    (name == "days" && has("index.json")).then_some(Kind::Copy)
}

fn file_place(path: &Path, run: Option<PathBuf>) -> Place {
    Place {
        kind: kind_of_file(path, run.as_deref()),
        files: vec![path.to_owned()],
        path: path.to_owned(),
        run,
    }
}

fn kind_of_file(path: &Path, run: Option<&Path>) -> Kind {
    const REPORTS: [&str; 4] = ["report.json", "metrics.json", "report.html", "log.txt"];
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let ends = |end: &str| name.ends_with(end);
    let is_of_run = run.is_some_and(|run| path.parent() == Some(run));
    if ends(".safetensors.tmp") || (is_of_run && ends(".tmp")) {
        Kind::Stale
    } else if ends(".safetensors") {
        Kind::Tensors
    } else if is_draft(path) {
        Kind::Draft
    } else if is_of_run && REPORTS.contains(&&*name) {
        Kind::Report
    } else if run.is_some_and(|run| path.parent() == Some(&run.join("frames"))) {
        Kind::Copy
    } else if is_score_log(path) {
        Kind::ScoreLog
    } else {
        Kind::Other
    }
}

/// Returns all files in a folder and its folders.
fn files_in(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let mut files = Vec::new();
    for entry in entries(folder)? {
        if entry.is_dir() && !entry.is_symlink() {
            files.extend(files_in(&entry)?);
        } else if entry.is_file() {
            files.push(entry);
        }
    }
    Ok(files)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    let entries = fs::read_dir(folder).map_err(failed)?;
    let paths = entries.map(|entry| Ok(entry.map_err(failed)?.path()));
    let mut paths = paths.collect::<Result<Vec<PathBuf>, String>>()?;
    paths.sort();
    Ok(paths)
}
