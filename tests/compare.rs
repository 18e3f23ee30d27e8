//! Comparisons on the command line: running, resuming, sharing a folder, rejecting changed inputs, and error
//! messages.

mod trained;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ncs_eval::comparison::{Comparison, DataResult, FigureKey, Verdict};
use ncs_eval::{Metrics, RunReport};
use ncs4cvr::compare;
use trained::{done, ncs, refused};

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Writes `text` as a comparison into `folder` and runs it into `folder/out`.
#[track_caller]
fn compared(folder: &Path, text: &str) -> Comparison {
    fs::write(folder.join("compare.toml"), text).unwrap();
    done(folder, &["compare", "compare.toml", "--out", "out"]);
    comparison(&folder.join("out"))
}

fn comparison(out: &Path) -> Comparison {
    serde_json::from_str(&fs::read_to_string(out.join("comparison.json")).unwrap()).unwrap()
}

/// Returns the run folders with the time at which each was finished.
fn runs(out: &Path) -> Vec<(PathBuf, std::time::SystemTime)> {
    let list = |folder: PathBuf| {
        let entries = fs::read_dir(folder).into_iter().flatten();
        entries
            .map(|entry| entry.unwrap().path())
            .collect::<Vec<_>>()
    };
    let methods = list(out.join("runs")).into_iter().flat_map(list);
    let mut found: Vec<_> = methods
        .flat_map(list)
        .map(|run| {
            let time = fs::metadata(run.join("cost.json"))
                .unwrap()
                .modified()
                .unwrap();
            (run, time)
        })
        .collect();
    found.sort();
    found
}

const SMALL: &str = r#"
match = "parameters"
references = ["shared_bottom"]

[tuning]
trials = 2

[data.log]
synth = { rows = 6000, share = 1.0, click_rate = 0.3, conversion_rate = 0.3 }
set = { training = { epochs = 1, evaluations_per_epoch = 1 }, search = { rounds = 1 }, network = { hidden = [16, 8] } }

[methods.shared_bottom]
set = { network = { kind = "shared_bottom" } }

[methods.sparse_sharing]
set = { network = { kind = "sparse_sharing" } }

[methods.shuffled]
masks_of = "sparse_sharing"
set = { search = { control = "shuffled" } }

[methods.kept]
weights_of = "sparse_sharing"
set = { network = { kind = "shared_bottom" } }
"#;

const OWNED: &str = r#"
[tuning]
trials = 1

[data.log]
synth = { rows = 6000, share = 1.0, click_rate = 0.3, conversion_rate = 0.3 }
set = { training = { epochs = 1 }, network = { hidden = [16, 8] } }

[methods.owned]
width = 2.0
set = { network = { kind = "sparse_sharing" }, search = { common_units = 0 } }

[methods.owned_shuffled]
masks_of = "owned"
set = { search = { control = "shuffled" } }
"#;

fn small(seeds: &str) -> String {
    format!("seeds = {seeds}\n{SMALL}")
}

/// Small version of the shipped comparison: two logs, three methods, two seeds.
#[test]
fn the_smoke_comparison_runs_and_every_number_is_traced() {
    let folder = tempfile::tempdir().unwrap();
    let file = project().join("examples/compare/smoke.toml");
    let printed = done(
        folder.path(),
        &["compare", file.to_str().unwrap(), "--out", "out"],
    );
    let out = folder.path().join("out");
    let found = comparison(&out);
    assert_eq!(found.data.len(), 2);
    assert!(
        printed.contains("share_0") && printed.contains("shared_bottom"),
        "{printed}"
    );
    let page = fs::read_to_string(out.join("report.html")).unwrap();
    let mut n = 0;
    for data in &found.input.data {
        assert_eq!(data.methods.len(), 3);
        for method in &data.methods {
            assert_eq!(method.trials.len(), 2, "{}", method.name);
            assert_eq!(method.seeds.len(), 2, "{}", method.name);
            for run in &method.seeds {
                let path = out.join(&run.folder).join("metrics.json");
                let metrics: Metrics =
                    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
                assert_eq!(metrics, run.metrics, "{}", run.folder);
                assert!(
                    page.contains(&run.folder),
                    "{} is not in the report",
                    run.folder
                );
                assert!(run.cost.samples > 0 && run.cost.weights > 0 && run.cost.multiply_adds > 0);
                let is_search = method.name == "sparse_sharing";
                assert_eq!(run.cost.trainings > 1, is_search, "{}", run.folder);
                n += 1;
            }
        }
    }
    assert_eq!(n, 12);
    assert!(
        fs::read_to_string(out.join("comparison.md"))
            .unwrap()
            .contains("ncs compare")
    );
}

