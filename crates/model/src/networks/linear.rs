//! Linear models of the input, one for each task: logistic regression on the field vectors and numbers; with the Gram
//! matrix a factorisation machine (Rendle 2010), whose products have a weight for each pair of fields, as in the
//! field-weighted one (Pan et al. 2018, arXiv 1806.03377).

use super::Sizes;
use crate::graph::Graph;

/// Builds the graph: a layer of one output for each task.
pub(super) fn graph(sizes: &Sizes<'_>) -> Graph {
    let mut graph = Graph::of_input(sizes.folded);
    let sum = |task: &&str| graph.linear(format!("{task}.linear"), 0, (sizes.inputs, 1));
    let heads = sizes.tasks.iter().map(sum).collect();
    graph.heads = heads;
    graph
}
