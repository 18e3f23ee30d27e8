//! Numbers as inputs of the first layer: piecewise-linear between quantiles (Gorishniy, Rubachev and
//! Babenko 2022, "On Embeddings for Numerical Features in Tabular Deep Learning", equation 1), beside the
//! standardised number and the standardised logarithm.
//!
//! With knots `k_0 < ... < k_P` a number `x` gives `P` inputs, `clamp((x - k_i) / (k_{i+1} - k_i), 0, 1)`: those
//! of the pieces below it are 1, those above it 0. What rows hold of it is its *place* `i + (x - k_i) /
//! (k_{i+1} - k_i)`, of which piece `i` is `clamp(place - i, 0, 1)`. Then `(x - mean) / deviation`, the same of
//! `sign(x) log(1 + |x|)`, and 1 where the number is missing, for which all others are 0.

use crate::range::mean_and_deviation;
use serde::{Deserialize, Serialize};

/// Numbers that a row holds of one number: its place between the knots, the standardised number, the
/// standardised logarithm. The place of a missing one is NaN.
pub const PER_ROW: usize = 3;

/// Encoding of a missing number.
pub const MISSING: [f32; PER_ROW] = [f32::NAN, 0.0, 0.0];

/// The scale of a column, fitted to the training rows. Numbers outside the knots count as the nearest knot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Piecewise {
    /// Ascending, distinct, at least one: quantiles of the training rows.
    pub knots: Vec<f64>,
    /// Mean over the training rows.
    pub mean: f64,
    /// Standard deviation over the training rows; 1 where the column is constant.
    pub deviation: f64,
    /// Mean of `sign(x) log(1 + |x|)`.
    pub log_mean: f64,
    /// Its standard deviation; 1 where the column is constant.
    pub log_deviation: f64,
}

impl Piecewise {
    /// Returns the scale of ascending numbers, those outside `range` clipped to it: at most `pieces` pieces.
    /// A value that takes up as many numbers as a piece should is a knot; the others are quantiles of the
    /// rest.
    pub(crate) fn fit(sorted: &[f64], range: [f64; 2], pieces: u32) -> Piecewise {
        let [least, most] = range;
        let kept: Vec<f64> = sorted.iter().map(|x| x.clamp(least, most)).collect();
        let (mean, deviation) = mean_and_deviation(kept.iter().copied());
        let (log_mean, log_deviation) = mean_and_deviation(kept.iter().copied().map(signed_log));
        Piecewise {
            knots: knots(&kept, range, pieces.max(1) as usize),
            mean,
            deviation,
            log_mean,
            log_deviation,
        }
    }

    /// Returns the number of pieces.
    pub fn pieces(&self) -> usize {
        self.knots.len().saturating_sub(1)
    }

    /// Returns the [`PER_ROW`] inputs that encode a number.
    pub fn encode(&self, x: Option<f64>) -> [f32; PER_ROW] {
        let Some((x, (&first, &last))) = x.zip(self.knots.first().zip(self.knots.last())) else {
            return MISSING;
        };
        let x = x.clamp(first, last);
        let above = self.knots.partition_point(|&knot| knot <= x);
        let piece = above.clamp(1, self.knots.len().max(2) - 1) - 1;
        let place = match self.knots.get(piece..piece + 2) {
            Some(&[low, high]) => piece as f64 + (x - low) / (high - low),
            _ => 0.0,
        };
        [
            place as f32,
            ((x - self.mean) / self.deviation) as f32,
            ((signed_log(x) - self.log_mean) / self.log_deviation) as f32,
        ]
    }
}

/// `sign(x) log(1 + |x|)`.
pub(crate) fn signed_log(x: f64) -> f64 {
    x.abs().ln_1p().copysign(x)
}

