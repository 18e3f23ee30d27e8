//! The workload of the paper's size: 20 fields of dimension 16 (15 single, 5 lists of 6 ids) in one
//! table, layers 512-256-128, two tasks; one row in ten is a click, and one click in five converts.
//! `tools/bench/workload.py` makes the same for the peers.

use ncs_features::{
    Batch, Field, FieldIds, HashFunction, IdSpace, Objective, Pooling, Population, Schema, Table,
    Task,
};
use ncs_model::{
    Draw, Gradient, Gram, Masks, Model, NetworkKind, NetworkPlan, Pass, Spec, Subnet, masks,
};
use ncs_train::Optimizer;
use ncs_train::loss::loss;
use ncs_train::optim::{Leaks, OptimSettings, Optimizers};
use std::sync::Arc;

pub(crate) const N_SINGLE: usize = 15;
pub(crate) const N_LISTS: usize = 5;
pub(crate) const LIST_LENGTH: usize = 6;
pub(crate) const DIM: usize = 16;

/// Steps go through so many batches in turn, so that no table row is in cache for free.
pub(crate) const N_BATCHES: usize = 8;

const ADAM: Optimizer = Optimizer::Adam {
    learning_rate: 1e-3,
    beta1: 0.9,
    beta2: 0.999,
    epsilon: 1e-8,
};

const OBJECTIVES: [Objective; 2] = [
    Objective::Focal {
        alpha: 0.75,
        gamma: 2.0,
    },
    Objective::CrossEntropy,
];

/// What can be larger or smaller than in the paper.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// Rows of a batch.
    pub(crate) batch: usize,
    /// Rows of the one table that all fields share.
    pub(crate) table_rows: usize,
    /// Times the paper's layer widths.
    pub(crate) width: usize,
    pub(crate) threads: usize,
}

impl Size {
    pub(crate) const PAPER: Size = Size {
        batch: 4096,
        table_rows: 10_000_000,
        width: 1,
        threads: 1,
    };
}

/// A model in training.
pub(crate) struct Training {
    pub(crate) model: Model,
    optimizers: Optimizers,
    pass: Pass,
    gradient: Gradient,
    tasks: Vec<usize>,
}

impl Training {
    /// Trains these tasks together.
    pub(crate) fn new(size: Size, model: Model, tasks: &[usize]) -> Training {
        Training {
            optimizers: Optimizers::new(&model, settings()),
            pass: Pass::new(size.threads),
            gradient: Gradient::default(),
            tasks: tasks.to_vec(),
            model,
        }
    }

    /// Trains on under other masks, from fresh moments.
    pub(crate) fn set_masks(&mut self, masks: Masks) {
        self.model.set_masks(Some(Arc::new(masks)));
        self.optimizers = Optimizers::new(&self.model, settings());
    }

    /// Draws rows, runs forward and back, each task on the rows whose label is known, and moves the
    /// weights. The only place here that knows how a step is put together.
    pub(crate) fn step(&mut self, batch: &Batch) {
        self.model.tower_mut(0).touch(batch);
        let subnets = self.subnets(batch);
        let tower = self.model.tower_mut(0);
        tower.forward(batch, &subnets, None, &mut self.pass);
        let slopes = |(head, &task): (usize, &usize)| {
            let labels: Vec<f32> = known(batch, task).map(|(_, label)| label).collect();
            loss(OBJECTIVES[task], &self.pass.logits(head), &labels).slopes
        };
        let slopes: Vec<Vec<f64>> = self.tasks.iter().enumerate().map(slopes).collect();
        let (pass, gradient) = (&mut self.pass, &mut self.gradient);
        tower.backward(batch, &subnets, &slopes, pass, gradient);
        self.optimizers.step(0, tower, gradient, &self.tasks, 1.0);
    }

    /// Forward only, on rows that were drawn before.
    pub(crate) fn forward(&mut self, batch: &Batch) {
        let subnets = self.subnets(batch);
        let tower = self.model.tower(0);
        tower.forward(batch, &subnets, None, &mut self.pass);
    }

    fn subnets(&self, batch: &Batch) -> Vec<Subnet> {
        let on_known = |(subnet, &task): (Subnet, &usize)| {
            let rows: Vec<u32> = known(batch, task).map(|(row, _)| row).collect();
            match rows.len() == batch.n_rows {
                true => subnet,
                false => subnet.on_rows(rows),
            }
        };
        let subnets = self.model.subnets(0, &self.tasks).into_iter();
        subnets.zip(&self.tasks).map(on_known).collect()
    }

