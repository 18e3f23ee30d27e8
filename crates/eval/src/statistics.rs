//! Means over few seeds with Student's t intervals; paired differences between methods, over seeds alone or
//! over seeds and rows; p-values corrected for multiple comparisons.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

/// A mean over repeated runs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Mean of the values.
    pub mean: f64,
    /// Standard deviation of the values (n - 1); null for a single one.
    pub deviation: Option<f64>,
    /// Student's t interval of the mean; null for a single value.
    pub interval: Option<[f64; 2]>,
    /// Number of values.
    pub n: usize,
}

/// Returns the mean of `values` with its t interval at `confidence` (such as 0.95). `None` without values or if
/// one is not finite.
pub fn estimate(values: &[f64], confidence: f64) -> Option<Estimate> {
    let n = values.len();
    if n == 0 || values.iter().any(|value| !value.is_finite()) {
        return None;
    }
    let mean = values.iter().sum::<f64>() / n as f64;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let deviation = (n > 1).then(|| (squares / (n - 1) as f64).sqrt());
    let interval = deviation.map(|deviation| {
        let half =
            t_quantile(0.5 + confidence / 2.0, (n - 1) as f64) * deviation / (n as f64).sqrt();
        [mean - half, mean + half]
    });
    Some(Estimate {
        mean,
        deviation,
        interval,
        n,
    })
}

/// The mean of paired differences, with a t test against zero.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// Mean and interval of `ours[i] - theirs[i]`.
    pub estimate: Estimate,
    /// Two-sided p-value of the t test; null for a single pair.
    pub p_value: Option<f64>,
}

/// One of the independent terms whose sum is the variance of a mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VariancePart {
    /// The estimated variance of the mean.
    pub variance: f64,
    /// Degrees of freedom of the estimate; infinite if the variance is known.
    pub degrees_of_freedom: f64,
}

impl VariancePart {
    /// Returns the variance of the mean of `values`; `None` for fewer than two.
    pub fn of_mean(values: impl Iterator<Item = f64> + Clone) -> Option<VariancePart> {
        let n = values.clone().count() as f64;
        let mean = values.clone().sum::<f64>() / n;
        let squares: f64 = values.map(|value| (value - mean).powi(2)).sum();
        (n > 1.0).then(|| VariancePart {
            variance: squares / (n - 1.0) / n,
            degrees_of_freedom: n - 1.0,
        })
    }
}

/// Compares two methods seed by seed. `None` without pairs, with unequal numbers of values or if one is not
/// finite.
pub fn paired_difference(ours: &[f64], theirs: &[f64], confidence: f64) -> Option<Difference> {
    paired_difference_with(ours, theirs, &[], confidence)
}

/// Compares two methods seed by seed where the mean difference has `further` sources of variance besides the
/// seeds, such as the test rows. Variances add up; the degrees of freedom are those of Welch and Satterthwaite.
pub fn paired_difference_with(
    ours: &[f64],
    theirs: &[f64],
    further: &[VariancePart],
    confidence: f64,
) -> Option<Difference> {
    if ours.len() != theirs.len() {
        return None;
    }
    let differences: Vec<f64> = ours.iter().zip(theirs).map(|(a, b)| a - b).collect();
    let over_seeds = estimate(&differences, confidence)?;
    let Some(seeds) = VariancePart::of_mean(differences.iter().copied()) else {
        return Some(Difference {
            estimate: over_seeds,
            p_value: None,
        });
    };
    let error = MeanError::of(&[&[seeds], further].concat());
    Some(Difference {
        p_value: Some(error.two_sided(over_seeds.mean)),
        estimate: Estimate {
            interval: Some(error.interval(over_seeds.mean, confidence)),
            ..over_seeds
        },
    })
}

/// The standard error of a mean, for t tests and t intervals.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MeanError {
    /// Standard deviation of the mean.
    pub deviation: f64,
    /// Degrees of freedom of the t distribution of the test.
    pub degrees_of_freedom: f64,
}

impl MeanError {
    /// Combines the terms of the variance (Welch 1947, Satterthwaite 1946).
    pub fn of(parts: &[VariancePart]) -> MeanError {
        let variance: f64 = parts.iter().map(|part| part.variance).sum();
        let weight = |part: &VariancePart| part.variance.powi(2) / part.degrees_of_freedom;
        let weights: f64 = parts.iter().map(weight).sum();
        MeanError {
            deviation: variance.sqrt(),
            degrees_of_freedom: if weights > 0.0 {
                variance.powi(2) / weights
            } else {
                f64::INFINITY
            },
        }
    }

