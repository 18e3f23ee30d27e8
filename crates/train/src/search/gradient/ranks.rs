//! Blocks of first-layer connections, ranked for each task by the gradients of a warm-up.

use crate::context::SearchContext;
use crate::gradient_sums::GradientSums;
use crate::search::allowed::allowed;
use ncs_model::{CounterRng, Mask, TaskMask, UnitOwners, masks};

/// Signal-to-noise threshold: the ratio of `sum_b g` squared to the sum of squares above which a block counts. The
/// ratio is 1 on average for random gradients.
const SNR_THRESHOLD: f64 = 2.0;

/// Minimum fraction of a task's density that is kept in every field, independent of the gradients: what is learned late, such
/// as the vectors of many rare ids, has small gradients in a warm-up.
const MIN_FIELD_SHARE: f64 = 0.5;

/// Lower bound of the estimated density.
const MIN_DENSITY: f64 = 0.05;

/// Ranks of the blocks of first-layer connections for each task.
pub(super) struct Ranks {
    /// The group of each input.
    groups: Vec<usize>,
    /// Inputs of each group.
    sizes: Vec<usize>,
    /// The first groups are fields, the others products of two.
    n_fields: usize,
    /// Units of the first layer.
    units: usize,
    /// By task, `[group, unit]`: strength of the gradient signal of the block.
    pulls: Vec<Vec<f64>>,
    /// By task: weight of the lead task's ranks in its own.
    borrowed: Vec<f64>,
    /// The task with the most labels.
    lead: usize,
    /// Share of first-layer connections whose blocks have a gradient signal-to-noise above `SNR_THRESHOLD`, for the task
    /// with the largest share.
    pub(super) share_above_snr: f64,
}

impl Ranks {
    pub(super) fn new(context: &SearchContext<'_>, gradients: &[GradientSums]) -> Ranks {
        let groups = context.spec.mask_groups();
        let units = context.spec.layer_shapes()[0].1;
        let counts = &context.train.label_counts().tasks;
        let known: Vec<u64> = counts.iter().map(|counts| counts.known).collect();
        // First-layer weights lie first in a network, input by input.
        let first_layer = |found: &GradientSums| GradientSums {
            sums: found.sums[..groups.len() * units].to_vec(),
            squares: found.squares[..groups.len() * units].to_vec(),
        };
        let gradients: Vec<GradientSums> = gradients.iter().map(first_layer).collect();
        Ranks::of(groups, context.spec.fields.len(), units, &gradients, &known)
    }

    /// From each task's gradients, `[input, unit]`, and its number of known labels.
    fn of(
        groups: Vec<usize>,
        n_fields: usize,
        units: usize,
        gradients: &[GradientSums],
        known: &[u64],
    ) -> Ranks {
        let n_groups = groups.iter().max().map_or(0, |last| last + 1);
        let mut sizes = vec![0; n_groups];
        groups.iter().for_each(|&group| sizes[group] += 1);
        // The mean over a block of a number of each connection.
        let means = |of: &dyn Fn(usize) -> f64| {
            let mut means = vec![0.0; n_groups * units];
            for (input, &group) in groups.iter().enumerate() {
                let means = &mut means[group * units..][..units];
                for (unit, mean) in means.iter_mut().enumerate() {
                    *mean += of(input * units + unit) / sizes[group] as f64;
                }
            }
            means
        };
        let pulls =
            |found: &GradientSums| means(&|position| f64::from(found.sums[position]).powi(2));
        let share_above_snr = |found: &GradientSums| {
            let ratios = means(&|position| {
                let square = f64::from(found.squares[position]);
                f64::from(found.sums[position]).powi(2) / square.max(f64::MIN_POSITIVE)
            });
            let blocks = ratios.iter().enumerate();
            let share_above_snr = blocks.filter(|&(_, &ratio)| ratio > SNR_THRESHOLD);
            let n: usize = share_above_snr.map(|(block, _)| sizes[block / units]).sum();
            n as f64 / (groups.len() * units) as f64
        };
        let share_above_snr = gradients
            .iter()
            .map(share_above_snr)
            .fold(MIN_DENSITY, f64::max);
        let most = known.iter().copied().max().unwrap_or(0).max(1);
        let lead = known.iter().position(|&n| n == most).unwrap_or(0);
        Ranks {
            pulls: gradients.iter().map(pulls).collect(),
            borrowed: known
                .iter()
                .map(|&n| 1.0 - n as f64 / most as f64)
                .collect(),
            lead,
            share_above_snr,
            n_fields,
            groups,
            sizes,
            units,
        }
    }

