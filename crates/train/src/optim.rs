//! Gradients to changes of the weights. A step for some tasks moves what these tasks keep, and
//! nothing else: neither weights nor moments of other connections, and no table row outside the batch.
//!
//! Adam (Kingma and Ba 2015) in TensorFlow's form, `w -= rate_n m / (sqrt(v) + epsilon)` with
//! `rate_n = rate sqrt(1 - beta2^n) / (1 - beta1^n)`, where `n` counts the steps that moved this
//! weight; Adagrad (Duchi, Hazan and Singer 2011). Table rows follow lazily: only those of the batch.

use crate::plan::Optimizer;
use ncs_model::{Gradient, Masks, Model, Real, Table, TableGradient, Tower};
use std::ops::Range;

/// What the released code of the paper moves beside what a step should move. For parity only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leaks {
    /// Pruned connections move by stale momentum.
    pub pruned: bool,
    /// Table rows outside the batch move by stale momentum.
    pub rows: bool,
    /// One step count for all weights, advanced by the steps of every task.
    pub shared_count: bool,
}

impl Leaks {
    /// All of them: the released code.
    pub const ALL: Leaks = Leaks {
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
    /// Largest norm of the network's gradient.
    pub clip_norm: Option<f32>,
    /// Faults on request.
    pub leaks: Leaks,
}

/// First and second moments, or sums of squares: as many as there are weights. What no step touches
/// is zero and never written, so that the system need not hand out memory for it.
#[derive(Clone, Debug, Default)]
pub struct Moments<R> {
    /// Adam's first moment; zero with Adagrad.
    pub first: Vec<R>,
    /// Adam's second moment; Adagrad's sum of squares.
    pub second: Vec<R>,
}

impl<R: Real> Moments<R> {
    pub(crate) fn new(len: usize) -> Moments<R> {
        Moments {
            first: vec![R::ZERO; len],
            second: vec![R::ZERO; len],
        }
    }
}

/// The state of one tower's optimizer.
#[derive(Clone, Debug)]
pub struct TowerState<R = f32> {
    /// Of layers and heads.
    pub dense: Moments<R>,
    /// Of each table; rows that no step touched are zero and never written.
    pub tables: Vec<Moments<R>>,
    /// Steps so far, of any of the tower's tasks.
    pub steps: u64,
    /// For each kind of keepers, the steps that moved such weights.
    pub counts: Vec<u64>,
    /// The kinds: sets of tasks (bits, by place in the tower).
    kinds: Vec<u64>,
    /// The kind of each dense weight.
    kind_of: Vec<u16>,
    /// Ranges of dense weights, and whether they decay.
    segments: Vec<(Range<usize>, bool)>,
}

/// The optimizers of all towers of a model.
#[derive(Clone, Debug)]
pub struct Optimizers<R = f32> {
    settings: OptimSettings,
    /// One for each tower.
    pub towers: Vec<TowerState<R>>,
}

impl<R: Real> Optimizers<R> {
    /// Fresh optimizers for a model under its masks.
    pub fn new(model: &Model<R>, settings: OptimSettings) -> Optimizers<R> {
        let masks = model.masks().map(|masks| &**masks);
        let state = |tower| TowerState::new(tower, masks);
        Optimizers {
            towers: model.towers().iter().map(state).collect(),
            settings,
        }
    }

