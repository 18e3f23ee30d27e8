//! Sharing between the tasks of a model by layer, for `ncs inspect` and the report.

use ncs_eval::{LayerSharing, PairOverlap, layer_sharing, mask_overlap};
use ncs_features::Schema;
use ncs_model::artifact::Artifact;
use ncs_model::{Agreement, LayerUse, Mask, Masks, Spec, TaskMask, UnitOwners};

/// Counts the connections of every layer by the tasks that keep them, input side first.
///
/// Without masks, the tasks whose predictions depend on a layer keep all of it.
pub fn layers(spec: &Spec, masks: Option<&Masks>) -> Vec<LayerSharing> {
    let layers = spec.layers().into_iter().enumerate();
    let sharing = |(number, layer): (usize, LayerUse)| match masks {
        Some(masks) => masked(number, &layer, masks),
        None => whole(layer, spec.tasks.len()),
    };
    layers.map(sharing).collect()
}

/// Describes the share of another task's logit that a task adds to its own; `None` if no task does.
pub fn taken(artifact: &Artifact) -> Option<String> {
    let ([from, to], taken) = artifact.taken()?;
    let error = taken.error().map_or(String::new(), |error| {
        format!(" (standard error {error:.3}, given the network)")
    });
    let names = &artifact.spec.tasks;
    Some(format!(
        "{} adds {:.3}{error} times the logit of {}, less its mean of {:.3}",
        names[to], taken.kappa, names[from], taken.mean
    ))
}

/// Describes the measured gradient agreement of each pair of tasks; empty if it was not measured.
pub fn agreements(artifact: &Artifact) -> Vec<String> {
    let names = &artifact.spec.tasks;
    let in_words = |pair: &Agreement| pair.in_words(pair.tasks.map(|task| &names[task][..]));
    artifact.agreements.iter().map(in_words).collect()
}

/// Returns the share of the connections that each task keeps, in the order of the tasks.
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

/// Returns the overlap of every pair of tasks, without pairs of which neither keeps anything.
pub fn overlaps(spec: &Spec, masks: &Masks) -> Vec<PairOverlap> {
    let all: Vec<Vec<bool>> = masks.tasks.iter().map(connections).collect();
    pairs(spec, &all)
}

/// Returns the same layer by layer, input side first, with the name of each layer.
pub fn overlaps_by_layer(spec: &Spec, masks: &Masks) -> Vec<(String, Vec<PairOverlap>)> {
    let of_layer = |(number, layer): (usize, LayerUse)| {
        let of_task = |mask: &TaskMask| mask[number].to_bools();
        let kept: Vec<Vec<bool>> = masks.tasks.iter().map(of_task).collect();
        (layer.name, pairs(spec, &kept))
    };
    let layers = spec.layers().into_iter().enumerate();
    layers.map(of_layer).collect()
}

/// Returns the overlap of every pair of tasks that keep these connections.
fn pairs(spec: &Spec, kept: &[Vec<bool>]) -> Vec<PairOverlap> {
    let n_tasks = kept.len();
    let pairs = (0..n_tasks).flat_map(|a| (a + 1..n_tasks).map(move |b| (a, b)));
    let overlap = |(a, b): (usize, usize)| {
        Some(PairOverlap {
            tasks: [spec.tasks[a].clone(), spec.tasks[b].clone()],
            overlap: mask_overlap(&kept[a], &kept[b])?,
        })
    };
    pairs.filter_map(overlap).collect()
}

/// Connections of one input of the first layer that the tasks keep.
#[derive(Clone, Debug, PartialEq)]
pub struct InputUse {
    /// Name of the field; the products of a Gram matrix share one entry.
    pub name: String,
    /// Share of its first-layer connections that each task keeps.
    pub densities: Vec<f64>,
    /// Share that all tasks keep.
    pub shared: f64,
}

