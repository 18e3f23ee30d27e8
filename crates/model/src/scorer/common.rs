//! The first-layer connections that all subnetworks of a weight set keep. They have
//! the same weights and the same inputs, so their sums are equal for all tasks and are computed once.

use super::FrozenNetwork;
use super::branch::{fit, folded_part};
use super::split::Split;
use crate::kernels::sparse::{SparseMatmul, Start};
use crate::kernels::{Lanes, SimdLevel};
use crate::masks::{Mask, TaskMask};
use crate::spec::Spec;

/// Cost of reading the sums, in connections for each output and task.
const COST_OF_SUMS: usize = 3;

/// Minimum share of connections that must be saved: dividing the connections between two
/// products makes their groups smaller and less efficient.
const LEAST_SAVED: f64 = 0.1;

/// The first-layer connections that all tasks of a weight set keep, for the inputs that vary in a request.
#[derive(Clone, Debug)]
pub(super) struct Common {
    masks: Vec<Mask>,
    product: SparseMatmul,
    values: Vec<f32>,
}

impl Common {
    /// Packs the common connections. Returns `None` if this saves nothing: for one task, or masks that share too
    /// little. (A folded pair of fields stands for two connections; if the tasks share only one of them, it is
    /// computed three times instead of twice.)
    pub(super) fn new(
        spec: &Spec,
        member: &FrozenNetwork,
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
        let (pattern, kept) = part(&in_all);
        let mut n_separate = 0;
        let mut n_with_common = kept.len();
        for mask in &masks {
            n_separate += part(&|at| mask.keeps(at)).1.len();
            n_with_common += part(&|at| mask.keeps(at) && !in_all(at)).1.len();
            n_with_common += COST_OF_SUMS * layout.outputs;
        }
        let saved = 1.0 - n_with_common as f64 / n_separate.max(1) as f64;
        (masks.len() > 1 && saved > LEAST_SAVED).then_some(())?;
        let product = SparseMatmul::forward(&pattern);
        let mut values = Vec::new();
        product.load(&kept, &mut values);
        Some(Common {
            masks,
            product,
            values,
        })
    }

    /// Returns true if all tasks keep a logical connection of the first layer.
    pub(super) fn keeps(&self, at: usize) -> bool {
        self.masks.iter().all(|mask| mask.keeps(at))
    }

    /// Computes the sums over these connections, `[n_tiles, outputs]`, for tiles of inputs `[n_tiles, varying inputs]`,
    /// in the first `lanes` lanes of each tile.
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
