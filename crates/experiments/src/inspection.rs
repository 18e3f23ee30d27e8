//! Contents of a model, as text and as JSON.

use std::path::Path;

use indexmap::IndexMap;
use ncs_eval::{LayerSharing, text_table, units_table};
use ncs_features::{
    Beside, Field, Objective, Pooling, Population, Schema, Sequence, SequencePooling, ValueLoss,
    ValueObjective,
};
use ncs_model::artifact::{Ancestor, Artifact, ArtifactError, RowLives, TaskRecalibration};
use ncs_model::{Calibrator, DenseLayout, Spec};
use serde::Serialize;

use crate::progress::grouped;
use crate::run_report::{columns_of, columns_read, ids_in_words};
use crate::scoring::LoadedModel;
use crate::sharing;

/// Returns what `ncs inspect --json` prints: sizes, densities, what the tasks share.
pub fn summary(model: &LoadedModel) -> impl Serialize + use<'_> {
    Summary::of(&model.artifact, model.scorer.n_parameters())
}

/// Returns the same in tables, with the columns and the tables of the model.
///
/// # Errors
/// The manifest is gone meanwhile.
pub fn text(model: &LoadedModel) -> Result<String, ArtifactError> {
    text_of(&model.folder, &model.artifact, model.scorer.n_parameters())
}

/// Output of `--json`: a stable format for programs.
#[derive(Serialize)]
struct Summary<'a> {
    parameters: usize,
    density: IndexMap<&'a str, f64>,
    layers: Vec<Layer<'a>>,
    /// Of the first layer; empty without masks.
    inputs: Vec<Input<'a>>,
}

#[derive(Serialize)]
struct Input<'a> {
    name: String,
    density: IndexMap<&'a str, f64>,
    shared: f64,
}

#[derive(Serialize)]
struct Layer<'a> {
    name: String,
    inputs: usize,
    outputs: usize,
    shared: u64,
    only: IndexMap<&'a str, u64>,
    pruned: u64,
    /// Units that one task alone may use; left out where all units are common.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    own_units: IndexMap<&'a str, usize>,
}

impl<'a> Summary<'a> {
    fn of(artifact: &'a Artifact, parameters: usize) -> Summary<'a> {
        let (spec, masks) = (&artifact.spec, artifact.masks.as_deref());
        let layers = sharing::layers(spec, masks);
        let densities = sharing::densities(spec, masks);
        let input = |input: sharing::InputUse| Input {
            density: by_task(spec, &input.densities),
            name: input.name,
            shared: input.shared,
        };
        let inputs = masks.map_or(Vec::new(), |masks| {
            sharing::inputs(&artifact.schema, spec, masks)
        });
        Summary {
            inputs: inputs.into_iter().map(input).collect(),
            parameters,
            density: by_task(spec, &densities),
            layers: layers
                .into_iter()
                .map(|layer| Layer::of(spec, layer))
                .collect(),
        }
    }
}

impl<'a> Layer<'a> {
    fn of(spec: &'a Spec, layer: LayerSharing) -> Layer<'a> {
        Layer {
            only: by_task(spec, &layer.only),
            own_units: by_task(spec, &layer.own_units),
            name: layer.name,
            inputs: layer.inputs,
            outputs: layer.outputs,
            shared: layer.shared,
            pruned: layer.pruned,
        }
    }
}

fn by_task<'a, T: Copy>(spec: &'a Spec, values: &[T]) -> IndexMap<&'a str, T> {
    let names = spec.tasks.iter().map(String::as_str);
    names.zip(values.iter().copied()).collect()
}

fn text_of(
    folder: &Path,
    artifact: &Artifact,
    n_parameters: usize,
) -> Result<String, ArtifactError> {
    let plan = &artifact.spec.plan;
    let kind = plan.kind.name();
    let hidden: Vec<String> = plan.hidden.iter().map(usize::to_string).collect();
    let hash = Artifact::hash(folder)?;
    let head = format!(
        "{}\nmodel {hash}\n{kind}, vectors of {}, layers of {}, {} parameters\n{}",
        folder.display(),
        plan.dim,
        hidden.join(", "),
        grouped(n_parameters as u64),
        extras(artifact),
    );
    let parts = [
        head,
        format!("Tasks\n{}", tasks(artifact)),
        format!("Columns\n{}", columns(&artifact.schema)),
        format!("Tables\n{}", tables(artifact)),
        half_lives(artifact),
        lifetimes(artifact),
        format!("Layers: connections\n{}", layers(artifact)),
        units(artifact),
        inputs(artifact),
        overlap(artifact),
    ];
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    Ok(parts.join("\n"))
}

