//! The loss of a task over the rows of a batch, and its gradient with respect to each logit, in f64.
//!
//! ```
//! use ncs_features::schema::Objective;
//! use ncs_train::loss::loss;
//! // A click, a row without a label, no click; all logits are 0.
//! let found = loss(Objective::CrossEntropy, &[0.0, 0.0, 0.0], &[1.0, f32::NAN, 0.0]);
//! assert_eq!(found.rows, 2);
//! assert_eq!(found.loss, 2.0_f64.ln());
//! assert_eq!(found.gradients, [-0.25, 0.0, 0.25]);
//! ```

pub use ncs_model::sigmoid;

use crate::label_smoothing::LabelSmoothing;
use crate::late;
use ncs_features::schema::Objective;
use ncs_features::{LateRules, RowTerms, ValueLoss};

pub use crate::late::HeadsLoss;

#[cfg(test)]
mod tests;
mod value;
mod zero_inflated;

/// A mean loss and its gradients.
#[derive(Clone, Debug, PartialEq)]
pub struct LossAndGradients {
    /// Mean over the rows that count; 0 if none does.
    pub loss: f64,
    /// Gradient of the mean with respect to each logit; 0 for a row that does not count.
    pub gradients: Vec<f64>,
    /// Number of rows that count.
    pub rows: usize,
}

/// The mean loss over the rows that count, and its gradient with respect to each logit.
///
/// A row whose label is NaN does not count; for [`Objective::Ratio`], nor does one whose label is not
/// positive (NCS4CVR's weighted squared error).
///
/// # Panics
/// If there are not as many labels as logits.
pub fn loss(objective: Objective, logits: &[f64], labels: &[f32]) -> LossAndGradients {
    weighted_loss(objective, logits, labels, &RowTerms::default())
}

/// The same where a row counts by its weight: `sum w l / sum w`.
///
/// # Panics
/// If there are not as many labels as logits.
pub fn weighted_loss(
    objective: Objective,
    logits: &[f64],
    labels: &[f32],
    terms: &RowTerms,
) -> LossAndGradients {
    assert_eq!(logits.len(), labels.len(), "a label for each logit");
    let batch = BatchLoss::new(objective, labels, terms, 1.0);
    let counted: Vec<_> = (0..labels.len())
        .map(|row| batch.row(row, logits[row]))
        .collect();
    let mass = batch.divisor();
    LossAndGradients {
        loss: counted.iter().flatten().map(|row| row.loss).sum::<f64>() / mass,
        gradients: counted
            .iter()
            .map(|row| row.map_or(0.0, |row| row.gradient / mass))
            .collect(),
        rows: counted.iter().flatten().count(),
    }
}

/// The loss of one task over a batch whose logits are computed in chunks by several threads.
#[derive(Clone, Copy, Debug)]
pub struct BatchLoss<'a> {
    objective: Objective,
    labels: &'a [f32],
    terms: &'a RowTerms,
    late: Option<&'a LateRules>,
    smoothing: Option<LabelSmoothing>,
    /// Sum of the weights of the rows that count.
    mass: f64,
    /// Factor of the mean in the gradients.
    weight: f64,
}

