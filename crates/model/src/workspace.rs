//! One pass over a batch: look-up, interaction, subnetworks, and when learning, all the way back.
//!
//! The batch is cut into as many chunks of rows as there are threads; each chunk has its own buffers
//! and its own sums, and the sums are added in the order of the chunks. So the result depends on the
//! number of threads but not on which thread was faster.
//!
//! A chunk runs a few tiles at a time, forward and straight back again while they are in the cache:
//! the loss is asked for the gradients of these rows' logits in between.

use crate::counter_rng::CounterRng;
use crate::embedding_gradients::{self, TableGradient};
use crate::kernels::{LANES, Lanes, SimdLevel, tiles};
use crate::network::Network;
use crate::networks::executor::{Activations, GraphExecutor, SubnetOutput, TileRows};
use crate::number::Real;
use crate::numbers;
use crate::resolved_ids::{Fields, ResolvedIds};
use crate::subnet::Subnet;
use ncs_features::Batch;
use rayon::prelude::*;
use std::ops::Range;

/// Tiles that run through the layers together: a layer's weights stay in the second-level cache.
const TILES: usize = 16;

/// Hidden units that are dropped in a training step: each with probability `rate`, the others scaled
/// by `1 / (1 - rate)` (Srivastava et al. 2014).
#[derive(Clone, Copy, Debug)]
pub struct Dropout {
    /// In (0, 1).
    pub rate: f64,
    /// The draws of this step.
    pub rng: CounterRng,
}

/// Logits of some rows, of which the loss is to say the gradients.
#[derive(Clone, Copy, Debug)]
pub struct HeadRows<'a, R> {
    /// The head, counted over the subnets of the pass in their order.
    pub head: usize,
    /// The rows of the batch.
    pub rows: &'a [u32],
    /// The place of the first of them among all rows that the head's subnet runs on.
    pub first: usize,
    /// The logit of each row.
    pub logits: &'a [R],
}

/// A loss: fills in the gradient of each logit and gives the sum of the rows' losses. It is called from
/// several threads, each row once for each head.
pub type LogitGradient<'a, R> = dyn Fn(&HeadRows<'_, R>, &mut [R]) -> f64 + Sync + 'a;

/// A loss that couples heads: it gets the logits of all heads for the same rows, fills in the gradients
/// of each, and adds each head's part of the loss. It is called from several threads, each row once.
pub type CoupledLogitGradients<'a, R> =
    dyn Fn(&[HeadRows<'_, R>], &mut [&mut [R]], &mut [f64]) + Sync + 'a;

/// What the gradients of logits come from.
#[derive(Clone, Copy)]
enum GradientSource<'a, R> {
    Apart(&'a LogitGradient<'a, R>),
    Coupled(&'a CoupledLogitGradients<'a, R>),
}

/// The buffers of a pass; they grow to the largest batch and are used again.
#[derive(Debug)]
pub struct Workspace<R = f32> {
    n_threads: usize,
    level: SimdLevel,
    chunks: Vec<Chunk<R>>,
    /// Where the table rows of the batch lie.
    located: ResolvedIds,
    /// Gradients of the field vectors of all rows, `[rows, fields * dim]`.
    d_vectors: Vec<R>,
}

/// Some rows of the batch.
#[derive(Debug, Default)]
struct Chunk<R> {
    rows: Range<usize>,
    /// The folded input of some tiles, `[tiles, folded inputs]`: Gram part, then field vectors.
    x: Vec<Lanes<R>>,
    /// Its gradients.
    d_x: Vec<Lanes<R>>,
    /// Vectors of one field, or of all, row after row.
    vectors: Vec<R>,
    /// One, or one for each subnet where a loss couples them.
    activations: Vec<Activations<R>>,
    /// One for each subnet.
    outcomes: Vec<SubnetOutput<R>>,
}

/// How the loss of a step changes with every weight.
#[derive(Clone, Debug, Default)]
pub struct Gradient<R = f32> {
    /// Of layers and heads, by the network's [`crate::ParameterIndex`].
    pub dense: Vec<R>,
    /// One for each table: the touched rows.
    pub tables: Vec<TableGradient<R>>,
}

impl<R: Real> Workspace<R> {
    /// Buffers for `n_threads` threads.
    pub fn new(n_threads: usize) -> Workspace<R> {
        Workspace::at_level(n_threads, SimdLevel::best())
    }

    /// The same with these instructions only.
    pub fn at_level(n_threads: usize, level: SimdLevel) -> Workspace<R> {
        Workspace {
            n_threads: n_threads.max(1),
            level,
            chunks: Vec::new(),
            located: ResolvedIds::default(),
            d_vectors: Vec::new(),
        }
    }

    /// The logits of head number `head`, counted over the subnets of the last pass in their order; one
    /// for each row that its subnet ran on.
    pub fn logits(&self, head: usize) -> Vec<f64> {
        let mut logits = Vec::new();
        self.logits_into(head, &mut logits);
        logits
    }

    /// The same into `logits`, whose contents are replaced.
    pub fn logits_into(&self, head: usize, logits: &mut Vec<f64>) {
        logits.clear();
        for chunk in &self.chunks {
            if let Some((outcome, head)) = chunk.outcome_of(head) {
                logits.extend(outcome.logits[head].iter().map(|logit| logit.wide()));
            }
        }
    }

    /// The sum of the losses of head number `head` in the last pass that learned.
    pub fn loss(&self, head: usize) -> f64 {
        let outcomes = self
            .chunks
            .iter()
            .filter_map(|chunk| chunk.outcome_of(head));
        outcomes.map(|(outcome, head)| outcome.losses[head]).sum()
    }

    fn divide(&mut self, n_rows: usize) {
        let n = self.n_threads.min(n_rows.div_ceil(LANES)).max(1);
        self.chunks.resize_with(n, Chunk::default);
        for (i, chunk) in self.chunks.iter_mut().enumerate() {
            chunk.rows = i * n_rows / n..(i + 1) * n_rows / n;
        }
    }
}

impl<R> Chunk<R> {
    /// The subnet that runs this head, and the head's place in it.
    fn outcome_of(&self, mut head: usize) -> Option<(&SubnetOutput<R>, usize)> {
        for outcome in &self.outcomes {
            match head.checked_sub(outcome.logits.len()) {
                None => return Some((outcome, head)),
                Some(rest) => head = rest,
            }
        }
        None
    }
}

/// What is the same for all chunks of a pass.
struct SubnetRun<'a, R> {
    level: SimdLevel,
    network: &'a Network<R>,
    batch: &'a Batch,
    subnets: &'a [Subnet<R>],
    dropout: Option<Dropout>,
    gradients_of: Option<GradientSource<'a, R>>,
    located: &'a ResolvedIds,
}

