//! Hidden units that belong to a task.
//!
//! Of the `n` units of each hidden layer of a network for `T` tasks
//!
//! `n_common = round(n phi / (T - (T - 1) phi))`
//!
//! are common; the others are assigned to the tasks in turn. So a task may use about `n / (T - (T - 1) phi)` units:
//! all if every unit is common (`phi` = 1), and `n / T` if none is (`phi` = 0); for two tasks `n / (2 - phi)`, of
//! which the share `phi` is common. A task keeps connections only into units that it may use. After the first hidden
//! layer a common unit reads common units only, and a task's own unit reads common units and that task's own. So the
//! gradient of a task does not reach the units of other tasks, and the value of a common unit is the same for all
//! tasks. A head reads the units that its task may use, and only the owner trains the bias of an owned unit.

use crate::masks::{Mask, Masks};
use serde::{Deserialize, Serialize};

/// Division of the units of every hidden layer among the tasks, if not all of them are common.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct UnitOwners {
    common: f64,
    n_tasks: usize,
}

/// The share is in [0, 1), never NaN.
impl Eq for UnitOwners {}

impl UnitOwners {
    /// Makes the share `common` (phi, in [0, 1]) of the units that a task may use common to all `n_tasks` tasks.
    /// Returns `None` if that makes every unit common: `common` is 1, or there is one task.
    ///
    /// # Panics
    /// If `common` is not in [0, 1].
    pub fn new(common: f64, n_tasks: usize) -> Option<UnitOwners> {
        assert!((0.0..=1.0).contains(&common), "a share of common units");
        (common < 1.0 && n_tasks > 1).then_some(UnitOwners { common, n_tasks })
    }

    /// Returns phi: of the units that a task may use, the share that is common to all tasks, in [0, 1).
    pub fn common(self) -> f64 {
        self.common
    }

    /// Returns the number of tasks.
    pub fn n_tasks(self) -> usize {
        self.n_tasks
    }

    /// Returns the number of common units of a layer of `width` units; they come first.
    pub fn n_common(self, width: usize) -> usize {
        let n_tasks = self.n_tasks as f64;
        let share = self.common / (n_tasks - (n_tasks - 1.0) * self.common);
        (width as f64 * share).round() as usize
    }

    /// Returns the task that owns unit number `unit` of a layer of `width` units; `None`: it is common.
    pub fn owner(self, width: usize, unit: usize) -> Option<usize> {
        let own = unit.checked_sub(self.n_common(width))?;
        Some(own % self.n_tasks)
    }

    /// Returns true if a task may use a unit of a layer of `width` units: its own or a common one.
    pub fn may_use(self, width: usize, unit: usize, task: usize) -> bool {
        self.owner(width, unit).is_none_or(|owner| owner == task)
    }

    /// Returns the number of units of a layer of `width` units that a task may use.
    pub fn n_usable(self, width: usize, task: usize) -> usize {
        (0..width)
            .filter(|&unit| self.may_use(width, unit, task))
            .count()
    }

    /// Returns the connections that a task may keep, for each hidden layer of shape `(inputs, outputs)`, input side
    /// first.
    pub fn allowed(self, shapes: &[(usize, usize)], task: usize) -> Vec<Mask> {
        let layer = |(number, &(inputs, outputs)): (usize, &(usize, usize))| {
            Mask::from_fn(inputs, outputs, |position| {
                let (input, unit) = (position / outputs, position % outputs);
                let reads =
                    |reader: Option<usize>, read: Option<usize>| read.is_none() || read == reader;
                self.may_use(outputs, unit, task)
                    && (number == 0 || reads(self.owner(outputs, unit), self.owner(inputs, input)))
            })
        };
        shapes.iter().enumerate().map(layer).collect()
    }

    /// Checks that every task may use a unit of every layer of these widths.
    ///
    /// # Errors
    /// A text that names the first layer that is too narrow.
    pub fn check(self, hidden: &[usize]) -> Result<(), String> {
        let has_units = |width: usize| (0..self.n_tasks).all(|t| self.n_usable(width, t) > 0);
        match hidden.iter().find(|&&width| !has_units(width)) {
            None => Ok(()),
            Some(width) => Err(format!(
                "a layer of {width} units has none for some of the {} tasks where the share {} of a task's units is \
                 common",
                self.n_tasks, self.common
            )),
        }
    }

