//! Multi-head attention of the candidate over events with positions (Vaswani et al. 2017, arXiv 1706.03762, section 3.2.2,
//! with the targets as the only query): `x_j = e_j + p_j`, where `p_j` is the vector of the event's position, counted from
//! the most recent one; head `h` weighs the events by the softmax of `q_h k_hj / sqrt(d)` with `q_h = t Q_h`,
//! `k_hj = x_j K_h`, and the pooled vectors of all attributes are `[.. sum_j w_hj x_j V_h ..] O`.
//!
//! Keys and values of events are never computed: `q_h k_hj` is `x_j` times `K_h q_h`, one vector for a candidate and head, and
//! the values are applied to the weighted sum of the `x_j`.

use super::product::{outer, product};
use super::row_vectors::{Row, RowGradients};
use super::{AttentionLayout, add, fill, softmax, softmax_backward, transposed};
use crate::number::Real;
use ncs_features::{MultiHead, Newest};

/// The weights, prepared for a pass.
#[derive(Clone, Debug)]
pub(super) struct Heads<R> {
    heads: usize,
    /// Width of an event, and of a head.
    width: usize,
    depth: usize,
    newest: Newest,
    /// `[targets * dim, heads * depth]`, and its transpose.
    query: Vec<R>,
    query_back: Vec<R>,
    /// For each head `[width, depth]`, and its transpose.
    key: Vec<R>,
    key_back: Vec<R>,
    value: Vec<R>,
    value_back: Vec<R>,
    /// `[heads * depth, width]`, and its transpose.
    output: Vec<R>,
    output_back: Vec<R>,
    /// `[positions, width]`
    positions: Vec<R>,
}

impl<R: Real> Heads<R> {
    pub(super) fn new(layout: &AttentionLayout, about: MultiHead, dense: &[R]) -> Heads<R> {
        let numbers = |layer: usize| dense[layout.layers[layer].weights.clone()].to_vec();
        let [query, key, value, output, positions] = [0, 1, 2, 3, 4].map(numbers);
        let heads = (about.heads as usize).max(1);
        let (width, inner) = (layout.width(), layout.layers[0].outputs);
        let depth = inner / heads;
        let each_back = |matrices: &[R]| -> Vec<R> {
            let matrices = matrices.chunks_exact(width * depth);
            matrices
                .flat_map(|matrix| transposed(matrix, depth))
                .collect()
        };
        Heads {
            heads,
            width,
            depth,
            newest: layout.sequence.newest,
            query_back: transposed(&query, inner),
            query,
            key_back: each_back(&key),
            key,
            value_back: each_back(&value),
            value,
            output_back: transposed(&output, width),
            output,
            positions,
        }
    }

    /// Returns the range of the vector of the position of event `j` of `n`. Events beyond the last position share it.
    fn position(&self, j: usize, n: usize) -> std::ops::Range<usize> {
        let age = match self.newest {
            Newest::Last => n - 1 - j,
            Newest::First => j,
        };
        let last = self.positions.len() / self.width - 1;
        let first = age.min(last) * self.width;
        first..first + self.width
    }

    /// Returns the matrix of head `h` among those of all heads.
    fn of_head<'a>(&self, matrices: &'a [R], h: usize) -> &'a [R] {
        let size = self.width * self.depth;
        &matrices[h * size..(h + 1) * size]
    }
}

/// Sums of the gradients of the weights, for each layer.
#[derive(Clone, Debug, Default)]
pub(super) struct HeadsSums<R> {
    layers: [Vec<R>; 5],
}

impl<R: Real> HeadsSums<R> {
    /// Sets all sums to 0.
    pub(super) fn clear(&mut self, layout: &AttentionLayout) {
        let layers = self.layers.iter_mut().zip(&layout.layers);
        layers.for_each(|(sums, layer)| fill(sums, layer.weights.len()));
    }

    /// Calls `add` with the position of every parameter and its gradient.
    pub(super) fn each(&self, layout: &AttentionLayout, mut add: impl FnMut(usize, R)) {
        for (sums, layer) in self.layers.iter().zip(&layout.layers) {
            let places = layer.weights.clone().zip(sums);
            places.for_each(|(place, &sum)| add(place, sum));
        }
    }
}

