//! Inputs times kept weights in half precision (bfloat16), summed in single precision.
//!
//! The processor's dot product of bfloat16 takes two inputs at a time. Inputs that are used by the same outputs
//! form pairs, so that only incomplete pairs waste a multiplication.

#[cfg(target_arch = "x86_64")]
mod avx512;

use super::SparsityPattern;
use super::buckets::GROUP;
use super::half_lanes::{HalfLanes, rounded, widened};
use super::pattern::NONE;
use crate::kernels::simd_level::Isa;
use crate::kernels::{Lanes, SimdLevel};

/// Number of non-empty sets of outputs of a group that can use an input.
pub(super) const PATTERNS: usize = (1 << GROUP) - 1;

/// Maximum number of inputs in a block. More fit the first-level cache than in single
/// precision.
const MAX_BLOCK: usize = 192;

/// A layer's kept connections as pairs of inputs. Built once for a mask; the weights are loaded anew when they change.
#[derive(Clone, Debug)]
pub struct HalfPairs {
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    /// Number of inputs in a block.
    pub(super) length: usize,
    /// Number of pairs, `[blocks, groups, PATTERNS]`.
    pub(super) counts: Vec<u8>,
    /// Inputs, numbered in their block, `[pairs, 2]`.
    pub(super) places: Vec<u8>,
    /// For each pair, the numbers of the two connections of each output that uses it.
    numbers: Vec<[u32; 2]>,
}

/// What a product computes beside its sums over inputs.
#[derive(Clone, Copy, Debug)]
pub struct HalfOperands<'a> {
    /// The weights, from [`HalfPairs::load`].
    pub weights: &'a [u32],
    /// Initial values of the sums.
    pub start: HalfStart<'a>,
    /// True to set negative values to 0.
    pub rectify: bool,
}

/// Initial values of a product's sums.
#[derive(Clone, Copy, Debug)]
pub enum HalfStart<'a> {
    /// 0.
    Zero,
    /// A number for each output.
    Bias(&'a [f32]),
    /// The current values of the outputs, which are in single precision.
    Outputs,
}

/// The destination of a product's sums.
#[derive(Debug)]
pub enum HalfOutputs<'a> {
    /// Inputs of another layer, `[n_tiles, outputs]`.
    Half(&'a mut [HalfLanes]),
    /// Numbers of single precision, `[n_tiles, outputs]`.
    Single(&'a mut [Lanes<f32>]),
}

impl HalfOutputs<'_> {
    fn len(&self) -> usize {
        match self {
            HalfOutputs::Half(y) => y.len(),
            HalfOutputs::Single(y) => y.len(),
        }
    }

    fn part(&mut self, range: std::ops::Range<usize>) -> HalfOutputs<'_> {
        match self {
            HalfOutputs::Half(y) => HalfOutputs::Half(&mut y[range]),
            HalfOutputs::Single(y) => HalfOutputs::Single(&mut y[range]),
        }
    }
}

impl HalfPairs {
    /// Creates the forward product `y = x w`: from the layer's inputs to its outputs.
    pub fn forward(pattern: &SparsityPattern) -> HalfPairs {
        let number = |input, output| pattern.number(input, output);
        HalfPairs::new(pattern.inputs(), pattern.outputs(), number)
    }

    /// Creates the backward product `dx = dy wT`: from the gradients of the layer's outputs to those of its inputs.
    pub fn backward(pattern: &SparsityPattern) -> HalfPairs {
        let number = |input, output| pattern.number(output, input);
        HalfPairs::new(pattern.outputs(), pattern.inputs(), number)
    }

    fn new(
        inputs: usize,
        outputs: usize,
        number: impl Fn(usize, usize) -> Option<u32>,
    ) -> HalfPairs {
        let n_blocks = inputs.div_ceil(MAX_BLOCK).max(1);
        let mut pairs = HalfPairs {
            inputs,
            outputs,
            length: inputs.div_ceil(n_blocks).max(1),
            counts: Vec::new(),
            places: Vec::new(),
            numbers: Vec::new(),
        };
        for block in 0..n_blocks {
            let first = block * pairs.length;
            let block = first..inputs.min(first + pairs.length);
            for group in (0..outputs).step_by(GROUP) {
                let group = group..outputs.min(group + GROUP);
                pairs.push_group(block.clone(), group, &number);
            }
        }
        pairs
    }

    fn push_group(
        &mut self,
        block: std::ops::Range<usize>,
        group: std::ops::Range<usize>,
        number: &impl Fn(usize, usize) -> Option<u32>,
    ) {
        let first = block.start;
        // The inputs of each pattern, with the numbers of their connections.
        let mut buckets: [Vec<(u8, [u32; GROUP])>; PATTERNS + 1] = Default::default();
        for input in block {
            let mut numbers = [NONE; GROUP];
            let mut pattern = 0;
            for (q, output) in group.clone().enumerate() {
                if let Some(number) = number(input, output) {
                    numbers[q] = number;
                    pattern |= 1 << q;
                }
            }
            buckets[pattern].push(((input - first) as u8, numbers));
        }
        for (pattern, bucket) in buckets.iter().enumerate().skip(1) {
            self.counts.push(bucket.len().div_ceil(2) as u8);
            for pair in bucket.chunks(2) {
                // An incomplete pair repeats its first input, with weight 0.
                let ((one, numbers), second) = (pair[0], pair.get(1));
                self.places
                    .extend([one, second.map_or(one, |&(other, _)| other)]);
                for q in (0..GROUP).filter(|q| pattern >> q & 1 == 1) {
                    let other = second.map_or(NONE, |(_, numbers)| numbers[q]);
                    self.numbers.push([numbers[q], other]);
                }
            }
        }
    }

