//! The workload of the paper's size: 20 fields of dimension 16 (15 single, 5 lists of 6 ids), layers
//! 512-256-128, two tasks; one row in ten is a click, and one click in five converts.

use ncs_features::{Batch, FieldIds, Objective, Pooling};
use ncs_model::{
    Draw, FieldSpec, Gradient, Gram, HeadRows, Masks, Model, NetworkKind, NetworkPlan, Pass, Spec,
    Subnet, TableSpec, masks,
};
use ncs_train::Optimizer;
use ncs_train::loss::BatchLoss;
use ncs_train::optim::{Leaks, OptimSettings, Optimizers};
use std::sync::Arc;

pub(crate) const N_SINGLE: usize = 15;
pub(crate) const N_LISTS: usize = 5;
pub(crate) const LIST_LENGTH: usize = 6;
pub(crate) const DIM: usize = 16;

pub(crate) const ADAM: Optimizer = Optimizer::Adam {
    learning_rate: 1e-3,
    beta1: 0.9,
    beta2: 0.999,
    epsilon: 1e-8,
};

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

/// Under random masks of these densities, one a task; `None`: a shared bottom without masks.
pub(crate) fn model(size: Size, densities: Option<[f64; 2]>) -> Model {
    let field = |f: usize| FieldSpec {
        table: 0,
        pooling: (f >= N_SINGLE).then_some(Pooling::Mean),
    };
    let spec = Spec {
        fields: (0..N_SINGLE + N_LISTS).map(field).collect(),
        tables: vec![TableSpec {
            name: "all".into(),
            rows: size.table_rows,
        }],
        tasks: vec!["ctr".into(), "cvr".into()],
        plan: NetworkPlan {
            kind: match densities {
                Some(_) => NetworkKind::SparseSharing,
                None => NetworkKind::SharedBottom,
            },
            dim: DIM,
            hidden: [512, 256, 128].map(|units| units * size.width).into(),
            gram: Gram::Full,
            dropout: 0.0,
            table_deviation: Some(0.01),
        },
    };
    let mut model = Model::new(spec, Draw::new(1, "weights"));
    if let Some(densities) = densities {
        let shapes = model.spec().layer_shapes();
        let mask =
            |task: u64| masks::random(&shapes, densities[task as usize], Draw::new(task, "mask"));
        let tasks = vec![mask(0), mask(1)];
        model.set_masks(Some(Arc::new(Masks { tasks })));
    }
    model
}

/// A model in training.
pub(crate) struct Training {
    pub(crate) model: Model,
    optimizers: Optimizers,
    pass: Pass,
    gradient: Gradient,
    tasks: Vec<usize>,
    subnets: Vec<Subnet>,
}

impl Training {
    /// Trains these tasks together.
    pub(crate) fn new(size: Size, model: Model, tasks: &[usize]) -> Training {
        let settings = OptimSettings {
            network: ADAM,
            tables: ADAM,
            weight_decay: 0.0,
            clip_norm: None,
            leaks: Leaks::default(),
        };
        Training {
            optimizers: Optimizers::new(&model, settings),
            pass: Pass::new(size.threads),
            gradient: Gradient::default(),
            subnets: model.subnets(0, tasks),
            tasks: tasks.to_vec(),
            model,
        }
    }

    /// Draws rows, runs forward and back, each task on the rows whose label is known, and moves the
    /// weights.
    pub(crate) fn step(&mut self, batch: &Batch) {
        let objectives = [
            Objective::Focal {
                alpha: 0.75,
                gamma: 2.0,
            },
            Objective::CrossEntropy,
        ];
        self.model.tower_mut(0).touch(batch);
        let tower = self.model.tower(0);
        for (subnet, &task) in self.subnets.iter_mut().zip(&self.tasks) {
            let labels = &batch.labels[task];
            let known = (0..batch.n_rows as u32).filter(|&row| !labels[row as usize].is_nan());
            let known: Vec<u32> = known.collect();
            subnet.run_on((known.len() < batch.n_rows).then_some(known));
            subnet.load(tower);
        }
        let loss = |&task: &usize| BatchLoss::new(objectives[task], &batch.labels[task], 1.0);
        let losses: Vec<BatchLoss<'_>> = self.tasks.iter().map(loss).collect();
        let slopes_of = |rows: &HeadRows<'_, f32>, slopes: &mut [f32]| {
            losses[rows.head].slopes(rows.rows, rows.logits, slopes)
        };
        let (pass, gradient) = (&mut self.pass, &mut self.gradient);
        tower.learn(batch, &self.subnets, None, &slopes_of, pass, gradient);
        let tower = self.model.tower_mut(0);
        self.optimizers.step(0, tower, gradient, &self.tasks, 1.0);
    }

    /// Forward and back, without a step.
    pub(crate) fn learn(&mut self, batch: &Batch) {
        let loss =
            |&task: &usize| BatchLoss::new(Objective::CrossEntropy, &batch.labels[task], 1.0);
        let losses: Vec<BatchLoss<'_>> = self.tasks.iter().map(loss).collect();
        let slopes_of = |rows: &HeadRows<'_, f32>, slopes: &mut [f32]| {
            losses[rows.head].slopes(rows.rows, rows.logits, slopes)
        };
        let (pass, gradient) = (&mut self.pass, &mut self.gradient);
        let tower = self.model.tower(0);
        tower.learn(batch, &self.subnets, None, &slopes_of, pass, gradient);
    }

    /// Forward only.
    pub(crate) fn forward(&mut self, batch: &Batch) {
        let tower = self.model.tower(0);
        tower.forward(batch, &self.subnets, &mut self.pass);
    }
}
