//! Exponential moving averages (EMA) of layers and heads over training steps: they are validated and kept instead of
//! the last weights.

use ncs_model::{Model, Network};

/// One average for each network.
#[derive(Clone, Debug)]
pub(crate) struct Averages {
    decay: f64,
    /// Laid out as the networks' weights.
    pub(crate) networks: Vec<Vec<f32>>,
}

impl Averages {
    /// Creates averages that start at the model's weights; `decay` is per step, in (0, 1).
    pub(crate) fn new(decay: f64, model: &Model) -> Averages {
        Averages {
            decay,
            networks: model.networks().iter().map(|t| t.dense.clone()).collect(),
        }
    }

    /// Updates the averages with the weights after step `step` (from 1). Early steps use a smaller decay, so that the initial weights do
    /// not dominate.
    pub(crate) fn follow(&mut self, step: u64, networks: &[Network]) {
        let n = step as f64;
        let part = (1.0 - self.decay.min(n / (n + 9.0))) as f32;
        for (average, network) in self.networks.iter_mut().zip(networks) {
            for (mean, &weight) in average.iter_mut().zip(&network.dense) {
                *mean += part * (weight - *mean);
            }
        }
    }

    /// Swaps averages and weights; a second call swaps them back.
    pub(crate) fn swap(&mut self, model: &mut Model) {
        for (t, average) in self.networks.iter_mut().enumerate() {
            std::mem::swap(average, &mut model.network_mut(t).dense);
        }
    }
}
