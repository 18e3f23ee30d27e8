//! Losses of labels that are not final: a row that has not converted yet.

use crate::loss::{RowLoss, cross_entropy, sigmoid};
use ncs_features::LateMethod;

/// Returns the loss of one row whose label was known at a moment, at which a conversion is known with the chance
/// `known_share` if there is one; `None` if the label's own loss is meant.
pub(crate) fn row_loss(
    method: LateMethod,
    logit: f64,
    label: f32,
    known_share: f32,
) -> Option<RowLoss> {
    match method {
        _ if label.is_nan() => None,
        LateMethod::Wait | LateMethod::Oracle | LateMethod::AsNegatives => None,
        LateMethod::Fnw => Some(fake_negatives(logit, label > 0.5)),
        LateMethod::DelayDistribution => Some(if label > 0.5 {
            cross_entropy(logit, 1.0)
        } else {
            not_yet(logit, f64::from(known_share))
        }),
    }
}

/// The row as a negative at its click, and once more as a positive if it has converted since, each by its importance:
/// `-(1 - p) (1 + p) ln(1 - p)`, and `-(1 + p) ln p`. Weights are constants: no gradient flows through them.
fn fake_negatives(z: f64, converted: bool) -> RowLoss {
    let (p, q) = (sigmoid(z), sigmoid(-z));
    let negative = cross_entropy(z, 0.0).times(q * (1.0 + p));
    if converted {
        let positive = cross_entropy(z, 1.0).times(1.0 + p);
        RowLoss {
            loss: negative.loss + positive.loss,
            gradient: negative.gradient + positive.gradient,
        }
    } else {
        negative
    }
}

/// `-ln(1 - p F)`, where `F` is the chance that a conversion would be known.
fn not_yet(z: f64, share_known: f64) -> RowLoss {
    let (p, q) = (sigmoid(z), sigmoid(-z));
    // 1 - p F as a sum of positive numbers; at F = 1 the softplus, which does not overflow.
    if share_known == 1.0 {
        return cross_entropy(z, 0.0);
    }
    let rest = q + p * (1.0 - share_known);
    RowLoss {
        loss: -rest.ln(),
        gradient: share_known * p * q / rest,
    }
}
