//! A fully connected layer `y = x W + b`, with ReLU and dropout where it is a hidden layer.

use super::half::HalfBuffers;
use super::{GraphExecutor, NodeGradients, NodeOutputs, Sums};
use crate::kernels::sparse::Start;
use crate::kernels::{LANES, Lanes, tiles};
use crate::number::Real;
use crate::workspace::Dropout;

/// One use of a layer: several nodes may run the same layer.
#[derive(Clone, Copy)]
pub(super) struct LayerOp {
    /// The node that it reads.
    pub(super) from: usize,
    /// The number of the layer, which selects its weights.
    pub(super) layer: usize,
    /// True if ReLU and dropout follow.
    pub(super) rectify: bool,
}

impl<R: Real> GraphExecutor<'_, R> {
    /// Computes the outputs of a layer for all tiles, `[tiles, outputs]`.
    pub(super) fn layer_forward(
        &self,
        op: LayerOp,
        rows: &[u32],
        nodes: NodeOutputs<'_, R>,
        output: &mut [Lanes<R>],
        half: &mut HalfBuffers,
    ) {
        let layer = &self.network.layout.layers[op.layer];
        let bias = &self.network.dense[layer.bias.clone()];
        let input = nodes.all(op.from);
        if self.subnet.is_half {
            self.half_forward(op, bias, input, output, half);
        } else {
            let product = &self.subnet.layout.layers[op.layer].forward;
            let weights = &self.subnet.layers[op.layer].forward;
            let bias = Start::Bias(bias);
            product.run(self.level, weights, bias, op.rectify, input, output);
        }
        if let Some(dropout) = self
            .dropout
            .filter(|dropout| op.rectify && dropout.rate > 0.0)
        {
            drop_units(output, layer.outputs, rows, op.layer, dropout);
        }
    }

    /// Adds the gradients of the layer's weights and biases to `sums`, and those of its input to `below`. `dy`, the
    /// gradients of the outputs of node `node`, become those before ReLU and dropout.
    pub(super) fn layer_backward(
        &self,
        op: LayerOp,
        node: usize,
        nodes: NodeOutputs<'_, R>,
        dy: &mut [Lanes<R>],
        below: &mut NodeGradients<'_, R>,
        sums: &mut Sums<R>,
    ) {
        let rate = self.dropout.map_or(0.0, |dropout| dropout.rate);
        let scale = R::of(1.0 / (1.0 - rate));
        let width = nodes.width(node);
        let n_tiles = dy.len() / width;
        let biases = &mut sums.biases[op.layer];
        let tiles = nodes.all(node).chunks_exact(width);
        for (y, dy) in tiles.zip(dy.chunks_exact_mut(width)) {
            if op.rectify {
                tiles::rectify_backward(self.level, scale, y, dy, biases);
            } else {
                for (sum, dy) in biases.iter_mut().zip(dy) {
                    *sum += dy.0.iter().copied().sum();
                }
            }
        }
        let layout = &self.subnet.layout.layers[op.layer];
        let input = nodes.all(op.from);
        let weights = &mut sums.weights[op.layer];
        let add = std::mem::replace(&mut below.started[op.from], true);
        let dx = &mut below.gradients[op.from];
        dx.resize(input.len(), Lanes::all(R::ZERO));
        if self.subnet.is_half {
            return self.half_backward(op, input, dy, weights, (dx, add), below.half);
        }
        let gradient = &layout.weight_gradient;
        gradient.add(self.level, n_tiles, input, dy, weights);
        let start = if add { Start::Outputs } else { Start::Zero };
        let weights = &self.subnet.layers[op.layer].backward;
        let product = &layout.backward;
        product.run(self.level, weights, start, false, dy, dx);
    }
}

/// Drops units of each row. The random numbers depend on the row's position in the batch, not in the tile.
fn drop_units<R: Real>(
    outputs: &mut [Lanes<R>],
    width: usize,
    rows: &[u32],
    layer: usize,
    dropout: Dropout,
) {
    let scale = R::of(1.0 / (1.0 - dropout.rate));
    let rng = dropout.rng.at(layer as u64);
    for (tile, rows) in outputs.chunks_exact_mut(width).zip(rows.chunks(LANES)) {
        for (unit, lanes) in tile.iter_mut().enumerate() {
            for (h, &row) in lanes.0.iter_mut().zip(rows) {
                let position = row as usize * width + unit;
                let is_dropped = rng.uniform(position as u64) < dropout.rate;
                *h = if is_dropped { R::ZERO } else { *h * scale };
            }
        }
    }
}
