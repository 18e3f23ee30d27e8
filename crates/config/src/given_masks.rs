//! Masks that are taken from a trained model.

use std::path::Path;
use std::sync::Arc;

use ncs_model::artifact::Artifact;
use ncs_model::{Masks, NetworkPlan};
use ncs_train::Rewind;

use super::checks::Checks;
use super::toml_types::{self, Density, SearchKind};

const MODEL: [&str; 2] = ["search", "model"];

/// Settings of the search that contradict each other.
pub(crate) fn check(search: &toml_types::Search, checks: &mut Checks<'_>) {
    let takes = search.kind == SearchKind::Model;
    if takes && search.model.is_none() {
        let text = "search.kind = \"model\" needs search.model, the folder of a trained model";
        checks.say(&["search", "kind"], text);
    }
    if !takes && search.model.is_some() {
        let text = "search.model has no effect without search.kind = \"model\"";
        checks.say(&MODEL, text);
    }
    if search.seed.is_some() && search.kind != SearchKind::Magnitude {
        let text = "search.seed is of a search that trains: search.kind = \"magnitude\"";
        checks.say(&["search", "seed"], text);
    }
    let name = match search.density {
        Some(Density::Evidence) => Some("evidence"),
        Some(Density::Auto) => Some("auto"),
        _ => None,
    };
    if let Some(name) = name.filter(|_| search.kind != SearchKind::Gradient) {
        let text =
            format!("search.density = {name:?} is of search.kind = \"gradient\"; state a share");
        checks.say(&["search", "density"], text);
    }
    if search.seed.is_some() && matches!(search.rewind, Rewind::After { .. }) {
        let text =
            "search.seed trains other initial weights, and search.rewind goes back to warm ones";
        checks.say(&["search", "seed"], text);
    }
}

/// The masks of the model that the run file names, if it names one that fits.
pub(crate) fn read(
    config: &toml_types::RunFile,
    search: &toml_types::Search,
    network: &NetworkPlan,
    root: &Path,
    checks: &mut Checks<'_>,
) -> Option<Arc<Masks>> {
    let folder = search
        .model
        .as_ref()
        .filter(|_| search.kind == SearchKind::Model)?;
    let folder = root.join(folder);
    let inner = folder.join("model");
    let folder = if inner.is_dir() { inner } else { folder };
    let artifact = match Artifact::read(&folder) {
        Ok(artifact) => artifact,
        Err(error) => {
            checks.say(&MODEL, error.to_string());
            return None;
        }
    };
    if let Some(what) = misfit(config, network, &artifact) {
        let text = format!("the masks of {} do not fit: {what}", folder.display());
        checks.say(&MODEL, text);
        return None;
    }
    artifact.masks
}

/// Differences between a model and the run that is to use its masks.
fn misfit(
    config: &toml_types::RunFile,
    network: &NetworkPlan,
    artifact: &Artifact,
) -> Option<String> {
    let spec = &artifact.spec;
    let other = |what: &str, theirs: String, ours: String| {
        (theirs != ours).then(|| format!("its {what} is {theirs}, and here it is {ours}"))
    };
    if artifact.masks.is_none() {
        return Some("it has none".to_owned());
    }
    let tasks: Vec<&String> = config.tasks.keys().collect();
    other(
        "number of fields",
        spec.fields.len().to_string(),
        config.columns.len().to_string(),
    )
    .or_else(|| other("dim", spec.plan.dim.to_string(), network.dim.to_string()))
    .or_else(|| {
        other(
            "gram",
            format!("{:?}", spec.plan.gram),
            format!("{:?}", network.gram),
        )
    })
    .or_else(|| {
        other(
            "hidden",
            format!("{:?}", spec.plan.hidden),
            format!("{:?}", network.hidden),
        )
    })
    .or_else(|| {
        other(
            "list of tasks",
            format!("{:?}", spec.tasks),
            format!("{tasks:?}"),
        )
    })
}
