//! Weights that a step moves, and those that it must not: against the reference's twenty steps, and as properties.

use ncs_features::{Objective, Pooling};
use ncs_model::{
    CounterRng, Gradient, HeadRows, Masks, Model, NetworkKind, Real, SparseRows, Spec, Table,
    TableGradient, UnitOwners, Weights, Workspace, masks,
};
use ncs_testkit::{DENSE, Reference, TABLES};
use ncs_train::loss::loss;
use ncs_train::optim::{OptimSettings, Optimizers, ParityDeviations, RowMoments};
use ncs_train::{Optimizer, OptimizerKind};
use proptest::prelude::*;
use std::sync::Arc;

const ADAM: Optimizer = Optimizer {
    learning_rate: 1e-3,
    kind: OptimizerKind::Adam {
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
    },
};
const ADAGRAD: Optimizer = Optimizer {
    learning_rate: 1e-2,
    kind: OptimizerKind::Adagrad { epsilon: 1e-8 },
};
const ROWWISE_ADAM: OptimizerKind = OptimizerKind::RowwiseAdam {
    beta1: 0.9,
    beta2: 0.999,
    epsilon: 1e-8,
};
const ROWWISE_ADAGRAD: OptimizerKind = OptimizerKind::RowwiseAdagrad { epsilon: 1e-8 };

// ---- the twenty steps of the reference

/// Converts a mode of the reference, which names the weights left unchanged, to [`ParityDeviations`], which names those moved.
fn leaks(mode: &str) -> ParityDeviations {
    ParityDeviations {
        pruned: !mode.contains("masked"),
        rows: !mode.contains("lazy"),
        shared_count: true,
    }
}

fn close<R: Real>(found: &[R], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (a, b)) in found.iter().zip(expected).enumerate() {
        let a = a.wide();
        assert!((a - b).abs() <= tolerance, "{what}[{i}]: {a}, expected {b}");
    }
}

/// First and second moments, laid out as weights: 0 for connections that no task keeps.
fn moments<R: Real>(model: &Model<R>, optimizers: &Optimizers<R>) -> [Weights<R>; 2] {
    let (network, state) = (model.network(0), &optimizers.networks[0]);
    let all_rows = |table: &Table<R>, of_row: &dyn Fn(u32) -> Vec<R>| SparseRows {
        ids: (0..table.n_rows() as u32).collect(),
        values: (0..table.n_rows() as u32).flat_map(of_row).collect(),
    };
    let pairs = || network.tables.iter().zip(&state.tables);
    let first_of = |table: &Table<R>, m: &RowMoments<R>, id| match m.first(table.slot(id)) {
        // Adagrad has none.
        [] => vec![R::ZERO; table.dim()],
        first => first.to_vec(),
    };
    let first = pairs().map(|(table, m)| all_rows(table, &|id| first_of(table, m, id)));
    let second = pairs().map(|(table, m)| all_rows(table, &|id| m.second(table.slot(id)).to_vec()));
    let connections = model.connections(0);
    [
        Weights {
            dense: connections.spread(&state.dense.first),
            tables: first.collect(),
        },
        Weights {
            dense: connections.spread(&state.dense.second),
            tables: second.collect(),
        },
    ]
}

/// Checks numbers that lie as a network's weights do.
fn check_all<R: Real>(reference: &Reference, found: &Weights<R>, prefix: &str, tolerance: f64) {
    let dense = &found.dense;
    let mut at = 0;
    for name in DENSE {
        let key = format!("{prefix}/{name}");
        let expected = reference.array(&key);
        close(&dense[at..at + expected.len()], expected, tolerance, &key);
        at += expected.len();
    }
    assert_eq!(at, dense.len());
    assert_eq!(found.tables.len(), TABLES.len());
    for (table, name) in found.tables.iter().zip(TABLES) {
        let key = format!("{prefix}/emb/{name}");
        close(&table.values, reference.array(&key), tolerance, &key);
    }
}

fn check_weights<R: Real>(reference: &Reference, model: &Model<R>, prefix: &str, tolerance: f64) {
    check_all(reference, &model.network(0).weights(), prefix, tolerance);
}

