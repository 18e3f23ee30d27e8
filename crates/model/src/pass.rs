//! One forward and backward pass over a batch: look-up, interaction, subnetworks, and back.
//!
//! The batch is cut into as many chunks of rows as there are threads; each chunk has its own buffers
//! and its own sum of gradients, and the sums are added in the order of the chunks. So the result
//! depends on the number of threads but not on which thread was faster.

use crate::draw::Draw;
use crate::interaction::Interaction;
use crate::networks::mlp::Layers;
use crate::number::Real;
use crate::table_slopes::{self, TableGradient, each_id, longest_list};
use crate::tower::{Subnet, Tower};
use ncs_features::Batch;
use rayon::prelude::*;
use std::ops::Range;

/// Fewer rows than this are not worth a thread.
const LEAST_ROWS: usize = 64;

/// Hidden units that are dropped in a training step: each with probability `rate`, the others scaled
/// by `1 / (1 - rate)` (Srivastava et al. 2014).
#[derive(Clone, Copy, Debug)]
pub struct Dropout {
    /// In (0, 1).
    pub rate: f64,
    /// The draws of this step.
    pub draw: Draw,
}

/// The buffers of a pass; they grow to the largest batch and are used again.
#[derive(Debug)]
pub struct Pass<R = f32> {
    n_chunks: usize,
    chunks: Vec<Chunk<R>>,
    /// The longest list of each field in the batch.
    longest: Vec<usize>,
    dropout: Option<Dropout>,
}

/// Some rows of the batch.
#[derive(Debug, Default)]
struct Chunk<R> {
    rows: Range<usize>,
    /// The folded input, `[rows, folded inputs]`: Gram part, then field vectors.
    x: Vec<R>,
    /// Its slopes; after the backward pass, the tail of each row holds those of the field vectors.
    dx: Vec<R>,
    /// One for each subnet.
    subnets: Vec<Layers<R>>,
}

/// How the loss of a step changes with every weight.
#[derive(Clone, Debug, Default)]
pub struct Gradient<R = f32> {
    /// Of layers and heads: one for each of the tower's [`crate::Connections`].
    pub dense: Vec<R>,
    /// One for each table: the touched rows.
    pub tables: Vec<TableGradient<R>>,
}

impl<R: Real> Pass<R> {
    /// Buffers for `n_threads` threads.
    pub fn new(n_threads: usize) -> Pass<R> {
        Pass {
            n_chunks: n_threads.max(1),
            chunks: Vec::new(),
            longest: Vec::new(),
            dropout: None,
        }
    }

    /// The logits of head number `head`, counted over the subnets of the last forward pass in their
    /// order; one for each row that its subnet ran on.
    pub fn logits(&self, head: usize) -> Vec<f64> {
        let mut logits = Vec::new();
        self.logits_into(head, &mut logits);
        logits
    }

    /// The same into `logits`, whose contents are replaced.
    pub fn logits_into(&self, head: usize, logits: &mut Vec<f64>) {
        logits.clear();
        for chunk in &self.chunks {
            let mut head = head;
            for subnet in &chunk.subnets {
                match subnet.n_heads().checked_sub(head + 1) {
                    Some(_) => {
                        logits.extend(subnet.logits(head));
                        break;
                    }
                    None => head -= subnet.n_heads(),
                }
            }
        }
    }

    fn divide(&mut self, n_rows: usize) {
        let n = self.n_chunks.min(n_rows.div_ceil(LEAST_ROWS)).max(1);
        self.chunks.resize_with(n, || Chunk {
            rows: 0..0,
            x: Vec::new(),
            dx: Vec::new(),
            subnets: Vec::new(),
        });
        for (i, chunk) in self.chunks.iter_mut().enumerate() {
            chunk.rows = i * n_rows / n..(i + 1) * n_rows / n;
        }
    }
}

impl<R: Real> Tower<R> {
    /// Runs the subnets over a batch; `dropout` in training steps only. Ids must lie inside their
    /// tables.
    pub fn forward(
        &self,
        batch: &Batch,
        subnets: &[Subnet<R>],
        dropout: Option<Dropout>,
        pass: &mut Pass<R>,
    ) {
        pass.divide(batch.n_rows);
        pass.dropout = dropout;
        pass.longest = batch.fields.iter().map(longest_list).collect();
        let longest = &pass.longest;
        let one = |chunk: &mut Chunk<R>| {
            self.look_up(batch, longest, chunk);
            chunk.subnets.resize_with(subnets.len(), Layers::default);
            for ((number, subnet), layers) in subnets.iter().enumerate().zip(&mut chunk.subnets) {
                let dropout = dropout.map(|dropout| Dropout {
                    draw: dropout.draw.at(number as u64),
                    ..dropout
                });
                layers.forward(self, subnet, chunk.rows.clone(), &chunk.x, dropout);
            }
        };
        match pass.chunks.as_mut_slice() {
            [chunk] => one(chunk),
            chunks => chunks.par_iter_mut().for_each(one),
        }
    }