    /// Returns the t interval around `mean`.
    pub fn interval(&self, mean: f64, confidence: f64) -> [f64; 2] {
        let half = if self.deviation > 0.0 {
            t_quantile(0.5 + confidence / 2.0, self.degrees_of_freedom) * self.deviation
        } else {
            0.0
        };
        [mean - half, mean + half]
    }

    /// Returns the two-sided p-value of `mean` against zero.
    pub fn two_sided(&self, mean: f64) -> f64 {
        match (mean == 0.0, self.deviation == 0.0) {
            (true, _) => 1.0,
            (false, true) => 0.0,
            _ => t_outside(mean.abs() / self.deviation, self.degrees_of_freedom),
        }
    }

    /// Returns the one-sided p-value of `mean` above zero.
    pub fn one_sided(&self, mean: f64) -> f64 {
        let half = 0.5 * self.two_sided(mean);
        if mean > 0.0 { half } else { 1.0 - half }
    }
}

/// Returns p-values after Holm's correction, in the given order: calling those below x significant is wrong
/// about any of them with probability x at most, whatever their dependence (Holm 1979).
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&a, &b| p_values[a].total_cmp(&p_values[b]));
    let mut adjusted = vec![0.0; p_values.len()];
    let mut largest = 0.0_f64;
    for (rank, &at) in order.iter().enumerate() {
        let n_left = (p_values.len() - rank) as f64;
        largest = largest.max((n_left * p_values[at]).min(1.0));
        adjusted[at] = largest;
    }
    adjusted
}

/// Returns the quantile of Student's t distribution at this probability (0.5 to 1). Infinite degrees of freedom
/// give the normal distribution's.
///
/// # Panics
/// Panics without degrees of freedom.
pub fn t_quantile(probability: f64, degrees_of_freedom: f64) -> f64 {
    with_distribution(degrees_of_freedom, |t| t.inverse_cdf(probability))
}

/// Degrees of freedom beyond which the t distribution is taken as the normal one: quantiles differ by less than
/// one in 10,000 of their size.
const MOST_DEGREES_OF_FREEDOM: f64 = 2e4;

/// Returns the probability that a Student variable lies outside of -t and t.
fn t_outside(t: f64, degrees_of_freedom: f64) -> f64 {
    2.0 * with_distribution(degrees_of_freedom, |distribution| distribution.sf(t))
}

