//! Preview of the validation and test rows, and of the start of every file.

use std::path::Path;

use ncs_config::RunPlan;
use ncs_features::Task;
use ncs_readers::split::Part;
use ncs_readers::{
    DataPlan, Format, RawBlock, ReadError, Reading, RowsBlock, Source, Split, SplitTally,
    column_names, columns_of, files, first_rows, open, skipped_folders, split_tally,
};

use super::{DataPreview, Usable, filter, parts_of, seen, tasks};

/// The first rows of each part.
pub(super) type PartRows = Vec<(Part, Vec<RowsBlock>)>;

/// Previews validation and test rows, including those that the split takes from `train`, and the start of every
/// file. Returns the rows of each part, including the training part, and true if all rows of the parts' own
/// files were read.
///
/// Fails if a file cannot be read, all files of a part are empty, or a row cannot be used although none may be
/// broken.
pub(super) fn look(
    plan: &RunPlan,
    n_rows: usize,
    train: &Usable,
    look: &mut DataPreview,
) -> Result<(PartRows, bool), ReadError> {
    let mut rows = vec![(Part::Train, split_off(&plan.data, Part::Train, train)?)];
    let mut are_whole = true;
    for part in [Part::Valid, Part::Test] {
        let (of_part, is_whole) = preview_part(plan, n_rows, part, train, look)?;
        rows.push((part, of_part));
        are_whole &= is_whole;
    }
    for part in Part::ALL {
        let patterns = patterns(&plan.data, part);
        look.notes.extend(starts(plan, patterns)?);
        let skipped_folders = skipped_folders(patterns, &plan.data.root)?;
        look.notes.extend(skipped_folders);
    }
    Ok((rows, are_whole))
}

fn patterns(data: &DataPlan, part: Part) -> &[String] {
    match part {
        Part::Train => &data.train,
        Part::Valid => &data.valid,
        Part::Test => &data.test,
    }
}

fn preview_part(
    plan: &RunPlan,
    n_rows: usize,
    part: Part,
    train: &Usable,
    look: &mut DataPreview,
) -> Result<(Vec<RowsBlock>, bool), ReadError> {
    let mut are_whole = true;
    let mut blocks = split_off(&plan.data, part, train)?;
    if !patterns(&plan.data, part).is_empty() {
        let (rows, are_all) = own_rows(plan, n_rows, part)?;
        let warnings = rows.warning().into_iter().chain(rows.doubts());
        look.warnings
            .extend(warnings.map(|text| format!("{}: {text}", part.name())));
        look.seen.push(seen(rows.n_rows(), are_all, part));
        look.broken_rows += rows.n_broken;
        are_whole = are_all;
        blocks.extend(rows.blocks);
    }
    if blocks.iter().any(|rows| rows.block.n_rows > 0) {
        labels(&plan.schema.tasks, &blocks, part, look)?;
    }
    Ok((blocks, are_whole))
}

/// Returns the rows of `train` that the split puts into `part`.
fn split_off(data: &DataPlan, part: Part, train: &Usable) -> Result<Vec<RowsBlock>, ReadError> {
    let parts = parts_of(data, &train.blocks)?;
    let kept = |(rows, parts): (&RowsBlock, Vec<Part>)| {
        let kept = (0..parts.len()).filter(|row| parts[*row] == part);
        let mut rows = rows.clone();
        rows.block = rows.block.select(&kept.collect::<Vec<_>>());
        rows
    };
    Ok(train.blocks.iter().zip(parts).map(kept).collect())
}

/// Returns the usable first rows of the files of `part`, and true if the files have no others.
fn own_rows(plan: &RunPlan, n_rows: usize, part: Part) -> Result<(Usable, bool), ReadError> {
    let data = DataPlan {
        train: patterns(&plan.data, part).to_vec(),
        ..plan.data.clone()
    };
    let columns = columns_of(&plan.data, &plan.schema);
    let first = first_rows(&data, &columns, n_rows)?;
    let mut rows = Usable::new(data.reading.max_broken_share > 0.0, first.blocks);
    // No schema is fitted to these rows, so a failure to fit them does not matter.
    let _ = filter(plan, None, &mut rows)?;
    Ok((rows, first.are_all))
}

