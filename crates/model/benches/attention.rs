//! Benchmarks of attention over a user's events: requests with 50 events of two attributes and 500 candidates with 8
//! single fields, both tasks, one thread; the same request with the mean of the events, for comparison; and one
//! training pass over 1,024 rows. `cargo bench -p ncs-model --bench attention`

use divan::Bencher;
use divan::counter::ItemsCount;
use ncs_features::{Attention, Batch, EventAttribute, FieldIds, Newest, Pooling, SequencePooling};
use ncs_model::{
    CounterRng, FieldSpec, Gradient, HeadRows, Masks, Model, NetworkKind, NetworkPlan, RankBuffers,
    Ranker, Scorer, Spec, TableSpec, Workspace, masks,
};
use std::sync::Arc;

const N_SINGLE: usize = 8;
const N_ATTRIBUTES: usize = 2;
const TABLE_ROWS: usize = 100_000;
const EVENTS: [usize; 2] = [N_SINGLE, N_SINGLE + 1];

fn main() {
    divan::main();
}

/// Single fields, then the attributes of the events, compared with the first single fields.
fn spec(pooling: SequencePooling) -> Spec {
    let field = |f: usize| FieldSpec {
        table: f % N_SINGLE,
        pooling: f.checked_sub(N_SINGLE).map(|target| {
            Pooling::Events(EventAttribute {
                sequence: 0,
                pooling,
                newest: Newest::Last,
                target: Some(target as u32),
                decay: None,
            })
        }),
        pieces: None,
        vector: None,
    };
    let table = |number| TableSpec {
        name: format!("table {number}"),
        rows: TABLE_ROWS,
        unknown: None,
    };
    Spec {
        fields: (0..N_SINGLE + N_ATTRIBUTES).map(field).collect(),
        tables: (0..N_SINGLE).map(table).collect(),
        tasks: vec!["ctr".into(), "cvr".into()],
        links: Vec::new(),
        plan: NetworkPlan {
            table_deviation: Some(0.3),
            ..ncs_testkit::network(NetworkKind::SparseSharing, 16, &[512, 256, 128])
        },
    }
}

const DIN: SequencePooling = SequencePooling::Din(Attention {
    hidden: [32, 16],
    softmax: false,
});

fn batch(seed: u64, n_rows: usize, n_events: usize) -> Batch {
    let rng = CounterRng::new(seed, "ids");
    let ids = |f: usize| {
        let per_row = if f < N_SINGLE { 1 } else { n_events };
        let id = |i| (rng.at(f as u64).bits(i) % TABLE_ROWS as u64) as u32;
        let offsets = (0..=n_rows).map(|row| (row * per_row) as u32);
        FieldIds {
            ids: (0..(n_rows * per_row) as u64).map(id).collect(),
            offsets: offsets.filter(|_| f >= N_SINGLE).collect(),
            ..FieldIds::default()
        }
    };
    Batch {
        n_rows,
        fields: (0..N_SINGLE + N_ATTRIBUTES).map(ids).collect(),
        ..Batch::default()
    }
}

fn model(spec: &Spec) -> Model {
    let mut model: Model = Model::new(spec.clone(), CounterRng::new(1, "weights"));
    model.network_mut(0).init_all_rows();
    let shapes = spec.layer_shapes();
    let mask = |task| masks::random(&shapes, 0.2, CounterRng::new(task, "mask"));
    model.set_masks(Some(Arc::new(Masks {
        tasks: vec![mask(0), mask(1)],
        owners: None,
    })));
    model
}

fn ranker(pooling: SequencePooling) -> Ranker {
    let spec = spec(pooling);
    let model = model(&spec);
    let schema = ncs_testkit::hashed_schema(0, 1, &[]);
    let artifact = ncs_testkit::artifact(schema, &model);
    let scorer = Arc::new(Scorer::new(&artifact).expect("its own weights"));
    Ranker::new(&scorer, &EVENTS).expect("fields of its own")
}

#[divan::bench(args = [10, 50], consts = [100, 500], sample_count = 100)]
fn request_din<const CANDIDATES: usize>(bencher: Bencher, n_events: usize) {
    bench(bencher, n_events, CANDIDATES, ranker(DIN));
}

#[divan::bench(args = [10, 50], consts = [100, 500], sample_count = 100)]
fn request_mean<const CANDIDATES: usize>(bencher: Bencher, n_events: usize) {
    bench(bencher, n_events, CANDIDATES, ranker(SequencePooling::Mean));
}

fn bench(bencher: Bencher, n_events: usize, n_candidates: usize, ranker: Ranker) {
    let (context, candidates) = (batch(1, 1, n_events), batch(2, n_candidates, 0));
    let (mut buffers, mut scores) = (RankBuffers::default(), vec![Vec::new(); 2]);
    ranker.score(&context, &candidates, &mut buffers, &mut scores);
    let bencher = bencher.counter(ItemsCount::new(n_candidates));
    bencher.bench_local(|| ranker.score(&context, &candidates, &mut buffers, &mut scores));
}

/// Benchmarks a forward and backward pass, without the optimizer.
#[divan::bench(args = [10, 50], consts = [true, false], sample_count = 20)]
fn pass<const IS_DIN: bool>(bencher: Bencher, n_events: usize) {
    let spec = spec(if IS_DIN { DIN } else { SequencePooling::Mean });
    let (model, rows) = (model(&spec), batch(3, 1024, n_events));
    let subnets = model.subnets(0, &[0, 1]);
    let loss = |rows: &HeadRows<'_, f32>, gradients: &mut [f32]| {
        gradients.copy_from_slice(rows.logits);
        0.0
    };
    let (mut workspace, mut gradient) = (Workspace::new(1), Gradient::default());
    let bencher = bencher.counter(ItemsCount::new(rows.n_rows));
    bencher.bench_local(|| {
        let network = model.network(0);
        network.learn(&rows, &subnets, None, &loss, &mut workspace, &mut gradient);
    });
}
