//! Guarantees for programs that call `ncs`: exit codes, and the output on each stream.

use std::process::{Command, Output};

fn ncs(arguments: &[&str]) -> Output {
    let project = env!("CARGO_MANIFEST_DIR");
    let mut command = Command::new(env!("CARGO_BIN_EXE_ncs"));
    command
        .args(arguments)
        .current_dir(project)
        .output()
        .unwrap()
}

#[track_caller]
fn check(arguments: &[&str], code: i32, stdout: &str, stderr: &str) {
    let output = ncs(arguments);
    let printed = |stream: &[u8]| String::from_utf8(stream.to_vec()).unwrap();
    let (found_out, found_err) = (printed(&output.stdout), printed(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{found_out}{found_err}");
    assert!(
        found_out.starts_with(stdout) && found_out.is_empty() == stdout.is_empty(),
        "{found_out}"
    );
    assert!(
        found_err.contains(stderr) && found_err.is_empty() == stderr.is_empty(),
        "{found_err}"
    );
}

#[test]
fn done_is_0() {
    check(&["schema"], 0, "{", "");
    check(&["--version"], 0, "ncs ", "");
}

#[test]
fn failed_is_1_and_says_why_on_standard_error() {
    check(
        &["check", "none.toml"],
        1,
        "",
        "none.toml: cannot read the run file",
    );
    let wrong = ["check", "examples/coat.toml", "--set", "training.epoch=1"];
    check(
        &wrong,
        1,
        "",
        "--set training.epoch=1: unknown key epoch in training; did you mean epochs?\n",
    );
}

#[test]
fn wrong_arguments_are_2() {
    check(
        &["trian", "run.toml"],
        2,
        "",
        "a similar subcommand exists: 'train'",
    );
    check(&["train", "run.toml"], 2, "", "--out <DIR>");
    for set in ["training.epochs", "=3"] {
        check(&["check", "run.toml", "--set", set], 2, "", "KEY=VALUE");
    }
    check(&["check", "run.toml", "--rows", "0"], 2, "", "at least 1");
}

#[test]
#[cfg(target_os = "linux")]
fn a_result_that_cannot_be_written_is_1() {
    let full = std::fs::File::create("/dev/full").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_ncs"));
    let output = command.arg("schema").stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let printed = String::from_utf8(output.stderr).unwrap();
    assert!(
        printed.starts_with("cannot write the result: "),
        "{printed}"
    );
}