/// Returns the inputs of the first layer: the fields in the order of the schema, then the products.
pub fn inputs(schema: &Schema, spec: &Spec, masks: &Masks) -> Vec<InputUse> {
    let (groups, n_fields) = (spec.input_groups(), spec.fields.len());
    let (_, units) = spec.layer_shapes()[0];
    let use_of = |name: String, is_of: &dyn Fn(usize) -> bool| {
        let inputs = groups.iter().enumerate();
        let of_input = inputs.filter(|&(_, &group)| is_of(group));
        let positions: Vec<usize> = of_input
            .flat_map(|(input, _)| input * units..(input + 1) * units)
            .collect();
        let share = |keeps: &dyn Fn(usize) -> bool| {
            let n = positions
                .iter()
                .filter(|&&position| keeps(position))
                .count();
            n as f64 / positions.len() as f64
        };
        let density = |mask: &TaskMask| share(&|position| mask[0].keeps(position));
        InputUse {
            name,
            densities: masks.tasks.iter().map(density).collect(),
            shared: share(&|position| masks.tasks.iter().all(|mask| mask[0].keeps(position))),
        }
    };
    let fields = schema.fields.iter().enumerate();
    let mut uses: Vec<InputUse> = fields
        .map(|(number, field)| use_of(field.name.clone(), &|group| group == number))
        .collect();
    if groups.iter().any(|&group| group >= n_fields) {
        uses.push(use_of("products of two".to_owned(), &|group| {
            group >= n_fields
        }));
    }
    uses
}

fn connections(mask: &TaskMask) -> Vec<bool> {
    mask.iter().flat_map(Mask::to_bools).collect()
}

fn masked(number: usize, layer: &LayerUse, masks: &Masks) -> LayerSharing {
    let kept = masks.tasks.iter().map(|mask| mask[number].to_bools());
    let kept: Vec<Vec<bool>> = kept.collect();
    let kept: Vec<&[bool]> = kept.iter().map(Vec::as_slice).collect();
    let own_units = |owners: UnitOwners| {
        let own = |task| owners.n_usable(layer.outputs, task) - owners.n_common(layer.outputs);
        (0..owners.n_tasks()).map(own).collect()
    };
    LayerSharing {
        own_units: masks.owners.map_or(Vec::new(), own_units),
        ..layer_sharing(&layer.name, layer.inputs, layer.outputs, &kept)
    }
}

