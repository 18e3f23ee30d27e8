//! Optimizers: apply gradients to weights. A step for some tasks updates the weights that these tasks keep, and
//! nothing else: neither weights nor moments of other connections, and no table row outside the batch.
//! Connections that every task has pruned have no moments and are never updated.
//!
//! Adam (Kingma and Ba 2015) in TensorFlow's form, `w -= rate_n m / (sqrt(v) + epsilon)` with
//! `rate_n = rate sqrt(1 - beta2^n) / (1 - beta1^n)`, where `n` counts the steps that moved this
//! weight; Adagrad (Duchi, Hazan and Singer 2011). Both also row-wise, for tables: one second moment a row, of the mean
//! of its squared gradients, as in Gupta, Bengio and Weston (2014). Table updates are lazy (sparse): only rows of the batch.

mod rows;
mod rule;

pub use rows::RowMoments;

use crate::optimizer::{Optimizer, OptimizerKind};
use ncs_model::kernels::SimdLevel;
use ncs_model::kernels::versions::{CompiledLoop, run};
use ncs_model::{Gradient, Model, Network, ParameterGroup, ParameterIndex, Real};
use rayon::prelude::*;
use rule::{Row, Rule};
use std::ops::Range;
use std::sync::Arc;

/// Number of connections that are gathered, updated and scattered together.
const BLOCK: usize = 256;

/// Minimum number of connections for a thread.
const LEAST_CONNECTIONS: usize = 16 * BLOCK;

/// Additional weights that a step of the paper's released code moves. For parity only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ParityDeviations {
    /// A step for one task moves the connections of hidden layers that only others keep, by stale
    /// momentum. Connections that no task keeps have no momentum and stay.
    pub pruned: bool,
    /// Table rows outside the batch move by stale momentum.
    pub rows: bool,
    /// One step count for all weights, advanced by the steps of every task.
    pub shared_count: bool,
}

impl ParityDeviations {
    /// All of them: the released code.
    pub const ALL: ParityDeviations = ParityDeviations {
        pruned: true,
        rows: true,
        shared_count: true,
    };
}

/// Settings of the optimizers of a model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OptimSettings {
    /// For layers and heads.
    pub network: Optimizer,
    /// For tables.
    pub tables: Optimizer,
    /// Decoupled weight decay of the network's weights, without biases.
    pub weight_decay: f32,
    /// Decoupled weight decay of the table rows that a step moves.
    pub table_weight_decay: f32,
    /// Largest norm of the network's gradient.
    pub clip_norm: Option<f32>,
    /// Deviations of the paper's released code, for parity.
    pub leaks: ParityDeviations,
}

impl OptimSettings {
    /// Returns settings with one optimizer for all weights, without weight decay and clipping.
    pub const fn new(optimizer: Optimizer) -> OptimSettings {
        OptimSettings {
            network: optimizer,
            tables: optimizer,
            weight_decay: 0.0,
            table_weight_decay: 0.0,
            clip_norm: None,
            leaks: ParityDeviations {
                pruned: false,
                rows: false,
                shared_count: false,
            },
        }
    }
}

/// First and second moments, or sums of squares: one for each entry of a network's [`ParameterIndex`], in its
/// order.
#[derive(Clone, Debug, Default)]
pub struct Moments<R> {
    /// Adam's first moment; zero with Adagrad.
    pub first: Vec<R>,
    /// Adam's second moment; Adagrad's sum of squares.
    pub second: Vec<R>,
}

impl<R: Real> Moments<R> {
    fn new(len: usize) -> Moments<R> {
        Moments {
            first: vec![R::ZERO; len],
            second: vec![R::ZERO; len],
        }
    }
}

/// The state of one network's optimizer.
#[derive(Clone, Debug)]
pub struct NetworkState<R: Real = f32> {
    /// Of layers and heads.
    pub dense: Moments<R>,
    /// Of each table.
    pub tables: Vec<RowMoments<R>>,
    /// Steps so far, of any of the network's tasks.
    pub steps: u64,
    /// For each group of connections, the steps that moved it.
    pub counts: Vec<u64>,
    connections: Arc<ParameterIndex>,
}

/// The optimizers of all networks of a model.
#[derive(Clone, Debug)]
pub struct Optimizers<R: Real = f32> {
    settings: OptimSettings,
    /// One for each network.
    pub networks: Vec<NetworkState<R>>,
}

