//! Messages for invalid run files: file, line, what was found, and the nearest known name.

mod losses;
mod rates;

use std::path::Path;

use ncs_model::NetworkKind;
use ncs_readers::DataPlan;
use ncs4cvr::run_file::{FileColumns, ListingError, RunFile};
use proptest::prelude::*;

/// A right run file; each example below makes one thing of it wrong.
const RUN: &str = r#"seed = 1

[data]
train = "train.parquet"
valid = "valid.parquet"

[columns]
user_id = { kind = "categorical", buckets = 1000 }
article_id = { kind = "categorical", vocabulary = { min_count = 2 } }
history = { kind = "list", table = "article_id", max_values = 10 }
age = "numeric"

[tasks.ctr]
label = "click"

[tasks.cvr]
label = "long_read"
where = "ctr"
truth = "p_read"

[network]
kind = "sparse_sharing"
hidden = [64, 32]

[search]
density = { ctr = 0.4, cvr = 0.3 }

[training]
epochs = 3
"#;

const COLUMNS: [&str; 8] = [
    "user_id",
    "article_id",
    "history",
    "age",
    "click",
    "long_read",
    "p_read",
    "seen_at",
];

fn columns(_: &DataPlan) -> Result<Vec<FileColumns>, ListingError> {
    let columns = COLUMNS.map(str::to_owned).to_vec();
    Ok(vec![FileColumns {
        name: "train.parquet".to_owned(),
        columns,
    }])
}

fn parse(text: &str, assignments: &[&str]) -> Result<RunFile, String> {
    let assignments: Vec<String> = assignments.iter().map(|text| (*text).to_owned()).collect();
    let file = RunFile::parse("run.toml", text, Path::new(""), &assignments, &columns);
    file.map_err(|error| error.to_string())
}

/// `RUN` with `old` replaced by `new` is told `expected`.
#[track_caller]
fn check(old: &str, new: &str, expected: &str) {
    assert!(RUN.contains(old), "the example replaces nothing: {old}");
    let found = parse(&RUN.replacen(old, new, 1), &[]);
    assert_eq!(found.map(|file| file.plan).unwrap_err(), expected);
}

/// `RUN` with an override is told `expected`.
#[track_caller]
fn check_set(assignment: &str, expected: &str) {
    let found = parse(RUN, &[assignment]);
    assert_eq!(found.map(|file| file.plan).unwrap_err(), expected);
}

#[test]
fn the_example_is_right() {
    let file = parse(RUN, &[]).unwrap();
    assert!(file.notes.is_empty());
    assert_eq!(file.plan.schema.fields.len(), 4);
}

#[test]
fn unknown_keys_at_any_depth() {
    check(
        "[training]",
        "[trainning]",
        "run.toml:28: unknown key trainning; did you mean training?",
    );
    check(
        "epochs = 3",
        "epoch = 3",
        "run.toml:29: unknown key epoch in training; did you mean epochs?",
    );
    check(
        "min_count = 2",
        "min_cuont = 2",
        "run.toml:9: unknown key min_cuont in columns.article_id.vocabulary; did you mean min_count?",
    );
    check(
        "where = \"ctr\"",
        "population = \"ctr\"",
        "run.toml:18: unknown key population in tasks.cvr; known: label, label_smoothing, late, loss, negative_rate, negative_rate_column, \
         truth, weight, weight_column, where",
    );
}

#[test]
fn wrong_types() {
    check(
        "epochs = 3",
        "epochs = \"three\"",
        "run.toml:29: training.epochs is the text \"three\"; known: auto; or a whole number",
    );
    check(
        "epochs = 3",
        "epochs = \"aut\"",
        "run.toml:29: training.epochs is the text \"aut\"; did you mean auto? It may also be a whole number",
    );
    check(
        "epochs = 3",
        "epochs = 1.5",
        "run.toml:29: training.epochs is 1.5; it must be one of auto, or a whole number",
    );
    check(
        "hidden = [64, 32]",
        "hidden = [\n  64,\n  \"32\"]",
        "run.toml:25: network.hidden[1] is the text \"32\"; it must be a whole number",
    );
    check(
        "age = \"numeric\"",
        "age = 3",
        "run.toml:11: columns.age is 3; it must be one of categorical, list, numeric, or a table",
    );
    check(
        "seed = 1",
        "seed = true",
        "run.toml:1: seed is true; it must be a whole number",
    );
}