    /// From the slopes of the logits, one list for each head in the order of [`Pass::logits`], to the
    /// gradient. `batch` and `subnets` are those of the forward pass.
    pub fn backward(
        &self,
        batch: &Batch,
        subnets: &[Subnet<R>],
        slopes: &[Vec<f64>],
        pass: &mut Pass<R>,
        gradient: &mut Gradient<R>,
    ) {
        let interaction = self.spec.interaction();
        let dropout = pass.dropout;
        let starts = starts(&pass.chunks, subnets.len());
        let one = |(chunk, starts): (&mut Chunk<R>, &Vec<usize>)| {
            chunk.dx.clear();
            chunk.dx.resize(chunk.x.len(), R::ZERO);
            let mut first_head = 0;
            for ((subnet, layers), &start) in subnets.iter().zip(&mut chunk.subnets).zip(starts) {
                let heads = first_head..first_head + subnet.heads.len();
                first_head = heads.end;
                let slopes = &slopes[heads];
                let rate = dropout.map_or(0.0, |dropout| dropout.rate);
                layers.backward(self, subnet, slopes, start, &chunk.x, &mut chunk.dx, rate);
            }
            into_vectors(&interaction, &chunk.x, &mut chunk.dx);
        };
        match pass.chunks.as_mut_slice() {
            [chunk] => one((chunk, &starts[0])),
            chunks => chunks.par_iter_mut().zip(&starts).for_each(one),
        }
        self.sum_dense(subnets, pass, gradient);
        self.sum_tables(batch, pass, gradient);
    }

    /// Fills the chunk's input: field vectors, then their Gram matrix.
    fn look_up(&self, batch: &Batch, longest: &[usize], chunk: &mut Chunk<R>) {
        let interaction = self.spec.interaction();
        let width = interaction.folded_inputs();
        let dim = interaction.dim;
        chunk.x.clear();
        chunk.x.resize(chunk.rows.len() * width, R::ZERO);
        for (row, x) in chunk
            .rows
            .clone()
            .zip(chunk.x.chunks_exact_mut(width.max(1)))
        {
            let vectors = x[interaction.folded_gram()..].chunks_exact_mut(dim);
            for (f, vector) in vectors.enumerate() {
                let table = &self.tables[self.spec.fields[f].table];
                let ids = &batch.fields[f];
                each_id(ids, self.spec.fields[f], row, longest[f], |id, weight| {
                    let weight = R::of(weight);
                    for (sum, &value) in vector.iter_mut().zip(table.row(id)) {
                        *sum += weight * value;
                    }
                });
            }
            interaction.forward(x);
        }
    }

    fn sum_dense(&self, subnets: &[Subnet<R>], pass: &Pass<R>, gradient: &mut Gradient<R>) {
        let mut dense = vec![R::ZERO; self.layout.len];
        for (number, subnet) in subnets.iter().enumerate() {
            let mut chunks = pass.chunks.iter().map(|chunk| &chunk.subnets[number]);
            let Some(first) = chunks.next() else { continue };
            let mut sum = first.gradient.clone();
            chunks.for_each(|chunk| sum.add(&chunk.gradient));
            sum.spread(self, subnet, &mut dense);
        }
        let masks = subnets.iter().find_map(Subnet::masks);
        let connections =
            crate::connections::Connections::new(&self.layout, &self.tasks, masks.map(|m| &**m));
        let positions = connections.positions().iter();
        gradient.dense = positions.map(|&p| dense[p as usize]).collect();
    }

    fn sum_tables(&self, batch: &Batch, pass: &Pass<R>, gradient: &mut Gradient<R>) {
        let interaction = self.spec.interaction();
        let width = interaction.folded_inputs();
        let mut d_vectors = Vec::new();
        for chunk in &pass.chunks {
            for dx in chunk.dx.chunks_exact(width) {
                d_vectors.extend_from_slice(&dx[interaction.folded_gram()..]);
            }
        }
        let n_threads = pass.n_chunks;
        let (longest, tables) = (&pass.longest, &mut gradient.tables);
        table_slopes::gather(&self.spec, batch, longest, &d_vectors, n_threads, tables);
    }
}

/// For each chunk and subnet: how many of the subnet's rows lie in earlier chunks.
fn starts<R: Real>(chunks: &[Chunk<R>], n_subnets: usize) -> Vec<Vec<usize>> {
    let mut next = vec![0; n_subnets];
    let mut starts = Vec::with_capacity(chunks.len());
    for chunk in chunks {
        starts.push(next.clone());
        for (next, layers) in next.iter_mut().zip(&chunk.subnets) {
            *next += layers.n_rows();
        }
    }
    starts
}

fn into_vectors<R: Real>(interaction: &Interaction, x: &[R], dx: &mut [R]) {
    let width = interaction.folded_inputs().max(1);
    for (x, dx) in x.chunks_exact(width).zip(dx.chunks_exact_mut(width)) {
        interaction.backward(x, dx);
    }
}
