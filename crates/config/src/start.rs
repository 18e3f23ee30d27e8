//! Going on from an earlier model: the model is read and compared with the run file before any work starts.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ncs_features::{SchemaPlan, continued};
use ncs_model::artifact::Artifact;
use ncs_model::{Gram, NetworkKind, NetworkPlan};
use ncs_train::lifetimes::evict;
use ncs_train::{Earlier, SearchKind, StorageKind, TrainPlan, merged_tasks};

use super::checks::Checks;
use super::toml_types::{self, StartMasks, StartMoments};

const MODEL: [&str; 2] = ["start", "model"];

/// The earlier model of a plan.
#[derive(Clone, Debug)]
pub struct StartPlan {
    /// The model, with its hash.
    pub earlier: Earlier,
    /// Its folder.
    pub folder: PathBuf,
}

impl PartialEq for StartPlan {
    /// Models of the same hash are the same.
    fn eq(&self, other: &StartPlan) -> bool {
        self.earlier.hash == other.earlier.hash
    }
}

/// Reads the model that the run file goes on from, and has `train` keep its masks unless new ones are asked for.
pub(crate) fn plan(
    config: &toml_types::RunFile,
    schema: &SchemaPlan,
    network: &NetworkPlan,
    train: &mut TrainPlan,
    root: &Path,
    checks: &mut Checks<'_>,
) -> Option<StartPlan> {
    let start = config.start.as_ref()?;
    let folder = root.join(&start.model);
    let inner = folder.join("model");
    let folder = if inner.is_dir() { inner } else { folder };
    let run = run_of_moments(start.moments, &folder, network, checks);
    let read = match train.table_storage {
        StorageKind::Memory => Artifact::read(&folder),
        StorageKind::File => Artifact::map(&folder),
    };
    let read = read.and_then(|artifact| Ok((artifact, Artifact::hash(&folder)?)));
    let (artifact, hash) = match read {
        Ok(read) => read,
        Err(error) => {
            checks.say(&MODEL, error.to_string());
            return None;
        }
    };
    let mut misfits = continued::misfits(&artifact.schema, schema);
    misfits.extend(other_network(&artifact.spec.plan, network));
    if !misfits.is_empty() {
        for what in misfits {
            let text = format!("cannot go on from {}: {what}", folder.display());
            checks.say(&MODEL, text);
        }
        return None;
    }
    let mut artifact = artifact;
    let evicted = evict(&mut artifact, &train.lifetimes);
    for tasks in merged_tasks(&artifact, &artifact.schema) {
        checks.note(format!(
            "the model to go on from keeps other weights for each of {tasks}; training goes on from those of the \
             first (training.keep = \"best_joint\" gives one set of weights)"
        ));
    }
    keep_masks(config, start.masks, &artifact, train, checks);
    let artifact = Arc::new(artifact);
    Some(StartPlan {
        earlier: Earlier {
            artifact,
            hash,
            run,
            evicted,
        },
        folder,
    })
}

/// Returns the folder of the training whose optimizer moments are kept, if they are.
fn run_of_moments(
    moments: StartMoments,
    model: &Path,
    network: &NetworkPlan,
    checks: &mut Checks<'_>,
) -> Option<PathBuf> {
    let keeps = match moments {
        StartMoments::Auto => network.kind.has_masks(),
        StartMoments::Keep => true,
        StartMoments::Reset => false,
    };
    let run = model.parent().filter(|run| run.join("run.id").is_file());
    let run = run.filter(|_| keeps).map(Path::to_owned);
    if moments == StartMoments::Keep && run.is_none() {
        let text = format!(
            "start.moments = \"keep\" needs the folder of a training; {} is a model without it",
            model.display()
        );
        checks.say(&["start", "moments"], text);
    }
    run
}

fn keep_masks(
    config: &toml_types::RunFile,
    masks: StartMasks,
    artifact: &Artifact,
    train: &mut TrainPlan,
    checks: &mut Checks<'_>,
) {
    let (StartMasks::Keep, Some(found)) = (masks, &artifact.masks) else {
        return;
    };
    if matches!(train.search.kind, SearchKind::Given(_)) {
        let text = "search.kind = \"model\" names masks, and start.masks = \"keep\" keeps those of the model to go on \
                    from; state start.masks = \"search\" to use the former";
        checks.say(&["start", "masks"], text);
        return;
    }
    if config.search.is_some() {
        checks.note(
            "[search] has no effect: the masks of the model to go on from are kept (start.masks = \"search\" searches \
             new ones)"
                .to_owned(),
        );
    }
    train.search.kind = SearchKind::Given(found.clone());
    // A control would put others in the place of the masks that are kept.
    train.search.control = ncs_train::Control::None;
}

/// Lists how the networks differ, with the remedy. Dropout and the initial deviation of rows may differ.
fn other_network(was: &NetworkPlan, is: &NetworkPlan) -> Vec<String> {
    let kind = |kind: NetworkKind| format!("{kind:?}");
    let gram = |gram: Gram| format!("{gram:?}");
    let hidden = |hidden: &[usize]| format!("{hidden:?}");
    let pairs = [
        ("network.kind", kind(was.kind), kind(is.kind)),
        ("network.dim", was.dim.to_string(), is.dim.to_string()),
        ("network.hidden", hidden(&was.hidden), hidden(&is.hidden)),
        ("network.gram", gram(was.gram), gram(is.gram)),
        (
            "the heads (training.loss, training.click_logit)",
            format!("{:?}", was.heads),
            format!("{:?}", is.heads),
        ),
    ];
    let differ = pairs.into_iter().filter(|(_, was, is)| was != is);
    let say = |(what, was, is): (&str, String, String)| {
        format!("{what} is {was} in the model and {is} here; use the model's, or train a new model")
    };
    differ.map(say).collect()
}
