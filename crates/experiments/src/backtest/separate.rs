//! Rows of all files into a folder for each day, in one pass and bounded memory.

use crate::error::Error;
use std::collections::BTreeMap;
use std::fs;
use std::mem::{Discriminant, discriminant};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use ncs_features::{Block, Values};
use ncs_model::tensor_file;
use ncs_readers::split::time_of;
use ncs_readers::synthetic::write_blocks;
use ncs_readers::{Format, Reading, Rows, RowsBlock, Split, TimeFormat, columns_of};
use serde::{Deserialize, Serialize};

use crate::progress::Progress;
use ncs_config::RunFile;
use ncs_readers::days::DayKey;

const FOLDER: &str = "days";
const INDEX: &str = "index.json";

/// Rows that are held before some are written.
const MOST_HELD: usize = 400_000;

/// Source of the folders, and their files.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Index {
    source: String,
    /// Files of each day, by name, relative to the folder of the days.
    days: BTreeMap<String, Vec<String>>,
}

/// Returns the files of each day, separated by the time in `column`; those of an earlier call, if the log is the same.
///
/// # Errors
/// A row has no day, a file cannot be read or written, or `stop` was set.
pub(super) fn separate(
    file: &RunFile,
    files: &[PathBuf],
    column: &str,
    out: &Path,
    progress: Progress,
    stop: &AtomicBool,
) -> Result<BTreeMap<DayKey, Vec<PathBuf>>, Error> {
    let folder = out.join(FOLDER);
    let mut columns = columns_of(&file.plan.data, &file.plan.schema);
    if !columns.iter().any(|name| name == column) {
        columns.push(column.to_owned());
    }
    let source = source(files, &file.plan.data.reading, column, &columns)?;
    if let Some(index) = read(&folder).filter(|index| index.source == source) {
        return Ok(paths(&folder, &index));
    }
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    let mut writer = Writer::new(&folder);
    let mut rows = Rows::open(files.to_vec(), &file.plan.data.reading, columns);
    let mut job = progress.job("separate days", None, "rows");
    let format = format_of(&file.plan.data.split, column);
    while let Some(block) = rows.next_block()? {
        crate::stop::refuse(stop, "run the same command again to continue")?;
        for (day, rows) in by_day(&block, column, format)? {
            writer.add(day, block.block.select(&rows))?;
        }
        job.advance(block.block.n_rows as u64);
    }
    job.finish();
    for note in rows.notes() {
        progress.log(&format!("note: {note}"));
    }
    let index = Index {
        source,
        days: writer.finish()?,
    };
    let text = serde_json::to_string_pretty(&index)? + "\n";
    tensor_file::write_bytes(&folder.join(INDEX), text.as_bytes())?;
    Ok(paths(&folder, &index))
}

/// Identifies the log: names, sizes and times of its files, and the columns that are taken.
fn source(
    files: &[PathBuf],
    reading: &Reading,
    column: &str,
    columns: &[String],
) -> Result<String, String> {
    let mut hasher = blake3::Hasher::new();
    for lookup in &reading.lookups {
        let marks = lookup.marks().map_err(|error| error.to_string())?;
        hasher.update(format!("{} {marks}\n", lookup.key).as_bytes());
    }
    for path in files {
        let mark = ncs_readers::file_mark(path).map_err(|error| error.to_string())?;
        let line = format!("{}\n{mark}\n", path.display());
        hasher.update(line.as_bytes());
    }
    hasher.update(format!("{column}\n{}", columns.join("\n")).as_bytes());
    Ok(hasher.finalize().to_hex().to_string())
}

fn read(folder: &Path) -> Option<Index> {
    let text = fs::read_to_string(folder.join(INDEX)).ok()?;
    serde_json::from_str(&text).ok()
}

