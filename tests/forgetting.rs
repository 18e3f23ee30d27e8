//! `ncs forget`: erased values are found nowhere, and score as values that were never seen.

mod short_run;
mod trained;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use ncs_features::{Batch, Block, Column, Encoder, IdSpace, Values};
use ncs_model::artifact::Artifact;
use ncs_model::{NetworkKind, Precision, Scorer, TensorFile, Workspace};
use ncs_readers::{Reading, files, open};
use ncs_serve::compute::WorkerScratch;
use ncs_serve::rank_request::RankQuery;
use ncs_serve::score_log::{Entry, ScoreLog};
use ncs_serve::version::Version;
use ncs4cvr::forget::{ForgetPlan, Forgotten, forget};
use ncs4cvr::score_log::ParquetLog;
use trained::{done, ncs, refused};

const SETS: [&str; 8] = [
    "data.cache=\"cache\"",
    "threads=1",
    "network.hidden=[16, 8]",
    "training.epochs=1",
    "training.batch=512",
    "training.checkpoint_steps=2",
    "evaluation.group=\"user\"",
    "features.rates=[{ of = [\"item\"] }, { of = [\"user\", \"shop\"], tasks = [\"ctr\"] }]",
];

/// The first user of the log, who is in the training rows, written as a floating-point number; and one in no row.
const VALUES: &str = "0.0\n\n 987654321 \n";

/// Trains on a synthetic log of which all rows have ids; `sets` are settings of the run.
fn log(sets: &[&str]) -> tempfile::TempDir {
    let folder = short_run::log(&["--unseen", "0.4", "--days", "10"]);
    let file = short_run::open(folder.path(), &SETS, sets);
    short_run::train(&file, &folder.path().join("run"));
    fs::write(folder.path().join("ids.txt"), VALUES).unwrap();
    folder
}

/// Test rows, with the user of every row replaced by `user`.
fn rows_of(folder: &Path, artifact: &Artifact, user: i64) -> Batch {
    let mut block = rows(folder, artifact);
    let n = block.n_rows;
    let users = block
        .columns
        .iter_mut()
        .find(|column| column.name == "user");
    users.unwrap().values = Values::Int(vec![user; n]);
    Encoder::new(artifact.schema.clone())
        .encode_features(&block)
        .unwrap()
}

fn rows(folder: &Path, artifact: &Artifact) -> Block {
    let mut columns: Vec<String> = Vec::new();
    for field in &artifact.schema.fields {
        if !columns.contains(&field.column) {
            columns.push(field.column.clone());
        }
    }
    let mut rows = open(
        &folder.join("log/test.parquet"),
        &Reading::default(),
        &columns,
    )
    .unwrap();
    let block = rows.next_block().unwrap().unwrap().block;
    block.select(&(0..200).collect::<Vec<usize>>())
}

fn scores(folder: &Path, artifact: &Artifact, user: i64) -> Vec<Vec<f32>> {
    let scorer = Scorer::new(artifact).unwrap();
    scorer.score(&rows_of(folder, artifact, user), &mut Workspace::new(1))
}

fn model(folder: &Path) -> Artifact {
    Artifact::read(&folder.join("run/model")).unwrap_or_else(|error| panic!("{error}"))
}

fn plan(folder: &Path, dry_run: bool) -> ForgetPlan {
    ForgetPlan {
        model: folder.join("run"),
        column: "user".to_owned(),
        values: ncs4cvr::forget::read_values(&folder.join("ids.txt")).unwrap(),
        also: vec![folder.join("log/cache")],
        dry_run,
    }
}

fn erased(folder: &Path, dry_run: bool) -> Forgotten {
    let stop = AtomicBool::new(false);
    let erased = forget(&plan(folder, dry_run), &mut |_| {}, &stop);
    erased.unwrap_or_else(|error| panic!("{error}"))
}

fn kinds(forgotten: &Forgotten) -> Vec<&'static str> {
    let mut kinds: Vec<&str> = forgotten.found.iter().map(|found| found.kind).collect();
    kinds.dedup();
    kinds
}

/// The row of user 0 in the model, if it is there.
fn row_of_user_0(artifact: &Artifact) -> Option<(usize, u32)> {
    let table = artifact
        .schema
        .tables
        .iter()
        .position(|table| table.name == "user")?;
    let id = match &artifact.schema.tables[table].ids {
        IdSpace::Vocabulary { values } => 2 + values.iter().position(|value| value == "0")? as u32,
        IdSpace::Hash {
            buckets, function, ..
        } => 1 + (function.hash(b"0") % u64::from(*buckets)) as u32,
        ids => panic!("{ids:?}"),
    };
    let rows = &artifact.weight_sets[0].weights.tables[table].ids;
    rows.contains(&id).then_some((table, id))
}

