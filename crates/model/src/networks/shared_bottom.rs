//! The classic of multi-task learning (Caruana 1997): all hidden layers are shared, each task has its
//! own head. Under a mask for each task it is sparse sharing; with a network for each task nothing is
//! shared.

use super::Sizes;
use crate::graph::Graph;

/// The names of the layers begin with `whose`.
pub(super) fn graph(sizes: &Sizes<'_>, whose: &str) -> Graph {
    let mut graph = Graph::of_input(sizes.folded);
    let end = super::stack(&mut graph, whose, 0, 0, sizes.inputs, sizes.hidden);
    graph.heads = vec![end; sizes.tasks.len()];
    graph
}
