//! Tests of the logits and gradients of every kind of network against an independent PyTorch implementation of the
//! papers: `tools/oracle/networks.py`.

use ncs_features::{Batch, FieldIds};
use ncs_model::kernels::SimdLevel;
use ncs_model::{
    CounterRng, FieldSpec, Gradient, HeadRows, Mask, Masks, Model, NetworkKind, NetworkPlan, Real,
    SparseRows, Spec, TableSpec, Weights, Workspace, sigmoid,
};
use serde::Deserialize;
use std::sync::Arc;

#[derive(Deserialize)]
struct Fixture {
    input: Input,
    networks: Vec<Case>,
}

/// The input of all cases.
#[derive(Deserialize)]
struct Input {
    dim: usize,
    hidden: Vec<usize>,
    table_of_field: Vec<usize>,
    /// `[tables][rows * dim]`
    tables: Vec<Vec<f64>>,
    /// `[fields][rows]`
    ids: Vec<Vec<u32>>,
    /// `[tasks][rows]`
    labels: Vec<Vec<f64>>,
    /// The weight of each task's mean cross-entropy.
    task_weights: Vec<f64>,
}

/// A case, with the expected results.
#[derive(Deserialize)]
struct Case {
    kind: NetworkKind,
    /// `[tasks][layers][inputs * outputs]` for sparse sharing; no layers for other kinds.
    masks: Vec<Vec<Vec<u8>>>,
    dense: Vec<f64>,
    /// `[tasks][rows]`
    logits: Vec<Vec<f64>>,
    d_dense: Vec<f64>,
    d_tables: Vec<Vec<f64>>,
}

fn fixture() -> Fixture {
    serde_json::from_str(include_str!("oracle/networks.json")).unwrap()
}

impl Input {
    fn spec(&self, kind: NetworkKind) -> Spec {
        let field = |&table| FieldSpec {
            table,
            pooling: None,
            pieces: None,
            vector: None,
        };
        let table = |(number, values): (usize, &Vec<f64>)| TableSpec {
            name: format!("table {number}"),
            rows: values.len() / self.dim,
            unknown: None,
        };
        Spec {
            fields: self.table_of_field.iter().map(field).collect(),
            tables: self.tables.iter().enumerate().map(table).collect(),
            tasks: vec!["ctr".into(), "cvr".into()],
            links: Vec::new(),
            plan: NetworkPlan {
                table_deviation: None,
                ..ncs_testkit::network(kind, self.dim, &self.hidden)
            },
        }
    }

    fn batch(&self) -> Batch {
        let field = |ids: &Vec<u32>| FieldIds {
            ids: ids.clone(),
            ..FieldIds::default()
        };
        Batch {
            n_rows: self.ids[0].len(),
            fields: self.ids.iter().map(field).collect(),
            ..Batch::default()
        }
    }

    fn model<R: Real>(&self, case: &Case) -> Model<R> {
        let mut model = Model::new(self.spec(case.kind), CounterRng::new(1, "weights"));
        let narrow = |values: &[f64]| values.iter().copied().map(R::of).collect::<Vec<R>>();
        let rows = |values: &Vec<f64>| SparseRows {
            ids: (0..(values.len() / self.dim) as u32).collect(),
            values: narrow(values).into(),
        };
        let weights = Weights {
            dense: narrow(&case.dense),
            tables: self.tables.iter().map(rows).collect(),
        };
        model.network_mut(0).restore(&weights).unwrap();
        if case.kind == NetworkKind::SparseSharing {
            let shapes = model.spec().layer_shapes();
            model.set_masks(Some(Arc::new(case.masks(&shapes))));
        }
        model
    }

    /// Computes the gradients of the weighted sum of the tasks' mean cross-entropies with respect to the logits.
    fn gradients<R: Real>(&self, at: &HeadRows<'_, R>, gradients: &mut [R]) -> f64 {
        let labels = &self.labels[at.head];
        let weight = self.task_weights[at.head] / labels.len() as f64;
        let rows = at.logits.iter().zip(&labels[at.first..]);
        for (gradient, (logit, label)) in gradients.iter_mut().zip(rows) {
            *gradient = R::of(weight * (sigmoid(logit.wide()) - label));
        }
        0.0
    }
}

