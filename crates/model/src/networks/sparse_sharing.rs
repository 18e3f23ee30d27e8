//! NCS4CVR (arXiv 2008.09872): every task runs its own subnetwork of one network, the weights under
//! its mask. ParameterIndex in several masks are shared, those in one belong to its task.

use super::{Wirings, head};
use crate::network::Network;
use crate::number::Real;
use crate::subnet::Subnet;

/// A subnet for each task. Without masks (before the search) every task keeps every connection.
pub(super) fn subnets<R: Real>(
    layouts: &Wirings,
    network: &Network<R>,
    tasks: &[usize],
) -> Vec<Subnet<R>> {
    let subnet = |&task: &usize| {
        let layout = layouts.of_task(network, task);
        Subnet::new(network, vec![head(network, task)], layout)
    };
    tasks.iter().map(subnet).collect()
}
