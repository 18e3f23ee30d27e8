//! STEM against a plain reference: its output, and gradients that stop at the parts of other tasks.

use super::models;
use ncs_features::{Batch, FieldIds};
use ncs_model::{
    CounterRng, FieldSpec, Gradient, Gram, Model, NetworkKind, NetworkPlan, Spec, TableSpec,
    Workspace, sigmoid,
};

const ROWS: usize = 70;
const TASKS: usize = 3;
/// Length of a part of a vector.
const PART: usize = 2;
const OWN: usize = 2;
const SHARED: usize = 1;
const HIDDEN: [usize; 2] = [5, 3];

fn model() -> Model<f64> {
    let kind = NetworkKind::Stem {
        experts: OWN,
        shared: SHARED,
    };
    let field = |table| FieldSpec {
        table,
        pooling: None,
        pieces: None,
        vector: None,
    };
    let table = |rows| TableSpec {
        name: format!("{rows}"),
        rows,
        unknown: None,
    };
    let spec = Spec {
        fields: vec![
            field(0),
            field(1),
            FieldSpec {
                vector: Some(2),
                ..field(2)
            },
        ],
        tables: vec![table(6), table(4), table(0)],
        tasks: (0..TASKS).map(|task| format!("task_{task}")).collect(),
        links: Vec::new(),
        plan: NetworkPlan {
            gram: Gram::None,
            ..ncs_testkit::network(kind, PART * kind.vector_parts(TASKS), &HIDDEN)
        },
    };
    let mut model = Model::new(spec, CounterRng::new(2, "weights"));
    let network = model.network_mut(0);
    models::init(network, models::of_either_sign);
    model
}

fn batch() -> Batch {
    let rng = CounterRng::new(5, "batch");
    let ids = |f: u64, n: u64| FieldIds {
        ids: (0..ROWS as u64)
            .map(|row| (rng.at(f).bits(row) % n) as u32)
            .collect(),
        ..FieldIds::default()
    };
    let numbers = (0..2 * ROWS as u64).map(|i| rng.at(9).normal(i) as f32);
    Batch {
        n_rows: ROWS,
        fields: vec![
            ids(1, 6),
            ids(2, 4),
            FieldIds {
                numbers: numbers.collect(),
                ..FieldIds::of_numbers(2)
            },
        ],
        ..Batch::default()
    }
}

/// Runs forward and backward with the loss `sum_r c_rk z_rk^2 / 2` of each head `k`, and returns the losses.
fn learn(model: &Model<f64>, workspace: &mut Workspace<f64>) -> ([f64; TASKS], Gradient<f64>) {
    let loss = ncs_testkit::quadratic_loss(ROWS);
    let tasks: Vec<usize> = (0..TASKS).collect();
    let subnets = model.subnets(0, &tasks);
    let mut gradient = Gradient::default();
    let network = model.network(0);
    network.learn(&batch(), &subnets, None, &loss, workspace, &mut gradient);
    (std::array::from_fn(|head| workspace.loss(head)), gradient)
}

/// The network as the paper writes it, row by row.
struct Reference<'a> {
    model: &'a Model<f64>,
}

impl Reference<'_> {
    /// Runs the layer of this name.
    fn layer(&self, name: &str, x: &[f64], rectify: bool) -> Vec<f64> {
        let network = self.model.network(0);
        let at = network.graph().names.iter().position(|known| known == name);
        let layout = &network.layout.layers[at.unwrap_or_else(|| panic!("{name}"))];
        let (weights, bias) = (
            &network.dense[layout.weights.clone()],
            &network.dense[layout.bias.clone()],
        );
        let output = |o: usize| {
            let products = x
                .iter()
                .enumerate()
                .map(|(i, x)| x * weights[i * layout.outputs + o]);
            let sum = bias[o] + products.sum::<f64>();
            if rectify { sum.max(0.0) } else { sum }
        };
        (0..layout.outputs).map(output).collect()
    }

    /// Returns part `part` of the vectors of a row, and the numbers.
    fn input(&self, batch: &Batch, row: usize, parts: &[usize]) -> Vec<f64> {
        let network = self.model.network(0);
        let mut x = Vec::new();
        for field in 0..2 {
            let vector = network.tables[field].row(batch.fields[field].ids[row]);
            for i in 0..PART {
                x.push(parts.iter().map(|part| vector[part * PART + i]).sum());
            }
        }
        let numbers = batch.fields[2]
            .numbers_of(row)
            .iter()
            .map(|&x| f64::from(x));
        // The last input is 1 where the vector is missing.
        x.extend(numbers.chain([0.0]));
        x
    }

    fn logit(&self, batch: &Batch, row: usize, task: usize) -> f64 {
        let mut experts = Vec::new();
        for t in 0..TASKS {
            let x = self.input(batch, row, &[t]);
            let names = (0..OWN).map(|e| format!("task_{t}.expert_{e}.fc_0"));
            experts.extend(names.map(|name| self.layer(&name, &x, true)));
        }
        let x = self.input(batch, row, &[TASKS]);
        let names = (0..SHARED).map(|e| format!("expert_{e}.fc_0"));
        experts.extend(names.map(|name| self.layer(&name, &x, true)));
        let x = self.input(batch, row, &[task, TASKS]);
        let scores = self.layer(&format!("task_{task}.gate"), &x, false);
        let sum: f64 = scores.iter().map(|score| score.exp()).sum();
        let mixed = (0..HIDDEN[0]).map(|i| {
            let parts = experts.iter().zip(&scores);
            parts
                .map(|(expert, score)| score.exp() / sum * expert[i])
                .sum::<f64>()
        });
        let mixed: Vec<f64> = mixed.collect();
        let end = self.layer(&format!("task_{task}.fc_1"), &mixed, true);
        models::logit(self.model.network(0), task, &end)
    }
}

