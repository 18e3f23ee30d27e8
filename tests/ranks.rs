//! Training on several ranks, here threads: the same model to rounding as on one, the same bytes on as many, and a run that
//! goes on with another number of ranks.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ncs_collective::{Collective, ThreadRank, threads};
use ncs_model::artifact::Artifact;
use ncs_train::{Event, Listener, NoopListener};
use ncs4cvr::error::Error;
use ncs4cvr::progress::Progress;
use ncs4cvr::run_folder::RunFolder;
use ncs4cvr::training;

mod short_run;
mod trained;

const TIMEOUT: Duration = Duration::from_secs(120);

/// Runs `work` on each rank of a job of threads, and returns the outcomes in the order of the ranks.
fn on_ranks<T: Send>(n: usize, work: impl Fn(ThreadRank) -> T + Sync) -> Vec<T> {
    let work = &work;
    std::thread::scope(|scope| {
        let ranks = threads(n, TIMEOUT).into_iter();
        let started: Vec<_> = ranks.map(|rank| scope.spawn(move || work(rank))).collect();
        let ended = started.into_iter().map(|thread| thread.join().unwrap());
        ended.collect()
    })
}

/// Trains as one rank; the first one hears the events.
fn train_as(
    rank: &ThreadRank,
    folder: &Path,
    out: &Path,
    sets: &[&str],
    listener: &mut Stopper<'_>,
) -> Result<bool, Error> {
    let file = short_run::open(folder, &short_run::SETS, sets);
    let held = if rank.rank() == 0 {
        RunFolder::hold(out)?
    } else {
        RunFolder::of_first_rank(out)
    };
    let stop = listener.stop;
    let finished = training::run_on_ranks(&file, &held, rank, Progress::Quiet, stop, listener)?;
    Ok(finished.is_some())
}

/// Asks the run to stop after this many steps (0: never).
struct Stopper<'s> {
    stop: &'s AtomicBool,
    left: u64,
    /// What was noted of the tables.
    of_tables: Vec<String>,
}

impl<'s> Stopper<'s> {
    fn after(left: u64, stop: &'s AtomicBool) -> Stopper<'s> {
        Stopper {
            stop,
            left,
            of_tables: Vec::new(),
        }
    }
}

impl Listener for Stopper<'_> {
    fn on_event(&mut self, event: &Event<'_>) {
        if let Event::Noted { text } = event
            && text.starts_with("tables: ")
        {
            self.of_tables.push((*text).to_owned());
        }
        if let Event::Stepped { .. } = event {
            self.left = self.left.wrapping_sub(1);
            if self.left == 0 {
                self.stop.store(true, Ordering::Relaxed);
            }
        }
    }
}

/// Trains on `n` ranks, until the first is asked to stop after `stops_after` steps, or to the end.
fn train_on(n: usize, folder: &Path, out: &str, sets: &[&str], stops_after: u64) -> PathBuf {
    let out = folder.join(out);
    let outcomes = on_ranks(n, |rank| {
        // A signal reaches one rank only.
        let stop = AtomicBool::new(false);
        let mut listener = Stopper::after(stops_after, &stop);
        train_as(&rank, folder, &out, sets, &mut listener)
    });
    for (rank, outcome) in outcomes.into_iter().enumerate() {
        match outcome {
            Ok(is_first) => assert!(is_first == (rank == 0) && stops_after == 0),
            Err(error) => {
                let text = error.to_string();
                assert!(
                    text.starts_with(&format!("stopped at step {stops_after} of ")),
                    "{text}"
                );
            }
        }
    }
    out
}

/// Largest difference of a weight between two models, which must have the same masks and table rows.
fn largest_difference(one: &Path, other: &Path) -> f32 {
    let [one, other] = [one, other].map(|out| Artifact::read(&out.join("model")).unwrap());
    assert_eq!(one.masks, other.masks);
    assert_eq!(one.of_task, other.of_task);
    let mut largest = 0f32;
    for (one, other) in one.weight_sets.iter().zip(&other.weight_sets) {
        let tables = one.weights.tables.iter().zip(&other.weights.tables);
        let tables = tables.map(|(one, other)| {
            assert_eq!(one.ids, other.ids);
            (&one.values[..], &other.values[..])
        });
        for (one, other) in tables.chain([(&one.weights.dense[..], &other.weights.dense[..])]) {
            assert_eq!(one.len(), other.len());
            let differences = one
                .iter()
                .zip(other)
                .map(|(one, other)| (one - other).abs());
            largest = differences.fold(largest, f32::max);
        }
    }
    largest
}

