//! Runs a subnet over some tiles, forward and backward: operation by operation, all tiles in each. Each operation has a
//! file with its forward pass beside its backward pass.

mod gates;
mod gather;
mod half;
mod head;
mod layer;
mod mix;
mod normalize;
mod scores;
mod softmax;
mod stitch;

use crate::graph::{Graph, Node, Op};
use crate::kernels::{LANES, Lanes, SimdLevel};
use crate::network::Network;
use crate::number::Real;
use crate::subnet::Subnet;
use crate::workspace::{Dropout, HeadRows, LogitGradient};
use half::HalfBuffers;
use layer::LayerOp;

/// Outputs and gradients of the operations for some tiles; reused for all tiles and subnets of a chunk.
#[derive(Debug, Default)]
pub(crate) struct Activations<R> {
    /// Outputs of each node but the input, `[tiles, width]`.
    outputs: Vec<Vec<Lanes<R>>>,
    /// Gradients of these outputs.
    gradients: Vec<Vec<Lanes<R>>>,
    /// For each node, true if its gradients hold a sum to add to.
    started: Vec<bool>,
    /// Gradients of the logits of each head, filled in by the loss.
    pub(crate) logit_gradients: Vec<Vec<R>>,
    half: HalfBuffers,
}

impl<R: Real> Activations<R> {
    /// Returns true if the gradients of all logits are 0.
    pub(crate) fn is_without_gradient(&self) -> bool {
        self.logit_gradients
            .iter()
            .flatten()
            .all(|&gradient| gradient == R::ZERO)
    }
}

/// Results of one subnet on the rows of a chunk.
#[derive(Debug, Default)]
pub(crate) struct SubnetOutput<R> {
    /// Number of rows so far.
    pub(crate) n_rows: usize,
    /// `[heads][rows]`
    pub(crate) logits: Vec<Vec<R>>,
    /// Sum of the losses of each head.
    pub(crate) losses: Vec<f64>,
    pub(crate) sums: Sums<R>,
}

/// Sums of gradients over rows.
#[derive(Debug, Default)]
pub(crate) struct Sums<R> {
    /// In the order of each layer's [`crate::kernels::sparse::WeightGradient`]; empty for layers that do not run.
    pub(crate) weights: Vec<Vec<R>>,
    pub(crate) biases: Vec<Vec<R>>,
    /// Weights, then bias.
    pub(crate) heads: Vec<Vec<R>>,
    pub(crate) stitches: Vec<Vec<R>>,
}

/// The rows of some tiles.
#[derive(Clone, Copy)]
pub(crate) struct TileRows<'a> {
    /// Rows of the batch, 64 to a tile; the last tile may have fewer.
    pub(crate) rows: &'a [u32],
    /// Position of the first of them among the rows that the subnet runs on.
    pub(crate) first: usize,
}

impl TileRows<'_> {
    fn n_tiles(&self) -> usize {
        self.rows.len().div_ceil(LANES)
    }
}

impl<R: Real> SubnetOutput<R> {
    /// Discards the rows of the previous batch. With `with_gradients`, also sets the sums to zero.
    pub(crate) fn clear(&mut self, network: &Network<R>, subnet: &Subnet<R>, with_gradients: bool) {
        let n_heads = subnet.heads.len();
        self.n_rows = 0;
        self.logits.resize_with(n_heads, Vec::new);
        self.logits.iter_mut().for_each(Vec::clear);
        self.losses.clear();
        self.losses.resize(n_heads, 0.0);
        if !with_gradients {
            return;
        }
        let zero = |sums: &mut Vec<Vec<R>>, lengths: &mut dyn Iterator<Item = usize>| {
            sums.resize_with(lengths.size_hint().0, Vec::new);
            for (sums, length) in sums.iter_mut().zip(lengths) {
                sums.clear();
                sums.resize(length, R::ZERO);
            }
        };
        let sums = &mut self.sums;
        let layout = &network.layout;
        let if_live = |(&is_live, n): (&bool, usize)| if is_live { n } else { 0 };
        let live = || subnet.live_layers.iter();
        let layers = subnet.layout.layers.iter();
        let weights = live().zip(layers.map(|layer| layer.weight_gradient.numbers().len()));
        zero(&mut sums.weights, &mut weights.map(if_live));
        let biases = live().zip(layout.layers.iter().map(|layer| layer.outputs));
        zero(&mut sums.biases, &mut biases.map(if_live));
        let heads = subnet.heads.iter();
        zero(
            &mut sums.heads,
            &mut heads.map(|&head| layout.heads[head].inputs + 1),
        );
        let stitches = layout.stitches.iter();
        zero(&mut sums.stitches, &mut stitches.map(|stitch| stitch.len()));
    }
}

