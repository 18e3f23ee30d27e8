//! The loop: an input out of those that were kept, its outcome, and whether to keep it.

use crate::random::Random;
use crate::shrink::{key, shrink};
use crate::targets::Target;
use crate::watch::{Seen, watch};
use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

/// How long to go on, and from where.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How many inputs, the seeds included.
    pub inputs: u64,
    /// The same seed makes the same inputs.
    pub seed: u64,
    /// Whether failing inputs are made small, which takes many tries.
    pub shrinks: bool,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Inputs that were tried.
    pub inputs: u64,
    /// Those that were answered.
    pub accepted: u64,
    /// Kinds of refusals.
    pub refusals: usize,
    /// Inputs that were kept, because something new came of them.
    pub kept: usize,
    /// The most bytes at one time.
    pub peak: u64,
    /// The longest time of one input.
    pub slowest: Duration,
    /// The time of all.
    pub time: Duration,
    /// What must not be, by the place where it happened.
    pub failures: BTreeMap<String, Failure>,
}

/// What must not be.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Why.
    pub why: String,
    /// An input that does it.
    pub input: Vec<u8>,
    /// How many inputs did.
    pub times: u64,
}

/// Most inputs that are kept.
const MOST_KEPT: usize = 4000;

/// Where a run stands.
struct Run<'a> {
    target: &'a Target,
    plan: Plan,
    /// Those that were answered, and those that were refused.
    kept: [Vec<Vec<u8>>; 2],
    known: HashSet<String>,
    figures: Figures,
}

/// Tries inputs. `before` hears of each before it is tried, `progress` of the figures now and then.
pub fn run(
    target: &Target,
    plan: Plan,
    mut before: impl FnMut(&[u8]),
    mut progress: impl FnMut(&Figures),
) -> Figures {
    let began = Instant::now();
    let mut run = Run {
        target,
        plan,
        kept: [Vec::new(), Vec::new()],
        known: HashSet::new(),
        figures: Figures::default(),
    };
    for seed in (target.seeds)() {
        before(&seed);
        run.attempt(seed);
    }
    let mut random = Random::new(plan.seed, target.name);
    while run.figures.inputs < plan.inputs {
        let input = run.next(&mut random);
        before(&input);
        run.attempt(input);
        run.figures.time = began.elapsed();
        if run.figures.inputs.is_multiple_of(100_000) {
            progress(&run.figures);
        }
    }
    run.figures
}

impl Run<'_> {
    /// One of those that were kept, more often one that was answered, with parts of another.
    fn next(&self, random: &mut Random) -> Vec<u8> {
        let one = |random: &mut Random| {
            let [answered, refused] = &self.kept;
            let is_answered = refused.is_empty() || !random.once_in(3);
            let kept = if is_answered { answered } else { refused };
            kept.get(random.below(kept.len()))
                .map_or(&[][..], |input| input)
        };
        let (one, other) = (one(random), one(random));
        self.target.changes().change(one, other, random)
    }

    fn attempt(&mut self, input: Vec<u8>) {
        let seen = watch(self.target, &input);
        let figures = &mut self.figures;
        figures.inputs += 1;
        figures.accepted += u64::from(seen.said.is_ok());
        figures.peak = figures.peak.max(seen.peak);
        figures.slowest = figures.slowest.max(seen.time);
        if let Some(why) = seen.failure {
            return self.fail(why, input);
        }
        if self.known.len() < MOST_KEPT && self.known.insert(shape(&seen)) {
            let is_refused = usize::from(seen.said.is_err());
            self.figures.refusals += is_refused;
            self.figures.kept += 1;
            self.kept[is_refused].push(input);
        }
    }

    fn fail(&mut self, why: String, input: Vec<u8>) {
        let place = key(&why).to_owned();
        if let Some(failure) = self.figures.failures.get_mut(&place) {
            failure.times += 1;
            return;
        }
        let input = match self.plan.shrinks {
            true => shrink(self.target, &input, &why),
            false => input,
        };
        let failure = Failure {
            why,
            input,
            times: 1,
        };
        self.figures.failures.insert(place, failure);
    }
}

/// An outcome without what the caller put into it: no digits, nothing from the first quotation mark to the
/// last, no long tail.
fn shape(seen: &Seen) -> String {
    let (Ok(text) | Err(text)) = &seen.said;
    let marks = ['"', '`'];
    let before = text.split(marks).next().unwrap_or_default();
    let behind = match before.len() < text.len() {
        true => text.rsplit(marks).next().unwrap_or_default(),
        false => "",
    };
    let letters = |text: &str| -> String {
        let letters = text.chars().filter(|c| !c.is_ascii_digit());
        letters.take(80).collect()
    };
    let said = if seen.said.is_ok() { "answered" } else { "" };
    format!("{said}{}\"{}", letters(before), letters(behind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_apart_by_their_words_alone() {
        let shape = |text: &str| {
            super::shape(&Seen {
                said: Err(text.to_owned()),
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
    fn the_same_seed_does_the_same() {
        let target = crate::targets::named("labels").unwrap();
        let figures = |seed| {
            let plan = Plan {
                inputs: 500,
                seed,
                shrinks: false,
            };
            let figures = run(&target, plan, |_| (), |_| ());
            (figures.accepted, figures.kept, figures.refusals)
        };
        assert_eq!(figures(1), figures(1));
    }
}
