//! Sampling of rows from all parts of the files.

use ncs_readers::{DataPlan, ReadError, Rows, RowsBlock, column_names, files};

use super::shown_path;
use crate::progress::Progress;

/// Maximum number of sampled rows.
const MAX_ROWS: usize = 100_000;
/// Maximum number of sampled values: with very many columns, fewer rows are sampled.
const MAX_VALUES: usize = 20_000_000;
/// Maximum total size of files that are read completely, with rows sampled from all of them.
const MAX_WHOLE_BYTES: u64 = 256 << 20;
/// Maximum number of larger files that are read, from their start.
const MAX_FILES: usize = 32;

/// A sample of the training rows.
pub(super) struct Sample {
    /// All readable columns of the first file, in its order.
    pub(super) columns: Vec<String>,
    /// Blocks of consecutive rows of a file.
    pub(super) blocks: Vec<RowsBlock>,
    /// True if the files have no other rows.
    pub(super) all_rows: bool,
    /// Number of unreadable rows, and the first of them.
    pub(super) broken: (u64, Option<String>),
    /// Columns that cannot be features, with reasons.
    pub(super) unreadable: Vec<(String, String)>,
}

impl Sample {
    /// Returns the number of sampled rows.
    pub(super) fn n_rows(&self) -> usize {
        self.blocks.iter().map(|rows| rows.block.n_rows).sum()
    }

    /// Samples rows of `data.train`; columns that cannot be read are left out.
    ///
    /// # Errors
    /// Fails if a file cannot be read.
    pub(super) fn read(data: &DataPlan, progress: Progress) -> Result<Sample, ReadError> {
        let files = files(&data.train, &data.root)?;
        let Some(first) = files.first() else {
            let (pattern, path) = (String::new(), data.root.clone());
            return Err(ReadError::NoFiles {
                pattern,
                path: path.clone(),
                root: path,
            });
        };
        let mut columns = column_names(first, &data.reading)?;
        let mut unreadable = Vec::new();
        loop {
            let result = Reader::new(data, columns.clone()).read(&files, progress);
            let (column, reason) = match result {
                Ok(sample) => {
                    return Ok(Sample {
                        unreadable,
                        ..sample
                    });
                }
                Err(ReadError::ColumnType { column, found, .. }) => {
                    (column, format!("{found}, which cannot be read"))
                }
                Err(ReadError::MissingColumn { column, path, .. }) => {
                    (column, format!("not in {}", shown_path(&path)))
                }
                Err(error) => return Err(error),
            };
            columns.retain(|other| *other != column);
            unreadable.push((column, reason));
        }
    }
}

struct Reader {
    reading: ncs_readers::Reading,
    columns: Vec<String>,
    max_rows: usize,
    kept: Vec<RowsBlock>,
    /// Every `stride`-th block is kept.
    stride: usize,
    n_read: usize,
    broken: (u64, Option<String>),
}

impl Reader {
    fn new(data: &DataPlan, columns: Vec<String>) -> Reader {
        let mut reading = data.reading.clone();
        // Broken rows are counted and reported, not rejected: the run file sets how many may be left out.
        reading.max_broken_share = 0.999;
        Reader {
            reading,
            max_rows: MAX_ROWS.min(MAX_VALUES / columns.len().max(1)).max(1),
            columns,
            kept: Vec::new(),
            stride: 1,
            n_read: 0,
            broken: (0, None),
        }
    }

    fn read(
        mut self,
        files: &[std::path::PathBuf],
        progress: Progress,
    ) -> Result<Sample, ReadError> {
        let n_bytes = |file: &std::path::PathBuf| ncs_readers::file_bytes(file).unwrap_or(0);
        let whole = files.iter().map(n_bytes).sum::<u64>() <= MAX_WHOLE_BYTES;
        let mut job = progress.job("read", None, "rows");
        let mut all_rows = whole;
        if whole {
            let mut rows = Rows::open(files.to_vec(), &self.reading, self.columns.clone());
            while let Some(block) = rows.next_block()? {
                job.advance(block.block.n_rows as u64);
                self.keep(block);
            }
            all_rows = self.stride == 1;
        } else {
            for file in spread(files) {
                let quota = self.max_rows.div_ceil(files.len().min(MAX_FILES));
                job.advance(self.start_of(file, quota)? as u64);
            }
        }
        job.finish();
        Ok(Sample {
            columns: self.columns,
            blocks: self.kept,
            all_rows,
            broken: self.broken,
            unreadable: Vec::new(),
        })
    }

    /// Keeps every `stride`-th block, and doubles the stride when there are too many.
    fn keep(&mut self, block: RowsBlock) {
        self.count_broken(&block);
        let number = self.n_read;
        self.n_read += 1;
        if !number.is_multiple_of(self.stride) {
            return;
        }
        self.kept.push(block);
        let n_rows: usize = self.kept.iter().map(|rows| rows.block.n_rows).sum();
        if n_rows > self.max_rows && self.kept.len() > 1 {
            let mut at = 0;
            self.kept.retain(|_| {
                at += 1;
                at % 2 == 1
            });
            self.stride *= 2;
        }
    }

    /// Keeps the first `quota` rows of a file.
    fn start_of(&mut self, file: &std::path::Path, quota: usize) -> Result<usize, ReadError> {
        let mut rows = Rows::open(vec![file.to_owned()], &self.reading, self.columns.clone());
        let mut left = quota;
        while left > 0
            && let Some(mut block) = rows.next_block()?
        {
            if block.block.n_rows > left {
                block.block = block.block.select(&(0..left).collect::<Vec<_>>());
            }
            left -= block.block.n_rows;
            self.count_broken(&block);
            self.kept.push(block);
        }
        Ok(quota - left)
    }

    fn count_broken(&mut self, block: &RowsBlock) {
        self.broken.0 += block.broken.len() as u64;
        if let (None, Some(first)) = (&self.broken.1, block.broken.first()) {
            self.broken.1 = Some(format!("{}: {}", shown_path(&block.file), first.what));
        }
    }
}

/// Returns evenly spaced files, including the first and the last.
fn spread(files: &[std::path::PathBuf]) -> Vec<&std::path::PathBuf> {
    if files.len() <= MAX_FILES {
        return files.iter().collect();
    }
    let at = |i: usize| &files[i * (files.len() - 1) / (MAX_FILES - 1)];
    (0..MAX_FILES).map(at).collect()
}