/// Reads the files that equal runs write identically.
fn bytes(out: &Path) -> Vec<Vec<u8>> {
    let files = [
        "model/weights.safetensors",
        "model/manifest.json",
        "metrics.json",
    ];
    files.map(|file| fs::read(out.join(file)).unwrap()).into()
}

/// Trains on 1, 2 and 4 ranks.
fn check(sets: &[&str], bound: f32) {
    let log = short_run::log(&[]);
    let folder = log.path();
    let one = train_on(1, folder, "one", sets, 0);
    let stop = AtomicBool::new(false);
    let file = short_run::open(folder, &short_run::SETS, sets);
    training::run(&file, &folder.join("alone"), Progress::Quiet, &stop).unwrap();
    assert_eq!(
        bytes(&one),
        bytes(&folder.join("alone")),
        "one rank is no other training"
    );
    let two = train_on(2, folder, "two", sets, 0);
    assert_eq!(bytes(&two), bytes(&train_on(2, folder, "again", sets, 0)));
    for more in [two, train_on(4, folder, "four", sets, 0)] {
        let difference = largest_difference(&one, &more);
        println!("{sets:?}: {difference:e}");
        assert!(
            difference < bound,
            "{sets:?}, {}: {difference}",
            more.display()
        );
    }
}

#[test]
fn ranks_train_the_model_of_one_to_rounding() {
    check(&[], 2e-5);
    check(
        &["training.steps=\"joint\"", "training.balance=\"pcgrad\""],
        2e-5,
    );
    check(
        &["training.balance=\"uncertainty\"", "network.dropout=0.2"],
        2e-5,
    );
    check(
        &["training.click_logit=\"learned\"", "training.refit=true"],
        2e-5,
    );
}

#[test]
fn ranks_find_the_masks_of_one() {
    let sparse = ["network.kind=\"sparse_sharing\"", "search.density=0.5"];
    check(&sparse, 2e-5);
    check(
        &[
            &sparse[..],
            &["search.kind=\"magnitude\"", "search.rounds=2"],
        ]
        .concat(),
        2e-5,
    );
}

/// Copies what a run goes on from.
fn copy_checkpoint(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let name = entry.unwrap().file_name();
        let text = name.to_string_lossy();
        if text.starts_with("checkpoint") || ["run.id", "log.txt"].contains(&&*text) {
            fs::copy(from.join(&name), to.join(&name)).unwrap();
        }
    }
}

/// Stops a run on 4 ranks, and goes on with it on 1 to 4 with other settings of the same training.
fn check_going_on(sets: &[&str], others: &[&str]) {
    let log = short_run::log(&[]);
    let folder = log.path();
    let whole = train_on(1, folder, "whole", &[], 0);
    let begun = train_on(4, folder, "begun", sets, 20);
    let same = train_on(4, folder, "same", sets, 0);
    for n in [1, 2, 3, 4] {
        let name = format!("on-{n}");
        copy_checkpoint(&begun, &folder.join(&name));
        let out = train_on(n, folder, &name, others, 0);
        assert!(largest_difference(&whole, &out) < 2e-5, "{n} ranks");
        if n == 4 && sets == others {
            assert_eq!(bytes(&out), bytes(&same), "undisturbed on as many ranks");
        }
    }
}

#[test]
fn a_run_goes_on_with_another_number_of_ranks() {
    check_going_on(&[], &[]);
}

const SHARDED: &str = "distributed.tables=\"sharded\"";

#[test]
fn a_run_with_tables_in_shards_goes_on_with_other_ranks_and_with_whole_tables() {
    check_going_on(&[SHARDED], &[SHARDED]);
    check_going_on(&[SHARDED], &[]);
    check_going_on(&[], &[SHARDED]);
}

/// Without estimates over all rows of a table.
const PLAIN: &str = "training.embedding_evidence=\"none\"";

const SEARCH: &str = "network.kind=\"sparse_sharing\"";

