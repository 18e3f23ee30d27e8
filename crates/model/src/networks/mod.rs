//! One file for each way of sharing: which subnetworks a step for some tasks runs.

pub mod mlp;
mod shared_bottom;
mod single_task;
mod sparse_sharing;

use crate::connections::Connections;
use crate::masks::Masks;
use crate::number::Real;
use crate::plan::NetworkKind;
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
        let connections = Connections::new(&tower.layout, &tower.tasks, masks.map(|m| &**m));
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
            NetworkKind::SharedBottom => shared_bottom::subnets(self, tower, tasks),
            NetworkKind::SingleTask => single_task::subnets(self, tower, tasks),
        }
    }

    /// The wiring of a task.
    fn of_task<R: Real>(&self, tower: &Tower<R>, task: usize) -> Arc<Wiring> {
        let place = if self.masks.is_some() { task } else { 0 };
        let make = || {
            let mask = self.masks.as_ref().map(|masks| &masks.tasks[task][..]);
            let interaction = tower.spec.interaction();
            let connections = self.connections.clone();
            Arc::new(Wiring::new(&tower.layout, &interaction, mask, connections))
        };
        self.made[place].get_or_init(make).clone()
    }
}

/// Where the head of a task stands in its tower.
fn head<R: Real>(tower: &Tower<R>, task: usize) -> usize {
    let place = tower.tasks.iter().position(|&known| known == task);
    place.expect("a tower runs its own tasks only")
}