#[test]
fn values_out_of_range() {
    check(
        "epochs = 3",
        "batch = 0",
        "run.toml:29: training.batch is 0; it must be at least 1",
    );
    check(
        "cvr = 0.3",
        "cvr = 1.5",
        "run.toml:26: search.density.cvr is 1.5; it must be above 0 and at most 1",
    );
    check(
        "{ ctr = 0.4, cvr = 0.3 }",
        "0",
        "run.toml:26: search.density is 0; it must be above 0 and at most 1",
    );
    check(
        "label = \"click\"",
        "label = \"click\"\nloss = { kind = \"focal\", alpha = 1.0 }",
        "run.toml:15: tasks.ctr.loss.alpha is 1; it must be above 0 and below 1",
    );
    check(
        "[64, 32]",
        "[]",
        "run.toml:23: network.hidden is an empty list; it needs 1 or more",
    );
    check(
        "seed = 1",
        "threads = 0",
        "run.toml:1: threads is 0; it must be at least 1 and at most 4096",
    );
    check(
        "epochs = 3",
        "weight_decay = inf",
        "run.toml:29: training.weight_decay is inf; it must be a finite number, at least 0",
    );
    check(
        "epochs = 3",
        "learning_rate = inf",
        "run.toml:29: training.learning_rate is inf; it must be a finite number, above 0",
    );
}

#[test]
fn unknown_choices() {
    check(
        "\"sparse_sharing\"",
        "\"sparse_shering\"",
        "run.toml:22: network.kind is the text \"sparse_shering\"; did you mean sparse_sharing?",
    );
    check(
        "kind = \"list\"",
        "kind = \"lists\"",
        "run.toml:10: columns.history.kind is the text \"lists\"; did you mean list?",
    );
    check(
        "{ kind = \"list\", table = \"article_id\", max_values = 10 }",
        "{ max_values = 10 }",
        "run.toml:10: columns.history needs kind: categorical, list, numeric, time, cross, vector, sequence",
    );
}

#[test]
fn missing_parts() {
    check(
        "train = \"train.parquet\"\n",
        "",
        "run.toml:3: data.train is missing: Files, globs and folders of the training part, or of \
         everything where split divides it",
    );
    check(
        "label = \"long_read\"\n",
        "",
        "run.toml:16: task \"cvr\" needs a label column; the file has click, long_read, p_read, seen_at",
    );
    let text = "[data]\ntrain = \"a\"\n[columns]\n";
    assert_eq!(
        parse(text, &[]).unwrap_err(),
        "run.toml: [tasks] is missing; state it, such as [tasks.ctr] label = \"click\"\n\
         run.toml:3: columns is empty; it needs one entry or more",
    );
    assert_eq!(
        parse("[tasks.ctr]\nlabel = \"click\"\n", &[]).unwrap_err(),
        "run.toml: [data] is missing; state it, such as [data] train = \"log.parquet\"\n\
         run.toml: [columns] is missing; state it, such as [columns] user_id = \"categorical\"",
    );
}

#[test]
fn columns_that_the_data_lacks() {
    check(
        "user_id = {",
        "usr_id = {",
        "run.toml:8: column \"usr_id\" is not in train.parquet; did you mean user_id?",
    );
    check(
        "kind = \"list\",",
        "kind = \"list\", column = \"items\",",
        "run.toml:10: column \"items\" is not in train.parquet; it has user_id, article_id, history, \
         age, click, long_read, p_read, seen_at",
    );
    check(
        "\"long_read\"",
        "\"longread\"",
        "run.toml:17: column \"longread\" is not in train.parquet; did you mean long_read?",
    );
    check(
        "[network]",
        "[evaluation]\ngroup = \"user\"\n[network]",
        "run.toml:22: column \"user\" is not in train.parquet; it has user_id, article_id, history, \
         age, click, long_read, p_read, seen_at",
    );
    check(
        "[columns]",
        "split = { by = \"hash\", column = \"sen_at\", valid = 0.1 }\n[columns]",
        "run.toml:7: column \"sen_at\" is not in train.parquet; did you mean seen_at?",
    );
}

