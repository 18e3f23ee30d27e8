//! Tests of the attention over events: against PyTorch in double precision, and of its gradients against finite
//! differences in networks of every kind.

use super::models;
use ncs_features::{
    Attention, Batch, EventAttribute, EventDecay, FieldIds, MultiHead, Newest, Pooling,
    SequencePooling,
};
use ncs_model::kernels::SimdLevel;
use ncs_model::{
    CounterRng, FieldSpec, Gradient, Gram, HeadRows, Model, NetworkKind, NetworkPlan, Real,
    SparseRows, Spec, TableSpec, Weights, Workspace,
};
use serde::Deserialize;

const ROWS: usize = 150;
const DIM: usize = 3;

fn field(table: usize, pooling: Option<Pooling>) -> FieldSpec {
    FieldSpec {
        table,
        pooling,
        pieces: None,
        vector: None,
    }
}

fn events(sequence: u32, hidden: [u32; 2], softmax: bool, target: Option<u32>) -> Option<Pooling> {
    Some(Pooling::Events(EventAttribute {
        sequence,
        pooling: SequencePooling::Din(Attention { hidden, softmax }),
        newest: Newest::Last,
        target,
        decay: Some(match softmax {
            true => EventDecay::Stated,
            false => EventDecay::Learned,
        }),
    }))
}

/// A mean, weighted by age.
fn by_age() -> Option<Pooling> {
    Some(Pooling::Events(EventAttribute {
        sequence: 9,
        pooling: SequencePooling::Mean,
        newest: Newest::Last,
        target: None,
        decay: Some(EventDecay::Learned),
    }))
}

fn by_heads(heads: u32, target: Option<u32>) -> Option<Pooling> {
    Some(Pooling::Events(EventAttribute {
        sequence: 7,
        pooling: SequencePooling::Mha(MultiHead {
            heads,
            positions: 4,
        }),
        newest: Newest::First,
        target,
        decay: Some(EventDecay::Learned),
    }))
}

/// An item, a list, and four sequences whose weights decay with age: one of three attributes, of which two have targets, one
/// compared with the list, one with heads, whose oldest events share a position, and one weighted by age alone.
/// The fields of the sequences are not beside each other.
fn spec(kind: NetworkKind, gram: Gram, hidden: &[usize]) -> Spec {
    let table = |name: &str, rows| TableSpec {
        name: name.into(),
        rows,
        unknown: None,
    };
    Spec {
        fields: vec![
            field(0, events(5, [9, 4], false, Some(1))),
            field(0, None),
            field(1, events(2, [4, 3], true, Some(3))),
            field(1, Some(Pooling::Mean)),
            field(2, events(5, [9, 4], false, None)),
            field(1, events(5, [9, 4], false, Some(3))),
            field(0, by_heads(4, Some(1))),
            field(2, by_heads(4, None)),
            field(1, by_age()),
        ],
        tables: vec![table("item", 9), table("tag", 6), table("age", 4)],
        tasks: vec!["ctr".into(), "cvr".into()],
        links: Vec::new(),
        plan: NetworkPlan {
            gram,
            ..ncs_testkit::network(kind, DIM, hidden)
        },
    }
}

/// Adds how far the weight of each event has decayed, the same for all attributes of a sequence.
fn aged(list: FieldIds, sequence: u64) -> FieldIds {
    let rng = CounterRng::new(sequence, "ages");
    let decays = 0..list.ids.len() as u64;
    FieldIds {
        weights: decays
            .map(|event| -2.0 * rng.uniform(event) as f32)
            .collect(),
        ..list
    }
}

/// Returns lists of 0 to 5 ids, as long in both parallel columns.
fn batch() -> Batch {
    let rng = CounterRng::new(5, "batch");
    let id = |f: u64, i: usize, n: u64| (rng.at(f).bits(i as u64) % n) as u32;
    let list = |f: u64, lengths: u64, n: u64| {
        let mut list = FieldIds {
            offsets: vec![0],
            ..FieldIds::default()
        };
        for row in 0..ROWS {
            let length = id(lengths, row, 6) as usize;
            list.ids.extend((0..length).map(|k| id(f, row * 7 + k, n)));
            list.offsets.push(list.ids.len() as u32);
        }
        list
    };
    let item = FieldIds {
        ids: (0..ROWS).map(|row| id(1, row, 9)).collect(),
        ..FieldIds::default()
    };
    Batch {
        n_rows: ROWS,
        fields: vec![
            aged(list(10, 20, 9), 5),
            item,
            aged(list(11, 21, 6), 2),
            list(12, 22, 6),
            aged(list(13, 20, 4), 5),
            aged(list(14, 20, 6), 5),
            aged(list(15, 23, 9), 7),
            aged(list(16, 23, 4), 7),
            aged(list(17, 24, 6), 9),
        ],
        ..Batch::default()
    }
}