/// Buffers of one row.
#[derive(Clone, Debug, Default)]
pub(super) struct HeadsBuffers<R> {
    /// Events with their positions, `[events, width]`, and the transpose.
    x: Vec<R>,
    x_back: Vec<R>,
    /// `q_h / sqrt(d)`, `[heads, depth]`, and `K_h` times it, `[heads, width]`.
    query: Vec<R>,
    probe: Vec<R>,
    /// `[heads, events]`
    weights: Vec<R>,
    /// Weighted sums of the events, `[heads, width]`, and their values, `[heads, depth]`.
    mean: Vec<R>,
    value: Vec<R>,
    d_x: Vec<R>,
    d_query: Vec<R>,
    d_probe: Vec<R>,
    d_weights: Vec<R>,
    d_mean: Vec<R>,
    d_value: Vec<R>,
}

impl<R: Real> HeadsBuffers<R> {
    /// Pools the events of a row into `pooled`, which is 0.
    pub(super) fn forward(&mut self, about: &Heads<R>, row: Row<'_, R>, pooled: &mut [R]) {
        self.attend(about, row);
        let sizes = [about.heads * about.depth, about.width];
        product(row.level, sizes, &self.value, &about.output, None, pooled);
    }

    /// Computes the values of all heads.
    fn attend(&mut self, about: &Heads<R>, row: Row<'_, R>) {
        let (level, width, depth) = (row.level, about.width, about.depth);
        let n_events = row.events.len() / width;
        self.x.clear();
        self.x.extend_from_slice(row.events);
        for (j, x) in self.x.chunks_exact_mut(width).enumerate() {
            add(&about.positions[about.position(j, n_events)], x);
        }
        self.x_back.clear();
        for input in 0..width {
            let column = self.x.iter().skip(input).step_by(width);
            self.x_back.extend(column);
        }
        let inner = about.heads * depth;
        fill(&mut self.query, inner);
        let sizes = [row.targets.len(), inner];
        product(
            level,
            sizes,
            row.targets,
            &about.query,
            None,
            &mut self.query,
        );
        let scale = R::ONE / R::of(depth as f64).root();
        self.query.iter_mut().for_each(|q| *q = *q * scale);
        fill(&mut self.probe, about.heads * width);
        let probes = self
            .probe
            .chunks_exact_mut(width)
            .zip(self.query.chunks_exact(depth));
        for (h, (probe, query)) in probes.enumerate() {
            let key = about.of_head(&about.key_back, h);
            product(level, [depth, width], query, key, None, probe);
        }
        fill(&mut self.weights, about.heads * n_events);
        let (probe, x_back) = (&self.probe, &self.x_back);
        product(
            level,
            [width, n_events],
            probe,
            x_back,
            None,
            &mut self.weights,
        );
        for weights in self.weights.chunks_exact_mut(n_events) {
            add(row.decays, weights);
            softmax(weights);
        }
        fill(&mut self.mean, about.heads * width);
        let (weights, x) = (&self.weights, &self.x);
        product(level, [n_events, width], weights, x, None, &mut self.mean);
        fill(&mut self.value, inner);
        let values = self
            .value
            .chunks_exact_mut(depth)
            .zip(self.mean.chunks_exact(width));
        for (h, (value, mean)) in values.enumerate() {
            let matrix = about.of_head(&about.value, h);
            product(level, [width, depth], mean, matrix, None, value);
        }
    }

    /// Computes the gradients of a row from those of the pooled vectors.
    pub(super) fn backward(
        &mut self,
        about: &Heads<R>,
        row: Row<'_, R>,
        d_pooled: &[R],
        gradients: RowGradients<'_, R>,
    ) {
        self.attend(about, row);
        let n_events = row.events.len() / about.width;
        let sums = &mut gradients.sums.heads;
        self.values_backward(about, row, d_pooled, sums);
        self.weights_backward(about, row, n_events);
        let of_heads = self.d_weights.chunks_exact(n_events);
        of_heads.for_each(|d_weights| add(d_weights, gradients.decays));
        self.queries_backward(about, row, gradients.targets, sums);
        let [.., of_position] = &mut sums.layers;
        for (j, d_x) in self.d_x.chunks_exact(about.width).enumerate() {
            add(d_x, &mut of_position[about.position(j, n_events)]);
        }
        gradients.events.copy_from_slice(&self.d_x);
    }

