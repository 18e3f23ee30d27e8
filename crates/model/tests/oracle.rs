//! Logits and slopes of every way of sharing against PyTorch, which knows the papers and not our code:
//! `tools/oracle/networks.py`.

use ncs_features::{Batch, FieldIds};
use ncs_model::kernels::Level;
use ncs_model::{
    Draw, FieldSpec, Gradient, Gram, HeadRows, Mask, Masks, Model, NetworkKind, NetworkPlan, Pass,
    Real, SparseRows, Spec, TableSpec, Weights, sigmoid,
};
use serde::Deserialize;
use std::sync::Arc;

#[derive(Deserialize)]
struct Fixture {
    input: Input,
    networks: Vec<Network>,
}

/// What every network is given.
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
    /// What a task's mean cross-entropy counts.
    task_weights: Vec<f64>,
}

/// A network, and what it comes to.
#[derive(Deserialize)]
struct Network {
    kind: NetworkKind,
    /// `[tasks][layers][inputs * outputs]` for sparse sharing; no layers for the others.
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
            plan: NetworkPlan {
                kind,
                dim: self.dim,
                hidden: self.hidden.clone(),
                gram: Gram::Full,
                dropout: 0.0,
                table_deviation: None,
                heads: ncs_model::Heads::default(),
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

    fn model<R: Real>(&self, network: &Network) -> Model<R> {
        let mut model = Model::new(self.spec(network.kind), Draw::new(1, "weights"));
        let narrow = |values: &[f64]| values.iter().copied().map(R::of).collect::<Vec<R>>();
        let rows = |values: &Vec<f64>| SparseRows {
            ids: (0..(values.len() / self.dim) as u32).collect(),
            values: narrow(values),
        };
        let weights = Weights {
            dense: narrow(&network.dense),
            tables: self.tables.iter().map(rows).collect(),
        };
        model.tower_mut(0).restore(&weights).unwrap();
        if network.kind == NetworkKind::SparseSharing {
            let shapes = model.spec().layer_shapes();
            model.set_masks(Some(Arc::new(network.masks(&shapes))));
        }
        model
    }

    /// The slopes of the tasks' mean cross-entropies, weighted, with respect to the logits.
    fn slopes<R: Real>(&self, at: &HeadRows<'_, R>, slopes: &mut [R]) -> f64 {
        let labels = &self.labels[at.head];
        let weight = self.task_weights[at.head] / labels.len() as f64;
        let rows = at.logits.iter().zip(&labels[at.first..]);
        for (slope, (logit, label)) in slopes.iter_mut().zip(rows) {
            *slope = R::of(weight * (sigmoid(logit.wide()) - label));
        }
        0.0
    }
}

impl Network {
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

/// The logits of both tasks, and the slopes of all numbers.
fn check_network<R: Real>(
    input: &Input,
    network: &Network,
    level: Level,
    check: impl Fn(&[f64], &[f64], String),
) {
    let (name, model) = (format!("{:?}", network.kind), input.model::<R>(network));
    let (tower, subnets) = (model.tower(0), model.subnets(0, &[0, 1]));
    let (mut pass, mut gradient) = (Pass::at_level(1, level), Gradient::default());
    let slopes = |at: &HeadRows<'_, R>, slopes: &mut [R]| input.slopes(at, slopes);
    let batch = input.batch();
    tower.learn(&batch, &subnets, None, &slopes, &mut pass, &mut gradient);
    for (head, logits) in network.logits.iter().enumerate() {
        check(&pass.logits(head), logits, format!("{name}: logit {head}"));
    }
    let wide = |values: &[R]| values.iter().map(|x| x.wide()).collect::<Vec<f64>>();
    let dense = model.connections(0).spread(&gradient.dense);
    check(&wide(&dense), &network.d_dense, format!("{name}: dense"));
    assert_eq!(gradient.tables.len(), network.d_tables.len());
    for (t, (table, expected)) in gradient.tables.iter().zip(&network.d_tables).enumerate() {
        let mut found = vec![0.0; expected.len()];
        let rows = table.ids.iter().zip(table.values.chunks(input.dim));
        for (&id, slopes) in rows {
            let first = id as usize * input.dim;
            found[first..first + input.dim].copy_from_slice(&wide(slopes));
        }
        check(&found, expected, format!("{name}: table {t}"));
    }
}

/// As far apart as `tolerance` says, of the expected number or of `floor` where that is larger.
fn close(tolerance: f64, floor: f64) -> impl Fn(&[f64], &[f64], String) {
    move |found, expected, what| {
        assert_eq!(found.len(), expected.len(), "{what}");
        for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
            let allowed = tolerance * expected.abs().max(floor);
            assert!(
                (found - expected).abs() <= allowed,
                "{what} {i}: {found}, expected {expected}"
            );
        }
    }
}

#[test]
fn every_way_of_sharing_is_that_of_its_paper() {
    let Fixture { input, networks } = fixture();
    for network in &networks {
        for level in Level::all() {
            check_network::<f64>(&input, network, level, close(1e-10, 1.0));
            check_network::<f32>(&input, network, level, close(1e-4, 1e-2));
        }
    }
}

/// PyTorch's slopes of connections that both masks prune are 0; ours do not even have a place.
#[test]
fn what_both_tasks_prune_has_no_slope() {
    let Fixture { input, networks } = fixture();
    let masked = |network: &&Network| network.kind == NetworkKind::SparseSharing;
    let network = networks.iter().find(masked).unwrap();
    let model = input.model::<f64>(network);
    let connections = model.connections(0);
    let [a, b] = &model.masks().unwrap().tasks[..] else {
        panic!("two tasks");
    };
    let mut n_pruned = 0;
    for (l, layer) in model.tower(0).layout.layers.iter().enumerate() {
        let is_pruned = |&position: &usize| !a[l].keeps(position) && !b[l].keeps(position);
        for position in (0..layer.weights.len()).filter(is_pruned) {
            let place = layer.weights.start + position;
            assert_eq!(connections.number(place), None);
            assert_eq!(network.d_dense[place], 0.0);
            n_pruned += 1;
        }
    }
    assert!(n_pruned > 0);
    assert_eq!(connections.len() + n_pruned, network.dense.len());
}