    /// The mask of a task at a density of the connections that it may keep.
    pub(super) fn mask(
        &self,
        context: &SearchContext<'_>,
        task: usize,
        density: f64,
        owners: Option<UnitOwners>,
    ) -> TaskMask {
        let rng = CounterRng::new(context.plan.seed, "deeper layers").at(task as u64);
        self.mask_of(&allowed(context, owners, task), task, density, rng)
    }

    /// Returns the blocks of these units, best first for a task.
    fn in_order(&self, task: usize, is_usable: &[bool]) -> Vec<usize> {
        let n_blocks = self.sizes.len() * self.units;
        let blocks: Vec<usize> = (0..n_blocks)
            .filter(|block| is_usable[block % self.units])
            .collect();
        let ranks_of = |task: usize| {
            let pulls = &self.pulls[task];
            ranks(&blocks.iter().map(|&block| pulls[block]).collect::<Vec<_>>())
        };
        let (own, lead) = (ranks_of(task), ranks_of(self.lead));
        let share = self.borrowed[task];
        let pairs = own.iter().zip(&lead);
        let borrowed: Vec<f64> = pairs
            .map(|(own, lead)| own + share * (lead - own))
            .collect();
        let mut order: Vec<usize> = (0..blocks.len()).collect();
        order.sort_by(|&a, &b| borrowed[b].total_cmp(&borrowed[a]).then(a.cmp(&b)));
        order.into_iter().map(|place| blocks[place]).collect()
    }

    fn mask_of(&self, allowed: &[Mask], task: usize, density: f64, rng: CounterRng) -> TaskMask {
        // A task may keep all inputs of a group into a unit or none.
        let mut may_keep = vec![false; self.sizes.len() * self.units];
        for (input, &group) in self.groups.iter().enumerate() {
            for unit in 0..self.units {
                may_keep[group * self.units + unit] = allowed[0].keeps(input * self.units + unit);
            }
        }
        let of_unit = |unit: usize| {
            may_keep
                .iter()
                .skip(unit)
                .step_by(self.units)
                .any(|may| *may)
        };
        let is_usable: Vec<bool> = (0..self.units).map(of_unit).collect();
        let n_units = is_usable.iter().filter(|usable| **usable).count();
        let order = self.in_order(task, &is_usable);
        let wanted = density * (self.groups.len() * n_units) as f64;
        // Minimum number of units that a task keeps for every field.
        let floor = (MIN_FIELD_SHARE * density * n_units as f64).ceil() as usize;
        let mut of_group = vec![0; self.sizes.len()];
        let (mut first, mut rest) = (Vec::new(), Vec::new());
        for block in order.into_iter().filter(|&block| may_keep[block]) {
            let group = block / self.units;
            let is_first = group < self.n_fields && of_group[group] < floor;
            of_group[group] += 1;
            if is_first { &mut first } else { &mut rest }.push(block);
        }
        let (mut kept, mut n) = (vec![false; self.sizes.len() * self.units], 0);
        for block in first.into_iter().chain(rest) {
            if n as f64 >= wanted {
                break;
            }
            kept[block] = true;
            n += self.sizes[block / self.units];
        }
        let keeps = |position: usize| {
            let (input, unit) = (position / self.units, position % self.units);
            kept[self.groups[input] * self.units + unit]
        };
        let layer = |(number, allowed): (usize, &Mask)| match number {
            0 => Mask::from_fn(allowed.inputs(), allowed.outputs(), keeps),
            _ => {
                let allowed = std::slice::from_ref(allowed);
                masks::random_within(allowed, density, rng.at(number as u64)).swap_remove(0)
            }
        };
        allowed.iter().enumerate().map(layer).collect()
    }
}

