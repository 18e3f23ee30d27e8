//! Draws one after the other: the same seed gives the same inputs.

use ncs_model::CounterRng;

/// A stream of draws.
#[derive(Clone, Debug)]
pub struct Random {
    rng: CounterRng,
    position: u64,
}

impl Random {
    /// The stream `name` of `seed`.
    pub fn new(seed: u64, name: &str) -> Random {
        Random {
            rng: CounterRng::new(seed, name),
            position: 0,
        }
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.position += 1;
        self.rng.bits(self.position)
    }

    /// From 0 to below `n`; 0 where `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        (self.bits() % n.max(1) as u64) as usize
    }

    /// Mostly small, from 1 to `most` (at least 1).
    pub fn few(&mut self, most: usize) -> usize {
        let bound = 1 << self.below(most.max(1).ilog2() as usize + 1);
        1 + self.below(bound.min(most))
    }

    /// Whether a thing happens that happens once in `n` times.
    pub fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// One of these.
    ///
    /// # Panics
    /// If there is none.
    pub fn pick<'a, T>(&mut self, among: &'a [T]) -> &'a T {
        &among[self.below(among.len())]
    }

    /// A span of at least one and at most `most` of `n` places; empty where `n` is 0.
    pub fn span(&mut self, n: usize, most: usize) -> std::ops::Range<usize> {
        if n == 0 {
            return 0..0;
        }
        let length = self.few(most.min(n));
        let start = self.below(n - length + 1);
        start..start + length
    }
}