/// Trainings whose bytes do not depend on where tables lie, each with a number of ranks.
const SAME_BYTES: [(usize, &[&str]); 10] = [
    (1, &[PLAIN]),
    (2, &[PLAIN]),
    (3, &[PLAIN]),
    (4, &[PLAIN]),
    (
        3,
        &[
            "training.embedding_evidence={k=10.0}",
            "training.steps=\"joint\"",
        ],
    ),
    (
        2,
        &[
            PLAIN,
            "network.kind=\"single_task\"",
            "training.keep=\"best_per_task\"",
        ],
    ),
    (
        2,
        &[
            PLAIN,
            "training.refit=true",
            "training.click_logit=\"learned\"",
        ],
    ),
    (
        3,
        &[
            PLAIN,
            "training.average=\"ema\"",
            "training.field_dropout=0.1",
        ],
    ),
    (
        2,
        &[
            PLAIN,
            SEARCH,
            "search.density=0.5",
            "search.measure_rho=true",
        ],
    ),
    (
        3,
        &[
            PLAIN,
            SEARCH,
            "search.density=0.5",
            "search.kind=\"magnitude\"",
            "search.rounds=1",
            "search.rewind={steps=9}",
        ],
    ),
];

#[test]
fn tables_in_shards_give_the_bytes_of_whole_tables() {
    let log = short_run::log(&[]);
    let folder = log.path();
    for (case, (n, sets)) in SAME_BYTES.into_iter().enumerate() {
        let whole = train_on(n, folder, &format!("whole-{case}"), sets, 0);
        let sets = [sets, &[SHARDED]].concat();
        let shards = train_on(n, folder, &format!("shards-{case}"), &sets, 0);
        assert_eq!(largest_difference(&whole, &shards), 0.0, "{n}, {sets:?}");
        assert_eq!(bytes(&whole), bytes(&shards), "{n}, {sets:?}");
    }
}

#[test]
fn tables_in_shards_give_the_model_of_whole_tables_where_sums_over_rows_differ_in_rounding() {
    let log = short_run::log(&[]);
    let folder = log.path();
    for (name, sets) in [
        ("evidence", &["training.shrinkage=\"validated\""][..]),
        (
            "pcgrad",
            &["training.steps=\"joint\"", "training.balance=\"pcgrad\""],
        ),
    ] {
        let one = train_on(1, folder, &format!("{name}-one"), sets, 0);
        let sets = [sets, &[SHARDED]].concat();
        let three = train_on(3, folder, &format!("{name}-three"), &sets, 0);
        let again = train_on(3, folder, &format!("{name}-again"), &sets, 0);
        assert_eq!(bytes(&three), bytes(&again), "{name}");
        let difference = largest_difference(&one, &three);
        println!("{name}: {difference:e}");
        assert!(difference < 2e-5, "{name}: {difference}");
    }
}

#[test]
fn a_training_goes_on_from_a_model_and_the_moments_of_its_shards() {
    let log = short_run::log(&[]);
    let folder = log.path();
    let [whole, shards] =
        [("whole", &[PLAIN][..]), ("shards", &[PLAIN, SHARDED])].map(|(name, sets)| {
            train_on(2, folder, name, sets, 0);
            let model = format!("start.model=\"../{name}\"");
            let next = [sets, &[&model, "start.moments=\"keep\"", "seed=2"]].concat();
            train_on(3, folder, &format!("next-{name}"), &next, 0)
        });
    let log_of = |out: &Path| fs::read_to_string(out.join("log.txt")).unwrap();
    for out in [&whole, &shards] {
        let told = log_of(out);
        assert!(told.contains("optimizer moments are those of "), "{told}");
    }
    assert_eq!(largest_difference(&whole, &shards), 0.0);
    // A shard that is missing is told, and the moments start anew.
    let entries = fs::read_dir(folder.join("shards")).unwrap();
    let mut files = entries.map(|entry| entry.unwrap().path());
    let is_shard = |path: &PathBuf| {
        path.display()
            .to_string()
            .contains("checkpoint-shard-2-of-2")
    };
    fs::remove_file(files.find(is_shard).unwrap()).unwrap();
    let sets = [
        PLAIN,
        "start.model=\"../shards\"",
        "start.moments=\"keep\"",
        "seed=2",
    ];
    let told = log_of(&train_on(1, folder, "anew", &sets, 0));
    let is_anew =
        |line: &str| line.contains("moments start anew: ") && line.contains("shard-2-of-2");
    assert!(told.lines().any(is_anew), "{told}");
}

