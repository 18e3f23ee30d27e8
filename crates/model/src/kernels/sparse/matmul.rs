//! Inputs times kept weights: forward, and with the transposed layer backward to the inputs.

use super::SparsityPattern;
use super::buckets::{Buckets, GROUP};
use crate::kernels::simd::{Kernel, Simd, Vector, prefetch_lanes};
use crate::kernels::{LANES, Lanes, SimdLevel};
use crate::number::Real;

/// A layer's connections in the order in which a product reads them. Built once for a mask.
#[derive(Clone, Debug)]
pub struct SparseMatmul {
    inputs: usize,
    outputs: usize,
    buckets: Buckets,
}

/// Initial values of the sums over connections.
#[derive(Clone, Copy, Debug)]
pub enum Start<'a, R> {
    /// 0.
    Zero,
    /// A number for each output.
    Bias(&'a [R]),
    /// The current values of the outputs.
    Outputs,
    /// Other sums, `[n_tiles, outputs]`, plus a number for each output.
    Sums(&'a [Lanes<R>], &'a [R]),
}

impl<'a, R> Start<'a, R> {
    /// Returns the initial values of one tile.
    fn of_tile(self, tile: usize, outputs: usize) -> Start<'a, R> {
        match self {
            Start::Sums(sums, bias) => {
                Start::Sums(&sums[tile * outputs..(tile + 1) * outputs], bias)
            }
            same => same,
        }
    }
}

impl SparseMatmul {
    /// Creates the forward product `y = x w`: from the layer's inputs to its outputs.
    pub fn forward(pattern: &SparsityPattern) -> SparseMatmul {
        let (inputs, outputs) = (pattern.inputs(), pattern.outputs());
        SparseMatmul {
            inputs,
            outputs,
            buckets: Buckets::new(inputs, outputs, |i, o| pattern.number(i, o)),
        }
    }

    /// Creates the backward product `dx = dy wT`: from the gradients of the layer's outputs to those of its inputs.
    pub fn backward(pattern: &SparsityPattern) -> SparseMatmul {
        let (inputs, outputs) = (pattern.outputs(), pattern.inputs());
        SparseMatmul {
            inputs,
            outputs,
            buckets: Buckets::new(inputs, outputs, |i, o| pattern.number(o, i)),
        }
    }

    /// Returns the number of features of a tile that it reads.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Returns the number of features of a tile that it writes.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Copies the weights of the connections, given by number, to this product's order.
    pub fn load<R: Real>(&self, weights: &[R], values: &mut Vec<R>) {
        values.clear();
        let numbers = self.buckets.numbers.iter();
        values.extend(numbers.map(|&number| weights[number as usize]));
    }

    /// Computes for each tile `y[o] = start + sum of values * x`, and with `rectify` sets
    /// negative values to 0 (NaN stays).
    ///
    /// `x` is `[n_tiles, inputs]`, `y` is `[n_tiles, outputs]`, `values` is from [`SparseMatmul::load`].
    ///
    /// # Panics
    /// If a slice has a wrong length.
    pub fn run<R: Real>(
        &self,
        level: SimdLevel,
        values: &[R],
        start: Start<'_, R>,
        rectify: bool,
        x: &[Lanes<R>],
        y: &mut [Lanes<R>],
    ) {
        let all = self.first_lanes(LANES);
        all.run(level, values, start, rectify, x, y);
    }

    /// Restricts the product to the first lanes of tiles: 16 lanes take a quarter to two
    /// fifths of the time of 64, less at higher density.
    ///
    /// # Panics
    /// If a tile has fewer lanes.
    pub fn first_lanes(&self, n_lanes: usize) -> FirstLanes<'_> {
        assert!(n_lanes <= LANES, "a tile has {LANES} lanes");
        FirstLanes {
            product: self,
            n_lanes,
        }
    }
}

/// A product for the first lanes of tiles.
#[derive(Clone, Copy, Debug)]
pub struct FirstLanes<'a> {
    product: &'a SparseMatmul,
    n_lanes: usize,
}

