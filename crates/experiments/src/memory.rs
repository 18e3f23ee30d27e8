//! Memory estimate of a training from the run file, compared with the available memory: before the first row is
//! read, and again when the sizes of the vocabularies are known.
//!
//! The system allocates memory for a table's rows when they are first written, so a large table with few used
//! rows is acceptable; a table that no machine could hold is rejected.

pub(crate) mod disk;
mod estimate;
mod limit;

use ncs_features::Schema;
use ncs_model::{MOST_NUMBERS, NetworkPlan};

use estimate::{Estimate, count, rows_planned};
use limit::Limit;
use ncs_config::{RunFile, RunFileError, RunPlan};
use ncs_train::StorageKind;

/// Maximum bytes of one table: 1 TiB.
const MAX_TABLE_BYTES: u128 = 1 << 40;

/// Memory limit if the system reports none: 1 TiB.
const DEFAULT_LIMIT: u64 = 1 << 40;

/// Bytes of a weight.
const WEIGHT: u128 = 4;

/// Bytes that tables need if every row is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TableBytes {
    /// Of memory: their vectors with the optimizer's state, or in files only what finds a row.
    pub(crate) memory: u64,
    /// Of the disk: in files, vectors with the optimizer's state and kept copies of the vectors.
    pub(crate) disk: u64,
}

/// Bytes in memory of a row of a table in a file: its place by its number, and its number by its place.
const FOUND: u128 = 8;

/// Returns the bytes of all tables if every row is used. From the run file alone, a vocabulary counts with its
/// `max_size`, or not at all without one; the `fitted` schema has its size.
pub(crate) fn needed(plan: &RunPlan, fitted: Option<&Schema>) -> TableBytes {
    let tables = plan.schema.tables.iter().enumerate();
    let rows = tables.map(|(number, table)| match fitted {
        Some(schema) => schema.tables[number].ids.n_rows() as u64,
        None => rows_planned(table),
    });
    let rows: u128 = rows.map(u128::from).sum::<u128>() * estimate::n_networks(plan) as u128;
    let dim = plan.network.dim;
    let per_row = plan.train.table_optimizer.kind.values_per_row(dim) as u128;
    let kept = estimate::n_kept(plan) as u128 * dim as u128;
    let (memory, disk) = match plan.train.table_storage {
        StorageKind::Memory => (per_row * WEIGHT, 0),
        StorageKind::File => (FOUND, (per_row + kept) * WEIGHT),
    };
    let bytes = |per_row: u128| u64::try_from(rows.saturating_mul(per_row)).unwrap_or(u64::MAX);
    TableBytes {
        memory: bytes(memory),
        disk: bytes(disk),
    }
}

/// Returns the rows of all tables of all networks, by the fitted schema.
pub(crate) fn table_rows(plan: &RunPlan, fitted: &Schema) -> f64 {
    let rows = fitted.tables.iter().map(|table| table.ids.n_rows() as f64);
    rows.sum::<f64>() * estimate::n_networks(plan)
}

/// Returns the bytes of a table row that training uses: its vector, its moments, and kept copies of the vector.
pub(crate) fn table_row_bytes(plan: &RunPlan) -> f64 {
    let dim = plan.network.dim;
    let values = plan.train.table_optimizer.kind.values_per_row(dim) as f64;
    WEIGHT as f64 * (values + estimate::n_kept(plan) * dim as f64)
}

/// Returns a lower bound of the bytes of a training without its tables.
pub(crate) fn bytes_beside_tables(plan: &RunPlan) -> f64 {
    Estimate::beside_tables(plan).bytes()
}

/// Returns a lower bound of the bytes of a training, as far as the run file determines it.
pub(crate) fn least(plan: &RunPlan) -> u64 {
    Estimate::of(plan, None, 1).bytes() as u64
}

/// Rejects sizes that memory cannot hold: layers, experts, rounds, threads, batches, tables, resamples. Call it
/// before any of them is allocated.
///
/// Fails if the estimate exceeds the limit. The error names the largest part, its bytes, the available bytes,
/// and the key to change.
pub fn check(file: &RunFile) -> Result<(), RunFileError> {
    check_on(file, 1)
}

/// Checks the sizes of each of `n_ranks` processes that train together as [`check`] does.
///
/// # Errors
/// As [`check`].
pub fn check_on(file: &RunFile, n_ranks: usize) -> Result<(), RunFileError> {
    check_network(file)?;
    check_tables(file)?;
    check_within(file, None, n_ranks, &bound())
}

/// Checks the sizes as [`check`] does, with a limit of `bytes`.
///
/// # Errors
/// As [`check`].
pub fn check_with(file: &RunFile, bytes: u64) -> Result<(), RunFileError> {
    check_network(file)?;
    check_tables(file)?;
    let subject = "this machine has".to_owned();
    check_within(file, None, 1, &Limit { bytes, subject })
}

