//! One request: a user (the context) and candidates, scored for all tasks.
//!
//! The part that depends on the context alone is computed once: its field vectors, their Gram matrix, and the
//! first layer's sums over them. So are the first-layer connections that both tasks keep, if that saves
//! time. For each candidate only its own inputs remain: the paper's first layer is
//! 530 wide (folded), of which 260 remain for a context of 12 fields among 20.

mod attended;
mod prepared;
mod products;

use super::branch::{Activations, Branch, fit};
use super::common::Common;
use super::split::Split;
use super::{FrozenNetwork, Scorer};
use crate::attention::{Attended, PreparedAttention};
use crate::kernels::{LANES, Lanes, SimdLevel, tiles};
use crate::masks::TaskMask;
use crate::numbers;
use crate::resolved_ids::{Fields, ResolvedIds};
use crate::spec::Spec;
use attended::AttendedRequest;
use ncs_features::Batch;
use products::{dot, triangle};
use std::ops::Range;
use std::sync::Arc;

pub use prepared::PreparedContext;

/// Up to this many rows are computed row by row with dense weights; a tile with
/// so few lanes in use costs more. At the paper's size and density 0.2, tiles are faster from 4 rows on.
const FEW_ROWS: usize = 3;

/// Number of tiles that run through a layer together, so that its weights are read once for all of them.
const TILES: usize = 8;

/// Scores the candidates of a request; built once for a model and a split of its fields.
///
/// Its scores equal those of [`Scorer::score`] on rows that hold context and candidate together, up to the order of
/// summation. The exception is [`PaddedMean`](ncs_features::Pooling::PaddedMean), whose divisor is the longest list
/// of a batch: here the longest list of the candidates for a field of the candidates, and the context's own list for
/// a field of the context.
#[derive(Clone, Debug)]
pub struct Ranker {
    scorer: Arc<Scorer>,
    level: SimdLevel,
    split: Split,
    /// For each weight set of the scorer: its subnetworks, and their common connections.
    branches: Vec<(Vec<Branch>, Option<Common>)>,
    /// For each weight set: the attention of each sequence that has one.
    attentions: Vec<Vec<PreparedAttention<f32>>>,
    /// The fields that attention pools, in order.
    attended_fields: Vec<usize>,
}

/// The buffers of a [`Ranker`]; they grow to the largest request and are reused.
#[derive(Clone, Debug, Default)]
pub struct RankBuffers {
    /// Vectors of the context's fields, `[fields, dim]`.
    context: Vec<f32>,
    /// The fixed part of the folded input.
    fixed: Vec<f32>,
    /// The initial first-layer sums of each branch.
    starts: Vec<Vec<f32>>,
    context_ids: ResolvedIds,
    candidate_ids: ResolvedIds,
    attended: AttendedRequest,
    /// The vectors of a field, `[rows of a tile, dim]`.
    vectors: Vec<f32>,
    tiles: Vec<Lanes<f32>>,
    rows: Vec<f32>,
    /// First-layer sums of the common connections.
    sums: Vec<Lanes<f32>>,
    activations: Activations,
    /// Logits of the source of a logit transfer, if another weight set scores that task.
    source_logits: Vec<f32>,
}

impl Ranker {
    /// Creates a ranker for requests with these fields in the context, and all others in the candidates.
    /// Returns `None` if a context field does not exist or is given twice, if only some attributes of the same events are
    /// in the context, if the network has no hidden layer,
    /// is not one stack of layers (experts, stitches), a head predicts a joint probability, or a task has several outputs:
    /// use [`Scorer::score`] then.
    pub fn new(scorer: &Arc<Scorer>, context: &[usize]) -> Option<Ranker> {
        Ranker::of(scorer, context, false)
    }

    /// Like [`Ranker::new`], with weights and activations of the hidden layers in bfloat16 (sums in single precision),
    /// for requests with more than a few candidates. Faster if the processor has bfloat16 instructions
    /// ([`SimdLevel::has_half`]); otherwise slower, with the same scores.
    pub fn in_half(scorer: &Arc<Scorer>, context: &[usize]) -> Option<Ranker> {
        Ranker::of(scorer, context, true)
    }

