//! A whole small mask search, from the cache to the artifact, one thread:
//! `cargo bench -p ncs-train --bench search`.

use divan::Bencher;
use ncs_features::{
    Field, HashFunction, IdSpacePlan, NumericPlan, Pooling, Population, SchemaPlan, TablePlan, Task,
};
use ncs_model::{NetworkKind, NetworkPlan};
use ncs_readers::split::Part;
use ncs_readers::synthetic::{FIELDS, GROUP, LABELS, LIST_SEPARATOR, SyntheticPlan, write_log};
use ncs_readers::{DataPlan, Format, Prepared, Reading, Split, prepare};
use ncs_train::{
    Decay, Keep, NoopListener, Optimizer, OptimizerKind, Pick, Rewind, Run, Schedule, SearchKind,
    SearchPlan, Shrinkage, StepPrecision, Steps, TrainPlan,
};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tempfile::tempdir;

const ADAM: Optimizer = Optimizer {
    learning_rate: 1e-3,
    kind: OptimizerKind::Adam {
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
    },
};

fn main() {
    divan::main();
}

fn network(dim: usize) -> NetworkPlan {
    NetworkPlan {
        table_deviation: Some(0.01),
        ..ncs_testkit::network(NetworkKind::SparseSharing, dim, &[64, 32])
    }
}

const LOG_ROWS: u64 = 20_000;

fn schema() -> SchemaPlan {
    let field = |(table, name): (usize, &str)| Field {
        name: name.into(),
        column: name.into(),
        table,
        pooling: (name == "tags").then_some(Pooling::Mean),
        separator: (name == "tags").then_some(LIST_SEPARATOR),
        max_values: None,
        beside: Default::default(),
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
        population: if number == 0 {
            Population::All
        } else {
            Population::Where(0)
        },
        ..ncs_testkit::task(name)
    };
    let names = || FIELDS.iter().map(|(name, _)| *name);
    SchemaPlan {
        fields: names().enumerate().map(field).collect(),
        tables: names().map(table).collect(),
        tasks: LABELS.into_iter().enumerate().map(task).collect(),
        group: Some(GROUP.into()),
        rates: Default::default(),
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
        kappa: None,
        seed: 1,
        threads: 1,
        batch: Some(512),
        epochs: 1,
        steps: Steps::Alternating,
        balance: ncs_train::Balance::Fixed,
        funnel: None,
        product: None,
        evidence: None,
        shrinkage: Shrinkage::Conversions,
        precision: StepPrecision::Single,
        id_dropout: ncs_train::IdDropoutPlan::None,
        field_dropout: 0.0,
        label_smoothing: vec![],
        average: None,
        optimizer: ADAM,
        table_optimizer: ADAM,
        schedule: Schedule {
            warmup_steps: 0,
            decay: Decay::None {},
        },
        weight_decay: 0.0,
        table_weight_decay: 0.0,
        clip_norm: None,
        evaluations_per_epoch: 1,
        patience: None,
        keep: Keep::BestPerTask,
        refit: false,
        checkpoint_steps: 1000,
        rank_tables: ncs_train::RankTables::Replicated,
        model_files: ncs_train::ModelFiles::Whole,
        table_storage: ncs_train::StorageKind::Memory,
        table_folder: None,
        search: SearchPlan {
            density_by_snr: false,
            candidates: vec![],
            kind: SearchKind::Magnitude,
            common_units: ncs_train::CommonUnits::Share(1.0),
            rate_readers: ncs_train::RateReaders::Clicks,
            measure_rho: false,
            rounds: 3,
            density: vec![0.3, 0.3],
            epochs_per_round: 1.0,
            rewind: Rewind::Initial,
            seed: None,
            control: ncs_train::Control::None,
            pick: Pick::Best,
        },
        lifetimes: vec![],
        day: None,
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
                refit: None,
                initial_rows: &[],
                earlier: None,
                network: &network,
                plan: &plan,
                schema: &data.schema,
                train: &data.train,
                valid: data.valid.as_ref(),
                data_key: data.key,
                folder: folder.path(),
                checkpoint_every: Duration::MAX,
                stop: &stop,
            };
            let trained = run.run(&mut NoopListener).unwrap();
            assert_eq!(trained.searches[0].levels.len(), 4);
            trained
        });
}
