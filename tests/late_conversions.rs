//! `tasks.NAME.late`: labels that become known after a while.

mod short_run;
mod trained;

use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use ncs_readers::Prepared;
use ncs4cvr::progress::Progress;
use serde_json::Value;
use short_run::SETS;
use trained::{done, ncs, refused};

/// A log of 20 days; the last four are for tests, of which training knows nothing. Conversions come within six days.
fn log() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let synth = [
        "synth", "--rows", "20000", "--out", "log", "--format", "csv", "--unseen", "0.4",
    ];
    let rates = [
        "--click-rate",
        "0.4",
        "--conversion-rate",
        "0.3",
        "--drift",
        "0",
    ];
    let late = ["--delays", "2"];
    done(folder.path(), &[&synth[..], &rates, &late].concat());
    folder
}

fn method(method: &str) -> String {
    format!("tasks.cvr.late.method={method:?}")
}

fn prepared(folder: &Path, more: &[&str]) -> Prepared {
    let file = short_run::open(folder, &SETS, more);
    let stop = AtomicBool::new(false);
    ncs4cvr::training::prepare_rows(&file.plan, Progress::Quiet, &stop).unwrap()
}

/// Rows of a CSV file of the log as `(click, time, conversion time)`.
fn rows(folder: &Path, part: &str) -> Vec<(bool, String, String)> {
    let text = fs::read_to_string(folder.join(format!("log/{part}.csv"))).unwrap();
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().unwrap().split(',').collect();
    let place = |name: &str| header.iter().position(|column| *column == name).unwrap();
    let [click, time, conversion] = ["click", "time", "conversion_time"].map(place);
    let row = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        (
            cells[click] == "1",
            cells[time].to_owned(),
            cells[conversion].to_owned(),
        )
    };
    lines.map(row).collect()
}

#[test]
fn labels_are_those_that_were_known() {
    let folder = log();
    let path = folder.path();
    let as_of = "2024-01-17";
    let mature = "2024-01-11";
    let text = fs::read_to_string(path.join("log/run.toml")).unwrap();
    assert!(text.contains(&format!("as_of = \"{as_of}\"")), "{text}");
    let all: Vec<_> = ["train", "valid"]
        .iter()
        .flat_map(|part| rows(path, part))
        .collect();
    let clicks = || all.iter().filter(|(click, ..)| *click);
    let converted = |known: &dyn Fn(&str) -> bool| {
        clicks()
            .filter(|(.., conversion)| !conversion.is_empty() && known(conversion))
            .count() as u64
    };
    let counts = |name: &str| {
        let data = prepared(path, &[&method(name)]);
        let parts = [Some(&data.train), data.valid.as_ref()];
        let counts = parts.map(|part| part.unwrap().label_counts().tasks[1]);
        (counts, data.schema.clone())
    };
    let n_mature = clicks()
        .filter(|(_, time, _)| time.as_str() <= mature)
        .count() as u64;
    let ([wait, valid], _) = counts("wait");
    assert_eq!(wait.known + valid.known, n_mature);
    let ([negatives, of_valid], _) = counts("as_negatives");
    assert_eq!(of_valid, valid);
    let ([oracle, _], schema) = counts("oracle");
    assert_eq!(negatives.known, oracle.known);
    assert!(negatives.positives < oracle.positives);
    // The same rows of validation are mature everywhere, so what training knew is what is left.
    let in_valid = |positives: u64| positives + valid.positives;
    let later = clicks()
        .filter(|(_, time, conversion)| time.as_str() > mature && !conversion.is_empty())
        .filter(|(.., conversion)| conversion.as_str() > as_of)
        .count() as u64;
    assert!(in_valid(oracle.positives) <= converted(&|_| true));
    assert!(in_valid(negatives.positives) <= converted(&|time| time <= as_of));
    assert!(oracle.positives - negatives.positives <= later);
    assert!(oracle.positives - negatives.positives > later / 2);
    let late = schema.tasks[1].row_rules.late.as_ref().unwrap();
    assert!(!late.delays.is_empty());
}

#[test]
fn the_share_of_conversions_to_come_is_told() {
    let folder = log();
    let output = ncs(folder.path(), &["check", "log/run.toml"]);
    let report = String::from_utf8_lossy(&output.stdout);
    let line = report
        .lines()
        .find(|line| line.contains("younger than the attribution window"));
    let line = line.unwrap_or_else(|| panic!("{report}"));
    let words: Vec<&str> = line.split_whitespace().collect();
    let percent = words.iter().position(|word| *word == "%").unwrap();
    let report: f64 = words[percent - 1].parse().unwrap();
    // What is to come is known here.
    let all: Vec<_> = ["train", "valid"]
        .iter()
        .flat_map(|part| rows(folder.path(), part))
        .collect();
    let immature = || {
        let converted = all
            .iter()
            .filter(|(click, _, conversion)| *click && !conversion.is_empty());
        converted.filter(|(_, time, _)| time.as_str() > "2024-01-11")
    };
    let later = immature().filter(|(.., conversion)| conversion.as_str() > "2024-01-17");
    let share = 100.0 * later.count() as f64 / immature().count() as f64;
    assert!(
        (report - share).abs() < 12.0,
        "estimated {report} %, there are {share} %"
    );
    assert!(share > 10.0);
}

