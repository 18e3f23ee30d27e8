//! A training step at the paper's size, and a whole small mask search, one thread:
//! `cargo bench -p ncs-train`.

use divan::Bencher;
use divan::counter::ItemsCount;
use ncs_features::{
    Batch, Field, FieldIds, HashFunction, IdSpacePlan, NumericPlan, Objective, Pooling, Population,
    SchemaPlan, TablePlan, Task,
};
use ncs_model::{
    Draw, FieldSpec, Gradient, Gram, Masks, Model, NetworkKind, NetworkPlan, Pass, Spec, TableSpec,
    masks,
};
use ncs_readers::split::Part;
use ncs_readers::synthetic::{FIELDS, GROUP, LABELS, LIST_SEPARATOR, SyntheticPlan, write_log};
use ncs_readers::{DataPlan, Format, Prepared, Reading, Split, prepare};
use ncs_train::loss::loss;
use ncs_train::optim::{Leaks, OptimSettings, Optimizers};
use ncs_train::{
    Deaf, Decay, Keep, Optimizer, Pick, Rewind, Run, Schedule, SearchKind, SearchPlan, Steps,
    TrainPlan,
};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tempfile::tempdir;

const ADAM: Optimizer = Optimizer::Adam {
    learning_rate: 1e-3,
    beta1: 0.9,
    beta2: 0.999,
    epsilon: 1e-8,
};

fn main() {
    divan::main();
}

// ---- one step at the paper's size

const N_ROWS: usize = 4096;
const N_SINGLE: usize = 15;
const N_LISTS: usize = 5;
const LIST_LENGTH: usize = 6;
const TABLE_ROWS: usize = 1_000_000;

/// The row that is met at `position`: ranks fall off as Zipf's law has it, and lie scattered.
fn id(draw: Draw, position: usize) -> u32 {
    let n = TABLE_ROWS as f64;
    let rank = n.powf(draw.uniform(position as u64)) as u64 - 1;
    (rank * 7_368_787 % TABLE_ROWS as u64) as u32
}

fn ids(field: usize, per_row: usize) -> FieldIds {
    let draw = Draw::new(field as u64, "ids");
    let offsets = (0..=N_ROWS).map(|row| (row * per_row) as u32);
    FieldIds {
        ids: (0..N_ROWS * per_row).map(|i| id(draw, i)).collect(),
        offsets: offsets.filter(|_| per_row > 1).collect(),
        ..FieldIds::default()
    }
}

/// One row in ten is a click.
fn batch() -> Batch {
    let singles = (0..N_SINGLE).map(|field| ids(field, 1));
    let lists = (N_SINGLE..N_SINGLE + N_LISTS).map(|field| ids(field, LIST_LENGTH));
    let clicks = (0..N_ROWS).map(|row| f32::from(u8::from(row % 10 == 0)));
    Batch {
        n_rows: N_ROWS,
        fields: singles.chain(lists).collect(),
        labels: vec![clicks.collect()],
        ..Batch::default()
    }
}

/// Without masks, or under random ones of this density.
fn model(density: Option<f64>) -> Model {
    let n_fields = N_SINGLE + N_LISTS;
    let field = |table| FieldSpec {
        table,
        pooling: (table >= N_SINGLE).then_some(Pooling::Mean),
    };
    let table = |number| TableSpec {
        name: format!("table {number}"),
        rows: TABLE_ROWS,
    };
    let spec = Spec {
        fields: (0..n_fields).map(field).collect(),
        tables: (0..n_fields).map(table).collect(),
        tasks: vec!["ctr".into(), "cvr".into()],
        plan: NetworkPlan {
            kind: match density {
                Some(_) => NetworkKind::SparseSharing,
                None => NetworkKind::SharedBottom,
            },
            hidden: vec![512, 256, 128],
            ..network(16)
        },
    };
    let mut model = Model::new(spec, Draw::new(1, "weights"));
    if let Some(density) = density {
        let shapes = model.spec().layer_shapes();
        let mask = |task| masks::random(&shapes, density, Draw::new(task, "mask"));
        let tasks = vec![mask(0), mask(1)];
        model.set_masks(Some(Arc::new(Masks { tasks })));
    }
    model
}

fn network(dim: usize) -> NetworkPlan {
    NetworkPlan {
        kind: NetworkKind::SparseSharing,
        dim,
        hidden: vec![64, 32],
        gram: Gram::Full,
        dropout: 0.0,
        table_deviation: Some(0.01),
    }
}

