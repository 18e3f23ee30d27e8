//! The fuzzing loop: mutates an input, runs the target, and keeps inputs with new outcomes.

use crate::random::Random;
use crate::shrink::{key, shrink};
use crate::targets::Target;
use crate::watch::{Observation, watch};
use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

/// The settings of a run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Number of inputs, including the seeds.
    pub inputs: u64,
    /// The random seed; the same seed generates the same inputs.
    pub seed: u64,
    /// True if failing inputs are shrunk, which takes many runs.
    pub shrink: bool,
}

/// The results of a run.
#[derive(Clone, Debug, Default)]
pub struct Statistics {
    /// Number of inputs.
    pub inputs: u64,
    /// Number of accepted inputs.
    pub accepted: u64,
    /// Number of kinds of errors.
    pub errors: usize,
    /// Number of inputs kept for a new outcome.
    pub kept: usize,
    /// Peak memory of an input, in bytes.
    pub peak: u64,
    /// The longest time of one input.
    pub slowest: Duration,
    /// The total time.
    pub time: Duration,
    /// The failures, by the place where they happened.
    pub failures: BTreeMap<String, Failure>,
}

/// A failure of a target.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The message.
    pub message: String,
    /// An input that causes it.
    pub input: Vec<u8>,
    /// Number of inputs that caused it.
    pub count: u64,
}

/// Maximum number of kept inputs.
const MAX_KEPT: usize = 4000;

/// The state of a run.
struct Run<'a> {
    target: &'a Target,
    plan: Plan,
    /// Accepted inputs, and rejected inputs.
    kept: [Vec<Vec<u8>>; 2],
    outcomes: HashSet<String>,
    statistics: Statistics,
}

/// Runs a target on generated inputs. Calls `before` with each input before it is run, and `progress` after every
/// 100,000 inputs.
pub fn run(
    target: &Target,
    plan: Plan,
    mut before: impl FnMut(&[u8]),
    mut progress: impl FnMut(&Statistics),
) -> Statistics {
    let start = Instant::now();
    let mut run = Run {
        target,
        plan,
        kept: [Vec::new(), Vec::new()],
        outcomes: HashSet::new(),
        statistics: Statistics::default(),
    };
    for seed in (target.seeds)() {
        before(&seed);
        run.run_input(seed);
    }
    let mut random = Random::new(plan.seed, target.name);
    while run.statistics.inputs < plan.inputs {
        let input = run.next_input(&mut random);
        before(&input);
        run.run_input(input);
        run.statistics.time = start.elapsed();
        if run.statistics.inputs.is_multiple_of(100_000) {
            progress(&run.statistics);
        }
    }
    run.statistics
}

impl Run<'_> {
    /// Mutates a kept input, more often an accepted one, with parts of another.
    fn next_input(&self, random: &mut Random) -> Vec<u8> {
        let one = |random: &mut Random| {
            let [accepted, rejected] = &self.kept;
            let is_accepted = rejected.is_empty() || !random.once_in(3);
            let kept = if is_accepted { accepted } else { rejected };
            kept.get(random.below(kept.len()))
                .map_or(&[][..], |input| input)
        };
        let (one, other) = (one(random), one(random));
        self.target.mutator().mutate(one, other, random)
    }

    fn run_input(&mut self, input: Vec<u8>) {
        let observation = watch(self.target, &input);
        let statistics = &mut self.statistics;
        statistics.inputs += 1;
        statistics.accepted += u64::from(observation.outcome.is_ok());
        statistics.peak = statistics.peak.max(observation.peak);
        statistics.slowest = statistics.slowest.max(observation.time);
        if let Some(message) = observation.failure {
            return self.fail(message, input);
        }
        if self.outcomes.len() < MAX_KEPT && self.outcomes.insert(shape(&observation)) {
            let is_rejected = usize::from(observation.outcome.is_err());
            self.statistics.errors += is_rejected;
            self.statistics.kept += 1;
            self.kept[is_rejected].push(input);
        }
    }

    fn fail(&mut self, message: String, input: Vec<u8>) {
        let place = key(&message).to_owned();
        if let Some(failure) = self.statistics.failures.get_mut(&place) {
            failure.count += 1;
            return;
        }
        let input = if self.plan.shrink {
            shrink(self.target, &input, &message)
        } else {
            input
        };
        let failure = Failure {
            message,
            input,
            count: 1,
        };
        self.statistics.failures.insert(place, failure);
    }
}

/// Returns an outcome without the parts that depend on the input: no digits, nothing from the first quotation mark to
/// the last, and at most 80 characters before and after.
fn shape(observation: &Observation) -> String {
    let (Ok(text) | Err(text)) = &observation.outcome;
    let marks = ['"', '`'];
    let before = text.split(marks).next().unwrap_or_default();
    let after = if before.len() < text.len() {
        text.rsplit(marks).next().unwrap_or_default()
    } else {
        ""
    };
    let letters = |text: &str| -> String {
        let letters = text.chars().filter(|c| !c.is_ascii_digit());
        letters.take(80).collect()
    };
    let kind = if observation.outcome.is_ok() {
        "accepted"
    } else {
        ""
    };
    format!("{kind}{}\"{}", letters(before), letters(after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_distinguished_by_their_words() {
        let shape = |text: &str| {
            super::shape(&Observation {
                outcome: Err(text.to_owned()),
                failure: None,
                peak: 0,
                time: Duration::ZERO,
            })
        };
        assert_eq!(
            shape("column \"a1\"b\" has 12 values"),
            "column \" has  values"
        );
        assert_eq!(shape("7 bytes"), " bytes\"");
    }

    #[test]
    fn the_same_seed_gives_the_same_results() {
        let target = crate::targets::named("labels").unwrap();
        let statistics = |seed| {
            let plan = Plan {
                inputs: 500,
                seed,
                shrink: false,
            };
            let statistics = run(&target, plan, |_| (), |_| ());
            (statistics.accepted, statistics.kept, statistics.errors)
        };
        assert_eq!(statistics(1), statistics(1));
    }
}
