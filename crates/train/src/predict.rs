//! Predictions: labels and scores of batches, task by task.

use crate::loss;
use ncs_eval::{Predictions, TaskPredictions, TaskProduct, auc, errors};
use ncs_features::schema::{Product, funnel, products};
use ncs_features::{Batch, LabelKind, RowTerms, Task};
use ncs_model::{Model, Network, Subnet, Workspace};

/// Creates empty predictions for some tasks.
pub fn empty_predictions(tasks: &[Task]) -> Predictions {
    let empty = |task: &Task| TaskPredictions {
        name: task.name.clone(),
        kind: task.objective.label_kind(),
        ..TaskPredictions::default()
    };
    Predictions {
        tasks: tasks.iter().map(empty).collect(),
        groups: Vec::new(),
        funnel: funnel(tasks).map(|[click, conversion]| (click, conversion)),
        products: further_products(tasks),
    }
}

/// Returns the products of tasks beside that of the funnel.
fn further_products(tasks: &[Task]) -> Vec<TaskProduct> {
    let of_funnel = funnel(tasks);
    let is_further = |product: &Product| of_funnel.is_none_or(|pair| product.tasks != pair);
    let product = |product: Product| TaskProduct {
        name: product.name,
        tasks: product.tasks,
    };
    let products = products(tasks).into_iter();
    products.filter(is_further).map(product).collect()
}

/// Appends a batch and its scores, `[task][row]`.
pub fn append(predictions: &mut Predictions, batch: &Batch, scores: &[Vec<f32>]) {
    for ((task, scores), t) in predictions.tasks.iter_mut().zip(scores).zip(0..) {
        weigh(task, &batch.labels[t], batch.terms(t));
        task.labels.extend(&batch.labels[t]);
        task.truths.extend(&batch.truths[t]);
        task.scores.extend(scores);
    }
    predictions.groups.extend(&batch.groups);
}

/// Appends the weights of a batch, unless no row so far counts other than once.
fn weigh(task: &mut TaskPredictions, labels: &[f32], terms: &RowTerms) {
    if task.weights.is_empty() && terms.are_plain() {
        return;
    }
    task.weights.resize(task.labels.len(), 1.0);
    let weights = labels.iter().enumerate();
    task.weights
        .extend(weights.map(|(row, &label)| terms.weight_among_all(row, label) as f32));
}

/// Returns warnings about the metrics of a task: rows with a NaN score, and one constant score for all rows.
pub fn doubts(predictions: &TaskPredictions) -> Vec<String> {
    let name = &predictions.name;
    let mut doubts = Vec::new();
    let lost = predictions.rows_without_score();
    if lost > 0 {
        doubts.push(format!(
            "task {name:?}: the score of {lost} rows is NaN or infinite; they are excluded from all metrics"
        ));
    }
    if let Some(score) = predictions.constant_score() {
        doubts.push(format!(
            "task {name:?}: every row has the same score, {score:.4}: the network has collapsed or learned nothing (a \
             smaller learning rate, another seed or training.clip_norm may help), or all rows are alike"
        ));
    }
    doubts
}

/// Scores batches with the current weights of a model.
pub(crate) struct Evaluator {
    /// Subnetworks of each network.
    subnets: Vec<Vec<Subnet>>,
}

impl Evaluator {
    pub(crate) fn new(model: &Model) -> Evaluator {
        let networks = model.networks().iter().enumerate();
        let subnets =
            networks.map(|(number, network)| model.subnets(number, &own_heads(model, network)));
        Evaluator {
            subnets: subnets.collect(),
        }
    }

    /// The scores of every task for every row of a batch: `[task][row]`. The model has the layers that it had when this
    /// was created; its tables may be those of the batch.
    pub(crate) fn scores(
        &self,
        model: &Model,
        batch: &Batch,
        pass: &mut Workspace,
    ) -> Vec<Vec<f32>> {
        let mut scores = vec![Vec::new(); model.spec().tasks.len()];
        for (network, subnets) in model.networks().iter().zip(&self.subnets) {
            let heads = own_heads(model, network);
            network.probabilities(batch, subnets, &heads, pass, &mut scores);
        }
        model.spec().answers(&mut scores);
        scores
    }
}

