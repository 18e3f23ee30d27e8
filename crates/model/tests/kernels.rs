//! Tests of the kernels at every SIMD level against plain loops in double precision.

use ncs_model::kernels::sparse::{SparseMatmul, SparsityPattern, Start, WeightGradient};
use ncs_model::kernels::{LANES, Lanes, SimdLevel, reference};
use ncs_model::{CounterRng, Real, masks};
use proptest::prelude::*;

/// A layer with random weights, 0 where pruned, and random rows.
struct Layer {
    pattern: SparsityPattern,
    rows: usize,
    /// `[inputs, outputs]`
    weights: Vec<f64>,
    bias: Vec<f64>,
    /// `[rows, inputs]`
    x: Vec<f64>,
    /// `[rows, outputs]`
    dy: Vec<f64>,
}

/// Returns a number that is exact in single precision, so that only sums are rounded.
fn number(rng: CounterRng, position: usize) -> f64 {
    f64::from(rng.normal(position as u64) as f32)
}

impl Layer {
    fn new(rows: usize, pattern: SparsityPattern, rng: CounterRng) -> Layer {
        let numbers =
            |n: usize, what: u64| -> Vec<f64> { (0..n).map(|i| number(rng.at(what), i)).collect() };
        let (inputs, outputs) = (pattern.inputs(), pattern.outputs());
        let mut weights = vec![0.0; inputs * outputs];
        for (i, o) in pattern.kept() {
            weights[i * outputs + o] = number(rng.at(1), i * outputs + o);
        }
        Layer {
            weights,
            bias: numbers(outputs, 2),
            x: numbers(rows * inputs, 3),
            dy: numbers(rows * outputs, 4),
            rows,
            pattern,
        }
    }

    fn by_number<R: Real>(&self) -> Vec<R> {
        let weight = |(i, o)| R::of(self.weights[i * self.pattern.outputs() + o]);
        self.pattern.kept().map(weight).collect()
    }
}

/// Converts rows `[rows, width]` to tiles; lanes without a row are set to `rest`.
fn tiles<R: Real>(values: &[f64], rows: usize, width: usize, rest: f64) -> Vec<Lanes<R>> {
    let mut tiles = vec![Lanes::all(R::of(rest)); rows.div_ceil(LANES) * width];
    for row in 0..rows {
        for feature in 0..width {
            let lanes = &mut tiles[row / LANES * width + feature];
            lanes.0[row % LANES] = R::of(values[row * width + feature]);
        }
    }
    tiles
}

/// Returns the error bound of a sum of `terms` rounded products: each rounding adds at most half a unit of the
/// largest partial sum (Higham 2002, section 4.2), which is bounded by the sum of magnitudes.
fn bound<R: Real>(terms: usize, magnitude: f64) -> f64 {
    let unit = if std::mem::size_of::<R>() == 4 {
        6e-8
    } else {
        1.2e-16
    };
    2.0 * unit * (terms + 8) as f64 * magnitude + 1e-30
}

fn magnitudes(values: &[f64]) -> Vec<f64> {
    values.iter().map(|x| x.abs()).collect()
}

fn check_rows<R: Real>(
    actual: &[Lanes<R>],
    expected: &[f64],
    sizes: &[f64],
    width: usize,
    terms: usize,
    what: &str,
) {
    for (place, (&expected, &size)) in expected.iter().zip(sizes).enumerate() {
        let (row, feature) = (place / width, place % width);
        let actual = actual[row / LANES * width + feature].0[row % LANES].wide();
        let error = (actual - expected).abs();
        assert!(
            error <= bound::<R>(terms, size),
            "{what}: row {row}, feature {feature}: {actual}, not {expected}"
        );
    }
}

