//! The size of a network's layers, computed from its plan alone: nothing overflows and nothing
//! is allocated, however large the sizes in a run file.

use super::{NetworkKind, home};
use crate::logit_transfer::TakenLogit;
use crate::plan::{Gram, NetworkPlan};

/// The size of the layers, heads and mixtures of one network. Counts are `f64`, so that extreme sizes do not
/// overflow; they are exact up to 2^53.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DenseSize {
    /// Number of weights and biases.
    pub numbers: f64,
    /// Number of layers.
    pub layers: f64,
    /// Number of outputs of all operations, for one row.
    pub outputs: f64,
    /// Width of the folded input.
    pub inputs: f64,
    /// Number of weights of the layers that masks can prune.
    pub maskable: f64,
}

/// Maximum number of parameters in the layers of a network: positions are 32-bit numbers.
pub const MOST_NUMBERS: f64 = u32::MAX as f64 - 1.0;

impl DenseSize {
    /// Returns the size of one network, for `n_fields` fields with vectors, `n_numbers` direct inputs and
    /// `n_tasks` tasks of the run.
    pub fn of(plan: &NetworkPlan, n_fields: usize, n_numbers: usize, n_tasks: usize) -> DenseSize {
        let heads = match plan.kind {
            NetworkKind::SingleTask => 1.0,
            _ => (n_tasks + plan.heads.auxiliary().count()) as f64,
        };
        let (inputs, folded) = inputs(plan, n_fields as f64, n_numbers as f64);
        let mut count = Count {
            heads,
            size: DenseSize {
                inputs: folded,
                ..DenseSize::default()
            },
        };
        let hidden: Vec<f64> = plan.hidden.iter().map(|&width| width as f64).collect();
        let last = match plan.kind {
            NetworkKind::Linear => 1.0,
            _ => hidden.last().copied().unwrap_or(inputs),
        };
        match plan.kind {
            NetworkKind::SparseSharing | NetworkKind::SharedBottom | NetworkKind::SingleTask => {
                count.stack(1.0, inputs, &hidden);
                count.size.maskable = count.size.numbers - count.size.outputs;
            }
            NetworkKind::Linear => count.layer(heads, inputs, 1.0),
            NetworkKind::CrossStitch => {
                count.stack(heads, inputs, &hidden);
                count.size.numbers += hidden.len() as f64 * heads * heads;
                count.size.outputs *= 2.0;
            }
            NetworkKind::Mmoe { experts } => count.mmoe(inputs, &hidden, experts as f64),
            NetworkKind::Ple {
                levels,
                experts,
                shared,
            } => count.ple(inputs, &hidden, levels, [experts as f64, shared as f64]),
            NetworkKind::Stem { experts, shared } => {
                let parts = plan.kind.vector_parts(n_tasks);
                let part = n_fields as f64 * (plan.dim / parts) as f64 + n_numbers as f64;
                let sizes = [n_tasks, experts, shared].map(|n| n as f64);
                count.stem(part, &hidden, sizes);
            }
            NetworkKind::Home { experts, shared } => {
                let groups = plan.heads.groups_of(n_tasks.min(MOST_TASKS));
                let n_groups = groups.iter().max().map_or(0, |last| last + 1);
                let sizes = [n_groups, n_tasks, experts, shared].map(|n| n as f64);
                count.home([inputs, folded], &hidden, sizes);
            }
            NetworkKind::Aitm => {
                count.stack(heads, inputs, &hidden);
                let after_first = (heads - 1.0).max(0.0);
                // Transfer, values, keys and queries; the last three run twice. Scores and weights are pairs.
                count.layer(4.0 * after_first, last, last);
                count.size.outputs += after_first * (4.0 * last + 4.0);
            }
        }
        count.size.numbers += heads * (last + 1.0);
        if plan.heads.takes.is_some() && plan.kind != NetworkKind::SingleTask {
            count.size.numbers += TakenLogit::NUMBERS as f64;
        }
        count.size
    }
}

/// More tasks than a network can have: each has one bit of a 64-bit set.
const MOST_TASKS: usize = 65;

/// Returns the logical and the folded width of the input.
fn inputs(plan: &NetworkPlan, fields: f64, numbers: f64) -> (f64, f64) {
    let triangle = fields * (fields + 1.0) / 2.0;
    let beside = fields * plan.dim as f64 + numbers;
    match plan.gram {
        Gram::Full => (fields * fields + beside, triangle + beside),
        Gram::Triangle => (triangle + beside, triangle + beside),
        Gram::None => (beside, beside),
    }
}

/// Adds up the size of a network.
struct Count {
    heads: f64,
    size: DenseSize,
}

