//! The products of a layer in half precision: inputs, gradients and weights rounded to bfloat16, sums in single precision.

use super::GraphExecutor;
use super::layer::LayerOp;
use crate::kernels::sparse::{HalfLanes, HalfOperands, HalfOutputs, HalfStart, narrow};
use crate::kernels::{LANES, Lanes, SimdLevel};
use crate::number::Real;

/// Rounded copies of a layer's inputs and of the gradients of its outputs, and sums of one tile; reused.
#[derive(Debug, Default)]
pub(super) struct HalfBuffers {
    x: Vec<HalfLanes>,
    dy: Vec<HalfLanes>,
    sums: Vec<Lanes<f32>>,
}

impl<R: Real> GraphExecutor<'_, R> {
    /// Computes the outputs of a layer, `[tiles, outputs]`, before dropout. Nothing but single precision has a half.
    pub(super) fn half_forward(
        &self,
        op: LayerOp,
        bias: &[R],
        input: &[Lanes<R>],
        output: &mut [Lanes<R>],
        half: &mut HalfBuffers,
    ) {
        let (Some(bias), Some(input)) = (R::single(bias), R::single_tiles(input)) else {
            return;
        };
        let Some(output) = R::single_tiles_mut(output) else {
            return;
        };
        let x = rounded(self.level, input, &mut half.x);
        let weights = &self.subnet.layers[op.layer].half_forward;
        let product = &self.subnet.layout.layers[op.layer].half().forward;
        let operands = HalfOperands {
            weights,
            start: HalfStart::Bias(bias),
            rectify: op.rectify,
        };
        let y = HalfOutputs::Single(output);
        product.run(self.level, operands, x, &mut half.sums, y);
    }

    /// Adds the gradients of the layer's weights to `sums`, from `dy`, those before ReLU and dropout; writes those of its input,
    /// or adds them with `(_, true)`.
    pub(super) fn half_backward(
        &self,
        op: LayerOp,
        input: &[Lanes<R>],
        dy: &[Lanes<R>],
        sums: &mut [R],
        (dx, add): (&mut [Lanes<R>], bool),
        half: &mut HalfBuffers,
    ) {
        let layout = &self.subnet.layout.layers[op.layer];
        let gradient = &layout.weight_gradient;
        let n_tiles = dy.len() / layout.half().forward.outputs();
        let single = (R::single_tiles(input), R::single_tiles(dy));
        let ((Some(x), Some(single_dy)), Some(dx)) = (single, R::single_tiles_mut(dx)) else {
            return;
        };
        let half_dy = rounded(self.level, single_dy, &mut half.dy);
        if let Some(sums) = R::single_mut(sums) {
            let x = rounded(self.level, x, &mut half.x);
            gradient.add_half(self.level, n_tiles, x, half_dy, sums);
        }
        let start = if add {
            HalfStart::Outputs
        } else {
            HalfStart::Zero
        };
        let operands = HalfOperands {
            weights: &self.subnet.layers[op.layer].half_backward,
            start,
            rectify: false,
        };
        let (sums, y) = (&mut half.sums, HalfOutputs::Single(dx));
        let product = &layout.half().backward;
        product.run(self.level, operands, half_dy, sums, y);
    }
}

/// Returns tiles in half precision, in a buffer.
fn rounded<'a>(
    level: SimdLevel,
    tiles: &[Lanes<f32>],
    buffer: &'a mut Vec<HalfLanes>,
) -> &'a [HalfLanes] {
    buffer.resize(tiles.len(), HalfLanes([0; LANES]));
    narrow(level, tiles, buffer);
    buffer
}
