//! Entire-space losses: joint losses of a click and a conversion task over all impressions.
//!
//! For a row with click `o`, conversion `r`, logits `z` and probabilities `p` of click (`c`) and
//! conversion (`v`), and `L` the cross-entropy: the click loss is the mean of `L(o, p_c)` over the rows
//! whose click is known. The conversion loss is a mean over those of them of which it is also known
//! whether they converted: rows without a click, and clicked rows with a label. [`EntireSpace`] selects
//! the mean. Propensities `p_c` in a denominator are constants: no gradient flows through them.
//!
//! ```
//! use ncs_train::entire_space::{EntireSpace, FunnelLoss, FunnelRow};
//! let loss = FunnelLoss { click: 0, conversion: 1, kind: EntireSpace::Esmm };
//! // No click, no conversion; both probabilities are 1/2: -ln(1 - 1/4).
//! let row = loss.row(0.0, f32::NAN, [0.0; 3], 1.0);
//! let FunnelRow { conversion, gradients, .. } = row;
//! assert!((conversion.unwrap() - (4.0f64 / 3.0).ln()).abs() < 1e-15);
//! assert!((gradients[1] - 1.0 / 6.0).abs() < 1e-15);
//! ```

use crate::loss::{self, RowLoss, sigmoid};
use ncs_features::RowTerms;
use ncs_features::schema::Objective;
use serde::{Deserialize, Serialize};

/// Loss of the conversion task.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EntireSpace {
    /// The product `p_c p_v` against click and conversion (ESMM: Ma et al. 2018, equation 4).
    Esmm,
    /// Clicked rows, each weighted by its inverse propensity (ESCM2-IPS: Wang et al. 2022, equation 9),
    /// and the product.
    Escm2Ips(Propensity),
    /// Doubly robust, with a head that imputes the loss `e = ln(1 + exp(z_h))` (ESCM2-DR: Wang et al.
    /// 2022, equations 11 to 13), and the product.
    Escm2Dr(Propensity),
    /// Clicked rows weighted by inverse propensity; rows without a click train a counterfactual head `p_h`, and
    /// a penalty keeps `p_v + p_h` near 1 (DCMT: Zhu et al. 2023); and the product.
    Dcmt {
        /// Propensities, and the weight of the product's loss.
        propensity: Propensity,
        /// Factor of `|1 - p_v - p_h|`.
        regularizer: f64,
    },
    /// The conversion's head predicts `p_c p_v` itself, with a penalty if it exceeds `p_c` (AITM: Xi et
    /// al. 2021, equations 9 and 10).
    Aitm {
        /// Weight of the penalty; 0.6 in the paper.
        constraint: f64,
    },
}

/// Propensity settings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "settings", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Propensity {
    /// Lower bound at which propensities are clipped.
    #[cfg_attr(feature = "settings", schemars(extend("exclusiveMinimum" = 0.0, "maximum" = 1.0)))]
    pub floor: f64,
    /// Weight of the product's loss.
    #[cfg_attr(feature = "settings", schemars(range(min = 0.0)))]
    pub ctcvr_weight: f64,
}

impl Default for Propensity {
    fn default() -> Propensity {
        Propensity {
            floor: 0.05,
            ctcvr_weight: 1.0,
        }
    }
}

impl EntireSpace {
    /// Returns true if training needs an auxiliary head in addition to those of the two tasks.
    pub fn has_auxiliary_head(&self) -> bool {
        matches!(self, EntireSpace::Escm2Dr(_) | EntireSpace::Dcmt { .. })
    }

    /// Returns true if the conversion's head predicts the joint probability of click and conversion.
    pub fn is_joint(&self) -> bool {
        matches!(self, EntireSpace::Aitm { .. })
    }
}

/// A loss over the entire space for two tasks of a schema.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct FunnelLoss {
    /// The click task.
    pub click: usize,
    /// The conversion task, which counts clicked rows.
    pub conversion: usize,
    /// Loss of the conversion task.
    pub kind: EntireSpace,
}

/// The loss of one row, and its gradients.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct FunnelRow {
    /// Click loss; `None` if the click is unknown.
    pub click: Option<f64>,
    /// Conversion loss; `None` if the conversion is unknown.
    pub conversion: Option<f64>,
    /// Gradient of the click loss with respect to the click logit.
    pub click_gradient: f64,
    /// Gradients of the conversion loss with respect to the logits of click, conversion and auxiliary head.
    pub gradients: [f64; 3],
}

/// Value and its gradients with respect to the logits of click, conversion and auxiliary head.
#[derive(Clone, Copy, Default)]
struct Term {
    value: f64,
    gradients: [f64; 3],
}