fn check_mode<R: Real>(
    reference: &Reference,
    mode: &str,
    (pool, pooling): (&str, Pooling),
    tolerance: f64,
) {
    let prefix = format!("train/{mode}/{pool}");
    let mut model: Model<R> = reference.model(NetworkKind::SparseSharing, pooling);
    model.set_masks(Some(Arc::new(reference.masks())));
    let settings = OptimSettings {
        leaks: leaks(mode),
        ..OptimSettings::new(ADAM)
    };
    let mut optimizers = Optimizers::new(&model, settings);
    let (mut pass, mut gradient) = (Workspace::new(1), Gradient::default());
    let mut losses = Vec::new();
    for step in 0..20 {
        let focal = Objective::Focal {
            alpha: 0.75,
            gamma: 2.0,
        };
        let (task, objective, label, factor) = match step % 2 {
            0 => (0, focal, "click", 1.0),
            _ => (1, Objective::Ratio, "watch", 1.5),
        };
        let batch = reference.batch(step);
        let subnets = model.subnets(0, &[task]);
        let network = model.network_mut(0);
        network.forward(&batch, &subnets, &mut pass);
        let mut found = loss(objective, &pass.logits(0), &reference.labels(step, label));
        losses.push(factor * found.loss);
        found.gradients.iter_mut().for_each(|x| *x *= factor);
        let given = |rows: &HeadRows<'_, R>, gradients: &mut [R]| {
            let known = found.gradients[rows.first..].iter();
            let pairs = gradients.iter_mut().zip(known);
            pairs.for_each(|(gradient, &known)| *gradient = R::of(known));
            0.0
        };
        network.learn(&batch, &subnets, None, &given, &mut pass, &mut gradient);
        optimizers.step(0, network, &mut gradient, &[task], 1.0);
        if [0, 1, 19].contains(&step) {
            let prefix = format!("{prefix}/after{:02}", step + 1);
            check_weights(reference, &model, &prefix, tolerance);
        }
    }
    let key = format!("{prefix}/losses");
    close(&losses, reference.array(&key), tolerance, &key);
    // Moments are smaller than weights.
    let [first, second] = moments(&model, &optimizers);
    let [m, v] = ["m20", "v20"].map(|name| format!("{prefix}/{name}"));
    check_all(reference, &first, &m, tolerance / 10.0);
    check_all(reference, &second, &v, tolerance / 1000.0);
    for (task, name) in ["ctr", "cvr"].into_iter().enumerate() {
        let subnets = model.subnets(0, &[task]);
        let network = model.network(0);
        network.forward(&reference.batch(0), &subnets, &mut pass);
        let key = format!("{prefix}/logit_{name}_batch00");
        close(&pass.logits(0), reference.array(&key), tolerance, &key);
    }
}

#[test]
fn twenty_steps_are_those_of_the_reference_in_every_mode() {
    let Some(reference) = Reference::open() else {
        return;
    };
    let padded = ("padded", Pooling::PaddedMean);
    let masked = ("masked", Pooling::Mean);
    for (mode, pool) in [
        ("authors", padded),
        ("masked", padded),
        ("lazy", padded),
        ("masked_lazy", padded),
        ("authors", masked),
        ("masked_lazy", masked),
    ] {
        check_mode::<f64>(&reference, mode, pool, 1e-10);
        check_mode::<f32>(&reference, mode, pool, 1e-5);
    }
}

// ---- what a step moves

const N_TASKS: usize = 3;
const N_ROWS: u32 = 7;
const DIM: usize = 2;

/// Returns three tasks over two hidden layers, each under a random mask, and one table with all rows initialised.
fn model(seed: u64, density: f64) -> Model<f64> {
    model_with(seed, density, 1.0)
}

/// The same where this share of the units that a task may use is common.
fn model_with(seed: u64, density: f64, common: f64) -> Model<f64> {
    let spec = Spec {
        fields: vec![ncs_testkit::field(0); 2],
        tables: vec![ncs_testkit::table("word", N_ROWS as usize)],
        tasks: ["ctr", "cvr", "like"].map(String::from).into(),
        links: Vec::new(),
        plan: ncs_testkit::network(NetworkKind::SparseSharing, DIM, &[5, 4]),
    };
    let mut model = Model::new(spec, CounterRng::new(seed, "weights"));
    model.network_mut(0).init_all_rows();
    let shapes = model.spec().layer_shapes();
    let owners = UnitOwners::new(common, N_TASKS);
    let mask = |task: usize| {
        let rng = CounterRng::new(seed, "mask").at(task as u64);
        let allowed = owners.map_or(masks::full(&shapes), |owners| owners.allowed(&shapes, task));
        masks::random_within(&allowed, density, rng)
    };
    let tasks = (0..N_TASKS).map(mask).collect();
    model.set_masks(Some(Arc::new(Masks { tasks, owners })));
    model
}

