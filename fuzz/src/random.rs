//! A sequential random number generator: the same seed gives the same inputs.

use ncs_model::CounterRng;

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub struct Random {
    rng: CounterRng,
    position: u64,
}

impl Random {
    /// Creates the stream `name` of `seed`.
    pub fn new(seed: u64, name: &str) -> Random {
        Random {
            rng: CounterRng::new(seed, name),
            position: 0,
        }
    }

    /// Returns 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.position += 1;
        self.rng.bits(self.position)
    }

    /// Returns a number below `n`; 0 if `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        (self.bits() % n.max(1) as u64) as usize
    }

    /// Returns a number from 1 to `max` (at least 1), with a bias to small ones.
    pub fn few(&mut self, max: usize) -> usize {
        let bound = 1 << self.below(max.max(1).ilog2() as usize + 1);
        1 + self.below(bound.min(max))
    }

    /// Returns true with probability `1 / n`.
    pub fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// Returns a random item.
    ///
    /// # Panics
    /// If there are no items.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }

    /// Returns a span of 1 to `max` of `n` positions; empty if `n` is 0.
    pub fn span(&mut self, n: usize, max: usize) -> std::ops::Range<usize> {
        if n == 0 {
            return 0..0;
        }
        let length = self.few(max.min(n));
        let start = self.below(n - length + 1);
        start..start + length
    }
}