fn check<R: Real>(layer: &Layer, level: SimdLevel) {
    let (inputs, outputs, rows) = (layer.pattern.inputs(), layer.pattern.outputs(), layer.rows);
    let weights = layer.by_number::<R>();
    let (x, dy) = (
        tiles::<R>(&layer.x, rows, inputs, 0.0),
        tiles::<R>(&layer.dy, rows, outputs, 0.0),
    );
    let bias: Vec<R> = layer.bias.iter().map(|&b| R::of(b)).collect();
    let mut values = Vec::new();
    let sized = |x: &[f64]| magnitudes(x);

    let product = SparseMatmul::forward(&layer.pattern);
    product.load(&weights, &mut values);
    let mut expected = [vec![0.0; rows * outputs], vec![0.0; rows * outputs]];
    reference::forward(
        &layer.x,
        &layer.weights,
        &layer.bias,
        &mut expected[0],
        rows,
    );
    let sizes = [sized(&layer.x), sized(&layer.weights), sized(&layer.bias)];
    reference::forward(&sizes[0], &sizes[1], &sizes[2], &mut expected[1], rows);
    let mut y = vec![Lanes::all(R::of(7.0)); dy.len()];
    product.run(level, &values, Start::Bias(&bias), false, &x, &mut y);
    check_rows(&y, &expected[0], &expected[1], outputs, inputs, "forward");
    for lanes in [1, 16, 17, 32, 33] {
        let mut some = vec![Lanes::all(R::of(7.0)); dy.len()];
        let first = product.first_lanes(lanes);
        first.run(level, &values, Start::Bias(&bias), false, &x, &mut some);
        for (some, all) in some.iter().zip(&y) {
            assert_eq!(
                some.0[..lanes],
                all.0[..lanes],
                "{lanes} lanes are computed as all are"
            );
        }
    }
    let mut rectified = vec![Lanes::all(R::of(7.0)); dy.len()];
    product.run(level, &values, Start::Bias(&bias), true, &x, &mut rectified);
    for (rectified, y) in rectified.iter().zip(&y) {
        let expected = y.0.map(|y| if y < R::ZERO { R::ZERO } else { y });
        assert_eq!(rectified.0, expected);
    }

    // Starting from other sums, here those of the outputs.
    let mut sums = vec![Lanes::all(R::of(7.0)); dy.len()];
    product.run(level, &values, Start::Sums(&y, &bias), false, &x, &mut sums);
    let twice = expected.map(|values| values.iter().map(|y| 2.0 * y).collect::<Vec<_>>());
    check_rows(
        &sums,
        &twice[0],
        &twice[1],
        outputs,
        inputs,
        "forward, on sums",
    );

    let product = SparseMatmul::backward(&layer.pattern);
    product.load(&weights, &mut values);
    let mut expected = [vec![0.0; rows * inputs], vec![0.0; rows * inputs]];
    reference::backward_inputs(&layer.dy, &layer.weights, &mut expected[0], rows);
    reference::backward_inputs(&sized(&layer.dy), &sizes[1], &mut expected[1], rows);
    let mut dx = vec![Lanes::all(R::of(7.0)); x.len()];
    product.run(level, &values, Start::Zero, false, &dy, &mut dx);
    check_rows(&dx, &expected[0], &expected[1], inputs, outputs, "backward");
    // Added once more, the result doubles.
    product.run(level, &values, Start::Outputs, false, &dy, &mut dx);
    let twice = expected.map(|values| values.iter().map(|x| 2.0 * x).collect::<Vec<_>>());
    check_rows(
        &dx,
        &twice[0],
        &twice[1],
        inputs,
        outputs,
        "backward, added",
    );

    let weight_gradient = WeightGradient::new(&layer.pattern);
    let mut sums = vec![R::ONE; weight_gradient.numbers().len()];
    let n_tiles = rows.div_ceil(LANES);
    weight_gradient.add(level, n_tiles, &x, &dy, &mut sums);
    let mut expected = [vec![1.0; inputs * outputs], vec![1.0; inputs * outputs]];
    reference::backward_weights(&layer.x, &layer.dy, &mut expected[0], rows);
    reference::backward_weights(&sizes[0], &sized(&layer.dy), &mut expected[1], rows);
    let mut by_number = vec![None; layer.pattern.n_kept()];
    for (&number, sum) in weight_gradient.numbers().iter().zip(&sums) {
        if number != WeightGradient::NONE {
            let before = by_number[number as usize].replace(sum.wide());
            assert_eq!(before, None, "each connection has one sum");
        }
    }
    for ((i, o), actual) in layer.pattern.kept().zip(by_number) {
        let actual = actual.expect("each connection has a sum");
        let (expected, size) = (expected[0][i * outputs + o], expected[1][i * outputs + o]);
        let error = (actual - expected).abs();
        assert!(
            error <= bound::<R>(rows, size),
            "weight ({i}, {o}): {actual}, not {expected}"
        );
    }
}

fn check_all(layer: &Layer) {
    for level in SimdLevel::all() {
        check::<f32>(layer, level);
        check::<f64>(layer, level);
    }
}

