//! Target attention over the events of a sequence, forward and backward, row by row: by a network over event and target
//! (`din.rs`), or by several heads (`heads.rs`).
//!
//! Event `j` has the vectors `e_jk` of its attributes `k`, end to end `e_j`; `t` are the vectors of the attributes' targets,
//! end to end.

mod decay;
mod din;
mod heads;
mod passes;
mod product;
mod row;
mod row_vectors;

pub use passes::EventGradients;
pub(crate) use passes::{Attended, AttendedRows};
pub(crate) use row::AttentionBuffers;

use crate::layer_layout::LayerLayout;
use crate::number::Real;
use din::{Din, DinSums};
use heads::{Heads, HeadsSums};
use ncs_features::{EventDecay, Sequence, SequencePooling};

/// Positions of the parameters of a sequence's attention in a network's dense weights. Never masked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttentionLayout {
    /// The fields of the attributes and their targets.
    pub sequence: Sequence,
    /// `din`: two hidden layers and the output. Heads: queries, keys, values, output and the vectors of positions, without
    /// biases; keys and values head by head. Last, if the decay of weights with age is learned, one bias: the logarithm of
    /// its rate.
    pub layers: Vec<LayerLayout>,
    dim: usize,
}

/// Returns inputs, outputs and biases of the layers; none without parameters.
fn shapes(sequence: &Sequence, dim: usize) -> Vec<[usize; 3]> {
    let mut shapes = shapes_of_pooling(sequence, dim);
    if sequence.decay == Some(EventDecay::Learned) {
        shapes.push([0, 1, 1]);
    }
    shapes
}

fn shapes_of_pooling(sequence: &Sequence, dim: usize) -> Vec<[usize; 3]> {
    let (width, targets) = (sequence.fields.len() * dim, sequence.n_targets() * dim);
    match sequence.pooling {
        SequencePooling::Mean | SequencePooling::Last => Vec::new(),
        SequencePooling::Din(about) => {
            let [first, second] = about.hidden.map(|units| units as usize);
            let inputs = width + 3 * targets;
            vec![
                [inputs, first, first],
                [first, second, second],
                [second, 1, 1],
            ]
        }
        SequencePooling::Mha(about) => {
            let heads = (about.heads as usize).max(1);
            let inner = width.div_ceil(heads) * heads;
            vec![
                [targets, inner, 0],
                [width, inner, 0],
                [width, inner, 0],
                [inner, width, 0],
                [about.positions as usize, width, 0],
            ]
        }
    }
}

impl AttentionLayout {
    /// Returns the number of parameters of a sequence's attention; 0 without one. It is an `f64`, so that extreme sizes do
    /// not overflow.
    pub fn n_parameters(sequence: &Sequence, dim: usize) -> f64 {
        let dim = dim as f64;
        let width = sequence.fields.len() as f64 * dim;
        let targets = sequence.n_targets() as f64 * dim;
        let is_learned = sequence.decay == Some(EventDecay::Learned);
        let of_pooling = match sequence.pooling {
            SequencePooling::Mean | SequencePooling::Last => 0.0,
            SequencePooling::Din(about) => {
                let [first, second] = about.hidden.map(f64::from);
                (width + 3.0 * targets + 1.0) * first + (first + 1.0) * second + second + 1.0
            }
            SequencePooling::Mha(about) => {
                let heads = f64::from(about.heads.max(1));
                let inner = (width / heads).ceil() * heads;
                (targets + 3.0 * width) * inner + f64::from(about.positions) * width
            }
        };
        of_pooling + f64::from(u8::from(is_learned))
    }

    /// Lays out the attention of a sequence, if it has one; `layer` appends a layer of these inputs, outputs and biases.
    pub(crate) fn new(
        sequence: Sequence,
        dim: usize,
        layer: impl FnMut([usize; 3]) -> LayerLayout,
    ) -> Option<AttentionLayout> {
        sequence.is_attention().then(|| AttentionLayout {
            layers: shapes(&sequence, dim).into_iter().map(layer).collect(),
            sequence,
            dim,
        })
    }

    /// Returns the position of the logarithm of the rate at which weights decay with age, if it is learned.
    pub fn log_rate(&self) -> Option<usize> {
        let is_learned = self.sequence.decay == Some(EventDecay::Learned);
        let last = self.layers.last().filter(|_| is_learned);
        last.map(|layer| layer.bias.start)
    }

    /// Returns the width of an event: all attributes, one after another.
    fn width(&self) -> usize {
        self.sequence.fields.len() * self.dim
    }

