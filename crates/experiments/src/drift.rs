//! `ncs drift`: later rows beside those that a model was trained on.

pub use crate::drift_error::NoDistributions;
use crate::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};

use ncs_eval::drift::{ColumnDrift, Drift, DriftBin, DriftLabels, PopulationShift, ScoreDrift};
use ncs_eval::{MetricSettings, Metrics, Predictions, TaskMetrics};
use ncs_features::distribution::{self, Bins, Distribution, Distributions};
use ncs_features::{ColumnCoverage, Coverage, Encoder, IdSpace, Table};
use ncs_model::Workspace;
use ncs_train::predict;

use crate::scoring::{self, EvaluationListener, LoadedModel, Rows, Stopped};

/// Compares rows with those of a model's training, column by column and score by score; where all labels are there,
/// calibration and AUC too.
///
/// # Errors
/// The model carries no distributions, the rows cannot be read or have no score, or `stop` was set.
pub fn drift(
    model: &LoadedModel,
    rows: Rows,
    pass: &mut Workspace,
    stop: &AtomicBool,
    listener: &mut EvaluationListener<'_>,
) -> Result<Drift, Error> {
    let before = model.artifact.distributions.as_ref();
    let before = before.ok_or_else(|| NoDistributions {
        model: model.folder.display().to_string(),
    })?;
    let now = Now::of(model, before, rows, pass, stop, listener)?;
    let metrics = match &now.predictions {
        Some(predictions) => {
            // Intervals are not shown.
            let settings = MetricSettings::default();
            Some(Metrics::of(predictions, &settings)?)
        }
        None => None,
    };
    let mut found = Drift {
        title: format!("Drift: {}", model.folder.display()),
        rows: now.rows,
        training_rows: before.rows,
        columns: columns(model, before, &now),
        scores: scores(model, before, &now, metrics.as_ref()),
        notes: Vec::new(),
    };
    if metrics.is_none() {
        let text = "these rows lack labels, so calibration and AUC are not shown";
        found.notes.push(text.to_owned());
    }
    found.sort();
    Ok(found)
}

/// What was counted of the rows.
struct Now {
    rows: u64,
    columns: Vec<Distribution>,
    coverage: Vec<ColumnCoverage>,
    scores: Vec<Distribution>,
    sums: Vec<f64>,
    /// Labels and scores; `None` where labels are absent.
    predictions: Option<Predictions>,
}

impl Now {
    fn of(
        model: &LoadedModel,
        before: &Distributions,
        rows: Rows,
        pass: &mut Workspace,
        stop: &AtomicBool,
        listener: &mut EvaluationListener<'_>,
    ) -> Result<Now, Error> {
        let scorer = &model.scorer;
        scoring::check_looked_up(model, &rows)?;
        let (schema, has_labels) = scoring::present_schema(scorer.schema(), &rows, listener.note)?;
        let products = schema.products();
        let mut coverage = Coverage::new(&schema);
        let mut now = Now {
            rows: 0,
            columns: before.columns.iter().map(Distribution::emptied).collect(),
            coverage: Vec::new(),
            scores: before.scores.iter().map(Distribution::emptied).collect(),
            sums: vec![0.0; before.scores.len()],
            predictions: has_labels.then(|| predict::empty_predictions(&schema.tasks)),
        };
        let mut encoded = rows.encoded(Encoder::new(schema.clone()), has_labels, &[])?;
        while let Some(next) = encoded.next_rows() {
            let (rows, batch) = next?;
            if stop.load(Ordering::Relaxed) {
                let left_undone = "nothing was compared";
                return Err(Stopped { left_undone }.into());
            }
            let mut scores = scorer.score(&batch, pass);
            scoring::check_scores(&rows, &batch, &scores, scorer)?;
            scoring::cover(&mut coverage, scorer, &rows, &batch);
            distribution::count(&schema, &batch, &mut now.columns);
            if let Some(predictions) = &mut now.predictions {
                predict::append(predictions, &batch, &scores);
            }
            let of_products: Vec<_> = products.iter().map(|p| p.of(&scores)).collect();
            scores.extend(of_products);
            let outputs = now.scores.iter_mut().zip(&mut now.sums).zip(&scores);
            for ((found, sum), scores) in outputs {
                scores.iter().for_each(|&score| found.add_number(score));
                *sum += scores.iter().map(|&score| f64::from(score)).sum::<f64>();
            }
            now.rows += batch.n_rows as u64;
            (listener.advance)(batch.n_rows as u64);
        }
        (listener.finish)(&encoded)?;
        now.coverage = coverage.finish(|field, id| scorer.is_unseen(field, id));
        Ok(now)
    }
}

fn columns(model: &LoadedModel, before: &Distributions, now: &Now) -> Vec<ColumnDrift> {
    let schema = model.schema();
    let of_column = |f: usize| {
        let (was, is, covered) = (&before.columns[f], &now.columns[f], &now.coverage[f]);
        let table = &schema.tables[schema.fields[f].table];
        let has_ids = matches!(was.bins, Bins::Ids(_));
        let shares = covered.shares();
        let reference = model.artifact.shares.get(f);
        ColumnDrift {
            column: schema.fields[f].name.clone(),
            shift: PopulationShift::of(&was.all_counts(), &is.all_counts()),
            unseen: shares.unseen.filter(|_| has_ids && covered.values > 0),
            unseen_before: reference
                .and_then(|shares| shares.unseen)
                .filter(|_| has_ids),
            missing: shares.nulls,
            missing_before: was.missing as f64 / before.rows.max(1) as f64,
            bins: bins(was, is, |bins, bin| column_bin(table, bins, bin)),
        }
    };
    (0..schema.fields.len()).map(of_column).collect()
}

