//! HoME against a plain reference, row by row, and against finite differences.

use super::models;
use ncs_features::{Batch, FieldIds};
use ncs_model::{
    CounterRng, FieldSpec, Gradient, Gram, Heads, Model, NetworkKind, NetworkPlan, Spec, TableSpec,
    Workspace,
};

const ROWS: usize = 70;
const DIM: usize = 2;
const HIDDEN: [usize; 4] = [5, 4, 3, 2];
const TASKS: usize = 3;

/// The groups are the first and the last task, and the second.
fn model(own: usize, shared: usize, gram: Gram) -> Model<f64> {
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
    let kind = NetworkKind::Home {
        experts: own,
        shared,
    };
    let spec = Spec {
        fields: vec![field(0), field(1)],
        tables: vec![table(6), table(4)],
        tasks: (0..TASKS).map(|task| format!("task_{task}")).collect(),
        links: Vec::new(),
        plan: NetworkPlan {
            gram,
            heads: Heads {
                groups: vec![0, 1, 0],
                ..Heads::default()
            },
            ..ncs_testkit::network(kind, DIM, &HIDDEN)
        },
    };
    let mut model = Model::new(spec, CounterRng::new(2, "weights"));
    let network = model.network_mut(0);
    models::init(network, models::of_either_sign);
    let rng = CounterRng::new(3, "bias");
    for range in network.layout.stitches.clone() {
        for i in range {
            network.dense[i] += 0.3 * rng.normal(i as u64);
        }
    }
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
    Batch {
        n_rows: ROWS,
        fields: vec![ids(1, 6), ids(2, 4)],
        ..Batch::default()
    }
}

