//! Tables in mapped files: the bytes of tables in memory, and a disk that is full.

mod short_run;
mod trained;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use ncs_collective::{Collective, threads};
use ncs_train::NoopListener;
use ncs4cvr::progress::Progress;
use ncs4cvr::run_folder::RunFolder;
use ncs4cvr::training;
use trained::{done, ncs, refused};

const IN_FILES: &str = "training.table_storage=\"file\"";

/// Tables that are large enough for a file: hashed, and a vocabulary.
const TABLES: [&str; 2] = [
    "columns.user={kind=\"categorical\", buckets=5000}",
    "columns.item={kind=\"categorical\", buckets=3000}",
];

const PARTS: [&str; 2] = ["data.valid=\"valid.parquet\"", "data.test=[]"];

fn train(folder: &Path, out: &str, sets: &[&str]) -> PathBuf {
    let sets = [&TABLES, sets].concat();
    let out = folder.join(out);
    short_run::train(&short_run::open(folder, &short_run::SETS, &sets), &out);
    out
}

/// Reads the files that do not depend on where tables lie.
fn bytes(out: &Path) -> Vec<Vec<u8>> {
    let files = [
        "model/weights.safetensors",
        "model/manifest.json",
        "metrics.json",
    ];
    files.map(|file| fs::read(out.join(file)).unwrap()).into()
}

const SEARCH: &str = "network.kind=\"sparse_sharing\"";

#[test]
fn tables_in_files_give_the_bytes_of_tables_in_memory() {
    let log = short_run::log(&[]);
    let folder = log.path();
    let cases: [&[&str]; 7] = [
        &[],
        &["threads=2", "training.steps=\"joint\""],
        &["network.kind=\"single_task\"", "training.keep=\"last\""],
        &["training.refit=true", "training.click_logit=\"learned\""],
        &[
            "training.table_optimizer=\"rowwise_adagrad\"",
            "training.average=\"ema\"",
        ],
        &["training.shrinkage=\"validated\""],
        &[
            SEARCH,
            "search.density=0.5",
            "search.kind=\"magnitude\"",
            "search.rounds=1",
            "search.rewind={steps=9}",
        ],
    ];
    for (case, sets) in cases.into_iter().enumerate() {
        let memory = train(folder, &format!("memory-{case}"), sets);
        let files = [sets, &[IN_FILES]].concat();
        let files = train(folder, &format!("files-{case}"), &files);
        assert_eq!(bytes(&memory), bytes(&files), "{sets:?}");
    }
    let entries = fs::read_dir(folder.join("files-0")).unwrap();
    let names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with(".tmp"))
        .collect();
    assert!(names.is_empty(), "{names:?}");
}

/// A killed run goes on, whether its tables lay in memory or in files, and wherever they lie then.
#[test]
fn a_run_goes_on_with_tables_elsewhere() {
    let log = short_run::log(&[]);
    let folder = log.path();
    let whole = bytes(&train(folder, "whole", &[]));
    let often = "training.checkpoint_steps=7";
    let [memory, files] = [&[often][..], &[often, IN_FILES]];
    for (number, (first, then)) in [(memory, files), (files, files), (files, memory)]
        .into_iter()
        .enumerate()
    {
        let out = format!("resumed-{number}");
        let sets = [&TABLES, first].concat();
        let file = short_run::open(folder, &short_run::SETS, &sets);
        fs::create_dir(folder.join(&out)).unwrap();
        short_run::dies(&file, &folder.join(&out), 40);
        assert!(folder.join(&out).join("checkpoint.safetensors").exists());
        assert_eq!(
            bytes(&train(folder, &out, then)),
            whole,
            "{first:?}, {then:?}"
        );
    }
}

