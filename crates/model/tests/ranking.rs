//! Tests of the ranker against the scorer on rows that hold context and candidate together.

use ncs_features::{
    Attention, Batch, EventAttribute, Field, FieldIds, HashFunction, IdSpace, MultiHead, Newest,
    Piecewise, Pooling, Schema, SequencePooling, Table, Vector,
};
use ncs_model::artifact::{Artifact, WeightSet};
use ncs_model::kernels::SimdLevel;
use ncs_model::{
    CounterRng, Gram, Heads, Mask, Masks, Model, NetworkKind, NetworkPlan, RankBuffers, Ranker,
    Scorer, Spec, TakenLogit, Workspace, masks,
};
use std::sync::Arc;

const N_IDS: u64 = 30;
const COUNTS: [usize; 8] = [0, 1, 5, 16, 17, 64, 65, 500];

/// Single values, and lists with every kind of pooling; the last is a scaled number.
const FIELDS: [Option<Pooling>; 8] = [
    None,
    Some(Pooling::Mean),
    None,
    Some(Pooling::Sum),
    Some(Pooling::PaddedMean),
    Some(Pooling::Mean),
    None,
    None,
];

/// Two numbers and two vectors that are direct inputs of the first layer follow, then the attributes of two sequences.
const N_FIELDS: usize = FIELDS.len() + 4 + EVENTS.len();

/// Of each attribute: its sequence, its table, its target.
const EVENTS: [(u32, usize, Option<u32>); 4] = [
    (0, 0, Some(0)),
    (0, 2, None),
    (1, 0, Some(3)),
    (0, 2, Some(2)),
];

/// The fields of the first sequence, and of the second.
const FIRST: [usize; 3] = [12, 13, 15];
const SECOND: usize = 14;

/// Length of the vectors.
const LENGTH: usize = 5;

fn event_field(number: usize) -> Field {
    let (sequence, table, target) = EVENTS[number];
    Field {
        name: format!("event {number}"),
        column: format!("event {number}"),
        table,
        pooling: Some(Pooling::Events(EventAttribute {
            sequence,
            pooling: match sequence {
                0 => SequencePooling::Din(Attention {
                    hidden: [18, 5],
                    softmax: false,
                }),
                _ => SequencePooling::Mha(MultiHead {
                    heads: 3,
                    positions: 50,
                }),
            },
            newest: Newest::Last,
            target,
            decay: None,
        })),
        separator: None,
        max_values: Some(50),
        beside: Default::default(),
        missing: vec![],
    }
}

fn number_field(number: usize) -> Field {
    Field {
        name: format!("number {number}"),
        column: format!("number {number}"),
        table: 3 + number,
        pooling: None,
        separator: None,
        max_values: None,
        beside: Default::default(),
        missing: vec![],
    }
}

/// Returns a table of a numeric field with this number of pieces.
fn number_table(pieces: u32) -> Table {
    Table {
        name: format!("{pieces} pieces"),
        ids: IdSpace::Piecewise(Piecewise {
            knots: (0..=pieces).map(f64::from).collect(),
            mean: 0.0,
            deviation: 1.0,
            log_mean: 0.0,
            log_deviation: 1.0,
        }),
        range: None,
    }
}

fn vector_table(number: usize) -> Table {
    Table {
        name: format!("vector {number}"),
        ids: IdSpace::Vector(Vector {
            length: LENGTH as u32,
            projected: false,
            scale: vec![],
        }),
        range: None,
    }
}