/// A gradient for everything that some task keeps, other heads included, and for some table rows: an
/// test with it detects an optimizer that assumes a zero gradient elsewhere.
fn gradients(model: &Model<f64>, rng: CounterRng, rows: &[u32]) -> Gradient<f64> {
    let gradient = |&id: &u32| [0, 1].map(|k| rng.at(1).normal(u64::from(id) * 2 + k));
    let table = TableGradient::new(rows.to_vec(), rows.iter().flat_map(gradient).collect());
    let positions = model.connections(0).positions().iter();
    Gradient {
        dense: positions.map(|&i| rng.normal(i.into())).collect(),
        tables: vec![table],
    }
}

/// For each dense weight: whether a step for these tasks may move it, from the masks themselves.
fn expected_moves(model: &Model<f64>, places: &[usize]) -> Vec<bool> {
    let masks = model.masks().unwrap();
    let layout = &model.network(0).layout;
    let may_use = |width: usize, unit: usize, task: usize| {
        masks
            .owners
            .is_none_or(|owners| owners.may_use(width, unit, task))
    };
    let mut moves = vec![false; layout.len];
    for (l, layer) in layout.layers.iter().enumerate() {
        for (position, i) in layer.weights.clone().enumerate() {
            moves[i] = places.iter().any(|&t| masks.tasks[t][l].keeps(position));
        }
        for (unit, i) in layer.bias.clone().enumerate() {
            moves[i] = places.iter().any(|&t| may_use(layer.outputs, unit, t));
        }
    }
    for &place in places {
        let head = &layout.heads[place];
        for (unit, i) in head.weights.clone().enumerate() {
            moves[i] = may_use(head.inputs, unit, place);
        }
        moves[head.bias.clone()].fill(true);
    }
    moves
}

fn differ(before: &[f64], after: &[f64]) -> Vec<bool> {
    let pairs = before.iter().zip(after);
    pairs.map(|(a, b)| a.to_bits() != b.to_bits()).collect()
}

/// Makes the steps one after another, and checks what each moved.
fn check_steps(
    mut model: Model<f64>,
    settings: OptimSettings,
    steps: &[(Vec<usize>, Vec<u32>)],
    rng: CounterRng,
) {
    let mut optimizers = Optimizers::new(&model, settings);
    let has_first = |optimizer: Optimizer| matches!(optimizer.kind, OptimizerKind::Adam { .. });
    for (number, (places, rows)) in steps.iter().enumerate() {
        let mut gradient = gradients(&model, rng.at(number as u64), rows);
        let (weights, state) = (model.network(0).clone(), optimizers.networks[0].clone());
        optimizers.step(0, model.network_mut(0), &mut gradient, places, 1.0);
        let (new_weights, new_state) = (model.network(0), &optimizers.networks[0]);

        let moves = expected_moves(&model, places);
        let none = vec![false; moves.len()];
        let first = if has_first(settings.network) {
            &moves
        } else {
            &none
        };
        let connections = model.connections(0);
        let spread = |moments: &[f64]| connections.spread(moments);
        let (old, new) = (&state.dense, &new_state.dense);
        let n = connections.len();
        assert_eq!(new.first.len(), n, "the pruned have no moments");
        assert_eq!(differ(&weights.dense, &new_weights.dense), moves);
        assert_eq!(differ(&spread(&old.first), &spread(&new.first)), *first);
        assert_eq!(differ(&spread(&old.second), &spread(&new.second)), moves);

        let (old, new) = (&state.tables[0], &new_state.tables[0]);
        for id in 0..N_ROWS {
            let moves = [rows.contains(&id); DIM];
            let is_moved = rows.contains(&id);
            let n_moments = settings.tables.kind.moments_per_row(DIM);
            let [first, second] = n_moments.map(|n| vec![is_moved; n]);
            let (row, new_row) = (weights.tables[0].row(id), new_weights.tables[0].row(id));
            assert_eq!(differ(row, new_row), moves, "row {id}");
            let slot = weights.tables[0].slot(id);
            assert_eq!(differ(old.first(slot), new.first(slot)), first);
            assert_eq!(differ(old.second(slot), new.second(slot)), second);
        }
    }
}

