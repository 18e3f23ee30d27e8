//! Tests every level against plain loops in double precision.

use super::*;
use crate::counter_rng::CounterRng;
use proptest::prelude::*;

const DIMS: [usize; 7] = [1, 3, 8, 10, 16, 17, 33];

/// Returns numbers of magnitude about 1, the same for f32 and f64.
fn values<R: Real>(n: usize, name: &str) -> Vec<R> {
    let rng = CounterRng::new(3, name);
    let value = |i| R::of(f64::from(rng.normal(i) as f32));
    (0..n as u64).map(value).collect()
}

fn lanes<R: Real>(n: usize, name: &str) -> Vec<Lanes<R>> {
    let values = values(n * LANES, name);
    let lanes = values.as_chunks().0.iter();
    lanes.map(|&values| Lanes(values)).collect()
}

/// Checks a sum of `n` products of numbers below 5, with a tolerance for their rounding errors.
fn close<R: Real>(actual: R, expected: f64, n: usize) {
    let step = if size_of::<R>() == 4 { 6e-8 } else { 1.2e-16 };
    let bound = 25.0 * step * ((n + 2) * (n + 2)) as f64;
    let actual = actual.wide();
    assert!(
        (actual - expected).abs() <= bound,
        "{actual} for {expected}"
    );
}

/// Runs the checks of both types at every level.
fn at_all_levels(check: impl Fn(SimdLevel), check_wide: impl Fn(SimdLevel)) {
    for level in SimdLevel::all() {
        check(level);
        check_wide(level);
    }
}

fn check_rows<R: Real>(level: SimdLevel, n_rows: usize, dim: usize, gap: usize) {
    let rows: Vec<R> = values(n_rows * dim, "rows");
    let mut x = lanes(dim, "old");
    into_lanes(level, &rows, dim, &mut x);
    for (d, x) in x.iter().enumerate() {
        for (r, &value) in x.0.iter().enumerate() {
            let expected = rows.get(r * dim + d).copied();
            assert_eq!(value, expected.unwrap_or(R::ZERO), "row {r}, feature {d}");
        }
    }
    let step = dim + gap;
    let old: Vec<R> = values((n_rows * step).saturating_sub(gap), "old rows");
    for add in [false, true] {
        let mut new = old.clone();
        into_rows(level, &x, n_rows, step, add, &mut new);
        for (at, (&new, &old)) in new.iter().zip(&old).enumerate() {
            let (r, d) = (at / step, at % step);
            let expected = match (d < dim, add) {
                (false, _) => old,
                (true, true) => old + rows[r * dim + d],
                (true, false) => rows[r * dim + d],
            };
            assert_eq!(new, expected, "row {r}, feature {d}");
        }
    }
}

fn check_gram<R: Real>(level: SimdLevel, fields: usize, dim: usize) {
    check_gram_of::<R>(level, fields, [dim, dim]);
    // Numbers behind the first ones do not count.
    check_gram_of::<R>(level, fields, [dim + 3, dim]);
}

fn check_gram_of<R: Real>(level: SimdLevel, fields: usize, [step, dim]: [usize; 2]) {
    let pairs = fields * (fields + 1) / 2;
    let x: Vec<Lanes<R>> = lanes(fields * step, "vectors");
    let mut c = lanes(pairs, "old");
    gram(level, fields, [step, dim], &x, &mut c);
    let gradients: Vec<Lanes<R>> = lanes(pairs, "gradients");
    let old: Vec<Lanes<R>> = lanes(fields * step, "old gradients");
    let mut dx = old.clone();
    gram_backward(level, fields, [step, dim], &x, &gradients, &mut dx);
    for lane in 0..LANES {
        let at = |x: &[Lanes<R>], i: usize, d: usize| x[i * step + d].0[lane].wide();
        let mut expected = vec![0.0; fields * step];
        let mut place = 0;
        for i in 0..fields {
            for j in i..fields {
                let products = (0..dim).map(|d| at(&x, i, d) * at(&x, j, d));
                close(c[place].0[lane], products.sum(), dim);
                let gradient = gradients[place].0[lane].wide();
                place += 1;
                for d in 0..dim {
                    expected[i * step + d] += gradient * at(&x, j, d);
                    expected[j * step + d] += gradient * at(&x, i, d);
                }
            }
        }
        for (at, expected) in expected.iter().enumerate() {
            let old = old[at].0[lane].wide();
            close(dx[at].0[lane], old + expected, fields + 1);
        }
    }
}

fn check_gram_across<R: Real>(level: SimdLevel, n_constants: usize, fields: usize, dim: usize) {
    for step in [dim, dim + 2] {
        let constants: Vec<R> = values(n_constants * step, "constants");
        let x: Vec<Lanes<R>> = lanes(fields * step, "vectors");
        let mut c = lanes::<R>(n_constants * fields, "old");
        gram_across(level, [step, dim], &constants, &x, &mut c);
        for (at, c) in c.iter().enumerate() {
            let constant = &constants[at / fields * step..][..dim];
            let vector = &x[at % fields * step..][..dim];
            for (lane, &actual) in c.0.iter().enumerate() {
                let products = constant.iter().zip(vector);
                let sum = products.map(|(a, b)| a.wide() * b.0[lane].wide()).sum();
                close(actual, sum, dim);
            }
        }
    }
}

