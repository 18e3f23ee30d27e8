//! An open file of the score log.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ncs_serve::score_log::Entry;
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::ColumnPath;

use super::cells;
use super::draft::Draft;
use super::layout::{Layout, Part};
use crate::clock::stamp;

/// Rows of a row group; as many rows are buffered in memory, unencoded.
const ROWS_PER_GROUP: usize = 65_536;

/// Size limit of dictionaries: a context repeats in the rows of all its candidates, so dictionaries compress
/// well.
const DICTIONARY_BYTES: usize = 8 << 20;

/// An open file; removed if dropped before [`LogFile::finish`].
pub(super) struct LogFile {
    /// Hash of the model whose rows it holds.
    hash: Arc<str>,
    draft: Draft,
    layout: Layout,
    file: SerializedFileWriter<BufWriter<File>>,
    /// Buffered rows of the next group.
    held: Vec<Entry>,
    held_rows: usize,
    held_bytes: usize,
    rows: usize,
    began: Instant,
}

impl std::fmt::Debug for LogFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogFile")
            .field("path", &self.draft.path())
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}

impl LogFile {
    /// Starts a file for the model of `first`, named by the time of that entry.
    pub(super) fn create(folder: &Path, first: &Entry) -> Result<LogFile, String> {
        let hash = &first.identity.hash;
        let start_of_hash = hash.get(..8).unwrap_or(hash);
        let stem = format!("{}-{start_of_hash}", stamp(first.time));
        let failed = |source: io::Error| failure(folder, &source, 0);
        let (draft, file) = Draft::create(folder, &stem).map_err(failed)?;
        let layout = Layout::of(&first.identity);
        let file = start(file, &layout).map_err(io_error).map_err(failed)?;
        Ok(LogFile {
            hash: hash.clone(),
            draft,
            layout,
            file,
            held: Vec::new(),
            held_rows: 0,
            held_bytes: 0,
            rows: 0,
            began: Instant::now(),
        })
    }

    /// Returns the number of rows.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Returns the hash of the model whose rows it holds.
    pub(super) fn hash(&self) -> &Arc<str> {
        &self.hash
    }

    /// Returns the bytes of the buffered rows.
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Returns true if a full row group is buffered.
    pub(super) fn is_due(&self) -> bool {
        self.held_rows >= ROWS_PER_GROUP
    }

    /// Returns the time since the file was opened.
    pub(super) fn age(&self) -> Duration {
        self.began.elapsed()
    }

    /// Buffers the rows of an entry of `n_bytes` bytes.
    pub(super) fn push(&mut self, entry: &Entry, n_bytes: usize) {
        self.held.push(entry.clone());
        self.held_rows += entry.n_candidates();
        self.held_bytes += n_bytes;
        self.rows += entry.n_candidates();
    }

    /// Writes the buffered rows. After an error the file must be discarded.
    pub(super) fn write_held(&mut self) -> Result<(), String> {
        let written = self.write_group();
        written.map_err(|error| self.failure(error))
    }

    /// Completes the file and renames it to its final path.
    pub(super) fn finish(mut self) -> Result<(), String> {
        let written = self.write_group().and_then(|()| self.file.finish());
        written.map_err(|error| self.failure(error))?;
        let out = self.file.inner_mut();
        // Sync before renaming, so that a file with its final name is complete after a power failure.
        let on_disk = out.flush().and_then(|()| out.get_ref().sync_all());
        on_disk.map_err(|error| failure(self.draft.path(), &error, self.rows))?;
        let path = self.draft.path().to_owned();
        let renamed = self.draft.finish();
        renamed.map_err(|error| failure(&path, &error, self.rows))
    }

    /// Writes the buffered rows, if any, as one row group.
    fn write_group(&mut self) -> Result<(), ParquetError> {
        if self.held.is_empty() {
            return Ok(());
        }
        let mut group = self.file.next_row_group()?;
        for (name, part) in &self.layout.columns {
            let mut column = group.next_column()?.expect("a column of the layout");
            cells::write(*part, name, &self.held, &mut column)?;
            column.close()?;
        }
        group.close()?;
        self.held.clear();
        (self.held_rows, self.held_bytes) = (0, 0);
        Ok(())
    }

    fn failure(&self, error: ParquetError) -> String {
        failure(self.draft.path(), &io_error(error), self.rows)
    }
}

fn failure(path: &Path, source: &io::Error, rows: usize) -> String {
    let lost = match rows {
        0 => String::new(),
        rows => format!("; its {rows} rows are lost"),
    };
    format!(
        "{}: cannot write the score log: {source}{lost}; free disk space, or make the folder writable for \
         the server: the next request starts a new file",
        path.display()
    )
}

fn start(
    file: File,
    layout: &Layout,
) -> Result<SerializedFileWriter<BufWriter<File>>, ParquetError> {
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_dictionary_page_size_limit(DICTIONARY_BYTES);
    for (name, part) in &layout.columns {
        if matches!(part, Part::Raw(_) | Part::Answered(_)) {
            let column = ColumnPath::new(vec![name.clone()]);
            // Scores hardly ever repeat.
            properties = properties.set_column_dictionary_enabled(column, false);
        }
    }
    let properties = Arc::new(properties.build());
    SerializedFileWriter::new(BufWriter::new(file), layout.schema()?, properties)
}

/// Returns the file system's error inside an error of the library, such as "no space left on device".
fn io_error(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(source) => match source.downcast::<io::Error>() {
            Ok(source) => *source,
            Err(source) => io::Error::other(source),
        },
        other => io::Error::other(other),
    }
}
