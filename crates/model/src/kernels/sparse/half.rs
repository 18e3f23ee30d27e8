//! Inputs times kept weights in half precision (bfloat16), summed in single precision; used for scoring.
//!
//! The processor's dot product of bfloat16 takes two inputs at a time. Inputs that are used by the same outputs
//! form pairs, so that only incomplete pairs waste a multiplication.

use super::SparsityPattern;
use super::buckets::GROUP;
use crate::kernels::simd_level::Isa;
use crate::kernels::{LANES, Lanes, SimdLevel};

/// One feature of the 64 rows of a tile as bfloat16: the upper half of a single-precision number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct HalfLanes(pub [u16; LANES]);

impl HalfLanes {
    /// Rounds each number to the nearest bfloat16.
    pub fn of(lanes: &Lanes<f32>) -> HalfLanes {
        HalfLanes(lanes.0.map(rounded))
    }
}

/// Rounds tiles to half precision.
///
/// # Panics
/// If the lengths of the slices differ.
pub fn narrow(level: SimdLevel, x: &[Lanes<f32>], y: &mut [HalfLanes]) {
    assert_eq!(x.len(), y.len(), "other tiles");
    match level.isa() {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 if level.has_half() => {
            // SAFETY: the processor has AVX-512 with bfloat16, and the lengths are the same.
            unsafe { super::avx512_half::narrow(x, y) }
        }
        _ => y.iter_mut().zip(x).for_each(|(y, x)| *y = HalfLanes::of(x)),
    }
}

