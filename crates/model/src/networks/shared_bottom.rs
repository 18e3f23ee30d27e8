//! The classic of multi-task learning (Caruana 1997): all hidden layers are shared, each task has its
//! own head.

use super::{Wirings, head};
use crate::number::Real;
use crate::subnet::Subnet;
use crate::tower::Tower;

/// One subnet that runs all heads.
pub(super) fn subnets<R: Real>(
    wirings: &Wirings,
    tower: &Tower<R>,
    tasks: &[usize],
) -> Vec<Subnet<R>> {
    let heads = tasks.iter().map(|&task| head(tower, task)).collect();
    let wiring = wirings.of_task(tower, tower.tasks[0]);
    vec![Subnet::new(tower, heads, wiring)]
}
