//! `ncs synth`

use std::fs;
use std::path::Path;

use ncs_readers::Format;
use ncs_readers::split::Part;
use ncs_readers::synthetic::{Conflict, Synthetic, SyntheticPlan, Written, write_blocks};

use super::{Outcome, file_format, print};
use crate::arguments::{Synth, SynthConflict};
use crate::made_up::{HEADLINE, MadeUpFiles, run_toml};
use crate::progress::Progress;

const RUN_FILE: &str = "run.toml";

/// Writes the parts of a made-up log and a run file beside them.
///
/// # Errors
/// The folder holds something else, or cannot be written.
pub fn run(arguments: &Synth, progress: Progress) -> Outcome {
    let folder = &arguments.out;
    check_folder(folder)?;
    fs::create_dir_all(folder).map_err(|error| cannot(folder, "make the folder", &error))?;
    let written = write(arguments, progress)?;
    let text = run_toml(&MadeUpFiles::of(&written), "sparse_sharing", arguments.seed);
    let run_file = folder.join(RUN_FILE);
    fs::write(&run_file, text).map_err(|error| cannot(&run_file, "write", &error))?;
    let line = |file: &Written| format!("{}: {} rows\n", file.path.display(), file.rows);
    let lines: String = written.iter().map(line).collect();
    print(&format!("{lines}{}: the run file\n", run_file.display()))
}

/// A folder that is absent, empty, or holds an earlier made-up log.
fn check_folder(folder: &Path) -> Outcome {
    if !folder.exists() {
        return Ok(());
    }
    let entries = fs::read_dir(folder).map_err(|error| cannot(folder, "read", &error))?;
    let run_file = fs::read_to_string(folder.join(RUN_FILE)).unwrap_or_default();
    match entries.count() {
        0 => Ok(()),
        _ if run_file.starts_with(HEADLINE) => Ok(()),
        _ => Err(format!(
            "{}: the folder holds files that `ncs synth` did not write; name another folder, or \
             empty this one",
            folder.display()
        )
        .into()),
    }
}

fn cannot(path: &Path, doing: &str, error: &std::io::Error) -> String {
    format!("{}: cannot {doing}: {error}", path.display())
}

fn write(
    arguments: &Synth,
    progress: Progress,
) -> Result<Vec<Written>, Box<dyn std::error::Error>> {
    let format = file_format(arguments.format);
    let mut job = progress.job("synth", Some(arguments.rows), "rows");
    let mut files = Vec::new();
    for (part, rows) in parts(arguments.rows) {
        let plan = plan(arguments, part, rows);
        let name = format!("{}.{}", part.name(), extension(format));
        let path = arguments.out.join(name);
        let blocks = Synthetic::new(plan)?.inspect(|block| job.advance(block.n_rows as u64));
        let rows = write_blocks(&path, format, blocks)?;
        files.push(Written { part, path, rows });
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
        ..SyntheticPlan::default()
    }
}

fn extension(format: Format) -> &'static str {
    match format {
        Format::TfRecord => "tfrecord",
        Format::Parquet => "parquet",
        Format::Csv => "csv",
        Format::JsonLines => "jsonl",
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
