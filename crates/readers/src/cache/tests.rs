//! A cache gives back what was put in, in every order, and refuses what it did not write.

use super::*;
use crate::batches::{BatchPlan, Order, Rows};
use ncs_features::*;
use proptest::prelude::*;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::OnceLock;
use tempfile::TempDir;

/// Rows of the big cache: two whole windows of blocks and a bit.
const N_ROWS: usize = 2 * 16 * BLOCK_ROWS + 1000;

pub(super) fn schema() -> Schema {
    let field = |name: &str, pooling| Field {
        name: name.into(),
        column: name.into(),
        table: 0,
        pooling,
        separator: None,
        max_values: None,
        beside: Default::default(),
        missing: vec![],
    };
    use ncs_testkit::task;
    Schema {
        value_rule: ncs_features::ValueRule::CURRENT,
        fields: vec![field("row", None), field("list", Some(Pooling::Mean))],
        tables: vec![Table {
            name: "ids".into(),
            ids: IdSpace::Vocabulary { values: vec![] },
            range: None,
        }],
        tasks: vec![task("click"), task("buy")],
        group: Some("user".into()),
    }
}

/// Row `i` has id `i`, `i % 3` list items, a click on every other row, a purchase known on every
/// tenth of the first half.
pub(super) fn rows(range: std::ops::Range<usize>, n_all: usize) -> Batch {
    let mut batch = Batch {
        n_rows: range.len(),
        fields: vec![FieldIds::default(); 2],
        labels: vec![vec![]; 2],
        truths: vec![vec![]; 2],
        terms: vec![],
        groups: vec![],
    };
    batch.fields[1].offsets.push(0);
    for i in range {
        batch.fields[0].ids.push(i as u32);
        batch.fields[1]
            .ids
            .extend((0..i % 3).map(|k| (i + k) as u32));
        let end = batch.fields[1].ids.len() as u32;
        batch.fields[1].offsets.push(end);
        batch.labels[0].push((i % 2) as f32);
        let known = i % 10 == 0 && i < n_all / 2;
        batch.labels[1].push(if known {
            (i % 20 == 0).into()
        } else {
            f32::NAN
        });
        batch.groups.push(i as u64 / 7);
    }
    batch
}

fn write(path: &Path, n_rows: usize) -> Cache {
    let mut writer = PartWriter::create(path, &[7; 32], &schema()).unwrap();
    for start in (0..n_rows).step_by(5000) {
        let batch = rows(start..n_rows.min(start + 5000), n_rows);
        let picks: Vec<Pick> = (0..batch.n_rows).map(|row| Pick::new(0, row)).collect();
        writer.push(&[batch], &picks).unwrap();
    }
    writer.finish().unwrap();
    Cache::open(path).unwrap()
}

fn big() -> &'static Cache {
    static BIG: OnceLock<(TempDir, Cache)> = OnceLock::new();
    let make = || {
        let dir = TempDir::new().unwrap();
        let cache = write(&dir.path().join("train.ids"), N_ROWS);
        (dir, cache)
    };
    &BIG.get_or_init(make).1
}

fn ids(cache: &Cache, plan: BatchPlan) -> Vec<u32> {
    let batches = cache
        .batches(plan)
        .map(|batch| batch.unwrap().fields[0].ids.clone());
    batches.flatten().collect()
}

fn shuffled(seed: u64, epoch: u64) -> BatchPlan {
    BatchPlan {
        order: Order::Shuffled { seed, epoch },
        ..BatchPlan::default()
    }
}

/// Labels compare by their bits: most are NaN.
fn same(a: &Batch, b: &Batch) -> bool {
    let bits = |batch: &Batch| -> Vec<u32> {
        batch
            .labels
            .iter()
            .flatten()
            .map(|label| label.to_bits())
            .collect()
    };
    (&a.fields, &a.groups, bits(a)) == (&b.fields, &b.groups, bits(b))
}

#[test]
fn rows_come_back_as_they_were() {
    let dir = TempDir::new().unwrap();
    let n_rows = BLOCK_ROWS + 100;
    let cache = write(&dir.path().join("valid.ids"), n_rows);
    assert!(same(
        &cache.first_rows(n_rows).unwrap(),
        &rows(0..n_rows, n_rows)
    ));
    let counts = cache.label_counts();
    assert_eq!(
        (cache.n_rows(), counts.tasks[0].known),
        (n_rows as u64, n_rows as u64)
    );
    assert_eq!(counts.tasks[0].positives, n_rows as u64 / 2);
    assert_eq!(counts.tasks[1].known, (n_rows as u64 / 2).div_ceil(10));
}

#[test]
fn an_epoch_visits_every_row_once() {
    for plan in [BatchPlan::default(), shuffled(1, 0), shuffled(1, 9)] {
        let mut found = ids(big(), plan);
        assert_eq!(found.is_sorted(), plan.order == Order::Sequential);
        found.sort_unstable();
        assert!(found.iter().copied().eq(0..N_ROWS as u32));
    }
}

