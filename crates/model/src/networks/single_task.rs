//! No sharing: each task has tables, layers and a head of its own (a tower for each task), and so is
//! trained apart.

use super::{Wirings, shared_bottom};
use crate::number::Real;
use crate::subnet::Subnet;
use crate::tower::Tower;

/// A shared bottom that nobody shares.
pub(super) fn subnets<R: Real>(
    wirings: &Wirings,
    tower: &Tower<R>,
    tasks: &[usize],
) -> Vec<Subnet<R>> {
    shared_bottom::subnets(wirings, tower, tasks)
}