/// Vocabularies grow, rows expire, and moments are kept.
#[test]
fn a_training_goes_on_from_a_model_with_tables_in_files() {
    let log = short_run::log(&["--unseen", "0.6", "--days", "10"]);
    let folder = log.path();
    let chain = |name: &str, more: &[&str]| {
        let sets = [
            "columns.item=\"categorical\"",
            "tables.item={expire_after=1}",
            "data.test=[]",
        ];
        let first = [
            "data.train=\"train.parquet\"",
            "data.valid=\"valid.parquet\"",
        ];
        let later = [
            "data.train=\"valid.parquet\"",
            "data.valid=\"test.parquet\"",
        ];
        let out = |number: usize| format!("{name}-{number}");
        let mut all = vec![train(folder, &out(1), &[&sets, &first[..], more].concat())];
        for number in [2, 3] {
            let start = format!("start.model=\"../{}\"", out(number - 1));
            let start = [&start[..], "start.moments=\"keep\""];
            all.push(train(
                folder,
                &out(number),
                &[&sets, &later[..], more, &start].concat(),
            ));
        }
        all
    };
    let (memory, files) = (chain("memory", &[]), chain("files", &[IN_FILES]));
    for (memory, files) in memory.iter().zip(&files) {
        assert_eq!(bytes(memory), bytes(files), "{}", files.display());
    }
    let log = fs::read_to_string(files[2].join("log.txt")).unwrap();
    assert!(log.contains("optimizer moments are those of"), "{log}");
}

/// Trains on three ranks with tables in shards.
fn train_on_ranks(folder: &Path, name: &str, more: &[&str]) -> PathBuf {
    let out = folder.join(name);
    let sharded = [
        "training.embedding_evidence=\"none\"",
        "distributed.tables=\"sharded\"",
    ];
    let sets = [&TABLES, &sharded, more].concat();
    std::thread::scope(|scope| {
        for rank in threads(3, Duration::from_secs(120)) {
            let (out, sets) = (&out, &sets);
            scope.spawn(move || {
                let file = short_run::open(folder, &short_run::SETS, sets);
                let held = match rank.rank() {
                    0 => RunFolder::hold(out).unwrap(),
                    _ => RunFolder::of_first_rank(out),
                };
                let (stop, quiet) = (AtomicBool::new(false), Progress::Quiet);
                let listener = &mut NoopListener;
                training::run_on_ranks(&file, &held, &rank, quiet, &stop, listener).unwrap();
            });
        }
    });
    out
}

#[test]
fn shards_of_tables_lie_in_files() {
    let log = short_run::log(&[]);
    let memory = train_on_ranks(log.path(), "memory", &[]);
    let files = train_on_ranks(log.path(), "files", &[IN_FILES]);
    assert_eq!(bytes(&files), bytes(&memory));
}

/// What is made of a model in shards is what is made of the whole one.
#[test]
fn a_model_in_shards_is_read_like_a_whole_one() {
    let log = short_run::log(&[]);
    let folder = log.path();
    let sharded = "distributed.model=\"sharded\"";
    train_on_ranks(folder, "whole", &[]);
    let out = train_on_ranks(folder, "sharded", &[sharded, IN_FILES]);
    let shard = out.join("model/weights-shard-2-of-3.safetensors");
    assert!(shard.exists());
    let scores = |model: &str, more: &[&str]| {
        let command = [
            "score",
            model,
            "--data",
            "log/test.parquet",
            "--out",
            "s.csv",
        ];
        done(folder, &[&command[..], more].concat());
        fs::read(folder.join("s.csv")).unwrap()
    };
    let expected = scores("whole", &[]);
    for (model, more) in [
        ("whole", &["--map-tables"][..]),
        ("sharded", &[]),
        ("sharded", &["--map-tables"]),
    ] {
        assert!(scores(model, more) == expected, "{model}, {more:?}");
    }
    let inspect = |model: &str| done(folder, &["inspect", model]);
    // After the folder and the hash of the manifest.
    let lines = |text: String| text.lines().skip(2).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(lines(inspect("sharded")), lines(inspect("whole")));
    let [one, other] = ["whole", "sharded"].map(|model| {
        let start = format!("start.model=\"../{model}\"");
        train(
            folder,
            &format!("from-{model}"),
            &[&start[..], "start.moments=\"reset\""],
        )
    });
    let weights = |out: &Path| fs::read(out.join("model/weights.safetensors")).unwrap();
    assert!(weights(&one) == weights(&other));
    fs::remove_file(shard).unwrap();
    let command = [
        "score",
        "sharded",
        "--data",
        "log/test.parquet",
        "--out",
        "s.csv",
    ];
    refused(
        folder,
        &command,
        &["weights-shard-2-of-3.safetensors: it is missing"],
    );
}

