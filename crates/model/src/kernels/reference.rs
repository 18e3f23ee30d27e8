//! Reference implementation of the products of a layer as plain loops; every faster kernel is tested against it.

use crate::number::Real;

/// Computes `y[r, o] = bias[o] + sum_i x[r, i] w[i, o]`.
pub fn forward<R: Real>(x: &[R], w: &[R], bias: &[R], y: &mut [R], rows: usize) {
    let (inputs, outputs) = (x.len() / rows.max(1), bias.len());
    for r in 0..rows {
        for o in 0..outputs {
            let terms = (0..inputs).map(|i| x[r * inputs + i] * w[i * outputs + o]);
            y[r * outputs + o] = bias[o] + terms.sum();
        }
    }
}

/// Computes `dx[r, i] = sum_o dy[r, o] w[i, o]`.
pub fn backward_inputs<R: Real>(dy: &[R], w: &[R], dx: &mut [R], rows: usize) {
    let (inputs, outputs) = (dx.len() / rows.max(1), dy.len() / rows.max(1));
    for r in 0..rows {
        for i in 0..inputs {
            let terms = (0..outputs).map(|o| dy[r * outputs + o] * w[i * outputs + o]);
            dx[r * inputs + i] = terms.sum();
        }
    }
}

/// Computes `dw[i, o] += sum_r x[r, i] dy[r, o]`.
pub fn backward_weights<R: Real>(x: &[R], dy: &[R], dw: &mut [R], rows: usize) {
    let (inputs, outputs) = (x.len() / rows.max(1), dy.len() / rows.max(1));
    for i in 0..inputs {
        for o in 0..outputs {
            let terms = (0..rows).map(|r| x[r * inputs + i] * dy[r * outputs + o]);
            dw[i * outputs + o] += terms.sum();
        }
    }
}
