//! The comparison that a candidate must pass.

use crate::task_metrics::metrics_of;
use ncs_eval::render::fixed;
use ncs_eval::statistics::{MeanError, holm};
use ncs_eval::{PairedDifference, TaskMetrics, TaskPredictions, difference_by_weight};
use serde::{Deserialize, Serialize};

use super::pairs::{Pair, Pairs};
use crate::slices::{SliceRows, selected};

/// Settings of the comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GateSettings {
    /// Probability of refusing a candidate that is as good as the live model, over all tests together.
    pub level: f64,
    /// Loss of AUC, or of squared error, that is tolerated.
    pub tolerance: f64,
    /// Range that predicted over observed of each task must be in.
    pub calibration_bound: [f64; 2],
    /// Labels of each class that a test needs.
    pub min_labels: usize,
    /// Columns within whose values the models are compared too.
    pub slices: Vec<String>,
}

/// Result of the comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gate {
    /// Its settings.
    pub settings: GateSettings,
    /// The tests: of each task over all rows, then by slice.
    pub tests: Vec<GateTest>,
    /// Slices that were left out, for want of labels or as values beyond the most frequent ones.
    pub left_out: usize,
    /// Why the candidate is refused; empty: it is not.
    pub reasons: Vec<String>,
}

/// A slice of the rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slice {
    /// The column.
    pub column: String,
    /// Its value.
    pub value: String,
}

/// A task of both models on the same rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GateTest {
    /// The task's name.
    pub task: String,
    /// The slice; `None`: all rows.
    pub slice: Option<Slice>,
    /// Rows with a known label.
    pub rows: u64,
    /// Rows with label 1 (of a ratio, above 0).
    pub positives: u64,
    /// Figures of the candidate.
    pub candidate: GateFigures,
    /// Figures of the live model, if there is one with this task.
    pub live: Option<GateFigures>,
    /// Candidate minus live model, signed so that positive means that the candidate is better: of AUC, or of the
    /// squared error.
    pub difference: Option<f64>,
    /// Standard error of the difference over rows (DeLong for AUC).
    pub error: Option<f64>,
    /// One-sided p-value of "the candidate is worse by more than the tolerance", after Holm's correction for all tests.
    pub p_value: Option<f64>,
}

/// Figures of one model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GateFigures {
    /// Area under the ROC curve.
    pub auc: Option<f64>,
    /// Mean squared error of a ratio.
    pub squared_error: Option<f64>,
    /// Squared error of a value over the variance of its labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relative_squared_error: Option<f64>,
    /// Mean cross-entropy, in nats.
    pub log_loss: Option<f64>,
    /// Sum of predictions over sum of labels.
    pub pcoc: Option<f64>,
}

/// Compares the models task by task and slice by slice.
pub(super) fn compare(pairs: &Pairs, settings: &GateSettings) -> Gate {
    let mut gate = Gate {
        settings: settings.clone(),
        tests: Vec::new(),
        left_out: pairs.beyond,
        reasons: Vec::new(),
    };
    let mut raw = Vec::new();
    for pair in &pairs.tasks {
        let Some(candidate) = &pair.candidate else {
            let name = pair.name();
            gate.reasons.push(format!(
                "task {name:?} of the live model is not in the candidate"
            ));
            continue;
        };
        if let Some(few) = too_few(candidate, settings.min_labels) {
            gate.reasons.push(few);
        }
        let (test, p_value) = test(pair, candidate, None, settings);
        gate.tests.push(test);
        raw.push(p_value);
    }
    for SliceRows {
        column,
        value,
        rows,
    } in &pairs.slices
    {
        for pair in &pairs.tasks {
            let (Some(candidate), Some(live)) = (&pair.candidate, &pair.live) else {
                continue;
            };
            let [candidate, live] = [candidate, live].map(|task| selected(task, rows));
            if too_few(&candidate, settings.min_labels).is_some() {
                gate.left_out += 1;
                continue;
            }
            let slice = Slice {
                column: column.clone(),
                value: value.clone(),
            };
            let pair = Pair {
                candidate: None,
                live: Some(live),
            };
            let (test, p_value) = test(&pair, &candidate, Some(slice), settings);
            gate.tests.push(test);
            raw.push(p_value);
        }
    }
    correct(&mut gate.tests, &raw);
    let n_tests = raw.iter().flatten().count();
    gate.reasons.extend(
        gate.tests
            .iter()
            .flat_map(|test| reasons(test, settings, n_tests)),
    );
    gate
}

/// Sets the p-values, corrected for the number of tests.
fn correct(tests: &mut [GateTest], raw: &[Option<f64>]) {
    let known: Vec<f64> = raw.iter().flatten().copied().collect();
    let mut corrected = holm(&known).into_iter();
    for (test, p_value) in tests.iter_mut().zip(raw) {
        test.p_value = p_value.and_then(|_| corrected.next());
    }
}