    fn of(scorer: &Arc<Scorer>, context: &[usize], half: bool) -> Option<Ranker> {
        let kind = scorer.spec.plan.kind;
        let heads = &scorer.spec.plan.heads;
        if heads.joint.is_some() || !heads.outputs.is_empty() || !kind.is_stack() {
            return None;
        }
        let split = Split::new(&scorer.spec, context)?;
        let branches = |member: &FrozenNetwork| -> Option<(Vec<Branch>, Option<Common>)> {
            let branch = |tasks: &[usize], mask, common| {
                Branch::new(&scorer.spec, member, tasks, mask, common, &split, half)
            };
            let tasks = member.tasks.iter();
            let Some(masks) = scorer.masks.as_ref().filter(|_| kind.has_masks()) else {
                let heads = if kind.has_masks() {
                    member.tasks.chunks(1)
                } else {
                    member.tasks.chunks(member.tasks.len())
                };
                let branches = heads.map(|tasks| branch(tasks, None, None));
                return Some((branches.collect::<Option<_>>()?, None));
            };
            let of_tasks: Vec<&TaskMask> = tasks.clone().map(|&task| &masks.tasks[task]).collect();
            // Products in half precision can start from a bias only.
            let common = (!half).then(|| Common::new(&scorer.spec, member, &of_tasks, &split));
            let common = common.flatten();
            let pairs = tasks.zip(of_tasks);
            let branches = pairs
                .map(|(&task, mask)| branch(&[task], Some(mask), common.as_ref()))
                .collect::<Option<_>>()?;
            Some((branches, common))
        };
        let branches = scorer.members.iter().map(branches).collect::<Option<_>>()?;
        let attentions = |member: &FrozenNetwork| {
            PreparedAttention::of_network(&member.network.layout.attentions, &member.network.dense)
        };
        Some(Ranker {
            scorer: scorer.clone(),
            level: SimdLevel::best(),
            split,
            branches,
            attentions: scorer.members.iter().map(attentions).collect(),
            attended_fields: scorer.spec.attended_fields(),
        })
    }

    /// Returns the scorer from which it was created.
    pub fn scorer(&self) -> &Arc<Scorer> {
        &self.scorer
    }

    /// Returns true if first-layer connections that both tasks keep are computed once, because the tasks of one
    /// weight set share enough of them.
    pub fn computes_shared_once(&self) -> bool {
        self.branches.iter().any(|(_, common)| common.is_some())
    }

    /// Returns the same ranker at another SIMD level.
    pub fn at(self, level: SimdLevel) -> Ranker {
        Ranker { level, ..self }
    }

    /// Computes the probability (or ratio) of every task for every candidate, `scores[task][candidate]`, whose
    /// contents are replaced; calibrated if the task has a calibrator.
    ///
    /// # Panics
    /// As for [`Ranker::score_uncalibrated`].
    pub fn score(
        &self,
        context: &Batch,
        candidates: &Batch,
        buffers: &mut RankBuffers,
        scores: &mut [Vec<f32>],
    ) {
        self.score_uncalibrated(context, candidates, buffers, scores);
        self.scorer.calibrate(scores);
    }

    /// Like [`Ranker::score`], without calibration.
    ///
    /// Both batches have an entry for every field of the schema. `context` has one row, of which only the
    /// context's fields are read; of `candidates` only the other fields are read. Ids must lie inside their tables.
    ///
    /// # Panics
    /// If the number of lists in `scores` is not that of the tasks, `context` does not have one row, or a batch lacks
    /// fields.
    pub fn score_uncalibrated(
        &self,
        context: &Batch,
        candidates: &Batch,
        buffers: &mut RankBuffers,
        scores: &mut [Vec<f32>],
    ) {
        self.score_candidates(context, None, candidates, buffers, scores);
    }

