//! Scale and intercept of the truth, so that clicks and conversions are as frequent as planned.

use super::fields::{Population, ROWS_PER_SESSION, Row};
use super::teacher::{Scores, Teacher};
use super::{FIRST_OF_SAMPLE, FurtherLabels, SyntheticPlan};

/// Standard deviation of a task's logit over impressions. The area under the ROC curve of the true
/// probability is near `Phi(1.5 / sqrt 2)`, 0.86, for rare labels and less for frequent ones.
const LOGIT_DEVIATION: f64 = 1.5;

/// Rows that the scale and the intercept are fitted to, each of another session, none of any part.
const SAMPLE: u64 = 16_384;

/// The true probabilities of any row.
#[derive(Clone, Debug)]
pub(super) struct Truth {
    teacher: Teacher,
    click: Logit,
    conversion: Logit,
    further: Vec<Logit>,
}

/// The true probabilities of one row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Probabilities {
    pub(super) click: f64,
    /// Given a click, known on every row.
    pub(super) conversion: f64,
    /// Those of the further labels, given the label before each; 0 where the log has none.
    pub(super) further: [f64; 2],
}

impl Truth {
    pub(super) fn new(plan: &SyntheticPlan, population: &Population) -> Truth {
        let teacher = Teacher::new(plan);
        let row = |i| population.row(FIRST_OF_SAMPLE + i * ROWS_PER_SESSION);
        let rows: Vec<Row> = (0..SAMPLE).map(row).collect();
        let scores: Vec<Scores> = rows.iter().map(|row| teacher.scores(row)).collect();
        let points = |task: usize, score: fn(&Scores) -> f64| -> Vec<Point> {
            let rows = rows.iter().zip(&scores);
            rows.map(|(row, scores)| Point {
                score: score(scores),
                drift: row.drift[task],
            })
            .collect()
        };
        let clicks = points(0, |scores| scores.click);
        let click = Logit::fit(&clicks, &vec![1.0; clicks.len()], plan.click_rate);
        // The rate of conversions is one among clicks, so a row counts as often as it is clicked.
        let clicked: Vec<f64> = clicks
            .iter()
            .map(|&point| click.probability(point))
            .collect();
        let conversions = points(1, |scores| scores.conversion);
        let conversion = Logit::fit(&conversions, &clicked, plan.conversion_rate);
        let mut weights = clicked;
        let mut further = Vec::new();
        for (number, label) in plan.further.labels().iter().enumerate() {
            let points = rows.iter().zip(&scores).map(|(row, scores)| Point {
                score: scores.further[number],
                drift: row.drift[1],
            });
            let points: Vec<Point> = points.collect();
            let logit = Logit::fit(&points, &weights, label.rate);
            if plan.further == FurtherLabels::Chain {
                let pairs = weights.iter_mut().zip(&points);
                pairs.for_each(|(weight, &point)| *weight *= logit.probability(point));
            }
            further.push(logit);
        }
        Truth {
            teacher,
            click,
            conversion,
            further,
        }
    }

    pub(super) fn probabilities(&self, row: &Row) -> Probabilities {
        let scores = self.teacher.scores(row);
        let [click, conversion] =
            [(scores.click, 0), (scores.conversion, 1)].map(|(score, task)| Point {
                score,
                drift: row.drift[task],
            });
        let mut further = [0.0; 2];
        for ((p, logit), score) in further.iter_mut().zip(&self.further).zip(scores.further) {
            let drift = row.drift[1];
            *p = logit.probability(Point { score, drift });
        }
        Probabilities {
            click: self.click.probability(click),
            conversion: self.conversion.probability(conversion),
            further,
        }
    }
}

/// A row's score, and what its day adds to the intercept.
#[derive(Clone, Copy, Debug)]
struct Point {
    score: f64,
    drift: f64,
}

/// The linear function `intercept + drift + slope * score`.
#[derive(Clone, Copy, Debug)]
struct Logit {
    intercept: f64,
    slope: f64,
}

impl Logit {
    /// Returns a logit of the deviation wanted (without the drift), whose probabilities have the weighted
    /// mean `rate`.
    fn fit(points: &[Point], weights: &[f64], rate: f64) -> Logit {
        let n = points.len() as f64;
        let mean = points.iter().map(|point| point.score).sum::<f64>() / n;
        let variance = points
            .iter()
            .map(|point| (point.score - mean).powi(2))
            .sum::<f64>()
            / n;
        // One user and one item may leave the scores nearly constant.
        let slope = LOGIT_DEVIATION / variance.sqrt().max(1e-6);
        let with = |intercept| Logit { intercept, slope };
        let middle = -slope * mean;
        let (mut low, mut high) = (middle - 40.0, middle + 40.0);
        for _ in 0..50 {
            let half = (low + high) / 2.0;
            if with(half).rate(points, weights) < rate {
                low = half
            } else {
                high = half
            }
        }
        with(low)
    }

    fn probability(&self, point: Point) -> f64 {
        let logit = self.intercept + self.slope * point.score + point.drift;
        1.0 / (1.0 + (-logit).exp())
    }

    fn rate(&self, points: &[Point], weights: &[f64]) -> f64 {
        let expected = points.iter().zip(weights);
        let expected: f64 = expected
            .map(|(&point, weight)| weight * self.probability(point))
            .sum();
        expected / weights.iter().sum::<f64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_intercept_gives_the_rate_whatever_the_scores_and_the_drift() {
        let check = |scores: &[f64], drift: f64, weights: &[f64], rate: f64| {
            let points = scores.iter().enumerate().map(|(i, &score)| Point {
                score,
                drift: drift * i as f64,
            });
            let points: Vec<Point> = points.collect();
            let logit = Logit::fit(&points, weights, rate);
            assert!(
                (logit.rate(&points, weights) - rate).abs() < 1e-9,
                "{logit:?}"
            );
        };
        check(&[0.0, 1.0, 5.0], 0.0, &[1.0; 3], 0.1);
        check(&[-300.0, 1_000.0], 0.0, &[0.2, 0.9], 0.003);
        check(&[2.0, 2.0], 0.0, &[1.0; 2], 0.97);
        check(&[0.0, 1.0, 5.0], 0.7, &[1.0; 3], 0.1);
    }
}
