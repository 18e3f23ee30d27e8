//! Gradients of the kept weights: inputs times gradients of outputs, summed over rows.

use super::column_groups::ColumnGroups;
use super::half_lanes::HalfLanes;
use super::pattern::{self, SparsityPattern};
use super::square_blocks::{self, SquareBlocks};
use crate::kernels::{Lanes, SimdLevel};
use crate::number::Real;

/// Density from which all connections are computed, which is faster then.
const DENSE: f64 = 0.8;

/// A layer's connections in the order in which the gradients of its weights are summed. Built once for a
/// mask.
#[derive(Clone, Debug)]
pub struct WeightGradient {
    inputs: usize,
    outputs: usize,
    order: Order,
    /// The number of the connection of each sum.
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
    /// The number of sums that belong to no kept connection.
    pub const NONE: u32 = pattern::NONE;

    /// Number of tiles that are summed at once where all connections are computed.
    pub const TILES_OF_DENSE: usize = square_blocks::TILES;

    /// Returns true if all connections are computed, kept or not.
    pub fn is_dense(&self) -> bool {
        matches!(self.order, Order::Dense(_))
    }

    /// Chooses the faster order for a layer.
    pub fn new(pattern: &SparsityPattern) -> WeightGradient {
        if pattern.density() < DENSE {
            WeightGradient::sparse(pattern)
        } else {
            WeightGradient::dense(pattern)
        }
    }

    /// Computes kept connections only, at any density.
    #[doc(hidden)]
    pub fn sparse(pattern: &SparsityPattern) -> WeightGradient {
        let (columns, numbers) = ColumnGroups::new(pattern);
        WeightGradient {
            inputs: pattern.inputs(),
            outputs: pattern.outputs(),
            order: Order::Sparse(columns),
            numbers,
        }
    }

    /// Computes all connections, at any density.
    #[doc(hidden)]
    pub fn dense(pattern: &SparsityPattern) -> WeightGradient {
        let (squares, numbers) = SquareBlocks::new(pattern);
        WeightGradient {
            inputs: pattern.inputs(),
            outputs: pattern.outputs(),
            order: Order::Dense(squares),
            numbers,
        }
    }

    /// Returns the number of the connection of each sum, or [`WeightGradient::NONE`] for padding.
    pub fn numbers(&self) -> &[u32] {
        &self.numbers
    }

    /// Computes `sums += x dy`, over all lanes of all tiles. Sums of padding are unspecified.
    ///
    /// `x` is `[n_tiles, inputs]`, `dy` is `[n_tiles, outputs]`, `sums` has the length of
    /// [`WeightGradient::numbers`].
    ///
    /// # Panics
    /// If a slice has a wrong length.
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

    /// Like [`WeightGradient::add`], of inputs and gradients in half precision, summed in single precision.
    ///
    /// # Panics
    /// If a slice has a wrong length.
    pub fn add_half(
        &self,
        level: SimdLevel,
        n_tiles: usize,
        x: &[HalfLanes],
        dy: &[HalfLanes],
        sums: &mut [f32],
    ) {
        assert_eq!(sums.len(), self.numbers.len(), "sums of another layer");
        match &self.order {
            _ if sums.is_empty() || n_tiles == 0 => {}
            Order::Sparse(columns) => columns.add_half(level, n_tiles, x, dy, sums),
            Order::Dense(squares) => squares.add_half(level, n_tiles, x, dy, sums),
        }
    }
}
