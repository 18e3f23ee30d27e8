//! Benchmarks of the sparse products of the paper's layers, with the dense products of `gemm` for comparison, on one
//! thread, with 4096 rows that stream through the caches: `cargo bench -p ncs-model --bench kernels`.
//!
//! The counted items are the multiply-adds of a dense layer, including pruned connections, so that throughputs at all
//! densities are comparable.

mod gemm;

use divan::Bencher;
use divan::counter::ItemsCount;
use ncs_model::kernels::sparse::{SparseMatmul, SparsityPattern, Start, WeightGradient};
use ncs_model::kernels::{LANES, Lanes, SimdLevel};
use ncs_model::{CounterRng, Real};

fn main() {
    divan::main();
}

const ROWS: usize = 4096;
const N_TILES: usize = ROWS / LANES;

/// Number of tiles that run through a layer together, as in a pass.
const TOGETHER: usize = 16;

/// Inputs and outputs; the first layer's inputs are folded.
const LAYERS: [(usize, usize); 3] = [(530, 512), (512, 256), (256, 128)];

/// In percent.
const DENSITIES: [u32; 7] = [5, 10, 20, 30, 40, 60, 100];

fn cases() -> impl Iterator<Item = (usize, u32)> {
    let layers = 0..LAYERS.len();
    layers.flat_map(|layer| DENSITIES.map(|density| (layer, density)))
}

fn pattern(layer: usize, percent: u32) -> SparsityPattern {
    let (inputs, outputs) = LAYERS[layer];
    let rng = CounterRng::new(1, "mask");
    SparsityPattern::from_fn(inputs, outputs, |i, o| {
        rng.uniform((i * outputs + o) as u64) < f64::from(percent) / 100.0
    })
}

fn numbers<R: Real>(n: usize) -> Vec<R> {
    let rng = CounterRng::new(2, "numbers");
    (0..n as u64).map(|i| R::of(rng.normal(i))).collect()
}

fn tiles(width: usize) -> Vec<Lanes<f32>> {
    let numbers = numbers::<f32>(LANES * width);
    let tile: Vec<Lanes<f32>> = numbers
        .as_chunks()
        .0
        .iter()
        .map(|&lanes| Lanes(lanes))
        .collect();
    (0..N_TILES).flat_map(|_| tile.clone()).collect()
}

fn multiply_adds(layer: usize) -> ItemsCount {
    let (inputs, outputs) = LAYERS[layer];
    ItemsCount::new(ROWS * inputs * outputs)
}

fn product(
    bencher: Bencher<'_, '_>,
    level: SimdLevel,
    layer: usize,
    product: &SparseMatmul,
    n_kept: usize,
) {
    let mut values = Vec::new();
    product.load(&numbers::<f32>(n_kept), &mut values);
    let x = tiles(product.inputs());
    let mut y = tiles(product.outputs());
    bencher.counter(multiply_adds(layer)).bench_local(|| {
        let x = x.chunks(TOGETHER * product.inputs());
        for (x, y) in x.zip(y.chunks_mut(TOGETHER * product.outputs())) {
            product.run(level, &values, Start::Zero, true, x, y);
        }
    });
}

#[divan::bench(args = cases(), sample_count = 15, sample_size = 1)]
fn forward(bencher: Bencher<'_, '_>, (layer, percent): (usize, u32)) {
    let pattern = pattern(layer, percent);
    let forward = SparseMatmul::forward(&pattern);
    product(
        bencher,
        SimdLevel::best(),
        layer,
        &forward,
        pattern.n_kept(),
    );
}

#[divan::bench(args = cases(), sample_count = 15, sample_size = 1)]
fn backward_to_inputs(bencher: Bencher<'_, '_>, (layer, percent): (usize, u32)) {
    let pattern = pattern(layer, percent);
    let backward = SparseMatmul::backward(&pattern);
    product(
        bencher,
        SimdLevel::best(),
        layer,
        &backward,
        pattern.n_kept(),
    );
}