fn learn(model: &Model<f64>, workspace: &mut Workspace<f64>) -> (f64, Gradient<f64>) {
    let loss = ncs_testkit::quadratic_loss(ROWS);
    let tasks: Vec<usize> = (0..TASKS).collect();
    let subnets = model.subnets(0, &tasks);
    let mut gradient = Gradient::default();
    let network = model.network(0);
    network.learn(&batch(), &subnets, None, &loss, workspace, &mut gradient);
    ((0..TASKS).map(|head| workspace.loss(head)).sum(), gradient)
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn softmax(scores: &[f64]) -> Vec<f64> {
    let sum: f64 = scores.iter().map(|score| score.exp()).sum();
    scores.iter().map(|score| score.exp() / sum).collect()
}

fn sum_of(weights: &[f64], parts: &[Vec<f64>]) -> Vec<f64> {
    let width = parts[0].len();
    let of = |i: usize| {
        weights
            .iter()
            .zip(parts)
            .map(|(weight, part)| weight * part[i])
            .sum()
    };
    (0..width).map(of).collect()
}

fn added(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

/// The network as the paper writes it, with layer normalisation, for one row.
struct Reference<'a> {
    model: &'a Model<f64>,
    own: usize,
    shared: usize,
}

impl Reference<'_> {
    /// Runs the layer of this name.
    fn layer(&self, name: &str, x: &[f64]) -> Vec<f64> {
        let network = self.model.network(0);
        let at = network.graph().names.iter().position(|known| known == name);
        let at = at.unwrap_or_else(|| panic!("{name}"));
        let layout = &network.layout.layers[at];
        assert_eq!(layout.inputs, x.len(), "{name}");
        let (weights, bias) = (
            &network.dense[layout.weights.clone()],
            &network.dense[layout.bias.clone()],
        );
        let output = |o: usize| {
            let products = x.iter().enumerate();
            let products = products.map(|(i, x)| x * weights[i * layout.outputs + o]);
            bias[o] + products.sum::<f64>()
        };
        (0..layout.outputs).map(output).collect()
    }

    /// Normalises and applies Swish, with the numbers that belong to the layer of this name.
    fn normalized_swish(&self, name: &str, x: &[f64]) -> Vec<f64> {
        let network = self.model.network(0);
        let names = network.graph().names.iter();
        let normalized = names.filter(|name| name.contains("expert_") && name.contains("fc_"));
        let at = normalized.clone().position(|known| known == name).unwrap();
        assert_eq!(normalized.count(), network.layout.stitches.len());
        let numbers = &network.dense[network.layout.stitches[at].clone()];
        let (width, n) = (x.len(), x.len() as f64);
        let mean = x.iter().sum::<f64>() / n;
        let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
        let of = |(i, x): (usize, &f64)| {
            let u = numbers[i] * (x - mean) / (variance + 1e-5).sqrt() + numbers[width + i];
            u * sigmoid(u)
        };
        x.iter().enumerate().map(of).collect()
    }

    /// `logical` is the input as layers on it have it, `folded` that which the gate scales.
    fn expert(&self, prefix: &str, logical: &[f64], folded: &[f64], n_layers: usize) -> Vec<f64> {
        let factors = (0..2).map(|l| {
            let down = self.layer(&format!("{prefix}feature_gate_{l}.down"), logical);
            let up = self.layer(&format!("{prefix}feature_gate_{l}.up"), &down);
            up.into_iter().map(|x| 2.0 * sigmoid(x)).collect()
        });
        let factors: Vec<Vec<f64>> = factors.collect();
        let gate = softmax(&self.layer(&format!("{prefix}feature_gate"), logical));
        let factors = sum_of(&gate, &factors);
        let mut x: Vec<f64> = folded
            .iter()
            .zip(&factors)
            .map(|(x, factor)| x * factor)
            .collect();
        for layer in 0..n_layers {
            let name = format!("{prefix}fc_{layer}");
            x = self.normalized_swish(&name, &self.layer(&name, &x));
        }
        x
    }

    fn experts(&self, prefix: &str, n: usize, x: [&[f64]; 2], n_layers: usize) -> Vec<Vec<f64>> {
        let expert = |k: usize| self.expert(&format!("{prefix}expert_{k}."), x[0], x[1], n_layers);
        (0..n).map(expert).collect()
    }

    fn mixture(
        &self,
        prefix: &str,
        states: &[&[f64]],
        all: &[Vec<f64>],
        own: &[Vec<f64>],
    ) -> Vec<f64> {
        let mut scores = vec![0.0; all.len()];
        for (k, state) in states.iter().enumerate() {
            scores = added(&scores, &self.layer(&format!("{prefix}gate_{k}"), state));
        }
        let mixed = sum_of(&softmax(&scores), all);
        if own.is_empty() {
            return mixed;
        }
        let scores = self.layer(&format!("{prefix}self_gate"), states[0]);
        let gate = match own.len() {
            1 => vec![sigmoid(scores[0])],
            _ => softmax(&scores),
        };
        added(&mixed, &sum_of(&gate, own))
    }

    fn logits(&self, logical: &[f64], folded: &[f64]) -> [f64; TASKS] {
        let (own, shared) = (self.own, self.shared);
        let x = [logical, folded];
        let meta = [0, 1].map(|g| self.experts(&format!("meta_{g}."), own, x, 1));
        let meta_shared = self.experts("meta.", shared, x, 1);
        let state = |g: usize| {
            let all = [&meta[g][..], &meta_shared].concat();
            self.mixture(&format!("meta_{g}."), &[logical], &all, &meta[g])
        };
        let states = [state(0), state(1)];
        let all = [&meta[0][..], &meta[1], &meta_shared].concat();
        let common = self.mixture("meta.", &[logical], &all, &meta_shared);
        let of_all = self.experts("shared.", shared, [&common, &common], 2);
        std::array::from_fn(|task| {
            let g = [0, 1, 0][task];
            let z = &states[g];
            let of_group = self.experts(&format!("group_{g}."), own, [z, z], 2);
            let prefix = format!("task_{task}.");
            let of_task = self.experts(&prefix, own, [z, z], 2);
            let all = [&of_task[..], &of_group, &of_all].concat();
            let mixed = self.mixture(&prefix, &[z, &common], &all, &of_task);
            let end = self.layer(&format!("{prefix}fc_3"), &mixed);
            let end: Vec<f64> = end.into_iter().map(|x| x.max(0.0)).collect();
            models::logit(self.model.network(0), task, &end)
        })
    }
}