#[test]
fn runs_are_added_and_none_runs_twice() {
    let folder = tempfile::tempdir().unwrap();
    let first = compared(folder.path(), &small("[1, 2]"));
    let out = folder.path().join("out");
    let before = runs(&out);
    let again = compared(folder.path(), &small("[1, 2]"));
    assert_eq!(runs(&out), before, "finished runs are found");
    assert_eq!(again, first);
    let more = compared(folder.path(), &small("[1, 2, 3]"));
    let after = runs(&out);
    assert!(
        before.iter().all(|run| after.contains(run)),
        "and stay when a seed is added"
    );
    assert_eq!(after.len(), before.len() + 4, "a run for each method");
    let seeds: Vec<usize> = more.input.data[0]
        .methods
        .iter()
        .map(|m| m.seeds.len())
        .collect();
    assert_eq!(seeds, [3; 4]);
}

/// Runs trained on one log must not be reused for another log.
#[test]
fn a_log_with_other_settings_is_refused_where_runs_learned_from_one() {
    let folder = tempfile::tempdir().unwrap();
    compared(folder.path(), &small("[1, 2]"));
    let before = runs(&folder.path().join("out"));
    let changed = small("[1, 2]").replace("share = 1.0", "share = 0.5");
    fs::write(folder.path().join("compare.toml"), changed).unwrap();
    let parts = [
        "seed-1: this log was generated with other settings",
        "\"share\":1.0",
    ];
    refused(
        folder.path(),
        &["compare", "compare.toml", "--out", "out"],
        &parts,
    );
    assert_eq!(runs(&folder.path().join("out")), before);
}

#[test]
fn controls_have_the_masks_and_sizes_of_what_they_control() {
    let folder = tempfile::tempdir().unwrap();
    let found = compared(folder.path(), &small("[1, 2]"));
    let [_, sparse, shuffled, kept] = &found.input.data[0].methods[..] else {
        panic!("four methods");
    };
    for ((sparse, shuffled), kept) in sparse.seeds.iter().zip(&shuffled.seeds).zip(&kept.seeds) {
        assert_eq!(
            sparse.sharing, shuffled.sharing,
            "as many shared, private and pruned"
        );
        let ratio = kept.cost.weights as f64 / sparse.cost.weights as f64;
        assert!((0.9..1.1).contains(&ratio), "{ratio}");
    }
}

/// At twice the width each task has as many units as the data set specifies, and its shuffled masks stay within them.
#[test]
fn owned_units_are_as_wide_as_stated_and_shuffled_within_themselves() {
    let folder = tempfile::tempdir().unwrap();
    let found = compared(folder.path(), &format!("seeds = [1]\n{OWNED}"));
    let [owned, shuffled] = &found.input.data[0].methods[..] else {
        panic!("two methods");
    };
    let (owned, shuffled) = (&owned.seeds[0].sharing, &shuffled.seeds[0].sharing);
    assert_eq!(owned, shuffled);
    let units = owned
        .iter()
        .map(|layer| (layer.outputs, layer.own_units.clone()));
    let units: Vec<(usize, Vec<usize>)> = units.collect();
    assert_eq!(units, [(32, vec![16, 16]), (16, vec![8, 8])]);
    assert!(owned.iter().all(|layer| layer.shared == 0));
}

/// One process is killed, and others resume its work at the same time: the results equal those of a single process.
#[cfg(unix)]
#[test]
fn processes_share_a_folder_and_go_on_after_a_stop() {
    let folder = tempfile::tempdir().unwrap();
    let alone = compared(folder.path(), &small("[1, 2, 3]"));
    let start = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ncs"));
        command.args(["compare", "compare.toml", "--out", "shared", "--jobs", "1"]);
        command
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let mut stopped = start();
    while runs_begun(&folder.path().join("shared")) < 2 {
        assert!(stopped.try_wait().unwrap().is_none(), "it ended too soon");
        std::thread::yield_now();
    }
    let id = stopped.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-s", "TERM", &id])
            .status()
            .unwrap()
            .success()
    );
    let output = stopped.wait_with_output().unwrap();
    let printed = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(143), "{printed}");
    assert!(
        printed.contains("run the same command again to resume"),
        "{printed}"
    );
    let both = [start(), start()].map(|child| child.wait_with_output().unwrap());
    for output in both {
        let printed = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{printed}");
    }
    let shared = comparison(&folder.path().join("shared"));
    assert_eq!(shared.data, alone.data);
}

