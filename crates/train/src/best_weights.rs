//! The weights that a training keeps: those of the best validation of a task, or of all tasks together; or those of
//! stated steps.

use crate::phase::Phase;
use crate::plan::Keep;
use crate::predict::ValidationScore;
use ncs_model::{Model, StorageError, Weights};
use std::sync::Arc;

/// The sets of weights that a training keeps.
#[derive(Clone, Debug)]
pub(crate) struct BestWeights {
    pub(crate) slots: Vec<BestSlot>,
    /// True if validations are compared, for weight selection or for early stopping.
    compares: bool,
    /// True if the result of the training is the weights of the slots.
    are_kept: bool,
}

/// Slot for kept weights: snapshots of some networks at the best step of some tasks.
#[derive(Clone, Debug)]
pub(crate) struct BestSlot {
    pub(crate) tasks: Vec<usize>,
    pub(crate) networks: Vec<usize>,
    pub(crate) best: Option<Best>,
}

/// Best step so far.
#[derive(Clone, Debug)]
pub(crate) struct Best {
    pub(crate) selection_score: f64,
    pub(crate) step: u64,
    /// One for each network of the slot.
    pub(crate) weights: Vec<Arc<Weights>>,
}

impl BestWeights {
    /// Creates empty slots for a training.
    pub(crate) fn new(phase: &Phase, model: &Model) -> BestWeights {
        let slot = |tasks: Vec<usize>| {
            let mut networks: Vec<usize> =
                tasks.iter().map(|&task| model.network_of(task)).collect();
            networks.dedup();
            BestSlot {
                tasks,
                networks,
                best: None,
            }
        };
        let tasks = &phase.tasks;
        BestWeights {
            slots: match phase.keep {
                Keep::BestPerTask => tasks.iter().map(|&task| slot(vec![task])).collect(),
                Keep::BestJoint | Keep::Last => vec![slot(tasks.clone())],
            },
            compares: phase.keep != Keep::Last || phase.patience.is_some(),
            are_kept: phase.keep != Keep::Last || !phase.keep_at.is_empty(),
        }
    }

    /// Keeps the weights in the slots whose tasks validate better than before. Returns, for each task of the schema,
    /// whether its slot improved.
    ///
    /// # Errors
    /// The storage of the tables is full.
    pub(crate) fn keep_best(
        &mut self,
        scores: &[Option<ValidationScore>],
        step: u64,
        model: &Model,
    ) -> Result<Vec<bool>, StorageError> {
        let mut improved = vec![false; scores.len()];
        if !self.compares {
            return Ok(improved);
        }
        let mut fresh: Vec<Option<Arc<Weights>>> = vec![None; model.networks().len()];
        for slot in &mut self.slots {
            let of_tasks = slot.tasks.iter().map(|&task| scores[task]);
            let Some(of_tasks) = of_tasks.collect::<Option<Vec<ValidationScore>>>() else {
                continue;
            };
            let selection_score = ValidationScore::joint_selection_score(&of_tasks);
            let is_worse = |best: &Best| selection_score <= best.selection_score;
            if slot.best.as_ref().is_some_and(is_worse) {
                continue;
            }
            slot.tasks.iter().for_each(|&task| improved[task] = true);
            let weights = slot.networks.iter().map(|&network| {
                if let Some(copy) = &fresh[network] {
                    return Ok(copy.clone());
                }
                let copy = Arc::new(model.network(network).stored_weights()?);
                Ok(fresh[network].insert(copy).clone())
            });
            slot.best = Some(Best {
                selection_score,
                step,
                weights: weights.collect::<Result<_, StorageError>>()?,
            });
        }
        Ok(improved)
    }

    /// Keeps the weights of the slots that are due after this step, where `keep_at` has the step of each.
    ///
    /// # Errors
    /// The storage of the tables is full.
    pub(crate) fn keep_due(
        &mut self,
        keep_at: &[u64],
        step: u64,
        model: &Model,
    ) -> Result<(), StorageError> {
        let due = self.slots.iter_mut().zip(keep_at);
        for (slot, _) in due.filter(|(_, at)| **at == step) {
            let copy = |&network: &usize| model.network(network).stored_weights().map(Arc::new);
            let weights = slot.networks.iter().map(copy);
            slot.best = Some(Best {
                selection_score: 0.0,
                step,
                weights: weights.collect::<Result<_, _>>()?,
            });
        }
        Ok(())
    }

    /// Returns the kept weights of a slot; `None` if the training keeps its final weights.
    pub(crate) fn kept<'s>(&self, slot: &'s BestSlot) -> Option<&'s Best> {
        slot.best.as_ref().filter(|_| self.are_kept)
    }
}
