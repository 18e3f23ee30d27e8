//! How much memory a training takes, from the run file alone, and whether there is as much: asked before the
//! first row is read, and once more when the rows have shown how large the vocabularies are.
//!
//! The system hands out memory for a table's rows when they are first written, so a large table that
//! few ids point into is no mistake; one that no machine could hold is.

mod estimate;
mod limit;

use ncs_features::Schema;
use ncs_model::{MOST_NUMBERS, NetworkPlan};
use ncs_train::Optimizer;

use crate::run_file::{RunFile, RunFileError, RunPlan};
use estimate::{Estimate, count, rows_planned};
use limit::Limit;

/// Bytes of one table above which a run is refused: 1 TiB.
const MOST_TABLE_BYTES: u128 = 1 << 40;

/// What a machine is taken to have at most whose system does not tell: 1 TiB.
const MOST_BYTES: u64 = 1 << 40;

/// Bytes of a weight.
const WEIGHT: u128 = 4;

/// Bytes of all tables with their optimizer state, were every row seen. From the run file alone, a vocabulary
/// counts with its `max_size`, or not at all where it has none: the `fitted` schema knows its size.
pub(crate) fn needed(plan: &RunPlan, fitted: Option<&Schema>) -> u64 {
    let tables = plan.schema.tables.iter().enumerate();
    let rows = tables.map(|(number, table)| match fitted {
        Some(schema) => schema.tables[number].ids.n_rows() as u64,
        None => rows_planned(table),
    });
    let values: u128 = rows.map(|rows| bytes(rows, &plan.network)).sum();
    let per_weight = match plan.train.table_optimizer {
        Optimizer::Adam { .. } => 3,
        Optimizer::Adagrad { .. } => 2,
    };
    u64::try_from(values * estimate::n_towers(plan) as u128 * per_weight).unwrap_or(u64::MAX)
}

/// Bytes that a training takes at least, as far as the run file tells.
pub(crate) fn least(plan: &RunPlan) -> u64 {
    Estimate::of(plan, None).bytes() as u64
}

/// Refuses sizes that memory cannot hold: layers, experts, rounds, threads, batches, tables, resamples. Call it
/// before anything is made from them.
///
/// # Errors
/// There is one; the error names the largest part, the bytes it takes and those there are, and the key to change.
pub fn check(file: &RunFile) -> Result<(), RunFileError> {
    check_network(file)?;
    check_tables(file)?;
    check_within(file, None, &bound())
}

/// The same as if there were so many bytes.
///
/// # Errors
/// As [`check`].
pub fn check_with(file: &RunFile, bytes: u64) -> Result<(), RunFileError> {
    check_network(file)?;
    check_tables(file)?;
    let whose = "this machine has".to_owned();
    check_within(file, None, &Limit { bytes, whose })
}

/// The same with the vocabularies that the rows have shown.
///
/// # Errors
/// As [`check`].
pub(crate) fn check_fitted(file: &RunFile, schema: &Schema) -> Result<(), RunFileError> {
    check_within(file, Some(schema), &bound())
}

fn bound() -> Limit {
    let found = limit::tightest();
    found.unwrap_or_else(|| Limit {
        bytes: MOST_BYTES,
        whose: "no machine is taken to have more than".to_owned(),
    })
}

/// ParameterIndex are told apart by 32 bits.
fn check_network(file: &RunFile) -> Result<(), RunFileError> {
    let numbers = estimate::dense(&file.plan).numbers;
    if numbers <= MOST_NUMBERS {
        return Ok(());
    }
    let key = estimate::largest_size(&file.plan);
    let text = format!(
        "{} makes a network of {} weights; it can have {} at most: make it smaller",
        key.join("."),
        count(numbers),
        count(MOST_NUMBERS),
    );
    Err(error_at(file, &key, text))
}

/// Refuses a table that no machine could hold, were all its rows seen.
fn check_tables(file: &RunFile) -> Result<(), RunFileError> {
    let RunPlan {
        schema, network, ..
    } = &file.plan;
    let largest = schema.tables.iter().max_by_key(|table| rows_planned(table));
    let Some(table) =
        largest.filter(|table| bytes(rows_planned(table), network) > MOST_TABLE_BYTES)
    else {
        return Ok(());
    };
    let text = format!(
        "table {:?} of {} rows, each a vector of {} numbers, takes {} GiB; no machine holds more \
         than 1024 GiB: state fewer buckets, or a smaller network.dim",
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
    limit: &Limit,
) -> Result<(), RunFileError> {
    let estimate = Estimate::of(&file.plan, fitted);
    if estimate.bytes() <= limit.bytes as f64 {
        return Ok(());
    }
    let part = estimate.largest();
    let text = format!(
        "training takes at least {} of memory, {} of it for {}, and {} {}: {} ({})",
        size(estimate.bytes()),
        size(part.bytes),
        part.what,
        limit.whose,
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

/// `1.5 MiB`, `2.0 TiB`, `7.1e9 EiB`
fn size(n_bytes: f64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut number = n_bytes / 1024.0;
    let mut unit = 0;
    while number >= 1024.0 && unit + 1 < UNITS.len() {
        number /= 1024.0;
        unit += 1;
    }
    match number < 10_000.0 {
        true => format!("{number:.1} {}", UNITS[unit]),
        false => format!("{number:.1e} {}", UNITS[unit]),
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
    fn tables_and_moments_are_counted_for_every_tower() {
        let check = |sets: &[&str], expected| assert_eq!(needed(&file(sets).plan, None), expected);
        let one = 1004 * 10 * 4;
        check(&[], 3 * one);
        check(&["training.table_optimizer=adagrad"], 2 * one);
        check(&["network.kind=single_task"], 2 * 3 * one);
    }

    #[test]
    fn only_a_table_that_no_machine_holds_is_refused() {
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

    /// What is told where there is 1 GiB: the key that is to blame, and the bytes.
    #[test]
    fn sizes_that_memory_cannot_hold_are_refused_by_their_key() {
        let limit = Limit {
            bytes: 1 << 30,
            whose: "this machine has".to_owned(),
        };
        assert!(check_within(&file(&[]), None, &limit).is_ok());
        let check = |sets: &[&str], key: &str| {
            let file = file(sets);
            let found = check_network(&file).and_then(|()| check_within(&file, None, &limit));
            let error = found.expect_err(key).to_string();
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
    fn the_vocabularies_of_the_rows_count() {
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
        let before = Estimate::of(&file.plan, None).bytes();
        let after = Estimate::of(&file.plan, Some(&schema)).bytes();
        // The vectors of a table with two moments, 10 numbers each, and two kept copies.
        assert!(after - before > 200_000.0 * 5.0 * 40.0, "{before} {after}");
    }

    #[test]
    fn bytes_are_shown_in_the_unit_that_fits() {
        let check = |n_bytes: f64, expected: &str| assert_eq!(size(n_bytes), expected);
        check(1536.0, "1.5 KiB");
        check(3.0 * f64::from(1 << 30), "3.0 GiB");
        check(1e30, "8.7e11 EiB");
    }
}
