//! Values that many tests, benchmarks and examples need. Only for them: no crate depends on this one otherwise.

mod reference;

pub use reference::{DENSE, Reference, TABLES};

use ncs_features::{Objective, Population, Task};
use ncs_model::{FieldSpec, Gram, Heads, NetworkKind, NetworkPlan, TableSpec};

/// A task of its own name as label: cross-entropy over all rows, weight 1, no true probability.
pub fn task(name: &str) -> Task {
    Task {
        name: name.into(),
        label: name.into(),
        population: Population::All,
        objective: Objective::CrossEntropy,
        weight: 1.0,
        truth: None,
        row_rules: Default::default(),
    }
}

/// The same, of the rows where the label of the task number `of` is 1.
pub fn task_where(name: &str, of: usize) -> Task {
    Task {
        population: Population::Where(of),
        ..task(name)
    }
}

/// The plan of a network with the whole Gram matrix, a head for each task and no dropout; rows start with a standard
/// deviation of 0.5.
pub fn network(kind: NetworkKind, dim: usize, hidden: &[usize]) -> NetworkPlan {
    NetworkPlan {
        kind,
        dim,
        hidden: hidden.into(),
        gram: Gram::Full,
        dropout: 0.0,
        table_deviation: Some(0.5),
        heads: Heads::default(),
    }
}

/// A field with one vector a row, of this table.
pub fn field(table: usize) -> FieldSpec {
    FieldSpec {
        table,
        pooling: None,
        pieces: None,
        vector: None,
    }
}

/// A table of so many rows, none of them for unknown ids.
pub fn table(name: &str, rows: usize) -> TableSpec {
    TableSpec {
        name: name.into(),
        rows,
        unknown: None,
    }
}
