//! The Gram matrix, forward and backward, in blocks of fields: the sums of a block stay in registers.

use crate::kernels::versions::{CompiledLoop, add, add_products};
use crate::kernels::{LANES, Lanes};
use crate::number::Real;

/// Number of fields, or of elements of a vector, on the long side of a block.
const LONG: usize = 4;

/// Returns the position of the pair `i <= j` in the upper triangle, row by row.
#[inline(always)]
fn place(fields: usize, i: usize, j: usize) -> usize {
    i * (2 * fields + 1 - i) / 2 + j - i
}

/// The arguments of [`super::gram`].
pub(super) struct Forward<'a, R> {
    pub(super) fields: usize,
    pub(super) step: usize,
    pub(super) dim: usize,
    pub(super) vectors: &'a [Lanes<R>],
    pub(super) gram: &'a mut [Lanes<R>],
}

impl<R: Real> CompiledLoop for Forward<'_, R> {
    type Out = ();

    #[inline(always)]
    fn run<const FUSED: bool, const WIDTH: usize, const BLOCK: usize>(mut self) {
        for part in 0..LANES / WIDTH {
            for first_i in (0..self.fields).step_by(BLOCK) {
                for first_j in (first_i..self.fields).step_by(LONG) {
                    self.block::<FUSED, WIDTH, BLOCK>(part, first_i, first_j);
                }
            }
        }
    }
}

impl<R: Real> Forward<'_, R> {
    /// Computes `BLOCK` times `LONG` pairs of fields, in `WIDTH` lanes. Beyond the last field, the last field
    /// is repeated; these pairs and those below the diagonal are discarded.
    #[inline(always)]
    fn block<const FUSED: bool, const WIDTH: usize, const BLOCK: usize>(
        &mut self,
        part: usize,
        first_i: usize,
        first_j: usize,
    ) {
        let (fields, step, dim) = (self.fields, self.step, self.dim);
        let vector = |field: usize| {
            let field = field.min(fields - 1);
            &self.vectors[field * step..field * step + dim]
        };
        let a: [_; BLOCK] = std::array::from_fn(|i| vector(first_i + i));
        let b: [_; LONG] = std::array::from_fn(|j| vector(first_j + j));
        let mut sums = [[[R::ZERO; WIDTH]; LONG]; BLOCK];
        for d in 0..dim {
            let b: [&[R; WIDTH]; LONG] = std::array::from_fn(|j| lanes(&b[j][d], part));
            for i in 0..BLOCK {
                let a = lanes(&a[i][d], part);
                for j in 0..LONG {
                    add_products::<FUSED, WIDTH, R>(&mut sums[i][j], a, b[j]);
                }
            }
        }
        for (i, sums) in (first_i..fields).zip(&sums) {
            for (j, sums) in (first_j..fields).zip(sums) {
                if i <= j {
                    *lanes_mut(&mut self.gram[place(fields, i, j)], part) = *sums;
                }
            }
        }
    }
}

/// The arguments of [`super::gram_across`].
pub(super) struct Across<'a, R> {
    pub(super) step: usize,
    pub(super) dim: usize,
    pub(super) constants: &'a [R],
    pub(super) vectors: &'a [Lanes<R>],
    pub(super) gram: &'a mut [Lanes<R>],
}

impl<R: Real> CompiledLoop for Across<'_, R> {
    type Out = ();

    #[inline(always)]
    fn run<const FUSED: bool, const WIDTH: usize, const BLOCK: usize>(mut self) {
        for part in 0..LANES / WIDTH {
            for first_i in (0..self.constants.len() / self.step).step_by(BLOCK) {
                for first_j in (0..self.vectors.len() / self.step).step_by(LONG) {
                    self.block::<FUSED, WIDTH, BLOCK>(part, first_i, first_j);
                }
            }
        }
    }
}

