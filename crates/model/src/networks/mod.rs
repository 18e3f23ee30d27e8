//! One file for each way of sharing: which operations the network is, and which subnetworks a step for
//! some tasks runs.

mod aitm;
mod cross_stitch;
mod mmoe;
mod ple;
pub(crate) mod runner;
mod shared_bottom;
mod sparse_sharing;

use crate::connections::Connections;
use crate::graph::Graph;
use crate::masks::Masks;
use crate::number::Real;
use crate::plan::NetworkKind;
use crate::spec::Spec;
use crate::subnet::{Subnet, Wiring};
use crate::tower::Tower;
use std::sync::{Arc, OnceLock};

/// What the subnets of a tower are made from: its connections, and the wiring under each mask, made
/// when it is first asked for.
#[derive(Debug)]
pub(crate) struct Wirings {
    kind: NetworkKind,
    masks: Option<Arc<Masks>>,
    connections: Arc<Connections>,
    /// One for each task of the spec where there are masks, one for all where there are none.
    made: Vec<OnceLock<Arc<Wiring>>>,
}

impl Wirings {
    pub(crate) fn new<R: Real>(tower: &Tower<R>, masks: Option<&Arc<Masks>>) -> Wirings {
        let kind = tower.spec.plan.kind;
        let masks = masks.filter(|_| kind == NetworkKind::SparseSharing);
        let connections = Connections::new(tower, masks.map(|m| &**m));
        let n = masks.map_or(1, |masks| masks.tasks.len());
        Wirings {
            kind,
            masks: masks.cloned(),
            connections: Arc::new(connections),
            made: (0..n).map(|_| OnceLock::new()).collect(),
        }
    }

    pub(crate) fn connections(&self) -> &Arc<Connections> {
        &self.connections
    }

    /// The subnets that the tower runs for `tasks` (numbers of the spec, all of this tower). Their
    /// heads, in order, are those of `tasks`.
    pub(crate) fn subnets<R: Real>(&self, tower: &Tower<R>, tasks: &[usize]) -> Vec<Subnet<R>> {
        match self.kind {
            NetworkKind::SparseSharing => sparse_sharing::subnets(self, tower, tasks),
            // One subnet that runs the heads of all these tasks.
            _ => {
                let heads = tasks.iter().map(|&task| head(tower, task)).collect();
                vec![Subnet::new(tower, heads, self.of_task(tower, tasks[0]))]
            }
        }
    }

    /// The wiring of a task.
    fn of_task<R: Real>(&self, tower: &Tower<R>, task: usize) -> Arc<Wiring> {
        let task = tower.spec.mask_of(task);
        let place = if self.masks.is_some() { task } else { 0 };
        let make = || {
            let mask = self.masks.as_ref().map(|masks| &masks.tasks[task][..]);
            Arc::new(Wiring::new(tower, mask, self.connections.clone()))
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
    /// Names of the tower's tasks.
    tasks: Vec<&'a str>,
}

/// The operations of a tower of these tasks.
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

/// Where the head of a task stands in its tower.
fn head<R: Real>(tower: &Tower<R>, task: usize) -> usize {
    let place = tower.tasks.iter().position(|&known| known == task);
    place.expect("a tower runs its own tasks only")
}
