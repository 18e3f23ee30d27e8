//! Adaptive information transfer (AITM, Xi et al. 2021): a tower for each task; from the second task on, the state
//! of the previous task is transferred and mixed with the task's own state by attention.

use super::Sizes;
use crate::graph::Graph;

pub(super) fn graph(sizes: &Sizes<'_>) -> Graph {
    let mut graph = Graph::of_input(sizes.folded);
    let mut tower = |task: &&str| {
        let prefix = format!("{task}.");
        super::stack(&mut graph, &prefix, 0, 0, sizes.inputs, sizes.hidden)
    };
    let towers: Vec<usize> = sizes.tasks.iter().map(&mut tower).collect();
    let width = sizes.hidden.last().copied().unwrap_or(sizes.inputs);
    let mut states: Vec<usize> = Vec::new();
    for (task, own) in sizes.tasks.iter().zip(towers) {
        let Some(&previous) = states.last() else {
            states.push(own);
            continue;
        };
        let square = (width, width);
        let transferred = graph.hidden(format!("{task}.transfer"), previous, square);
        let tokens = [transferred, own];
        let mut project = |name: &str| {
            let first = graph.linear(format!("{task}.{name}"), tokens[0], square);
            [first, graph.again(first, tokens[1])]
        };
        let (values, keys, queries) = (project("values"), project("keys"), project("queries"));
        let pairs = vec![(keys[0], queries[0]), (keys[1], queries[1])];
        let scores = graph.scores(pairs, 1.0 / (width as f64).sqrt());
        let weights = graph.softmax(scores);
        states.push(graph.mix(weights, values.to_vec()));
    }
    graph.heads = states;
    graph
}
