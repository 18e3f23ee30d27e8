//! One file for each way of sharing: which subnetworks a step for some tasks runs.

pub mod mlp;
mod shared_bottom;
mod single_task;
mod sparse_sharing;

use crate::masks::Masks;
use crate::number::Real;
use crate::plan::NetworkKind;
use crate::tower::{Subnet, Tower};
use std::sync::Arc;

/// The subnets that tower `tower` runs for `tasks` (numbers of the spec, all of this tower). Their
/// heads, in order, are those of `tasks`.
pub(crate) fn subnets<R: Real>(
    kind: NetworkKind,
    tower: &Tower<R>,
    tasks: &[usize],
    masks: Option<&Arc<Masks>>,
) -> Vec<Subnet<R>> {
    match kind {
        NetworkKind::SparseSharing => sparse_sharing::subnets(tower, tasks, masks),
        NetworkKind::SharedBottom => shared_bottom::subnets(tower, tasks),
        NetworkKind::SingleTask => single_task::subnets(tower, tasks),
    }
}

/// Where the head of a task stands in its tower.
fn head<R: Real>(tower: &Tower<R>, task: usize) -> usize {
    let place = tower.tasks.iter().position(|&known| known == task);
    place.expect("a tower runs its own tasks only")
}
