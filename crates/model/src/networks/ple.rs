//! Progressive layered extraction (Tang et al. 2020): each level has experts of each task and shared
//! experts; a task's gate mixes its own and the shared experts, the shared gate mixes all.

use super::Sizes;
use crate::graph::Graph;

/// Builds the graph: one hidden layer for each level of extraction; the remaining layers are each task's own.
pub(super) fn graph(sizes: &Sizes<'_>, levels: usize, own: usize, shared: usize) -> Graph {
    let mut graph = Graph::of_input(sizes.folded);
    let levels = levels.min(sizes.hidden.len());
    let (of_levels, of_task) = sizes.hidden.split_at(levels);
    // Names of a task's layers begin with the task's name.
    let prefixes: Vec<String> = sizes.tasks.iter().map(|task| format!("{task}.")).collect();
    let n = prefixes.len();
    // The nodes that the experts of each task read, and last the one that the shared experts read.
    let mut ends = vec![0; n + 1];
    let mut inputs = sizes.inputs;
    for (level, &outputs) in of_levels.iter().enumerate() {
        let mut experts = |prefix: &str, from: usize, count: usize| -> Vec<usize> {
            let name = |expert: usize| format!("{prefix}expert_{expert}.fc_{level}");
            let experts = (0..count).map(|e| graph.hidden(name(e), from, (inputs, outputs)));
            experts.collect()
        };
        let own_experts = prefixes.iter().zip(&ends);
        let own_experts: Vec<Vec<usize>> = own_experts
            .map(|(prefix, &from)| experts(prefix, from, own))
            .collect();
        let shared_experts = experts("", ends[n], shared);
        let gated = |graph: &mut Graph, prefix: &str, from: usize, parts: Vec<usize>| {
            let name = format!("{prefix}gate_{level}");
            let gate = graph.linear(name, from, (inputs, parts.len()));
            let gate = graph.softmax(gate);
            graph.mix(gate, parts)
        };
        let mut next: Vec<usize> = (0..n)
            .map(|task| {
                let parts = [&own_experts[task][..], &shared_experts].concat();
                gated(&mut graph, &prefixes[task], ends[task], parts)
            })
            .collect();
        if level + 1 < of_levels.len() {
            let parts = [&own_experts.concat()[..], &shared_experts].concat();
            next.push(gated(&mut graph, "", ends[n], parts));
        }
        ends = next;
        inputs = outputs;
    }
    let towers = prefixes.iter().zip(&ends);
    let heads = towers
        .map(|(prefix, &end)| super::stack(&mut graph, prefix, levels, end, inputs, of_task))
        .collect();
    graph.heads = heads;
    graph
}
