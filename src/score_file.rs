//! Scores as a file: a column `p_TASK` of 32-bit numbers for each task, Parquet or CSV by its name.
//!
//! It is written beside and renamed when it is complete, so that a file under its name is whole.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::{Compression, Repetition, Type as Physical};
use parquet::data_type::FloatType;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::Type;

/// Rows of a Parquet row group: as many are held in memory.
const ROWS_PER_GROUP: usize = 131_072;

/// A file of scores that is being written. Dropped before [`finish`](ScoreFile::finish), it leaves
/// nothing.
pub(crate) struct ScoreFile {
    path: PathBuf,
    unfinished: PathBuf,
    columns: Columns,
    rows: u64,
}

/// A file of scores that cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("{}: cannot write the scores: {source}; nothing is left of them", path.display())]
pub(crate) struct ScoreFileError {
    path: PathBuf,
    source: io::Error,
}

impl ScoreFile {
    /// Starts the file `path` for these tasks: Parquet where its name ends in `.parquet`, CSV
    /// otherwise.
    ///
    /// # Errors
    /// The file system refuses.
    pub(crate) fn create(path: &Path, tasks: &[String]) -> Result<ScoreFile, ScoreFileError> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let unfinished = path.with_file_name(format!(".{name}.{}.unfinished", std::process::id()));
        let is_parquet = path.extension().is_some_and(|end| end == "parquet");
        let columns = Columns::create(&unfinished, is_parquet, tasks);
        Ok(ScoreFile {
            columns: columns.map_err(at(path))?,
            path: path.to_owned(),
            unfinished,
            rows: 0,
        })
    }

    /// Appends some rows, `[task][row]`.
    ///
    /// # Errors
    /// The file system refuses.
    pub(crate) fn write(&mut self, scores: Vec<Vec<f32>>) -> Result<(), ScoreFileError> {
        self.rows += scores.first().map_or(0, Vec::len) as u64;
        self.columns.write(scores).map_err(at(&self.path))
    }

    /// Rows that were written so far.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// Completes the file, gives it its name and returns its number of rows.
    ///
    /// # Errors
    /// The file system refuses.
    pub(crate) fn finish(mut self) -> Result<u64, ScoreFileError> {
        self.columns.finish().map_err(at(&self.path))?;
        fs::rename(&self.unfinished, &self.path).map_err(at(&self.path))?;
        Ok(self.rows)
    }
}

impl Drop for ScoreFile {
    /// Takes an unfinished file away; after [`ScoreFile::finish`] there is none.
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.unfinished);
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> ScoreFileError {
    let path = path.to_owned();
    move |source| ScoreFileError { path, source }
}

enum Columns {
    Csv(Box<csv::Writer<File>>),
    Parquet {
        file: Box<SerializedFileWriter<BufWriter<File>>>,
        /// Rows of the next group, `[task][row]`.
        held: Vec<Vec<f32>>,
    },
}

impl Columns {
    fn create(path: &Path, is_parquet: bool, tasks: &[String]) -> io::Result<Columns> {
        let file = File::create(path)?;
        let names: Vec<String> = tasks.iter().map(|task| format!("p_{task}")).collect();
        if is_parquet {
            return Ok(Columns::Parquet {
                file: Box::new(start_parquet(file, &names).map_err(io_error)?),
                held: vec![Vec::new(); tasks.len()],
            });
        }
        let mut file = csv::Writer::from_writer(file);
        file.write_record(&names)?;
        Ok(Columns::Csv(Box::new(file)))
    }

    fn write(&mut self, scores: Vec<Vec<f32>>) -> io::Result<()> {
        match self {
            Columns::Csv(file) => write_csv(file, &scores),
            Columns::Parquet { file, held } => {
                for (held, scores) in held.iter_mut().zip(scores) {
                    held.extend(scores);
                }
                match held.first().map_or(0, Vec::len) >= ROWS_PER_GROUP {
                    true => write_group(file, held).map_err(io_error),
                    false => Ok(()),
                }
            }
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        match self {
            Columns::Csv(file) => file.flush(),
            Columns::Parquet { file, held } => {
                write_group(file, held).map_err(io_error)?;
                file.finish().map_err(io_error)?;
                file.inner_mut().flush()
            }
        }
    }
}

/// The shortest texts that are read as the same 32-bit numbers.
fn write_csv(file: &mut csv::Writer<File>, scores: &[Vec<f32>]) -> io::Result<()> {
    for row in 0..scores.first().map_or(0, Vec::len) {
        file.write_record(scores.iter().map(|scores| scores[row].to_string()))?;
    }
    Ok(())
}

fn start_parquet(
    file: File,
    names: &[String],
) -> Result<SerializedFileWriter<BufWriter<File>>, ParquetError> {
    let column = |name: &String| {
        let column = Type::primitive_type_builder(name, Physical::FLOAT);
        Ok(Arc::new(
            column.with_repetition(Repetition::REQUIRED).build()?,
        ))
    };
    let columns = names
        .iter()
        .map(column)
        .collect::<Result<_, ParquetError>>()?;
    let schema = Type::group_type_builder("scores")
        .with_fields(columns)
        .build()?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .build();
    SerializedFileWriter::new(BufWriter::new(file), Arc::new(schema), Arc::new(properties))
}

/// Writes the held rows as one row group, where there are any.
fn write_group(
    file: &mut SerializedFileWriter<BufWriter<File>>,
    held: &mut [Vec<f32>],
) -> Result<(), ParquetError> {
    if held.first().is_none_or(Vec::is_empty) {
        return Ok(());
    }
    let mut group = file.next_row_group()?;
    for scores in held {
        let mut column = group.next_column()?.expect("a column for each task");
        column
            .typed::<FloatType>()
            .write_batch(scores, None, None)?;
        column.close()?;
        scores.clear();
    }
    group.close()?;
    Ok(())
}

/// The file system's error in that of the library.
pub(crate) fn io_error(error: ParquetError) -> io::Error {
    match error {
        // Keeps the file system's own words, such as "no space left on device".
        ParquetError::External(source) => match source.downcast::<io::Error>() {
            Ok(source) => *source,
            Err(source) => io::Error::other(source),
        },
        other => io::Error::other(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unfinished_file_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["scores.csv", "scores.parquet"] {
            let path = folder.path().join(name);
            let mut file = ScoreFile::create(&path, &["ctr".to_owned()]).unwrap();
            file.write(vec![vec![0.5; 10]]).unwrap();
            drop(file);
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        }
    }

    #[test]
    fn several_row_groups_hold_all_rows() {
        use ncs_features::Values;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scores.parquet");
        let mut file = ScoreFile::create(&path, &["ctr".to_owned()]).unwrap();
        let batch = |n: usize| vec![vec![n as f32; 50_000]];
        (0..7).for_each(|n| file.write(batch(n)).unwrap());
        assert_eq!(file.finish().unwrap(), 350_000);
        let columns = ["p_ctr".to_owned()];
        let mut rows = ncs_readers::open(&path, &Default::default(), &columns).unwrap();
        let mut found = Vec::new();
        while let Some(raw) = rows.next_block().unwrap() {
            let Values::Float(numbers) = &raw.block.columns[0].values else {
                panic!("numbers");
            };
            found.extend_from_slice(numbers);
        }
        let expected: Vec<f64> = (0..350_000).map(|row| f64::from(row / 50_000)).collect();
        assert!(found == expected);
    }
}
