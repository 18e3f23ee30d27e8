//! The range of a numeric column: numbers beyond it are clipped to it before they are scaled.
//!
//! The range is computed from the training numbers. If some of them are far off, such as a fill value of
//! 1e20, one of them would make the mean and the deviation useless for all others. The range therefore grows
//! outward from the middle half of the distinct numbers and ends before the first gap that is wider than
//! [`FAR`] times the range so far; a number beyond counts as one such width away from it. The range depends
//! on the distinct numbers alone: a fill value in half of the rows is treated like one in a single row.

/// Width of a separating gap, as a multiple of the width of the numbers inside the range.
const FAR: f64 = 10.0;

/// Minimum number of distinct numbers for detecting those that are far off.
const FEWEST: usize = 5;

/// Returns the least and the largest number that is not clipped, of training numbers in ascending order, each
/// once.
pub(crate) fn range(distinct: &[f64]) -> Option<[f64; 2]> {
    let (first, last) = (*distinct.first()?, *distinct.last()?);
    if distinct.len() < FEWEST {
        return Some([first, last]);
    }
    let end = distinct.len() - 1;
    let (mut low, mut high) = (end / 4, end - end / 4);
    let width = |low: usize, high: usize| distinct[high] - distinct[low];
    loop {
        let below = if low > 0 {
            width(low - 1, low)
        } else {
            f64::INFINITY
        };
        let above = if high < end {
            width(high, high + 1)
        } else {
            f64::INFINITY
        };
        // Nothing beyond, or nothing near; a gap is infinite where single numbers are too far apart, too.
        if below.min(above) > FAR * width(low, high) || below.min(above).is_infinite() {
            break;
        }
        if below < above {
            low -= 1;
        } else {
            high += 1;
        }
    }
    let width = width(low, high);
    let least = if low > 0 {
        (distinct[low] - width).max(first)
    } else {
        first
    };
    let most = if high < end {
        (distinct[high] + width).min(last)
    } else {
        last
    };
    Some([least, most])
}

/// Returns the mean and deviation, the latter 1 where all numbers are the same; finite for all finite
/// numbers.
pub(crate) fn mean_and_deviation(numbers: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let largest = numbers.clone().fold(0.0f64, |most, x| most.max(x.abs()));
    if largest == 0.0 {
        return (0.0, 1.0);
    }
    let (n, sum) = numbers
        .clone()
        .fold((0.0, 0.0), |(n, sum), x| (n + 1.0, sum + x / largest));
    let mean = sum / n;
    let squares: f64 = numbers.map(|x| (x / largest - mean).powi(2)).sum();
    let deviation = largest * (squares / n).sqrt();
    (
        mean * largest,
        if deviation > 0.0 { deviation } else { 1.0 },
    )
}

/// Running mean and sum of squared deviations (Welford 1962).
#[derive(Clone, Default)]
pub(crate) struct Moments {
    n: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    pub(crate) fn add(&mut self, x: f64) {
        self.n += 1.0;
        let delta = x - self.mean;
        self.mean += delta / self.n;
        self.squares += delta * (x - self.mean);
    }

    /// Returns the mean and deviation, the latter 1 where all numbers are the same; `None` where they
    /// overflow.
    pub(crate) fn finish(&self) -> Option<(f64, f64)> {
        let deviation = (self.squares / self.n).sqrt();
        let found = (self.mean, if deviation > 0.0 { deviation } else { 1.0 });
        (self.mean.is_finite() && deviation.is_finite()).then_some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_that_hang_together_are_the_range() {
        let check = |distinct: &[f64]| {
            let whole = [distinct[0], distinct[distinct.len() - 1]];
            assert_eq!(range(distinct), Some(whole));
        };
        check(&[3.0]);
        check(&[0.0, 1.0]);
        // As many numbers far off as near.
        check(&[0.0, 1.0, 100.0, 101.0]);
        check(&[0.0, 1.0, 2.0, 3.0, 10.0]);
        let powers: Vec<f64> = (0..30).map(|k| 10f64.powi(k)).collect();
        check(&powers[..12]);
        // The quantiles of a log-normal column, whose largest of 1,000 is 400 times its middle.
        let heavy: Vec<f64> = (1..1000)
            .map(|k| (2.0 * probit(f64::from(k) / 1000.0)).exp())
            .collect();
        check(&heavy);
        assert_eq!(range(&[]), None);
    }

    #[test]
    fn what_stands_far_off_counts_as_one_width_away() {
        let check = |distinct: &[f64], expected| assert_eq!(range(distinct), Some(expected));
        check(&[0.0, 1.0, 2.0, 3.0, 1e20], [0.0, 6.0]);
        check(&[-9.97e36, 0.0, 1.0, 2.0, 4.0], [-4.0, 4.0]);
        check(&[-1e308, 0.0, 1.0, 2.0, 3.0, 4.0, 1e308], [-4.0, 8.0]);
        let several: Vec<f64> = (0..10).map(f64::from).chain([1e20, 1e25, 1e30]).collect();
        check(&several, [0.0, 18.0]);
        // A range does not extend beyond the number at its end.
        check(&[0.0, 1e-9, 2e-9, 3e-9, 4e-9, 6e-8], [0.0, 8e-9]);
    }

    #[test]
    fn mean_and_deviation_do_not_overflow() {
        let of = |numbers: &[f64]| mean_and_deviation(numbers.iter().copied());
        assert_eq!(of(&[1.0, 5.0]), (3.0, 2.0));
        assert_eq!(of(&[7.0, 7.0]), (7.0, 1.0));
        assert_eq!(of(&[0.0]), (0.0, 1.0));
        let (mean, deviation) = of(&[-1e308, 1e308]);
        assert!(
            mean == 0.0 && (deviation / 1e308 - 1.0).abs() < 1e-12,
            "{mean} {deviation}"
        );
    }

    /// Returns the quantile of the normal distribution, by the logistic one: near enough for a heavy tail.
    fn probit(p: f64) -> f64 {
        (p / (1.0 - p)).ln() / 1.702
    }

    proptest! {
        #[test]
        fn a_range_lies_within_the_numbers_and_holds_their_middle(
            mut numbers in prop::collection::vec(any::<f64>().prop_filter("finite", |x| x.is_finite()), 1..60),
        ) {
            numbers.sort_unstable_by(f64::total_cmp);
            numbers.dedup();
            let [least, most] = range(&numbers).unwrap();
            let end = numbers.len() - 1;
            prop_assert!(numbers[0] <= least && most <= numbers[end]);
            prop_assert!(least <= numbers[end / 4] && numbers[end - end / 4] <= most);
        }
    }
}
