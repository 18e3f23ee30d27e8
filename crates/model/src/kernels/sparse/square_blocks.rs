//! Gradients of all weights of a layer, in squares of four inputs and four outputs.

mod half;

use super::pattern::{NONE, SparsityPattern};
use crate::kernels::simd::{Kernel, Simd, Vector};
use crate::kernels::{LANES, Lanes, SimdLevel};
use crate::number::Real;

/// Number of inputs, and of outputs, of a square: its 16 sums are kept in registers.
const SIDE: usize = 4;

/// Number of inputs whose lanes, over [`TILES`] tiles, fit the second-level cache.
const BLOCK: usize = 64;

/// Number of tiles that are summed before the sums over lanes are computed.
pub(super) const TILES: usize = 16;

/// The squares of a layer, ordered by block of inputs, then outputs, then inputs. Squares
/// that extend beyond an edge repeat the last feature.
#[derive(Clone, Debug)]
pub(super) struct SquareBlocks {
    inputs: usize,
    outputs: usize,
}

/// Returns the features of a side that begins at `first`; beyond the last of `n` features the last is repeated.
fn side(first: usize, n: usize) -> [usize; SIDE] {
    std::array::from_fn(|at| (first + at).min(n - 1))
}

impl SquareBlocks {
    /// Returns the squares, and the number of the connection of each sum: 16 for each square, input by input.
    pub(super) fn new(pattern: &SparsityPattern) -> (SquareBlocks, Vec<u32>) {
        let squares = SquareBlocks {
            inputs: pattern.inputs(),
            outputs: pattern.outputs(),
        };
        let mut numbers = Vec::new();
        for (first_input, first_output) in squares.each() {
            for input in first_input..first_input + SIDE {
                for output in first_output..first_output + SIDE {
                    let inside = input < pattern.inputs() && output < pattern.outputs();
                    let number = inside.then(|| pattern.number(input, output)).flatten();
                    numbers.push(number.unwrap_or(NONE));
                }
            }
        }
        (squares, numbers)
    }

    /// Iterates over the first input and the first output of every square.
    fn each(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let (inputs, outputs) = (self.inputs, self.outputs);
        (0..inputs).step_by(BLOCK).flat_map(move |block| {
            let inputs = block..(block + BLOCK).min(inputs);
            (0..outputs).step_by(SIDE).flat_map(move |output| {
                let inputs = inputs.clone().step_by(SIDE);
                inputs.map(move |input| (input, output))
            })
        })
    }

    /// Adds the sums over all tiles.
    ///
    /// # Panics
    /// If a slice has a wrong length.
    pub(super) fn add<R: Real>(
        &self,
        level: SimdLevel,
        n_tiles: usize,
        x: &[Lanes<R>],
        dy: &[Lanes<R>],
        sums: &mut [R],
    ) {
        assert_eq!(x.len(), n_tiles * self.inputs);
        assert_eq!(dy.len(), n_tiles * self.outputs);
        let n_squares = self.inputs.div_ceil(SIDE) * self.outputs.div_ceil(SIDE);
        assert_eq!(sums.len(), n_squares * SIDE * SIDE);
        for tile in (0..n_tiles).step_by(TILES) {
            let end = (tile + TILES).min(n_tiles);
            R::vectorized(
                level,
                Tiles {
                    squares: self,
                    n_tiles: end - tile,
                    x: &x[tile * self.inputs..end * self.inputs],
                    dy: &dy[tile * self.outputs..end * self.outputs],
                    sums,
                },
            );
        }
    }
}

/// The sums of a few tiles. The lengths of the slices match the squares.
struct Tiles<'a, R> {
    squares: &'a SquareBlocks,
    n_tiles: usize,
    x: &'a [Lanes<R>],
    dy: &'a [Lanes<R>],
    sums: &'a mut [R],
}

impl<R: Real> Kernel<R> for Tiles<'_, R> {
    #[inline(always)]
    unsafe fn run<S: Simd<R>>(self) {
        let SquareBlocks { inputs, outputs } = *self.squares;
        let (n_tiles, x, dy) = (self.n_tiles, self.x.as_ptr(), self.dy.as_ptr());
        let x = Side::new(x, inputs, n_tiles);
        let dy = Side::new(dy, outputs, n_tiles);
        let mut sums = self.sums.as_mut_ptr();
        for (input, output) in self.squares.each() {
            let (rows, columns) = (side(input, inputs), side(output, outputs));
            // SAFETY: the caller promises the instructions; `rows` and `columns` are features of a
            // tile; `sums` has 16 numbers for each square, in this order.
            unsafe {
                match S::QUARTER {
                    4 => add_rows::<R, S::Vector, 4>(&x, &dy, rows, columns, sums),
                    2 => add_rows::<R, S::Vector, 2>(&x, &dy, rows, columns, sums),
                    _ => add_rows::<R, S::Vector, 1>(&x, &dy, rows, columns, sums),
                }
                sums = sums.add(SIDE * SIDE);
            }
        }
    }
}

/// The inputs or gradients of some tiles.
struct Side<R> {
    lanes: *const R,
    /// Distance between tiles, in numbers.
    step: usize,
    n_tiles: usize,
}

impl<R> Side<R> {
    fn new(lanes: *const Lanes<R>, features: usize, n_tiles: usize) -> Side<R> {
        Side {
            lanes: lanes.cast(),
            step: features * LANES,
            n_tiles,
        }
    }
}

/// Adds to the sums of a square, `N` rows of it at a time.
///
/// # Safety
/// The processor has the instructions of `V`; `rows` and `columns` are features of the sides, which
/// have as many tiles; `sums` has 16 numbers.
#[inline(always)]
unsafe fn add_rows<R: Real, V: Vector<R>, const N: usize>(
    x: &Side<R>,
    dy: &Side<R>,
    rows: [usize; SIDE],
    columns: [usize; SIDE],
    sums: *mut R,
) {
    for first in (0..SIDE).step_by(N) {
        // SAFETY: the caller's promise; `N` divides the side.
        unsafe {
            let mut part = [[V::splat(R::ZERO); SIDE]; N];
            for tile in 0..x.n_tiles {
                let (x, dy) = (x.lanes.add(tile * x.step), dy.lanes.add(tile * dy.step));
                for lane in (0..LANES).step_by(V::LANES) {
                    let mut gradients = [V::splat(R::ZERO); SIDE];
                    for (gradient, column) in gradients.iter_mut().zip(columns) {
                        *gradient = V::load(dy.add(column * LANES + lane));
                    }
                    for (row, &at) in part.iter_mut().zip(&rows[first..]) {
                        let x = V::load(x.add(at * LANES + lane));
                        for (sum, dy) in row.iter_mut().zip(gradients) {
                            *sum = x.mul_add(dy, *sum);
                        }
                    }
                }
            }
            for (row, part) in part.into_iter().enumerate() {
                V::add_sums(part, sums.add((first + row) * SIDE));
            }
        }
    }
}
