//! Scoring with a frozen model: the forward pass only.

mod branch;
mod common;
mod delta;
mod precision;
mod ranking;
mod self_test;
mod split;

use crate::artifact::Artifact;
use crate::calibrator::Calibrator;
use crate::counter_rng::CounterRng;
use crate::masks::{Masks, TaskMask};
use crate::network::Network;
use crate::plan::NetworkKind;
use crate::sparse_layouts::SparseLayouts;
use crate::spec::Spec;
use crate::subnet::Subnet;
use crate::workspace::Workspace;
use ncs_features::{Batch, IdSpace, Schema, zero_inflated};
use std::sync::Arc;

pub use delta::Updated;
pub use precision::{HALF_TOLERANCE, HalfError, Precision};
pub use ranking::{PreparedContext, RankBuffers, Ranker};

/// A frozen model.
#[derive(Clone, Debug)]
pub struct Scorer {
    schema: Arc<Schema>,
    spec: Arc<Spec>,
    masks: Option<Arc<Masks>>,
    members: Vec<FrozenNetwork>,
    /// The calibrator of each task, if it has one.
    calibrators: Vec<Option<Calibrator>>,
}

/// A network with one weight set, and the tasks that it scores.
#[derive(Clone, Debug)]
pub struct FrozenNetwork {
    /// The number of the weight set in the artifact.
    pub weight_set: usize,
    /// The network.
    pub network: Network,
    /// The tasks whose heads run.
    pub tasks: Vec<usize>,
    /// The tasks among them whose scores are used.
    pub scored: Vec<usize>,
    /// The subnets that run; their heads, in order, are those of `tasks`.
    pub subnets: Vec<Subnet>,
}

impl Scorer {
    /// Creates a scorer from an artifact; `None` if its weights are of another network.
    pub fn new(artifact: &Artifact) -> Option<Scorer> {
        let restore = |number: usize, network: &mut Network| {
            network.read_from(&artifact.weight_sets[number].weights)
        };
        Scorer::assemble(artifact, |number, network| {
            restore(number, network).ok_or(())
        })
        .ok()?
    }

    /// Creates a scorer whose networks `restore` fills, given the number of the weight set; `None` if weights of layers
    /// and heads are of another network.
    fn assemble<E>(
        artifact: &Artifact,
        mut restore: impl FnMut(usize, &mut Network) -> Result<(), E>,
    ) -> Result<Option<Scorer>, E> {
        let spec = Arc::new(artifact.spec.clone());
        let networks = spec.networks();
        let mut members = Vec::new();
        for (number, member) in artifact.weight_sets.iter().enumerate() {
            let Some(tasks) = networks.get(member.network).cloned() else {
                return Ok(None);
            };
            let is_own = |task: &usize| artifact.of_task.get(*task) == Some(&number);
            let scored: Vec<usize> = tasks.iter().copied().filter(is_own).collect();
            if scored.is_empty() {
                continue;
            }
            // Checked before memory for the weights is allocated.
            let fits = Network::<f32>::n_dense(&spec, &tasks) == member.weights.dense.len();
            if !fits {
                return Ok(None);
            }
            let mut network = Network::new(spec.clone(), tasks, CounterRng::new(0, "frozen"));
            restore(number, &mut network)?;
            let tasks = with_needed(&spec, &scored);
            let layouts = SparseLayouts::new(&network, artifact.masks.as_ref());
            let subnets = layouts.subnets(&network, &tasks);
            members.push(FrozenNetwork {
                weight_set: number,
                network,
                tasks,
                scored,
                subnets,
            });
        }
        let mut calibrators = artifact.calibrators.clone();
        calibrators.resize(spec.tasks.len(), None);
        Ok(Some(Scorer {
            calibrators,
            schema: artifact.schema.clone(),
            masks: artifact.masks.clone(),
            spec,
            members,
        }))
    }

    /// Returns the schema by which rows are encoded.
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// Returns the specification of the network.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Returns the masks of all tasks, if the network has masks.
    pub fn masks(&self) -> Option<&Masks> {
        self.masks.as_deref()
    }

    /// Returns the networks that run, each with its weight set.
    pub fn networks(&self) -> &[FrozenNetwork] {
        &self.members
    }

    /// Returns the mask under which the head of a task runs, in networks that run masks.
    pub fn mask_of(&self, task: usize) -> Option<&TaskMask> {
        let masks = self.masks.as_deref();
        let masks = masks.filter(|_| self.spec.plan.kind == NetworkKind::SparseSharing)?;
        masks.tasks.get(self.spec.mask_of(task))
    }

    /// Returns the probability (or ratio) of every task for every row, `[task][row]`; calibrated if the task
    /// has a calibrator.
    pub fn score(&self, batch: &Batch, workspace: &mut Workspace) -> Vec<Vec<f32>> {
        let mut scores = self.score_uncalibrated(batch, workspace);
        self.calibrate(&mut scores);
        scores
    }

    /// Calibrates the probabilities of the network, `[task][row]`.
    pub fn calibrate(&self, scores: &mut [Vec<f32>]) {
        for (scores, calibrator) in scores.iter_mut().zip(&self.calibrators) {
            if let Some(calibrator) = calibrator {
                scores.iter_mut().for_each(|p| *p = calibrator.apply(*p));
            }
        }
    }