impl<'a> BatchLoss<'a> {
    /// The loss for the labels of all rows of a batch, and for what else counts of them. Gradients are those of
    /// `weight` times the mean.
    pub fn new(
        objective: Objective,
        labels: &'a [f32],
        terms: &'a RowTerms,
        weight: f64,
    ) -> BatchLoss<'a> {
        // Whether a row counts does not depend on its logit.
        let counts = |row: &usize| row_loss(objective, 0.0, labels[*row]).is_some();
        let counted = (0..labels.len()).filter(counts);
        BatchLoss {
            objective,
            labels,
            terms,
            late: None,
            smoothing: None,
            mass: counted.map(|row| terms.weight(row)).sum(),
            weight,
        }
    }

    /// Returns the loss for labels that were known at a moment: see [`ncs_features::LateMethod`].
    pub fn known_by(self, late: Option<&'a LateRules>) -> BatchLoss<'a> {
        BatchLoss { late, ..self }
    }

    /// Returns the loss for smoothed labels: see [`LabelSmoothing`]. Only a cross-entropy has them.
    pub fn smoothed(self, smoothing: Option<LabelSmoothing>) -> BatchLoss<'a> {
        let fits = self.objective == Objective::CrossEntropy;
        BatchLoss {
            smoothing: smoothing.filter(|_| fits),
            ..self
        }
    }

    /// Returns the weighted loss of one row of the batch for a method of late labels with auxiliary heads, or for a task
    /// of several outputs, before any mean, from the logits of the task and of these heads; 0 if the row does not count.
    pub fn row_of_heads(&self, row: usize, logits: [f64; 1 + late::MOST_HEADS]) -> HeadsLoss {
        let label = self.labels[row];
        if let Objective::Value(objective) = self.objective
            && objective.loss == ValueLoss::Ziln
            && !label.is_nan()
        {
            let found = zero_inflated::row_loss(objective, logits, label.into());
            return found.times(self.terms.weight(row));
        }
        let times = (self.terms.delays.get(row), self.terms.ages.get(row));
        match (self.late, times) {
            (Some(rules), (Some(&delay), Some(&age))) if !label.is_nan() => {
                let known = late::Known { label, delay, age };
                late::heads_loss(rules, logits, known).times(self.terms.weight(row))
            }
            _ => HeadsLoss::default(),
        }
    }

    /// Factor of the gradients of a row, so that they are those of `weight` times the mean.
    pub(crate) fn scale(&self) -> f64 {
        self.weight / self.divisor()
    }

    /// Sum of the weights of the rows of the batch that count: their number where each counts once.
    pub fn mass(&self) -> f64 {
        self.mass
    }

    /// What sums over the rows are divided by: 1 where no row counts.
    pub(crate) fn divisor(&self) -> f64 {
        divisor(self.mass)
    }

    /// Returns the weighted loss of one row of the batch, before any mean; `None` if it does not count.
    pub fn row(&self, row: usize, logit: f64) -> Option<RowLoss> {
        let offset = self.terms.offset(row);
        let logit = logit + offset;
        let label = self.labels[row];
        if let Some(smoothing) = self.smoothing.filter(|_| !label.is_nan()) {
            let label = smoothing.label(label.into(), offset);
            return Some(cross_entropy(logit, label).times(self.terms.weight(row)));
        }
        let of_late = |rules| late::row_loss(rules, logit, label, self.terms, row);
        let of_late = self.late.and_then(of_late);
        let found = of_late.or_else(|| row_loss(self.objective, logit, label))?;
        Some(found.times(self.terms.weight(row)))
    }

    /// Writes the gradients with respect to these logits and returns the sum of the losses.
    pub fn gradients(&self, rows: &[u32], logits: &[f32], gradients: &mut [f32]) -> f64 {
        let scale = self.scale();
        let mut sum = 0.0;
        for ((&row, &logit), gradient) in rows.iter().zip(logits).zip(gradients) {
            let row = self.row(row as usize, f64::from(logit));
            *gradient = row.map_or(0.0, |row| row.gradient * scale) as f32;
            sum += row.map_or(0.0, |row| row.loss);
        }
        sum
    }
}

/// Returns what sums over rows of this mass are divided by: 1 where no row counts.
pub(crate) fn divisor(mass: f64) -> f64 {
    if mass > 0.0 { mass } else { 1.0 }
}

/// The loss of one row and its gradient with respect to the row's logit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RowLoss {
    /// The loss, at least 0.
    pub loss: f64,
    /// Its gradient.
    pub gradient: f64,
}

/// The loss of one row; `None` if the row does not count.
pub fn row_loss(objective: Objective, logit: f64, label: f32) -> Option<RowLoss> {
    let label = f64::from(label);
    match objective {
        _ if label.is_nan() => None,
        Objective::CrossEntropy => Some(cross_entropy(logit, label)),
        Objective::Focal { alpha, gamma } if label > 0.0 => Some(focal(alpha, gamma, logit)),
        Objective::Focal { alpha, gamma } => Some(focal(1.0 - alpha, gamma, -logit).mirrored()),
        Objective::Ratio => (label > 0.0).then(|| squared_error(logit, label.min(1.0))),
        Objective::Value(objective) => Some(value::row_loss(objective, logit, label)),
    }
}

/// `-y log p - (1 - y) log(1 - p)`, from the logit so that no logarithm of 0 is taken.
pub(crate) fn cross_entropy(z: f64, y: f64) -> RowLoss {
    RowLoss {
        loss: z.max(0.0) - z * y + (-z.abs()).exp().ln_1p(),
        gradient: sigmoid(z) - y,
    }
}

/// `-w (1 - p)^g log p` (Lin et al. 2017, equation 5), where `p` is the predicted probability of the true label.
///
/// Inside the logarithm `p` is at least 1e-8, as in NCS4CVR's code; below it, only `(1 - p)^g` has a gradient.
fn focal(weight: f64, gamma: f64, z: f64) -> RowLoss {
    const SMALLEST: f64 = 1e-8;
    let (p, q) = (sigmoid(z), sigmoid(-z));
    let ln_p = p.max(SMALLEST).ln();
    let gradient_of_ln_p = if p >= SMALLEST { q } else { 0.0 };
    let focus = weight * q.powf(gamma);
    // d q^g / dz = -g q^g p: no division, so q = 0 is safe.
    RowLoss {
        loss: -focus * ln_p,
        gradient: focus * (gamma * p * ln_p - gradient_of_ln_p),
    }
}

/// `(p - y)^2`.
fn squared_error(z: f64, y: f64) -> RowLoss {
    let (p, q) = (sigmoid(z), sigmoid(-z));
    RowLoss {
        loss: (p - y).powi(2),
        gradient: 2.0 * (p - y) * p * q,
    }
}

impl RowLoss {
    pub(crate) fn times(self, weight: f64) -> RowLoss {
        RowLoss {
            loss: weight * self.loss,
            gradient: weight * self.gradient,
        }
    }

    /// The same loss as a function of the negated logit.
    fn mirrored(self) -> RowLoss {
        RowLoss {
            gradient: -self.gradient,
            ..self
        }
    }
}
