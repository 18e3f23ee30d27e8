//! Warnings of `ncs check` about uninformative columns; it refuses exactly the inputs that `ncs train` refuses.

mod trained;

use std::fs;

use serde_json::Value;
use tempfile::TempDir;
use trained::{done, draw, ncs, refused};

/// Run over `log.csv` with these columns, small enough to train quickly.
fn run_toml(columns: &str) -> String {
    format!(
        "seed = 1
threads = 1

[data]
train = \"log.csv\"
split = {{ by = \"row\", valid = 0.2, test = 0.2 }}

[columns]
{columns}

[tasks.ctr]
label = \"click\"

[tasks.cvr]
label = \"buy\"
where = \"ctr\"

[network]
kind = \"shared_bottom\"
dim = 2
hidden = [4]

[training]
epochs = 1
batch = 64
"
    )
}

/// Writes a log of 400 rows: `more` names further columns, and `row` returns their values.
fn log(more: &str, row: impl Fn(usize) -> String) -> String {
    let line = |i: usize| {
        let click = u8::from(i * 7 % 11 < 4);
        let buy = u8::from(click == 1 && i * 5 % 13 < 4);
        format!("u{},{click},{buy},{}\n", i * 31 % 23, row(i))
    };
    let lines: String = (0..400).map(line).collect();
    format!("user,click,buy,{more}\n{lines}")
}

fn folder(columns: &str, log: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("run.toml"), run_toml(columns)).unwrap();
    fs::write(folder.path().join("log.csv"), log).unwrap();
    folder
}

/// Returns the warnings about a column `x` of this kind beside an informative one.
fn warnings(kind: &str, x: impl Fn(usize) -> String) -> Vec<String> {
    let columns = format!("user = \"categorical\"\nx = {kind}");
    let folder = folder(&columns, &log("x", x));
    let text = done(folder.path(), &["check", "run.toml", "--json"]);
    let found: Value = serde_json::from_str(&text).unwrap();
    let warnings = found["warnings"].as_array().unwrap();
    warnings
        .iter()
        .map(|text| text.as_str().unwrap().to_owned())
        .collect()
}

#[track_caller]
fn warns(kind: &str, x: impl Fn(usize) -> String, part: &str) {
    let found = warnings(kind, x);
    assert!(
        found.iter().any(|text| text.contains(part)),
        "{part}: {found:?}"
    );
}

#[track_caller]
fn is_silent(kind: &str, x: impl Fn(usize) -> String) {
    assert_eq!(warnings(kind, x), Vec::<String>::new());
}

/// Returns one of the values, in an order independent of the labels.
fn one_of<'a>(values: &[&'a str], i: usize) -> &'a str {
    values[i * 17 % 29 % values.len()]
}

#[test]
fn columns_that_cannot_teach_are_named() {
    let category = "\"categorical\"";
    warns(
        category,
        |_| "a".into(),
        "column \"x\" has one value, \"a\", on all rows",
    );
    warns(
        "\"numeric\"",
        |_| "7".into(),
        "column \"x\" has one value, \"7\", on all rows",
    );
    warns(
        category,
        |_| String::new(),
        "column \"x\" is null on all rows",
    );
    let missing = "{ kind = \"categorical\", missing = [\"-1\"] }";
    warns(missing, |_| "-1".into(), "column \"x\" is null on all rows");
    let unknown = "no value of column \"x\" is seen 2 times on all rows";
    warns(category, |i| format!("session-{i}"), unknown);
    let thrice = "{ kind = \"categorical\", vocabulary = { min_count = 30 } }";
    warns(
        thrice,
        |i| format!("v{}", i % 40),
        "is seen 30 times on all rows",
    );
    is_silent(category, |i| one_of(&["a", "b", ""], i).into());
    let hashed = "{ kind = \"categorical\", buckets = 99 }";
    warns(hashed, |i| format!("session-{i}"), unknown);
    is_silent(hashed, |i| format!("session-{}", i / 4));
}

