//! `ncs synth`

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use ncs_experiments::error::Error;
use ncs_experiments::progress::Progress;
use ncs_experiments::stop;
use ncs_experiments::synthetic::{LateConversions, SyntheticFiles, run_toml};
use ncs_experiments::synthetic_folder::SyntheticFolder;
use ncs_model::tensor_file;
use ncs_readers::Format;
use ncs_readers::split::Part;
use ncs_readers::synthetic::{
    Arrivals, Conflict, ConversionDelays, FurtherLabels, Synthetic, SyntheticPlan, Written,
    write_blocks,
};

use super::{Outcome, file_format, print};
use crate::arguments::{Synth, SynthConflict, SynthTasks};
use crate::interrupt;

const RUN_FILE: &str = "run.toml";

/// Writes the parts of a synthetic log and a run file beside them.
///
/// # Errors
/// The folder holds something else or cannot be written, or it was asked to stop.
pub fn run(arguments: &Synth, progress: Progress) -> Outcome {
    let (written, run_file) = make(arguments, progress, interrupt::flag()?)?;
    let line = |file: &Written| format!("{}: {} rows\n", file.path.display(), file.rows);
    let lines: String = written.iter().map(line).collect();
    print(&format!("{lines}{}: the run file\n", run_file.display()))
}

/// Writes the log and its run file; returns the files, and where the run file is.
///
/// # Errors
/// As [`run`].
pub fn make(
    arguments: &Synth,
    progress: Progress,
    stop: &AtomicBool,
) -> Result<(Vec<Written>, PathBuf), Error> {
    let mut folder = SyntheticFolder::open(&arguments.out)?;
    let written = write(arguments, &mut folder, progress, stop)?;
    let mut files = SyntheticFiles::of(&written);
    let whole = plan(arguments, Part::Train, arguments.rows);
    files.late = LateConversions::of(&whole);
    files.further = whole.further;
    let text = run_toml(&files, "sparse_sharing", arguments.seed);
    let run_file = arguments.out.join(RUN_FILE);
    tensor_file::write_bytes(&run_file, text.as_bytes())?;
    folder.add(RUN_FILE)?;
    Ok((written, run_file))
}

fn write(
    arguments: &Synth,
    folder: &mut SyntheticFolder,
    progress: Progress,
    stop_requested: &AtomicBool,
) -> Result<Vec<Written>, Error> {
    let format = file_format(arguments.format);
    let mut job = progress.job("synth", Some(arguments.rows), "rows");
    let mut files = Vec::new();
    for (part, rows) in parts(arguments.rows) {
        let plan = plan(arguments, part, rows);
        let name = format!("{}.{}", part.name(), extension(format));
        let path = arguments.out.join(&name);
        let blocks = Synthetic::new(plan)?
            .take_while(|_| !stop_requested.load(Ordering::Relaxed))
            .inspect(|block| job.advance(block.n_rows as u64));
        let written = write_blocks(&path, format, blocks);
        if stop_requested.load(Ordering::Relaxed) {
            // Incomplete, or not started.
            let _ = fs::remove_file(&path);
            stop::refuse(
                stop_requested,
                &format!("{} was not written", path.display()),
            )?;
        }
        files.push(Written {
            part,
            path,
            rows: written?,
        });
        folder.add(&name)?;
    }
    job.finish();
    Ok(files)
}

/// Three fifths, one fifth, one fifth; what is left over is for training.
fn parts(rows: u64) -> [(Part, u64); 3] {
    let fifth = rows / 5;
    let train = rows - 2 * fifth;
    [
        (Part::Train, train),
        (Part::Valid, fifth),
        (Part::Test, fifth),
    ]
}

fn plan(arguments: &Synth, part: Part, rows: u64) -> SyntheticPlan {
    SyntheticPlan {
        rows,
        part,
        share: arguments.share,
        seed: arguments.seed,
        conflict: match arguments.conflict {
            SynthConflict::Network => Conflict::Network,
            SynthConflict::Vectors => Conflict::Vectors,
            SynthConflict::Both => Conflict::Both,
        },
        click_rate: arguments.click_rate,
        conversion_rate: arguments.conversion_rate,
        arrivals: arguments.unseen.map(|unseen| Arrivals {
            unseen,
            days: arguments.days,
            drift: arguments.drift,
            rows: parts(arguments.rows).map(|(_, rows)| rows),
        }),
        further: match arguments.tasks {
            SynthTasks::Conversion => FurtherLabels::None,
            SynthTasks::Engagement => FurtherLabels::Engagement,
            SynthTasks::Chain => FurtherLabels::Chain,
        },
        delays: arguments.delays.map(|days| ConversionDelays {
            days,
            window_days: arguments.delay_window,
        }),
        ..SyntheticPlan::default()
    }
}

fn extension(format: Format) -> &'static str {
    match format {
        Format::TfRecord => "tfrecord",
        Format::Parquet => "parquet",
        Format::Csv => "csv",
        Format::JsonLines => "jsonl",
        Format::Arrow => "arrow",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_row_is_lost_between_the_parts() {
        let check = |rows, expected: [u64; 3]| {
            assert_eq!(parts(rows).map(|(_, rows)| rows), expected);
        };
        check(5, [3, 1, 1]);
        check(140_000, [84_000, 28_000, 28_000]);
        check(14, [10, 2, 2]);
    }
}