impl Term {
    fn add(&mut self, factor: f64, other: Term) {
        self.value += factor * other.value;
        let pairs = self.gradients.iter_mut().zip(other.gradients);
        pairs.for_each(|(own, other)| *own += factor * other);
    }
}

impl FunnelLoss {
    /// Returns the loss of one row with these labels (NaN: unknown) and logits of click, conversion and auxiliary head.
    /// `scale` multiplies the weight of the product, or the constraint, relative to the conversion loss.
    pub fn row(&self, click: f32, conversion: f32, logits: [f64; 3], scale: f64) -> FunnelRow {
        if click.is_nan() {
            return FunnelRow::default();
        }
        let [z_click, ..] = logits;
        let clicked = click > 0.5;
        let known = !clicked || !conversion.is_nan();
        let of_click = cross_entropy(z_click, clicked);
        let mut row = FunnelRow {
            click: Some(of_click.0),
            click_gradient: of_click.1,
            ..FunnelRow::default()
        };
        if known {
            let converted = clicked && conversion > 0.5;
            let term = self.conversion_term(clicked, converted, logits, scale);
            row.conversion = Some(term.value);
            row.gradients = term.gradients;
        }
        row
    }

    fn conversion_term(&self, clicked: bool, converted: bool, z: [f64; 3], scale: f64) -> Term {
        match self.kind {
            EntireSpace::Esmm => product(z, converted),
            EntireSpace::Escm2Ips(propensity) => {
                let mut term = inverse_propensity(z, clicked, converted, propensity.floor);
                term.add(scale * propensity.ctcvr_weight, product(z, converted));
                term
            }
            EntireSpace::Escm2Dr(propensity) => {
                let mut term = doubly_robust(z, clicked, converted, propensity.floor);
                term.add(scale * propensity.ctcvr_weight, product(z, converted));
                term
            }
            EntireSpace::Dcmt {
                propensity,
                regularizer,
            } => {
                let mut term = inverse_propensity(z, clicked, converted, propensity.floor);
                term.add(1.0, counterfactual(z, clicked, propensity.floor));
                term.add(regularizer, complement(z));
                term.add(scale * propensity.ctcvr_weight, product(z, converted));
                term
            }
            EntireSpace::Aitm { constraint } => {
                let (value, gradient) = cross_entropy(z[1], converted);
                let gradients = [0.0, gradient, 0.0];
                let mut term = Term { value, gradients };
                term.add(scale * constraint, excess(z));
                term
            }
        }
    }
}

/// Cross-entropy and its gradient with respect to the logit.
fn cross_entropy(z: f64, label: bool) -> (f64, f64) {
    let RowLoss { loss, gradient } = loss::cross_entropy(z, f64::from(u8::from(label)));
    (loss, gradient)
}

/// Cross-entropy of `p_c p_v` against the label "clicked and converted". `1 - p_c p_v` is a sum of positive numbers.
fn product([z_click, z_conversion, _]: [f64; 3], converted: bool) -> Term {
    if converted {
        let (of_click, of_conversion) = (
            cross_entropy(z_click, true),
            cross_entropy(z_conversion, true),
        );
        return Term {
            value: of_click.0 + of_conversion.0,
            gradients: [of_click.1, of_conversion.1, 0.0],
        };
    }
    let (p_click, q_click) = (sigmoid(z_click), sigmoid(-z_click));
    let (p, q) = (sigmoid(z_conversion), sigmoid(-z_conversion));
    let rest = (q_click + p_click * q).max(f64::MIN_POSITIVE);
    Term {
        value: -rest.ln(),
        gradients: [p_click * p * q_click / rest, p_click * p * q / rest, 0.0],
    }
}

/// `o L(r, p_v) / p_c`
fn inverse_propensity(z: [f64; 3], clicked: bool, converted: bool, floor: f64) -> Term {
    if !clicked {
        return Term::default();
    }
    let weight = 1.0 / sigmoid(z[0]).max(floor);
    let (value, gradient) = cross_entropy(z[1], converted);
    Term {
        value: weight * value,
        gradients: [0.0, weight * gradient, 0.0],
    }
}

/// `e + o (L - e) / p_c + o (L - e)^2 / p_c`
fn doubly_robust(z: [f64; 3], clicked: bool, converted: bool, floor: f64) -> Term {
    // The cross-entropy of a label 0 is the softplus of the logit.
    let (imputed, d_imputed) = cross_entropy(z[2], false);
    if !clicked {
        return Term {
            value: imputed,
            gradients: [0.0, 0.0, d_imputed],
        };
    }
    let weight = 1.0 / sigmoid(z[0]).max(floor);
    let (loss, d_loss) = cross_entropy(z[1], converted);
    let error = loss - imputed;
    let by_loss = weight * (1.0 + 2.0 * error);
    Term {
        value: imputed + weight * error * (1.0 + error),
        gradients: [0.0, by_loss * d_loss, (1.0 - by_loss) * d_imputed],
    }
}

