//! The arithmetic of layers. [`mod@reference`] defines what is right; [`sparse`] and [`tiles`] are what
//! a pass runs.
//!
//! The reference takes row-major matrices: inputs `[rows, inputs]`, weights `[inputs, outputs]`,
//! outputs `[rows, outputs]`. The others take tiles of [`LANES`] rows, feature after feature.

mod lanes;
pub(crate) mod mix;
mod panels;
mod prefetch;
pub mod reference;
#[doc(hidden)]
pub mod simd;
mod simd_level;
pub mod sparse;
pub mod tiles;
mod versions;

pub use lanes::{LANES, Lanes};
pub use panels::Panels;
pub use prefetch::{prefetch, prefetch_range};
pub use simd_level::SimdLevel;
