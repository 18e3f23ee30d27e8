//! Settings of the trials: the same points for every method.

use super::toml_types::{Range, Tuning};

/// Bases of the Halton sequence, one for each setting.
const BASES: [u32; 3] = [2, 3, 5];

/// Returns the settings of trial number `trial` as overrides of a run file; none for trial 0, which uses the
/// run file's own. The others are points of the Halton sequence (Halton 1960), whose first points are already
/// well spread. `last_task` is the task whose weight is tuned.
pub(crate) fn settings(tuning: &Tuning, trial: u32, last_task: &str) -> Vec<String> {
    if trial == 0 {
        return Vec::new();
    }
    let ranges = [tuning.learning_rate, tuning.weight_decay, tuning.weight];
    let weight = format!("tasks.{last_task}.weight");
    let keys = ["training.learning_rate", "training.weight_decay", &weight];
    let value = |(range, base): (Range, u32)| within(range, radical_inverse(trial, base));
    let values = ranges.into_iter().zip(BASES).map(value);
    keys.iter()
        .zip(values)
        .map(|(key, value)| format!("{key}={value}"))
        .collect()
}

/// Returns the radical inverse: the digits of `number` in `base`, mirrored at the point.
fn radical_inverse(mut number: u32, base: u32) -> f64 {
    let (mut sum, mut place) = (0.0, 1.0);
    while number > 0 {
        place /= f64::from(base);
        sum += place * f64::from(number % base);
        number /= base;
    }
    sum
}

/// Returns a point of a range on a log scale, rounded to three digits for readability.
fn within(range: Range, share: f64) -> f64 {
    let exact = range.0 * (range.1 / range.0).powf(share);
    format!("{exact:.2e}").parse().unwrap_or(exact)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trials_spread_over_the_ranges() {
        let tuning = Tuning {
            learning_rate: Range(1e-4, 1e-2),
            ..Tuning::default()
        };
        assert!(settings(&tuning, 0, "cvr").is_empty());
        let first = settings(&tuning, 1, "cvr");
        assert_eq!(first[0], "training.learning_rate=0.001");
        assert!(first[2].starts_with("tasks.cvr.weight="));
        for trial in 1..50 {
            for (text, range) in settings(&tuning, trial, "cvr").iter().zip([
                tuning.learning_rate,
                tuning.weight_decay,
                tuning.weight,
            ]) {
                let value: f64 = text.split('=').nth(1).unwrap().parse().unwrap();
                assert!(value >= 0.99 * range.0 && value <= 1.01 * range.1, "{text}");
            }
        }
    }
}
