//! Tests of hidden units owned by a task: gradients, dependencies of a task's subnetwork, requests, files.

use super::models;
use ncs_features::{Batch, FieldIds, Schema};
use ncs_model::artifact::Artifact;
use ncs_model::{
    CounterRng, Gradient, Masks, Model, NetworkKind, RankBuffers, Ranker, Real, Scorer, Spec,
    UnitOwners, Workspace, masks,
};
use std::fs;
use std::sync::Arc;

const FIELDS: usize = 3;
const IDS: u32 = 20;

fn schema(n_tasks: usize) -> Schema {
    ncs_testkit::hashed_schema(FIELDS, IDS, &["ctr", "cvr", "like"][..n_tasks])
}

fn batch(n_rows: usize) -> Batch {
    let rng = CounterRng::new(5, "batch");
    let field = |number: u64| FieldIds {
        ids: (0..n_rows as u64)
            .map(|row| (rng.at(number).bits(row) % u64::from(IDS)) as u32)
            .collect(),
        ..FieldIds::default()
    };
    Batch {
        n_rows,
        fields: (0..FIELDS as u64).map(field).collect(),
        ..Batch::default()
    }
}

fn spec(n_tasks: usize, hidden: &[usize]) -> Spec {
    let plan = ncs_testkit::network(NetworkKind::SparseSharing, 3, hidden);
    Spec::of(&schema(n_tasks), &plan)
}

/// Returns random masks of this density within the units of each task.
fn owned(spec: &Spec, common: f64, density: f64) -> Masks {
    let owners = UnitOwners::new(common, spec.tasks.len());
    let shapes = spec.layer_shapes();
    let mask = |task: usize| {
        let rng = CounterRng::new(8, "mask").at(task as u64);
        match owners {
            Some(owners) => masks::random_within(&owners.allowed(&shapes, task), density, rng),
            None => masks::random(&shapes, density, rng),
        }
    };
    Masks {
        tasks: (0..spec.tasks.len()).map(mask).collect(),
        owners,
    }
}

/// Simulates training: only parameters that must be zero are zero.
fn model<R: Real>(n_tasks: usize, hidden: &[usize], common: f64) -> Model<R> {
    model_of(spec(n_tasks, hidden), common, 0.7)
}

fn model_of<R: Real>(spec: Spec, common: f64, density: f64) -> Model<R> {
    let masks = owned(&spec, common, density);
    let mut model = Model::new(spec, CounterRng::new(2, "weights"));
    let network = model.network_mut(0);
    models::init(network, models::above_zero);
    model.set_masks(Some(Arc::new(masks)));
    model
}

/// Computes `sum_k sum_r c_kr z_kr^2 / 2` over the heads of these tasks, and its gradient.
fn learn(model: &Model<f64>, tasks: &[usize]) -> (f64, Gradient<f64>) {
    let loss = ncs_testkit::quadratic_loss(90);
    let (mut workspace, mut gradient) = (Workspace::new(1), Gradient::default());
    let subnets = model.subnets(0, tasks);
    let network = model.network(0);
    network.learn(
        &batch(90),
        &subnets,
        None,
        &loss,
        &mut workspace,
        &mut gradient,
    );
    (
        (0..tasks.len()).map(|head| workspace.loss(head)).sum(),
        gradient,
    )
}

#[test]
fn gradients_match_finite_differences() {
    for (n_tasks, common) in [(2, 0.0), (2, 0.5), (3, 0.3)] {
        let model = model::<f64>(n_tasks, &[9, 7], common);
        let tasks: Vec<usize> = (0..n_tasks).collect();
        let (_, gradient) = learn(&model, &tasks);
        let quotient = |change: &dyn Fn(&mut Model<f64>, f64)| {
            let at = |x: f64| {
                let mut changed = model.clone();
                change(&mut changed, x);
                learn(&changed, &tasks).0
            };
            (at(1e-6) - at(-1e-6)) / 2e-6
        };
        let kept = model.connections(0).positions();
        for (&position, ours) in kept.iter().zip(&gradient.dense).step_by(3) {
            let expected = quotient(&|model, x| model.network_mut(0).dense[position as usize] += x);
            assert!(
                (expected - ours).abs() < 1e-7,
                "{position}: {ours}, expected {expected}"
            );
        }
        for (&id, ours) in gradient.tables[0]
            .ids
            .iter()
            .zip(gradient.tables[0].values.chunks(3))
        {
            let expected = quotient(&|model, x| model.network_mut(0).tables[0].row_mut(id)[1] += x);
            assert!(
                (expected - ours[1]).abs() < 1e-7,
                "row {id}: {}, expected {expected}",
                ours[1]
            );
        }
    }
}

/// Returns the positions of weights and biases of layers and heads that belong to one task alone.
fn positions_of(model: &Model<f64>, owner: usize) -> Vec<usize> {
    let network = model.network(0);
    let owners = model.masks().unwrap().owners.unwrap();
    let is_own = |width: usize, unit: usize| owners.owner(width, unit) == Some(owner);
    let mut positions = Vec::new();
    for layer in &network.layout.layers {
        let weights = layer.weights.clone().enumerate();
        positions.extend(
            weights.filter_map(|(p, at)| is_own(layer.outputs, p % layer.outputs).then_some(at)),
        );
        let biases = layer.bias.clone().enumerate();
        positions.extend(biases.filter_map(|(unit, at)| is_own(layer.outputs, unit).then_some(at)));
    }
    let head = &network.layout.heads[owner];
    positions.extend(head.weights.start..head.bias.end);
    positions
}

