//! Comparisons with score files of other programs: evaluated as runs are, and refused with a reason if they do not
//! match the rows.

mod trained;

use std::fs;
use std::path::{Path, PathBuf};

use ncs_eval::comparison::{Comparison, DataResult, FigureKey, MethodInput, Verdict};
use trained::{done, refused};

const TEST_ROWS: u64 = 1500;

/// Returns click and conversion (given the click) of a row; neither is predictable from the row number.
fn labels(row: u64) -> (bool, bool) {
    let bits = row.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
    (bits.is_multiple_of(3), (bits / 3).is_multiple_of(4))
}

/// Writes 3,000 training rows and 1,500 test rows, with a weakly informative column `hint`.
fn log(folder: &Path) {
    for (name, rows) in [("train", 0..3000), ("test", 10_000..10_000 + TEST_ROWS)] {
        let mut text = String::from("user,hint,click,buy\n");
        for row in rows {
            let (click, buy) = labels(row);
            let hint = if row % 2 == 0 { click } else { row % 3 == 0 };
            let bought = click.then(|| u8::from(buy).to_string());
            let bought = bought.unwrap_or_default();
            text += &format!("{},{hint},{},{bought}\n", row % 50, u8::from(click));
        }
        fs::write(folder.join(format!("{name}.csv")), text).unwrap();
    }
    let run = r#"
[data]
train = "train.csv"
test = "test.csv"
split = { by = "row", valid = 0.2 }

[columns]
hint = "categorical"

[tasks.ctr]
label = "click"

[tasks.cvr]
label = "buy"
where = "ctr"

[evaluation]
group = "user"

[network]
kind = "shared_bottom"
dim = 4
hidden = [8]

[training]
epochs = 1
"#;
    fs::write(folder.join("run.toml"), run).unwrap();
}

/// Writes a score file of the test rows: `header`, then the result of `row` for each row.
fn write_scores(path: &Path, header: &str, row: impl Fn(u64) -> String) {
    let lines = (0..TEST_ROWS).map(|at| row(at) + "\n");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, format!("{header}\n{}", lines.collect::<String>())).unwrap();
}

/// Scores clicks with a little noise, and conversions with a constant.
fn good(at: u64) -> String {
    let (click, _) = labels(10_000 + at);
    let noise = (at % 100) as f64 / 1000.0;
    format!("{},0.25", if click { 0.9 - noise } else { 0.1 + noise })
}

const PLAN: &str = r#"
seeds = [1, 2]
references = ["ours"]

[tuning]
trials = 1

[data.log]
run = "run.toml"

[methods.ours]

[methods.theirs]
about = "Another program."
scores = "theirs/{seed}.csv"
"#;

