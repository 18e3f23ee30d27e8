//! Losses of products of probabilities over all rows, for chains and trees of tasks.
//!
//! ESMM (Ma et al. 2018, equation 4) trains a conversion by the product of click and conversion against "clicked and
//! converted", over all impressions. The same holds for any chain, such as impression > click > cart > purchase (Wen et al.
//! 2020 factorise such paths): the loss of a task is the cross-entropy of the product of all probabilities of its chain
//! against "all labels are 1". A task about all rows is a chain of its own, with its usual loss.
//!
//! ```
//! use ncs_train::product_loss::ProductLoss;
//! // Three tasks of probability 1/2, a row with a click and no cart: -ln(1 - 1/8) for the last.
//! let row = ProductLoss::row(&[1.0, 0.0, f32::NAN], &[0.0, 0.0, 0.0]).unwrap();
//! assert!((row.loss + (1.0_f64 - 0.125).ln()).abs() < 1e-15);
//! assert!((row.gradients[0] - 0.5 / 7.0).abs() < 1e-15);
//! // Without a click there is nothing to know about later stages.
//! assert!(ProductLoss::row(&[f32::NAN, f32::NAN], &[0.0, 0.0]).is_none());
//! ```

use crate::loss::{self, sigmoid};
use ncs_features::{Batch, RowTerms};
use serde::Serialize;

/// Tasks that are trained by products over all rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProductLoss {
    /// For each task that is part of it, the tasks of its chain: from one about all rows to the task itself.
    pub chains: Vec<Vec<usize>>,
}

/// The loss of one row for one chain.
#[derive(Clone, Debug, PartialEq)]
pub struct ProductRow {
    /// The cross-entropy of the product.
    pub loss: f64,
    /// Its gradient with respect to the logit of each task of the chain.
    pub gradients: Vec<f64>,
}

impl ProductLoss {
    /// Returns the loss of one row of these labels and logits, in the order of a chain; `None` if it is not known whether
    /// all labels are 1.
    pub fn row(labels: &[f32], logits: &[f64]) -> Option<ProductRow> {
        let label = joint_label(labels.iter().copied())?;
        let mut gradients = logits.to_vec();
        Some(ProductRow {
            loss: chain_loss(label, &mut gradients),
            gradients,
        })
    }
}

/// Returns the loss of a chain whose labels are all 1, or not, and replaces the logits by its gradients.
fn chain_loss(label: bool, logits: &mut [f64]) -> f64 {
    // ln sigmoid(z), without overflow.
    let ln = |&z: &f64| z.min(0.0) - (-z.abs()).exp().ln_1p();
    let ln_product: f64 = logits.iter().map(ln).sum();
    let rest = (-ln_product.exp_m1()).max(f64::MIN_POSITIVE);
    let (loss, factor) = match label {
        true => (-ln_product, -1.0),
        false => (-rest.ln(), ln_product.exp() / rest),
    };
    // The gradient of ln p is 1 - p.
    logits.iter_mut().for_each(|z| *z = factor * sigmoid(-*z));
    loss
}

/// Returns true if all labels of a chain are 1, false if one is 0; `None` if a label is unknown before that.
fn joint_label(labels: impl Iterator<Item = f32>) -> Option<bool> {
    for label in labels {
        if label.is_nan() {
            return None;
        }
        if label <= 0.5 {
            return Some(false);
        }
    }
    Some(true)
}

/// The loss over a batch whose logits are computed in chunks by several threads.
pub(crate) struct ProductBatch<'a> {
    chains: Vec<ChainBatch<'a>>,
}

/// The loss of one chain over a batch.
struct ChainBatch<'a> {
    /// The heads of the chain's tasks.
    heads: Vec<usize>,
    labels: Vec<&'a [f32]>,
    /// Those of the first task: they are of impressions, as the whole loss is.
    terms: &'a RowTerms,
    /// Factor of the mean in the gradients.
    weight: f64,
    /// Sum of the weights of the rows that count.
    mass: f64,
}

