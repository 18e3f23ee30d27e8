//! Model folders and the versions loaded from them.
//!
//! ```text
//! DIR/manifest.json ...          a model: version 1
//! DIR/model/manifest.json ...    the folder of a training run: version 1
//! DIR/3/, DIR/4/, ...            versions, each in one of the above forms; DIR/labels.json
//! ```
//!
//! The newest version is loaded, and those that `labels.json` names. If a version fails its checks, the
//! versions being served are unchanged.

use crate::api_error::{ApiError, ErrorKind};
use crate::registry::{Labels, Model, Registry};
use crate::version::Version;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant, SystemTime};

const LABELS: &str = "labels.json";

/// Maximum time that the thread that frees replaced versions waits for requests that still use them.
const RETIRE: Duration = Duration::from_secs(60);

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
    pub fn parse(text: &str) -> Result<Source, String> {
        let (name, folder) = match text.split_once('=') {
            Some((name, folder)) => (name.to_owned(), PathBuf::from(folder)),
            None => {
                let folder = PathBuf::from(text);
                (name_of(&folder), folder)
            }
        };
        if !is_name(&name) {
            return Err(format!(
                "{text}: \"{name}\" is not a valid model name (letters, digits, _, . and -); set one \
                 with NAME=DIR"
            ));
        }
        match folder.is_dir() {
            true => Ok(Source {
                name: name.into(),
                folder,
            }),
            false => Err(format!("{}: no such folder", folder.display())),
        }
    }
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

/// State of a version in the protocol's index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Name of the model.
    pub name: String,
    /// Version number.
    pub version: String,
    /// `READY` or `UNAVAILABLE`.
    pub state: &'static str,
    /// Reason why it is not ready.
    pub reason: String,
}

/// State of a folder: names, sizes and modification times of its files. A changed folder is loaded again.
type Fingerprint = Vec<(PathBuf, u64, Option<SystemTime>)>;

/// A version that could not be loaded, or whose folder changed since and could not be loaded again.
#[derive(Clone, Debug)]
struct Failure {
    reason: String,
    fingerprint: Fingerprint,
}

/// Listener for loads and unloads.
pub trait Watcher: Send + Sync {
    /// A version was loaded and is served from now on.
    fn loaded(&self, version: &Version);
    /// The labels of a version changed.
    fn labelled(&self, version: &Version, labels: &[&str]);
    /// A version of this model failed its checks.
    fn failed(&self, model: &str);
}

/// Model folders and the versions loaded from them.
pub struct Repository {
    sources: BTreeMap<Arc<str>, PathBuf>,
    registry: Registry,
    watcher: Box<dyn Watcher>,
    /// Versions that are no longer served, to be freed.
    retired: mpsc::Sender<Vec<Arc<Version>>>,
    /// Locked while models are loaded: one load at a time.
    state: Mutex<State>,
    /// Versions that failed; separate from the state, so that an index does not wait for a load.
    failures: Mutex<Failures>,
}

type Failures = BTreeMap<(Arc<str>, u64), Failure>;

#[derive(Default)]
struct State {
    /// Loaded versions with the state of their folders when they were loaded.
    loaded: BTreeMap<(Arc<str>, u64), Fingerprint>,
    /// Models unloaded by a call; not loaded again until a load call.
    unloaded: Vec<Arc<str>>,
}

impl std::fmt::Debug for Repository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Repository")
            .field("sources", &self.sources)
            .finish_non_exhaustive()
    }
}

impl Repository {
    /// Creates a repository of these folders; no model is loaded yet.
    ///
    /// # Errors
    /// Two models have the same name, or the thread cannot be created.
    pub fn new(sources: Vec<Source>, watcher: Box<dyn Watcher>) -> Result<Repository, String> {
        let mut by_name = BTreeMap::new();
        for Source { name, folder } in sources {
            if let Some(other) = by_name.insert(name.clone(), folder.clone()) {
                return Err(format!(
                    "{} and {} are both called \"{name}\"; give one another name with NAME=DIR",
                    other.display(),
                    folder.display()
                ));
            }
        }
        let (retired, receiver) = mpsc::channel();
        let thread = std::thread::Builder::new().name("retire".to_owned());
        let spawned = thread.spawn(move || free_retired(&receiver));
        spawned.map_err(|error| format!("no thread: {error}"))?;
        Ok(Repository {
            retired,
            sources: by_name,
            registry: Registry::default(),
            watcher,
            state: Mutex::default(),
            failures: Mutex::default(),
        })
    }

