//! Report of a run, from its parts.

mod costs;
mod settings;
pub(crate) mod slices;

use ncs_config::RunPlan;
use ncs_eval::diagnoses::{GainCurve, gain_points};
use ncs_eval::report::{
    CalibrationCurve, ColumnSummary, DataFile, DataPart, DataSummary, InputRow, InputTable,
    LabelSummary, LearningCurve, LearningPoint, Note, ResultTable, SearchCurve, SearchRound,
    SharingPicture,
};
use ncs_eval::{Binning, Metrics, PartColumns, Predictions, RunReport};
use ncs_features::coverage::Shares;
use ncs_features::{Beside, ColumnCoverage, Field, IdSpace, Pooling, Schema, Task, TimePart};
use ncs_model::artifact::Artifact;
use ncs_readers::Report as DataReport;
use ncs_readers::prepare::PartReport;
use ncs_readers::split::Part;
use ncs_train::predict::metric_name;
use ncs_train::{TaskSearch, Trained, UnitChoice, ValidationRecord, predict};

use crate::progress::grouped;
use crate::sharing;

/// Evaluated model and part of the data.
#[derive(Clone, Debug)]
pub struct EvaluatedPart {
    /// `test` or `valid`.
    pub part: &'static str,
    /// The figures.
    pub metrics: Metrics,
    /// Source of the figures.
    pub predictions: Predictions,
}

/// The report of one run.
pub fn report(
    plan: &RunPlan,
    data: &DataReport,
    trained: &Trained,
    evaluated: &[EvaluatedPart],
) -> RunReport {
    let schema = &trained.artifact.schema;
    let network = plan.network.kind.name().to_owned();
    let table = |evaluated: &EvaluatedPart| {
        let title = format!("On the {} rows", evaluated.part);
        ResultTable::of_metrics(&title, &[(network.clone(), evaluated.metrics.clone())])
    };
    RunReport {
        title: format!("{network}: {}", tasks_in_words(schema)),
        subtitle: subtitle(plan, data),
        notes: notes(data, trained, evaluated),
        results: evaluated.iter().map(table).collect(),
        sharing: vec![sharing_picture(
            &network,
            &trained.artifact,
            trained.units.as_ref(),
        )],
        search: search_curves(schema, &trained.searches),
        learning: learning_curves(&network, schema, &trained.history),
        calibration: evaluated
            .first()
            .map_or(Vec::new(), |first| calibration_curves(&network, first)),
        gains: evaluated
            .first()
            .map_or(Vec::new(), |first| gain_curves(&network, first)),
        // Added where the files are read again, and by `ncs importance`.
        slices: Vec::new(),
        importance: None,
        costs: costs::of(&trained.artifact),
        data: data_summary(schema, data),
        columns: part_columns(data),
        features: schema
            .fields
            .iter()
            .map(|field| column(schema, field))
            .collect(),
        inputs: inputs(&network, &trained.artifact),
        settings: settings::of(plan, train_rows(data)),
        version: VERSION.to_owned(),
        seconds: None,
    }
}

/// The program that made a report.
const VERSION: &str = concat!("ncs ", env!("CARGO_PKG_VERSION"));

fn column(schema: &Schema, field: &Field) -> ColumnSummary {
    let table = &schema.tables[field.table];
    let is_number = matches!(
        table.ids,
        IdSpace::Scaled { .. }
            | IdSpace::Quantiles { .. }
            | IdSpace::Piecewise(_)
            | IdSpace::Rate(_)
    );
    let kind = match field.pooling {
        Some(Pooling::Events(_)) => "sequence",
        Some(_) => "list",
        None if table.ids.vector().is_some() => "vector",
        None if matches!(table.ids, IdSpace::Cross(_)) => "cross",
        None if matches!(table.ids, IdSpace::Time(_)) => "time",
        None if is_number => "numeric",
        None => "categorical",
    };
    ColumnSummary {
        name: field.name.clone(),
        column: match table.ids.parts() {
            Some(parts) => columns_of(schema, parts),
            None => columns_read(field),
        },
        kind: kind.to_owned(),
        ids: ids_in_words(&table.ids),
        table_rows: table.ids.n_rows() as u64,
    }
}

/// Returns the columns that a field reads: `tags`, `now - published`, `tags x scores`.
pub(crate) fn columns_read(field: &Field) -> String {
    let column = &field.column;
    match &field.beside {
        Beside::Since { column: since, .. } => format!("{column} - {since}"),
        Beside::Weights { column: weights } => format!("{column} x {weights}"),
        Beside::None | Beside::WeightAfter { .. } | Beside::Ages(_) => column.clone(),
    }
}

/// Returns a part of a time: `hour`, `weekday, UTC+05:30`.
pub(crate) fn part_in_words(part: &TimePart) -> String {
    let (name, offset) = (part.part.name(), part.offset);
    let sign = if offset < 0 { '-' } else { '+' };
    let (hours, minutes) = (offset.abs() / 60, offset.abs() % 60);
    match offset {
        0 => name.to_owned(),
        _ => format!("{name}, UTC{sign}{hours:02}:{minutes:02}"),
    }
}

