//! Conversions that come late: what was known of a row at a moment, and how late conversions are.
//!
//! A row has an *age*, the time from its click to the moment `as_of` at which training looks, and a converted one a
//! *delay*, the time from click to conversion; both as multiples of the attribution window. From an age of 1 on the
//! row is *mature*: its label is final.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A task whose labels become known after a while.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LateRules {
    /// Column with the time of the click.
    pub click_time: String,
    /// Column with the time of the conversion; null where there is none.
    pub conversion_time: String,
    /// Seconds from the click within which a conversion counts.
    pub window: f64,
    /// Moment up to which training knows conversions, in seconds since 1970.
    pub as_of: f64,
    /// Use of the rows that are not mature.
    pub method: LateMethod,
    /// Column by whose values delays differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Delays of the conversions of mature training rows, fitted; empty in a plan.
    #[serde(default, skip_serializing_if = "Delays::is_empty")]
    pub delays: Delays,
    /// The same for values of `by` that have enough of them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub delays_of: BTreeMap<String, Delays>,
}

/// Use of rows whose label is not final in training. Validation always uses mature rows only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LateMethod {
    /// Their labels are unknown: a waiting window.
    Wait,
    /// Their labels are the final ones that the file holds, for comparisons on old logs: it sees what comes after `as_of`.
    Oracle,
    /// A row that has not converted yet is a negative.
    AsNegatives,
    /// Fake negatives with importance weights (FNW: Ktena et al. 2019, equation 9).
    Fnw,
    /// A row that has not converted yet has a conversion with the chance that one would be known at its age, by the
    /// delays of mature rows: `-ln(1 - p F(age))` (Chapelle 2014, equation 5, with the empirical distribution).
    DelayDistribution,
}

impl LateMethod {
    /// Returns true if the method is another loss than that of the labels.
    pub fn changes_the_loss(self) -> bool {
        matches!(self, LateMethod::Fnw | LateMethod::DelayDistribution)
    }
}

impl LateRules {
    /// Returns the label of a row as it was known at `as_of`, from its final label, its delay (NaN: not converted) and
    /// its age; NaN where it is not used.
    pub fn known(&self, label: f32, delay: f32, age: f32, is_training: bool) -> f32 {
        let waits = !is_training || self.method == LateMethod::Wait;
        match label {
            _ if label.is_nan() || age < 0.0 => f32::NAN,
            _ if age >= 1.0 => label,
            _ if waits => f32::NAN,
            _ if self.method == LateMethod::Oracle => label,
            _ => f32::from(u8::from(label > 0.0 && delay <= age)),
        }
    }

    /// Returns the chance that the conversion of a row of this age, and of this value of `by`, is known, if it has one.
    pub fn share_known(&self, value: &str, age: f32) -> f64 {
        let delays = self.delays_of.get(value).unwrap_or(&self.delays);
        delays.share(f64::from(age))
    }

    /// Fits the distributions to the delays of mature rows, with their values of `by`.
    pub fn fit(&mut self, delays: DelaySample) {
        let own = delays.by_value.into_iter();
        let enough = own.filter(|(_, delays)| self.by.is_some() && delays.len() >= FEWEST_OF_VALUE);
        self.delays_of = enough
            .map(|(value, delays)| (value, Delays::fit(delays)))
            .collect();
        self.delays = Delays::fit(delays.all);
    }
}

/// The fewest delays of a value that has a distribution of its own.
const FEWEST_OF_VALUE: usize = 50;

/// Delays of mature rows, gathered.
#[derive(Clone, Debug, Default)]
pub struct DelaySample {
    all: Vec<f32>,
    by_value: BTreeMap<String, Vec<f32>>,
}

impl DelaySample {
    /// Adds the delay of a row with this value.
    pub fn add(&mut self, value: &str, delay: f32) {
        self.all.push(delay);
        match self.by_value.get_mut(value) {
            Some(delays) => delays.push(delay),
            None => drop(self.by_value.insert(value.to_owned(), vec![delay])),
        }
    }

    /// Returns true if there are none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}

/// The most quantiles of a distribution of delays.
const QUANTILES: usize = 200;

/// The distribution of delays, in windows: its quantiles, ascending from 0; between them it is linear.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Delays(Vec<f32>);

impl Delays {
    /// Returns the distribution of some delays in [0, 1]; empty without any.
    pub fn fit(mut delays: Vec<f32>) -> Delays {
        delays.sort_unstable_by(f32::total_cmp);
        let n = delays.len();
        let pieces = n.min(QUANTILES);
        let quantile = |k: usize| delays[(k * n).div_ceil(pieces) - 1];
        let start = (n > 0).then_some(0.0);
        Delays(
            start
                .into_iter()
                .chain((1..=pieces).map(quantile))
                .collect(),
        )
    }