/// Writes `text` as a comparison into `folder` and runs it into `folder/out`.
#[track_caller]
fn compared(folder: &Path, text: &str, more: &[&str]) -> Comparison {
    fs::write(folder.join("compare.toml"), text).unwrap();
    let arguments = [&["compare", "compare.toml", "--out", "out"], more].concat();
    done(folder, &arguments);
    let text = fs::read_to_string(folder.join("out/comparison.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn method<'a>(found: &'a Comparison, name: &str) -> &'a MethodInput {
    found.input.data[0].method(name).unwrap()
}

fn verdict(data: &DataResult, method: &str, task: &str) -> Verdict {
    let key = FigureKey {
        task: task.to_owned(),
        figure: "AUC".to_owned(),
    };
    data.difference(method, "ours", &key).unwrap().verdict
}

#[test]
fn a_better_program_is_found_better_and_its_cost_is_told() {
    let folder = tempfile::tempdir().unwrap();
    log(folder.path());
    for seed in [1, 2] {
        let path = folder.path().join(format!("theirs/{seed}.csv"));
        let header = "p_ctr,p_cvr,seed,cpu_seconds";
        write_scores(&path, header, |at| format!("{},{seed},7.5", good(at)));
    }
    let found = compared(folder.path(), PLAN, &[]);
    assert_eq!(verdict(&found.data[0], "theirs", "ctr"), Verdict::Better);
    assert_eq!(
        verdict(&found.data[0], "theirs", "cvr"),
        Verdict::NotSignificant
    );
    for (seed, run) in (1..).zip(&method(&found, "theirs").seeds) {
        assert_eq!((run.seed, run.cost.seconds), (seed, 7.5));
        assert_eq!(run.metrics.tasks["ctr"].auc, Some(1.0));
        assert_eq!(
            run.metrics.tasks["cvr"].auc,
            Some(0.5),
            "every score is the same"
        );
        assert_eq!(run.metrics.tasks["ctr"].gauc, Some(1.0));
        assert_eq!(run.calibration.len(), 2);
        assert!(
            folder.path().join("out").join(&run.folder).is_file(),
            "{}",
            run.folder
        );
    }
    let page = fs::read_to_string(folder.path().join("out/comparison.md")).unwrap();
    assert!(page.contains("Not trained here: theirs."), "{page}");
    assert!(
        page.contains("| theirs | – | – | 7.5 | – | – | – | – |"),
        "{page}"
    );
}

/// Returns the folder of the only run of the method `ours` for a seed.
fn run_of(folder: &Path, seed: u64) -> PathBuf {
    let runs = fs::read_dir(folder.join("out/runs/log/ours")).unwrap();
    let mut runs = runs.map(|entry| entry.unwrap().path());
    let is_of_seed = |path: &PathBuf| path.to_string_lossy().contains(&format!("seed-{seed}-"));
    runs.find(is_of_seed).unwrap()
}

/// Scores get the same metrics from a run and from a file.
#[test]
fn what_ncs_score_wrote_is_judged_as_the_run_was() {
    let folder = tempfile::tempdir().unwrap();
    log(folder.path());
    let alone = PLAN.split("[methods.theirs]").next().unwrap();
    compared(folder.path(), alone, &[]);
    fs::create_dir(folder.path().join("scored")).unwrap();
    for seed in [1, 2] {
        let model = run_of(folder.path(), seed).join("model");
        let out = format!("scored/log-{seed}.parquet");
        let arguments = [
            "score",
            model.to_str().unwrap(),
            "--data",
            "test.csv",
            "--out",
            &out,
        ];
        done(folder.path(), &arguments);
    }
    let text = PLAN.replace("theirs/{seed}.csv", "{data}-{seed}.parquet");
    let found = compared(folder.path(), &text, &["--scores", "scored"]);
    let (ours, theirs) = (method(&found, "ours"), method(&found, "theirs"));
    for (ours, theirs) in ours.seeds.iter().zip(&theirs.seeds) {
        assert_eq!(ours.metrics, theirs.metrics);
        let bins = |run: &ncs_eval::comparison::MeasuredRun| -> Vec<_> {
            run.calibration
                .iter()
                .map(|curve| curve.bins.clone())
                .collect()
        };
        assert_eq!(bins(ours), bins(theirs));
    }
    for difference in &found.data[0].differences {
        assert_eq!(difference.difference.estimate.mean, 0.0);
    }
}

#[test]
fn rows_may_stand_in_any_order_where_they_are_numbered() {
    let folder = tempfile::tempdir().unwrap();
    log(folder.path());
    let header = "row,p_ctr,p_cvr,y_ctr,y_cvr";
    for seed in [1, 2] {
        let path = folder.path().join(format!("theirs/{seed}.csv"));
        write_scores(&path, header, |at| {
            let at = (at * 7 + seed) % TEST_ROWS;
            let (click, buy) = labels(10_000 + at);
            let buy = if click {
                u8::from(buy).to_string()
            } else {
                String::new()
            };
            format!("{at},{},{},{buy}", good(at), u8::from(click))
        });
    }
    let found = compared(folder.path(), PLAN, &[]);
    assert_eq!(
        method(&found, "theirs").seeds[0].metrics.tasks["ctr"].auc,
        Some(1.0)
    );
}

#[test]
fn a_file_that_does_not_fit_is_refused_before_anything_runs() {
    let folder = tempfile::tempdir().unwrap();
    log(folder.path());
    fs::write(folder.path().join("compare.toml"), PLAN).unwrap();
    let arguments = ["compare", "compare.toml", "--out", "out"];
    let right = folder.path().join("theirs/1.csv");
    let wrong = folder.path().join("theirs/2.csv");
    write_scores(&right, "p_ctr,p_cvr", good);
    let check = |header: &str, row: &dyn Fn(u64) -> String, parts: &[&str]| {
        write_scores(&wrong, header, row);
        let cell = "data set \"log\", method \"theirs\": ";
        refused(
            folder.path(),
            &arguments,
            &[&[cell, "2.csv"], parts].concat(),
        );
        assert!(!folder.path().join("out/runs").exists());
    };
    let at_4 = |at: u64, row: &str| if at == 4 { row.to_owned() } else { good(at) };
    check(
        "p_ctr,p_cvr",
        &|at| at_4(at, ",0.5"),
        &["column \"p_ctr\", row 5: no number"],
    );
    check(
        "p_ctr,p_cvr",
        &|at| at_4(at, "0.5,NaN"),
        &["column \"p_cvr\"", "no number"],
    );
    let range = "column \"p_cvr\", row 5: -1.5 is not a probability";
    check(
        "p_ctr,p_cvr",
        &|at| at_4(at, "0.5,-1.5"),
        &[range, "sigmoid"],
    );
    check(
        "p_ctr,p_cvr",
        &|at| at_4(at, "0.5,high"),
        &["column \"p_cvr\", row 5", "high"],
    );
    check("p_ctr,p_cvr", &|at| at_4(at, "0.5"), &["row 5"]);
    let lost =
        "no column \"p_cvr\"; scores are in a column p_TASK for each task, here p_ctr, p_cvr";
    check("p_ctr,pcvr", &good, &[lost, "did you mean pcvr?"]);
    let numbered = |at: u64| format!("{},{}", at.min(TEST_ROWS - 2), good(at));
    check(
        "row,p_ctr,p_cvr",
        &numbered,
        &["evaluated row 1498 already has scores, in row 1499"],
    );
    let from_1 = |at: u64| format!("{},{}", at + 1, good(at));
    check(
        "row,p_ctr,p_cvr",
        &from_1,
        &["1500 is not the index of an evaluated row, 0 to 1499"],
    );
    let of_other_row = |at: u64| format!("{},{}", good(at), u8::from(labels(10_001 + at).0));
    check(
        "p_ctr,p_cvr,y_ctr",
        &of_other_row,
        &["column \"y_ctr\": the label of row", "in another order"],
    );
    let of_seed_1 = |at: u64| format!("{},1", good(at));
    check(
        "p_ctr,p_cvr,seed",
        &of_seed_1,
        &["the scores are of seed 1; expected seed 2"],
    );
    let two_trainings = |at: u64| format!("{},{}", good(at), at / 1000);
    check(
        "p_ctr,p_cvr,cpu_seconds",
        &two_trainings,
        &["row 1001: 1, but 0 in the first row"],
    );
    let backwards = |at: u64| format!("{},-3", good(at));
    check(
        "p_ctr,p_cvr,cpu_seconds",
        &backwards,
        &["-3 is not a number of seconds"],
    );
    fs::write(&wrong, "p_ctr,p_cvr\n0.5,0.5\n").unwrap();
    refused(
        folder.path(),
        &arguments,
        &["2.csv: 1 rows of scores for 1500 evaluated rows"],
    );
    fs::remove_file(&wrong).unwrap();
    refused(
        folder.path(),
        &arguments,
        &["no scores of seed 2: ", "2.csv is not there"],
    );
    fs::remove_file(&right).unwrap();
    refused(
        folder.path(),
        &arguments,
        &["no scores of seed 1, 2: ", "1.csv is not there"],
    );
}

#[test]
fn what_the_comparison_says_of_score_files_is_checked() {
    let folder = tempfile::tempdir().unwrap();
    log(folder.path());
    let check = |text: &str, part: &str| {
        fs::write(folder.path().join("compare.toml"), text).unwrap();
        refused(
            folder.path(),
            &["compare", "compare.toml", "--out", "out"],
            &[part],
        );
    };
    let more = |text: &str| format!("{PLAN}{text}\n");
    check(
        &more("set = { seed = 1 }"),
        "method \"theirs\" consists of score files, to which set does not apply",
    );
    check(
        &more("masks_of = \"ours\""),
        "to which masks_of does not apply",
    );
    check(
        &more("[methods.kept]\nweights_of = \"theirs\""),
        "\"theirs\" consists of score files, which have no masks",
    );
    let two = "[data.again]\nrun = \"run.toml\"";
    check(
        &more(two),
        "runs on 2 data sets, but its scores name the same file for all; write {data}",
    );
    let one_file = PLAN.replace("theirs/{seed}.csv", "{data}.csv");
    let logs = "[data.made]\nsynth = { rows = 2000 }";
    check(&format!("{one_file}{logs}\n"), "write {seed} for the seed");
}

/// Returns the true probabilities of a log, as CSV.
fn write_truth(log: &Path, path: &Path) {
    let columns = ["p_click", "p_conversion"].map(str::to_owned);
    let mut rows = ncs_readers::open(log, &Default::default(), &columns).unwrap();
    let mut text = String::from("p_ctr,p_cvr\n");
    while let Some(raw) = rows.next_block().unwrap() {
        let of = |column: usize, row| raw.block.columns[column].number(row, row).unwrap().unwrap();
        for row in 0..raw.block.n_rows {
            text += &format!("{},{}\n", of(0, row), of(1, row));
        }
    }
    fs::write(path, text).unwrap();
}

/// A custom run file describes the log of every seed.
#[test]
fn synthetic_logs_have_a_run_file_and_scores_of_each_seed() {
    let folder = tempfile::tempdir().unwrap();
    let own = fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/untouched/synthetic.toml"),
    );
    let small = "\n[network]\nkind = \"shared_bottom\"\nhidden = [8]\n\n[training]\nepochs = 1\n";
    fs::write(folder.path().join("run.toml"), own.unwrap() + small).unwrap();
    for seed in ["1", "2"] {
        let out = format!("logs/{seed}");
        let rate = ["--click-rate", "0.3", "--conversion-rate", "0.3"];
        let arguments = ["synth", "--rows", "3000", "--seed", seed, "--out", &out];
        done(folder.path(), &[&arguments[..], &rate].concat());
        let log = folder.path().join(out).join("test.parquet");
        write_truth(&log, &folder.path().join(format!("log-{seed}.csv")));
    }
    let text = PLAN
        .replace("theirs/{seed}.csv", "{data}-{seed}.csv")
        .replace(
            "run = \"run.toml\"",
            "run = \"run.toml\"\nsynth = { rows = 3000, click_rate = 0.3, conversion_rate = 0.3 }",
        );
    let found = compared(folder.path(), &text, &[]);
    let (ours, theirs) = (method(&found, "ours"), method(&found, "theirs"));
    assert_eq!((ours.seeds.len(), theirs.seeds.len()), (2, 2));
    assert_ne!(
        theirs.seeds[0].metrics, theirs.seeds[1].metrics,
        "a log for each seed"
    );
    for (ours, theirs) in ours.seeds.iter().zip(&theirs.seeds) {
        let of = |run: &ncs_eval::comparison::MeasuredRun| run.metrics.tasks["cvr"];
        assert_eq!(of(ours).rows, of(theirs).rows);
        assert!(
            of(theirs).auc_entire_space > of(ours).auc_entire_space,
            "nothing beats the truth"
        );
    }
}
