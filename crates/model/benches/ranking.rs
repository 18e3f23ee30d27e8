//! Benchmarks of one request: a user with 8 single fields and 4 lists of 6 ids, and candidates with 7 single fields
//! and a list of 6 ids, both tasks, one thread: `cargo bench -p ncs-model --bench ranking`. In the steady state
//! nothing is allocated.

use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher};
use ncs_features::{Batch, FieldIds, Pooling, Schema};
use ncs_model::artifact::{Artifact, WeightSet};
use ncs_model::{
    CounterRng, FieldSpec, Mask, Masks, Model, NetworkKind, NetworkPlan, RankBuffers, Ranker,
    Scorer, Spec, TableSpec, masks,
};
use std::sync::Arc;

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

const N_FIELDS: usize = 20;
const CONTEXT: [usize; 12] = [0, 1, 2, 3, 4, 5, 6, 7, 15, 16, 17, 18];
const FIRST_LIST: usize = 15;
const LIST_LENGTH: usize = 6;
const TABLE_ROWS: usize = 100_000;

fn main() {
    divan::main();
}

fn batch(seed: u64, n_rows: usize) -> Batch {
    let rng = CounterRng::new(seed, "ids");
    let ids = |field: usize| {
        let per_row = if field < FIRST_LIST { 1 } else { LIST_LENGTH };
        let id = |i| (rng.at(field as u64).bits(i) % TABLE_ROWS as u64) as u32;
        let offsets = (0..=n_rows).map(|row| (row * per_row) as u32);
        FieldIds {
            ids: (0..(n_rows * per_row) as u64).map(id).collect(),
            offsets: offsets.filter(|_| per_row > 1).collect(),
            ..FieldIds::default()
        }
    };
    Batch {
        n_rows,
        fields: (0..N_FIELDS).map(ids).collect(),
        ..Batch::default()
    }
}

/// Returns a ranker whose masks agree on at least the share `alike` of the connections.
fn ranker(density: f64, alike: f64, half: bool) -> Ranker {
    let field = |table| FieldSpec {
        table,
        pooling: (table >= FIRST_LIST).then_some(Pooling::Mean),
        pieces: None,
        vector: None,
    };
    let table = |number| TableSpec {
        name: format!("table {number}"),
        rows: TABLE_ROWS,
        unknown: None,
    };
    let spec = Spec {
        fields: (0..N_FIELDS).map(field).collect(),
        tables: (0..N_FIELDS).map(table).collect(),
        tasks: vec!["ctr".into(), "cvr".into()],
        links: Vec::new(),
        plan: NetworkPlan {
            table_deviation: Some(0.3),
            ..ncs_testkit::network(NetworkKind::SparseSharing, 16, &[512, 256, 128])
        },
    };
    let mut model: Model = Model::new(spec.clone(), CounterRng::new(1, "weights"));
    model.network_mut(0).init_all_rows();
    let shapes = spec.layer_shapes();
    let mask = |task| masks::random(&shapes, density, CounterRng::new(task, "mask"));
    let mixed = |(first, second): (&Mask, &Mask)| {
        let rng = CounterRng::new(3, "alike");
        let of_first = |at: usize| rng.uniform(at as u64) < alike;
        Mask::from_fn(first.inputs(), first.outputs(), |at| {
            if of_first(at) { first } else { second }.keeps(at)
        })
    };
    let second = mask(0).iter().zip(&mask(1)).map(mixed).collect();
    let artifact = Artifact {
        masks: Some(Arc::new(Masks {
            tasks: vec![mask(0), second],
            owners: None,
        })),
        ..Artifact::new(
            Arc::new(Schema {
                value_rule: ncs_features::ValueRule::CURRENT,
                fields: vec![],
                tables: vec![],
                tasks: vec![],
                group: None,
            }),
            spec,
            vec![0, 0],
            vec![WeightSet {
                network: 0,
                weights: Arc::new(model.network(0).weights()),
            }],
        )
    };
    let scorer = Scorer::new(&artifact).expect("its own weights");
    let scorer = Arc::new(scorer);
    let ranker = if half {
        Ranker::in_half(&scorer, &CONTEXT)
    } else {
        Ranker::new(&scorer, &CONTEXT)
    };
    ranker.expect("fields of its own")
}

#[divan::bench(args = [1, 2, 4, 6, 8, 16, 32, 64, 500], consts = [20, 30], sample_count = 100)]
fn request<const PER_CENT: usize>(bencher: Bencher, n_candidates: usize) {
    bench(
        bencher,
        n_candidates,
        ranker(PER_CENT as f64 / 100.0, 0.0, false),
    );
}

/// Benchmarks masks that agree on this percentage of the connections: common first-layer connections are computed
/// once.
#[divan::bench(args = [64, 500], consts = [50, 70, 90], sample_count = 100)]
fn request_alike<const PER_CENT: usize>(bencher: Bencher, n_candidates: usize) {
    bench(
        bencher,
        n_candidates,
        ranker(0.2, PER_CENT as f64 / 100.0, false),
    );
}

/// Benchmarks weights and activations in half precision.
#[divan::bench(args = [16, 64, 500], consts = [20, 30], sample_count = 100)]
fn request_in_half<const PER_CENT: usize>(bencher: Bencher, n_candidates: usize) {
    bench(
        bencher,
        n_candidates,
        ranker(PER_CENT as f64 / 100.0, 0.0, true),
    );
}

fn bench(bencher: Bencher, n_candidates: usize, ranker: Ranker) {
    let (context, candidates) = (batch(1, 1), batch(2, n_candidates));
    let (mut buffers, mut scores) = (RankBuffers::default(), vec![Vec::new(); 2]);
    ranker.score(&context, &candidates, &mut buffers, &mut scores);
    let bencher = bencher.counter(ItemsCount::new(n_candidates));
    bencher.bench_local(|| ranker.score(&context, &candidates, &mut buffers, &mut scores));
}