    /// Returns the registry of the loaded models.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Loads every model; if its newest version is invalid, the next older valid one.
    ///
    /// # Errors
    /// A model has no valid version.
    pub fn load_all(&self) -> Result<(), String> {
        self.sources.keys().try_for_each(|name| {
            let loaded = self.refresh(name, true);
            loaded.map_err(|refusal| refusal.message)
        })
    }

    /// Loads the newest version of a model and those that its labels name, unless they are loaded and
    /// unchanged. The model is replaced atomically, and only if all of them are valid.
    ///
    /// # Errors
    /// There is no such model, or one of its versions is invalid; then the versions being served are
    /// unchanged.
    pub fn load(&self, name: &str) -> Result<(), ApiError> {
        self.lock().unloaded.retain(|other| **other != *name);
        self.refresh(name, false)
    }

    /// Unloads a model.
    ///
    /// # Errors
    /// There is no such model.
    pub fn unload(&self, name: &str) -> Result<(), ApiError> {
        let (name, _) = self.source(name)?;
        let mut state = self.lock();
        let Some(model) = self.registry.remove(&name) else {
            return Err(ErrorKind::NotFound.error(format!("model \"{name}\" is not loaded")));
        };
        state.unloaded.push(name);
        state.loaded.retain(|(of, _), _| *of != model.name);
        tracing::info!(model = %model.name, "unloaded");
        drop(state);
        self.retire(Arc::unwrap_or_clone(model).versions.into_values().collect());
        Ok(())
    }

    /// Sets the labels of a model's versions and writes them to its folder.
    ///
    /// # Errors
    /// A share is invalid, a version is invalid or absent, or the folder cannot be written; then nothing
    /// changes.
    pub fn set_labels(&self, name: &str, labels: &Labels) -> Result<(), ApiError> {
        labels
            .check()
            .map_err(|what| ErrorKind::Invalid.error(what))?;
        let (name, folder) = self.source(name)?;
        if is_model(folder) {
            return Err(ErrorKind::Invalid.error(format!(
                "model \"{name}\" is a single model, not a folder of versions; labels need versions"
            )));
        }
        let path = folder.join(LABELS);
        let mut state = self.lock();
        let before = fs::read(&path).ok();
        let text = serde_json::to_string_pretty(labels).expect("labels are plain data");
        let write = |bytes: &[u8]| ncs_model::tensor_file::write_bytes(&path, bytes);
        write(format!("{text}\n").as_bytes())
            .map_err(|error| ErrorKind::Internal.error(error.to_string()))?;
        // An invalid newest version does not matter for labels that do not name it.
        let loaded = self.refresh_locked(&name, folder, true, &mut state);
        if loaded.is_err() {
            let restored = match before {
                Some(before) => write(&before).map_err(|error| error.to_string()),
                None => fs::remove_file(&path).map_err(|error| error.to_string()),
            };
            if let Err(error) = restored {
                tracing::error!(model = %name, "the labels could not be restored: {error}");
            }
        }
        loaded
    }

    /// Polls the folders and loads new versions, as [`Repository::load`] does; models unloaded by a call
    /// stay unloaded. A failure is reported to the watcher once for each state of the folder.
    pub fn poll(&self) {
        for (name, folder) in &self.sources {
            let mut state = self.lock();
            if !state.unloaded.contains(name) {
                // The watcher has been notified.
                let _ = self.refresh_locked(name, folder, false, &mut state);
            }
        }
    }

    /// Lists all versions in the folders, loaded or not.
    pub fn index(&self, ready_only: bool) -> Vec<Entry> {
        let failures = self.failures().clone();
        let models = self.registry.models();
        let mut entries = Vec::new();
        for (name, folder) in &self.sources {
            let loaded = models.get(name).map(|model| &model.versions);
            let is_loaded = |number: &u64| loaded.is_some_and(|loaded| loaded.contains_key(number));
            let mut numbers: Vec<u64> = versions(folder).into_keys().collect();
            numbers.extend(loaded.into_iter().flat_map(BTreeMap::keys));
            numbers.sort_unstable();
            numbers.dedup();
            for number in numbers {
                let failure = failures.get(&(name.clone(), number));
                let (state, reason) = match (is_loaded(&number), failure) {
                    (true, None) => ("READY", String::new()),
                    (true, Some(failure)) => ("READY", failure.reason.clone()),
                    (false, Some(failure)) => ("UNAVAILABLE", failure.reason.clone()),
                    (false, None) => ("UNAVAILABLE", "not loaded".to_owned()),
                };
                entries.push(Entry {
                    name: name.to_string(),
                    version: number.to_string(),
                    state,
                    reason,
                });
            }
        }
        entries.retain(|entry| !ready_only || entry.state == "READY");
        entries
    }

