//! Weights of rows in losses: a weight of 2 is the row twice, and a weight of 1 is none.

use ncs_features::{Objective, RowTerms};
use ncs_train::entire_space::{EntireSpace, FunnelBatch, FunnelLoss, FunnelWeights, Propensity};
use ncs_train::loss::{BatchLoss, loss, weighted_loss};

const OBJECTIVES: [Objective; 3] = [
    Objective::CrossEntropy,
    Objective::Focal {
        alpha: 0.75,
        gamma: 2.0,
    },
    Objective::Ratio,
];

const LABELS: [f32; 6] = [1.0, 0.0, f32::NAN, 1.0, 0.0, 1.0];
const LOGITS: [f64; 6] = [0.3, -1.2, 0.7, 2.0, 0.1, -0.4];
const TIMES: [usize; 6] = [1, 3, 2, 2, 1, 4];

fn weights(weights: impl IntoIterator<Item = f32>) -> RowTerms {
    RowTerms {
        weights: weights.into_iter().collect(),
        ..RowTerms::default()
    }
}

/// Every row as often as its weight says.
fn repeated<T: Copy>(rows: &[T]) -> Vec<T> {
    let pairs = rows.iter().zip(TIMES);
    pairs
        .flat_map(|(&row, times)| std::iter::repeat_n(row, times))
        .collect()
}

#[test]
fn a_weight_is_the_row_as_often() {
    let terms = weights(TIMES.map(|times| times as f32));
    for objective in OBJECTIVES {
        let found = weighted_loss(objective, &LOGITS, &LABELS, &terms);
        let expected = loss(objective, &repeated(&LOGITS), &repeated(&LABELS));
        assert!((found.loss - expected.loss).abs() < 1e-14, "{objective:?}");
        let mut copies = expected.gradients.iter();
        for (gradient, times) in found.gradients.iter().zip(TIMES) {
            let sum: f64 = copies.by_ref().take(times).sum();
            assert!((gradient - sum).abs() < 1e-15, "{objective:?}");
        }
    }
}

#[test]
fn gradients_of_weighted_losses_are_those_of_finite_differences() {
    let terms = weights([0.25, 3.0, 1.0, 0.01, 7.5, 1.0]);
    for objective in OBJECTIVES {
        let found = weighted_loss(objective, &LOGITS, &LABELS, &terms);
        for (row, gradient) in found.gradients.iter().enumerate() {
            let moved = |by: f64| {
                let mut logits = LOGITS;
                logits[row] += by;
                weighted_loss(objective, &logits, &LABELS, &terms).loss
            };
            let expected = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            assert!((gradient - expected).abs() < 1e-9, "{objective:?}");
        }
    }
}

#[test]
fn weights_of_1_change_no_bit() {
    let (none, ones) = (RowTerms::default(), weights([1.0; 6]));
    for objective in OBJECTIVES {
        let of = |terms| {
            let batch = BatchLoss::new(objective, &LABELS, terms, 1.7);
            let logits = LOGITS.map(|logit| logit as f32);
            let mut gradients = [0.0; 6];
            let sum = batch.gradients(&[0, 1, 2, 3, 4, 5], &logits, &mut gradients);
            (sum.to_bits(), gradients.map(f32::to_bits), batch.mass())
        };
        assert_eq!(of(&none), of(&ones));
        let whole = |terms| weighted_loss(objective, &LOGITS, &LABELS, terms);
        assert_eq!(whole(&none), whole(&ones));
        assert_eq!(whole(&none), loss(objective, &LOGITS, &LABELS));
    }
}

#[test]
fn a_batch_of_light_rows_is_divided_by_its_weight() {
    let light = weights([0.125; 6]);
    let found = weighted_loss(Objective::CrossEntropy, &LOGITS, &LABELS, &light);
    let expected = loss(Objective::CrossEntropy, &LOGITS, &LABELS);
    assert_eq!(found, expected);
}

fn funnels() -> Vec<EntireSpace> {
    let propensity = Propensity::default();
    vec![
        EntireSpace::Esmm,
        EntireSpace::Escm2Ips(propensity),
        EntireSpace::Escm2Dr(propensity),
        EntireSpace::Dcmt {
            propensity,
            regularizer: 0.1,
        },
        EntireSpace::Aitm { constraint: 0.6 },
    ]
}

const FUNNEL_WEIGHTS: FunnelWeights = FunnelWeights {
    click: 1.0,
    conversion: 2.0,
    product: 0.5,
};

/// Gradients, `[row][head]`, and the sums of both losses over their weights.
fn funnel(
    kind: EntireSpace,
    clicks: &[f32],
    conversions: &[f32],
    logits: &[[f64; 3]],
    terms: &RowTerms,
) -> (Vec<[f64; 3]>, [f64; 2]) {
    let loss = FunnelLoss {
        click: 0,
        conversion: 1,
        kind,
    };
    let batch = FunnelBatch::new(loss, clicks, conversions, terms, FUNNEL_WEIGHTS);
    let mut means = [0.0; 2];
    let gradient = |(row, &logits): (usize, &[f64; 3])| {
        let (gradients, losses) = batch.row(row as u32, logits);
        for ((mean, loss), mass) in means.iter_mut().zip(losses).zip(batch.masses()) {
            *mean += loss / mass;
        }
        gradients
    };
    (logits.iter().enumerate().map(gradient).collect(), means)
}

#[test]
fn a_weight_is_the_impression_as_often_in_losses_over_the_entire_space() {
    let clicks = [1.0, 0.0, f32::NAN, 1.0, 0.0, 1.0];
    let conversions = [1.0, f32::NAN, f32::NAN, f32::NAN, 0.0, 0.0];
    let logits: Vec<[f64; 3]> = (0..6)
        .map(|row| [LOGITS[row], -LOGITS[5 - row], 0.5 * LOGITS[row]])
        .collect();
    let terms = weights(TIMES.map(|times| times as f32));
    for kind in funnels() {
        let (found, means) = funnel(kind, &clicks, &conversions, &logits, &terms);
        let (expected, expected_means) = funnel(
            kind,
            &repeated(&clicks),
            &repeated(&conversions),
            &repeated(&logits),
            &RowTerms::default(),
        );
        for (mean, expected) in means.iter().zip(expected_means) {
            assert!((mean - expected).abs() < 1e-13, "{kind:?}");
        }
        let mut copies = expected.iter();
        for (gradients, times) in found.iter().zip(TIMES) {
            let copies: Vec<_> = copies.by_ref().take(times).collect();
            for (head, gradient) in gradients.iter().enumerate() {
                let sum: f64 = copies.iter().map(|copy| copy[head]).sum();
                assert!((gradient - sum).abs() < 1e-14, "{kind:?}");
            }
        }
    }
}