/// Returns the columns of these fields: `user_id`, `user_id + category`.
pub(crate) fn columns_of(schema: &Schema, parts: &[usize]) -> String {
    let columns = parts.iter().map(|&f| schema.fields[f].column.as_str());
    columns.collect::<Vec<&str>>().join(" + ")
}

/// Id encoding, in a word or two.
pub(crate) fn ids_in_words(ids: &IdSpace) -> String {
    match ids {
        IdSpace::Hash { function, .. } => {
            let name = serde_json::to_value(function).unwrap_or_default();
            format!("hash {}", name.as_str().unwrap_or_default())
        }
        IdSpace::Vocabulary { .. } => "vocabulary".to_owned(),
        IdSpace::Scaled { log: true, .. } => "number, log".to_owned(),
        IdSpace::Scaled { log: false, .. } => "number".to_owned(),
        IdSpace::Quantiles { .. } => "quantiles".to_owned(),
        IdSpace::Piecewise(scale) => format!("piecewise linear, {} pieces", scale.pieces()),
        IdSpace::Time(part) => part_in_words(part),
        IdSpace::Cross(cross) => format!("{} buckets", grouped(cross.buckets.into())),
        IdSpace::Vector(vector) => format!("{} numbers", vector.length),
        IdSpace::Rate(rate) => format!("past of {} values", grouped(rate.counts.len() as u64)),
    }
}

/// Returns what the masks keep of each input; nothing without masks.
fn inputs(network: &str, artifact: &Artifact) -> Vec<InputTable> {
    let Some(masks) = artifact.masks.as_deref() else {
        return Vec::new();
    };
    let row = |input: sharing::InputUse| InputRow {
        name: input.name,
        kept: input.densities,
        shared: input.shared,
    };
    let inputs = sharing::inputs(&artifact.schema, &artifact.spec, masks);
    vec![InputTable {
        network: network.to_owned(),
        tasks: artifact.spec.tasks.clone(),
        rows: inputs.into_iter().map(row).collect(),
    }]
}

fn train_rows(data: &DataReport) -> u64 {
    let parts = data.parts.iter();
    let train = parts.filter(|report| report.part == ncs_readers::split::Part::Train);
    train.map(|report| report.labels.rows).sum()
}

fn tasks_in_words(schema: &Schema) -> String {
    let names: Vec<&str> = schema.tasks.iter().map(|task| task.name.as_str()).collect();
    match names.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => names.join(""),
    }
}

fn subtitle(plan: &RunPlan, data: &DataReport) -> String {
    let rows: u64 = data.parts.iter().map(|part| part.labels.rows).sum();
    format!(
        "{} rows, {} columns; seed {}, threads: {}",
        grouped(rows),
        plan.schema.fields.len(),
        plan.train.seed,
        plan.train.threads
    )
}

/// The columns of each part: validation rows compared with training rows, test rows with validation rows.
pub fn part_columns(data: &DataReport) -> Vec<PartColumns> {
    let shares = |part: &PartReport| part.columns.iter().map(ColumnCoverage::shares).collect();
    let mut before: Option<(Part, Vec<Shares>)> = None;
    let mut all = Vec::new();
    for part in &data.parts {
        let own: Vec<Shares> = shares(part);
        let (with, mut reference) = before.take().unwrap_or((part.part, own.clone()));
        if with == Part::Train && part.part != Part::Train {
            // Training rows hold no unseen values, by what the word means.
            reference.iter_mut().for_each(|shares| shares.unseen = None);
        }
        all.push(PartColumns {
            part: part.part.name().to_owned(),
            columns: part.columns.clone(),
            reference,
            compared_with: rows_name(with).to_owned(),
        });
        before = Some((part.part, own));
    }
    all
}

fn rows_name(part: Part) -> &'static str {
    match part {
        Part::Train => "training",
        Part::Valid => "validation",
        Part::Test => "test",
    }
}

/// Returns warnings on the figures of some rows, and what is left out of them.
pub fn doubts(rows: &str, predictions: &Predictions, metrics: &Metrics) -> Vec<Note> {
    let tasks = predictions.tasks.iter();
    let doubts = tasks.flat_map(predict::doubts).map(|doubt| Note {
        warning: true,
        text: format!("On {rows}, {doubt}."),
    });
    let without_group = metrics
        .tasks
        .iter()
        .filter(|(_, figures)| figures.rows_without_group > 0);
    let without_group = without_group.map(|(name, figures)| Note {
        warning: false,
        text: format!(
            "On {rows}, task {name:?}: {} of {} rows have no group: grouped AUC leaves them out, and for intervals \
             each is drawn by itself.",
            grouped(figures.rows_without_group),
            grouped(figures.rows)
        ),
    });
    doubts.chain(without_group).collect()
}

