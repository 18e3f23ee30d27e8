//! Collects the results of finished runs for the comparison report.

use std::fs;
use std::path::Path;

use ncs_eval::comparison::{
    ComparisonInput, DataInput, MeasuredRun, MethodInput, Published, Trial, row_values,
};
use ncs_eval::{LayerSharing, RunReport};

use super::figures::figures;
use super::plan::{Cell, Plan};
use super::run_table::{RunArguments, RunTable};
use super::scores::Scored;
use super::toml_types::Match;
use crate::error::Error;
use crate::progress::grouped;
use crate::{cost, predictions_file, training};

/// Confidence level of intervals; one minus this is the significance level.
const CONFIDENCE: f64 = 0.95;

/// Collects all finished runs.
///
/// # Errors
/// Fails if results cannot be read.
pub(crate) fn gather(table: &mut RunTable<'_>, scored: &Scored) -> Result<ComparisonInput, Error> {
    let plan = table.plan;
    let mut data = Vec::new();
    let mut protocol = protocol(plan);
    for (name, set) in &plan.file.data {
        let mut methods = Vec::new();
        let mut off_size = Vec::new();
        for cell in plan.cells.iter().filter(|cell| cell.data == *name) {
            let results = match scored.get(cell) {
                Some(seeds) => score_files(plan, cell, seeds),
                None => {
                    let method = method(table, cell)?;
                    off_size.extend(off_budget(plan.matching, table.budget(cell), &method));
                    method
                }
            };
            methods.push(results);
        }
        if !off_size.is_empty() {
            protocol.push(format!(
                "Sizes that differ from the budget on {name}: {}.",
                off_size.join("; ")
            ));
        }
        data.push(DataInput {
            name: name.clone(),
            about: set.about.clone(),
            command: command(plan),
            share: set.synth.as_ref().map(|log| log.share),
            group: set.group.clone(),
            published: set.published.iter().map(published).collect(),
            methods,
        });
    }
    Ok(ComparisonInput {
        title: plan.file.title.clone(),
        command: command(plan),
        protocol,
        references: plan.file.references.clone(),
        confidence: CONFIDENCE,
        data,
    })
}

fn command(plan: &Plan) -> String {
    let matching = match plan.matching {
        same if same == plan.file.matching => "",
        Match::None => " --match none",
        Match::Parameters => " --match parameters",
        Match::Flops => " --match flops",
    };
    format!(
        "ncs compare {} --out {}{matching}",
        plan.path.display(),
        plan.folder.display()
    )
}

/// Describes the protocol in sentences.
fn protocol(plan: &Plan) -> Vec<String> {
    let tuning = &plan.file.tuning;
    let mut protocol = vec![format!(
        "Each method on each data set: {} trials with seeds {:?} (first the settings of the run file, then \
         points of a Halton sequence over learning rate {} to {}, weight decay {} to {} and weight of the \
         last task {} to {}), selected by the mean validation AUC (or minus squared error) over tasks; \
         then seeds {:?} with these settings. The test rows are evaluated once, at the end.",
        tuning.trials,
        tuning.seeds,
        tuning.learning_rate.0,
        tuning.learning_rate.1,
        tuning.weight_decay.0,
        tuning.weight_decay.1,
        tuning.weight.0,
        tuning.weight.1,
        plan.file.seeds,
    )];
    protocol.push(match plan.matching {
        Match::None => "Hidden widths are those of the run file for every network.".to_owned(),
        Match::Parameters => "Hidden widths are scaled, before any mask is known, so that every network has \
                              as many weights in layers and heads as the shared bottom of the run file; a \
                              mask counts at the configured density. A search that chooses its own density, \
                              and a method that reuses masks or widths of another method's runs, may end \
                              with more or fewer weights; the costs list the kept weights."
            .to_owned(),
        Match::Flops => "Hidden widths are scaled, before any mask is known, so that every network needs as \
                         many multiplications a score as the shared bottom of the run file; the costs list \
                         the multiplications of each."
            .to_owned(),
    });
    protocol.push(
        "Tables, interaction, optimizer, batches, readers and early stopping (each task's own best \
         validation) are the same for all."
            .to_owned(),
    );
    let methods = plan.file.methods.iter();
    let scored = methods.filter(|(_, method)| method.scores.is_some());
    let scored: Vec<&str> = scored.map(|(name, _)| name.as_str()).collect();
    if !scored.is_empty() {
        protocol.push(format!(
            "Not trained here: {}. Predictions of other programs for the test rows are read from files; the widths, \
             trials and settings above do not apply to them.",
            scored.join(", ")
        ));
    }
    protocol
}

/// Reports the size of a method whose finished runs differ from the budget by more than a tenth: `gradient
/// 180,432 weights (the budget is 65,310)`.
fn off_budget(by: Match, budget: f64, method: &MethodInput) -> Option<String> {
    let (size, unit): (fn(&MeasuredRun) -> u64, _) = match by {
        Match::None => return None,
        Match::Parameters => (|run| run.cost.weights, "weights"),
        Match::Flops => (|run| run.cost.multiply_adds, "multiplications a score"),
    };
    let sizes = method.seeds.iter().map(|run| size(run) as f64);
    let mean = sizes.sum::<f64>() / method.seeds.len().max(1) as f64;
    let is_off = !method.seeds.is_empty() && (mean - budget).abs() > 0.1 * budget;
    is_off.then(|| {
        let [mean, budget] = [mean, budget].map(|size| grouped(size.round() as u64));
        format!("{} {mean} {unit} (the budget is {budget})", method.name)
    })
}