impl FirstLanes<'_> {
    /// Like [`SparseMatmul::run`]. The other lanes of `y` are unspecified.
    ///
    /// # Panics
    /// If a slice has a wrong length.
    pub fn run<R: Real>(
        &self,
        level: SimdLevel,
        values: &[R],
        start: Start<'_, R>,
        rectify: bool,
        x: &[Lanes<R>],
        y: &mut [Lanes<R>],
    ) {
        let FirstLanes { product, n_lanes } = *self;
        let SparseMatmul {
            inputs,
            outputs,
            buckets,
        } = product;
        if *outputs == 0 {
            return assert!(y.is_empty(), "outputs of another product");
        }
        let n_tiles = y.len() / outputs;
        assert_eq!(y.len(), n_tiles * outputs, "outputs of other tiles");
        assert_eq!(x.len(), n_tiles * inputs, "inputs of other tiles");
        let n_values = buckets.numbers.len();
        assert_eq!(values.len(), n_values, "values of another product");
        match start {
            Start::Bias(bias) => assert_eq!(bias.len(), *outputs, "biases of another layer"),
            Start::Sums(sums, bias) => {
                assert_eq!(bias.len(), *outputs, "biases of another layer");
                assert_eq!(sums.len(), y.len(), "sums of other tiles");
            }
            Start::Zero | Start::Outputs => {}
        }
        for (tile, y) in y.chunks_exact_mut(*outputs).enumerate() {
            let tile = Tile {
                product,
                n_lanes,
                values,
                start: start.of_tile(tile, *outputs),
                rectify,
                x: &x[tile * inputs..(tile + 1) * inputs],
                y,
            };
            R::vectorized(level, tile);
        }
    }
}

/// A product on one tile. The lengths of the slices match the product.
struct Tile<'a, R> {
    product: &'a SparseMatmul,
    /// Minimum number of lanes to compute, from the first.
    n_lanes: usize,
    values: &'a [R],
    start: Start<'a, R>,
    rectify: bool,
    x: &'a [Lanes<R>],
    y: &'a mut [Lanes<R>],
}

impl<R: Real> Kernel<R> for Tile<'_, R> {
    #[inline(always)]
    unsafe fn run<S: Simd<R>>(self) {
        // SAFETY: the caller's promise.
        unsafe {
            if self.n_lanes <= S::Vector::LANES {
                self.strips::<S::Vector>();
            } else if self.n_lanes <= S::HalfStrip::LANES {
                self.strips::<S::HalfStrip>();
            } else {
                self.strips::<S::Strip>();
            }
        }
    }
}

impl<R: Real> Tile<'_, R> {
    /// Runs the product for as many lanes at a time as `V` has.
    ///
    /// # Safety
    /// The processor has the instructions of `V`, and the lengths of the slices match the product.
    #[inline(always)]
    unsafe fn strips<V: Vector<R>>(self) {
        let SparseMatmul {
            outputs, buckets, ..
        } = self.product;
        let mut groups = buckets.counts.iter();
        let mut connections = PackedConnections {
            inputs: buckets.inputs.as_ptr(),
            values: self.values.as_ptr(),
        };
        let last = buckets.blocks().len() - 1;
        for (at, block) in buckets.blocks().enumerate() {
            // The data read next, of this tile or the next one, follows this block. Each group
            // prefetches its share, so that the first groups of the next block do not wait for it.
            let mut next = self.x[block.end..].as_ptr();
            let share = match self.n_lanes {
                LANES => block.len().div_ceil(outputs.div_ceil(GROUP)),
                _ => 0,
            };
            let x = self.x[block].as_ptr().cast::<R>();
            let start = match at {
                0 => self.start,
                _ => Start::Outputs,
            };
            let rectify = self.rectify && at == last;
            for first in (0..*outputs).step_by(GROUP) {
                let Some(counts) = groups.next() else { return };
                let live = (outputs - first).min(GROUP);
                let y = self.y[first..first + live].as_mut_ptr().cast::<R>();
                for _ in 0..share {
                    // SAFETY: the caller promises the instructions.
                    unsafe { prefetch_lanes::<R, V>(next) };
                    next = next.wrapping_add(1);
                }
                if at == 0 && self.n_lanes == LANES {
                    // SAFETY: the caller promises the instructions.
                    unsafe { prefetch_next_group::<R, V>(y) };
                }
                let begin = connections;
                for lane in (0..self.n_lanes).step_by(V::LANES) {
                    connections = begin;
                    // SAFETY: `y` has `live` features; a bucket's inputs are in its block, which `x`
                    // holds; `lane + V::LANES` is at most `LANES`, both being powers of two. Buckets
                    // are read in the order in which they were pushed, so `connections` has the inputs
                    // counted by `counts`, and a value for each of their connections.
                    unsafe {
                        let y = y.add(lane);
                        let mut sums = begin_sums::<R, V>(start, first, live, lane, y);
                        connections.add_group(counts, x.add(lane), &mut sums);
                        for (output, sum) in sums.into_iter().enumerate().take(live) {
                            let sum = if rectify { sum.rectify() } else { sum };
                            sum.store(y.add(output * LANES));
                        }
                    }
                }
            }
        }
    }
}