    /// Moves tower `number` of the model against `gradient`, for the tasks at these places of the
    /// tower, at `factor` times the learning rate. May scale the gradient.
    pub fn step(
        &mut self,
        number: usize,
        tower: &mut Tower<R>,
        gradient: &mut Gradient<R>,
        places: &[usize],
        factor: f64,
    ) {
        if let Some(most) = self.settings.clip_norm {
            clip(&mut gradient.dense, f64::from(most));
        }
        let state = &mut self.towers[number];
        let active = places.iter().fold(0, |bits, place| bits | 1 << place);
        state.count(active);
        state.step_dense(tower, &gradient.dense, active, &self.settings, factor);
        let rule = Rule::new(self.settings.tables, state.steps, factor, 0.0);
        let tables = tower.tables.iter_mut().zip(&gradient.tables);
        for ((table, gradient), moments) in tables.zip(&mut state.tables) {
            if self.settings.leaks.rows {
                step_all_rows(rule, table, gradient, moments);
            } else {
                step_rows(rule, table, gradient, moments);
            }
        }
    }
}

impl<R: Real> TowerState<R> {
    fn new(tower: &Tower<R>, masks: Option<&Masks>) -> TowerState<R> {
        let table = |table: &Table<R>| Moments::new(table.n_rows() * table.dim());
        let mut state = TowerState {
            dense: Moments::new(tower.layout.len),
            tables: tower.tables.iter().map(table).collect(),
            steps: 0,
            counts: Vec::new(),
            kinds: Vec::new(),
            kind_of: Vec::with_capacity(tower.layout.len),
            segments: Vec::new(),
        };
        let all = (1u64 << tower.tasks.len()) - 1;
        for (l, layer) in tower.layout.layers.iter().enumerate() {
            for position in 0..layer.weights.len() {
                let keepers = masks.map_or(all, |masks| keepers(tower, masks, l, position));
                state.push_kind(keepers);
            }
            layer.bias.clone().for_each(|_| state.push_kind(all));
        }
        for (place, head) in tower.layout.heads.iter().enumerate() {
            (0..head.weights.len() + 1).for_each(|_| state.push_kind(1 << place));
        }
        for layer in tower.layout.layers.iter().chain(&tower.layout.heads) {
            state.segments.push((layer.weights.clone(), true));
            state.segments.push((layer.bias.clone(), false));
        }
        state
    }

    fn push_kind(&mut self, keepers: u64) {
        let known = self.kinds.iter().position(|&kind| kind == keepers);
        let kind = known.unwrap_or_else(|| {
            self.kinds.push(keepers);
            self.counts.push(0);
            self.kinds.len() - 1
        });
        self.kind_of.push(kind as u16);
    }

    fn count(&mut self, active: u64) {
        self.steps += 1;
        for (kind, count) in self.kinds.iter().zip(&mut self.counts) {
            *count += u64::from(kind & active != 0);
        }
    }

    fn step_dense(
        &mut self,
        tower: &mut Tower<R>,
        gradient: &[R],
        active: u64,
        settings: &OptimSettings,
        factor: f64,
    ) {
        let layers_end = tower.layout.layers.last().map_or(0, |layer| layer.bias.end);
        for (range, decays) in self.segments.clone() {
            let decay = if decays {
                f64::from(settings.weight_decay)
            } else {
                0.0
            };
            let leaks = settings.leaks.pruned && range.start < layers_end;
            let rule = |(&kind, &count): (&u64, &u64)| {
                let count = if settings.leaks.shared_count {
                    self.steps
                } else {
                    count
                };
                let moves = kind & active != 0 || leaks;
                moves.then(|| Rule::new(settings.network, count, factor, decay))
            };
            let rules: Vec<Option<Rule<R>>> =
                self.kinds.iter().zip(&self.counts).map(rule).collect();
            for i in range {
                if let Some(rule) = rules[usize::from(self.kind_of[i])] {
                    let (m, v) = (&mut self.dense.first[i], &mut self.dense.second[i]);
                    rule.apply(&mut tower.dense[i], gradient[i], m, v);
                }
            }
        }
    }
}

/// The tasks (places in the tower) that keep a connection.
fn keepers<R: Real>(tower: &Tower<R>, masks: &Masks, layer: usize, position: usize) -> u64 {
    let keeps = |&task: &usize| masks.tasks[task][layer].keeps(position);
    let bit = |(place, task)| u64::from(keeps(task)) << place;
    tower.tasks.iter().enumerate().map(bit).sum()
}

/// How one number moves in this step.
#[derive(Clone, Copy, Debug)]
enum Rule<R> {
    Adam {
        rate: R,
        beta1: R,
        beta2: R,
        epsilon: R,
        decay: R,
    },
    Adagrad {
        rate: R,
        epsilon: R,
        decay: R,
    },
}

impl<R: Real> Rule<R> {
    /// For weights that `count` steps have moved, this one included.
    fn new(optimizer: Optimizer, count: u64, factor: f64, decay: f64) -> Rule<R> {
        match optimizer {
            Optimizer::Adam {
                learning_rate,
                beta1,
                beta2,
                epsilon,
            } => {
                let rate = shortest(learning_rate) * factor;
                let (beta1, beta2) = (shortest(beta1), shortest(beta2));
                let n = count.min(i32::MAX as u64) as i32;
                let corrected = rate * (1.0 - beta2.powi(n)).sqrt() / (1.0 - beta1.powi(n));
                Rule::Adam {
                    rate: R::of(corrected),
                    beta1: R::of(beta1),
                    beta2: R::of(beta2),
                    epsilon: R::of(shortest(epsilon)),
                    decay: R::of(rate * decay),
                }
            }
            Optimizer::Adagrad {
                learning_rate,
                epsilon,
            } => {
                let rate = shortest(learning_rate) * factor;
                Rule::Adagrad {
                    rate: R::of(rate),
                    epsilon: R::of(shortest(epsilon)),
                    decay: R::of(rate * decay),
                }
            }
        }
    }

