//! Deep interest network (Zhou et al. 2018, arXiv 1706.06978, figure 2 and equation 3): a network over
//! `[e_jk, t_k, e_jk - t_k, e_jk * t_k]` of all attributes (`[e_jk]` of those without a target) gives one number `s_j`, the
//! weight `w_j` is that number or its softmax over the events, and the field vector of attribute `k` is `sum_j w_j e_jk`.
//!
//! The first layer has blocks `W_e, W_t, W_d, W_p` for the four parts. It is computed in a *folded* form, which depends on
//! the events through one matrix of a row: `e (W_e + W_d + t * W_p) + t (W_t - W_d)`, where `t * W_p` scales the rows of
//! `W_p` by the elements of `t`. So a candidate costs one such matrix, and each of its events one product with it.

use super::product::{outer, product};
use super::row_vectors::{Row, RowGradients};
use super::{AttentionLayout, add, decay, fill, softmax, softmax_backward, transposed};
use crate::number::Real;

/// The weights, folded for a pass.
#[derive(Clone, Debug)]
pub(super) struct Din<R> {
    dim: usize,
    /// The target of each attribute, by its number among the targets.
    targets: Vec<Option<usize>>,
    softmax: bool,
    /// Widths of the two hidden layers.
    units: [usize; 2],
    /// `W_e + W_d`, `[attributes * dim, units]`, and its transpose.
    of_event: Vec<R>,
    of_event_back: Vec<R>,
    /// `W_t - W_d`, `[targets * dim, units]`, and its transpose.
    of_target: Vec<R>,
    of_target_back: Vec<R>,
    /// `W_p`, `[targets * dim, units]`.
    of_product: Vec<R>,
    first_bias: Vec<R>,
    second: Vec<R>,
    second_back: Vec<R>,
    second_bias: Vec<R>,
    last: Vec<R>,
    last_bias: R,
}

/// Calls `each` with every attribute's number, its target's number, and the first input of its parts.
fn each_input(layout: &AttentionLayout, mut each: impl FnMut(usize, Option<usize>, usize)) {
    let mut input = 0;
    layout.each_attribute(|k, target| {
        each(k, target, input);
        input += layout.dim * if target.is_some() { 4 } else { 1 };
    });
}

impl<R: Real> Din<R> {
    pub(super) fn new(layout: &AttentionLayout, softmax: bool, dense: &[R]) -> Din<R> {
        let [first, second, last] = [0, 1, 2].map(|number| &layout.layers[number]);
        let weights = &dense[first.weights.clone()];
        let size = layout.dim * first.outputs;
        let (mut of_event, mut of_target, mut of_product) = (Vec::new(), Vec::new(), Vec::new());
        let mut targets = Vec::new();
        each_input(layout, |_, target, input| {
            targets.push(target);
            let part = |number: usize| {
                let start = input * first.outputs + number * size;
                weights[start..start + size].iter().copied()
            };
            if target.is_none() {
                return of_event.extend(part(0));
            }
            of_event.extend(
                part(0)
                    .zip(part(2))
                    .map(|(event, difference)| event + difference),
            );
            of_target.extend(
                part(1)
                    .zip(part(2))
                    .map(|(target, difference)| target - difference),
            );
            of_product.extend(part(3));
        });
        Din {
            dim: layout.dim,
            targets,
            softmax,
            units: [first.outputs, second.outputs],
            of_event_back: transposed(&of_event, first.outputs),
            of_event,
            of_target_back: transposed(&of_target, first.outputs),
            of_target,
            of_product,
            first_bias: dense[first.bias.clone()].to_vec(),
            second: dense[second.weights.clone()].to_vec(),
            second_back: transposed(&dense[second.weights.clone()], second.outputs),
            second_bias: dense[second.bias.clone()].to_vec(),
            last: dense[last.weights.clone()].to_vec(),
            last_bias: dense[last.bias.start],
        }
    }

    fn width(&self) -> usize {
        self.targets.len() * self.dim
    }

    /// Calls `each` with the attributes that have a target, and its number.
    fn each_target(&self, mut each: impl FnMut(usize, usize)) {
        for (k, target) in self.targets.iter().enumerate() {
            if let Some(target) = target {
                each(k, *target);
            }
        }
    }
}

/// Sums of the gradients of the folded weights.
#[derive(Clone, Debug, Default)]
pub(super) struct DinSums<R> {
    of_event: Vec<R>,
    of_target: Vec<R>,
    of_product: Vec<R>,
    first_bias: Vec<R>,
    second: Vec<R>,
    second_bias: Vec<R>,
    last: Vec<R>,
    last_bias: Vec<R>,
}

impl<R: Real> DinSums<R> {
    /// Sets all sums to 0.
    pub(super) fn clear(&mut self, din: &Din<R>) {
        fill(&mut self.of_event, din.of_event.len());
        fill(&mut self.of_target, din.of_target.len());
        fill(&mut self.of_product, din.of_product.len());
        fill(&mut self.first_bias, din.first_bias.len());
        fill(&mut self.second, din.second.len());
        fill(&mut self.second_bias, din.second_bias.len());
        fill(&mut self.last, din.last.len());
        fill(&mut self.last_bias, 1);
    }

