//! Multi-task networks, one file for each: the operations of the network.

mod aitm;
mod cross_stitch;
mod dense_size;
pub(crate) mod executor;
mod home;
mod kind;
mod linear;
mod mmoe;
mod ple;
mod shared_bottom;
mod stem;

use crate::graph::Graph;
use crate::interaction::Interaction;
use crate::spec::{LayerUse, Spec};

pub use dense_size::{DenseSize, MOST_NUMBERS};
pub use kind::NetworkKind;

/// The sizes from which a network is built.
struct Sizes<'a> {
    /// Width of the folded input.
    folded: usize,
    /// Width of the logical input.
    inputs: usize,
    /// Shape of the input.
    interaction: Interaction,
    /// Widths of the hidden layers.
    hidden: &'a [usize],
    /// Names of the network's tasks, and of its auxiliary heads after them.
    tasks: Vec<&'a str>,
    /// For each of them, the place of the task to which it belongs: its own, or that of which it is an auxiliary head.
    owners: Vec<usize>,
}

impl Sizes<'_> {
    /// Returns the number of tasks: auxiliary heads come after them.
    fn n_tasks(&self) -> usize {
        let owned = self.owners.iter().enumerate();
        owned.filter(|(head, owner)| head == *owner).count()
    }
}

/// Builds the operations of a network of these tasks.
pub(crate) fn graph(spec: &Spec, tasks: &[usize]) -> Graph {
    let interaction = spec.interaction();
    let names: Vec<_> = tasks.iter().map(|&task| spec.head_name(task)).collect();
    let place = |task: usize| tasks.iter().position(|&other| other == task);
    let owners = tasks
        .iter()
        .map(|&head| place(spec.mask_of(head)).unwrap_or(0));
    let sizes = Sizes {
        folded: interaction.folded_inputs(),
        inputs: interaction.inputs(),
        interaction,
        hidden: &spec.plan.hidden,
        tasks: names.iter().map(|name| &**name).collect(),
        owners: owners.collect(),
    };
    match spec.plan.kind {
        NetworkKind::SparseSharing | NetworkKind::SharedBottom => shared_bottom::graph(&sizes, ""),
        NetworkKind::SingleTask => {
            let prefix = format!("{}.", sizes.tasks[0]);
            shared_bottom::graph(&sizes, &prefix)
        }
        NetworkKind::CrossStitch => cross_stitch::graph(&sizes),
        NetworkKind::Mmoe { experts } => mmoe::graph(&sizes, experts),
        NetworkKind::Ple {
            levels,
            experts,
            shared,
        } => ple::graph(&sizes, levels, experts, shared),
        NetworkKind::Stem { experts, shared } => stem::graph(&sizes, experts, shared),
        NetworkKind::Home { experts, shared } => {
            let groups = spec.plan.heads.groups_of(sizes.n_tasks());
            home::graph(&sizes, &groups, experts, shared)
        }
        NetworkKind::Aitm => aitm::graph(&sizes),
        NetworkKind::Linear => linear::graph(&sizes),
    }
}

/// Adds a stack of hidden layers and returns its last node. `inputs` is the logical width of `from`. The layers are
/// named `PREFIXfc_FIRST` and so on.
fn stack(
    graph: &mut Graph,
    prefix: &str,
    first: usize,
    from: usize,
    inputs: usize,
    hidden: &[usize],
) -> usize {
    let mut end = (from, inputs);
    for (layer, &outputs) in (first..).zip(hidden) {
        let name = format!("{prefix}fc_{layer}");
        end = (graph.hidden(name, end.0, (end.1, outputs)), outputs);
    }
    end.0
}

impl Spec {
    /// Returns every layer of the network but the heads, with the tasks that use it: an expert may serve all
    /// tasks, a gate serves one. In the order of [`crate::DenseLayout::layers`], network by network.
    pub fn layers(&self) -> Vec<LayerUse> {
        let n_tasks = self.tasks.len();
        let of_network = |tasks: Vec<usize>| {
            let graph = graph(self, &tasks);
            let (users, _) = graph.users();
            let layers = graph.names.into_iter().zip(graph.shapes).zip(users);
            let layer = move |((name, (inputs, outputs)), users): ((String, _), u64)| {
                let uses = |(place, _): &(usize, &usize)| users >> place & 1 == 1;
                let tasks = tasks.iter().enumerate().filter(uses);
                let tasks = tasks.filter(|(_, task)| **task < n_tasks);
                LayerUse {
                    name,
                    inputs,
                    outputs,
                    tasks: tasks.map(|(_, &task)| task).collect(),
                }
            };
            layers.map(layer)
        };
        self.networks().into_iter().flat_map(of_network).collect()
    }
}