    /// Computes the gradients of the weighted sums of the events.
    fn values_backward(
        &mut self,
        about: &Heads<R>,
        row: Row<'_, R>,
        d_pooled: &[R],
        sums: &mut HeadsSums<R>,
    ) {
        let (level, width, depth) = (row.level, about.width, about.depth);
        let (inner, size) = (about.heads * depth, width * depth);
        let [_, _, of_value, of_output, _] = &mut sums.layers;
        outer(level, [inner, width], &self.value, d_pooled, of_output);
        fill(&mut self.d_value, inner);
        let (back, d_value) = (&about.output_back, &mut self.d_value);
        product(level, [width, inner], d_pooled, back, None, d_value);
        fill(&mut self.d_mean, about.heads * width);
        for h in 0..about.heads {
            let of_event = h * width..(h + 1) * width;
            let d_value = &self.d_value[h * depth..(h + 1) * depth];
            let (mean, sums) = (
                &self.mean[of_event.clone()],
                &mut of_value[h * size..][..size],
            );
            outer(level, [width, depth], mean, d_value, sums);
            let (back, d_mean) = (
                about.of_head(&about.value_back, h),
                &mut self.d_mean[of_event],
            );
            product(level, [depth, width], d_value, back, None, d_mean);
        }
    }

    /// Computes the gradients of the targets from those of the probes.
    fn queries_backward(
        &mut self,
        about: &Heads<R>,
        row: Row<'_, R>,
        d_targets: &mut [R],
        sums: &mut HeadsSums<R>,
    ) {
        let (level, width, depth) = (row.level, about.width, about.depth);
        let (inner, size) = (about.heads * depth, width * depth);
        let [of_query, of_key, ..] = &mut sums.layers;
        fill(&mut self.d_query, inner);
        for h in 0..about.heads {
            let of_head = h * depth..(h + 1) * depth;
            let d_probe = &self.d_probe[h * width..(h + 1) * width];
            let (query, sums) = (
                &self.query[of_head.clone()],
                &mut of_key[h * size..][..size],
            );
            outer(level, [width, depth], d_probe, query, sums);
            let (key, d_query) = (about.of_head(&about.key, h), &mut self.d_query[of_head]);
            product(level, [width, depth], d_probe, key, None, d_query);
        }
        let scale = R::ONE / R::of(depth as f64).root();
        self.d_query.iter_mut().for_each(|d| *d = *d * scale);
        let n_targets = row.targets.len();
        outer(
            level,
            [n_targets, inner],
            row.targets,
            &self.d_query,
            of_query,
        );
        let back = &about.query_back;
        product(
            level,
            [inner, n_targets],
            &self.d_query,
            back,
            None,
            d_targets,
        );
    }

    /// Computes the gradients of the events with their positions, and of the probes.
    fn weights_backward(&mut self, about: &Heads<R>, row: Row<'_, R>, n_events: usize) {
        let (level, width, heads) = (row.level, about.width, about.heads);
        fill(&mut self.d_weights, heads * n_events);
        let (d_mean, d_weights) = (&self.d_mean, &mut self.d_weights);
        product(
            level,
            [width, n_events],
            d_mean,
            &self.x_back,
            None,
            d_weights,
        );
        fill(&mut self.d_x, n_events * width);
        outer(
            level,
            [n_events, width],
            &self.weights,
            d_mean,
            &mut self.d_x,
        );
        let pairs = self.weights.chunks_exact(n_events);
        for (weights, d_weights) in pairs.zip(d_weights.chunks_exact_mut(n_events)) {
            softmax_backward(weights, d_weights);
        }
        outer(
            level,
            [n_events, width],
            d_weights,
            &self.probe,
            &mut self.d_x,
        );
        fill(&mut self.d_probe, heads * width);
        product(
            level,
            [n_events, width],
            d_weights,
            &self.x,
            None,
            &mut self.d_probe,
        );
    }
}
