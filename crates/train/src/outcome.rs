//! Start and end of a training: weights, masks and results.

use crate::context::{SearchContext, Training};
use crate::error::TrainError;
use crate::phase::Phase;
use crate::progress::ValidationRecord;
use crate::trainer::Trainer;
use ncs_eval::Predictions;
use ncs_features::Schema;
use ncs_model::artifact::{Artifact, WeightSet};
use ncs_model::{Masks, Model, Scorer, Weights, Workspace};
use ncs_readers::batches::BatchPlan;
use ncs_readers::cache::Cache;
use std::sync::Arc;

/// Result of a search for the training after it; empty without a search.
#[derive(Clone, Debug, Default)]
pub(crate) struct Start {
    pub(crate) masks: Option<Arc<Masks>>,
    /// Weights that replace the initial weights.
    pub(crate) weights: Option<Weights>,
}

impl Start {
    /// Returns a model at its first step.
    pub(crate) fn model(&self, context: &SearchContext<'_>) -> Model {
        let mut model = context.model();
        if let Some(weights) = &self.weights {
            let restored = model.network_mut(0).restore(weights);
            restored.expect("the initial weights belong to this network");
        }
        // After the weights: masks with owned units clear weights that no task may use.
        model.set_masks(self.masks.clone());
        model
    }
}

/// A training that has ended.
pub(crate) struct Outcome {
    pub(crate) phase: Phase,
    /// The kept weights, slot by slot.
    pub(crate) kept: Vec<Kept>,
    pub(crate) history: Vec<ValidationRecord>,
    /// Steps and rows of the training.
    pub(crate) training: Training,
}

/// Weights that are kept, for some tasks.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) tasks: Vec<usize>,
    /// Step after which they were kept.
    pub(crate) step: u64,
    networks: Vec<KeptNetwork>,
}

/// Kept weights of one network.
#[derive(Clone, Debug)]
struct KeptNetwork {
    network: usize,
    /// Tasks that it serves.
    tasks: Vec<usize>,
    weights: Arc<Weights>,
}

impl Outcome {
    /// Returns the kept weights of a trainer; its final weights if none were kept.
    ///
    /// # Errors
    /// The storage of the tables is full.
    pub(crate) fn of(
        context: &SearchContext<'_>,
        mut trainer: Trainer<'_>,
    ) -> Result<Outcome, TrainError> {
        let last = trainer.progress.step;
        let slots = trainer.best.slots.iter().map(|slot| {
            let best = trainer.best.kept(slot);
            let network = |(place, &network): (usize, &usize)| {
                let found = trainer.model.network(network);
                let own = found.tasks.iter().filter(|task| slot.tasks.contains(task));
                Ok(KeptNetwork {
                    network,
                    tasks: own.copied().collect(),
                    weights: match best {
                        Some(best) => best.weights[place].clone(),
                        None => Arc::new(found.stored_weights()?),
                    },
                })
            };
            let networks = slot.networks.iter().enumerate().map(network);
            Ok(Kept {
                tasks: slot.tasks.clone(),
                step: best.map_or(last, |best| best.step),
                networks: networks.collect::<Result<_, TrainError>>()?,
            })
        });
        Ok(Outcome {
            kept: slots.collect::<Result<_, TrainError>>()?,
            training: context.training(&trainer.phase, last),
            phase: trainer.phase.clone(),
            history: std::mem::take(&mut trainer.progress.history),
        })
    }
}

/// Builds the artifact from the kept weights of all slots. Where the ranks hold tables in shards, that of the first rank has
/// all rows, and that of each other its own.
pub(crate) fn artifact<'k>(
    context: &SearchContext<'_>,
    schema: &Arc<Schema>,
    masks: Option<Arc<Masks>>,
    kept: impl Iterator<Item = &'k Kept>,
) -> Result<Artifact, TrainError> {
    let mut weight_sets: Vec<WeightSet> = Vec::new();
    let mut of_task = vec![0; schema.tasks.len()];
    for kept in kept.flat_map(|kept| &kept.networks) {
        let member = weight_set_of(&mut weight_sets, kept.network, &kept.weights);
        kept.tasks.iter().for_each(|&task| of_task[task] = member);
    }
    for set in &mut weight_sets {
        let ranks = context.ranks;
        set.weights = ranks.whole(&context.spec, &set.weights, &context.storage)?;
    }
    Ok(Artifact {
        masks,
        ..Artifact::new(schema.clone(), context.spec.clone(), of_task, weight_sets)
    })
}

fn weight_set_of(
    weight_sets: &mut Vec<WeightSet>,
    network: usize,
    weights: &Arc<Weights>,
) -> usize {
    let same =
        |member: &WeightSet| member.network == network && Arc::ptr_eq(&member.weights, weights);
    weight_sets.iter().position(same).unwrap_or_else(|| {
        weight_sets.push(WeightSet {
            network,
            weights: weights.clone(),
        });
        weight_sets.len() - 1
    })
}

/// Returns the predictions of a model for a set of rows, without calibration.
pub(crate) fn predictions(
    threads: usize,
    artifact: &Artifact,
    rows: &Cache,
) -> Result<Predictions, TrainError> {
    let scorer = Scorer::new(artifact).expect("the weights are of this network");
    let mut pass = Workspace::new(threads);
    let mut predictions = crate::predict::empty_predictions(&artifact.schema.tasks);
    for batch in rows.batches(BatchPlan::default()) {
        let batch = batch?;
        let scores = scorer.score_uncalibrated(&batch, &mut pass);
        crate::predict::append(&mut predictions, &batch, &scores);
    }
    Ok(predictions)
}
