//! Comparison of networks over several seeds: means with intervals, and paired differences.

use ncs_eval::figures::{FIGURES, FUNNEL, Figure, Role};
use ncs_eval::report::{Better, ResultCell, ResultRow, ResultTable};
use ncs_eval::{Difference, Metrics, estimate, paired_difference};

/// Confidence level of the intervals.
const CONFIDENCE: f64 = 0.95;

/// Metrics of one network, one entry for each seed, seeds in the same order for all networks.
#[derive(Clone, Debug)]
pub struct NetworkFigures {
    /// The network's name.
    pub network: String,
    /// Metrics on the same part of the data.
    pub seeds: Vec<Metrics>,
}

/// Returns a table of means and their intervals over seeds. Figures that apply to no task are left out.
pub fn table(title: &str, networks: &[NetworkFigures]) -> ResultTable {
    let tasks = tasks(networks);
    let applies = |figure: &&Figure| {
        let is_shown = figure.role != Role::Calibration; // the calibration curves show them
        is_shown
            && tasks.iter().any(|task| {
                networks
                    .iter()
                    .any(|network| !values(network, task, figure).is_empty())
            })
    };
    let figures: Vec<&Figure> = FIGURES.iter().filter(applies).collect();
    let row = |task: &String, network: &NetworkFigures| {
        let cell = |figure: &&Figure| match estimate(&values(network, task, figure), CONFIDENCE) {
            Some(estimate) => ResultCell::from(estimate),
            None => ResultCell::default(),
        };
        ResultRow {
            task: task.clone(),
            network: network.network.clone(),
            cells: figures.iter().map(cell).collect(),
        }
    };
    let rows = tasks
        .iter()
        .flat_map(|task| networks.iter().map(move |network| (task, network)));
    ResultTable {
        title: title.to_owned(),
        columns: figures.iter().map(|figure| figure.column()).collect(),
        rows: rows.map(|(task, network)| row(task, network)).collect(),
    }
}

fn tasks(networks: &[NetworkFigures]) -> Vec<String> {
    let first = networks.first().and_then(|network| network.seeds.first());
    let mut names: Vec<String> = first.map_or(Vec::new(), |metrics| {
        metrics.tasks.keys().cloned().collect()
    });
    if first.is_some_and(|metrics| metrics.ctcvr.is_some()) {
        names.push(FUNNEL.to_owned());
    }
    names.extend(
        first
            .iter()
            .flat_map(|metrics| metrics.products.keys().cloned()),
    );
    names
}

/// Returns one value for each seed; empty if some seed has none.
fn values(network: &NetworkFigures, task: &str, figure: &Figure) -> Vec<f64> {
    let value = |metrics: &Metrics| (figure.value)(&metrics.of_task(task)?);
    let all: Option<Vec<f64>> = network.seeds.iter().map(value).collect();
    all.unwrap_or_default()
}

/// Compares `ours` with each of the others by task, in words: one line for each AUC (or squared error), from
/// paired differences over seeds.
pub fn verdicts(ours: &NetworkFigures, others: &[NetworkFigures]) -> Vec<String> {
    let mut lines = Vec::new();
    for task in tasks(std::slice::from_ref(ours)) {
        for figure in FIGURES.iter().filter(|f| f.role == Role::Decisive) {
            for other in others {
                let (mine, theirs) = (values(ours, &task, figure), values(other, &task, figure));
                if let Some(difference) = paired_difference(&mine, &theirs, CONFIDENCE) {
                    let pair = format!(
                        "{task} {}: {} against {}",
                        figure.name, ours.network, other.network
                    );
                    lines.push(format!("{pair}: {}", verdict(&difference, figure.better)));
                }
            }
        }
    }
    lines
}

/// Formats a difference: `+0.0123 [+0.0100, +0.0146], p = 0.002: better`.
fn verdict(difference: &Difference, better: Better) -> String {
    let mean = difference.estimate.mean;
    let (Some([low, high]), Some(p)) = (difference.estimate.interval, difference.p_value) else {
        return format!("{mean:+.4}: no significance test with one seed");
    };
    let word = match (low > 0.0, high < 0.0, better) {
        (true, _, Better::Higher) | (_, true, Better::Lower) => "better",
        (true, _, _) | (_, true, _) => "worse",
        _ => "not significant",
    };
    let p = if p < 0.001 {
        "p < 0.001".to_owned()
    } else {
        format!("p = {p:.3}")
    };
    format!("{mean:+.4} [{low:+.4}, {high:+.4}], {p}: {word}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use ncs_eval::TaskMetrics;

    fn network(name: &str, aucs: &[f64]) -> NetworkFigures {
        let metrics = |&auc: &f64| {
            let task = TaskMetrics {
                auc: Some(auc),
                ..TaskMetrics::default()
            };
            Metrics {
                tasks: [("ctr".to_owned(), task)].into_iter().collect(),
                ctcvr: None,
                products: Default::default(),
            }
        };
        NetworkFigures {
            network: name.to_owned(),
            seeds: aucs.iter().map(metrics).collect(),
        }
    }

    #[test]
    fn a_verdict_needs_an_interval_that_excludes_zero() {
        let check = |ours: &[f64], theirs: &[f64], word: &str| {
            let lines = verdicts(&network("a", ours), &[network("b", theirs)]);
            assert_eq!(lines.len(), 1);
            assert!(lines[0].ends_with(word), "{}", lines[0]);
        };
        check(&[0.71, 0.72, 0.73], &[0.70, 0.71, 0.719], ": better");
        check(&[0.70, 0.71, 0.719], &[0.71, 0.72, 0.73], ": worse");
        check(
            &[0.71, 0.72, 0.73],
            &[0.72, 0.71, 0.73],
            ": not significant",
        );
        check(&[0.71], &[0.70], ": no significance test with one seed");
    }

    #[test]
    fn figures_that_apply_to_nothing_are_left_out() {
        let table = table("t", &[network("a", &[0.7, 0.8]), network("b", &[0.6, 0.7])]);
        assert_eq!(table.columns.len(), 1);
        assert_eq!(table.rows.len(), 2);
        assert!((table.rows[0].cells[0].value.unwrap() - 0.75).abs() < 1e-12);
        assert!(table.is_best(0, 0) && !table.is_best(1, 0));
    }
}
