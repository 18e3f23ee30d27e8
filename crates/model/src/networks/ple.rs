//! Progressive layered extraction (Tang et al. 2020): at each level experts of each task and shared
//! ones; a task's gate mixes its own and the shared experts, the shared gate mixes all.

use super::Sizes;
use crate::graph::Graph;

/// One hidden layer for each level of extraction, the others are each task's own.
pub(super) fn graph(sizes: &Sizes<'_>, levels: usize, own: usize, shared: usize) -> Graph {
    let mut graph = Graph::of_input(sizes.folded);
    let levels = levels.min(sizes.hidden.len());
    let (of_levels, of_task) = sizes.hidden.split_at(levels);
    // Names begin with whose they are: each task's, and last those of all.
    let whose: Vec<String> = sizes.tasks.iter().map(|task| format!("{task}.")).collect();
    let n = whose.len();
    // What each task, and last what the shared experts read.
    let mut ends = vec![0; n + 1];
    let mut inputs = sizes.inputs;
    for (level, &outputs) in of_levels.iter().enumerate() {
        let mut experts = |whose: &str, from: usize, count: usize| -> Vec<usize> {
            let name = |expert: usize| format!("{whose}expert_{expert}.fc_{level}");
            let experts = (0..count).map(|e| graph.hidden(name(e), from, (inputs, outputs)));
            experts.collect()
        };
        let of_task = whose.iter().zip(&ends);
        let of_task: Vec<Vec<usize>> = of_task
            .map(|(whose, &from)| experts(whose, from, own))
            .collect();
        let common = experts("", ends[n], shared);
        let gated = |graph: &mut Graph, whose: &str, from: usize, parts: Vec<usize>| {
            let name = format!("{whose}gate_{level}");
            let gate = graph.linear(name, from, (inputs, parts.len()));
            let gate = graph.softmax(gate);
            graph.mix(gate, parts)
        };
        let mut next: Vec<usize> = (0..n)
            .map(|task| {
                let parts = [&of_task[task][..], &common].concat();
                gated(&mut graph, &whose[task], ends[task], parts)
            })
            .collect();
        if level + 1 < of_levels.len() {
            let parts = [&of_task.concat()[..], &common].concat();
            next.push(gated(&mut graph, "", ends[n], parts));
        }
        ends = next;
        inputs = outputs;
    }
    let towers = whose.iter().zip(&ends);
    let heads = towers
        .map(|(whose, &end)| super::stack(&mut graph, whose, levels, end, inputs, of_task))
        .collect();
    graph.heads = heads;
    graph
}