impl<R: Real> Network<R> {
    /// Runs the subnets over a batch up to their logits. Ids must lie inside their tables.
    pub fn forward(&self, batch: &Batch, subnets: &[Subnet<R>], pass: &mut Workspace<R>) {
        self.run(batch, subnets, None, None, pass);
    }

    /// Runs the subnets over a batch and back, from the gradients that `gradients_of` says to the gradient.
    /// Ids must lie inside their tables, and all subnets be of the same masks.
    pub fn learn(
        &self,
        batch: &Batch,
        subnets: &[Subnet<R>],
        dropout: Option<Dropout>,
        gradients_of: &LogitGradient<'_, R>,
        pass: &mut Workspace<R>,
        gradient: &mut Gradient<R>,
    ) {
        let gradients_of = GradientSource::Apart(gradients_of);
        self.learn_by(batch, subnets, dropout, gradients_of, pass, gradient);
    }

    /// The same from a loss that couples the heads.
    ///
    /// # Panics
    /// If a subnet does not run on all rows.
    pub fn learn_coupled(
        &self,
        batch: &Batch,
        subnets: &[Subnet<R>],
        dropout: Option<Dropout>,
        gradients_of: &CoupledLogitGradients<'_, R>,
        pass: &mut Workspace<R>,
        gradient: &mut Gradient<R>,
    ) {
        let gradients_of = GradientSource::Coupled(gradients_of);
        self.learn_by(batch, subnets, dropout, gradients_of, pass, gradient);
    }

    fn learn_by(
        &self,
        batch: &Batch,
        subnets: &[Subnet<R>],
        dropout: Option<Dropout>,
        gradients_of: GradientSource<'_, R>,
        pass: &mut Workspace<R>,
        gradient: &mut Gradient<R>,
    ) {
        self.run(batch, subnets, dropout, Some(gradients_of), pass);
        let Workspace {
            chunks,
            located,
            d_vectors,
            n_threads,
            ..
        } = pass;
        let (drawn, spec, n) = (&self.tables, &self.spec, *n_threads);
        let Gradient { dense, tables } = gradient;
        let mut of_layers = || sum_dense(self, subnets, chunks, dense);
        let mut of_tables =
            || embedding_gradients::gather(spec, drawn, batch, located, d_vectors, n, tables);
        match n {
            1 => (of_layers(), of_tables()),
            _ => rayon::join(of_layers, of_tables),
        };
    }

