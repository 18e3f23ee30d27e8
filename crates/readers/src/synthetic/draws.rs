//! Counter-based random numbers: each is a function of (seed, purpose, index), so that rows and true
//! probabilities can be generated in any order.

use ncs_features::hash::{below, split_mix};

/// Purpose of a stream of random numbers. The numbers determine the synthetic log: never renumber.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose {
    /// Index: session.
    Session = 1,
    /// Index: row.
    Row = 2,
    /// Index: item.
    Item = 3,
    /// The teacher's layout and weights. Index: 0.
    Teacher = 4,
    /// Hidden vectors that clicks use, and conversions where they share. Index: field and id.
    Vector = 5,
    /// Hidden vectors of conversions where they do not share. Index: field and id.
    OtherVector = 6,
    /// First-layer weights of conversions where they do not share. Index: unit.
    Conflict = 7,
    /// The second at which a session happens, where there are days. Index: session.
    Time = 8,
    /// Drift of base rates. Index: task.
    Drift = 9,
    /// The delay of a conversion. Index: row.
    Delay = 10,
    /// Heads and own units of a further label. Index: its number.
    Further = 11,
    /// First-layer weights of a further label where it does not share. Index: its number and the unit.
    FurtherConflict = 12,
    /// Luck of a row with further labels. Index: row.
    FurtherLuck = 13,
}

/// A stream of draws.
pub(super) struct Draws(u64);

impl Draws {
    /// Returns the stream of (`seed`, `purpose`, `index`).
    pub(super) fn new(seed: u64, purpose: Purpose, index: u64) -> Draws {
        let mut state = seed;
        state = split_mix(&mut state) ^ purpose as u64;
        state = split_mix(&mut state) ^ index;
        Draws(split_mix(&mut state))
    }

    /// In [0, 1).
    pub(super) fn uniform(&mut self) -> f64 {
        (split_mix(&mut self.0) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// In 0 to `bound - 1`.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        below(&mut self.0, bound as u64) as usize
    }

    /// Mean 0, variance 1, nearly normal: the sum of four uniform draws out of one number.
    pub(super) fn normal(&mut self) -> f64 {
        let bits = split_mix(&mut self.0);
        let sum: u64 = (0..4).map(|quarter| bits >> (16 * quarter) & 0xFFFF).sum();
        // Four uniform draws of [0, 1) have mean 2 and variance 4 / 12.
        ((sum as f64 + 2.0) / 65_536.0 - 2.0) * 3f64.sqrt()
    }

    /// Shuffles `items` (Fisher-Yates).
    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

/// Ids 0 to n - 1, the chance of id i being in proportion to `1 / (i + 1)^exponent` (Zipf).
#[derive(Clone, Debug)]
pub(super) struct Zipf {
    /// Chance of this id or a smaller one.
    cumulative: Vec<f64>,
}

impl Zipf {
    pub(super) fn new(n_ids: usize, exponent: f64) -> Zipf {
        let mut sum = 0.0;
        let weights = (1..=n_ids).map(|rank| (rank as f64).powf(-exponent));
        let mut cumulative: Vec<f64> = weights
            .map(|weight| {
                sum += weight;
                sum
            })
            .collect();
        cumulative.iter_mut().for_each(|chance| *chance /= sum);
        Zipf { cumulative }
    }

    /// Returns the chance of an id.
    pub(super) fn chance(&self, id: usize) -> f64 {
        let before = id
            .checked_sub(1)
            .map_or(0.0, |before| self.cumulative[before]);
        self.cumulative[id] - before
    }

    pub(super) fn draw(&self, draws: &mut Draws) -> u32 {
        let u = draws.uniform();
        let id = self.cumulative.partition_point(|&chance| chance <= u);
        id.min(self.cumulative.len() - 1) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draws() -> Draws {
        Draws::new(7, Purpose::Row, 3)
    }

    #[test]
    fn streams_differ_by_seed_purpose_and_index() {
        let check = |other: Draws| assert_ne!(other.0, draws().0);
        check(Draws::new(8, Purpose::Row, 3));
        check(Draws::new(7, Purpose::Session, 3));
        check(Draws::new(7, Purpose::Row, 4));
        assert_eq!(Draws::new(7, Purpose::Row, 3).0, draws().0);
    }

    #[test]
    fn normal_draws_have_mean_0_and_variance_1() {
        let mut draws = draws();
        let sample: Vec<f64> = (0..100_000).map(|_| draws.normal()).collect();
        let mean = sample.iter().sum::<f64>() / 1e5;
        let variance = sample.iter().map(|x| x * x).sum::<f64>() / 1e5;
        assert!(mean.abs() < 0.02, "{mean}");
        assert!((variance - 1.0).abs() < 0.02, "{variance}");
    }

    #[test]
    fn zipf_chances_fall_with_the_rank() {
        let zipf = Zipf::new(3, 1.0);
        let mut seen = [0u32; 3];
        let mut draws = draws();
        for _ in 0..11_000 {
            seen[zipf.draw(&mut draws) as usize] += 1;
        }
        // 1 : 1/2 : 1/3 is 6 : 3 : 2.
        let expected = [6_000, 3_000, 2_000];
        assert!(
            seen.iter()
                .zip(expected)
                .all(|(n, expected)| n.abs_diff(expected) < 200),
            "{seen:?}"
        );
    }
}
