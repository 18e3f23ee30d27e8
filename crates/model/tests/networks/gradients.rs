//! Tests of every gradient against finite differences in double precision, for every kind of network.

use super::models;
use ncs_features::{Batch, FieldIds, Pooling};
use ncs_model::{
    CounterRng, Dropout, FieldSpec, Gradient, Gram, HeadRows, Model, NetworkKind, NetworkPlan,
    Spec, TableSpec, Workspace,
};

const ROWS: usize = 150;

fn spec(kind: NetworkKind, gram: Gram, hidden: &[usize]) -> Spec {
    let field = |table, pooling| FieldSpec {
        table,
        pooling,
        pieces: None,
        vector: None,
    };
    let table = |name: &str, rows| TableSpec {
        name: name.into(),
        rows,
        unknown: None,
    };
    Spec {
        fields: vec![
            field(0, None),
            field(0, Some(Pooling::Mean)),
            FieldSpec {
                pieces: Some(3),
                ..field(3, None)
            },
            field(1, Some(Pooling::Sum)),
            field(1, Some(Pooling::PaddedMean)),
            field(2, None),
            FieldSpec {
                vector: Some(2),
                ..field(3, None)
            },
            field(4, None),
        ],
        tables: vec![
            table("word", 7),
            table("tag", 5),
            table("price", 3),
            table("age", 0),
            table("projected", 4),
        ],
        tasks: vec!["ctr".into(), "cvr".into()],
        links: Vec::new(),
        plan: NetworkPlan {
            gram,
            ..ncs_testkit::network(kind, 3, hidden)
        },
    }
}

/// Returns single values, lists of 0 to 4 values, and scaled numbers and vectors that are sometimes missing.
fn batch() -> Batch {
    let rng = CounterRng::new(5, "batch");
    let id = |f: u64, i: usize, n: u64| (rng.at(f).bits(i as u64) % n) as u32;
    let list = |f: u64, n: u64| {
        let mut list = FieldIds {
            offsets: vec![0],
            ..FieldIds::default()
        };
        for row in 0..ROWS {
            let length = id(f, row, 5) as usize;
            list.ids
                .extend((0..length).map(|k| id(f + 10, row * 7 + k, n)));
            list.offsets.push(list.ids.len() as u32);
        }
        list
    };
    let mut price = FieldIds {
        offsets: vec![0],
        ..FieldIds::default()
    };
    for row in 0..ROWS {
        if row % 9 == 0 {
            price.ids.push(0);
            price.weights.push(1.0);
        } else {
            price.ids.extend([1, 2]);
            price.weights.extend([rng.normal(row as u64) as f32, 1.0]);
        }
        price.offsets.push(price.ids.len() as u32);
    }
    let word = FieldIds {
        ids: (0..ROWS).map(|row| id(1, row, 7)).collect(),
        ..FieldIds::default()
    };
    let age = |row: u64| match row % 7 {
        0 => [f32::NAN, 0.0, 0.0],
        _ => [0, 1, 2].map(|i| 3.0 * rng.at(20).uniform(3 * row + i) as f32),
    };
    let age = FieldIds {
        numbers: (0..ROWS as u64).flat_map(age).collect(),
        ..FieldIds::of_numbers(3)
    };
    let part = |row: u64, i: u64| rng.at(30).normal(2 * row + i) as f32;
    let vector = |row: u64| match row % 8 {
        0 => [f32::NAN, 0.0],
        _ => [0, 1].map(|i| part(row, i)),
    };
    let vector = FieldIds {
        numbers: (0..ROWS as u64).flat_map(vector).collect(),
        ..FieldIds::of_numbers(2)
    };
    let mut projected = FieldIds {
        offsets: vec![0],
        ..FieldIds::default()
    };
    for row in 0..ROWS as u64 {
        if row % 10 == 0 {
            projected.ids.push(0);
            projected.weights.push(1.0);
        } else {
            projected.ids.extend([1, 2, 3]);
            projected.weights.extend([part(row, 0), part(row, 1), 1.0]);
        }
        projected.offsets.push(projected.ids.len() as u32);
    }
    Batch {
        n_rows: ROWS,
        fields: vec![
            word,
            list(2, 7),
            age,
            list(3, 5),
            list(4, 5),
            price,
            vector,
            projected,
        ],
        ..Batch::default()
    }
}