impl Count {
    /// Adds `times` layers of these sizes.
    fn layer(&mut self, times: f64, inputs: f64, outputs: f64) {
        self.size.numbers += times * (inputs * outputs + outputs);
        self.size.outputs += times * outputs;
        self.size.layers += times;
    }

    /// Adds `times` stacks of these layers.
    fn stack(&mut self, times: f64, mut inputs: f64, hidden: &[f64]) {
        for &outputs in hidden {
            self.layer(times, inputs, outputs);
            inputs = outputs;
        }
    }

    /// Adds `times` gates of `parts` parts, with their mixtures.
    fn gate(&mut self, times: f64, inputs: f64, parts: f64, width: f64) {
        self.layer(times, inputs, parts);
        self.size.outputs += times * (parts + width);
    }

    fn mmoe(&mut self, inputs: f64, hidden: &[f64], experts: f64) {
        let n_shared = hidden.len().saturating_sub(1).max(1).min(hidden.len());
        let (of_expert, of_task) = hidden.split_at(n_shared);
        let width = of_expert.last().copied().unwrap_or(inputs);
        self.stack(experts, inputs, of_expert);
        self.gate(self.heads, inputs, experts, width);
        self.stack(self.heads, width, of_task);
    }

    /// `inputs` is the width of one part of the input.
    fn stem(&mut self, inputs: f64, hidden: &[f64], [tasks, own, shared]: [f64; 3]) {
        let n_shared = hidden.len().saturating_sub(1).max(1).min(hidden.len());
        let (of_expert, of_task) = hidden.split_at(n_shared);
        let width = of_expert.last().copied().unwrap_or(inputs);
        let (of_tasks, all) = (tasks * own, tasks * own + shared);
        self.stack(all, inputs, of_expert);
        // Parts of the input for experts and for gates, and copies of the experts that other tasks read.
        let some = |n: f64| f64::from(u8::from(n > 0.0));
        let parts = tasks * some(own) + self.heads + some(shared);
        self.size.outputs += parts * inputs + of_tasks * width;
        self.gate(self.heads, inputs, all, width);
        self.stack(self.heads, width, of_task);
    }

    /// Adds the network of `networks/home.rs`.
    fn home(
        &mut self,
        [inputs, folded]: [f64; 2],
        hidden: &[f64],
        [groups, tasks, own, shared]: [f64; 4],
    ) {
        let [first, second, of_task] = home::levels(hidden);
        let width = first.last().copied().unwrap_or(0.0);
        let end = second.last().copied().unwrap_or(width);
        self.normalized_experts(groups * own + shared, inputs, folded, first);
        self.gate(groups, inputs, own + shared, width);
        self.self_gate(groups, inputs, own, width);
        self.gate(1.0, inputs, groups * own + shared, width);
        self.self_gate(1.0, inputs, shared, width);
        self.normalized_experts((groups + tasks) * own + shared, width, width, second);
        // The gate of a task adds scores from two states.
        let all = 2.0 * own + shared;
        self.gate(self.heads, width, all, end);
        self.layer(self.heads, width, all);
        self.size.outputs += self.heads * all;
        self.self_gate(self.heads, width, own, end);
        self.stack(self.heads, end, of_task);
    }

    /// Adds `times` experts of the network of `networks/home.rs`, with their feature gates.
    fn normalized_experts(&mut self, times: f64, inputs: f64, folded: f64, widths: &[f64]) {
        let (rank, matrices) = (home::RANK as f64, home::MATRICES as f64);
        self.layer(matrices * times, inputs, rank);
        self.layer(matrices * times, rank, folded);
        self.layer(times, inputs, matrices);
        // Their sigmoids, the softmax, the mixture and the product.
        self.size.outputs += times * (matrices * folded + matrices + 2.0 * folded);
        let mut from = folded;
        for &width in widths {
            self.layer(times, from, width);
            self.size.numbers += times * 2.0 * width;
            self.size.outputs += times * width;
            from = width;
        }
    }

    /// Adds `times` self gates over `own` experts, with the sum that they are part of; none without experts.
    fn self_gate(&mut self, times: f64, inputs: f64, own: f64, width: f64) {
        if own > 0.0 {
            self.gate(times, inputs, own, width);
            self.size.outputs += times * width;
        }
    }

