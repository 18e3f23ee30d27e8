//! Ids and vectors of a file, chunk by chunk.

use std::path::{Path, PathBuf};

use ncs_config::TableInit;
use ncs_features::{Block, Column, EncodeError, Texts, Values, list_text};
use ncs_readers::{Reading, Rows, RowsBlock, column_names, shown_path};

use super::matrix::{Ids, Matrix};
use crate::error::Error;

/// Default names of the columns or tensors of ids and vectors.
const NAMES: [&str; 2] = ["id", "vector"];

/// Rows of a matrix in a chunk.
const ROWS: usize = 8192;

/// Some ids with their vectors.
pub(super) struct Chunk {
    pub(super) n_rows: usize,
    pub(super) ids: Column,
    pub(super) vectors: Column,
    origin: Origin,
}

/// The place of a chunk.
enum Origin {
    Rows(Box<RowsBlock>),
    Matrix { file: PathBuf, first: usize },
}

impl Chunk {
    /// Returns an error about a row of the chunk, from 0.
    pub(super) fn at(&self, row: usize, what: &str) -> Error {
        let (file, row) = match &self.origin {
            Origin::Rows(rows) => (&rows.file, rows.in_file(row as u64 + 1)),
            Origin::Matrix { file, first } => (file, (first + row) as u64 + 1),
        };
        format!("{}: row {row}: {what}", shown_path(file)).into()
    }

    /// Returns an error of a value with its place in the file.
    pub(super) fn error(&self, error: EncodeError) -> Error {
        match &self.origin {
            Origin::Rows(rows) => rows.error(error).into(),
            Origin::Matrix { file, first } => {
                let error = error.after(*first as u64);
                format!("{}: {error}", shown_path(file)).into()
            }
        }
    }
}

/// An open file.
pub(super) enum Chunks {
    /// Columns of rows.
    Rows { rows: Box<Rows>, file: PathBuf },
    /// A matrix with an id for each row.
    Matrix {
        matrix: Matrix,
        ids: Ids,
        file: PathBuf,
        next: usize,
    },
}

impl Chunks {
    /// Opens the file of a table.
    ///
    /// # Errors
    /// It cannot be read, or it has not one column of ids and one of vectors.
    pub(super) fn open(init: &TableInit) -> Result<Chunks, Error> {
        let file = init.file.clone();
        let name = |stated: &Option<String>, default: &str| {
            stated.clone().unwrap_or_else(|| default.to_owned())
        };
        let [id, vector] = [name(&init.id, NAMES[0]), name(&init.vector, NAMES[1])];
        let (matrix, own) = match file.extension().and_then(|ending| ending.to_str()) {
            Some("npy") => (Matrix::of_npy(&file)?, None),
            Some("safetensors") => Matrix::of_safetensors(&file, &id, &vector)?,
            _ => return Chunks::of_rows(init),
        };
        let ids = match (&init.ids, own) {
            (Some(path), _) => Ids::read(path)?,
            (None, Some(ids)) => ids,
            (None, None) => {
                return Err(format!(
                    "{}: it has vectors alone; state init.ids, a file with the id of each on a line of its own{}",
                    shown_path(&file),
                    if matrix.is_named() {
                        format!(", or write them as the integer tensor {id:?}")
                    } else {
                        ", or as integers in NumPy's format".to_owned()
                    }
                )
                .into());
            }
        };
        if ids.len() != matrix.n_rows() {
            return Err(format!(
                "{}: {} vectors, and {} ids; each vector needs one id",
                shown_path(&file),
                matrix.n_rows(),
                ids.len()
            )
            .into());
        }
        Ok(Chunks::Matrix {
            matrix,
            ids,
            file,
            next: 0,
        })
    }

