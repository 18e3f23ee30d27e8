//! A layer in half precision whose weights do not change, for scoring.

use super::SparsityPattern;
use super::half_lanes::HalfLanes;
use super::half_pairs::{HalfOperands, HalfOutputs, HalfPairs, HalfStart};
use crate::kernels::{Lanes, SimdLevel};

/// A layer's kept connections as pairs of inputs, with their weights. Built once for a mask and its
/// weights.
#[derive(Clone, Debug)]
pub struct HalfProduct {
    pairs: HalfPairs,
    weights: Vec<u32>,
}

impl HalfProduct {
    /// Packs a layer; `weights` holds the weights of the kept connections, by number.
    ///
    /// # Panics
    /// If the number of weights is not that of the connections.
    pub fn new(pattern: &SparsityPattern, weights: &[f32]) -> HalfProduct {
        assert_eq!(weights.len(), pattern.n_kept(), "weights of another layer");
        let mut pairs = HalfPairs::forward(pattern);
        let mut packed = Vec::new();
        pairs.load(weights, &mut packed);
        pairs.forget_numbers();
        HalfProduct {
            pairs,
            weights: packed,
        }
    }

    /// Returns the number of features of a tile that it reads.
    pub fn inputs(&self) -> usize {
        self.pairs.inputs()
    }

    /// Returns the number of features of a tile that it writes.
    pub fn outputs(&self) -> usize {
        self.pairs.outputs()
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
        y: HalfOutputs<'_>,
    ) {
        let operands = HalfOperands {
            weights: &self.weights,
            start: HalfStart::Bias(bias),
            rectify: true,
        };
        self.pairs.run(level, operands, x, buffer, y);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counter_rng::CounterRng;
    use crate::kernels::LANES;
    use crate::kernels::sparse::WeightGradient;
    use crate::kernels::sparse::half_lanes::{narrow, rounded};

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

    /// The products of a training: backward, which continues sums of another task, and the gradients of weights.
    #[test]
    fn backward_products_in_half_precision_are_accurate() {
        for (inputs, outputs, density, n_tiles) in [
            (1, 1, 1.0, 1),
            (7, 5, 0.5, 2),
            (400, 9, 0.2, 3),
            (130, 210, 0.3, 5),
            (30, 8, 0.0, 2),
        ] {
            let rng = CounterRng::new(outputs as u64, "half");
            let pattern = SparsityPattern::from_fn(inputs, outputs, |i, o| {
                rng.uniform((i * outputs + o) as u64) < density
            });
            let normal = |stream: u64, i: usize| rng.at(stream).normal(i as u64) as f32;
            let tiles = |stream: u64, width: usize| -> Vec<Lanes<f32>> {
                let lanes = |f| Lanes(std::array::from_fn(|l| normal(stream, f * LANES + l)));
                (0..n_tiles * width).map(lanes).collect()
            };
            let halves = |tiles: &[Lanes<f32>]| -> Vec<HalfLanes> {
                tiles.iter().map(HalfLanes::of).collect()
            };
            let weights: Vec<f32> = (0..pattern.n_kept()).map(|i| normal(1, i)).collect();
            let (x, dy, before) = (tiles(2, inputs), tiles(3, outputs), tiles(4, inputs));
            let backward = HalfPairs::backward(&pattern);
            let mut packed = Vec::new();
            backward.load(&weights, &mut packed);
            let orders = [
                WeightGradient::sparse(&pattern),
                WeightGradient::dense(&pattern),
            ];
            for (gradient, level) in orders.iter().flat_map(|order| {
                SimdLevel::all()
                    .into_iter()
                    .map(move |level| (order, level))
            }) {
                let mut dx = before.clone();
                let operands = HalfOperands {
                    weights: &packed,
                    start: HalfStart::Outputs,
                    rectify: false,
                };
                let y = HalfOutputs::Single(&mut dx);
                backward.run(level, operands, &halves(&dy), &mut Vec::new(), y);
                let mut sums = vec![1.0; gradient.numbers().len()];
                gradient.add_half(level, n_tiles, &halves(&x), &halves(&dy), &mut sums);
                for (place, (dx, before)) in dx.iter().zip(&before).enumerate() {
                    let (tile, input) = (place / inputs, place % inputs);
                    for (lane, (&found, &before)) in dx.0.iter().zip(&before.0).enumerate() {
                        let term = |(output, number): (usize, u32)| {
                            let dy = dy[tile * outputs + output].0[lane];
                            f64::from(weights[number as usize]) * f64::from(dy)
                        };
                        let terms: Vec<f64> = pattern.row(input).map(term).collect();
                        let exact = f64::from(before) + terms.iter().sum::<f64>();
                        let size: f64 = terms.iter().map(|term| term.abs()).sum();
                        let error = (f64::from(found) - exact).abs();
                        assert!(error <= size / 120.0 + 1e-5, "{level}: {error} of {size}");
                    }
                }
                let mut at = vec![None; pattern.n_kept()];
                for (&number, &sum) in gradient.numbers().iter().zip(&sums) {
                    if number != WeightGradient::NONE {
                        at[number as usize] = Some(sum);
                    }
                }
                for (input, output) in pattern.kept() {
                    let number = pattern.number(input, output).unwrap() as usize;
                    let lanes = (0..n_tiles * LANES).map(|row| {
                        let (tile, lane) = (row / LANES, row % LANES);
                        let x = x[tile * inputs + input].0[lane];
                        f64::from(x) * f64::from(dy[tile * outputs + output].0[lane])
                    });
                    let terms: Vec<f64> = lanes.collect();
                    let size: f64 = terms.iter().map(|term| term.abs()).sum();
                    let exact = 1.0 + terms.iter().sum::<f64>();
                    let error = (f64::from(at[number].unwrap()) - exact).abs();
                    assert!(error <= size / 120.0 + 1e-4, "{level}: {error} of {size}");
                }
            }
        }
    }
}