fn model<R: Real>(kind: NetworkKind, gram: Gram, hidden: &[usize]) -> Model<R> {
    let mut model = Model::new(spec(kind, gram, hidden), CounterRng::new(2, "weights"));
    for network in 0..model.networks().len() {
        let network = model.network_mut(network);
        models::init(network, models::of_either_sign);
        let attentions = network.layout.attentions.clone().into_iter();
        for i in attentions
            .flat_map(|attention| attention.layers)
            .flat_map(|layer| layer.bias)
        {
            let rng = CounterRng::new(3, "bias");
            network.dense[i] = R::of(models::of_either_sign(rng, i as u64));
        }
    }
    if kind == NetworkKind::SparseSharing {
        models::set_random_masks(&mut model);
    }
    model
}

/// Computes `sum_k sum_r c_kr z_kr^2 / 2` and its gradient.
fn learn(
    model: &Model<f64>,
    network: usize,
    workspace: &mut Workspace<f64>,
) -> (f64, Gradient<f64>) {
    let tasks = model.network(network).tasks.clone();
    let subnets = models::subnets(model, network, &tasks, ROWS);
    let loss = ncs_testkit::quadratic_loss(ROWS);
    let mut gradient = Gradient::default();
    let weights = model.network(network);
    weights.learn(&batch(), &subnets, None, &loss, workspace, &mut gradient);
    (
        (0..tasks.len()).map(|head| workspace.loss(head)).sum(),
        gradient,
    )
}

/// Checks every `step`-th gradient of the attention, and some others.
fn check(kind: NetworkKind, gram: Gram, hidden: &[usize], threads: usize, step: usize) {
    let model = model::<f64>(kind, gram, hidden);
    let mut workspace = Workspace::new(threads);
    for network in 0..model.networks().len() {
        let (_, gradient) = learn(&model, network, &mut workspace);
        let dense = model.connections(network).spread(&gradient.dense);
        let mut difference = |change: &dyn Fn(&mut Model<f64>, f64)| {
            let mut at = |x: f64| {
                let mut changed = model.clone();
                change(&mut changed, x);
                learn(&changed, network, &mut workspace).0
            };
            (at(1e-6) - at(-1e-6)) / 2e-6
        };
        let layout = &model.network(network).layout;
        let of_attention = layout
            .attentions
            .iter()
            .flat_map(|attention| &attention.layers);
        let of_attention = of_attention.flat_map(|layer| layer.weights.start..layer.bias.end);
        let mut n_moved = 0;
        let of_attention = of_attention.step_by(step);
        for i in of_attention.chain((0..layout.heads[0].weights.start).step_by(31)) {
            let expected = difference(&|model, x| model.network_mut(network).dense[i] += x);
            let ours = dense[i];
            n_moved += usize::from(ours.abs() > 1e-7);
            assert!(
                (expected - ours).abs() < 1e-7,
                "{kind:?} {gram:?} {i}: {ours}, expected {expected}"
            );
        }
        assert!(n_moved > 100 / step, "{n_moved} gradients are not 0");
        for (t, table) in gradient.tables.iter().enumerate() {
            for (&id, gradients) in table.ids.iter().zip(table.values.chunks(DIM)) {
                let numbers = gradients.iter().enumerate();
                for (d, &ours) in numbers.skip(id as usize % DIM).step_by(DIM.min(step)) {
                    let expected = difference(&|model, x| {
                        model.network_mut(network).tables[t].row_mut(id)[d] += x;
                    });
                    assert!(
                        (expected - ours).abs() < 1e-7,
                        "{kind:?} table {t}: {ours}, expected {expected}"
                    );
                }
            }
        }
    }
}