fn scores(
    model: &LoadedModel,
    before: &Distributions,
    now: &Now,
    metrics: Option<&Metrics>,
) -> Vec<ScoreDrift> {
    let names = model.outputs().into_iter().zip(&before.scores).enumerate();
    let of_score = |(at, (name, was)): (usize, (String, &Distribution))| {
        let is = &now.scores[at];
        let of_task = metrics.and_then(|metrics| metrics.tasks.get(&name));
        ScoreDrift {
            shift: PopulationShift::of(&was.all_counts(), &is.all_counts()),
            mean: now.sums[at] / now.rows.max(1) as f64,
            bins: bins(was, is, |bins, bin| edge_name(bins, bin, f64::from)),
            labels: of_task.map(labels),
            name,
        }
    };
    names.map(of_score).collect()
}

fn labels(metrics: &TaskMetrics) -> DriftLabels {
    DriftLabels {
        rows: metrics.rows,
        pcoc: metrics.pcoc,
        auc: metrics.auc,
    }
}

/// Returns the shares of all bins that hold values, missing ones last.
fn bins(
    was: &Distribution,
    is: &Distribution,
    name: impl Fn(&Bins, usize) -> String,
) -> Vec<DriftBin> {
    let share = |count: u64, of: &Distribution| count as f64 / of.total().max(1) as f64;
    let counts = was.all_counts().into_iter().zip(is.all_counts());
    let of_bin = |(bin, (before, now)): (usize, (u64, u64))| DriftBin {
        name: match bin < was.counts.len() {
            true => name(&was.bins, bin),
            false => "missing".to_owned(),
        },
        before: share(before, was),
        now: share(now, is),
    };
    let held = counts
        .enumerate()
        .filter(|(_, (before, now))| before + now > 0);
    held.map(of_bin).collect()
}

/// Returns the name of a bin of a column, in the numbers and texts of the log where they are known.
fn column_bin(table: &Table, bins: &Bins, bin: usize) -> String {
    match (bins, &table.ids) {
        (Bins::Ids(ids), space) => match ids.get(bin) {
            Some(&id) => id_name(space, id),
            None => "others".to_owned(),
        },
        (
            _,
            IdSpace::Scaled {
                log,
                mean,
                deviation,
            },
        ) => edge_name(bins, bin, |edge| {
            let scaled = f64::from(edge) * deviation + mean;
            match log {
                true => scaled.signum() * scaled.abs().exp_m1(),
                false => scaled,
            }
        }),
        (_, IdSpace::Piecewise(scale)) => edge_name(bins, bin, |edge| {
            f64::from(edge) * scale.deviation + scale.mean
        }),
        (_, IdSpace::Quantiles { boundaries }) => edge_name(bins, bin, |edge| {
            let above = boundaries.get(edge as usize - 1).or(boundaries.last());
            above.copied().unwrap_or(f64::NAN)
        }),
        _ => edge_name(bins, bin, f64::from),
    }
}

fn id_name(space: &IdSpace, id: u32) -> String {
    match space {
        IdSpace::Vocabulary { values } => match (id as usize).checked_sub(2) {
            Some(at) => values.get(at).cloned().unwrap_or_default(),
            None => "rare or new".to_owned(),
        },
        IdSpace::Time(_) => (id - 1).to_string(),
        _ => format!("bucket {id}"),
    }
}

fn edge_name(bins: &Bins, bin: usize, number: impl Fn(f32) -> f64) -> String {
    let Bins::Edges(edges) = bins else {
        return String::new();
    };
    match (edges.get(bin), edges.last()) {
        (Some(&edge), _) => format!("≤ {}", shown(number(edge))),
        (None, Some(&last)) => format!("> {}", shown(number(last))),
        (None, None) => "all".to_owned(),
    }
}

/// A number with four digits.
fn shown(number: f64) -> String {
    let digits = 4 - number.abs().log10().floor().clamp(-4.0, 3.0) as i32;
    let text = format!("{number:.0$}", digits.clamp(0, 8) as usize);
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_have_the_names_of_the_log() {
        let table = |ids| Table {
            name: "t".into(),
            ids,
            range: None,
        };
        let vocabulary = table(IdSpace::Vocabulary {
            values: vec!["news".into(), "sport".into()],
        });
        let ids = Bins::Ids(vec![3, 1]);
        let name = |bin| column_bin(&vocabulary, &ids, bin);
        assert_eq!([0, 1, 2].map(name), ["sport", "rare or new", "others"]);
        let scaled = table(IdSpace::Scaled {
            log: false,
            mean: 10.0,
            deviation: 2.0,
        });
        let edges = Bins::Edges(vec![-1.0, 0.25]);
        let name = |bin| column_bin(&scaled, &edges, bin);
        assert_eq!([0, 1, 2].map(name), ["≤ 8", "≤ 10.5", "> 10.5"]);
        assert_eq!(
            [0.001_234_5, 1234.5, 0.0, 1e9].map(shown),
            ["0.0012345", "1234.5", "0", "1000000000"]
        );
    }
}