/// Calls `f` with Student's t distribution.
fn with_distribution<R>(
    degrees_of_freedom: f64,
    f: impl FnOnce(&dyn ContinuousCDF<f64, f64>) -> R,
) -> R {
    assert!(
        degrees_of_freedom > 0.0,
        "a t interval needs two values or more"
    );
    let student = StudentsT::new(0.0, 1.0, degrees_of_freedom);
    match student {
        Ok(student) if degrees_of_freedom <= MOST_DEGREES_OF_FREEDOM => f(&student),
        _ => f(&Normal::standard()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares a quantile with the printed tables of Student's distribution.
    fn check_quantile(probability: f64, degrees_of_freedom: f64, expected: f64) {
        let t = t_quantile(probability, degrees_of_freedom);
        assert!(
            (t - expected).abs() < 5e-4 * expected.max(1.0),
            "{t} is not {expected}"
        );
    }

    #[test]
    fn quantiles_match_printed_tables() {
        check_quantile(0.975, 1.0, 12.706);
        check_quantile(0.975, 2.0, 4.303);
        check_quantile(0.975, 3.0, 3.182);
        check_quantile(0.975, 4.0, 2.776);
        check_quantile(0.975, 9.0, 2.262);
        check_quantile(0.975, 30.0, 2.042);
        check_quantile(0.995, 5.0, 4.032);
        check_quantile(0.95, 120.0, 1.658);
        check_quantile(0.5, 7.0, 0.0);
        check_quantile(0.975, 100_000.0, 1.95999);
        check_quantile(0.975, f64::INFINITY, 1.95996);
        check_quantile(0.95, f64::INFINITY, 1.64485);
    }

    #[test]
    fn a_mean_over_seeds_has_a_t_interval() {
        let estimate = estimate(&[1.0, 2.0, 3.0], 0.95).unwrap();
        let [low, high] = estimate.interval.unwrap();
        assert_eq!(
            (estimate.mean, estimate.deviation, estimate.n),
            (2.0, Some(1.0), 3)
        );
        assert!((high - 2.0 - 4.3027 / 3f64.sqrt()).abs() < 1e-3, "{high}");
        assert!((low + high - 4.0).abs() < 1e-12);
    }

    #[test]
    fn one_seed_gives_no_interval() {
        let estimate = estimate(&[0.7], 0.95).unwrap();
        assert_eq!(
            (estimate.mean, estimate.deviation, estimate.interval),
            (0.7, None, None)
        );
        assert_eq!(super::estimate(&[], 0.95), None);
        assert_eq!(super::estimate(&[0.7, f64::NAN], 0.95), None);
    }

    #[test]
    fn pairing_removes_common_seed_effects() {
        let ours = [0.70, 0.75, 0.80, 0.72];
        let theirs = [0.69, 0.739, 0.791, 0.708];
        let difference = paired_difference(&ours, &theirs, 0.95).unwrap();
        assert!(difference.estimate.interval.unwrap()[0] > 0.0);
        assert!(difference.p_value.unwrap() < 0.01);
        assert!(paired_difference(&ours, &theirs[..3], 0.95).is_none());
    }

    #[test]
    fn equal_methods_do_not_differ() {
        let difference = paired_difference(&[0.5, 0.6], &[0.5, 0.6], 0.95).unwrap();
        assert_eq!(difference.p_value, Some(1.0));
        let always = paired_difference(&[2.0, 3.0], &[1.0, 2.0], 0.95).unwrap();
        assert_eq!(always.p_value, Some(0.0));
    }

    #[test]
    fn p_values_agree_with_quantiles() {
        // t = 3.182 at 3 degrees of freedom leaves 5 % outside.
        assert!((t_outside(3.1824463, 3.0) - 0.05).abs() < 1e-7);
        assert!((t_outside(2.7764451, 4.0) - 0.05).abs() < 1e-7);
    }

    #[test]
    fn fractional_degrees_of_freedom_lie_between_the_whole_ones() {
        // One and two degrees have closed forms: 2/pi atan(t), and t / sqrt(2 + t^2).
        for t in [0.3_f64, 1.0, 2.5, 40.0] {
            let one = std::f64::consts::FRAC_2_PI * t.atan();
            let two = t / (2.0 + t * t).sqrt();
            let within = |degrees_of_freedom| 1.0 - t_outside(t, degrees_of_freedom);
            assert!((within(1.0) - one).abs() < 1e-12);
            assert!((within(2.0) - two).abs() < 1e-12);
            assert!(one < within(1.5) && within(1.5) < two);
        }
    }

    #[test]
    fn holm_matches_a_hand_computed_example() {
        // Sorted: 0.005 * 4, 0.01 * 3, 0.03 * 2, then 0.04 must not fall below its predecessor.
        let adjusted = holm(&[0.01, 0.04, 0.03, 0.005]);
        for (adjusted, expected) in adjusted.iter().zip([0.03, 0.06, 0.06, 0.02]) {
            assert!((adjusted - expected).abs() < 1e-12, "{adjusted}");
        }
        assert_eq!(holm(&[0.4, 0.9]), [0.8, 0.9]);
        assert_eq!(holm(&[0.7, 0.9]), [1.0, 1.0]);
        assert!(holm(&[]).is_empty());
    }

    #[test]
    fn parts_of_a_variance_pool_their_degrees_of_freedom() {
        let part = |variance, degrees_of_freedom| VariancePart {
            variance,
            degrees_of_freedom,
        };
        let check = |parts: &[VariancePart], expected: f64| {
            let error = MeanError::of(parts);
            assert!((error.degrees_of_freedom - expected).abs() < 1e-9);
        };
        check(&[part(4.0, 4.0)], 4.0);
        check(&[part(1.0, 4.0), part(1.0, 4.0)], 8.0);
        check(&[part(1.0, 4.0), part(1.0, f64::INFINITY)], 16.0);
        check(&[part(0.0, 4.0), part(2.0, 999.0)], 999.0);
    }

    #[test]
    fn a_further_source_of_variance_widens_the_interval() {
        let (ours, theirs) = ([0.70, 0.75, 0.80, 0.72], [0.69, 0.739, 0.791, 0.708]);
        let rows = VariancePart {
            variance: 1e-4,
            degrees_of_freedom: 999.0,
        };
        let over_seeds = paired_difference(&ours, &theirs, 0.95).unwrap();
        let over_both = paired_difference_with(&ours, &theirs, &[rows], 0.95).unwrap();
        assert_eq!(over_seeds.estimate.mean, over_both.estimate.mean);
        assert!(over_seeds.p_value.unwrap() < 0.01 && over_both.p_value.unwrap() > 0.2);
        assert!(over_both.estimate.interval.unwrap()[0] < -0.009);
        let single = paired_difference_with(&[0.7], &[0.6], &[rows], 0.95).unwrap();
        assert_eq!((single.estimate.interval, single.p_value), (None, None));
    }
}