/// `(1 - o) L(1, p_h) / (1 - p_c)`: had it been clicked, it would not have converted.
fn counterfactual(z: [f64; 3], clicked: bool, floor: f64) -> Term {
    if clicked {
        return Term::default();
    }
    let weight = 1.0 / sigmoid(-z[0]).max(floor);
    let (value, gradient) = cross_entropy(z[2], true);
    Term {
        value: weight * value,
        gradients: [0.0, 0.0, weight * gradient],
    }
}

/// `|1 - p_v - p_h|`
fn complement([_, z_conversion, z_auxiliary]: [f64; 3]) -> Term {
    // 1 - p_v - p_h = q_v - p_h, without rounding to 1 first.
    let rest = sigmoid(-z_conversion) - sigmoid(z_auxiliary);
    let gradient = |z: f64| -rest.signum() * sigmoid(z) * sigmoid(-z);
    Term {
        value: rest.abs(),
        gradients: [0.0, gradient(z_conversion), gradient(z_auxiliary)],
    }
}

/// `max(p_v - p_c, 0)`
fn excess([z_click, z_conversion, _]: [f64; 3]) -> Term {
    let excess = sigmoid(z_conversion) - sigmoid(z_click);
    if excess <= 0.0 {
        return Term::default();
    }
    let gradient = |z: f64| sigmoid(z) * sigmoid(-z);
    Term {
        value: excess,
        gradients: [-gradient(z_click), gradient(z_conversion), 0.0],
    }
}

/// Weights of the terms of a loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FunnelWeights {
    /// Weight of the click loss.
    pub click: f64,
    /// Weight of the conversion loss.
    pub conversion: f64,
    /// Weight of the product (or AITM's constraint) within the conversion loss, as a multiple of its configured
    /// weight. 1 divided by the task's weight leaves it unchanged.
    pub product: f64,
}

/// A loss over the entire space for a batch whose logits are computed in chunks by several threads.
#[derive(Clone, Copy, Debug)]
pub struct FunnelBatch<'a> {
    loss: FunnelLoss,
    clicks: &'a [f32],
    conversions: &'a [f32],
    /// Those of the click: they are of impressions, as the whole loss is.
    terms: &'a RowTerms,
    weights: FunnelWeights,
    /// Sum of the weights of the rows of the batch that count for the click, and for the conversion.
    masses: [f64; 2],
}

impl<'a> FunnelBatch<'a> {
    /// The loss for the labels of all rows of a batch, and what else counts of them: that of the click task.
    pub fn new(
        loss: FunnelLoss,
        clicks: &'a [f32],
        conversions: &'a [f32],
        terms: &'a RowTerms,
        weights: FunnelWeights,
    ) -> FunnelBatch<'a> {
        let mut masses = [0.0; 2];
        for (row, (&click, &conversion)) in clicks.iter().zip(conversions).enumerate() {
            let known = !click.is_nan();
            let counts = [known, known && (click <= 0.5 || !conversion.is_nan())];
            for (mass, _) in masses.iter_mut().zip(counts).filter(|(_, counts)| *counts) {
                *mass += terms.weight(row);
            }
        }
        FunnelBatch {
            loss,
            clicks,
            conversions,
            terms,
            weights,
            masses,
        }
    }

    /// Sum of the weights of the rows that count for the click's part, and for the conversion's.
    pub fn masses(&self) -> [f64; 2] {
        self.masses
    }

    /// Returns the gradients of the weighted means with respect to the logits of click, conversion and auxiliary head of one row of the
    /// batch, and the losses of the row.
    ///
    /// Where rows without a click were left out, clicks are more likely by the row's offset, and conversions after a
    /// click are as likely as before.
    pub fn row(&self, row: u32, mut logits: [f64; 3]) -> ([f64; 3], [f64; 2]) {
        logits[0] += self.terms.offset(row as usize);
        let (click, conversion) = (self.clicks[row as usize], self.conversions[row as usize]);
        let found = self
            .loss
            .row(click, conversion, logits, self.weights.product);
        let weight = self.terms.weight(row as usize);
        let [clicks, conversions] = self.masses.map(loss::divisor);
        let of_click = weight * (self.weights.click / clicks);
        let of_conversion = weight * (self.weights.conversion / conversions);
        let mut gradients = found.gradients.map(|gradient| of_conversion * gradient);
        gradients[0] += of_click * found.click_gradient;
        let losses = [found.click, found.conversion].map(Option::unwrap_or_default);
        (gradients, losses.map(|loss| weight * loss))
    }
}

/// Returns true if a task's loss can be part of a loss over the entire space.
pub fn fits(objective: Objective) -> bool {
    objective == Objective::CrossEntropy
}
