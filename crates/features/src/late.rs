//! Conversions that come late: what was known of a row at a moment, and how late conversions are.
//!
//! A row has an *age*, the time from its click to the moment `as_of` at which training looks, and a converted one a
//! *delay*, the time from click to conversion; both as multiples of the attribution window. From an age of 1 on the
//! row is *mature*: its label is final.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[cfg(test)]
mod tests;

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
    /// Moment up to which an earlier training knew conversions, in seconds since 1970: only what came since is used.
    /// `None`: everything up to `as_of`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<f64>,
    /// Use of the rows that are not mature.
    pub method: LateMethod,
    /// Time after the click at which a row is a sample with the label known then, in windows, in [0, 1): see
    /// [`LateMethod::is_sampled_later`].
    #[serde(default, skip_serializing_if = "is_zero")]
    pub elapsed: f64,
    /// Weight with which a row of the window before the last stands for the samples that are still to come: see
    /// [`LateRules::samples`]. Fitted; 0 in a plan.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub borrowed: f64,
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

fn is_zero(number: &f64) -> bool {
    *number == 0.0
}

/// Use of rows whose label is not final in training. Validation always uses mature rows only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LateMethod {
    /// Their labels are unknown: a waiting window.
    Wait,
    /// Their labels are the final ones that the file holds, for comparisons on old logs: it sees what comes after
    /// `as_of`.
    Oracle,
    /// A row that has not converted yet is a negative.
    AsNegatives,
    /// Fake negatives with importance weights (FNW: Ktena et al. 2019, equation 9).
    Fnw,
    /// Fake negatives, calibrated: their rate `b` of positives among samples is `p / (1 + p)`, so `p = b / (1 - b)`
    /// (FNC: Ktena et al. 2019).
    Fnc,
    /// A row that has not converted yet has a conversion with the chance that one would be known at its age, by the
    /// delays of mature rows: `-ln(1 - p F(age))` (Chapelle 2014, equation 5, with the empirical distribution).
    DelayDistribution,
    /// A second head predicts the rate of an exponential delay for each row (DFM: Chapelle 2014), within the window.
    Dfm,
    /// Samples at [`LateRules::elapsed`], and conversions that come later once more, with importance weights from two
    /// more heads (ES-DFM: Yang et al. 2021).
    EsDfm,
    /// The same where every row is a second sample when its label is final, so that rows are seen as often as they
    /// occur, with importance weights from one more head (DEFER: Gu et al. 2021).
    Defer,
}

impl LateMethod {
    /// Returns true if the method is another loss than that of the labels.
    pub fn changes_the_loss(self) -> bool {
        !matches!(
            self,
            LateMethod::Wait | LateMethod::Oracle | LateMethod::AsNegatives
        )
    }

    /// Returns the number of auxiliary heads that its loss needs.
    pub fn n_heads(self) -> usize {
        match self {
            LateMethod::EsDfm => 2,
            LateMethod::Dfm | LateMethod::Defer => 1,
            _ => 0,
        }
    }

    /// Returns true if its loss is of the samples of a stream: see [`LateRules::samples`].
    pub fn is_of_stream(self) -> bool {
        matches!(self, LateMethod::Fnw | LateMethod::Fnc) || self.is_sampled_later()
    }

    /// Returns true if rows are samples some time after the click: [`LateRules::elapsed`].
    pub fn is_sampled_later(self) -> bool {
        matches!(self, LateMethod::EsDfm | LateMethod::Defer)
    }
}

/// How often a row is a sample of a stream, by the label of the sample.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Samples {
    /// As a negative.
    pub negatives: f64,
    /// As a positive.
    pub positives: f64,
}

impl Samples {
    fn add(&mut self, is_positive: bool, times: f64) {
        match is_positive {
            true => self.positives += times,
            false => self.negatives += times,
        }
    }
}

impl LateRules {
    /// Returns the label of a row as it was known at `as_of`, from its final label, its delay (NaN: not converted) and
    /// its age; NaN where it is not used.
    ///
    /// After an earlier training ([`LateRules::since`]) a row is used when it has matured since (validation, and
    /// [`LateMethod::Wait`]), when it has a sample or has matured since (streams), or else when it was clicked since.
    pub fn known(&self, label: f32, delay: f32, age: f32, is_training: bool) -> f32 {
        let waits = !is_training || self.method == LateMethod::Wait;
        match label {
            _ if label.is_nan() || age < 0.0 => f32::NAN,
            _ if self.is_before(age, waits) => f32::NAN,
            _ if is_training && self.has_no_sample(label, delay, age) => f32::NAN,
            _ if age >= 1.0 => label,
            _ if waits => f32::NAN,
            _ if self.method == LateMethod::Oracle => label,
            _ if self.method.is_sampled_later() && f64::from(age) < self.elapsed => f32::NAN,
            _ => f32::from(u8::from(label > 0.0 && delay <= age)),
        }
    }

    /// Returns the time since the earlier training, in windows; without one, all of it.
    pub fn since_then(&self) -> f64 {
        let since = self.since.map(|since| (self.as_of - since) / self.window);
        since.unwrap_or(f64::INFINITY)
    }

