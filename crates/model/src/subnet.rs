//! The part of a network that one pass runs: the kept connections of its layers, and some heads.

use crate::interaction::Interaction;
use crate::kernels::sparse::{SparseMatmul, SparsityPattern, WeightGradient};
use crate::masks::Mask;
use crate::network::Network;
use crate::number::Real;
use crate::parameter_index::ParameterIndex;
use rayon::prelude::*;
use std::sync::Arc;

/// The kept connections of all layers under one mask, in the orders in which the products run through
/// them. Packing a mask takes some milliseconds at the paper's size, less than a step, and many steps
/// run under one mask: it is made once for a mask.
#[derive(Debug)]
pub(crate) struct SparseLayout {
    pub(crate) connections: Arc<ParameterIndex>,
    pub(crate) layers: Vec<LayerLayout>,
}

/// Those of one layer. ParameterIndex are numbered among the layer's kept ones; in the first layer they
/// are folded ones ([`Interaction`]), which carry the sum of one or two weights.
#[derive(Debug)]
pub(crate) struct LayerLayout {
    pub(crate) forward: SparseMatmul,
    pub(crate) backward: SparseMatmul,
    pub(crate) outer: WeightGradient,
    /// Where the weight of each connection lies in [`Network::dense`].
    sources: Vec<u32>,
    /// Where the weight of its mirror image lies, or [`NONE`]; empty in layers without any.
    mirrors: Vec<u32>,
}

const NONE: u32 = u32::MAX;

impl SparseLayout {
    /// The layout under the mask of one task, `None`: all connections.
    pub(crate) fn new<R: Real>(
        network: &Network<R>,
        mask: Option<&[Mask]>,
        connections: Arc<ParameterIndex>,
    ) -> SparseLayout {
        let layout = &network.layout;
        let interaction = network.spec.interaction();
        let reads_input = network.graph.layers_on_input();
        let layer = |l: usize| {
            let mask = mask.map(|mask| &mask[l]);
            let folding = reads_input[l].then_some(&interaction);
            let first = layout.layers[l].weights.start;
            let (inputs, outputs) = (layout.layers[l].inputs, layout.layers[l].outputs);
            LayerLayout::new(inputs, outputs, first, mask, folding)
        };
        let n_layers = layout.layers.len();
        SparseLayout {
            connections,
            layers: (0..n_layers).into_par_iter().map(layer).collect(),
        }
    }
}

impl LayerLayout {
    fn new(
        inputs: usize,
        outputs: usize,
        first: usize,
        mask: Option<&Mask>,
        folding: Option<&Interaction>,
    ) -> LayerLayout {
        let keeps = |input: usize, output: usize| {
            mask.is_none_or(|mask| mask.keeps(input * outputs + output))
        };
        let logical = |input| folding.map_or((input, None), |folding| folding.logical(input));
        let inputs = folding.map_or(inputs, Interaction::folded_inputs);
        // The logical inputs of each input, looked up once.
        let logical: Vec<(usize, Option<usize>)> = (0..inputs).map(logical).collect();
        let grid = SparsityPattern::from_fn(inputs, outputs, |input, output| {
            let (a, b) = logical[input];
            keeps(a, output) || b.is_some_and(|b| keeps(b, output))
        });
        let position = |input: usize, output: usize| (first + input * outputs + output) as u32;
        let mut sources = Vec::with_capacity(grid.n_kept());
        let mut mirrors = Vec::new();
        for (input, output) in grid.kept() {
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
        LayerLayout {
            forward: SparseMatmul::forward(&grid),
            backward: SparseMatmul::backward(&grid),
            outer: WeightGradient::new(&grid),
            sources,
            mirrors,
        }
    }

    /// The weight of each connection.
    fn weights<R: Real>(&self, dense: &[R], weights: &mut Vec<R>) {
        weights.clear();
        weights.extend(self.sources.iter().map(|&at| dense[at as usize]));
        for (weight, &mirror) in weights.iter_mut().zip(&self.mirrors) {
            if mirror != NONE {
                *weight += dense[mirror as usize];
            }
        }
    }

    /// Adds the sums of several chunks, one after the other, to the gradients of the connections.
    pub(crate) fn spread<R: Real>(
        &self,
        connections: &ParameterIndex,
        chunks: &[&[R]],
        gradients: &mut [R],
    ) {
        let mut add = |position: u32, sum: R| {
            if let Some(number) = connections.number(position as usize) {
                gradients[number] += sum;
            }
        };
        for (k, &number) in self.outer.numbers().iter().enumerate() {
            if number == WeightGradient::NONE {
                continue;
            }
            let sum = chunks.iter().map(|sums| sums[k]).sum();
            add(self.sources[number as usize], sum);
            match self.mirrors.get(number as usize) {
                Some(&mirror) if mirror != NONE => add(mirror, sum),
                _ => {}
            }
        }
    }
}

/// The part of a network that one pass runs: the kept weights of its layers, and some heads.
#[derive(Clone, Debug)]
pub struct Subnet<R = f32> {
    /// Positions of its heads in the network's tasks.
    pub heads: Vec<usize>,
    pub(crate) layout: Arc<SparseLayout>,
    /// For each node of the network's graph: whether the heads depend on it.
    pub(crate) live: Vec<bool>,
    /// For each layer: whether a live node runs it. Others are neither loaded nor summed.
    pub(crate) live_layers: Vec<bool>,
    pub(crate) layers: Vec<LayerValues<R>>,
    /// The rows of the batch that it runs on, ascending; `None`: all.
    pub(crate) rows: Option<Vec<u32>>,
}

/// The weights of one layer in the orders of its products.
#[derive(Clone, Debug, Default)]
pub(crate) struct LayerValues<R> {
    by_number: Vec<R>,
    pub(crate) forward: Vec<R>,
    pub(crate) backward: Vec<R>,
}

impl<R: Real> Subnet<R> {
    /// A subnet with the weights that the network has now.
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
            rows: None,
        };
        subnet.load(network);
        subnet
    }

    /// Takes over the weights that the network has now: after every change of them.
    pub fn load(&mut self, network: &Network<R>) {
        let layouts = self.layout.layers.par_iter().zip(&self.live_layers);
        let layers = layouts.zip(&mut self.layers);
        let live = layers.filter(|((_, live), _)| **live);
        live.for_each(|((layout, _), values)| {
            layout.weights(&network.dense, &mut values.by_number);
            layout.forward.load(&values.by_number, &mut values.forward);
            layout
                .backward
                .load(&values.by_number, &mut values.backward);
        });
    }

    /// Runs on these rows of the batch only (ascending); `None`: on all.
    pub fn run_on(&mut self, rows: Option<Vec<u32>>) {
        self.rows = rows;
    }
}
