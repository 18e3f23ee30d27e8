//! The hidden layers of a subnet and its heads, forward and backward, over some tiles.
//!
//! `h_0 = x`, `h_l = relu(h_{l-1} (W_l * M_l) + b_l)`, `logit_t = h_L w_t + b_t`.

use crate::kernels::sparse::Start;
use crate::kernels::{LANES, Lanes, Level, tiles};
use crate::number::Real;
use crate::pass::{Dropout, HeadRows, SlopesOf};
use crate::subnet::Subnet;
use crate::tower::Tower;

/// What layers hold while some tiles run through them: used again for all tiles and subnets of a chunk.
#[derive(Debug, Default)]
pub(crate) struct Activations<R> {
    /// Outputs of each layer, after ReLU and dropout, `[tiles, outputs]`.
    outputs: Vec<Vec<Lanes<R>>>,
    /// Slopes on their way back.
    slopes: [Vec<Lanes<R>>; 2],
    /// Of the logits of one head.
    logit_slopes: Vec<R>,
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
    /// In the order of each layer's [`crate::kernels::sparse::Outer`].
    pub(crate) weights: Vec<Vec<R>>,
    pub(crate) biases: Vec<Vec<R>>,
    /// Weights, then bias.
    pub(crate) heads: Vec<Vec<R>>,
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
        let layers = subnet.wiring.layers.iter();
        let sums = &mut self.sums;
        zero(
            &mut sums.weights,
            &mut layers.map(|layer| layer.outer.numbers().len()),
        );
        let layers = tower.layout.layers.iter();
        zero(&mut sums.biases, &mut layers.map(|layer| layer.outputs));
        let heads = subnet.heads.iter();
        zero(
            &mut sums.heads,
            &mut heads.map(|&head| tower.layout.heads[head].inputs + 1),
        );
    }
}

/// A subnet that runs over tiles.
pub(crate) struct Runner<'a, R> {
    pub(crate) level: Level,
    pub(crate) tower: &'a Tower<R>,
    pub(crate) subnet: &'a Subnet<R>,
    pub(crate) dropout: Option<Dropout>,
}

impl<R: Real> Runner<'_, R> {
    /// Runs tiles `x`, `[tiles, folded inputs]`, up to the logits.
    pub(crate) fn forward(
        &self,
        at: TileRows<'_>,
        x: &[Lanes<R>],
        activations: &mut Activations<R>,
        outcome: &mut Outcome<R>,
    ) {
        let n_tiles = at.n_tiles();
        let layers = &self.tower.layout.layers;
        activations.outputs.resize_with(layers.len(), Vec::new);
        for (l, layer) in layers.iter().enumerate() {
            let (before, after) = activations.outputs.split_at_mut(l);
            let input = before.last().map_or(x, |outputs| outputs);
            let output = &mut after[0];
            output.resize(n_tiles * layer.outputs, Lanes::all(R::ZERO));
            let bias = Start::Bias(&self.tower.dense[layer.bias.clone()]);
            let product = &self.subnet.wiring.layers[l].forward;
            let values = &self.subnet.layers[l].forward;
            product.run(self.level, values, bias, true, input, output);
            if let Some(dropout) = self.dropout {
                drop_units(output, layer.outputs, at.rows, l, dropout);
            }
        }
        let last = activations.outputs.last().map_or(x, |outputs| outputs);
        let width = last.len() / n_tiles.max(1);
        for (logits, &head) in outcome.logits.iter_mut().zip(&self.subnet.heads) {
            let head = &self.tower.layout.heads[head];
            let bias = self.tower.dense[head.bias.start];
            let weights = &self.tower.dense[head.weights.clone()];
            for (h, rows) in last.chunks_exact(width).zip(at.rows.chunks(LANES)) {
                let found = tiles::head(self.level, bias, weights, h);
                logits.extend_from_slice(&found.0[..rows.len()]);
            }
        }
        outcome.n_rows += at.rows.len();
    }

    /// From the slopes of the logits of the tiles that ran last to the sums of the subnet, and to the
    /// slopes of their input: `d_x` becomes these, or with `add` grows by them.
    #[expect(
        clippy::too_many_arguments,
        reason = "the mirror image of the forward pass"
    )]
    pub(crate) fn backward(
        &self,
        at: TileRows<'_>,
        slopes_of: &SlopesOf<'_, R>,
        first_head: usize,
        x: &[Lanes<R>],
        activations: &mut Activations<R>,
        outcome: &mut Outcome<R>,
        d_x: &mut [Lanes<R>],
        add: bool,
    ) {
        let [mut above, mut below] = std::mem::take(&mut activations.slopes);
        self.heads_backward(
            at,
            slopes_of,
            first_head,
            x,
            activations,
            outcome,
            &mut above,
        );
        let dropped = self.dropout.map_or(0.0, |dropout| dropout.rate);
        let scale = R::of(1.0 / (1.0 - dropped));
        let n_tiles = at.n_tiles();
        let layers = &self.tower.layout.layers;
        for l in (0..layers.len()).rev() {
            let width = layers[l].outputs;
            let output = &activations.outputs[l];
            let biases = &mut outcome.sums.biases[l];
            for (y, dy) in output
                .chunks_exact(width)
                .zip(above.chunks_exact_mut(width))
            {
                tiles::rectify_backward(self.level, scale, y, dy, biases);
            }
            let input = match l {
                0 => x,
                _ => &activations.outputs[l - 1],
            };
            let wiring = &self.subnet.wiring.layers[l];
            let sums = &mut outcome.sums.weights[l];
            wiring.outer.add(self.level, n_tiles, input, &above, sums);
            let values = &self.subnet.layers[l].backward;
            if l == 0 {
                let start = if add { Start::Outputs } else { Start::Zero };
                let product = &wiring.backward;
                product.run(self.level, values, start, false, &above, d_x);
            } else {
                below.resize(n_tiles * layers[l].inputs, Lanes::all(R::ZERO));
                let product = &wiring.backward;
                product.run(self.level, values, Start::Zero, false, &above, &mut below);
                std::mem::swap(&mut above, &mut below);
            }
        }
        activations.slopes = [above, below];
    }

    #[expect(clippy::too_many_arguments, reason = "a chapter of the backward pass")]
    fn heads_backward(
        &self,
        at: TileRows<'_>,
        slopes_of: &SlopesOf<'_, R>,
        first_head: usize,
        x: &[Lanes<R>],
        activations: &mut Activations<R>,
        outcome: &mut Outcome<R>,
        above: &mut Vec<Lanes<R>>,
    ) {
        let last = activations.outputs.last().map_or(x, |outputs| outputs);
        let width = last.len() / at.n_tiles().max(1);
        above.clear();
        above.resize(last.len(), Lanes::all(R::ZERO));
        let slopes = &mut activations.logit_slopes;
        slopes.resize(at.rows.len(), R::ZERO);
        let n_before = outcome.n_rows - at.rows.len();
        for (h, &head) in self.subnet.heads.iter().enumerate() {
            let rows = HeadRows {
                head: first_head + h,
                rows: at.rows,
                first: at.first,
                logits: &outcome.logits[h][n_before..],
            };
            outcome.losses[h] += slopes_of(&rows, slopes);
            let weights = &self.tower.dense[self.tower.layout.heads[head].weights.clone()];
            let (sums, bias) = outcome.sums.heads[h].split_at_mut(weights.len());
            let tiles = last.chunks_exact(width).zip(above.chunks_exact_mut(width));
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