/// From one end of the range to the other, whatever a sample of the numbers holds.
fn knots(sorted: &[f64], range: [f64; 2], pieces: usize) -> Vec<f64> {
    let runs = || sorted.chunk_by(|a, b| a == b);
    let mut knots = range.to_vec();
    if runs().nth(pieces + 1).is_none() {
        knots.extend(runs().map(|run| run[0]));
        return ascending(knots);
    }
    let is_heavy = |run: &&[f64]| run.len() * pieces >= sorted.len();
    let heavy: Vec<f64> = runs().filter(is_heavy).map(|run| run[0]).collect();
    let light: Vec<f64> = runs()
        .filter(|run| !is_heavy(run))
        .flatten()
        .copied()
        .collect();
    let rest = (pieces + 1).saturating_sub(heavy.len()).max(2);
    let last = light.len().saturating_sub(1);
    let quantile = |k: usize| light.get(k * last / (rest - 1)).copied();
    knots.extend(heavy);
    knots.extend((0..rest).filter_map(quantile));
    ascending(knots)
}

fn ascending(mut knots: Vec<f64>) -> Vec<f64> {
    knots.sort_unstable_by(f64::total_cmp);
    knots.dedup();
    knots
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(numbers: &[f64], pieces: u32) -> Piecewise {
        let mut sorted = numbers.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let range = [sorted[0], sorted[sorted.len() - 1]];
        Piecewise::fit(&sorted, range, pieces)
    }

    #[test]
    fn knots_are_quantiles() {
        let hundred: Vec<f64> = (0..=100).map(f64::from).collect();
        assert_eq!(fit(&hundred, 4).knots, [0.0, 25.0, 50.0, 75.0, 100.0]);
        assert_eq!(fit(&[3.0, 1.0, 3.0, 2.0], 4).knots, [1.0, 2.0, 3.0]);
        assert_eq!(fit(&[7.0, 7.0], 4).knots, [7.0]);
    }

    #[test]
    fn a_value_that_most_rows_hold_takes_one_knot() {
        let mut gains = vec![0.0; 960];
        gains.extend((1..=40).map(f64::from));
        let knots = fit(&gains, 4).knots;
        assert_eq!(knots.len(), 5, "{knots:?}");
        assert_eq!((knots[0], knots[4]), (0.0, 40.0));
        assert!(knots[1] >= 1.0 && knots[3] < 40.0, "{knots:?}");
    }

    #[test]
    fn the_scale_ends_where_the_range_does() {
        let numbers: Vec<f64> = (0..1000).map(f64::from).chain([1e20]).collect();
        let scale = Piecewise::fit(&numbers, [0.0, 2000.0], 16);
        assert_eq!(
            (scale.knots[0], *scale.knots.last().unwrap()),
            (0.0, 2000.0)
        );
        assert!(scale.deviation < 1000.0);
        assert_eq!(scale.encode(Some(1e20)), scale.encode(Some(2000.0)));
    }

    #[test]
    fn a_number_is_its_place_between_the_knots() {
        let scale = Piecewise {
            knots: vec![0.0, 10.0, 30.0],
            mean: 10.0,
            deviation: 5.0,
            log_mean: 0.0,
            log_deviation: 1.0,
        };
        let check = |x: f64, place: f32, z: f32| {
            let [found, standardised, log] = scale.encode(Some(x));
            assert_eq!((found, standardised), (place, z), "{x}");
            assert_eq!(log, signed_log(x.clamp(0.0, 30.0)) as f32);
        };
        check(0.0, 0.0, -2.0);
        check(5.0, 0.5, -1.0);
        check(10.0, 1.0, 0.0);
        check(20.0, 1.5, 2.0);
        check(30.0, 2.0, 4.0);
        check(99.0, 2.0, 4.0);
        check(-9.0, 0.0, -2.0);
        assert!(scale.encode(None)[0].is_nan());
        let constant = fit(&[7.0], 4);
        assert_eq!(constant.encode(Some(7.0)), [0.0; 3]);
    }
}