#[test]
fn logits_are_those_of_the_reference() {
    let model = model();
    let (batch, mut workspace) = (batch(), Workspace::new(2));
    learn(&model, &mut workspace);
    let reference = Reference { model: &model };
    for task in 0..TASKS {
        for (row, &logit) in workspace.logits(task).iter().enumerate() {
            let expected = reference.logit(&batch, row, task);
            assert!(
                (logit - expected).abs() < 1e-12,
                "{task} {row}: {logit}, not {expected}"
            );
            assert!(sigmoid(logit).is_finite());
        }
    }
}

/// Returns the change of each task's loss with a change of the model.
fn differences(model: &Model<f64>, change: &dyn Fn(&mut Model<f64>, f64)) -> [f64; TASKS] {
    let at = |x: f64| {
        let mut changed = model.clone();
        change(&mut changed, x);
        learn(&changed, &mut Workspace::new(1)).0
    };
    let step = 1e-6;
    let (above, below) = (at(step), at(-step));
    std::array::from_fn(|task| (above[task] - below[task]) / (2.0 * step))
}

#[test]
fn gradients_are_those_of_the_tasks_that_may_learn_a_parameter() {
    let model = model();
    let (_, gradient) = learn(&model, &mut Workspace::new(2));
    let index = model.connections(0);
    let dense = index.spread(&gradient.dense);
    let network = model.network(0);
    let learners = |i: usize| {
        let groups = index.groups().iter();
        let number = index
            .positions()
            .iter()
            .position(|&at| at as usize == i)
            .unwrap();
        groups
            .clone()
            .find(|group| group.range.contains(&number))
            .unwrap()
            .tasks
    };
    let mut n_stopped = 0;
    for i in (0..network.dense.len()).step_by(3) {
        let found = differences(&model, &|model, x| model.network_mut(0).dense[i] += x);
        let tasks = learners(i);
        let may_learn = |task: &usize| tasks >> task & 1 == 1;
        let expected: f64 = (0..TASKS).filter(may_learn).map(|task| found[task]).sum();
        assert!(
            (dense[i] - expected).abs() < 1e-7,
            "{i}: {}, not {expected}",
            dense[i]
        );
        n_stopped +=
            usize::from((0..TASKS).any(|task| !may_learn(&task) && found[task].abs() > 1e-5));
    }
    assert!(n_stopped > 10, "experts of others are read: {n_stopped}");
}

#[test]
fn a_part_of_a_vector_is_moved_by_its_task_alone() {
    let model = model();
    let (_, gradient) = learn(&model, &mut Workspace::new(1));
    let dim = model.spec().plan.dim;
    let mut n_stopped = 0;
    for (t, table) in gradient.tables.iter().enumerate() {
        for (&id, gradients) in table.ids.iter().zip(table.values.chunks(dim)) {
            for (d, &ours) in gradients.iter().enumerate() {
                let change = |model: &mut Model<f64>, x| {
                    model.network_mut(0).tables[t].row_mut(id)[d] += x;
                };
                let found = differences(&model, &change);
                let expected = match d / PART {
                    TASKS => found.iter().sum(),
                    task => found[task],
                };
                assert!(
                    (ours - expected).abs() < 1e-7,
                    "{t} {id} {d}: {ours}, not {expected}"
                );
                let others = (0..TASKS).filter(|&task| d / PART < TASKS && task != d / PART);
                n_stopped += others.filter(|&task| found[task].abs() > 1e-6).count();
            }
        }
    }
    assert!(n_stopped > 20, "vectors of others are read: {n_stopped}");
}