/// Outputs of the nodes that an operation can read.
#[derive(Clone, Copy)]
struct NodeOutputs<'a, R> {
    graph: &'a Graph,
    /// Outputs of node 0, the input, `[tiles, folded inputs]`.
    x: &'a [Lanes<R>],
    /// Outputs of the other nodes; element 0 is not used.
    outputs: &'a [Vec<Lanes<R>>],
}

impl<'a, R> NodeOutputs<'a, R> {
    fn width(&self, node: usize) -> usize {
        self.graph.nodes[node].width
    }

    /// Returns the outputs of a node for all tiles, `[tiles, width]`.
    fn all(&self, node: usize) -> &'a [Lanes<R>] {
        match node {
            0 => self.x,
            _ => &self.outputs[node],
        }
    }

    /// Returns the outputs of a node for tile `t`.
    fn tile(&self, node: usize, t: usize) -> &'a [Lanes<R>] {
        let width = self.width(node);
        &self.all(node)[t * width..(t + 1) * width]
    }
}

/// Gradients of the outputs of the nodes that an operation reads.
struct NodeGradients<'a, R> {
    graph: &'a Graph,
    /// `[tiles, width]` for each node.
    gradients: &'a mut [Vec<Lanes<R>>],
    /// For each node, true if its gradients hold a sum to add to.
    started: &'a mut [bool],
    half: &'a mut HalfBuffers,
}

impl<R: Real> NodeGradients<'_, R> {
    fn width(&self, node: usize) -> usize {
        self.graph.nodes[node].width
    }

    /// Sets the gradients of a node to zero if they hold no sum yet.
    fn start(&mut self, node: usize, n_tiles: usize) {
        if !self.started[node] {
            let width = self.width(node);
            self.gradients[node].clear();
            self.gradients[node].resize(n_tiles * width, Lanes::all(R::ZERO));
            self.started[node] = true;
        }
    }

    /// Returns the gradients of a node for tile `t`.
    fn tile(&mut self, node: usize, t: usize) -> &mut [Lanes<R>] {
        let width = self.width(node);
        &mut self.gradients[node][t * width..(t + 1) * width]
    }
}

/// Runs a subnet over tiles.
pub(crate) struct GraphExecutor<'a, R: Real> {
    pub(crate) level: SimdLevel,
    pub(crate) network: &'a Network<R>,
    pub(crate) subnet: &'a Subnet<R>,
    pub(crate) dropout: Option<Dropout>,
}

