//! Each task's gradients, added up over the batches of a training.

use ncs_model::ParameterIndex;

/// Gradients of layers and heads over many batches, laid out as the network's weights.
#[derive(Clone, Debug)]
pub(crate) struct GradientSums {
    pub(crate) sums: Vec<f32>,
    /// Sums of their squares.
    pub(crate) squares: Vec<f32>,
}

impl GradientSums {
    /// Creates zero sums for a network with `len` weights.
    pub(crate) fn new(len: usize) -> GradientSums {
        GradientSums {
            sums: vec![0.0; len],
            squares: vec![0.0; len],
        }
    }

    /// Adds the gradient of a batch, laid out as `connections`.
    pub(crate) fn add(&mut self, gradient: &[f32], connections: &ParameterIndex) {
        for (&position, gradient) in connections.positions().iter().zip(gradient) {
            self.sums[position as usize] += gradient;
            self.squares[position as usize] += gradient * gradient;
        }
    }
}
