//! A subnet over some tiles, forward and backward: operation by operation, all tiles in each.

use crate::graph::Op;
use crate::kernels::sparse::Start;
use crate::kernels::{LANES, Lanes, Level, mix, tiles};
use crate::number::Real;
use crate::pass::{Dropout, HeadRows, SlopesOf};
use crate::subnet::Subnet;
use crate::tower::Tower;

/// What operations hold while some tiles run through them: used again for all tiles and subnets of a
/// chunk.
#[derive(Debug, Default)]
pub(crate) struct Activations<R> {
    /// Outputs of each node but the input, `[tiles, width]`.
    outputs: Vec<Vec<Lanes<R>>>,
    /// Slopes of these outputs.
    slopes: Vec<Vec<Lanes<R>>>,
    /// Whether the slopes of a node hold anything yet.
    begun: Vec<bool>,
    /// Slopes of the logits of each head: what the loss says.
    pub(crate) logit_slopes: Vec<Vec<R>>,
}

/// What one subnet's rows in a chunk come to.
#[derive(Debug, Default)]
pub(crate) struct Outcome<R> {
    /// Rows so far.
    pub(crate) n_rows: usize,
    /// `[heads][rows]`
    pub(crate) logits: Vec<Vec<R>>,
    /// Sum of the losses of each head.
    pub(crate) losses: Vec<f64>,
    pub(crate) sums: Sums<R>,
}

