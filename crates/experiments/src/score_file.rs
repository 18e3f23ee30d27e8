//! Score files: a column `p_TASK` of 32-bit numbers for each task, `p_ctcvr` if tasks form a funnel, preceded
//! by the kept columns of the rows. Parquet or CSV, by file name.
//!
//! A file is written under a temporary name and renamed when complete, so that a file under its final name is
//! complete.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ncs_features::Block;
use parquet::basic::{Compression, Repetition, Type as Physical};
use parquet::data_type::FloatType;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{
    SerializedColumnWriter, SerializedFileWriter, SerializedRowGroupWriter,
};
use parquet::schema::types::{Type, TypePtr};

mod kept;

use kept::Kind;

/// Rows of a Parquet row group; as many rows are buffered in memory.
const ROWS_PER_GROUP: usize = 131_072;

/// A score file that is being written. Removed if dropped before [`finish`](ScoreFile::finish).
pub struct ScoreFile {
    path: PathBuf,
    unfinished: PathBuf,
    columns: Columns,
    rows: u64,
}

/// A score file cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("{}: cannot write the scores: {source}; the partial file was removed", path.display())]
pub struct ScoreFileError {
    path: PathBuf,
    source: io::Error,
}

impl ScoreFile {
    /// Starts the file `path` with the columns `keep` of the rows and these outputs: Parquet if its name ends
    /// in `.parquet`, CSV otherwise.
    ///
    /// # Errors
    /// Fails on an error of the file system.
    pub fn create(
        path: &Path,
        keep: &[String],
        outputs: &[String],
    ) -> Result<ScoreFile, ScoreFileError> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let number = ncs_readers::unique_number();
        let unfinished = path.with_file_name(format!(".{name}.{number}.unfinished"));
        let is_parquet = path.extension().is_some_and(|end| end == "parquet");
        let layout = Layout {
            keep: keep.to_vec(),
            scores: outputs.iter().map(|output| column_of(output)).collect(),
        };
        let columns = Columns::create(&unfinished, is_parquet, layout);
        Ok(ScoreFile {
            columns: columns.map_err(at(path))?,
            path: path.to_owned(),
            unfinished,
            rows: 0,
        })
    }

    /// Appends some rows: their kept columns, in the order of the file, and their scores, `[output][row]`.
    ///
    /// # Errors
    /// Fails on an error of the file system, or if a kept column has another type than in earlier rows.
    pub fn write(&mut self, kept: Block, scores: Vec<Vec<f32>>) -> Result<(), ScoreFileError> {
        self.rows += scores.first().map_or(0, Vec::len) as u64;
        self.columns.write(kept, scores).map_err(at(&self.path))
    }

    /// Returns the number of rows written so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Completes the file, renames it to its final path and returns its number of rows.
    ///
    /// # Errors
    /// Fails on an error of the file system.
    pub fn finish(mut self) -> Result<u64, ScoreFileError> {
        self.columns.finish().map_err(at(&self.path))?;
        fs::rename(&self.unfinished, &self.path).map_err(at(&self.path))?;
        Ok(self.rows)
    }
}

impl Drop for ScoreFile {
    /// Removes an unfinished file; after [`ScoreFile::finish`] there is none.
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.unfinished);
    }
}

