//! Losses of labels that are not final: a row that has not converted yet.

use crate::loss::{RowLoss, cross_entropy, sigmoid};
use ncs_features::{LateMethod, LateRules, RowTerms, Samples};

/// Most auxiliary heads that a loss of late labels needs.
pub(crate) const MOST_HEADS: usize = 2;

/// Rates of delays are `exp(v)` for `v` within so much of 0; beyond, `v` has no gradient.
const MOST_LOG_RATE: f64 = 30.0;

/// Returns the loss of one row whose label was known at a moment; `None` if the label's own loss is meant.
pub(crate) fn row_loss(
    rules: &LateRules,
    logit: f64,
    label: f32,
    terms: &RowTerms,
    row: usize,
) -> Option<RowLoss> {
    if label.is_nan() {
        return None;
    }
    let samples = || Some(rules.samples(label, *terms.delays.get(row)?, *terms.ages.get(row)?));
    match rules.method {
        LateMethod::Fnw => Some(fake_negatives(logit, samples()?)),
        LateMethod::Fnc => Some(calibrated_negatives(logit, samples()?)),
        LateMethod::DelayDistribution => Some(if label > 0.5 {
            cross_entropy(logit, 1.0)
        } else {
            not_yet(logit, f64::from(*terms.known_shares.get(row)?))
        }),
        _ => None,
    }
}

/// Samples as negatives at the click and as positives at the conversion, each by its importance:
/// `-(1 - p) (1 + p) ln(1 - p)`, and `-(1 + p) ln p`. Weights are constants: no gradient flows through them.
fn fake_negatives(z: f64, samples: Samples) -> RowLoss {
    let (p, q) = (sigmoid(z), sigmoid(-z));
    sum(
        cross_entropy(z, 0.0).times(samples.negatives * q * (1.0 + p)),
        cross_entropy(z, 1.0).times(samples.positives * (1.0 + p)),
    )
}

/// The same samples, unweighted, with the share of positives among them, `b = p / (1 + p)`: `-ln(1 - b)`, and `-ln b`.
fn calibrated_negatives(z: f64, samples: Samples) -> RowLoss {
    let (p, q) = (sigmoid(z), sigmoid(-z));
    // -ln(1 - b) = ln(1 + p), with the gradient p q / (1 + p).
    let negative = RowLoss {
        loss: p.ln_1p(),
        gradient: p * q / (1.0 + p),
    };
    let positive = sum(cross_entropy(z, 1.0), negative);
    sum(
        negative.times(samples.negatives),
        positive.times(samples.positives),
    )
}

fn sum(one: RowLoss, other: RowLoss) -> RowLoss {
    RowLoss {
        loss: one.loss + other.loss,
        gradient: one.gradient + other.gradient,
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

/// The loss of a row over the logits of a task's head and of the auxiliary heads of its late labels.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct HeadsLoss {
    /// The loss.
    pub loss: f64,
    /// Its gradients with respect to the task's logit, and to those of the auxiliary heads; 0 for a head that the
    /// method lacks. Importance weights are constants.
    pub gradients: [f64; 1 + MOST_HEADS],
}

impl HeadsLoss {
    /// Adds the loss of one head, whose gradient is with respect to that head's logit alone.
    fn add(&mut self, head: usize, row: RowLoss) {
        self.loss += row.loss;
        self.gradients[head] += row.gradient;
    }

    pub(crate) fn times(self, weight: f64) -> HeadsLoss {
        HeadsLoss {
            loss: weight * self.loss,
            gradients: self.gradients.map(|gradient| weight * gradient),
        }
    }
}

/// A row as it was known at a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    /// The label, 0 or 1.
    pub(crate) label: f32,
    /// Delay of the conversion, in windows; meaningless where the label is 0.
    pub(crate) delay: f32,
    /// Age of the row, in windows.
    pub(crate) age: f32,
}

/// Returns the loss of a row for a method with auxiliary heads, from the logits of the task and of these heads.
pub(crate) fn heads_loss(
    rules: &LateRules,
    logits: [f64; 1 + MOST_HEADS],
    known: Known,
) -> HeadsLoss {
    match rules.method {
        LateMethod::Dfm => delayed_feedback(logits[0], logits[1], known),
        LateMethod::EsDfm => elapsed_time(rules, logits, known),
        LateMethod::Defer => real_negatives(rules, logits, known),
        _ => HeadsLoss::default(),
    }
}

