//! The models being served, by name, version and label; replaced atomically.

use crate::api_error::{ApiError, ErrorKind};
use crate::rank_request::{ModelSelector, VersionSelector};
use crate::version::Version;
use crate::wire::{listed, nearest};
use crate::words::shown;
use arc_swap::ArcSwap;
use ncs_features::HashFunction;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Label of the default version.
pub const STABLE: &str = "stable";
/// Label of the version for a share of the users.
pub const CANARY: &str = "canary";

/// Labels of a model's versions: `labels.json` beside the versions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Labels {
    /// Serves all users outside the canary's share. `None`: the newest version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable: Option<u64>,
    /// Serves a share of the users.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
    /// Versions that also score the requests of others, after the response, for the metrics and the score
    /// log.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shadow: Vec<u64>,
}

/// A version for a share of the users.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Canary {
    /// Version number.
    pub version: u64,
    /// Share of users, from 0 to 1.
    pub share: f64,
}

impl Labels {
    /// Returns the versions that have a label.
    pub fn versions(&self) -> impl Iterator<Item = u64> {
        let one = self.stable.into_iter();
        one.chain(self.canary.map(|canary| canary.version))
            .chain(self.shadow.iter().copied())
    }

    /// Returns the labels of a version.
    pub fn of(&self, number: u64) -> Vec<&'static str> {
        let parts = [
            (self.stable == Some(number), STABLE),
            (
                self.canary.is_some_and(|canary| canary.version == number),
                CANARY,
            ),
            (self.shadow.contains(&number), crate::shadow::SHADOW),
        ];
        let assigned = parts.into_iter().filter(|(is_assigned, _)| *is_assigned);
        assigned.map(|(_, label)| label).collect()
    }

    /// Checks the values.
    ///
    /// # Errors
    /// The share is outside 0 to 1, or a shadow is listed twice.
    pub fn check(&self) -> Result<(), LabelsError> {
        let mut shadows = self.shadow.clone();
        shadows.sort_unstable();
        if let Some(pair) = shadows.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(LabelsError::Twice(pair[0]));
        }
        match self.canary {
            Some(canary) if !(0.0..=1.0).contains(&canary.share) => {
                Err(LabelsError::Share(canary.share))
            }
            _ => Ok(()),
        }
    }
}

/// Error of labels that contradict themselves.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum LabelsError {
    /// A version is listed twice.
    #[error("version {0} is listed twice among the shadows")]
    Twice(u64),
    /// The share is outside 0 to 1.
    #[error("the canary's share is {0}; it must be from 0 to 1")]
    Share(f64),
}

/// A model with its loaded versions.
#[derive(Clone, Debug)]
pub struct Model {
    /// Name of the model.
    pub name: Arc<str>,
    /// Loaded versions by number.
    pub versions: BTreeMap<u64, Arc<Version>>,
    /// Labels; all versions they name are loaded.
    pub labels: Labels,
}

