//! The shipped example of a model that is kept up to date, in a small form.
#![cfg(unix)]

use std::fs;
use std::path::Path;
use std::process::Command;

use ncs_model::artifact::Artifact;
use serde_json::Value;

#[test]
fn nights_are_promoted_and_the_planted_day_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/daily/nightly.sh");
    let mut command = Command::new("sh");
    command.arg(script).arg(folder.path().join("daily"));
    let settings = [
        ("NCS", env!("CARGO_BIN_EXE_ncs")),
        ("ROWS", "15000"),
        ("DAYS", "6"),
        ("BAD", "4"),
        ("FIRST", "2"),
        ("MIN_LABELS", "60"),
        ("BOUND", "0.5..2"),
        (
            "SET",
            "--set threads=1 --set network.kind=shared_bottom --set network.hidden=[32] --set training.batch=256 \
             --set training.epochs=3 --set training.learning_rate=0.003",
        ),
    ];
    let output = command.envs(settings).output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stdout}\n{stderr}");
    let line = |day: &str| {
        let line = stdout.lines().find(|line| line.starts_with(day));
        line.unwrap_or_else(|| panic!("{day}: {stdout}")).to_owned()
    };
    assert!(line("2024-01-03").contains(": promoted: "), "{stdout}");
    // On the planted day no score rises with its labels; the next night's candidate was trained on them.
    assert!(line("2024-01-04").contains("not calibrated"), "{stdout}");
    let refused = line("2024-01-05");
    assert!(
        refused.contains("refused: not promoted: ctr: AUC is worse by"),
        "{stdout}"
    );
    assert!(line("2024-01-06").contains(": promoted: "), "{stdout}");
    // What serves knows nothing of the planted day.
    let served = folder.path().join("daily/served");
    let record = fs::read_to_string(served.join("feed.promotions.jsonl")).unwrap();
    let record: Vec<Value> = record
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
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
    let hash = Artifact::hash(&served.join("feed"))
        .unwrap()
        .to_hex()
        .to_string();
    assert_eq!(record[2]["candidate_hash"], hash.as_str());
}
