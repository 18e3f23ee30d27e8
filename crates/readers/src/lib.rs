//! Sources of rows: files of five formats, record batches of a program, a synthetic log, and the id cache.
//!
//! [`prepare`](prepare::prepare) turns the files of a [`DataPlan`] into ids in the cache once;
//! [`Cache`] gives them back in batches as often as a search needs them. [`Encoded`] turns files into
//! batches without a cache, and [`Rows`] gives their raw rows. Files are on this machine or objects in a store, named by
//! URLs such as `s3://bucket/day=1/a.parquet`.

pub mod arrow;
pub mod batches;
pub mod cache;
mod checked;
mod columns;
mod csv;
mod data_file;
pub mod days;
pub mod encoded;
pub mod encoding;
mod events;
mod find;
mod input;
mod json_lines;
mod kinds;
pub mod lookup;
pub mod open;
mod panics;
mod parquet;
mod partitions;
pub mod plan;
pub mod prepare;
mod remote;
mod report;
pub mod rows;
mod shuffle;
pub mod source;
pub mod split;
mod stored;
pub mod synthetic;
mod tfrecord;
mod unique;

pub use arrow::Frame;
pub use cache::{Cache, CacheError};
pub use data_file::{absolute, file_bytes, file_mark, open_bytes};
pub use encoded::Encoded;
pub use encoding::Encoding;
pub use find::{files, skipped_folders};
pub use lookup::Lookup;
pub use open::{column_names, first_column_names, open};
pub use plan::{DataPlan, Format, Reading, Split};
pub use prepare::{
    FileReport, FirstRows, PrepareError, Prepared, Progress, Report, Stage, check_files,
    columns_of, first_rows, prepare, prepare_all, prepare_from, rehearse,
};
pub use remote::{is_remote, redacted};
pub use rows::{Rows, RowsBlock};
pub use source::{BrokenRow, RawBlock, ReadError, Source, shown_path};
pub use split::{LatestError, Moment, Resolved, SplitTally, TimeFormat, resolve, split_tally};
pub use unique::unique_number;
