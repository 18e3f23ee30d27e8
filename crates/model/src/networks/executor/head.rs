//! Heads: a layer of one output for each task, without an activation function.

use super::{GraphExecutor, NodeGradients, NodeOutputs, Sums};
use crate::kernels::{LANES, Lanes, tiles};
use crate::number::Real;

impl<R: Real> GraphExecutor<'_, R> {
    /// Appends the logits of each of the subnet's heads on these rows.
    pub(super) fn heads_forward(
        &self,
        rows: &[u32],
        nodes: NodeOutputs<'_, R>,
        logits: &mut [Vec<R>],
    ) {
        for (logits, &head) in logits.iter_mut().zip(&self.subnet.heads) {
            let layout = &self.network.layout.heads[head];
            let bias = self.network.dense[layout.bias.start];
            let weights = &self.network.dense[layout.weights.clone()];
            let h = nodes.all(self.network.graph.heads[head]);
            for (h, rows) in h.chunks_exact(layout.inputs).zip(rows.chunks(LANES)) {
                let tile = tiles::head(self.level, bias, weights, h);
                logits.extend_from_slice(&tile.0[..rows.len()]);
            }
        }
    }

    /// Adds the gradients of the heads' weights to `sums`, and those of their inputs to `below`, from the gradients of
    /// the logits, `[heads][rows]`.
    pub(super) fn heads_backward(
        &self,
        n_tiles: usize,
        nodes: NodeOutputs<'_, R>,
        logit_gradients: &[Vec<R>],
        below: &mut NodeGradients<'_, R>,
        sums: &mut Sums<R>,
    ) {
        for (h, &head) in self.subnet.heads.iter().enumerate() {
            let node = self.network.graph.heads[head];
            below.start(node, n_tiles);
            let layout = &self.network.layout.heads[head];
            let weights = &self.network.dense[layout.weights.clone()];
            let (weight_sums, bias_sum) = sums.heads[h].split_at_mut(weights.len());
            let tiles = nodes.all(node).chunks_exact(layout.inputs);
            let tiles = tiles.zip(below.gradients[node].chunks_exact_mut(layout.inputs));
            for ((h, dh), gradients) in tiles.zip(logit_gradients[h].chunks(LANES)) {
                let mut lanes = Lanes::all(R::ZERO);
                lanes.0[..gradients.len()].copy_from_slice(gradients);
                tiles::head_backward(self.level, weights, &lanes, h, dh, weight_sums);
                bias_sum[0] += gradients.iter().copied().sum();
            }
        }
    }
}