#[test]
fn a_folder_for_tables_is_stated() {
    let log = short_run::log(&[]);
    let folder = log.path();
    let near = "training.table_folder=\"tables/here\"";
    let user = "columns.user={kind=\"categorical\", buckets=5000}";
    let sets = [
        IN_FILES,
        near,
        user,
        "training.epochs=1",
        "network.kind=\"shared_bottom\"",
    ];
    let mut command = vec!["train", "log/run.toml", "--out", "stated"];
    sets.iter().for_each(|set| command.extend(["--set", set]));
    let stated = ncs(folder, &command);
    let text = String::from_utf8_lossy(&stated.stderr);
    assert!(stated.status.success(), "{text}");
    assert!(text.contains("tables are in files in "), "{text}");
    assert_eq!(
        fs::read_dir(folder.join("log/tables/here"))
            .unwrap()
            .count(),
        0
    );
    let check = done(folder, &["check", "log/run.toml", "--set", IN_FILES]);
    assert!(
        check.contains(" on disk (training.table_storage"),
        "{check}"
    );
    let idle = ncs(folder, &["check", "log/run.toml", "--set", near]).stderr;
    let idle = String::from_utf8_lossy(&idle);
    assert!(
        idle.contains("training.table_folder has no effect"),
        "{idle}"
    );
    fs::write(folder.join("log/file"), "x").unwrap();
    let set = "training.table_folder=\"file\"";
    let command = [
        "train",
        "log/run.toml",
        "--out",
        "refused",
        "--set",
        IN_FILES,
        "--set",
        set,
    ];
    let error = "cannot keep table rows in this folder: ";
    refused(folder, &command, &["file", error, "training.table_folder"]);
    let begun = folder.join("refused/rows");
    assert!(!begun.exists(), "before any row is read");
}

/// Files may have 8 MiB, less than the table needs, as if the disk were full: an error that says so, and the run goes on
/// elsewhere from its checkpoint with the same result.
#[cfg(unix)]
#[test]
fn a_full_disk_ends_a_run_that_goes_on() {
    let log = short_run::log(&[]);
    let folder = log.path();
    let sets = ["training.epochs=1", "network.dim=64", PARTS[0], PARTS[1]];
    let large = "columns.user={kind=\"categorical\", buckets=300000}";
    let mut arguments = vec!["--set", large];
    for set in short_run::SETS.iter().chain(&sets) {
        arguments.extend(["--set", set]);
    }
    let command = |out| [&["train", "log/run.toml", "--out", out][..], &arguments].concat();
    let mut limited = std::process::Command::new("sh");
    let script = "trap '' XFSZ; ulimit -f 16384; exec \"$@\"";
    limited.args(["-c", script, "sh", env!("CARGO_BIN_EXE_ncs")]);
    limited.args(command("full")).args(["--set", IN_FILES]);
    let ended = limited.current_dir(folder).output().unwrap();
    let text = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{text}");
    assert!(
        text.contains("cannot keep table rows in this folder"),
        "{text}"
    );
    done(folder, &command("memory"));
    done(
        folder,
        &[&command("full")[..], &["--set", IN_FILES]].concat(),
    );
    assert_eq!(bytes(&folder.join("full")), bytes(&folder.join("memory")));
}