/// Draws rows, runs forward and back for one task, and moves its weights by Adam.
#[divan::bench(args = ["dense", "density 0.2"], sample_count = 20, sample_size = 1)]
fn training_step(bencher: Bencher, network: &str) {
    let mut model = model((network != "dense").then_some(0.2));
    let settings = OptimSettings {
        network: ADAM,
        tables: ADAM,
        weight_decay: 0.0,
        clip_norm: None,
        leaks: Leaks::default(),
    };
    let mut optimizers = Optimizers::new(&model, settings);
    let (mut pass, mut gradient) = (Pass::new(1), Gradient::default());
    let batch = batch();
    let mut step = || {
        model.tower_mut(0).touch(&batch);
        let subnets = model.subnets(0, &[0]);
        let tower = model.tower_mut(0);
        tower.forward(&batch, &subnets, None, &mut pass);
        let found = loss(Objective::CrossEntropy, &pass.logits(0), &batch.labels[0]);
        tower.backward(&batch, &subnets, &[found.slopes], &mut pass, &mut gradient);
        optimizers.step(0, tower, &mut gradient, &[0], 1.0);
    };
    // The first step draws the rows and meets fresh memory; all others do not.
    step();
    bencher.counter(ItemsCount::new(N_ROWS)).bench_local(step);
}

// ---- a small search, from the cache to the artifact

const LOG_ROWS: u64 = 20_000;

fn schema() -> SchemaPlan {
    let field = |(table, name): (usize, &str)| Field {
        name: name.into(),
        column: name.into(),
        table,
        pooling: (name == "tags").then_some(Pooling::Mean),
        separator: (name == "tags").then_some(LIST_SEPARATOR),
        max_values: None,
        missing: vec![],
    };
    let table = |name: &str| TablePlan {
        name: name.into(),
        ids: match name {
            "price" => IdSpacePlan::Numeric(NumericPlan::Log),
            _ => IdSpacePlan::Hash {
                buckets: 10_000,
                function: HashFunction::Xxh3,
            },
        },
    };
    let task = |(number, name): (usize, &str)| Task {
        name: name.into(),
        label: name.into(),
        population: if number == 0 {
            Population::All
        } else {
            Population::Where(0)
        },
        objective: Objective::CrossEntropy,
        weight: 1.0,
        truth: None,
    };
    let names = || FIELDS.iter().map(|(name, _)| *name);
    SchemaPlan {
        fields: names().enumerate().map(field).collect(),
        tables: names().map(table).collect(),
        tasks: LABELS.into_iter().enumerate().map(task).collect(),
        group: Some(GROUP.into()),
    }
}

fn prepared(folder: &Path) -> Prepared {
    let log = SyntheticPlan {
        click_rate: 0.3,
        conversion_rate: 0.3,
        ..SyntheticPlan::default()
    };
    let files = write_log(&log, folder, Format::Csv, &[(Part::Train, LOG_ROWS)]).unwrap();
    let plan = DataPlan {
        train: vec![files[0].path.display().to_string()],
        valid: vec![],
        test: vec![],
        root: folder.into(),
        reading: Reading::default(),
        split: Split::Hash {
            column: GROUP.into(),
            valid: 0.2,
            test: 0.0,
            seed: 1,
        },
        cache: folder.join("cache"),
    };
    prepare(&plan, &schema(), &mut |_| {
        std::ops::ControlFlow::Continue(())
    })
    .unwrap()
}

fn plan() -> TrainPlan {
    TrainPlan {
        seed: 1,
        threads: 1,
        batch: 512,
        epochs: 1,
        steps: Steps::Alternating,
        optimizer: ADAM,
        table_optimizer: ADAM,
        schedule: Schedule {
            warmup_steps: 0,
            decay: Decay::None,
        },
        weight_decay: 0.0,
        clip_norm: None,
        evaluations_per_epoch: 1,
        patience: None,
        keep: Keep::BestPerTask,
        checkpoint_steps: 1000,
        search: SearchPlan {
            kind: SearchKind::Magnitude,
            rounds: 3,
            density: vec![0.3, 0.3],
            epochs_per_round: 1.0,
            rewind: Rewind::Initial,
            pick: Pick::BestValidation,
        },
        parity_stale_momentum: false,
    }
}

/// Four levels for each of two tasks, and the training after them, each one pass over 16,000 rows.
#[divan::bench(sample_count = 5, sample_size = 1)]
fn mask_search_and_training(bencher: Bencher) {
    let log = tempdir().unwrap();
    let data = prepared(log.path());
    let (network, plan) = (network(8), plan());
    let stop = AtomicBool::new(false);
    bencher
        .with_inputs(|| tempdir().unwrap())
        .bench_local_refs(|folder| {
            let run = Run {
                network: &network,
                plan: &plan,
                schema: &data.schema,
                train: &data.train,
                valid: data.valid.as_ref(),
                data_key: data.key,
                folder: folder.path(),
                stop: &stop,
            };
            let trained = run.run(&mut Deaf).unwrap();
            assert_eq!(trained.searches[0].levels.len(), 4);
            trained
        });
}