impl<R: Real> Optimizers<R> {
    /// Creates optimizers for a model with its masks. They cannot be used with other masks.
    pub fn new(model: &Model<R>, settings: OptimSettings) -> Optimizers<R> {
        let networks = model.networks().iter().enumerate();
        let state = |(number, network)| {
            NetworkState::new(network, model.connections(number), settings.tables.kind)
        };
        Optimizers {
            networks: networks.map(state).collect(),
            settings,
        }
    }

    /// Returns the names of the rules, of the network's and the tables': moments of one are of no use to another.
    pub(crate) fn kinds(&self) -> String {
        kinds(self.settings.network, self.settings.tables)
    }

    /// Updates network `number` of the model with `gradient`, for the tasks at these positions in the
    /// network, at `factor` times the learning rate. May scale the gradient. Uses the threads of the
    /// current pool; their number does not change the result.
    ///
    /// # Panics
    /// If the gradient belongs to other masks or another network.
    pub fn step(
        &mut self,
        number: usize,
        network: &mut Network<R>,
        gradient: &mut Gradient<R>,
        places: &[usize],
        factor: f64,
    ) {
        self.step_with_factors(number, network, gradient, places, factor, &[]);
    }

    /// Makes the same step, but scales the update of each table row and its moments: `parts[table][id of the
    /// gradient]`; empty: no scaling.
    ///
    /// # Panics
    /// The conditions of [`Optimizers::step`].
    pub fn step_with_factors(
        &mut self,
        number: usize,
        network: &mut Network<R>,
        gradient: &mut Gradient<R>,
        places: &[usize],
        factor: f64,
        parts: &[Vec<f32>],
    ) {
        if let Some(most) = self.settings.clip_norm {
            clip(&mut gradient.dense, f64::from(most));
        }
        let state = &mut self.networks[number];
        let active = places.iter().fold(0, |bits, place| bits | 1 << place);
        state.count(active);
        state.step_dense(network, &gradient.dense, active, &self.settings, factor);
        let decay = f64::from(self.settings.table_weight_decay);
        let rule = Rule::new(self.settings.tables, state.steps, factor, decay);
        if self.settings.leaks.rows {
            let tables = network.tables.iter_mut().zip(&gradient.tables);
            for ((table, gradient), moments) in tables.zip(&mut state.tables) {
                rows::step_all(rule, table, gradient, moments);
            }
        } else {
            let (tables, moments) = (&mut network.tables, &mut state.tables);
            rows::step(rule, tables, &gradient.tables, moments, parts);
        }
    }
}

impl<R: Real> NetworkState<R> {
    fn new(
        network: &Network<R>,
        connections: &Arc<ParameterIndex>,
        of_tables: OptimizerKind,
    ) -> NetworkState<R> {
        let moments = |table| RowMoments::new(table, of_tables);
        NetworkState {
            dense: Moments::new(connections.len()),
            tables: network.tables.iter().map(moments).collect(),
            steps: 0,
            counts: vec![0; connections.groups().len()],
            connections: connections.clone(),
        }
    }

    fn count(&mut self, active: u64) {
        self.steps += 1;
        for (group, count) in self.connections.groups().iter().zip(&mut self.counts) {
            *count += u64::from(group.tasks & active != 0);
        }
    }

    fn step_dense(
        &mut self,
        network: &mut Network<R>,
        gradient: &[R],
        active: u64,
        settings: &OptimSettings,
        factor: f64,
    ) {
        let connections = self.connections.clone();
        assert_eq!(
            gradient.len(),
            connections.len(),
            "the gradient belongs to other masks"
        );
        let layers_end = network
            .layout
            .layers
            .last()
            .map_or(0, |layer| layer.bias.end);
        for (g, group) in connections.groups().iter().enumerate() {
            let count = if settings.leaks.shared_count {
                self.steps
            } else {
                self.counts[g]
            };
            let range = if group.tasks & active != 0 {
                group.range.clone()
            } else if settings.leaks.pruned && count > 0 {
                hidden(&connections, group, layers_end)
            } else {
                continue;
            };
            let decay = if group.decays {
                f64::from(settings.weight_decay)
            } else {
                0.0
            };
            let rule = Rule::new(settings.network, count, factor, decay);
            self.step_range(rule, &mut network.dense, gradient, range);
        }
    }