#[test]
fn each_rank_holds_its_part_of_the_tables() {
    let log = short_run::log(&[]);
    let folder = log.path();
    for n in [2, 4] {
        let out = folder.join(format!("held-{n}"));
        let told = on_ranks(n, |rank| {
            let stop = AtomicBool::new(false);
            let mut listener = Stopper::after(0, &stop);
            train_as(&rank, folder, &out, &[SHARDED], &mut listener).unwrap();
            listener.of_tables
        });
        let [text] = &told[0][..] else {
            panic!("{told:?}")
        };
        let numbers = text.split(' ').filter_map(|word| word.parse().ok());
        let numbers: Vec<usize> = numbers.collect();
        let [all, shards, least, most] = numbers[..] else {
            panic!("{text}")
        };
        assert_eq!(shards, n);
        assert!(
            all > 1000 && least * n * 10 > all * 8 && most * n * 10 < all * 12,
            "{text}"
        );
    }
}

#[test]
fn ranks_with_other_settings_are_named() {
    let log = short_run::log(&[]);
    let (folder, out) = (log.path(), log.path().join("out"));
    let outcomes = on_ranks(3, |rank| {
        let stop = AtomicBool::new(false);
        let mut listener = Stopper::after(0, &stop);
        let sets = if rank.rank() == 2 {
            &["seed=9"][..]
        } else {
            &[]
        };
        train_as(&rank, folder, &out, sets, &mut listener)
    });
    for outcome in outcomes {
        let text = outcome.unwrap_err().to_string();
        let start = "the ranks differ in settings, rows or number of threads: ";
        assert!(
            text.starts_with(start) && text.contains(" on rank 2; "),
            "{text}"
        );
    }
}

#[test]
fn a_rank_that_ends_is_named_and_the_run_can_go_on() {
    let log = short_run::log(&[]);
    let (folder, out) = (log.path(), log.path().join("out"));
    let outcomes = on_ranks(2, |rank| {
        if rank.rank() == 1 {
            // It ends while the first prepares the rows.
            return Ok(false);
        }
        let stop = AtomicBool::new(false);
        let file = short_run::open(folder, &short_run::SETS, &[]);
        let held = RunFolder::hold(&out)?;
        let listener = &mut NoopListener;
        training::run_on_ranks(&file, &held, &rank, Progress::Quiet, &stop, listener)
            .map(|finished| finished.is_some())
    });
    let text = outcomes[0].as_ref().unwrap_err().to_string();
    assert!(
        text.starts_with("rank 1 of 2 has ended before its work was done"),
        "{text}"
    );
    train_on(2, folder, "out", &[], 0);
    assert!(out.join("model/manifest.json").exists());
}

#[test]
fn a_plan_is_made_of_measured_costs_and_kept_ones() {
    let log = short_run::log(&[]);
    let folder = log.path();
    let machines = ["--ranks", "6", "--rows", "1e11", "--gbit", "25", "--json"];
    let run = ["plan", "log/run.toml", "--set", "training.batch=256"];
    let measured = trained::done(
        folder,
        &[&run[..], &["--time", "100ms"], &machines].concat(),
    );
    let plan: serde_json::Value = serde_json::from_str(&measured).unwrap();
    let costs = &plan["costs"];
    assert_eq!(
        (costs["batch"].as_u64(), costs["passes"].as_u64()),
        (Some(256), Some(2))
    );
    for cost in [
        "row_seconds",
        "table_row_seconds",
        "lookup_seconds",
        "reading_seconds",
        "dense",
    ] {
        assert!(costs[cost].as_f64().unwrap() > 0.0, "{cost}: {measured}");
    }
    let distinct = costs["distinct"].as_array().unwrap();
    let table_rows = distinct
        .iter()
        .map(|point| point["table_rows"].as_f64().unwrap());
    assert!(distinct.len() > 8 && table_rows.is_sorted(), "{measured}");
    let predictions = plan["predictions"].as_array().unwrap();
    let ranks: Vec<_> = predictions
        .iter()
        .map(|found| found["ranks"].as_u64().unwrap())
        .collect();
    assert_eq!(ranks, [1, 2, 4, 6]);
    // The same costs give the same plan, without measuring.
    fs::write(folder.join("costs.json"), &measured).unwrap();
    let kept = [&run[..2], &["--costs", "costs.json"]].concat();
    assert_eq!(
        trained::done(folder, &[&kept[..], &machines].concat()),
        measured
    );
    let text = trained::done(folder, &[&kept[..], &["--ranks", "2"]].concat());
    assert!(
        text.contains("hours a pass") && text.contains("Batches of 256 rows"),
        "{text}"
    );
    fs::write(folder.join("costs.json"), "{}").unwrap();
    trained::refused(
        folder,
        &kept,
        &["costs.json: not what `ncs plan --json` prints: missing field `costs`"],
    );
}
