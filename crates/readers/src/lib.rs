//! Where rows come from: files of four formats, a made-up log, and the id cache.

pub mod batches;
pub mod cache;
mod columns;
mod csv;
mod input;
mod json_lines;
pub mod open;
mod parquet;
pub mod plan;
pub mod prepare;
pub mod rows;
mod shuffle;
pub mod source;
pub mod split;
pub mod synthetic;
mod tfrecord;

pub use open::{column_names, files, open};
pub use plan::{DataPlan, Format, Moment, Reading, Split};
pub use rows::{Rows, RowsBlock};
pub use source::{BrokenRow, RawBlock, ReadError, Source};
