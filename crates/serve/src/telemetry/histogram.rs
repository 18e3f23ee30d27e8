//! A histogram that counts many values at once, without locks.

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use std::fmt::Error;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Buckets of request times in seconds: finer in the usual range.
pub(super) const REQUEST_SECONDS: &[f64] = &[
    50e-6, 100e-6, 150e-6, 200e-6, 250e-6, 300e-6, 400e-6, 500e-6, 750e-6, 1e-3, 1.5e-3, 2e-3,
    3e-3, 4e-3, 5e-3, 7.5e-3, 10e-3, 20e-3, 50e-3, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0,
];

/// Buckets of stage times in seconds.
pub(super) const STAGE_SECONDS: &[f64] = &[
    5e-6, 10e-6, 20e-6, 50e-6, 100e-6, 150e-6, 200e-6, 300e-6, 500e-6, 750e-6, 1e-3, 1.5e-3, 2e-3,
    3e-3, 5e-3, 7.5e-3, 10e-3, 20e-3, 50e-3, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0,
];

/// Buckets of candidates per request.
pub(super) const CANDIDATES: &[f64] = &[
    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0,
];

/// Buckets of click and conversion probabilities: five per decade (ISO 3, series R5).
pub(super) const SCORES: &[f64] = &[
    1e-4, 1.6e-4, 2.5e-4, 4e-4, 6.3e-4, 1e-3, 1.6e-3, 2.5e-3, 4e-3, 6.3e-3, 0.01, 0.016, 0.025,
    0.04, 0.063, 0.1, 0.16, 0.25, 0.4, 0.63, 1.0,
];

/// Buckets of differences between probabilities.
pub(super) const DIFFERENCES: &[f64] = &[
    1e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5,
    1.0,
];

/// Counts of values by bucket. The library's own histogram takes a lock for each value.
#[derive(Debug)]
pub(super) struct Histogram {
    /// Upper bounds of all buckets but the last, ascending.
    bounds: &'static [f64],
    counts: Box<[AtomicU64]>, // [bounds + 1]
    /// The bits of an `f64`.
    sum: AtomicU64,
}

impl Histogram {
    pub(super) fn new(bounds: &'static [f64]) -> Histogram {
        Histogram {
            bounds,
            counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0f64.to_bits()),
        }
    }

    pub(super) fn observe(&self, value: f64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        self.counts[bucket].fetch_add(1, Relaxed);
        self.add_to_sum(value);
    }

    pub(super) fn observe_duration(&self, duration: Duration) {
        self.observe(duration.as_secs_f64());
    }

    /// Counts all `values`. NaN counts as larger than all buckets and is not added to the sum.
    ///
    /// The buckets are filled one after another: comparing all values with one bound is a loop that the
    /// compiler vectorises, unlike a search for each value's bucket.
    pub(super) fn observe_all(&self, values: &[f32]) {
        let mut counted = 0;
        for (bound, count) in self.bounds.iter().zip(&self.counts) {
            let n = at_most(values, *bound as f32);
            add(count, n - counted);
            counted = n;
        }
        add(
            &self.counts[self.bounds.len()],
            values.len() as u64 - counted,
        );
        self.add_to_sum(sum(values));
    }

    fn add_to_sum(&self, value: f64) {
        let add = |bits| Some((f64::from_bits(bits) + value).to_bits());
        let _ = self.sum.fetch_update(Relaxed, Relaxed, add);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.counts.iter().all(|count| count.load(Relaxed) == 0)
    }
}

impl EncodeMetric for Histogram {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), Error> {
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        let counts = self.counts.iter().map(|count| count.load(Relaxed));
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        // Summed here, so that the count matches the buckets while other threads are counting.
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = f64::from_bits(self.sum.load(Relaxed));
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

/// Returns the number of `values` that are at most `bound`.
fn at_most(values: &[f32], bound: f32) -> u64 {
    let within = values.iter().map(|value| u32::from(*value <= bound));
    u64::from(within.sum::<u32>())
}

fn sum(values: &[f32]) -> f64 {
    let mut lanes = [0.0; 8];
    let (chunks, rest) = values.as_chunks::<8>();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += f64::from(*value);
        }
    }
    let sum = lanes.iter().sum::<f64>() + rest.iter().map(|value| f64::from(*value)).sum::<f64>();
    if sum.is_finite() {
        return sum;
    }
    let finite = values.iter().filter(|value| value.is_finite());
    finite.map(|value| f64::from(*value)).sum()
}

/// Adds to a count, skipping zero: most buckets are empty for most requests.
fn add(count: &AtomicU64, n: u64) {
    if n > 0 {
        count.fetch_add(n, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(histogram: &Histogram) -> Vec<u64> {
        let counts = histogram.counts.iter();
        counts.map(|count| count.load(Relaxed)).collect()
    }

    #[test]
    fn counting_many_values_equals_counting_each() {
        let scores: Vec<f32> = (0..1000).map(|k| 0.9f32.powi(k % 120) * 1.1).collect();
        let (one, all) = (Histogram::new(SCORES), Histogram::new(SCORES));
        scores.iter().for_each(|score| one.observe((*score).into()));
        all.observe_all(&scores);
        assert_eq!(counts(&one), counts(&all));
        let sum = |histogram: &Histogram| f64::from_bits(histogram.sum.load(Relaxed));
        assert!((sum(&one) - sum(&all)).abs() < 1e-9);
    }

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let histogram = Histogram::new(&[0.1, 0.5]);
        histogram.observe_all(&[0.1, 0.2, 0.5, 0.7]);
        assert_eq!(counts(&histogram), [1, 2, 1]);
        histogram.observe(0.1);
        assert_eq!(counts(&histogram), [2, 2, 1]);
    }

    #[test]
    fn non_finite_values_are_not_added_to_the_sum() {
        let histogram = Histogram::new(&[0.1, 0.5]);
        histogram.observe_all(&[f32::NAN, 0.25, f32::INFINITY]);
        assert_eq!(counts(&histogram), [0, 1, 2]);
        assert_eq!(f64::from_bits(histogram.sum.load(Relaxed)), 0.25);
    }

    #[test]
    fn bounds_ascend() {
        for bounds in [
            REQUEST_SECONDS,
            STAGE_SECONDS,
            CANDIDATES,
            SCORES,
            DIFFERENCES,
        ] {
            assert!(bounds.is_sorted_by(|lower, upper| lower < upper));
        }
    }
}
