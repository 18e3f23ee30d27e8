//! Loss of a value that is 0 or log-normal (ZILN, Wang et al. 2019, equation 4), over three outputs of the network.

use super::{RowLoss, cross_entropy};
use crate::late::HeadsLoss;
use ncs_features::ValueObjective;
use ncs_features::zero_inflated::{OUTPUTS, sigma};

/// `ln sqrt(2 pi)`
const LN_ROOT_2_PI: f64 = 0.918_938_533_204_672_8;

/// Returns the loss of a row from its outputs `[a, mu, s]`: the cross-entropy of `y > 0`, and for `y > 0` minus the
/// logarithm of the density of `y`, in units of the objective. It may be below 0: it is of a density.
pub(super) fn row_loss(
    objective: ValueObjective,
    [a, mu, s]: [f64; OUTPUTS],
    label: f64,
) -> HeadsLoss {
    let y = label / objective.scale;
    let of_chance = cross_entropy(a, f64::from(u8::from(y > 0.0)));
    if y <= 0.0 {
        return HeadsLoss {
            loss: of_chance.loss,
            gradients: [of_chance.gradient, 0.0, 0.0],
        };
    }
    let (of_density, of_shape) = log_normal(mu, s, y.ln());
    HeadsLoss {
        loss: of_chance.loss + of_density.loss,
        gradients: [of_chance.gradient, of_density.gradient, of_shape],
    }
}

/// `ln y + ln sigma + ln sqrt(2 pi) + (ln y - mu)^2 / (2 sigma^2)` with its gradient with respect to `mu`, and that with
/// respect to `s`.
fn log_normal(mu: f64, s: f64, ln_y: f64) -> (RowLoss, f64) {
    let (sigma, of_s) = sigma(s);
    let error = (ln_y - mu) / sigma;
    let density = RowLoss {
        loss: ln_y + sigma.ln() + LN_ROOT_2_PI + 0.5 * error * error,
        gradient: -error / sigma,
    };
    (density, of_s * (1.0 - error * error) / sigma)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ncs_features::ValueLoss;
    use ncs_features::hash::split_mix;
    use ncs_features::zero_inflated::log_mean;

    fn objective(scale: f64) -> ValueObjective {
        ValueObjective {
            loss: ValueLoss::Ziln,
            centre: 0.0,
            scale,
        }
    }

    #[test]
    fn gradients_are_those_of_the_loss() {
        let mut state = 1;
        let mut uniform = || (split_mix(&mut state) >> 11) as f64 / (1_u64 << 53) as f64;
        for _ in 0..500 {
            let outputs = [(); OUTPUTS].map(|()| 6.0 * uniform() - 3.0);
            let label = (8.0 * uniform() - 2.0).max(0.0);
            let found = row_loss(objective(1.7), outputs, label);
            for (head, gradient) in found.gradients.into_iter().enumerate() {
                let h = 1e-6;
                let at = |step: f64| {
                    let mut outputs = outputs;
                    outputs[head] += step;
                    row_loss(objective(1.7), outputs, label).loss
                };
                let expected = (at(h) - at(-h)) / (2.0 * h);
                let error = (gradient - expected).abs();
                assert!(error < 1e-6 * (1.0 + expected.abs()), "{outputs:?} {label}");
            }
        }
    }

    /// The outputs that minimise the loss of a sample give the moments of its logarithms, in any unit of the labels.
    #[test]
    fn constants_fit_the_share_and_the_logarithms() {
        let labels = [0.0, 2.0, 3.0, 9.0, 0.0];
        for unit in [1.0, 60.0] {
            let objective = objective(2.5 * unit);
            let mut outputs = [0.0; OUTPUTS];
            for _ in 0..20_000 {
                for label in labels {
                    let found = row_loss(objective, outputs, label * unit);
                    for (output, gradient) in outputs.iter_mut().zip(found.gradients) {
                        *output -= 0.002 * gradient;
                    }
                }
            }
            let logs = [2.0_f64, 3.0, 9.0].map(f64::ln);
            let mean = logs.iter().sum::<f64>() / 3.0;
            let variance = logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>() / 3.0;
            let expected = 0.6 * (mean + variance / 2.0).exp();
            let found = objective.scale / unit * log_mean(outputs).exp();
            assert!((found - expected).abs() < 0.03, "{found}, not {expected}");
        }
    }
}
