//! One file for each way of sharing: which operations the network is, and which subnetworks a step for
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

/// What the subnets of a network are made from: its connections, and the layout under each mask, made
/// when it is first asked for.
#[derive(Debug)]
pub(crate) struct Wirings {
    kind: NetworkKind,
    masks: Option<Arc<Masks>>,
    connections: Arc<ParameterIndex>,
    /// One for each task of the spec where there are masks, one for all where there are none.
    made: Vec<OnceLock<Arc<SparseLayout>>>,
}

impl Wirings {
    pub(crate) fn new<R: Real>(network: &Network<R>, masks: Option<&Arc<Masks>>) -> Wirings {
        let kind = network.spec.plan.kind;
        let masks = masks.filter(|_| kind == NetworkKind::SparseSharing);
        let connections = ParameterIndex::new(network, masks.map(|m| &**m));
        let n = masks.map_or(1, |masks| masks.tasks.len());
        Wirings {
            kind,
            masks: masks.cloned(),
            connections: Arc::new(connections),
            made: (0..n).map(|_| OnceLock::new()).collect(),
        }
    }

    pub(crate) fn connections(&self) -> &Arc<ParameterIndex> {
        &self.connections
    }

    /// The subnets that the network runs for `tasks` (numbers of the spec, all of this network). Their
    /// heads, in order, are those of `tasks`.
    pub(crate) fn subnets<R: Real>(&self, network: &Network<R>, tasks: &[usize]) -> Vec<Subnet<R>> {
        match self.kind {
            NetworkKind::SparseSharing => sparse_sharing::subnets(self, network, tasks),
            // One subnet that runs the heads of all these tasks.
            _ => {
                let heads = tasks.iter().map(|&task| head(network, task)).collect();
                vec![Subnet::new(network, heads, self.of_task(network, tasks[0]))]
            }
        }
    }

    /// The layout of a task.
    fn of_task<R: Real>(&self, network: &Network<R>, task: usize) -> Arc<SparseLayout> {
        let task = network.spec.mask_of(task);
        let place = if self.masks.is_some() { task } else { 0 };
        let make = || {
            let mask = self.masks.as_ref().map(|masks| &masks.tasks[task][..]);
            Arc::new(SparseLayout::new(network, mask, self.connections.clone()))
        };
        self.made[place].get_or_init(make).clone()
    }
}

/// The sizes that a network is made from.
struct Sizes<'a> {
    /// Width of the input as it is computed.
    folded: usize,
    /// Width of the input as the paper counts it.
    inputs: usize,
    /// Widths of the hidden layers.
    hidden: &'a [usize],
    /// Names of the network's tasks.
    tasks: Vec<&'a str>,
}

/// The operations of a network of these tasks.
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
            let whose = format!("{}.", sizes.tasks[0]);
            shared_bottom::graph(&sizes, &whose)
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

/// Hidden layers one after the other; `inputs` is the width of `from` as the paper counts it. Their
/// names are `fc_FIRST` and so on, behind `whose`.
fn stack(
    graph: &mut Graph,
    whose: &str,
    first: usize,
    from: usize,
    inputs: usize,
    hidden: &[usize],
) -> usize {
    let mut end = (from, inputs);
    for (layer, &outputs) in (first..).zip(hidden) {
        let name = format!("{whose}fc_{layer}");
        end = (graph.hidden(name, end.0, (end.1, outputs)), outputs);
    }
    end.0
}

/// Where the head of a task stands in its network.
fn head<R: Real>(network: &Network<R>, task: usize) -> usize {
    let place = network.tasks.iter().position(|&known| known == task);
    place.expect("a tower runs its own tasks only")
}