/// Returns a random pattern; if skewed, without some inputs and outputs, and denser for the first outputs.
fn random_pattern(
    inputs: usize,
    outputs: usize,
    density: f64,
    skewed: bool,
    rng: CounterRng,
) -> SparsityPattern {
    let dead = |i: usize, o: usize| skewed && (i % 5 == 3 || o % 7 == 2);
    let tilt = |o: usize| {
        if skewed {
            2.0 * (1.0 - o as f64 / outputs as f64)
        } else {
            1.0
        }
    };
    SparsityPattern::from_fn(inputs, outputs, |i, o| {
        let u = rng.uniform((i * outputs + o) as u64);
        !dead(i, o) && u < density * tilt(o)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn products_match_the_reference(
        rows in prop::sample::select(vec![0usize, 1, 5, 63, 64, 65, 130]),
        inputs in 1usize..260,
        outputs in 1usize..70,
        density in prop::sample::select(vec![0.0, 0.02, 0.1, 0.2, 0.5, 0.6, 0.9, 1.0]),
        skewed in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let rng = CounterRng::new(seed, "layer");
        let pattern = random_pattern(inputs, outputs, density, skewed, rng);
        check_all(&Layer::new(rows, pattern, rng));
    }
}

#[test]
fn large_batches_and_wide_layers_match() {
    for (rows, inputs, outputs, density) in
        [(4096, 20, 9, 0.3), (4096, 12, 8, 1.0), (3, 66_000, 2, 0.1)]
    {
        let rng = CounterRng::new(rows as u64, "large");
        let pattern = random_pattern(inputs, outputs, density, false, rng);
        check_all(&Layer::new(rows, pattern, rng));
    }
}

/// Masks of magnitude pruning, as in a search, of weights whose magnitudes vary by input and output as in a
/// trained layer: some units lose all connections, others keep nearly all.
#[test]
fn pruned_masks_match() {
    let (inputs, outputs) = (300, 80);
    let rng = CounterRng::new(7, "trained");
    let size = |of: u64, i: usize| (1.5 * rng.at(of).normal(i as u64)).exp();
    let weight = |p: usize| {
        let scale = size(1, p / outputs) * size(2, p % outputs);
        (rng.normal(p as u64) * scale) as f32
    };
    let weights: Vec<f32> = (0..inputs * outputs).map(weight).collect();
    let mut mask = masks::full(&[(inputs, outputs)]);
    for _ in 0..5 {
        mask = masks::prune_smallest(&mask, &[&weights], masks::round_rate(0.1, 5));
    }
    let pattern = SparsityPattern::from_fn(inputs, outputs, |i, o| mask[0].keeps(i * outputs + o));
    let kept = |o: usize| (0..inputs).filter(|&i| pattern.keeps(i, o)).count();
    assert!((0..inputs).any(|i| (0..outputs).all(|o| !pattern.keeps(i, o))));
    assert!((0..outputs).any(|o| kept(o) < 5) && (0..outputs).any(|o| kept(o) > 100));
    check_all(&Layer::new(130, pattern, rng));
}

/// NaN passes through a layer, despite ReLU.
#[test]
fn nan_is_propagated() {
    for level in SimdLevel::all() {
        let pattern = SparsityPattern::full(3, 5);
        let product = SparseMatmul::forward(&pattern);
        let mut values = Vec::new();
        product.load(&[1.0f32; 15], &mut values);
        let mut x = [Lanes::all(1.0f32); 3];
        x[1].0[17] = f32::NAN;
        let mut y = [Lanes::all(0.0f32); 5];
        product.run(level, &values, Start::Zero, true, &x, &mut y);
        for lanes in &y {
            assert!(lanes.0[17].is_nan(), "{level}");
            assert_eq!(lanes.0[16], 3.0);
        }
    }
}

#[test]
#[should_panic(expected = "inputs of other tiles")]
fn wrong_lengths_are_rejected() {
    let product = SparseMatmul::forward(&SparsityPattern::full(3, 5));
    let mut values = Vec::new();
    product.load(&[1.0f32; 15], &mut values);
    let mut y = [Lanes::all(0.0f32); 5];
    product.run(
        SimdLevel::best(),
        &values,
        Start::Zero,
        true,
        &[Lanes::all(1.0); 2],
        &mut y,
    );
}