/// Returns the heads from which the tasks of a network are predicted.
fn own_heads(model: &Model, network: &Network) -> Vec<usize> {
    let n_tasks = model.spec().tasks.len();
    let n_own = network.tasks.iter().filter(|&&task| task < n_tasks);
    model
        .spec()
        .heads_to_predict(&network.tasks[..n_own.count()])
}

/// Returns the metric by which a task is evaluated on validation rows: `AUC`, `squared error` (of a ratio), or
/// `relative loss` (of a number: over the loss of the labels' mean).
pub fn metric_name(task: &Task) -> &'static str {
    match task.objective.label_kind() {
        LabelKind::Binary => "AUC",
        LabelKind::Ratio => "squared error",
        LabelKind::Value => "relative loss",
    }
}

/// Returns the loss of predicting the labels' mean for every row; `None` if that is perfect.
fn loss_of_mean(task: &Task, predictions: &TaskPredictions, terms: &RowTerms) -> Option<f64> {
    let labels = &predictions.labels;
    let known = labels.iter().enumerate();
    let known = known.filter(|(_, label)| !label.is_nan());
    let (sum, mass) = known.fold((0.0, 0.0), |(sum, mass), (row, &label)| {
        let weight = terms.weight(row);
        (sum + weight * f64::from(label), mass + weight)
    });
    let output = task.objective.link().output(sum / mass);
    let outputs = vec![output; labels.len()];
    let loss = loss::weighted_loss(task.objective, &outputs, labels, terms).loss;
    (loss > 0.0).then_some(loss)
}

/// Metrics of a task on a set of rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ValidationScore {
    /// Its loss, as in training.
    pub loss: f64,
    /// The task's metric on validation rows: see [`metric_name`].
    pub metric: &'static str,
    /// Its value.
    pub value: f64,
    /// Effective number of labels: for an AUC, those of the rarer class.
    pub n_labels: usize,
}

impl ValidationScore {
    /// Evaluates a task on its rows with a score; `None` if they do not allow it (no rows, or only one class).
    pub(crate) fn of(task: &Task, predictions: &TaskPredictions) -> Option<ValidationScore> {
        let predictions = predictions.without_lost_rows();
        let link = task.objective.link();
        let outputs = predictions.scores.iter();
        let logits: Vec<f64> = outputs
            .map(|&score| link.output(f64::from(score)))
            .collect();
        let terms = RowTerms {
            weights: predictions.weights.clone(),
            ..RowTerms::default()
        };
        let (labels, scores) = (&predictions.labels, &predictions.scores);
        let weights = predictions.row_weights();
        let loss = loss::weighted_loss(task.objective, &logits, labels, &terms).loss;
        let value = match task.objective.label_kind() {
            LabelKind::Binary => auc::auc_by_weight(labels, scores, weights)?,
            LabelKind::Ratio => {
                let range = errors::LabelRange::Clipped;
                errors::squared_error_by_weight(labels, scores, range, weights)?
            }
            LabelKind::Value => loss / loss_of_mean(task, &predictions, &terms)?,
        };
        let known = predictions.labels.iter().filter(|label| !label.is_nan());
        let n_known = known.clone().count();
        let n_positive = known.filter(|&&label| label > 0.5).count();
        Some(ValidationScore {
            loss,
            metric: metric_name(task),
            value,
            n_labels: if task.objective.is_binary() {
                n_positive.min(n_known - n_positive)
            } else {
                n_known
            },
        })
    }