    /// Returns the calibrator of each task, if it has one.
    pub fn calibrators(&self) -> &[Option<Calibrator>] {
        &self.calibrators
    }

    /// Like [`Scorer::score`], without calibration.
    pub fn score_uncalibrated(&self, batch: &Batch, workspace: &mut Workspace) -> Vec<Vec<f32>> {
        let mut scores = vec![Vec::new(); self.spec.tasks.len()];
        let mut probabilities = vec![Vec::new(); self.spec.tasks.len()];
        for member in &self.members {
            let (network, tasks) = (&member.network, &member.tasks);
            network.probabilities(batch, &member.subnets, tasks, workspace, &mut probabilities);
            self.spec.answers(&mut probabilities);
            for &task in &member.scored {
                scores[task] = std::mem::take(&mut probabilities[task]);
            }
        }
        scores
    }

    /// Returns true if table row `id` of a field was seen in training, for any task; every other row is the zero
    /// vector.
    pub fn is_met(&self, field: usize, id: u32) -> bool {
        let table = self.spec.fields[field].table;
        let is_seen = |member: &FrozenNetwork| member.network.tables[table].slot(id) > 0;
        self.members.iter().any(is_seen)
    }

    /// Returns the number of layer and head parameters, once for each subnetwork: those that a [`Ranker`] copies.
    pub fn n_dense(&self) -> usize {
        let n_dense = |member: &FrozenNetwork| {
            Network::<f32>::n_dense(&self.spec, &member.network.tasks) * member.subnets.len().max(1)
        };
        self.members.iter().map(n_dense).sum()
    }

    /// Returns true if an id of a field stands for values not seen in training: in a vocabulary, the id of all
    /// other values; in a hashed column, a bucket whose table row was not seen. Numeric fields have no such id.
    pub fn is_unseen(&self, field: usize, id: u32) -> bool {
        let ids = &self.schema.tables[self.schema.fields[field].table].ids;
        match ids {
            IdSpace::Hash { .. } | IdSpace::Cross(_) => !self.is_met(field, id),
            _ => ids.is_unknown(id),
        }
    }

    /// Returns the number of trainable parameters: layers, heads and all rows of all tables, each network once.
    pub fn n_parameters(&self) -> usize {
        let mut networks: Vec<(&[usize], usize)> = Vec::new();
        for member in &self.members {
            let network = (
                member.network.tasks.as_slice(),
                member.network.n_parameters(),
            );
            if !networks.contains(&network) {
                networks.push(network);
            }
        }
        networks.iter().map(|(_, n)| n).sum()
    }
}

impl Network {
    /// Computes the predictions (probabilities, or values by the task's [`Link`](ncs_features::Link)) of the heads of these tasks for every row of a batch, `[task][row]`; those of other
    /// tasks stay unchanged. The heads of `subnets`, in their order, are those of `tasks`, among them the further outputs of
    /// tasks that have some ([`Spec::heads_to_predict`]).
    pub fn probabilities(
        &self,
        batch: &Batch,
        subnets: &[Subnet],
        tasks: &[usize],
        workspace: &mut Workspace,
        probabilities: &mut [Vec<f32>],
    ) {
        self.forward(batch, subnets, workspace);
        let mut logits: Vec<Vec<f64>> = (0..tasks.len())
            .map(|head| workspace.logits(head))
            .collect();
        let position = |task: usize| tasks.iter().position(|&other| other == task);
        if let Some(([from, to], taken)) = self.taken()
            && let (Some(from), Some(to)) = (position(from), position(to))
        {
            let others = logits[from].clone();
            let own = logits[to].iter_mut().zip(others);
            own.for_each(|(own, other)| *own = taken.add(*own, other));
        }
        let joined = |task: usize, logits: &[Vec<f64>]| -> Option<Vec<f64>> {
            let mut further = self.spec.further_outputs(task).map(position);
            let [mu, s] = [further.next()??, further.next()??];
            let rows = logits[position(task)?].iter().zip(&logits[mu]);
            let rows = rows.zip(&logits[s]);
            Some(
                rows.map(|((&a, &mu), &s)| zero_inflated::log_mean([a, mu, s]))
                    .collect(),
            )
        };
        for (place, &task) in tasks.iter().enumerate() {
            let Some(probabilities) = probabilities.get_mut(task) else {
                continue;
            };
            let link = self.spec.link(task);
            let logits = joined(task, &logits).unwrap_or_else(|| logits[place].clone());
            *probabilities = logits.into_iter().map(|z| link.value(z) as f32).collect();
        }
    }
}

/// Returns the tasks, and the heads on which they depend: the divisor of a task whose probability is a quotient, the
/// source of a logit transfer, and further outputs.
fn with_needed(spec: &Spec, scored: &[usize]) -> Vec<usize> {
    let mut tasks = scored.to_vec();
    for [first, second] in spec.plan.heads.joint.into_iter().chain(spec.takes()) {
        if tasks.contains(&second) && !tasks.contains(&first) {
            tasks.push(first);
        }
    }
    spec.heads_to_predict(&tasks)
}
