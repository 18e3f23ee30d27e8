//! Inputs times kept weights: forward, and with the layer turned round, backward to the inputs.

use super::Grid;
use super::buckets::{Buckets, GROUP, PATTERNS};
#[cfg(target_arch = "x86_64")]
use crate::kernels::level::Set;
#[cfg(target_arch = "x86_64")]
use crate::kernels::tiles::{same, same_mut};
use crate::kernels::versions::{self, Work, add_product};
use crate::kernels::{LANES, Lanes, Level};
use crate::number::Real;

/// A layer's kept connections in the order in which a product runs through them. Made once for a mask.
#[derive(Clone, Debug)]
pub struct Product(Buckets);

/// What the sums over connections start from.
#[derive(Clone, Copy, Debug)]
pub enum Start<'a, R> {
    /// 0.
    Zero,
    /// A number for each output.
    Bias(&'a [R]),
    /// What the outputs hold already.
    Outputs,
}

/// The arguments of a product; lengths are checked.
pub(super) struct Run<'a, R> {
    pub(super) buckets: &'a Buckets,
    pub(super) values: &'a [R],
    pub(super) start: Start<'a, R>,
    pub(super) rectify: bool,
    /// Lanes that are computed, of each tile.
    pub(super) lanes: usize,
    pub(super) x: &'a [Lanes<R>],
    pub(super) y: &'a mut [Lanes<R>],
}

impl Product {
    /// `y = x w`: from the layer's inputs to its outputs.
    pub fn forward(grid: &Grid) -> Product {
        Product(Buckets::forward(grid))
    }

    /// `dx = dy wT`: from the slopes of the layer's outputs to those of its inputs.
    pub fn backward(grid: &Grid) -> Product {
        Product(Buckets::backward(grid))
    }

    /// Features of a tile that it reads.
    pub fn inputs(&self) -> usize {
        self.0.inputs
    }

    /// Features of a tile that it writes.
    pub fn outputs(&self) -> usize {
        self.0.outputs
    }

    /// Puts the weights of the connections, by number, into this product's order.
    pub fn load<R: Real>(&self, weights: &[R], values: &mut Vec<R>) {
        values.clear();
        let numbers = self.0.numbers.iter();
        values.extend(numbers.map(|&number| weights[number as usize]));
    }

    /// For each tile: `y[o] = start + sum of values * x`, and with `rectify` what is negative becomes
    /// 0 (NaN stays).
    ///
    /// `x` is `[tiles, inputs]`, `y` is `[tiles, outputs]`, `values` is of [`Product::load`].
    ///
    /// # Panics
    /// If a slice is of another length.
    pub fn run<R: Real>(
        &self,
        level: Level,
        values: &[R],
        start: Start<'_, R>,
        rectify: bool,
        x: &[Lanes<R>],
        y: &mut [Lanes<R>],
    ) {
        self.run_lanes(level, LANES, values, start, rectify, x, y);
    }

    /// As [`Product::run`], for the first `lanes` lanes of each tile; what the others hold afterwards
    /// has no meaning.
    ///
    /// # Panics
    /// If a slice is of another length.
    #[expect(clippy::too_many_arguments, reason = "those of run, and the lanes")]
    pub fn run_lanes<R: Real>(
        &self,
        level: Level,
        lanes: usize,
        values: &[R],
        start: Start<'_, R>,
        rectify: bool,
        x: &[Lanes<R>],
        y: &mut [Lanes<R>],
    ) {
        let buckets = &self.0;
        let n_tiles = y.len() / buckets.outputs.max(1);
        assert_eq!(x.len(), n_tiles * buckets.inputs, "inputs of other tiles");
        assert_eq!(y.len(), n_tiles * buckets.outputs, "outputs of other tiles");
        assert_eq!(
            values.len(),
            buckets.numbers.len(),
            "values of another product"
        );
        if let Start::Bias(bias) = start {
            assert_eq!(bias.len(), buckets.outputs, "biases of another layer");
        }
        #[cfg(target_arch = "x86_64")]
        if level.set() == Set::Avx512
            && let (Some(values), Some(x), Some(y)) = (same(values), same(x), same_mut(&mut *y))
        {
            let start = match start {
                Start::Zero => Start::Zero,
                Start::Outputs => Start::Outputs,
                Start::Bias(bias) => Start::Bias(same(bias).unwrap_or_default()),
            };
            let run = Run {
                buckets,
                values,
                start,
                rectify,
                lanes,
                x,
                y,
            };
            // SAFETY: this level is made only where the processor has AVX-512, and the lengths were
            // checked above.
            return unsafe { super::avx512::product(run) };
        }
        let run = Run {
            buckets,
            values,
            start,
            rectify,
            lanes,
            x,
            y,
        };
        versions::run(level, run);
    }
}

