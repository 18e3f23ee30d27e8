//! The hidden layers of a subnet and its heads, forward and backward, for one chunk of rows.
//!
//! `h_0 = x`, `h_l = relu(h_{l-1} (W_l * M_l) + b_l)`, `logit_t = h_L w_t + b_t`.

use crate::kernels::dense;
use crate::number::Real;
use crate::pass::Dropout;
use crate::tower::{Subnet, Tower};
use std::ops::Range;

/// Activations and gradient sums of one subnet over one chunk.
#[derive(Debug, Default)]
pub(crate) struct Layers<R> {
    /// The rows of the chunk that the subnet runs on, when these are not all.
    picked: Option<Vec<u32>>,
    n_rows: usize,
    /// The picked rows of the input.
    x: Vec<R>,
    /// Outputs of each layer, after ReLU and dropout, `[rows, outputs]`.
    outputs: Vec<Vec<R>>,
    /// `[heads][rows]`
    logits: Vec<Vec<R>>,
    pub(crate) gradient: SubnetGradient<R>,
    /// Slopes on their way back.
    slopes: [Vec<R>; 2],
}

/// Sums over the rows of one or more chunks; the first layer's weights are folded.
#[derive(Clone, Debug, Default)]
pub(crate) struct SubnetGradient<R> {
    weights: Vec<Vec<R>>,
    biases: Vec<Vec<R>>,
    /// Weights, then bias.
    heads: Vec<Vec<R>>,
}

impl<R: Real> Layers<R> {
    pub(crate) fn n_heads(&self) -> usize {
        self.logits.len()
    }

    pub(crate) fn n_rows(&self) -> usize {
        self.n_rows
    }

    pub(crate) fn logits(&self, head: usize) -> impl Iterator<Item = f64> {
        self.logits[head].iter().map(|logit| logit.wide())
    }

    /// `rows` are those of the chunk, `x` its input.
    pub(crate) fn forward(
        &mut self,
        tower: &Tower<R>,
        subnet: &Subnet<R>,
        rows: Range<usize>,
        x: &[R],
        dropout: Option<Dropout>,
    ) {
        let width = tower.spec.interaction().folded_inputs();
        self.pick(subnet, rows.clone(), x, width);
        self.outputs.resize(subnet.layers.len(), Vec::new());
        for (l, weights) in subnet.layers.iter().enumerate() {
            let layer = &tower.layout.layers[l];
            let (before, after) = self.outputs.split_at_mut(l);
            let input = before
                .last()
                .map_or(self.picked.as_ref().map_or(x, |_| &self.x), |h| h);
            let output = &mut after[0];
            output.resize(self.n_rows * layer.outputs, R::ZERO);
            dense::forward(
                input,
                weights,
                &tower.dense[layer.bias.clone()],
                output,
                self.n_rows,
            );
            output.iter_mut().for_each(rectify);
            if let Some(dropout) = dropout {
                let picked = self.picked.as_deref();
                drop_units(output, layer.outputs, picked, rows.start, l, dropout);
            }
        }
        self.heads_forward(tower, subnet, x);
    }

    fn pick(&mut self, subnet: &Subnet<R>, rows: Range<usize>, x: &[R], width: usize) {
        let Some(all) = &subnet.rows else {
            self.n_rows = rows.len();
            self.picked = None;
            return;
        };
        let (start, end) = (rows.start as u32, rows.end as u32);
        let inside = all.partition_point(|&row| row < start)..all.partition_point(|&row| row < end);
        let picked: Vec<u32> = all[inside].iter().map(|&row| row - start).collect();
        self.x.clear();
        for &row in &picked {
            let first = row as usize * width;
            self.x.extend_from_slice(&x[first..first + width]);
        }
        self.n_rows = picked.len();
        self.picked = Some(picked);
    }