fn runs_begun(out: &Path) -> usize {
    let list = |folder: PathBuf| {
        fs::read_dir(folder)
            .into_iter()
            .flatten()
            .flatten()
            .map(|e| e.path())
    };
    list(out.join("runs")).flat_map(list).flat_map(list).count()
}

/// Writes rows in which `leak` equals the conversion, and `noise` is uninformative.
fn leaky_log(folder: &Path) {
    let mut text = String::from("noise,leak,click,buy\n");
    for row in 0..6000u64 {
        let bits = row.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
        let (click, buy) = (bits % 3 == 0, bits / 3 % 4 == 0);
        let leak = if buy { "yes" } else { "no" };
        let buy = if click {
            u8::from(buy).to_string()
        } else {
            String::new()
        };
        text += &format!("{},{leak},{},{buy}\n", bits / 12 % 17, u8::from(click));
    }
    fs::write(folder.join("log.csv"), text).unwrap();
    let run = r#"
[data]
train = "log.csv"
split = { by = "row", valid = 0.2, test = 0.3 }

[columns]
noise = "categorical"

[tasks.ctr]
label = "click"

[tasks.cvr]
label = "buy"
where = "ctr"

[network]
kind = "shared_bottom"
dim = 4
hidden = [8]

[training]
epochs = 2
batch = 128
learning_rate = 0.01
"#;
    fs::write(folder.join("run.toml"), run).unwrap();
}

fn verdict(data: &DataResult, method: &str, task: &str) -> Verdict {
    let key = FigureKey {
        task: task.to_owned(),
        figure: "AUC".to_owned(),
    };
    data.difference(method, "honest", &key).unwrap().verdict
}

const RIGGED: &str = r#"
references = ["honest"]

[tuning]
trials = 1

[data.log]
run = "run.toml"

[methods.honest]

[methods.rigged]
set = { columns = { leak = "categorical" } }

[methods.same]
set = { training = { epochs = 2 } }
"#;

#[test]
fn a_rigged_method_is_found_better_and_chance_is_told() {
    let folder = tempfile::tempdir().unwrap();
    leaky_log(folder.path());
    let found = compared(folder.path(), &format!("seeds = [1, 2, 3]\n{RIGGED}"));
    let data = &found.data[0];
    assert_eq!(verdict(data, "rigged", "cvr"), Verdict::Better);
    assert_eq!(verdict(data, "same", "cvr"), Verdict::NotSignificant);
    let chance = |method: &str, task: &str| {
        let wanted = |found: &&ncs_eval::comparison::ChanceResult| {
            found.method == method && found.key.task == task
        };
        data.chance.iter().find(wanted).unwrap().verdict
    };
    assert_eq!(chance("rigged", "cvr"), Verdict::Better);
    assert_eq!(
        chance("honest", "cvr"),
        Verdict::NotSignificant,
        "noise predicts nothing"
    );
}

#[test]
fn one_seed_gives_no_verdict() {
    let folder = tempfile::tempdir().unwrap();
    leaky_log(folder.path());
    let found = compared(folder.path(), &format!("seeds = [1]\n{RIGGED}"));
    for difference in &found.data[0].differences {
        assert_eq!(difference.verdict, Verdict::TooFewSeeds);
    }
    let page = fs::read_to_string(folder.path().join("out/comparison.md")).unwrap();
    assert!(
        page.contains("no significance test with a single seed"),
        "{page}"
    );
}