    fn source(&self, name: &str) -> Result<(Arc<str>, &Path), ApiError> {
        let found = self.sources.get_key_value(name);
        let found = found.map(|(name, folder)| (name.clone(), folder.as_path()));
        found.ok_or_else(|| {
            let hint = crate::wire::nearest(name, self.sources.keys().map(|name| &**name));
            let name = crate::words::shown(name);
            ErrorKind::NotFound.error(format!("no model \"{name}\"{hint}"))
        })
    }

    fn refresh(&self, name: &str, or_older: bool) -> Result<(), ApiError> {
        let (name, folder) = self.source(name)?;
        self.refresh_locked(&name, folder, or_older, &mut self.lock())
    }

    fn refresh_locked(
        &self,
        name: &Arc<str>,
        folder: &Path,
        or_older: bool,
        state: &mut State,
    ) -> Result<(), ApiError> {
        let found = versions(folder);
        let labels = labels(folder).map_err(|what| ErrorKind::Invalid.error(what))?;
        let old = self.registry.models().get(name).cloned();
        let mut loading = Loading {
            repository: self,
            name,
            found: &found,
            old: old.as_deref(),
            state,
            versions: BTreeMap::new(),
            new: Vec::new(),
        };
        loading.labelled(&labels)?;
        loading.newest(folder, or_older)?;
        let Loading { versions, new, .. } = loading;
        for version in &new {
            if let Some(before) = old
                .as_ref()
                .and_then(|old| old.versions.values().next_back())
            {
                version.warm_up(before);
            }
            self.watcher.loaded(version);
        }
        let is_same = |model: &Arc<Model>| {
            model.labels == labels && model.versions.keys().eq(versions.keys()) && new.is_empty()
        };
        if old.as_ref().is_some_and(is_same) {
            return Ok(());
        }
        let removed = removed_versions(old.as_deref(), &versions);
        for (number, version) in &versions {
            self.watcher.labelled(version, &labels.of(*number));
        }
        drop(old);
        self.registry.put(Model {
            name: name.clone(),
            versions,
            labels,
        });
        for version in &removed {
            let key = (name.clone(), version.identity.number);
            if !new.iter().any(|new| new.identity.number == key.1) {
                state.loaded.remove(&key);
            }
        }
        self.retire(removed);
        Ok(())
    }

