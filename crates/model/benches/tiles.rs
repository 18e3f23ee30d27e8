//! Benchmarks of the operations on one tile other than products, at the paper's size (20 fields of 16, 64 rows), by
//! SIMD level: `cargo bench -p ncs-model --bench tiles`.

use divan::{Bencher, black_box};
use ncs_model::CounterRng;
use ncs_model::kernels::{LANES, Lanes, SimdLevel, tiles};

const FIELDS: usize = 20;
const DIM: usize = 16;
const PAIRS: usize = FIELDS * (FIELDS + 1) / 2;
const HIDDEN: usize = 512;
const LAST: usize = 128;

fn main() {
    divan::main();
}

fn values(n: usize) -> Vec<f32> {
    let rng = CounterRng::new(1, "values");
    (0..n as u64).map(|i| rng.normal(i) as f32).collect()
}

fn lanes(n: usize) -> Vec<Lanes<f32>> {
    let values = values(n * LANES);
    let lanes = values.as_chunks().0.iter();
    lanes.map(|&values| Lanes(values)).collect()
}

#[divan::bench(args = SimdLevel::all())]
fn into_lanes(bencher: Bencher, level: &SimdLevel) {
    let (rows, mut x) = (values(FIELDS * LANES * DIM), lanes(FIELDS * DIM));
    bencher.bench_local(|| {
        let fields = rows.chunks_exact(LANES * DIM);
        for (rows, x) in fields.zip(x.chunks_exact_mut(DIM)) {
            tiles::into_lanes(*level, black_box(rows), DIM, x);
        }
    });
}

#[divan::bench(args = SimdLevel::all())]
fn into_rows(bencher: Bencher, level: &SimdLevel) {
    let (x, mut rows) = (lanes(FIELDS * DIM), values(FIELDS * LANES * DIM));
    bencher.bench_local(|| {
        for (field, x) in x.chunks_exact(DIM).enumerate() {
            let rows = &mut rows[field * DIM..];
            tiles::into_rows(*level, black_box(x), LANES, FIELDS * DIM, true, rows);
        }
    });
}

#[divan::bench(args = SimdLevel::all())]
fn gram(bencher: Bencher, level: &SimdLevel) {
    let (x, mut gram) = (lanes(FIELDS * DIM), lanes(PAIRS));
    bencher.bench_local(|| tiles::gram(*level, FIELDS, [DIM, DIM], black_box(&x), &mut gram));
}

/// Benchmarks 12 fields of a request with the 8 fields of its candidates.
#[divan::bench(args = SimdLevel::all())]
fn gram_across(bencher: Bencher, level: &SimdLevel) {
    let (constants, x, mut gram) = (values(12 * DIM), lanes(8 * DIM), lanes(12 * 8));
    bencher.bench_local(|| {
        tiles::gram_across(*level, [DIM, DIM], black_box(&constants), &x, &mut gram);
    });
}

#[divan::bench(args = SimdLevel::all())]
fn gram_backward(bencher: Bencher, level: &SimdLevel) {
    let (x, gradients, mut dx) = (lanes(FIELDS * DIM), lanes(PAIRS), lanes(FIELDS * DIM));
    bencher.bench_local(|| {
        tiles::gram_backward(
            *level,
            FIELDS,
            [DIM, DIM],
            black_box(&x),
            &gradients,
            &mut dx,
        );
    });
}

#[divan::bench(args = SimdLevel::all())]
fn rectify_backward(bencher: Bencher, level: &SimdLevel) {
    let (y, mut dy, mut sums) = (lanes(HIDDEN), lanes(HIDDEN), values(HIDDEN));
    bencher.bench_local(|| {
        tiles::rectify_backward(*level, 1.0, black_box(&y), &mut dy, &mut sums);
    });
}

#[divan::bench(args = SimdLevel::all())]
fn head(bencher: Bencher, level: &SimdLevel) {
    let (weights, h) = (values(LAST), lanes(LAST));
    bencher.bench_local(|| tiles::head(*level, 0.1, &weights, black_box(&h)));
}

#[divan::bench(args = SimdLevel::all())]
fn head_backward(bencher: Bencher, level: &SimdLevel) {
    let (weights, gradients, h) = (values(LAST), lanes(1), lanes(LAST));
    let (mut dh, mut sums) = (lanes(LAST), values(LAST));
    bencher.bench_local(|| {
        let h = black_box(&h);
        tiles::head_backward(*level, &weights, &gradients[0], h, &mut dh, &mut sums);
    });
}