fn model(kind: NetworkKind, gram: Gram, hidden: &[usize]) -> Model<f64> {
    model_with(kind, gram, hidden, ncs_model::Heads::default())
}

fn model_with(
    kind: NetworkKind,
    gram: Gram,
    hidden: &[usize],
    heads: ncs_model::Heads,
) -> Model<f64> {
    let mut spec = spec(kind, gram, hidden);
    spec.plan.heads = heads;
    let mut model = Model::new(spec, CounterRng::new(2, "weights"));
    for network in 0..model.networks().len() {
        let network = model.network_mut(network);
        models::init(network, models::of_either_sign);
    }
    if kind == NetworkKind::SparseSharing {
        models::set_random_masks(&mut model);
    }
    model
}

/// Computes a loss that couples the heads, and its gradient: `sum_r c_r (z_0r + 2 z_1r + 3 z_2r)^2 / 2`, without
/// the terms of missing heads.
fn learn_coupled(
    model: &Model<f64>,
    tasks: &[usize],
    dropout: Option<Dropout>,
) -> (f64, Gradient<f64>) {
    let rng = CounterRng::new(4, "loss");
    let loss = |heads: &[HeadRows<'_, f64>], gradients: &mut [&mut [f64]], losses: &mut [f64]| {
        for (i, &row) in heads[0].rows.iter().enumerate() {
            let factor = rng.normal(u64::from(row)) / ROWS as f64;
            let weighted = heads
                .iter()
                .map(|head| (head.head + 1) as f64 * head.logits[i]);
            let sum: f64 = weighted.sum();
            losses[0] += factor * sum * sum / 2.0;
            for (head, gradients) in heads.iter().zip(gradients.iter_mut()) {
                gradients[i] = factor * sum * (head.head + 1) as f64;
            }
        }
    };
    let (mut workspace, mut gradient) = (Workspace::new(2), Gradient::default());
    let subnets = model.subnets(0, tasks);
    let network = model.network(0);
    network.learn_coupled(
        &batch(),
        &subnets,
        dropout,
        &loss,
        &mut workspace,
        &mut gradient,
    );
    (workspace.loss(0), gradient)
}

/// Computes a loss with other gradients for each row and head, `sum_k sum_r c_kr z_kr^2 / 2`, and its
/// gradient.
fn learn(
    model: &Model<f64>,
    network: usize,
    tasks: &[usize],
    dropout: Option<Dropout>,
    workspace: &mut Workspace<f64>,
) -> (f64, Gradient<f64>) {
    let subnets = models::subnets(model, network, tasks, ROWS);
    let loss = ncs_testkit::quadratic_loss(ROWS);
    let mut gradient = Gradient::default();
    let weights = model.network(network);
    weights.learn(&batch(), &subnets, dropout, &loss, workspace, &mut gradient);
    let sum = (0..tasks.len()).map(|head| workspace.loss(head)).sum();
    (sum, gradient)
}