/// Calibrators and self-test, where there are any.
fn extras(artifact: &Artifact) -> String {
    let kind = |calibrator: &Option<Calibrator>| match calibrator {
        None => "none".to_owned(),
        Some(Calibrator::Platt { slope, offset }) => {
            format!("Platt ({slope:.4} logit {offset:+.4})")
        }
        Some(Calibrator::Isotonic { at, .. }) => format!("isotonic ({} points)", at.len()),
    };
    let tasks = artifact.spec.tasks.iter().zip(&artifact.calibrators);
    let calibrators: Vec<String> = tasks
        .map(|(task, calibrator)| format!("{task} {}", kind(calibrator)))
        .collect();
    let mut text = String::new();
    if !calibrators.is_empty() {
        text += &format!("calibrators: {}\n", calibrators.join(", "));
    }
    if let Some(taken) = sharing::taken(artifact) {
        text += &format!("{taken}\n");
    }
    for agreement in sharing::agreements(artifact) {
        text += &format!("{agreement}\n");
    }
    for ancestor in &artifact.ancestry {
        text += &ancestry_line(ancestor);
    }
    if let Some(test) = &artifact.self_test {
        text += &format!("self-test: {} rows\n", test.rows.n_rows);
    }
    text
}

/// Describes a step from an earlier model to this one.
fn ancestry_line(ancestor: &Ancestor) -> String {
    let model = format!("model {:.16}", ancestor.model);
    if let Some(erasure) = &ancestor.erasure {
        let n = grouped(erasure.values);
        return format!("erased from {model}: {n} values of {}\n", erasure.column);
    }
    let rows = grouped(ancestor.rows);
    let Some(calibration) = &ancestor.calibration else {
        return format!("trained further from {model} on {rows} rows\n");
    };
    let times = calibration.times.as_ref();
    let times = times.map_or(String::new(), |[first, last]| {
        format!(" ({first} to {last})")
    });
    let number =
        |value: Option<f64>| value.map_or("none".to_owned(), |value| format!("{value:.3}"));
    let task = |task: &TaskRecalibration| {
        let [before, after] = [task.before.pcoc, task.after.pcoc].map(number);
        format!("{} {before} -> {after}", task.task)
    };
    let tasks: Vec<String> = calibration.tasks.iter().map(task).collect();
    format!(
        "calibrated again from {model} on {rows} rows{times}: predicted over observed {}\n",
        tasks.join(", ")
    )
}

/// Describes the loss of a value: `squared (values in 12.5, from 30)`.
fn value_loss(value: ValueObjective) -> String {
    let name = match value.loss {
        ValueLoss::Squared => "squared".to_owned(),
        ValueLoss::Huber { delta } => format!("huber ({delta})"),
        ValueLoss::Poisson => "poisson".to_owned(),
        ValueLoss::WeightedLogistic => "weighted_logistic".to_owned(),
        ValueLoss::Ziln => "ziln".to_owned(),
    };
    format!("{name} (unit {:.4}, from {:.4})", value.scale, value.centre)
}

fn tasks(artifact: &Artifact) -> String {
    let schema = &artifact.schema;
    let densities = sharing::densities(&artifact.spec, artifact.masks.as_deref());
    let row = |(task, density): (&ncs_features::Task, f64)| {
        let rows = match task.population {
            Population::All => "all".to_owned(),
            Population::Where(other) => format!("where {} is 1", schema.tasks[other].name),
        };
        let loss = match task.objective {
            Objective::CrossEntropy => "cross_entropy".to_owned(),
            Objective::Focal { alpha, gamma } => format!("focal ({alpha}, {gamma})"),
            Objective::Ratio => "ratio".to_owned(),
            Objective::Value(value) => value_loss(value),
        };
        vec![
            task.name.clone(),
            task.label.clone(),
            rows,
            loss,
            format!("{density:.4}"),
        ]
    };
    let rows: Vec<_> = schema.tasks.iter().zip(densities).map(row).collect();
    text_table(&["task", "label", "rows", "loss", "density"], &rows)
}

