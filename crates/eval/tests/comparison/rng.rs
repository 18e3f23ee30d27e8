//! Pseudo-random numbers that are the same on every platform.

use ncs_features::hash::split_mix;

/// SplitMix64 (Steele, Lea and Flood 2014).
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    /// Samples a number in (0, 1].
    pub(crate) fn uniform(&mut self) -> f64 {
        ((split_mix(&mut self.0) >> 11) + 1) as f64 / (1u64 << 53) as f64
    }

    /// Samples a normal number of mean 0 and deviation 1 (Box and Muller 1958).
    pub(crate) fn normal(&mut self) -> f64 {
        let radius = (-2.0 * self.uniform().ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// Samples `n` normal numbers.
    pub(crate) fn normals(&mut self, n: usize) -> Vec<f64> {
        (0..n).map(|_| self.normal()).collect()
    }
}
