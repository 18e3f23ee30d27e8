//! Three tasks through every command: a click with a like and a long view, and a chain of click, cart and purchase.

mod trained;

use std::fs;
use std::path::Path;

use ncs4cvr::run_file::{FileColumns, ListingError, RunFile};
use serde_json::Value;
use trained::done;

const SETS: [&str; 7] = [
    "threads=1",
    "network.hidden=[16, 8]",
    "training.epochs=1",
    "training.batch=128",
    "search.epochs_per_round=0.5",
    "evaluation.bootstrap=20",
    "data.cache=\"cache\"",
];

/// Generates the log of an example beside a copy of it; returns the folder and the run file's path in it.
fn example(name: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let log = format!("runs/{name}");
    let synth = ["synth", "--rows", "6000", "--click-rate", "0.3"];
    done(
        folder.path(),
        &[&synth[..], &["--tasks", name, "--out", &log]].concat(),
    );
    let file = format!("examples/three_tasks/{name}.toml");
    fs::create_dir_all(folder.path().join("examples/three_tasks")).unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(&file);
    fs::copy(source, folder.path().join(&file)).unwrap();
    (folder, file)
}

/// Runs a command of a run file with short settings and these.
fn run(folder: &Path, arguments: &[&str], sets: &[&str]) -> String {
    let sets = SETS.iter().chain(sets);
    let sets: Vec<&str> = sets.flat_map(|set| ["--set", set]).collect();
    done(folder, &[arguments, &sets].concat())
}

fn metrics(folder: &Path, out: &str) -> Value {
    let text = fs::read_to_string(folder.join(out).join("metrics.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value}"))
}

/// Returns the columns of a CSV file by name.
fn columns(path: &Path) -> Vec<(String, Vec<f64>)> {
    let text = fs::read_to_string(path).unwrap();
    let mut lines = text.lines();
    let names = lines.next().unwrap().split(',').map(str::to_owned);
    let mut columns: Vec<(String, Vec<f64>)> = names.map(|name| (name, Vec::new())).collect();
    for line in lines {
        for (column, text) in columns.iter_mut().zip(line.split(',')) {
            column.1.push(text.parse().unwrap());
        }
    }
    columns
}

fn walks(name: &str, tasks: [&str; 3], products: [&str; 2]) {
    let (folder, file) = example(name);
    let folder = folder.path();
    let checked = run(folder, &["check", &file], &[]);
    tasks
        .iter()
        .for_each(|task| assert!(checked.contains(task), "{checked}"));
    run(folder, &["train", &file, "--out", "out"], &[]);
    let trained = metrics(folder, "out");
    for task in tasks {
        let auc = number(&trained["tasks"][task]["auc"]);
        assert!((0.3..1.0).contains(&auc), "{task}: {auc}");
        assert!(number(&trained["tasks"][task]["auc_entire_space"]) > 0.4);
    }
    // The first product is the funnel's; the second has a name.
    let of_funnel = trained["ctcvr"].clone();
    let further = trained["products"][products[1]].clone();
    for product in [&of_funnel, &further] {
        assert_eq!(product["rows"], 1200, "{product}");
        assert!((0.3..1.0).contains(&number(&product["auc"])), "{product}");
    }
    let evaluate = ["evaluate", "out", "--data"];
    let test = format!("runs/{name}/test.parquet");
    let again = done(
        folder,
        &[&evaluate[..], &[&test, "--json", "--slice", "device"]].concat(),
    );
    let again: Value = serde_json::from_str(&again).unwrap();
    // Intervals are of more resamples there.
    assert_eq!(again["products"][products[1]]["auc"], further["auc"]);
    assert_eq!(again["ctcvr"]["auc"], of_funnel["auc"]);
    for figure in ["auc", "pcoc", "rows"] {
        let [found, expected] = [&again, &trained].map(|of| &of["tasks"][tasks[2]][figure]);
        assert_eq!(found, expected, "{figure}");
    }
    assert_eq!(again["slices"][0]["tasks"].as_object().unwrap().len(), 3);
    scores(folder, &test, tasks, products);
    shows(folder, tasks);
}

/// The score file has the tasks and both products, each the product of its chain.
fn scores(folder: &Path, test: &str, tasks: [&str; 3], products: [&str; 2]) {
    done(
        folder,
        &["score", "out", "--data", test, "--out", "scores.csv"],
    );
    let columns = columns(&folder.join("scores.csv"));
    let names: Vec<&str> = columns.iter().map(|column| &column.0[..]).collect();
    let expected = tasks
        .iter()
        .chain(&products)
        .map(|name| format!("p_{name}"));
    assert_eq!(names, expected.collect::<Vec<_>>());
    let [first, second, third, of_two, of_all] = &columns[..] else {
        panic!("{names:?}");
    };
    let is_chain = products[1].split('_').count() == 3 && tasks[1] == "cart";
    for row in 0..first.1.len() {
        let pair = first.1[row] * second.1[row];
        let last = if is_chain { pair } else { first.1[row] } * third.1[row];
        assert!((of_two.1[row] - pair).abs() < 1e-6);
        assert!((of_all.1[row] - last).abs() < 1e-6);
    }
}

