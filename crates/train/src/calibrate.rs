//! Fits calibrators to rows that the network was not trained on.

use ncs_eval::TaskPredictions;
use ncs_model::{Calibrator, logit, sigmoid};

/// Labels of the rarer class from which [`Calibration::Auto`] fits a curve.
const FEWEST_LABELS: f64 = 1000.0;

/// Calibration method for scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Calibration {
    /// [`Calibration::Platt`] if each class has 1000 labels or more, which suffice for a reliable fit of two
    /// numbers; otherwise none.
    Auto,
    /// Platt scaling (1999): a logistic curve over the logit with two parameters; for few positives.
    Platt,
    /// Isotonic regression, by pooling adjacent violators (Zadrozny and Elkan 2002); for many positives.
    Isotonic,
}

/// Fits the calibrator of a task to the rows with a known label and a score. `None` if they do not allow one: no rows,
/// one class only, or a fit that does not increase.
pub fn fit(how: Calibration, task: &TaskPredictions) -> Option<Calibrator> {
    let weights = task.row_weights();
    let known = task.labels.iter().zip(&task.scores).enumerate();
    let known = known.filter(|(_, (label, score))| !label.is_nan() && !score.is_nan());
    let rows: Vec<CalibrationRow> = known
        .map(|(row, (&label, &score))| CalibrationRow {
            score,
            label: f64::from(label),
            weight: weights.get(row),
        })
        .collect();
    let positives: f64 = rows.iter().map(|row| row.label).sum();
    let fewest = match how {
        Calibration::Auto => FEWEST_LABELS,
        _ => 1.0,
    };
    let rarer = positives.min(rows.len() as f64 - positives);
    if rarer < fewest || !task.is_binary() {
        return None;
    }
    let calibrator = match how {
        Calibration::Auto | Calibration::Platt => platt(&rows)?,
        Calibration::Isotonic => isotonic(rows)?,
    };
    calibrator.check().ok().map(|()| calibrator)
}

/// A row whose label and score are known.
#[derive(Clone, Copy)]
struct CalibrationRow {
    score: f32,
    label: f64,
    weight: f64,
}

/// Fits by Newton's method on the cross-entropy, which is convex in both numbers. Labels are smoothed by Platt's
/// rule, `(n + 1) / (n + 2)` and `1 / (n + 2)`, so that separable rows have a finite fit.
fn platt(rows: &[CalibrationRow]) -> Option<Calibrator> {
    const MAX_STEPS: usize = 100;
    let all: f64 = rows.iter().map(|row| row.weight).sum();
    let positives: f64 = rows.iter().map(|row| row.weight * row.label).sum();
    let negatives = all - positives;
    let (high, low) = (
        (positives + 1.0) / (positives + 2.0),
        1.0 / (negatives + 2.0),
    );
    let row = |row: &CalibrationRow| {
        let target = if row.label > 0.5 { high } else { low };
        (logit(row.score.into()), target, row.weight)
    };
    let rows: Vec<(f64, f64, f64)> = rows.iter().map(row).collect();
    let loss = |slope: f64, offset: f64| -> f64 {
        let one = |&(x, t, weight): &(f64, f64, f64)| {
            let z = slope * x + offset;
            // log(1 + e^z) - t z, without overflow.
            weight * (z.max(0.0) + (-z.abs()).exp().ln_1p() - t * z)
        };
        rows.iter().map(one).sum()
    };
    let (mut slope, mut offset) = (1.0, 0.0);
    let mut now = loss(slope, offset);
    for _ in 0..MAX_STEPS {
        let (mut gradient, mut hessian) = ([0.0; 2], [1e-9, 0.0, 1e-9]);
        for &(x, t, weight) in &rows {
            let p = sigmoid(slope * x + offset);
            let (d, w) = (weight * (p - t), weight * (p * (1.0 - p)));
            gradient = [gradient[0] + d * x, gradient[1] + d];
            hessian = [hessian[0] + w * x * x, hessian[1] + w * x, hessian[2] + w];
        }
        let determinant = hessian[0] * hessian[2] - hessian[1] * hessian[1];
        let step = [
            (hessian[2] * gradient[0] - hessian[1] * gradient[1]) / determinant,
            (hessian[0] * gradient[1] - hessian[1] * gradient[0]) / determinant,
        ];
        // Backtracking line search: a small enough step decreases a convex loss.
        let halves = (0..40).map(|k| 0.5f64.powi(k));
        let next = halves
            .map(|far| (slope - far * step[0], offset - far * step[1]))
            .map(|(slope, offset)| (slope, offset, loss(slope, offset)))
            .find(|(_, _, loss)| *loss < now);
        let Some((better_slope, better_offset, better)) = next else {
            break;
        };
        let gained = now - better;
        (slope, offset, now) = (better_slope, better_offset, better);
        if gained <= 1e-12 * now.abs() {
            break;
        }
    }
    // A negative coefficient would reverse the ranking, and zero would flatten it.
    (slope > 0.0).then_some(Calibrator::Platt { slope, offset })
}

/// A block of neighbours with one rate.
#[derive(Clone, Copy)]
struct Pool {
    /// Their weight.
    rows: f64,
    scores: f64,
    labels: f64,
}

impl Pool {
    fn rate(&self) -> f64 {
        self.labels / self.rows
    }
}