#[test]
fn labels_and_truths_among_the_features() {
    check(
        "age = \"numeric\"",
        "click = \"numeric\"",
        "run.toml:11: column \"click\" is a feature and the label of task \"ctr\"; it is not known \
         when the model is asked: take it out of columns",
    );
    check(
        "age = \"numeric\"",
        "age = { kind = \"numeric\", column = \"p_read\" }",
        "run.toml:11: column \"p_read\" is a feature and the truth of task \"cvr\"; it is not known \
         when the model is asked: take it out of columns",
    );
}

#[test]
fn tasks_that_refer_to_each_other() {
    check(
        "where = \"ctr\"",
        "where = \"crt\"",
        "run.toml:18: task \"cvr\" counts rows of task \"crt\", which is not a task; did you mean ctr?",
    );
    let what = "where takes the name of another task, and counts the rows whose label there is 1";
    for condition in ["click == 1", "click", "ctr = 1", "click=1 AND age > 3"] {
        check(
            "where = \"ctr\"",
            &format!("where = {condition:?}"),
            &format!(
                "run.toml:18: task \"cvr\": where is {condition:?}; {what}: write where = \"ctr\""
            ),
        );
    }
    check(
        "where = \"ctr\"",
        "where = \"age > 30\"",
        &format!(
            "run.toml:18: task \"cvr\" counts rows of task \"age > 30\", which is not a task; {what}; \
             known: ctr"
        ),
    );
    check(
        "where = \"ctr\"",
        "where = \"cvr\"",
        "run.toml:18: task \"cvr\" counts its own rows: where leads in a circle",
    );
    check(
        "label = \"click\"",
        "label = \"click\"\nloss = \"ratio\"",
        "run.toml:19: task \"cvr\" counts rows where the label of \"ctr\" is 1, but that label is a \
         number; name a task of labels 0 and 1",
    );
    check(
        "label = \"long_read\"\nwhere = \"ctr\"",
        "label = \"click\"",
        "run.toml:17: tasks \"ctr\" and \"cvr\" have the same label \"click\" over the same rows",
    );
    check(
        "ctr = 0.4, cvr = 0.3",
        "ctr = 0.4, cvrs = 0.3",
        "run.toml:26: search.density names \"cvrs\", which is not a task; did you mean cvr?\n\
         run.toml:26: search.density does not say how much task \"cvr\" keeps",
    );
}

#[test]
fn tables_that_disagree() {
    check(
        "table = \"article_id\"",
        "table = \"article_id\", buckets = 50",
        "run.toml:10: columns.history and columns.article_id share the table \"article_id\", but one \
         states 50 buckets by xxh3, the other a vocabulary seen 2 times or more",
    );
    check(
        "table = \"article_id\"",
        "table = \"artcle_id\"",
        "run.toml:10: columns.history.table is \"artcle_id\", which no other column has; did you mean \
         article_id?",
    );
    check(
        "table = \"article_id\"",
        "table = \"age\"",
        "run.toml:10: columns.history.table is \"age\", which has no ids to share: only categories and lists have",
    );
    check(
        "kind = \"categorical\", vocabulary = { min_count = 2 }",
        "kind = \"categorical\", table = \"history\"",
        "run.toml:9: columns.article_id.table leads back to itself\n\
         run.toml:10: columns.history.table leads back to itself",
    );
    check(
        "buckets = 1000",
        "buckets = 1000, vocabulary = {}",
        "run.toml:8: columns.user_id states both buckets and a vocabulary; keep one",
    );
    check(
        "age = \"numeric\"",
        "age = { kind = \"numeric\", transform = \"log\", buckets = 8 }",
        "run.toml:11: columns.age.buckets goes with transform = \"piecewise\" or \"quantiles\"",
    );
}

