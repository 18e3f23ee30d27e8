//! The connections that each task keeps.

use crate::counter_rng::CounterRng;
use crate::units::UnitOwners;
use serde::Serialize;

/// One bit for each connection of one layer: `[inputs, outputs]`, row-major.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mask {
    inputs: usize,
    outputs: usize,
    words: Vec<u64>,
}

impl Mask {
    /// Creates a mask that keeps every connection.
    pub fn full(inputs: usize, outputs: usize) -> Mask {
        let mut mask = Mask {
            inputs,
            outputs,
            words: vec![!0; (inputs * outputs).div_ceil(64)],
        };
        mask.clear_tail();
        mask
    }

    /// Creates a mask of the connections for which `kept(position)` is true, `position = input * outputs + output`.
    pub fn from_fn(inputs: usize, outputs: usize, kept: impl Fn(usize) -> bool) -> Mask {
        let mut words = vec![0u64; (inputs * outputs).div_ceil(64)];
        for position in 0..inputs * outputs {
            words[position / 64] |= u64::from(kept(position)) << (position % 64);
        }
        Mask {
            inputs,
            outputs,
            words,
        }
    }

    /// Reads the bytes of [`Mask::to_bytes`]; `None` if their number does not match the shape.
    pub fn from_bytes(inputs: usize, outputs: usize, bytes: &[u8]) -> Option<Mask> {
        if bytes.len() != (inputs * outputs).div_ceil(64) * 8 {
            return None;
        }
        let words = bytes
            .chunks_exact(8)
            .map(|w| u64::from_le_bytes(w.try_into().expect("8")));
        let mut mask = Mask {
            inputs,
            outputs,
            words: words.collect(),
        };
        mask.clear_tail();
        Some(mask)
    }

    /// Returns the mask as little-endian words of 64 connections, the first in the lowest bit.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.words
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect()
    }

    /// Returns true if the connection at `position = input * outputs + output` is kept.
    #[inline]
    pub fn keeps(&self, position: usize) -> bool {
        self.words[position / 64] >> (position % 64) & 1 == 1
    }

    /// Returns the number of inputs.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Returns the number of outputs.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Returns the number of connections, kept or not.
    pub fn len(&self) -> usize {
        self.inputs * self.outputs
    }

    /// Returns true if the layer has no connection at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the number of kept connections.
    pub fn n_kept(&self) -> usize {
        self.words
            .iter()
            .map(|word| word.count_ones() as usize)
            .sum()
    }

    /// Returns true for each kept connection, in the order of positions.
    pub fn to_bools(&self) -> Vec<bool> {
        (0..self.len())
            .map(|position| self.keeps(position))
            .collect()
    }

    fn clear_tail(&mut self) {
        let used = self.len() % 64;
        if let (1.., Some(last)) = (used, self.words.last_mut()) {
            *last &= (1 << used) - 1;
        }
    }
}

/// A mask for each maskable layer: one task's subnetwork.
pub type TaskMask = Vec<Mask>;

/// The subnetworks of all tasks, over the same layers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Masks {
    /// One for each task.
    pub tasks: Vec<TaskMask>,
    /// The owners of the units; `None`: all units are common. Masks of owned units keep only connections in
    /// [`UnitOwners::allowed`].
    pub owners: Option<UnitOwners>,
}

impl Masks {
    /// Creates masks in which every task keeps every connection.
    pub fn full(shapes: &[(usize, usize)], n_tasks: usize) -> Masks {
        Masks {
            tasks: vec![full(shapes); n_tasks],
            owners: None,
        }
    }

    /// Returns `(inputs, outputs)` of each layer.
    pub fn shapes(&self) -> Vec<(usize, usize)> {
        let first = self.tasks.first().into_iter().flatten();
        first.map(|mask| (mask.inputs, mask.outputs)).collect()
    }
}

/// Creates a mask that keeps every connection of every layer; `shapes` are `(inputs, outputs)`.
pub fn full(shapes: &[(usize, usize)]) -> TaskMask {
    shapes
        .iter()
        .map(|&(inputs, outputs)| Mask::full(inputs, outputs))
        .collect()
}

/// Returns the share of kept connections over all layers.
pub fn density(mask: &[Mask]) -> f64 {
    let kept: usize = mask.iter().map(Mask::n_kept).sum();
    let all: usize = mask.iter().map(Mask::len).sum();
    kept as f64 / all.max(1) as f64
}

/// Prunes the share `rate` of the kept connections that are smallest in magnitude, over all layers
/// together (NCS4CVR, algorithm 1; the released code's `prune_global`).
///
/// The threshold is `sorted[round_half_even(rate * n)]` of the `n` kept magnitudes. A connection is pruned if it
/// is strictly below the threshold, so ties are kept. If the index is `n` (`rate` 1) all are pruned.
pub fn prune_smallest(mask: &[Mask], weights: &[&[f32]], rate: f64) -> TaskMask {
    prune_lowest(mask, |layer, position| weights[layer][position].abs(), rate)
}