    /// Calls `add` with the position of every parameter and its gradient.
    pub(super) fn each(&self, layout: &AttentionLayout, mut add: impl FnMut(usize, R)) {
        let [first, second, last] = [0, 1, 2].map(|number| &layout.layers[number]);
        let size = layout.dim * first.outputs;
        each_input(layout, |k, target, input| {
            let start = first.weights.start + input * first.outputs;
            let of_event = &self.of_event[k * size..(k + 1) * size];
            for (i, &event) in of_event.iter().enumerate() {
                add(start + i, event);
                if let Some(target) = target {
                    let of_target = self.of_target[target * size + i];
                    add(start + size + i, of_target);
                    add(start + 2 * size + i, event - of_target);
                    add(start + 3 * size + i, self.of_product[target * size + i]);
                }
            }
        });
        let mut all = |start: usize, sums: &[R]| {
            let places = sums.iter().enumerate();
            places.for_each(|(i, &sum)| add(start + i, sum));
        };
        all(first.bias.start, &self.first_bias);
        all(second.weights.start, &self.second);
        all(second.bias.start, &self.second_bias);
        all(last.weights.start, &self.last);
        all(last.bias.start, &self.last_bias);
    }
}

/// Buffers of one row.
#[derive(Clone, Debug, Default)]
pub(super) struct DinBuffers<R> {
    /// The first layer on events, `[attributes * dim, units]`, and its transpose.
    matrix: Vec<R>,
    matrix_back: Vec<R>,
    /// The first layer's sums without events, `[units]`.
    start: Vec<R>,
    first: Vec<R>,
    second: Vec<R>,
    /// The weights of the events.
    weights: Vec<R>,
    /// Gradients of the outputs of the last, the second and the first layer.
    d_scores: Vec<R>,
    d_second: Vec<R>,
    d_first: Vec<R>,
    /// `sum_j e_j d_first_j`, `[attributes * dim, units]`.
    d_matrix: Vec<R>,
}

impl<R: Real> DinBuffers<R> {
    /// Pools the events of a row into `pooled`, which is 0.
    pub(super) fn forward(&mut self, din: &Din<R>, row: Row<'_, R>, pooled: &mut [R]) {
        self.weigh(din, row);
        for (&weight, event) in self
            .weights
            .iter()
            .zip(row.events.chunks_exact(pooled.len()))
        {
            let sums = pooled.iter_mut().zip(event);
            sums.for_each(|(sum, &x)| *sum += weight * x);
        }
    }

    /// Computes the weights of the events.
    fn weigh(&mut self, din: &Din<R>, row: Row<'_, R>) {
        let (width, level, [n_first, n_second]) = (din.width(), row.level, din.units);
        let n_events = row.events.len() / width;
        self.fold(din, row);
        fill(&mut self.first, n_events * n_first);
        let (start, first) = (Some(&self.start[..]), &mut self.first);
        product(
            level,
            [width, n_first],
            row.events,
            &self.matrix,
            start,
            first,
        );
        rectify(first);
        fill(&mut self.second, n_events * n_second);
        let (bias, second) = (Some(&din.second_bias[..]), &mut self.second);
        product(level, [n_first, n_second], first, &din.second, bias, second);
        rectify(second);
        fill(&mut self.weights, n_events);
        let (bias, weights) = ([din.last_bias], &mut self.weights);
        product(
            level,
            [n_second, 1],
            second,
            &din.last,
            Some(&bias),
            weights,
        );
        if din.softmax {
            add(row.decays, weights);
            softmax(weights);
        } else {
            decay::scale(row.decays, weights);
        }
    }

    /// Folds the targets into the first layer.
    fn fold(&mut self, din: &Din<R>, row: Row<'_, R>) {
        let (size, n_first) = (din.dim * din.units[0], din.units[0]);
        self.matrix.clear();
        self.matrix.extend_from_slice(&din.of_event);
        let matrix = &mut self.matrix;
        din.each_target(|k, target| {
            let rows = matrix[k * size..(k + 1) * size].chunks_exact_mut(n_first);
            let of_product = din.of_product[target * size..].chunks_exact(n_first);
            let targets = &row.targets[target * din.dim..];
            for ((row, of_product), &t) in rows.zip(of_product).zip(targets) {
                let sums = row.iter_mut().zip(of_product);
                sums.for_each(|(sum, &weight)| *sum += t * weight);
            }
        });
        fill(&mut self.start, n_first);
        let (sizes, bias) = ([row.targets.len(), n_first], Some(&din.first_bias[..]));
        product(
            row.level,
            sizes,
            row.targets,
            &din.of_target,
            bias,
            &mut self.start,
        );
    }