#[test]
fn settings_that_do_not_go_together() {
    check(
        "valid = \"valid.parquet\"\n",
        "",
        "run.toml:3: training.keep needs validation rows; state data.valid or data.split",
    );
    check(
        "valid = \"valid.parquet\"",
        "split = { by = \"hash\", column = \"user_id\", valid = 0.5, test = 0.5 }",
        "run.toml:5: valid 0.5 and test 0.5 leave no rows to train on",
    );
    check(
        "valid = \"valid.parquet\"",
        "split = { by = \"time\", column = \"seen_at\", valid_from = 2023-05-25, test_from = 2023-05-24 }",
        "run.toml:5: test_from must be later than valid_from, and of its type",
    );
    check(
        "valid = \"valid.parquet\"",
        "split = { by = \"time\", column = \"seen_at\", valid = 0.6, test = 0.4 }",
        "run.toml:5: valid 0.6 and test 0.4 leave no rows to train on",
    );
    check(
        "valid = \"valid.parquet\"",
        "split = { by = \"time\", column = \"seen_at\", valid_from = 2023-05-25, test = 0.1 }",
        "run.toml:5: state either shares (valid, test) or times (valid_from, test_from), not both",
    );
    check(
        "valid = \"valid.parquet\"",
        "split = { by = \"time\", column = \"seen_at\", test_from = 2023-05-25 }",
        "run.toml:5: test_from needs valid_from beside it",
    );
    check(
        "valid = \"valid.parquet\"",
        "split = { by = \"time\", column = \"seen_at\", valid_from = \"soon\" }",
        "run.toml:5: \"soon\" is not a time; write a date such as 2024-02-01, a date and time such as \
         2024-02-01T12:30:00Z, or a number in the column's unit",
    );
    check(
        "valid = \"valid.parquet\"",
        "split = { by = \"time\", column = \"seen_at\", valid_from = 2023-05-25, format = \"%Q\" }",
        "run.toml:5: \"%Q\" is not a time format; write it as for strftime, such as \
         \"%m/%d/%Y %H:%M:%S\"",
    );
    check(
        "epochs = 3",
        "parity = { stale_momentum = true }\n[network]",
        "run.toml:30: network is stated twice",
    );
}

#[test]
fn parity_without_masks() {
    let sets = [
        "network.kind=single_task",
        "training.parity.stale_momentum=true",
    ];
    assert_eq!(
        parse(RUN, &sets).unwrap_err(),
        "--set training.parity.stale_momentum=true: training.parity.stale_momentum is about masks; \
         network.kind has none",
    );
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let text = RUN
        .replace("user_id = {", "usr_id = {")
        .replace("\"ctr\"", "\"crt\"");
    assert_eq!(
        parse(&text, &[]).unwrap_err(),
        "run.toml:8: column \"usr_id\" is not in train.parquet; did you mean user_id?\n\
         run.toml:18: task \"cvr\" counts rows of task \"crt\", which is not a task; did you mean ctr?",
    );
}

#[test]
fn overrides_are_checked_like_lines() {
    check_set(
        "training.epoch=3",
        "--set training.epoch=3: unknown key epoch in training; did you mean epochs?",
    );
    check_set(
        "search.density=2",
        "--set search.density=2: search.density is 2; it must be above 0 and at most 1",
    );
    check_set(
        "training.epochs",
        "--set training.epochs: expected KEY=VALUE with a dotted key, such as training.epochs=3",
    );
    check_set(
        "tasks.cvr.where=crt",
        "--set tasks.cvr.where=crt: task \"cvr\" counts rows of task \"crt\", which is not a task; \
         did you mean ctr?",
    );
}

#[test]
fn overrides_win() {
    let sets = [
        "network.kind=single_task",
        "training.epochs=7",
        "network.hidden=[8]",
    ];
    let file = parse(RUN, &sets).unwrap();
    assert_eq!(file.plan.train.epochs, 7);
    assert_eq!(file.plan.network.hidden, [8]);
    let note = "[search] has no effect: only network.kind = \"sparse_sharing\" has masks";
    assert_eq!(file.notes, [note]);
}