/// Like [`prune_smallest`], by any score of a connection: the lowest scores are pruned.
pub fn prune_lowest(mask: &[Mask], score: impl Fn(usize, usize) -> f32, rate: f64) -> TaskMask {
    let mut scores: Vec<f32> = Vec::new();
    for (layer, mask) in mask.iter().enumerate() {
        scores.extend(
            (0..mask.len())
                .filter(|&p| mask.keeps(p))
                .map(|p| score(layer, p)),
        );
    }
    let index = (rate * scores.len() as f64).round_ties_even() as usize;
    let threshold = if index < scores.len() {
        *scores.select_nth_unstable_by(index, f32::total_cmp).1
    } else {
        f32::INFINITY
    };
    let keep = |layer: usize, mask: &Mask| {
        Mask::from_fn(mask.inputs, mask.outputs, |p| {
            mask.keeps(p) && score(layer, p) >= threshold
        })
    };
    mask.iter()
        .enumerate()
        .map(|(layer, mask)| keep(layer, mask))
        .collect()
}

/// Returns the pruning rate of each of `rounds` equal rounds that together leave the share `density`:
/// `1 - density^(1 / rounds)`.
pub fn round_rate(density: f64, rounds: u32) -> f64 {
    1.0 - density.powf(1.0 / f64::from(rounds))
}

/// Creates a random mask that keeps `round(density * all)` connections, as a control.
pub fn random(shapes: &[(usize, usize)], density: f64, rng: CounterRng) -> TaskMask {
    random_within(&full(shapes), density, rng)
}

/// Like [`random`], among the `n` connections of `allowed`: keeps `round(density * n)` of them.
pub fn random_within(allowed: &[Mask], density: f64, rng: CounterRng) -> TaskMask {
    let score =
        |layer: usize, position: usize| rng.at(layer as u64).uniform(position as u64) as f32;
    prune_lowest(allowed, score, 1.0 - density)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kept(mask: &[Mask]) -> usize {
        mask.iter().map(Mask::n_kept).sum()
    }

    #[test]
    fn ties_at_the_threshold_are_kept() {
        let mask = full(&[(1, 4)]);
        let pruned = prune_smallest(&mask, &[&[0.5, -0.5, 0.5, 2.0]], 0.5);
        assert_eq!(kept(&pruned), 4);
        let pruned = prune_smallest(&mask, &[&[0.1, -0.5, 0.5, 2.0]], 0.5);
        assert_eq!(kept(&pruned), 3);
    }

    #[test]
    fn rate_one_prunes_all_and_rate_zero_none() {
        let mask = full(&[(1, 4)]);
        assert_eq!(
            kept(&prune_smallest(&mask, &[&[1.0, 2.0, 3.0, 4.0]], 1.0)),
            0
        );
        assert_eq!(
            kept(&prune_smallest(&mask, &[&[1.0, 2.0, 3.0, 4.0]], 0.0)),
            4
        );
    }

    #[test]
    fn random_masks_have_the_density_asked_for() {
        let mask = random(&[(60, 16), (16, 8)], 0.25, CounterRng::new(3, "mask"));
        assert!((density(&mask) - 0.25).abs() < 0.002, "{}", density(&mask));
    }

    #[test]
    fn random_masks_stay_within_what_is_allowed() {
        let allowed = vec![Mask::from_fn(60, 16, |position| position % 3 == 0)];
        let mask = random_within(&allowed, 0.5, CounterRng::new(3, "mask"));
        assert_eq!(kept(&mask), 160);
        assert!((0..960).all(|p| !mask[0].keeps(p) || allowed[0].keeps(p)));
        let all = full(&[(60, 16)]);
        let rng = CounterRng::new(3, "mask");
        assert_eq!(random_within(&all, 0.5, rng), random(&[(60, 16)], 0.5, rng));
    }

    proptest! {
        /// Pruning never restores a connection, and a pruned weight is never larger than a kept one.
        #[test]
        fn pruning_keeps_the_largest(
            weights in prop::collection::vec(-1.0f32..1.0, 70),
            start in prop::collection::vec(any::<bool>(), 70),
            rate in 0.0f64..1.0,
        ) {
            let before = vec![Mask::from_fn(7, 10, |p| start[p])];
            let after = prune_smallest(&before, &[&weights], rate);
            let mut smallest_kept = f32::INFINITY;
            let mut largest_pruned = 0f32;
            for (p, weight) in weights.iter().enumerate() {
                prop_assert!(before[0].keeps(p) || !after[0].keeps(p));
                if after[0].keeps(p) { smallest_kept = smallest_kept.min(weight.abs()); }
                else if before[0].keeps(p) { largest_pruned = largest_pruned.max(weight.abs()); }
            }
            prop_assert!(largest_pruned < smallest_kept);
            let n = before[0].n_kept() as f64;
            let expected = n - (rate * n).round_ties_even();
            prop_assert!(after[0].n_kept() as f64 >= expected);
        }

        #[test]
        fn bytes_round_trip(bits in prop::collection::vec(any::<bool>(), 91)) {
            let mask = Mask::from_fn(7, 13, |p| bits[p]);
            prop_assert_eq!(Mask::from_bytes(7, 13, &mask.to_bytes()), Some(mask.clone()));
            prop_assert_eq!(mask.n_kept(), bits.iter().filter(|&&b| b).count());
        }

        #[test]
        fn rounds_of_the_round_rate_end_at_the_density(density in 0.05f64..1.0, rounds in 1u32..8) {
            let left = (1.0 - round_rate(density, rounds)).powi(rounds as i32);
            prop_assert!((left - density).abs() < 1e-12);
        }
    }
}
