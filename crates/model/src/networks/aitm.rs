//! Adaptive information transfer (Xi et al. 2021): a tower for each task; from the second task on, what
//! the task before knows is transferred and mixed with the task's own state by attention.

use super::Sizes;
use crate::graph::Graph;

pub(super) fn graph(sizes: &Sizes<'_>) -> Graph {
    let mut graph = Graph::of_input(sizes.folded);
    let towers: Vec<usize> = (0..sizes.tasks)
        .map(|_| super::stack(&mut graph, 0, sizes.inputs, sizes.hidden))
        .collect();
    let width = sizes.hidden.last().copied().unwrap_or(sizes.inputs);
    let mut states: Vec<usize> = Vec::new();
    for own in towers {
        let Some(&before) = states.last() else {
            states.push(own);
            continue;
        };
        let transferred = graph.hidden(before, width, width);
        let tokens = [transferred, own];
        let mut project = || {
            let first = graph.linear(tokens[0], width, width);
            [first, graph.again(first, tokens[1])]
        };
        let (values, keys, queries) = (project(), project(), project());
        let pairs = vec![(keys[0], queries[0]), (keys[1], queries[1])];
        let scores = graph.scores(pairs, 1.0 / (width as f64).sqrt());
        let weights = graph.softmax(scores);
        states.push(graph.mix(weights, values.to_vec()));
    }
    graph.heads = states;
    graph
}
