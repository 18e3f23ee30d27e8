//! Each task's gradients, added up over the batches of a training.

use super::Trainer;

/// Gradients of layers and heads over many batches, laid out as the network's weights.
#[derive(Clone, Debug)]
pub(crate) struct GradientSums {
    pub(crate) sums: Vec<f32>,
    /// Sums of their squares.
    pub(crate) squares: Vec<f32>,
}

impl Trainer<'_> {
    /// From now on, adds up each task's gradients.
    pub(crate) fn sum_gradients(&mut self) {
        let len = self.model.network(0).dense.len();
        let none = GradientSums {
            sums: vec![0.0; len],
            squares: vec![0.0; len],
        };
        self.gradients = vec![none; self.setting.schema.tasks.len()];
    }

    /// From now on, adds up each task's gradients: those of one half of the batches, of all tasks, and then those of
    /// the other half.
    pub(crate) fn sum_gradients_by_halves(&mut self) {
        self.sum_gradients();
        let other = self.gradients.clone();
        self.gradients.extend(other);
    }

    pub(super) fn add_gradient(&mut self, task: usize, network: usize) {
        let n_tasks = self.setting.schema.tasks.len();
        let half = match self.gradients.len() > n_tasks {
            true => (self.state.step % 2) as usize * n_tasks,
            false => 0,
        };
        if let Some(found) = self.gradients.get_mut(half + task) {
            let positions = self.model.connections(network).positions();
            for (&position, gradient) in positions.iter().zip(&self.gradient.dense) {
                found.sums[position as usize] += gradient;
                found.squares[position as usize] += gradient * gradient;
            }
        }
    }
}
