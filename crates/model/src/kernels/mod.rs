//! The arithmetic of layers. [`mod@reference`] is the reference implementation; a pass runs [`sparse`] and
//! [`tiles`].
//!
//! The reference works on row-major matrices: inputs `[rows, inputs]`, weights `[inputs, outputs]`,
//! outputs `[rows, outputs]`. The others work on tiles of [`LANES`] rows, feature by feature.

mod lanes;
pub(crate) mod large_pages;
pub(crate) mod mix;
mod panels;
mod prefetch;
pub mod reference;
#[doc(hidden)]
pub mod simd;
mod simd_level;
pub mod sparse;
pub mod tiles;
#[doc(hidden)]
pub mod versions;

pub use lanes::{LANES, Lanes};
pub use panels::Panels;
pub use prefetch::{prefetch, prefetch_range};
pub use simd_level::SimdLevel;