fn columns(schema: &Schema) -> String {
    let row = |field: &Field| {
        let table = &schema.tables[field.table];
        let pooling = match field.pooling {
            None => "",
            Some(Pooling::Mean) => "mean",
            Some(Pooling::Sum) => "sum",
            Some(Pooling::PaddedMean) => "padded mean",
            Some(Pooling::Events(attribute)) => match attribute.pooling {
                SequencePooling::Mean => "mean of events",
                SequencePooling::Last => "last event",
                SequencePooling::Din(_) => "attention to the candidate",
                SequencePooling::Mha(_) => "multi-head attention",
            },
        };
        let column = match table.ids.parts() {
            Some(parts) => columns_of(schema, parts),
            None => columns_read(field),
        };
        vec![
            field.name.clone(),
            column,
            table.name.clone(),
            pooling.to_owned(),
        ]
    };
    let rows: Vec<_> = schema.fields.iter().map(row).collect();
    text_table(&["feature", "column", "table", "pooling"], &rows)
}

/// Ages at which events count half, stated and as learned by each weight set.
fn half_lives(artifact: &Artifact) -> String {
    let (schema, spec) = (&artifact.schema, &artifact.spec);
    let networks = spec.networks();
    let learned = |field: usize| {
        let of_set = artifact.weight_sets.iter().filter_map(|set| {
            let layout = DenseLayout::of(spec, networks.get(set.network)?);
            let mut attentions = layout.attentions.iter();
            let own = attentions.find(|own| own.sequence.fields[0] == field)?;
            set.weights.dense.get(own.log_rate()?).copied()
        });
        of_set.collect::<Vec<f32>>()
    };
    let row = |sequence: Sequence| {
        let field = &schema.fields[sequence.fields[0]];
        let Beside::Ages(ages) = &field.beside else {
            return None;
        };
        let half_life = |log_rate: f32| ages.half_life / f64::from(log_rate).exp();
        let learned = learned(sequence.fields[0]).into_iter();
        let learned: Vec<String> = learned
            .map(|rate| format!("{:.4}", half_life(rate)))
            .collect();
        let stated = format!("{}", ages.half_life);
        Some(vec![field.name.clone(), stated, learned.join(", ")])
    };
    let rows: Vec<Vec<String>> = spec.sequences().into_iter().filter_map(row).collect();
    if rows.is_empty() {
        return String::new();
    }
    let table = text_table(&["events of", "half-life", "learned"], &rows);
    format!("Weights of events by age\n{table}")
}

/// Rows that a training row points to are initialised; others are the zero vector.
fn tables(artifact: &Artifact) -> String {
    let initialised = |table: usize| {
        let of_member = artifact
            .weight_sets
            .iter()
            .map(|member| member.weights.tables[table].ids.len());
        of_member.max().unwrap_or(0)
    };
    let row = |(at, table): (usize, &ncs_features::Table)| {
        vec![
            table.name.clone(),
            ids_in_words(&table.ids),
            grouped(table.ids.n_rows() as u64),
            artifact.spec.plan.dim.to_string(),
            grouped(initialised(at) as u64),
        ]
    };
    let rows: Vec<_> = artifact.schema.tables.iter().enumerate().map(row).collect();
    text_table(&["table", "ids", "rows", "dim", "initialised rows"], &rows)
}