fn schema() -> Schema {
    let field = |(number, pooling): (usize, &Option<Pooling>)| Field {
        name: format!("field {number}"),
        column: format!("column {number}"),
        table: number % 3,
        pooling: *pooling,
        separator: None,
        max_values: None,
        beside: Default::default(),
        missing: vec![],
    };
    use ncs_testkit::task;
    let table = |name: &str| Table {
        name: name.into(),
        ids: IdSpace::Hash {
            buckets: N_IDS as u32,
            function: HashFunction::Xxh3,
            unknown: false,
        },
        range: None,
    };
    Schema {
        value_rule: ncs_features::ValueRule::CURRENT,
        fields: FIELDS
            .iter()
            .enumerate()
            .map(field)
            .chain([0, 1, 2, 3].map(number_field))
            .chain((0..EVENTS.len()).map(event_field))
            .collect(),
        tables: ["user", "item", "place"]
            .map(table)
            .into_iter()
            .chain([5, 1].map(number_table))
            .chain([0, 1].map(vector_table))
            .collect(),
        tasks: ["ctr", "cvr"].map(task).into(),
        group: None,
    }
}

/// Returns a scorer of two tasks with their own masks; if `apart`, each task has its own weight set.
fn scorer(kind: NetworkKind, gram: Gram, dim: usize, apart: bool) -> Arc<Scorer> {
    scorer_of(kind, gram, dim, apart, 0.0)
}

/// Like [`scorer`]; the masks agree on at least the share `alike` of the connections.
fn scorer_of(kind: NetworkKind, gram: Gram, dim: usize, apart: bool, alike: f64) -> Arc<Scorer> {
    let artifact = artifact(kind, gram, dim, apart, alike, None);
    Arc::new(Scorer::new(&artifact).unwrap())
}

/// Returns the artifact of [`scorer_of`]; with `kappa`, the first task's logit is transferred to the second task.
fn artifact(
    kind: NetworkKind,
    gram: Gram,
    dim: usize,
    apart: bool,
    alike: f64,
    kappa: Option<f64>,
) -> Artifact {
    let plan = NetworkPlan {
        kind,
        dim,
        hidden: vec![70, 9],
        gram,
        dropout: 0.0,
        table_deviation: Some(0.5),
        heads: Heads {
            takes: kappa.map(|_| [0, 1]),
            ..Heads::default()
        },
    };
    let schema = Arc::new(schema());
    let spec = Spec::of(&schema, &plan);
    let member = |network: usize, seed: u64| {
        let mut model: Model = Model::new(spec.clone(), CounterRng::new(seed, "weights"));
        let trained = model.network_mut(network);
        trained.init_all_rows();
        for layer in trained.layout.layers.clone() {
            let rng = CounterRng::new(seed, "bias");
            layer
                .bias
                .for_each(|at| trained.dense[at] = 0.1 * rng.normal(at as u64) as f32);
        }
        trained.set_taken(TakenLogit {
            kappa: kappa.unwrap_or(0.0),
            mean: 0.3,
            information: 9.0,
        });
        WeightSet {
            network,
            weights: Arc::new(trained.weights()),
        }
    };
    let (weight_sets, of_task) = match (kind, apart) {
        (NetworkKind::SingleTask, _) => (vec![member(0, 1), member(1, 2)], vec![0, 1]),
        (_, true) => (vec![member(0, 1), member(0, 2)], vec![1, 0]),
        (_, false) => (vec![member(0, 1)], vec![0, 0]),
    };
    let shapes = spec.layer_shapes();
    let mask = |task| masks::random(&shapes, 0.3, CounterRng::new(task, "mask"));
    let mixed = |(first, second): (&Mask, &Mask)| {
        let rng = CounterRng::new(3, "alike");
        Mask::from_fn(first.inputs(), first.outputs(), |at| {
            if rng.uniform(at as u64) < alike {
                first.keeps(at)
            } else {
                second.keeps(at)
            }
        })
    };
    let masks = (kind == NetworkKind::SparseSharing).then(|| {
        let first = mask(0);
        let second = first.iter().zip(&mask(1)).map(mixed).collect();
        Arc::new(Masks {
            tasks: vec![first, second],
            owners: None,
        })
    });
    Artifact {
        masks,
        ..Artifact::new(schema, spec, of_task, weight_sets)
    }
}

