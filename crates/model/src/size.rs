//! The size of a network: weights that some task keeps, and multiply-adds for one row.

use crate::graph::{Graph, Op};
use crate::masks::Masks;
use crate::networks;
use crate::spec::Spec;
use crate::units::UnitOwners;

/// The size of a network without its tables.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct NetworkSize {
    /// Number of weights and biases of layers, heads, stitches and attention that some head uses; connections that
    /// every task has pruned do not count.
    pub weights: f64,
    /// Number of multiply-adds to score one row for all tasks, without the
    /// interaction of the field vectors and the attention over events: once for shared layers, and for each task
    /// under its mask.
    pub multiply_adds: f64,
}

/// The connections of a layer that the tasks keep.
#[derive(Clone, Copy, Debug)]
pub enum Kept<'a> {
    /// All connections.
    All,
    /// The connections in these masks.
    By(&'a Masks),
    /// The expectation over independent random masks of these densities, one for each task.
    AtRandom(&'a [f64]),
    /// The same within the units that each task may use.
    Owned(UnitOwners, &'a [f64]),
}

impl Kept<'_> {
    /// Returns the share of a layer's connections that any task keeps.
    fn by_any(&self, layer: usize, shapes: &[(usize, usize)]) -> f64 {
        match self {
            Kept::All => 1.0,
            Kept::Owned(owners, densities) => {
                let (common, own) = shares(*owners, layer, shapes);
                let of_own: f64 = own.iter().zip(*densities).map(|(own, d)| own * d).sum();
                common * Kept::AtRandom(densities).by_any(layer, shapes) + of_own
            }
            Kept::AtRandom(densities) => 1.0 - densities.iter().map(|d| 1.0 - d).product::<f64>(),
            Kept::By(masks) => {
                let n = masks.shapes()[layer];
                let kept =
                    |&position: &usize| masks.tasks.iter().any(|task| task[layer].keeps(position));
                let n = n.0 * n.1;
                (0..n).filter(kept).count() as f64 / n.max(1) as f64
            }
        }
    }

    /// Returns the sum over tasks of the kept shares; 1 if all tasks run the same weights.
    fn by_each(&self, layer: usize, shapes: &[(usize, usize)]) -> f64 {
        match self {
            Kept::All => 1.0,
            Kept::Owned(owners, densities) => {
                let (common, own) = shares(*owners, layer, shapes);
                let pairs = own.iter().zip(*densities);
                pairs.map(|(own, d)| (common + own) * d).sum()
            }
            Kept::AtRandom(densities) => densities.iter().sum(),
            Kept::By(masks) => {
                let share = |task: &crate::TaskMask| {
                    task[layer].n_kept() as f64 / task[layer].len().max(1) as f64
                };
                masks.tasks.iter().map(share).sum()
            }
        }
    }
}

impl Kept<'_> {
    /// Returns the number of units of the last layer, of `width` units, that a head reads.
    fn of_head(&self, head: usize, width: usize) -> usize {
        let owners = match self {
            Kept::By(masks) => masks.owners,
            Kept::Owned(owners, _) => Some(*owners),
            Kept::All | Kept::AtRandom(_) => None,
        };
        owners.map_or(width, |owners| {
            owners.n_usable(width, head.min(owners.n_tasks() - 1))
        })
    }
}

/// Returns the share of a layer's connections into common units, and the share into each task's own units.
fn shares(owners: UnitOwners, layer: usize, shapes: &[(usize, usize)]) -> (f64, Vec<f64>) {
    let all = (shapes[layer].0 * shapes[layer].1).max(1) as f64;
    let common = match layer {
        0 => shapes[0].0 * owners.n_common(shapes[0].1),
        _ => owners.n_common(shapes[layer].0) * owners.n_common(shapes[layer].1),
    };
    let own = |task: usize| {
        let (inputs, outputs) = shapes[layer];
        let read = match layer {
            0 => inputs,
            _ => owners.n_usable(inputs, task),
        };
        let units = owners.n_usable(outputs, task) - owners.n_common(outputs);
        (read * units) as f64 / all
    };
    let own = (0..owners.n_tasks()).map(own).collect();
    (common as f64 / all, own)
}

impl NetworkSize {
    /// Returns the size of the network of `spec`. Masks apply to sparse sharing only.
    pub fn of(spec: &Spec, kept: Kept<'_>) -> NetworkSize {
        let is_masked = spec.plan.kind.has_masks();
        let kept = if is_masked { kept } else { Kept::All };
        let mut size = NetworkSize::default();
        for tasks in spec.networks() {
            let graph = networks::graph(spec, &tasks);
            let is_task = |place: &usize| tasks[*place] < spec.tasks.len();
            let heads: Vec<usize> = (0..tasks.len()).filter(is_task).collect();
            size.weights += weights(&graph, kept) + spec.n_attention_parameters();
            size.multiply_adds += multiply_adds(&graph, &heads, kept);
        }
        size
    }
}

fn weights(graph: &Graph, kept: Kept<'_>) -> f64 {
    let (used, _) = graph.users();
    let layer = |(l, &(inputs, outputs)): (usize, &(usize, usize))| match used[l] {
        0 => 0.0,
        _ => kept.by_any(l, &graph.shapes) * inputs as f64 * outputs as f64 + outputs as f64,
    };
    let layers: f64 = graph.shapes.iter().enumerate().map(layer).sum();
    let heads = graph.heads.iter().enumerate();
    let heads = heads.map(|(head, &node)| kept.of_head(head, graph.nodes[node].width) + 1);
    let stitches = graph.stitches.iter().map(Vec::len);
    layers + heads.chain(stitches).sum::<usize>() as f64
}

