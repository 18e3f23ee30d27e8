//! Parts of vectors that one task alone reads, under masks: logits against a plain reference, gradients, requests, files.

use super::models;
use ncs_features::{Batch, FieldIds, Schema};
use ncs_model::artifact::Artifact;
use ncs_model::{
    CounterRng, Gradient, Gram, Heads, Mask, Masks, Model, NetworkKind, NetworkPlan, RankBuffers,
    Ranker, Real, Scorer, Spec, Workspace, masks,
};
use std::sync::Arc;

const FIELDS: usize = 4;
const IDS: u32 = 12;
const TASKS: usize = 2;
/// Lengths of the part for all tasks, and of each task's own.
const SHARED: usize = 3;
const OWN: usize = 2;
const DIM: usize = SHARED + TASKS * OWN;
const HIDDEN: [usize; 2] = [7, 5];

fn schema() -> Schema {
    ncs_testkit::hashed_schema(FIELDS, IDS, &["ctr", "cvr"])
}

fn spec(gram: Gram) -> Spec {
    let plan = NetworkPlan {
        gram,
        heads: Heads {
            task_vectors: OWN,
            ..Heads::default()
        },
        ..ncs_testkit::network(NetworkKind::SparseSharing, DIM, &HIDDEN)
    };
    Spec::of(&schema(), &plan)
}

/// Random masks, without the parts of the other task.
fn masks_of(spec: &Spec) -> Masks {
    let (shapes, readers) = (spec.layer_shapes(), spec.input_readers());
    let mask = |task: usize| {
        let rng = CounterRng::new(8, "mask").at(task as u64);
        let mut mask = masks::random(&shapes, 0.8, rng);
        let kept = |at: usize| {
            let reader = readers[at / HIDDEN[0]];
            mask[0].keeps(at) && reader.is_none_or(|reader| reader == task)
        };
        mask[0] = Mask::from_fn(shapes[0].0, shapes[0].1, kept);
        mask
    };
    Masks {
        tasks: (0..TASKS).map(mask).collect(),
        owners: None,
    }
}

fn model<R: Real>(gram: Gram) -> Model<R> {
    let spec = spec(gram);
    let masks = masks_of(&spec);
    let mut model = Model::new(spec, CounterRng::new(2, "weights"));
    let network = model.network_mut(0);
    models::init(network, models::above_zero);
    model.set_masks(Some(Arc::new(masks)));
    model
}

fn batch(n_rows: usize) -> Batch {
    let rng = CounterRng::new(5, "batch");
    let field = |number: u64| FieldIds {
        ids: (0..n_rows as u64)
            .map(|row| 1 + (rng.at(number).bits(row) % u64::from(IDS)) as u32)
            .collect(),
        ..FieldIds::default()
    };
    Batch {
        n_rows,
        fields: (0..FIELDS as u64).map(field).collect(),
        ..Batch::default()
    }
}

fn learn(model: &Model<f64>, tasks: &[usize]) -> (Workspace<f64>, Gradient<f64>) {
    let loss = ncs_testkit::quadratic_loss(90);
    let (mut workspace, mut gradient) = (Workspace::new(2), Gradient::default());
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
    (workspace, gradient)
}

/// The logit of a task from its own and the common parts of the vectors alone.
fn reference(model: &Model<f64>, vectors: &[Vec<f64>], gram: Gram, task: usize) -> f64 {
    let network = model.network(0);
    let mut x = Vec::new();
    for i in 0..FIELDS {
        let from = match gram {
            Gram::Full => 0,
            Gram::Triangle => i,
            Gram::None => FIELDS,
        };
        for j in from..FIELDS {
            x.push(
                (0..SHARED)
                    .map(|d| vectors[i][d] * vectors[j][d])
                    .sum::<f64>(),
            );
        }
    }
    for vector in vectors {
        let own = SHARED + task * OWN..SHARED + (task + 1) * OWN;
        let number = |d: usize| {
            if d < SHARED || own.contains(&d) {
                vector[d]
            } else {
                0.0
            }
        };
        x.extend((0..DIM).map(number));
    }
    let masks = model.masks().unwrap();
    for (number, layer) in network.layout.layers.iter().enumerate() {
        let unit = |o: usize| {
            let term = |(i, x): (usize, &f64)| {
                let at = i * layer.outputs + o;
                let weight = network.dense[layer.weights.start + at];
                if masks.tasks[task][number].keeps(at) {
                    x * weight
                } else {
                    0.0
                }
            };
            let sum: f64 = x.iter().enumerate().map(term).sum();
            (network.dense[layer.bias.start + o] + sum).max(0.0)
        };
        x = (0..layer.outputs).map(unit).collect();
    }
    let head = &network.layout.heads[task];
    let terms = x.iter().zip(&network.dense[head.weights.clone()]);
    network.dense[head.bias.start] + terms.map(|(x, weight)| x * weight).sum::<f64>()
}