#[test]
fn texts_that_look_like_lists_are_told_the_setting_that_splits_them() {
    let category = "\"categorical\"";
    let lists = |i: usize, open: &str, between: &str, close: &str| {
        let n = 1 + i % 3;
        let items: Vec<String> = (0..n)
            .map(|k| format!("t{}", (i * 7 + k * (1 + i % 5)) % 12))
            .collect();
        format!("\"{open}{}{close}\"", items.join(between))
    };
    warns(
        category,
        |i| lists(i, "['", "', '", "']"),
        "kind = \"list\", which reads them",
    );
    warns(
        category,
        |i| lists(i, "", "|", ""),
        "{ kind = \"list\", separator = \"|\" }",
    );
    warns(
        category,
        |i| lists(i, "", ", ", ""),
        "{ kind = \"list\", separator = \",\" }",
    );
    warns(
        category,
        |i| lists(i, "", " ", ""),
        "{ kind = \"list\", separator = \" \" }",
    );
    warns(
        "\"list\"",
        |i| lists(i, "", ";", ""),
        "set separator = \";\"",
    );
    let weights = "weights are not supported";
    warns(category, |i| lists(i, "", ":0.5|", ":1.25"), weights);
    let split = "{ kind = \"list\", separator = \"|\" }";
    warns(
        split,
        |i| lists(i, "", ":0.5|", &format!(":{}", i % 4)),
        weights,
    );
    is_silent(split, |i| lists(i, "", "|", ""));
    is_silent("{ kind = \"list\", separator = \",\" }", |i| {
        lists(i, "", ", ", "")
    });
    is_silent("\"list\"", |i| lists(i, "['", "', '", "']"));
}

#[test]
fn kinds_that_do_not_fit_are_told() {
    let vector = "declare kind = \"vector\", with the length of the lists";
    let numbers = |i: usize| format!("\"[0.{i}, -1.5, {}.25]\"", i % 7);
    warns("\"list\"", numbers, vector);
    warns("\"categorical\"", numbers, vector);
    let scalar = "column \"x\" is declared a list, but no row holds more than one value";
    warns("\"list\"", |i| format!("v{}", i % 5), scalar);
    let negative = "has transform = \"log\", and 45 of its numbers are below 0 (the least is -1.5)";
    let log = "{ kind = \"numeric\", transform = \"log\" }";
    warns(
        log,
        |i| {
            if i % 9 == 1 {
                "-1.5".into()
            } else {
                format!("{}.5", i % 9)
            }
        },
        negative,
    );
    let id = "looks like an id";
    warns(
        "{ kind = \"numeric\", column = \"x\" }",
        |i| (10_000 + i).to_string(),
        id,
    );
    warns(
        "\"numeric\"",
        |i| (i as u64 * 982_451_653_777).to_string(),
        id,
    );
    is_silent("\"numeric\"", |i| (i * i % 1009).to_string());
    is_silent("\"numeric\"", |i| (1_763_900_000 + i).to_string());
    is_silent("\"numeric\"", |i| format!("{}.25", i * 37 % 101));
}

#[test]
fn a_number_that_is_an_id_by_its_name_is_told() {
    let columns = "user = \"categorical\"\nitem_id = \"numeric\"";
    let folder = folder(columns, &log("item_id", |i| (i * 13 % 50).to_string()));
    let text = done(folder.path(), &["check", "run.toml"]);
    let part = "column \"item_id\" is declared numeric, but looks like an id (its name says so)";
    assert!(text.contains(part), "{text}");
}

#[test]
fn a_feature_that_tells_the_label_is_suspected() {
    let click = |i: usize| i * 7 % 11 < 4;
    let null = "column \"x\" is null exactly where the label of task \"ctr\" is 0";
    warns(
        "\"categorical\"",
        |i| {
            if click(i) {
                format!("o{}", i % 3)
            } else {
                String::new()
            }
        },
        null,
    );
    let auc = "column \"x\" alone ranks the label of task \"ctr\" with an AUC of 1.000";
    warns(
        "\"numeric\"",
        |i| {
            if click(i) {
                "1.5".into()
            } else {
                format!("0.{}", i % 7)
            }
        },
        auc,
    );
    warns(
        "\"categorical\"",
        |i| {
            if click(i) {
                "seen".into()
            } else {
                format!("n{}", i % 3)
            }
        },
        auc,
    );
    is_silent("{ kind = \"categorical\", buckets = 99 }", |i| {
        format!("id-{}", i * 7 % 211)
    });
}

#[test]
fn conversions_without_a_click_are_counted() {
    let log = log("x", |i| one_of(&["a", "b"], i).into());
    let lines: Vec<&str> = log.lines().collect();
    let wrong = |(i, line): (usize, &&str)| match i {
        10..30 => line.replacen(",0,0,", ",0,1,", 1),
        _ => (*line).to_owned(),
    };
    let log: Vec<String> = lines.iter().enumerate().map(wrong).collect();
    let n = log.iter().filter(|line| line.contains(",0,1,")).count();
    let columns = "user = \"categorical\"\nx = \"categorical\"";
    let folder = folder(columns, &(log.join("\n") + "\n"));
    let text = done(folder.path(), &["check", "run.toml"]);
    let part = format!("{n} have a \"click\" of 0");
    assert!(text.contains(&part), "{part}: {text}");
}

