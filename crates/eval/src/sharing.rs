//! Mask overlap between tasks, by layer.

use serde::{Deserialize, Serialize};

/// Connections of one layer by the tasks that keep them. The counts add up to `inputs * outputs`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerSharing {
    /// The layer's name, such as `fc_0`.
    pub name: String,
    /// Number of inputs.
    pub inputs: usize,
    /// Number of outputs.
    pub outputs: usize,
    /// Number of connections kept by two or more tasks.
    pub shared: u64,
    /// Of more than two tasks: the number of connections that all of them keep, part of `shared`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_all: Option<u64>,
    /// Number of connections that each task alone keeps.
    pub only: Vec<u64>,
    /// Number of connections that no task keeps.
    pub pruned: u64,
    /// Number of units of the layer that each task alone may use. Empty: all units are common.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub own_units: Vec<usize>,
}

impl LayerSharing {
    /// Returns the number of connections of the layer.
    pub fn connections(&self) -> u64 {
        self.shared + self.only.iter().sum::<u64>() + self.pruned
    }

    /// Returns the overlap of the masks of two tasks in this layer; `None` for another number of tasks, for
    /// which the counts do not determine it, or if nothing is kept.
    pub fn overlap(&self) -> Option<Overlap> {
        let [first, second] = self.only[..] else {
            return None;
        };
        Overlap::of_counts(self.shared, [first, second], self.connections())
    }
}

/// Counts the connections of one layer. `masks[task][connection]` is true if the task keeps it, for `inputs *
/// outputs` connections in the same order for all tasks.
///
/// # Panics
/// Panics if a mask has another length.
pub fn layer_sharing(name: &str, inputs: usize, outputs: usize, masks: &[&[bool]]) -> LayerSharing {
    for mask in masks {
        assert_eq!(
            mask.len(),
            inputs * outputs,
            "{name}: one bit for each connection"
        );
    }
    let mut layer = LayerSharing {
        name: name.to_string(),
        inputs,
        outputs,
        only: vec![0; masks.len()],
        ..LayerSharing::default()
    };
    let mut by_all = 0;
    for connection in 0..inputs * outputs {
        by_all += u64::from(masks.iter().all(|mask| mask[connection]));
        let mut tasks = (0..masks.len()).filter(|task| masks[*task][connection]);
        match (tasks.next(), tasks.next()) {
            (None, _) => layer.pruned += 1,
            (Some(task), None) => layer.only[task] += 1,
            (Some(_), Some(_)) => layer.shared += 1,
        }
    }
    layer.by_all = (masks.len() > 2).then_some(by_all);
    layer
}

/// Overlap of the masks of two tasks over all layers together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PairOverlap {
    /// Names of the two tasks.
    pub tasks: [String; 2],
    /// Their overlap, with the chance level of random masks.
    pub overlap: Overlap,
}

/// Overlap of two masks.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Overlap {
    /// Density of each mask: the share of connections that it keeps.
    pub densities: [f64; 2],
    /// Intersection over union of the kept connections.
    pub overlap: f64,
    /// Chance level: the expected overlap of random masks of these densities a, b: ab / (a + b - ab).
    pub chance: f64,
}

impl Overlap {
    /// Computes the overlap from the numbers of connections kept by both and by one alone; `None` if neither
    /// keeps anything.
    fn of_counts(both: u64, only: [u64; 2], connections: u64) -> Option<Overlap> {
        let either = both + only[0] + only[1];
        let densities = only.map(|only| (both + only) as f64 / connections as f64);
        (either > 0).then(|| Overlap {
            densities,
            overlap: both as f64 / either as f64,
            chance: chance_overlap(densities),
        })
    }
}

/// Computes the overlap of two masks over the same connections; `None` if neither keeps anything.
///
/// # Panics
/// Panics if the masks have different lengths.
pub fn mask_overlap(first: &[bool], second: &[bool]) -> Option<Overlap> {
    layer_sharing("", first.len(), 1, &[first, second]).overlap()
}

/// Returns the expected intersection over union of two independent masks of these densities, for many
/// connections.
fn chance_overlap([a, b]: [f64; 2]) -> f64 {
    a * b / (a + b - a * b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_connection_is_counted_once() {
        let ctr = [true, true, false, false, true, false];
        let cvr = [true, false, true, false, false, false];
        let layer = layer_sharing("fc_0", 2, 3, &[&ctr, &cvr]);
        assert_eq!(
            (layer.shared, layer.only.clone(), layer.pruned),
            (1, vec![2, 1], 2)
        );
        assert_eq!(layer.connections(), 6);
    }

    #[test]
    fn a_third_task_makes_a_connection_shared() {
        let first = [true, true, false];
        let layer = layer_sharing("fc_0", 1, 3, &[&first, &[true, false, false], &[true; 3]]);
        assert_eq!(
            (layer.shared, layer.only, layer.pruned),
            (2, vec![0, 0, 1], 0)
        );
        assert_eq!(layer.by_all, Some(1));
        let two = layer_sharing("fc_0", 1, 3, &[&first, &[true; 3]]);
        assert_eq!(two.by_all, None);
    }

    #[test]
    fn chance_level_for_equal_densities_is_p_over_two_minus_p() {
        let overlap = mask_overlap(&[true, true, false, false], &[true, false, true, false]);
        let overlap = overlap.unwrap();
        assert_eq!(overlap.overlap, 1.0 / 3.0);
        assert_eq!(overlap.chance, 0.5 / 1.5);
        assert_eq!(overlap.densities, [0.5, 0.5]);
    }

    #[test]
    fn empty_masks_have_no_overlap() {
        assert_eq!(mask_overlap(&[false, false], &[false, false]), None);
        assert_eq!(mask_overlap(&[], &[]), None);
    }
}