#[test]
fn logits_are_those_of_the_reference() {
    for gram in [Gram::Full, Gram::Triangle, Gram::None] {
        let model = model::<f64>(gram);
        let (workspace, _) = learn(&model, &[0, 1]);
        let batch = batch(90);
        for task in 0..TASKS {
            for (row, &logit) in workspace.logits(task).iter().enumerate() {
                let table = &model.network(0).tables[0];
                let vectors: Vec<Vec<f64>> = batch
                    .fields
                    .iter()
                    .map(|field| table.row(field.ids[row]).to_vec())
                    .collect();
                let expected = reference(&model, &vectors, gram, task);
                assert!((logit - expected).abs() < 1e-12, "{gram:?} {task} {row}");
            }
        }
    }
}

#[test]
fn a_task_moves_its_own_and_the_common_part_alone() {
    for gram in [Gram::Full, Gram::None] {
        let model = model::<f64>(gram);
        for task in 0..TASKS {
            let (workspace, gradient) = learn(&model, &[task]);
            let loss = |model: &Model<f64>| learn(model, &[task]).0.loss(0);
            assert!(workspace.loss(0) != 0.0);
            let table = &gradient.tables[0];
            for (&id, gradients) in table.ids.iter().zip(table.values.chunks(DIM)) {
                for (d, &ours) in gradients.iter().enumerate() {
                    let at = |step: f64| {
                        let mut changed = model.clone();
                        changed.network_mut(0).tables[0].row_mut(id)[d] += step;
                        loss(&changed)
                    };
                    let expected = (at(1e-6) - at(-1e-6)) / 2e-6;
                    assert!(
                        (ours - expected).abs() < 1e-7,
                        "{task} {id} {d}: {ours}, {expected}"
                    );
                    let is_of_other = d >= SHARED && (d - SHARED) / OWN != task;
                    assert!(!is_of_other || ours == 0.0, "{task} {id} {d}: {ours}");
                }
            }
        }
    }
}

#[test]
fn a_mask_keeps_the_inputs_of_each_part_together() {
    let spec = spec(Gram::Triangle);
    let (fields, groups) = (spec.input_groups(), spec.mask_groups());
    let n_pairs = FIELDS * (FIELDS + 1) / 2;
    let of_vector = n_pairs..n_pairs + DIM;
    assert_eq!(fields[of_vector.clone()], [0; DIM]);
    let n = FIELDS + n_pairs;
    assert_eq!(groups[of_vector], [0, 0, 0, n, n, n + 1, n + 1]);
    assert_eq!(fields[..n_pairs], groups[..n_pairs]);
    let readers = spec.input_readers();
    assert_eq!(readers[..n_pairs], vec![None; n_pairs]);
    assert_eq!(
        readers[n_pairs + 3..n_pairs + 7],
        [Some(0), Some(0), Some(1), Some(1)]
    );
}

fn artifact() -> Artifact {
    ncs_testkit::artifact(schema(), &model(Gram::Full))
}

#[test]
fn requests_match_rows_and_files_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model");
    artifact().write(&path).unwrap();
    let manifest = std::fs::read_to_string(path.join("manifest.json")).unwrap();
    assert!(manifest.contains("\"version\": 8"), "{manifest}");
    let scorer = Arc::new(Scorer::new(&Artifact::read(&path).unwrap()).unwrap());
    let mut rows = batch(131);
    rows.fields[0].ids.fill(7);
    rows.fields[2].ids.fill(3);
    let one = |field: &FieldIds| FieldIds {
        ids: vec![field.ids[0]],
        ..FieldIds::default()
    };
    let context = Batch {
        n_rows: 1,
        fields: rows.fields.iter().map(one).collect(),
        ..Batch::default()
    };
    let expected = scorer.score(&rows, &mut Workspace::new(1));
    for in_context in [&[][..], &[0], &[0, 2]] {
        let ranker = Ranker::new(&scorer, in_context).unwrap();
        let mut actual = vec![vec![]; 2];
        ranker.score(&context, &rows, &mut RankBuffers::default(), &mut actual);
        for (actual, expected) in actual.iter().flatten().zip(expected.iter().flatten()) {
            assert!((actual - expected).abs() < 1e-6, "{actual} for {expected}");
        }
    }
}

/// A valid checksum does not prove that the contents are consistent.
#[test]
fn vectors_without_a_common_part_are_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model");
    let mut artifact = artifact();
    artifact.spec.plan.heads.task_vectors = DIM;
    artifact.write(&path).unwrap();
    let error = Artifact::read(&path).unwrap_err().to_string();
    assert!(error.contains("a part of size 0"), "{error}");
}
