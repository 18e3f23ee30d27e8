//! One chunk of a batch's rows on one thread: tile by tile forward, and straight back.

use super::Dropout;
use super::input::VectorGradients;
use super::loss::{CoupledLogitGradients, HeadRows, LogitGradient, Loss};
use crate::attention::{AttendedRows, PreparedAttention};
use crate::kernels::sparse::WeightGradient;
use crate::kernels::{LANES, Lanes, SimdLevel};
use crate::network::Network;
use crate::networks::executor::{Activations, GraphExecutor, SubnetOutput, TileRows};
use crate::number::Real;
use crate::resolved_ids::{Fields, ResolvedIds};
use crate::subnet::Subnet;
use ncs_features::Batch;
use std::ops::Range;

/// Tiles that run through the layers together: few enough that their activations are still in a cache when the
/// layers are run backward, and enough that weights are not read for one tile alone.
const TILES: usize = 6;

/// The same for subnets with a layer whose weight gradients are computed for all connections: as many tiles as are
/// summed there at once.
const TILES_OF_DENSE: usize = WeightGradient::TILES_OF_DENSE;

/// Some rows of the batch, with the buffers of the thread that runs them.
#[derive(Debug, Default)]
pub(super) struct Chunk<R> {
    pub(super) rows: Range<usize>,
    /// The folded input of some tiles, `[tiles, folded inputs]`: Gram part, then field vectors.
    x: Vec<Lanes<R>>,
    /// Its gradients.
    d_x: Vec<Lanes<R>>,
    /// Vectors of one field, or of all, row after row.
    vectors: Vec<R>,
    /// Vectors that attention pools, and sums of the gradients of its weights.
    pub(super) attended: AttendedRows<R>,
    /// One, or with a loss that couples subnets one for each.
    activations: Vec<Activations<R>>,
    /// One for each subnet.
    pub(super) outputs: Vec<SubnetOutput<R>>,
}

impl<R> Chunk<R> {
    /// Returns the output of the subnet that runs this head, and the head's position in it.
    pub(super) fn output_of(&self, mut head: usize) -> Option<(&SubnetOutput<R>, usize)> {
        for output in &self.outputs {
            match head.checked_sub(output.logits.len()) {
                None => return Some((output, head)),
                Some(rest) => head = rest,
            }
        }
        None
    }
}

/// Runs chunks: everything that the chunks of a pass have in common.
pub(super) struct ChunkRunner<'a, R: Real> {
    pub(super) level: SimdLevel,
    pub(super) network: &'a Network<R>,
    pub(super) batch: &'a Batch,
    pub(super) subnets: &'a [Subnet<R>],
    pub(super) dropout: Option<Dropout>,
    /// `None`: no backward pass.
    pub(super) loss: Option<Loss<'a, R>>,
    pub(super) ids: &'a ResolvedIds,
    pub(super) attentions: &'a [PreparedAttention<R>],
    /// The fields of the attentions, in order.
    pub(super) attended_fields: &'a [usize],
}