fn notes(data: &DataReport, trained: &Trained, evaluated: &[EvaluatedPart]) -> Vec<Note> {
    let mut notes = vec![Note {
        warning: false,
        text: "One seed: the intervals are over rows, not over seeds. Compare networks over five \
               seeds or more before believing a difference."
            .to_owned(),
    }];
    if data.broken_rows > 0 {
        notes.push(Note {
            warning: true,
            text: format!("{} broken rows were left out.", data.broken_rows),
        });
    }
    if evaluated.iter().all(|evaluated| evaluated.part != "test") {
        notes.push(Note {
            warning: true,
            text: "There are no test rows: the figures are of the rows that stopping and masks \
                   were chosen on, and flatter the model."
                .to_owned(),
        });
    }
    for evaluated in evaluated {
        let rows = format!("the {} rows", evaluated.part);
        notes.extend(doubts(&rows, &evaluated.predictions, &evaluated.metrics));
    }
    notes.extend(part_columns(data).iter().flat_map(PartColumns::remarks));
    notes.extend(trained.shrinkage.iter().map(|why| Note {
        warning: false,
        text: format!("Of two trainings, by validation: {why}."),
    }));
    notes
}

/// The sharing picture of a trained model; `units` says how its share of common units was chosen, where it was.
pub fn sharing_picture(
    network: &str,
    artifact: &Artifact,
    units: Option<&UnitChoice>,
) -> SharingPicture {
    SharingPicture {
        remarks: units
            .map(|units| units.why.clone())
            .into_iter()
            .chain(sharing::taken(artifact))
            .chain(sharing::agreements(artifact))
            .collect(),
        network: network.to_owned(),
        tasks: artifact.spec.tasks.clone(),
        layers: sharing::layers(&artifact.spec, artifact.masks.as_deref()),
        pairs: artifact
            .masks
            .as_deref()
            .map_or(Vec::new(), |masks| sharing::overlaps(&artifact.spec, masks)),
    }
}

/// A curve for each task whose mask was searched.
pub fn search_curves(schema: &Schema, searches: &[TaskSearch]) -> Vec<SearchCurve> {
    let curve = |search: &TaskSearch| SearchCurve {
        task: schema.tasks[search.task].name.clone(),
        metric_name: search.metric.clone(),
        rounds: search
            .levels
            .iter()
            .map(|level| SearchRound {
                density: level.density,
                validation_metric: level.validation,
            })
            .collect(),
        picked: search.picked,
    };
    searches
        .iter()
        .filter(|search| !search.levels.is_empty())
        .map(curve)
        .collect()
}

/// A curve for each task.
pub fn learning_curves(
    network: &str,
    schema: &Schema,
    history: &[ValidationRecord],
) -> Vec<LearningCurve> {
    let curve = |(number, task): (usize, &Task)| {
        let points: Vec<&ValidationRecord> = history
            .iter()
            .filter(|point| point.task == number)
            .collect();
        LearningCurve {
            task: task.name.clone(),
            network: network.to_owned(),
            position_name: "epoch".to_owned(),
            metric_name: metric_name(task).to_owned(),
            picked: points.iter().rposition(|point| point.best),
            points: points.into_iter().map(learning_point).collect(),
        }
    };
    let curves = schema.tasks.iter().enumerate().map(curve);
    curves.filter(|curve| !curve.points.is_empty()).collect()
}

fn learning_point(point: &ValidationRecord) -> LearningPoint {
    LearningPoint {
        position: point.epoch,
        train_loss: point.train_loss,
        validation_loss: Some(point.validation_loss),
        validation_metric: Some(point.validation_metric),
    }
}

/// A plot for each task.
pub fn calibration_curves(network: &str, evaluated: &EvaluatedPart) -> Vec<CalibrationCurve> {
    let curve = |task: &ncs_eval::TaskPredictions| CalibrationCurve {
        task: task.name.clone(),
        network: network.to_owned(),
        bins: task.calibration_bins(Binning::EqualCount(20)),
    };
    evaluated.predictions.tasks.iter().map(curve).collect()
}

/// A curve for each task that has something to gain.
fn gain_curves(network: &str, evaluated: &EvaluatedPart) -> Vec<GainCurve> {
    let curve = |task: &ncs_eval::TaskPredictions| GainCurve {
        task: task.name.clone(),
        network: network.to_owned(),
        points: gain_points(task),
    };
    let curves = evaluated.predictions.tasks.iter().map(curve);
    curves.filter(|curve| !curve.points.is_empty()).collect()
}

/// Rows and label rates of each part.
pub fn data_summary(schema: &Schema, data: &DataReport) -> DataSummary {
    let part = |part: &ncs_readers::prepare::PartReport| DataPart {
        name: part.part.name().to_owned(),
        rows: part.labels.rows,
        labels: part
            .labels
            .tasks
            .iter()
            .map(|task| LabelSummary {
                known: task.known,
                rate: (task.known > 0).then(|| task.rate()),
            })
            .collect(),
    };
    let file = |file: &ncs_readers::FileReport| DataFile {
        part: file.part.name().to_owned(),
        path: file.path.clone(),
        rows: file.rows,
    };
    DataSummary {
        tasks: schema.tasks.iter().map(|task| task.name.clone()).collect(),
        parts: data.parts.iter().map(part).collect(),
        files: data.files.iter().map(file).collect(),
    }
}
