//! Progressive layered extraction (Tang et al. 2020): at each level experts of each task and shared
//! ones; a task's gate mixes its own and the shared experts, the shared gate mixes all.

use super::Sizes;
use crate::graph::Graph;

/// One hidden layer for each level of extraction, the others are each task's own.
pub(super) fn graph(sizes: &Sizes<'_>, levels: usize, own: usize, shared: usize) -> Graph {
    let mut graph = Graph::of_input(sizes.folded);
    let (of_levels, of_task) = sizes.hidden.split_at(levels.min(sizes.hidden.len()));
    // What each task, and last what the shared experts read.
    let mut ends = vec![0; sizes.tasks + 1];
    let mut inputs = sizes.inputs;
    for (level, &outputs) in of_levels.iter().enumerate() {
        let expert = |graph: &mut Graph, from: usize| graph.hidden(from, inputs, outputs);
        let of_task: Vec<Vec<usize>> = ends[..sizes.tasks]
            .iter()
            .map(|&from| (0..own).map(|_| expert(&mut graph, from)).collect())
            .collect();
        let common: Vec<usize> = (0..shared)
            .map(|_| expert(&mut graph, ends[sizes.tasks]))
            .collect();
        let gated = |graph: &mut Graph, from: usize, parts: Vec<usize>| {
            let gate = graph.linear(from, inputs, parts.len());
            let gate = graph.softmax(gate);
            graph.mix(gate, parts)
        };
        let mut next: Vec<usize> = (0..sizes.tasks)
            .map(|task| {
                let parts = [&of_task[task][..], &common].concat();
                gated(&mut graph, ends[task], parts)
            })
            .collect();
        if level + 1 < of_levels.len() {
            let parts = [&of_task.concat()[..], &common].concat();
            next.push(gated(&mut graph, ends[sizes.tasks], parts));
        }
        ends = next;
        inputs = outputs;
    }
    let heads = (0..sizes.tasks).map(|task| super::stack(&mut graph, ends[task], inputs, of_task));
    let heads = heads.collect();
    graph.heads = heads;
    graph
}