    /// The request of these candidates to one weight set.
    fn request<'a>(&'a self, number: usize, candidates: &'a Batch) -> Request<'a> {
        let (branches, common) = &self.branches[number];
        Request {
            ranker: self,
            spec: &self.scorer.spec,
            member: &self.scorer.members[number],
            branches,
            attentions: &self.attentions[number],
            common: common.as_ref(),
            candidates,
        }
    }

    fn score_candidates(
        &self,
        context: &Batch,
        prepared: Option<&PreparedContext>,
        candidates: &Batch,
        buffers: &mut RankBuffers,
        scores: &mut [Vec<f32>],
    ) {
        assert_eq!(context.n_rows, 1, "one context a request");
        assert_eq!(scores.len(), self.scorer.spec.tasks.len(), "a list a task");
        for scores in scores.iter_mut() {
            scores.clear();
            scores.resize(candidates.n_rows, 0.0);
        }
        for (number, member) in self.scorer.members.iter().enumerate() {
            let request = self.request(number, candidates);
            if prepared.is_none() || !self.attended_fields.is_empty() {
                request.find_context(context, buffers);
            }
            request.find_candidates(buffers);
            request.pool_events(context, buffers);
            match prepared {
                Some(prepared) => prepared.members[number].fill(buffers),
                None => request.start(context, buffers),
            }
            // A task that runs only as the source of a transfer must not overwrite its scores.
            let source_only = member
                .tasks
                .iter()
                .find(|task| !member.scored.contains(task));
            if let Some(&task) = source_only {
                let mut source_logits = std::mem::take(&mut buffers.source_logits);
                source_logits.clear();
                source_logits.resize(candidates.n_rows, 0.0);
                let own_scores = std::mem::replace(&mut scores[task], source_logits);
                request.score(buffers, scores);
                request.transfer_logit(scores);
                buffers.source_logits = std::mem::replace(&mut scores[task], own_scores);
            } else {
                request.score(buffers, scores);
                request.transfer_logit(scores);
            }
            for &task in &member.scored {
                let (scores, link) = (scores[task].iter_mut(), self.scorer.spec.link(task));
                scores.for_each(|logit| *logit = link.value(f64::from(*logit)) as f32);
            }
        }
    }
}

/// A request to one weight set.
struct Request<'a> {
    ranker: &'a Ranker,
    spec: &'a Spec,
    member: &'a FrozenNetwork,
    branches: &'a [Branch],
    attentions: &'a [PreparedAttention<f32>],
    common: Option<&'a Common>,
    candidates: &'a Batch,
}

