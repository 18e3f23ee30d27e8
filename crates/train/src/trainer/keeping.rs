//! Which weights a training keeps: those of the best validation, or those of stated steps.

use super::Trainer;
use crate::plan::Keep;
use crate::predict::ValidationScore;
use crate::slots::{Best, BestSlot};
use ncs_model::Weights;
use std::sync::Arc;

impl Trainer<'_> {
    /// For each task of the schema: whether its slot improved.
    pub(super) fn keep_best(&mut self, evaluated: &[Option<ValidationScore>]) -> Vec<bool> {
        let mut improved = vec![false; evaluated.len()];
        if self.phase.keep == Keep::Last && self.phase.patience.is_none() {
            return improved;
        }
        let mut fresh: Vec<Option<Arc<Weights>>> = vec![None; self.model.networks().len()];
        for slot in &mut self.slots {
            let evaluated: Option<Vec<ValidationScore>> =
                slot.tasks.iter().map(|&task| evaluated[task]).collect();
            let Some(evaluated) = evaluated else {
                continue;
            };
            let selection_score = ValidationScore::joint_selection_score(&evaluated);
            if slot
                .best
                .as_ref()
                .is_some_and(|best| selection_score <= best.selection_score)
            {
                continue;
            }
            slot.tasks.iter().for_each(|&task| improved[task] = true);
            let mut weights = Vec::new();
            for &network in &slot.networks {
                let copy = || Arc::new(self.model.network(network).weights());
                weights.push(fresh[network].get_or_insert_with(copy).clone());
            }
            slot.best = Some(Best {
                selection_score,
                step: self.state.step,
                weights,
            });
        }
        improved
    }

    /// Keeps the weights of the slots that are due after this step.
    pub(super) fn keep_now(&mut self) {
        let step = self.state.step;
        if !self.phase.keep_at.contains(&step) {
            return;
        }
        self.swap_averages();
        let due = self.slots.iter_mut().zip(&self.phase.keep_at);
        for (slot, _) in due.filter(|(_, at)| **at == step) {
            let copy = |&network: &usize| Arc::new(self.model.network(network).weights());
            slot.best = Some(Best {
                selection_score: 0.0,
                step,
                weights: slot.networks.iter().map(copy).collect(),
            });
        }
        self.swap_averages();
    }

    /// Returns the kept weights of a slot if the phase keeps those; `None` if it keeps the weights of its end.
    pub(crate) fn kept<'s>(&self, slot: &'s BestSlot) -> Option<&'s Best> {
        let wanted = self.phase.keep != Keep::Last || !self.phase.keep_at.is_empty();
        slot.best.as_ref().filter(|_| wanted)
    }
}