/// Checks the sizes of each of `n_ranks` processes with the vocabularies of the fitted schema.
///
/// # Errors
/// As [`check`].
pub(crate) fn check_fitted(
    file: &RunFile,
    schema: &Schema,
    n_ranks: usize,
) -> Result<(), RunFileError> {
    check_within(file, Some(schema), n_ranks, &bound())
}

fn bound() -> Limit {
    let limit = limit::tightest();
    limit.unwrap_or_else(|| Limit {
        bytes: DEFAULT_LIMIT,
        subject: "the assumed maximum of any machine is".to_owned(),
    })
}

/// Checks the number of weights, which are indexed with 32 bits.
fn check_network(file: &RunFile) -> Result<(), RunFileError> {
    let numbers = estimate::dense(&file.plan).numbers;
    if numbers <= MOST_NUMBERS {
        return Ok(());
    }
    let key = estimate::largest_size(&file.plan);
    let text = format!(
        "{} makes a network of {} weights; the maximum is {}: make it smaller",
        key.join("."),
        count(numbers),
        count(MOST_NUMBERS),
    );
    Err(error_at(file, &key, text))
}

/// Rejects a table that no machine could hold if all its rows are used.
fn check_tables(file: &RunFile) -> Result<(), RunFileError> {
    let RunPlan {
        schema, network, ..
    } = &file.plan;
    let largest = schema.tables.iter().max_by_key(|table| rows_planned(table));
    let Some(table) = largest.filter(|table| bytes(rows_planned(table), network) > MAX_TABLE_BYTES)
    else {
        return Ok(());
    };
    let text = format!(
        "table {:?} of {} rows, each a vector of {} numbers, takes {} GiB; the maximum is \
         1024 GiB: use fewer buckets, or a smaller network.dim",
        table.name,
        rows_planned(table),
        network.dim,
        bytes(rows_planned(table), network) >> 30,
    );
    Err(file.error_at(&["columns", estimate::field(schema, table)], text))
}

fn check_within(
    file: &RunFile,
    fitted: Option<&Schema>,
    n_ranks: usize,
    limit: &Limit,
) -> Result<(), RunFileError> {
    let estimate = Estimate::of(&file.plan, fitted, n_ranks);
    if estimate.bytes() <= limit.bytes as f64 {
        return Ok(());
    }
    let part = estimate.largest();
    let text = format!(
        "training takes at least {} of memory, {} of it for {}; {} {}: {} ({})",
        size(estimate.bytes()),
        size(part.bytes),
        part.what,
        limit.subject,
        size(limit.bytes as f64),
        part.remedy,
        part.key.join("."),
    );
    Err(error_at(file, &part.key, text))
}

fn error_at(file: &RunFile, key: &[String], text: String) -> RunFileError {
    let key: Vec<&str> = key.iter().map(String::as_str).collect();
    file.error_at(&key, text)
}

fn bytes(rows: u64, network: &NetworkPlan) -> u128 {
    u128::from(rows) * network.dim as u128 * WEIGHT
}

