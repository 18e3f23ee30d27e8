//! Run files never make the program panic: random values of every key of the schema, including extremes, go through
//! all checks; accepted run files also run their first step.

use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;

use ncs4cvr::progress::Progress;
use ncs4cvr::run_file::{RunFile, json_schema, list_columns};
use ncs4cvr::{compare, memory, training};
use proptest::prelude::*;
use serde_json::Value as Json;
use tempfile::TempDir;

/// Valid run file whose values the tests replace.
const RUN: &str = r#"threads = 1
[data]
train = "log.csv"
split = { by = "row", valid = 0.2, test = 0.2 }
cache = "cache"
[columns]
user = { kind = "categorical", buckets = 50 }
price = "numeric"
tags = { kind = "list", separator = " " }
[tasks.ctr]
label = "click"
[tasks.cvr]
label = "buy"
where = "ctr"
[network]
hidden = [8]
dim = 2
[training]
epochs = 1
batch = 64
[evaluation]
bootstrap = 2
"#;

/// Memory limit in bytes for the models of the trainings that are started here.
const SMALL: u64 = 64 << 20;

/// Creates a folder with the log of [`RUN`].
fn folder() -> &'static Path {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    let make = || {
        let folder = TempDir::new().unwrap();
        let row = |i: usize| {
            let buy = ["", "0", "1"][if i.is_multiple_of(2) {
                0
            } else {
                1 + i % 3 % 2
            }];
            format!("{},{}.5,a{} b,{},{buy}\n", i % 37, i % 11, i % 5, i % 2)
        };
        let rows: String = (0..400).map(row).collect();
        std::fs::write(
            folder.path().join("log.csv"),
            format!("user,price,tags,click,buy\n{rows}"),
        )
        .unwrap();
        folder
    };
    FOLDER.get_or_init(make).path()
}

/// Schema of a run file or a comparison, with the keys to use in its tables of free names.
#[derive(Clone, Copy)]
struct Schema {
    root: &'static Json,
    names: &'static [&'static str],
}

fn of_run() -> Schema {
    static ROOT: OnceLock<Json> = OnceLock::new();
    Schema {
        root: ROOT.get_or_init(|| serde_json::from_str(&json_schema()).unwrap()),
        names: &["user", "price", "tags", "ctr", "cvr", "\"\""],
    }
}

fn of_comparison() -> Schema {
    static ROOT: OnceLock<Json> = OnceLock::new();
    Schema {
        root: ROOT.get_or_init(|| serde_json::from_str(&compare::json_schema()).unwrap()),
        names: &["mine", "a", "b", "\"\""],
    }
}

fn whole(leaf: &'static Json) -> BoxedStrategy<String> {
    let bounds =
        ["minimum", "maximum"].map(|key| leaf[key].as_f64().map_or(7, |bound| bound as i64));
    let near = [
        bounds[0],
        bounds[0].saturating_sub(1),
        bounds[1],
        bounds[1].saturating_add(1),
    ];
    let extremes = [
        0,
        1,
        64,
        65_536,
        1 << 31,
        1 << 32,
        1 << 53,
        i64::MAX,
        i64::MIN,
        -1,
    ];
    let too_long = Just("99999999999999999999999".to_owned());
    let text = |number: i64| number.to_string();
    prop_oneof![
        6 => (1i64..9).prop_map(text),
        3 => prop::sample::select(near.to_vec()).prop_map(text),
        3 => prop::sample::select(extremes.to_vec()).prop_map(text),
        1 => too_long,
    ]
    .boxed()
}

fn number() -> BoxedStrategy<String> {
    let extremes = [
        "0.0",
        "-0.0",
        "1.0",
        "-1.0",
        "0.9999999999",
        "1e-320",
        "1e-50",
        "1e38",
        "1e39",
        "1e308",
        "-1e308",
        "nan",
        "inf",
        "-inf",
        "9223372036854775807",
        "5",
    ];
    prop_oneof![
        2 => (1u32..100).prop_map(|share| format!("{}", f64::from(share) / 100.0)),
        1 => prop::sample::select(extremes.to_vec()).prop_map(str::to_owned),
    ]
    .boxed()
}

/// Generates a string from the schema, or a misleading one; no path leaves the folder.
fn text(leaf: &'static Json) -> BoxedStrategy<String> {
    let names = leaf["enum"]
        .as_array()
        .into_iter()
        .flatten()
        .chain(leaf.get("const"));
    let names: Vec<String> = names.map(|name| name.to_string()).collect();
    let long = "x".repeat(5000);
    let astray = [
        "",
        "log.csv",
        "log*.csv",
        "absent.csv",
        "[",
        "**",
        "cache",
        "user",
        "price",
        "click",
        "buy",
        "ctr",
        "cvr",
        "é\u{7f}",
        " ",
        ",",
        &long,
    ];
    let astray = astray.map(|text| toml::Value::String(text.to_owned()).to_string());
    let astray = prop::sample::select(astray.to_vec());
    if names.is_empty() {
        astray.boxed()
    } else {
        prop_oneof![9 => prop::sample::select(names), 1 => astray].boxed()
    }
}