#[test]
fn every_gradient_is_the_gradient_of_the_loss() {
    use NetworkKind::{Aitm, CrossStitch, Mmoe, Ple, SharedBottom, SingleTask, SparseSharing};
    check(SparseSharing, Gram::Full, &[6, 4], 1, 1);
    check(SparseSharing, Gram::Triangle, &[6, 4], 2, 9);
    check(SharedBottom, Gram::None, &[5], 2, 9);
    check(SingleTask, Gram::Full, &[4], 1, 9);
    check(CrossStitch, Gram::Full, &[5, 4], 2, 9);
    check(Mmoe { experts: 2 }, Gram::Full, &[5, 4], 1, 9);
    let ple = Ple {
        levels: 1,
        experts: 2,
        shared: 1,
    };
    check(ple, Gram::Full, &[5, 4], 1, 9);
    check(Aitm, Gram::Full, &[5, 4], 1, 9);
}

#[test]
fn threads_change_rounding_only_and_repeat_exactly() {
    let model = model::<f64>(NetworkKind::SparseSharing, Gram::Full, &[6, 4]);
    let gradient = |threads| {
        let (_, gradient) = learn(&model, 0, &mut Workspace::new(threads));
        let tables = gradient
            .tables
            .iter()
            .flat_map(|table| table.values.to_vec());
        gradient
            .dense
            .iter()
            .copied()
            .chain(tables)
            .collect::<Vec<f64>>()
    };
    let (one, three) = (gradient(1), gradient(3));
    assert_eq!(three, gradient(3));
    assert!(one.iter().zip(&three).all(|(a, b)| (a - b).abs() < 1e-12));
}

#[derive(Deserialize)]
struct Fixture {
    cases: Vec<Case>,
}

/// One sequence, with the field vectors and gradients that PyTorch computed.
#[derive(Deserialize)]
struct Case {
    dim: usize,
    hidden: [u32; 2],
    softmax: bool,
    /// 0: none, but the network.
    heads: u32,
    positions: u32,
    newest_first: bool,
    /// Weighted by age alone.
    mean: bool,
    /// For each event; empty: weights do not decay.
    decays: Vec<f32>,
    /// For each attribute: its table, and the field of its target (the fields of the candidate come first).
    attributes: Vec<(usize, Option<u32>)>,
    /// The tables of the candidate's fields.
    candidate: Vec<usize>,
    /// `[tables][rows * dim]`
    tables: Vec<Vec<f64>>,
    /// `[candidate's fields][rows]`
    ids: Vec<Vec<u32>>,
    /// `[rows + 1]`
    offsets: Vec<u32>,
    /// `[attributes][events of all rows]`
    events: Vec<Vec<u32>>,
    /// Weights `[inputs, outputs]` and biases of the layers, end to end.
    attention: Vec<f64>,
    /// Weights and bias of a head on all field vectors.
    head: Vec<f64>,
    logits: Vec<f64>,
    /// Gradients of half the sum of the squared logits.
    d_attention: Vec<f64>,
    d_tables: Vec<Vec<f64>>,
}

