//! Controls: how much of a search's gain remains if its masks are replaced by others of the same size.

use crate::plan::Control;
use ncs_model::{CounterRng, Mask, Masks, TaskMask};

/// Returns the control masks that replace these. `may_keep` are the connections that each task may keep:
/// connections are permuted only among those allowed for the same tasks. With one mask for all, all units are common, and
/// every task reads what the first one reads.
pub(super) fn apply(control: Control, masks: Masks, may_keep: &[TaskMask], seed: u64) -> Masks {
    let rng = CounterRng::new(seed, "control of masks");
    match control {
        Control::None => masks,
        Control::OneMask => {
            let first = masks.tasks.first().cloned().unwrap_or_default();
            Masks {
                tasks: vec![first; masks.tasks.len()],
                owners: None,
            }
        }
        Control::Shuffled => {
            let (may_keep, layers) = (allowed_bits(&masks, may_keep), 0..masks.shapes().len());
            let shuffled: Vec<Vec<u64>> = layers
                .map(|layer| {
                    let task_bits = task_bits(&masks, layer);
                    shuffle(task_bits, &may_keep[layer], rng.at(layer as u64))
                })
                .collect();
            rebuild(&masks, &shuffled.concat())
        }
        Control::Random => {
            let layers = 0..masks.shapes().len();
            let all = layers.flat_map(|layer| task_bits(&masks, layer)).collect();
            rebuild(
                &masks,
                &shuffle(all, &allowed_bits(&masks, may_keep).concat(), rng),
            )
        }
    }
}

/// For each connection, layer by layer, the tasks that may keep it, one bit each.
fn allowed_bits(masks: &Masks, may_keep: &[TaskMask]) -> Vec<Vec<u64>> {
    let all = Masks {
        tasks: may_keep.to_vec(),
        owners: masks.owners,
    };
    (0..masks.shapes().len())
        .map(|layer| task_bits(&all, layer))
        .collect()
}

/// For each connection of a layer the tasks that keep it, one bit each.
fn task_bits(masks: &Masks, layer: usize) -> Vec<u64> {
    let n = masks.tasks.first().map_or(0, |task| task[layer].len());
    let bits = |position: usize| {
        let bit = |(t, mask): (usize, &Vec<Mask>)| u64::from(mask[layer].keeps(position)) << t;
        masks.tasks.iter().enumerate().map(bit).sum()
    };
    (0..n).map(bits).collect()
}

/// Permutes connections at random, each with the set of tasks that keep it: densities and
/// overlaps stay as they are. They change places among connections that the same tasks may keep.
fn shuffle(task_bits: Vec<u64>, may_keep: &[u64], rng: CounterRng) -> Vec<u64> {
    let mut order: Vec<(u64, u64, u64)> = task_bits
        .iter()
        .zip(may_keep)
        .zip(0..)
        .map(|((&task_bits, &may), i)| (may, rng.bits(i), task_bits))
        .collect();
    order.sort_unstable();
    let mut places: Vec<(u64, usize)> = may_keep.iter().copied().zip(0..).collect();
    places.sort_unstable();
    let mut shuffled = task_bits;
    for ((_, place), (_, _, task_bits)) in places.into_iter().zip(order) {
        shuffled[place] = task_bits;
    }
    shuffled
}

/// Masks of the same shapes from the task_bits of all connections, layer after layer.
fn rebuild(masks: &Masks, task_bits: &[u64]) -> Masks {
    let of_task = |t: usize| {
        let mut first = 0;
        let layer = |(inputs, outputs): (usize, usize)| {
            let own = &task_bits[first..first + inputs * outputs];
            first += own.len();
            Mask::from_fn(inputs, outputs, |position| own[position] >> t & 1 == 1)
        };
        masks.shapes().into_iter().map(layer).collect()
    };
    Masks {
        tasks: (0..masks.tasks.len()).map(of_task).collect(),
        owners: masks.owners,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ncs_model::{UnitOwners, masks};
    use proptest::prelude::*;

    fn two(shapes: &[(usize, usize)], densities: [f64; 2], seed: u64) -> Masks {
        let mask =
            |(density, t)| masks::random(shapes, density, CounterRng::new(seed, "test").at(t));
        Masks {
            tasks: densities.into_iter().zip(0..).map(mask).collect(),
            owners: None,
        }
    }

    /// By layer, or over all: connections kept by none, the first, the second and both.
    fn counts(masks: &Masks, layers: std::ops::Range<usize>) -> [usize; 4] {
        let mut counts = [0; 4];
        for task_bits in layers.flat_map(|layer| task_bits(masks, layer)) {
            counts[task_bits as usize] += 1;
        }
        counts
    }

    proptest! {
        #[test]
        fn controls_keep_what_they_say(a in 0.1f64..0.9, b in 0.1f64..0.9, seed in 0u64..1000) {
            let shapes = [(12, 8), (8, 5)];
            let found = two(&shapes, [a, b], seed);
            let all = vec![masks::full(&shapes); 2];
            let apply = |control| apply(control, found.clone(), &all, seed);
            let shuffled = apply(Control::Shuffled);
            for layer in 0..2 {
                prop_assert_eq!(counts(&shuffled, layer..layer + 1), counts(&found, layer..layer + 1));
            }
            let random = apply(Control::Random);
            prop_assert_eq!(counts(&random, 0..2), counts(&found, 0..2));
            let one = apply(Control::OneMask);
            prop_assert_eq!(&one.tasks[1], &found.tasks[0]);
            prop_assert_eq!(&apply(Control::None), &found);
            prop_assert_ne!(shuffled, found);
        }

        /// No control gives a task what it may not keep, but for one mask, which leaves no owners.
        #[test]
        fn controls_stay_within_the_units_of_each_task(common in 0.0f64..0.9, density in 0.1f64..0.9, seed in 0u64..1000) {
            let shapes = [(12, 8), (8, 7)];
            let owners = UnitOwners::new(common, 2).unwrap();
            let allowed = [0, 1].map(|task| owners.allowed(&shapes, task));
            let mask = |task: usize| {
                let rng = CounterRng::new(seed, "test").at(task as u64);
                masks::random_within(&allowed[task], density, rng)
            };
            let found = Masks { tasks: [0, 1].map(mask).into(), owners: Some(owners) };
            for control in [Control::Shuffled, Control::Random] {
                let other = apply(control, found.clone(), &allowed, seed);
                prop_assert!(owners.fit(&other), "{:?}", control);
                prop_assert_eq!(other.owners, Some(owners));
                prop_assert_eq!(counts(&other, 0..2), counts(&found, 0..2));
                prop_assert_ne!(&other, &found);
            }
            prop_assert_eq!(apply(Control::OneMask, found.clone(), &allowed, seed).owners, None);
        }
    }
}
