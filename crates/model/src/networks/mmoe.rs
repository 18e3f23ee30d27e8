//! Multi-gate mixture of experts (Ma et al. 2018): experts shared by all tasks, a softmax gate over
//! the input for each task, and a tower for each task on its mixture.

use super::Sizes;
use crate::graph::Graph;

/// Builds the graph: all hidden layers but the last form the experts; the last is each task's own.
pub(super) fn graph(sizes: &Sizes<'_>, experts: usize) -> Graph {
    let mut graph = Graph::of_input(sizes.folded);
    let n_shared = sizes.hidden.len().saturating_sub(1).max(1);
    let (of_expert, of_task) = sizes.hidden.split_at(n_shared);
    let mut expert = |expert: usize| {
        let prefix = format!("expert_{expert}.");
        super::stack(&mut graph, &prefix, 0, 0, sizes.inputs, of_expert)
    };
    let ends: Vec<usize> = (0..experts).map(&mut expert).collect();
    let width = of_expert.last().copied().unwrap_or(sizes.inputs);
    let heads = sizes.tasks.iter().map(|task| {
        let gate = graph.linear(format!("{task}.gate"), 0, (sizes.inputs, experts));
        let gate = graph.softmax(gate);
        let mixed = graph.mix(gate, ends.clone());
        super::stack(
            &mut graph,
            &format!("{task}."),
            n_shared,
            mixed,
            width,
            of_task,
        )
    });
    let heads = heads.collect();
    graph.heads = heads;
    graph
}
