//! The products of a layer over its kept connections only, on tiles.

#[cfg(target_arch = "x86_64")]
mod avx512_half;
mod buckets;
mod columns;
mod grid;
mod half;
mod outer;
mod product;
mod squares;

pub use grid::Grid;
pub use half::{HalfLanes, HalfOutputs, HalfProduct, narrow};
pub use outer::Outer;
pub use product::{FirstLanes, Product, Start};
