//! Rows to scores from a frozen model: the forward half of a pass, and nothing that training needs.

mod branch;
mod common;
mod ranking;
mod split;

use crate::artifact::Artifact;
use crate::calibrator::Calibrator;
use crate::counter_rng::CounterRng;
use crate::masks::Masks;
use crate::network::Network;
use crate::networks::SparseLayouts;
use crate::spec::Spec;
use crate::subnet::Subnet;
use crate::workspace::Workspace;
use ncs_features::{Batch, IdSpace, Schema};
use std::sync::Arc;

pub use ranking::{RankBuffers, Ranker};

/// A frozen model.
#[derive(Clone, Debug)]
pub struct Scorer {
    schema: Arc<Schema>,
    spec: Arc<Spec>,
    masks: Option<Arc<Masks>>,
    members: Vec<Frozen>,
    /// For each task, if it has one.
    calibrators: Vec<Option<Calibrator>>,
}

/// A network with the weights of one moment, and the tasks that it answers for.
#[derive(Clone, Debug)]
struct Frozen {
    network: Network,
    /// The tasks whose heads run.
    tasks: Vec<usize>,
    /// Those among them that it answers for.
    answers: Vec<usize>,
    subnets: Vec<Subnet>,
}

impl Scorer {
    /// Makes an artifact run; `None` where its weights are of another network.
    pub fn new(artifact: &Artifact) -> Option<Scorer> {
        let spec = Arc::new(artifact.spec.clone());
        let networks = spec.networks();
        let mut members = Vec::new();
        for (number, member) in artifact.members.iter().enumerate() {
            let tasks = networks.get(member.network)?.clone();
            let is_own = |task: &usize| artifact.of_task.get(*task) == Some(&number);
            let answers: Vec<usize> = tasks.iter().copied().filter(is_own).collect();
            if answers.is_empty() {
                continue;
            }
            // Before room is made for weights that may not be there.
            let fits = Network::<f32>::n_dense(&spec, &tasks) == member.weights.dense.len();
            fits.then_some(())?;
            let mut network = Network::new(spec.clone(), tasks, CounterRng::new(0, "frozen"));
            network.restore(&member.weights)?;
            let tasks = with_needed(&spec, &answers);
            let layouts = SparseLayouts::new(&network, artifact.masks.as_ref());
            let subnets = layouts.subnets(&network, &tasks);
            members.push(Frozen {
                network,
                tasks,
                answers,
                subnets,
            });
        }
        let mut calibrators = artifact.calibrators.clone();
        calibrators.resize(spec.tasks.len(), None);
        Some(Scorer {
            calibrators,
            schema: artifact.schema.clone(),
            masks: artifact.masks.clone(),
            spec,
            members,
        })
    }

    /// The schema that rows are encoded by.
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// The sizes of the network.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// The masks of all tasks, where the network has any.
    pub fn masks(&self) -> Option<&Masks> {
        self.masks.as_deref()
    }

    /// The probability (or ratio) of every task for every row: `[task][row]`; calibrated where the model
    /// has a calibrator.
    pub fn score(&self, batch: &Batch, pass: &mut Workspace) -> Vec<Vec<f32>> {
        let mut scores = self.score_uncalibrated(batch, pass);
        self.calibrate(&mut scores);
        scores
    }

    /// Calibrates what the network says, `[task][row]`.
    pub fn calibrate(&self, scores: &mut [Vec<f32>]) {
        for (scores, calibrator) in scores.iter_mut().zip(&self.calibrators) {
            if let Some(calibrator) = calibrator {
                scores.iter_mut().for_each(|p| *p = calibrator.apply(*p));
            }
        }
    }

    /// For each task, what its scores are calibrated by.
    pub fn calibrators(&self) -> &[Option<Calibrator>] {
        &self.calibrators
    }

    /// As [`Scorer::score`], but what the network says.
    pub fn score_uncalibrated(&self, batch: &Batch, pass: &mut Workspace) -> Vec<Vec<f32>> {
        let mut scores = vec![Vec::new(); self.spec.tasks.len()];
        let mut said = vec![Vec::new(); self.spec.tasks.len()];
        for member in &self.members {
            let (network, tasks) = (&member.network, &member.tasks);
            network.probabilities(batch, &member.subnets, tasks, pass, &mut said);
            self.spec.answers(&mut said);
            for &task in &member.answers {
                scores[task] = std::mem::take(&mut said[task]);
            }
        }
        scores
    }

    /// Whether training met table row `id` of a field, for any task; every other row is the zero vector.
    pub fn is_met(&self, field: usize, id: u32) -> bool {
        let table = self.spec.fields[field].table;
        let met = |member: &Frozen| member.network.tables[table].slot(id) > 0;
        self.members.iter().any(met)
    }

    /// Numbers of layers and heads, once for each subnetwork that runs: what a [`Ranker`] holds anew.
    pub fn n_dense(&self) -> usize {
        let of_member = |member: &Frozen| {
            Network::<f32>::n_dense(&self.spec, &member.network.tasks) * member.subnets.len().max(1)
        };
        self.members.iter().map(of_member).sum()
    }

    /// Whether an id of a field stands for values that training never saw: in a vocabulary, the id of all that
    /// it does not hold; in a hashed column, a bucket whose table row was not met. A number has no id to be seen.
    pub fn is_unseen(&self, field: usize, id: u32) -> bool {
        let ids = &self.schema.tables[self.schema.fields[field].table].ids;
        match ids {
            IdSpace::Hash { .. } => !self.is_met(field, id),
            _ => ids.is_unknown(id),
        }
    }

    /// Trainable numbers: layers, heads and all rows of all tables, of one moment of the training.
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
    /// What the heads of these tasks say of every row of a batch, `[task][row]`; other tasks' stay as they
    /// are. The heads of `subnets`, in their order, are those of `tasks`.
    pub fn probabilities(
        &self,
        batch: &Batch,
        subnets: &[Subnet],
        tasks: &[usize],
        pass: &mut Workspace,
        said: &mut [Vec<f32>],
    ) {
        self.forward(batch, subnets, pass);
        let mut logits: Vec<Vec<f64>> = (0..tasks.len()).map(|head| pass.logits(head)).collect();
        let place = |task: usize| tasks.iter().position(|&known| known == task);
        if let Some(([from, to], taken)) = self.taken()
            && let (Some(from), Some(to)) = (place(from), place(to))
        {
            let others = logits[from].clone();
            let own = logits[to].iter_mut().zip(others);
            own.for_each(|(own, other)| *own = taken.add(*own, other));
        }
        for (&task, logits) in tasks.iter().zip(logits) {
            said[task] = logits.into_iter().map(|z| sigmoid(z) as f32).collect();
        }
    }
}

/// The tasks and what they are made from: where the probability of one of them is a quotient, what it is divided
/// by, and where its logit takes in another's, that task.
fn with_needed(spec: &Spec, answers: &[usize]) -> Vec<usize> {
    let mut tasks = answers.to_vec();
    for [first, second] in spec.plan.heads.joint.into_iter().chain(spec.takes()) {
        if tasks.contains(&second) && !tasks.contains(&first) {
            tasks.push(first);
        }
    }
    tasks
}

/// `1 / (1 + e^-z)`, without overflow.
pub fn sigmoid(z: f64) -> f64 {
    let e = (-z.abs()).exp();
    if z >= 0.0 {
        1.0 / (1.0 + e)
    } else {
        e / (1.0 + e)
    }
}
