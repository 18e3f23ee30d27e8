//! One subnetwork of a ranker, with its kept weights packed for many and for few rows.

use super::FrozenNetwork;
use super::common::Common;
use super::split::Split;
use crate::interaction::Interaction;
use crate::kernels::sparse::{
    HalfLanes, HalfOutputs, HalfProduct, SparseMatmul, SparsityPattern, Start, narrow,
};
use crate::kernels::{LANES, Lanes, Panels, SimdLevel, tiles};
use crate::layer_layout::LayerLayout;
use crate::masks::TaskMask;
use crate::spec::Spec;

/// The layers that some tasks of one weight set share, and their heads.
#[derive(Clone, Debug)]
pub(super) struct Branch {
    /// Weights of the first layer for the inputs that are fixed in a request, `[fixed inputs, outputs]`.
    fixed: Panels<f32>,
    layers: Vec<Layer>,
    heads: Vec<Head>,
}

#[derive(Clone, Debug)]
struct Layer {
    bias: Vec<f32>,
    /// All weights, with 0 for pruned ones; used for few rows.
    dense: Panels<f32>,
    /// The kept connections, in the first layer without those of [`Common`]; used for tiles.
    product: SparseMatmul,
    values: Vec<f32>,
    /// The same in half precision, if requested.
    half: Option<HalfProduct>,
}

#[derive(Clone, Debug)]
struct Head {
    task: usize,
    bias: f32,
    weights: Vec<f32>,
}

/// Buffers for the activations of a branch.
#[derive(Clone, Debug, Default)]
pub(super) struct Activations {
    lanes: [Vec<Lanes<f32>>; 2],
    halves: [Vec<HalfLanes>; 2],
    buffer: Vec<Lanes<f32>>,
    rows: [Vec<f32>; 2],
}

impl Branch {
    /// Packs the branch of a weight set that scores `tasks`; `None` for a network without hidden layers. Connections
    /// in `common` are left out.
    pub(super) fn new(
        spec: &Spec,
        member: &FrozenNetwork,
        tasks: &[usize],
        mask: Option<&TaskMask>,
        common: Option<&Common>,
        split: &Split,
        half: bool,
    ) -> Option<Branch> {
        let dense = &member.network.dense;
        let mut shapes = member.network.layout.layers.iter().enumerate();
        let kept = |layer: usize, at: usize| mask.is_none_or(|mask| mask[layer].keeps(at));
        let (_, first) = shapes.next()?;
        let weights = &dense[first.weights.clone()];
        let interaction = spec.interaction();
        let folded = member.network.masked_weights(0, mask);
        let (fixed, varying) = (&split.fixed, &split.varying);
        let own = |at: usize| kept(0, at) && !common.is_some_and(|common| common.keeps(at));
        let (pattern, own) = folded_part(interaction, weights, first.outputs, varying, own);
        let mut layers = vec![Layer::new(
            dense,
            first,
            pick(&folded, varying, first.outputs),
            &own,
            &pattern,
            half,
        )];
        for (number, layer) in shapes {
            let pattern = SparsityPattern::from_fn(layer.inputs, layer.outputs, |input, output| {
                kept(number, input * layer.outputs + output)
            });
            let weights = member.network.masked_weights(number, mask);
            let kept = by_number(&pattern, &weights);
            layers.push(Layer::new(dense, layer, weights, &kept, &pattern, half));
        }
        let head = |&task: &usize| {
            let position = member
                .network
                .tasks
                .iter()
                .position(|&other| other == task)?;
            let head = &member.network.layout.heads[position];
            Some(Head {
                task,
                bias: dense[head.bias.start],
                weights: dense[head.weights.clone()].to_vec(),
            })
        };
        Some(Branch {
            fixed: {
                let weights = pick(&folded, fixed, first.outputs);
                Panels::new(fixed.len(), first.outputs, &weights)
            },
            layers,
            heads: tasks.iter().map(head).collect::<Option<_>>()?,
        })
    }

