//! The numbers of a network's layers and heads that its tasks keep, side by side.

use crate::masks::Masks;
use crate::network::Network;
use std::ops::Range;

/// The layer and head weights that at least one of a network's tasks keeps, numbered so that those with
/// the same keepers lie side by side. Gradients and moments have one number for each of them, and none
/// for connections that every task has pruned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterIndex {
    positions: Vec<u32>,
    numbers: Vec<u32>,
    groups: Vec<ParameterGroup>,
}

/// ParameterIndex that the same tasks keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterGroup {
    /// The tasks, one bit each, by their place in the network.
    pub tasks: u64,
    /// Whether weight decay applies: to weights, not to biases.
    pub decays: bool,
    /// Their numbers.
    pub range: Range<usize>,
}

impl ParameterIndex {
    const NONE: u32 = u32::MAX;

    /// The connections of a network that runs `tasks` (numbers of the spec) under these masks; without
    /// masks, all that any of them uses.
    pub(crate) fn new<R: crate::Real>(
        network: &Network<R>,
        masks: Option<&Masks>,
    ) -> ParameterIndex {
        let (layout, tasks) = (&network.layout, &network.tasks);
        let (of_layers, of_stitches) = network.graph.users();
        let keepers = |layer: usize, position: usize| match masks {
            None => of_layers[layer],
            Some(masks) => {
                let keeps =
                    |&task: &usize| masks.tasks[network.spec.mask_of(task)][layer].keeps(position);
                let bit = |(place, task)| u64::from(keeps(task)) << place;
                tasks.iter().enumerate().map(bit).sum()
            }
        };
        let owners = masks.and_then(|masks| masks.owners);
        // Whether the head or bias at this place may see that unit: of units that belong to others, never.
        let may_use = |place: usize, width: usize, unit: usize| {
            let task = network.spec.mask_of(tasks[place]);
            owners.is_none_or(|owners| owners.may_use(width, unit, task))
        };
        let bias_keepers = |users: u64, width: usize, unit: usize| {
            let places = (0..tasks.len()).filter(|&place| may_use(place, width, unit));
            users & places.map(|place| 1 << place).sum::<u64>()
        };
        // ParameterGroup and decay of every position; a stable sort brings equals together.
        let mut kinds: Vec<(u64, bool, u32)> = Vec::with_capacity(layout.len);
        for (l, layer) in layout.layers.iter().enumerate() {
            let weights = layer.weights.clone().zip(0..);
            kinds.extend(weights.map(|(p, position)| (keepers(l, position), true, p as u32)));
            let biases = layer.bias.clone().enumerate();
            kinds.extend(biases.map(|(unit, p)| {
                let keepers = bias_keepers(of_layers[l], layer.outputs, unit);
                (keepers, false, p as u32)
            }));
        }
        for (place, head) in layout.heads.iter().enumerate() {
            let weights = head.weights.clone().enumerate();
            let weights = weights.filter(|&(unit, _)| may_use(place, head.inputs, unit));
            kinds.extend(weights.map(|(_, p)| (1 << place, true, p as u32)));
            kinds.extend(head.bias.clone().map(|p| (1 << place, false, p as u32)));
        }
        for (stitch, users) in layout.stitches.iter().zip(of_stitches) {
            kinds.extend(stitch.clone().map(|p| (users, false, p as u32)));
        }
        kinds.retain(|&(tasks, _, _)| tasks != 0);
        kinds.sort_unstable();
        let mut groups: Vec<ParameterGroup> = Vec::new();
        let mut numbers = vec![Self::NONE; layout.len];
        for (number, &(tasks, decays, position)) in kinds.iter().enumerate() {
            numbers[position as usize] = number as u32;
            match groups.last_mut() {
                Some(group) if (group.tasks, group.decays) == (tasks, decays) => {
                    group.range.end = number + 1;
                }
                _ => groups.push(ParameterGroup {
                    tasks,
                    decays,
                    range: number..number + 1,
                }),
            }
        }
        ParameterIndex {
            positions: kinds.into_iter().map(|(_, _, position)| position).collect(),
            numbers,
            groups,
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.positions.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.positions.is_empty()
    }

    /// By number: where each lies in [`crate::Network::dense`].
    pub fn positions(&self) -> &[u32] {
        &self.positions
    }

    /// The number of what lies at `position` of [`crate::Network::dense`]; `None` if nobody keeps it.
    #[inline]
    pub fn number(&self, position: usize) -> Option<usize> {
        let number = self.numbers[position];
        (number != Self::NONE).then_some(number as usize)
    }

    /// The groups, in the order of their numbers.
    pub fn groups(&self) -> &[ParameterGroup] {
        &self.groups
    }

    /// Numbers by connection, spread over the network's layout: 0 for what nobody keeps.
    pub fn spread<R: crate::Real>(&self, values: &[R]) -> Vec<R> {
        let mut spread = vec![R::ZERO; self.numbers.len()];
        for (&position, &value) in self.positions.iter().zip(values) {
            spread[position as usize] = value;
        }
        spread
    }
}
