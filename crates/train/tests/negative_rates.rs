//! Rows of label 0 that were left out: the loss is that of the kept rows, the logit that of all.

use ncs_features::{Objective, RowTerms};
use ncs_train::entire_space::{EntireSpace, FunnelBatch, FunnelLoss, FunnelWeights, Propensity};
use ncs_train::loss::{loss, sigmoid, weighted_loss};

const LABELS: [f32; 5] = [1.0, 0.0, f32::NAN, 1.0, 0.0];
const LOGITS: [f64; 5] = [0.3, -1.2, 0.7, 2.0, -3.1];
const RATES: [f32; 5] = [0.25, 0.5, 0.1, 1.0, 0.01];

fn terms(rates: &[f32]) -> RowTerms {
    RowTerms {
        negative_rates: rates.into(),
        ..RowTerms::default()
    }
}

/// He et al. 2014, section 6.3: `p = q / (q + (1 - q) / w)`, for `q` of the kept rows.
#[test]
fn the_logit_is_that_of_all_rows() {
    for rate in RATES {
        for logit in LOGITS {
            let shifted = logit + terms(&[rate]).offset(0);
            let (q, w) = (sigmoid(shifted), f64::from(rate));
            let expected = q / (q + (1.0 - q) / w);
            assert!((sigmoid(logit) - expected).abs() < 1e-14);
        }
    }
}

#[test]
fn the_loss_is_that_of_the_kept_rows() {
    let found = weighted_loss(Objective::CrossEntropy, &LOGITS, &LABELS, &terms(&RATES));
    let shifted: Vec<f64> = LOGITS
        .iter()
        .zip(RATES)
        .map(|(logit, rate)| logit - f64::from(rate).ln())
        .collect();
    assert_eq!(found, loss(Objective::CrossEntropy, &shifted, &LABELS));
    let all = weighted_loss(Objective::CrossEntropy, &LOGITS, &LABELS, &terms(&[1.0; 5]));
    assert_eq!(all, loss(Objective::CrossEntropy, &LOGITS, &LABELS));
}

#[test]
fn gradients_are_those_of_finite_differences() {
    let terms = RowTerms {
        weights: vec![0.5, 2.0, 1.0, 1.0, 3.0],
        ..terms(&RATES)
    };
    let of = |logits: &[f64]| weighted_loss(Objective::CrossEntropy, logits, &LABELS, &terms);
    for (row, gradient) in of(&LOGITS).gradients.iter().enumerate() {
        let moved = |by: f64| {
            let mut logits = LOGITS;
            logits[row] += by;
            of(&logits).loss
        };
        let expected = (moved(1e-5) - moved(-1e-5)) / 2e-5;
        assert!((gradient - expected).abs() < 1e-9);
    }
}

/// The minimum over one logit for all rows, of rows of which every second of label 0 was left out, is the rate among
/// all: 30 of 100.
#[test]
fn the_best_constant_is_the_rate_among_all_rows() {
    let labels: Vec<f32> = (0..65).map(|row| f32::from(u8::from(row < 30))).collect();
    let terms = terms(&[0.5; 65]);
    let (mut least, mut most) = (-10.0, 10.0);
    for _ in 0..100 {
        let middle = (least + most) / 2.0;
        let found = weighted_loss(Objective::CrossEntropy, &[middle; 65], &labels, &terms);
        if found.gradients.iter().sum::<f64>() > 0.0 {
            most = middle
        } else {
            least = middle
        }
    }
    assert!((sigmoid(least) - 0.3).abs() < 1e-12, "{}", sigmoid(least));
}

/// The expected loss over the kept impressions, as a function of the click's and the conversion's probability, has its
/// minimum at those of all impressions: gradients there are 0.
#[test]
fn losses_over_the_entire_space_are_least_at_the_probabilities_of_all_impressions() {
    let (click, conversion, kept) = (0.2_f64, 0.3_f64, 0.25_f64);
    // Clicked and converted, clicked only, not clicked: how many are kept of all impressions.
    let rows = [
        (1.0, 1.0, click * conversion),
        (1.0, 0.0, click * (1.0 - conversion)),
        (0.0, f32::NAN, kept * (1.0 - click)),
    ];
    let logit = |p: f64| (p / (1.0 - p)).ln();
    let logits = [logit(click), logit(conversion), 0.0];
    let propensity = Propensity {
        floor: 1e-6,
        ctcvr_weight: 1.0,
    };
    for kind in [EntireSpace::Esmm, EntireSpace::Escm2Ips(propensity)] {
        let [clicks, conversions]: [Vec<f32>; 2] = [
            rows.iter().map(|row| row.0).collect(),
            rows.iter().map(|row| row.1).collect(),
        ];
        let terms = RowTerms {
            weights: rows.iter().map(|row| row.2 as f32).collect(),
            ..terms(&[kept as f32; 3])
        };
        let weights = FunnelWeights {
            click: 1.0,
            conversion: 1.0,
            product: 1.0,
        };
        let loss = FunnelLoss {
            click: 0,
            conversion: 1,
            kind,
        };
        let batch = FunnelBatch::new(loss, &clicks, &conversions, &terms, weights);
        let mut sums = [0.0; 3];
        for row in 0..3 {
            let (gradients, _) = batch.row(row, logits);
            sums.iter_mut()
                .zip(gradients)
                .for_each(|(sum, gradient)| *sum += gradient);
        }
        assert!(
            sums[0].abs() < 1e-7 && sums[1].abs() < 1e-7,
            "{kind:?}: {sums:?}"
        );
    }
}
