//! Means over few seeds, with Student's t intervals, and paired differences between methods.

use serde::{Deserialize, Serialize};

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

/// The mean of `values` with its t interval at `confidence` (such as 0.95). `None` without
/// values or where one is not finite.
pub fn estimate(values: &[f64], confidence: f64) -> Option<Estimate> {
    let n = values.len();
    if n == 0 || values.iter().any(|value| !value.is_finite()) {
        return None;
    }
    let mean = values.iter().sum::<f64>() / n as f64;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let deviation = (n > 1).then(|| (squares / (n - 1) as f64).sqrt());
    let interval = deviation.map(|deviation| {
        let half = t_quantile(0.5 + confidence / 2.0, n - 1) * deviation / (n as f64).sqrt();
        [mean - half, mean + half]
    });
    Some(Estimate {
        mean,
        deviation,
        interval,
        n,
    })
}

/// The mean of paired differences and whether it can be told from zero.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// Mean and interval of `ours[i] - theirs[i]`.
    pub estimate: Estimate,
    /// Two-sided p of the paired t test; null for a single pair.
    pub p_value: Option<f64>,
}

/// Compares two methods seed by seed. `None` without pairs, with unequal numbers of values or
/// where one is not finite.
pub fn paired_difference(ours: &[f64], theirs: &[f64], confidence: f64) -> Option<Difference> {
    if ours.len() != theirs.len() {
        return None;
    }
    let differences: Vec<f64> = ours.iter().zip(theirs).map(|(a, b)| a - b).collect();
    let estimate = estimate(&differences, confidence)?;
    let p_value = estimate.deviation.map(|deviation| {
        let error = deviation / (estimate.n as f64).sqrt();
        match (estimate.mean == 0.0, error == 0.0) {
            (true, _) => 1.0,
            (false, true) => 0.0,
            _ => 1.0 - t_within(estimate.mean.abs() / error, estimate.n - 1),
        }
    });
    Some(Difference { estimate, p_value })
}

/// The t that a Student variable stays below with this probability (0.5 to 1).
///
/// # Panics
/// With no degrees of freedom.
pub fn t_quantile(probability: f64, degrees_of_freedom: usize) -> f64 {
    let within = 2.0 * probability - 1.0;
    let mut high = 1.0;
    while t_within(high, degrees_of_freedom) < within && high < 1e9 {
        high *= 2.0;
    }
    let mut low = 0.0;
    for _ in 0..80 {
        let middle = 0.5 * (low + high);
        match t_within(middle, degrees_of_freedom) < within {
            true => low = middle,
            false => high = middle,
        }
    }
    0.5 * (low + high)
}

/// Probability that a Student variable lies within -t and t, exact for whole degrees of freedom
/// (Abramowitz and Stegun 26.7.3 and 26.7.4).
fn t_within(t: f64, degrees_of_freedom: usize) -> f64 {
    assert!(
        degrees_of_freedom > 0,
        "a t interval needs two values or more"
    );
    let n = degrees_of_freedom as f64;
    let angle = (t / n.sqrt()).atan();
    let (sin, cos) = angle.sin_cos();
    if degrees_of_freedom.is_multiple_of(2) {
        return sin * cosine_series(cos, 1, degrees_of_freedom - 1, 1.0);
    }
    let series = match degrees_of_freedom {
        1 => 0.0,
        _ => sin * cosine_series(cos, 2, degrees_of_freedom - 1, cos),
    };
    std::f64::consts::FRAC_2_PI * (angle + series)
}

/// first * (1 + cos^2 a/(a+1) + cos^4 a/(a+1) (a+2)/(a+3) + ...), a = `numerator`, while the
/// next factor's numerator stays below `end`.
fn cosine_series(cos: f64, numerator: usize, end: usize, first: f64) -> f64 {
    let (mut term, mut sum) = (first, first);
    for a in (numerator..end).step_by(2) {
        term *= cos * cos * a as f64 / (a + 1) as f64;
        sum += term;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against the printed tables of Student's distribution.
    fn check_quantile(probability: f64, degrees_of_freedom: usize, expected: f64) {
        let t = t_quantile(probability, degrees_of_freedom);
        assert!(
            (t - expected).abs() < 5e-4 * expected.max(1.0),
            "{t} is not {expected}"
        );
    }

    #[test]
    fn quantiles_are_those_of_the_tables() {
        check_quantile(0.975, 1, 12.706);
        check_quantile(0.975, 2, 4.303);
        check_quantile(0.975, 3, 3.182);
        check_quantile(0.975, 4, 2.776);
        check_quantile(0.975, 9, 2.262);
        check_quantile(0.975, 30, 2.042);
        check_quantile(0.995, 5, 4.032);
        check_quantile(0.95, 120, 1.658);
        check_quantile(0.5, 7, 0.0);
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
    fn pairs_cancel_what_seeds_have_in_common() {
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
    fn the_p_value_meets_the_quantile() {
        // t = 3.182 at 3 degrees of freedom leaves 5 % outside.
        assert!((1.0 - t_within(3.1824463, 3) - 0.05).abs() < 1e-7);
        assert!((1.0 - t_within(2.7764451, 4) - 0.05).abs() < 1e-7);
    }
}