    fn of_rows(init: &TableInit) -> Result<Chunks, Error> {
        let file = init.file.clone();
        let known = column_names(&file, &Reading::default())?;
        let is_stated = init.id.is_some() || init.vector.is_some();
        let wanted: Vec<String> = if known.len() == 2 && !is_stated {
            known.clone()
        } else {
            let stated = [&init.id, &init.vector].into_iter().zip(NAMES);
            let name = |(name, default): (&Option<String>, &str)| {
                name.clone().unwrap_or_else(|| default.to_owned())
            };
            stated.map(name).collect()
        };
        if let Some(absent) = wanted.iter().find(|name| !known.contains(name)) {
            return Err(format!(
                "{}: no column {absent:?}; it has {}; name those of ids and vectors by init.id and init.vector",
                shown_path(&file),
                ncs_features::shown::names(known.iter().map(String::as_str))
            )
            .into());
        }
        let rows = Rows::open(vec![file.clone()], &Reading::default(), wanted);
        Ok(Chunks::Rows {
            rows: Box::new(rows),
            file,
        })
    }

    /// Returns the next chunk.
    ///
    /// # Errors
    /// A row cannot be read.
    pub(super) fn next_chunk(&mut self) -> Result<Option<Chunk>, Error> {
        match self {
            Chunks::Rows { rows, file } => {
                let block = rows.next_block()?;
                block.map(|block| of_block(block, file)).transpose()
            }
            Chunks::Matrix {
                matrix,
                ids,
                file,
                next,
            } => {
                let first = *next;
                *next = matrix.n_rows().min(first + ROWS);
                let n_rows = *next - first;
                Ok((n_rows > 0).then(|| Chunk {
                    n_rows,
                    ids: column("ids", ids.values(first..*next), None),
                    vectors: matrix.column(first..*next),
                    origin: Origin::Matrix {
                        file: file.clone(),
                        first,
                    },
                }))
            }
        }
    }

    /// Returns the length of the first vector; `None` for a file without one.
    ///
    /// # Errors
    /// The first rows cannot be read.
    pub(super) fn first_length(&mut self) -> Result<Option<usize>, Error> {
        let Some(chunk) = self.next_chunk()? else {
            return Ok(None);
        };
        let vectors = &chunk.vectors;
        let mut rows = (0..chunk.n_rows).filter(|&row| !vectors.range(row).is_empty());
        Ok(rows.next().map(|row| match &vectors.values {
            Values::Text(texts) if vectors.offsets.is_none() => {
                let items = list_text::items_of(texts.get(vectors.range(row).start));
                items.map_or(1, |items| items.len())
            }
            _ => vectors.range(row).len(),
        }))
    }
}

/// Creates a column of these values.
pub(super) fn column(name: &str, values: Values, offsets: Option<Vec<u32>>) -> Column {
    Column {
        name: name.to_owned(),
        values,
        offsets,
        nulls: Vec::new(),
    }
}

/// Returns the ids and the vectors of a block: of its two columns, the one with lists holds the vectors.
fn of_block(rows: RowsBlock, file: &Path) -> Result<Chunk, Error> {
    if let Some(broken) = rows.broken.first() {
        return Err(format!("{}: {}", shown_path(file), broken.what).into());
    }
    let Block { n_rows, columns } = rows.block.clone();
    let (mut vectors, mut ids): (Vec<Column>, Vec<Column>) =
        columns.into_iter().partition(holds_lists);
    match (ids.pop(), vectors.pop()) {
        (Some(ids), Some(vectors)) => Ok(Chunk {
            n_rows,
            ids,
            vectors,
            origin: Origin::Rows(Box::new(rows)),
        }),
        _ => Err(format!(
            "{}: of its columns of ids and vectors one must hold lists of numbers, and the other one value a row",
            shown_path(file)
        )
        .into()),
    }
}

/// Returns true for lists, and for texts in brackets.
fn holds_lists(column: &Column) -> bool {
    let is_list = |texts: &Texts| {
        let mut texts = (0..texts.len()).map(|i| texts.get(i).trim_ascii());
        texts
            .find(|text| !text.is_empty())
            .is_some_and(|text| text.starts_with(b"["))
    };
    match &column.values {
        Values::Text(texts) if column.offsets.is_none() => is_list(texts),
        _ => column.offsets.is_some(),
    }
}