/// The report and `ncs inspect` have the overlap of each pair.
fn shows(folder: &Path, tasks: [&str; 3]) {
    let shown = done(folder, &["inspect", "out"]);
    let report = fs::read_to_string(folder.join("out/report.html")).unwrap();
    for (a, b) in [(0, 1), (0, 2), (1, 2)] {
        let pair = format!("{}, {}", tasks[a], tasks[b]);
        assert!(report.contains(&format!(">{pair}</td>")), "{pair}");
        let lines = shown.lines().filter(|line| line.starts_with(&pair));
        // Two hidden layers, and all together.
        assert_eq!(lines.count(), 3, "{shown}");
    }
    for expected in ["shared by all", "shared by some"] {
        assert!(report.contains(expected), "{expected}");
    }
    let title = format!("{}, {} and {}", tasks[0], tasks[1], tasks[2]);
    assert!(report.contains(&title), "{title}");
}

#[test]
fn a_like_and_a_long_view_go_through_every_command() {
    walks(
        "engagement",
        ["click", "like", "long_view"],
        ["click_like", "click_long_view"],
    );
}

#[test]
fn a_chain_goes_through_every_command() {
    walks(
        "chain",
        ["click", "cart", "purchase"],
        ["click_cart", "click_cart_purchase"],
    );
}

#[test]
fn a_product_over_all_impressions_is_trained_by_its_chain() {
    let (folder, file) = example("chain");
    let folder = folder.path();
    let sets = [
        "network.kind=\"shared_bottom\"",
        "training.epochs=3",
        "calibration.kind=\"none\"",
    ];
    let train = |out: &str, loss: &str| {
        let loss = format!("training.loss=\"{loss}\"");
        run(
            folder,
            &["train", &file, "--out", out],
            &[&sets[..], &[&loss]].concat(),
        );
        done(
            folder,
            &[
                "score",
                out,
                "--data",
                "runs/chain/test.parquet",
                "--out",
                "scores.csv",
            ],
        );
        let columns = columns(&folder.join("scores.csv"));
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let product = metrics(folder, out)["products"]["click_cart_purchase"].clone();
        let observed = number(&product["positives"]) / number(&product["rows"]);
        (
            mean(&columns[4].1) / observed,
            metrics(folder, out)["tasks"]["purchase"].clone(),
        )
    };
    let (joint, of_joint) = train("joint", "esmm");
    let (apart, of_apart) = train("apart", "clicked");
    println!("purchases predicted over observed: {joint:.3} by products, {apart:.3} apart");
    // About 27 purchases of 1,200 test impressions: three standard deviations.
    assert!((joint - 1.0).abs() < 0.6, "{joint}");
    // Another loss: the two models differ.
    assert_ne!(of_joint["auc"], of_apart["auc"]);
}

#[test]
fn shared_and_own_embeddings_are_trained_for_three_tasks() {
    let (folder, file) = example("engagement");
    let folder = folder.path();
    let sets = ["network.kind=\"stem\"", "network.experts=2"];
    run(folder, &["train", &file, "--out", "out"], &sets);
    let trained = metrics(folder, "out");
    for task in ["click", "like", "long_view"] {
        assert!(number(&trained["tasks"][task]["auc_entire_space"]) > 0.4);
    }
    let shown = done(folder, &["inspect", "out"]);
    for layer in ["like.expert_1.fc_0", "expert_0.fc_0", "long_view.gate"] {
        assert!(shown.contains(layer), "{layer}: {shown}");
    }
    // 8 numbers for each of three tasks, and 8 shared ones.
    assert!(shown.contains("stem, vectors of 32"), "{shown}");
}

#[test]
fn every_example_of_three_tasks_is_a_right_run_file() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/three_tasks");
    let unseen = |_: &_| -> Result<Vec<FileColumns>, ListingError> { Ok(Vec::new()) };
    let mut n_files = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let file = RunFile::parse(&path.display().to_string(), &text, &folder, &[], &unseen);
        let file = file.unwrap_or_else(|error| panic!("{error}"));
        assert!(file.notes.is_empty(), "{:?}", file.notes);
        assert_eq!(file.plan.schema.tasks.len(), 3);
        n_files += 1;
    }
    assert_eq!(n_files, 3);
}