/// Returns the name of the column with an output's scores.
pub fn column_of(output: &str) -> String {
    format!("p_{output}")
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> ScoreFileError {
    let path = path.to_owned();
    move |source| ScoreFileError { path, source }
}

enum Columns {
    Csv(Box<csv::Writer<File>>),
    Parquet(Box<ParquetScores>),
}

impl Columns {
    fn create(path: &Path, is_parquet: bool, layout: Layout) -> io::Result<Columns> {
        let file = File::create(path)?;
        if is_parquet {
            return Ok(Columns::Parquet(Box::new(ParquetScores::new(file, layout))));
        }
        let mut file = csv::Writer::from_writer(file);
        file.write_record(layout.keep.iter().chain(&layout.scores))?;
        Ok(Columns::Csv(Box::new(file)))
    }

    fn write(&mut self, kept: Block, scores: Vec<Vec<f32>>) -> io::Result<()> {
        match self {
            Columns::Csv(file) => write_csv(file, &kept, &scores),
            Columns::Parquet(file) => file.write(kept, scores),
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        match self {
            Columns::Csv(file) => file.flush(),
            Columns::Parquet(file) => file.finish(),
        }
    }
}

/// Writes kept values as they are in the rows, and scores as the shortest texts that parse to the same 32-bit
/// numbers.
fn write_csv(file: &mut csv::Writer<File>, kept: &Block, scores: &[Vec<f32>]) -> io::Result<()> {
    let mut text = Vec::new();
    for row in 0..scores.first().map_or(0, Vec::len) {
        for column in &kept.columns {
            text.clear();
            kept::write_text(column, row, &mut text);
            file.write_field(&text)?;
        }
        for scores in scores {
            file.write_field(scores[row].to_string())?;
        }
        file.write_record(None::<&[u8]>)?;
    }
    Ok(())
}

/// A Parquet score file; the types of its kept columns are determined by its first row group.
struct ParquetScores {
    layout: Layout,
    /// The file, until the first row group is written.
    unstarted: Option<File>,
    started: Option<(SerializedFileWriter<BufWriter<File>>, Vec<Kind>)>,
    /// Kept columns of the rows of the next group.
    kept: Vec<Block>,
    /// Scores of the rows of the next group, `[output][row]`.
    scores: Vec<Vec<f32>>,
}

impl ParquetScores {
    fn new(file: File, layout: Layout) -> ParquetScores {
        ParquetScores {
            scores: vec![Vec::new(); layout.scores.len()],
            layout,
            unstarted: Some(file),
            started: None,
            kept: Vec::new(),
        }
    }

    fn write(&mut self, kept: Block, scores: Vec<Vec<f32>>) -> io::Result<()> {
        self.kept.push(kept);
        for (buffered, scores) in self.scores.iter_mut().zip(scores) {
            buffered.extend(scores);
        }
        if self.scores.first().map_or(0, Vec::len) < ROWS_PER_GROUP {
            return Ok(());
        }
        self.write_group()
    }

    fn finish(&mut self) -> io::Result<()> {
        self.write_group()?;
        if let Some((file, _)) = &mut self.started {
            file.finish().map_err(io_error)?;
            file.inner_mut().flush()?;
        }
        Ok(())
    }

    /// Writes the buffered rows, if any, as one row group.
    fn write_group(&mut self) -> io::Result<()> {
        if let Some(file) = self.unstarted.take() {
            let columns = 0..self.layout.keep.len();
            let kinds: Vec<Kind> = columns.map(|c| Kind::of(&self.kept, c)).collect();
            let file = self.layout.start(file, &kinds).map_err(io_error)?;
            self.started = Some((file, kinds));
        }
        let kept = std::mem::take(&mut self.kept);
        let Some((file, kinds)) = &mut self.started else {
            return Ok(());
        };
        if self.scores.first().is_none_or(Vec::is_empty) {
            return Ok(());
        }
        let mut group = file.next_row_group().map_err(io_error)?;
        for (c, kind) in kinds.iter().enumerate() {
            let mut column = next(&mut group)?;
            kind.write(&kept, c, &mut column)?;
            column.close().map_err(io_error)?;
        }
        for scores in &mut self.scores {
            let mut column = next(&mut group)?;
            let numbers = column.typed::<FloatType>();
            numbers.write_batch(scores, None, None).map_err(io_error)?;
            column.close().map_err(io_error)?;
            scores.clear();
        }
        group.close().map_err(io_error)?;
        Ok(())
    }
}

fn next<'a>(
    group: &'a mut SerializedRowGroupWriter<'_, BufWriter<File>>,
) -> io::Result<SerializedColumnWriter<'a>> {
    let column = group.next_column().map_err(io_error)?;
    Ok(column.expect("a column for each kept column and each output"))
}

/// Columns of a score file.
struct Layout {
    /// Kept columns of the rows.
    keep: Vec<String>,
    /// Score columns, such as `p_TASK`.
    scores: Vec<String>,
}

impl Layout {
    fn start(
        &self,
        file: File,
        kinds: &[Kind],
    ) -> Result<SerializedFileWriter<BufWriter<File>>, ParquetError> {
        let kept = self
            .keep
            .iter()
            .zip(kinds)
            .map(|(name, kind)| kind.column(name));
        let score = |name: &String| -> Result<TypePtr, ParquetError> {
            let column = Type::primitive_type_builder(name, Physical::FLOAT);
            Ok(Arc::new(
                column.with_repetition(Repetition::REQUIRED).build()?,
            ))
        };
        let columns = kept.chain(self.scores.iter().map(score));
        let schema = Type::group_type_builder("scores")
            .with_fields(columns.collect::<Result<_, ParquetError>>()?)
            .build()?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .build();
        SerializedFileWriter::new(BufWriter::new(file), Arc::new(schema), Arc::new(properties))
    }
}

/// Returns the file system's error inside an error of the library.
pub(super) fn io_error(error: ParquetError) -> io::Error {
    match error {
        // Keeps the message of the file system, such as "no space left on device".
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
    fn an_unfinished_file_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["scores.csv", "scores.parquet"] {
            let path = folder.path().join(name);
            let mut file = ScoreFile::create(&path, &[], &["ctr".to_owned()]).unwrap();
            file.write(Block::default(), vec![vec![0.5; 10]]).unwrap();
            drop(file);
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        }
    }

    #[test]
    fn several_row_groups_contain_all_rows() {
        use ncs_features::Values;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scores.parquet");
        let mut file = ScoreFile::create(&path, &[], &["ctr".to_owned()]).unwrap();
        let batch = |n: usize| vec![vec![n as f32; 50_000]];
        (0..7).for_each(|n| file.write(Block::default(), batch(n)).unwrap());
        assert_eq!(file.finish().unwrap(), 350_000);
        let columns = ["p_ctr".to_owned()];
        let mut rows = ncs_readers::open(&path, &Default::default(), &columns).unwrap();
        let mut scores = Vec::new();
        while let Some(raw) = rows.next_block().unwrap() {
            let Values::Float(numbers) = &raw.block.columns[0].values else {
                panic!("numbers");
            };
            scores.extend_from_slice(numbers);
        }
        let expected: Vec<f64> = (0..350_000).map(|row| f64::from(row / 50_000)).collect();
        assert!(scores == expected);
    }
}