fn weight_gradient(bencher: Bencher<'_, '_>, level: SimdLevel, layer: usize, percent: u32) {
    let (inputs, outputs) = LAYERS[layer];
    let weight_gradient = WeightGradient::new(&pattern(layer, percent));
    let mut sums = vec![0.0f32; weight_gradient.numbers().len()];
    let (x, dy) = (tiles(inputs), tiles(outputs));
    bencher.counter(multiply_adds(layer)).bench_local(|| {
        let x = x.chunks(TOGETHER * inputs);
        for (x, dy) in x.zip(dy.chunks(TOGETHER * outputs)) {
            weight_gradient.add(level, TOGETHER, x, dy, &mut sums);
        }
    });
}

#[divan::bench(args = cases(), sample_count = 15, sample_size = 1)]
fn backward_to_weights(bencher: Bencher<'_, '_>, (layer, percent): (usize, u32)) {
    weight_gradient(bencher, SimdLevel::best(), layer, percent);
}

/// Lists every SIMD level of this processor, for the largest layer.
fn levels() -> impl Iterator<Item = (String, u32)> {
    let levels = SimdLevel::all().into_iter();
    levels.flat_map(|level| [5, 20, 60, 100].map(|percent| (level.to_string(), percent)))
}

fn level(name: &str) -> SimdLevel {
    let known = SimdLevel::all().into_iter();
    let mut levels = known.filter(|level| level.to_string() == name);
    levels.next().expect("a level of this processor")
}

#[divan::bench(args = levels(), sample_count = 7, sample_size = 1)]
fn level_forward(bencher: Bencher<'_, '_>, (name, percent): &(String, u32)) {
    let pattern = pattern(0, *percent);
    let forward = SparseMatmul::forward(&pattern);
    product(bencher, level(name), 0, &forward, pattern.n_kept());
}

#[divan::bench(args = levels(), sample_count = 7, sample_size = 1)]
fn level_backward_to_weights(bencher: Bencher<'_, '_>, (name, percent): &(String, u32)) {
    weight_gradient(bencher, level(name), 0, *percent);
}

/// Benchmarks the dense product, which does not depend on the mask.
#[divan::bench(args = 0..LAYERS.len(), sample_count = 15, sample_size = 1)]
fn gemm_forward(bencher: Bencher<'_, '_>, layer: usize) {
    let (inputs, outputs) = LAYERS[layer];
    let (x, w) = (numbers::<f32>(ROWS * inputs), numbers(inputs * outputs));
    let bias = vec![0.0; outputs];
    let mut y = vec![0.0; ROWS * outputs];
    bencher
        .counter(multiply_adds(layer))
        .bench_local(|| gemm::forward(&x, &w, &bias, &mut y, ROWS));
}

#[divan::bench(args = 0..LAYERS.len(), sample_count = 15, sample_size = 1)]
fn gemm_backward_to_inputs(bencher: Bencher<'_, '_>, layer: usize) {
    let (inputs, outputs) = LAYERS[layer];
    let (dy, w) = (numbers::<f32>(ROWS * outputs), numbers(inputs * outputs));
    let mut dx = vec![0.0; ROWS * inputs];
    bencher
        .counter(multiply_adds(layer))
        .bench_local(|| gemm::backward_inputs(&dy, &w, &mut dx, ROWS));
}

#[divan::bench(args = 0..LAYERS.len(), sample_count = 15, sample_size = 1)]
fn gemm_backward_to_weights(bencher: Bencher<'_, '_>, layer: usize) {
    let (inputs, outputs) = LAYERS[layer];
    let (x, dy) = (numbers::<f32>(ROWS * inputs), numbers(ROWS * outputs));
    let mut dw = vec![0.0; inputs * outputs];
    bencher
        .counter(multiply_adds(layer))
        .bench_local(|| gemm::backward_weights(&x, &dy, &mut dw, ROWS));
}
