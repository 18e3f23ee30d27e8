//! Where rows come from: files of four formats, a made-up log, and the id cache.

pub mod batches;
pub mod cache;
pub mod plan;
pub mod prepare;
mod shuffle;
pub mod split;
pub mod synthetic;

pub use plan::{DataPlan, Format, Moment, Reading, Split};