/// A version and the label that selected it, if any.
pub type Selected = (Arc<Version>, Option<&'static str>);

impl Model {
    /// Selects a version. `user` returns the user of the request and is called only if it matters.
    ///
    /// # Errors
    /// There is no such version or label.
    pub fn version(
        &self,
        selector: &VersionSelector,
        user: impl FnOnce(&Version) -> Option<String>,
    ) -> Result<Selected, ApiError> {
        match selector {
            VersionSelector::Number(number) => Ok((self.number(*number)?, None)),
            VersionSelector::Labelled(label) if label == STABLE => self.stable(),
            VersionSelector::Labelled(label) if label == CANARY => match self.labels.canary {
                Some(canary) => Ok((self.number(canary.version)?, Some(CANARY))),
                None => Err(self.not_found(format!("\"{CANARY}\" is not a label"))),
            },
            VersionSelector::Labelled(label) => {
                let hint = nearest(label, [STABLE, CANARY]);
                Err(self.not_found(format!("\"{}\" is not a label{hint}", shown(label))))
            }
            VersionSelector::Routed => {
                let (stable, label) = self.stable()?;
                let Some(canary) = self.labels.canary else {
                    return Ok((stable, label));
                };
                let user = user(&stable);
                if user.is_some_and(|user| self.is_in_canary_share(&user, canary.share)) {
                    Ok((self.number(canary.version)?, Some(CANARY)))
                } else {
                    Ok((stable, label))
                }
            }
        }
    }

    fn stable(&self) -> Result<Selected, ApiError> {
        match (self.labels.stable, self.versions.values().next_back()) {
            (Some(number), _) => Ok((self.number(number)?, Some(STABLE))),
            (None, Some(newest)) => Ok((newest.clone(), None)),
            (None, None) => Err(self.not_found("no version is loaded".to_owned())),
        }
    }

    fn number(&self, number: u64) -> Result<Arc<Version>, ApiError> {
        let version = self.versions.get(&number).cloned();
        version.ok_or_else(|| {
            let loaded: Vec<String> = self.versions.keys().map(u64::to_string).collect();
            self.not_found(format!(
                "version {number} is not loaded; loaded are {}",
                loaded.join(", ")
            ))
        })
    }

    fn not_found(&self, what: String) -> ApiError {
        ErrorKind::NotFound.error(format!("model \"{}\": {what}", self.name))
    }

    /// Returns true if a user is in the canary's share. The choice is the same for all requests and servers,
    /// and independent between models.
    fn is_in_canary_share(&self, user: &str, share: f64) -> bool {
        let hash = HashFunction::Xxh3.hash(format!("{}\n{user}", self.name).as_bytes());
        // The upper 53 bits as a fraction.
        ((hash >> 11) as f64) < share * (1u64 << 53) as f64
    }
}

/// A snapshot of all models.
pub type Models = BTreeMap<Arc<str>, Arc<Model>>;

/// The models being served. A request takes one snapshot and keeps it.
#[derive(Debug, Default)]
pub struct Registry {
    models: ArcSwap<Models>,
}

impl Registry {
    /// Returns the current snapshot.
    pub fn models(&self) -> Arc<Models> {
        self.models.load_full()
    }

    /// Returns the model of this name, or the only one if the name is `None`.
    ///
    /// # Errors
    /// There is no such model, or no name is given and there are several.
    pub fn model(&self, name: Option<&str>) -> Result<Arc<Model>, ApiError> {
        let models = self.models.load();
        let names: Vec<&str> = models.keys().map(|name| &**name).collect();
        match (name, models.len()) {
            (Some(name), _) => models.get(name).cloned().ok_or_else(|| {
                let hint = nearest(name, names);
                ErrorKind::NotFound.error(format!("no model \"{}\"{hint}", shown(name)))
            }),
            (None, 1) => Ok(models.values().next().cloned().expect("there is one")),
            (None, _) => {
                Err(ErrorKind::Invalid.error(format!("name a model; there are {}", listed(&names))))
            }
        }
    }

    /// Selects the model and version of a request. See [`Model::version`].
    ///
    /// # Errors
    /// There is no such model, version or label.
    pub fn find(
        &self,
        selector: &ModelSelector,
        user: impl FnOnce(&Version) -> Option<String>,
    ) -> Result<Selected, ApiError> {
        self.model(selector.name.as_deref())?
            .version(&selector.version, user)
    }

    /// Inserts or replaces a model. Must not be called concurrently.
    pub(crate) fn put(&self, model: Model) {
        let mut models = Models::clone(&self.models.load());
        models.insert(model.name.clone(), Arc::new(model));
        self.models.store(Arc::new(models));
    }

    /// Removes a model. Must not be called concurrently.
    pub(crate) fn remove(&self, name: &str) -> Option<Arc<Model>> {
        let mut models = Models::clone(&self.models.load());
        let removed = models.remove(name);
        self.models.store(Arc::new(models));
        removed
    }
}
