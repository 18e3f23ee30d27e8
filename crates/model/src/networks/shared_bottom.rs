//! Shared bottom (Caruana 1997): all hidden layers are shared, each task has its
//! own head. The same graph serves sparse sharing, with a mask for each task, and single-task training, with a network
//! for each task.

use super::Sizes;
use crate::graph::Graph;

/// Builds the graph; the names of its layers begin with `prefix`.
pub(super) fn graph(sizes: &Sizes<'_>, prefix: &str) -> Graph {
    let mut graph = Graph::of_input(sizes.folded);
    let end = super::stack(&mut graph, prefix, 0, 0, sizes.inputs, sizes.hidden);
    graph.heads = vec![end; sizes.tasks.len()];
    graph
}