/// Returns true if `ncs check` and `ncs train` succeed; asserts that they agree.
#[track_caller]
fn both(folder: &TempDir) -> bool {
    let path = folder.path();
    let check = ncs(path, &["check", "run.toml"]);
    let train = ncs(path, &["train", "run.toml", "--out", "out"]);
    let printed =
        |output: &std::process::Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let (checked, trained) = (check.status.success(), train.status.success());
    assert_eq!(
        checked,
        trained,
        "check: {}train: {}",
        printed(&check),
        printed(&train)
    );
    checked
}

#[test]
fn features_that_are_all_useless_are_refused() {
    let columns = "x = { kind = \"categorical\", vocabulary = { min_count = 2 } }\n\
                   y = \"categorical\"\nz = \"numeric\"";
    let log = log("x,y,z", |i| format!("session-{i},,5"));
    let folder = folder(columns, &log);
    assert!(!both(&folder));
    let parts = [
        "warning: no value of column \"x\" is seen 2 times",
        "warning: column \"y\" is null",
        "warning: column \"z\" has one value",
        "run.toml:8: no feature differs between the training rows",
    ];
    refused(folder.path(), &["check", "run.toml"], &parts);
}

#[test]
fn check_refuses_what_train_refuses_and_nothing_else() {
    let columns = "user = \"categorical\"\nx = \"numeric\"";
    let good = log("x", |i| format!("{}.5", i * 7 % 31));
    let check = |log: &str, change: &dyn Fn(String) -> String, fits: bool| {
        let folder = folder(columns, log);
        let run = change(run_toml(columns));
        fs::write(folder.path().join("run.toml"), run).unwrap();
        assert_eq!(both(&folder), fits);
    };
    let same = |run: String| run;
    check(&good, &same, true);
    // Numbers on validation rows only.
    let late = |run: String| {
        let split = "split = { by = \"time\", column = \"x\", valid_from = 20 }";
        let run = run.replace("split = { by = \"row\", valid = 0.2, test = 0.2 }", split);
        run.replace(
            "x = \"numeric\"",
            "x = { kind = \"numeric\", missing = [\"7\"] }",
        )
    };
    let numbers = log("x", |i| {
        if i % 3 == 0 {
            (20 + i % 5).to_string()
        } else {
            "7".into()
        }
    });
    check(&numbers, &late, false);
    // Broken rows: too many at the end, then few enough.
    let broken = |n: usize| {
        let lines = (0..n).map(|_| "u1,0,0,dear\n");
        good.clone() + &lines.collect::<String>()
    };
    let may_break =
        |run: String| run.replace("\n\n[columns]", "\nmax_broken_share = 0.1\n\n[columns]");
    check(&broken(20), &may_break, true);
    check(&broken(80), &may_break, false);
    check(&broken(1), &same, false);
    // A file in two parts.
    let twice = |run: String| {
        run.replace(
            "split = { by = \"row\", valid = 0.2, test = 0.2 }",
            "valid = \"./log.csv\"",
        )
    };
    check(&good, &twice, false);
    // Validation rows of one class matter only if they are used for a choice.
    let valid = |run: String| {
        run.replace(
            "split = { by = \"row\", valid = 0.2, test = 0.2 }",
            "valid = \"valid.csv\"",
        )
    };
    let last = |run: String| valid(run) + "keep = \"last\"\n";
    for (change, fits) in [(&valid as &dyn Fn(String) -> String, false), (&last, true)] {
        let folder = folder(columns, &good);
        let zeros = good.replace(",1,0,", ",0,0,").replace(",1,1,", ",0,0,");
        fs::write(folder.path().join("valid.csv"), zeros).unwrap();
        fs::write(folder.path().join("run.toml"), change(run_toml(columns))).unwrap();
        assert_eq!(both(&folder), fits);
    }
}

/// Prices, some of which nearly always lead to a click, are suggested as categories beside the number; `ncs check`
/// suggests it too if the run file has only the number.
#[test]
fn exact_values_that_tell_more_become_categories() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let mut text = "price,weight,click\n".to_owned();
    for row in 0..20_000 {
        let (price, weight) = (draw(row, 1, 60) * 37 + 5, draw(row, 2, 60));
        let rate = if price % 7 == 3 { 70 } else { 10 + weight / 2 };
        let click = u8::from(draw(row, 3, 100) < rate);
        text += &format!("{price},{weight}.5,{click}\n");
    }
    fs::write(path.join("log.csv"), text).unwrap();
    done(path, &["init", "log.csv", "--click", "click"]);
    let run = fs::read_to_string(path.join("run.toml")).unwrap();
    assert!(run.contains("\nprice = \"numeric\" "), "{run}");
    let found: Vec<&str> = run.lines().filter(|line| line.contains("_value")).collect();
    let line = "price_value = { kind = \"categorical\", column = \"price\" }";
    assert!(found.len() == 1 && found[0].starts_with(line), "{run}");
    let report = done(path, &["check", "run.toml"]);
    assert!(!report.contains("the exact values"), "{report}");
    let lines = run.lines().filter(|line| !line.contains("_value"));
    fs::write(path.join("run.toml"), lines.collect::<Vec<_>>().join("\n")).unwrap();
    let report = done(path, &["check", "run.toml"]);
    assert!(
        report.contains("the exact values of \"price\" predict labels better"),
        "{report}"
    );
    assert!(
        !report.contains("the exact values of \"weight\""),
        "{report}"
    );
}