/// Returns the rank of each score, in [0, 1); ties keep their order.
fn ranks(scores: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]).then(a.cmp(&b)));
    let mut ranks = vec![0.0; scores.len()];
    for (rank, at) in order.into_iter().enumerate() {
        ranks[at] = rank as f64 / scores.len() as f64;
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two fields of two inputs and their product, ten units: blocks are (group, unit).
    fn found(known: [u64; 2]) -> Ranks {
        let groups = vec![2, 0, 0, 1, 1];
        // Task 0 has gradients at field 0 of every unit, task 1 at field 1.
        let pulls = |field: usize| {
            let weight = |input: usize| if groups[input] == field { 1.0 } else { 0.1 };
            let unit = |input: usize| (0..10).map(move |u| weight(input) * (1.0 + 0.01 * u as f32));
            GradientSums {
                sums: (0..5).flat_map(unit).collect(),
                squares: vec![0.2; 50],
            }
        };
        let gradients = [pulls(0), pulls(1)];
        Ranks::of(groups.clone(), 2, 10, &gradients, &known)
    }

    /// Units that read field 0, field 1 and their product.
    fn units(ranks: &Ranks, task: usize, density: f64) -> [usize; 3] {
        let allowed = masks::full(&[(5, 10), (10, 2)]);
        let mask = ranks.mask_of(&allowed, task, density, CounterRng::new(1, "t"));
        // The inputs of a group are kept together.
        for (a, b) in [(1, 2), (3, 4)] {
            assert!((0..10).all(|u| mask[0].keeps(a * 10 + u) == mask[0].keeps(b * 10 + u)));
        }
        [1, 3, 0].map(|input| (0..10).filter(|u| mask[0].keeps(input * 10 + u)).count())
    }

    #[test]
    fn each_task_keeps_the_blocks_that_it_pulls_at_and_some_of_every_field() {
        let ranks = found([100, 100]);
        // 20 of 50 connections: two units of each field are the floor.
        assert_eq!(units(&ranks, 0, 0.4), [8, 2, 0]);
        assert_eq!(units(&ranks, 1, 0.4), [2, 8, 0]);
        assert_eq!(units(&ranks, 0, 1.0), [10, 10, 10]);
    }

    #[test]
    fn what_is_pulled_at_beyond_noise_is_counted() {
        // One over 0.2 for the two inputs of a field, a twentieth for the rest.
        assert_eq!(found([100, 100]).share_above_snr, 0.4);
    }

    #[test]
    fn a_task_with_hardly_any_labels_keeps_what_the_other_keeps() {
        let ranks = found([100_000, 1]);
        assert_eq!(units(&ranks, 0, 0.4), [8, 2, 0]);
        assert_eq!(units(&ranks, 1, 0.4), [8, 2, 0]);
    }

    #[test]
    fn deeper_layers_are_drawn_for_each_task_with_the_same_density() {
        let ranks = found([100, 100]);
        let shapes = [(5, 10), (60, 50)];
        let mask = |task: u64| {
            let rng = CounterRng::new(1, "t").at(task);
            ranks.mask_of(&masks::full(&shapes), task as usize, 0.3, rng)[1].clone()
        };
        assert_eq!(mask(0).n_kept(), 900);
        assert_ne!(mask(0), mask(1));
    }

    #[test]
    fn blocks_are_ranked_within_the_units_of_a_task() {
        let (ranks, shapes) = (found([100, 100]), [(5, 10), (10, 6)]);
        for (common, n_units) in [(0.0, 5), (0.5, 7)] {
            let owners = UnitOwners::new(common, 2).unwrap();
            for task in [0, 1] {
                let allowed = owners.allowed(&shapes, task);
                assert_eq!(
                    owners.n_usable(10, task),
                    n_units - task * usize::from(common > 0.0)
                );
                let mask = ranks.mask_of(&allowed, task, 0.4, CounterRng::new(1, "t"));
                for (mask, allowed) in mask.iter().zip(&allowed) {
                    assert!((0..mask.len()).all(|p| !mask.keeps(p) || allowed.keeps(p)));
                }
                // 0.4 of the connections into the units that it may use, in blocks of two inputs.
                let wanted = 0.4 * 5.0 * owners.n_usable(10, task) as f64;
                let n_kept = mask[0].n_kept() as f64;
                assert!(
                    (wanted..wanted + 2.0).contains(&n_kept),
                    "{n_kept} for {wanted}"
                );
                // What it pulls at, of the best of its units first: the last of them.
                let (input, last) = ([1, 3][task], (0..10).rfind(|&u| allowed[0].keeps(u)));
                assert!(mask[0].keeps(input * 10 + last.unwrap()));
                let random = mask[1].n_kept() as f64 / allowed[1].n_kept() as f64;
                assert!((random - 0.4).abs() < 0.05, "{random}");
            }
        }
    }
}