    /// Computes the initial first-layer sums of a request: biases and fixed inputs.
    pub(super) fn start(&self, level: SimdLevel, fixed: &[f32], start: &mut Vec<f32>) {
        let bias = &self.layers[0].bias;
        start.clear();
        start.resize(bias.len(), 0.0);
        self.fixed.run(level, fixed, bias, false, start);
    }

    /// Computes the logits of each head for tiles of inputs, `[n_tiles, varying inputs]`, in the first `lanes` lanes
    /// of each, and passes them to `on_logits` by task and tile. `sums` are those of [`Common`], if there are any.
    #[expect(clippy::too_many_arguments, reason = "inputs, buffers and a callback")]
    pub(super) fn run_tiles(
        &self,
        level: SimdLevel,
        lanes: usize,
        start: &[f32],
        n_tiles: usize,
        x: &[Lanes<f32>],
        sums: Option<&[Lanes<f32>]>,
        activations: &mut Activations,
        mut on_logits: impl FnMut(usize, usize, &Lanes<f32>),
    ) {
        // Up to two vectors of lanes, single precision is as fast.
        let in_half = lanes > LANES / 2 && self.layers.iter().all(|layer| layer.half.is_some());
        let last = if in_half {
            self.layers_in_half(level, start, n_tiles, x, activations)
        } else {
            self.layers(level, lanes, start, n_tiles, x, sums, activations)
        };
        for head in &self.heads {
            let width = head.weights.len();
            let tiles = last.chunks_exact(width.max(1)).take(n_tiles);
            for (tile, h) in tiles.enumerate() {
                let logits = tiles::head(level, head.bias, &head.weights, h);
                on_logits(head.task, tile, &logits);
            }
        }
    }

    /// Runs all layers, and returns the outputs of the last.
    #[expect(
        clippy::too_many_arguments,
        reason = "inputs and buffers, as in `run_tiles`"
    )]
    fn layers<'a>(
        &self,
        level: SimdLevel,
        lanes: usize,
        start: &[f32],
        n_tiles: usize,
        x: &[Lanes<f32>],
        sums: Option<&[Lanes<f32>]>,
        activations: &'a mut Activations,
    ) -> &'a [Lanes<f32>] {
        let [above, below] = &mut activations.lanes;
        for (number, layer) in self.layers.iter().enumerate() {
            let n_outputs = n_tiles * layer.product.outputs();
            let y = fit(above, n_outputs, Lanes::all(0.0));
            let (x, start) = match (number, sums) {
                (0, None) => (x, Start::Bias(start)),
                (0, Some(sums)) => (x, Start::Sums(&sums[..n_outputs], start)),
                _ => (
                    &below[..n_tiles * layer.product.inputs()],
                    Start::Bias(&layer.bias),
                ),
            };
            let values = &layer.values;
            let product = layer.product.first_lanes(lanes);
            product.run(level, values, start, true, x, y);
            std::mem::swap(above, below);
        }
        below
    }

    /// Like [`Branch::layers`], in half precision.
    fn layers_in_half<'a>(
        &self,
        level: SimdLevel,
        start: &[f32],
        n_tiles: usize,
        x: &[Lanes<f32>],
        activations: &'a mut Activations,
    ) -> &'a [Lanes<f32>] {
        let [above, below] = &mut activations.halves;
        narrow(level, x, fit(below, x.len(), HalfLanes([0; LANES])));
        let last = &mut activations.lanes[0];
        for (number, layer) in self.layers.iter().enumerate() {
            let Some(product) = &layer.half else { continue };
            let n_outputs = n_tiles * product.outputs();
            let x = &below[..n_tiles * product.inputs()];
            let bias = if number == 0 { start } else { &layer.bias };
            let y = if number + 1 == self.layers.len() {
                HalfOutputs::Single(fit(last, n_outputs, Lanes::all(0.0)))
            } else {
                HalfOutputs::Half(fit(above, n_outputs, HalfLanes([0; LANES])))
            };
            product.run(level, bias, x, &mut activations.buffer, y);
            std::mem::swap(above, below);
        }
        last
    }

    /// Like [`Branch::run_tiles`], for rows of inputs, `[n_rows, varying inputs]`, by task and row.
    pub(super) fn run_rows(
        &self,
        level: SimdLevel,
        start: &[f32],
        n_rows: usize,
        x: &[f32],
        activations: &mut Activations,
        mut on_logits: impl FnMut(usize, usize, f32),
    ) {
        let [mut above, mut below] = std::mem::take(&mut activations.rows);
        for (number, layer) in self.layers.iter().enumerate() {
            let y = fit(&mut above, n_rows * layer.product.outputs(), 0.0);
            let (x, bias) = match number {
                0 => (x, start),
                _ => (&below[..n_rows * layer.product.inputs()], &layer.bias[..]),
            };
            layer.dense.run(level, x, bias, true, y);
            std::mem::swap(&mut above, &mut below);
        }
        for head in &self.heads {
            let rows = below.chunks_exact(head.weights.len().max(1)).take(n_rows);
            for (row, h) in rows.enumerate() {
                let terms = h.iter().zip(&head.weights).map(|(h, weight)| h * weight);
                on_logits(head.task, row, head.bias + terms.sum::<f32>());
            }
        }
        activations.rows = [above, below];
    }
}