    /// Copies the weights of the connections, given by number, to this product's order: for each pair and output
    /// two, the first in the lower half.
    pub fn load(&self, weights: &[f32], packed: &mut Vec<u32>) {
        let half = |number: u32| {
            let weight = weights.get(number as usize).copied().unwrap_or(0.0);
            u32::from(rounded(weight))
        };
        packed.clear();
        packed.extend(
            self.numbers
                .iter()
                .map(|&[low, high]| half(low) | half(high) << 16),
        );
    }

    /// Frees what only [`HalfPairs::load`] needs.
    pub(super) fn forget_numbers(&mut self) {
        self.numbers = Vec::new();
    }

    /// Returns the number of features of a tile that it reads.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Returns the number of features of a tile that it writes.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Computes for each tile `y[o] = start + sum of weights * x`, and with `rectify` sets negative values to 0 (NaN
    /// stays). `x` is `[n_tiles, inputs]`; `buffer` is for intermediate sums.
    ///
    /// # Panics
    /// If a slice has a wrong length, or sums in half precision shall be continued.
    pub fn run(
        &self,
        level: SimdLevel,
        operands: HalfOperands<'_>,
        x: &[HalfLanes],
        buffer: &mut Vec<Lanes<f32>>,
        mut y: HalfOutputs<'_>,
    ) {
        let n_tiles = y.len() / self.outputs.max(1);
        assert_eq!(y.len(), n_tiles * self.outputs, "outputs of other tiles");
        assert_eq!(x.len(), n_tiles * self.inputs, "inputs of other tiles");
        let n_weights = self.n_weights();
        assert_eq!(
            operands.weights.len(),
            n_weights,
            "weights of another layer"
        );
        match (operands.start, &y) {
            (HalfStart::Bias(bias), _) => {
                assert_eq!(bias.len(), self.outputs, "biases of another layer");
            }
            (HalfStart::Outputs, HalfOutputs::Half(_)) => panic!("sums are of single precision"),
            (HalfStart::Zero | HalfStart::Outputs, _) => {}
        }
        buffer.resize(self.outputs, Lanes::all(0.0));
        for tile in 0..n_tiles {
            let x = &x[tile * self.inputs..(tile + 1) * self.inputs];
            let product = HalfTile {
                pairs: self,
                operands,
                x,
                buffer,
                y: y.part(tile * self.outputs..(tile + 1) * self.outputs),
            };
            match level.isa() {
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 if level.has_half() => {
                    // SAFETY: the processor has AVX-512 with bfloat16, and the lengths were checked.
                    unsafe { avx512::product(product) }
                }
                _ => product.run_portable(),
            }
        }
    }

    /// Returns the number of packed weights.
    fn n_weights(&self) -> usize {
        let pairs = self.counts.iter().enumerate();
        pairs
            .map(|(at, &count)| usize::from(count) * (at % PATTERNS + 1).count_ones() as usize)
            .sum()
    }
}

/// A product on one tile. The lengths of the slices match the product.
pub(super) struct HalfTile<'a> {
    pub(super) pairs: &'a HalfPairs,
    pub(super) operands: HalfOperands<'a>,
    pub(super) x: &'a [HalfLanes],
    pub(super) buffer: &'a mut [Lanes<f32>],
    pub(super) y: HalfOutputs<'a>,
}

impl HalfTile<'_> {
    /// Computes one tile with plain arithmetic: the reference for the fast kernel, and the fallback.
    fn run_portable(self) {
        let HalfTile {
            pairs,
            operands,
            x,
            buffer,
            ..
        } = self;
        let HalfOperands {
            weights,
            start,
            rectify,
        } = operands;
        for (output, sums) in buffer.iter_mut().enumerate() {
            *sums = match (start, &self.y) {
                (HalfStart::Bias(bias), _) => Lanes::all(bias[output]),
                (HalfStart::Outputs, HalfOutputs::Single(y)) => y[output],
                (HalfStart::Zero | HalfStart::Outputs, _) => Lanes::all(0.0),
            };
        }
        let mut places = pairs.places.as_chunks::<2>().0.iter();
        let mut weights = weights.iter();
        let n_groups = pairs.outputs.div_ceil(GROUP).max(1);
        for (at, &count) in pairs.counts.iter().enumerate() {
            let (usage, group) = (at % PATTERNS + 1, at / PATTERNS % n_groups * GROUP);
            let block = at / PATTERNS / n_groups * pairs.length;
            for pair in places.by_ref().take(usize::from(count)) {
                let outputs = (0..GROUP).filter(|q| usage >> q & 1 == 1);
                for (output, &weight) in outputs.zip(weights.by_ref()) {
                    let halves = [weight as u16, (weight >> 16) as u16].map(widened);
                    let sums = &mut buffer[group + output].0;
                    for (&place, weight) in pair.iter().zip(halves) {
                        let x = &x[block + usize::from(place)].0;
                        let sums = sums.iter_mut().zip(x);
                        sums.for_each(|(sum, &x)| *sum += weight * widened(x));
                    }
                }
            }
        }
        let rectified = |sum: f32| if rectify && sum < 0.0 { 0.0 } else { sum };
        match self.y {
            HalfOutputs::Half(y) => {
                for (y, sums) in y.iter_mut().zip(buffer) {
                    *y = HalfLanes(sums.0.map(|sum| rounded(rectified(sum))));
                }
            }
            HalfOutputs::Single(y) => {
                for (y, sums) in y.iter_mut().zip(buffer) {
                    *y = Lanes(sums.0.map(rectified));
                }
            }
        }
    }
}