impl<R: Real> Across<'_, R> {
    /// Like [`Forward::block`].
    #[inline(always)]
    fn block<const FUSED: bool, const WIDTH: usize, const BLOCK: usize>(
        &mut self,
        part: usize,
        first_i: usize,
        first_j: usize,
    ) {
        let (step, dim) = (self.step, self.dim);
        let (n_constants, fields) = (self.constants.len() / step, self.vectors.len() / step);
        let a: [&[R]; BLOCK] = std::array::from_fn(|i| {
            let i = (first_i + i).min(n_constants - 1);
            &self.constants[i * step..i * step + dim]
        });
        let b: [&[Lanes<R>]; LONG] = std::array::from_fn(|j| {
            let j = (first_j + j).min(fields - 1);
            &self.vectors[j * step..j * step + dim]
        });
        let mut sums = [[[R::ZERO; WIDTH]; LONG]; BLOCK];
        for d in 0..dim {
            let b: [&[R; WIDTH]; LONG] = std::array::from_fn(|j| lanes(&b[j][d], part));
            for i in 0..BLOCK {
                let a = [a[i][d]; WIDTH];
                for j in 0..LONG {
                    add_products::<FUSED, WIDTH, R>(&mut sums[i][j], &a, b[j]);
                }
            }
        }
        for (i, sums) in (first_i..n_constants).zip(&sums) {
            for (j, sums) in (first_j..fields).zip(sums) {
                *lanes_mut(&mut self.gram[i * fields + j], part) = *sums;
            }
        }
    }
}

/// The arguments of [`super::gram_backward`].
pub(super) struct Backward<'a, R> {
    pub(super) fields: usize,
    pub(super) step: usize,
    pub(super) dim: usize,
    pub(super) vectors: &'a [Lanes<R>],
    pub(super) d_gram: &'a [Lanes<R>],
    pub(super) d_vectors: &'a mut [Lanes<R>],
}

impl<R: Real> CompiledLoop for Backward<'_, R> {
    type Out = ();

    #[inline(always)]
    fn run<const FUSED: bool, const WIDTH: usize, const BLOCK: usize>(mut self) {
        for part in 0..LANES / WIDTH {
            for first_i in (0..self.fields).step_by(BLOCK) {
                for first_d in (0..self.dim).step_by(LONG) {
                    self.block::<FUSED, WIDTH, BLOCK>(part, first_i, first_d);
                }
            }
        }
    }
}

impl<R: Real> Backward<'_, R> {
    /// Computes the gradients of `LONG` elements in the vectors of `BLOCK` fields, in `WIDTH` lanes; results beyond
    /// the last field or element are discarded.
    #[inline(always)]
    fn block<const FUSED: bool, const WIDTH: usize, const BLOCK: usize>(
        &mut self,
        part: usize,
        first_i: usize,
        first_d: usize,
    ) {
        let (fields, step, dim) = (self.fields, self.step, self.dim);
        let i: [usize; BLOCK] = std::array::from_fn(|i| (first_i + i).min(fields - 1));
        let d: [usize; LONG] = std::array::from_fn(|d| (first_d + d).min(dim - 1));
        let mut sums = [[[R::ZERO; WIDTH]; LONG]; BLOCK];
        for j in 0..fields {
            let vector = &self.vectors[j * step..j * step + dim];
            let values: [&[R; WIDTH]; LONG] = std::array::from_fn(|k| lanes(&vector[d[k]], part));
            for k in 0..BLOCK {
                let gradients = lanes(&self.d_gram[place(fields, i[k].min(j), i[k].max(j))], part);
                for l in 0..LONG {
                    add_products::<FUSED, WIDTH, R>(&mut sums[k][l], gradients, values[l]);
                }
            }
        }
        for k in 0..BLOCK.min(fields - first_i) {
            // The product of a vector with itself counts twice.
            let gradients = lanes(&self.d_gram[place(fields, i[k], i[k])], part);
            for l in 0..LONG {
                if first_d + l < dim {
                    let at = i[k] * step + d[l];
                    let values = lanes(&self.vectors[at], part);
                    add_products::<FUSED, WIDTH, R>(&mut sums[k][l], gradients, values);
                    let d_values = lanes_mut(&mut self.d_vectors[at], part);
                    add::<WIDTH, R>(d_values, &sums[k][l]);
                }
            }
        }
    }
}

/// Returns part number `part` of `WIDTH` lanes.
#[inline(always)]
fn lanes<const WIDTH: usize, R>(lanes: &Lanes<R>, part: usize) -> &[R; WIDTH] {
    &lanes.0.as_chunks().0[part]
}

#[inline(always)]
fn lanes_mut<const WIDTH: usize, R>(lanes: &mut Lanes<R>, part: usize) -> &mut [R; WIDTH] {
    &mut lanes.0.as_chunks_mut().0[part]
}
