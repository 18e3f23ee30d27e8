//! The models that are served: by name, version and label, swapped in one move.

use crate::api_error::{ApiError, Kind};
use crate::rank_request::{ModelSelector, VersionSelector};
use crate::version::Version;
use crate::wire::{listed, nearest};
use crate::words::shown;
use arc_swap::ArcSwap;
use ncs_features::HashFunction;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Label of the version that answers where nothing else is said.
pub const STABLE: &str = "stable";
/// Label of the version that answers a share of the users.
pub const CANARY: &str = "canary";

/// VersionSelector versions play which part: `labels.json` beside the versions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Labels {
    /// Answers whoever is not the canary's. `None`: the newest version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable: Option<u64>,
    /// Answers a share of the users.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
    /// Score what the others answer, after the answer, for the metrics and the score log.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shadow: Vec<u64>,
}

/// A version that some users get.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Canary {
    /// Its number.
    pub version: u64,
    /// The share of users, from 0 to 1.
    pub share: f64,
}

impl Labels {
    /// The versions that are named.
    pub fn versions(&self) -> impl Iterator<Item = u64> {
        let one = self.stable.into_iter();
        one.chain(self.canary.map(|canary| canary.version))
            .chain(self.shadow.iter().copied())
    }

    /// The labels of a version.
    pub fn of(&self, number: u64) -> Vec<&'static str> {
        let parts = [
            (self.stable == Some(number), STABLE),
            (
                self.canary.is_some_and(|canary| canary.version == number),
                CANARY,
            ),
            (self.shadow.contains(&number), crate::shadow::SHADOW),
        ];
        let held = parts.into_iter().filter(|(is_held, _)| *is_held);
        held.map(|(_, label)| label).collect()
    }

    /// What is wrong, if anything.
    ///
    /// # Errors
    /// A share outside 0 to 1, or a shadow twice.
    pub fn check(&self) -> Result<(), String> {
        let mut shadows = self.shadow.clone();
        shadows.sort_unstable();
        if let Some(pair) = shadows.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(format!("version {} comes twice among the shadows", pair[0]));
        }
        match self.canary {
            Some(canary) if !(0.0..=1.0).contains(&canary.share) => Err(format!(
                "the canary's share is {}; it must be from 0 to 1",
                canary.share
            )),
            _ => Ok(()),
        }
    }
}

/// A model: its loaded versions.
#[derive(Clone, Debug)]
pub struct Model {
    /// Its name.
    pub name: Arc<str>,
    /// By number.
    pub versions: BTreeMap<u64, Arc<Version>>,
    /// Who plays which part; all of them are loaded.
    pub labels: Labels,
}

/// A version, and the label under which it was found.
pub type Found = (Arc<Version>, Option<&'static str>);

impl Model {
    /// The version that is asked for. `user` says who asks, where that matters.
    ///
    /// # Errors
    /// There is no such version or label.
    pub fn version(
        &self,
        which: &VersionSelector,
        user: impl FnOnce(&Version) -> Option<String>,
    ) -> Result<Found, ApiError> {
        match which {
            VersionSelector::Number(number) => Ok((self.number(*number)?, None)),
            VersionSelector::Labelled(label) if label == STABLE => self.stable(),
            VersionSelector::Labelled(label) if label == CANARY => match self.labels.canary {
                Some(canary) => Ok((self.number(canary.version)?, Some(CANARY))),
                None => Err(self.no(format!("\"{CANARY}\" is no label"))),
            },
            VersionSelector::Labelled(label) => {
                let hint = nearest(label, [STABLE, CANARY]);
                Err(self.no(format!("\"{}\" is no label{hint}", shown(label))))
            }
            VersionSelector::Routed => {
                let (stable, label) = self.stable()?;
                let Some(canary) = self.labels.canary else {
                    return Ok((stable, label));
                };
                let user = user(&stable);
                match user.is_some_and(|user| self.is_canarys(&user, canary.share)) {
                    true => Ok((self.number(canary.version)?, Some(CANARY))),
                    false => Ok((stable, label)),
                }
            }
        }
    }

    fn stable(&self) -> Result<Found, ApiError> {
        match (self.labels.stable, self.versions.values().next_back()) {
            (Some(number), _) => Ok((self.number(number)?, Some(STABLE))),
            (None, Some(newest)) => Ok((newest.clone(), None)),
            (None, None) => Err(self.no("no version is loaded".to_owned())),
        }
    }

    fn number(&self, number: u64) -> Result<Arc<Version>, ApiError> {
        let version = self.versions.get(&number).cloned();
        version.ok_or_else(|| {
            let loaded: Vec<String> = self.versions.keys().map(u64::to_string).collect();
            self.no(format!(
                "version {number} is not loaded; loaded are {}",
                loaded.join(", ")
            ))
        })
    }

    fn no(&self, what: String) -> ApiError {
        Kind::NotFound.says(format!("model \"{}\": {what}", self.name))
    }

    /// Whether a user is among the canary's share: the same users at every request and on every server,
    /// others for another model.
    fn is_canarys(&self, user: &str, share: f64) -> bool {
        let hash = HashFunction::Xxh3.hash(format!("{}\n{user}", self.name).as_bytes());
        // The upper 53 bits as a fraction of all.
        ((hash >> 11) as f64) < share * (1u64 << 53) as f64
    }
}

/// All models, as they are at one moment.
pub type Models = BTreeMap<Arc<str>, Arc<Model>>;

/// VersionSelector models there are now. A request looks once and keeps what it saw.
#[derive(Debug, Default)]
pub struct Registry {
    models: ArcSwap<Models>,
}

impl Registry {
    /// The models of this moment.
    pub fn models(&self) -> Arc<Models> {
        self.models.load_full()
    }

    /// The model of this name, or the only one where none is named.
    ///
    /// # Errors
    /// There is none, or several and no name.
    pub fn model(&self, name: Option<&str>) -> Result<Arc<Model>, ApiError> {
        let models = self.models.load();
        let names: Vec<&str> = models.keys().map(|name| &**name).collect();
        match (name, models.len()) {
            (Some(name), _) => models.get(name).cloned().ok_or_else(|| {
                let hint = nearest(name, names);
                Kind::NotFound.says(format!("no model \"{}\"{hint}", shown(name)))
            }),
            (None, 1) => Ok(models.values().next().cloned().expect("there is one")),
            (None, _) => {
                Err(Kind::Invalid.says(format!("say which model; there are {}", listed(&names))))
            }
        }
    }

    /// The version that is to answer. See [`Model::version`].
    ///
    /// # Errors
    /// There is no such model, version or label.
    pub fn find(
        &self,
        wanted: &ModelSelector,
        user: impl FnOnce(&Version) -> Option<String>,
    ) -> Result<Found, ApiError> {
        self.model(wanted.name.as_deref())?
            .version(&wanted.version, user)
    }

    /// Puts a model in the place of the one with its name. One caller at a time.
    pub(crate) fn put(&self, model: Model) {
        let mut models = Models::clone(&self.models.load());
        models.insert(model.name.clone(), Arc::new(model));
        self.models.store(Arc::new(models));
    }

    /// Takes a model away. One caller at a time.
    pub(crate) fn remove(&self, name: &str) -> Option<Arc<Model>> {
        let mut models = Models::clone(&self.models.load());
        let removed = models.remove(name);
        self.models.store(Arc::new(models));
        removed
    }
}
