//! What two subnetworks of one member have in common: the first-layer connections that both keep have
//! the same weights and the same inputs, so their sums are the same for both, and computed once.

use super::Frozen;
use super::branch::{fit, folded_part};
use super::split::Split;
use crate::kernels::sparse::{SparseMatmul, Start};
use crate::kernels::{Lanes, SimdLevel};
use crate::masks::{Mask, TaskMask};
use crate::spec::Spec;

/// Reading sums costs about as much as so many connections for each output and task.
const COST_OF_SUMS: usize = 3;

/// So much must be saved of the connections that are computed apart: connections that are spread over two
/// products come in smaller groups, which cost more each.
const LEAST_SAVED: f64 = 0.1;

/// The first-layer connections that all tasks of a member keep, for what varies in a request.
#[derive(Clone, Debug)]
pub(super) struct Common {
    masks: Vec<Mask>,
    product: SparseMatmul,
    values: Vec<f32>,
}

impl Common {
    /// `None` where it would save nothing: one task, or masks that share too little. (Folded, a pair of
    /// fields stands for two connections; where the tasks share but one of them, it is computed three
    /// times instead of twice.)
    pub(super) fn new(
        spec: &Spec,
        member: &Frozen,
        masks: &[&TaskMask],
        split: &Split,
    ) -> Option<Common> {
        let layout = member.network.layout.layers.first()?;
        let masks: Vec<Mask> = masks.iter().map(|mask| mask[0].clone()).collect();
        let weights = &member.network.dense[layout.weights.clone()];
        let part = |kept: &dyn Fn(usize) -> bool| {
            let (interaction, inputs) = (spec.interaction(), &split.varying);
            folded_part(interaction, weights, layout.outputs, inputs, kept)
        };
        let in_all = |at: usize| masks.iter().all(|mask| mask.keeps(at));
        let (grid, kept) = part(&in_all);
        let mut apart = 0;
        let mut together = kept.len();
        for mask in &masks {
            apart += part(&|at| mask.keeps(at)).1.len();
            together += part(&|at| mask.keeps(at) && !in_all(at)).1.len();
            together += COST_OF_SUMS * layout.outputs;
        }
        let saved = 1.0 - together as f64 / apart.max(1) as f64;
        (masks.len() > 1 && saved > LEAST_SAVED).then_some(())?;
        let product = SparseMatmul::forward(&grid);
        let mut values = Vec::new();
        product.load(&kept, &mut values);
        Some(Common {
            masks,
            product,
            values,
        })
    }

    /// Whether a logical connection of the first layer is one of all tasks.
    pub(super) fn keeps(&self, at: usize) -> bool {
        self.masks.iter().all(|mask| mask.keeps(at))
    }

    /// The sums over these connections in tiles of inputs, `[n_tiles, varying inputs]`:
    /// `[n_tiles, outputs]`, in the first `lanes` lanes of each.
    pub(super) fn sums<'a>(
        &self,
        level: SimdLevel,
        lanes: usize,
        n_tiles: usize,
        x: &[Lanes<f32>],
        sums: &'a mut Vec<Lanes<f32>>,
    ) -> &'a [Lanes<f32>] {
        let sums = fit(sums, n_tiles * self.product.outputs(), Lanes::all(0.0));
        let product = self.product.first_lanes(lanes);
        product.run(level, &self.values, Start::Zero, false, x, sums);
        sums
    }
}
