//! Shared and task-specific embeddings (STEM, Su et al. 2023): beside a shared table for each field there is one for each
//! task, each with experts of its own. A task's gate mixes the outputs of all experts, but gradients flow to its own and the
//! shared ones only ("all forward, task-specific backward", their section 4.2): a table of one task is not moved by another.
//!
//! The tables of a field are one table here whose vectors have a part for each task and a shared one, last.

use super::{NetworkKind, Sizes};
use crate::graph::Graph;

impl NetworkKind {
    /// Returns into how many parts vectors are divided for a network of so many tasks.
    pub fn vector_parts(self, n_tasks: usize) -> usize {
        match self {
            NetworkKind::Stem { .. } => n_tasks + 1,
            _ => 1,
        }
    }
}

/// Builds the graph: all hidden layers but the last form the experts, the last is each task's own. The gate of a task reads
/// the sum of its own and the shared part of each vector. An auxiliary head has a gate and a last layer of its own, and otherwise
/// what its task has.
pub(super) fn graph(sizes: &Sizes<'_>, own: usize, shared: usize) -> Graph {
    let mut graph = Graph::of_input(sizes.folded);
    let n_shared = sizes.hidden.len().saturating_sub(1).max(1);
    let (of_expert, of_task) = sizes.hidden.split_at(n_shared);
    let n = sizes.n_tasks();
    let parts = Parts::of(sizes, n + 1);
    let inputs = parts.width();
    let mut experts = |prefix: &str, part: usize, count: usize| -> Vec<usize> {
        if count == 0 {
            return Vec::new();
        }
        let from = graph.gather(0, parts.sums(&[part]));
        let stack = |expert| {
            let prefix = format!("{prefix}expert_{expert}.");
            super::stack(&mut graph, &prefix, 0, from, inputs, of_expert)
        };
        (0..count).map(stack).collect()
    };
    let tasks = sizes.tasks[..n].iter().enumerate();
    let own_experts: Vec<Vec<usize>> = tasks
        .map(|(t, task)| experts(&format!("{task}."), t, own))
        .collect();
    let shared_experts = experts("", n, shared);
    let of_others = own_experts.iter().map(|experts| {
        let detached = experts.iter().map(|&expert| graph.detach(expert));
        detached.collect::<Vec<usize>>()
    });
    let detached: Vec<Vec<usize>> = of_others.collect();
    let width = of_expert.last().copied().unwrap_or(inputs);
    let heads = sizes.tasks.iter().zip(&sizes.owners).map(|(task, &t)| {
        let from = graph.gather(0, parts.sums(&[t, n]));
        let of_task_or_not = (0..n).flat_map(|other| match other == t {
            true => &own_experts[other],
            false => &detached[other],
        });
        let mixed: Vec<usize> = of_task_or_not.chain(&shared_experts).copied().collect();
        let gate = graph.linear(format!("{task}.gate"), from, (inputs, mixed.len()));
        let gate = graph.softmax(gate);
        let mixed = graph.mix(gate, mixed);
        let prefix = format!("{task}.");
        super::stack(&mut graph, &prefix, n_shared, mixed, width, of_task)
    });
    let heads = heads.collect();
    graph.heads = heads;
    graph
}

/// The parts of the vectors among the inputs.
struct Parts {
    /// Position of the first vector.
    first: usize,
    n_vectors: usize,
    dim: usize,
    /// Length of a part.
    length: usize,
    n_numbers: usize,
}

impl Parts {
    fn of(sizes: &Sizes<'_>, n_parts: usize) -> Parts {
        let interaction = &sizes.interaction;
        Parts {
            first: interaction.folded_gram(),
            n_vectors: interaction.fields,
            dim: interaction.dim,
            length: interaction.dim / n_parts,
            n_numbers: interaction.numbers,
        }
    }

    /// Returns the number of inputs of an expert: a part of each vector, and all numbers that have none.
    fn width(&self) -> usize {
        self.n_vectors * self.length + self.n_numbers
    }

    /// Returns, for each input of an expert, the inputs of the network that are added: those of these parts. Numbers count
    /// once.
    fn sums(&self, parts: &[usize]) -> Vec<Vec<u32>> {
        let place = |vector: usize, part: usize, i: usize| {
            (self.first + vector * self.dim + part * self.length + i) as u32
        };
        let of_vector = |vector: usize| {
            let sum = move |i: usize| parts.iter().map(|&part| place(vector, part, i)).collect();
            (0..self.length).map(sum).collect::<Vec<Vec<u32>>>()
        };
        let numbers = self.first + self.n_vectors * self.dim;
        let numbers = (numbers..numbers + self.n_numbers).map(|number| vec![number as u32]);
        (0..self.n_vectors)
            .flat_map(of_vector)
            .chain(numbers)
            .collect()
    }
}
