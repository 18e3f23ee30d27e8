//! Memory use of embedding tables. The only test of its process: all of the resident memory is its own.

#![cfg(target_os = "linux")]

use ncs_model::{
    CounterRng, FieldSpec, Gradient, Gram, Model, NetworkKind, NetworkPlan, Spec, TableGradient,
    TableSpec,
};
use ncs_train::optim::{OptimSettings, Optimizers};
use ncs_train::{Optimizer, OptimizerKind};

const N_ROWS: usize = 4_000_000;
const DIM: usize = 16;

fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

fn spec() -> Spec {
    Spec {
        fields: vec![FieldSpec {
            table: 0,
            pooling: None,
            pieces: None,
            vector: None,
        }],
        tables: vec![TableSpec {
            name: "user".into(),
            rows: N_ROWS,
            unknown: None,
        }],
        tasks: vec!["ctr".into()],
        links: Vec::new(),
        plan: NetworkPlan {
            gram: Gram::None,
            table_deviation: None,
            ..ncs_testkit::network(NetworkKind::SharedBottom, DIM, &[1])
        },
    }
}

/// One row in twenty, scattered: about every page of a matrix of all rows would be touched.
#[test]
fn tables_and_moments_take_what_the_rows_that_were_met_need() {
    const ADAM: Optimizer = Optimizer {
        learning_rate: 1e-3,
        kind: OptimizerKind::Adam {
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
        },
    };
    let settings = OptimSettings::new(ADAM);
    let ids: Vec<u32> = (0..N_ROWS as u32).step_by(20).collect();
    let before = resident();
    let mut model: Model = Model::new(spec(), CounterRng::new(1, "weights"));
    let mut optimizers = Optimizers::new(&model, settings);
    for ids in ids.chunks(4096) {
        let mut gradient = Gradient {
            dense: vec![0.0; model.connections(0).len()],
            tables: vec![TableGradient::new(ids.to_vec(), vec![1.0; ids.len() * DIM])],
        };
        optimizers.step(0, model.network_mut(0), &mut gradient, &[0], 1.0);
    }
    assert_eq!(model.network(0).tables[0].n_initialised(), ids.len());
    let grown = resident().saturating_sub(before);
    // Weights and two moments of each, and four bytes for every row of the table.
    let needed = ids.len() * 3 * DIM * 4 + N_ROWS * 4;
    assert!(
        grown < needed + needed / 7,
        "{grown} bytes, needed are {needed}"
    );
}