    fn run(
        &self,
        batch: &Batch,
        subnets: &[Subnet<R>],
        dropout: Option<Dropout>,
        gradients_of: Option<GradientSource<'_, R>>,
        pass: &mut Workspace<R>,
    ) {
        pass.divide(batch.n_rows);
        let n_threads = pass.n_threads;
        pass.located
            .find(&self.spec, &self.tables, batch, |_| true, n_threads);
        let run = SubnetRun {
            level: pass.level,
            network: self,
            batch,
            subnets,
            dropout,
            gradients_of,
            located: &pass.located,
        };
        let width = self.spec.interaction().vectors();
        let n_gradients = gradients_of.map_or(0, |_| batch.n_rows * width);
        pass.d_vectors.resize(n_gradients, R::ZERO);
        let mut rest = pass.d_vectors.as_mut_slice();
        let mut jobs = Vec::with_capacity(pass.chunks.len());
        for chunk in &mut pass.chunks {
            let n = gradients_of.map_or(0, |_| chunk.rows.len() * width);
            let (own, others) = rest.split_at_mut(n);
            rest = others;
            jobs.push((chunk, own));
        }
        match jobs.as_mut_slice() {
            [(chunk, gradients)] => run.chunk(chunk, gradients),
            _ => jobs
                .into_par_iter()
                .for_each(|(chunk, gradients)| run.chunk(chunk, gradients)),
        }
    }
}

