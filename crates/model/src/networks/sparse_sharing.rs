//! NCS4CVR (arXiv 2008.09872): every task runs its own subnetwork of one network, the weights under
//! its mask. Connections in several masks are shared, those in one belong to its task.

use super::head;
use crate::masks::Masks;
use crate::number::Real;
use crate::tower::{Subnet, Tower};
use std::sync::Arc;

/// A subnet for each task. Without masks (before the search) every task keeps every connection.
pub(super) fn subnets<R: Real>(
    tower: &Tower<R>,
    tasks: &[usize],
    masks: Option<&Arc<Masks>>,
) -> Vec<Subnet<R>> {
    let subnet = |&task: &usize| {
        let mask = masks.map(|masks| (masks, task));
        tower.subnet(vec![head(tower, task)], mask)
    };
    tasks.iter().map(subnet).collect()
}