    /// Computes the gradients of a row from those of the pooled vectors.
    pub(super) fn backward(
        &mut self,
        din: &Din<R>,
        row: Row<'_, R>,
        d_pooled: &[R],
        gradients: RowGradients<'_, R>,
    ) {
        self.weigh(din, row);
        self.score_gradients(din.softmax, row, d_pooled, gradients.decays);
        let (level, [n_first, n_second]) = (row.level, din.units);
        let n_events = self.weights.len();
        let sums = &mut gradients.sums.din;
        outer(
            level,
            [n_second, 1],
            &self.second,
            &self.d_scores,
            &mut sums.last,
        );
        self.d_scores.iter().for_each(|&d| sums.last_bias[0] += d);
        fill(&mut self.d_second, n_events * n_second);
        for (d_second, &d) in self.d_second.chunks_exact_mut(n_second).zip(&self.d_scores) {
            let pairs = d_second.iter_mut().zip(&din.last);
            pairs.for_each(|(d_second, &weight)| *d_second = d * weight);
        }
        mask(&mut self.d_second, &self.second);
        let sizes = [n_first, n_second];
        outer(level, sizes, &self.first, &self.d_second, &mut sums.second);
        add_rows(&self.d_second, &mut sums.second_bias);
        fill(&mut self.d_first, n_events * n_first);
        let (sizes, back) = ([n_second, n_first], &din.second_back);
        product(level, sizes, &self.d_second, back, None, &mut self.d_first);
        mask(&mut self.d_first, &self.first);
        self.first_layer_backward(din, row, d_pooled, gradients);
    }

    /// Computes the gradients of the last layer's outputs, and of the decays.
    fn score_gradients(
        &mut self,
        is_softmax: bool,
        row: Row<'_, R>,
        d_pooled: &[R],
        d_decays: &mut [R],
    ) {
        let of_event = |event: &[R]| event.iter().zip(d_pooled).map(|(&x, &d)| x * d).sum::<R>();
        self.d_scores.clear();
        self.d_scores
            .extend(row.events.chunks_exact(d_pooled.len()).map(of_event));
        if is_softmax {
            softmax_backward(&self.weights, &mut self.d_scores);
            add(&self.d_scores, d_decays);
        } else {
            decay::scale_backward(row.decays, &self.weights, &mut self.d_scores, d_decays);
        }
    }

    fn first_layer_backward(
        &mut self,
        din: &Din<R>,
        row: Row<'_, R>,
        d_pooled: &[R],
        gradients: RowGradients<'_, R>,
    ) {
        let (level, width, n_first) = (row.level, din.width(), din.units[0]);
        let sums = &mut gradients.sums.din;
        fill(&mut self.d_matrix, width * n_first);
        let (d_first, d_matrix) = (&self.d_first, &mut self.d_matrix);
        outer(level, [width, n_first], row.events, d_first, d_matrix);
        add(d_matrix, &mut sums.of_event);
        fill(&mut self.start, n_first);
        add_rows(d_first, &mut self.start);
        add(&self.start, &mut sums.first_bias);
        let sizes = [row.targets.len(), n_first];
        outer(level, sizes, row.targets, &self.start, &mut sums.of_target);
        let (sizes, back) = ([n_first, row.targets.len()], &din.of_target_back);
        product(level, sizes, &self.start, back, None, gradients.targets);
        self.matrix_back.clear();
        self.matrix_back.extend_from_slice(&din.of_event_back);
        let matrix_back = &mut self.matrix_back;
        din.each_target(|k, target| {
            for d in 0..din.dim {
                let (input, at) = (k * din.dim + d, target * din.dim + d);
                let places = at * n_first..(at + 1) * n_first;
                let of_product = &din.of_product[places.clone()];
                let d_matrix = &d_matrix[input * n_first..(input + 1) * n_first];
                let t = row.targets[at];
                let own = sums.of_product[places].iter_mut();
                own.zip(d_matrix).for_each(|(sum, &x)| *sum += t * x);
                let terms = of_product.iter().zip(d_matrix);
                gradients.targets[at] += terms.map(|(&weight, &x)| weight * x).sum();
                for (unit, &weight) in of_product.iter().enumerate() {
                    matrix_back[unit * width + input] += t * weight;
                }
            }
        });
        for (d_event, &weight) in gradients.events.chunks_exact_mut(width).zip(&self.weights) {
            let pairs = d_event.iter_mut().zip(d_pooled);
            pairs.for_each(|(d_event, &d)| *d_event = weight * d);
        }
        product(
            level,
            [n_first, width],
            d_first,
            matrix_back,
            None,
            gradients.events,
        );
    }
}

fn rectify<R: Real>(values: &mut [R]) {
    for value in values {
        if *value < R::ZERO {
            *value = R::ZERO;
        }
    }
}

/// Sets the gradients of units that are 0 to 0.
fn mask<R: Real>(gradients: &mut [R], units: &[R]) {
    for (gradient, &unit) in gradients.iter_mut().zip(units) {
        if unit == R::ZERO {
            *gradient = R::ZERO;
        }
    }
}

/// Adds the rows of a matrix.
fn add_rows<R: Real>(matrix: &[R], sums: &mut [R]) {
    matrix
        .chunks_exact(sums.len())
        .for_each(|row| add(row, sums));
}