#[test]
fn logits_are_those_of_the_reference() {
    for (own, shared) in [(2, 1), (1, 2)] {
        let model = model(own, shared, Gram::None);
        let (batch, mut workspace) = (batch(), Workspace::new(2));
        learn(&model, &mut workspace);
        let reference = Reference {
            model: &model,
            own,
            shared,
        };
        for row in 0..ROWS {
            let vectors = (0..2).flat_map(|f| {
                let table = &model.network(0).tables[f];
                table.row(batch.fields[f].ids[row]).to_vec()
            });
            let x: Vec<f64> = vectors.collect();
            let expected = reference.logits(&x, &x);
            for (task, expected) in expected.into_iter().enumerate() {
                let logit = workspace.logits(task)[row];
                assert!(
                    (logit - expected).abs() < 1e-10,
                    "{own} {shared} {task} {row}: {logit}, not {expected}"
                );
            }
        }
    }
}

#[test]
fn every_gradient_is_the_gradient_of_the_loss() {
    for (own, shared, gram) in [
        (2, 1, Gram::Full),
        (1, 1, Gram::None),
        (0, 2, Gram::Triangle),
    ] {
        let model = model(own, shared, gram);
        let (_, gradient) = learn(&model, &mut Workspace::new(2));
        let dense = model.connections(0).spread(&gradient.dense);
        let difference = |change: &dyn Fn(&mut Model<f64>, f64)| {
            let at = |x: f64| {
                let mut changed = model.clone();
                change(&mut changed, x);
                learn(&changed, &mut Workspace::new(1)).0
            };
            (at(1e-6) - at(-1e-6)) / 2e-6
        };
        let layout = &model.network(0).layout;
        let of_norms = layout.stitches.iter().flat_map(|range| range.clone());
        let of_layers = (0..layout.heads[0].weights.start).step_by(7);
        for i in of_layers.chain(of_norms.step_by(2)) {
            let expected = difference(&|model, x| model.network_mut(0).dense[i] += x);
            let allowed = 1e-7 * (1.0 + expected.abs());
            assert!(
                (dense[i] - expected).abs() < allowed,
                "{i}: {}, {expected}",
                dense[i]
            );
        }
        for (t, table) in gradient.tables.iter().enumerate() {
            for (&id, gradients) in table.ids.iter().zip(table.values.chunks(DIM)) {
                for (d, &ours) in gradients.iter().enumerate() {
                    let expected = difference(&|model, x| {
                        model.network_mut(0).tables[t].row_mut(id)[d] += x;
                    });
                    assert!(
                        (ours - expected).abs() < 1e-7 * (1.0 + expected.abs()),
                        "{t} {id}"
                    );
                }
            }
        }
    }
}

#[test]
fn the_experts_of_a_group_are_learned_by_its_tasks_alone() {
    let model = model(2, 1, Gram::None);
    for layer in model.spec().layers() {
        let expected: &[usize] = match &layer.name {
            // The shared experts of the second level read all experts of the first.
            name if name.starts_with("meta") => &[0, 1, 2],
            name if name.starts_with("shared.") => &[0, 1, 2],
            name if name.starts_with("group_0.") => &[0, 2],
            name if name.starts_with("group_1.") => &[1],
            name if name.starts_with("task_0.") => &[0],
            name if name.starts_with("task_1.") => &[1],
            _ => &[2],
        };
        let is_state = layer.name.starts_with("meta_") && layer.name.contains("gate");
        if is_state && !layer.name.contains("expert") {
            let group: &[usize] = if layer.name.starts_with("meta_0") {
                &[0, 2]
            } else {
                &[1]
            };
            assert_eq!(layer.tasks, group, "{}", layer.name);
        } else {
            assert_eq!(layer.tasks, expected, "{}", layer.name);
        }
    }
}
