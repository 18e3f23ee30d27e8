//! Cost by input size: doubles an input repeatedly, to detect quadratic algorithms.
//!
//! Each [`Growth`] generates inputs of a given number of items. [`measure`] returns the time and the memory
//! of one size; [`exponent`] estimates the order of growth from the smallest and the largest size: 1 if the cost is
//! linear, 2 if every item is compared with every other.

use crate::targets::{files, named};
use ncs_features::{Block, Column, Texts, Values};
use ncs_readers::Format;
use ncs_readers::synthetic::write_blocks;
use std::fs;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// Maximum exponent of the cost as a power of the size.
pub const MAX_EXPONENT: f64 = 1.5;

/// A kind of input of variable size.
#[derive(Clone, Copy, Debug)]
pub struct Growth {
    /// The items, and the format.
    pub name: &'static str,
    /// The number of items in the smallest input; the largest has 16 times as many.
    pub smallest: usize,
    make: fn(usize) -> Input,
}

/// An input.
enum Input {
    File(TempDir, Format),
    /// The name of a target, and its input.
    Body(&'static str, Vec<u8>),
}

/// The cost of one size.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// Size of the input in bytes.
    pub n_bytes: usize,
    /// Processor time of the fastest repetition.
    pub time: Duration,
    /// Peak memory, in bytes.
    pub peak: u64,
    /// Total bytes allocated.
    pub allocated: u64,
}

/// All kinds of inputs.
pub const ALL: [Growth; 11] = [
    Growth::new("keys of JSON lines", 5_000, |n| {
        columns(Format::JsonLines, n)
    }),
    Growth::new("features of TFRecord", 5_000, |n| {
        columns(Format::TfRecord, n)
    }),
    Growth::new("columns of CSV", 5_000, |n| columns(Format::Csv, n)),
    Growth::new("columns of Parquet", 250, |n| columns(Format::Parquet, n)),
    Growth::new("a list in JSON lines", 50_000, |n| {
        list(Format::JsonLines, n)
    }),
    Growth::new("a list in TFRecord", 50_000, |n| list(Format::TfRecord, n)),
    Growth::new("a list in Parquet", 50_000, |n| list(Format::Parquet, n)),
    Growth::new("values of a rank request", 10_000, |n| {
        body(
            "rank_json",
            "{\"candidates\": {\"video\": [",
            "\"v1\",",
            "\"v2\"]}}",
            n,
        )
    }),
    Growth::new("columns of a rank request", 250, |n| {
        let columns: String = (0..n).map(|i| format!("\"column_{i}\": [1],")).collect();
        let text = format!("{{\"candidates\": {{{columns} \"video\": [\"v1\"]}}}}");
        Input::Body("rank_json", text.into_bytes())
    }),
    Growth::new("inputs of an inference request", 250, |n| {
        let input = "{\"name\": \"video\", \"shape\": [1], \"datatype\": \"INT8\", \"data\": [1]},";
        body("infer_json", "\0{\"inputs\": [", input, "{}]}", n)
    }),
    Growth::new("versions of a label", 1_000, |n| {
        let versions: Vec<String> = (0..n).map(|i| i.to_string()).collect();
        let text = format!("{{\"shadow\": [{}]}}", versions.join(","));
        Input::Body("labels", text.into_bytes())
    }),
];

impl Growth {
    const fn new(name: &'static str, smallest: usize, make: fn(usize) -> Input) -> Growth {
        Growth {
            name,
            smallest,
            make,
        }
    }

    /// Returns the sizes, each twice the previous one.
    pub fn sizes(&self) -> [usize; 5] {
        [1, 2, 4, 8, 16].map(|times| times * self.smallest)
    }
}

/// Reads an input of `n` items `repetitions` times.
///
/// # Errors
/// A file is rejected. (Requests may be rejected, which costs time too.)
pub fn measure(growth: &Growth, n: usize, repetitions: usize) -> Result<Cost, String> {
    let input = (growth.make)(n);
    let mut cost = Cost {
        n_bytes: input.n_bytes(),
        time: Duration::MAX,
        peak: 0,
        allocated: 0,
    };
    for _ in 0..repetitions.max(1) {
        let mut read = Ok(());
        let start = processor_time();
        let memory = allocation_counter::measure(|| read = input.read());
        cost.time = cost.time.min(processor_time().saturating_sub(start));
        (cost.peak, cost.allocated) = (memory.bytes_max, memory.bytes_total);
        read.map_err(|error| format!("{}, {n}: {error}", growth.name))?;
    }
    Ok(cost)
}

/// Returns the processor time of this thread, which does not depend on other threads.
#[cfg(unix)]
fn processor_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec as u32)
}

/// Returns the time since the first call, on systems without thread clocks.
#[cfg(not(unix))]
fn processor_time() -> Duration {
    static FIRST: std::sync::LazyLock<std::time::Instant> =
        std::sync::LazyLock::new(std::time::Instant::now);
    FIRST.elapsed()
}

/// Returns the exponent of the cost as a power of the size, from two sizes.
pub fn exponent(sizes: [usize; 2], costs: [f64; 2]) -> f64 {
    let ratio = sizes[1] as f64 / sizes[0] as f64;
    (costs[1] / costs[0]).ln() / ratio.ln()
}

const FILE: &str = "wide";

impl Input {
    fn n_bytes(&self) -> usize {
        match self {
            Input::File(folder, _) => {
                let file = fs::metadata(folder.path().join(FILE));
                file.expect("it was just written").len() as usize
            }
            Input::Body(_, bytes) => bytes.len(),
        }
    }

    fn read(&self) -> Result<(), String> {
        match self {
            Input::File(folder, format) => {
                files::read(&folder.path().join(FILE), *format).map(drop)
            }
            Input::Body(target, bytes) => {
                let target = named(target).expect("a known target");
                // The request may be rejected.
                let _ = (target.run)(bytes);
                Ok(())
            }
        }
    }
}

fn body(target: &'static str, start: &str, piece: &str, end: &str, n: usize) -> Input {
    let text = format!("{start}{}{end}", piece.repeat(n));
    Input::Body(target, text.into_bytes())
}

/// Returns two rows of `n` columns.
fn columns(format: Format, n: usize) -> Input {
    let column = |i: usize| Column {
        name: format!("column_{i}"),
        values: texts(2),
        ..Column::default()
    };
    let columns = (0..n).map(column).collect();
    file(format, Block { n_rows: 2, columns })
}

/// Returns a row with a list of `n` values.
fn list(format: Format, n: usize) -> Input {
    let column = Column {
        name: "tags".to_owned(),
        values: texts(n),
        offsets: Some(vec![0, n as u32]),
        ..Column::default()
    };
    let columns = vec![column];
    file(format, Block { n_rows: 1, columns })
}

fn texts(n: usize) -> Values {
    let mut texts = Texts::default();
    (0..n).for_each(|i| texts.push(format!("value_{i}").as_bytes()));
    Values::Text(texts)
}

fn file(format: Format, block: Block) -> Input {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path: &Path = &folder.path().join(FILE);
    write_blocks(path, format, std::iter::once(block)).expect("a temporary folder");
    Input::File(folder, format)
}
