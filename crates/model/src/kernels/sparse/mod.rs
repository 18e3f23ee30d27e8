//! Products of a layer over its kept connections only, on tiles.

#[cfg(target_arch = "x86_64")]
mod avx512_half;
mod buckets;
mod column_groups;
mod half;
mod half_pairs;
mod matmul;
mod pattern;
mod square_blocks;
mod weight_gradient;

pub use half::{HalfLanes, HalfProduct, narrow};
pub use half_pairs::{HalfOperands, HalfOutputs, HalfPairs, HalfStart};
pub use matmul::{FirstLanes, SparseMatmul, Start};
pub use pattern::SparsityPattern;
pub use weight_gradient::WeightGradient;