impl Case {
    fn masks(&self, shapes: &[(usize, usize)]) -> Masks {
        let layer = |(bits, &(inputs, outputs)): (&Vec<u8>, &(usize, usize))| {
            assert_eq!(bits.len(), inputs * outputs);
            Mask::from_fn(inputs, outputs, |position| bits[position] == 1)
        };
        let task = |layers: &Vec<Vec<u8>>| layers.iter().zip(shapes).map(layer).collect();
        Masks {
            tasks: self.masks.iter().map(task).collect(),
            owners: None,
        }
    }
}

/// Checks the logits of both tasks, and the gradients of all parameters.
fn check_network<R: Real>(
    input: &Input,
    case: &Case,
    level: SimdLevel,
    check: impl Fn(&[f64], &[f64], String),
) {
    let (name, model) = (format!("{:?}", case.kind), input.model::<R>(case));
    let (network, subnets) = (model.network(0), model.subnets(0, &[0, 1]));
    let (mut workspace, mut gradient) = (Workspace::at_level(1, level), Gradient::default());
    let gradients = |at: &HeadRows<'_, R>, gradients: &mut [R]| input.gradients(at, gradients);
    let batch = input.batch();
    network.learn(
        &batch,
        &subnets,
        None,
        &gradients,
        &mut workspace,
        &mut gradient,
    );
    for (head, logits) in case.logits.iter().enumerate() {
        check(
            &workspace.logits(head),
            logits,
            format!("{name}: logit {head}"),
        );
    }
    let wide = |values: &[R]| values.iter().map(|x| x.wide()).collect::<Vec<f64>>();
    let dense = model.connections(0).spread(&gradient.dense);
    check(&wide(&dense), &case.d_dense, format!("{name}: dense"));
    assert_eq!(gradient.tables.len(), case.d_tables.len());
    for (t, (table, expected)) in gradient.tables.iter().zip(&case.d_tables).enumerate() {
        let mut actual = vec![0.0; expected.len()];
        let rows = table.ids.iter().zip(table.values.chunks(input.dim));
        for (&id, gradients) in rows {
            let first = id as usize * input.dim;
            actual[first..first + input.dim].copy_from_slice(&wide(gradients));
        }
        check(&actual, expected, format!("{name}: table {t}"));
    }
}

/// Compares numbers with the relative tolerance `tolerance`, of the expected number or of `floor` if that is larger.
fn close(tolerance: f64, floor: f64) -> impl Fn(&[f64], &[f64], String) {
    move |actual, expected, what| {
        assert_eq!(actual.len(), expected.len(), "{what}");
        for (i, (actual, expected)) in actual.iter().zip(expected).enumerate() {
            let allowed = tolerance * expected.abs().max(floor);
            assert!(
                (actual - expected).abs() <= allowed,
                "{what} {i}: {actual}, expected {expected}"
            );
        }
    }
}

#[test]
fn every_kind_of_network_matches_its_paper() {
    let Fixture { input, networks } = fixture();
    for case in &networks {
        for level in SimdLevel::all() {
            check_network::<f64>(&input, case, level, close(1e-10, 1.0));
            check_network::<f32>(&input, case, level, close(1e-4, 1e-2));
        }
    }
}

/// PyTorch's gradients of connections that both masks prune are 0; our gradient has no element for them.
#[test]
fn connections_pruned_by_both_tasks_have_no_gradient() {
    let Fixture { input, networks } = fixture();
    let masked = |case: &&Case| case.kind == NetworkKind::SparseSharing;
    let case = networks.iter().find(masked).unwrap();
    let model = input.model::<f64>(case);
    let index = model.connections(0);
    let [a, b] = &model.masks().unwrap().tasks[..] else {
        panic!("two tasks");
    };
    let mut n_pruned = 0;
    for (l, layer) in model.network(0).layout.layers.iter().enumerate() {
        let is_pruned = |&position: &usize| !a[l].keeps(position) && !b[l].keeps(position);
        for position in (0..layer.weights.len()).filter(is_pruned) {
            let place = layer.weights.start + position;
            assert_eq!(index.number(place), None);
            assert_eq!(case.d_dense[place], 0.0);
            n_pruned += 1;
        }
    }
    assert!(n_pruned > 0);
    assert_eq!(index.len() + n_pruned, case.dense.len());
}