/// Chapelle 2014, equations 4 and 5, with an exponential law of delays of rate `exp(v)` within the attribution window:
/// `-ln p - ln f(d)` for a conversion after `d`, `-ln(1 - p F(a))` for none until the age `a`.
fn delayed_feedback(z: f64, v: f64, known: Known) -> HeadsLoss {
    let law = DelayLaw::of(v);
    let mut sum = HeadsLoss::default();
    if known.label > 0.5 {
        sum.add(0, cross_entropy(z, 1.0));
        sum.add(1, law.delay(f64::from(known.delay)));
        return sum;
    }
    let (share, by_v) = law.share(f64::from(known.age));
    let (p, q) = (sigmoid(z), sigmoid(-z));
    sum.add(0, not_yet(z, share));
    if share < 1.0 {
        sum.gradients[1] = p * by_v / (q + p * (1.0 - share));
    }
    sum
}

/// An exponential law of delays given that they are at most 1.
#[derive(Clone, Copy)]
struct DelayLaw {
    log_rate: f64,
    rate: f64,
    /// Chance that a delay of the unlimited law is at most 1.
    within: f64,
    /// 1, or 0 where the rate is limited.
    has_gradient: f64,
}

impl DelayLaw {
    fn of(v: f64) -> DelayLaw {
        let log_rate = v.clamp(-MOST_LOG_RATE, MOST_LOG_RATE);
        let rate = log_rate.exp();
        DelayLaw {
            log_rate,
            rate,
            within: -(-rate).exp_m1(),
            has_gradient: f64::from(u8::from(log_rate == v)),
        }
    }

    /// `-ln f(d)` of a delay, and its gradient with respect to the logarithm of the rate. It may be below 0: it is of
    /// a density.
    fn delay(&self, delay: f64) -> RowLoss {
        let of_limit = self.rate / self.rate.exp_m1();
        RowLoss {
            loss: self.rate * delay - self.log_rate + self.within.ln(),
            gradient: self.has_gradient * (self.rate * delay - 1.0 + of_limit),
        }
    }

    /// `F(a)`, the chance of a delay of at most `a`, and its derivative with respect to the logarithm of the rate.
    fn share(&self, age: f64) -> (f64, f64) {
        if age >= 1.0 {
            return (1.0, 0.0);
        }
        let share = -(-self.rate * age).exp_m1() / self.within;
        let by_rate = age * (-self.rate * age).exp() - share * (-self.rate).exp();
        let by_log_rate = self.rate * by_rate / self.within;
        (share, self.has_gradient * by_log_rate)
    }
}

/// Yang et al. 2021: positives with the weight `1 + d`, negatives with `(1 + d) r`, where `d` is the chance of a
/// conversion after the first sample, and `r` the chance that a row that was a negative then stays one. Two heads
/// learn them from mature rows.
fn elapsed_time(rules: &LateRules, [z, d, r]: [f64; 3], known: Known) -> HeadsLoss {
    let samples = rules.samples(known.label, known.delay, known.age);
    let weight = 1.0 + sigmoid(d);
    let mut sum = HeadsLoss::default();
    let of_negatives = samples.negatives * weight * sigmoid(r);
    sum.add(0, cross_entropy(z, 0.0).times(of_negatives));
    sum.add(0, cross_entropy(z, 1.0).times(samples.positives * weight));
    let labels = rules.later(known.label, known.delay, known.age);
    for (head, label) in labels.into_iter().enumerate() {
        if let Some(label) = label {
            let logit = [d, r][head];
            sum.add(1 + head, cross_entropy(logit, f64::from(u8::from(label))));
        }
    }
    sum
}

/// Gu et al. 2021: two samples of every row, of which a share `p - d / 2` are positives: these have the weight
/// `p / (p - d / 2)`, and negatives `(1 - p) / (1 - p + d / 2)`, with `d` as in ES-DFM. Samples count half, rows once.
fn real_negatives(rules: &LateRules, [z, d, _]: [f64; 3], known: Known) -> HeadsLoss {
    let samples = rules.samples(known.label, known.delay, known.age);
    let (p, q) = (sigmoid(z), sigmoid(-z));
    // A conversion after the first sample is a conversion.
    let half_later = 0.5 * sigmoid(d).min(p);
    let of_positives = 0.5 * samples.positives * p / (p - half_later);
    let of_negatives = 0.5 * samples.negatives * q / (q + half_later);
    let mut sum = HeadsLoss::default();
    sum.add(0, cross_entropy(z, 0.0).times(of_negatives));
    sum.add(0, cross_entropy(z, 1.0).times(of_positives));
    let [later, _] = rules.later(known.label, known.delay, known.age);
    if let Some(later) = later {
        sum.add(1, cross_entropy(d, f64::from(u8::from(later))));
    }
    sum
}
