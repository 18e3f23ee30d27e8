//! Hierarchy of multi-gate experts (HoME, Wang et al. 2024, arXiv 2408.05430): experts whose outputs are normalised and have
//! no dead units (Swish), in two levels. On the first, each group of similar tasks has experts, and all tasks share some; the
//! state of a group is a mixture of its own and the shared ones (the hierarchy mask), that of the shared experts of the second
//! level a mixture of all. On the second level each task has experts too, on the state of its group.
//!
//! Each expert scales its inputs by a gate of its own (feature gate), and each mixture adds one of its own experts alone
//! (self gate), so that their gradients do not depend on the common gate.
//!
//! Normalisation is over the units of an expert in a row, where the paper has it over the rows of a batch: a row's score must
//! not depend on other rows.

use super::Sizes;
use crate::graph::Graph;

/// Rank of each of the two low-rank matrices of a feature gate.
pub(super) const RANK: usize = 8;

/// Number of these matrices, which a gate mixes.
pub(super) const MATRICES: usize = 2;

/// A node that experts and gates read, and its logical width.
#[derive(Clone, Copy)]
struct State {
    node: usize,
    inputs: usize,
}

/// Returns the widths of the hidden layers on the first level, in the experts of the second, and of each task.
pub(super) fn levels<T>(hidden: &[T]) -> [&[T]; 3] {
    let (first, rest) = hidden.split_at(hidden.len().min(1));
    let (second, of_task) = rest.split_at(rest.len().saturating_sub(1).max(1).min(rest.len()));
    [first, second, of_task]
}

/// Builds the graph; `groups` has the group of each task, without gaps from 0 on.
pub(super) fn graph(sizes: &Sizes<'_>, groups: &[usize], own: usize, shared: usize) -> Graph {
    let mut graph = Graph::of_input(sizes.folded);
    let graph_of = &mut graph;
    let input = State {
        node: 0,
        inputs: sizes.inputs,
    };
    let [first, second, of_task] = levels(sizes.hidden);
    let n_groups = groups.iter().max().map_or(0, |last| last + 1);
    let meta: Vec<Vec<usize>> = (0..n_groups)
        .map(|g| experts(graph_of, &format!("meta_{g}."), own, input, first))
        .collect();
    let meta_shared = experts(graph_of, "meta.", shared, input, first);
    let width = first.last().copied().unwrap_or(0);
    let of_level = |node: usize| State {
        node,
        inputs: width,
    };
    let states: Vec<State> = (0..n_groups)
        .map(|g| {
            let all = [&meta[g][..], &meta_shared].concat();
            let prefix = format!("meta_{g}.");
            of_level(mixture(graph_of, &prefix, &[input], all, &meta[g]))
        })
        .collect();
    let all = [meta.concat(), meta_shared.clone()].concat();
    let common = of_level(mixture(graph_of, "meta.", &[input], all, &meta_shared));
    let of_groups: Vec<Vec<usize>> = (0..n_groups)
        .map(|g| experts(graph_of, &format!("group_{g}."), own, states[g], second))
        .collect();
    let of_all = experts(graph_of, "shared.", shared, common, second);
    let tasks = sizes.tasks.iter().zip(groups);
    let of_tasks: Vec<Vec<usize>> = tasks
        .map(|(task, &g)| experts(graph_of, &format!("{task}."), own, states[g], second))
        .collect();
    let end = second.last().copied().unwrap_or(width);
    let heads = sizes.tasks.iter().zip(&sizes.owners).map(|(task, &t)| {
        let g = groups[t];
        let all = [&of_tasks[t][..], &of_groups[g], &of_all].concat();
        let prefix = format!("{task}.");
        let mixed = mixture(graph_of, &prefix, &[states[g], common], all, &of_tasks[t]);
        super::stack(graph_of, &prefix, 1 + second.len(), mixed, end, of_task)
    });
    let heads = heads.collect();
    graph.heads = heads;
    graph
}

/// Adds experts: layers with normalisation and Swish, on inputs that a feature gate scales.
fn experts(
    graph: &mut Graph,
    prefix: &str,
    count: usize,
    from: State,
    widths: &[usize],
) -> Vec<usize> {
    let mut expert = |expert: usize| {
        let prefix = format!("{prefix}expert_{expert}.");
        let mut end = feature_gate(graph, &prefix, from);
        for (layer, &outputs) in widths.iter().enumerate() {
            let inputs = graph.width(end);
            let name = format!("{prefix}fc_{layer}");
            let linear = graph.linear(name, end, (inputs, outputs));
            end = graph.normalized_swish(linear);
        }
        end
    };
    (0..count).map(&mut expert).collect()
}

/// Scales each feature by a factor between 0 and 2: `sum_l g_l 2 s(x A_l B_l)` of low-rank matrices, mixed by a softmax gate.
fn feature_gate(graph: &mut Graph, prefix: &str, from: State) -> usize {
    let width = graph.width(from.node);
    let factors = (0..MATRICES).map(|l| {
        let name = |part: &str| format!("{prefix}feature_gate_{l}.{part}");
        let down = graph.linear(name("down"), from.node, (from.inputs, RANK));
        let up = graph.linear(name("up"), down, (RANK, width));
        graph.sigmoid(up, 2.0)
    });
    let factors: Vec<usize> = factors.collect();
    let name = format!("{prefix}feature_gate");
    let gate = graph.linear(name, from.node, (from.inputs, MATRICES));
    let gate = graph.softmax(gate);
    let factors = graph.mix(gate, factors);
    graph.product([from.node, factors])
}

/// Adds a mixture of experts by a softmax gate over the states, and one of the own experts alone by a self gate over the first
/// state.
fn mixture(
    graph: &mut Graph,
    prefix: &str,
    states: &[State],
    all: Vec<usize>,
    own: &[usize],
) -> usize {
    let scores = states.iter().enumerate().map(|(k, state)| {
        let name = format!("{prefix}gate_{k}");
        graph.linear(name, state.node, (state.inputs, all.len()))
    });
    let scores: Vec<usize> = scores.collect();
    let gate = graph.sum(scores);
    let gate = graph.softmax(gate);
    let mixed = graph.mix(gate, all);
    if own.is_empty() {
        return mixed;
    }
    let (name, state) = (format!("{prefix}self_gate"), states[0]);
    let scores = graph.linear(name, state.node, (state.inputs, own.len()));
    // A softmax of one number is 1, whatever it is.
    let gate = match own.len() {
        1 => graph.sigmoid(scores, 1.0),
        _ => graph.softmax(scores),
    };
    let alone = graph.mix(gate, own.to_vec());
    graph.sum(vec![mixed, alone])
}
