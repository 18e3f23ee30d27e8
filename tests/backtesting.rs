//! `ncs backtest`: days in time order, further trainings, resuming.

mod short_run;
mod trained;

use std::fs;
use std::path::Path;

use serde_json::Value;
use trained::{done, ncs, refused};

const SETS: [&str; 6] = [
    "threads=1",
    "network.kind=shared_bottom",
    "network.hidden=[8]",
    "training.epochs=1",
    "training.batch=256",
    "calibration.kind=none",
];

/// A log of five days, 1200 rows each.
fn log() -> tempfile::TempDir {
    short_run::log(&["--format", "csv", "--unseen", "0.3", "--days", "5"])
}

fn backtest(folder: &Path, out: &str, more: &[&str]) -> Value {
    let sets: Vec<&str> = SETS.iter().flat_map(|set| ["--set", set]).collect();
    let start = ["backtest", "log/run.toml", "--out", out, "--json"];
    let text = done(folder, &[&start[..], &sets, more].concat());
    serde_json::from_str(&text).unwrap()
}

fn days(backtest: &Value, line: usize) -> Vec<&Value> {
    backtest["lines"][line]["days"]
        .as_array()
        .unwrap()
        .iter()
        .collect()
}

fn texts<'a>(days: &[&'a Value], key: &str) -> Vec<&'a str> {
    days.iter().map(|day| day[key].as_str().unwrap()).collect()
}

/// Without processor times, which no two runs share.
fn timeless(mut backtest: Value) -> Value {
    for line in backtest["lines"].as_array_mut().unwrap() {
        for day in line["days"].as_array_mut().unwrap() {
            day["seconds"] = Value::Null;
        }
    }
    backtest
}

#[test]
fn every_day_is_evaluated_by_the_model_of_the_days_before() {
    let folder = log();
    let folder = folder.path();
    let more = ["--by", "time", "--window", "2", "--frozen"];
    let found = backtest(folder, "out", &more);
    let names: Vec<&str> = (0..3)
        .map(|line| found["lines"][line]["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        ["trained further", "from scratch, last 2 days", "frozen"]
    );
    let further = days(&found, 0);
    let expected = ["2024-01-02", "2024-01-03", "2024-01-04", "2024-01-05"];
    assert_eq!(texts(&further, "day"), expected);
    assert_eq!(
        texts(&further, "trained_on"),
        ["2024-01-01", "2024-01-02", "2024-01-03", "2024-01-04"]
    );
    let window = days(&found, 1);
    assert_eq!(
        texts(&window, "trained_on"),
        [
            "2024-01-01",
            "2024-01-01..2024-01-02",
            "2024-01-02..2024-01-03",
            "2024-01-03..2024-01-04"
        ]
    );
    let frozen = days(&found, 2);
    assert_eq!(texts(&frozen, "trained_on"), ["2024-01-01"; 4]);
    // All three are one model on the first day, and differ on later ones.
    assert_eq!(further[0]["metrics"], frozen[0]["metrics"]);
    assert_eq!(further[0]["metrics"], window[0]["metrics"]);
    assert_ne!(further[3]["metrics"], frozen[3]["metrics"]);
    assert!(frozen[1]["seconds"].is_null() && further[1]["seconds"].as_f64().unwrap() > 0.0);
    let rows: u64 = further
        .iter()
        .map(|day| day["rows"].as_u64().unwrap())
        .sum();
    assert_eq!(rows + further[0]["training_rows"].as_u64().unwrap(), 6000);
    // The figures are those of ncs evaluate on the rows of the day.
    let model = fs::read_dir(folder.join("out/models")).unwrap();
    let mut models: Vec<String> = model
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    models.sort();
    assert_eq!(
        models.len(),
        2,
        "the first and the latest model are kept: {models:?}"
    );
    let model = format!("out/models/{}", models[1]);
    let report = done(
        folder,
        &[
            "evaluate",
            &model,
            "--data",
            "out/days/2024-01-05",
            "--json",
        ],
    );
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["tasks"], further[3]["metrics"]["tasks"]);
    // It went on day by day.
    let inspected = done(folder, &["inspect", &model]);
    assert_eq!(
        inspected.matches("trained further from model").count(),
        3,
        "{inspected}"
    );
    // The item is new every day, and a model that is trained further knows more of them.
    let unseen = |day: &Value| day["unseen"]["item"].as_f64().unwrap();
    assert!(unseen(frozen[3]) > unseen(further[3]) && unseen(further[3]) > 0.0);
    let page = fs::read_to_string(folder.join("out/backtest.html")).unwrap();
    for part in [
        "ctr: AUC",
        "ctr: predicted over observed",
        ": share of values that training never saw",
        "frozen",
    ] {
        assert!(page.contains(part), "{part}");
    }
    // Called again, nothing is left to do; the figures are the same.
    let steps = fs::read(folder.join("out/steps.json")).unwrap();
    assert_eq!(backtest(folder, "out", &more), found);
    assert_eq!(fs::read(folder.join("out/steps.json")).unwrap(), steps);
}