fn check_erased(sets: &[&str]) {
    let folder = log(sets);
    let folder = folder.path();
    let before = model(folder);
    let (table, id) = row_of_user_0(&before).expect("user 0 has a row");
    // A user of no row, and one whose bucket is another one.
    let (known, unseen, other) = (0, 5_000_017, 1);
    let differs = scores(folder, &before, known) != scores(folder, &before, unseen);
    assert!(differs, "the user makes no difference before");
    let searched = erased(folder, true);
    assert_eq!(model(folder).schema, before.schema, "only searched");
    let forgotten = erased(folder, false);
    assert_eq!(searched.found, forgotten.found);
    assert_eq!(forgotten.values, 2);
    assert_eq!(
        (&forgotten.left[..], &forgotten.unsearched[..]),
        (&[][..], &[][..])
    );
    assert!(forgotten.is_complete());
    assert_eq!(kinds(&forgotten), ["checkpoint", "id cache", "model"]);

    let after = model(folder);
    assert_eq!(row_of_user_0(&after), None);
    assert_eq!(
        scores(folder, &after, known),
        scores(folder, &after, unseen)
    );
    for user in [unseen, other] {
        assert_eq!(
            scores(folder, &after, user),
            scores(folder, &before, user),
            "{user}"
        );
    }
    let checkpoint = TensorFile::read(&folder.join("run/checkpoint.safetensors")).unwrap();
    assert_eq!(
        checkpoint
            .count_rows(|t, row| (t, row) == (table, id))
            .unwrap(),
        0
    );
    assert!(checkpoint.count_rows(|t, _| t == table).unwrap() > 0);
    let step = after.ancestry.last().unwrap().erasure.clone().unwrap();
    assert_eq!((step.column.as_str(), step.values), ("user", 2));
    assert!(done(folder, &["inspect", "run"]).contains("2 values of user"));
    // The model is a model: its self-test is that of its scores, and a training goes on from it.
    Version::load(&folder.join("run/model"), &"m".into(), 1, Precision::Single).unwrap();
    let later = [
        "start.model=\"../run\"",
        "data.train=\"valid.parquet\"",
        "data.valid=\"test.parquet\"",
        "data.test=[]",
    ];
    let file = short_run::open(folder, &SETS, &[sets, &later].concat());
    short_run::train(&file, &folder.join("next"));
    let again = erased(folder, false);
    assert_eq!(
        again
            .found
            .iter()
            .filter(|found| found.kind == "model")
            .count(),
        0
    );
}

#[test]
fn an_erased_value_of_a_vocabulary_scores_as_an_unseen_one() {
    check_erased(&[]);
}

#[test]
fn an_erased_hashed_value_scores_as_an_unseen_one() {
    check_erased(&["columns.user={kind=\"categorical\", buckets=100000}"]);
}

#[test]
fn other_values_of_the_vocabulary_keep_their_ids() {
    let folder = log(&[]);
    let values = |artifact: &Artifact| match &artifact.schema.tables[0].ids {
        IdSpace::Vocabulary { values } => values.clone(),
        ids => panic!("{ids:?}"),
    };
    let before = values(&model(folder.path()));
    erased(folder.path(), false);
    let after = values(&model(folder.path()));
    assert_eq!(before.len(), after.len());
    for (was, is) in before.iter().zip(&after) {
        assert_eq!(is, if was == "0" { "" } else { was });
    }
}

/// Stops after each file and folder in turn; the next call completes it.
#[test]
fn an_interrupted_erasure_is_completed_by_the_next() {
    let whole = log(&[]);
    let n = erased(whole.path(), true).found.len();
    assert!(n > 2, "{n}");
    let folder = log(&[]);
    for done in 1..n {
        let stop = AtomicBool::new(false);
        let mut noted = 0;
        let mut note = |_| {
            noted += 1;
            stop.store(true, Ordering::Relaxed);
        };
        let error = forget(&plan(folder.path(), false), &mut note, &stop).unwrap_err();
        assert!(
            error.to_string().contains("run the same command again"),
            "{error}"
        );
        assert_eq!(noted, 1, "after {done}");
        assert!(
            row_of_user_0(&model(folder.path())).is_some(),
            "models come last"
        );
    }
    let last = erased(folder.path(), false);
    assert_eq!(kinds(&last), ["model"]);
    assert!(last.is_complete());
    erased(whole.path(), false);
    for file in ["model/weights.safetensors", "model/manifest.json"] {
        let bytes = |folder: &Path| fs::read(folder.join("run").join(file)).unwrap();
        assert!(bytes(whole.path()) == bytes(folder.path()), "{file}");
    }
}

