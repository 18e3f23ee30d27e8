//! `ncs delta`: what differs between two models, and a model from it.

use ncs_experiments::scoring::model_folder;
use ncs_model::artifact::{Artifact, DELTA, DeltaDraft, DeltaSize, apply_delta};
use serde::Serialize;

use super::{Outcome, print, print_json};
use crate::arguments::delta::{ApplyDelta, Delta, MakeDelta};
use crate::error::Error;
use crate::progress::{Progress, grouped};

/// Writes or applies a delta.
///
/// # Errors
/// A model cannot be read, the delta is of another parent, or a file cannot be written.
pub fn run(arguments: &Delta, progress: Progress) -> Outcome {
    match arguments {
        Delta::Make(arguments) => make(arguments),
        Delta::Apply(arguments) => apply(arguments, progress),
    }
}

/// Sizes of a delta; its JSON is what `ncs delta make --json` prints.
#[derive(Serialize)]
struct Sizes {
    rows: u64,
    changed: u64,
    removed: u64,
    bytes: u64,
    whole_bytes: u64,
}

impl From<DeltaSize> for Sizes {
    fn from(size: DeltaSize) -> Sizes {
        Sizes {
            rows: size.rows,
            changed: size.changed,
            removed: size.removed,
            bytes: size.bytes,
            whole_bytes: size.whole_bytes,
        }
    }
}

fn make(arguments: &MakeDelta) -> Outcome {
    let folder = model_folder(&arguments.model);
    let child = Artifact::read(&folder)?;
    let draft = DeltaDraft::between(&child, &model_folder(&arguments.parent), None)
        .map_err(|error| error.to_string())?;
    draft.write(&folder)?;
    let size = draft.size();
    if arguments.json {
        return print_json(&Sizes::from(size));
    }
    print(&format!(
        "{}: {} of {} bytes; {} of {} table rows are new or changed, {} are gone\n",
        folder.join(DELTA).display(),
        grouped(size.bytes),
        grouped(size.whole_bytes),
        grouped(size.changed),
        grouped(size.rows),
        grouped(size.removed)
    ))
}

fn apply(arguments: &ApplyDelta, progress: Progress) -> Outcome {
    let folder = model_folder(&arguments.folder);
    let out = &arguments.out;
    let is_free = !out.exists() || out.join("manifest.json").is_file();
    let is_empty = || {
        out.read_dir()
            .is_ok_and(|mut entries| entries.next().is_none())
    };
    if !is_free && !is_empty() {
        let text = format!(
            "{}: holds something else than a model; choose a new or an empty folder with --out",
            out.display()
        );
        return Err(Error::from(text));
    }
    apply_delta(&model_folder(&arguments.parent), &folder, out)
        .map_err(|error| error.to_string())?;
    progress.log(&format!("model: {}", out.display()));
    Ok(())
}