impl<R: Real> SubnetRun<'_, R> {
    /// Runs one chunk; `d_vectors` are the gradients of its rows' field vectors.
    fn chunk(&self, chunk: &mut Chunk<R>, d_vectors: &mut [R]) {
        chunk
            .outcomes
            .resize_with(self.subnets.len(), SubnetOutput::default);
        for (outcome, subnet) in chunk.outcomes.iter_mut().zip(self.subnets) {
            outcome.clear(self.network, subnet, self.gradients_of.is_some());
        }
        let mut written = false;
        for set in row_sets(self.subnets) {
            let (rows, before) = self.rows_of(set[0], chunk.rows.clone());
            let add = written || rows.len() < chunk.rows.len();
            if add && !written {
                d_vectors.fill(R::ZERO);
            }
            written = true;
            for (g, group) in rows.chunks(TILES * LANES).enumerate() {
                let at = TileRows {
                    rows: group,
                    first: before + g * TILES * LANES,
                };
                self.tiles(chunk, &set, at, add, d_vectors);
            }
        }
        if !written {
            d_vectors.fill(R::ZERO);
        }
    }

    /// The rows of a chunk that a subnet runs on, and how many of its rows lie before the chunk.
    fn rows_of(&self, subnet: usize, chunk: Range<usize>) -> (Vec<u32>, usize) {
        let (start, end) = (chunk.start as u32, chunk.end as u32);
        match &self.subnets[subnet].rows {
            None => ((start..end).collect(), chunk.start),
            Some(all) => {
                let first = all.partition_point(|&row| row < start);
                let last = all.partition_point(|&row| row < end);
                (all[first..last].to_vec(), first)
            }
        }
    }

    /// Runs the subnets of `set` over some tiles, and back.
    fn tiles(
        &self,
        chunk: &mut Chunk<R>,
        set: &[usize],
        at: TileRows<'_>,
        add: bool,
        d_vectors: &mut [R],
    ) {
        let width = self.network.spec.interaction().folded_inputs();
        let n_tiles = at.rows.len().div_ceil(LANES);
        chunk.x.resize(n_tiles * width, Lanes::all(R::ZERO));
        for (tile, rows) in chunk.x.chunks_exact_mut(width).zip(at.rows.chunks(LANES)) {
            self.look_up(rows, &mut chunk.vectors, tile);
        }
        if self.gradients_of.is_some() {
            chunk.d_x.resize(n_tiles * width, Lanes::all(R::ZERO));
        }
        match self.gradients_of {
            Some(GradientSource::Coupled(gradients_of)) => {
                self.run_coupled(chunk, set, at, gradients_of)
            }
            Some(GradientSource::Apart(gradients_of)) => {
                self.run_apart(chunk, set, at, Some(gradients_of))
            }
            None => self.run_apart(chunk, set, at, None),
        }
        if self.gradients_of.is_some() {
            let first_row = chunk.rows.start;
            let tiles = chunk.x.chunks_exact(width);
            let tiles = tiles.zip(chunk.d_x.chunks_exact_mut(width));
            for ((x, d_x), rows) in tiles.zip(at.rows.chunks(LANES)) {
                self.gradients_of_vectors(
                    x,
                    d_x,
                    rows,
                    first_row,
                    add,
                    &mut chunk.vectors,
                    d_vectors,
                );
            }
        }
    }

    fn runner(&self, number: usize) -> GraphExecutor<'_, R> {
        GraphExecutor {
            level: self.level,
            network: self.network,
            subnet: &self.subnets[number],
            dropout: self.dropout.map(|dropout| Dropout {
                rng: dropout.rng.at(number as u64),
                ..dropout
            }),
        }
    }

    /// The number of the first head of a subnet.
    fn first_head(&self, number: usize) -> usize {
        let before = self.subnets[..number].iter();
        before.map(|subnet| subnet.heads.len()).sum()
    }

    /// One subnet after the other, forward and straight back.
    fn run_apart(
        &self,
        chunk: &mut Chunk<R>,
        set: &[usize],
        at: TileRows<'_>,
        gradients_of: Option<&LogitGradient<'_, R>>,
    ) {
        if chunk.activations.is_empty() {
            chunk.activations.push(Activations::default());
        }
        let activations = &mut chunk.activations[0];
        for (place, &number) in set.iter().enumerate() {
            let runner = self.runner(number);
            let outcome = &mut chunk.outcomes[number];
            runner.forward(at, &chunk.x, activations, outcome);
            if let Some(gradients_of) = gradients_of {
                runner.ask(
                    at,
                    gradients_of,
                    self.first_head(number),
                    activations,
                    outcome,
                );
                let (x, d_x) = (&chunk.x, &mut chunk.d_x);
                runner.backward(at, x, activations, outcome, d_x, place > 0);
            }
        }
    }

    /// All subnets forward, then the loss of all their heads, then all back.
    fn run_coupled(
        &self,
        chunk: &mut Chunk<R>,
        set: &[usize],
        at: TileRows<'_>,
        gradients_of: &CoupledLogitGradients<'_, R>,
    ) {
        assert_eq!(
            set.len(),
            self.subnets.len(),
            "a coupled loss needs all rows"
        );
        chunk
            .activations
            .resize_with(set.len(), Activations::default);
        for (&number, activations) in set.iter().zip(&mut chunk.activations) {
            let runner = self.runner(number);
            runner.forward(at, &chunk.x, activations, &mut chunk.outcomes[number]);
            runner.make_room(at, activations);
        }
        let mut losses: Vec<f64> = Vec::new();
        let mut heads: Vec<HeadRows<'_, R>> = Vec::new();
        for &number in set {
            let outcome = &chunk.outcomes[number];
            losses.extend(&outcome.losses);
            heads.extend(self.runner(number).head_rows(at, heads.len(), outcome));
        }
        let gradients = chunk.activations.iter_mut();
        let gradients = gradients.flat_map(|activations| &mut activations.logit_gradients);
        let mut gradients: Vec<&mut [R]> = gradients.map(Vec::as_mut_slice).collect();
        gradients_of(&heads, &mut gradients, &mut losses);
        let mut losses = losses.into_iter();
        for (place, &number) in set.iter().enumerate() {
            let outcome = &mut chunk.outcomes[number];
            outcome
                .losses
                .iter_mut()
                .zip(&mut losses)
                .for_each(|(own, loss)| *own = loss);
            let (x, d_x, activations) = (&chunk.x, &mut chunk.d_x, &mut chunk.activations[place]);
            let runner = self.runner(number);
            runner.backward(at, x, activations, outcome, d_x, place > 0);
        }
    }

    /// Fills a tile's input for these rows: field vectors, then their Gram matrix. `pooled` is room
    /// for the vectors of one field.
    fn look_up(&self, rows: &[u32], pooled: &mut Vec<R>, tile: &mut [Lanes<R>]) {
        let spec = &self.network.spec;
        let interaction = spec.interaction();
        let dim = interaction.dim;
        let (gram, vectors) = tile.split_at_mut(interaction.folded_gram());
        let (vectors, numbers) = vectors.split_at_mut(interaction.vectors());
        let fields = Fields {
            spec,
            tables: &self.network.tables,
            batch: self.batch,
            located: self.located,
        };
        let rows = rows.iter().map(|&row| row as usize);
        let mut of_vectors = spec.vector_fields().peekable();
        fields.ask_ahead(of_vectors.peek().copied(), rows.clone());
        for lanes in vectors.chunks_exact_mut(dim) {
            let Some(f) = of_vectors.next() else { break };
            fields.ask_ahead(of_vectors.peek().copied(), rows.clone());
            fields.vectors(f, rows.clone(), pooled);
            tiles::into_lanes(self.level, pooled, dim, lanes);
        }
        for (f, places) in spec.number_fields() {
            let numbers = &mut numbers[places];
            numbers::fill_lanes(&self.batch.fields[f].numbers, rows.clone(), numbers);
        }
        if !gram.is_empty() {
            tiles::gram(self.level, interaction.fields, dim, vectors, gram);
        }
    }

    /// From the gradients of a tile's input to those of its rows' field vectors.
    #[expect(clippy::too_many_arguments, reason = "the mirror image of look_up")]
    fn gradients_of_vectors(
        &self,
        x: &[Lanes<R>],
        d_x: &mut [Lanes<R>],
        rows: &[u32],
        first_row: usize,
        add: bool,
        room: &mut Vec<R>,
        d_vectors: &mut [R],
    ) {
        let interaction = self.network.spec.interaction();
        let (fields, dim) = (interaction.fields, interaction.dim);
        let n_gram = interaction.folded_gram();
        let width = interaction.vectors();
        let vectors = &x[n_gram..n_gram + width];
        let (d_gram, gradients) = d_x[..n_gram + width].split_at_mut(n_gram);
        if n_gram > 0 {
            tiles::gram_backward(self.level, fields, dim, vectors, d_gram, gradients);
        }
        let Some((&first, &last)) = rows.first().zip(rows.last()) else {
            return;
        };
        let side_by_side = (last - first) as usize == rows.len() - 1;
        let start = (first as usize - first_row) * width;
        let target = match side_by_side {
            true => &mut d_vectors[start..start + rows.len() * width],
            false => {
                room.resize(rows.len() * width, R::ZERO);
                room.as_mut_slice()
            }
        };
        let add_here = add && side_by_side;
        for (f, lanes) in gradients.chunks_exact(dim).enumerate() {
            let target = &mut target[f * dim..];
            tiles::into_rows(self.level, lanes, rows.len(), width, add_here, target);
        }
        if !side_by_side {
            for (&row, gradients) in rows.iter().zip(room.chunks_exact(width)) {
                let start = (row as usize - first_row) * width;
                let sums = d_vectors[start..start + width].iter_mut();
                sums.zip(gradients)
                    .for_each(|(sum, &gradient)| *sum += gradient);
            }
        }
    }
}

