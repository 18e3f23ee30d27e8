//! The shipped example of a model that is kept up to date, in a small form; also killed at random points.
#![cfg(unix)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ncs_model::artifact::Artifact;
use serde_json::Value;

/// Kills of the second test, unless the variable `NCS_KILLS` says another number.
const KILLS: u64 = 3;

fn nightly(folder: &Path) -> Command {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/daily/nightly.sh");
    let mut command = Command::new("sh");
    command.arg(script).arg(folder);
    let settings = [
        ("NCS", env!("CARGO_BIN_EXE_ncs")),
        ("ROWS", "30000"),
        ("DAYS", "7"),
        ("BAD", "5"),
        ("FIRST", "3"),
        ("DELAY", "0.2"),
        ("WINDOW", "1"),
        ("MIN_LABELS", "60"),
        ("BOUND", "0.5..2"),
        ("SPAN", "2"),
        (
            "SET",
            "--set threads=1 --set network.kind=shared_bottom --set network.hidden=[32] --set training.batch=256 \
             --set training.epochs=2 --set training.learning_rate=0.003 --set training.checkpoint_steps=20",
        ),
    ];
    command.envs(settings);
    command
}

/// Runs it to its end; returns what it printed.
#[track_caller]
fn done(folder: &Path, settings: &[(&str, &str)]) -> String {
    let output = nightly(folder)
        .envs(settings.iter().copied())
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stdout}\n{stderr}");
    stdout
}

fn records(served: &Path) -> Vec<Value> {
    let record = fs::read_to_string(served.join("feed.promotions.jsonl")).unwrap();
    let lines = record
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    lines.collect()
}

#[test]
fn nights_are_promoted_and_served_and_the_planted_day_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let stdout = done(&folder.path().join("daily"), &[("ERASE", "0")]);
    let line = |day: &str| {
        let line = stdout.lines().find(|line| line.starts_with(day));
        line.unwrap_or_else(|| panic!("{day}: {stdout}")).to_owned()
    };
    assert!(line("2024-01-04").contains(": promoted: "), "{stdout}");
    // On the planted day no score rises with its labels; the next night's candidate was trained on them.
    assert!(line("2024-01-05").contains("not calibrated"), "{stdout}");
    let refused = line("2024-01-06");
    assert!(
        refused.contains("refused: not promoted: ctr: AUC is worse by"),
        "{stdout}"
    );
    assert!(line("2024-01-07").contains(": promoted: "), "{stdout}");
    // What serves knows nothing of the planted day.
    let served = folder.path().join("daily/served");
    let record = records(&served);
    let actions: Vec<&str> = record
        .iter()
        .map(|line| line["action"].as_str().unwrap())
        .collect();
    assert_eq!(actions, ["promoted", "refused", "promoted"]);
    let live = Artifact::read(&served.join("feed")).unwrap();
    let parents: Vec<&str> = live
        .ancestry
        .iter()
        .map(|step| step.model.as_str())
        .collect();
    assert!(parents.contains(&record[0]["candidate_hash"].as_str().unwrap()));
    assert!(!parents.contains(&record[1]["candidate_hash"].as_str().unwrap()));
    let hash = Artifact::hash(&served.join("feed")).unwrap().to_hex();
    assert_eq!(record[2]["candidate_hash"], hash.as_str());
    // The server, where there was one, followed without reading the whole again.
    if Command::new("curl")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_ok()
    {
        assert!(
            stdout.contains("served: 1 loaded") && stdout.contains("served: 1 updated"),
            "{stdout}"
        );
    }
    assert!(stdout.contains("from scratch, last 2 days"), "{stdout}");
}

/// Numbers that differ from run to run, as a generator of its own would be too much: SplitMix64.
fn random(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (z ^ (z >> 31)) as f64 / u64::MAX as f64
}

/// Runs it, and kills it and all that it started after `time`; returns whether it had ended.
fn killed(folder: &Path, settings: &[(&str, &str)], time: Duration) -> bool {
    let mut command = nightly(folder);
    command.envs(settings.iter().copied()).process_group(0);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let began = Instant::now();
    while began.elapsed() < time {
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "{status}");
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let group = format!("-{}", child.id());
    let kill = Command::new("kill").args(["-KILL", "--", &group]).status();
    assert!(kill.unwrap().success());
    child.wait().unwrap();
    false
}

/// What a run ends with: the nights, the served model, whether the user is gone.
fn results(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut results = BTreeMap::new();
    for entry in fs::read_dir(folder.join("nights")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "done") {
            let text = fs::read_to_string(&path).unwrap();
            // The decision; then come paths, and versions, which are counted on when a copy was not finished.
            let text = text.split(": ").nth(1).unwrap().to_owned();
            results.insert(
                path.file_name().unwrap().display().to_string(),
                text.into_bytes(),
            );
        }
    }
    for file in ["weights.safetensors", "manifest.json"] {
        let bytes = fs::read(folder.join("served/feed").join(file)).unwrap();
        results.insert(file.to_owned(), bytes);
    }
    results
}

#[test]
fn killed_at_random_points_it_ends_with_the_same_model() {
    let kills: u64 = std::env::var("NCS_KILLS").map_or(KILLS, |text| text.parse().unwrap());
    let settings = [("SERVE", "0"), ("BACKTEST", "0")];
    let folder = tempfile::tempdir().unwrap();
    let [whole, cut] = ["whole", "cut"].map(|name| folder.path().join(name));
    let began = Instant::now();
    let stdout = done(&whole, &settings);
    assert!(stdout.contains("erased: "), "{stdout}");
    let time = began.elapsed().as_secs_f64();
    let expected = results(&whole);
    let check = || {
        let found = results(&cut);
        for (name, bytes) in &expected {
            assert!(found.get(name) == Some(bytes), "{name} differs");
        }
        assert_eq!(found.len(), expected.len());
    };
    let mut state = 17;
    let mut n_killed = 0;
    while n_killed < kills {
        // On average a few of them divide a run, so that all of it is exposed.
        let share = 2.0 / (kills.min(8) + 1) as f64 * random(&mut state);
        if killed(&cut, &settings, Duration::from_secs_f64(time * share)) {
            check();
            fs::remove_dir_all(&cut).unwrap();
        } else {
            n_killed += 1;
        }
    }
    done(&cut, &settings);
    check();
}