    /// Returns true if nothing of a row of this age is new since the earlier training.
    fn is_before(&self, age: f32, waits: bool) -> bool {
        let age = f64::from(age) - self.since_then();
        match waits || self.method.is_of_stream() {
            true => age >= 1.0,
            false => age >= 0.0,
        }
    }

    /// Returns true if a row that is not new has no sample since the earlier training and has not matured since.
    fn has_no_sample(&self, label: f32, delay: f32, age: f32) -> bool {
        if self.since.is_none() || !self.method.is_of_stream() || age >= 1.0 {
            return false;
        }
        let label = f32::from(u8::from(label > 0.0 && delay <= age));
        self.samples(label, delay, age) == Samples::default()
    }

    /// Returns the samples of a row in a stream of days, from its label as it was known at `as_of`, its delay and its
    /// age.
    ///
    /// A row is a sample `elapsed` after its click (for fake negatives at once, as a negative) and once more when its
    /// conversion comes; for [`LateMethod::Defer`] every row once more, at its conversion or after the window. At
    /// `as_of` some second samples of the last window are missing. In a stream that does not end, second samples of
    /// rows before would have come in their place: the rows of the window before that, each as old as it was a window
    /// (less `elapsed`) ago, stand for them with the weight `borrowed`. After an earlier training only the samples that
    /// came since count, and none stand for others: the stream goes on.
    pub fn samples(&self, label: f32, delay: f32, age: f32) -> Samples {
        let (is_converted, age) = (label > 0.5, f64::from(age));
        let delay = f64::from(delay);
        let is_early = self.is_early(label, delay);
        let mut samples = Samples::default();
        let since_then = self.since_then();
        let came = |time: f64| time <= age && age - time < since_then;
        samples.add(is_early, f64::from(u8::from(came(self.elapsed))));
        let second = match self.method {
            LateMethod::Defer if !is_converted => Some(1.0),
            LateMethod::Defer if is_early => Some(self.elapsed),
            _ if is_converted && !is_early => Some(delay),
            _ => None,
        };
        if let Some(time) = second {
            let age_before = age - (1.0 - self.elapsed);
            let lends = (1.0..2.0 - self.elapsed).contains(&age) && time > age_before;
            let borrowed = if lends { self.borrowed } else { 0.0 };
            samples.add(is_converted, f64::from(u8::from(came(time))) + borrowed);
        }
        samples
    }

    /// Returns true if a row is a positive in its first sample.
    fn is_early(&self, label: f32, delay: f64) -> bool {
        self.method.is_sampled_later() && label > 0.5 && delay <= self.elapsed
    }

    /// Returns the labels of a row for two questions that only mature rows answer: does a conversion come after
    /// `elapsed`? And does none come, where none came before it?
    pub fn later(&self, label: f32, delay: f32, age: f32) -> [Option<bool>; 2] {
        if age < 1.0 || self.is_before(age, true) {
            return [None; 2];
        }
        let is_early = self.is_early(label, f64::from(delay));
        let is_converted = label > 0.5;
        [
            Some(is_converted && !is_early),
            (!is_early).then_some(!is_converted),
        ]
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
        if self.method.is_of_stream() && self.since.is_none() && delays.rows.lending > 0 {
            self.borrowed = delays.rows.immature as f64 / delays.rows.lending as f64;
        }
    }
}

/// So much of a window may be missing of the window before the last: the first row of a log comes some time after its
/// beginning.
const SLACK: f64 = 0.05;

/// The fewest delays of a value that has a distribution of its own.
const FEWEST_OF_VALUE: usize = 50;

/// Delays of mature rows, gathered.
#[derive(Clone, Debug, Default)]
pub struct DelaySample {
    all: Vec<f32>,
    by_value: BTreeMap<String, Vec<f32>>,
    rows: RowAges,
}

/// Ages of training rows.
#[derive(Clone, Copy, Debug, Default)]
struct RowAges {
    /// Rows that are a sample, and not mature.
    immature: u64,
    /// Rows that are as old as these were a window before.
    lending: u64,
    /// The highest age, in windows.
    oldest: f32,
}

impl DelaySample {
    /// Counts a row of this age whose label is known some day.
    pub fn see(&mut self, late: &LateRules, age: f32) {
        let (age64, start) = (f64::from(age), late.elapsed);
        self.rows.immature += u64::from((start..1.0).contains(&age64));
        self.rows.lending += u64::from((1.0..2.0 - start).contains(&age64));
        self.rows.oldest = self.rows.oldest.max(age);
    }

    /// Returns true if immature rows need more of the window before than there is ([`LateRules::samples`]).
    pub fn is_short(&self, late: &LateRules) -> bool {
        let reaches = f64::from(self.rows.oldest) >= 2.0 - late.elapsed - SLACK;
        let is_whole = reaches && self.rows.lending > 0;
        let needs_it = late.method.is_of_stream() && late.since.is_none();
        needs_it && self.rows.immature > 0 && !is_whole
    }

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

    /// Returns true if the delays of an earlier model say more: there are none, or few that came since its training.
    pub fn is_few(&self, late: &LateRules) -> bool {
        self.is_empty() || (late.since.is_some() && self.all.len() < FEWEST_OF_VALUE)
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
