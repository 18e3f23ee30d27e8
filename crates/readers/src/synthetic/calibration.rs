//! Scale and intercept of the truth, so that clicks and conversions are as frequent as planned.

use super::SyntheticPlan;
use super::fields::{Population, ROWS_PER_SESSION, Row};
use super::teacher::{Scores, Teacher};

/// Standard deviation of a task's logit over impressions. The area under the ROC curve of the true
/// probability is near `Phi(1.5 / sqrt 2)`, 0.86, for rare labels and less for frequent ones.
const LOGIT_DEVIATION: f64 = 1.5;

/// Rows that the scale and the intercept are fitted to, each of another session, none of any part.
const SAMPLE: u64 = 16_384;
const FIRST_OF_SAMPLE: u64 = 1 << 60;

/// The true probabilities of any row.
#[derive(Clone, Debug)]
pub(super) struct Truth {
    teacher: Teacher,
    click: Logit,
    conversion: Logit,
}

/// The true probabilities of one row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Probabilities {
    pub(super) click: f64,
    /// Given a click, known on every row.
    pub(super) conversion: f64,
}

impl Truth {
    pub(super) fn new(plan: &SyntheticPlan, population: &Population) -> Truth {
        let teacher = Teacher::new(plan);
        let row = |i| population.row(FIRST_OF_SAMPLE + i * ROWS_PER_SESSION);
        let sample: Vec<Scores> = (0..SAMPLE).map(|i| teacher.scores(&row(i))).collect();
        let everyone = vec![1.0; sample.len()];
        let clicks: Vec<f64> = sample.iter().map(|scores| scores.click).collect();
        let conversions: Vec<f64> = sample.iter().map(|scores| scores.conversion).collect();
        let click = Logit::fit(&clicks, &everyone, plan.click_rate);
        // The rate of conversions is one among clicks, so a row counts as often as it is clicked.
        let clicked: Vec<f64> = clicks
            .iter()
            .map(|&score| click.probability(score))
            .collect();
        let conversion = Logit::fit(&conversions, &clicked, plan.conversion_rate);
        Truth {
            teacher,
            click,
            conversion,
        }
    }

    pub(super) fn probabilities(&self, row: &Row) -> Probabilities {
        let scores = self.teacher.scores(row);
        Probabilities {
            click: self.click.probability(scores.click),
            conversion: self.conversion.probability(scores.conversion),
        }
    }
}

/// `intercept + slope * score`.
#[derive(Clone, Copy, Debug)]
struct Logit {
    intercept: f64,
    slope: f64,
}

impl Logit {
    /// A logit of the deviation wanted, whose probabilities have the weighted mean `rate`.
    fn fit(scores: &[f64], weights: &[f64], rate: f64) -> Logit {
        let n = scores.len() as f64;
        let mean = scores.iter().sum::<f64>() / n;
        let variance = scores
            .iter()
            .map(|score| (score - mean).powi(2))
            .sum::<f64>()
            / n;
        // One user and one item may leave the scores nearly constant.
        let slope = LOGIT_DEVIATION / variance.sqrt().max(1e-6);
        let with = |intercept| Logit { intercept, slope };
        let middle = -slope * mean;
        let (mut low, mut high) = (middle - 40.0, middle + 40.0);
        for _ in 0..50 {
            let half = (low + high) / 2.0;
            match with(half).rate(scores, weights) < rate {
                true => low = half,
                false => high = half,
            }
        }
        with(low)
    }

    fn probability(&self, score: f64) -> f64 {
        1.0 / (1.0 + (-(self.intercept + self.slope * score)).exp())
    }

    fn rate(&self, scores: &[f64], weights: &[f64]) -> f64 {
        let expected = scores.iter().zip(weights);
        let expected: f64 = expected
            .map(|(&score, weight)| weight * self.probability(score))
            .sum();
        expected / weights.iter().sum::<f64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_intercept_gives_the_rate_whatever_the_scores() {
        let check = |scores: &[f64], weights: &[f64], rate: f64| {
            let logit = Logit::fit(scores, weights, rate);
            assert!(
                (logit.rate(scores, weights) - rate).abs() < 1e-9,
                "{logit:?}"
            );
        };
        check(&[0.0, 1.0, 5.0], &[1.0; 3], 0.1);
        check(&[-300.0, 1_000.0], &[0.2, 0.9], 0.003);
        check(&[2.0, 2.0], &[1.0; 2], 0.97);
    }
}