/// Pools adjacent violators until the rates increase; each pool becomes a point at its mean score. `None` where one pool is
/// left: the rate does not rise with the score, and one rate for all rows would rank none of them.
fn isotonic(mut rows: Vec<CalibrationRow>) -> Option<Calibrator> {
    rows.sort_by(|a, b| a.score.total_cmp(&b.score));
    let mut pools: Vec<Pool> = Vec::new();
    for tied in rows.chunk_by(|a, b| a.score == b.score) {
        let sum =
            |of: fn(&CalibrationRow) -> f64| tied.iter().map(|row| row.weight * of(row)).sum();
        let mut pool = Pool {
            rows: sum(|_| 1.0),
            scores: sum(|row| f64::from(row.score)),
            labels: sum(|row| row.label),
        };
        while let Some(last) = pools.pop_if(|last| last.rate() >= pool.rate()) {
            pool = Pool {
                rows: pool.rows + last.rows,
                scores: pool.scores + last.scores,
                labels: pool.labels + last.labels,
            };
        }
        pools.push(pool);
    }
    let (mut at, mut to) = (Vec::new(), Vec::new());
    for pool in pools {
        let score = (pool.scores / pool.rows) as f32;
        // Two pools may have the same score in single precision.
        if at.last().is_none_or(|last| *last < score) {
            at.push(score);
            to.push(pool.rate() as f32);
        }
    }
    (at.len() > 1).then_some(Calibrator::Isotonic { at, to })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ncs_features::LabelKind;

    fn task(rows: &[(f32, f32)]) -> TaskPredictions {
        TaskPredictions {
            name: "ctr".into(),
            kind: LabelKind::Binary,
            labels: rows.iter().map(|(label, _)| *label).collect(),
            scores: rows.iter().map(|(_, score)| *score).collect(),
            ..TaskPredictions::default()
        }
    }

    /// Returns rows whose rate at logit `x` is the sigmoid of `slope * x + offset`.
    fn synthetic_rows(slope: f64, offset: f64) -> TaskPredictions {
        let mut rows = Vec::new();
        for step in 0..200 {
            let x = -4.0 + 0.03 * f64::from(step);
            let rate = sigmoid(slope * x + offset);
            let positives = (1000.0 * rate).round() as usize;
            let label = |row| f32::from(u8::from(row < positives));
            rows.extend((0..1000).map(|row| (label(row), sigmoid(x) as f32)));
        }
        task(&rows)
    }

    #[test]
    fn platt_finds_the_curve() {
        for (slope, offset) in [(1.0, 0.0), (0.6, -1.5), (2.0, 0.7)] {
            let Some(Calibrator::Platt {
                slope: a,
                offset: b,
            }) = fit(Calibration::Platt, &synthetic_rows(slope, offset))
            else {
                panic!("no fit for {slope}, {offset}");
            };
            assert!(
                (a - slope).abs() < 0.02 && (b - offset).abs() < 0.02,
                "{a} {b}"
            );
        }
    }

    #[test]
    fn isotonic_pools_what_falls() {
        let rows = [
            (0.0, 0.1),
            (1.0, 0.2),
            (0.0, 0.3),
            (1.0, 0.4),
            (f32::NAN, 0.5),
        ];
        let Some(Calibrator::Isotonic { at, to }) = fit(Calibration::Isotonic, &task(&rows)) else {
            panic!("no fit");
        };
        assert_eq!(at, [0.1, 0.25, 0.4]);
        assert_eq!(to, [0.0, 0.5, 1.0]);
    }

    #[test]
    fn both_bring_the_mean_to_the_rate() {
        let task = synthetic_rows(0.5, -1.0);
        for how in [Calibration::Platt, Calibration::Isotonic] {
            let calibrator = fit(how, &task).unwrap();
            let sum: f64 = task
                .scores
                .iter()
                .map(|&p| f64::from(calibrator.apply(p)))
                .sum();
            let observed: f64 = task.labels.iter().map(|&label| f64::from(label)).sum();
            assert!(
                (sum / observed - 1.0).abs() < 0.002,
                "{how:?}: {}",
                sum / observed
            );
        }
    }

    #[test]
    fn rows_that_allow_none_have_none() {
        for how in [Calibration::Platt, Calibration::Isotonic] {
            assert_eq!(fit(how, &task(&[])), None);
            assert_eq!(fit(how, &task(&[(1.0, 0.5), (1.0, 0.6)])), None);
            assert_eq!(fit(how, &task(&[(f32::NAN, 0.5)])), None);
            let ratio = TaskPredictions {
                kind: LabelKind::Ratio,
                ..task(&[(1.0, 0.5), (0.0, 0.4)])
            };
            assert_eq!(fit(how, &ratio), None);
        }
        // The higher the score, the fewer the positives.
        let falling = task(&[(1.0, 0.1), (0.0, 0.9)]);
        assert_eq!(fit(Calibration::Platt, &falling), None);
        assert_eq!(fit(Calibration::Isotonic, &falling), None);
    }

    #[test]
    fn a_row_without_a_score_changes_nothing() {
        let whole = synthetic_rows(0.6, -1.5);
        let mut with_lost = whole.clone();
        with_lost.labels.push(1.0);
        with_lost.scores.push(f32::NAN);
        for how in [Calibration::Platt, Calibration::Isotonic] {
            assert!(fit(how, &whole).is_some());
            assert_eq!(fit(how, &with_lost), fit(how, &whole));
        }
    }

    #[test]
    fn rows_that_a_score_divides_have_a_finite_curve() {
        let calibrator = fit(Calibration::Platt, &task(&[(0.0, 0.1), (1.0, 0.9)])).unwrap();
        let p = calibrator.apply(0.9);
        assert!(p > 0.5 && p < 1.0, "{p}");
    }
}