fn check_units<R: Real>(level: SimdLevel, n: usize) {
    let wide = |lanes: &Lanes<R>| lanes.0.map(R::wide);
    let (h, old): (Vec<Lanes<R>>, Vec<Lanes<R>>) = (lanes(n, "h"), lanes(n, "old gradients"));
    let (weights, old_sums): (Vec<R>, Vec<R>) = (values(n, "weights"), values(n, "old sums"));
    let gradients = lanes::<R>(1, "gradients")[0];
    let logits = head(level, R::of(0.5), &weights, &h);
    for (lane, &logit) in logits.0.iter().enumerate() {
        let terms = weights.iter().zip(&h);
        let sum: f64 = terms.map(|(w, h)| w.wide() * h.0[lane].wide()).sum();
        close(logit, 0.5 + sum, n);
    }
    let (mut dh, mut sums) = (old.clone(), old_sums.clone());
    head_backward(level, &weights, &gradients, &h, &mut dh, &mut sums);
    let mut rectified = (old.clone(), old_sums.clone());
    rectify_backward(level, R::of(1.25), &h, &mut rectified.0, &mut rectified.1);
    for unit in 0..n {
        let (h, old, gradients) = (wide(&h[unit]), wide(&old[unit]), wide(&gradients));
        let weight = weights[unit].wide();
        let mut totals = [old_sums[unit].wide(); 2];
        for lane in 0..LANES {
            close(dh[unit].0[lane], old[lane] + weight * gradients[lane], 1);
            totals[0] += gradients[lane] * h[lane];
            let gradient = if h[lane] > 0.0 { 1.25 * old[lane] } else { 0.0 };
            close(rectified.0[unit].0[lane], gradient, 1);
            totals[1] += gradient;
        }
        close(sums[unit], totals[0], LANES);
        close(rectified.1[unit], totals[1], LANES);
    }
}

#[test]
fn rows_are_transposed_to_lanes_and_back() {
    for (dim, n_rows) in DIMS
        .into_iter()
        .flat_map(|dim| (0..=LANES).map(move |n| (dim, n)))
    {
        at_all_levels(
            |level| check_rows::<f32>(level, n_rows, dim, n_rows % 3),
            |level| check_rows::<f64>(level, n_rows, dim, n_rows % 3),
        );
    }
}

#[test]
fn the_gram_matrix_and_its_gradients_match_plain_loops() {
    for (fields, dim) in [0, 1, 2, 3, 4, 5, 7]
        .into_iter()
        .flat_map(|n| DIMS.map(|dim| (n, dim)))
    {
        at_all_levels(
            |level| check_gram::<f32>(level, fields, dim),
            |level| check_gram::<f64>(level, fields, dim),
        );
    }
}

#[test]
fn empty_inputs_do_nothing() {
    for level in SimdLevel::all() {
        into_lanes::<f32>(level, &[], 0, &mut []);
        into_rows::<f32>(level, &[], 3, 2, true, &mut []);
        let mut c = lanes::<f32>(3, "old");
        gram(level, 2, [0, 0], &[], &mut c);
        assert_eq!(c, [Lanes::all(0.0); 3]);
        gram_backward(level, 2, [0, 0], &[], &c, &mut []);
    }
}

#[test]
fn nan_stays_in_its_lane() {
    for level in SimdLevel::all() {
        let mut rows: Vec<f32> = values(LANES * 16, "rows");
        rows[5 * 16 + 3] = f32::NAN;
        let (mut x, mut c) = (lanes(32, "x"), lanes(3, "c"));
        into_lanes(level, &rows, 16, &mut x[..16]);
        gram(level, 2, [16, 16], &x, &mut c);
        let mut dx = lanes::<f32>(32, "dx");
        gram_backward(level, 2, [16, 16], &x, &c, &mut dx);
        let logits = head(level, 0.0, &values(16, "w"), &x[..16]);
        let mut dy = x[..16].to_vec();
        rectify_backward(level, 1.0, &[Lanes::all(1.0); 16], &mut dy, &mut [0.0; 16]);
        let in_row_5 = |lanes: &Lanes<f32>| {
            let mut seen = lanes.0.iter().enumerate();
            seen.all(|(row, value)| value.is_nan() == (row == 5))
        };
        assert!(in_row_5(&x[3]) && in_row_5(&c[0]) && in_row_5(&c[1]));
        assert!(!c[2].0.iter().any(|value| value.is_nan()));
        assert!(dx.iter().all(in_row_5) && in_row_5(&logits) && in_row_5(&dy[3]));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30))]

    #[test]
    fn any_shape_matches(fields in 0usize..24, dim in 1usize..40, n_rows in 0..=LANES) {
        at_all_levels(
            |level| {
                check_gram::<f32>(level, fields, dim);
                check_gram_across::<f32>(level, n_rows % 14, fields, dim);
                check_rows::<f32>(level, n_rows, dim, fields);
                check_units::<f32>(level, fields * dim);
            },
            |level| {
                check_gram::<f64>(level, fields, dim);
                check_gram_across::<f64>(level, n_rows % 14, fields, dim);
                check_rows::<f64>(level, n_rows, dim, fields);
                check_units::<f64>(level, fields * dim);
            },
        );
    }
}
