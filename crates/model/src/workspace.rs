//! One pass over a batch: look-up, interaction and subnetworks, and in training the backward pass.
//!
//! The batch is cut into as many chunks of rows as there are threads; each chunk has its own buffers
//! and its own sums, and the sums are added in the order of the chunks. So the result depends on the
//! number of threads but not on which thread was faster.
//!
//! A chunk runs a few tiles at a time, forward and straight back again while they are in the cache;
//! in between, the loss computes the gradients of these rows' logits.

mod chunk;
mod gradient;
mod input;
mod loss;

pub use gradient::Gradient;
pub use loss::{CoupledLogitGradients, HeadRows, LogitGradient};

use crate::aligned::Aligned;
use crate::attention::{EventGradients, PreparedAttention};
use crate::counter_rng::CounterRng;
use crate::embedding_gradients::{self, VectorGradients};
use crate::kernels::{LANES, SimdLevel};
use crate::network::Network;
use crate::number::Real;
use crate::resolved_ids::ResolvedIds;
use crate::subnet::Subnet;
use chunk::{Chunk, ChunkRunner};
use loss::Loss;
use ncs_features::Batch;
use rayon::prelude::*;
use std::ops::Range;

/// Dropout in a training step: each hidden unit of each row is dropped with probability `rate`, the others are scaled
/// by `1 / (1 - rate)` (Srivastava et al. 2014); and likewise each field of each row with probability `field_rate`.
#[derive(Clone, Copy, Debug)]
pub struct Dropout {
    /// Probability of hidden units, in [0, 1).
    pub rate: f64,
    /// Probability of fields, in [0, 1): the whole vector of a field, or all its numbers, before the Gram matrix.
    pub field_rate: f64,
    /// The random numbers of this step.
    pub rng: CounterRng,
}

impl Dropout {
    /// Returns the random numbers that decide about the rows of a field: a stream beside those of the subnets, so that
    /// all subnets of a step see the same input.
    fn rng_of_field(&self, field: usize) -> CounterRng {
        self.rng.at(u64::MAX).at(field as u64)
    }
}

/// A share of the rows of each batch, for passes that several processes divide among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Number of the share, from 0.
    pub index: usize,
    /// Number of shares, at least 1.
    pub of: usize,
}

impl Share {
    /// All rows.
    pub const WHOLE: Share = Share { index: 0, of: 1 };

    /// Returns the rows of the share in a batch of `n_rows`: consecutive ones, and all shares together are the batch.
    pub fn rows(self, n_rows: usize) -> Range<usize> {
        self.index * n_rows / self.of..(self.index + 1) * n_rows / self.of
    }
}

/// The buffers of a pass; they grow to the largest batch and are reused.
#[derive(Debug)]
pub struct Workspace<R = f32> {
    n_threads: usize,
    share: Share,
    level: SimdLevel,
    chunks: Vec<Chunk<R>>,
    /// The table rows of the batch.
    ids: ResolvedIds,
    /// Gradients of the field vectors of the share's rows, `[rows, fields * dim]`.
    d_vectors: Aligned<R>,
    /// Gradients of the events that attention pools.
    d_events: EventGradients<R>,
}

impl<R: Real> Workspace<R> {
    /// Creates buffers for `n_threads` threads.
    pub fn new(n_threads: usize) -> Workspace<R> {
        Workspace::at_level(n_threads, SimdLevel::best())
    }

    /// Like [`Workspace::new`], for passes over this share of each batch's rows: logits, losses and gradients are those
    /// of its rows alone. Rows keep their numbers in the batch.
    pub fn of_share(n_threads: usize, share: Share) -> Workspace<R> {
        Workspace {
            share,
            ..Workspace::new(n_threads)
        }
    }

    /// Like [`Workspace::new`], with the instructions of this level only.
    pub fn at_level(n_threads: usize, level: SimdLevel) -> Workspace<R> {
        Workspace {
            n_threads: n_threads.max(1),
            share: Share::WHOLE,
            level,
            chunks: Vec::new(),
            ids: ResolvedIds::default(),
            d_vectors: Aligned::default(),
            d_events: EventGradients::default(),
        }
    }

    /// Returns the number of threads.
    pub fn n_threads(&self) -> usize {
        self.n_threads
    }

    /// Returns the logits of head number `head`, counted over the subnets of the last pass in their order; one
    /// for each row that its subnet ran on.
    pub fn logits(&self, head: usize) -> Vec<f64> {
        let mut logits = Vec::new();
        self.logits_into(head, &mut logits);
        logits
    }

    /// Like [`Workspace::logits`], into `logits`, whose contents are replaced.
    pub fn logits_into(&self, head: usize, logits: &mut Vec<f64>) {
        logits.clear();
        for chunk in &self.chunks {
            if let Some((output, head)) = chunk.output_of(head) {
                logits.extend(output.logits[head].iter().map(|logit| logit.wide()));
            }
        }
    }

    /// Returns the sum of the losses of head number `head` in the last pass with a loss.
    pub fn loss(&self, head: usize) -> f64 {
        let outputs = self.chunks.iter().filter_map(|chunk| chunk.output_of(head));
        outputs.map(|(output, head)| output.losses[head]).sum()
    }

