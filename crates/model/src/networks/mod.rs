//! Multi-task networks, one file for each: the operations of the network, and the subnetworks that a step for
//! some tasks runs.

mod aitm;
mod cross_stitch;
pub(crate) mod executor;
mod mmoe;
mod ple;
mod shared_bottom;
mod sparse_sharing;

use crate::graph::Graph;
use crate::masks::Masks;
use crate::network::Network;
use crate::number::Real;
use crate::parameter_index::ParameterIndex;
use crate::plan::NetworkKind;
use crate::spec::Spec;
use crate::subnet::{SparseLayout, Subnet};
use std::sync::{Arc, OnceLock};

/// Creates the subnets of a network, and caches the sparse layout of each mask, which is packed on first use.
#[derive(Debug)]
pub(crate) struct SparseLayouts {
    kind: NetworkKind,
    masks: Option<Arc<Masks>>,
    index: Arc<ParameterIndex>,
    /// One for each task of the spec with masks, a single one without.
    layouts: Vec<OnceLock<Arc<SparseLayout>>>,
}

impl SparseLayouts {
    pub(crate) fn new<R: Real>(network: &Network<R>, masks: Option<&Arc<Masks>>) -> SparseLayouts {
        let kind = network.spec.plan.kind;
        let masks = masks.filter(|_| kind == NetworkKind::SparseSharing);
        let index = ParameterIndex::new(network, masks.map(|m| &**m));
        let n = masks.map_or(1, |masks| masks.tasks.len());
        SparseLayouts {
            kind,
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
        match self.kind {
            NetworkKind::SparseSharing => sparse_sharing::subnets(self, network, tasks),
            // One subnet runs the heads of all these tasks.
            _ => {
                let heads = tasks.iter().map(|&task| head(network, task)).collect();
                vec![Subnet::new(
                    network,
                    heads,
                    self.layout_of(network, tasks[0]),
                )]
            }
        }
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

/// The sizes from which a network is built.
struct Sizes<'a> {
    /// Width of the folded input.
    folded: usize,
    /// Width of the logical input.
    inputs: usize,
    /// Widths of the hidden layers.
    hidden: &'a [usize],
    /// Names of the network's tasks.
    tasks: Vec<&'a str>,
}

/// Builds the operations of a network of these tasks.
pub(crate) fn graph(spec: &Spec, tasks: &[usize]) -> Graph {
    let interaction = spec.interaction();
    let sizes = Sizes {
        folded: interaction.folded_inputs(),
        inputs: interaction.inputs(),
        hidden: &spec.plan.hidden,
        tasks: tasks.iter().map(|&task| spec.head_name(task)).collect(),
    };
    match spec.plan.kind {
        NetworkKind::SparseSharing | NetworkKind::SharedBottom => shared_bottom::graph(&sizes, ""),
        NetworkKind::SingleTask => {
            let prefix = format!("{}.", sizes.tasks[0]);
            shared_bottom::graph(&sizes, &prefix)
        }
        NetworkKind::CrossStitch => cross_stitch::graph(&sizes),
        NetworkKind::Mmoe { experts } => mmoe::graph(&sizes, experts),
        NetworkKind::Ple {
            levels,
            experts,
            shared,
        } => ple::graph(&sizes, levels, experts, shared),
        NetworkKind::Aitm => aitm::graph(&sizes),
    }
}

/// Adds a stack of hidden layers and returns its last node. `inputs` is the logical width of `from`. The layers are
/// named `PREFIXfc_FIRST` and so on.
fn stack(
    graph: &mut Graph,
    prefix: &str,
    first: usize,
    from: usize,
    inputs: usize,
    hidden: &[usize],
) -> usize {
    let mut end = (from, inputs);
    for (layer, &outputs) in (first..).zip(hidden) {
        let name = format!("{prefix}fc_{layer}");
        end = (graph.hidden(name, end.0, (end.1, outputs)), outputs);
    }
    end.0
}

/// Returns the position of a task's head in its network.
fn head<R: Real>(network: &Network<R>, task: usize) -> usize {
    let head = network.tasks.iter().position(|&other| other == task);
    head.expect("a network runs its own tasks only")
}
