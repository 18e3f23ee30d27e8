//! A subnet over some tiles, forward and backward: operation by operation, all tiles in each.

use crate::graph::Op;
use crate::kernels::sparse::Start;
use crate::kernels::{LANES, Lanes, SimdLevel, mix, tiles};
use crate::network::Network;
use crate::number::Real;
use crate::subnet::Subnet;
use crate::workspace::{Dropout, HeadRows, LogitGradient};

/// What operations hold while some tiles run through them: used again for all tiles and subnets of a
/// chunk.
#[derive(Debug, Default)]
pub(crate) struct Activations<R> {
    /// Outputs of each node but the input, `[tiles, width]`.
    outputs: Vec<Vec<Lanes<R>>>,
    /// Gradients of these outputs.
    gradients: Vec<Vec<Lanes<R>>>,
    /// Whether the gradients of a node hold anything yet.
    begun: Vec<bool>,
    /// Gradients of the logits of each head: what the loss says.
    pub(crate) logit_gradients: Vec<Vec<R>>,
}

/// What one subnet's rows in a chunk come to.
#[derive(Debug, Default)]
pub(crate) struct SubnetOutput<R> {
    /// Rows so far.
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
    /// In the order of each layer's [`crate::kernels::sparse::WeightGradient`]; empty where nothing runs a layer.
    pub(crate) weights: Vec<Vec<R>>,
    pub(crate) biases: Vec<Vec<R>>,
    /// Weights, then bias.
    pub(crate) heads: Vec<Vec<R>>,
    pub(crate) stitches: Vec<Vec<R>>,
}

/// The rows of some tiles.
#[derive(Clone, Copy)]
pub(crate) struct TileRows<'a> {
    /// Rows of the batch, 64 a tile but for the last tile.
    pub(crate) rows: &'a [u32],
    /// Place of the first of them among the rows that the subnet runs on.
    pub(crate) first: usize,
}

impl TileRows<'_> {
    fn n_tiles(&self) -> usize {
        self.rows.len().div_ceil(LANES)
    }
}

impl<R: Real> SubnetOutput<R> {
    /// Forgets the rows of the last pass.
    pub(crate) fn clear(&mut self, network: &Network<R>, subnet: &Subnet<R>, learns: bool) {
        let n_heads = subnet.heads.len();
        self.n_rows = 0;
        self.logits.resize_with(n_heads, Vec::new);
        self.logits.iter_mut().for_each(Vec::clear);
        self.losses.clear();
        self.losses.resize(n_heads, 0.0);
        if !learns {
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
        let weights = live().zip(layers.map(|layer| layer.outer.numbers().len()));
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

/// A subnet that runs over tiles.
pub(crate) struct GraphExecutor<'a, R> {
    pub(crate) level: SimdLevel,
    pub(crate) network: &'a Network<R>,
    pub(crate) subnet: &'a Subnet<R>,
    pub(crate) dropout: Option<Dropout>,
}

/// The outputs of a node: node 0 is the input.
fn outputs_of<'a, R>(
    x: &'a [Lanes<R>],
    outputs: &'a [Vec<Lanes<R>>],
    node: usize,
) -> &'a [Lanes<R>] {
    if node == 0 { x } else { &outputs[node] }
}