#[test]
fn ids_that_a_floating_point_number_holds_are_told() {
    let category = "\"categorical\"";
    let text = |i: usize| format!("1.23456789012{:02}567e+19", i * 17 % 29);
    let expected = "column \"x\" holds floating-point numbers of 2^53 or more in 400 rows, such as 12345678901";
    warns(category, text, expected);
    warns("{ kind = \"list\", separator = \"|\" }", text, expected);
    let is_told = |kind: &str, x: &dyn Fn(usize) -> String| {
        let found = warnings(kind, x);
        found.iter().any(|text| text.contains("floating-point"))
    };
    assert!(!is_told("\"numeric\"", &text));
    let missing = "{ kind = \"categorical\", missing = [\"1e+20\"] }";
    let sentinel = |i: usize| one_of(&["1e+20", "a", "b"], i).to_owned();
    assert!(!is_told(missing, &sentinel));
    assert!(is_told(category, &sentinel));
    for id in ["12345678901234567890", "9e15", "4e99cafe", "1.5e+15"] {
        assert!(
            !is_told(category, &|i| format!("{id}{}", ["", "a"][i % 2])),
            "{id}"
        );
    }
}

#[test]
fn a_column_of_groups_that_makes_none_is_told() {
    let report = |x: &dyn Fn(usize) -> String| {
        let folder = folder("user = \"categorical\"", &log("x", x));
        let group = "evaluation.group=\"x\"";
        let text = done(
            folder.path(),
            &["check", "run.toml", "--json", "--set", group],
        );
        let found: Value = serde_json::from_str(&text).unwrap();
        found["warnings"].to_string()
    };
    let null = report(&|_| "nan".into());
    assert!(null.contains("is null: there is no grouped AUC"), "{null}");
    let same = report(&|i| ["7", "7.0"][i % 2].into());
    assert!(
        same.contains("is the same: grouped AUC is the AUC"),
        "{same}"
    );
    assert_eq!(report(&|i| (i / 5).to_string()), "[]");
    assert_eq!(report(&|i| ["7", ""][i % 2].into()), "[]");
}

#[test]
fn a_column_in_another_unit_is_told() {
    let folder = folder(
        "user = \"categorical\"\nx = \"numeric\"",
        &log("x", |i| (i % 50).to_string()),
    );
    let minutes = log("x", |i| (i % 50 * 60).to_string());
    fs::write(folder.path().join("test.csv"), minutes).unwrap();
    let test = [
        "--set",
        "data.test=\"test.csv\"",
        "--set",
        "data.split={ by = \"row\", valid = 0.2 }",
    ];
    let text = done(
        folder.path(),
        &[&["check", "run.toml", "--json"][..], &test].concat(),
    );
    let found: Value = serde_json::from_str(&text).unwrap();
    let warnings = found["warnings"].to_string();
    assert!(
        warnings.contains("the column's unit or scale may have changed"),
        "{warnings}"
    );
}

#[test]
fn folders_that_are_not_read_are_told() {
    let folder = folder("user = \"categorical\"", &log("x", |i| i.to_string()));
    for name in ["logs", "logs/old"] {
        fs::create_dir(folder.path().join(name)).unwrap();
        fs::copy(
            folder.path().join("log.csv"),
            folder.path().join(name).join("a.csv"),
        )
        .unwrap();
    }
    let train = "data.train=\"logs\"";
    let text = done(folder.path(), &["check", "run.toml", "--set", train]);
    assert!(
        text.contains("old: the files of this folder in a folder are not read"),
        "{text}"
    );
    let trained = ncs(
        folder.path(),
        &["train", "run.toml", "--out", "out", "--set", train],
    );
    let printed = String::from_utf8_lossy(&trained.stderr).into_owned()
        + &String::from_utf8_lossy(&trained.stdout);
    assert!(
        printed.contains("old: the files of this folder in a folder are not read"),
        "{printed}"
    );
    let scored = ncs(
        folder.path(),
        &["score", "out", "--data", "logs", "--out", "s.csv"],
    );
    let printed = String::from_utf8_lossy(&scored.stderr).into_owned();
    assert!(
        printed.contains("old: the files of this folder in a folder are not read"),
        "{printed}"
    );
}
