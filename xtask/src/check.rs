//! Runs format, dependencies, clippy, tests and docs, in this order, up to the first that fails.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::steps::without_package;

/// Runs every step in `root`.
///
/// # Errors
/// A step fails; the error names its command.
pub(crate) fn run(root: &Path) -> Result<(), String> {
    step(root, "cargo fmt --all --check")?;
    println!("\n== cargo xtask deny");
    crate::deny::run(root)?;
    step(
        root,
        "cargo clippy --workspace --all-targets -- -D warnings",
    )?;
    let tests = step(root, "cargo test --workspace --no-fail-fast")?;
    step(root, "cargo doc --workspace --no-deps")?;
    println!("tests: {} passed, {} failed", tests.passed, tests.failed);
    Ok(())
}

fn step(root: &Path, command: &str) -> Result<TestCounts, String> {
    println!("\n== {command}");
    let start = Instant::now();
    let mut words = command.split(' ');
    let program = words.next().expect("a command has a first word");
    let mut child = without_package(&mut Command::new(program))
        .args(words)
        .current_dir(root)
        .env("RUSTDOCFLAGS", "-D warnings")
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot run `{command}`: {error}"))?;
    let mut tests = TestCounts::default();
    let output = child.stdout.take().expect("standard output is piped");
    for line in BufReader::new(output).split(b'\n') {
        let line = line.map_err(|error| format!("cannot read from `{command}`: {error}"))?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        tests.add(&line);
    }
    let status = child
        .wait()
        .map_err(|error| format!("`{command}`: {error}"))?;
    println!("== {command}: {status}, {} s", start.elapsed().as_secs());
    if status.success() {
        Ok(tests)
    } else {
        Err(format!("failed: {command}"))
    }
}

/// Test counts, summed over all test programs of one run.
#[derive(Debug, Default, PartialEq)]
struct TestCounts {
    passed: u64,
    failed: u64,
}

impl TestCounts {
    /// Adds the last line of a test program: `test result: ok. 3 passed; 0 failed; ...`.
    fn add(&mut self, line: &str) {
        let Some((_, counts)) = line
            .trim()
            .strip_prefix("test result: ")
            .and_then(|rest| rest.split_once(". "))
        else {
            return;
        };
        for count in counts.split("; ") {
            match count.split_once(' ') {
                Some((n, "passed")) => self.passed += n.parse::<u64>().unwrap_or(0),
                Some((n, "failed")) => self.failed += n.parse::<u64>().unwrap_or(0),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tests_of_all_programs_are_counted() {
        let mut counts = TestCounts::default();
        let lines = [
            "running 3 tests",
            "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s",
            "test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out",
        ];
        lines.iter().for_each(|line| counts.add(line));
        assert_eq!(
            counts,
            TestCounts {
                passed: 7,
                failed: 2
            }
        );
    }

    #[test]
    fn a_failing_step_is_named_in_the_error() {
        let root = Path::new(".");
        assert_eq!(step(root, "false").unwrap_err(), "failed: false");
        assert!(
            step(root, "no-such-program")
                .unwrap_err()
                .starts_with("cannot run `no-such-program`")
        );
        assert_eq!(step(root, "true").unwrap(), TestCounts::default());
    }
}
