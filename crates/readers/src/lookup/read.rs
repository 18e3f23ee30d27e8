//! Reads files of features by id: their columns, and the table.

use super::Lookup;
use crate::data_file::file_mark;
use crate::open::first_column_names;
use crate::plan::Reading;
use crate::rows::Rows;
use crate::source::{ReadError, shown_path};
use ncs_features::lookup::{FeatureTable, TableError};
use ncs_features::{Block, LookedUp};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

impl Lookup {
    /// Returns the columns that are added to rows: all of the files but the ids, and but the time where the rows have a
    /// column of its name as their own moment.
    ///
    /// # Errors
    /// The files cannot be read, or lack the ids, the times or a column that is named.
    pub fn names(&self) -> Result<Vec<String>, ReadError> {
        let mut kept = lock(&self.loaded.names);
        if let Some(names) = &*kept {
            return Ok(names.clone());
        }
        let (path, present) = self.present()?;
        let time = self.time.as_ref();
        let stated = self.columns.iter().flatten();
        for column in [&self.key]
            .into_iter()
            .chain(time.map(|time| &time.record))
            .chain(stated)
        {
            if !present.contains(column) {
                return Err(ReadError::missing(&path, column, &present));
            }
        }
        let is_row_time = |name: &String| time.is_some_and(|time| time.row == *name);
        let is_taken = |name: &String| self.columns.as_ref().is_none_or(|all| all.contains(name));
        let names = present.into_iter();
        let names = names.filter(|name| *name != self.key && !is_row_time(name) && is_taken(name));
        let names: Vec<String> = names.collect();
        *kept = Some(names.clone());
        Ok(names)
    }

    /// Returns the first file and the columns of the files.
    fn present(&self) -> Result<(PathBuf, Vec<String>), ReadError> {
        let paths = self.paths()?;
        let found = first_column_names(&paths, &Reading::default())?;
        found.ok_or_else(|| ReadError::NoFiles {
            pattern: self.files.join(", "),
            path: self.root.clone(),
            root: self.root.clone(),
        })
    }

    /// Returns the table of the files, which is read once.
    ///
    /// # Errors
    /// The files cannot be read, are no table of features, or changed since they were read.
    pub fn table(&self) -> Result<Arc<FeatureTable>, ReadError> {
        let mut kept = lock(&self.loaded.table);
        let marks = self.marks()?;
        if let Some((table, read)) = &*kept {
            if *read == marks {
                return Ok(table.clone());
            }
            return Err(self.changed());
        }
        let table = Arc::new(self.read()?);
        if self.marks()? != marks {
            return Err(self.changed());
        }
        *kept = Some((table.clone(), marks));
        Ok(table)
    }

    fn read(&self) -> Result<FeatureTable, ReadError> {
        let paths = self.paths()?;
        let mut columns = self.names()?;
        columns.push(self.key.clone());
        let time = self.time.as_ref();
        if let Some(time) = time
            && !columns.contains(&time.record)
        {
            columns.push(time.record.clone());
        }
        let mut rows = Rows::open(paths.clone(), &Reading::default(), columns);
        let mut blocks: Vec<Block> = Vec::new();
        while let Some(block) = rows.next_block()? {
            blocks.push(block.block);
        }
        let table = match time {
            None => FeatureTable::new(&self.key, blocks),
            Some(time) => FeatureTable::with_times(&self.key, &time.record, time.unit, blocks),
        };
        table.map_err(|error| self.unfit(&paths, &error))
    }

    /// Returns the error of files that are no table of features.
    fn unfit(&self, paths: &[PathBuf], error: &TableError) -> ReadError {
        let further = match (error, &self.time) {
            (TableError::Twice { .. }, None) => {
                ", or name the column that tells from when on a record is known (`time`)"
            }
            _ => "",
        };
        let of_all = match paths.len() {
            1 => "",
            _ => "rows of all files counted as one: ",
        };
        ReadError::Lookup {
            path: paths.first().cloned().unwrap_or_default(),
            what: format!("{of_all}{error}{further}"),
        }
    }