/// Writes requests of one user each; the candidates are rows of the log.
fn write_scores(folder: &Path, version: &Version, users: &[i64]) {
    let artifact = model(folder);
    let mut log = ParquetLog::open(
        &folder.join("scores"),
        7,
        Duration::from_secs(3600),
        1 << 20,
    )
    .unwrap();
    for (request, &user) in users.iter().enumerate() {
        let rows = rows(folder, &artifact).select(&[3 * request, 3 * request + 1, 3 * request + 2]);
        let (_, candidates): (Vec<Column>, Vec<Column>) = rows
            .columns
            .into_iter()
            .partition(|column| column.name == "user");
        let user = Column {
            name: "user".into(),
            values: Values::Int(vec![user]),
            ..Column::default()
        };
        let mut question = RankQuery {
            id: format!("request {request}"),
            context: Block {
                n_rows: 1,
                columns: vec![user],
            },
            candidates: Block {
                n_rows: 3,
                columns: candidates,
            },
            ..RankQuery::default()
        };
        let scores = version.score(&mut question, false, &mut WorkerScratch::new());
        let scores = scores.unwrap_or_else(|refusal| panic!("{}", refusal.message));
        let kept = log.write(&Entry {
            request_id: question.id.as_str().into(),
            time: SystemTime::UNIX_EPOCH,
            identity: version.identity.clone(),
            role: None,
            question: Arc::new(question),
            raw: scores.raw.into(),
            calibrated: scores.calibrated.into(),
        });
        assert_eq!(kept.lost, 0);
    }
    assert_eq!(log.finish().lost, 0);
}

fn logged_users(folder: &Path) -> Vec<String> {
    let scores = folder.join("scores").to_str().unwrap().to_owned();
    let mut users = Vec::new();
    for path in files(&[scores], Path::new("")).unwrap() {
        let mut rows = open(&path, &Reading::default(), &["user".to_owned()]).unwrap();
        while let Some(block) = rows.next_block().unwrap() {
            let mut buffer = ncs_features::value::TextBuffer::default();
            let values = &block.block.columns[0].values;
            let text = |i| String::from_utf8(buffer.text(values, i).to_vec()).unwrap();
            users.extend((0..block.block.n_rows).map(text));
        }
    }
    users
}

#[test]
fn score_logs_lose_the_rows_of_the_values_and_replay_the_others() {
    let folder = log(&["network.kind=\"shared_bottom\"", "features.rates=\"none\""]);
    let folder = folder.path();
    let version =
        Version::load(&folder.join("run/model"), &"m".into(), 1, Precision::Single).unwrap();
    write_scores(folder, &version, &[0, 1, 2, 0, 5, 6]);
    assert_eq!(logged_users(folder).len(), 18);
    let forget = [
        "forget",
        "run",
        "--column",
        "user",
        "--values",
        "ids.txt",
        "--also",
        "scores",
        "--also",
        "log/cache",
    ];
    let text = done(folder, &forget);
    assert!(text.contains("score log"), "{text}");
    assert!(text.contains("a search afterwards found nothing"), "{text}");
    let users = logged_users(folder);
    assert_eq!(users.len(), 12);
    assert!(users.iter().all(|user| user != "0"), "{users:?}");
    // They are whole rows of the model that scored them, which is now another one.
    let replayed = done(folder, &["replay", "scores", "run", "--json"]);
    let replayed: serde_json::Value = serde_json::from_str(&replayed).unwrap();
    let of_others = replayed["other_models"].as_object().unwrap().values();
    let of_others: Vec<_> = of_others.collect();
    assert_eq!(
        (&of_others[0]["rows"], &of_others[0]["rows_beyond"]),
        (&12.into(), &0.into())
    );
    assert_eq!(of_others.len(), 1);
    assert!(done(folder, &forget).contains("held by 0 of"));
}

