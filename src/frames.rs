//! A training whose rows a program hands over: they are kept in the run's folder first, so that a run that was
//! stopped goes on, and `ncs train DIR/run.toml` does it again.
//!
//! ```text
//! DIR/frames/train-HASH.arrows  valid-HASH.arrows  test-HASH.arrows
//! ```

use std::error::Error;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use ncs_readers::arrow::keep;
use ncs_readers::{DataPlan, Frame, columns_of};
use ncs_train::Listener;

use crate::progress::Progress;
use crate::run_file::{FileColumns, ListingError, RunFile, RunFileError, Said, list_columns};
use crate::run_folder::RunFolder;
use crate::training::{self, Finished};

/// Where the rows of frames are kept, in a run's folder.
const FRAMES: &str = "frames";

/// The rows of a part, by the key of `[data]` that they stand for: `train`, `valid` or `test`.
pub type PartFrame = (&'static str, Frame);

/// A training that a program asks for.
#[derive(Debug)]
pub struct Training<'a> {
    /// The settings.
    pub said: Said,
    /// Overrides, as after `--set`.
    pub assignments: Vec<String>,
    /// Rows that are handed over, in place of files.
    pub frames: Vec<PartFrame>,
    /// The folder of the run.
    pub out: &'a Path,
    /// Whether it starts over, whatever the folder holds.
    pub fresh: bool,
}

/// Trains as `ncs train` does, on frames where there are any.
///
/// # Errors
/// As those of `ncs train`; a frame lacks a column; or `stop` was set.
pub fn train(
    training: Training<'_>,
    progress: Progress,
    stop: &AtomicBool,
    listener: &mut (dyn Listener + Send),
) -> Result<Finished, Box<dyn Error>> {
    let Training {
        said,
        mut assignments,
        frames,
        out,
        fresh,
    } = training;
    let columns: Vec<(&str, FileColumns)> = frames.iter().map(columns).collect();
    let mut file = open(&said, &assignments, &columns)?;
    for note in &file.notes {
        progress.say(&format!("note: {note}"));
    }
    crate::memory::check(&file)?;
    let folder = RunFolder::hold(out)?;
    if fresh {
        folder.forget()?;
    }
    if !frames.is_empty() {
        let wanted = columns_of(&file.plan.data, &file.plan.schema);
        let folder = out.join(FRAMES);
        for (key, frame) in frames {
            let path = keep_frame(key, frame, Some(&wanted), &folder, progress, stop)?;
            assignments.push(format!("data.{key}={}", quoted(&path)));
        }
        file = RunFile::of(&said, &assignments, &list_columns)?;
    }
    training::run_heard(&file, &folder, progress, stop, listener)
}

/// The checked settings; the columns of frames are those that they have.
///
/// # Errors
/// Everything that is wrong with them.
pub fn open(
    said: &Said,
    assignments: &[String],
    frames: &[(&str, FileColumns)],
) -> Result<RunFile, RunFileError> {
    let mut assignments = assignments.to_vec();
    for (key, columns) in frames {
        assignments.push(format!("data.{key}={}", quoted(&columns.name)));
    }
    let file = RunFile::of(said, &assignments, &|plan| listed(plan, frames))?;
    if !frames.is_empty() && file.states(&["data", "format"]) {
        let text = "data.format is stated, which a data frame has none of; leave it out: names of files tell it";
        return Err(file.error_at(&["data", "format"], text));
    }
    Ok(file)
}

/// The columns of frames, and those of the first files of the other parts.
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

/// Keeps the wanted columns of a frame, all of them where none are named, in a folder; the absolute path of the file.
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
) -> Result<String, Box<dyn Error>> {
    let mut job = progress.job(&format!("keep the {}", frame.name()), None, "rows");
    let on = &mut |rows| {
        job.reach(rows);
        match stop.load(Ordering::Relaxed) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
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

/// A TOML text.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
