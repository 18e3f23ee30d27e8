//! The product of a layer for a few rows, with dense weights, since tiles would be almost empty.

use super::versions::{CompiledLoop, add_products, run};
use super::{LANES, Lanes, SimdLevel};
use crate::number::Real;

/// Number of vectors that are summed together.
const SUMS: usize = 4;

/// The weights of a layer in panels of 64 outputs, so that they are read sequentially.
#[derive(Clone, Debug)]
pub struct Panels<R> {
    inputs: usize,
    outputs: usize,
    /// `[panels, inputs]`, 0 beyond the last output.
    weights: Vec<Lanes<R>>,
}

impl<R: Real> Panels<R> {
    /// Packs weights `[inputs, outputs]`, row-major.
    ///
    /// # Panics
    /// If the number of weights does not match.
    pub fn new(inputs: usize, outputs: usize, weights: &[R]) -> Panels<R> {
        assert_eq!(weights.len(), inputs * outputs, "weights of another layer");
        let mut panels = Vec::with_capacity(outputs.div_ceil(LANES) * inputs);
        for first in (0..outputs).step_by(LANES) {
            for row in weights.chunks_exact(outputs) {
                let row = &row[first..outputs.min(first + LANES)];
                let mut lanes = Lanes::all(R::ZERO);
                lanes.0[..row.len()].copy_from_slice(row);
                panels.push(lanes);
            }
        }
        Panels {
            inputs,
            outputs,
            weights: panels,
        }
    }

    /// Returns the number of inputs.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Returns the number of outputs.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Computes `y = start + x w`, and with `rectify` sets negative values to 0 (NaN stays). Inputs that are 0
    /// are skipped, so that they ignore infinite weights.
    ///
    /// `x` is `[n_rows, inputs]`, `start` `[outputs]`, `y` `[n_rows, outputs]`.
    ///
    /// # Panics
    /// If a slice has a wrong length.
    pub fn run(&self, level: SimdLevel, x: &[R], start: &[R], rectify: bool, y: &mut [R]) {
        let n_rows = y.len() / self.outputs.max(1);
        assert_eq!(start.len(), self.outputs, "starts of another layer");
        assert_eq!(y.len(), n_rows * self.outputs, "outputs of other rows");
        assert_eq!(x.len(), n_rows * self.inputs, "inputs of other rows");
        let kernel = Rows {
            panels: self,
            n_rows,
            x,
            start,
            rectify,
            y,
        };
        run(level, kernel);
    }
}

struct Rows<'a, R> {
    panels: &'a Panels<R>,
    n_rows: usize,
    x: &'a [R],
    start: &'a [R],
    rectify: bool,
    y: &'a mut [R],
}

impl<R: Real> CompiledLoop for Rows<'_, R> {
    type Out = ();

    #[inline(always)]
    fn run<const FUSED: bool, const WIDTH: usize, const BLOCK: usize>(mut self) {
        let (inputs, outputs) = (self.panels.inputs, self.panels.outputs);
        for first in (0..outputs).step_by(LANES) {
            let place = first / LANES * inputs;
            let panel = &self.panels.weights[place..place + inputs];
            for row in 0..self.n_rows {
                for part in 0..LANES / (SUMS * WIDTH) {
                    self.part::<FUSED, WIDTH>(panel, first, row, part);
                }
            }
        }
    }
}

impl<R: Real> Rows<'_, R> {
    /// Computes some of the outputs of a panel, in one row.
    #[inline(always)]
    fn part<const FUSED: bool, const WIDTH: usize>(
        &mut self,
        panel: &[Lanes<R>],
        first: usize,
        row: usize,
        part: usize,
    ) {
        let (inputs, outputs) = (self.panels.inputs, self.panels.outputs);
        let x = &self.x[row * inputs..(row + 1) * inputs];
        let mut sums = [[R::ZERO; WIDTH]; SUMS];
        for (x, panel) in x.chunks(64).zip(panel.chunks(64)) {
            let mut used = 0u64;
            for (at, &x) in x.iter().enumerate() {
                used |= u64::from(x != R::ZERO) << at;
            }
            while used != 0 {
                let at = used.trailing_zeros() as usize;
                used &= used - 1;
                let weights = panel[at].0.as_chunks::<WIDTH>().0;
                let x = [x[at]; WIDTH];
                for k in 0..SUMS {
                    add_products::<FUSED, WIDTH, R>(&mut sums[k], &x, &weights[part * SUMS + k]);
                }
            }
        }
        let first = first + part * SUMS * WIDTH;
        let places = first.min(outputs)..outputs.min(first + SUMS * WIDTH);
        let y = &mut self.y[row * outputs..(row + 1) * outputs][places.clone()];
        for ((y, &start), &sum) in y
            .iter_mut()
            .zip(&self.start[places])
            .zip(sums.as_flattened())
        {
            let h = start + sum;
            *y = if self.rectify && h < R::ZERO {
                R::ZERO
            } else {
                h
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counter_rng::CounterRng;
    use crate::kernels::reference;

    fn values<R: Real>(n: usize, name: &str) -> Vec<R> {
        let rng = CounterRng::new(3, name);
        let value = |i| R::of(f64::from((rng.normal(i) - 0.3).max(0.0) as f32));
        (0..n as u64).map(value).collect()
    }

    fn check<R: Real>(n_rows: usize, inputs: usize, outputs: usize, bound: f64) {
        let (x, w): (Vec<R>, Vec<R>) =
            (values(n_rows * inputs, "x"), values(inputs * outputs, "w"));
        let w: Vec<R> = w.into_iter().map(|w| R::of(0.4) - w).collect();
        let start: Vec<R> = values(outputs, "start");
        let wide = |values: &[R]| {
            values
                .iter()
                .map(|value| value.wide())
                .collect::<Vec<f64>>()
        };
        let mut expected = vec![0.0; n_rows * outputs];
        reference::forward(&wide(&x), &wide(&w), &wide(&start), &mut expected, n_rows);
        let panels = Panels::new(inputs, outputs, &w);
        for (level, rectify) in SimdLevel::all()
            .into_iter()
            .flat_map(|l| [(l, false), (l, true)])
        {
            let mut y = vec![R::ONE; n_rows * outputs];
            panels.run(level, &x, &start, rectify, &mut y);
            for (y, &expected) in y.iter().zip(&expected) {
                let expected = if rectify { expected.max(0.0) } else { expected };
                assert!((y.wide() - expected).abs() < bound, "{y:?} for {expected}");
            }
        }
    }

    #[test]
    fn few_rows_match_the_reference() {
        for (n_rows, inputs, outputs) in [
            (0, 3, 2),
            (1, 0, 5),
            (1, 1, 1),
            (3, 64, 64),
            (2, 65, 63),
            (5, 130, 200),
        ] {
            check::<f32>(n_rows, inputs, outputs, 1e-4);
            check::<f64>(n_rows, inputs, outputs, 1e-12);
        }
    }

    #[test]
    fn nan_is_propagated() {
        let panels = Panels::new(2, 1, &[1.0f32, 1.0]);
        let mut y = [0.0; 2];
        panels.run(
            SimdLevel::best(),
            &[f32::NAN, 0.0, 1.0, -2.0],
            &[0.5],
            true,
            &mut y,
        );
        assert!(y[0].is_nan() && y[1] == 0.0);
    }
}