fn check(
    kind: NetworkKind,
    gram: Gram,
    hidden: &[usize],
    threads: usize,
    dropout: Option<Dropout>,
) {
    let mut model = model(kind, gram, hidden);
    let mut workspace = Workspace::new(threads);
    for network in 0..model.networks().len() {
        let tasks = model.network(network).tasks.clone();
        let (_, gradient) = learn(&model, network, &tasks, dropout, &mut workspace);
        let dense = model.connections(network).spread(&gradient.dense);
        let mut difference = |change: &dyn Fn(&mut Model<f64>, f64)| {
            let step = 1e-6;
            let mut at = |x: f64| {
                let mut changed = model.clone();
                change(&mut changed, x);
                learn(&changed, network, &tasks, dropout, &mut workspace).0
            };
            (at(step) - at(-step)) / (2.0 * step)
        };
        let n = dense.len();
        for i in (0..n).step_by(n / 60 + 1).chain(n - 6..n) {
            let expected = difference(&|model, x| model.network_mut(network).dense[i] += x);
            let ours = dense[i];
            assert!(
                (expected - ours).abs() < 1e-7,
                "{kind:?} {gram:?} {i}: {ours}, expected {expected}"
            );
        }
        for (t, table) in gradient.tables.iter().enumerate() {
            for (&id, gradients) in table.ids.iter().zip(table.values.chunks(3)) {
                for (d, &ours) in gradients.iter().enumerate() {
                    let change = |model: &mut Model<f64>, x| {
                        model.network_mut(network).tables[t].row_mut(id)[d] += x;
                    };
                    let expected = difference(&change);
                    assert!(
                        (expected - ours).abs() < 1e-7,
                        "{kind:?} table {t}: {ours}, expected {expected}"
                    );
                }
            }
        }
        model = self::model(kind, gram, hidden);
    }
}

#[test]
fn every_gradient_is_the_gradient_of_the_loss() {
    use Gram::{Full, None as NoGram, Triangle};
    use NetworkKind::{SharedBottom, SingleTask, SparseSharing};
    check(SparseSharing, Full, &[6, 4], 1, None);
    check(SparseSharing, Triangle, &[6, 4], 2, None);
    check(SharedBottom, Full, &[5], 1, None);
    check(SharedBottom, NoGram, &[5, 3, 2], 2, None);
    check(SingleTask, Full, &[4], 1, None);
}

#[test]
fn gradients_of_all_kinds_of_networks_are_correct() {
    use NetworkKind::{Aitm, CrossStitch, Linear, Mmoe, Ple};
    let ple = |levels| Ple {
        levels,
        experts: 2,
        shared: 1,
    };
    check(CrossStitch, Gram::Full, &[5, 4], 2, None);
    check(Mmoe { experts: 3 }, Gram::Full, &[5, 4, 3], 1, None);
    check(Mmoe { experts: 2 }, Gram::None, &[4], 1, None);
    check(ple(1), Gram::Full, &[5, 4], 1, None);
    check(ple(2), Gram::Triangle, &[5, 4], 2, None);
    check(Aitm, Gram::Full, &[5, 4], 1, None);
    check(Linear, Gram::Triangle, &[], 1, None);
    check(Linear, Gram::Full, &[], 2, None);
    check(Linear, Gram::None, &[], 1, None);
}

#[test]
fn a_step_for_one_task_has_no_gradient_for_parameters_of_others() {
    let kind = NetworkKind::Mmoe { experts: 2 };
    let model = model(kind, Gram::Full, &[5, 4]);
    let (_, gradient) = learn(&model, 0, &[1], None, &mut Workspace::new(1));
    let index = model.connections(0);
    for group in index.groups() {
        let gradients = &gradient.dense[group.range.clone()];
        let is_used = group.tasks & 0b10 != 0;
        assert_eq!(gradients.iter().any(|&gradient| gradient != 0.0), is_used);
    }
    let tasks: Vec<u64> = index.groups().iter().map(|group| group.tasks).collect();
    assert!([0b01, 0b10, 0b11].iter().all(|kind| tasks.contains(kind)));
}

#[test]
fn a_reused_workspace_discards_layers_of_other_tasks() {
    let model = model(NetworkKind::Mmoe { experts: 2 }, Gram::Full, &[5, 4]);
    let step = |task: usize, workspace: &mut Workspace<f64>| {
        learn(&model, 0, &[task], None, workspace).1.dense
    };
    let (mut fresh, mut used) = (Workspace::new(1), Workspace::new(1));
    step(1, &mut used);
    assert_eq!(step(0, &mut used), step(0, &mut fresh));
}

