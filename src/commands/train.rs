//! `ncs train`: search masks, train, judge, write; or go on where that stopped.

use super::{Outcome, open, print};
use crate::arguments::Train;
use crate::interrupt;
use crate::progress::Progress;
use crate::training;
use ncs_eval::render_text;
use std::fs;
use std::io;
use std::path::Path;

/// Runs a run file into its folder and prints the report.
///
/// # Errors
/// The run file, its data or the folder; or the run was asked to stop.
pub fn run(arguments: &Train, progress: Progress) -> Outcome {
    let file = open(&arguments.run, progress)?;
    training::check_folder(&arguments.out)?;
    if arguments.fresh {
        forget(&arguments.out)?;
    }
    let finished = training::run(&file, &arguments.out, progress, interrupt::flag()?)?;
    print(&render_text(&finished.report))?;
    let report = arguments.out.join("report.html");
    progress.say(&format!("report: {}", report.display()));
    Ok(())
}

/// Deletes what a run goes on from; results stay until they are replaced.
fn forget(folder: &Path) -> Result<(), String> {
    let gone = |path: &Path, done: io::Result<()>| match done {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(format!("{}: cannot be deleted: {error}", path.display()))
        }
        _ => Ok(()),
    };
    let id = folder.join("run.id");
    if id.exists() {
        // An empty one says that the folder is a run's, but of no run yet.
        gone(&id, fs::write(&id, ""))?;
    }
    for file in ["checkpoint.safetensors", "log.txt"] {
        let path = folder.join(file);
        gone(&path, fs::remove_file(&path))?;
    }
    for inner in ["search", "tensorboard"] {
        let path = folder.join(inner);
        gone(&path, fs::remove_dir_all(&path))?;
    }
    Ok(())
}
