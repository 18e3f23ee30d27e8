//! Exponential moving averages (EMA) of layers and heads over training steps: they are validated and kept instead of
//! the last weights.

use ncs_model::{Model, Network};
use serde::{Deserialize, Serialize, Serializer};

/// Moving average of layers and heads over training steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Average {
    /// Decay a step, in (0, 1).
    pub decay: f64,
    /// The first steps.
    pub start: AverageStart,
}

impl Serialize for Average {
    /// Writes the decay alone where the start is the default one: settings of earlier versions stay the same text.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.start {
            AverageStart::Growing => self.decay.serialize(serializer),
            start => (self.decay, start).serialize(serializer),
        }
    }
}

/// The first steps of a moving average, which begins at the initial weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "settings", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum AverageStart {
    /// A smaller decay in early steps, n / (n + 9) after n of them, until it reaches the stated one: the average follows
    /// the last tenth of a training that has just begun.
    #[default]
    Growing,
    /// The mean of the weights after all steps so far with the weights of an exponential average, decay^(n - k) for step k
    /// of n, which sum to 1 (the correction of Adam, Kingma and Ba 2015): the initial weights have no part in it.
    Unbiased,
}

impl Average {
    /// Returns the part of the weights after step `step` (from 1) in the average after it.
    fn part(&self, step: u64) -> f64 {
        let n = step as f64;
        match self.start {
            AverageStart::Growing => 1.0 - self.decay.min(n / (n + 9.0)),
            AverageStart::Unbiased => (1.0 - self.decay) / (1.0 - self.decay.powf(n)),
        }
    }
}

/// One average for each network.
#[derive(Clone, Debug)]
pub(crate) struct Averages {
    average: Average,
    /// Laid out as the networks' weights.
    pub(crate) networks: Vec<Vec<f32>>,
}

impl Averages {
    /// Creates averages that start at the model's weights.
    pub(crate) fn new(average: Average, model: &Model) -> Averages {
        Averages {
            average,
            networks: model.networks().iter().map(|t| t.dense.clone()).collect(),
        }
    }

    /// Updates the averages with the weights after step `step` (from 1).
    pub(crate) fn follow(&mut self, step: u64, networks: &[Network]) {
        let part = self.average.part(step) as f32;
        for (average, network) in self.networks.iter_mut().zip(networks) {
            follow(average, &network.dense, part);
        }
    }

    /// Swaps averages and weights; a second call swaps them back.
    pub(crate) fn swap(&mut self, model: &mut Model) {
        for (t, average) in self.networks.iter_mut().enumerate() {
            std::mem::swap(average, &mut model.network_mut(t).dense);
        }
    }
}

/// Moves an average towards new weights by `part` of the distance.
fn follow(average: &mut [f32], weights: &[f32], part: f32) {
    for (mean, &weight) in average.iter_mut().zip(weights) {
        *mean += part * (weight - *mean);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn averaged(average: Average, weights: &[f32], initial: f32) -> f32 {
        let mut mean = [initial];
        for (step, &weight) in (1..).zip(weights) {
            follow(&mut mean, &[weight], average.part(step) as f32);
        }
        mean[0]
    }

    #[test]
    fn an_unbiased_average_is_that_of_the_weights_after_all_steps() {
        let weights = [3.0, -1.0, 4.0, 1.5, -9.0, 2.5_f32];
        let decay: f64 = 0.9;
        let average = Average {
            decay,
            start: AverageStart::Unbiased,
        };
        for n in 1..=weights.len() {
            let factor = |k: usize| decay.powi((n - 1 - k) as i32);
            let sum: f64 = (0..n).map(|k| factor(k) * f64::from(weights[k])).sum();
            let expected = sum / (0..n).map(factor).sum::<f64>();
            for initial in [0.0, 1e3] {
                let found = f64::from(averaged(average, &weights[..n], initial));
                assert!(
                    (found - expected).abs() < 1e-4,
                    "{n}: {found}, not {expected}"
                );
            }
        }
    }

    #[test]
    fn a_growing_average_follows_the_last_tenth_and_then_decays_as_stated() {
        let average = Average {
            decay: 0.99,
            start: AverageStart::Growing,
        };
        assert_eq!(average.part(1), 1.0 - 1.0 / 10.0);
        assert_eq!(average.part(91), 1.0 - 91.0 / 100.0);
        assert!((average.part(5000) - 0.01).abs() < 1e-12);
        // The initial weights are soon forgotten.
        let weights = vec![1.0; 20];
        assert!((averaged(average, &weights, 100.0) - 1.0).abs() < 1e-4);
    }
}
