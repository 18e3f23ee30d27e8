//! Cost that reading and encoding a Parquet log adds to training on it: the synthetic log of 15 features,
//! the paper's layers, batches as the reader makes them.

use crate::arguments::Arguments;
use crate::base;
use crate::clock::{middle, once};
use crate::paper::{self, Training};
use ncs_features::{Batch, Encoder, Field, HashFunction, IdSpace, Pooling, Schema, Table};
use ncs_model::{CounterRng, Masks, Model, Spec, masks};
use ncs_readers::synthetic::{
    FIELDS, LABELS, LIST_SEPARATOR, Synthetic, SyntheticPlan, write_blocks,
};
use ncs_readers::{Encoded, Format, Reading};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use tempfile::tempdir;

/// Batches that are read ahead.
const AHEAD: usize = 2;

/// Rows of each table.
const BUCKETS: u32 = 1_000_000;

/// Trains over the log from its file and from memory, by turns.
pub(crate) fn read(arguments: &Arguments) -> Value {
    let folder = tempdir().expect("a folder for the log");
    let path = folder.path().join("log.parquet");
    let log = Synthetic::new(SyntheticPlan {
        rows: arguments.log_rows,
        ..SyntheticPlan::default()
    });
    write_blocks(&path, Format::Parquet, log.expect("a sound plan")).expect("room for the log");
    let encoder = Encoder::new(Arc::new(schema()));
    let in_memory: Vec<Batch> = batches(&path, &encoder).collect();
    let mut training = training(arguments);
    train_on(&mut training, in_memory.iter());

    let (mut from_file, mut from_memory) = (Vec::new(), Vec::new());
    for _ in 0..arguments.samples {
        from_file.push(once(|| train_while_reading(&mut training, &path, &encoder)));
        from_memory.push(once(|| train_on(&mut training, in_memory.iter())));
    }
    let (file, memory) = (middle(&from_file), middle(&from_memory));
    let mut record = base(arguments, file, arguments.log_rows as usize);
    record["batch"] = json!(in_memory[0].n_rows);
    record["wall_ms_from_memory"] = json!(memory.wall_ms);
    record["cpu_ms_from_memory"] = json!(memory.cpu_ms);
    record["reading_share"] = json!(file.wall_ms / memory.wall_ms - 1.0);
    record["reading_cpu_share"] = json!(file.cpu_ms / memory.cpu_ms - 1.0);
    record
}

fn train_on<'a>(training: &mut Training, batches: impl Iterator<Item = &'a Batch>) {
    batches.for_each(|batch| training.step(batch));
}

/// The next batches are read and encoded meanwhile, by a thread of their own.
fn train_while_reading(training: &mut Training, path: &Path, encoder: &Encoder) {
    std::thread::scope(|scope| {
        let (sender, receiver) = sync_channel(AHEAD);
        scope.spawn(move || {
            for batch in batches(path, encoder) {
                sender
                    .send(batch)
                    .expect("training goes on to the last batch");
            }
        });
        receiver.iter().for_each(|batch| training.step(&batch));
    });
}

fn batches(path: &Path, encoder: &Encoder) -> impl Iterator<Item = Batch> {
    let files = vec![path.to_owned()];
    let encoded = Encoded::open(files, &Reading::default(), encoder.clone(), true);
    encoded.map(|batch| batch.expect("a sound log"))
}

fn training(arguments: &Arguments) -> Training {
    let spec = Spec::of(&schema(), &paper::network(arguments.size));
    let mut model = Model::new(spec, CounterRng::new(1, "weights"));
    let shapes = model.spec().layer_shapes();
    let mask = |(task, density)| masks::random(&shapes, density, CounterRng::new(task, "mask"));
    let tasks = (0..).zip(arguments.density).map(mask).collect();
    model.set_masks(Some(Arc::new(Masks {
        tasks,
        owners: None,
    })));
    Training::new(arguments.size, model, &[0, 1])
}

/// Returns a schema of all features of the synthetic log, the price as a scaled number.
fn schema() -> Schema {
    let names = || FIELDS.iter().map(|(name, _)| *name);
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
    let table = |name: &str| Table {
        name: name.into(),
        ids: match name {
            "price" => IdSpace::Scaled {
                log: true,
                mean: 3.0,
                deviation: 1.0,
            },
            _ => IdSpace::Hash {
                buckets: BUCKETS,
                function: HashFunction::Xxh3,
                unknown: false,
            },
        },
        range: None,
    };
    Schema {
        value_rule: ncs_features::ValueRule::CURRENT,
        fields: names().enumerate().map(field).collect(),
        tables: names().map(table).collect(),
        tasks: paper::tasks(LABELS),
        group: None,
    }
}
