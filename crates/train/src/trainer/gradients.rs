//! Each task's gradients, added up over the batches of a training.

use super::Trainer;

/// Gradients of layers and heads over many batches, laid out as the tower's weights.
#[derive(Clone, Debug)]
pub(crate) struct GradientSums {
    pub(crate) sums: Vec<f32>,
    /// Sums of their squares.
    pub(crate) squares: Vec<f32>,
}

impl Trainer<'_> {
    /// From now on, adds up each task's gradients.
    pub(crate) fn sum_gradients(&mut self) {
        let len = self.model.tower(0).dense.len();
        let none = GradientSums {
            sums: vec![0.0; len],
            squares: vec![0.0; len],
        };
        self.gradients = vec![none; self.setting.schema.tasks.len()];
    }

    pub(super) fn add_gradient(&mut self, task: usize, tower: usize) {
        if let Some(found) = self.gradients.get_mut(task) {
            let positions = self.model.connections(tower).positions();
            for (&position, slope) in positions.iter().zip(&self.gradient.dense) {
                found.sums[position as usize] += slope;
                found.squares[position as usize] += slope * slope;
            }
        }
    }
}
