//! Numbering of the layer and head parameters that a network's tasks keep.

use crate::masks::Masks;
use crate::network::Network;
use std::ops::Range;

/// The layer and head parameters that at least one of a network's tasks keeps, numbered so that parameters kept by
/// the same tasks are contiguous. Gradients and moments have one value for each of them, and none
/// for connections that every task has pruned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterIndex {
    positions: Vec<u32>,
    numbers: Vec<u32>,
    groups: Vec<ParameterGroup>,
}

/// Parameters that the same tasks keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterGroup {
    /// The tasks, one bit each, by their position in the network.
    pub tasks: u64,
    /// True if weight decay applies: to weights, not to biases.
    pub decays: bool,
    /// The numbers of the parameters.
    pub range: Range<usize>,
}

impl ParameterIndex {
    const NONE: u32 = u32::MAX;

    /// Numbers the parameters of a network under these masks; without masks, all parameters that a head uses.
    pub(crate) fn new<R: crate::Real>(
        network: &Network<R>,
        masks: Option<&Masks>,
    ) -> ParameterIndex {
        let (layout, tasks) = (&network.layout, &network.tasks);
        let (of_layers, of_stitches) = network.graph.users();
        let keeping_tasks = |layer: usize, position: usize| match masks {
            None => of_layers[layer],
            Some(masks) => {
                let keeps =
                    |&task: &usize| masks.tasks[network.spec.mask_of(task)][layer].keeps(position);
                let bit = |(place, task)| u64::from(keeps(task)) << place;
                tasks.iter().enumerate().map(bit).sum()
            }
        };
        let owners = masks.and_then(|masks| masks.owners);
        // True if the head at this position may read the unit: not the units of other tasks.
        let may_use = |place: usize, width: usize, unit: usize| {
            let task = network.spec.mask_of(tasks[place]);
            owners.is_none_or(|owners| owners.may_use(width, unit, task))
        };
        let bias_tasks = |users: u64, width: usize, unit: usize| {
            let places = (0..tasks.len()).filter(|&place| may_use(place, width, unit));
            users & places.map(|place| 1 << place).sum::<u64>()
        };
        // Tasks, decay and position of every parameter; sorting makes the groups contiguous.
        let mut kinds: Vec<(u64, bool, u32)> = Vec::with_capacity(layout.len);
        for (l, layer) in layout.layers.iter().enumerate() {
            let weights = layer.weights.clone().zip(0..);
            kinds.extend(weights.map(|(p, position)| (keeping_tasks(l, position), true, p as u32)));
            let biases = layer.bias.clone().enumerate();
            kinds.extend(biases.map(|(unit, p)| {
                let tasks = bias_tasks(of_layers[l], layer.outputs, unit);
                (tasks, false, p as u32)
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
        // Every head may read the field vectors that attention pools.
        let all = (0..tasks.len()).map(|place| 1 << place).sum();
        for layer in layout
            .attentions
            .iter()
            .flat_map(|attention| &attention.layers)
        {
            kinds.extend(layer.weights.clone().map(|p| (all, true, p as u32)));
            kinds.extend(layer.bias.clone().map(|p| (all, false, p as u32)));
        }
        kinds.retain(|&(tasks, _, _)| tasks != 0);
        kinds.sort_unstable();
        ParameterIndex::of_kinds(&kinds, layout.len)
    }

    /// Numbers the parameters, given by tasks, decay and position; `n_positions` is the number of positions.
    fn of_kinds(kinds: &[(u64, bool, u32)], n_positions: usize) -> ParameterIndex {
        let mut groups: Vec<ParameterGroup> = Vec::new();
        let mut numbers = vec![Self::NONE; n_positions];
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
            positions: kinds.iter().map(|&(_, _, position)| position).collect(),
            numbers,
            groups,
        }
    }

    /// Returns the number of parameters.
    pub fn len(&self) -> usize {
        self.positions.len()
    }

    /// Returns true if there is no parameter.
    pub fn is_empty(&self) -> bool {
        self.positions.is_empty()
    }

    /// Returns the position of each parameter in [`crate::Network::dense`], by number.
    pub fn positions(&self) -> &[u32] {
        &self.positions
    }

    /// Returns the number of the parameter at `position` of [`crate::Network::dense`]; `None` if no task keeps it.
    #[inline]
    pub fn number(&self, position: usize) -> Option<usize> {
        let number = self.numbers[position];
        (number != Self::NONE).then_some(number as usize)
    }

    /// Returns the groups, in the order of their numbers.
    pub fn groups(&self) -> &[ParameterGroup] {
        &self.groups
    }

    /// Scatters values by number to the network's layout, with 0 for parameters that no task keeps.
    pub fn spread<R: crate::Real>(&self, values: &[R]) -> Vec<R> {
        let mut dense = vec![R::ZERO; self.numbers.len()];
        for (&position, &value) in self.positions.iter().zip(values) {
            dense[position as usize] = value;
        }
        dense
    }
}