impl<R: Real> GraphExecutor<'_, R> {
    /// The nodes that the subnet needs, in order, without the input.
    fn nodes(&self) -> impl DoubleEndedIterator<Item = (usize, &crate::graph::Node)> {
        let nodes = self.network.graph.nodes.iter().enumerate().skip(1);
        nodes.filter(|(n, _)| self.subnet.live[*n])
    }

    /// Runs tiles `x`, `[tiles, folded inputs]`, up to the logits.
    pub(crate) fn forward(
        &self,
        at: TileRows<'_>,
        x: &[Lanes<R>],
        activations: &mut Activations<R>,
        outcome: &mut SubnetOutput<R>,
    ) {
        let n_tiles = at.n_tiles();
        let n_nodes = self.network.graph.nodes.len();
        activations.outputs.resize_with(n_nodes, Vec::new);
        for (n, node) in self.nodes() {
            let (before, after) = activations.outputs.split_at_mut(n);
            let output = &mut after[0];
            output.resize(n_tiles * node.width, Lanes::all(R::ZERO));
            self.operate(&node.op, at, x, before, output);
        }
        for (logits, &place) in outcome.logits.iter_mut().zip(&self.subnet.heads) {
            let head = &self.network.layout.heads[place];
            let bias = self.network.dense[head.bias.start];
            let weights = &self.network.dense[head.weights.clone()];
            let h = outputs_of(x, &activations.outputs, self.network.graph.heads[place]);
            for (h, rows) in h.chunks_exact(head.inputs).zip(at.rows.chunks(LANES)) {
                let found = tiles::head(self.level, bias, weights, h);
                logits.extend_from_slice(&found.0[..rows.len()]);
            }
        }
        outcome.n_rows += at.rows.len();
    }

    /// One operation on all tiles, from the outputs of the nodes before it.
    fn operate(
        &self,
        op: &Op,
        at: TileRows<'_>,
        x: &[Lanes<R>],
        before: &[Vec<Lanes<R>>],
        output: &mut [Lanes<R>],
    ) {
        let width = output.len() / at.n_tiles().max(1);
        let tile = |node: usize, t: usize| {
            let width = self.network.graph.nodes[node].width;
            &outputs_of(x, before, node)[t * width..(t + 1) * width]
        };
        match op {
            Op::Input => {}
            &Op::Layer {
                from,
                layer,
                rectify,
            } => {
                let input = outputs_of(x, before, from);
                let bias = self.network.layout.layers[layer].bias.clone();
                let bias = Start::Bias(&self.network.dense[bias]);
                let product = &self.subnet.layout.layers[layer].forward;
                let values = &self.subnet.layers[layer].forward;
                product.run(self.level, values, bias, rectify, input, output);
                if let Some(dropout) = self.dropout.filter(|_| rectify) {
                    drop_units(output, width, at.rows, layer, dropout);
                }
            }
            Op::Softmax { from } => {
                for (t, output) in output.chunks_exact_mut(width).enumerate() {
                    mix::softmax(tile(*from, t), output);
                }
            }
            Op::Mix { gate, parts } => {
                output.fill(Lanes::all(R::ZERO));
                for (t, output) in output.chunks_exact_mut(width).enumerate() {
                    for (gate, &part) in tile(*gate, t).iter().zip(parts) {
                        let part = tile(part, t).iter();
                        let pairs = output.iter_mut().zip(part);
                        pairs.for_each(|(sum, part)| mix::add_product(sum, gate, part));
                    }
                }
            }
            Op::Stitch { parts, stitch } => {
                let weights = &self.network.dense[self.network.layout.stitches[*stitch].clone()];
                output.fill(Lanes::all(R::ZERO));
                for (&weight, &part) in weights.iter().zip(parts) {
                    let part = outputs_of(x, before, part).iter();
                    let pairs = output.iter_mut().zip(part);
                    pairs.for_each(|(sum, part)| mix::add_scaled(sum, weight, part));
                }
            }
            Op::Scores { pairs, scale } => {
                let scale = R::of(*scale);
                output.fill(Lanes::all(R::ZERO));
                for (t, output) in output.chunks_exact_mut(width).enumerate() {
                    for (score, &(a, b)) in output.iter_mut().zip(pairs) {
                        let features = tile(a, t).iter().zip(tile(b, t));
                        features.for_each(|(a, b)| mix::add_product(score, a, b));
                        score.0.iter_mut().for_each(|score| *score = *score * scale);
                    }
                }
            }
        }
    }

    /// The logits of the tiles that ran last; heads are counted from `first_head`.
    pub(crate) fn head_rows<'r>(
        &self,
        at: TileRows<'r>,
        first_head: usize,
        outcome: &'r SubnetOutput<R>,
    ) -> impl Iterator<Item = HeadRows<'r, R>> {
        let n_before = outcome.n_rows - at.rows.len();
        let heads = outcome.logits.iter().enumerate();
        heads.map(move |(h, logits)| HeadRows {
            head: first_head + h,
            rows: at.rows,
            first: at.first,
            logits: &logits[n_before..],
        })
    }

    /// Makes room for the gradients of the logits of each head.
    pub(crate) fn make_room(&self, at: TileRows<'_>, activations: &mut Activations<R>) {
        let gradients = &mut activations.logit_gradients;
        gradients.resize_with(self.subnet.heads.len(), Vec::new);
        let resize = |gradients: &mut Vec<R>| gradients.resize(at.rows.len(), R::ZERO);
        gradients.iter_mut().for_each(resize);
    }

    /// Asks the loss for the gradients of these logits, head by head.
    pub(crate) fn ask(
        &self,
        at: TileRows<'_>,
        gradients_of: &LogitGradient<'_, R>,
        first_head: usize,
        activations: &mut Activations<R>,
        outcome: &mut SubnetOutput<R>,
    ) {
        self.make_room(at, activations);
        let mut losses = std::mem::take(&mut outcome.losses);
        let heads = self.head_rows(at, first_head, outcome);
        let places = losses.iter_mut().zip(&mut activations.logit_gradients);
        for (rows, (loss, gradients)) in heads.zip(places) {
            *loss += gradients_of(&rows, gradients);
        }
        outcome.losses = losses;
    }

    /// From the gradients of the logits of the tiles that ran last to the sums of the subnet, and to the
    /// gradients of their input: `d_x` becomes these, or with `add` grows by them.
    pub(crate) fn backward(
        &self,
        at: TileRows<'_>,
        x: &[Lanes<R>],
        activations: &mut Activations<R>,
        outcome: &mut SubnetOutput<R>,
        d_x: &mut Vec<Lanes<R>>,
        add: bool,
    ) {
        let n_nodes = self.network.graph.nodes.len();
        activations.gradients.resize_with(n_nodes, Vec::new);
        activations.begun.clear();
        activations.begun.resize(n_nodes, false);
        activations.begun[0] = add;
        // The gradients of the input are the caller's.
        std::mem::swap(&mut activations.gradients[0], d_x);
        self.heads_backward(at, x, activations, outcome);
        for (n, node) in self.nodes().rev() {
            if activations.begun[n] {
                self.operate_back(n, &node.op, at, x, activations, outcome);
            }
        }
        if !activations.begun[0] {
            activations.gradients[0].fill(Lanes::all(R::ZERO));
        }
        std::mem::swap(&mut activations.gradients[0], d_x);
    }

    /// Makes sure that the gradients of a node can be added to.
    fn begin(
        &self,
        node: usize,
        n_tiles: usize,
        gradients: &mut [Vec<Lanes<R>>],
        begun: &mut [bool],
    ) {
        if !begun[node] {
            let width = self.network.graph.nodes[node].width;
            gradients[node].clear();
            gradients[node].resize(n_tiles * width, Lanes::all(R::ZERO));
            begun[node] = true;
        }
    }

    /// Back through the operation of node `n`: to the gradients of what it reads, and of its weights.
    fn operate_back(
        &self,
        n: usize,
        op: &Op,
        at: TileRows<'_>,
        x: &[Lanes<R>],
        activations: &mut Activations<R>,
        outcome: &mut SubnetOutput<R>,
    ) {
        let n_tiles = at.n_tiles();
        let Activations {
            outputs,
            gradients,
            begun,
            ..
        } = activations;
        let (below, above) = gradients.split_at_mut(n);
        let dy = &mut above[0];
        let width = self.network.graph.nodes[n].width;
        let span = |node: usize, t: usize| {
            let width = self.network.graph.nodes[node].width;
            t * width..(t + 1) * width
        };
        if !matches!(op, Op::Layer { .. }) {
            for read in op.reads() {
                self.begin(read, n_tiles, below, begun);
            }
        }
        match op {
            Op::Input => {}
            &Op::Layer {
                from,
                layer,
                rectify,
            } => {
                let dropped = self.dropout.map_or(0.0, |dropout| dropout.rate);
                let scale = R::of(1.0 / (1.0 - dropped));
                let biases = &mut outcome.sums.biases[layer];
                let tiles = outputs[n].chunks_exact(width);
                for (y, dy) in tiles.zip(dy.chunks_exact_mut(width)) {
                    if rectify {
                        tiles::rectify_backward(self.level, scale, y, dy, biases);
                    } else {
                        for (sum, dy) in biases.iter_mut().zip(dy) {
                            *sum += dy.0.iter().copied().sum();
                        }
                    }
                }
                let layout = &self.subnet.layout.layers[layer];
                let input = outputs_of(x, outputs, from);
                let sums = &mut outcome.sums.weights[layer];
                layout.outer.add(self.level, n_tiles, input, dy, sums);
                let start = if begun[from] {
                    Start::Outputs
                } else {
                    Start::Zero
                };
                let below = &mut below[from];
                below.resize(input.len(), Lanes::all(R::ZERO));
                let values = &self.subnet.layers[layer].backward;
                let product = &layout.backward;
                product.run(self.level, values, start, false, dy, below);
                begun[from] = true;
            }
            Op::Softmax { from } => {
                for t in 0..n_tiles {
                    let (y, dy) = (&outputs[n][span(n, t)], &dy[span(n, t)]);
                    mix::softmax_backward(y, dy, &mut below[*from][span(*from, t)]);
                }
            }
            Op::Mix { gate, parts } => {
                for t in 0..n_tiles {
                    let dy = &dy[span(n, t)];
                    for (k, &part) in parts.iter().enumerate() {
                        let place = t * parts.len() + k;
                        let factor = outputs[*gate][place];
                        let gradients = below[part][span(part, t)].iter_mut().zip(dy);
                        gradients
                            .for_each(|(gradient, dy)| mix::add_product(gradient, &factor, dy));
                        let mut gradient = below[*gate][place];
                        let features = outputs_of(x, outputs, part)[span(part, t)].iter().zip(dy);
                        features.for_each(|(part, dy)| mix::add_product(&mut gradient, part, dy));
                        below[*gate][place] = gradient;
                    }
                }
            }
            Op::Stitch { parts, stitch } => {
                let weights = &self.network.dense[self.network.layout.stitches[*stitch].clone()];
                let sums = outcome.sums.stitches[*stitch].iter_mut();
                for ((&weight, sum), &part) in weights.iter().zip(sums).zip(parts) {
                    *sum += mix::inner(outputs_of(x, outputs, part), dy);
                    let gradients = below[part].iter_mut().zip(dy.iter());
                    gradients.for_each(|(gradient, dy)| mix::add_scaled(gradient, weight, dy));
                }
            }
            Op::Scores { pairs, scale } => {
                let scale = R::of(*scale);
                for t in 0..n_tiles {
                    for (k, &(a, b)) in pairs.iter().enumerate() {
                        let mut gradient = dy[t * pairs.len() + k];
                        gradient
                            .0
                            .iter_mut()
                            .for_each(|gradient| *gradient = *gradient * scale);
                        for (of, other) in [(a, b), (b, a)] {
                            let other = &outputs_of(x, outputs, other)[span(other, t)];
                            let gradients = below[of][span(of, t)].iter_mut().zip(other);
                            gradients
                                .for_each(|(sum, other)| mix::add_product(sum, &gradient, other));
                        }
                    }
                }
            }
        }
    }

    fn heads_backward(
        &self,
        at: TileRows<'_>,
        x: &[Lanes<R>],
        activations: &mut Activations<R>,
        outcome: &mut SubnetOutput<R>,
    ) {
        let Activations {
            outputs,
            gradients: of_nodes,
            begun,
            logit_gradients,
        } = activations;
        for (h, &place) in self.subnet.heads.iter().enumerate() {
            let gradients = &logit_gradients[h];
            let node = self.network.graph.heads[place];
            self.begin(node, at.n_tiles(), of_nodes, begun);
            let head = &self.network.layout.heads[place];
            let weights = &self.network.dense[head.weights.clone()];
            let (sums, bias) = outcome.sums.heads[h].split_at_mut(weights.len());
            let tiles = outputs_of(x, outputs, node).chunks_exact(head.inputs);
            let tiles = tiles.zip(of_nodes[node].chunks_exact_mut(head.inputs));
            for ((h, dh), gradients) in tiles.zip(gradients.chunks(LANES)) {
                let mut lanes = Lanes::all(R::ZERO);
                lanes.0[..gradients.len()].copy_from_slice(gradients);
                tiles::head_backward(self.level, weights, &lanes, h, dh, sums);
                bias[0] += gradients.iter().copied().sum();
            }
        }
    }
}

/// Drops units of each row by draws that depend on the row's place in the batch, not in the tile.
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
