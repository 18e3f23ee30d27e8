//! Calibration of predicted probabilities to observed rates.

use ncs_features::objective::sigmoid;
use serde::{Deserialize, Serialize};

/// An increasing function of a probability, fitted to rows that the network was not trained on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Calibrator {
    /// The logistic function of `slope * logit(p) + offset` (Platt 1999, on the logit).
    Platt {
        /// The factor of the logit; above 0.
        slope: f64,
        /// The offset of the logit; any finite number.
        offset: f64,
    },
    /// Linear interpolation between points, constant outside them (Zadrozny and Elkan 2002).
    Isotonic {
        /// Predicted probabilities, strictly increasing.
        at: Vec<f32>,
        /// The rates observed there, non-decreasing.
        to: Vec<f32>,
    },
}

/// Minimum distance of a probability from 0 and 1 in [`logit`].
const EDGE: f64 = 1e-7;

/// Returns `log(p / (1 - p))`, clamped to a finite value.
pub fn logit(p: f64) -> f64 {
    let p = p.clamp(EDGE, 1.0 - EDGE);
    (p / (1.0 - p)).ln()
}

impl Calibrator {
    /// Returns the calibrated probability; NaN for NaN.
    pub fn apply(&self, p: f32) -> f32 {
        match self {
            Calibrator::Platt { slope, offset } => sigmoid(slope * logit(p.into()) + offset) as f32,
            Calibrator::Isotonic { at, to } => interpolate(at, to, p),
        }
    }

    /// Checks a calibrator that was read from a file.
    ///
    /// # Errors
    /// It decreases somewhere, or leaves [0, 1].
    pub fn check(&self) -> Result<(), &'static str> {
        let is_probability = |p: &f32| (0.0..=1.0).contains(p);
        let fits = match self {
            Calibrator::Platt { slope, offset } => {
                *slope > 0.0 && slope.is_finite() && offset.is_finite()
            }
            Calibrator::Isotonic { at, to } => {
                !at.is_empty()
                    && at.len() == to.len()
                    && at.iter().chain(to).all(is_probability)
                    && at.is_sorted_by(|a, b| a < b)
                    && to.is_sorted()
            }
        };
        fits.then_some(())
            .ok_or("it is not an increasing function of a probability")
    }
}

/// Interpolates linearly between the points.
fn interpolate(at: &[f32], to: &[f32], p: f32) -> f32 {
    if p.is_nan() {
        return p;
    }
    let above = at.partition_point(|&x| x <= p);
    if above == 0 {
        return to[0];
    }
    if above == at.len() {
        return to[above - 1];
    }
    let fraction = (p - at[above - 1]) / (at[above] - at[above - 1]);
    let (low, high) = (to[above - 1], to[above]);
    (low + fraction * (high - low)).clamp(low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn isotonic(at: &[f32], to: &[f32]) -> Calibrator {
        Calibrator::Isotonic {
            at: at.into(),
            to: to.into(),
        }
    }

    #[test]
    fn isotonic_interpolates_and_is_constant_outside() {
        let calibrator = isotonic(&[0.2, 0.4], &[0.1, 0.3]);
        let check = |p, expected: f32| assert!((calibrator.apply(p) - expected).abs() < 1e-6);
        check(0.0, 0.1);
        check(0.2, 0.1);
        check(0.3, 0.2);
        check(0.4, 0.3);
        check(1.0, 0.3);
    }

    #[test]
    fn nan_stays_nan() {
        let platt = Calibrator::Platt {
            slope: 0.5,
            offset: -2.0,
        };
        assert!(platt.apply(f32::NAN).is_nan());
        assert!(isotonic(&[0.2, 0.4], &[0.1, 0.3]).apply(f32::NAN).is_nan());
    }

    #[test]
    fn calibrators_are_increasing_probabilities() {
        let calibrators = [
            Calibrator::Platt {
                slope: 0.3,
                offset: -4.0,
            },
            Calibrator::Platt {
                slope: 1e4,
                offset: 1e6,
            },
            isotonic(&[0.5], &[0.25]),
            isotonic(&[0.0, 1e-8, 0.5, 1.0], &[0.0, 0.1, 0.1, 0.9]),
        ];
        for calibrator in calibrators {
            calibrator.check().unwrap();
            let calibrated: Vec<f32> = (0..=1000)
                .map(|i| calibrator.apply(i as f32 / 1000.0))
                .collect();
            assert!(calibrated.is_sorted(), "{calibrator:?}");
            assert!(calibrated.iter().all(|p| (0.0..=1.0).contains(p)));
        }
    }

    #[test]
    fn slope_one_is_the_identity() {
        let same = Calibrator::Platt {
            slope: 1.0,
            offset: 0.0,
        };
        for p in [1e-5f32, 0.1, 0.5, 0.999] {
            assert!((same.apply(p) - p).abs() < 1e-6);
        }
    }

    #[test]
    fn invalid_calibrators_are_rejected() {
        for wrong in [
            isotonic(&[], &[]),
            isotonic(&[0.1, 0.1], &[0.1, 0.2]),
            isotonic(&[0.1, 0.2], &[0.2, 0.1]),
            isotonic(&[0.1], &[0.2, 0.3]),
            isotonic(&[0.1], &[f32::NAN]),
            isotonic(&[0.1], &[1.5]),
            Calibrator::Platt {
                slope: 0.0,
                offset: 0.0,
            },
            Calibrator::Platt {
                slope: 1.0,
                offset: f64::NAN,
            },
        ] {
            assert!(wrong.check().is_err(), "{wrong:?}");
        }
    }
}