    /// Calls `each` with every attribute's number, and its target's number among the targets, if it has one.
    fn each_attribute(&self, mut each: impl FnMut(usize, Option<usize>)) {
        let mut n_targets = 0;
        for (k, target) in self.sequence.targets.iter().enumerate() {
            each(k, target.map(|_| n_targets));
            n_targets += usize::from(target.is_some());
        }
    }
}

/// The weights of an attention, prepared for a pass.
#[derive(Clone, Debug)]
pub(crate) struct PreparedAttention<R> {
    layout: AttentionLayout,
    weights: Prepared<R>,
    /// The rate at which weights decay with age; 1 where it is stated.
    rate: R,
}

#[derive(Clone, Debug)]
enum Prepared<R> {
    Din(Din<R>),
    Heads(Heads<R>),
    /// A mean, weighted by age.
    Mean,
}

impl<R: Real> PreparedAttention<R> {
    /// Prepares the weights of each attention of a network.
    pub(crate) fn of_network(
        attentions: &[AttentionLayout],
        dense: &[R],
    ) -> Vec<PreparedAttention<R>> {
        let rate = |layout: &AttentionLayout| match layout.log_rate() {
            Some(place) => R::of(dense[place].wide().exp()),
            None => R::ONE,
        };
        let prepared = |layout: &AttentionLayout| PreparedAttention {
            rate: rate(layout),
            weights: match layout.sequence.pooling {
                SequencePooling::Mha(about) => Prepared::Heads(Heads::new(layout, about, dense)),
                SequencePooling::Din(about) => {
                    Prepared::Din(Din::new(layout, about.softmax, dense))
                }
                SequencePooling::Mean | SequencePooling::Last => Prepared::Mean,
            },
            layout: layout.clone(),
        };
        attentions.iter().map(prepared).collect()
    }

    /// Returns the sequence.
    pub(crate) fn sequence(&self) -> &Sequence {
        &self.layout.sequence
    }

    /// Returns the width of an event: all attributes, one after another.
    pub(crate) fn width(&self) -> usize {
        self.layout.width()
    }
}

/// Sums of the gradients of an attention's weights.
#[derive(Clone, Debug, Default)]
pub(crate) struct AttentionSums<R> {
    din: DinSums<R>,
    heads: HeadsSums<R>,
    /// That of the logarithm of the rate of decay.
    log_rate: R,
}

impl<R: Real> AttentionSums<R> {
    /// Sets all sums to 0.
    fn clear(&mut self, attention: &PreparedAttention<R>) {
        self.log_rate = R::ZERO;
        match &attention.weights {
            Prepared::Din(din) => self.din.clear(din),
            Prepared::Heads(_) => self.heads.clear(&attention.layout),
            Prepared::Mean => {}
        }
    }

    /// Calls `add` with the position of every parameter in the dense weights and its gradient.
    pub(crate) fn each(&self, layout: &AttentionLayout, mut add: impl FnMut(usize, R)) {
        if let Some(place) = layout.log_rate() {
            add(place, self.log_rate);
        }
        match layout.sequence.pooling {
            SequencePooling::Mha(_) => self.heads.each(layout, add),
            SequencePooling::Din(_) => self.din.each(layout, add),
            SequencePooling::Mean | SequencePooling::Last => {}
        }
    }
}

/// Returns the transpose of a matrix of `width` columns.
fn transposed<R: Real>(matrix: &[R], width: usize) -> Vec<R> {
    let column = |column: usize| matrix.iter().skip(column).step_by(width).copied();
    (0..width).flat_map(column).collect()
}

/// Sets a buffer to `n` zeros.
fn fill<R: Real>(buffer: &mut Vec<R>, n: usize) {
    buffer.clear();
    buffer.resize(n, R::ZERO);
}

fn softmax<R: Real>(values: &mut [R]) {
    let larger = |a: R, b: R| if b > a { b } else { a };
    let Some(largest) = values.iter().copied().reduce(larger) else {
        return;
    };
    for value in values.iter_mut() {
        *value = R::of((*value - largest).wide().exp());
    }
    let sum: R = values.iter().copied().sum();
    values.iter_mut().for_each(|value| *value = *value / sum);
}

/// Turns the gradients of a softmax's outputs into those of its inputs: `y (d - sum y d)`.
fn softmax_backward<R: Real>(outputs: &[R], gradients: &mut [R]) {
    let terms = outputs.iter().zip(gradients.iter());
    let mean: R = terms.map(|(&output, &d)| output * d).sum();
    for (d, &output) in gradients.iter_mut().zip(outputs) {
        *d = output * (*d - mean);
    }
}

/// Adds the numbers one by one.
fn add<R: Real>(values: &[R], sums: &mut [R]) {
    sums.iter_mut()
        .zip(values)
        .for_each(|(sum, &value)| *sum += value);
}
