//! The manifest of a model: its contents, its versions and its checksum.

use super::{Ancestor, Artifact, ArtifactError, ModelShard, read_file};
use crate::agreement::Agreement;
use crate::calibrator::Calibrator;
use crate::networks::NetworkKind;
use crate::spec::Spec;
use crate::tensor_file::{self, TensorFileError};
use crate::units::UnitOwners;
use ncs_features::coverage::Shares;
use ncs_features::distribution::Distributions;
use ncs_features::{IdSpace, LookedUp, Schema, Sequence, ValueRule};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// The newest version of the files; readers reject later ones. Its table rows lie in shards.
pub const VERSION: u32 = 9;

/// Version of files without shards.
const DECAYED: u32 = 8;

/// Version of files without tasks of several outputs, events whose weight decays with age, networks of normalised experts, and parts of
/// vectors for single tasks.
const ATTENTIVE: u32 = 7;

/// Version of files without behaviour sequences and auxiliary heads of late labels.
const VECTORED: u32 = 6;

/// Version of files without vectors that come with the rows, crosses, parts of times, second columns of features and
/// tasks of values.
const RATED: u32 = 5;

/// Version of files without past counts and rates, and without ids by MurmurHash3.
const TRANSFERRED: u32 = 4;

/// Version of files without transfer of one task's logit to another.
const RANGED: u32 = 3;

/// Version of files with calibrators, without ranges, and with texts as written in the log. A release
/// without support for ranges, text rules or calibrators must not read a model that uses them: it would
/// compute other scores.
const CALIBRATED: u32 = 2;

/// Version of files without any of these, which every release reads.
const PLAIN: u32 = 1;

pub(super) const FORMAT: &str = "ncs4cvr model";
pub(super) const MANIFEST: &str = "manifest.json";
pub(super) const MANIFEST_SUM: &str = "manifest.json.b3";

/// The contents of `manifest.json`.
#[derive(Serialize, Deserialize)]
pub(super) struct Manifest {
    pub(super) format: String,
    pub(super) version: u32,
    pub(super) spec: Spec,
    pub(super) of_task: Vec<usize>,
    /// The network of each weight set.
    #[serde(rename = "towers")]
    pub(super) networks: Vec<usize>,
    pub(super) has_masks: bool,
    /// The owners of hidden units, if not all units are common.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) owners: Option<UnitOwners>,
    /// BLAKE3 of every tensor.
    pub(super) tensors: BTreeMap<String, String>,
    /// BLAKE3 of every tensor of each shard; empty: the weights have the table rows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) shards: Vec<ModelShard>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) calibrators: Vec<Option<Calibrator>>,
    /// BLAKE3 of the self-test's file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) self_test: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) shares: Vec<Shares>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) agreements: Vec<Agreement>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) ancestry: Vec<Ancestor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) distributions: Option<Distributions>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) context_columns: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) looked_up: Vec<LookedUp>,
    pub(super) schema: Schema,
}

impl Manifest {
    /// Writes the manifest and its checksum into `folder`.
    pub(super) fn write(&self, folder: &Path) -> Result<(), TensorFileError> {
        let text = serde_json::to_string_pretty(self).expect("a manifest is plain data");
        tensor_file::write_bytes(&folder.join(MANIFEST), text.as_bytes())?;
        let sum = sum_line(text.as_bytes());
        tensor_file::write_bytes(&folder.join(MANIFEST_SUM), sum.as_bytes())
    }

    /// Reads the manifest in `folder` and verifies its checksum and version.
    pub(super) fn read(folder: &Path) -> Result<Manifest, ArtifactError> {
        let path = folder.join(MANIFEST);
        let wrong = |what: String| ArtifactError::Manifest {
            path: path.clone(),
            what,
        };
        let text = read_file(&path, folder)?;
        let sum = read_file(&folder.join(MANIFEST_SUM), folder)?;
        if sum != sum_line(&text).as_bytes() {
            return Err(wrong(
                "it fails its checksum: some byte was changed".to_owned(),
            ));
        }
        let json: serde_json::Value = serde_json::from_slice(&text)
            .map_err(|error| wrong(format!("it is not JSON: {error}")))?;
        let version = json["version"].as_u64().unwrap_or(0);
        let is_known = (u64::from(PLAIN)..=u64::from(VERSION)).contains(&version);
        if json["format"] != FORMAT || !is_known {
            let found = format!("{} {}", json["format"], json["version"]);
            return Err(wrong(format!(
                "it is {found}; this program reads \"{FORMAT}\" {PLAIN} to {VERSION}"
            )));
        }
        serde_json::from_value(json).map_err(|error| wrong(error.to_string()))
    }
}

/// Returns the oldest version whose readers compute the same scores.
pub(super) fn version(artifact: &Artifact) -> u32 {
    let has_ranges = artifact
        .schema
        .tables
        .iter()
        .any(|table| table.range.is_some());
    let mut tables = artifact.schema.tables.iter();
    let has_values = !artifact.spec.links.is_empty();
    let is_later = |ids: &IdSpace| {
        matches!(
            ids,
            IdSpace::Vector(_) | IdSpace::Cross(_) | IdSpace::Time(_)
        )
    };
    let mut fields = artifact.schema.fields.iter();
    let has_beside = fields.any(|field| !field.beside.is_none());
    let has_late_heads = !artifact.spec.plan.heads.late.is_empty();
    let is_home = matches!(artifact.spec.plan.kind, NetworkKind::Home { .. });
    let decays = |sequence: &Sequence| sequence.decay.is_some();
    let has_decay = artifact.spec.sequences().iter().any(decays);
    let heads = &artifact.spec.plan.heads;
    if !heads.outputs.is_empty() || heads.task_vectors > 0 || is_home || has_decay {
        DECAYED
    } else if has_late_heads || !artifact.spec.sequences().is_empty() {
        ATTENTIVE
    } else if has_values || has_beside || tables.clone().any(|table| is_later(&table.ids)) {
        VECTORED
    } else if tables.any(|table| table.ids.rate().is_some() || table.ids.is_hashed_in_graphs()) {
        RATED
    } else if artifact.spec.takes().is_some() {
        TRANSFERRED
    } else if has_ranges || artifact.schema.value_rule != ValueRule::Verbatim {
        RANGED
    } else if artifact.calibrators.iter().any(Option::is_some) {
        CALIBRATED
    } else {
        PLAIN
    }
}

/// Returns the checksum line in the format of `b3sum`.
fn sum_line(text: &[u8]) -> String {
    format!("{}  {MANIFEST}\n", blake3::hash(text))
}
