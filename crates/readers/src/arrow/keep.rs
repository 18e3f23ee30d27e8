//! A frame as a file: a training reads its rows more than once, and a run that was stopped reads them again.

use super::{Frame, caught, failed, index_of, stopped};
use crate::columns::BLOCK_ROWS;
use crate::source::ReadError;
use arrow_array::{RecordBatch, RecordBatchReader};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, SchemaRef};
use arrow_select::coalesce::BatchCoalescer;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why a frame was not kept.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// Its rows cannot be read, or it lacks a column.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The file cannot be written.
    #[error("{}: cannot {doing}: {source}{}", path.display(), ncs_features::system::after(source))]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Operation that failed.
        doing: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The caller asked to stop.
    #[error(
        "stopped before all rows of {name} were kept; run it again, and they are read from the first one"
    )]
    Stopped {
        /// Name of the frame in messages.
        name: String,
    },
}

/// Writes the columns `columns` of a frame into `folder`, as an Arrow stream named by its content,
/// `STEM-HASH.arrows`, and returns the file. The same rows give the same file; an existing file is left
/// unchanged, so that a run can be resumed with it. Batches have 8192 rows, independent of the batches of the
/// frame. `on` receives the number of rows written; its `Break` ends the work with [`KeepError::Stopped`].
///
/// # Errors
/// See [`KeepError`]. Nothing is left in the folder.
pub fn keep(
    frame: Frame,
    columns: &[String],
    folder: &Path,
    stem: &str,
    on: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Result<PathBuf, KeepError> {
    let io = |path: &Path, doing| {
        let path = path.to_owned();
        move |source| KeepError::Io {
            path,
            doing,
            source,
        }
    };
    fs::create_dir_all(folder).map_err(io(folder, "make the folder"))?;
    let draft = folder.join(format!(
        ".{stem}.{}.unfinished",
        crate::unique::unique_number()
    ));
    let written = write(frame, columns, &draft, on);
    let placed = written.and_then(|hash| {
        let path = folder.join(format!("{stem}-{}.arrows", &hash.to_hex()[..16]));
        if path.exists() {
            fs::remove_file(&draft).map_err(io(&draft, "delete"))?
        } else {
            fs::rename(&draft, &path).map_err(io(&path, "rename the file to"))?
        }
        Ok(path)
    });
    if placed.is_err() {
        // The first error is reported; a leftover file is harmless.
        let _ = fs::remove_file(&draft);
    }
    placed
}

fn write(
    frame: Frame,
    columns: &[String],
    draft: &Path,
    on: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Result<blake3::Hash, KeepError> {
    let Frame { name, mut reader } = frame;
    let (places, schema) = wanted(&name, reader.as_ref(), columns)?;
    let io = |source| KeepError::Io {
        path: draft.to_owned(),
        doing: "write",
        source,
    };
    let file = BufWriter::new(File::create(draft).map_err(io)?);
    let mut out = Out::new(file, &schema).map_err(|error| unwritten(draft, error))?;
    let mut rows = 0;
    loop {
        let next = caught(|| reader.next().transpose());
        let next = next.map_err(|text| stopped(Path::new(&name), rows, &text))?;
        let Some(batch) = next.map_err(|error| failed(Path::new(&name), rows, error))? else {
            break;
        };
        rows += batch.num_rows() as u64;
        let added = out.add(&batch, &places);
        added.map_err(|error| unwritten(draft, error))?;
        if on(rows).is_break() {
            return Err(KeepError::Stopped { name });
        }
    }
    let hashed = out.finish().map_err(|error| unwritten(draft, error))?;
    let file = hashed
        .file
        .into_inner()
        .map_err(|error| io(error.into_error()))?;
    file.sync_all().map_err(io)?;
    Ok(hashed.hasher.finalize())
}

/// Returns the positions of the requested columns, and the schema with these columns only.
fn wanted(
    name: &str,
    reader: &dyn RecordBatchReader,
    columns: &[String],
) -> Result<(Vec<usize>, SchemaRef), ReadError> {
    let (path, schema) = (Path::new(name), reader.schema());
    let find = |column: &String| {
        let wanted = super::Wanted::find(path, &schema, column)?;
        index_of(path, &schema, &wanted.name)
    };
    let places = columns.iter().map(find).collect::<Result<Vec<_>, _>>()?;
    let schema = schema.project(&places);
    let schema = schema.map_err(|error| failed(path, 0, error))?;
    Ok((places, Arc::new(schema)))
}

fn unwritten(path: &Path, error: ArrowError) -> KeepError {
    let source = match error {
        ArrowError::IoError(_, source) => source,
        error => io::Error::other(error),
    };
    KeepError::Io {
        path: path.to_owned(),
        doing: "write",
        source,
    }
}

/// A stream of batches of 8192 rows in the making.
struct Out {
    batches: BatchCoalescer,
    writer: StreamWriter<Hashed>,
}

impl Out {
    fn new(file: BufWriter<File>, schema: &SchemaRef) -> Result<Out, ArrowError> {
        let hashed = Hashed {
            file,
            hasher: blake3::Hasher::new(),
        };
        Ok(Out {
            batches: BatchCoalescer::new(schema.clone(), BLOCK_ROWS),
            writer: StreamWriter::try_new(hashed, schema)?,
        })
    }

    fn add(&mut self, batch: &RecordBatch, places: &[usize]) -> Result<(), ArrowError> {
        self.batches.push_batch(batch.project(places)?)?;
        self.write_finished()
    }

    fn write_finished(&mut self) -> Result<(), ArrowError> {
        while let Some(batch) = self.batches.next_completed_batch() {
            self.writer.write(&batch)?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Hashed, ArrowError> {
        self.batches.finish_buffered_batch()?;
        self.write_finished()?;
        self.writer.finish()?;
        self.writer.into_inner()
    }
}

/// A file and the hash of what was written into it.
struct Hashed {
    file: BufWriter<File>,
    hasher: blake3::Hasher,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.file.write(bytes)?;
        self.hasher.update(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
