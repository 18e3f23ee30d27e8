//! The number of threads of the pool in which a training runs changes no bit of its weights, moments and table rows.

use ncs_features::{Batch, FieldIds, Pooling};
use ncs_model::{
    CounterRng, FieldSpec, Gradient, HeadRows, Masks, Model, NetworkKind, SparseRows, Spec, Table,
    Workspace, masks,
};
use ncs_train::optim::{OptimSettings, Optimizers};
use ncs_train::{Optimizer, OptimizerKind};
use std::sync::Arc;

const ROWS: usize = 700;
const TABLE_ROWS: usize = 40_000;

/// Fields of two tables, one with padded lists; layers of some 20,000 connections under two masks.
fn model() -> Model {
    let field = |table| ncs_testkit::field(table);
    let list = FieldSpec {
        pooling: Some(Pooling::PaddedMean),
        ..field(0)
    };
    let tables = ["word", "item"].map(|name| ncs_testkit::table(name, TABLE_ROWS));
    let spec = Spec {
        fields: vec![field(0), field(1), list, field(1)],
        tables: tables.into(),
        tasks: ["ctr", "cvr"].map(String::from).into(),
        links: Vec::new(),
        plan: ncs_testkit::network(NetworkKind::SparseSharing, 16, &[200, 60]),
    };
    let mut model = Model::new(spec, CounterRng::new(1, "weights"));
    let shapes = model.spec().layer_shapes();
    let mask = |task| masks::random(&shapes, 0.7, CounterRng::new(task, "mask"));
    model.set_masks(Some(Arc::new(Masks {
        tasks: vec![mask(0), mask(1)],
        owners: None,
    })));
    model
}

fn batch(number: u64) -> Batch {
    let rng = CounterRng::new(2, "batch").at(number);
    let id = |field: u64, i: usize| {
        let uniform = rng.at(field).uniform(i as u64);
        (uniform * uniform * TABLE_ROWS as f64) as u32
    };
    let field = |f: u64| match f {
        2 => {
            let ids: Vec<u32> = (0..3 * ROWS).map(|i| id(f, i)).collect();
            // Every second list is shorter than the longest, so it is padded.
            let ends = (1..=ROWS).map(|row| (3 * row - row % 2) as u32);
            FieldIds {
                ids,
                offsets: [0].into_iter().chain(ends).collect(),
                ..FieldIds::default()
            }
        }
        _ => FieldIds {
            ids: (0..ROWS).map(|i| id(f, i)).collect(),
            ..FieldIds::default()
        },
    };
    Batch {
        n_rows: ROWS,
        fields: (0..4).map(field).collect(),
        ..Batch::default()
    }
}

fn settings() -> OptimSettings {
    let adam = Optimizer {
        learning_rate: 1e-2,
        kind: OptimizerKind::Adam {
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
        },
    };
    OptimSettings {
        weight_decay: 1e-3,
        table_weight_decay: 1e-3,
        ..OptimSettings::new(adam)
    }
}

/// All weights, moments and rows, as bits.
#[derive(Debug, PartialEq)]
struct State {
    dense: Vec<u32>,
    moments: [Vec<u32>; 2],
    tables: Vec<SparseRows<f32>>,
    /// The rows of each table in the order of their initialisation.
    order: Vec<Vec<u32>>,
}

/// Trains three steps in a pool of `n_threads`, with batches cut in two.
fn trained(n_threads: usize) -> State {
    let train = || {
        let mut model = model();
        let mut optimizers = Optimizers::new(&model, settings());
        let (mut workspace, mut gradient) = (Workspace::new(2), Gradient::default());
        let mut subnets = model.subnets(0, &[0, 1]);
        let loss = |rows: &HeadRows<'_, f32>, gradients: &mut [f32]| {
            let logits = rows.logits.iter().zip(gradients);
            for (row, (logit, gradient)) in logits.enumerate() {
                let label = ((rows.first + row) % 3 == rows.head) as u8;
                *gradient = (logit - f32::from(label)) / ROWS as f32;
            }
            0.0
        };
        for number in 0..3 {
            let batch = batch(number);
            model.network_mut(0).init_rows_of(&batch);
            let network = model.network(0);
            subnets.iter_mut().for_each(|subnet| subnet.load(network));
            network.learn(&batch, &subnets, None, &loss, &mut workspace, &mut gradient);
            let network = model.network_mut(0);
            optimizers.step(0, network, &mut gradient, &[0, 1], 1.0);
        }
        let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect();
        let (network, state) = (model.network(0), &optimizers.networks[0]);
        State {
            dense: bits(&network.dense),
            moments: [bits(&state.dense.first), bits(&state.dense.second)],
            tables: network.tables.iter().map(Table::sparse_rows).collect(),
            order: network.tables.iter().map(|t| t.ids().to_vec()).collect(),
        }
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads);
    pool.build().unwrap().install(train)
}

#[test]
fn the_number_of_threads_of_the_pool_changes_no_bit() {
    let one = trained(1);
    let n_kept = one.moments[0].iter().filter(|bits| **bits != 0).count();
    assert!(n_kept > 16_384, "enough connections for several threads");
    assert!(one.order.iter().all(|ids| ids.len() > 1000));
    for n_threads in [2, 3, 5] {
        let other = trained(n_threads);
        assert!(one == other, "{n_threads} threads differ from one");
    }
}
