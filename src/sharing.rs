//! What the tasks of a model share, layer by layer: for `ncs inspect` and for the report.

use ncs_eval::{LayerSharing, Overlap, layer_sharing, mask_overlap};
use ncs_model::{Mask, Masks, NetworkKind, Spec, TaskMask};

/// The connections of every hidden layer by the tasks that keep them, input side first.
///
/// Without masks, all tasks keep every connection of a common network, and each task those of its
/// own network, whose layers are named `TASK.fc_0` and so on.
pub fn layers(spec: &Spec, masks: Option<&Masks>) -> Vec<LayerSharing> {
    let shapes = || spec.layer_shapes().into_iter().enumerate();
    if let Some(masks) = masks {
        return shapes()
            .map(|(layer, shape)| masked(layer, shape, masks))
            .collect();
    }
    let n_tasks = spec.tasks.len();
    let of_tower = |tasks: &Vec<usize>| match (spec.plan.kind, tasks[..].first()) {
        (NetworkKind::SingleTask, Some(&task)) => shapes()
            .map(|(layer, shape)| {
                let name = format!("{}.{}", spec.tasks[task], layer_name(layer));
                whole(name, shape, n_tasks, Some(task))
            })
            .collect::<Vec<_>>(),
        _ => shapes()
            .map(|(layer, shape)| {
                let only = (n_tasks == 1).then_some(0);
                whole(layer_name(layer), shape, n_tasks, only)
            })
            .collect(),
    };
    spec.towers().iter().flat_map(of_tower).collect()
}

/// The share of the connections that each task keeps, in the order of the tasks.
pub fn densities(spec: &Spec, masks: Option<&Masks>) -> Vec<f64> {
    match masks {
        Some(masks) => masks
            .tasks
            .iter()
            .map(|m| ncs_model::masks::density(m))
            .collect(),
        None => vec![1.0; spec.tasks.len()],
    }
}

/// How alike the masks of two tasks are over all layers together.
#[derive(Clone, Debug, PartialEq)]
pub struct PairOverlap {
    /// Names of the two tasks.
    pub tasks: [String; 2],
    /// Their overlap, beside that of random masks.
    pub overlap: Overlap,
}

/// Every pair of tasks; a pair of which neither keeps anything is left out.
pub fn overlaps(spec: &Spec, masks: &Masks) -> Vec<PairOverlap> {
    let all: Vec<Vec<bool>> = masks.tasks.iter().map(connections).collect();
    let n_tasks = all.len();
    let pairs = (0..n_tasks).flat_map(|a| (a + 1..n_tasks).map(move |b| (a, b)));
    let overlap = |(a, b): (usize, usize)| {
        Some(PairOverlap {
            tasks: [spec.tasks[a].clone(), spec.tasks[b].clone()],
            overlap: mask_overlap(&all[a], &all[b])?,
        })
    };
    pairs.filter_map(overlap).collect()
}

fn connections(mask: &TaskMask) -> Vec<bool> {
    mask.iter().flat_map(Mask::to_bools).collect()
}

fn masked(layer: usize, (inputs, outputs): (usize, usize), masks: &Masks) -> LayerSharing {
    let kept: Vec<Vec<bool>> = masks
        .tasks
        .iter()
        .map(|mask| mask[layer].to_bools())
        .collect();
    let kept: Vec<&[bool]> = kept.iter().map(Vec::as_slice).collect();
    layer_sharing(&layer_name(layer), inputs, outputs, &kept)
}

/// A layer of which nothing is pruned: of one task only, or shared.
fn whole(
    name: String,
    (inputs, outputs): (usize, usize),
    n_tasks: usize,
    owner: Option<usize>,
) -> LayerSharing {
    let connections = (inputs * outputs) as u64;
    let of_task = |task| if owner == Some(task) { connections } else { 0 };
    LayerSharing {
        name,
        inputs,
        outputs,
        shared: if owner.is_none() { connections } else { 0 },
        only: (0..n_tasks).map(of_task).collect(),
        pruned: 0,
    }
}

fn layer_name(layer: usize) -> String {
    format!("fc_{layer}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use ncs_model::{FieldSpec, Gram, NetworkPlan, TableSpec};

    fn spec(kind: NetworkKind) -> Spec {
        let field = FieldSpec {
            table: 0,
            pooling: None,
        };
        Spec {
            fields: vec![field; 2],
            tables: vec![TableSpec {
                name: "word".to_owned(),
                rows: 10,
            }],
            tasks: vec!["ctr".to_owned(), "cvr".to_owned()],
            plan: NetworkPlan {
                kind,
                dim: 1,
                hidden: vec![2, 1],
                gram: Gram::None,
                dropout: 0.0,
                table_deviation: None,
                heads: ncs_model::Heads::default(),
            },
        }
    }

    #[track_caller]
    fn check(found: &[LayerSharing], expected: &[(&str, u64, [u64; 2], u64)]) {
        let row = |layer: &LayerSharing| {
            (
                layer.name.clone(),
                layer.shared,
                layer.only.clone(),
                layer.pruned,
            )
        };
        let found: Vec<_> = found.iter().map(row).collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|(name, shared, only, pruned)| {
                ((*name).to_owned(), *shared, only.to_vec(), *pruned)
            })
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn without_masks_the_network_says_who_keeps_what() {
        check(
            &layers(&spec(NetworkKind::SharedBottom), None),
            &[("fc_0", 4, [0, 0], 0), ("fc_1", 2, [0, 0], 0)],
        );
        check(
            &layers(&spec(NetworkKind::SingleTask), None),
            &[
                ("ctr.fc_0", 0, [4, 0], 0),
                ("ctr.fc_1", 0, [2, 0], 0),
                ("cvr.fc_0", 0, [0, 4], 0),
                ("cvr.fc_1", 0, [0, 2], 0),
            ],
        );
    }

    #[test]
    fn masks_say_who_keeps_what() {
        let spec = spec(NetworkKind::SparseSharing);
        let first = |n: usize| {
            let shapes = spec.layer_shapes().into_iter();
            shapes
                .map(|(i, o)| Mask::from_fn(i, o, |p| p < n))
                .collect()
        };
        let masks = Masks {
            tasks: vec![first(1), first(3)],
        };
        let expected = [("fc_0", 1, [0, 2], 1), ("fc_1", 1, [0, 1], 0)];
        check(&layers(&spec, Some(&masks)), &expected);
        assert_eq!(densities(&spec, Some(&masks)), [2.0 / 6.0, 5.0 / 6.0]);
        let [pair] = &overlaps(&spec, &masks)[..] else {
            panic!("one pair of two tasks");
        };
        assert_eq!(pair.overlap.overlap, 2.0 / 5.0);
    }
}