fn test(
    pair: &Pair,
    candidate: &TaskPredictions,
    slice: Option<Slice>,
    settings: &GateSettings,
) -> (GateTest, Option<f64>) {
    let own = metrics_of(candidate.clone());
    let difference = pair
        .live
        .as_ref()
        .and_then(|live| difference(candidate, live));
    let p_value = difference.map(|difference| {
        let error = MeanError {
            deviation: difference.error,
            degrees_of_freedom: f64::INFINITY,
        };
        error.one_sided(-(difference.value + settings.tolerance))
    });
    let test = GateTest {
        task: candidate.name.clone(),
        slice,
        rows: own.rows,
        positives: own.positives,
        candidate: figures(&own),
        live: pair
            .live
            .as_ref()
            .map(|live| figures(&metrics_of(live.clone()))),
        difference: difference.map(|difference| difference.value),
        error: difference.map(|difference| difference.error),
        p_value: None,
    };
    (test, p_value)
}

fn difference(candidate: &TaskPredictions, live: &TaskPredictions) -> Option<PairedDifference> {
    let (labels, scores) = (&candidate.labels, &candidate.scores);
    difference_by_weight(
        candidate.kind,
        labels,
        scores,
        &live.scores,
        candidate.row_weights(),
    )
}

fn figures(metrics: &TaskMetrics) -> GateFigures {
    GateFigures {
        auc: metrics.auc,
        squared_error: metrics.squared_error,
        relative_squared_error: metrics.relative_squared_error,
        log_loss: metrics.log_loss,
        pcoc: metrics.pcoc,
    }
}

/// Returns a reason if a task has too few labels for a test.
fn too_few(task: &TaskPredictions, needed: usize) -> Option<String> {
    let known = || task.labels.iter().filter(|label| !label.is_nan());
    let (n, positives) = (
        known().count(),
        known().filter(|label| **label > 0.5).count(),
    );
    let name = &task.name;
    match task.is_binary() {
        true if positives.min(n - positives) < needed => Some(format!(
            "task {name:?} has {positives} labels 1 and {} labels 0 on these rows, and needs {needed} of each to be \
             compared; give --data more rows",
            n - positives
        )),
        false if n < needed => Some(format!(
            "task {name:?} has {n} labels on these rows, and needs {needed} to be compared; give --data more rows"
        )),
        _ => None,
    }
}

impl GateFigures {
    /// Returns the figure that is tested, with its name.
    pub fn tested(&self) -> (&'static str, Option<f64>) {
        match (self.auc, self.relative_squared_error) {
            (Some(auc), _) => ("AUC", Some(auc)),
            (None, Some(error)) => ("relative squared error", Some(error)),
            (None, None) => ("squared error", self.squared_error),
        }
    }
}

/// `= 0.0123`, or `< 0.0001`
fn in_words(p_value: f64) -> String {
    if p_value < 1e-4 {
        "< 0.0001".to_owned()
    } else {
        format!("= {}", fixed(p_value, 4))
    }
}

