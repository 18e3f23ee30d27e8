//! Files as exporters write them, through every command that reads rows: folders by day, unclosed quotes, encodings.

mod trained;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::Value;
use trained::{done, refused};

/// Writes rows of `user,city,click`: users of two cities, of which those in Köln click.
fn rows(range: std::ops::Range<usize>) -> String {
    let mut text = "user,city,click\n".to_owned();
    for i in range {
        let city = ["Köln", "Århus"][i % 2];
        let click = u8::from(i.is_multiple_of(2) != i.is_multiple_of(7));
        writeln!(text, "u{},{city},{click}", i % 10).unwrap();
    }
    text
}

fn run_file(data: &str, columns: &str) -> String {
    format!(
        "threads = 1\n[data]\n{data}\n[columns]\n{columns}\n[tasks.ctr]\nlabel = \"click\"\n[network]\n\
         kind = \"shared_bottom\"\ndim = 2\nhidden = [4]\n[training]\nepochs = 1\n"
    )
}

fn scores(folder: &Path, name: &str) -> Vec<f64> {
    let text = fs::read_to_string(folder.join(name)).unwrap();
    let numbers = text.lines().skip(1).map(|line| line.parse().unwrap());
    numbers.collect()
}

/// The value of a partition is read from the folder name, in training and in scoring.
#[test]
fn the_day_of_a_folder_is_a_column() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    for day in 1..=4 {
        let part = path.join(format!("log/day=2024-01-0{day}/country=de"));
        fs::create_dir_all(&part).unwrap();
        fs::write(part.join("part-0.csv"), rows(day * 100..day * 100 + 100)).unwrap();
        fs::write(part.join("_SUCCESS"), "").unwrap();
    }
    let data = "train = \"log\"\nsplit = { by = \"time\", column = \"day\", valid_from = \"2024-01-03\", \
                test_from = \"2024-01-04\" }";
    let columns = "user = \"categorical\"\nday = \"categorical\"";
    fs::write(path.join("run.toml"), run_file(data, columns)).unwrap();
    let text = done(path, &["check", "run.toml", "--json"]);
    let check: Value = serde_json::from_str(&text).unwrap();
    let column = check["columns"].as_array().unwrap();
    let day = column
        .iter()
        .find(|column| column["name"] == "day")
        .unwrap();
    assert_eq!(day["distinct"], 4, "{check}");
    done(path, &["train", "run.toml", "--out", "run"]);
    let metrics = fs::read_to_string(path.join("run/metrics.json")).unwrap();
    let metrics: Value = serde_json::from_str(&metrics).unwrap();
    assert_eq!(metrics["tasks"]["ctr"]["rows"], 100, "{metrics}");

    done(path, &["score", "run", "--data", "log", "--out", "all.csv"]);
    let flat = rows(100..200).replace("click\n", "click,day\n");
    let flat = flat.replace(",0\n", ",0,2024-01-01\n");
    let flat = flat.replace(",1\n", ",1,2024-01-01\n");
    fs::write(path.join("flat.csv"), flat).unwrap();
    done(
        path,
        &[
            "score",
            "run",
            "--data",
            "flat.csv",
            "--out",
            "flat_scores.csv",
        ],
    );
    let all = scores(path, "all.csv");
    assert_eq!(all.len(), 400);
    assert_eq!(all[..100], scores(path, "flat_scores.csv"));
}

/// An unclosed quote does not swallow 500 rows: the error names its row and line, and `score` writes nothing.
#[test]
fn a_quote_that_never_closes_is_told_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let good = rows(0..300);
    fs::write(path.join("good.csv"), &good).unwrap();
    let mut lines: Vec<&str> = good.lines().collect();
    lines[151] = "\"u1,Köln,1";
    fs::write(path.join("bad.csv"), lines.join("\n")).unwrap();
    let columns = "user = \"categorical\"\ncity = \"categorical\"";
    let run = |data: &str| {
        let data = format!("train = \"{data}\"\nsplit = {{ by = \"row\", valid = 0.1 }}");
        run_file(&data, columns)
    };
    fs::write(path.join("run.toml"), run("good.csv")).unwrap();
    fs::write(path.join("bad.toml"), run("bad.csv")).unwrap();
    let report = ["bad.csv", "row 151 (line 152)", "opens a quote"];
    refused(path, &["check", "bad.toml"], &report);
    refused(path, &["train", "bad.toml", "--out", "bad"], &report);
    done(path, &["train", "run.toml", "--out", "run"]);
    refused(
        path,
        &["score", "run", "--data", "bad.csv", "--out", "scores.csv"],
        &report,
    );
    assert!(!path.join("scores.csv").exists());
    refused(path, &["evaluate", "run", "--data", "bad.csv"], &report);
}

/// A Latin-1 file gives the same ids as the UTF-8 training file.
#[test]
fn latin_1_is_read_where_it_is_stated() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let text = rows(0..300);
    fs::write(path.join("utf8.csv"), &text).unwrap();
    let bytes: Vec<u8> = text.chars().map(|c| u8::try_from(c).unwrap()).collect();
    fs::write(path.join("latin1.csv"), bytes).unwrap();
    let columns = "city = \"categorical\"";
    let run = |data: &str| {
        run_file(
            &format!("{data}\nsplit = {{ by = \"row\", valid = 0.1 }}"),
            columns,
        )
    };
    fs::write(path.join("run.toml"), run("train = \"utf8.csv\"")).unwrap();
    fs::write(path.join("bytes.toml"), run("train = \"latin1.csv\"")).unwrap();
    let stated = "train = \"latin1.csv\"\nencoding = \"latin-1\"";
    fs::write(path.join("latin1.toml"), run(stated)).unwrap();
    refused(
        path,
        &["check", "bytes.toml"],
        &["latin1.csv", "row 1", "city", "encoding = \"latin-1\""],
    );
    done(path, &["train", "run.toml", "--out", "run"]);
    done(path, &["train", "latin1.toml", "--out", "run1"]);
    let score = |model: &str, data: &str, out: &str, more: &[&str]| {
        let arguments = ["score", model, "--data", data, "--out", out];
        done(path, &[&arguments[..], more].concat());
        scores(path, out)
    };
    let expected = score("run", "utf8.csv", "a.csv", &[]);
    let latin = ["--encoding", "latin-1"];
    assert_eq!(score("run", "latin1.csv", "b.csv", &latin), expected);
    assert_eq!(score("run1", "utf8.csv", "c.csv", &[]), expected);
    assert_ne!(expected[0], expected[1], "the city matters");
}
