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

mod folders;
mod loading;

pub use folders::{Source, SourceError, is_name};

use crate::api_error::{ApiError, ErrorKind};
use crate::context_cache::ContextCache;
use crate::registry::{Labels, Model, Registry};
use crate::serve_error::ServeError;
use crate::version::Version;
use folders::{Fingerprint, LABELS, is_model, labels, versions};
use loading::Loading;
use ncs_model::Precision;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

/// Maximum time that the thread that frees replaced versions waits for requests that still use them.
const RETIRE: Duration = Duration::from_secs(60);

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
    /// The delta of a version of this model could not be applied; the version is read whole.
    fn delta_failed(&self, model: &str);
    /// A version of this model failed its checks.
    fn failed(&self, model: &str);
}

/// Model folders and the versions loaded from them.
pub struct Repository {
    sources: BTreeMap<Arc<str>, PathBuf>,
    precision: Precision,
    /// True if tables stay in their files.
    maps_tables: bool,
    contexts: Option<Arc<ContextCache>>,
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
    /// Creates a repository of these folders, whose models score in this precision; no model is loaded yet.
    ///
    /// # Errors
    /// Two models have the same name, or the thread cannot be created.
    pub fn new(
        sources: Vec<Source>,
        precision: Precision,
        watcher: Box<dyn Watcher>,
    ) -> Result<Repository, ServeError> {
        let mut by_name = BTreeMap::new();
        for Source { name, folder } in sources {
            if let Some(other) = by_name.insert(name.clone(), folder.clone()) {
                let folders = [other, folder];
                return Err(SourceError::Twice { name, folders }.into());
            }
        }
        let (retired, receiver) = mpsc::channel();
        let thread = std::thread::Builder::new().name("retire".to_owned());
        let spawned = thread.spawn(move || free_retired(&receiver));
        spawned.map_err(ServeError::Thread)?;
        Ok(Repository {
            retired,
            sources: by_name,
            precision,
            maps_tables: false,
            contexts: None,
            registry: Registry::default(),
            watcher,
            state: Mutex::default(),
            failures: Mutex::default(),
        })
    }

    /// Returns the repository, whose versions keep the contexts of recent requests.
    pub fn with_context_cache(self, cache: Arc<ContextCache>) -> Repository {
        Repository {
            contexts: Some(cache),
            ..self
        }
    }

    /// Returns the repository, whose versions leave the vectors of tables in their files ([`Version::map`]). A version with
    /// all its weights is read from these, and not made from its delta, whose rows would be in memory.
    pub fn with_mapped_tables(self) -> Repository {
        Repository {
            maps_tables: true,
            ..self
        }
    }

    /// Returns the cache of contexts, if there is one.
    pub fn context_cache(&self) -> Option<&Arc<ContextCache>> {
        self.contexts.as_ref()
    }

    /// Returns the registry of the loaded models.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Loads every model; if its newest version is invalid, the next older valid one.
    ///
    /// # Errors
    /// A model has no valid version.
    pub fn load_all(&self) -> Result<(), ApiError> {
        self.sources
            .keys()
            .try_for_each(|name| self.refresh(name, true))
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
            .map_err(|error| ErrorKind::Invalid.error(error.to_string()))?;
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
        let labels = labels(folder)?;
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