impl<'a> ProductBatch<'a> {
    /// Creates the loss of a batch; `heads` are the tasks of the step in the order of their heads. Chains of which a task
    /// is missing are left out.
    pub(crate) fn new(
        loss: &ProductLoss,
        batch: &'a Batch,
        heads: &[usize],
        weight: impl Fn(usize) -> f64,
    ) -> ProductBatch<'a> {
        let place = |task: &usize| heads.iter().position(|head| head == task);
        let chain = |chain: &Vec<usize>| {
            let labels = chain.iter().map(|&task| &batch.labels[task][..]);
            let (labels, terms) = (labels.collect::<Vec<_>>(), batch.terms(chain[0]));
            let of_row = |row: usize| joint_label(labels.iter().map(move |labels| labels[row]));
            let counted = (0..batch.n_rows).filter(|&row| of_row(row).is_some());
            let last = chain[chain.len() - 1];
            Some(ChainBatch {
                heads: chain.iter().map(place).collect::<Option<_>>()?,
                mass: counted.map(|row| terms.weight(row)).sum(),
                weight: weight(last),
                labels,
                terms,
            })
        };
        ProductBatch {
            chains: loss.chains.iter().filter_map(chain).collect(),
        }
    }

    /// Returns the sum of the weights of the rows that count for the task of a head, if a chain ends there.
    pub(crate) fn mass(&self, head: usize) -> Option<f64> {
        let chain = self.chains.iter().find(|chain| chain.last() == head);
        chain.map(|chain| chain.mass)
    }

    /// Computes one row: adds the gradients of the weighted means to `gradients` and the losses to `losses`, both by head.
    /// `of_chain` is a buffer.
    pub(crate) fn row(
        &self,
        row: usize,
        logit: &dyn Fn(usize) -> f64,
        of_chain: &mut Vec<f64>,
        gradients: &mut [f64],
        losses: &mut [f64],
    ) {
        for chain in &self.chains {
            let labels = chain.labels.iter().map(|labels| labels[row]);
            let Some(label) = joint_label(labels) else {
                continue;
            };
            of_chain.clear();
            of_chain.extend(chain.heads.iter().map(|&head| logit(head)));
            of_chain[0] += chain.terms.offset(row);
            let loss = chain_loss(label, of_chain);
            let weight = chain.terms.weight(row);
            let scale = weight * chain.weight / loss::divisor(chain.mass);
            for (&head, &gradient) in chain.heads.iter().zip(&*of_chain) {
                gradients[head] += scale * gradient;
            }
            losses[chain.last()] += weight * loss;
        }
    }
}

impl ChainBatch<'_> {
    /// Returns the head of the task that the chain is for.
    fn last(&self) -> usize {
        self.heads[self.heads.len() - 1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entire_space::{EntireSpace, FunnelLoss};

    const LOGITS: [f64; 3] = [0.7, -1.3, 2.1];

    #[test]
    fn gradients_are_those_of_finite_differences() {
        for labels in [
            [1.0, 1.0, 1.0],
            [1.0, 1.0, 0.0],
            [1.0, 0.0, f32::NAN],
            [0.0; 3],
        ] {
            for n in 1..=3 {
                let (labels, logits) = (&labels[..n], &LOGITS[..n]);
                let Some(found) = ProductLoss::row(labels, logits) else {
                    panic!("{labels:?} is known");
                };
                for i in 0..n {
                    let moved = |by: f64| {
                        let mut logits = logits.to_vec();
                        logits[i] += by;
                        ProductLoss::row(labels, &logits).unwrap().loss
                    };
                    let expected = (moved(1e-5) - moved(-1e-5)) / 2e-5;
                    assert!(
                        (found.gradients[i] - expected).abs() < 1e-9,
                        "{labels:?} {i}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_chain_of_two_is_esmm_and_of_one_the_cross_entropy() {
        let esmm = FunnelLoss {
            click: 0,
            conversion: 1,
            kind: EntireSpace::Esmm,
        };
        for [click, conversion] in [[1.0, 1.0], [1.0, 0.0], [0.0, f32::NAN], [1.0, f32::NAN]] {
            let expected = esmm.row(click, conversion, LOGITS, 1.0);
            let found = ProductLoss::row(&[click, conversion], &LOGITS[..2]);
            assert_eq!(found.is_some(), expected.conversion.is_some());
            if let Some(found) = found {
                assert!((found.loss - expected.conversion.unwrap()).abs() < 1e-12);
                let pairs = found.gradients.iter().zip(expected.gradients);
                pairs.for_each(|(a, b)| assert!((a - b).abs() < 1e-12));
            }
            let alone = ProductLoss::row(&[click], &LOGITS[..1]).unwrap();
            let expected = loss::cross_entropy(LOGITS[0], click.into());
            assert!((alone.loss - expected.loss).abs() < 1e-12);
            assert!((alone.gradients[0] - expected.gradient).abs() < 1e-12);
        }
    }

    #[test]
    fn extreme_logits_have_finite_losses() {
        for z in [-700.0, -100.0, 100.0, 700.0, 1e6] {
            for labels in [[1.0, 1.0], [1.0, 0.0]] {
                let found = ProductLoss::row(&labels, &[z, z]).unwrap();
                assert!(found.loss.is_finite(), "{z}: {found:?}");
                assert!(found.gradients.iter().all(|gradient| gradient.is_finite()));
            }
        }
    }
}