/// A failed run is reported and does not affect other runs.
#[test]
fn a_run_that_fails_is_told_and_the_rest_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    leaky_log(folder.path());
    let text = format!(
        "seeds = [1, 2]\n{RIGGED}\n[methods.mad]\nset = {{ training = {{ learning_rate = 1e30 }} }}\n"
    );
    fs::write(folder.path().join("compare.toml"), text).unwrap();
    let output = ncs(folder.path(), &["compare", "compare.toml", "--out", "out"]);
    assert_eq!(output.status.code(), Some(1));
    let printed = String::from_utf8_lossy(&output.stderr);
    assert!(
        printed.contains("log, mad, seed 1:") && printed.contains("the loss of task"),
        "{printed}"
    );
    let found = comparison(&folder.path().join("out"));
    let n_seeds: Vec<usize> = found.input.data[0]
        .methods
        .iter()
        .map(|m| m.seeds.len())
        .collect();
    assert_eq!(n_seeds, [2, 2, 2, 0]);
}

#[test]
fn what_is_wrong_is_told_before_anything_runs() {
    let folder = tempfile::tempdir().unwrap();
    leaky_log(folder.path());
    let check = |text: &str, parts: &[&str]| {
        fs::write(folder.path().join("compare.toml"), text).unwrap();
        refused(
            folder.path(),
            &["compare", "compare.toml", "--out", "out"],
            parts,
        );
        assert!(!folder.path().join("out/runs").exists());
    };
    let right = format!("seeds = [1, 2]\n{RIGGED}");
    check(
        &right.replace("references = [\"honest\"]", "references = [\"honset\"]"),
        &["compare.toml:3: \"honset\" is not a method; did you mean honest?"],
    );
    check(
        &right.replace("trials = 1", "trails = 1"),
        &["unknown key trails in tuning; did you mean trials?"],
    );
    check(
        &right.replace("run = \"run.toml\"", ""),
        &["data set \"log\" needs run (a run file) or synth"],
    );
    check(
        &right.replace("{ leak = \"categorical\" }", "{ leek = \"categorical\" }"),
        &[
            "data set \"log\", method \"rigged\":",
            "column \"leek\" is not in",
        ],
    );
    check(
        &right.replace(
            "set = { training = { epochs = 2 } }",
            "masks_of = \"honest\"",
        ),
        &["masks_of names \"honest\", whose network has no masks"],
    );
    check(
        &format!("{right}\n[methods.lost]\nmasks_of = \"nobody\"\n"),
        &["\"nobody\" is not a method"],
    );
    let wide = "[methods.wide]\nwidth = 2";
    check(
        &format!("{right}\n{wide}\nmasks_of = \"honest\"\n"),
        &["method \"wide\" has width, but match, masks_of or weights_of already sets its widths"],
    );
    check(
        &format!("match = \"parameters\"\n{right}\n{wide}\n"),
        &["method \"wide\" has width, but match"],
    );
    check(
        &format!("{right}\n[methods.wide]\nwidth = 0\n"),
        &["methods.wide.width is 0; it must be above 0"],
    );
    check(
        &right.replace("trials = 1", "trials = 1\nlearning_rate = [0.1, 0.01]"),
        &["tuning.learning_rate is 0.1 to 0.01"],
    );
    check(
        &right.replace("[methods.same]", "[methods.\"a/b\"]"),
        &["becomes the name of a folder"],
    );
}

#[test]
fn the_shipped_comparisons_fit_their_data() {
    let folder = project().join("examples/compare");
    for name in [
        "ebnerd",
        "kuairec",
        "census_income",
        "coat",
        "hillstrom",
        "tencent_video",
        "owned_units_real",
    ] {
        let shared = project().join("../shared/data");
        if !shared.exists() {
            println!("skipped: ../shared is absent");
            return;
        }
        let n = compare::check(&folder.join(format!("{name}.toml")))
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(n >= 16, "{name}: {n}");
    }
    // Score files come from other programs, and synthetic logs do not exist yet.
    let n =
        compare::check(&folder.join("baselines.toml")).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(n, 5);
}

/// The figures of the report equal those in the reports of the runs.
#[test]
fn reports_of_runs_are_left_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    leaky_log(folder.path());
    let found = compared(folder.path(), &format!("seeds = [1, 2]\n{RIGGED}"));
    for run in &found.input.data[0].methods[0].seeds {
        let path = folder
            .path()
            .join("out")
            .join(&run.folder)
            .join("report.json");
        let report: RunReport = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        assert_eq!(report.calibration, run.calibration);
        assert_eq!(report.learning, run.learning);
    }
}
