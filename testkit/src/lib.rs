//! Values that many tests, benchmarks and examples need. Only for them: no crate depends on this one otherwise.

mod reference;

pub use reference::{DENSE, Reference, TABLES};

use ncs_features::{
    Field, HashFunction, IdSpace, Objective, Population, Schema, Table, Task, ValueRule,
};
use ncs_model::artifact::{Artifact, WeightSet};
use ncs_model::{
    CounterRng, FieldSpec, Gram, HeadRows, Heads, Model, NetworkKind, NetworkPlan, Spec, TableSpec,
};
use std::sync::Arc;

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

/// A schema of columns with one value a row, all hashed into the same table of so many rows, and of these tasks.
pub fn hashed_schema(n_fields: usize, buckets: u32, tasks: &[&str]) -> Schema {
    let field = |number: usize| Field {
        name: format!("field {number}"),
        column: format!("column {number}"),
        table: 0,
        pooling: None,
        separator: None,
        max_values: None,
        beside: Default::default(),
        missing: vec![],
    };
    let table = Table {
        name: "word".into(),
        ids: IdSpace::Hash {
            buckets,
            function: HashFunction::Xxh3,
            unknown: false,
        },
        range: None,
    };
    Schema {
        value_rule: ValueRule::CURRENT,
        fields: (0..n_fields).map(field).collect(),
        tables: vec![table],
        tasks: tasks.iter().map(|name| task(name)).collect(),
        group: None,
    }
}

/// A model as it would be written: its weights and masks, each task scored by its own network.
pub fn artifact(schema: Schema, model: &Model) -> Artifact {
    let n_tasks = model.spec().tasks.len();
    let weight_set = |network: usize| WeightSet {
        network,
        weights: Arc::new(model.network(network).weights()),
    };
    Artifact {
        masks: model.masks().cloned(),
        ..Artifact::new(
            Arc::new(schema),
            Spec::clone(model.spec()),
            (0..n_tasks).map(|task| model.network_of(task)).collect(),
            (0..model.networks().len()).map(weight_set).collect(),
        )
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

/// A loss with its own factor for each row and head, `sum_kr c_kr z_kr^2 / 2` with `c_kr` normal over `n_rows`: the gradient
/// of a logit is `c_kr z_kr`.
pub fn quadratic_loss(n_rows: usize) -> impl Fn(&HeadRows<'_, f64>, &mut [f64]) -> f64 + Sync {
    let rng = CounterRng::new(4, "loss");
    move |rows, gradients| {
        let rng = rng.at(rows.head as u64);
        let mut sum = 0.0;
        for (i, (z, gradient)) in rows.logits.iter().zip(gradients).enumerate() {
            *gradient = rng.normal((rows.first + i) as u64) / n_rows as f64 * z;
            sum += *gradient * z / 2.0;
        }
        sum
    }
}