#[test]
fn folders_by_day_give_the_same_figures_and_later_days_go_on() {
    let folder = log();
    let folder = folder.path();
    let by_column = backtest(folder, "columns", &["--by", "time", "--keep-models"]);
    for day in 1..=5 {
        let from = folder.join(format!("columns/days/2024-01-0{day}"));
        let to = folder.join(format!("log/logs/day=2024-01-0{day}"));
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::rename(from, to).unwrap();
    }
    let folders = [
        "--set",
        "data.train=\"logs\"",
        "--set",
        "data.valid=[]",
        "--set",
        "data.test=[]",
    ];
    let some = backtest(
        folder,
        "folders",
        &[&folders[..], &["--days", "..2024-01-03"]].concat(),
    );
    assert_eq!(texts(&days(&some, 0), "day"), ["2024-01-02", "2024-01-03"]);
    let steps = |out: &str| -> Value {
        let text = fs::read_to_string(folder.join(out).join("steps.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    };
    let before = steps("folders");
    // What is finished is kept, down to its processor time.
    let all = backtest(folder, "folders", &folders);
    for key in before["trainings"].as_object().unwrap().keys() {
        assert_eq!(steps("folders")["trainings"][key], before["trainings"][key]);
    }
    assert_eq!(steps("folders")["trainings"].as_object().unwrap().len(), 4);
    assert_eq!(timeless(all)["lines"], timeless(by_column)["lines"]);
}

#[test]
fn a_stopped_backtest_ends_with_the_same_figures() {
    let folder = log();
    let folder = folder.path();
    let whole = backtest(folder, "whole", &["--by", "time", "--window", "2"]);
    // The evaluation of a day is lost, with the model that it needs and all after it.
    backtest(
        folder,
        "cut",
        &["--by", "time", "--window", "2", "--days", "..2024-01-04"],
    );
    fs::remove_dir_all(folder.join("cut/models")).unwrap();
    let cut = backtest(folder, "cut", &["--by", "time", "--window", "2"]);
    assert_eq!(timeless(cut), timeless(whole));
}

/// Ends a process with SIGTERM while it trains: it resumes, and the figures are those of an undisturbed run.
#[cfg(unix)]
#[test]
fn a_signal_stops_it_and_it_resumes() {
    use std::process::{Command, Stdio};
    let folder = log();
    let folder = folder.path();
    let sets: Vec<&str> = SETS.iter().flat_map(|set| ["--set", set]).collect();
    let start = ["backtest", "log/run.toml", "--out", "out", "--by", "time"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_ncs"));
    command.args(start).args(&sets).current_dir(folder);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    while !folder.join("out/models").exists() {
        assert!(
            child.try_wait().unwrap().is_none(),
            "ended before it was asked"
        );
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    let asked = Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status();
    assert!(asked.unwrap().success());
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(143), "{stderr}");
    assert!(
        stderr.contains("run the same command again to continue"),
        "{stderr}"
    );
    assert!(!folder.join("out/steps.json").exists());
    let resumed = backtest(folder, "out", &["--by", "time"]);
    assert_eq!(
        timeless(resumed),
        timeless(backtest(folder, "whole", &["--by", "time"]))
    );
}

#[test]
fn days_without_rows_or_labels_are_told_and_left_out() {
    let folder = log();
    let folder = folder.path();
    let text: String = ["train", "valid", "test"]
        .iter()
        .enumerate()
        .map(|(at, part)| {
            let text = fs::read_to_string(folder.join(format!("log/{part}.csv"))).unwrap();
            let skip = usize::from(at > 0);
            text.lines()
                .skip(skip)
                .map(|line| format!("{line}\n"))
                .collect::<String>()
        })
        .collect();
    let header = text.lines().next().unwrap().to_owned();
    let place = |name: &str| header.split(',').position(|column| column == name).unwrap();
    let (time, click, conversion) = (place("time"), place("click"), place("conversion"));
    let mut rows: Vec<String> = Vec::new();
    for line in text.lines() {
        let mut cells: Vec<&str> = line.split(',').collect();
        if cells[time].starts_with("2024-01-03") {
            continue;
        }
        // No labels are known of the second day.
        if cells[time].starts_with("2024-01-02") {
            (cells[click], cells[conversion]) = ("", "");
        }
        rows.push(cells.join(","));
    }
    fs::write(folder.join("log/all.csv"), rows.join("\n") + "\n").unwrap();
    let data = [
        "--by",
        "time",
        "--set",
        "data.train=\"all.csv\"",
        "--set",
        "data.valid=[]",
        "--set",
        "data.test=[]",
    ];
    let found = backtest(folder, "out", &data);
    assert_eq!(texts(&days(&found, 0), "day"), ["2024-01-04", "2024-01-05"]);
    // The model of the first day evaluates the fourth, since the second cannot be trained on.
    assert_eq!(
        texts(&days(&found, 0), "trained_on"),
        ["2024-01-01", "2024-01-04"]
    );
    let notes: Vec<&str> = found["notes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|note| note.as_str().unwrap())
        .collect();
    for part in [
        "no rows from 2024-01-03",
        "2024-01-02 has no labels",
        "not trained on 2024-01-02: ",
    ] {
        assert!(
            notes.iter().any(|note| note.contains(part)),
            "{part}: {notes:?}"
        );
    }
}

#[test]
fn what_is_wrong_is_told_before_the_first_training() {
    let folder = log();
    let folder = folder.path();
    let check = |more: &[&str], parts: &[&str]| {
        let start = ["backtest", "log/run.toml", "--out", "out"];
        refused(folder, &[&start[..], more].concat(), parts);
        assert!(!folder.join("out/models").exists());
    };
    check(
        &[],
        &["nothing tells the day of a row", "--by", "day=2026-11-28"],
    );
    check(&["--by", "tiem"], &["tiem"]);
    check(&["--by", "device"], &["device"]);
    check(
        &["--by", "time", "--days", "2024"],
        &["expected FIRST..LAST"],
    );
    check(
        &["--by", "time", "--initial", "5"],
        &["5 days with rows", "at least 6"],
    );
    let output = ncs(
        folder,
        &["backtest", "log/run.toml", "--out", "log", "--by", "time"],
    );
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("holds files that no run wrote"), "{stderr}");
}

/// Labels that come late are those that were known at the end of each day, and days are evaluated on the final ones.
#[test]
fn late_labels_are_known_when_they_come() {
    let late = ["--days", "9", "--delays", "0.5", "--delay-window", "2"];
    let folder = short_run::log(&[&["--format", "csv", "--unseen", "0.3"], &late[..]].concat());
    let folder = folder.path();
    let more = |method: &str| {
        let method = format!("tasks.cvr.late.method={method}");
        let by = ["--by", "time", "--window", "4", "--frozen", "--keep-models"];
        let sets = ["--set".to_owned(), method];
        [by.map(str::to_owned).to_vec(), sets.to_vec()].concat()
    };
    let run = |out: &str, method: &str, initial: &str| {
        let more = more(method);
        let more: Vec<&str> = more.iter().map(String::as_str).collect();
        backtest(folder, out, &[&more[..], &["--initial", initial]].concat())
    };
    let found = run("wait", "wait", "4");
    let further = days(&found, 0);
    assert_eq!(further.len(), 5);
    assert_eq!(
        texts(&further, "trained_on")[1..],
        texts(&further, "day")[..4]
    );
    for day in &further {
        let name = day["day"].as_str().unwrap();
        // All conversions of the day, and not those that were known at its end.
        let positives = day["metrics"]["tasks"]["cvr"]["positives"]
            .as_u64()
            .unwrap();
        assert_eq!(positives, conversions(folder, name));
    }
    // The model of each day knows labels up to the end of that day, and learned those that came since the day before.
    for entry in fs::read_dir(folder.join("wait/models")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let artifact = ncs_model::artifact::Artifact::read(&path.join("model")).unwrap();
        let rules = artifact.schema.tasks[1].row_rules.late.clone().unwrap();
        let day: f64 = name[8..10].parse().unwrap();
        assert_eq!(rules.as_of, seconds(day + 1.0), "{name}");
        let is_further = !artifact.ancestry.is_empty();
        assert_eq!(rules.since, is_further.then(|| seconds(day)), "{name}");
    }
    // Methods that know less or more of the labels train other models.
    let oracle = run("oracle", "oracle", "4");
    let stream = run("stream", "es_dfm", "5");
    assert_ne!(days(&oracle, 0)[4]["metrics"], further[4]["metrics"]);
    assert_eq!(days(&stream, 0).len(), 4);
    // On the first day nothing of a label is final: it joins the days after it.
    let early = run("early", "wait", "1");
    let notes = early["notes"].to_string();
    assert!(notes.contains("not trained on 2024-01-01: "), "{notes}");
    assert!(!days(&early, 0).is_empty());
}

/// Seconds since 1970 at the beginning of a day of January 2024, from 1.
fn seconds(day: f64) -> f64 {
    1_704_067_200.0 + 86_400.0 * (day - 1.0)
}

/// Conversions of a day in the files of the log.
fn conversions(folder: &Path, day: &str) -> u64 {
    let count = |part: &str| {
        let text = fs::read_to_string(folder.join(format!("log/{part}.csv"))).unwrap();
        let mut lines = text.lines();
        let header: Vec<&str> = lines.next().unwrap().split(',').collect();
        let place = |name: &str| header.iter().position(|column| *column == name).unwrap();
        let [time, conversion] = ["time", "conversion"].map(place);
        lines
            .map(|line| line.split(',').collect::<Vec<_>>())
            .filter(|cells| cells[time].starts_with(day) && cells[conversion] == "1")
            .count() as u64
    };
    ["train", "valid", "test"].map(count).iter().sum()
}
