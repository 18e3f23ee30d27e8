//! Losses of labels that are numbers.

use super::{RowLoss, sigmoid};
use ncs_features::objective::{ValueLoss, ValueObjective};

/// The loss of a label that is a number, in units of the objective, and its gradient with respect to the output.
pub(super) fn row_loss(objective: ValueObjective, z: f64, label: f64) -> RowLoss {
    let y = (label - objective.centre) / objective.scale;
    match objective.loss {
        ValueLoss::Squared => squared(z - y),
        ValueLoss::Huber { delta } => huber(delta, z - y),
        ValueLoss::Poisson => poisson(z, y),
        ValueLoss::WeightedLogistic => weighted_logistic(z, y),
        // The mean alone is evaluated by a deviance whose minimum is the mean, zeros included.
        ValueLoss::Ziln => poisson(z, y),
    }
}

fn squared(error: f64) -> RowLoss {
    RowLoss {
        loss: error * error,
        gradient: 2.0 * error,
    }
}

/// Huber (1964), twice his function, so that it is the squared error of small errors.
fn huber(delta: f64, error: f64) -> RowLoss {
    if error.abs() <= delta {
        return squared(error);
    }
    RowLoss {
        loss: delta * (2.0 * error.abs() - delta),
        gradient: 2.0 * delta * error.signum(),
    }
}

/// Half the deviance of a Poisson variable of mean `e^z`: 0 where `e^z` is the label.
fn poisson(z: f64, y: f64) -> RowLoss {
    let mean = z.exp();
    let saturated = if y > 0.0 { y * y.ln() - y } else { 0.0 };
    RowLoss {
        loss: mean - y * z + saturated,
        gradient: mean - y,
    }
}

/// Cross-entropy in which a row is a one that counts `y` times, and a zero that counts once: the odds `e^z` are the
/// mean of `y`. Covington et al. (2016), section 4.2, leave out the zeros of rows with `y > 0`, so that their odds
/// are above the mean by one over the share of the other rows, nearly 1 where clicks are rare.
fn weighted_logistic(z: f64, y: f64) -> RowLoss {
    let softplus = |z: f64| z.max(0.0) + (-z.abs()).exp().ln_1p();
    RowLoss {
        loss: y * softplus(-z) + softplus(z),
        gradient: sigmoid(z) - y * sigmoid(-z),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ncs_features::Link;
    use ncs_features::hash::split_mix;
    use ncs_features::objective::Objective;

    const LOSSES: [ValueLoss; 5] = [
        ValueLoss::Squared,
        ValueLoss::Huber { delta: 0.8 },
        ValueLoss::Poisson,
        ValueLoss::WeightedLogistic,
        ValueLoss::Ziln,
    ];

    fn objective(loss: ValueLoss) -> ValueObjective {
        let centre = if loss.is_of_exponential() { 0.0 } else { 0.4 };
        ValueObjective {
            loss,
            centre,
            scale: 1.7,
        }
    }

    #[test]
    fn gradients_are_those_of_the_losses() {
        let mut state = 1;
        let mut uniform = || (split_mix(&mut state) >> 11) as f64 / (1_u64 << 53) as f64;
        for loss in LOSSES {
            for _ in 0..300 {
                let (z, label) = (6.0 * uniform() - 3.0, (5.0 * uniform() - 1.0).max(0.0));
                let of = |z| row_loss(objective(loss), z, label);
                let h = 1e-6;
                let expected = (of(z + h).loss - of(z - h).loss) / (2.0 * h);
                let found = of(z);
                let error = (found.gradient - expected).abs();
                assert!(
                    error < 1e-7 * (1.0 + expected.abs()),
                    "{loss:?} {z} {label}"
                );
                assert!(found.loss >= -1e-12, "{loss:?} {z} {label}: {}", found.loss);
            }
        }
    }

    /// The constant that minimises a loss is what it says it predicts, in the label's own unit.
    #[test]
    fn a_constant_fits_the_mean_of_the_labels() {
        let labels = [0.0, 0.0, 3.0, 9.0];
        for (loss, expected) in [
            (ValueLoss::Squared, 3.0),
            (ValueLoss::Huber { delta: 100.0 }, 3.0),
            (ValueLoss::Poisson, 3.0),
            (ValueLoss::WeightedLogistic, 3.0),
        ] {
            let objective = objective(loss);
            let gradient = |z: f64| -> f64 {
                let rows = labels.iter();
                rows.map(|&label| row_loss(objective, z, label).gradient)
                    .sum()
            };
            let (mut low, mut high) = (-20.0, 20.0);
            for _ in 0..100 {
                let z = (low + high) / 2.0;
                if gradient(z) < 0.0 {
                    low = z;
                } else {
                    high = z;
                }
            }
            let link: Link = Objective::Value(objective).link();
            let found = link.value(low);
            assert!((found - expected).abs() < 1e-6, "{loss:?}: {found}");
        }
    }

    #[test]
    fn hubers_loss_is_linear_far_off() {
        let of = |z: f64| row_loss(objective(ValueLoss::Huber { delta: 0.8 }), z, 0.4).loss;
        assert_eq!(of(0.5), 0.25);
        assert!((of(3.0) - (2.0 * 0.8 * 3.0 - 0.64)).abs() < 1e-12);
        assert!((of(4.0) - of(3.0) - 1.6).abs() < 1e-12);
    }
}
