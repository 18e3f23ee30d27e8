//! Where rows come from: files of four formats, a made-up log, and the id cache.
//!
//! [`prepare`](prepare::prepare) turns the files of a [`DataPlan`] into ids in the cache once;
//! [`Cache`] gives them back in batches as often as a search needs them. [`Encoded`] turns files into
//! batches without a cache, and [`Rows`] gives their raw rows.

pub mod batches;
pub mod cache;
mod columns;
mod csv;
pub mod encoded;
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

pub use cache::{Cache, CacheError};
pub use encoded::Encoded;
pub use open::{column_names, files, open};
pub use plan::{DataPlan, Format, Reading, Split};
pub use prepare::{
    FileReport, PrepareError, Prepared, Progress, Report, Stage, check_files, columns_of,
    first_rows, prepare, rehearse,
};
pub use rows::{Rows, RowsBlock};
pub use source::{BrokenRow, RawBlock, ReadError, Source};
pub use split::{Moment, SplitTally, TimeFormat, split_tally};
