//! Training on rows passed in by a program. The rows are first written into the run's folder, so that an interrupted
//! run can be resumed and `ncs train DIR/run.toml` can repeat it.
//!
//! ```text
//! DIR/frames/train-HASH.arrows  valid-HASH.arrows  test-HASH.arrows
//! ```

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use ncs_config::{FileColumns, ListingError, RunFile, RunFileError, RunSource, list_columns};
use ncs_readers::arrow::keep;
use ncs_readers::{DataPlan, Frame, columns_of};
use ncs_train::Listener;

use crate::error::Error;
use crate::progress::Progress;
use crate::run_folder::RunFolder;
use crate::training::{self, Finished};

/// Subfolder of a run's folder for the rows of frames.
const FRAMES: &str = "frames";

/// Rows of a part, with its key in `[data]`: `train`, `valid` or `test`.
pub type PartFrame = (&'static str, Frame);

/// Training requested by a program.
#[derive(Debug)]
pub struct Training<'a> {
    /// Settings.
    pub source: RunSource,
    /// Overrides, as given with `--set`.
    pub assignments: Vec<String>,
    /// Rows passed in, replacing files.
    pub frames: Vec<PartFrame>,
    /// Folder of the run.
    pub out: &'a Path,
    /// True to start from scratch, ignoring earlier results in the folder.
    pub fresh: bool,
}

/// Trains as `ncs train` does, on the given frames if there are any.
///
/// # Errors
/// The errors of `ncs train`; a frame lacks a column; or `stop` was set.
pub fn train(
    training: Training<'_>,
    progress: Progress,
    stop: &AtomicBool,
    listener: &mut (dyn Listener + Send),
) -> Result<Finished, Error> {
    let Training {
        source,
        mut assignments,
        frames,
        out,
        fresh,
    } = training;
    let columns: Vec<(&str, FileColumns)> = frames.iter().map(columns).collect();
    let mut file = open(&source, &assignments, &columns)?;
    for note in &file.notes {
        progress.log(&format!("note: {note}"));
    }
    crate::memory::check(&file)?;
    let folder = RunFolder::hold(out)?;
    if fresh {
        folder.forget()?;
    }
    if !frames.is_empty() {
        let wanted = columns_of(&file.plan.data, &file.plan.schema);
        let reading = &file.plan.data.reading;
        for (_, frame) in &frames {
            reading.refuse_both(frame.name().as_ref(), &frame.columns(), &wanted)?;
        }
        let wanted = reading.own_columns(&wanted)?;
        let folder = out.join(FRAMES);
        for (key, frame) in frames {
            let path = keep_frame(key, frame, Some(&wanted), &folder, progress, stop)?;
            assignments.push(format!("data.{key}={}", quoted(&path)));
        }
        file = RunFile::of(&source, &assignments, &list_columns)?;
    }
    training::run_with_listener(&file, &folder, progress, stop, listener)
}

/// Checks the settings against the columns of the frames and files, and returns the run file.
///
/// # Errors
/// All errors in the settings.
pub fn open(
    source: &RunSource,
    assignments: &[String],
    frames: &[(&str, FileColumns)],
) -> Result<RunFile, RunFileError> {
    let mut assignments = assignments.to_vec();
    for (key, columns) in frames {
        assignments.push(format!("data.{key}={}", quoted(&columns.name)));
    }
    let file = RunFile::of(source, &assignments, &|plan| listed(plan, frames))?;
    if !frames.is_empty() && file.states(&["data", "format"]) {
        let text = "data.format is stated, which a data frame has none of; leave it out: names of files tell it";
        return Err(file.error_at(&["data", "format"], text));
    }
    Ok(file)
}

/// Lists the columns of frames, and those of the first files of the other parts.
fn listed(
    plan: &DataPlan,
    frames: &[(&str, FileColumns)],
) -> Result<Vec<FileColumns>, ListingError> {
    let mut files = plan.clone();
    for (key, _) in frames {
        match *key {
            "train" => files.train.clear(),
            "valid" => files.valid.clear(),
            _ => files.test.clear(),
        }
    }
    let mut columns: Vec<FileColumns> = frames.iter().map(|(_, columns)| columns.clone()).collect();
    for lookup in &plan.reading.lookups {
        let names = lookup.names().unwrap_or_default();
        columns
            .iter_mut()
            .for_each(|file| file.columns.extend(names.iter().cloned()));
    }
    columns.extend(list_columns(&files)?);
    Ok(columns)
}

fn columns((key, frame): &PartFrame) -> (&'static str, FileColumns) {
    let columns = FileColumns {
        name: frame.name().to_owned(),
        columns: frame.columns(),
    };
    (key, columns)
}

/// Writes the selected columns of a frame (all if none are named) into a folder; returns the absolute path of the
/// file.
///
/// # Errors
/// The frame cannot be read, the file cannot be written, or `stop` was set.
pub fn keep_frame(
    key: &str,
    frame: Frame,
    wanted: Option<&[String]>,
    folder: &Path,
    progress: Progress,
    stop: &AtomicBool,
) -> Result<String, Error> {
    let mut job = progress.job(&format!("keep the {}", frame.name()), None, "rows");
    let on = &mut |rows| {
        job.reach(rows);
        if stop.load(Ordering::Relaxed) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    let all = frame.columns();
    let path = keep(frame, wanted.unwrap_or(&all), folder, key, on)?;
    job.finish();
    let path = std::path::absolute(&path)?;
    match path.into_os_string().into_string() {
        Ok(path) => Ok(path),
        Err(path) => {
            Err(format!("{}: a run's folder needs a name in UTF-8", path.display()).into())
        }
    }
}

/// Formats a string as TOML.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