/// Returns why a test speaks against the candidate.
fn reasons(test: &GateTest, settings: &GateSettings, n_tests: usize) -> Vec<String> {
    let mut reasons = Vec::new();
    let of = match &test.slice {
        None => test.task.clone(),
        Some(slice) => format!("{} where {} is {}", test.task, slice.column, slice.value),
    };
    if let (Some(p), Some(difference), Some(error)) = (test.p_value, test.difference, test.error)
        && p < settings.level
    {
        let (figure, _) = test.candidate.tested();
        reasons.push(format!(
            "{of}: {figure} is worse by {:.4} (standard error {error:.4}, p {} after correction for {n_tests} tests, \
             level {})",
            -difference,
            in_words(p),
            settings.level
        ));
    }
    let [low, high] = settings.calibration_bound;
    let pcoc = test.candidate.pcoc.filter(|_| test.slice.is_none());
    if let Some(pcoc) = pcoc.filter(|pcoc| !(low..=high).contains(pcoc)) {
        reasons.push(format!(
            "{of}: predicted over observed is {pcoc:.3}, outside {low}..{high}; ncs calibrate fits the calibrators to \
             newer rows"
        ));
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;
    use ncs_features::LabelKind;

    const SETTINGS: GateSettings = GateSettings {
        level: 0.05,
        tolerance: 0.0,
        calibration_bound: [0.8, 1.25],
        min_labels: 10,
        slices: Vec::new(),
    };

    /// 400 rows, every fourth positive; positives score higher by `gap`, with the same noise in every model.
    fn task(name: &str, gap: f32, scale: f32) -> TaskPredictions {
        let noise = |row: usize| ((row * 7919) % 400) as f32 / 400.0;
        let label = |row: usize| f32::from(u8::from(row.is_multiple_of(4)));
        TaskPredictions {
            name: name.to_owned(),
            kind: LabelKind::Binary,
            labels: (0..400).map(label).collect(),
            scores: (0..400)
                .map(|row| scale * (0.25 + 0.2 * (noise(row) - 0.5) + gap * (label(row) - 0.25)))
                .collect(),
            ..TaskPredictions::default()
        }
    }

    fn pairs(candidate: TaskPredictions, live: Option<TaskPredictions>) -> Pairs {
        Pairs {
            tasks: vec![Pair {
                candidate: Some(candidate),
                live,
            }],
            slices: vec![],
            beyond: 0,
        }
    }

    #[track_caller]
    fn check(pairs: &Pairs, settings: &GateSettings, expected: &[&str]) -> Gate {
        let gate = compare(pairs, settings);
        assert_eq!(gate.reasons.len(), expected.len(), "{:?}", gate.reasons);
        for (reason, part) in gate.reasons.iter().zip(expected) {
            assert!(reason.contains(part), "{reason}");
        }
        gate
    }

    #[test]
    fn a_value_is_tested_by_its_relative_error() {
        let ratio = GateFigures {
            squared_error: Some(0.02),
            ..GateFigures::default()
        };
        assert_eq!(ratio.tested(), ("squared error", Some(0.02)));
        let value = GateFigures {
            squared_error: Some(1110.0),
            relative_squared_error: Some(0.79),
            ..GateFigures::default()
        };
        assert_eq!(value.tested(), ("relative squared error", Some(0.79)));
        let binary = GateFigures {
            auc: Some(0.7),
            ..GateFigures::default()
        };
        assert_eq!(binary.tested(), ("AUC", Some(0.7)));
    }

    #[test]
    fn a_worse_model_is_refused_and_a_better_one_is_not() {
        let [weak, strong] = [0.02, 0.08].map(|gap| task("ctr", gap, 1.0));
        let gate = check(
            &pairs(weak.clone(), Some(strong.clone())),
            &SETTINGS,
            &["ctr: AUC is worse by 0."],
        );
        assert!(gate.tests[0].difference.unwrap() < 0.0);
        check(&pairs(strong.clone(), Some(weak.clone())), &SETTINGS, &[]);
        check(&pairs(strong.clone(), Some(strong.clone())), &SETTINGS, &[]);
        // What is tolerated is no reason.
        let tolerant = GateSettings {
            tolerance: 0.5,
            ..SETTINGS
        };
        check(&pairs(weak, Some(strong)), &tolerant, &[]);
    }

    #[test]
    fn probabilities_outside_the_bound_are_refused_without_a_live_model_too() {
        check(&pairs(task("ctr", 0.05, 1.0), None), &SETTINGS, &[]);
        let high = check(
            &pairs(task("ctr", 0.05, 1.5), None),
            &SETTINGS,
            &["predicted over observed is 1.499"],
        );
        assert_eq!(high.tests[0].p_value, None);
        check(&pairs(task("ctr", 0.05, 0.5), None), &SETTINGS, &["is 0.5"]);
    }

    #[test]
    fn a_worse_slice_is_named() {
        let live = task("ctr", 0.05, 1.0);
        let mut candidate = task("ctr", 0.07, 1.0);
        let rows: Vec<usize> = (0..160).collect();
        // The order within these rows is reversed.
        for &row in &rows {
            candidate.scores[row] = 0.5 - candidate.scores[row];
        }
        let mut both = pairs(candidate, Some(live));
        let all_but: Vec<usize> = (160..400).collect();
        let slice = |value: &str, rows| SliceRows {
            column: "device".into(),
            value: value.into(),
            rows,
        };
        both.slices = vec![
            slice("phone", rows),
            slice("tv", all_but),
            slice("watch", vec![0, 1, 2, 3]),
        ];
        let gate = compare(&both, &SETTINGS);
        let of_phone = gate
            .reasons
            .iter()
            .filter(|r| r.contains("where device is phone"));
        assert_eq!(of_phone.count(), 1, "{:?}", gate.reasons);
        assert!(
            !gate.reasons.iter().any(|r| r.contains("is tv")),
            "{:?}",
            gate.reasons
        );
        assert_eq!((gate.tests.len(), gate.left_out), (3, 1));
    }

    #[test]
    fn too_few_labels_and_lost_tasks_are_refused() {
        let strict = GateSettings {
            min_labels: 101,
            ..SETTINGS
        };
        let same = pairs(task("ctr", 0.05, 1.0), Some(task("ctr", 0.05, 1.0)));
        check(&same, &strict, &["has 100 labels 1 and 300 labels 0"]);
        let mut lost = same;
        lost.tasks.push(Pair {
            candidate: None,
            live: Some(task("cvr", 0.05, 1.0)),
        });
        check(
            &lost,
            &SETTINGS,
            &["task \"cvr\" of the live model is not in the candidate"],
        );
    }
}
