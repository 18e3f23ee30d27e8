//! Inputs times slopes of outputs, summed over rows, for kept connections: the slopes of weights.

use super::Grid;
use crate::kernels::{Lanes, Level};
use crate::number::Real;

/// A layer's connections in the order in which the slopes of its weights are summed. Made once for a
/// mask.
#[derive(Clone, Debug)]
pub struct Outer {
    inputs: usize,
    outputs: usize,
    /// `(input, output)`
    entries: Vec<(u32, u32)>,
    numbers: Vec<u32>,
}

impl Outer {
    /// The number of a sum that belongs to no kept connection.
    pub const NONE: u32 = u32::MAX;

    /// The sums of a layer.
    pub fn new(grid: &Grid) -> Outer {
        Outer {
            inputs: grid.inputs(),
            outputs: grid.outputs(),
            entries: grid.kept().map(|(i, o)| (i as u32, o as u32)).collect(),
            numbers: (0..grid.n_kept() as u32).collect(),
        }
    }

    /// The number of the connection that each sum belongs to, or [`Outer::NONE`]: padding.
    pub fn numbers(&self) -> &[u32] {
        &self.numbers
    }

    /// `sums += x dy`, over all lanes of all tiles. What lies in padding is of no meaning.
    ///
    /// `x` is `[n_tiles, inputs]`, `dy` is `[n_tiles, outputs]`, `sums` as long as
    /// [`Outer::numbers`].
    ///
    /// # Panics
    /// If a slice is of another length.
    pub fn add<R: Real>(
        &self,
        level: Level,
        n_tiles: usize,
        x: &[Lanes<R>],
        dy: &[Lanes<R>],
        sums: &mut [R],
    ) {
        let _ = level;
        assert_eq!(x.len(), n_tiles * self.inputs, "inputs of other tiles");
        assert_eq!(dy.len(), n_tiles * self.outputs, "slopes of other tiles");
        assert_eq!(sums.len(), self.numbers.len(), "sums of another layer");
        for tile in 0..n_tiles {
            let x = &x[tile * self.inputs..(tile + 1) * self.inputs];
            let dy = &dy[tile * self.outputs..(tile + 1) * self.outputs];
            for (&(i, o), sum) in self.entries.iter().zip(sums.iter_mut()) {
                let (x, dy) = (&x[i as usize].0, &dy[o as usize].0);
                *sum += x.iter().zip(dy).map(|(&x, &dy)| x * dy).sum();
            }
        }
    }
}