/// Returns the nearest bfloat16, ties to even; NaN stays NaN.
pub(super) fn rounded(x: f32) -> u16 {
    if x.is_nan() {
        return 0x7fc0;
    }
    let bits = x.to_bits();
    ((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16
}

fn widened(half: u16) -> f32 {
    f32::from_bits(u32::from(half) << 16)
}

/// Number of non-empty sets of outputs of a group that can use an input.
pub(super) const PATTERNS: usize = (1 << GROUP) - 1;

/// Maximum number of inputs in a block. More fit the first-level cache than in single
/// precision.
const MAX_BLOCK: usize = 192;

/// A layer's kept connections as pairs of inputs, with their weights. Built once for a mask and its
/// weights.
#[derive(Clone, Debug)]
pub struct HalfProduct {
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    /// Number of inputs in a block.
    pub(super) length: usize,
    /// Number of pairs, `[blocks, groups, PATTERNS]`.
    pub(super) counts: Vec<u8>,
    /// Inputs, numbered in their block, `[pairs, 2]`.
    pub(super) places: Vec<u8>,
    /// For each pair, the two weights of each output that uses it, the first in the lower half.
    pub(super) weights: Vec<u32>,
}

/// The destination of a product's sums.
#[derive(Debug)]
pub enum HalfOutputs<'a> {
    /// Inputs of another layer, `[n_tiles, outputs]`.
    Half(&'a mut [HalfLanes]),
    /// Inputs of the heads, `[n_tiles, outputs]`.
    Single(&'a mut [Lanes<f32>]),
}

impl HalfProduct {
    /// Packs a layer; `weights` holds the weights of the kept connections, by number.
    ///
    /// # Panics
    /// If the number of weights is not that of the connections.
    pub fn new(pattern: &SparsityPattern, weights: &[f32]) -> HalfProduct {
        assert_eq!(weights.len(), pattern.n_kept(), "weights of another layer");
        let inputs = pattern.inputs();
        let n_blocks = inputs.div_ceil(MAX_BLOCK).max(1);
        let mut product = HalfProduct {
            inputs,
            outputs: pattern.outputs(),
            length: inputs.div_ceil(n_blocks).max(1),
            counts: Vec::new(),
            places: Vec::new(),
            weights: Vec::new(),
        };
        for block in 0..n_blocks {
            let first = block * product.length;
            let block_inputs = first..inputs.min(first + product.length);
            for group in (0..pattern.outputs()).step_by(GROUP) {
                for usage in 1..=PATTERNS {
                    let uses = |&input: &usize| pattern.four(input, group) == usage;
                    let inputs: Vec<usize> = block_inputs.clone().filter(uses).collect();
                    product.counts.push(inputs.len().div_ceil(2) as u8);
                    for pair in inputs.chunks(2) {
                        product.push(pattern, weights, first, group, usage, pair);
                    }
                }
            }
        }
        product
    }

    fn push(
        &mut self,
        pattern: &SparsityPattern,
        weights: &[f32],
        first: usize,
        group: usize,
        usage: usize,
        pair: &[usize],
    ) {
        // An incomplete pair repeats its first input, with weight 0.
        let places = [pair[0], pair[pair.len() - 1]];
        self.places
            .extend(places.map(|input| (input - first) as u8));
        for output in (0..GROUP).filter(|q| usage >> q & 1 == 1) {
            let weight = |input: Option<&usize>| {
                let number = input.and_then(|&input| pattern.number(input, group + output));
                let weight = number.map_or(0.0, |number| weights[number as usize]);
                u32::from(rounded(weight))
            };
            let (low, high) = (weight(pair.first()), weight(pair.get(1)));
            self.weights.push(low | high << 16);
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

    /// Computes for each tile `y[o] = max(bias[o] + sum of weights * x, 0)` (NaN stays). `buffer` is for
    /// intermediate sums.
    ///
    /// `x` is `[n_tiles, inputs]`, `bias` `[outputs]`.
    ///
    /// # Panics
    /// If a slice has a wrong length.
    pub fn run(
        &self,
        level: SimdLevel,
        bias: &[f32],
        x: &[HalfLanes],
        buffer: &mut Vec<Lanes<f32>>,
        mut y: HalfOutputs<'_>,
    ) {
        let n_outputs = match &y {
            HalfOutputs::Half(y) => y.len(),
            HalfOutputs::Single(y) => y.len(),
        };
        let n_tiles = n_outputs / self.outputs.max(1);
        assert_eq!(n_outputs, n_tiles * self.outputs, "outputs of other tiles");
        assert_eq!(x.len(), n_tiles * self.inputs, "inputs of other tiles");
        assert_eq!(bias.len(), self.outputs, "biases of another layer");
        buffer.resize(self.outputs, Lanes::all(0.0));
        for tile in 0..n_tiles {
            let x = &x[tile * self.inputs..(tile + 1) * self.inputs];
            let own = tile * self.outputs..(tile + 1) * self.outputs;
            let y = match &mut y {
                HalfOutputs::Half(y) => HalfOutputs::Half(&mut y[own]),
                HalfOutputs::Single(y) => HalfOutputs::Single(&mut y[own]),
            };
            match level.isa() {
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 if level.has_half() => {
                    // SAFETY: the processor has AVX-512 with bfloat16, and the lengths were checked.
                    unsafe { super::avx512_half::product(self, bias, x, buffer, y) }
                }
                _ => self.run_portable(bias, x, buffer, y),
            }
        }
    }

    /// Computes one tile with plain arithmetic: the reference for the fast kernel, and the fallback.
    fn run_portable(
        &self,
        bias: &[f32],
        x: &[HalfLanes],
        buffer: &mut [Lanes<f32>],
        y: HalfOutputs<'_>,
    ) {
        for (sums, &bias) in buffer.iter_mut().zip(bias) {
            *sums = Lanes::all(bias);
        }
        let mut places = self.places.as_chunks::<2>().0.iter();
        let mut weights = self.weights.iter();
        let n_groups = self.outputs.div_ceil(GROUP).max(1);
        for (at, &count) in self.counts.iter().enumerate() {
            let (usage, group) = (at % PATTERNS + 1, at / PATTERNS % n_groups * GROUP);
            let block = at / PATTERNS / n_groups * self.length;
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
        let rectified = |sum: f32| if sum < 0.0 { 0.0 } else { sum };
        match y {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counter_rng::CounterRng;

    #[test]
    fn numbers_are_rounded_to_the_nearest() {
        assert_eq!(widened(rounded(1.0)), 1.0);
        // 1 + 2^-8 lies between 1 and 1 + 2^-7; the even one is 1.
        assert_eq!(widened(rounded(1.0 + 0.5_f32.powi(8))), 1.0);
        assert_eq!(widened(rounded(1.003_91)), 1.007_812_5);
        assert!(widened(rounded(f32::NAN)).is_nan());
        assert_eq!(widened(rounded(f32::MAX)), f32::INFINITY);
    }

    /// Returns the product of one output in one lane, and the sum of the sizes of its terms.
    fn exact(
        pattern: &SparsityPattern,
        weights: &[f32],
        x: &[Lanes<f32>],
        output: usize,
        lane: usize,
    ) -> (f64, f64) {
        let term = |(input, x): (usize, &Lanes<f32>)| {
            let number = pattern.number(input, output)?;
            Some(f64::from(weights[number as usize]) * f64::from(x.0[lane]))
        };
        let terms = x.iter().enumerate().filter_map(term);
        terms.fold((0.0, 0.0), |(sum, size), term| {
            (sum + term, size + term.abs())
        })
    }

    /// Both kernels agree, and are as close to the exact sum as half precision allows.
    #[test]
    fn half_precision_is_accurate() {
        for (inputs, outputs, density) in [
            (1, 1, 1.0),
            (7, 5, 0.5),
            (400, 9, 0.2),
            (200, 64, 1.0),
            (30, 8, 0.0),
        ] {
            let rng = CounterRng::new(inputs as u64, "half");
            let pattern = SparsityPattern::from_fn(inputs, outputs, |i, o| {
                rng.uniform((i * outputs + o) as u64) < density
            });
            let normal = |stream: u64, i: usize| rng.at(stream).normal(i as u64) as f32;
            let weights: Vec<f32> = (0..pattern.n_kept()).map(|i| normal(1, i)).collect();
            let bias: Vec<f32> = (0..outputs).map(|i| normal(2, i)).collect();
            let n_tiles = 3;
            let lanes = |f| Lanes(std::array::from_fn(|l| normal(3, f * LANES + l)));
            let x: Vec<Lanes<f32>> = (0..n_tiles * inputs).map(lanes).collect();
            let halves: Vec<HalfLanes> = x.iter().map(HalfLanes::of).collect();
            for level in SimdLevel::all() {
                let mut narrowed = vec![HalfLanes([7; LANES]); x.len()];
                narrow(level, &x, &mut narrowed);
                assert!(narrowed == halves, "{level}");
            }
            let product = HalfProduct::new(&pattern, &weights);
            for level in SimdLevel::all() {
                let mut single = vec![Lanes::all(7.0); n_tiles * outputs];
                let mut half = vec![HalfLanes([7; LANES]); n_tiles * outputs];
                let mut buffer = Vec::new();
                product.run(
                    level,
                    &bias,
                    &halves,
                    &mut buffer,
                    HalfOutputs::Single(&mut single),
                );
                product.run(
                    level,
                    &bias,
                    &halves,
                    &mut buffer,
                    HalfOutputs::Half(&mut half),
                );
                for (place, (single, half)) in single.iter().zip(&half).enumerate() {
                    let (tile, output) = (place / outputs, place % outputs);
                    let x = &x[tile * inputs..(tile + 1) * inputs];
                    for lane in 0..LANES {
                        let (product, size) = exact(&pattern, &weights, x, output, lane);
                        let exact = f64::from(bias[output]) + product;
                        // Each factor is rounded by 2^-8 at most; sums in single precision add little.
                        let error = (f64::from(single.0[lane]) - exact.max(0.0)).abs();
                        assert!(error <= size / 120.0 + 1e-5, "{level}: {error} of {size}");
                        assert_eq!(half.0[lane], rounded(single.0[lane]), "{level}");
                    }
                }
            }
        }
    }
}