    fn ple(&mut self, mut inputs: f64, hidden: &[f64], levels: usize, [own, shared]: [f64; 2]) {
        let levels = levels.min(hidden.len());
        let (of_levels, of_task) = hidden.split_at(levels);
        let all = self.heads * own + shared;
        for (level, &outputs) in of_levels.iter().enumerate() {
            self.layer(all, inputs, outputs);
            self.gate(self.heads, inputs, own + shared, outputs);
            if level + 1 < levels {
                self.gate(1.0, inputs, all, outputs);
            }
            inputs = outputs;
        }
        self.stack(self.heads, inputs, of_task);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FieldSpec, Heads, Spec, network::Network, networks};
    use proptest::prelude::*;

    fn kind() -> impl Strategy<Value = NetworkKind> {
        prop_oneof![
            Just(NetworkKind::SparseSharing),
            Just(NetworkKind::SingleTask),
            Just(NetworkKind::SharedBottom),
            Just(NetworkKind::CrossStitch),
            Just(NetworkKind::Aitm),
            Just(NetworkKind::Linear),
            (1usize..4).prop_map(|experts| NetworkKind::Mmoe { experts }),
            (0usize..3, 1usize..3)
                .prop_map(|(experts, shared)| NetworkKind::Stem { experts, shared }),
            (0usize..3, 1usize..3)
                .prop_map(|(experts, shared)| NetworkKind::Home { experts, shared }),
            (1usize..4, 0usize..3, 1usize..3).prop_map(|(levels, experts, shared)| {
                NetworkKind::Ple {
                    levels,
                    experts,
                    shared,
                }
            }),
        ]
    }

    fn plan(kind: NetworkKind, dim: usize, hidden: Vec<usize>) -> NetworkPlan {
        NetworkPlan {
            kind,
            dim,
            hidden,
            gram: Gram::Full,
            dropout: 0.0,
            table_deviation: None,
            heads: Heads::default(),
        }
    }

    proptest! {
        #[test]
        fn sizes_match_the_network(
            kind in kind(),
            gram in prop_oneof![Just(Gram::Full), Just(Gram::Triangle), Just(Gram::None)],
            dim in 1usize..5,
            hidden in prop::collection::vec(1usize..7, 1..4),
            n_fields in 1usize..5,
            pieces in prop::option::of(1usize..4),
            n_tasks in 1usize..4,
            has_auxiliary_head: bool,
            n_late in 0usize..3,
            takes: bool,
            of_one_group: bool,
        ) {
            let mut plan = plan(kind, dim, hidden);
            plan.gram = gram;
            plan.heads.auxiliary_head_of = has_auxiliary_head.then_some(0);
            plan.heads.late = vec![0; n_late];
            plan.heads.groups = vec![0; if of_one_group { n_tasks } else { 0 }];
            plan.heads.takes = (takes && n_tasks > 1).then_some([0, 1]);
            let field = FieldSpec { table: 0, pooling: None, pieces: None, vector: None };
            let mut fields = vec![field; n_fields];
            fields.extend(pieces.map(|pieces| FieldSpec { pieces: Some(pieces), ..field }));
            let n_numbers = fields.iter().map(FieldSpec::n_numbers).sum();
            let spec = Spec {
                fields,
                tables: vec![],
                tasks: (0..n_tasks).map(|task| task.to_string()).collect(),
                links: Vec::new(),
                plan: plan.clone(),
            };
            let size = DenseSize::of(&plan, n_fields, n_numbers, n_tasks);
            let tasks = &spec.networks()[0];
            let graph = networks::graph(&spec, tasks);
            prop_assert_eq!(size.numbers, Network::<f32>::n_dense(&spec, tasks) as f64);
            prop_assert_eq!(size.layers, graph.shapes.len() as f64);
            prop_assert_eq!(size.inputs, spec.interaction().folded_inputs() as f64);
            let outputs: usize = graph.nodes[1..].iter().map(|node| node.width).sum();
            prop_assert_eq!(size.outputs, outputs as f64);
            let masks: usize = spec.layer_shapes().iter().map(|(inputs, outputs)| inputs * outputs).sum();
            if matches!(kind, NetworkKind::SparseSharing) {
                prop_assert_eq!(size.maskable, masks as f64);
            }
        }
    }

    #[test]
    fn extreme_sizes_do_not_overflow() {
        let most = usize::MAX;
        for kind in [
            NetworkKind::SharedBottom,
            NetworkKind::CrossStitch,
            NetworkKind::Mmoe { experts: most },
            NetworkKind::Ple {
                levels: most,
                experts: most,
                shared: most,
            },
            NetworkKind::Aitm,
            NetworkKind::Linear,
        ] {
            let size = DenseSize::of(&plan(kind, most, vec![most; 50]), most, most, most);
            assert!(
                size.numbers > MOST_NUMBERS && !size.numbers.is_nan(),
                "{kind:?}"
            );
        }
    }
}