fn any_settings() -> impl Strategy<Value = OptimSettings> {
    let optimizer = prop::sample::select(vec![ADAM, ADAGRAD]);
    let rowwise = [ROWWISE_ADAM, ROWWISE_ADAGRAD].map(|kind| Optimizer { kind, ..ADAM });
    let of_tables = prop::sample::select([&[ADAM, ADAGRAD], &rowwise[..]].concat());
    let decay = prop::sample::select(vec![0.0, 0.1]);
    let clip_norm = prop::option::of(0.01f32..3.0);
    (optimizer, of_tables, decay, clip_norm).prop_map(
        |(network, tables, weight_decay, clip_norm)| OptimSettings {
            network,
            tables,
            weight_decay,
            table_weight_decay: weight_decay,
            clip_norm,
            leaks: ParityDeviations::default(),
        },
    )
}

fn any_rows() -> impl Strategy<Value = Vec<u32>> {
    prop::sample::subsequence((0..N_ROWS).collect::<Vec<u32>>(), 0..=N_ROWS as usize)
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Momentum that earlier steps of other tasks left behind stays where it is.
    #[test]
    fn a_step_moves_what_its_task_keeps_and_nothing_else(
        seed: u64,
        density in 0.0f64..1.0,
        common in prop::sample::select(vec![0.0, 0.5, 1.0]),
        settings in any_settings(),
        steps in prop::collection::vec(((0..N_TASKS).prop_map(|t| vec![t]), any_rows()), 1..8),
    ) {
        let model = model_with(seed, density, common);
        check_steps(model, settings, &steps, CounterRng::new(seed, "gradients"));
    }

    #[test]
    fn a_joint_step_moves_the_union_of_what_its_tasks_keep(
        seed: u64,
        density in 0.0f64..1.0,
        common in prop::sample::select(vec![0.0, 0.5, 1.0]),
        settings in any_settings(),
        steps in prop::collection::vec(
            (prop::sample::subsequence(vec![0, 1, 2], 1..=N_TASKS), any_rows()),
            1..8,
        ),
    ) {
        let model = model_with(seed, density, common);
        check_steps(model, settings, &steps, CounterRng::new(seed, "gradients"));
    }
}

/// Returns the change of each dense weight in one step for task 1, after the given steps for task 0.
fn first_step_of_task_1(steps_before: u64, leaks: ParityDeviations) -> Vec<f64> {
    let mut model = model(5, 0.5);
    let settings = OptimSettings {
        leaks,
        ..OptimSettings::new(ADAM)
    };
    let mut optimizers = Optimizers::new(&model, settings);
    let rng = CounterRng::new(5, "gradients");
    let start = model.network(0).dense.clone();
    for step in 0..steps_before {
        let mut gradient = gradients(&model, rng.at(step), &[]);
        optimizers.step(0, model.network_mut(0), &mut gradient, &[0], 1.0);
    }
    // The same place in all cases, so that equal steps are equal to the last bit.
    model.network_mut(0).dense.copy_from_slice(&start);
    let mut gradient = gradients(&model, rng.at(100), &[]);
    optimizers.step(0, model.network_mut(0), &mut gradient, &[1], 1.0);
    let pairs = model.network(0).dense.iter().zip(&start);
    pairs.map(|(after, before)| after - before).collect()
}

#[test]
fn a_private_connection_steps_first_as_if_it_were_alone() {
    let model = model(5, 0.5);
    let own = expected_moves(&model, &[1]);
    let other = expected_moves(&model, &[0]);
    let alone = first_step_of_task_1(0, ParityDeviations::default());
    let after_others = first_step_of_task_1(9, ParityDeviations::default());
    let shared_count = ParityDeviations {
        shared_count: true,
        ..ParityDeviations::default()
    };
    let miscounted = first_step_of_task_1(9, shared_count);
    let (mut n_private, mut n_shared) = (0, 0);
    for i in (0..own.len()).filter(|&i| own[i]) {
        if other[i] {
            n_shared += 1;
            assert_ne!(alone[i], after_others[i], "momentum is shared");
        } else {
            n_private += 1;
            assert_eq!(alone[i], after_others[i]);
            assert!((alone[i].abs() - 1e-3).abs() < 1e-6, "{}", alone[i]);
            assert_ne!(alone[i], miscounted[i], "one count for all is the leak");
        }
    }
    assert!(n_private > 10 && n_shared > 10, "{n_private} {n_shared}");
}

