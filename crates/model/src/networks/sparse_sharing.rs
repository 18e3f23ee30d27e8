//! NCS4CVR (arXiv 2008.09872): every task runs its own subnetwork of one network, the weights under
//! its mask. Weights in several masks are shared; those in one mask belong to its task.

use super::{SparseLayouts, head};
use crate::network::Network;
use crate::number::Real;
use crate::subnet::Subnet;

/// Returns a subnet for each task. Without masks (before the search) every task keeps every connection.
pub(super) fn subnets<R: Real>(
    layouts: &SparseLayouts,
    network: &Network<R>,
    tasks: &[usize],
) -> Vec<Subnet<R>> {
    let subnet = |&task: &usize| {
        let layout = layouts.layout_of(network, task);
        Subnet::new(network, vec![head(network, task)], layout)
    };
    tasks.iter().map(subnet).collect()
}
