//! Tests of the dense products with which the kernels are compared.

#[path = "../benches/gemm/mod.rs"]
mod gemm;

use gemm::{backward_inputs, backward_weights, forward};
use ncs_model::CounterRng;
use ncs_model::kernels::reference;

fn values(n: usize, name: &str) -> Vec<f64> {
    let rng = CounterRng::new(3, name);
    (0..n as u64).map(|i| rng.normal(i)).collect()
}

fn close(actual: &[f64], expected: &[f64]) {
    for (a, b) in actual.iter().zip(expected) {
        assert!((a - b).abs() < 1e-11, "{a} {b}");
    }
}

#[test]
fn dense_products_match_the_reference() {
    for (rows, inputs, outputs) in [(0, 3, 2), (1, 1, 1), (5, 3, 2), (63, 33, 17), (64, 40, 1)] {
        let (x, w) = (values(rows * inputs, "x"), values(inputs * outputs, "w"));
        let (bias, dy) = (values(outputs, "bias"), values(rows * outputs, "dy"));
        let mut y = [vec![0.5; rows * outputs], vec![0.5; rows * outputs]];
        forward(&x, &w, &bias, &mut y[0], rows);
        reference::forward(&x, &w, &bias, &mut y[1], rows);
        close(&y[0], &y[1]);
        let mut dx = [vec![0.5; rows * inputs], vec![0.5; rows * inputs]];
        backward_inputs(&dy, &w, &mut dx[0], rows);
        reference::backward_inputs(&dy, &w, &mut dx[1], rows);
        close(&dx[0], &dx[1]);
        let mut dw = [vec![0.5; inputs * outputs], vec![0.5; inputs * outputs]];
        backward_weights(&x, &dy, &mut dw[0], rows);
        reference::backward_weights(&x, &dy, &mut dw[1], rows);
        close(&dw[0], &dw[1]);
    }
}

#[test]
#[should_panic(expected = "left is too short")]
fn a_short_slice_is_rejected() {
    // Two rows of two inputs are four numbers.
    forward(&[1.0; 3], &[1.0; 4], &[0.0; 2], &mut [0.0; 4], 2);
}