/// The subnets by the rows that they run on: those that run on all rows, and first, share the look-up.
fn row_sets<R>(subnets: &[Subnet<R>]) -> Vec<Vec<usize>> {
    let all = (0..subnets.len()).filter(|&s| subnets[s].rows.is_none());
    let some = (0..subnets.len()).filter(|&s| subnets[s].rows.is_some());
    let mut sets = vec![all.collect::<Vec<_>>()];
    sets.retain(|set| !set.is_empty());
    sets.extend(some.map(|s| vec![s]));
    sets
}

/// Adds up the sums of all chunks and subnets, by connection.
fn sum_dense<R: Real>(
    network: &Network<R>,
    subnets: &[Subnet<R>],
    chunks: &[Chunk<R>],
    dense: &mut Vec<R>,
) {
    let Some(connections) = subnets.first().map(|subnet| &subnet.layout.connections) else {
        dense.clear();
        return;
    };
    dense.clear();
    dense.resize(connections.len(), R::ZERO);
    let add = |range: Range<usize>, sums: &[R], dense: &mut [R]| {
        for (position, &sum) in range.zip(sums) {
            if let Some(number) = connections.number(position) {
                dense[number] += sum;
            }
        }
    };
    for (s, subnet) in subnets.iter().enumerate() {
        for (l, layout) in subnet.layout.layers.iter().enumerate() {
            if !subnet.live_layers[l] {
                continue;
            }
            let sums = chunks.iter().map(|c| &c.outcomes[s].sums.weights[l][..]);
            let sums: Vec<&[R]> = sums.collect();
            layout.spread(connections, &sums, dense);
        }
        for chunk in chunks {
            let sums = &chunk.outcomes[s].sums;
            for (layer, biases) in network.layout.layers.iter().zip(&sums.biases) {
                add(layer.bias.clone(), biases, dense);
            }
            for (&head, sums) in subnet.heads.iter().zip(&sums.heads) {
                let head = &network.layout.heads[head];
                let (weights, bias) = sums.split_at(head.inputs);
                add(head.weights.clone(), weights, dense);
                add(head.bias.clone(), bias, dense);
            }
            for (stitch, sums) in network.layout.stitches.iter().zip(&sums.stitches) {
                add(stitch.clone(), sums, dense);
            }
        }
    }
}
