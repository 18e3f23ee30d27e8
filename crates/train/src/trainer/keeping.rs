//! Which weights a training keeps: those of the best validation, or those of stated steps.

use super::Trainer;
use crate::plan::Keep;
use crate::predict::ValidationScore;
use crate::slots::{Best, BestSlot};
use ncs_model::Weights;
use std::sync::Arc;

impl Trainer<'_> {
    /// For each task of the schema: whether its slot improved.
    pub(super) fn keep_best(&mut self, judged: &[Option<ValidationScore>]) -> Vec<bool> {
        let mut improved = vec![false; judged.len()];
        if self.phase.keep == Keep::Last && self.phase.patience.is_none() {
            return improved;
        }
        let mut fresh: Vec<Option<Arc<Weights>>> = vec![None; self.model.networks().len()];
        for slot in &mut self.slots {
            let judged: Option<Vec<ValidationScore>> =
                slot.tasks.iter().map(|&task| judged[task]).collect();
            let Some(judged) = judged else {
                continue;
            };
            let goodness = ValidationScore::joint_goodness(&judged);
            if slot
                .best
                .as_ref()
                .is_some_and(|best| goodness <= best.goodness)
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
                goodness,
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
                goodness: 0.0,
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