    fn retire(&self, versions: Vec<Arc<Version>>) {
        // The thread runs as long as the repository exists.
        let _ = self.retired.send(versions);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failures(&self) -> MutexGuard<'_, Failures> {
        let failures = self.failures.lock();
        failures.unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the versions of `old` that are not in `new`.
fn removed_versions(old: Option<&Model>, new: &BTreeMap<u64, Arc<Version>>) -> Vec<Arc<Version>> {
    let old = old.into_iter().flat_map(|model| &model.versions);
    let stays = |number: &u64, version: &Arc<Version>| {
        new.get(number).is_some_and(|new| Arc::ptr_eq(new, version))
    };
    old.filter(|(number, version)| !stays(number, version))
        .map(|(_, version)| version.clone())
        .collect()
}

/// Frees versions that are no longer served, once the requests that use them have ended: freeing gigabytes
/// takes a while, which must not delay a request. A single thread does it, so that the allocator does not
/// keep a pool per version.
fn free_retired(retired: &mpsc::Receiver<Vec<Arc<Version>>>) {
    let is_used = |version: &Arc<Version>| Arc::strong_count(version) > 1;
    while let Ok(versions) = retired.recv() {
        let began = Instant::now();
        while versions.iter().any(is_used) && began.elapsed() < RETIRE {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Versions of a model being loaded.
struct Loading<'a> {
    repository: &'a Repository,
    name: &'a Arc<str>,
    found: &'a BTreeMap<u64, PathBuf>,
    old: Option<&'a Model>,
    state: &'a mut State,
    versions: BTreeMap<u64, Arc<Version>>,
    /// Versions that were not loaded before.
    new: Vec<Arc<Version>>,
}

impl Loading<'_> {
    fn labelled(&mut self, labels: &Labels) -> Result<(), ApiError> {
        for number in labels.versions() {
            if !self.found.contains_key(&number) {
                return Err(ErrorKind::Invalid.error(format!(
                    "model \"{}\": {LABELS} names version {number}, and there is no such folder",
                    self.name
                )));
            }
            self.load(number)?;
        }
        Ok(())
    }

    /// Loads the newest version; with `or_older`, the newest valid one.
    fn newest(&mut self, folder: &Path, or_older: bool) -> Result<(), ApiError> {
        let mut first_failure = None;
        for &number in self.found.keys().rev() {
            match self.load(number) {
                Ok(()) => return Ok(()),
                Err(refusal) if !or_older => return Err(refusal),
                Err(refusal) => _ = first_failure.get_or_insert(refusal),
            }
        }
        Err(first_failure.unwrap_or_else(|| {
            ErrorKind::Invalid.error(format!(
                "{}: no model here; name the folder that `ncs train` wrote, or one whose folders are \
                 numbers of versions",
                folder.display()
            ))
        }))
    }

    fn load(&mut self, number: u64) -> Result<(), ApiError> {
        if self.versions.contains_key(&number) {
            return Ok(());
        }
        let folder = &self.found[&number];
        let key = (self.name.clone(), number);
        let fingerprint = fingerprint(folder);
        let old = self.old.and_then(|old| old.versions.get(&number));
        if let Some(old) = old.filter(|_| self.state.loaded.get(&key) == Some(&fingerprint)) {
            self.versions.insert(number, old.clone());
            self.repository.failures().remove(&key);
            return Ok(());
        }
        let version = self.try_load(folder, &key, &fingerprint)?;
        tracing::info!(model = %self.name, version = number, hash = %version.identity.hash, "loaded");
        self.repository.failures().remove(&key);
        self.state.loaded.insert(key, fingerprint);
        self.versions.insert(number, version.clone());
        self.new.push(version);
        Ok(())
    }

    fn try_load(
        &mut self,
        folder: &Path,
        key: &(Arc<str>, u64),
        fingerprint: &Fingerprint,
    ) -> Result<Arc<Version>, ApiError> {
        let invalid = |reason: &str| {
            let (name, number) = key;
            ErrorKind::Invalid.error(format!("model \"{name}\", version {number}: {reason}"))
        };
        let known = self.repository.failures().get(key).cloned();
        if let Some(failure) = known.filter(|failure| failure.fingerprint == *fingerprint) {
            return Err(invalid(&failure.reason));
        }
        Version::load(folder, &key.0, key.1)
            .map(Arc::new)
            .map_err(|reason| {
                tracing::error!(model = %key.0, version = key.1, "not loaded: {reason}");
                self.repository.watcher.failed(&key.0);
                let refusal = invalid(&reason);
                let fingerprint = fingerprint.clone();
                let failure = Failure {
                    reason,
                    fingerprint,
                };
                self.repository.failures().insert(key.clone(), failure);
                refusal
            })
    }
}

/// Returns true if a folder is a model or a training run's folder.
fn is_model(folder: &Path) -> bool {
    folder.join("manifest.json").exists() || folder.join("model/manifest.json").exists()
}

/// Returns the model's folder: `folder` itself, or the `model` in the folder of a training run.
fn model_in(folder: &Path) -> PathBuf {
    let inner = folder.join("model");
    match inner.is_dir() && !folder.join("manifest.json").exists() {
        true => inner,
        false => folder.to_owned(),
    }
}

/// Returns the versions in a folder, by number.
fn versions(folder: &Path) -> BTreeMap<u64, PathBuf> {
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

fn labels(folder: &Path) -> Result<Labels, String> {
    let path = folder.join(LABELS);
    let text = match fs::read(&path) {
        Ok(text) if !is_model(folder) => text,
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(format!("{}: {error}", path.display()));
        }
        _ => return Ok(Labels::default()),
    };
    let labels: Labels = serde_json::from_slice(&text).map_err(|error| {
        format!(
            "{}: {error}; write {{\"stable\": 1, \"canary\": {{\"version\": 2, \"share\": 0.05}}, \
             \"shadow\": [3]}}",
            path.display()
        )
    })?;
    let checked = labels.check();
    checked.map_err(|what| format!("{}: {what}", path.display()))?;
    Ok(labels)
}

fn fingerprint(folder: &Path) -> Fingerprint {
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