    /// Returns true if no delay is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the share of conversions that come within `time` windows: 0 at 0 and 1 from 1 on, without any delays 1.
    pub fn share(&self, time: f64) -> f64 {
        let pieces = self.0.len().saturating_sub(1) as f64;
        let above = self.0.partition_point(|&delay| f64::from(delay) <= time);
        match above {
            _ if time >= 1.0 || above == self.0.len() => 1.0,
            0 => 0.0,
            _ => {
                let [before, after] = [above - 1, above].map(|at| f64::from(self.0[at]));
                ((above - 1) as f64 + (time - before) / (after - before)) / pieces
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(method: LateMethod) -> LateRules {
        LateRules {
            click_time: "click_time".into(),
            conversion_time: "conversion_time".into(),
            window: 1.0,
            as_of: 0.0,
            method,
            by: None,
            delays: Delays::default(),
            delays_of: BTreeMap::new(),
        }
    }

    #[test]
    fn a_value_with_enough_delays_has_a_distribution_of_its_own() {
        let mut rules = LateRules {
            by: Some("delivery".into()),
            ..rules(LateMethod::DelayDistribution)
        };
        let mut delays = DelaySample::default();
        (0..50).for_each(|_| delays.add("fast", 0.125));
        (0..49).for_each(|_| delays.add("slow", 0.875));
        rules.fit(delays);
        let known = |value| rules.share_known(value, 0.5);
        assert_eq!(known("fast"), 1.0);
        assert!((known("slow") - known("other")).abs() < 1e-12 && known("slow") < 0.6);
    }

    #[test]
    fn a_label_is_what_was_known() {
        let check = |method,
                     label: f32,
                     delay: f32,
                     age: f32,
                     training: Option<f32>,
                     valid: Option<f32>| {
            for (is_training, expected) in [(true, training), (false, valid)] {
                let found = rules(method).known(label, delay, age, is_training);
                assert_eq!(
                    (!found.is_nan()).then_some(found),
                    expected,
                    "{method:?} {age}"
                );
            }
        };
        let none = f32::NAN;
        for method in [LateMethod::Wait, LateMethod::AsNegatives, LateMethod::Fnw] {
            check(method, 1.0, 0.7, 1.0, Some(1.0), Some(1.0));
            check(method, 0.0, none, 3.0, Some(0.0), Some(0.0));
            // A click after the moment, and a row outside the population.
            check(method, 1.0, 0.7, -0.1, None, None);
            check(method, none, none, 2.0, None, None);
        }
        check(LateMethod::Wait, 1.0, 0.2, 0.9, None, None);
        check(LateMethod::AsNegatives, 1.0, 0.2, 0.9, Some(1.0), None);
        check(LateMethod::AsNegatives, 1.0, 0.7, 0.5, Some(0.0), None);
        check(LateMethod::Oracle, 1.0, 0.7, 0.5, Some(1.0), None);
        check(
            LateMethod::DelayDistribution,
            0.0,
            none,
            0.5,
            Some(0.0),
            None,
        );
    }

    #[test]
    fn the_distribution_is_that_of_the_delays() {
        let delays: Vec<f32> = (1..=1000).rev().map(|k| k as f32 / 2000.0).collect();
        let found = Delays::fit(delays);
        for (time, share) in [
            (0.0, 0.0),
            (0.125, 0.25),
            (0.4, 0.8),
            (0.5, 1.0),
            (0.9, 1.0),
            (7.0, 1.0),
        ] {
            assert!((found.share(time) - share).abs() < 1e-6, "{time}");
        }
        assert_eq!(found.share(-1.0), 0.0);
        assert!((found.share(1e-4) - 2e-4).abs() < 1e-6);
    }

    #[test]
    fn few_or_equal_delays_have_a_distribution() {
        assert_eq!(Delays::fit(vec![]).share(0.3), 1.0);
        let one = Delays::fit(vec![0.5]);
        assert_eq!(
            [0.25, 0.5, 0.6].map(|time| one.share(time)),
            [0.5, 1.0, 1.0]
        );
        let equal = Delays::fit(vec![0.25; 7]);
        assert_eq!(equal.share(0.25), 1.0);
        assert!(equal.share(0.2) < 1.0);
        let now = Delays::fit(vec![0.0; 3]);
        assert_eq!(now.share(0.0), 1.0);
    }
}
