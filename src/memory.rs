//! How much memory a model's tables take, from the run file alone.
//!
//! The system hands out memory for a table's rows when they are first written, so a large table that
//! few ids point into is no mistake; one that no machine could hold is.

use ncs_features::{IdSpacePlan, NumericPlan, SchemaPlan, TablePlan};
use ncs_model::{NetworkKind, NetworkPlan};
use ncs_train::Optimizer;

use crate::run_file::{RunFile, RunFileError, RunPlan};

/// Bytes of one table above which a run is refused: 1 TiB.
const MOST_TABLE_BYTES: u128 = 1 << 40;

/// Bytes of a weight.
const WEIGHT: u128 = 4;

/// Bytes of all tables and their moments, were every row met. A vocabulary counts with its
/// `max_size`, or not at all where it has none: its size is known only from the training rows.
pub(crate) fn needed(plan: &RunPlan) -> u64 {
    let values: u128 = plan
        .schema
        .tables
        .iter()
        .map(|table| bytes(table, &plan.network))
        .sum();
    let towers = match plan.network.kind {
        NetworkKind::SingleTask => plan.schema.tasks.len() as u128,
        _ => 1,
    };
    let per_weight = match plan.train.table_optimizer {
        Optimizer::Adam { .. } => 3,
        Optimizer::Adagrad { .. } => 2,
    };
    u64::try_from(values * towers * per_weight).unwrap_or(u64::MAX)
}

/// Refuses a table that no machine could hold.
///
/// # Errors
/// There is one; the error names the largest, its rows and the length of its vectors.
pub(crate) fn check(file: &RunFile) -> Result<(), RunFileError> {
    let RunPlan {
        schema, network, ..
    } = &file.plan;
    let largest = schema.tables.iter().max_by_key(|table| rows(table));
    let Some(table) = largest.filter(|table| bytes(table, network) > MOST_TABLE_BYTES) else {
        return Ok(());
    };
    let text = format!(
        "table {:?} of {} rows, each a vector of {} numbers, takes {} GiB; no machine holds more \
         than 1024 GiB: state fewer buckets, or a smaller network.dim",
        table.name,
        rows(table),
        network.dim,
        bytes(table, network) >> 30,
    );
    Err(file.error_at(&["columns", field(schema, table)], text))
}

fn bytes(table: &TablePlan, network: &NetworkPlan) -> u128 {
    u128::from(rows(table)) * network.dim as u128 * WEIGHT
}

/// Rows of the table, the reserved ones included.
fn rows(table: &TablePlan) -> u64 {
    match table.ids {
        IdSpacePlan::Hash { buckets, .. } => u64::from(buckets) + 2,
        IdSpacePlan::Vocabulary { max_size, .. } => u64::from(max_size.unwrap_or(0)) + 2,
        IdSpacePlan::Numeric(NumericPlan::Quantiles { buckets }) => u64::from(buckets) + 1,
        IdSpacePlan::Numeric(NumericPlan::Standardise | NumericPlan::Log) => 3,
        IdSpacePlan::Numeric(NumericPlan::Piecewise { .. }) => 0,
    }
}

/// The first column that looks into the table, where the table's own name is no column.
fn field<'s>(schema: &'s SchemaPlan, table: &'s TablePlan) -> &'s str {
    let number = schema.tables.iter().position(|other| other == table);
    let field = schema
        .fields
        .iter()
        .find(|field| Some(field.table) == number);
    field.map_or(&table.name, |field| &field.name)
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
        let check = |sets: &[&str], expected| assert_eq!(needed(&file(sets).plan), expected);
        let one = 1004 * 10 * 4;
        check(&[], 3 * one);
        check(&["training.table_optimizer=adagrad"], 2 * one);
        check(&["network.kind=single_task"], 2 * 3 * one);
    }

    #[test]
    fn only_a_table_that_no_machine_holds_is_refused() {
        let large = "columns.user.buckets=4000000000";
        assert!(check(&file(&[large, "network.dim=64"])).is_ok());
        let error = check(&file(&[large, "network.dim=128"]))
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
}