    /// Returns true if every task keeps only connections that it may keep.
    pub fn fit(self, masks: &Masks) -> bool {
        let shapes = masks.shapes();
        let fits = |(task, mask): (usize, &Vec<Mask>)| {
            let allowed = self.allowed(&shapes, task);
            let pairs = mask.iter().zip(&allowed);
            pairs
                .into_iter()
                .all(|(mask, allowed)| (0..mask.len()).all(|p| !mask.keeps(p) || allowed.keeps(p)))
        };
        masks.tasks.len() == self.n_tasks && masks.tasks.iter().enumerate().all(fits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn owners(common: f64, n_tasks: usize) -> UnitOwners {
        UnitOwners::new(common, n_tasks).unwrap()
    }

    #[test]
    fn a_third_of_all_units_is_common_at_half_of_a_tasks_units() {
        let half = owners(0.5, 2);
        assert_eq!(half.n_common(12), 4);
        let of_units: Vec<Option<usize>> = (0..12).map(|unit| half.owner(12, unit)).collect();
        let turns = [0, 1, 0, 1, 0, 1, 0, 1].map(Some);
        assert_eq!(of_units, [&[None; 4][..], &turns[..]].concat());
        assert_eq!([0, 1].map(|task| half.n_usable(12, task)), [8, 8]);
        assert_eq!([0, 1].map(|task| owners(0.0, 2).n_usable(12, task)), [6, 6]);
        // Three tasks: 12 / (3 - 2 / 2) = 6 units each, 3 of them common.
        let three = owners(0.5, 3);
        assert_eq!(three.n_common(12), 3);
        assert_eq!([0, 1, 2].map(|task| three.n_usable(12, task)), [6, 6, 6]);
    }

    #[test]
    fn no_unit_is_owned_if_all_are_common() {
        assert_eq!(UnitOwners::new(1.0, 2), None);
        assert_eq!(UnitOwners::new(0.0, 1), None);
    }

    #[test]
    fn a_too_narrow_layer_is_reported() {
        assert_eq!(owners(0.0, 2).check(&[8, 2]), Ok(()));
        let error = owners(0.0, 3).check(&[8, 2]).unwrap_err();
        assert!(error.starts_with("a layer of 2 units has none for some of the 3 tasks"));
    }

    /// The rule for each connection of two small layers, written out.
    #[test]
    fn own_units_read_common_and_own_ones() {
        // Of four units, 4 * (1/2) / (2 - 1/2) = 1.33, rounded to 1, is common; then click, conversion, click.
        let half = owners(0.5, 2);
        let mask = half.allowed(&[(1, 4), (4, 4)], 1);
        let bits = |mask: &Mask| {
            mask.to_bools()
                .into_iter()
                .map(u8::from)
                .collect::<Vec<_>>()
        };
        assert_eq!(bits(&mask[0]), [1, 0, 1, 0]);
        let expected = [
            [1, 0, 1, 0], // common: read by common and own units
            [0, 0, 0, 0], // owned by click
            [0, 0, 1, 0], // owned by conversion: read by its own units only
            [0, 0, 0, 0],
        ];
        assert_eq!(bits(&mask[1]), expected.concat());
    }

    proptest! {
        /// No connection joins units of two tasks, and a common unit reads common units only.
        #[test]
        fn tasks_share_common_units_only(
            common in prop::sample::select(vec![0.0, 0.2, 0.5, 0.8, 0.99]),
            n_tasks in 2usize..5,
            widths in prop::collection::vec(4usize..20, 2..4),
        ) {
            let owners = owners(common, n_tasks);
            let shapes: Vec<(usize, usize)> =
                std::iter::once((3, widths[0])).chain(widths.windows(2).map(|w| (w[0], w[1]))).collect();
            let masks = Masks {
                tasks: (0..n_tasks).map(|task| owners.allowed(&shapes, task)).collect(),
                owners: Some(owners),
            };
            prop_assert!(owners.fit(&masks));
            for (task, mask) in masks.tasks.iter().enumerate() {
                for (l, layer) in mask.iter().enumerate() {
                    let (inputs, outputs) = (layer.inputs(), layer.outputs());
                    for position in (0..layer.len()).filter(|&p| layer.keeps(p)) {
                        let to = owners.owner(outputs, position % outputs);
                        prop_assert!(to.is_none_or(|owner| owner == task));
                        if l > 0 {
                            let from = owners.owner(inputs, position / outputs);
                            prop_assert!(from.is_none() || from == to);
                        }
                    }
                }
            }
            // Every connection into a common unit may be kept by all tasks or by none.
            for (l, &(inputs, outputs)) in shapes.iter().enumerate() {
                for position in 0..inputs * outputs {
                    let n = masks.tasks.iter().filter(|mask| mask[l].keeps(position)).count();
                    let is_common = owners.owner(outputs, position % outputs).is_none();
                    let fits = if is_common { n == 0 || n == n_tasks } else { n <= 1 };
                    prop_assert!(fits);
                }
            }
        }

        /// Own and common units together are all units, and own units are divided evenly.
        #[test]
        fn every_unit_is_common_or_owned(common in 0.0f64..0.999, n_tasks in 2usize..6, width in 1usize..300) {
            let owners = owners(common, n_tasks);
            let usable: Vec<usize> = (0..n_tasks).map(|task| owners.n_usable(width, task)).collect();
            let n_common = owners.n_common(width);
            prop_assert!(n_common <= width);
            let own: usize = usable.iter().map(|n| n - n_common).sum();
            prop_assert_eq!(own + n_common, width);
            prop_assert!(usable.iter().max().unwrap() - usable.iter().min().unwrap() <= 1);
            let expected = width as f64 / (n_tasks as f64 - (n_tasks as f64 - 1.0) * common);
            prop_assert!((usable[0] as f64 - expected).abs() <= 1.5);
        }
    }
}