#[test]
fn probabilities_are_those_of_final_labels_unless_rows_are_taken_for_negatives() {
    let folder = log();
    let path = folder.path();
    let pcoc = |name: &str, more: &[&str]| {
        let method = method(name);
        let sets = [&[method.as_str(), "calibration.kind=\"none\""][..], more].concat();
        let file = short_run::open(path, &SETS, &sets);
        short_run::train(&file, &path.join(name));
        let text = fs::read_to_string(path.join(name).join("metrics.json")).unwrap();
        let report: Value = serde_json::from_str(&text).unwrap();
        report["tasks"]["cvr"]["pcoc"].as_f64().unwrap()
    };
    let oracle = pcoc("oracle", &[]);
    let of = |name: &str, more: &[&str]| pcoc(name, more) / oracle;
    let negatives = of("as_negatives", &[]);
    assert!(negatives < 0.93, "{negatives}");
    for (name, more) in [
        ("wait", &[][..]),
        ("delay_distribution", &["tasks.cvr.late.by=\"delivery\""]),
        ("fnw", &[]),
        ("fnc", &[]),
        ("dfm", &[]),
        ("es_dfm", &["tasks.cvr.late.elapsed_days=1"]),
        ("defer", &[]),
    ] {
        let ratio = of(name, more);
        assert!((0.9..1.12).contains(&ratio), "{name}: {ratio}");
    }
}

#[test]
fn times_that_cannot_be_are_refused() {
    let folder = log();
    let path = folder.path();
    let text = fs::read_to_string(path.join("log/train.csv")).unwrap();
    let header: Vec<&str> = text.lines().next().unwrap().split(',').collect();
    let last = header.len() - 1;
    assert_eq!(header[last], "conversion_time");
    let at_row = text
        .lines()
        .skip(1)
        .position(|line| !line.ends_with(','))
        .unwrap()
        + 1;
    let changed = |conversion: &str| {
        let lines = text.lines().enumerate().map(|(n, line)| {
            if n == at_row {
                format!("{},{conversion}\n", line.rsplit_once(',').unwrap().0)
            } else {
                format!("{line}\n")
            }
        });
        lines.collect::<String>()
    };
    for (conversion, what) in [
        ("2023-01-01T00:00:00Z", "before the click"),
        ("", "missing"),
    ] {
        fs::write(path.join("log/train.csv"), changed(conversion)).unwrap();
        refused(
            path,
            &["train", "log/run.toml", "--out", "run"],
            &[
                "train.csv",
                &format!("row {at_row}"),
                "the conversion time of task \"cvr\" is",
                what,
            ],
        );
    }
}

#[test]
fn settings_without_a_meaning_are_refused() {
    let folder = log();
    let check = |sets: &[&str], parts: &[&str]| {
        let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
        let train = ["train", "log/run.toml", "--out", "run"];
        refused(folder.path(), &[&train[..], &sets].concat(), parts);
    };
    check(
        &["tasks.cvr.late.as_of=\"soon\""],
        &["as_of is \"soon\", which is not a time"],
    );
    check(
        &["tasks.cvr.late.click_time=\"tim\""],
        &["column \"tim\" is not in", "did you mean time?"],
    );
    let fnw = method("fnw");
    check(
        &["training.loss=\"esmm\"", &fnw],
        &["esmm has a loss of its own, and so has late.method of task \"cvr\""],
    );
    check(
        &["tasks.cvr.negative_rate=0.5", &fnw],
        &["may still convert, for which this late.method cannot correct"],
    );
    check(
        &["tasks.cvr.loss=\"focal\"", &fnw],
        &["late.method changes the cross-entropy"],
    );
    let dfm = method("dfm");
    check(
        &["network.kind=\"single_task\"", &dfm],
        &["trains auxiliary heads beside the task's"],
    );
    check(
        &["tasks.cvr.late.elapsed_days=1"],
        &["elapsed_days is of late.method = \"es_dfm\" and \"defer\""],
    );
    check(
        &["tasks.cvr.late.elapsed_days=6", &method("defer")],
        &["a conversion would come after attribution_days = 6; state fewer days"],
    );
    // Nothing is mature a day after the first click.
    let early = [
        "tasks.cvr.late.as_of=\"2024-01-02\"",
        "tasks.cvr.late.method=\"delay_distribution\"",
    ];
    check(&early, &["so nothing says how late conversions are"]);
    let short = ["tasks.cvr.late.as_of=\"2024-01-12\"", &method("fnc")];
    check(
        &short,
        &["training rows must reach back 12 days before as_of"],
    );
}

