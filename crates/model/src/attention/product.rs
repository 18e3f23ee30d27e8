//! Products of small dense matrices, row-major.

use crate::kernels::SimdLevel;
use crate::kernels::versions::{CompiledLoop, add_product, add_products, run};
use crate::number::Real;

/// Number of rows that are summed together.
const ROWS: usize = 8;

/// Computes `y = bias + x w`, or `y += x w` without a bias: `x` is `[rows, inputs]`, `w` `[inputs, outputs]`, `y`
/// `[rows, outputs]`. Each element is summed in the order of the inputs, whatever the number of rows.
///
/// # Panics
/// If a slice has a wrong length.
pub(super) fn product<R: Real>(
    level: SimdLevel,
    [inputs, outputs]: [usize; 2],
    x: &[R],
    w: &[R],
    bias: Option<&[R]>,
    y: &mut [R],
) {
    let n_rows = y.len() / outputs.max(1);
    assert_eq!(x.len(), n_rows * inputs, "inputs of other rows");
    assert_eq!(w.len(), inputs * outputs, "weights of another layer");
    if let Some(bias) = bias {
        y.chunks_exact_mut(outputs)
            .for_each(|y| y.copy_from_slice(bias));
    }
    let kernel = Product {
        inputs,
        outputs,
        n_rows,
        x,
        w,
        y,
    };
    run(level, kernel);
}

/// Computes `y += a^T b`: `a` is `[rows, inputs]`, `b` `[rows, outputs]`, `y` `[inputs, outputs]`.
///
/// # Panics
/// If a slice has a wrong length.
pub(super) fn outer<R: Real>(
    level: SimdLevel,
    [inputs, outputs]: [usize; 2],
    a: &[R],
    b: &[R],
    y: &mut [R],
) {
    assert_eq!(a.len() * outputs, b.len() * inputs, "the same rows");
    assert_eq!(y.len(), inputs * outputs, "sums of other sizes");
    if inputs == 0 {
        return;
    }
    let kernel = Outer {
        inputs,
        outputs,
        a,
        b,
        y,
    };
    run(level, kernel);
}

struct Product<'a, R> {
    inputs: usize,
    outputs: usize,
    n_rows: usize,
    x: &'a [R],
    w: &'a [R],
    y: &'a mut [R],
}

impl<R: Real> CompiledLoop for Product<'_, R> {
    type Out = ();

    #[inline(always)]
    fn run<const FUSED: bool, const WIDTH: usize, const BLOCK: usize>(mut self) {
        let whole = self.outputs - self.outputs % WIDTH;
        let in_blocks = self.n_rows - self.n_rows % ROWS;
        for row in (0..in_blocks).step_by(ROWS) {
            self.rows::<FUSED, WIDTH, ROWS>(row, whole);
        }
        for row in in_blocks..self.n_rows {
            self.rows::<FUSED, WIDTH, 1>(row, whole);
        }
    }
}

impl<R: Real> Product<'_, R> {
    #[inline(always)]
    fn rows<const FUSED: bool, const WIDTH: usize, const N: usize>(
        &mut self,
        row: usize,
        whole: usize,
    ) {
        let (inputs, outputs) = (self.inputs, self.outputs);
        let mut x: [&[R]; N] = [&[]; N];
        for (r, x) in x.iter_mut().enumerate() {
            let first = (row + r) * inputs;
            *x = &self.x[first..first + inputs];
        }
        for first in (0..whole).step_by(WIDTH) {
            let mut sums = [[R::ZERO; WIDTH]; N];
            for (r, sums) in sums.iter_mut().enumerate() {
                let at = (row + r) * outputs + first;
                sums.copy_from_slice(&self.y[at..at + WIDTH]);
            }
            for (i, w) in self.w.chunks_exact(outputs).enumerate() {
                let Some(w) = w[first..].first_chunk::<WIDTH>() else {
                    continue;
                };
                for r in 0..N {
                    add_products::<FUSED, WIDTH, R>(&mut sums[r], &[x[r][i]; WIDTH], w);
                }
            }
            for (r, sums) in sums.iter().enumerate() {
                let at = (row + r) * outputs + first;
                self.y[at..at + WIDTH].copy_from_slice(sums);
            }
        }
        for output in whole..outputs {
            for (r, x) in x.iter().enumerate() {
                let at = (row + r) * outputs + output;
                let mut sum = self.y[at];
                for (i, &factor) in x.iter().enumerate() {
                    sum = add_product::<FUSED, R>(sum, factor, self.w[i * outputs + output]);
                }
                self.y[at] = sum;
            }
        }
    }
}