/// Sums of slopes over rows.
#[derive(Debug, Default)]
pub(crate) struct Sums<R> {
    /// In the order of each layer's [`crate::kernels::sparse::Outer`]; empty where nothing runs a layer.
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

impl<R: Real> Outcome<R> {
    /// Forgets the rows of the last pass.
    pub(crate) fn clear(&mut self, tower: &Tower<R>, subnet: &Subnet<R>, learns: bool) {
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
        let layout = &tower.layout;
        let if_live = |(&is_live, n): (&bool, usize)| if is_live { n } else { 0 };
        let live = || subnet.live_layers.iter();
        let layers = subnet.wiring.layers.iter();
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
pub(crate) struct Runner<'a, R> {
    pub(crate) level: Level,
    pub(crate) tower: &'a Tower<R>,
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

impl<R: Real> Runner<'_, R> {
    /// The nodes that the subnet needs, in order, without the input.
    fn nodes(&self) -> impl DoubleEndedIterator<Item = (usize, &crate::graph::Node)> {
        let nodes = self.tower.graph.nodes.iter().enumerate().skip(1);
        nodes.filter(|(n, _)| self.subnet.live[*n])
    }

    /// Runs tiles `x`, `[tiles, folded inputs]`, up to the logits.
    pub(crate) fn forward(
        &self,
        at: TileRows<'_>,
        x: &[Lanes<R>],
        activations: &mut Activations<R>,
        outcome: &mut Outcome<R>,
    ) {
        let n_tiles = at.n_tiles();
        let n_nodes = self.tower.graph.nodes.len();
        activations.outputs.resize_with(n_nodes, Vec::new);
        for (n, node) in self.nodes() {
            let (before, after) = activations.outputs.split_at_mut(n);
            let output = &mut after[0];
            output.resize(n_tiles * node.width, Lanes::all(R::ZERO));
            self.operate(&node.op, at, x, before, output);
        }
        for (logits, &place) in outcome.logits.iter_mut().zip(&self.subnet.heads) {
            let head = &self.tower.layout.heads[place];
            let bias = self.tower.dense[head.bias.start];
            let weights = &self.tower.dense[head.weights.clone()];
            let h = outputs_of(x, &activations.outputs, self.tower.graph.heads[place]);
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
            let width = self.tower.graph.nodes[node].width;
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
                let bias = self.tower.layout.layers[layer].bias.clone();
                let bias = Start::Bias(&self.tower.dense[bias]);
                let product = &self.subnet.wiring.layers[layer].forward;
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
                let weights = &self.tower.dense[self.tower.layout.stitches[*stitch].clone()];
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
        outcome: &'r Outcome<R>,
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

    /// Makes room for the slopes of the logits of each head.
    pub(crate) fn make_room(&self, at: TileRows<'_>, activations: &mut Activations<R>) {
        let slopes = &mut activations.logit_slopes;
        slopes.resize_with(self.subnet.heads.len(), Vec::new);
        let resize = |slopes: &mut Vec<R>| slopes.resize(at.rows.len(), R::ZERO);
        slopes.iter_mut().for_each(resize);
    }

    /// Asks the loss for the slopes of these logits, head by head.
    pub(crate) fn ask(
        &self,
        at: TileRows<'_>,
        slopes_of: &SlopesOf<'_, R>,
        first_head: usize,
        activations: &mut Activations<R>,
        outcome: &mut Outcome<R>,
    ) {
        self.make_room(at, activations);
        let mut losses = std::mem::take(&mut outcome.losses);
        let heads = self.head_rows(at, first_head, outcome);
        let places = losses.iter_mut().zip(&mut activations.logit_slopes);
        for (rows, (loss, slopes)) in heads.zip(places) {
            *loss += slopes_of(&rows, slopes);
        }
        outcome.losses = losses;
    }

    /// From the slopes of the logits of the tiles that ran last to the sums of the subnet, and to the
    /// slopes of their input: `d_x` becomes these, or with `add` grows by them.
    pub(crate) fn backward(
        &self,
        at: TileRows<'_>,
        x: &[Lanes<R>],
        activations: &mut Activations<R>,
        outcome: &mut Outcome<R>,
        d_x: &mut Vec<Lanes<R>>,
        add: bool,
    ) {
        let n_nodes = self.tower.graph.nodes.len();
        activations.slopes.resize_with(n_nodes, Vec::new);
        activations.begun.clear();
        activations.begun.resize(n_nodes, false);
        activations.begun[0] = add;
        // The slopes of the input are the caller's.
        std::mem::swap(&mut activations.slopes[0], d_x);
        self.heads_backward(at, x, activations, outcome);
        for (n, node) in self.nodes().rev() {
            if activations.begun[n] {
                self.operate_back(n, &node.op, at, x, activations, outcome);
            }
        }
        if !activations.begun[0] {
            activations.slopes[0].fill(Lanes::all(R::ZERO));
        }
        std::mem::swap(&mut activations.slopes[0], d_x);
    }

    /// Makes sure that the slopes of a node can be added to.
    fn begin(&self, node: usize, n_tiles: usize, slopes: &mut [Vec<Lanes<R>>], begun: &mut [bool]) {
        if !begun[node] {
            let width = self.tower.graph.nodes[node].width;
            slopes[node].clear();
            slopes[node].resize(n_tiles * width, Lanes::all(R::ZERO));
            begun[node] = true;
        }
    }

    /// Back through the operation of node `n`: to the slopes of what it reads, and of its weights.
    fn operate_back(
        &self,
        n: usize,
        op: &Op,
        at: TileRows<'_>,
        x: &[Lanes<R>],
        activations: &mut Activations<R>,
        outcome: &mut Outcome<R>,
    ) {
        let n_tiles = at.n_tiles();
        let Activations {
            outputs,
            slopes,
            begun,
            ..
        } = activations;
        let (below, above) = slopes.split_at_mut(n);
        let dy = &mut above[0];
        let width = self.tower.graph.nodes[n].width;
        let span = |node: usize, t: usize| {
            let width = self.tower.graph.nodes[node].width;
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
                let wiring = &self.subnet.wiring.layers[layer];
                let input = outputs_of(x, outputs, from);
                let sums = &mut outcome.sums.weights[layer];
                wiring.outer.add(self.level, n_tiles, input, dy, sums);
                let start = if begun[from] {
                    Start::Outputs
                } else {
                    Start::Zero
                };
                let below = &mut below[from];
                below.resize(input.len(), Lanes::all(R::ZERO));
                let values = &self.subnet.layers[layer].backward;
                let product = &wiring.backward;
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
                        let slopes = below[part][span(part, t)].iter_mut().zip(dy);
                        slopes.for_each(|(slope, dy)| mix::add_product(slope, &factor, dy));
                        let mut slope = below[*gate][place];
                        let features = outputs_of(x, outputs, part)[span(part, t)].iter().zip(dy);
                        features.for_each(|(part, dy)| mix::add_product(&mut slope, part, dy));
                        below[*gate][place] = slope;
                    }
                }
            }
            Op::Stitch { parts, stitch } => {
                let weights = &self.tower.dense[self.tower.layout.stitches[*stitch].clone()];
                let sums = outcome.sums.stitches[*stitch].iter_mut();
                for ((&weight, sum), &part) in weights.iter().zip(sums).zip(parts) {
                    *sum += mix::inner(outputs_of(x, outputs, part), dy);
                    let slopes = below[part].iter_mut().zip(dy.iter());
                    slopes.for_each(|(slope, dy)| mix::add_scaled(slope, weight, dy));
                }
            }
            Op::Scores { pairs, scale } => {
                let scale = R::of(*scale);
                for t in 0..n_tiles {
                    for (k, &(a, b)) in pairs.iter().enumerate() {
                        let mut slope = dy[t * pairs.len() + k];
                        slope.0.iter_mut().for_each(|slope| *slope = *slope * scale);
                        for (of, other) in [(a, b), (b, a)] {
                            let other = &outputs_of(x, outputs, other)[span(other, t)];
                            let slopes = below[of][span(of, t)].iter_mut().zip(other);
                            slopes.for_each(|(sum, other)| mix::add_product(sum, &slope, other));
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
        outcome: &mut Outcome<R>,
    ) {
        let Activations {
            outputs,
            slopes: of_nodes,
            begun,
            logit_slopes,
        } = activations;
        for (h, &place) in self.subnet.heads.iter().enumerate() {
            let slopes = &logit_slopes[h];
            let node = self.tower.graph.heads[place];
            self.begin(node, at.n_tiles(), of_nodes, begun);
            let head = &self.tower.layout.heads[place];
            let weights = &self.tower.dense[head.weights.clone()];
            let (sums, bias) = outcome.sums.heads[h].split_at_mut(weights.len());
            let tiles = outputs_of(x, outputs, node).chunks_exact(head.inputs);
            let tiles = tiles.zip(of_nodes[node].chunks_exact_mut(head.inputs));
            for ((h, dh), slopes) in tiles.zip(slopes.chunks(LANES)) {
                let mut lanes = Lanes::all(R::ZERO);
                lanes.0[..slopes.len()].copy_from_slice(slopes);
                tiles::head_backward(self.level, weights, &lanes, h, dh, sums);
                bias[0] += slopes.iter().copied().sum();
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
    let draw = dropout.draw.at(layer as u64);
    for (tile, rows) in outputs.chunks_exact_mut(width).zip(rows.chunks(LANES)) {
        for (unit, lanes) in tile.iter_mut().enumerate() {
            for (h, &row) in lanes.0.iter_mut().zip(rows) {
                let position = row as usize * width + unit;
                let is_dropped = draw.uniform(position as u64) < dropout.rate;
                *h = if is_dropped { R::ZERO } else { *h * scale };
            }
        }
    }
}