#[test]
fn tasks_do_not_depend_on_units_of_others() {
    for (n_tasks, common) in [(2, 0.0), (2, 0.5), (3, 0.4)] {
        let model = model::<f64>(n_tasks, &[9, 7], common);
        for task in 0..n_tasks {
            let before = learn(&model, &[task]).0;
            let mut changed = model.clone();
            for other in (0..n_tasks).filter(|&other| other != task) {
                for at in positions_of(&model, other) {
                    changed.network_mut(0).dense[at] += 100.0;
                }
            }
            assert_eq!(learn(&changed, &[task]).0, before, "task {task}");
            for at in positions_of(&model, task) {
                changed.network_mut(0).dense[at] += 1.0;
            }
            assert_ne!(learn(&changed, &[task]).0, before, "task {task}");
        }
    }
}

#[test]
fn owned_parameters_are_kept_by_their_task_only() {
    for (n_tasks, common) in [(2, 0.0), (2, 0.5), (3, 0.4)] {
        let model = model::<f64>(n_tasks, &[9, 7], common);
        let index = model.connections(0);
        for task in 0..n_tasks {
            for at in positions_of(&model, task) {
                let Some(number) = index.number(at) else {
                    continue;
                };
                let group = index
                    .groups()
                    .iter()
                    .find(|group| group.range.contains(&number));
                assert_eq!(group.unwrap().tasks, 1 << task, "position {at}");
            }
        }
    }
}

/// The weights of heads on units of other tasks are 0 and not trained.
#[test]
fn heads_ignore_units_of_others() {
    let model = model::<f64>(2, &[9, 8], 0.0);
    let network = model.network(0);
    for (task, head) in network.layout.heads.iter().enumerate() {
        for (unit, at) in head.weights.clone().enumerate() {
            let is_own = unit % 2 == task;
            assert_eq!(network.dense[at] != 0.0, is_own);
            assert_eq!(model.connections(0).number(at).is_some(), is_own);
        }
    }
}

#[test]
#[should_panic(expected = "masks within the units of their tasks")]
fn masks_beyond_the_units_of_a_task_are_rejected() {
    let mut model: Model = model(2, &[9, 8], 0.5);
    let shapes = model.spec().layer_shapes();
    model.set_masks(Some(Arc::new(Masks {
        owners: UnitOwners::new(0.5, 2),
        ..Masks::full(&shapes, 2)
    })));
}

fn artifact(common: f64) -> Artifact {
    let mut spec = spec(2, &[60, 40]);
    spec.plan.dim = 24;
    let model: Model = model_of(spec, common, 1.0);
    ncs_testkit::artifact(schema(2), &model)
}

/// Requests have the scores of their rows, and connections into common units are computed once.
#[test]
fn requests_match_rows() {
    for common in [0.0, 0.5, 1.0] {
        let scorer = Arc::new(Scorer::new(&artifact(common)).unwrap());
        let mut rows = batch(130);
        rows.fields[0].ids.fill(7);
        let context = Batch {
            n_rows: 1,
            fields: rows
                .fields
                .iter()
                .map(|field| FieldIds {
                    ids: vec![field.ids[0]],
                    ..FieldIds::default()
                })
                .collect(),
            ..Batch::default()
        };
        let expected = scorer.score(&rows, &mut Workspace::new(1));
        let whole = Ranker::new(&scorer, &[0]).unwrap();
        // If half of a task's units are common, a third of all units are.
        assert_eq!(whole.computes_shared_once(), common > 0.0, "{common}");
        let half = Ranker::in_half(&scorer, &[0]).unwrap();
        for (ranker, tolerance) in [(whole, 1e-5), (half, 0.02)] {
            let mut actual = vec![vec![]; 2];
            ranker.score(&context, &rows, &mut RankBuffers::default(), &mut actual);
            for (actual, expected) in actual.iter().flatten().zip(expected.iter().flatten()) {
                assert!(
                    (actual - expected).abs() < tolerance,
                    "{actual} for {expected}"
                );
            }
        }
    }
}

#[test]
fn owners_are_written_and_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model");
    let artifact = artifact(0.5);
    artifact.write(&path).unwrap();
    let read = Artifact::read(&path).unwrap();
    assert_eq!(read.masks, artifact.masks);
    assert_eq!(read.masks.unwrap().owners.unwrap().common(), 0.5);
    let all_common = Artifact {
        masks: Some(Arc::new(owned(&artifact.spec, 1.0, 0.7))),
        ..artifact
    };
    all_common.write(&path).unwrap();
    let manifest = fs::read_to_string(path.join("manifest.json")).unwrap();
    assert!(
        !manifest.contains("owners"),
        "the manifest is unchanged without owners"
    );
}

/// A valid checksum does not prove that the contents are consistent.
#[test]
fn inconsistent_owners_are_rejected() {
    let read_error = |change: &dyn Fn(&mut Artifact)| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model");
        let mut artifact = artifact(0.5);
        change(&mut artifact);
        artifact.write(&path).unwrap();
        Artifact::read(&path).unwrap_err().to_string()
    };
    let beyond = read_error(&|artifact| {
        let shapes = artifact.spec.layer_shapes();
        artifact.masks = Some(Arc::new(Masks {
            owners: UnitOwners::new(0.5, 2),
            ..Masks::full(&shapes, 2)
        }));
    });
    assert!(
        beyond.contains("its masks are not those of its layers"),
        "{beyond}"
    );
    let others = read_error(&|artifact| {
        let masks = artifact.masks.as_deref().unwrap().clone();
        artifact.masks = Some(Arc::new(Masks {
            owners: UnitOwners::new(0.5, 3),
            ..masks
        }));
    });
    assert!(
        others.contains("the owners of its units are not its tasks"),
        "{others}"
    );
}