#[test]
fn files_of_yours_are_named_and_stay() {
    let folder = log(&["network.kind=\"shared_bottom\""]);
    let path = folder.path();
    fs::write(path.join("ids.txt"), "0\nlonger-than-a-number\n").unwrap();
    fs::create_dir(path.join("mine")).unwrap();
    fs::write(path.join("mine/clicks.csv"), "user,item\n0,4\n3,4\n").unwrap();
    fs::write(path.join("mine/mail.txt"), "dear longer-than-a-number,\n").unwrap();
    fs::write(path.join("mine/other.txt"), "longer-than-a-number-2, 0\n").unwrap();
    let forget = [
        "forget",
        "run",
        "--column",
        "user",
        "--values",
        "ids.txt",
        "--also",
        "mine",
        "--also",
        "log/cache",
    ];
    let output = ncs(path, &forget);
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    for part in [
        "clicks.csv (file of yours: 1 row)",
        "mail.txt (file of yours: 1 value in its bytes)",
    ] {
        assert!(stderr.contains(part), "{part}: {stderr}");
    }
    assert!(!stderr.contains("other.txt"), "{stderr}");
    assert_eq!(row_of_user_0(&model(path)), None);
    fs::remove_dir_all(path.join("mine")).unwrap();
    fs::create_dir(path.join("mine")).unwrap();
    done(path, &forget);
}

#[test]
fn new_values_quoted_in_reports_go() {
    let folder = log(&[
        "network.kind=\"shared_bottom\"",
        "evaluation.group=\"session\"",
    ]);
    let path = folder.path();
    let report: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(path.join("run/metrics.json")).unwrap()).unwrap();
    let items = report["columns"]["test"].as_array().unwrap();
    let items = items
        .iter()
        .find(|column| column["column"] == "item")
        .unwrap();
    let item = items["new_values"][0]["value"].as_str().unwrap().to_owned();
    fs::write(path.join("items.txt"), format!("{item}\n")).unwrap();
    let forget = [
        "forget",
        "run",
        "--column",
        "item",
        "--values",
        "items.txt",
        "--also",
        "log/cache",
        "--json",
    ];
    let forgotten: serde_json::Value = serde_json::from_str(&done(path, &forget)).unwrap();
    let found = forgotten["found"].as_array().unwrap();
    let of = |name: &str| {
        found
            .iter()
            .any(|found| found["path"].as_str().unwrap().ends_with(name))
    };
    for name in ["metrics.json", "report.json", "report.html"] {
        assert!(of(name), "{name}: {forgotten:#}");
        let text = fs::read_to_string(path.join("run").join(name)).unwrap();
        assert!(text.contains("(erased)"), "{name}");
    }
    // The model never held it.
    assert!(!of("model"), "{forgotten:#}");
}

#[test]
fn what_cannot_be_erased_is_refused_before_anything_is_changed() {
    let folder = trained::folder(NetworkKind::SharedBottom);
    let path = folder.path();
    fs::write(path.join("ids.txt"), "1\n").unwrap();
    fs::write(path.join("none.txt"), "\n nan \n").unwrap();
    let check = |column: &str, values: &str, parts: &[&str]| {
        refused(
            path,
            &["forget", "run", "--column", column, "--values", values],
            parts,
        );
    };
    check(
        "users",
        "ids.txt",
        &["the model has no column \"users\"; columns with ids are user, item"],
    );
    check(
        "price",
        "ids.txt",
        &["column \"price\" is read as a number"],
    );
    check(
        "user",
        "none.txt",
        &["none.txt: holds no value; write one a line"],
    );
    check("user", "absent.txt", &["absent.txt", "one a line"]);
    fs::write(path.join("run/run.id"), "").unwrap();
    let lock = fs::File::create(path.join("run/run.lock")).unwrap();
    lock.lock().unwrap();
    check("user", "ids.txt", &["a process works in this folder"]);
}

#[test]
fn versions_behind_a_promoted_link_are_erased_from_too() {
    let folder = log(&["network.kind=\"shared_bottom\""]);
    let path = folder.path();
    let promote = [
        "promote",
        "run",
        "--live",
        "live",
        "--data",
        "log/test.parquet",
        "--calibration-bound",
        "0.01..100",
        "--min-labels",
        "5",
    ];
    done(path, &promote);
    let forgotten = done(
        path,
        &[
            "forget", "live", "--column", "user", "--values", "ids.txt", "--json",
        ],
    );
    let forgotten: serde_json::Value = serde_json::from_str(&forgotten).unwrap();
    assert!(
        forgotten["found"][0]["path"]
            .as_str()
            .unwrap()
            .ends_with("live.versions/0001"),
        "{forgotten:#}"
    );
    let live = Artifact::read(&path.join("live")).unwrap();
    assert_eq!(row_of_user_0(&live), None);
    assert!(
        fs::symlink_metadata(path.join("live"))
            .unwrap()
            .is_symlink()
    );
    // The run was not named.
    assert!(row_of_user_0(&model(path)).is_some());
    assert_eq!(forgotten["found"][0]["action"], "rewritten");
}
