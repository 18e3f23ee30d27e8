//! Commands that inspect or run a trained model: evaluate, score, inspect.

mod trained;

use std::fs;
use std::path::Path;

use ncs_features::Values;
use ncs_model::NetworkKind;
use serde_json::Value;
use trained::{done, folder, refused};

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn keys(value: &Value) -> Vec<&str> {
    value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

fn sorted(mut names: Vec<&str>) -> Vec<&str> {
    names.sort_unstable();
    names
}

#[test]
fn evaluate_prints_what_programs_rely_on() {
    let folder = folder(NetworkKind::SparseSharing);
    let arguments = ["evaluate", "run/model", "--data", "log/test.csv", "--json"];
    let found = json(&done(folder.path(), &arguments));
    assert_eq!(sorted(keys(&found)), ["columns", "ctcvr", "notes", "tasks"]);
    assert_eq!(sorted(keys(&found["tasks"])), ["ctr", "cvr"]);
    let ctr = &found["tasks"]["ctr"];
    let named = [
        "rows",
        "positives",
        "auc",
        "auc_interval",
        "gauc",
        "log_loss",
        "squared_error",
        "pcoc",
        "ece",
    ];
    for name in named {
        assert!(ctr.get(name).is_some(), "{name}: {ctr}");
    }
    assert_eq!(ctr["rows"], 1000);
    assert!(
        ctr["auc"]
            .as_f64()
            .is_some_and(|auc| (0.0..=1.0).contains(&auc))
    );
    assert_eq!(ctr["auc_interval"].as_array().map(Vec::len), Some(2));
    assert!(ctr["squared_error"].is_null());
    assert_eq!(found["tasks"]["cvr"]["rows"], ctr["positives"]);
    assert_eq!(found["ctcvr"]["rows"], 1000);
}

#[test]
fn evaluate_prints_a_table_and_takes_the_folder_of_a_run() {
    let folder = folder(NetworkKind::SharedBottom);
    let text = done(
        folder.path(),
        &["evaluate", "run", "--data", "log/*.csv", "--threads", "2"],
    );
    for part in ["AUC", "ctr", "cvr", "CTCVR", "5,000", "shared_bottom"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

/// Returns the rows of the log without some of its columns.
fn without(folder: &Path, columns: &[&str], name: &str) {
    let mut reader = csv::Reader::from_path(folder.join("log/test.csv")).unwrap();
    let header = reader.headers().unwrap().clone();
    let kept = |record: &csv::StringRecord| -> Vec<String> {
        let cells = header.iter().zip(record);
        let kept = cells.filter(|(name, _)| !columns.contains(name));
        kept.map(|(_, cell)| cell.to_owned()).collect()
    };
    let mut writer = csv::Writer::from_path(folder.join(name)).unwrap();
    writer.write_record(kept(&header)).unwrap();
    for record in reader.records() {
        writer.write_record(kept(&record.unwrap())).unwrap();
    }
    writer.flush().unwrap();
}

#[test]
fn a_missing_column_is_named() {
    let folder = folder(NetworkKind::SparseSharing);
    let path = folder.path();
    without(path, &["city"], "no_city.csv");
    for verb in ["evaluate", "score"] {
        let mut arguments = vec![verb, "run/model", "--data", "no_city.csv"];
        if verb == "score" {
            arguments.extend(["--out", "scores.csv"]);
        }
        refused(path, &arguments, &["no_city.csv", "no column \"city\""]);
    }
    assert!(!path.join("scores.csv").exists());

    without(path, &["conversion"], "no_label.csv");
    let arguments = ["evaluate", "run/model", "--data", "no_label.csv"];
    refused(
        path,
        &arguments,
        &["no column \"conversion\"", "label of task \"cvr\""],
    );

    let unlabelled = ["click", "conversion", "p_click", "p_conversion", "session"];
    without(path, &unlabelled, "unlabelled.csv");
    let arguments = [
        "score",
        "run/model",
        "--data",
        "unlabelled.csv",
        "--out",
        "scores.csv",
    ];
    done(path, &arguments);

    without(
        path,
        &["p_click", "p_conversion", "session"],
        "no_truth.csv",
    );
    let arguments = ["evaluate", "run/model", "--data", "no_truth.csv", "--json"];
    let found = json(&done(path, &arguments));
    assert!(found["tasks"]["ctr"]["gauc"].is_null());
    assert!(found["tasks"]["ctr"]["auc_entire_space"].is_null());
}

/// Reads the scores of a score file.
fn scores(path: &Path) -> Vec<Vec<f32>> {
    let names = ["p_ctr", "p_cvr", "p_ctcvr"].map(str::to_owned);
    let found = ncs_readers::column_names(path, &Default::default()).unwrap();
    assert!(found.ends_with(&names), "{found:?}");
    let mut rows = ncs_readers::open(path, &Default::default(), &names).unwrap();
    let mut scores = vec![Vec::new(); 3];
    while let Some(raw) = rows.next_block().unwrap() {
        for (scores, column) in scores.iter_mut().zip(&raw.block.columns) {
            match &column.values {
                Values::Float(numbers) => scores.extend(numbers.iter().map(|x| *x as f32)),
                Values::Text(texts) => scores.extend((0..texts.len()).map(|i| {
                    let text = String::from_utf8_lossy(texts.get(i));
                    text.parse::<f32>().unwrap()
                })),
                Values::Int(_) | Values::Time(_) => panic!("scores are numbers"),
            }
        }
    }
    scores
}

#[test]
fn scores_are_the_same_in_both_formats_and_for_every_kind_of_network() {
    use NetworkKind::{SharedBottom, SingleTask, SparseSharing};
    for kind in [SparseSharing, SharedBottom, SingleTask] {
        let folder = folder(kind);
        let path = folder.path();
        let data = ["--data", "log/valid.csv", "log/test.csv"];
        for out in ["scores.csv", "scores.parquet"] {
            let arguments = [&["score", "run/model"][..], &data, &["--out", out]].concat();
            done(path, &arguments);
        }
        let text = scores(&path.join("scores.csv"));
        assert_eq!(text, scores(&path.join("scores.parquet")));
        assert_eq!(text[0].len(), 2000);
        assert!(text.iter().flatten().all(|p| (0.0..=1.0).contains(p)));
        assert!(text[0] != text[1], "the tasks have scores of their own");
        let product = text[0].iter().zip(&text[1]).map(|(click, buy)| click * buy);
        assert!(product.eq(text[2].iter().copied()));
    }
}

/// Returns the values of a column of a file as strings; a list gives its items.
fn texts(path: &Path, column: &str) -> Vec<Vec<String>> {
    let mut rows = ncs_readers::open(path, &Default::default(), &[column.to_owned()]).unwrap();
    let mut buffer = ncs_features::value::TextBuffer::default();
    let mut found = Vec::new();
    while let Some(raw) = rows.next_block().unwrap() {
        let column = &raw.block.columns[0];
        for row in 0..raw.block.n_rows {
            let text = |i| String::from_utf8(buffer.text(&column.values, i).to_vec()).unwrap();
            found.push(column.range(row).map(text).collect());
        }
    }
    found
}

#[test]
fn columns_of_the_rows_are_kept_beside_the_scores() {
    let folder = folder(NetworkKind::SharedBottom);
    let path = folder.path();
    let synth = ["synth", "--rows", "5000", "--out", "other"];
    done(path, &synth);
    let keep = ["--keep", "user,session,tags,price,click"];
    for (data, lists) in [("log/test.csv", false), ("other/test.parquet", true)] {
        for out in ["kept.csv", "kept.parquet"] {
            let arguments = ["score", "run", "--data", data, "--out", out];
            done(path, &[&arguments[..], &keep].concat());
            let out = path.join(out);
            let names = ncs_readers::column_names(&out, &Default::default()).unwrap();
            let first = ["user", "session", "tags", "price", "click"];
            assert_eq!(names[..5], first);
            assert_eq!(scores(&out)[0].len(), 1000);
            for column in ["user", "session", "price", "click"] {
                let wanted = texts(&path.join(data), column);
                assert_eq!(texts(&out, column), wanted, "{data} {column}");
            }
            if lists && out.ends_with("kept.parquet") {
                assert_eq!(texts(&out, "tags"), texts(&path.join(data), "tags"));
            }
        }
    }
    let arguments = ["score", "run", "--data", "log/test.csv", "--out", "a.csv"];
    let none = [&arguments[..], &["--keep", "user,sesion"]].concat();
    refused(path, &none, &["no column \"sesion\"", "session"]);
    let clash = [&arguments[..], &["--keep", "p_ctr"]].concat();
    refused(path, &clash, &["p_ctr", "the name of a score column"]);
    assert!(!path.join("a.csv").exists());
}

#[test]
fn a_row_that_cannot_be_scored_is_named_and_leaves_no_file() {
    let folder = folder(NetworkKind::SparseSharing);
    let path = folder.path();
    let log = fs::read_to_string(path.join("log/test.csv")).unwrap();
    let lines: Vec<&str> = log.lines().collect();
    let price = lines[0]
        .split(',')
        .position(|name| name == "price")
        .unwrap();
    let mut cells: Vec<&str> = lines[5].split(',').collect();
    cells[price] = "dear";
    let broken = cells.join(",");
    let lines: Vec<&str> = [&lines[..5], &[&broken], &lines[6..]].concat();
    fs::write(path.join("broken.csv"), lines.join("\n")).unwrap();
    for out in ["scores.csv", "scores.parquet"] {
        let before = fs::read_dir(path).unwrap().count();
        let data = ["log/valid.csv", "broken.csv"];
        let arguments = [
            "score",
            "run/model",
            "--data",
            data[0],
            data[1],
            "--out",
            out,
        ];
        refused(path, &arguments, &["broken.csv", "row 5", "dear"]);
        assert_eq!(fs::read_dir(path).unwrap().count(), before);
    }
    let arguments = [
        "score",
        "run",
        "--data",
        "log/test.csv",
        "--out",
        "none/scores.csv",
    ];
    refused(path, &arguments, &["none/scores.csv", "cannot write"]);
}

#[test]
fn scores_never_replace_the_rows_that_they_are_for() {
    let folder = folder(NetworkKind::SparseSharing);
    let path = folder.path();
    let log = fs::read(path.join("log/test.csv")).unwrap();
    for (data, out) in [
        ("log/test.csv", "log/test.csv"),
        ("log", "log/../log/test.csv"),
    ] {
        let arguments = [
            "score", "run", "--data", data, "--out", out, "--format", "csv",
        ];
        refused(
            path,
            &arguments,
            &["log/test.csv", "--data", "another file"],
        );
        assert!(fs::read(path.join("log/test.csv")).unwrap() == log);
    }
}

#[test]
#[cfg(unix)]
fn a_score_that_is_asked_to_stop_leaves_no_file() {
    let folder = folder(NetworkKind::SparseSharing);
    let path = folder.path();
    let log = fs::read_to_string(path.join("log/test.csv")).unwrap();
    let (header, rows) = log.split_once('\n').unwrap();
    fs::write(
        path.join("long.csv"),
        format!("{header}\n{}", rows.repeat(500)),
    )
    .unwrap();
    let arguments = ["score", "run", "--data", "long.csv", "--out", "scores.csv"];
    trained::stopped(path, &arguments, path);
    assert!(!path.join("scores.csv").exists());
}

#[test]
fn files_that_say_nothing_of_themselves_are_read_as_told() {
    let folder = folder(NetworkKind::SparseSharing);
    let path = folder.path();
    let log = fs::read_to_string(path.join("log/test.csv")).unwrap();
    let (header, rows) = log.split_once('\n').unwrap();
    fs::write(path.join("rows"), rows.replace(',', ";")).unwrap();
    let plain = ["--data", "log/test.csv", "--out", "plain.csv"];
    done(path, &[&["score", "run"][..], &plain].concat());
    let report = ["--format", "csv", "--delimiter", ";", "--header", header];
    let bare = ["--data", "rows", "--out", "bare.csv"];
    done(path, &[&["score", "run"][..], &bare, &report].concat());
    let read = |name: &str| fs::read_to_string(path.join(name)).unwrap();
    assert_eq!(read("bare.csv"), read("plain.csv"));
    refused(
        path,
        &[&["score", "run"][..], &bare].concat(),
        &["rows", "format"],
    );
}

#[test]
fn inspect_prints_what_programs_rely_on() {
    let folder = folder(NetworkKind::SparseSharing);
    let found = json(&done(folder.path(), &["inspect", "run/model", "--json"]));
    let wanted = ["density", "inputs", "layers", "parameters"];
    assert_eq!(sorted(keys(&found)), wanted);
    assert!(found["parameters"].as_u64().unwrap() > 1000);
    let close = |found: &Value, wanted: f64| (found.as_f64().unwrap() - wanted).abs() < 0.01;
    assert!(close(&found["density"]["ctr"], 2.0 / 3.0), "{found}");
    assert!(close(&found["density"]["cvr"], 0.5), "{found}");
    let layers = found["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 2);
    let names = ["inputs", "name", "only", "outputs", "pruned", "shared"];
    for layer in layers {
        assert_eq!(sorted(keys(layer)), names);
        let count = |value: &Value| value.as_u64().unwrap();
        let kept = count(&layer["shared"]) + count(&layer["pruned"]);
        let all = kept + count(&layer["only"]["ctr"]) + count(&layer["only"]["cvr"]);
        assert_eq!(all, count(&layer["inputs"]) * count(&layer["outputs"]));
    }
    // Of 8 * 4 connections: 11 are multiples of 3, 16 even, 6 both.
    let last = &layers[1];
    assert_eq!(
        (&last["name"], &last["inputs"], &last["outputs"]),
        (&"fc_1".into(), &8.into(), &4.into())
    );
    assert_eq!((&last["shared"], &last["pruned"]), (&10.into(), &5.into()));
    // The fields in order, then their products: the masks have the same density in each.
    let inputs = found["inputs"].as_array().unwrap();
    assert_eq!(inputs.last().unwrap()["name"], "products of two");
    for input in inputs {
        assert_eq!(sorted(keys(input)), ["density", "name", "shared"]);
        let near = |found: &Value, wanted: f64| (found.as_f64().unwrap() - wanted).abs() < 0.05;
        assert!(near(&input["density"]["ctr"], 2.0 / 3.0), "{input}");
        assert!(near(&input["density"]["cvr"], 0.5), "{input}");
        assert!(near(&input["shared"], 1.0 / 3.0), "{input}");
    }
}

#[test]
fn inspect_shows_networks_without_masks() {
    let check = |kind, name: &str, shared: bool| {
        let folder = folder(kind);
        let found = json(&done(folder.path(), &["inspect", "run", "--json"]));
        assert_eq!(found["density"]["cvr"], 1.0);
        let last = found["layers"].as_array().unwrap().last().unwrap();
        assert_eq!(last["name"], name);
        assert_eq!(last["shared"] == 32, shared, "{last}");
        assert_eq!(last["only"]["cvr"] == 32, !shared, "{last}");
    };
    check(NetworkKind::SharedBottom, "fc_1", true);
    check(NetworkKind::SingleTask, "cvr.fc_1", false);
    check(NetworkKind::Mmoe { experts: 2 }, "cvr.fc_1", false);
}

#[test]
fn inspect_shows_tables_tasks_and_overlap() {
    let folder = folder(NetworkKind::SparseSharing);
    let text = done(folder.path(), &["inspect", "run"]);
    for part in [
        "sparse_sharing",
        "initialised rows",
        "where ctr is 1",
        "chance level",
        "only cvr",
        "tags",
        "First layer",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn a_flipped_byte_is_refused_and_its_file_named() {
    let folder = folder(NetworkKind::SparseSharing);
    let model = folder.path().join("run/model");
    let files: Vec<_> = fs::read_dir(&model)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(files.len(), 3);
    for file in files {
        let right = fs::read(&file).unwrap();
        let name = file.file_name().unwrap().to_str().unwrap();
        // A damaged checksum file is reported for the manifest, whose name the message contains.
        let named = name.strip_suffix(".b3").unwrap_or(name);
        for at in [0, right.len() / 2, right.len() - 2] {
            let mut wrong = right.clone();
            wrong[at] ^= 4;
            fs::write(&file, wrong).unwrap();
            for verb in ["inspect", "evaluate"] {
                let data = ["--data", "log/test.csv"];
                let data = if verb == "evaluate" { &data[..] } else { &[] };
                let arguments = [&[verb, "run/model"], data].concat();
                refused(folder.path(), &arguments, &[named]);
            }
        }
        fs::write(&file, right).unwrap();
    }
    done(folder.path(), &["inspect", "run/model"]);
}

#[test]
fn a_folder_without_a_model_says_what_to_name() {
    let folder = tempfile::tempdir().unwrap();
    refused(
        folder.path(),
        &["inspect", "."],
        &["no model here", "ncs train"],
    );
}
