//! Inputs times kept weights: forward, and with the layer turned round, backward to the inputs.

use super::Grid;
use crate::kernels::{Lanes, Level};
use crate::number::Real;

/// A layer's connections in the order in which a product runs through them. Made once for a mask.
#[derive(Clone, Debug)]
pub struct Product {
    inputs: usize,
    outputs: usize,
    /// `(input, output, number)`
    entries: Vec<(u32, u32, u32)>,
}

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

impl Product {
    /// `y = x w`: from the layer's inputs to its outputs.
    pub fn forward(grid: &Grid) -> Product {
        let entry = |((i, o), number): ((usize, usize), u32)| (i as u32, o as u32, number);
        Product {
            inputs: grid.inputs(),
            outputs: grid.outputs(),
            entries: grid.kept().zip(0..).map(entry).collect(),
        }
    }

    /// `dx = dy wT`: from the slopes of the layer's outputs to those of its inputs.
    pub fn backward(grid: &Grid) -> Product {
        let entry = |((i, o), number): ((usize, usize), u32)| (o as u32, i as u32, number);
        Product {
            inputs: grid.outputs(),
            outputs: grid.inputs(),
            entries: grid.kept().zip(0..).map(entry).collect(),
        }
    }

    /// Features of a tile that it reads.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Features of a tile that it writes.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Puts the weights of the connections, by number, into this product's order.
    pub fn load<R: Real>(&self, weights: &[R], values: &mut Vec<R>) {
        values.clear();
        values.extend(self.entries.iter().map(|entry| weights[entry.2 as usize]));
    }

    /// For each tile: `y[o] = start + sum of values * x`, and with `rectify` what is
    /// negative becomes 0 (NaN stays).
    ///
    /// `x` is `[n_tiles, inputs]`, `y` is `[n_tiles, outputs]`, `values` is of [`Product::load`].
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
        let _ = level;
        let n_tiles = y.len() / self.outputs.max(1);
        assert_eq!(x.len(), n_tiles * self.inputs, "inputs of other tiles");
        assert_eq!(y.len(), n_tiles * self.outputs, "outputs of other tiles");
        assert_eq!(
            values.len(),
            self.entries.len(),
            "values of another product"
        );
        for tile in 0..n_tiles {
            let x = &x[tile * self.inputs..(tile + 1) * self.inputs];
            let y = &mut y[tile * self.outputs..(tile + 1) * self.outputs];
            match start {
                Start::Zero => y.fill(Lanes::all(R::ZERO)),
                Start::Bias(bias) => y
                    .iter_mut()
                    .zip(bias)
                    .for_each(|(y, &bias)| *y = Lanes::all(bias)),
                Start::Outputs => {}
            }
            for (&(i, o, _), &w) in self.entries.iter().zip(values) {
                let (x, y) = (&x[i as usize].0, &mut y[o as usize].0);
                y.iter_mut().zip(x).for_each(|(y, &x)| *y += w * x);
            }
            if rectify {
                for h in y.iter_mut().flat_map(|y| &mut y.0) {
                    if *h < R::ZERO {
                        *h = R::ZERO;
                    }
                }
            }
        }
    }
}
