//! A counter-based random number generator: numbers depend on a seed and a position only, never on the order of calls.
//! So the initial weights are a function of the run's seed, the same in a search and in the training after it.

mod normal;

use crate::kernels::SimdLevel;
use crate::number::Real;
use ncs_features::hash::mix;

/// A stream of random numbers, addressed by position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CounterRng {
    key: u64,
}

impl CounterRng {
    /// Creates the stream `name` of `seed`.
    pub fn new(seed: u64, name: &str) -> CounterRng {
        let start = mix(seed ^ 0x9e37_79b9_7f4a_7c15);
        CounterRng {
            key: name
                .bytes()
                .fold(start, |key, byte| mix(key ^ u64::from(byte))),
        }
    }

    /// Returns the sub-stream number `position`.
    pub fn at(self, position: u64) -> CounterRng {
        CounterRng {
            key: mix(self.key ^ mix(position)),
        }
    }

    /// Returns 64 random bits at `position`.
    pub fn bits(self, position: u64) -> u64 {
        mix(self
            .key
            .wrapping_add(position.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }

    /// Returns a uniform number in [0, 1).
    pub fn uniform(self, position: u64) -> f64 {
        (self.bits(position) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Returns a standard normal number, by the Box-Muller transform.
    pub fn normal(self, position: u64) -> f64 {
        normal::of_bits(self.bits(position))
    }

    /// Fills `values` with the normal numbers from position `first` on, times `deviation`: exactly those of
    /// [`CounterRng::normal`], several times as fast in single precision.
    pub(crate) fn fill_normal<R: Real>(
        self,
        level: SimdLevel,
        first: u64,
        deviation: f64,
        values: &mut [R],
    ) {
        for (values, first) in values
            .chunks_mut(normal::BLOCK)
            .zip((first..).step_by(normal::BLOCK))
        {
            let bits = std::array::from_fn(|i| self.bits(first.wrapping_add(i as u64)));
            normal::fill(level, &bits, deviation, values);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_numbers_have_mean_zero_and_deviation_one() {
        let rng = CounterRng::new(7, "test");
        let n = 100_000;
        let values: Vec<f64> = (0..n).map(|i| rng.normal(i)).collect();
        let mean = values.iter().sum::<f64>() / n as f64;
        let variance = values.iter().map(|v| v * v).sum::<f64>() / n as f64;
        assert!(mean.abs() < 0.01, "{mean}");
        assert!((variance - 1.0).abs() < 0.02, "{variance}");
    }

    #[test]
    fn streams_differ_by_seed_name_and_position() {
        let a = CounterRng::new(1, "a");
        assert_ne!(a.bits(0), a.bits(1));
        assert_ne!(a.bits(0), CounterRng::new(2, "a").bits(0));
        assert_ne!(a.bits(0), CounterRng::new(1, "b").bits(0));
        assert_ne!(a.at(3).bits(0), a.at(4).bits(0));
        assert_eq!(a.bits(5), CounterRng::new(1, "a").bits(5));
    }
}