fn multiply_adds(graph: &Graph, heads: &[usize], kept: Kept<'_>) -> f64 {
    let live = graph.live(heads);
    let of_node = |n: usize| {
        let node = &graph.nodes[n];
        let product = |parts: usize| (parts * node.width) as f64;
        match &node.op {
            Op::Input
            | Op::Softmax { .. }
            | Op::Gather { .. }
            | Op::Detach { .. }
            | Op::Sigmoid { .. } => 0.0,
            Op::Product { .. } => product(1),
            Op::Sum { parts } => product(parts.len()),
            Op::NormalizedSwish { .. } => product(4),
            Op::Layer { layer, .. } => {
                let (inputs, outputs) = graph.shapes[*layer];
                kept.by_each(*layer, &graph.shapes) * inputs as f64 * outputs as f64
            }
            Op::Mix { parts, .. } | Op::Stitch { parts, .. } => product(parts.len()),
            Op::Scores { pairs, .. } => {
                let widths = pairs.iter().map(|&(a, _)| graph.nodes[a].width);
                widths.sum::<usize>() as f64
            }
        }
    };
    let nodes = (0..graph.nodes.len()).filter(|&n| live[n]).map(of_node);
    let heads = heads
        .iter()
        .map(|&head| graph.nodes[graph.heads[head]].width);
    nodes.sum::<f64>() + heads.sum::<usize>() as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CounterRng, FieldSpec, Gram, Heads, NetworkKind, NetworkPlan, TableSpec, masks};

    fn spec(kind: NetworkKind) -> Spec {
        let field = FieldSpec {
            table: 0,
            pooling: None,
            pieces: None,
            vector: None,
        };
        Spec {
            fields: vec![field; 5],
            tables: vec![TableSpec {
                name: "word".to_owned(),
                rows: 10,
                unknown: None,
            }],
            tasks: vec!["ctr".to_owned(), "cvr".to_owned()],
            links: Vec::new(),
            plan: NetworkPlan {
                kind,
                dim: 2,
                hidden: vec![8, 4],
                gram: Gram::None,
                dropout: 0.0,
                table_deviation: None,
                heads: Heads::default(),
            },
        }
    }

    #[track_caller]
    fn check(kind: NetworkKind, weights: usize, multiply_adds: usize) {
        let size = NetworkSize::of(&spec(kind), Kept::All);
        assert_eq!(size.weights, weights as f64);
        assert_eq!(size.multiply_adds, multiply_adds as f64);
    }

    #[test]
    fn sizes_are_those_counted_by_hand() {
        // 10 inputs, layers 8 and 4: 80 + 32 connections, 12 biases; a head has 4 + 1.
        check(NetworkKind::SharedBottom, 124 + 10, 112 + 8);
        check(NetworkKind::SingleTask, 2 * (124 + 5), 2 * (112 + 4));
        // Two experts 10 x 8; for each task a gate 10 x 2 and a tower 8 x 4.
        let mmoe = NetworkKind::Mmoe { experts: 2 };
        check(
            mmoe,
            2 * 88 + 2 * 22 + 2 * 36 + 10,
            2 * 80 + 2 * 20 + 2 * 16 + 2 * 32 + 8,
        );
    }

    #[test]
    fn masks_count_kept_connections() {
        let spec = spec(NetworkKind::SparseSharing);
        let shapes = spec.layer_shapes();
        let mask = |t| masks::random(&shapes, 0.25, CounterRng::new(t, "mask"));
        let same = Masks {
            tasks: vec![mask(1), mask(1)],
            owners: None,
        };
        let size = NetworkSize::of(&spec, Kept::By(&same));
        assert_eq!(size.weights, (28 + 12 + 10) as f64);
        assert_eq!(size.multiply_adds, (2 * 28 + 8) as f64);
        let expected = NetworkSize::of(&spec, Kept::AtRandom(&[0.5, 0.5]));
        assert_eq!(expected.weights, 0.75 * 112.0 + 22.0);
        assert_eq!(expected.multiply_adds, 112.0 + 8.0);
    }

    #[test]
    fn owned_units_are_counted_once() {
        let spec = spec(NetworkKind::SparseSharing);
        let shapes = spec.layer_shapes();
        // Each task owns half of each layer: 10 x 4 and 4 x 2 twice, and a head reads two units.
        let owners = UnitOwners::new(0.0, 2).unwrap();
        let masks = Masks {
            tasks: [0, 1].map(|task| owners.allowed(&shapes, task)).into(),
            owners: Some(owners),
        };
        for kept in [Kept::By(&masks), Kept::Owned(owners, &[1.0, 1.0])] {
            let size = NetworkSize::of(&spec, kept);
            assert_eq!(size.weights, (80 + 16 + 12 + 6) as f64);
            assert_eq!(size.multiply_adds, (80 + 16 + 8) as f64);
        }
        let half = NetworkSize::of(&spec, Kept::Owned(owners, &[0.5, 0.5]));
        assert_eq!(half.weights, (48 + 12 + 6) as f64);
    }
}