#[test]
fn gradients_with_dropout_are_correct() {
    let dropout = Some(Dropout {
        rate: 0.3,
        field_rate: 0.0,
        rng: CounterRng::new(9, "dropout"),
    });
    check(NetworkKind::SparseSharing, Gram::Full, &[6, 4], 1, dropout);
    check(
        NetworkKind::SharedBottom,
        Gram::Triangle,
        &[6, 4],
        2,
        dropout,
    );
}

#[test]
fn gradients_with_dropout_of_fields_are_correct() {
    use Gram::{Full, None as NoGram, Triangle};
    let of = |rate| {
        Some(Dropout {
            rate,
            field_rate: 0.25,
            rng: CounterRng::new(9, "dropout"),
        })
    };
    check(NetworkKind::SparseSharing, Full, &[6, 4], 2, of(0.3));
    check(NetworkKind::SharedBottom, Triangle, &[6, 4], 1, of(0.0));
    check(NetworkKind::CrossStitch, NoGram, &[4], 2, of(0.0));
    check(NetworkKind::Linear, Triangle, &[], 1, of(0.0));
}

#[test]
fn a_dropped_field_is_zero_for_its_row_and_the_others_are_scaled() {
    let mut model = model(NetworkKind::Linear, Gram::None, &[]);
    let rate = 0.25;
    let logits = |model: &Model<f64>, dropout| {
        let mut workspace = Workspace::new(2);
        learn(model, 0, &[0], dropout, &mut workspace);
        workspace.logits(0)
    };
    // A linear model is a layer of one output, and a head of one weight.
    let layout = model.network(0).layout.clone();
    let weights = layout.layers[0].weights.clone();
    model.network_mut(0).dense[layout.layers[0].bias.start] = 0.0;
    model.network_mut(0).dense[layout.heads[0].bias.start] = 0.5;
    // Field by field, each with the weights of the others at 0.
    let mut n_dropped = 0;
    let width = model.spec().plan.dim;
    for field in 0..6 {
        let mut alone = model.clone();
        for (i, at) in weights.clone().enumerate() {
            if !(field * width..(field + 1) * width).contains(&i) {
                alone.network_mut(0).dense[at] = 0.0;
            }
        }
        let dropout = Dropout {
            rate: 0.0,
            field_rate: rate,
            rng: CounterRng::new(7, "fields"),
        };
        let (whole, dropped) = (logits(&alone, None), logits(&alone, Some(dropout)));
        for (&whole, &dropped) in whole.iter().zip(&dropped) {
            let is_dropped = dropped == 0.5;
            let expected = 0.5 + (whole - 0.5) / (1.0 - rate);
            assert!(is_dropped || (dropped - expected).abs() < 1e-12);
            n_dropped += usize::from(is_dropped && whole != 0.5);
        }
        assert_eq!(dropped, logits(&alone, Some(dropout)), "the same step");
    }
    let share = n_dropped as f64 / (6 * ROWS) as f64;
    assert!((0.15..0.35).contains(&share), "{share}");
}

#[test]
fn threads_change_rounding_only_and_repeat_exactly() {
    let model = model(NetworkKind::SparseSharing, Gram::Full, &[6, 4]);
    let gradient = |threads| {
        let mut workspace = Workspace::new(threads);
        let (loss, gradient) = learn(&model, 0, &[0, 1], None, &mut workspace);
        (loss, gradient.dense)
    };
    let (one, two) = (gradient(1), gradient(2));
    assert_eq!(two, gradient(2));
    assert!((one.0 - two.0).abs() < 1e-12);
    assert!(one.1.iter().zip(&two.1).all(|(a, b)| (a - b).abs() < 1e-12));
}

