//! Rows of embedding tables in tensor files, and the same file without some of them.
//!
//! Models, checkpoints and the levels of a search name the rows of table `t` alike: `PREFIX.table.t.ids`, `[rows]`, and
//! beside it values and moments of these rows, `PREFIX.table.t.*`, `[rows, width]`.

use super::header::hash_key;
use super::{Entry, TensorFile, TensorFileError, Values, write};
use safetensors::tensor::Dtype;
use std::collections::BTreeMap;
use std::path::Path;

/// The end of the names of tensors with row numbers.
const IDS: &str = ".ids";

/// The values of a tensor, in memory.
enum Owned {
    F32(Vec<f32>),
    U32(Vec<u32>),
    U64(Vec<u64>),
    U8(Vec<u8>),
}

impl Owned {
    fn len(&self) -> usize {
        match self {
            Owned::F32(values) => values.len(),
            Owned::U32(values) => values.len(),
            Owned::U64(values) => values.len(),
            Owned::U8(values) => values.len(),
        }
    }

    fn values(&self) -> Values<'_> {
        match self {
            Owned::F32(values) => Values::F32(values),
            Owned::U32(values) => Values::U32(values),
            Owned::U64(values) => Values::U64(values),
            Owned::U8(values) => Values::U8(values),
        }
    }

    /// Keeps the rows that are `kept`, of as many values each; `None` if the length is not a multiple.
    fn keep(self, kept: &[bool]) -> Option<Owned> {
        Some(match self {
            Owned::F32(values) => Owned::F32(keep(&values, kept)?),
            Owned::U32(values) => Owned::U32(keep(&values, kept)?),
            Owned::U64(values) => Owned::U64(keep(&values, kept)?),
            Owned::U8(values) => Owned::U8(keep(&values, kept)?),
        })
    }
}

fn keep<T: Copy>(values: &[T], kept: &[bool]) -> Option<Vec<T>> {
    if kept.is_empty() {
        return values.is_empty().then(Vec::new);
    }
    let width = values.len() / kept.len();
    (width * kept.len() == values.len()).then_some(())?;
    let rows = values.chunks_exact(width.max(1)).zip(kept);
    let rows = rows.filter(|(_, kept)| **kept);
    Some(rows.flat_map(|(row, _)| row.iter().copied()).collect())
}

impl TensorFile {
    /// Returns the number of table rows for which `is_erased(table, row)`, of all networks and weight sets together.
    ///
    /// # Errors
    /// Row numbers have another type.
    pub fn count_rows(
        &self,
        is_erased: impl Fn(usize, u32) -> bool,
    ) -> Result<usize, TensorFileError> {
        let mut n_rows = 0;
        for (table, name) in self.row_numbers() {
            let ids = self.u32(name)?;
            n_rows += ids.iter().filter(|&&id| is_erased(table, id)).count();
        }
        Ok(n_rows)
    }

    /// Writes the file to `path`, atomically, without the table rows for which `is_erased(table, row)`: neither their
    /// numbers nor their values and moments. Everything else, metadata included, is unchanged.
    ///
    /// # Errors
    /// Tensors of a table do not have as many rows as its row numbers, or `path` cannot be written.
    pub fn write_without_rows(
        &self,
        path: &Path,
        is_erased: impl Fn(usize, u32) -> bool,
    ) -> Result<(), TensorFileError> {
        let mut kept: BTreeMap<&str, Vec<bool>> = BTreeMap::new();
        for (table, name) in self.row_numbers() {
            let ids = self.u32(name)?;
            let rows = ids.iter().map(|&id| !is_erased(table, id)).collect();
            kept.insert(name.strip_suffix(IDS).unwrap_or(name), rows);
        }
        let mut tensors = Vec::new();
        for name in &self.names {
            let values = self.owned(name)?;
            let rows = name.rsplit_once('.').and_then(|(table, _)| kept.get(table));
            let values = match rows {
                None => values,
                Some(rows) => values.keep(rows).ok_or_else(|| TensorFileError::Damaged {
                    path: self.path.clone(),
                    problem: format!("tensor {name} has not a row for each row number"),
                })?,
            };
            let shape = match rows {
                None => self.shape(name)?.to_vec(),
                Some(_) => vec![values.len()],
            };
            tensors.push((name.clone(), shape, values));
        }
        let entries: Vec<Entry<'_>> = tensors
            .iter()
            .map(|(name, shape, values)| Entry {
                name: name.clone(),
                shape: shape.clone(),
                values: values.values(),
            })
            .collect();
        write(path, &entries, &self.own_metadata()).map(|_| ())
    }

