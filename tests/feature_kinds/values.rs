//! Tasks of numbers: seconds depend on a place and an item, and a fifth of the rows have none.

use std::fs;
use std::path::Path;

use ncs_model::{CounterRng, TensorFile};
use serde_json::{Value, json};

use crate::trained::{done, refused};
use crate::{log, same_everywhere};

/// Expected seconds of a row that has some.
fn expected(place: u64, item: u64) -> f64 {
    let effect = |name: &str, of: u64| CounterRng::new(9, name).normal(of);
    (3.0 + 0.5 * effect("place", place) + 0.6 * effect("item", item)).exp()
}

/// Seconds of exponential distribution, and clicks of those who would stay long.
fn row(rng: CounterRng) -> (Value, f64) {
    let (place, item) = (rng.bits(100) % 8, rng.bits(101) % 30);
    let mean = expected(place, item);
    let seconds = match rng.bits(102) % 5 {
        0 => 0.0,
        _ => -mean * (1.0 - rng.uniform(103)).ln(),
    };
    (
        json!({ "place": place, "item": item, "seconds": seconds }),
        mean.ln() - 3.5,
    )
}

/// Writes a run file of the tasks `ctr` and `cvr`, the latter of seconds.
fn run_file(folder: &Path, name: &str, task: &str) {
    let text = format!(
        "threads = 2\n\
         data = {{ train = \"train.jsonl\", valid = \"valid.jsonl\", test = \"test.jsonl\", cache = \"cache\" }}\n\
         network = {{ kind = \"sparse_sharing\", dim = 8, hidden = [32, 16] }}\n\
         features = {{ rates = \"none\" }}\n\
         evaluation = {{ keep_scores = true, bootstrap = 10 }}\n\
         columns = {{ place = \"categorical\", item = \"categorical\" }}\n\
         [tasks]\nctr = {{ label = \"click\" }}\ncvr = {{ label = \"seconds\", {task} }}\n"
    );
    fs::write(folder.join(format!("{name}.toml")), text).unwrap();
}

/// Trains with a loss into the folder `name`; returns the metrics of the seconds and their predictions.
fn train(folder: &Path, name: &str, task: &str) -> (Value, Vec<f32>) {
    run_file(folder, name, task);
    trained(folder, name)
}

/// Trains by a run file into the folder of its name.
fn trained(folder: &Path, name: &str) -> (Value, Vec<f32>) {
    done(folder, &["train", &format!("{name}.toml"), "--out", name]);
    let metrics = fs::read_to_string(folder.join(name).join("metrics.json")).unwrap();
    let mut metrics: Value = serde_json::from_str(&metrics).unwrap();
    let scores = TensorFile::read(&folder.join(name).join("scores.safetensors")).unwrap();
    (
        metrics["tasks"]["cvr"].take(),
        scores.f32("scores.cvr").unwrap(),
    )
}

/// Returns the mean of `|ln prediction - ln truth|` over the test rows: of 5 rows 4 have seconds.
fn distance(folder: &Path, scores: &[f32]) -> f64 {
    let text = fs::read_to_string(folder.join("test.jsonl")).unwrap();
    let truth = |line: &str| {
        let row: Value = serde_json::from_str(line).unwrap();
        let [place, item] = ["place", "item"].map(|name| row[name].as_u64().unwrap());
        0.8 * expected(place, item)
    };
    let rows = text.lines().map(truth).zip(scores);
    let errors = rows.map(|(truth, &score)| (f64::from(score).max(1e-3).ln() - truth.ln()).abs());
    errors.sum::<f64>() / scores.len() as f64
}

#[test]
fn every_loss_finds_the_planted_expectations() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    log(path, row);
    for (name, task) in [
        ("squared", "loss = \"squared\""),
        ("poisson", "loss = \"poisson\""),
        ("weighted", "loss = \"weighted_logistic\""),
    ] {
        let (metrics, scores) = train(path, name, task);
        let found = distance(path, &scores);
        println!("{name}: {found:.3} {metrics}");
        // One prediction for all rows is more than .6 off in the mean.
        assert!(found < 0.4, "{name}: {found} {metrics}");
        let of = |figure: &str| metrics[figure].as_f64().unwrap();
        assert!(of("gini") > 0.3, "{metrics}");
        assert!(metrics["auc"].is_null(), "{metrics}");
        assert!((of("pcoc") - 1.0).abs() < 0.1, "{metrics}");
        assert!(of("relative_squared_error") < 0.85, "{metrics}");
        assert!(of("absolute_error") < 25.0, "{metrics}");
    }
    same_everywhere(path, "poisson", &["place"]);
    fs::remove_dir_all(path.join("scores")).unwrap();
    same_everywhere(path, "squared", &["item"]);
    let evaluated = done(path, &["evaluate", "poisson", "--data", "test.jsonl"]);
    assert!(evaluated.contains("normalised Gini"), "{evaluated}");
    let inspected = done(path, &["inspect", "squared"]);
    assert!(inspected.contains("squared (unit "), "{inspected}");
    let page = fs::read_to_string(path.join("squared/report.html")).unwrap();
    assert!(page.contains("mean absolute error"));
}

