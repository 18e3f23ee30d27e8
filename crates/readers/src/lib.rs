//! Where rows come from: files of four formats, a made-up log, and the id cache.

pub mod plan;

pub use plan::{DataPlan, Format, Moment, Reading, Split};