impl Schema {
    /// Returns the alternatives of a schema, with references resolved.
    fn leaves(self, schema: &'static Json) -> Vec<&'static Json> {
        if let Some(name) = schema["$ref"].as_str() {
            return self.leaves(&self.root["$defs"][name.trim_start_matches("#/$defs/")]);
        }
        let choices = schema.get("oneOf").or(schema.get("anyOf"));
        match choices.and_then(Json::as_array) {
            Some(choices) => choices
                .iter()
                .flat_map(|choice| self.leaves(choice))
                .collect(),
            None => vec![schema],
        }
    }

    /// Generates a value as TOML on one line, sometimes of another type.
    fn value(self, schema: &'static Json) -> BoxedStrategy<String> {
        let leaves = self.leaves(schema).into_iter();
        let fitting = prop::strategy::Union::new(leaves.map(|leaf| self.value_of(leaf)));
        let other = [
            "true",
            "[]",
            "{}",
            "\"text\"",
            "-7",
            "1e400",
            "1979-05-27",
            "[[[[1]]]]",
        ];
        let other = prop::sample::select(other.to_vec()).prop_map(str::to_owned);
        prop_oneof![14 => fitting, 1 => other].boxed()
    }

    fn value_of(self, leaf: &'static Json) -> BoxedStrategy<String> {
        match leaf["type"].as_str().unwrap_or("string") {
            "integer" => whole(leaf),
            "number" => number(),
            "boolean" => prop::bool::ANY.prop_map(|truth| truth.to_string()).boxed(),
            "array" => prop::collection::vec(self.value(&leaf["items"]), 0..4)
                .prop_map(|items| format!("[{}]", items.join(", ")))
                .boxed(),
            // Run-file settings inside a comparison.
            "object" if leaf["additionalProperties"] == true => of_run().table(of_run().root),
            "object" => self.table(leaf),
            _ => text(leaf),
        }
    }

    /// Generates a table with some of the properties; required ones are nearly always present.
    fn table(self, leaf: &'static Json) -> BoxedStrategy<String> {
        let required: Vec<&Json> = leaf["required"].as_array().into_iter().flatten().collect();
        let known = leaf["properties"].as_object().into_iter().flatten();
        let known = known.map(|(key, schema)| {
            let is_required = required.iter().any(|name| **name == key.as_str());
            (key.as_str(), schema, if is_required { 0.97 } else { 0.2 })
        });
        let free = self
            .names
            .iter()
            .map(|name| (*name, &leaf["additionalProperties"], 0.3));
        let all = known.chain(free.filter(|(_, schema, _)| schema.is_object()));
        let entry = |(key, schema, share): (&'static str, &'static Json, f64)| {
            let entry = self
                .value(schema)
                .prop_map(move |value| format!("{key} = {value}"));
            prop::option::weighted(share, entry).boxed()
        };
        let entries: Vec<BoxedStrategy<Option<String>>> = all.map(entry).collect();
        let join = |entries: Vec<Option<String>>| {
            let entries: Vec<String> = entries.into_iter().flatten().collect();
            format!("{{ {} }}", entries.join(", "))
        };
        entries.prop_map(join).boxed()
    }

    /// Generates a key at any depth, with a value.
    fn assignment(self) -> BoxedStrategy<(String, String)> {
        let mut found = Vec::new();
        self.keys("", self.root, &mut found);
        prop::strategy::Union::new(found).boxed()
    }

    fn keys(
        self,
        path: &str,
        schema: &'static Json,
        found: &mut Vec<BoxedStrategy<(String, String)>>,
    ) {
        for leaf in self.leaves(schema) {
            let known = leaf["properties"].as_object().into_iter().flatten();
            let known = known.map(|(key, schema)| (key.as_str(), schema));
            let free = self
                .names
                .iter()
                .map(|name| (*name, &leaf["additionalProperties"]));
            for (key, schema) in known.chain(free.filter(|(_, schema)| schema.is_object())) {
                let path = if path.is_empty() {
                    key.to_owned()
                } else {
                    format!("{path}.{key}")
                };
                self.keys(&path, schema, found);
                found.push(
                    self.value(schema)
                        .prop_map(move |value| (path.clone(), value))
                        .boxed(),
                );
            }
        }
    }
}

/// Generates overrides for keys of a run file.
fn sets(most: usize) -> impl Strategy<Value = Vec<String>> {
    let assignment = of_run()
        .assignment()
        .prop_map(|(path, value)| format!("{path}={value}"));
    prop::collection::vec(assignment, 1..most)
}

fn parse(text: &str, sets: &[String]) -> Option<RunFile> {
    match RunFile::parse("run.toml", text, folder(), sets, &list_columns) {
        Ok(file) => Some(file),
        Err(error) => {
            let printed = error.to_string();
            assert!(
                !printed.is_empty() && !printed.contains("panicked"),
                "{printed}"
            );
            None
        }
    }
}

/// Checks that an accepted run file can be written and read again, and passes through the memory check.
fn checks(text: &str, sets: &[String]) -> Option<RunFile> {
    let file = parse(text, sets)?;
    let alone = RunFile::parse(
        "alone.toml",
        &file.standing_alone(),
        Path::new("/"),
        &[],
        &list_columns,
    );
    let alone = alone.unwrap_or_else(|error| panic!("{error}\n{}", file.standing_alone()));
    assert_eq!(alone.plan.schema, file.plan.schema);
    assert_eq!(alone.plan.network, file.plan.network);
    if let Err(error) = memory::check(&file) {
        assert!(
            error.to_string().contains("make it smaller")
                || error.to_string().contains("use fewer"),
            "{error}"
        );
    }
    Some(file)
}

/// Comparison, key by key.
const COMPARISON: [(&str, &str); 7] = [
    ("seeds", "[1, 2]"),
    ("threads", "1"),
    ("match", "\"parameters\""),
    ("data.mine.run", "\"run.toml\""),
    ("methods.a.set.network.kind", "\"shared_bottom\""),
    ("methods.b.set.network.kind", "\"mmoe\""),
    ("tuning.trials", "2"),
];

/// Generates the comparison with some keys replaced or added.
fn comparison(changes: &[(String, String)]) -> String {
    let mut lines: Vec<(String, String)> = COMPARISON
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .to_vec();
    for (path, value) in changes {
        let inside =
            |outer: &str, inner: &str| format!("{inner}.").starts_with(&format!("{outer}."));
        lines.retain(|(key, _)| !inside(path, key) && !inside(key, path));
        lines.push((path.clone(), value.clone()));
    }
    lines
        .iter()
        .map(|(key, value)| format!("{key} = {value}\n"))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_values_of_any_keys_are_checked(sets in sets(5)) {
        checks(RUN, &sets);
    }

    #[test]
    fn any_document_is_checked(document in of_run().table(of_run().root)) {
        let chapters = document.trim_start_matches('{').trim_end_matches('}');
        let lines = chapters.split(", ").collect::<Vec<_>>().join("\n");
        // The split lines may or may not be valid TOML; the whole document is used as the value of a section.
        checks(&lines, &[]);
        for chapter in ["training", "columns.user", "data"] {
            checks(RUN, &[format!("{chapter}={document}")]);
        }
    }

    #[test]
    fn any_comparison_is_checked(changes in prop::collection::vec(of_comparison().assignment(), 0..4)) {
        let folder = tempfile::tempdir().unwrap();
        let run = RUN.replace("log.csv", &self::folder().join("log.csv").display().to_string());
        std::fs::write(folder.path().join("run.toml"), run).unwrap();
        let path = folder.path().join("compare.toml");
        std::fs::write(&path, comparison(&changes)).unwrap();
        let checked = compare::check(&path);
        prop_assert!(!changes.is_empty() || checked.is_ok(), "{:?}", checked);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Accepted small run files run their first step, or fail with a message.
    #[test]
    fn any_small_run_begins(sets in sets(4)) {
        let Some(file) = checks(RUN, &sets) else { return Ok(()) };
        if memory::check_with(&file, SMALL).is_err() {
            return Ok(());
        }
        let prepared = training::prepare_rows(&file.plan, Progress::Quiet, &AtomicBool::new(false));
        if prepared.is_err() {
            return Ok(());
        }
        let out = tempfile::tempdir().unwrap();
        let stopped = training::run(&file, &out.path().join("out"), Progress::Quiet, &AtomicBool::new(true));
        match stopped {
            // A training of one step is finished when it would stop.
            Ok(_) => {
                let n_rows = prepared.unwrap().train.n_rows();
                let batch = file.plan.train.batch.unwrap_or(512) as u64;
                prop_assert!(n_rows <= batch, "it did not stop: {} rows", n_rows);
            }
            Err(error) => {
                let error = error.to_string();
                prop_assert!(!error.contains("panicked"), "{}", error);
            }
        }
    }
}

/// Unlimited nesting and unlimited names are reported quickly and briefly.
#[test]
fn endless_nesting_and_endless_names_are_told() {
    let deep = 100_000;
    let long = "k".repeat(1 << 20);
    let texts = [
        format!("a = {}1{}", "[".repeat(deep), "]".repeat(deep)),
        format!(
            "a = {}{}",
            "{a=".repeat(deep),
            "1".to_owned() + &"}".repeat(deep)
        ),
        format!("{}a = 1", "a.".repeat(deep)),
        format!("[{}a]", "a.".repeat(deep)),
        format!("{RUN}\n[{long}]"),
        RUN.replace("price =", &format!("{long} =")),
        RUN.replace("\"numeric\"", &format!("\"{long}\"")),
    ];
    for text in &texts {
        let error = RunFile::parse("run.toml", text, folder(), &[], &list_columns).unwrap_err();
        assert!(
            error.to_string().len() < 3000,
            "{}",
            &error.to_string()[..200]
        );
    }
    for set in [
        format!("{}a=1", "a.".repeat(deep)),
        format!("a={}1{}", "[".repeat(deep), "]".repeat(deep)),
    ] {
        assert!(RunFile::parse("run.toml", RUN, folder(), &[set], &list_columns).is_err());
    }
}