    fn heads_forward(&mut self, tower: &Tower<R>, subnet: &Subnet<R>, x: &[R]) {
        let last = self.outputs.last();
        let input = last.map_or(self.picked.as_ref().map_or(x, |_| &self.x), |h| h);
        self.logits.resize(subnet.heads.len(), Vec::new());
        for (logits, &head) in self.logits.iter_mut().zip(&subnet.heads) {
            let head = &tower.layout.heads[head];
            let bias = tower.dense[head.bias.start];
            let weights = &tower.dense[head.weights.clone()];
            let rows = input.chunks_exact(head.inputs.max(1)).take(self.n_rows);
            let logit = |row: &[R]| bias + row.iter().zip(weights).map(|(&h, &w)| h * w).sum();
            logits.clear();
            logits.extend(rows.map(logit));
        }
    }

    /// `slopes[head]` holds the slopes of all the subnet's rows, this chunk's from `start` on. Adds
    /// those of the input to `dx`.
    #[expect(
        clippy::too_many_arguments,
        reason = "the mirror image of the forward pass"
    )]
    pub(crate) fn backward(
        &mut self,
        tower: &Tower<R>,
        subnet: &Subnet<R>,
        slopes: &[Vec<f64>],
        start: usize,
        x: &[R],
        dx: &mut [R],
        dropped: f64,
    ) {
        self.gradient.clear(subnet, tower);
        let [mut above, mut below] = std::mem::take(&mut self.slopes);
        let x = self.picked.as_ref().map_or(x, |_| &self.x);
        let n_rows = self.n_rows;
        let last = self.outputs.last().map_or(x, |h| h);
        heads_backward(
            tower,
            subnet,
            slopes,
            start,
            last,
            &mut above,
            &mut self.gradient,
            n_rows,
        );
        let scale = R::of(1.0 / (1.0 - dropped));
        for l in (0..subnet.layers.len()).rev() {
            let output = &self.outputs[l];
            for (slope, &h) in above.iter_mut().zip(output) {
                // A unit that is off or dropped is 0, and so is its slope: relu'(0) = 0.
                *slope = if h > R::ZERO { *slope * scale } else { R::ZERO };
            }
            let layer = &tower.layout.layers[l];
            let input = if l == 0 { x } else { &self.outputs[l - 1] };
            for row in above.chunks_exact(layer.outputs) {
                add(&mut self.gradient.biases[l], row);
            }
            dense::backward_weights(input, &above, &mut self.gradient.weights[l], n_rows);
            below.clear();
            below.resize(
                input.len().min(n_rows * (input.len() / n_rows.max(1))),
                R::ZERO,
            );
            dense::backward_inputs(&above, &subnet.layers[l], &mut below, n_rows);
            std::mem::swap(&mut above, &mut below);
        }
        self.add_input_slopes(&above, dx);
        self.slopes = [above, below];
    }

    fn add_input_slopes(&self, slopes: &[R], dx: &mut [R]) {
        let Some(picked) = &self.picked else {
            return add(dx, slopes);
        };
        let width = slopes.len() / picked.len().max(1);
        for (&row, slopes) in picked.iter().zip(slopes.chunks_exact(width.max(1))) {
            let first = row as usize * width;
            add(&mut dx[first..first + width], slopes);
        }
    }
}

/// Slopes of the last layer's outputs, and the gradient of the heads.
#[expect(clippy::too_many_arguments, reason = "a chapter of the backward pass")]
fn heads_backward<R: Real>(
    tower: &Tower<R>,
    subnet: &Subnet<R>,
    slopes: &[Vec<f64>],
    start: usize,
    last: &[R],
    above: &mut Vec<R>,
    gradient: &mut SubnetGradient<R>,
    n_rows: usize,
) {
    let width = last.len() / n_rows.max(1);
    above.clear();
    above.resize(last.len(), R::ZERO);
    for (h, &head) in subnet.heads.iter().enumerate() {
        let weights = &tower.dense[tower.layout.heads[head].weights.clone()];
        let sums = &mut gradient.heads[h];
        let slopes = &slopes[h][start..start + n_rows];
        for (r, slope) in slopes.iter().map(|&slope| R::of(slope)).enumerate() {
            let row = r * width..(r + 1) * width;
            let inputs = &last[row.clone()];
            for ((above, &weight), (sum, &input)) in above[row]
                .iter_mut()
                .zip(weights)
                .zip(sums.iter_mut().zip(inputs))
            {
                *above += slope * weight;
                *sum += slope * input;
            }
            sums[width] += slope;
        }
    }
}