impl<R: Real> ChunkRunner<'_, R> {
    /// Runs one chunk; `d_vectors` receives the gradients of its rows' field vectors, and `d_events` those of the events
    /// that attention pools, field by field.
    pub(super) fn run(&self, chunk: &mut Chunk<R>, d_vectors: &mut [R], d_events: &mut [&mut [R]]) {
        let (fields, rows) = (self.fields(), chunk.rows.clone());
        let (level, attentions) = (self.level, self.attentions);
        if !attentions.is_empty() {
            chunk
                .attended
                .forward(level, attentions, fields, rows.clone());
        }
        self.run_sets(chunk, d_vectors);
        if !attentions.is_empty() && self.loss.is_some() {
            let attended = &mut chunk.attended;
            attended.backward(level, attentions, fields, rows, d_vectors, d_events);
        }
    }

    /// Returns the fields of the batch, without those that attention pools.
    fn fields(&self) -> Fields<'_, R> {
        Fields {
            spec: &self.network.spec,
            tables: &self.network.tables,
            batch: self.batch,
            ids: self.ids,
            attended: None,
        }
    }

    /// Runs the subnets; `d_vectors` receives the gradients of the chunk's field vectors.
    fn run_sets(&self, chunk: &mut Chunk<R>, d_vectors: &mut [R]) {
        chunk
            .outputs
            .resize_with(self.subnets.len(), SubnetOutput::default);
        for (output, subnet) in chunk.outputs.iter_mut().zip(self.subnets) {
            output.clear(self.network, subnet, self.loss.is_some());
        }
        let mut is_written = false;
        for set in row_sets(self.subnets) {
            let (rows, n_before) = self.rows_of(set[0], chunk.rows.clone());
            let add = is_written || rows.len() < chunk.rows.len();
            if add && !is_written {
                d_vectors.fill(R::ZERO);
            }
            is_written = true;
            let mut d_vectors = VectorGradients {
                first_row: chunk.rows.start,
                add,
                values: d_vectors,
            };
            let is_dense = set.iter().any(|&s| self.subnets[s].has_dense_gradient());
            let n_together = LANES * if is_dense { TILES_OF_DENSE } else { TILES };
            for (g, rows) in rows.chunks(n_together).enumerate() {
                let first = n_before + g * n_together;
                let tiles = TileRows { rows, first };
                self.run_tiles(chunk, &set, tiles, &mut d_vectors);
            }
        }
        if !is_written {
            d_vectors.fill(R::ZERO);
        }
    }

    /// Returns the rows of a chunk that a subnet runs on, and the number of its rows before the chunk.
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

    /// Runs the subnets of `set` over some tiles, forward and with a loss backward.
    fn run_tiles(
        &self,
        chunk: &mut Chunk<R>,
        set: &[usize],
        tiles: TileRows<'_>,
        d_vectors: &mut VectorGradients<'_, R>,
    ) {
        let width = self.network.spec.interaction().folded_inputs();
        let n_tiles = tiles.rows.len().div_ceil(LANES);
        chunk.x.resize(n_tiles * width, Lanes::all(R::ZERO));
        let inputs = chunk.x.chunks_exact_mut(width);
        for (tile, rows) in inputs.zip(tiles.rows.chunks(LANES)) {
            let (fields, first_row) = (self.attended_fields, chunk.rows.start);
            let dim = self.network.spec.plan.dim;
            let attended = chunk.attended.attended(fields, first_row, dim);
            let attended = Some(attended).filter(|_| !fields.is_empty());
            self.input_forward(rows, &mut chunk.vectors, attended, tile);
        }
        let Some(loss) = self.loss else {
            return self.run_per_head(chunk, set, tiles, None);
        };
        chunk.d_x.resize(n_tiles * width, Lanes::all(R::ZERO));
        match loss {
            Loss::Coupled(loss) => self.run_coupled(chunk, set, tiles, loss),
            Loss::PerHead(loss) => self.run_per_head(chunk, set, tiles, Some(loss)),
        }
        let inputs = chunk.x.chunks_exact(width);
        let inputs = inputs.zip(chunk.d_x.chunks_exact_mut(width));
        for ((x, d_x), rows) in inputs.zip(tiles.rows.chunks(LANES)) {
            self.input_backward(x, d_x, rows, &mut chunk.vectors, d_vectors);
        }
    }

    fn executor(&self, subnet: usize) -> GraphExecutor<'_, R> {
        GraphExecutor {
            level: self.level,
            network: self.network,
            subnet: &self.subnets[subnet],
            dropout: self.dropout.map(|dropout| Dropout {
                rng: dropout.rng.at(subnet as u64),
                ..dropout
            }),
        }
    }

    /// Returns the number of the first head of a subnet.
    fn first_head(&self, subnet: usize) -> usize {
        let before = self.subnets[..subnet].iter();
        before.map(|subnet| subnet.heads.len()).sum()
    }

    /// Runs one subnet after the other, forward and straight back.
    fn run_per_head(
        &self,
        chunk: &mut Chunk<R>,
        set: &[usize],
        tiles: TileRows<'_>,
        loss: Option<&LogitGradient<'_, R>>,
    ) {
        if chunk.activations.is_empty() {
            chunk.activations.push(Activations::default());
        }
        let activations = &mut chunk.activations[0];
        let mut is_started = false;
        for &subnet in set {
            let executor = self.executor(subnet);
            let output = &mut chunk.outputs[subnet];
            executor.forward(tiles, &chunk.x, activations, output);
            if let Some(loss) = loss {
                let first_head = self.first_head(subnet);
                executor.evaluate_loss(tiles, loss, first_head, activations, output);
                // The loss of another head, for the gradient of one alone: there is nothing to pass back.
                if activations.is_without_gradient() {
                    continue;
                }
                let (x, d_x) = (&chunk.x, &mut chunk.d_x);
                executor.backward(tiles, x, activations, output, d_x, is_started);
                is_started = true;
            }
        }
        if loss.is_some() && !is_started {
            chunk.d_x.fill(Lanes::all(R::ZERO));
        }
    }

    /// Runs all subnets forward, then the loss of all their heads, then all subnets backward.
    fn run_coupled(
        &self,
        chunk: &mut Chunk<R>,
        set: &[usize],
        tiles: TileRows<'_>,
        loss: &CoupledLogitGradients<'_, R>,
    ) {
        assert_eq!(
            set.len(),
            self.subnets.len(),
            "a coupled loss needs all rows"
        );
        chunk
            .activations
            .resize_with(set.len(), Activations::default);
        for (&subnet, activations) in set.iter().zip(&mut chunk.activations) {
            let executor = self.executor(subnet);
            executor.forward(tiles, &chunk.x, activations, &mut chunk.outputs[subnet]);
            executor.resize_logit_gradients(tiles, activations);
        }
        let mut losses: Vec<f64> = Vec::new();
        let mut heads: Vec<HeadRows<'_, R>> = Vec::new();
        for &subnet in set {
            let output = &chunk.outputs[subnet];
            losses.extend(&output.losses);
            heads.extend(self.executor(subnet).head_rows(tiles, heads.len(), output));
        }
        let gradients = chunk.activations.iter_mut();
        let gradients = gradients.flat_map(|activations| &mut activations.logit_gradients);
        let mut gradients: Vec<&mut [R]> = gradients.map(Vec::as_mut_slice).collect();
        loss(&heads, &mut gradients, &mut losses);
        let mut losses = losses.into_iter();
        for (i, &subnet) in set.iter().enumerate() {
            let output = &mut chunk.outputs[subnet];
            let sums = output.losses.iter_mut().zip(&mut losses);
            sums.for_each(|(sum, loss)| *sum = loss);
            let (x, d_x, activations) = (&chunk.x, &mut chunk.d_x, &mut chunk.activations[i]);
            let executor = self.executor(subnet);
            executor.backward(tiles, x, activations, output, d_x, i > 0);
        }
    }
}

/// Groups the subnets by the rows that they run on. Those that run on all rows come first and share the look-up.
fn row_sets<R>(subnets: &[Subnet<R>]) -> Vec<Vec<usize>> {
    let all = (0..subnets.len()).filter(|&s| subnets[s].rows.is_none());
    let some = (0..subnets.len()).filter(|&s| subnets[s].rows.is_some());
    let mut sets = vec![all.collect::<Vec<_>>()];
    sets.retain(|set| !set.is_empty());
    sets.extend(some.map(|s| vec![s]));
    sets
}