    /// Updates the connections with these indices, whose positions ascend. Each is updated by one thread, independently.
    fn step_range(&mut self, rule: Rule<R>, dense: &mut [R], gradient: &[R], range: Range<usize>) {
        let n_threads = rayon::current_num_threads();
        let length = range.len().div_ceil(n_threads).max(LEAST_CONNECTIONS);
        let positions = self.connections.positions()[range.clone()].chunks(length);
        let gradients = gradient[range.clone()].chunks(length);
        let first = self.dense.first[range.clone()].chunks_mut(length);
        let second = self.dense.second[range].chunks_mut(length);
        let (mut rest, mut begin) = (dense, 0);
        let mut parts = Vec::new();
        let moments = first.zip(second);
        for ((positions, gradients), (first, second)) in positions.zip(gradients).zip(moments) {
            let end = positions.last().map_or(begin, |last| *last as usize + 1);
            let (dense, after) = rest.split_at_mut(end - begin);
            parts.push(ConnectionStep {
                rule,
                positions,
                begin,
                dense,
                gradients,
                first,
                second,
            });
            (rest, begin) = (after, end);
        }
        match parts.len() {
            0 | 1 => parts.into_iter().for_each(ConnectionStep::run),
            _ => parts.into_par_iter().for_each(ConnectionStep::run),
        }
    }
}

/// The step of some connections.
struct ConnectionStep<'a, R> {
    rule: Rule<R>,
    /// Of the connections, ascending.
    positions: &'a [u32],
    /// The position of the first of `dense`.
    begin: usize,
    dense: &'a mut [R],
    gradients: &'a [R],
    first: &'a mut [R],
    second: &'a mut [R],
}

impl<R: Real> ConnectionStep<'_, R> {
    fn run(self) {
        let level = SimdLevel::best();
        let mut block = [R::ZERO; BLOCK];
        let blocks = self.positions.chunks(BLOCK);
        let moments = self.first.chunks_mut(BLOCK);
        let moments = moments.zip(self.second.chunks_mut(BLOCK));
        let blocks = blocks.zip(self.gradients.chunks(BLOCK)).zip(moments);
        for ((positions, gradients), (first, second)) in blocks {
            let weights = &mut block[..positions.len()];
            gather(weights, self.dense, positions, self.begin);
            let row = Row {
                weights,
                gradients,
                first,
                second,
            };
            let rule = self.rule;
            run(level, RowStep { rule, row });
            scatter(&block[..positions.len()], self.dense, positions, self.begin);
        }
    }
}

/// The step of some numbers.
struct RowStep<'a, R> {
    rule: Rule<R>,
    row: Row<'a, R>,
}

impl<R: Real> CompiledLoop for RowStep<'_, R> {
    type Out = ();

    #[inline(always)]
    fn run<const FUSED: bool, const WIDTH: usize, const N: usize>(self) {
        self.rule.apply(self.row);
    }
}

// Not inlined: register pressure in the caller would cause spills.

#[inline(never)]
fn gather<R: Real>(weights: &mut [R], dense: &[R], positions: &[u32], begin: usize) {
    for (weight, &position) in weights.iter_mut().zip(positions) {
        *weight = dense[position as usize - begin];
    }
}

#[inline(never)]
fn scatter<R: Real>(weights: &[R], dense: &mut [R], positions: &[u32], begin: usize) {
    for (&weight, &position) in weights.iter().zip(positions) {
        dense[position as usize - begin] = weight;
    }
}

/// Returns the connections of a group that belong to hidden layers, which lie before the heads.
fn hidden(connections: &ParameterIndex, group: &ParameterGroup, layers_end: usize) -> Range<usize> {
    let Range { start, end } = group.range;
    let positions = &connections.positions()[start..end];
    start..start + positions.partition_point(|&position| (position as usize) < layers_end)
}

/// Returns `adam, adagrad`: the names of the rules of the network and of the tables.
pub(crate) fn kinds(network: Optimizer, tables: Optimizer) -> String {
    format!("{}, {}", network.kind.name(), tables.kind.name())
}

/// Scales the gradient down to the norm `most`.
fn clip<R: Real>(gradient: &mut [R], most: f64) {
    let norm = gradient
        .iter()
        .map(|x| x.wide() * x.wide())
        .sum::<f64>()
        .sqrt();
    if norm > most {
        let scale = R::of(most / norm);
        gradient.iter_mut().for_each(|x| *x = *x * scale);
    }
}