/// Returns rows with lists of 0 to 4 ids.
fn batch(name: &str, n_rows: usize) -> Batch {
    let rng = CounterRng::new(7, name);
    let bits = |field: usize, i: usize| rng.at(field as u64).bits(i as u64);
    let ids = |(field, pooling): (usize, &Option<Pooling>)| {
        let is_scaled = field + 1 == FIELDS.len();
        let mut ids = FieldIds::default();
        if pooling.is_some() || is_scaled {
            ids.offsets.push(0);
        }
        for row in 0..n_rows {
            let length = match pooling {
                None if is_scaled => 2,
                None => 1,
                Some(_) => bits(field, row * 8) as usize % 5,
            };
            let id = |k: usize| (bits(field, row * 8 + k + 1) % N_IDS) as u32;
            ids.ids.extend((0..length).map(id));
            if is_scaled {
                ids.weights.extend([rng.normal(row as u64) as f32, 1.0]);
            }
            if !ids.offsets.is_empty() {
                ids.offsets.push(ids.ids.len() as u32);
            }
        }
        ids
    };
    let numbers = |number: u64| {
        let rng = rng.at(100 + number);
        let of_row = |row: u64| match rng.bits(3 * row) % 4 {
            0 => [f32::NAN, 0.0, 0.0],
            _ => [0, 1, 2].map(|i| 3.0 * rng.uniform(3 * row + i) as f32),
        };
        FieldIds {
            numbers: (0..n_rows as u64).flat_map(of_row).collect(),
            ..FieldIds::of_numbers(3)
        }
    };
    let vectors = |number: u64| {
        let rng = rng.at(200 + number);
        let mut vectors = FieldIds::of_numbers(LENGTH);
        for row in 0..n_rows as u64 {
            let missing = rng.bits(row).is_multiple_of(4);
            let x = |i: u64| match (missing, i) {
                (true, 0) => f32::NAN,
                (true, _) => 0.0,
                _ => rng.normal(row * 8 + i) as f32,
            };
            vectors.numbers.extend((0..LENGTH as u64).map(x));
        }
        vectors
    };
    let events = |number: usize| {
        let mut events = FieldIds {
            offsets: vec![0],
            ..FieldIds::default()
        };
        for row in 0..n_rows {
            let n_events = bits(300 + EVENTS[number].0 as usize, row) as usize % 12;
            let id = |k: usize| (bits(400 + number, row * 12 + k) % N_IDS) as u32;
            events.ids.extend((0..n_events).map(id));
            events.offsets.push(events.ids.len() as u32);
        }
        events
    };
    Batch {
        n_rows,
        fields: FIELDS
            .iter()
            .enumerate()
            .map(ids)
            .chain([0, 1].map(numbers))
            .chain([0, 1].map(vectors))
            .chain((0..EVENTS.len()).map(events))
            .collect(),
        ..Batch::default()
    }
}

/// Returns the candidate rows, with the context copied into each.
fn expanded(context: &Batch, candidates: &Batch, of_context: &[usize]) -> Batch {
    let mut rows = candidates.clone();
    for &field in of_context {
        let mut ids = FieldIds::default();
        if !context.fields[field].offsets.is_empty() {
            ids.offsets.push(0);
        }
        (0..rows.n_rows).for_each(|_| ids.push_row(&context.fields[field], 0));
        rows.fields[field] = ids;
    }
    rows
}

fn check(
    scorer: &Arc<Scorer>,
    of_context: &[usize],
    levels: &[SimdLevel],
    buffers: &mut RankBuffers,
) {
    let ranker = Ranker::new(scorer, of_context).unwrap();
    let mut context = batch("context", 1);
    let mut scores = vec![vec![9.0; 3]; 2];
    for &level in levels {
        let ranker = ranker.clone().at(level);
        for n in COUNTS {
            let mut candidates = batch("candidates", n);
            let rows = expanded(&context, &candidates, of_context);
            let expected = scorer.score(&rows, &mut Workspace::new(1));
            for field in 0..N_FIELDS {
                let unread = if of_context.contains(&field) {
                    &mut candidates
                } else {
                    &mut context
                };
                unread.fields[field] = FieldIds::default();
            }
            ranker.score(&context, &candidates, buffers, &mut scores);
            check_prepared(&ranker, &context, &candidates, buffers);
            for (scores, expected) in scores.iter().zip(&expected) {
                assert_eq!(scores.len(), n);
                for (row, (score, expected)) in scores.iter().zip(expected).enumerate() {
                    let is_close = (score - expected).abs() < 1e-6;
                    assert!(
                        is_close,
                        "row {row} of {n}, {of_context:?}: {score} for {expected}"
                    );
                }
            }
        }
    }
}

