//! The part of a network that one pass runs: the kept connections of its layers, and some heads.

use crate::interaction::Interaction;
use crate::kernels::sparse::{HalfPairs, SparseMatmul, SparsityPattern, WeightGradient};
use crate::masks::Mask;
use crate::network::Network;
use crate::number::Real;
use crate::parameter_index::ParameterIndex;
use rayon::prelude::*;
use std::sync::{Arc, OnceLock};

/// The kept connections of all layers under one mask, in the order in which each product reads them.
/// Packing a mask takes a few milliseconds at the paper's size, less than a step. Many steps
/// run under one mask, so a mask is packed once.
#[derive(Debug)]
pub(crate) struct SparseLayout {
    pub(crate) index: Arc<ParameterIndex>,
    pub(crate) layers: Vec<LayerLayout>,
}

/// The kept connections of one layer, numbered from 0. In layers that read the input they are folded connections
/// ([`Interaction`]), each of which carries the sum of one or two weights.
#[derive(Debug)]
pub(crate) struct LayerLayout {
    pub(crate) forward: SparseMatmul,
    pub(crate) backward: SparseMatmul,
    pub(crate) weight_gradient: WeightGradient,
    /// The kept connections.
    pattern: SparsityPattern,
    /// The products in half precision, once they are needed.
    half: OnceLock<HalfLayout>,
    /// For each connection, the position of its weight in [`Network::dense`].
    sources: Vec<u32>,
    /// The position of the mirrored weight, or [`NONE`]; empty in layers without any.
    mirrors: Vec<u32>,
    /// For each weight, and each mirrored one: the place of its gradient's sum in the order of `weight_gradient`, and its
    /// number in the parameter index.
    targets: Vec<[u32; 2]>,
}

/// The products of a layer in half precision.
#[derive(Debug)]
pub(crate) struct HalfLayout {
    pub(crate) forward: HalfPairs,
    pub(crate) backward: HalfPairs,
}

const NONE: u32 = u32::MAX;

/// Minimum number of gradients for a thread to sum.
const TARGETS_A_THREAD: usize = 8192;

impl SparseLayout {
    /// Packs the mask of one task; `None`: all connections.
    pub(crate) fn new<R: Real>(
        network: &Network<R>,
        mask: Option<&[Mask]>,
        index: Arc<ParameterIndex>,
    ) -> SparseLayout {
        let layout = &network.layout;
        let interaction = network.spec.interaction();
        let reads_input = network.graph.layers_on_input();
        let layer = |l: usize| {
            let mask = mask.map(|mask| &mask[l]);
            let folding = reads_input[l].then_some(&interaction);
            let first = layout.layers[l].weights.start;
            let (inputs, outputs) = (layout.layers[l].inputs, layout.layers[l].outputs);
            LayerLayout::new(inputs, outputs, first, mask, folding, &index)
        };
        let n_layers = layout.layers.len();
        let layers = (0..n_layers).into_par_iter().map(layer).collect();
        SparseLayout { index, layers }
    }
}

impl LayerLayout {
    fn new(
        inputs: usize,
        outputs: usize,
        first: usize,
        mask: Option<&Mask>,
        folding: Option<&Interaction>,
        index: &ParameterIndex,
    ) -> LayerLayout {
        let keeps = |input: usize, output: usize| {
            mask.is_none_or(|mask| mask.keeps(input * outputs + output))
        };
        let logical = |input| folding.map_or((input, None), |folding| folding.logical(input));
        let inputs = folding.map_or(inputs, Interaction::folded_inputs);
        // The logical inputs of each input, computed once.
        let logical: Vec<(usize, Option<usize>)> = (0..inputs).map(logical).collect();
        let pattern = SparsityPattern::from_fn(inputs, outputs, |input, output| {
            let (a, b) = logical[input];
            keeps(a, output) || b.is_some_and(|b| keeps(b, output))
        });
        let position = |input: usize, output: usize| (first + input * outputs + output) as u32;
        let mut sources = Vec::with_capacity(pattern.n_kept());
        let mut mirrors = Vec::new();
        for (input, output) in pattern.kept() {
            let (a, b) = logical[input];
            let b = b.filter(|&b| keeps(b, output));
            let (source, mirror) = match (keeps(a, output), b) {
                (true, b) => (a, b),
                (false, b) => (b.unwrap_or(a), None),
            };
            sources.push(position(source, output));
            if folding.is_some() {
                mirrors.push(mirror.map_or(NONE, |mirror| position(mirror, output)));
            }
        }
        if mirrors.iter().all(|&mirror| mirror == NONE) {
            mirrors = Vec::new();
        }
        let weight_gradient = WeightGradient::new(&pattern);
        LayerLayout {
            forward: SparseMatmul::forward(&pattern),
            backward: SparseMatmul::backward(&pattern),
            targets: targets(&weight_gradient, &sources, &mirrors, index),
            weight_gradient,
            pattern,
            half: OnceLock::new(),
            sources,
            mirrors,
        }
    }

    /// Returns the products in half precision.
    pub(crate) fn half(&self) -> &HalfLayout {
        self.half.get_or_init(|| HalfLayout {
            forward: HalfPairs::forward(&self.pattern),
            backward: HalfPairs::backward(&self.pattern),
        })
    }