#[test]
fn the_rows_of_a_task_fill_the_batches() {
    for order in [Order::Sequential, Order::Shuffled { seed: 3, epoch: 1 }] {
        let plan = BatchPlan {
            order,
            rows: Rows::KnownLabel(1),
            ..BatchPlan::default()
        };
        let sizes: Vec<usize> = big()
            .batches(plan)
            .map(|batch| batch.unwrap().n_rows)
            .collect();
        assert_eq!(sizes.len() as u64, big().n_batches(&plan));
        assert!(
            sizes[..sizes.len() - 1].iter().all(|&size| size == 4096),
            "{sizes:?}"
        );
        let mut found = ids(big(), plan);
        found.sort_unstable();
        assert!(found.into_iter().eq((0..N_ROWS as u32 / 2).step_by(10)));
    }
}

#[test]
fn rows_are_well_mixed() {
    let found = ids(big(), shuffled(1, 0));
    let far = found
        .windows(2)
        .filter(|pair| pair[0].abs_diff(pair[1]) > 1000)
        .count();
    assert!(far > N_ROWS * 95 / 100, "{far} of {N_ROWS}");
}

#[test]
fn a_dropped_pass_ends_its_thread() {
    let mut batches = big().batches(shuffled(1, 0));
    assert_eq!(
        batches.size_hint().0 as u64,
        big().n_batches(&shuffled(1, 0))
    );
    assert_eq!(batches.next().unwrap().unwrap().n_rows, 4096);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn to_skip_batches_is_to_drop_them(
        seed: u64,
        rows_per_batch in 3_000usize..60_000,
        skip in 0u64..40,
        known: bool,
        sequential: bool,
    ) {
        let whole = BatchPlan {
            rows_per_batch,
            order: if sequential { Order::Sequential } else { Order::Shuffled { seed, epoch: 2 } },
            rows: if known { Rows::KnownLabel(1) } else { Rows::All },
            prefetch: false,
            skip: 0,
        };
        let part = BatchPlan { skip, prefetch: true, ..whole };
        let mut expected = big().batches(whole).skip(skip as usize);
        for batch in big().batches(part) {
            prop_assert!(same(&batch.unwrap(), &expected.next().unwrap().unwrap()));
        }
        prop_assert!(expected.next().is_none());
    }
}

fn small() -> (TempDir, PathBuf) {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("train.ids");
    write(&path, 50);
    (dir, path)
}

fn read_all(path: &Path) -> Result<(), CacheError> {
    let cache = Cache::open(path)?;
    cache
        .batches(BatchPlan::default())
        .try_for_each(|batch| batch.map(|_| ()))
}

#[test]
fn any_flipped_byte_is_noticed() {
    let (_dir, path) = small();
    let bytes = std::fs::read(&path).unwrap();
    let mut kinds = HashMap::new();
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 4;
        std::fs::write(&path, &flipped).unwrap();
        let error = read_all(&path)
            .expect_err(&format!("byte {at}"))
            .to_string();
        assert!(
            error.contains("train.ids") && error.contains("ncs cache clear"),
            "{error}"
        );
        *kinds.entry(error).or_insert(0) += 1;
    }
    assert!(
        kinds
            .keys()
            .any(|error| error.contains("block 0 fails its checksum")),
        "{kinds:?}"
    );
}

#[test]
fn a_file_cut_short_is_noticed() {
    let (_dir, path) = small();
    let bytes = std::fs::read(&path).unwrap();
    for end in 0..bytes.len() {
        std::fs::write(&path, &bytes[..end]).unwrap();
        assert!(read_all(&path).is_err(), "{end} bytes");
    }
}

#[test]
fn another_version_is_told_from_damage() {
    let (_dir, path) = small();
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[8] = 99;
    std::fs::write(&path, &bytes).unwrap();
    let error = Cache::open(&path).unwrap_err().to_string();
    assert!(error.contains("format 99, this program reads 2"), "{error}");
}

#[test]
fn no_rows_make_no_batch() {
    let dir = TempDir::new().unwrap();
    let cache = write(&dir.path().join("test.ids"), 0);
    assert_eq!(cache.batches(BatchPlan::default()).count(), 0);
    assert_eq!(cache.first_rows(10).unwrap().n_rows, 0);
}

#[test]
fn clearing_deletes_caches_and_nothing_else() {
    let dir = TempDir::new().unwrap();
    let name = "0123456789abcdef0123456789abcdef";
    for folder in [
        name.to_owned(),
        format!("{name}.17.tmp"),
        "notes".to_owned(),
    ] {
        std::fs::create_dir(dir.path().join(&folder)).unwrap();
        std::fs::write(dir.path().join(folder).join("a"), "12345").unwrap();
    }
    let entry = |name: String, is_complete| CacheEntry {
        path: dir.path().join(name),
        n_bytes: 5,
        is_complete,
    };
    let expected = [
        entry(name.into(), true),
        entry(format!("{name}.17.tmp"), false),
    ];
    assert_eq!(list(dir.path()).unwrap(), expected);
    assert_eq!(clear(dir.path()).unwrap(), expected);
    assert_eq!(list(dir.path()).unwrap(), []);
    assert!(dir.path().join("notes/a").exists());
    assert_eq!(list(&dir.path().join("absent")).unwrap(), []);
}