#[test]
fn what_every_task_has_pruned_has_no_moments_and_never_moves() {
    let mut model = model(7, 0.3);
    let masks = model.masks().unwrap().clone();
    let layer = model.network(0).layout.layers[0].clone();
    let is_pruned = |position: &usize| (0..N_TASKS).all(|t| !masks.tasks[t][0].keeps(*position));
    let pruned: Vec<usize> = (0..layer.weights.len()).filter(is_pruned).collect();
    assert!(pruned.len() > 10);
    let settings = OptimSettings {
        weight_decay: 0.25,
        leaks: ParityDeviations::ALL,
        ..OptimSettings::new(ADAM)
    };
    let mut optimizers = Optimizers::new(&model, settings);
    let before = model.network(0).dense.clone();
    for step in 0..4 {
        let mut gradient = gradients(&model, CounterRng::new(step, "gradients"), &[]);
        let places = [step as usize % N_TASKS];
        optimizers.step(0, model.network_mut(0), &mut gradient, &places, 1.0);
    }
    let state = &optimizers.networks[0].dense;
    let n_kept = model.network(0).layout.len - pruned_everywhere(&model);
    assert_eq!((state.first.len(), state.second.len()), (n_kept, n_kept));
    for position in pruned {
        let i = layer.weights.start + position;
        assert_eq!(model.connections(0).number(i), None);
        assert_eq!(model.network(0).dense[i], before[i]);
    }
}

/// Hidden weights that no task keeps.
fn pruned_everywhere(model: &Model<f64>) -> usize {
    let masks = model.masks().unwrap();
    let of_layer = |l: usize, n: usize| {
        let kept = |&position: &usize| masks.tasks.iter().any(|task| task[l].keeps(position));
        n - (0..n).filter(kept).count()
    };
    let layers = model.network(0).layout.layers.iter().enumerate();
    layers
        .map(|(l, layer)| of_layer(l, layer.weights.len()))
        .sum()
}

#[test]
fn moments_of_a_group_move_with_its_tasks_only() {
    let mut model = model(9, 0.5);
    let mut optimizers = Optimizers::new(&model, OptimSettings::new(ADAM));
    let mut expected = vec![0; model.connections(0).groups().len()];
    for (step, places) in [&[0][..], &[2], &[0, 1], &[2]].into_iter().enumerate() {
        let before = optimizers.networks[0].clone();
        let mut gradient = gradients(&model, CounterRng::new(step as u64, "gradients"), &[]);
        optimizers.step(0, model.network_mut(0), &mut gradient, places, 1.0);
        let after = &optimizers.networks[0];
        for (g, group) in model.connections(0).groups().iter().enumerate() {
            let moves = places.iter().any(|place| group.tasks >> place & 1 == 1);
            expected[g] += u64::from(moves);
            let range = group.range.clone();
            let (old, new) = (
                &before.dense.first[range.clone()],
                &after.dense.first[range],
            );
            assert_eq!(differ(old, new), vec![moves; new.len()]);
        }
        assert_eq!(after.counts, expected);
    }
}

#[test]
fn weight_decay_shrinks_kept_weights_and_no_bias() {
    let mut model = model(3, 0.5);
    let layout = model.network(0).layout.clone();
    let mut is_bias = vec![false; layout.len];
    for layer in layout.layers.iter().chain(&layout.heads) {
        is_bias[layer.bias.clone()].fill(true);
    }
    model.network_mut(0).dense.fill(1.0);
    let settings = OptimSettings {
        weight_decay: 0.25,
        ..OptimSettings::new(ADAGRAD)
    };
    let mut gradient = gradients(&model, CounterRng::new(1, "gradients"), &[]);
    gradient.dense.fill(0.0);
    let mut optimizers = Optimizers::new(&model, settings);
    optimizers.step(0, model.network_mut(0), &mut gradient, &[0], 2.0);
    let moves = expected_moves(&model, &[0]);
    for (i, &weight) in model.network(0).dense.iter().enumerate() {
        let shrinks = moves[i] && !is_bias[i];
        let expected = if shrinks {
            1.0 - 2.0 * 0.01 * 0.25
        } else {
            1.0
        };
        assert!((weight - expected).abs() < 1e-15, "{i}: {weight}");
    }
}