    /// Divides the share's rows of a batch into chunks, and returns them.
    fn divide(&mut self, n_rows: usize) -> Range<usize> {
        let own = self.share.rows(n_rows);
        let n = self.n_threads.min(own.len().div_ceil(LANES)).max(1);
        self.chunks.resize_with(n, Chunk::default);
        for (i, chunk) in self.chunks.iter_mut().enumerate() {
            chunk.rows = own.start + i * own.len() / n..own.start + (i + 1) * own.len() / n;
        }
        own
    }
}

impl<R: Real> Network<R> {
    /// Runs the subnets over a batch up to their logits. Ids must lie inside their tables.
    pub fn forward(&self, batch: &Batch, subnets: &[Subnet<R>], workspace: &mut Workspace<R>) {
        self.run(batch, subnets, None, None, workspace);
    }

    /// Runs the subnets over a batch forward and backward, and writes the gradient of the loss to `gradient`.
    /// Ids must lie inside their tables, and all subnets must have the same masks.
    pub fn learn(
        &self,
        batch: &Batch,
        subnets: &[Subnet<R>],
        dropout: Option<Dropout>,
        loss: &LogitGradient<'_, R>,
        workspace: &mut Workspace<R>,
        gradient: &mut Gradient<R>,
    ) {
        let loss = Loss::PerHead(loss);
        self.learn_by(batch, subnets, dropout, loss, workspace, gradient);
    }

    /// Like [`Network::learn`], with a loss that couples the heads.
    ///
    /// # Panics
    /// If a subnet does not run on all rows.
    pub fn learn_coupled(
        &self,
        batch: &Batch,
        subnets: &[Subnet<R>],
        dropout: Option<Dropout>,
        loss: &CoupledLogitGradients<'_, R>,
        workspace: &mut Workspace<R>,
        gradient: &mut Gradient<R>,
    ) {
        let loss = Loss::Coupled(loss);
        self.learn_by(batch, subnets, dropout, loss, workspace, gradient);
    }

    fn learn_by(
        &self,
        batch: &Batch,
        subnets: &[Subnet<R>],
        dropout: Option<Dropout>,
        loss: Loss<'_, R>,
        workspace: &mut Workspace<R>,
        gradient: &mut Gradient<R>,
    ) {
        self.run(batch, subnets, dropout, Some(loss), workspace);
        let Workspace {
            chunks,
            ids,
            d_vectors,
            d_events,
            n_threads,
            ..
        } = workspace;
        let (tables, spec, n) = (&self.tables, &self.spec, *n_threads);
        let mut sum_dense = || gradient::sum_dense(self, subnets, chunks, &mut gradient.dense);
        let gradients = &mut gradient.tables;
        let vectors = VectorGradients {
            fields: d_vectors,
            events: d_events,
        };
        let mut sum_tables =
            || embedding_gradients::gather(spec, tables, batch, ids, vectors, n, gradients);
        match n {
            1 => (sum_dense(), sum_tables()),
            _ => rayon::join(sum_dense, sum_tables),
        };
    }

    fn run(
        &self,
        batch: &Batch,
        subnets: &[Subnet<R>],
        dropout: Option<Dropout>,
        loss: Option<Loss<'_, R>>,
        workspace: &mut Workspace<R>,
    ) {
        let own = workspace.divide(batch.n_rows);
        let (ids, n_threads) = (&mut workspace.ids, workspace.n_threads);
        let (spec, tables) = (&self.spec, &self.tables);
        ids.find_of_rows(spec, tables, batch, own.clone(), |_| true, n_threads);
        let attentions = PreparedAttention::of_network(&self.layout.attentions, &self.dense);
        let attended_fields = if attentions.is_empty() {
            Vec::new()
        } else {
            self.spec.attended_fields()
        };
        let runner = ChunkRunner {
            level: workspace.level,
            network: self,
            batch,
            subnets,
            dropout,
            loss,
            ids: &workspace.ids,
            attentions: &attentions,
            attended_fields: &attended_fields,
        };
        let width = self.spec.interaction().vectors();
        let n_gradients = loss.map_or(0, |_| own.len() * width);
        workspace.d_vectors.resize(n_gradients);
        let (dim, fields) = (self.spec.plan.dim, &attended_fields[..]);
        let of_events = if loss.is_some() { fields } else { &[] };
        workspace.d_events.resize(of_events, batch, dim);
        let mut rest_of_events = workspace.d_events.all();
        let before = 0..own.start;
        EventGradients::split(&mut rest_of_events, of_events, batch, before, dim);
        let mut rest: &mut [R] = &mut workspace.d_vectors;
        let mut jobs = Vec::with_capacity(workspace.chunks.len());
        for chunk in &mut workspace.chunks {
            let n = loss.map_or(0, |_| chunk.rows.len() * width);
            let (own, others) = rest.split_at_mut(n);
            rest = others;
            let rows = chunk.rows.clone();
            let rest_of_events = &mut rest_of_events;
            let events = EventGradients::split(rest_of_events, of_events, batch, rows, dim);
            jobs.push((chunk, own, events));
        }
        match jobs.as_mut_slice() {
            [(chunk, gradients, events)] => runner.run(chunk, gradients, events),
            _ => jobs
                .into_par_iter()
                .for_each(|(chunk, gradients, mut events)| {
                    runner.run(chunk, gradients, &mut events)
                }),
        }
    }
}