/// Returns a layer without masks: kept by one task only, or shared.
fn whole(layer: LayerUse, n_tasks: usize) -> LayerSharing {
    let connections = (layer.inputs * layer.outputs) as u64;
    let count = |is_kept: bool| if is_kept { connections } else { 0 };
    LayerSharing {
        shared: count(layer.tasks.len() > 1),
        by_all: (n_tasks > 2).then(|| count(layer.tasks.len() == n_tasks)),
        only: (0..n_tasks)
            .map(|task| count(layer.tasks == [task]))
            .collect(),
        pruned: count(layer.tasks.is_empty()),
        name: layer.name,
        inputs: layer.inputs,
        outputs: layer.outputs,
        own_units: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ncs_model::{FieldSpec, Gram, NetworkKind, NetworkPlan, TableSpec};

    fn spec(kind: NetworkKind) -> Spec {
        let field = FieldSpec {
            table: 0,
            pooling: None,
            pieces: None,
            vector: None,
        };
        Spec {
            fields: vec![field; 2],
            tables: vec![TableSpec {
                name: "word".to_owned(),
                rows: 10,
                unknown: None,
            }],
            tasks: vec!["ctr".to_owned(), "cvr".to_owned()],
            links: Vec::new(),
            plan: NetworkPlan {
                gram: Gram::None,
                table_deviation: None,
                ..ncs_testkit::network(kind, 1, &[2, 1])
            },
        }
    }

    #[track_caller]
    fn check(layers: &[LayerSharing], expected: &[(&str, u64, [u64; 2], u64)]) {
        let row = |layer: &LayerSharing| {
            (
                layer.name.clone(),
                layer.shared,
                layer.only.clone(),
                layer.pruned,
            )
        };
        let actual: Vec<_> = layers.iter().map(row).collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|(name, shared, only, pruned)| {
                ((*name).to_owned(), *shared, only.to_vec(), *pruned)
            })
            .collect();
        assert_eq!(actual, expected);
    }

    #[test]
    fn without_masks_the_network_determines_the_sharing() {
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
    fn experts_are_shared_where_both_tasks_mix_them() {
        check(
            &layers(&spec(NetworkKind::Mmoe { experts: 2 }), None),
            &[
                ("expert_0.fc_0", 4, [0, 0], 0),
                ("expert_1.fc_0", 4, [0, 0], 0),
                ("ctr.gate", 0, [4, 0], 0),
                ("ctr.fc_1", 0, [2, 0], 0),
                ("cvr.gate", 0, [0, 4], 0),
                ("cvr.fc_1", 0, [0, 2], 0),
            ],
        );
        let ple = |levels| NetworkKind::Ple {
            levels,
            experts: 1,
            shared: 1,
        };
        check(
            &layers(&spec(ple(1)), None),
            &[
                ("ctr.expert_0.fc_0", 0, [4, 0], 0),
                ("cvr.expert_0.fc_0", 0, [0, 4], 0),
                ("expert_0.fc_0", 4, [0, 0], 0),
                ("ctr.gate_0", 0, [4, 0], 0),
                ("cvr.gate_0", 0, [0, 4], 0),
                ("ctr.fc_1", 0, [2, 0], 0),
                ("cvr.fc_1", 0, [0, 2], 0),
            ],
        );
        // The shared experts of the second level read the outputs of all first-level experts.
        check(
            &layers(&spec(ple(2)), None)[..6],
            &[
                ("ctr.expert_0.fc_0", 4, [0, 0], 0),
                ("cvr.expert_0.fc_0", 4, [0, 0], 0),
                ("expert_0.fc_0", 4, [0, 0], 0),
                ("ctr.gate_0", 0, [4, 0], 0),
                ("cvr.gate_0", 0, [0, 4], 0),
                ("gate_0", 6, [0, 0], 0),
            ],
        );
    }

    #[test]
    fn a_tower_whose_outputs_another_task_reads_is_shared() {
        check(
            &layers(&spec(NetworkKind::CrossStitch), None),
            &[
                ("ctr.fc_0", 4, [0, 0], 0),
                ("cvr.fc_0", 4, [0, 0], 0),
                ("ctr.fc_1", 2, [0, 0], 0),
                ("cvr.fc_1", 2, [0, 0], 0),
            ],
        );
        check(
            &layers(&spec(NetworkKind::Aitm), None),
            &[
                ("ctr.fc_0", 4, [0, 0], 0),
                ("ctr.fc_1", 2, [0, 0], 0),
                ("cvr.fc_0", 0, [0, 4], 0),
                ("cvr.fc_1", 0, [0, 2], 0),
                ("cvr.transfer", 0, [0, 1], 0),
                ("cvr.values", 0, [0, 1], 0),
                ("cvr.keys", 0, [0, 1], 0),
                ("cvr.queries", 0, [0, 1], 0),
            ],
        );
    }

    #[test]
    fn masks_determine_the_sharing() {
        let spec = spec(NetworkKind::SparseSharing);
        let first = |n: usize| {
            let shapes = spec.layer_shapes().into_iter();
            shapes
                .map(|(i, o)| Mask::from_fn(i, o, |p| p < n))
                .collect()
        };
        let masks = Masks {
            tasks: vec![first(1), first(3)],
            owners: None,
        };
        let expected = [("fc_0", 1, [0, 2], 1), ("fc_1", 1, [0, 1], 0)];
        check(&layers(&spec, Some(&masks)), &expected);
        assert_eq!(densities(&spec, Some(&masks)), [2.0 / 6.0, 5.0 / 6.0]);
        let [pair] = &overlaps(&spec, &masks)[..] else {
            panic!("one pair of two tasks");
        };
        assert_eq!(pair.overlap.overlap, 2.0 / 5.0);
        assert!(
            layers(&spec, Some(&masks))
                .iter()
                .all(|layer| layer.own_units.is_empty())
        );
    }

    #[test]
    fn own_units_of_each_task_are_counted() {
        let mut spec = spec(NetworkKind::SparseSharing);
        spec.plan.hidden = vec![12, 7];
        let owners = UnitOwners::new(0.5, 2).unwrap();
        let shapes = spec.layer_shapes();
        let masks = Masks {
            tasks: [0, 1].map(|task| owners.allowed(&shapes, task)).into(),
            owners: Some(owners),
        };
        let own_units: Vec<Vec<usize>> = layers(&spec, Some(&masks))
            .into_iter()
            .map(|layer| layer.own_units)
            .collect();
        // Of 12 units 4 are common, of 7 two.
        assert_eq!(own_units, [[4, 4], [3, 2]]);
    }
}