impl<R: Real> GraphExecutor<'_, R> {
    /// Returns the nodes that the subnet needs, in order, without the input.
    fn nodes(&self) -> impl DoubleEndedIterator<Item = (usize, &Node)> {
        let nodes = self.network.graph.nodes.iter().enumerate().skip(1);
        nodes.filter(|(n, _)| self.subnet.live[*n])
    }

    /// Computes the logits of tiles `x`, `[tiles, folded inputs]`.
    pub(crate) fn forward(
        &self,
        tiles: TileRows<'_>,
        x: &[Lanes<R>],
        activations: &mut Activations<R>,
        output: &mut SubnetOutput<R>,
    ) {
        let graph = &*self.network.graph;
        let Activations { outputs, half, .. } = activations;
        outputs.resize_with(graph.nodes.len(), Vec::new);
        for (n, node) in self.nodes() {
            let (outputs, after) = outputs.split_at_mut(n);
            let output = &mut after[0];
            output.resize(tiles.n_tiles() * node.width, Lanes::all(R::ZERO));
            let nodes = NodeOutputs { graph, x, outputs };
            self.op_forward(&node.op, tiles.rows, nodes, output, half);
        }
        let nodes = NodeOutputs { graph, x, outputs };
        self.heads_forward(tiles.rows, nodes, &mut output.logits);
        output.n_rows += tiles.rows.len();
    }

    /// Runs one operation on all tiles, from the outputs of the nodes before it.
    fn op_forward(
        &self,
        op: &Op,
        rows: &[u32],
        nodes: NodeOutputs<'_, R>,
        output: &mut [Lanes<R>],
        half: &mut HalfBuffers,
    ) {
        match op {
            Op::Input => {}
            &Op::Layer {
                from,
                layer,
                rectify,
            } => {
                let op = LayerOp {
                    from,
                    layer,
                    rectify,
                };
                self.layer_forward(op, rows, nodes, output, half);
            }
            Op::Softmax { from } => softmax::forward(nodes, *from, output),
            Op::Mix { gate, parts } => mix::forward(nodes, *gate, parts, output),
            Op::Stitch { parts, stitch } => {
                stitch::forward(nodes, self.stitch_weights(*stitch), parts, output);
            }
            Op::Scores { pairs, scale } => scores::forward(nodes, pairs, *scale, output),
            Op::Gather { from, sums } => gather::forward(nodes, *from, sums, output),
            Op::Detach { from } => gather::copy(nodes, *from, output),
            Op::Sigmoid { from, scale } => gates::sigmoid(nodes, *from, *scale, output),
            Op::Product { of } => gates::product(nodes, *of, output),
            Op::Sum { parts } => gates::sum(nodes, parts, output),
            Op::NormalizedSwish { from, stitch } => {
                normalize::forward(nodes, *from, self.stitch_weights(*stitch), output);
            }
        }
    }

    fn stitch_weights(&self, stitch: usize) -> &[R] {
        &self.network.dense[self.network.layout.stitches[stitch].clone()]
    }

    /// Returns the logits of the tiles that ran last; heads are numbered from `first_head`.
    pub(crate) fn head_rows<'r>(
        &self,
        tiles: TileRows<'r>,
        first_head: usize,
        output: &'r SubnetOutput<R>,
    ) -> impl Iterator<Item = HeadRows<'r, R>> {
        let n_before = output.n_rows - tiles.rows.len();
        let heads = output.logits.iter().enumerate();
        heads.map(move |(h, logits)| HeadRows {
            head: first_head + h,
            rows: tiles.rows,
            first: tiles.first,
            logits: &logits[n_before..],
        })
    }

    /// Resizes the buffers for the gradients of the logits of each head.
    pub(crate) fn resize_logit_gradients(
        &self,
        tiles: TileRows<'_>,
        activations: &mut Activations<R>,
    ) {
        let gradients = &mut activations.logit_gradients;
        gradients.resize_with(self.subnet.heads.len(), Vec::new);
        let resize = |gradients: &mut Vec<R>| gradients.resize(tiles.rows.len(), R::ZERO);
        gradients.iter_mut().for_each(resize);
    }

    /// Evaluates the loss head by head: adds to the losses and fills in the gradients of the logits.
    pub(crate) fn evaluate_loss(
        &self,
        tiles: TileRows<'_>,
        loss: &LogitGradient<'_, R>,
        first_head: usize,
        activations: &mut Activations<R>,
        output: &mut SubnetOutput<R>,
    ) {
        self.resize_logit_gradients(tiles, activations);
        let mut losses = std::mem::take(&mut output.losses);
        let heads = self.head_rows(tiles, first_head, output);
        let results = losses.iter_mut().zip(&mut activations.logit_gradients);
        for (rows, (sum, gradients)) in heads.zip(results) {
            *sum += loss(&rows, gradients);
        }
        output.losses = losses;
    }

    /// Backpropagates the gradients of the logits of the tiles that ran last: adds to the sums of the subnet, and
    /// writes the gradients of the input to `d_x`, or adds them with `add`.
    pub(crate) fn backward(
        &self,
        tiles: TileRows<'_>,
        x: &[Lanes<R>],
        activations: &mut Activations<R>,
        output: &mut SubnetOutput<R>,
        d_x: &mut Vec<Lanes<R>>,
        add: bool,
    ) {
        let graph = &*self.network.graph;
        let n_nodes = graph.nodes.len();
        let Activations {
            outputs,
            gradients,
            started,
            logit_gradients,
            half,
        } = activations;
        gradients.resize_with(n_nodes, Vec::new);
        started.clear();
        started.resize(n_nodes, false);
        started[0] = add;
        // The caller owns the gradients of the input.
        std::mem::swap(&mut gradients[0], d_x);
        let nodes = NodeOutputs { graph, x, outputs };
        let mut below = NodeGradients {
            graph,
            gradients,
            started,
            half,
        };
        let n_tiles = tiles.n_tiles();
        let sums = &mut output.sums;
        self.heads_backward(n_tiles, nodes, logit_gradients, &mut below, sums);
        for (n, node) in self.nodes().rev() {
            if started[n] {
                let (gradients, above) = gradients.split_at_mut(n);
                let below = NodeGradients {
                    graph,
                    gradients,
                    started,
                    half,
                };
                let dy = &mut above[0];
                self.op_backward(n, &node.op, nodes, dy, below, sums);
            }
        }
        if !started[0] {
            gradients[0].fill(Lanes::all(R::ZERO));
        }
        std::mem::swap(&mut gradients[0], d_x);
    }

    /// Backpropagates through the operation of node `n`: from `dy`, the gradients of its outputs, to those of the nodes
    /// that it reads, and of its weights.
    fn op_backward(
        &self,
        n: usize,
        op: &Op,
        nodes: NodeOutputs<'_, R>,
        dy: &mut [Lanes<R>],
        mut below: NodeGradients<'_, R>,
        sums: &mut Sums<R>,
    ) {
        let below = &mut below;
        if !matches!(op, Op::Layer { .. } | Op::Detach { .. }) {
            let n_tiles = dy.len() / nodes.width(n);
            op.reads()
                .iter()
                .for_each(|&node| below.start(node, n_tiles));
        }
        match op {
            // Nothing flows back.
            Op::Input | Op::Detach { .. } => {}
            &Op::Layer {
                from,
                layer,
                rectify,
            } => {
                let op = LayerOp {
                    from,
                    layer,
                    rectify,
                };
                self.layer_backward(op, n, nodes, dy, below, sums);
            }
            Op::Softmax { from } => softmax::backward(*from, nodes.all(n), dy, below),
            Op::Mix { gate, parts } => mix::backward(nodes, *gate, parts, dy, below),
            Op::Stitch { parts, stitch } => {
                let weights = self.stitch_weights(*stitch);
                let sums = &mut sums.stitches[*stitch];
                stitch::backward(nodes, weights, parts, dy, below, sums);
            }
            Op::Scores { pairs, scale } => scores::backward(nodes, pairs, *scale, dy, below),
            Op::Gather { from, sums } => gather::backward(*from, sums, dy, below),
            Op::Sigmoid { from, scale } => {
                gates::sigmoid_backward(*from, *scale, nodes.all(n), dy, below);
            }
            Op::Product { of } => gates::product_backward(nodes, *of, dy, below),
            Op::Sum { parts } => gates::sum_backward(parts, dy, below),
            Op::NormalizedSwish { from, stitch } => {
                let weights = self.stitch_weights(*stitch);
                let sums = &mut sums.stitches[*stitch];
                normalize::backward(nodes, *from, weights, dy, below, sums);
            }
        }
    }
}