impl<R: Real> SubnetGradient<R> {
    fn clear(&mut self, subnet: &Subnet<R>, tower: &Tower<R>) {
        let zeros = |list: &mut Vec<R>, n: usize| {
            list.clear();
            list.resize(n, R::ZERO);
        };
        self.weights.resize(subnet.layers.len(), Vec::new());
        self.biases.resize(subnet.layers.len(), Vec::new());
        self.heads.resize(subnet.heads.len(), Vec::new());
        for (l, layer) in subnet.layers.iter().enumerate() {
            zeros(&mut self.weights[l], layer.len());
            zeros(&mut self.biases[l], tower.layout.layers[l].outputs);
        }
        for (sums, &head) in self.heads.iter_mut().zip(&subnet.heads) {
            zeros(sums, tower.layout.heads[head].inputs + 1);
        }
    }

    pub(crate) fn add(&mut self, other: &SubnetGradient<R>) {
        let pairs = |mine: &mut Vec<Vec<R>>, theirs: &Vec<Vec<R>>| {
            mine.iter_mut()
                .zip(theirs)
                .for_each(|(mine, theirs)| add(mine, theirs));
        };
        pairs(&mut self.weights, &other.weights);
        pairs(&mut self.biases, &other.biases);
        pairs(&mut self.heads, &other.heads);
    }

    /// Adds these sums to a tower's dense gradient, pruned connections left out.
    pub(crate) fn spread(&self, tower: &Tower<R>, subnet: &Subnet<R>, dense: &mut [R]) {
        for (l, layer) in tower.layout.layers.iter().enumerate() {
            let mask = subnet.layer_mask(l);
            let kept = |position: usize| mask.is_none_or(|mask| mask.keeps(position));
            let slopes = &mut dense[layer.weights.clone()];
            if l == 0 {
                let interaction = tower.spec.interaction();
                interaction.unfold(&self.weights[0], layer.outputs, kept, slopes);
            } else {
                for (position, (slope, &sum)) in slopes.iter_mut().zip(&self.weights[l]).enumerate()
                {
                    if kept(position) {
                        *slope += sum;
                    }
                }
            }
            add(&mut dense[layer.bias.clone()], &self.biases[l]);
        }
        for (sums, &head) in self.heads.iter().zip(&subnet.heads) {
            let head = &tower.layout.heads[head];
            let (weights, bias) = sums.split_at(head.inputs);
            add(&mut dense[head.weights.clone()], weights);
            add(&mut dense[head.bias.clone()], bias);
        }
    }
}

fn add<R: Real>(sums: &mut [R], values: &[R]) {
    sums.iter_mut()
        .zip(values)
        .for_each(|(sum, &value)| *sum += value);
}

/// ReLU. NaN stays, so that it is seen.
fn rectify<R: Real>(h: &mut R) {
    if *h < R::ZERO {
        *h = R::ZERO;
    }
}

/// Drops units of each row by draws that depend on the row's place in the batch, not in the chunk.
fn drop_units<R: Real>(
    outputs: &mut [R],
    width: usize,
    picked: Option<&[u32]>,
    first_row: usize,
    layer: usize,
    dropout: Dropout,
) {
    let scale = R::of(1.0 / (1.0 - dropout.rate));
    let draw = dropout.draw.at(layer as u64);
    for (r, row) in outputs.chunks_exact_mut(width).enumerate() {
        let place = first_row + picked.map_or(r, |picked| picked[r] as usize);
        let first = (place * width) as u64;
        for (h, position) in row.iter_mut().zip(first..) {
            let is_dropped = draw.uniform(position) < dropout.rate;
            *h = if is_dropped { R::ZERO } else { *h * scale };
        }
    }
}