    /// Returns the mean metric of some tasks, each weighted by the root of its number of labels: the error of
    /// an AUC falls with that root, so the noise of a task with few labels does not decide the best step.
    pub(crate) fn joint_selection_score(evaluated: &[ValidationScore]) -> f64 {
        let weight = |evaluated: &ValidationScore| (evaluated.n_labels as f64).sqrt();
        let weights: f64 = evaluated.iter().map(weight).sum();
        let sum: f64 = evaluated
            .iter()
            .map(|j| weight(j) * j.selection_score())
            .sum();
        sum / weights
    }

    /// Higher is better.
    pub(crate) fn selection_score(&self) -> f64 {
        match self.metric {
            "AUC" => self.value,
            _ => -self.value,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ncs_features::{Objective, ValueLoss};

    fn evaluated(objective: Objective, labels: &[f32], scores: &[f32]) -> ValidationScore {
        let task = Task {
            label: "y".into(),
            objective,
            ..ncs_testkit::task("t")
        };
        let predictions = TaskPredictions {
            labels: labels.to_vec(),
            scores: scores.to_vec(),
            ..TaskPredictions::default()
        };
        ValidationScore::of(&task, &predictions).unwrap()
    }

    #[test]
    fn an_auc_rests_on_the_labels_of_its_rarer_class() {
        let scores = [0.1, 0.2, 0.3, 0.4, 0.5];
        let labels = [0.0, 1.0, 1.0, f32::NAN, 1.0];
        let found = evaluated(Objective::CrossEntropy, &labels, &scores);
        assert_eq!((found.n_labels, found.value), (1, 1.0));
        let labels = [0.5, f32::NAN, 0.1, 0.2, 0.9];
        assert_eq!(evaluated(Objective::Ratio, &labels, &scores).n_labels, 4);
    }

    #[test]
    fn a_row_without_a_score_does_not_keep_the_others_from_being_evaluated() {
        let labels = [0.0, 1.0, 1.0, 0.0];
        let found = evaluated(Objective::CrossEntropy, &labels, &[0.1, 0.9, f32::NAN, 0.2]);
        assert_eq!((found.n_labels, found.value), (1, 1.0));
        assert!(found.loss.is_finite());
        let found = evaluated(Objective::Ratio, &labels, &[0.1, 1.0, f32::NAN, 0.2]);
        assert_eq!((found.n_labels, found.value), (3, 0.0));
    }

    #[test]
    fn a_value_is_measured_against_the_mean_of_its_labels() {
        let labels = [1.0, 3.0, f32::NAN, 8.0];
        let objective = Objective::Value(ValueLoss::Squared.into());
        let found = evaluated(objective, &labels, &[2.0, 3.0, 9.0, 7.0]);
        // Squares of 1, 0, 1 against those of 3, 1, 4.
        assert!((found.value - 2.0 / 26.0).abs() < 1e-12, "{found:?}");
        assert_eq!((found.metric, found.n_labels), ("relative loss", 3));
        let objective = Objective::Value(ValueLoss::Poisson.into());
        let found = evaluated(objective, &labels, &[4.0, 4.0, 4.0, 4.0]);
        assert!((found.value - 1.0).abs() < 1e-6, "{found:?}");
    }

    #[test]
    fn a_task_with_few_labels_weighs_less() {
        let of = |value, n_labels| ValidationScore {
            loss: 0.0,
            metric: "AUC",
            value,
            n_labels,
        };
        let alone = ValidationScore::joint_selection_score(&[of(0.7, 9)]);
        assert!((alone - 0.7).abs() < 1e-12);
        let both = ValidationScore::joint_selection_score(&[of(0.8, 900), of(0.6, 100)]);
        assert!((both - 0.75).abs() < 1e-12, "{both}");
        let error = ValidationScore {
            metric: "squared error",
            ..of(0.1, 100)
        };
        let both = ValidationScore::joint_selection_score(&[of(0.8, 100), error]);
        assert!((both - 0.35).abs() < 1e-12, "{both}");
    }
}
