//! Tensor files of a run's folder: weights written and read.

use crate::error::TrainError;
use ncs_model::{
    Entry, SparseRows, TableStorage, TensorFile, TensorFileError, Values, Weights, tensor_file,
};
use std::collections::BTreeMap;
use std::path::Path;

/// Tensors to write to a file; borrowed, so that writing does not copy them.
#[derive(Default)]
pub(crate) struct Tensors<'a> {
    entries: Vec<Entry<'a>>,
}

impl<'a> Tensors<'a> {
    pub(crate) fn add(&mut self, name: String, n_values: usize, values: Values<'a>) {
        self.entries.push(Entry {
            name,
            shape: vec![n_values],
            values,
        });
    }

    pub(crate) fn floats(&mut self, name: String, values: &'a [f32]) {
        self.add(name, values.len(), Values::F32(values));
    }

    /// The weights of a network, under names that begin with `prefix`.
    pub(crate) fn weights(&mut self, prefix: &str, weights: &'a Weights) {
        self.floats(format!("{prefix}.dense"), &weights.dense);
        self.rows(prefix, weights);
    }

    /// The table rows of weights, under names that begin with `prefix`.
    pub(crate) fn rows(&mut self, prefix: &str, weights: &'a Weights) {
        for (t, table) in weights.tables.iter().enumerate() {
            let ids = Values::U32(&table.ids);
            self.add(format!("{prefix}.table.{t}.ids"), table.ids.len(), ids);
            self.floats(format!("{prefix}.table.{t}.values"), &table.values);
        }
    }

    /// Writes a temporary file and renames it.
    pub(crate) fn write(
        &self,
        path: &Path,
        metadata: &BTreeMap<String, String>,
    ) -> Result<(), TensorFileError> {
        tensor_file::write(path, &self.entries, metadata).map(|_| ())
    }
}

/// The weights that [`Tensors::weights`] wrote.
pub(crate) fn read_weights(
    file: &TensorFile,
    prefix: &str,
    n_tables: usize,
) -> Result<Weights, TensorFileError> {
    let table = |t: usize| {
        Ok(SparseRows {
            ids: file.u32(&format!("{prefix}.table.{t}.ids"))?,
            values: file.f32_rows(&format!("{prefix}.table.{t}.values"))?,
        })
    };
    Ok(Weights {
        dense: file.f32(&format!("{prefix}.dense"))?,
        tables: (0..n_tables)
            .map(table)
            .collect::<Result<_, TensorFileError>>()?,
    })
}

/// Reads a file needed to resume, or maps it where the tables are in files. A corrupted file loses only its own contents.
pub(crate) fn read(path: &Path, storage: &TableStorage) -> Result<TensorFile, TrainError> {
    let file = match storage {
        TableStorage::Memory => TensorFile::read(path),
        TableStorage::Files(_) => TensorFile::map(path),
    };
    file.map_err(|error| match error {
        TensorFileError::Damaged { problem, .. } => TrainError::Damaged {
            path: path.to_owned(),
            what: problem,
        },
        TensorFileError::DamagedTensor { tensor, .. } => TrainError::Damaged {
            path: path.to_owned(),
            what: format!("tensor {tensor:?} does not match its checksum"),
        },
        other => other.into(),
    })
}

/// Creates the parent folder of a file.
pub(crate) fn create_parent_folder(path: &Path) -> Result<(), TrainError> {
    create_folder(path.parent().unwrap_or(Path::new("")))
}

/// Creates a folder.
pub(crate) fn create_folder(folder: &Path) -> Result<(), TrainError> {
    let made = std::fs::create_dir_all(folder);
    made.map_err(|source| TrainError::Folder {
        path: folder.to_owned(),
        source,
    })
}
