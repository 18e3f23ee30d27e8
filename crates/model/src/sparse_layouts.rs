//! The subnetworks that a step for some tasks runs, and the sparse layout of each mask.

use crate::masks::Masks;
use crate::network::Network;
use crate::number::Real;
use crate::parameter_index::ParameterIndex;
use crate::subnet::{SparseLayout, Subnet};
use std::sync::{Arc, OnceLock};

/// Creates the subnets of a network, and caches the sparse layout of each mask, which is packed on first use.
#[derive(Debug)]
pub(crate) struct SparseLayouts {
    /// True if each task has a mask, or will have one after the search: until then it keeps every connection.
    has_masks: bool,
    masks: Option<Arc<Masks>>,
    index: Arc<ParameterIndex>,
    /// One for each task of the spec with masks, a single one without.
    layouts: Vec<OnceLock<Arc<SparseLayout>>>,
}

impl SparseLayouts {
    pub(crate) fn new<R: Real>(network: &Network<R>, masks: Option<&Arc<Masks>>) -> SparseLayouts {
        let has_masks = network.spec.plan.kind.has_masks();
        let masks = masks.filter(|_| has_masks);
        let index = ParameterIndex::new(network, masks.map(|m| &**m));
        let n = masks.map_or(1, |masks| masks.tasks.len());
        SparseLayouts {
            has_masks,
            masks: masks.cloned(),
            index: Arc::new(index),
            layouts: (0..n).map(|_| OnceLock::new()).collect(),
        }
    }

    pub(crate) fn index(&self) -> &Arc<ParameterIndex> {
        &self.index
    }

    /// Returns the subnets that the network runs for `tasks` (numbers of the spec, all of this network). Their
    /// heads, in order, are those of `tasks`.
    pub(crate) fn subnets<R: Real>(&self, network: &Network<R>, tasks: &[usize]) -> Vec<Subnet<R>> {
        // With masks a task runs its own subnet; without, one subnet runs the heads of all these tasks.
        let parts = if self.has_masks {
            tasks.chunks(1)
        } else {
            tasks.chunks(tasks.len().max(1))
        };
        let subnet = |tasks: &[usize]| {
            let heads = tasks.iter().map(|&task| head(network, task)).collect();
            Subnet::new(network, heads, self.layout_of(network, tasks[0]))
        };
        parts.map(subnet).collect()
    }

    /// Returns the layout of a task.
    fn layout_of<R: Real>(&self, network: &Network<R>, task: usize) -> Arc<SparseLayout> {
        let task = network.spec.mask_of(task);
        let slot = if self.masks.is_some() { task } else { 0 };
        let make = || {
            let mask = self.masks.as_ref().map(|masks| &masks.tasks[task][..]);
            Arc::new(SparseLayout::new(network, mask, self.index.clone()))
        };
        self.layouts[slot].get_or_init(make).clone()
    }
}

/// Returns the position of a task's head in its network.
fn head<R: Real>(network: &Network<R>, task: usize) -> usize {
    let head = network.tasks.iter().position(|&other| other == task);
    head.expect("a network runs its own tasks only")
}