impl Request<'_> {
    /// Looks up the ids of the context.
    fn find_context(&self, context: &Batch, buffers: &mut RankBuffers) {
        let (split, tables) = (&self.ranker.split, &self.member.network.tables);
        let ids = &mut buffers.context_ids;
        ids.find(self.spec, tables, context, |f| split.is_of_context(f), 1);
    }

    /// Looks up the ids of the candidates.
    fn find_candidates(&self, buffers: &mut RankBuffers) {
        let (split, tables) = (&self.ranker.split, &self.member.network.tables);
        let is_varying = |f: usize| !split.is_of_context(f);
        let ids = &mut buffers.candidate_ids;
        ids.find(self.spec, tables, self.candidates, is_varying, 1);
    }

    /// Pools the events of the request by attention.
    fn pool_events(&self, context: &Batch, buffers: &mut RankBuffers) {
        let of_context = self.fields_of(context, &buffers.context_ids, None);
        let of_candidates = self.fields_of(self.candidates, &buffers.candidate_ids, None);
        let attended = &mut buffers.attended;
        attended.run(self, of_context, of_candidates, self.candidates.n_rows);
    }

    /// Computes the vectors of the context and the first-layer sums over them, the same for all candidates.
    fn start(&self, context: &Batch, buffers: &mut RankBuffers) {
        let (spec, split, dim) = (self.spec, &self.ranker.split, self.spec.plan.dim);
        let vectors = &mut buffers.context;
        vectors.clear();
        vectors.resize(split.context.len() * dim, 0.0);
        let attended = buffers.attended.of_context(self);
        let fields = self.fields_of(context, &buffers.context_ids, attended);
        for (&f, vector) in split.context.iter().zip(vectors.chunks_exact_mut(dim)) {
            fields.vector(f, 0, vector);
        }
        buffers.fixed.clear();
        if spec.interaction().folded_gram() > 0 {
            let dims = [dim, spec.interaction().shared_dim];
            triangle(vectors, dims, |product| buffers.fixed.push(product));
        }
        buffers.fixed.extend_from_slice(vectors);
        for &(f, n) in &split.context_numbers {
            let first = buffers.fixed.len();
            buffers.fixed.resize(first + n, 0.0);
            let is_vector = spec.fields[f].vector.is_some();
            let inputs = &mut buffers.fixed[first..];
            numbers::fill_row(is_vector, &context.fields[f], 0, inputs);
        }
        fit(&mut buffers.starts, self.branches.len(), Vec::new());
        for (branch, start) in self.branches.iter().zip(&mut buffers.starts) {
            branch.start(self.ranker.level, &buffers.fixed, start);
        }
    }

    /// Adds the logit of one task to that of another.
    fn transfer_logit(&self, scores: &mut [Vec<f32>]) {
        let Some(([from, to], taken)) = self.member.network.taken() else {
            return;
        };
        if !self.member.scored.contains(&to) {
            return;
        }
        let Ok([others, own]) = scores.get_disjoint_mut([from, to]) else {
            return;
        };
        for (own, other) in own.iter_mut().zip(others) {
            *own = taken.add(f64::from(*own), f64::from(*other)) as f32;
        }
    }

    /// Fills in logits: whole tiles first, then a remainder of few rows row by row.
    fn score(&self, buffers: &mut RankBuffers, scores: &mut [Vec<f32>]) {
        let n_rows = self.candidates.n_rows;
        let rest = n_rows % LANES;
        let n_few = if rest <= FEW_ROWS { rest } else { 0 };
        let in_tiles = n_rows - n_few;
        for first in (0..in_tiles).step_by(TILES * LANES) {
            self.score_tiles(first..in_tiles.min(first + TILES * LANES), buffers, scores);
        }
        if n_few > 0 {
            self.score_rows(in_tiles..n_rows, buffers, scores);
        }
    }

    fn score_tiles(&self, rows: Range<usize>, buffers: &mut RankBuffers, scores: &mut [Vec<f32>]) {
        let level = self.ranker.level;
        let width = self.ranker.split.varying.len();
        let n_tiles = rows.len().div_ceil(LANES);
        let mut tiles = std::mem::take(&mut buffers.tiles);
        let x = fit(&mut tiles, n_tiles * width, Lanes::all(0.0));
        for (tile, x) in x.chunks_exact_mut(width.max(1)).enumerate() {
            let first = rows.start + tile * LANES;
            self.fill_tile(first..rows.end.min(first + LANES), buffers, x);
        }
        // A single tile is computed only in the lanes that are used.
        let lanes = rows.len().min(LANES);
        let sums = self.common.map(|common| {
            let sums = &mut buffers.sums;
            common.sums(level, lanes, n_tiles, x, sums)
        });
        for (branch, start) in self.branches.iter().zip(&buffers.starts) {
            let on_logits = |task: usize, tile: usize, logits: &Lanes<f32>| {
                let scores = &mut scores[task][rows.start + tile * LANES..rows.end];
                for (score, &logit) in scores.iter_mut().zip(&logits.0) {
                    *score = logit;
                }
            };
            let activations = &mut buffers.activations;
            branch.run_tiles(
                level,
                lanes,
                start,
                n_tiles,
                x,
                sums,
                activations,
                on_logits,
            );
        }
        buffers.tiles = tiles;
    }

    /// Fills in the inputs of up to 64 candidates.
    fn fill_tile(&self, rows: Range<usize>, buffers: &mut RankBuffers, x: &mut [Lanes<f32>]) {
        let (level, split) = (self.ranker.level, &self.ranker.split);
        let dim = self.spec.plan.dim;
        let (pairs, vectors) = x.split_at_mut(split.n_pairs);
        let (vectors, mut inputs) = vectors.split_at_mut(split.n_vectors);
        for &(f, n) in &split.candidate_numbers {
            let (own, rest) = inputs.split_at_mut(n);
            let is_vector = self.spec.fields[f].vector.is_some();
            numbers::fill_lanes(is_vector, &self.candidates.fields[f], rows.clone(), own);
            inputs = rest;
        }
        let attended = buffers.attended.of_candidates(self);
        let fields = self.fields_of(self.candidates, &buffers.candidate_ids, attended);
        let of_candidate = &split.candidate;
        fields.prefetch(of_candidate.first().copied(), rows.clone());
        for (place, lanes) in vectors.chunks_exact_mut(dim).enumerate() {
            fields.prefetch(of_candidate.get(place + 1).copied(), rows.clone());
            fields.vectors(of_candidate[place], rows.clone(), &mut buffers.vectors);
            tiles::into_lanes(level, &buffers.vectors, dim, lanes);
        }
        if !pairs.is_empty() {
            let (across, among) = pairs.split_at_mut(split.n_across);
            let dims = [dim, self.spec.interaction().shared_dim];
            tiles::gram_across(level, dims, &buffers.context, vectors, across);
            tiles::gram(level, split.candidate.len(), dims, vectors, among);
        }
    }

    /// Returns the fields of the context or of the candidates.
    fn fields_of<'a>(
        &'a self,
        batch: &'a Batch,
        ids: &'a ResolvedIds,
        attended: Option<Attended<'a, f32>>,
    ) -> Fields<'a, f32> {
        Fields {
            spec: self.spec,
            tables: &self.member.network.tables,
            batch,
            ids,
            attended,
        }
    }

    fn score_rows(&self, rows: Range<usize>, buffers: &mut RankBuffers, scores: &mut [Vec<f32>]) {
        let (split, n_rows) = (&self.ranker.split, rows.len());
        let (level, dim, width) = (self.ranker.level, self.spec.plan.dim, split.varying.len());
        let shared = self.spec.interaction().shared_dim;
        let x = fit(&mut buffers.rows, n_rows * width, 0.0);
        for (row, x) in rows.clone().zip(x.chunks_exact_mut(width.max(1))) {
            let (pairs, vectors) = x.split_at_mut(split.n_pairs);
            let (vectors, mut inputs) = vectors.split_at_mut(split.n_vectors);
            for &(f, n) in &split.candidate_numbers {
                let (own, rest) = inputs.split_at_mut(n);
                let is_vector = self.spec.fields[f].vector.is_some();
                numbers::fill_row(is_vector, &self.candidates.fields[f], row, own);
                inputs = rest;
            }
            let attended = buffers.attended.of_candidates(self);
            let fields = self.fields_of(self.candidates, &buffers.candidate_ids, attended);
            for (&f, vector) in split.candidate.iter().zip(vectors.chunks_exact_mut(dim)) {
                fields.vector(f, row, vector);
            }
            let mut pairs = pairs.iter_mut();
            if split.n_pairs > 0 {
                for context in buffers.context.chunks_exact(dim) {
                    let products = vectors.chunks_exact(dim);
                    let products =
                        products.map(|vector| dot(&context[..shared], &vector[..shared]));
                    products
                        .zip(pairs.by_ref())
                        .for_each(|(product, pair)| *pair = product);
                }
                triangle(vectors, [dim, shared], |product| {
                    if let Some(pair) = pairs.next() {
                        *pair = product;
                    }
                });
            }
        }
        for (branch, start) in self.branches.iter().zip(&buffers.starts) {
            let on_logits = |task: usize, row: usize, logit: f32| {
                scores[task][rows.start + row] = logit;
            };
            let activations = &mut buffers.activations;
            branch.run_rows(level, start, n_rows, x, activations, on_logits);
        }
    }
}