/// Prefetches the outputs after those of a group: later blocks read the sums from the second-level cache.
///
/// # Safety
/// The processor has the instructions of `V`.
#[inline(always)]
unsafe fn prefetch_next_group<R: Real, V: Vector<R>>(y: *const R) {
    for output in GROUP..2 * GROUP {
        let y = y.cast::<Lanes<R>>().wrapping_add(output);
        // SAFETY: the caller promises the instructions.
        unsafe { prefetch_lanes::<R, V>(y) };
    }
}

/// Returns the initial sums of the `live` outputs from `first`. `y` is the place of the outputs.
///
/// # Safety
/// The processor has the instructions of `V`; `y` has `live` features from `lane` on; bias and sums in
/// `start` have all outputs.
#[inline(always)]
unsafe fn begin_sums<R: Real, V: Vector<R>>(
    start: Start<'_, R>,
    first: usize,
    live: usize,
    lane: usize,
    y: *const R,
) -> [V; GROUP] {
    // SAFETY: the caller's promise; only outputs below `live` are read.
    unsafe {
        let mut sums = [V::splat(R::ZERO); GROUP];
        for (output, sum) in sums.iter_mut().enumerate().take(live) {
            match start {
                Start::Zero => {}
                Start::Bias(bias) => *sum = V::splat(*bias.get_unchecked(first + output)),
                Start::Outputs => *sum = V::load(y.add(output * LANES)),
                Start::Sums(sums, bias) => {
                    let sums = sums.as_ptr().cast::<R>();
                    let bias = V::splat(*bias.get_unchecked(first + output));
                    let sums = V::load(sums.add((first + output) * LANES + lane));
                    *sum = sums.mul_add(V::splat(R::ONE), bias);
                }
            }
        }
        sums
    }
}

/// The position of a product in its connections.
#[derive(Clone, Copy)]
struct PackedConnections<R> {
    inputs: *const u8,
    values: *const R,
}

impl<R: Real> PackedConnections<R> {
    /// Adds the connections of a group in a block to its sums.
    ///
    /// # Safety
    /// The processor has the instructions of `V`. `self` points to the inputs counted by `counts`, and
    /// to their values; `x` has the features of the block.
    #[inline(always)]
    unsafe fn add_group<V: Vector<R>>(
        &mut self,
        counts: &[u8; 16],
        x: *const R,
        sums: &mut [V; GROUP],
    ) {
        macro_rules! buckets {
            ($($pattern:literal)*) => {$(
                self.add_bucket::<V, $pattern>(counts[$pattern], x, sums);
            )*};
        }
        // SAFETY: the caller's promise, bucket after bucket.
        unsafe {
            buckets!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
        }
    }

    /// Adds the connections of `n_inputs` inputs to the outputs in `PATTERN`.
    ///
    /// # Safety
    /// As for [`PackedConnections::add_group`], for these inputs.
    #[inline(always)]
    unsafe fn add_bucket<V: Vector<R>, const PATTERN: u32>(
        &mut self,
        n_inputs: u8,
        x: *const R,
        sums: &mut [V; GROUP],
    ) {
        for _ in 0..n_inputs {
            // SAFETY: the caller's promise.
            unsafe {
                let x = V::load(x.add(usize::from(*self.inputs) * LANES));
                self.inputs = self.inputs.add(1);
                for (output, sum) in sums.iter_mut().enumerate() {
                    if PATTERN >> output & 1 == 1 {
                        *sum = V::splat(*self.values).mul_add(x, *sum);
                        self.values = self.values.add(1);
                    }
                }
            }
        }
    }
}
