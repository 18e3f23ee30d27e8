//! Running averages of layers and heads over the steps of a training: what is validated and kept in the place of
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
    /// Averages that begin at the model's weights; `decay` is that of a step, in (0, 1).
    pub(crate) fn new(decay: f64, model: &Model) -> Averages {
        Averages {
            decay,
            networks: model.networks().iter().map(|t| t.dense.clone()).collect(),
        }
    }

    /// Takes the weights after step `step` (from 1) in. Early on it forgets faster, so that the initial weights do
    /// not linger.
    pub(crate) fn follow(&mut self, step: u64, networks: &[Network]) {
        let n = step as f64;
        let part = (1.0 - self.decay.min(n / (n + 9.0))) as f32;
        for (average, network) in self.networks.iter_mut().zip(networks) {
            for (mean, &weight) in average.iter_mut().zip(&network.dense) {
                *mean += part * (weight - *mean);
            }
        }
    }

    /// Puts the averages in the place of the weights, and the weights in theirs; a second call undoes it.
    pub(crate) fn swap(&mut self, model: &mut Model) {
        for (t, average) in self.networks.iter_mut().enumerate() {
            std::mem::swap(average, &mut model.network_mut(t).dense);
        }
    }
}
