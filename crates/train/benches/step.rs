//! A step at the paper's size, whole and in parts, one thread: `cargo bench -p ncs-train --bench step`.

#[path = "../examples/cost/paper.rs"]
#[expect(dead_code, reason = "the bench uses a part of the workload")]
mod paper;

use divan::Bencher;
use divan::counter::ItemsCount;
use paper::{Size, Training};

fn main() {
    divan::main();
}

/// In percent.
const DENSITIES: [u32; 4] = [100, 30, 20, 10];

const SIZE: Size = Size {
    table_rows: 1_000_000,
    ..Size::PAPER
};

fn training(percent: u32, tasks: &[usize]) -> Training {
    let density = f64::from(percent) / 100.0;
    let mut training = Training::new(SIZE, paper::model(SIZE, [density; 2]), tasks);
    // The first step initialises the rows and touches fresh memory; all others do not.
    training.step(&paper::batch(SIZE, 0));
    training
}

fn bench(
    bencher: Bencher<'_, '_>,
    mut training: Training,
    run: fn(&mut Training, &ncs_features::Batch),
) {
    let batch = paper::batch(SIZE, 0);
    let counter = ItemsCount::new(SIZE.batch);
    bencher
        .counter(counter)
        .bench_local(|| run(&mut training, &batch));
}

#[divan::bench(args = DENSITIES, sample_count = 20, sample_size = 1)]
fn forward_of_ctr(bencher: Bencher<'_, '_>, percent: u32) {
    bench(bencher, training(percent, &[0]), Training::forward);
}

#[divan::bench(args = DENSITIES, sample_count = 20, sample_size = 1)]
fn forward_and_backward_of_ctr(bencher: Bencher<'_, '_>, percent: u32) {
    bench(bencher, training(percent, &[0]), Training::learn);
}

#[divan::bench(args = DENSITIES, sample_count = 20, sample_size = 1)]
fn step_of_ctr(bencher: Bencher<'_, '_>, percent: u32) {
    bench(bencher, training(percent, &[0]), Training::step);
}

/// Both tasks, the conversion on clicked rows.
#[divan::bench(args = DENSITIES, sample_count = 20, sample_size = 1)]
fn joint_step(bencher: Bencher<'_, '_>, percent: u32) {
    bench(bencher, training(percent, &[0, 1]), Training::step);
}

/// One-time cost of a change of masks: the kept connections in the order of every product.
#[divan::bench(args = DENSITIES, sample_count = 10, sample_size = 1)]
fn packing(bencher: Bencher<'_, '_>, percent: u32) {
    let density = f64::from(percent) / 100.0;
    let model = paper::model(SIZE, [density; 2]);
    bencher
        .with_inputs(|| {
            let mut model = model.clone();
            model.set_masks(model.masks().cloned());
            model
        })
        .bench_local_refs(|model| model.subnets(0, &[0]));
}