/// A prepared context gives the same bits, and is read again after another one.
fn check_prepared(ranker: &Ranker, context: &Batch, candidates: &Batch, buffers: &mut RankBuffers) {
    let [mut usual, mut prepared, mut others] = [const { [vec![], vec![]] }; 3];
    ranker.score_uncalibrated(context, candidates, buffers, &mut usual);
    let kept = ranker.prepare(context, buffers);
    assert!(kept.n_bytes() > 0);
    ranker.score_uncalibrated(&batch("other", 1), candidates, buffers, &mut others);
    ranker.score_prepared((context, &kept), candidates, buffers, &mut prepared);
    let bits = |scores: &[Vec<f32>; 2]| {
        scores
            .clone()
            .map(|s| s.iter().map(|x| x.to_bits()).collect::<Vec<_>>())
    };
    assert_eq!(bits(&usual), bits(&prepared));
}

#[test]
fn requests_match_rows() {
    let (best, mut buffers) = ([SimdLevel::best()], RankBuffers::default());
    for (kind, apart) in [
        (NetworkKind::SparseSharing, false),
        (NetworkKind::SparseSharing, true),
        (NetworkKind::SharedBottom, false),
        (NetworkKind::SharedBottom, true),
        (NetworkKind::SingleTask, true),
    ] {
        for (gram, dim) in [
            (Gram::Full, 4),
            (Gram::Full, 16),
            (Gram::Triangle, 3),
            (Gram::None, 17),
        ] {
            let scorer = scorer(kind, gram, dim, apart);
            check(&scorer, &[0, 2, 4, 5, 8], &best, &mut buffers);
        }
    }
}

/// A logit transfer is the same for rows and in a request, and uses the weight set of the receiving task.
#[test]
fn a_transferred_logit_is_of_the_same_weights() {
    let mut buffers = RankBuffers::default();
    for (kind, apart) in [
        (NetworkKind::SparseSharing, false),
        (NetworkKind::SparseSharing, true),
        (NetworkKind::SharedBottom, false),
        (NetworkKind::SharedBottom, true),
    ] {
        let make = |kappa| artifact(kind, Gram::Full, 4, apart, 0.0, Some(kappa));
        let scorer = |artifact: &Artifact| Arc::new(Scorer::new(artifact).unwrap());
        let (without, with) = (scorer(&make(0.0)), scorer(&make(0.7)));
        check(&with, &[0, 2, 4, 5, 8], &[SimdLevel::best()], &mut buffers);
        let rows = batch("rows", 70);
        let score = |scorer: &Scorer| scorer.score(&rows, &mut Workspace::new(1));
        let (own, actual) = (score(&without), score(&with));
        assert_eq!(own[0], actual[0], "the first task receives no logit");
        // The click logit under the weight set of the conversion task.
        let mut alike = make(0.0);
        alike.of_task[0] = alike.of_task[1];
        let clicks = &score(&scorer(&alike))[0];
        let logit = |p: f32| (f64::from(p) / (1.0 - f64::from(p))).ln();
        for ((own, actual), &click) in own[1].iter().zip(&actual[1]).zip(clicks) {
            let expected = logit(*own) + 0.7 * (logit(click) - 0.3);
            assert!((logit(*actual) - expected).abs() < 1e-4, "{kind:?} {apart}");
        }
        let (tasks, taken) = make(0.7).taken().unwrap();
        assert_eq!((tasks, taken.error()), ([0, 1], Some(1.0 / 3.0)));
        assert!((taken.kappa - 0.7).abs() < 1e-6);
    }
}