impl Case {
    fn model<R: Real>(&self) -> Model<R> {
        let attribute = |&(table, target): &(usize, Option<u32>)| {
            let Some(Pooling::Events(din)) = events(0, self.hidden, self.softmax, target) else {
                unreachable!();
            };
            let heads = SequencePooling::Mha(MultiHead {
                heads: self.heads,
                positions: self.positions,
            });
            let pooling = Pooling::Events(EventAttribute {
                pooling: match (self.mean, self.heads) {
                    (true, _) => SequencePooling::Mean,
                    (_, 0) => din.pooling,
                    _ => heads,
                },
                decay: (!self.decays.is_empty()).then_some(EventDecay::Learned),
                newest: if self.newest_first {
                    Newest::First
                } else {
                    Newest::Last
                },
                ..din
            });
            field(table, Some(pooling))
        };
        let candidate = self.candidate.iter().map(|&table| field(table, None));
        let table = |(number, values): (usize, &Vec<f64>)| TableSpec {
            name: format!("table {number}"),
            rows: values.len() / self.dim,
            unknown: None,
        };
        let spec = Spec {
            fields: candidate
                .chain(self.attributes.iter().map(attribute))
                .collect(),
            tables: self.tables.iter().enumerate().map(table).collect(),
            tasks: vec!["ctr".into()],
            links: Vec::new(),
            plan: NetworkPlan {
                gram: Gram::None,
                table_deviation: None,
                ..ncs_testkit::network(NetworkKind::SharedBottom, self.dim, &[2])
            },
        };
        let mut model = Model::new(spec, CounterRng::new(1, "weights"));
        let narrow = |values: &[f64]| values.iter().copied().map(R::of).collect::<Vec<R>>();
        let mut dense = model.network(0).dense.clone();
        let layout = &model.network(0).layout;
        // One unit passes the logit, if it is positive, and the other its negative.
        let layer = &layout.layers[0];
        let (weights, bias) = self.head.split_at(layer.inputs);
        for (i, &weight) in weights.iter().enumerate() {
            dense[layer.weights.start + 2 * i] = R::of(weight);
            dense[layer.weights.start + 2 * i + 1] = R::of(-weight);
        }
        dense[layer.bias.start] = R::of(bias[0]);
        dense[layer.bias.start + 1] = R::of(-bias[0]);
        let head = &layout.heads[0];
        dense[head.weights.start] = R::ONE;
        dense[head.weights.start + 1] = -R::ONE;
        dense[head.bias.start] = R::ZERO;
        let attention = layout.attentions[0].layers[0].weights.start;
        assert_eq!(
            layout.attentions[0].log_rate().is_some(),
            !self.decays.is_empty()
        );
        dense[attention..].copy_from_slice(&narrow(&self.attention));
        let rows = |values: &Vec<f64>| SparseRows {
            ids: (0..(values.len() / self.dim) as u32).collect(),
            values: narrow(values).into(),
        };
        let weights = Weights {
            dense,
            tables: self.tables.iter().map(rows).collect(),
        };
        model.network_mut(0).restore(&weights).unwrap();
        model
    }

    fn batch(&self) -> Batch {
        let single = |ids: &Vec<u32>| FieldIds {
            ids: ids.clone(),
            ..FieldIds::default()
        };
        let list = |ids: &Vec<u32>| FieldIds {
            offsets: self.offsets.clone(),
            weights: self.decays.clone(),
            ..single(ids)
        };
        let candidate = self.ids.iter().map(single);
        Batch {
            n_rows: self.offsets.len() - 1,
            fields: candidate.chain(self.events.iter().map(list)).collect(),
            ..Batch::default()
        }
    }

    fn check<R: Real>(&self, level: SimdLevel, tolerance: f64) {
        let model = self.model::<R>();
        let loss = |rows: &HeadRows<'_, R>, gradients: &mut [R]| {
            gradients.copy_from_slice(rows.logits);
            0.0
        };
        let (mut workspace, mut gradient) = (Workspace::at_level(1, level), Gradient::default());
        let (network, subnets) = (model.network(0), model.subnets(0, &[0]));
        network.learn(
            &self.batch(),
            &subnets,
            None,
            &loss,
            &mut workspace,
            &mut gradient,
        );
        let close = |actual: &[f64], expected: &[f64], what: &str| {
            assert_eq!(actual.len(), expected.len(), "{what}");
            for (i, (a, b)) in actual.iter().zip(expected).enumerate() {
                let allowed = tolerance * b.abs().max(0.1);
                assert!((a - b).abs() <= allowed, "{what} {i}: {a}, expected {b}");
            }
        };
        close(&workspace.logits(0), &self.logits, "logits");
        let dense = model.connections(0).spread(&gradient.dense);
        let attention = network.layout.attentions[0].layers[0].weights.start;
        let of_attention: Vec<f64> = dense[attention..].iter().map(|x| x.wide()).collect();
        close(&of_attention, &self.d_attention, "attention");
        for (table, expected) in gradient.tables.iter().zip(&self.d_tables) {
            let mut actual = vec![0.0; expected.len()];
            for (&id, gradients) in table.ids.iter().zip(table.values.chunks(self.dim)) {
                let places = actual[id as usize * self.dim..].iter_mut();
                places
                    .zip(gradients)
                    .for_each(|(place, x)| *place = x.wide());
            }
            close(&actual, expected, "table");
        }
    }
}

#[test]
fn attention_matches_the_papers_in_pytorch() {
    let fixture: Fixture = serde_json::from_str(include_str!("oracle/attention.json")).unwrap();
    assert_eq!(fixture.cases.len(), 9);
    for case in &fixture.cases {
        for level in SimdLevel::all() {
            case.check::<f64>(level, 1e-10);
            case.check::<f32>(level, 1e-4);
        }
    }
}