/// Warns about labels of one class, on which metrics are undefined. Training may reject such validation rows;
/// test rows may have one class, for example if they are all shown and rated rows.
fn labels(
    of_schema: &[Task],
    blocks: &[RowsBlock],
    part: Part,
    look: &mut DataPreview,
) -> Result<(), ReadError> {
    let name = part.name();
    for task in tasks(of_schema, blocks)? {
        if let Some(fault) = task.fault() {
            look.warnings
                .push(format!("in these rows of {name}, {fault}"));
        }
    }
    Ok(())
}

/// Returns the reason why the split is unusable, if it is. A split by time is checked on all rows, of which
/// only the time column is read: a log that is sorted by time starts with training rows only.
pub(super) fn split_fault(
    data: &DataPlan,
    rows: &Usable,
    all_rows: bool,
) -> Result<Option<String>, ReadError> {
    if all_rows {
        let mut tally = SplitTally::default();
        let parts = parts_of(data, &rows.blocks)?;
        for (rows, parts) in rows.blocks.iter().zip(&parts) {
            tally.add(&data.split, &rows.block, parts);
        }
        return Ok(tally.fault(data));
    }
    match data.split {
        Split::Time { .. } => Ok(split_tally(data)?.fault(data)),
        Split::Files | Split::Hash { .. } | Split::Row { .. } | Split::Latest { .. } => Ok(None),
    }
}

/// Reads the first rows of every file, to detect truncated files early, and reports files without rows.
fn starts(plan: &RunPlan, patterns: &[String]) -> Result<Option<String>, ReadError> {
    let reading = &plan.data.reading;
    let columns = reading.own_columns(&columns_of(&plan.data, &plan.schema))?;
    let files = files(patterns, &plan.data.root)?;
    let mut empty = Vec::new();
    for (number, file) in files.iter().enumerate() {
        let has_first = number > empty.len();
        let Some(rows) = first_block(file, reading, &columns, has_first)? else {
            empty.push(file);
            continue;
        };
        if let Some(broken) = rows
            .broken
            .first()
            .filter(|_| reading.max_broken_share == 0.0)
        {
            return Err(ReadError::Row {
                path: file.clone(),
                row: broken.row,
                what: broken.what.clone(),
            });
        }
    }
    Ok(empty.first().map(|first| {
        let (n, first) = (empty.len(), first.display());
        match n {
            1 => format!("{first}: the file has no rows; it is skipped"),
            _ => format!(
                "{n} of {} files have no rows and are skipped, the first: {first}",
                files.len()
            ),
        }
    }))
}

/// Returns the first rows of a file; `None` if it has none.
fn first_block(
    file: &Path,
    reading: &Reading,
    columns: &[String],
    may_lack: bool,
) -> Result<Option<RawBlock>, ReadError> {
    match open_start(file, reading, columns, may_lack) {
        Err(ReadError::NoRows { .. }) => Ok(None),
        opened => opened?.next_block(),
    }
}

/// Opens a file. Of several files without a list of columns, only the first must have all columns.
fn open_start(
    file: &Path,
    reading: &Reading,
    columns: &[String],
    may_lack: bool,
) -> Result<Box<dyn Source>, ReadError> {
    match open(file, reading, columns) {
        Err(ReadError::MissingColumn { .. }) if may_lack && !lists_columns(file, reading) => {
            let present = column_names(file, reading)?;
            let own = columns.iter().filter(|column| present.contains(column));
            open(file, reading, &own.cloned().collect::<Vec<_>>())
        }
        opened => opened,
    }
}

fn lists_columns(file: &Path, reading: &Reading) -> bool {
    let name = file
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .to_lowercase();
    let named = [
        ".csv", ".tsv", ".parquet", ".pq", ".arrow", ".feather", ".ipc",
    ];
    match reading.format {
        Some(format) => matches!(format, Format::Csv | Format::Parquet | Format::Arrow),
        None => named.iter().any(|end| name.contains(end)),
    }
}