    /// Returns the tables whose row numbers the file holds, and the names of the tensors with them.
    fn row_numbers(&self) -> impl Iterator<Item = (usize, &str)> {
        self.names().filter_map(|name| {
            let start = name.strip_suffix(IDS)?;
            let (before, table) = start.rsplit_once('.')?;
            let is_table = before == "table" || before.ends_with(".table");
            is_table.then_some((table.parse().ok()?, name))
        })
    }

    /// Returns the metadata that the writer gave: without checksums.
    fn own_metadata(&self) -> BTreeMap<String, String> {
        let all = self.header.metadata().iter().flatten();
        let is_own = |key: &str| key != "b3" && !key.starts_with(&hash_key(""));
        let own = all.filter(|(key, _)| is_own(key));
        own.map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }

    fn owned(&self, name: &str) -> Result<Owned, TensorFileError> {
        Ok(match self.info(name)?.dtype {
            Dtype::U32 => Owned::U32(self.u32(name)?),
            Dtype::U64 => Owned::U64(self.u64(name)?),
            Dtype::U8 => Owned::U8(self.u8(name)?),
            _ => Owned::F32(self.f32(name)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(path: &Path) -> TensorFile {
        let entry = |name: &str, shape: &[usize], values| Entry {
            name: name.to_owned(),
            shape: shape.to_vec(),
            values,
        };
        let entries = [
            entry("tower.0.dense", &[2], Values::F32(&[1.0, 2.0])),
            entry("tower.0.table.0.ids", &[3], Values::U32(&[2, 5, 9])),
            entry(
                "tower.0.table.0.values",
                &[6],
                Values::F32(&[0.0, 0.1, 1.0, 1.1, 2.0, 2.1]),
            ),
            entry(
                "tower.0.table.0.moments",
                &[3],
                Values::F32(&[7.0, 8.0, 9.0]),
            ),
            entry("tower.0.table.10.ids", &[1], Values::U32(&[5])),
            entry("tower.0.table.10.values", &[1], Values::F32(&[4.0])),
            entry("bits", &[1], Values::U8(&[3])),
            entry("n.ids", &[1], Values::U64(&[5])),
        ];
        let metadata = [("run".to_owned(), "r".to_owned())].into();
        write(path, &entries, &metadata).unwrap();
        TensorFile::read(path).unwrap()
    }

    #[test]
    fn rows_go_with_their_values_and_moments() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.safetensors");
        let file = written(&path);
        let is_erased = |table, id| table == 0 && (id == 5 || id == 9);
        assert_eq!(file.count_rows(is_erased).unwrap(), 2);
        file.write_without_rows(&path, is_erased).unwrap();
        let erased = TensorFile::read(&path).unwrap();
        assert_eq!(erased.count_rows(is_erased).unwrap(), 0);
        assert_eq!(erased.u32("tower.0.table.0.ids").unwrap(), [2]);
        assert_eq!(erased.f32("tower.0.table.0.values").unwrap(), [0.0, 0.1]);
        assert_eq!(erased.f32("tower.0.table.0.moments").unwrap(), [7.0]);
        for name in ["tower.0.dense", "tower.0.table.10.ids", "bits", "n.ids"] {
            assert_eq!(erased.hash(name), file.hash(name), "{name}");
        }
        assert_eq!(erased.metadata("run"), Some("r"));
    }

    #[test]
    fn a_file_without_a_row_for_each_number_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.safetensors");
        let entry = |name: &str, values: Values<'static>, n| Entry {
            name: name.to_owned(),
            shape: vec![n],
            values,
        };
        let entries = [
            entry("t.table.0.ids", Values::U32(&[2, 5]), 2),
            entry("t.table.0.values", Values::F32(&[1.0, 2.0, 3.0]), 3),
        ];
        write(&path, &entries, &BTreeMap::new()).unwrap();
        let before = std::fs::read(&path).unwrap();
        let file = TensorFile::read(&path).unwrap();
        let error = file.write_without_rows(&path, |_, id| id == 5).unwrap_err();
        assert!(error.to_string().contains("not a row for each"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }
}