/// Money: nine rows of ten spend nothing, and the others amounts of a heavy tail. Both the chance and the amount depend on
/// the item, in opposite directions for some.
fn spending(rng: CounterRng) -> (Value, f64) {
    let item = rng.bits(101) % 30;
    let (chance, location) = law(item);
    let spends = rng.uniform(102) < chance;
    let amount = (location + 1.2 * rng.normal(103)).exp();
    let columns = json!({ "place": 0, "item": item, "seconds": if spends { amount } else { 0.0 } });
    (columns, location)
}

/// The chance that something is spent on an item, and the mean of the amount's logarithm.
fn law(item: u64) -> (f64, f64) {
    let rng = CounterRng::new(9, "spending");
    let chance = 1.0 / (1.0 + (2.0 - 0.8 * rng.normal(item)).exp());
    (chance, 4.0 + 0.7 * rng.normal(100 + item))
}

/// Returns the mean distance of the logarithms of prediction and expectation.
fn distance_of_spending(folder: &Path, scores: &[f32]) -> f64 {
    let text = fs::read_to_string(folder.join("test.jsonl")).unwrap();
    let errors = text.lines().zip(scores).map(|(line, &score)| {
        let row: Value = serde_json::from_str(line).unwrap();
        let (chance, location) = law(row["item"].as_u64().unwrap());
        let expected = chance.ln() + location + 1.2_f64.powi(2) / 2.0;
        (f64::from(score).max(1e-3).ln() - expected).abs()
    });
    errors.sum::<f64>() / scores.len() as f64
}

#[test]
fn zeros_and_a_heavy_tail_are_learned_apart_and_joined_in_the_mean() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    log(path, spending);
    // Of a few hundred amounts, batches of the default size make too few steps.
    let [(ziln, found), (poisson, other)] = ["ziln", "poisson"].map(|loss| {
        run_file(path, loss, &format!("loss = \"{loss}\""));
        let file = path.join(format!("{loss}.toml"));
        let text = fs::read_to_string(&file).unwrap() + "[training]\nbatch = 128\n";
        fs::write(&file, text).unwrap();
        let (metrics, scores) = trained(path, loss);
        (metrics, distance_of_spending(path, &scores))
    });
    println!("ziln {found:.3} {ziln}\npoisson {other:.3} {poisson}");
    // One prediction for all rows is more than .8 off in the mean.
    assert!(found < 0.6, "{found} {ziln}");
    assert!(ziln["gini"].as_f64().unwrap() > 0.3, "{ziln}");
    same_everywhere(path, "ziln", &["place"]);
    let inspected = done(path, &["inspect", "ziln"]);
    assert!(inspected.contains("ziln (unit "), "{inspected}");
    // Experts, joint steps, and a network whose vectors have parts for tasks.
    for (name, set) in [
        ("mmoe", "network.kind=mmoe"),
        ("stem", "network.kind=stem"),
        ("home", "network.kind=home"),
        ("joint", "training.steps=joint"),
    ] {
        let sets = ["train", "ziln.toml", "--out", name, "--set", set];
        done(path, &[&sets[..], &["--set", "training.epochs=1"]].concat());
        fs::remove_dir_all(path.join("scores")).unwrap();
        same_everywhere(path, name, &["item"]);
    }
    let alone = ["check", "ziln.toml", "--set", "network.kind=single_task"];
    refused(path, &alone, &["\"cvr\"", "three outputs", "shared_bottom"]);
}

#[test]
fn large_labels_do_not_decide_with_hubers_loss() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    // One row in fifty has a label fifty times as large as the others'.
    log(path, |rng| {
        let (mut columns, logit) = row(rng);
        if rng.bits(104).is_multiple_of(50) {
            columns["seconds"] = json!(2_000.0);
        }
        (columns, logit)
    });
    let (_, squared) = train(path, "squared", "loss = \"squared\"");
    let (_, huber) = train(path, "huber", "loss = { kind = \"huber\", delta = 0.1 }");
    let [squared, huber] = [squared, huber].map(|scores| distance(path, &scores));
    println!("squared {squared:.3}, Huber {huber:.3}");
    assert!(huber < squared - 0.3, "{huber} {squared}");
}

#[test]
fn labels_that_cannot_be_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    log(path, |rng| {
        let (mut columns, logit) = row(rng);
        columns["seconds"] = json!(-1.5);
        (columns, logit)
    });
    run_file(path, "poisson", "loss = \"poisson\"");
    let train = ["train", "poisson.toml", "--out", "out"];
    refused(
        path,
        &train,
        &["\"seconds\"", "-1.5", "a finite number, at least 0"],
    );
    run_file(path, "squared", "loss = \"squared\"");
    let train = ["train", "squared.toml", "--out", "out"];
    refused(path, &train, &["\"cvr\"", "all 6000 known labels are -1.5"]);
    run_file(path, "delta", "loss = { kind = \"huber\", delta = 0 }");
    refused(path, &["check", "delta.toml"], &["delta"]);
    run_file(path, "wide", "loss = \"squared\", negative_rate = 0.5");
    refused(
        path,
        &["check", "wide.toml"],
        &["negative_rate", "cross_entropy"],
    );
    let text = fs::read_to_string(path.join("squared.toml")).unwrap();
    let text = text + "buy = { label = \"buy\", where = \"cvr\" }\n";
    fs::write(path.join("where.toml"), text).unwrap();
    refused(
        path,
        &["check", "where.toml"],
        &["\"cvr\" is 1", "is a number"],
    );
}
