//! Cross-stitch networks (Misra et al. 2016): a tower for each task; after every layer, each tower
//! continues with a learned mixture of all towers' outputs.

use super::Sizes;
use crate::graph::Graph;

/// Initial weight of a task's own tower in the mixture; the other towers share the rest. The paper
/// recommends 0.9 and 0.1.
const OWN: f64 = 0.9;

pub(super) fn graph(sizes: &Sizes<'_>) -> Graph {
    let mut graph = Graph::of_input(sizes.folded);
    let n = sizes.tasks.len();
    let mut ends = vec![0; n];
    let mut inputs = sizes.inputs;
    for (layer, &outputs) in sizes.hidden.iter().enumerate() {
        let shape = (inputs, outputs);
        let towers = sizes.tasks.iter().zip(&ends);
        let towers: Vec<usize> = towers
            .map(|(task, &end)| graph.hidden(format!("{task}.fc_{layer}"), end, shape))
            .collect();
        let others = (1.0 - OWN) / (n - 1).max(1) as f64;
        let initial = |task: usize| {
            let own = if n == 1 { 1.0 } else { OWN };
            (0..n)
                .map(|t| if t == task { own } else { others })
                .collect()
        };
        ends = (0..n)
            .map(|task| graph.stitch(towers.clone(), initial(task)))
            .collect();
        inputs = outputs;
    }
    graph.heads = ends;
    graph
}