    /// Table rows that some batch has met.
    pub(crate) fn n_drawn_rows(&self) -> usize {
        let tables = self.model.tower(0).tables.iter();
        tables.map(|table| table.n_drawn()).sum()
    }
}

/// Rows with a label, and the label.
fn known(batch: &Batch, task: usize) -> impl Iterator<Item = (u32, f32)> + '_ {
    let labels = (0..).zip(batch.labels[task].iter().copied());
    labels.filter(|(_, label)| !label.is_nan())
}

fn settings() -> OptimSettings {
    OptimSettings {
        network: ADAM,
        tables: ADAM,
        weight_decay: 0.0,
        clip_norm: None,
        leaks: Leaks::default(),
    }
}

/// A model under random masks of these densities, of CTR and CVR.
pub(crate) fn model(size: Size, density: [f64; 2]) -> Model {
    let spec = Spec::of(&schema(size), &network(size));
    let mut model = Model::new(spec, Draw::new(1, "weights"));
    let shapes = model.spec().layer_shapes();
    let mask = |(task, density)| masks::random(&shapes, density, Draw::new(task, "mask"));
    let tasks = (0..).zip(density).map(mask).collect();
    model.set_masks(Some(Arc::new(Masks { tasks })));
    model
}

/// The network.
pub(crate) fn network(size: Size) -> NetworkPlan {
    NetworkPlan {
        kind: NetworkKind::SparseSharing,
        dim: DIM,
        hidden: [512, 256, 128].map(|units| units * size.width).into(),
        gram: Gram::Full,
        dropout: 0.0,
        table_deviation: Some(0.01),
    }
}

/// The fields, all in one table, and both tasks.
pub(crate) fn schema(size: Size) -> Schema {
    let field = |number: usize| Field {
        name: format!("field {number}"),
        column: format!("field {number}"),
        table: 0,
        pooling: (number >= N_SINGLE).then_some(Pooling::Mean),
        separator: None,
        max_values: None,
        missing: vec![],
    };
    let table = Table {
        name: "all".into(),
        ids: IdSpace::Hash {
            // One row more is for what is missing.
            buckets: size.table_rows as u32 - 1,
            function: HashFunction::Xxh3,
        },
    };
    Schema {
        fields: (0..N_SINGLE + N_LISTS).map(field).collect(),
        tables: vec![table],
        tasks: tasks(["ctr", "cvr"]),
        group: None,
    }
}

/// The two tasks, the second on the clicked rows.
pub(crate) fn tasks(labels: [&str; 2]) -> Vec<Task> {
    let task = |(number, label): (usize, &str)| Task {
        name: label.into(),
        label: label.into(),
        population: match number {
            0 => Population::All,
            _ => Population::Where(0),
        },
        objective: OBJECTIVES[number],
        weight: 1.0,
        truth: None,
    };
    labels.into_iter().enumerate().map(task).collect()
}

/// The batches that steps go through.
pub(crate) fn batches(size: Size) -> Vec<Batch> {
    (0..N_BATCHES as u64)
        .map(|number| batch(size, number))
        .collect()
}

/// Batch `number`.
pub(crate) fn batch(size: Size, number: u64) -> Batch {
    let draw = Draw::new(number, "ids");
    let field = |f: usize| {
        let per_row = if f < N_SINGLE { 1 } else { LIST_LENGTH };
        ids(size, draw.at(f as u64), per_row)
    };
    let is_click = |row: usize| row % 10 == 3;
    let click = |row| f32::from(u8::from(is_click(row)));
    let conversion = |row| match is_click(row) {
        true => f32::from(u8::from(row % 50 == 3)),
        false => f32::NAN,
    };
    Batch {
        n_rows: size.batch,
        fields: (0..N_SINGLE + N_LISTS).map(field).collect(),
        labels: vec![
            (0..size.batch).map(click).collect(),
            (0..size.batch).map(conversion).collect(),
        ],
        ..Batch::default()
    }
}

/// Ids whose ranks fall off as Zipf's law has it, and lie scattered.
fn ids(size: Size, draw: Draw, per_row: usize) -> FieldIds {
    let n = size.table_rows as f64;
    let id = |position: usize| {
        let rank = n.powf(draw.uniform(position as u64)) as u64 - 1;
        (rank.wrapping_mul(2_654_435_761) % size.table_rows as u64) as u32
    };
    let offsets = (0..=size.batch).map(|row| (row * per_row) as u32);
    FieldIds {
        ids: (0..size.batch * per_row).map(id).collect(),
        offsets: offsets.filter(|_| per_row > 1).collect(),
        ..FieldIds::default()
    }
}
