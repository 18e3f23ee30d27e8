//! Products of a layer over its kept connections only, on tiles.

mod buckets;
mod column_groups;
mod half;
mod half_lanes;
mod half_pairs;
mod matmul;
mod pattern;
mod square_blocks;
mod weight_gradient;

pub use half::HalfProduct;
pub use half_lanes::{HalfLanes, narrow};
pub use half_pairs::{HalfOperands, HalfOutputs, HalfPairs, HalfStart};
pub use matmul::{FirstLanes, SparseMatmul, Start};
pub use pattern::SparsityPattern;
pub use weight_gradient::WeightGradient;
