//! Conversion tasks with the click logit as input, from the run file to the reports.

mod short_run;
mod trained;

use std::fs;
use std::path::Path;

use ncs_model::artifact::Artifact;
use ncs4cvr::run_file::RunFile;
use trained::done;

const SETS: [&str; 7] = [
    "data.cache=\"cache\"",
    "threads=1",
    "network.hidden=[16, 8]",
    "training.epochs=4",
    "training.batch=256",
    "training.checkpoint_steps=3",
    "training.click_logit=\"learned\"",
];

fn log() -> tempfile::TempDir {
    short_run::log(&["--share", "1"])
}

fn open(folder: &Path, sets: &[&str]) -> RunFile {
    short_run::open(folder, &SETS, sets)
}

fn train(folder: &Path, out: &str, sets: &[&str]) -> Artifact {
    short_run::train(&open(folder, sets), &folder.join(out))
}

fn bytes(folder: &Path, out: &str) -> Vec<Vec<u8>> {
    short_run::bytes(&folder.join(out))
}

#[test]
fn kappa_is_learned_and_told() {
    let folder = log();
    for (out, sets) in [
        ("masks", &[][..]),
        ("owned", &["search.common_units=0"]),
        ("joint", &["training.steps=\"joint\""]),
        (
            "bottom",
            &[
                "network.kind=\"shared_bottom\"",
                "training.keep=\"best_joint\"",
            ],
        ),
    ] {
        let (tasks, taken) = train(folder.path(), out, sets).taken().unwrap();
        assert_eq!(tasks, [0, 1]);
        assert!(
            taken.kappa != 0.0 && taken.kappa.abs() < 1.0,
            "{out}: {taken:?}"
        );
        let error = taken.error().unwrap();
        assert!(error > 0.0 && error.is_finite(), "{out}: {taken:?}");
        let shown = done(folder.path(), &["inspect", out]);
        let expected = format!("adds {:.3} (standard error", taken.kappa);
        assert!(shown.contains(&expected), "{shown}");
        let report = fs::read_to_string(folder.path().join(out).join("report.html")).unwrap();
        assert!(report.contains(&expected), "{out}");
    }
    let permuted = ["training.click_logit=\"permuted\""];
    let artifact = train(folder.path(), "permuted", &permuted);
    assert_eq!(
        (artifact.taken(), artifact.spec.plan.heads.takes),
        (None, None)
    );
    let log = fs::read_to_string(folder.path().join("permuted/log.txt")).unwrap();
    assert!(
        log.contains("times the permuted logit (control: not used in scoring)"),
        "{log}"
    );
}

#[test]
fn an_interrupted_run_takes_as_much_in_the_end() {
    let folder = log();
    train(folder.path(), "whole", &[]);
    let file = open(folder.path(), &[]);
    for after in [20, 29, 41] {
        let out = format!("cut-{after}");
        short_run::dies(&file, &folder.path().join(&out), after);
        train(folder.path(), &out, &[]);
        assert_eq!(
            bytes(folder.path(), &out),
            bytes(folder.path(), "whole"),
            "{after}"
        );
    }
}
