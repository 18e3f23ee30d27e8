//! NCS4CVR (arXiv 2008.09872): every task runs its own subnetwork of one network, the weights under
//! its mask. Connections in several masks are shared, those in one belong to its task.

use super::{Wirings, head};
use crate::number::Real;
use crate::subnet::Subnet;
use crate::tower::Tower;

/// A subnet for each task. Without masks (before the search) every task keeps every connection.
pub(super) fn subnets<R: Real>(
    wirings: &Wirings,
    tower: &Tower<R>,
    tasks: &[usize],
) -> Vec<Subnet<R>> {
    let subnet = |&task: &usize| {
        let wiring = wirings.of_task(tower, task);
        Subnet::new(tower, vec![head(tower, task)], wiring)
    };
    tasks.iter().map(subnet).collect()
}
