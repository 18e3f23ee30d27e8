//! Small models with random weights, with fields for every kind of value.

use ncs_features::{
    Batch, Field, FieldIds, HashFunction, IdSpace, Objective, Pooling, Population, Schema, Table,
    Task,
};
use ncs_model::artifact::{Artifact, WeightSet};
use ncs_model::{
    Calibrator, CounterRng, Gram, Heads, Mask, Masks, Model, NetworkKind, NetworkPlan, Spec,
};
use std::sync::Arc;

/// Returns a schema of nine fields over eight columns, with click and conversion.
pub fn schema() -> Schema {
    let hash = |function| IdSpace::Hash {
        buckets: 20,
        function,
        unknown: false,
    };
    let words = |values: &[&str]| IdSpace::Vocabulary {
        values: values.iter().map(|&value| value.to_owned()).collect(),
    };
    let scaled = |log| IdSpace::Scaled {
        log,
        mean: 1.5,
        deviation: 2.0,
    };
    let boundaries = vec![-1.0, 0.0, 2.5];
    let spaces = [
        ("user", hash(HashFunction::Xxh3)),
        ("hour", words(&["0", "7", "21"])),
        ("video", hash(HashFunction::Farm)),
        ("known", words(&["v1", "v2"])),
        ("tag", words(&["news", "sport"])),
        ("price", scaled(false)),
        ("age", scaled(true)),
        ("watch", IdSpace::Quantiles { boundaries }),
    ];
    let table = |(name, ids): (&str, IdSpace)| Table {
        name: name.to_owned(),
        ids,
        range: None,
    };
    Schema {
        value_rule: ncs_features::ValueRule::CURRENT,
        fields: fields(),
        tables: spaces.into_iter().map(table).collect(),
        tasks: tasks(),
        group: Some("session".to_owned()),
    }
}

fn fields() -> Vec<Field> {
    let list = |pooling, max| (Some(pooling), max);
    let fields = [
        ("user", "user", 0, (None, None)),
        ("hour", "hour", 1, (None, None)),
        ("history", "history", 2, list(Pooling::Mean, Some(3))),
        ("video", "video", 2, (None, None)),
        ("known", "video", 3, (None, None)),
        ("tags", "tags", 4, list(Pooling::PaddedMean, None)),
        ("price", "price", 5, (None, None)),
        ("age", "age", 6, (None, None)),
        ("watch", "watch", 7, list(Pooling::Sum, None)),
    ];
    let field = |(name, column, table, (pooling, max_values)): (&str, &str, _, _)| Field {
        name: name.to_owned(),
        column: column.to_owned(),
        table,
        pooling,
        separator: (name == "tags").then_some('|'),
        max_values,
        beside: Default::default(),
        missing: vec!["-".to_owned(), "-1".to_owned()],
    };
    fields.into_iter().map(field).collect()
}

fn tasks() -> Vec<Task> {
    let task = |name: &str, label: &str, population| Task {
        name: name.to_owned(),
        label: label.to_owned(),
        population,
        objective: Objective::CrossEntropy,
        weight: 1.0,
        truth: None,
        row_rules: Default::default(),
    };
    vec![
        task("ctr", "click", Population::All),
        task("cvr", "buy", Population::Where(0)),
    ]
}

/// Returns a schema with only the first field, a number and both tasks, for a short manifest.
pub fn short_schema() -> Schema {
    let whole = schema();
    let mut fields = [&whole.fields[..1], &whole.fields[6..7]].concat();
    let tables = [&whole.tables[..1], &whole.tables[5..6]].concat();
    fields[1].table = 1;
    Schema {
        value_rule: ncs_features::ValueRule::CURRENT,
        fields,
        tables,
        ..whole
    }
}

/// Returns a model of a schema, with all table rows initialised.
pub fn artifact(schema: Schema, kind: NetworkKind, heads: Heads) -> Artifact {
    let plan = NetworkPlan {
        kind,
        dim: 2,
        hidden: if kind.has_hidden_layers() {
            vec![4, 3]
        } else {
            Vec::new()
        },
        gram: Gram::Full,
        dropout: 0.0,
        table_deviation: Some(0.3),
        heads,
    };
    let spec = Spec::of(&schema, &plan);
    let mut model: Model = Model::new(spec.clone(), CounterRng::new(1, "weights"));
    for network in 0..model.networks().len() {
        model.network_mut(network).init_rows_of(&every_row(&spec));
    }
    let weight_set = |network| WeightSet {
        network,
        weights: Arc::new(model.network(network).weights()),
    };
    Artifact {
        masks: kind.has_masks().then(|| Arc::new(masks(&spec))),
        calibrators: vec![
            Some(Calibrator::Platt {
                slope: 0.9,
                offset: -0.5,
            }),
            Some(Calibrator::Isotonic {
                at: vec![0.1, 0.6],
                to: vec![0.05, 0.7],
            }),
        ],
        ..Artifact::new(
            Arc::new(schema),
            spec,
            (0..2).map(|task| model.network_of(task)).collect(),
            (0..model.networks().len()).map(weight_set).collect(),
        )
    }
}

/// Returns a batch with every id of every field.
fn every_row(spec: &Spec) -> Batch {
    let ids = |field: &ncs_model::FieldSpec| FieldIds {
        ids: (0..spec.tables[field.table].rows as u32).collect(),
        ..FieldIds::default()
    };
    Batch {
        fields: spec.fields.iter().map(ids).collect(),
        ..Batch::default()
    }
}

fn masks(spec: &Spec) -> Masks {
    let of_task = |task: usize| {
        let shapes = spec.layer_shapes().into_iter();
        let kept = move |place: usize| !(place + task).is_multiple_of(3);
        let mask = |(inputs, outputs)| Mask::from_fn(inputs, outputs, kept);
        shapes.map(mask).collect()
    };
    Masks {
        tasks: (0..spec.tasks.len()).map(of_task).collect(),
        owners: None,
    }
}