fn published(published: &super::toml_types::Published) -> Published {
    Published {
        method: published.method.clone(),
        figure: format!("{} {}", published.task, published.figure),
        value: published.value,
        source: published.source.clone(),
    }
}

fn method(table: &mut RunTable<'_>, cell: &Cell) -> Result<MethodInput, Error> {
    let plan = table.plan;
    let results = table.results(cell)?;
    let trials = results.trials.iter().map(|(start, validation)| Trial {
        settings: tuned(plan, start),
        validation: *validation,
        folder: relative(plan, &start.folder),
    });
    let settings = results
        .seeds
        .first()
        .map(|start| reported_settings(plan, start));
    let mut seeds = Vec::new();
    for start in &results.seeds {
        seeds.push(measured(plan, start)?);
    }
    Ok(MethodInput {
        name: cell.method.clone(),
        about: plan.method(cell).about.clone(),
        settings: settings.unwrap_or_default(),
        family: plan.method(cell).family.clone(),
        trials: trials.collect(),
        picked: results.selected.map(|trial| trial as usize),
        seeds,
    })
}

/// Returns the results of a method that another program trained.
fn score_files(plan: &Plan, cell: &Cell, seeds: &[MeasuredRun]) -> MethodInput {
    let method = plan.method(cell);
    let scores = method.scores.iter();
    MethodInput {
        name: cell.method.clone(),
        about: method.about.clone(),
        settings: scores.map(|scores| format!("scores={scores}")).collect(),
        seeds: seeds.to_vec(),
        ..MethodInput::default()
    }
}

/// Returns the settings of a run without paths, seed and evaluation settings.
fn reported_settings(plan: &Plan, start: &RunArguments) -> Vec<String> {
    let hidden = [
        "data.cache=",
        "data.train=",
        "data.valid=",
        "data.test=",
        "search.model=",
        "seed=",
        "evaluation.",
    ];
    let of_data = plan.base_settings(&start.run.cell.data);
    let is_reported = |setting: &&String| {
        !of_data.contains(setting) && !hidden.iter().any(|key| setting.starts_with(key))
    };
    start.settings.iter().filter(is_reported).cloned().collect()
}

/// Returns the settings that the trial changed.
fn tuned(plan: &Plan, start: &RunArguments) -> Vec<String> {
    let is_tuned = |setting: &&String| {
        let key = setting.split('=').next().unwrap_or_default();
        ["training.learning_rate", "training.weight_decay"].contains(&key)
            || key.starts_with("tasks.") && key.ends_with(".weight")
    };
    let fixed = plan.settings(&start.run.cell);
    let settings = start.settings.iter().filter(is_tuned);
    settings
        .filter(|setting| !fixed.contains(setting))
        .cloned()
        .collect()
}

fn relative(plan: &Plan, folder: &Path) -> String {
    let path = folder.strip_prefix(&plan.folder).unwrap_or(folder);
    path.display().to_string()
}

fn measured(plan: &Plan, start: &RunArguments) -> Result<MeasuredRun, Error> {
    let folder = &start.folder;
    let path = folder.join("report.json");
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let report: RunReport =
        serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    let sharing = report.sharing.into_iter().next().unwrap_or_default();
    let scores = folder.join(training::SCORES);
    let rows = if scores.exists() {
        row_values(&predictions_file::read(&scores)?)
    } else {
        Vec::new()
    };
    Ok(MeasuredRun {
        seed: start.run.seed,
        folder: relative(plan, folder),
        metrics: figures(folder)?.metrics,
        cost: cost::read(folder)?,
        densities: densities(&sharing.tasks, &sharing.layers),
        sharing: sharing.layers,
        learning: report.learning,
        calibration: report.calibration,
        rows,
    })
}

/// Returns the share of connections that each of two tasks keeps; empty for another number of tasks, for which
/// the counts do not determine it.
fn densities(tasks: &[String], layers: &[LayerSharing]) -> Vec<(String, f64)> {
    let all: u64 = layers.iter().map(LayerSharing::connections).sum();
    if tasks.len() != 2 || all == 0 {
        return Vec::new();
    }
    let kept = |task: usize| -> u64 {
        layers
            .iter()
            .map(|layer| layer.shared + layer.only[task])
            .sum()
    };
    let share = |(task, name): (usize, &String)| (name.clone(), kept(task) as f64 / all as f64);
    tasks.iter().enumerate().map(share).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_above_the_budget_is_reported() {
        let method = |weights| {
            let mut run = MeasuredRun::default();
            run.cost.weights = weights;
            MethodInput {
                name: "gradient".to_owned(),
                seeds: vec![run],
                ..MethodInput::default()
            }
        };
        let check = |by, weights, expected: Option<&str>| {
            let actual = off_budget(by, 65_310.0, &method(weights));
            assert_eq!(actual.as_deref(), expected);
        };
        let text = "gradient 180,432 weights (the budget is 65,310)";
        check(Match::Parameters, 180_432, Some(text));
        check(Match::Parameters, 66_000, None);
        check(Match::None, 180_432, None);
        let unfinished = MethodInput::default();
        assert_eq!(off_budget(Match::Flops, 65_310.0, &unfinished), None);
    }
}