    fn changed(&self) -> ReadError {
        let path = self.paths().ok().and_then(|paths| paths.first().cloned());
        ReadError::Changed {
            path: path.unwrap_or_default(),
            what: format!("features by {}", self.key),
        }
    }

    /// Returns what tells the files from their earlier content: names, sizes and times.
    ///
    /// # Errors
    /// A file cannot be looked at.
    pub fn marks(&self) -> Result<String, ReadError> {
        let mark = |path: PathBuf| Ok(format!("{} {}", shown_path(&path), file_mark(&path)?));
        let marks: Result<Vec<String>, ReadError> = self.paths()?.into_iter().map(mark).collect();
        Ok(marks?.join("\n"))
    }

    /// Refuses rows that have one of the looked-up columns `columns` themselves.
    pub(crate) fn refuse_both(
        &self,
        path: &Path,
        present: &[String],
        columns: &[String],
    ) -> Result<(), ReadError> {
        let Some(column) = columns.iter().find(|name| present.contains(name)) else {
            return Ok(());
        };
        let what = format!(
            "column {column:?} is in it and in {}, where it is looked up by {}; it is not clear which is meant: leave it \
             out of one of them, or name the columns to look up (`columns`)",
            self.files.join(", "),
            self.key
        );
        let path = path.to_owned();
        Err(ReadError::Lookup { path, what })
    }

    /// Returns the record of a model that reads `columns`; `None` if none of them is looked up here.
    ///
    /// # Errors
    /// The files cannot be read.
    pub fn looked_up(&self, columns: &[String]) -> Result<Option<LookedUp>, ReadError> {
        let mut names = self.names()?;
        names.retain(|name| columns.contains(name));
        Ok((!names.is_empty()).then(|| LookedUp {
            key: self.key.clone(),
            columns: names,
            time: self.time.clone(),
        }))
    }
}

impl Reading {
    /// Returns the columns that are read of the rows themselves, where these columns are wanted: those that are looked up
    /// are replaced by the ids and times by which they are.
    ///
    /// # Errors
    /// A file of features by id cannot be read.
    pub fn own_columns(&self, wanted: &[String]) -> Result<Vec<String>, ReadError> {
        let mut own = wanted.to_vec();
        for lookup in &self.lookups {
            let names = lookup.names()?;
            let n_before = own.len();
            own.retain(|column| !names.contains(column));
            if own.len() == n_before {
                continue;
            }
            let time = lookup.time.as_ref().map(|time| &time.row);
            for column in [&lookup.key].into_iter().chain(time) {
                if !own.contains(column) {
                    own.push(column.clone());
                }
            }
        }
        Ok(own)
    }

    /// Refuses rows of the columns `present` that have wanted columns which are looked up.
    ///
    /// # Errors
    /// They have one, or a file of features by id cannot be read.
    pub fn refuse_both(
        &self,
        path: &Path,
        present: &[String],
        wanted: &[String],
    ) -> Result<(), ReadError> {
        for lookup in &self.lookups {
            let mut columns = lookup.names()?;
            columns.retain(|column| wanted.contains(column));
            lookup.refuse_both(path, present, &columns)?;
        }
        Ok(())
    }

    /// Returns the columns that files of features by id add to the rows.
    ///
    /// # Errors
    /// A file cannot be read, or two have a column of the same name.
    pub fn looked_up_columns(&self) -> Result<Vec<String>, ReadError> {
        let mut all: Vec<String> = Vec::new();
        for lookup in &self.lookups {
            let names = lookup.names()?;
            if let Some(column) = names.iter().find(|name| all.contains(name)) {
                let path = lookup.paths()?.first().cloned().unwrap_or_default();
                let what = format!(
                    "column {column:?} is looked up by {} here, and by another id in another file; it is not clear \
                     which is meant: name the columns to take (`columns`)",
                    lookup.key
                );
                return Err(ReadError::Lookup { path, what });
            }
            all.extend(names);
        }
        Ok(all)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