#[test]
fn a_pruned_connection_has_no_gradient_and_no_effect() {
    let mut model = model(NetworkKind::SparseSharing, Gram::Full, &[6, 4]);
    let mut workspace = Workspace::new(1);
    let (before, gradient) = learn(&model, 0, &[0], None, &mut workspace);
    let dense = model.connections(0).spread(&gradient.dense);
    let masks = model.masks().unwrap().clone();
    let layers = model.network(0).layout.layers.clone();
    for (layer, mask) in layers.iter().zip(&masks.tasks[0]) {
        for position in (0..mask.len()).filter(|&position| !mask.keeps(position)) {
            assert_eq!(dense[layer.weights.start + position], 0.0);
            model.network_mut(0).dense[layer.weights.start + position] += 100.0;
        }
    }
    assert_eq!(learn(&model, 0, &[0], None, &mut workspace).0, before);
}

#[test]
fn gradients_of_a_coupled_loss_are_correct_with_an_auxiliary_head() {
    let dropout = Dropout {
        rate: 0.3,
        field_rate: 0.1,
        rng: CounterRng::new(8, "dropout"),
    };
    for (kind, auxiliary_head_of, late, dropout) in [
        (NetworkKind::SparseSharing, Some(1), vec![], None),
        (NetworkKind::SparseSharing, None, vec![1], None),
        (NetworkKind::SharedBottom, Some(1), vec![], Some(dropout)),
        (NetworkKind::Mmoe { experts: 2 }, Some(0), vec![], None),
        (NetworkKind::Mmoe { experts: 2 }, None, vec![0], None),
        (NetworkKind::CrossStitch, None, vec![], Some(dropout)),
    ] {
        let n_auxiliary = usize::from(auxiliary_head_of.is_some()) + late.len();
        let heads = ncs_model::Heads {
            auxiliary_head_of,
            joint: None,
            takes: None,
            late,
            ..Default::default()
        };
        let model = model_with(kind, Gram::Full, &[8, 5], heads);
        let tasks = model.network(0).tasks.clone();
        assert_eq!(tasks.len(), 2 + n_auxiliary);
        let (_, gradient) = learn_coupled(&model, &tasks, dropout);
        let dense = model.connections(0).spread(&gradient.dense);
        let kept = model.connections(0).positions();
        for &i in kept
            .iter()
            .step_by(kept.len() / 60 + 1)
            .chain(&kept[kept.len() - 8..])
        {
            let i = i as usize;
            let at = |x: f64| {
                let mut changed = model.clone();
                changed.network_mut(0).dense[i] += x;
                learn_coupled(&changed, &tasks, dropout).0
            };
            let expected = (at(1e-6) - at(-1e-6)) / 2e-6;
            assert!(
                (dense[i] - expected).abs() < 1e-7,
                "{kind:?} {i}: {} not {expected}",
                dense[i]
            );
        }
        let table = &gradient.tables[0];
        for (&id, gradients) in table.ids.iter().zip(table.values.chunks(3)) {
            let at = |x: f64| {
                let mut changed = model.clone();
                changed.network_mut(0).tables[0].row_mut(id)[1] += x;
                learn_coupled(&changed, &tasks, dropout).0
            };
            let expected = (at(1e-6) - at(-1e-6)) / 2e-6;
            assert!((gradients[1] - expected).abs() < 1e-7, "{kind:?} row {id}");
        }
    }
}

/// The allocations are short lists of rows, subnets and sums: a few for each subnet and layer.
#[test]
fn a_step_allocates_little_after_the_first() {
    for kind in [NetworkKind::SparseSharing, NetworkKind::SharedBottom] {
        let model = model(kind, Gram::Full, &[6, 4]);
        let (network, subnets, batch) = (
            model.network(0),
            models::subnets(&model, 0, &[0, 1], ROWS),
            batch(),
        );
        let loss = |_: &HeadRows<'_, f64>, gradients: &mut [f64]| {
            gradients.fill(1.0);
            0.0
        };
        let (mut workspace, mut gradient) = (Workspace::new(1), Gradient::default());
        let mut step =
            || network.learn(&batch, &subnets, None, &loss, &mut workspace, &mut gradient);
        step();
        let actual = allocation_counter::measure(step);
        assert!(actual.count_total <= 32, "{actual:?}");
    }
}