    /// `m` and `v` are the moments of `weight`.
    #[inline]
    fn apply(self, weight: &mut R, slope: R, m: &mut R, v: &mut R) {
        match self {
            Rule::Adam {
                rate,
                beta1,
                beta2,
                epsilon,
                decay,
            } => {
                *m = beta1 * *m + (R::ONE - beta1) * slope;
                *v = beta2 * *v + (R::ONE - beta2) * slope * slope;
                *weight -= rate * *m / (v.root() + epsilon) + decay * *weight;
            }
            Rule::Adagrad {
                rate,
                epsilon,
                decay,
            } => {
                *v += slope * slope;
                *weight -= rate * slope / (v.root() + epsilon) + decay * *weight;
            }
        }
    }
}

/// The double that a setting was written as: 0.9, not the nearest single.
fn shortest(x: f32) -> f64 {
    x.to_string().parse().unwrap_or(f64::from(x))
}

fn step_rows<R: Real>(
    rule: Rule<R>,
    table: &mut Table<R>,
    gradient: &TableGradient<R>,
    moments: &mut Moments<R>,
) {
    let dim = table.dim();
    for (&id, slopes) in gradient.ids.iter().zip(gradient.values.chunks_exact(dim)) {
        step_row(rule, table, id, slopes, moments);
    }
}

fn step_row<R: Real>(
    rule: Rule<R>,
    table: &mut Table<R>,
    id: u32,
    slopes: &[R],
    moments: &mut Moments<R>,
) {
    table.touch(id);
    let range = id as usize * slopes.len()..(id as usize + 1) * slopes.len();
    let first = &mut moments.first[range.clone()];
    let second = &mut moments.second[range];
    let weights = table.row_mut(id).iter_mut().zip(slopes);
    for ((weight, &slope), (m, v)) in weights.zip(first.iter_mut().zip(second)) {
        rule.apply(weight, slope, m, v);
    }
}

/// Every row of the table, those outside the batch with a slope of zero.
fn step_all_rows<R: Real>(
    rule: Rule<R>,
    table: &mut Table<R>,
    gradient: &TableGradient<R>,
    moments: &mut Moments<R>,
) {
    let dim = table.dim();
    let mut slopes = vec![R::ZERO; table.n_rows() * dim];
    for (&id, row) in gradient.ids.iter().zip(gradient.values.chunks_exact(dim)) {
        slopes[id as usize * dim..(id as usize + 1) * dim].copy_from_slice(row);
    }
    for (id, slopes) in slopes.chunks_exact(dim).enumerate() {
        step_row(rule, table, id as u32, slopes, moments);
    }
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
