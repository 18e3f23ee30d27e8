//! Dense products of a layer by the crate `gemm`, on the calling thread, for comparison with the
//! kernels.

use gemm::{Parallelism, gemm};
use ncs_model::Real;

/// A matrix in a slice; element `(row, column)` is at `row * row_step + column * column_step`.
#[derive(Clone, Copy)]
struct View<'a, R> {
    values: &'a [R],
    row_step: usize,
    column_step: usize,
}

impl<'a, R> View<'a, R> {
    /// Wraps `[rows, columns]`, row by row.
    fn rows(values: &'a [R], columns: usize) -> Self {
        View {
            values,
            row_step: columns,
            column_step: 1,
        }
    }

    fn transposed(self) -> Self {
        View {
            row_step: self.column_step,
            column_step: self.row_step,
            ..self
        }
    }
}

/// Computes `y = bias + x w`, like `kernels::reference::forward`.
pub(crate) fn forward<R: Real>(x: &[R], w: &[R], bias: &[R], y: &mut [R], rows: usize) {
    let outputs = bias.len();
    let inputs = w.len() / outputs.max(1);
    y.chunks_exact_mut(outputs.max(1))
        .for_each(|row| row.copy_from_slice(bias));
    let (x, w) = (View::rows(x, inputs), View::rows(w, outputs));
    add_product(y, [rows, outputs, inputs], x, w);
}

/// Computes `dx = dy wT`, like `kernels::reference::backward_inputs`.
pub(crate) fn backward_inputs<R: Real>(dy: &[R], w: &[R], dx: &mut [R], rows: usize) {
    let outputs = dy.len() / rows.max(1);
    let inputs = dx.len() / rows.max(1);
    dx.fill(R::ZERO);
    let (dy, w) = (View::rows(dy, outputs), View::rows(w, outputs).transposed());
    add_product(dx, [rows, inputs, outputs], dy, w);
}

/// Computes `dw += xT dy`, like `kernels::reference::backward_weights`.
pub(crate) fn backward_weights<R: Real>(x: &[R], dy: &[R], dw: &mut [R], rows: usize) {
    let outputs = dy.len() / rows.max(1);
    let inputs = x.len() / rows.max(1);
    let (x, dy) = (View::rows(x, inputs).transposed(), View::rows(dy, outputs));
    add_product(dw, [inputs, outputs, rows], x, dy);
}

/// Computes `out += left right` for `[m, k]` times `[k, n]`; `out` is `[m, n]`, row by row.
///
/// # Panics
/// If a slice is shorter than its matrix.
fn add_product<R: Real>(
    out: &mut [R],
    [m, n, k]: [usize; 3],
    left: View<'_, R>,
    right: View<'_, R>,
) {
    if m == 0 || n == 0 || k == 0 {
        return;
    }
    let end = |view: View<'_, R>, rows: usize, columns: usize| {
        (rows - 1) * view.row_step + (columns - 1) * view.column_step
    };
    assert!(out.len() >= m * n, "the product has no room");
    assert!(left.values.len() > end(left, m, k), "left is too short");
    assert!(right.values.len() > end(right, k, n), "right is too short");
    // SAFETY: `gemm` reads elements (i, j) of `left` and `right` at `i * row_step + j * column_step`
    // for i < m, j < k and i < k, j < n, and reads and writes those of `out` at `i * n + j`. The three
    // assertions above ensure that the largest of these offsets are inside the slices, and `out` is
    // borrowed exclusively, so it overlaps neither. `R` is f32 or f64, which `gemm` supports.
    unsafe {
        gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            n as isize,
            true,
            left.values.as_ptr(),
            left.column_step as isize,
            left.row_step as isize,
            right.values.as_ptr(),
            right.column_step as isize,
            right.row_step as isize,
            R::ONE,
            R::ONE,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}