impl Layer {
    fn new(
        dense: &[f32],
        layout: &LayerLayout,
        weights: Vec<f32>,
        kept: &[f32],
        pattern: &SparsityPattern,
        half: bool,
    ) -> Layer {
        let product = SparseMatmul::forward(pattern);
        let mut values = Vec::new();
        product.load(kept, &mut values);
        Layer {
            bias: dense[layout.bias.clone()].to_vec(),
            dense: Panels::new(pattern.inputs(), pattern.outputs(), &weights),
            half: half.then(|| HalfProduct::new(pattern, kept)),
            product,
            values,
        }
    }
}

/// Returns the connections of the folded first layer from some of its inputs that stand for a
/// kept connection, and their weights by number. `kept(position)` is a mask over the logical connections.
pub(super) fn folded_part(
    interaction: Interaction,
    weights: &[f32],
    outputs: usize,
    inputs: &[usize],
    kept: impl Fn(usize) -> bool,
) -> (SparsityPattern, Vec<f32>) {
    let folded_kept = |folded: usize, output: usize| {
        let (one, mirrored) = interaction.logical(folded);
        let mut logical = [Some(one), mirrored].into_iter().flatten();
        logical.any(|input| kept(input * outputs + output))
    };
    let pattern = SparsityPattern::from_fn(inputs.len(), outputs, |input, output| {
        folded_kept(inputs[input], output)
    });
    let folded = interaction.fold(weights, outputs, kept);
    let weights = by_number(&pattern, &pick(&folded, inputs, outputs));
    (pattern, weights)
}

/// Returns the weights of the connections of a pattern, from a matrix `[inputs, outputs]`.
fn by_number(pattern: &SparsityPattern, weights: &[f32]) -> Vec<f32> {
    let at = |(input, output): (usize, usize)| weights[input * pattern.outputs() + output];
    pattern.kept().map(at).collect()
}

/// Returns some rows of a matrix of `width` columns.
fn pick(matrix: &[f32], rows: &[usize], width: usize) -> Vec<f32> {
    let row = |&row: &usize| &matrix[row * width..(row + 1) * width];
    rows.iter().flat_map(row).copied().collect()
}

/// Returns the first `n` elements of a buffer, which grows if needed and never shrinks.
pub(super) fn fit<T: Clone>(buffer: &mut Vec<T>, n: usize, value: T) -> &mut [T] {
    if buffer.len() < n {
        buffer.resize(n, value);
    }
    &mut buffer[..n]
}
