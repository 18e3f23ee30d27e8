//! No sharing: each task has tables, layers and a head of its own (a tower for each task), and so is
//! trained apart.

use super::shared_bottom;
use crate::number::Real;
use crate::tower::{Subnet, Tower};

/// A shared bottom that nobody shares.
pub(super) fn subnets<R: Real>(tower: &Tower<R>, tasks: &[usize]) -> Vec<Subnet<R>> {
    shared_bottom::subnets(tower, tasks)
}
