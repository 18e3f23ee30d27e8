//! Inputs times gradients of outputs, summed over rows, for kept connections: the gradients of weights.

use super::SparsityPattern;
use super::column_groups::ColumnGroups;
use super::square_blocks::SquareBlocks;
use crate::kernels::{Lanes, SimdLevel};
use crate::number::Real;

/// The share of kept connections from which all are computed: it is faster then.
const DENSE: f64 = 0.8;

/// A layer's connections in the order in which the gradients of its weights are summed. Made once for a
/// mask.
#[derive(Clone, Debug)]
pub struct WeightGradient {
    inputs: usize,
    outputs: usize,
    order: Order,
    /// Of each sum.
    numbers: Vec<u32>,
}

#[derive(Clone, Debug)]
enum Order {
    /// Kept connections only.
    Sparse(ColumnGroups),
    /// All connections, kept or not.
    Dense(SquareBlocks),
}

impl WeightGradient {
    /// The number of a sum that belongs to no kept connection.
    pub const NONE: u32 = u32::MAX;

    /// The sums of a layer.
    pub fn new(grid: &SparsityPattern) -> WeightGradient {
        match grid.density() < DENSE {
            true => WeightGradient::sparse(grid),
            false => WeightGradient::dense(grid),
        }
    }

    /// The sums of a layer, computed for kept connections only whatever their share.
    #[doc(hidden)]
    pub fn sparse(grid: &SparsityPattern) -> WeightGradient {
        let (columns, numbers) = ColumnGroups::new(grid);
        WeightGradient {
            inputs: grid.inputs(),
            outputs: grid.outputs(),
            order: Order::Sparse(columns),
            numbers,
        }
    }

    /// The sums of a layer, computed for all connections whatever the share of the kept ones.
    #[doc(hidden)]
    pub fn dense(grid: &SparsityPattern) -> WeightGradient {
        let (squares, numbers) = SquareBlocks::new(grid);
        WeightGradient {
            inputs: grid.inputs(),
            outputs: grid.outputs(),
            order: Order::Dense(squares),
            numbers,
        }
    }

    /// The number of the connection that each sum belongs to, or [`WeightGradient::NONE`]: padding.
    pub fn numbers(&self) -> &[u32] {
        &self.numbers
    }

    /// `sums += x dy`, over all lanes of all tiles. What lies in padding is of no meaning.
    ///
    /// `x` is `[n_tiles, inputs]`, `dy` is `[n_tiles, outputs]`, `sums` as long as
    /// [`WeightGradient::numbers`].
    ///
    /// # Panics
    /// If a slice is of another length.
    pub fn add<R: Real>(
        &self,
        level: SimdLevel,
        n_tiles: usize,
        x: &[Lanes<R>],
        dy: &[Lanes<R>],
        sums: &mut [R],
    ) {
        assert_eq!(x.len(), n_tiles * self.inputs, "inputs of other tiles");
        assert_eq!(dy.len(), n_tiles * self.outputs, "gradients of other tiles");
        assert_eq!(sums.len(), self.numbers.len(), "sums of another layer");
        if sums.is_empty() || n_tiles == 0 {
            return;
        }
        match &self.order {
            Order::Sparse(columns) => columns.add(level, n_tiles, x, dy, sums),
            Order::Dense(squares) => squares.add(level, n_tiles, x, dy, sums),
        }
    }
}