fn paths(folder: &Path, index: &Index) -> BTreeMap<DayKey, Vec<PathBuf>> {
    let day = |(day, files): (&String, &Vec<String>)| {
        let files = files.iter().map(|file| folder.join(file)).collect();
        Some((DayKey::parse(day)?, files))
    };
    index.days.iter().filter_map(day).collect()
}

/// Returns the form of the column's times, where the run file's split states it.
fn format_of<'a>(split: &'a Split, by: &str) -> Option<&'a TimeFormat> {
    match split {
        Split::Time { column, format, .. } | Split::Latest { column, format, .. }
            if column == by =>
        {
            format.as_ref()
        }
        _ => None,
    }
}

/// Returns the rows of each day in a block.
fn by_day(
    rows: &RowsBlock,
    column: &str,
    format: Option<&TimeFormat>,
) -> Result<BTreeMap<DayKey, Vec<usize>>, Error> {
    let found = rows.block.require(column, "the day of a row");
    let found = found.map_err(|error| rows.error(error))?;
    let mut days: BTreeMap<DayKey, Vec<usize>> = BTreeMap::new();
    for row in 0..rows.block.n_rows {
        let time = time_of(found, row, format).map_err(|error| rows.split_error(error))?;
        let day = DayKey::of(time).ok_or_else(|| {
            format!(
                "{}: row {}: column {column:?} is {time}, neither a time nor a whole number of days; name another \
                 column with --by",
                rows.file.display(),
                rows.in_file(row as u64 + 1)
            )
        })?;
        days.entry(day).or_default().push(row);
    }
    Ok(days)
}

/// The types of a block's columns: blocks in one file have the same.
type Types = Vec<(Discriminant<Values>, bool)>;

fn types(block: &Block) -> Types {
    let columns = block.columns.iter();
    let of_column = columns.map(|column| (discriminant(&column.values), column.offsets.is_some()));
    of_column.collect()
}

/// Blocks that are not written yet.
#[derive(Default)]
struct Held {
    blocks: Vec<Block>,
    n_rows: usize,
}

/// Writes the rows of each day into files of its own.
struct Writer<'a> {
    folder: &'a Path,
    held: BTreeMap<DayKey, Held>,
    n_held: usize,
    written: BTreeMap<String, Vec<String>>,
}

impl Writer<'_> {
    fn new(folder: &Path) -> Writer<'_> {
        Writer {
            folder,
            held: BTreeMap::new(),
            n_held: 0,
            written: BTreeMap::new(),
        }
    }

    fn add(&mut self, day: DayKey, block: Block) -> Result<(), Error> {
        let held = self.held.entry(day).or_default();
        let is_other = held
            .blocks
            .first()
            .is_some_and(|first| types(first) != types(&block));
        if is_other {
            self.write(day)?;
        }
        let held = self.held.entry(day).or_default();
        held.n_rows += block.n_rows;
        self.n_held += block.n_rows;
        held.blocks.push(block);
        while self.n_held > MOST_HELD {
            let largest = self.held.iter().max_by_key(|(_, held)| held.n_rows);
            let Some((&largest, _)) = largest else { break };
            self.write(largest)?;
        }
        Ok(())
    }

    /// Writes the next file of a day.
    fn write(&mut self, day: DayKey) -> Result<(), Error> {
        let Some(held) = self.held.remove(&day) else {
            return Ok(());
        };
        self.n_held -= held.n_rows;
        let name = day.to_string();
        let folder = self.folder.join(&name);
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let files = self.written.entry(name.clone()).or_default();
        let file = format!("{name}/part-{:05}.arrow", files.len());
        write_blocks(
            &self.folder.join(&file),
            Format::Arrow,
            held.blocks.into_iter(),
        )?;
        files.push(file);
        Ok(())
    }

    fn finish(mut self) -> Result<BTreeMap<String, Vec<String>>, Error> {
        let days: Vec<DayKey> = self.held.keys().copied().collect();
        for day in days {
            self.write(day)?;
        }
        Ok(self.written)
    }
}
