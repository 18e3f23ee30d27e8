//! Common helpers of command tests: the command, a synthetic log, and a model for it with randomly initialised,
//! untrained weights.

#![allow(dead_code, reason = "each test file uses its part")]

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use ncs_features::{Encoder, Fit};
use ncs_model::artifact::{Artifact, WeightSet};
use ncs_model::{CounterRng, Mask, Masks, Model, NetworkKind, Spec};
use ncs_readers::{columns_of, first_rows};
use ncs4cvr::run_file::RunFile;

/// Runs `ncs` in `folder`.
pub(crate) fn ncs(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ncs"));
    command
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap()
}

/// Runs `ncs`, which must succeed, and returns its standard output.
#[track_caller]
pub(crate) fn done(folder: &Path, arguments: &[&str]) -> String {
    let output = ncs(folder, arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs `ncs`, which must fail with code 1, print nothing on standard output, and report each of `parts`.
#[track_caller]
pub(crate) fn refused(folder: &Path, arguments: &[&str], parts: &[&str]) {
    let output = ncs(folder, arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {stderr}");
    assert!(output.stdout.is_empty(), "{arguments:?}");
    for part in parts {
        assert!(stderr.contains(part), "{part:?} is not in: {stderr}");
    }
}

/// Runs `ncs` in `folder`, sends SIGTERM once it has begun to write into `out`, and asserts the exit code of SIGTERM,
/// a reason, and that no temporary file is left.
#[cfg(unix)]
#[track_caller]
pub(crate) fn stopped(folder: &Path, arguments: &[&str], out: &Path) {
    let drafts = || {
        let entries = std::fs::read_dir(out).into_iter().flatten();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.ends_with(".unfinished")).count()
    };
    let mut command = Command::new(env!("CARGO_BIN_EXE_ncs"));
    command.args(arguments).current_dir(folder);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    while drafts() == 0 {
        assert!(
            child.try_wait().unwrap().is_none(),
            "ended before it was asked"
        );
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    let mut kill = Command::new("kill");
    let asked = kill.args(["-TERM", &child.id().to_string()]).status();
    assert!(asked.unwrap().success());
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(143), "{stderr}");
    assert!(stderr.contains("stopped; "), "{stderr}");
    assert_eq!(drafts(), 0);
}

/// Creates a folder with a synthetic log `log/train.csv` and so on, its `log/run.toml`, and a model of `kind` at
/// `run/model`.
pub(crate) fn folder(kind: NetworkKind) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let rows = ["synth", "--rows", "5000", "--format", "csv", "--out", "log"];
    done(folder.path(), &rows);
    artifact(&folder.path().join("log/run.toml"), kind)
        .write(&folder.path().join("run/model"))
        .unwrap_or_else(|error| panic!("{error}"));
    folder
}

/// Builds a model for a run file: the table rows of its first log rows are all initialised.
fn artifact(run_file: &Path, kind: NetworkKind) -> Artifact {
    let mut plan = RunFile::open(run_file, &[])
        .unwrap_or_else(|error| panic!("{error}"))
        .plan;
    plan.network.kind = kind;
    plan.network.hidden = vec![8, 4];
    let columns = columns_of(&plan.data, &plan.schema);
    let rows = first_rows(&plan.data, &columns, 2000).unwrap().blocks;
    let mut fit = Fit::new(plan.schema.clone());
    rows.iter()
        .for_each(|rows| fit.observe(&rows.block).unwrap());
    let schema = Arc::new(fit.finish().unwrap());
    let spec = Spec::of(&schema, &plan.network);
    let mut model: Model = Model::new(spec.clone(), CounterRng::new(1, "weights"));
    let batch = Encoder::new(schema.clone()).encode(&rows[0].block).unwrap();
    for network in 0..model.networks().len() {
        model.network_mut(network).init_rows_of(&batch);
    }
    Artifact {
        masks: (kind == NetworkKind::SparseSharing).then(|| Arc::new(masks(&spec))),
        ..Artifact::new(
            schema,
            spec,
            (0..2).map(|task| model.network_of(task)).collect(),
            members(&model),
        )
    }
}

fn members(model: &Model) -> Vec<WeightSet> {
    let member = |network| WeightSet {
        network,
        weights: Arc::new(model.network(network).weights()),
    };
    (0..model.networks().len()).map(member).collect()
}

/// The first task keeps all but every third connection, the second the even ones.
fn masks(spec: &Spec) -> Masks {
    let of_task = |kept: fn(usize) -> bool| {
        let shapes = spec.layer_shapes().into_iter();
        shapes
            .map(|(inputs, outputs)| Mask::from_fn(inputs, outputs, kept))
            .collect()
    };
    Masks {
        tasks: vec![of_task(|p| p % 3 != 0), of_task(|p| p % 2 == 0)],
        owners: None,
    }
}

/// Returns a pseudo-random number below `below`, constant for a row and a purpose.
pub(crate) fn draw(row: u64, what: u64, below: u64) -> u64 {
    let mut x =
        (row + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ what.wrapping_mul(0xD1B5_4A32_D192_ED03);
    x = (x ^ (x >> 32)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    (x ^ (x >> 29)) % below
}
