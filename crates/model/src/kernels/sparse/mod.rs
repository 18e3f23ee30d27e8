//! The products of a layer over its kept connections only, on tiles.

#[cfg(target_arch = "x86_64")]
mod avx512;
mod buckets;
mod grid;
mod outer;
mod product;

pub use grid::Grid;
pub use outer::Outer;
pub use product::{Product, Start};