    /// Writes the weight of each connection to `weights`.
    fn weights<R: Real>(&self, dense: &[R], weights: &mut Vec<R>) {
        weights.clear();
        weights.extend(self.sources.iter().map(|&at| dense[at as usize]));
        for (weight, &mirror) in weights.iter_mut().zip(&self.mirrors) {
            if mirror != NONE {
                *weight += dense[mirror as usize];
            }
        }
    }

    /// Adds the weight gradients of several chunks, in their order, to `gradients`, which are numbered by the parameter
    /// index. Several chunks are summed by the threads of the current pool, into `totals`, a buffer.
    pub(crate) fn scatter_add<R: Real>(
        &self,
        chunks: &[&[R]],
        gradients: &mut [R],
        totals: &mut Vec<R>,
    ) {
        if let [sums] = chunks {
            for &[at, number] in &self.targets {
                gradients[number as usize] += sums[at as usize];
            }
            return;
        }
        let targets = self.targets.par_iter().with_min_len(TARGETS_A_THREAD);
        targets
            .map(|&[at, _]| chunks.iter().map(|sums| sums[at as usize]).sum())
            .collect_into_vec(totals);
        for (&[_, number], &total) in self.targets.iter().zip(&*totals) {
            gradients[number as usize] += total;
        }
    }
}

/// Returns [`LayerLayout::targets`].
fn targets(
    gradient: &WeightGradient,
    sources: &[u32],
    mirrors: &[u32],
    index: &ParameterIndex,
) -> Vec<[u32; 2]> {
    let mut targets = Vec::with_capacity(sources.len() + mirrors.len());
    for (at, &number) in gradient.numbers().iter().enumerate() {
        if number == WeightGradient::NONE {
            continue;
        }
        let number = number as usize;
        let mirror = mirrors.get(number).filter(|&&mirror| mirror != NONE);
        for &position in [&sources[number]].into_iter().chain(mirror) {
            if let Some(number) = index.number(position as usize) {
                targets.push([at as u32, number as u32]);
            }
        }
    }
    targets
}

/// The part of a network that one pass runs: the kept weights of its layers, and some heads.
#[derive(Clone, Debug)]
pub struct Subnet<R = f32> {
    /// Positions of its heads in the network's tasks.
    pub heads: Vec<usize>,
    pub(crate) layout: Arc<SparseLayout>,
    /// For each node of the network's graph: true if the heads depend on it.
    pub(crate) live: Vec<bool>,
    /// For each layer: true if a live node runs it. The weights of other layers are not loaded, nor their gradients
    /// summed.
    pub(crate) live_layers: Vec<bool>,
    pub(crate) layers: Vec<LayerValues<R>>,
    /// True if the products of its layers are in half precision.
    pub(crate) is_half: bool,
    /// The rows of the batch that it runs on, ascending; `None`: all.
    pub(crate) rows: Option<Vec<u32>>,
}

/// The weights of one layer, packed for each of its products.
#[derive(Clone, Debug, Default)]
pub(crate) struct LayerValues<R> {
    by_number: Vec<R>,
    pub(crate) forward: Vec<R>,
    pub(crate) backward: Vec<R>,
    /// In half precision; empty without it, as the others are with it.
    pub(crate) half_forward: Vec<u32>,
    pub(crate) half_backward: Vec<u32>,
}

impl<R: Real> Subnet<R> {
    /// Creates a subnet with the network's current weights.
    pub(crate) fn new(
        network: &Network<R>,
        heads: Vec<usize>,
        layout: Arc<SparseLayout>,
    ) -> Subnet<R> {
        let n_layers = layout.layers.len();
        let live = network.graph.live(&heads);
        let mut subnet = Subnet {
            live_layers: network.graph.layers_run_by(&live),
            live,
            heads,
            layout,
            layers: (0..n_layers).map(|_| LayerValues::default()).collect(),
            is_half: false,
            rows: None,
        };
        subnet.load(network);
        subnet
    }

    /// Loads the network's current weights; needed after every change of them.
    pub fn load(&mut self, network: &Network<R>) {
        let layouts = self.layout.layers.par_iter().zip(&self.live_layers);
        let layers = layouts.zip(&mut self.layers);
        let live = layers.filter(|((_, live), _)| **live);
        live.for_each(|((layout, _), values)| {
            layout.weights(&network.dense, &mut values.by_number);
            if let Some(weights) = R::single(&values.by_number).filter(|_| self.is_half) {
                let half = layout.half();
                half.forward.load(weights, &mut values.half_forward);
                half.backward.load(weights, &mut values.half_backward);
                return;
            }
            layout.forward.load(&values.by_number, &mut values.forward);
            layout
                .backward
                .load(&values.by_number, &mut values.backward);
        });
    }

    /// Computes the products of its layers in half precision (bfloat16) from the next [`Subnet::load`] on: inputs,
    /// gradients and copies of the weights are rounded, sums and weights stay in single precision. Without effect in double
    /// precision.
    pub fn run_in_half(&mut self) {
        self.is_half = R::single(&[]).is_some();
    }

    /// Returns true if the weight gradients of some layer are computed for all connections.
    pub(crate) fn has_dense_gradient(&self) -> bool {
        let layers = self.layout.layers.iter().zip(&self.live_layers);
        let mut live = layers.filter(|(_, live)| **live);
        live.any(|(layer, _)| layer.weight_gradient.is_dense())
    }

    /// Restricts the subnet to these rows of the batch (ascending); `None`: all rows.
    pub fn run_on(&mut self, rows: Option<Vec<u32>>) {
        self.rows = rows;
    }
}
