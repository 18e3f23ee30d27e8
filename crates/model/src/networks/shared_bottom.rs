//! The classic of multi-task learning (Caruana 1997): all hidden layers are shared, each task has its
//! own head.

use super::head;
use crate::number::Real;
use crate::tower::{Subnet, Tower};

/// One subnet that runs all heads.
pub(super) fn subnets<R: Real>(tower: &Tower<R>, tasks: &[usize]) -> Vec<Subnet<R>> {
    let heads = tasks.iter().map(|&task| head(tower, task)).collect();
    vec![tower.subnet(heads, None)]
}