#[test]
fn common_connections_are_computed_once_if_that_saves_time() {
    let is_once = |alike: f64, gram, apart| {
        let scorer = scorer_of(NetworkKind::SparseSharing, gram, 8, apart, alike);
        check(
            &scorer,
            &[0, 2, 4],
            &SimdLevel::all(),
            &mut RankBuffers::default(),
        );
        let ranker =
            |new: fn(&Arc<Scorer>, &[usize]) -> Option<Ranker>| new(&scorer, &[0]).unwrap();
        assert!(!ranker(Ranker::in_half).computes_shared_once());
        ranker(Ranker::new).computes_shared_once()
    };
    assert!(is_once(1.0, Gram::Full, false));
    assert!(is_once(0.9, Gram::Full, false));
    assert!(is_once(0.9, Gram::Triangle, false));
    assert!(!is_once(0.0, Gram::Full, false));
    // Two weight sets have different weights.
    assert!(!is_once(1.0, Gram::Full, true));
}

#[test]
fn any_split_of_the_fields_matches() {
    let scorer = scorer(NetworkKind::SparseSharing, Gram::Full, 8, true);
    // The buffers are reused: leftovers of a larger split must not matter.
    let mut buffers = RankBuffers::default();
    let all = Vec::from_iter(0..N_FIELDS);
    // Events of the context with targets of the candidates and of both, and events of the candidates.
    let events = [FIRST.as_slice(), &[SECOND]].concat();
    for of_context in [
        &all[..],
        &all[..10],
        &[7, 0],
        &[9, 1],
        &events,
        &[&FIRST[..], &[0, 5]].concat(),
        &[SECOND, 3, 2],
        &[],
    ] {
        check(&scorer, of_context, &SimdLevel::all(), &mut buffers);
    }
    assert!(Ranker::new(&scorer, &FIRST[..2]).is_none());
    assert!(Ranker::new(&scorer, &[N_FIELDS]).is_none());
    assert!(Ranker::new(&scorer, &[1, 1]).is_none());
}

#[test]
fn padding_depends_on_the_longest_list_of_the_same_side() {
    let scorer = scorer(NetworkKind::SharedBottom, Gram::Full, 4, false);
    let (context, candidates) = (batch("context", 1), batch("candidates", 40));
    let score = |of_context: &[usize], candidates: &Batch| {
        let ranker = Ranker::new(&scorer, of_context).unwrap();
        let mut scores = vec![vec![]; 2];
        ranker.score(
            &context,
            candidates,
            &mut RankBuffers::default(),
            &mut scores,
        );
        scores
    };
    let mut longer = candidates.clone();
    let padded = &mut longer.fields[4];
    padded.ids.extend([1; 6]);
    *padded.offsets.last_mut().unwrap() += 6;
    let (own, others) = (&[0, 2, 5][..], &[0, 2, 4, 5][..]);
    assert_ne!(
        score(own, &candidates)[0][..39],
        score(own, &longer)[0][..39]
    );
    assert_eq!(score(others, &candidates), score(others, &longer));
}

#[test]
fn a_request_allocates_nothing_after_one_of_its_size() {
    for (kind, apart) in [
        (NetworkKind::SparseSharing, true),
        (NetworkKind::SharedBottom, false),
        (NetworkKind::SingleTask, true),
    ] {
        let scorer = scorer(kind, Gram::Full, 16, apart);
        let context = batch("context", 1);
        for n in COUNTS {
            let candidates = batch("candidates", n);
            for ranker in [Ranker::new, Ranker::in_half] {
                let ranker = ranker(&scorer, &[0, 2, 4, 5, 9, SECOND]).unwrap();
                let (mut buffers, mut scores) = (RankBuffers::default(), vec![vec![]; 2]);
                let mut score = || ranker.score(&context, &candidates, &mut buffers, &mut scores);
                let mut allocations = || allocation_counter::measure(&mut score).count_total;
                assert_ne!(allocations(), 0);
                assert_eq!(allocations(), 0, "{kind:?}, {n} candidates");
            }
        }
    }
}
