//! Loading of a model's versions.

use super::folders::{Fingerprint, LABELS, fingerprint};
use super::{Failure, Repository, State};
use crate::api_error::{ApiError, ErrorKind};
use crate::registry::{Labels, Model};
use crate::version::{Version, VersionError};
use ncs_model::artifact::{Artifact, Delta};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Versions of a model being loaded.
pub(super) struct Loading<'a> {
    pub(super) repository: &'a Repository,
    pub(super) name: &'a Arc<str>,
    pub(super) found: &'a BTreeMap<u64, PathBuf>,
    pub(super) old: Option<&'a Model>,
    pub(super) state: &'a mut State,
    pub(super) versions: BTreeMap<u64, Arc<Version>>,
    /// Versions that were not loaded before.
    pub(super) new: Vec<Arc<Version>>,
}

impl Loading<'_> {
    pub(super) fn labelled(&mut self, labels: &Labels) -> Result<(), ApiError> {
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
    pub(super) fn newest(&mut self, folder: &Path, or_older: bool) -> Result<(), ApiError> {
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
        let how = match version.is_from_delta() {
            true => "updated by a delta",
            false => "loaded",
        };
        tracing::info!(model = %self.name, version = number, hash = %version.identity.hash, "{how}");
        self.repository.failures().remove(&key);
        self.state.loaded.insert(key, fingerprint);
        self.versions.insert(number, version.clone());
        self.new.push(version);
        Ok(())
    }

    fn try_load(
        &self,
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
        let shared = |version: Version| match self.repository.context_cache() {
            Some(cache) => Arc::new(version.with_context_cache(cache.clone())),
            None => Arc::new(version),
        };
        if let Some(version) = self.updated(folder, key) {
            return Ok(shared(version));
        }
        let load = match self.repository.maps_tables {
            true => Version::map,
            false => Version::load,
        };
        load(folder, &key.0, key.1, self.repository.precision)
            .map(shared)
            .map_err(|error| {
                let reason = error.to_string();
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

    /// Makes a version from its delta, if the version that this is against is loaded. Whatever is wrong with
    /// the delta, the whole may be sound.
    fn updated(&self, folder: &Path, key: &(Arc<str>, u64)) -> Option<Version> {
        if self.repository.maps_tables && Artifact::has_weights(folder) {
            return None;
        }
        let made = Delta::read(folder).transpose()?.map_err(VersionError::from);
        let made = made.and_then(|delta| {
            let mut loaded = self.old.into_iter().flat_map(|old| old.versions.values());
            let parent = loaded.find(|version| *version.identity.hash == *delta.parent());
            let of = |parent: &Arc<Version>| {
                Version::updated(parent, folder, &delta, key.1, self.repository.precision)
            };
            parent.map(of).transpose()
        });
        match made {
            Ok(made) => made,
            Err(error) => {
                tracing::warn!(model = %key.0, version = key.1, "read whole: {error}");
                self.repository.watcher.delta_failed(&key.0);
                None
            }
        }
    }
}