#[test]
fn experts_of_a_network_that_has_none() {
    let check = |kind: &str, expected: &[&str]| {
        let kind = format!("network.kind={kind}");
        let sets = [
            &kind,
            "network.experts=2",
            "network.shared_experts=2",
            "network.levels=2",
        ];
        let notes = parse(RUN, &sets).unwrap().notes;
        let notes: Vec<&str> = notes.iter().map(String::as_str).collect();
        assert_eq!(notes, expected, "{kind}");
    };
    let search = "[search] has no effect: only network.kind = \"sparse_sharing\" has masks";
    let experts = "network.experts has no effect: only network.kind = \"mmoe\", \"ple\", \"stem\" and \"home\" have experts";
    let shared = "network.shared_experts has no effect: only network.kind = \"ple\", \"stem\" and \"home\" have shared experts";
    let levels = "network.levels has no effect: only network.kind = \"ple\" has levels";
    check("sparse_sharing", &[experts, shared, levels]);
    check("aitm", &[experts, shared, levels, search]);
    check("mmoe", &[shared, levels, search]);
    check("ple", &[search]);
}

#[test]
fn experts_and_levels_that_are_not_stated() {
    let kind = |kind: &str| {
        let set = format!("network.kind={kind}");
        parse(RUN, &[&set]).unwrap().plan.network.kind
    };
    assert_eq!(kind("mmoe"), NetworkKind::Mmoe { experts: 4 });
    let ple = NetworkKind::Ple {
        levels: 1,
        experts: 4,
        shared: 1,
    };
    assert_eq!(kind("ple"), ple);
}

#[test]
fn more_levels_than_hidden_layers() {
    let sets = ["network.kind=ple", "network.levels=3"];
    assert_eq!(
        parse(RUN, &sets).map(|file| file.plan).unwrap_err(),
        "--set network.levels=3: 3 levels need as many hidden layers, and network.hidden has 2",
    );
    check(
        "kind = \"sparse_sharing\"\nhidden = [64, 32]",
        "kind = \"ple\"\nhidden = [64, 32]\nlevels = 3",
        "run.toml:24: 3 levels need as many hidden layers, and network.hidden has 2",
    );
    check_set(
        "network.levels=0",
        "--set network.levels=0: network.levels is 0; it must be at least 1",
    );
}

#[test]
fn what_is_no_toml() {
    let found = parse("seed = 1\n[data\n", &[]).unwrap_err();
    assert!(found.starts_with("run.toml:2: not TOML: "), "{found}");
}

#[test]
fn what_is_found_later_has_its_line_too() {
    let file = parse(RUN, &[]).unwrap();
    let error = file.error_at(
        &["tasks", "cvr", "label"],
        "label \"long_read\" is 0 in every row",
    );
    assert_eq!(
        error.to_string(),
        "run.toml:17: label \"long_read\" is 0 in every row"
    );
}

proptest! {
    /// However a run file is broken, it is read or told a place; nothing panics.
    #[test]
    fn any_change_is_read_or_told_its_place(
        at in 0..RUN.len(),
        taken in 0..12usize,
        put in r#"[\[\]{}=."a-z0-9\n -]{0,4}"#,
    ) {
        let mut text = RUN.to_owned();
        text.replace_range(at..(at + taken).min(RUN.len()), &put);
        if let Err(error) = parse(&text, &[]) {
            for line in error.lines() {
                prop_assert!(line.starts_with("run.toml:"), "{}", error);
            }
        }
    }

    /// However an override is written, it is taken or told.
    #[test]
    fn any_override_is_read_or_told(text in r#"[\[\]{}=."a-z0-9\n -]{0,12}"#) {
        if let Err(error) = parse(RUN, &[&text]) {
            prop_assert!(error.contains("--set ") || error.contains("run.toml:"), "{}", error);
        }
    }
}