/// Auxiliary heads have masks and table rows of their task, are part of the saved state, and are not scored.
#[test]
fn a_network_with_masks_trains_auxiliary_heads() {
    let folder = log();
    let path = folder.path();
    let masks = ["network.kind=\"sparse_sharing\"", "search.density=0.5"];
    for (name, n_heads) in [("es_dfm", 2), ("dfm", 1)] {
        let method = method(name);
        let sets = [&masks[..], &[method.as_str()]].concat();
        let file = short_run::open(path, &SETS, &sets);
        let model = short_run::train(&file, &path.join(name));
        assert_eq!(model.spec.plan.heads.late, vec![1; n_heads]);
        let again = short_run::train(&file, &path.join(format!("{name}_again")));
        assert_eq!(model.spec, again.spec);
        let bytes = |name: &str| short_run::bytes(&path.join(name));
        assert!(bytes(name) == bytes(&format!("{name}_again")));
        let text = fs::read_to_string(path.join(name).join("metrics.json")).unwrap();
        let report: Value = serde_json::from_str(&text).unwrap();
        assert!(
            report["tasks"]["cvr"]["auc"].as_f64().unwrap() > 0.55,
            "{report}"
        );
        assert_eq!(report["tasks"].as_object().unwrap().len(), 2);
    }
}

/// After an earlier training that knew everything up to a moment, a training learns what came since.
#[test]
fn what_came_since_teaches_once() {
    let folder = log();
    let path = folder.path();
    let (since, as_of) = ("2024-01-15", "2024-01-16T12:00:00Z");
    let all: Vec<_> = ["train", "valid"]
        .iter()
        .flat_map(|part| rows(path, part))
        .collect();
    let counts = |name: &str, more: &[&str]| {
        let (since, as_of) = (
            format!("tasks.cvr.late.since={since:?}"),
            format!("tasks.cvr.late.as_of={as_of:?}"),
        );
        let method = method(name);
        let sets = [&[method.as_str(), &since, &as_of], more].concat();
        let data = prepared(path, &sets);
        let parts = [Some(&data.train), data.valid.as_ref()];
        parts.map(|part| part.unwrap().label_counts().clone())
    };
    // Texts of instants are in the order of the instants.
    let within = |time: &str, from: &str, to: &str| time > from && time <= to;
    let n = |is_counted: &dyn Fn(&(bool, String, String)) -> bool| {
        all.iter().filter(|row| is_counted(row)).count() as u64
    };
    let is_new = |time: &str| within(time, since, "2024-01-16 12");
    let matures = |time: &str| within(time, "2024-01-09", "2024-01-10 12");
    let clicked = n(&|(click, time, _)| *click && is_new(time));
    let matured = n(&|(click, time, _)| *click && matures(time));
    // Other tasks have no moment at which they look.
    let impressions = n(&|(_, time, _)| time.as_str() > since);
    let [train, valid] = counts("wait", &[]);
    assert_eq!(train.tasks[1].known + valid.tasks[1].known, matured);
    assert_eq!(train.tasks[0].known + valid.tasks[0].known, impressions);
    assert!(train.rows < all.len() as u64 / 3);
    let [train, valid] = counts("dfm", &[]);
    let of_training = |matured: u64| train.tasks[1].known + matured;
    assert!(train.tasks[1].known < clicked && of_training(valid.tasks[1].known) > clicked / 2);
    // A first sample two days after the click, a conversion after that, or the end of the window.
    let [train, valid] = counts("es_dfm", &["tasks.cvr.late.elapsed_days=2"]);
    let converts = |(click, time, conversion): &(bool, String, String)| {
        let is_late = days(conversion) - days(time) > 2.0;
        *click && !conversion.is_empty() && is_new(conversion) && is_late
    };
    let first = |time: &str| within(time, "2024-01-13", "2024-01-14 12");
    let new = n(&|row| row.0 && (first(&row.1) || matures(&row.1) || converts(row)));
    let valid_only = n(&|row| row.0 && (first(&row.1) || converts(row)) && !matures(&row.1));
    let found = train.tasks[1].known + valid.tasks[1].known;
    // Validation takes a share of all rows, and of these only mature ones.
    assert!(found <= new && found + valid_only > new, "{found} of {new}");
    assert!(found > new - valid_only / 3, "{found} of {new}");
    let check = ["train", "log/run.toml", "--out", "run", "--set"];
    refused(
        path,
        &[&check[..], &["tasks.cvr.late.since=\"2024-02-01\""]].concat(),
        &["since is not before as_of"],
    );
}

/// Days since the start of the year of a time such as `2024-01-03T06:00:00Z`; 0 of an empty text.
fn days(time: &str) -> f64 {
    let number = |range| {
        let text: Option<&str> = time.get(range);
        text.map_or(0.0, |text| text.parse::<f64>().unwrap_or(0.0))
    };
    let [day, hour, minute, second] = [8..10, 11..13, 14..16, 17..19].map(number);
    day + (hour + (minute + second / 60.0) / 60.0) / 24.0
}