#[test]
fn table_weight_decay_shrinks_the_rows_of_a_step_alone() {
    let stepped = |table_weight_decay| {
        let mut model = model(3, 0.5);
        let mut gradient = gradients(&model, CounterRng::new(1, "gradients"), &[2, 5]);
        for table in &mut model.network_mut(0).tables {
            (0..N_ROWS).for_each(|id| table.init_row(id));
        }
        let mut settings = OptimSettings::new(ADAM);
        settings.table_weight_decay = table_weight_decay;
        let before = model.network(0).weights();
        let mut optimizers = Optimizers::new(&model, settings);
        optimizers.step(0, model.network_mut(0), &mut gradient, &[0], 2.0);
        (gradient, before, model.network(0).weights())
    };
    let ((gradient, before, plain), (.., decayed)) = (stepped(0.0), stepped(0.25));
    close(&decayed.dense, &plain.dense, 0.0, "layers do not decay");
    for (t, table) in plain.tables.iter().enumerate() {
        let (ids, old) = (&gradient.tables[t].ids, &before.tables[t].values);
        let width = table.values.len() / table.ids.len();
        let in_step = |i: usize| f64::from(u8::from(ids.contains(&table.ids[i / width])));
        let expected = (0..old.len()).map(|i| table.values[i] - in_step(i) * 5e-4 * old[i]);
        let expected: Vec<f64> = expected.collect();
        close(&decayed.tables[t].values, &expected, 1e-12, "rows");
    }
}

#[test]
fn clipping_scales_the_gradient_of_the_network_to_the_norm() {
    let soft = Optimizer {
        learning_rate: 0.1,
        kind: OptimizerKind::Adagrad { epsilon: 1.0 },
    };
    let stepped = |clip_norm, scale: f64| {
        let mut model = model(3, 0.5);
        let mut gradient = gradients(&model, CounterRng::new(1, "gradients"), &[2]);
        let norm = gradient.dense.iter().map(|x| x * x).sum::<f64>().sqrt();
        let scale = scale / norm;
        gradient.dense.iter_mut().for_each(|x| *x *= scale);
        let settings = OptimSettings {
            clip_norm,
            ..OptimSettings::new(soft)
        };
        let mut optimizers = Optimizers::new(&model, settings);
        optimizers.step(0, model.network_mut(0), &mut gradient, &[0], 1.0);
        model.network(0).weights()
    };
    let clipped = stepped(Some(0.5), 8.0);
    let expected = stepped(None, 0.5);
    close(&clipped.dense, &expected.dense, 1e-14, "clipped to 0.5");
    assert_eq!(clipped.tables, expected.tables, "tables are not clipped");
    assert_eq!(stepped(Some(0.5), 0.25), stepped(None, 0.25));
}

#[test]
fn a_row_that_no_step_touched_stays_undrawn_and_without_moments() {
    let spec = Spec::clone(model(1, 1.0).spec());
    let mut model: Model<f64> = Model::new(spec, CounterRng::new(1, "weights"));
    let mut optimizers = Optimizers::new(&model, OptimSettings::new(ADAM));
    for (step, rows) in [[0, 3], [3, 5]].into_iter().enumerate() {
        let mut gradient = gradients(&model, CounterRng::new(step as u64, "gradients"), &rows);
        optimizers.step(0, model.network_mut(0), &mut gradient, &[0], 1.0);
    }
    let table = &model.network(0).tables[0];
    assert_eq!(table.sparse_rows().ids, [0, 3, 5]);
    assert_eq!(table.slot(5), 3, "only three rows take room");
    for id in [1, 2, 4, 6] {
        assert_eq!(table.row(id), [0.0; DIM]);
        assert_eq!(table.slot(id), 0);
    }
}