/// When rows were last seen, of tables with a lifetime.
fn lifetimes(artifact: &Artifact) -> String {
    let now = ncs_train::lifetimes::generation(artifact);
    let tables = artifact.schema.tables.iter().zip(&artifact.lives);
    let row = |(table, lives): (&ncs_features::Table, &RowLives)| {
        let idle = |least: u32| {
            let last = lives.last_seen.iter();
            last.filter(|&&last| now.saturating_sub(last) >= least)
                .count() as u64
        };
        let all = lives.ids.len() as u64;
        let counts = [all, all - idle(1), idle(1), idle(7), idle(30)];
        let counts = counts.map(grouped);
        std::iter::once(table.name.clone()).chain(counts).collect()
    };
    let rows: Vec<Vec<String>> = tables
        .filter(|(_, lives)| !lives.ids.is_empty())
        .map(row)
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    let header = [
        "table",
        "rows",
        "seen in the last training",
        "not in it",
        "not in 7",
        "not in 30",
    ];
    format!("Lifetimes: training {now}\n{}", text_table(&header, &rows))
}

fn layers(artifact: &Artifact) -> String {
    let layers = sharing::layers(&artifact.spec, artifact.masks.as_deref());
    let only = artifact
        .spec
        .tasks
        .iter()
        .map(|task| format!("only {task}"));
    let mut header = ["layer", "inputs", "outputs", "shared"]
        .map(str::to_owned)
        .to_vec();
    header.extend(only);
    header.push("pruned".to_owned());
    let row = |layer: &LayerSharing| {
        let mut row = vec![layer.name.clone()];
        let sizes = [layer.inputs as u64, layer.outputs as u64, layer.shared];
        let counts = sizes.iter().chain(&layer.only).chain([&layer.pruned]);
        row.extend(counts.map(|count| grouped(*count)));
        row
    };
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let rows: Vec<_> = layers.iter().map(row).collect();
    text_table(&header, &rows)
}

/// Whose the hidden units are, where not all of them are common.
fn units(artifact: &Artifact) -> String {
    let layers = sharing::layers(&artifact.spec, artifact.masks.as_deref());
    match units_table(&artifact.spec.tasks, &layers) {
        None => String::new(),
        Some((header, rows)) => {
            let header: Vec<&str> = header.iter().map(String::as_str).collect();
            format!("Layers: units\n{}", text_table(&header, &rows))
        }
    }
}

/// Connections that each task keeps in the first layer, input by input.
fn inputs(artifact: &Artifact) -> String {
    let Some(masks) = artifact.masks.as_deref() else {
        return String::new();
    };
    let row = |input: &sharing::InputUse| {
        let shares = input.densities.iter().chain([&input.shared]);
        let shares = shares.map(|share| format!("{share:.3}"));
        std::iter::once(input.name.clone()).chain(shares).collect()
    };
    let inputs = sharing::inputs(&artifact.schema, &artifact.spec, masks);
    let rows: Vec<Vec<String>> = inputs.iter().map(row).collect();
    let tasks = artifact.spec.tasks.iter().map(String::as_str);
    let header: Vec<&str> = std::iter::once("input")
        .chain(tasks)
        .chain(["all"])
        .collect();
    format!(
        "First layer: the share of an input's connections that a task keeps\n{}",
        text_table(&header, &rows)
    )
}

/// The overlap of the masks, layer by layer for two tasks and over all layers, against chance.
fn overlap(artifact: &Artifact) -> String {
    let Some(masks) = artifact.masks.as_deref() else {
        return String::new();
    };
    let row = |tasks: String, layer: String, overlap: ncs_eval::Overlap| {
        let share = |x: f64| format!("{x:.4}");
        vec![tasks, layer, share(overlap.overlap), share(overlap.chance)]
    };
    let mut rows = Vec::new();
    for (layer, pairs) in sharing::overlaps_by_layer(&artifact.spec, masks) {
        let pairs = pairs.into_iter();
        rows.extend(pairs.map(|pair| row(pair.tasks.join(", "), layer.clone(), pair.overlap)));
    }
    for pair in sharing::overlaps(&artifact.spec, masks) {
        rows.push(row(pair.tasks.join(", "), "all".to_owned(), pair.overlap));
    }
    if rows.is_empty() {
        String::new()
    } else {
        format!(
            "Overlap of the masks: kept by both over kept by either\n{}",
            text_table(&["tasks", "layer", "overlap", "chance level"], &rows)
        )
    }
}
