//! The products of a layer over its kept connections only, on tiles.

mod grid;
mod outer;
mod product;

pub use grid::Grid;
pub use outer::Outer;
pub use product::{Product, Start};