/// Formats bytes: `1.5 MiB`, `2.0 TiB`, `7.1e9 EiB`.
fn size(n_bytes: f64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut number = n_bytes / 1024.0;
    let mut unit = 0;
    while number >= 1024.0 && unit + 1 < UNITS.len() {
        number /= 1024.0;
        unit += 1;
    }
    if number < 10_000.0 {
        format!("{number:.1} {}", UNITS[unit])
    } else {
        format!("{number:.1e} {}", UNITS[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    const RUN: &str = "[data]
train = \"a.csv\"
valid = \"b.csv\"
[columns]
user = { kind = \"categorical\", buckets = 999 }
price = { kind = \"numeric\", transform = \"log\" }
[tasks.ctr]
label = \"click\"
[tasks.cvr]
label = \"buy\"
[network]
dim = 10
";

    fn file(sets: &[&str]) -> RunFile {
        let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
        RunFile::parse("run.toml", RUN, Path::new(""), &sets, &|_: &_| {
            Ok(Vec::new())
        })
        .unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn tables_and_moments_are_counted_for_every_network() {
        let check = |sets: &[&str], expected| {
            let bytes = needed(&file(sets).plan, None);
            assert_eq!((bytes.memory, bytes.disk), (expected, 0));
        };
        let one = 1004 * 10 * 4;
        check(&[], 3 * one);
        check(&["training.table_optimizer=adagrad"], 2 * one);
        check(&["network.kind=single_task"], 2 * 3 * one);
        // One copy of the vectors is kept for each of two networks.
        let stored = ["training.table_storage=file", "network.kind=single_task"];
        let bytes = needed(&file(&stored).plan, None);
        assert_eq!((bytes.memory, bytes.disk), (2 * 1004 * 8, 2 * 4 * one));
    }

    #[test]
    fn only_a_table_beyond_any_machine_is_rejected() {
        let large = "columns.user.buckets=4000000000";
        assert!(check_tables(&file(&[large, "network.dim=64"])).is_ok());
        let error = check_tables(&file(&[large, "network.dim=128"]))
            .unwrap_err()
            .to_string();
        for part in [
            "run.toml:5: ",
            "table \"user\" of 4000000002 rows",
            "128 numbers",
        ] {
            assert!(error.contains(part), "{part}: {error}");
        }
    }

    /// Errors with a limit of 1 GiB name the key to change and the bytes.
    #[test]
    fn sizes_beyond_memory_are_rejected_with_their_key() {
        let limit = Limit {
            bytes: 1 << 30,
            subject: "this machine has".to_owned(),
        };
        assert!(check_within(&file(&[]), None, 1, &limit).is_ok());
        let check = |sets: &[&str], key: &str| {
            let file = file(sets);
            let result = check_network(&file).and_then(|()| check_within(&file, None, 1, &limit));
            let error = result.expect_err(key).to_string();
            assert!(
                error.contains(key) && error.len() < 400,
                "{sets:?}: {error}"
            );
        };
        let most = usize::MAX >> 1;
        check(
            &["network.hidden=[1000000,1000000]"],
            "--set network.hidden",
        );
        check(&["network.hidden=[8,8000000]"], "--set network.hidden");
        check(
            &[&format!("network.hidden=[{most},{most}]")],
            "network.hidden makes a network of",
        );
        check(
            &["network.dim=4000000000"],
            "network.dim makes a network of",
        );
        check(
            &["network.hidden=[1]", "network.dim=10000000"],
            "(network.dim)",
        );
        for kind in ["mmoe", "ple"] {
            let kind = format!("network.kind={kind:?}");
            check(
                &[&kind, &format!("network.experts={most}")],
                "network.experts makes",
            );
            check(&[&kind, "network.experts=10000"], "(network.experts)");
        }
        let ple = "network.kind=\"ple\"";
        check(
            &[ple, &format!("network.shared_experts={most}")],
            "network.shared_experts makes",
        );
        check(
            &["columns.user.buckets=4000000000", "network.dim=1"],
            "(columns.user)",
        );
        check(&["training.batch=9223372036854775807"], "(training.batch)");
        check(&["threads=4000", "training.batch=262144"], "(threads)");
        let rounds = [
            "search.kind=\"magnitude\"",
            "search.rounds=1000",
            "network.hidden=[3000,3000]",
        ];
        check(&rounds, "GiB");
    }

    #[test]
    fn fitted_vocabularies_are_counted() {
        let file = file(&["columns.user={kind=\"categorical\"}"]);
        let mut schema = Schema {
            fields: file.plan.schema.fields.clone(),
            tables: vec![],
            tasks: file.plan.schema.tasks.clone(),
            group: None,
            value_rule: ncs_features::ValueRule::Canonical,
        };
        for name in ["user", "price"] {
            let values = (0..200_000).map(|value| value.to_string()).collect();
            schema.tables.push(ncs_features::Table {
                name: name.to_owned(),
                ids: ncs_features::IdSpace::Vocabulary { values },
                range: None,
            });
        }
        let before = Estimate::of(&file.plan, None, 1).bytes();
        let after = Estimate::of(&file.plan, Some(&schema), 1).bytes();
        // The vectors of a table with two moments, 10 numbers each, and two kept copies.
        assert!(after - before > 200_000.0 * 5.0 * 40.0, "{before} {after}");
        // Shards divide it; whole tables are those of one process.
        let of_ranks = |file: &RunFile| Estimate::of(&file.plan, Some(&schema), 8).bytes();
        assert_eq!(of_ranks(&file), after);
        let mut sharded = file.clone();
        sharded.plan.train.rank_tables = ncs_train::RankTables::Sharded;
        let shared = of_ranks(&sharded);
        assert!(
            shared - before < (after - before) / 5.0,
            "{before} {shared}"
        );
        // In files, only what finds a row takes memory, and the row numbers of two kept copies.
        let mut stored = file.clone();
        stored.plan.train.table_storage = StorageKind::File;
        let found = Estimate::of(&stored.plan, Some(&schema), 1).bytes();
        assert!(found - before < 200_000.0 * 21.0, "{before} {found}");
        let mut plan = file.plan;
        plan.initial.push(ncs_config::TableInit {
            table: 0,
            column: "user".to_owned(),
            file: "vectors.npy".into(),
            id: None,
            vector: None,
            ids: None,
            frozen: false,
        });
        let with_vectors = Estimate::of(&plan, Some(&schema), 1).bytes();
        assert!(
            with_vectors - after >= 200_000.0 * 40.0,
            "{after} {with_vectors}"
        );
    }

    #[test]
    fn bytes_are_formatted_in_a_suitable_unit() {
        let check = |n_bytes: f64, expected: &str| assert_eq!(size(n_bytes), expected);
        check(1536.0, "1.5 KiB");
        check(3.0 * f64::from(1 << 30), "3.0 GiB");
        check(1e30, "8.7e11 EiB");
    }
}