struct Outer<'a, R> {
    inputs: usize,
    outputs: usize,
    a: &'a [R],
    b: &'a [R],
    y: &'a mut [R],
}

impl<R: Real> CompiledLoop for Outer<'_, R> {
    type Out = ();

    #[inline(always)]
    fn run<const FUSED: bool, const WIDTH: usize, const BLOCK: usize>(mut self) {
        let in_blocks = self.inputs - self.inputs % ROWS;
        for input in (0..in_blocks).step_by(ROWS) {
            self.inputs::<FUSED, WIDTH, ROWS>(input);
        }
        for input in in_blocks..self.inputs {
            self.inputs::<FUSED, WIDTH, 1>(input);
        }
    }
}

impl<R: Real> Outer<'_, R> {
    #[inline(always)]
    fn inputs<const FUSED: bool, const WIDTH: usize, const N: usize>(&mut self, input: usize) {
        let (inputs, outputs) = (self.inputs, self.outputs);
        let whole = outputs - outputs % WIDTH;
        let rows = self
            .a
            .chunks_exact(inputs)
            .zip(self.b.chunks_exact(outputs));
        for first in (0..whole).step_by(WIDTH) {
            let mut sums = [[R::ZERO; WIDTH]; N];
            for (a, b) in rows.clone() {
                let (a, b) = (
                    a[input..].first_chunk::<N>(),
                    b[first..].first_chunk::<WIDTH>(),
                );
                let (Some(a), Some(b)) = (a, b) else {
                    continue;
                };
                for r in 0..N {
                    add_products::<FUSED, WIDTH, R>(&mut sums[r], &[a[r]; WIDTH], b);
                }
            }
            for (r, sums) in sums.iter().enumerate() {
                let at = (input + r) * outputs + first;
                let y = self.y[at..at + WIDTH].iter_mut();
                y.zip(sums).for_each(|(y, &sum)| *y += sum);
            }
        }
        for output in whole..outputs {
            for r in 0..N {
                let mut sum = R::ZERO;
                for (a, b) in rows.clone() {
                    sum = add_product::<FUSED, R>(sum, a[input + r], b[output]);
                }
                self.y[(input + r) * outputs + output] += sum;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counter_rng::CounterRng;

    #[test]
    fn products_equal_sums_written_out() {
        let numbers = |seed: u64, n: usize| -> Vec<f64> {
            let rng = CounterRng::new(seed, "product");
            (0..n as u64).map(|i| rng.normal(i)).collect()
        };
        for level in SimdLevel::all() {
            for (rows, inputs, outputs) in
                [(0, 3, 4), (1, 1, 1), (5, 7, 19), (18, 33, 32), (9, 8, 40)]
            {
                let (x, w) = (numbers(1, rows * inputs), numbers(2, inputs * outputs));
                let (bias, d) = (numbers(3, outputs), numbers(4, rows * outputs));
                let mut y = vec![9.0; rows * outputs];
                product(level, [inputs, outputs], &x, &w, Some(&bias), &mut y);
                for (at, y) in y.iter().enumerate() {
                    let (row, output) = (at / outputs, at % outputs);
                    let terms = (0..inputs).map(|i| x[row * inputs + i] * w[i * outputs + output]);
                    let expected = bias[output] + terms.sum::<f64>();
                    assert!((y - expected).abs() < 1e-12, "{rows} {inputs} {outputs}");
                }
                let mut sums = vec![1.0; inputs * outputs];
                outer(level, [inputs, outputs], &x, &d, &mut sums);
                for (at, sum) in sums.iter().enumerate() {
                    let (input, output) = (at / outputs, at % outputs);
                    let terms = (0..rows).map(|r| x[r * inputs + input] * d[r * outputs + output]);
                    let expected = 1.0 + terms.sum::<f64>();
                    assert!((sum - expected).abs() < 1e-12, "{rows} {inputs} {outputs}");
                }
            }
        }
    }
}
