//! The gradient of a step's loss.

use super::chunk::Chunk;
use crate::embedding_gradients::TableGradient;
use crate::network::Network;
use crate::number::Real;
use crate::subnet::Subnet;
use std::ops::Range;

/// The gradient of a step's loss with respect to all weights.
#[derive(Clone, Debug, Default)]
pub struct Gradient<R = f32> {
    /// Gradients of layers and heads, numbered by the network's [`crate::ParameterIndex`].
    pub dense: Vec<R>,
    /// For each table, the gradients of the rows that the batch points to.
    pub tables: Vec<TableGradient<R>>,
}

/// Adds the sums of all chunks and subnets into `dense`, by the number of each parameter.
pub(super) fn sum_dense<R: Real>(
    network: &Network<R>,
    subnets: &[Subnet<R>],
    chunks: &[Chunk<R>],
    dense: &mut Vec<R>,
) {
    dense.clear();
    let Some(index) = subnets.first().map(|subnet| &subnet.layout.index) else {
        return;
    };
    dense.resize(index.len(), R::ZERO);
    let add = |range: Range<usize>, sums: &[R], dense: &mut [R]| {
        for (position, &sum) in range.zip(sums) {
            if let Some(number) = index.number(position) {
                dense[number] += sum;
            }
        }
    };
    for chunk in chunks {
        let attentions = network.layout.attentions.iter().zip(&chunk.attended.sums);
        for (layout, sums) in attentions {
            sums.each(layout, |position, sum| {
                if let Some(number) = index.number(position) {
                    dense[number] += sum;
                }
            });
        }
    }
    let mut totals = Vec::new();
    for (s, subnet) in subnets.iter().enumerate() {
        for (l, layout) in subnet.layout.layers.iter().enumerate() {
            if !subnet.live_layers[l] {
                continue;
            }
            let sums = chunks.iter().map(|c| &c.outputs[s].sums.weights[l][..]);
            let sums: Vec<&[R]> = sums.collect();
            layout.scatter_add(&sums, dense, &mut totals);
        }
        for chunk in chunks {
            let sums = &chunk.outputs[s].sums;
            for (layer, biases) in network.layout.layers.iter().zip(&sums.biases) {
                add(layer.bias.clone(), biases, dense);
            }
            for (&head, sums) in subnet.heads.iter().zip(&sums.heads) {
                let head = &network.layout.heads[head];
                let (weights, bias) = sums.split_at(head.inputs);
                add(head.weights.clone(), weights, dense);
                add(head.bias.clone(), bias, dense);
            }
            for (stitch, sums) in network.layout.stitches.iter().zip(&sums.stitches) {
                add(stitch.clone(), sums, dense);
            }
        }
    }
}