impl<R: Real> Work for Run<'_, R> {
    type Out = ();

    #[inline(always)]
    fn run<const FUSED: bool, const WIDTH: usize, const REGISTERS: usize>(mut self) {
        let (inputs, outputs) = (self.buckets.inputs, self.buckets.outputs);
        for tile in 0..self.y.len() / outputs.max(1) {
            let (x, y) = (tile * inputs, tile * outputs);
            let mut counts = self.buckets.counts.chunks_exact(PATTERNS);
            let (mut place, mut value) = (0, 0);
            for block in 0..self.buckets.n_blocks() {
                for group in (0..outputs).step_by(GROUP) {
                    let Some(counts) = counts.next() else { return };
                    let at = At {
                        x: x + block * self.buckets.length,
                        y: y + group,
                        n: GROUP.min(outputs - group),
                        group,
                        first: block == 0,
                        last: block + 1 == self.buckets.n_blocks(),
                        place,
                        value,
                    };
                    for part in 0..self.lanes.div_ceil(2 * WIDTH) {
                        (place, value) = self.group::<FUSED, WIDTH>(counts, &at, part);
                    }
                }
            }
        }
    }
}

/// Where a group of outputs, and a block of inputs, begin.
struct At {
    x: usize,
    y: usize,
    /// Outputs of the group.
    n: usize,
    group: usize,
    /// Whether the block is the first, and the last.
    first: bool,
    last: bool,
    place: usize,
    value: usize,
}

/// Sums of a group of outputs, in two vectors each.
type Group<R, const WIDTH: usize> = [[[R; WIDTH]; 2]; GROUP];

/// `WIDTH` lanes.
#[inline(always)]
fn lanes<R, const WIDTH: usize>(lanes: &Lanes<R>, part: usize) -> &[R; WIDTH] {
    let (vectors, _) = lanes.0.as_chunks();
    &vectors[part]
}

impl<R: Real> Run<'_, R> {
    /// Adds one block's inputs to a group of outputs, in one part of the lanes. Gives where the next
    /// group's places and values begin.
    #[inline(always)]
    fn group<const FUSED: bool, const WIDTH: usize>(
        &mut self,
        counts: &[u8],
        at: &At,
        part: usize,
    ) -> (usize, usize) {
        let mut sums: Group<R, WIDTH> = [[[R::ZERO; WIDTH]; 2]; GROUP];
        for (q, sums) in sums.iter_mut().enumerate().take(at.n) {
            match self.start {
                Start::Bias(bias) if at.first => *sums = [[bias[at.group + q]; WIDTH]; 2],
                Start::Zero if at.first => {}
                _ => *sums = [0, 1].map(|v| *lanes(&self.y[at.y + q], 2 * part + v)),
            }
        }
        let (mut place, mut value) = (at.place, at.value);
        macro_rules! buckets {
            ($($pattern:literal)*) => {$(
                for _ in 0..counts[$pattern - 1] {
                    let input = at.x + usize::from(self.buckets.places[place]);
                    place += 1;
                    self.add::<FUSED, WIDTH, $pattern>(&mut sums, input, part, value);
                    value += usize::count_ones($pattern) as usize;
                }
            )*};
        }
        buckets!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
        for (q, sums) in sums.iter_mut().enumerate().take(at.n) {
            if self.rectify && at.last {
                for sum in sums.iter_mut().flatten() {
                    *sum = if *sum < R::ZERO { R::ZERO } else { *sum };
                }
            }
            let (vectors, _) = self.y[at.y + q].0.as_chunks_mut();
            vectors[2 * part] = sums[0];
            vectors[2 * part + 1] = sums[1];
        }
        (place, value)
    }

    /// Adds an input to the outputs of the group that `PATTERN` names.
    #[inline(always)]
    fn add<const FUSED: bool, const WIDTH: usize, const PATTERN: usize>(
        &self,
        sums: &mut Group<R, WIDTH>,
        input: usize,
        part: usize,
        mut value: usize,
    ) {
        let x = [0, 1].map(|v| lanes::<R, WIDTH>(&self.x[input], 2 * part + v));
        for (q, sums) in sums.iter_mut().enumerate() {
            if PATTERN >> q & 1 == 1 {
                let weight = self.values[value];
                value += 1;
                for (sums, x) in sums.iter_mut().zip(x) {
                    for lane in 0..WIDTH {
                        sums[lane] = add_product::<FUSED, R>(sums[lane], weight, x[lane]);
                    }
                }
            }
        }
    }
}
