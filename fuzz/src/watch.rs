//! One input under observation: its outcome, its memory, its time.

use crate::targets::Target;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::Once;
use std::time::{Duration, Instant};

/// More time than this on one input is a failure.
pub const MOST_TIME: Duration = Duration::from_secs(10);

/// The most bytes that may be allocated at one time for an input of so many.
pub fn most_bytes(n_bytes: usize) -> u64 {
    (16 << 20) + 64 * n_bytes as u64
}

/// What an input did.
#[derive(Clone, Debug)]
pub struct Seen {
    /// What kind of answer, or the refusal.
    pub said: Result<String, String>,
    /// Why it must not be so, if it must not.
    pub failure: Option<String>,
    /// The most bytes that were allocated at one time, on this thread.
    pub peak: u64,
    /// How long it took.
    pub time: Duration,
}

thread_local! {
    static IS_WATCHED: Cell<bool> = const { Cell::new(false) };
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Runs a target on an input.
pub fn watch(target: &Target, input: &[u8]) -> Seen {
    static HOOK: Once = Once::new();
    HOOK.call_once(note_panics);
    let mut said = Ok(Ok(String::new()));
    let began = Instant::now();
    IS_WATCHED.set(true);
    let memory = allocation_counter::measure(|| {
        said = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    });
    IS_WATCHED.set(false);
    let time = began.elapsed();
    let (said, panic) = match said {
        Ok(said) => (said, None),
        Err(_) => (Err(String::new()), Some(PANIC.take())),
    };
    let failure = panic
        .or_else(|| too_much(memory.bytes_max, input.len()))
        .or_else(|| (time > MOST_TIME).then(|| "it takes too long".to_owned()));
    Seen {
        said,
        failure,
        peak: memory.bytes_max,
        time,
    }
}

fn too_much(peak: u64, n_bytes: usize) -> Option<String> {
    (peak > most_bytes(n_bytes)).then(|| "it takes too much memory".to_owned())
}

/// Keeps the words of panics on watched threads instead of printing them.
fn note_panics() {
    let others = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
        match IS_WATCHED.get() {
            false => others(info),
            true => PANIC.set(words(info)),
        }
    }));
}

fn words(info: &PanicHookInfo<'_>) -> String {
    let place = info.location().map(ToString::to_string);
    let said = info.payload_as_str().unwrap_or("a panic without words");
    format!("{}: {said}", place.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mutate::Form;

    fn target(run: fn(&[u8]) -> Result<String, String>) -> Target {
        Target {
            name: "made up",
            run,
            seeds: Vec::new,
            form: Form::Bytes,
            words: &[],
            longest: 10,
        }
    }

    #[test]
    fn panics_and_greed_are_failures_and_refusals_are_not() {
        let check = |run, expected: Option<&str>| {
            let failure = watch(&target(run), b"x").failure;
            match (failure, expected) {
                (Some(failure), Some(expected)) => assert!(failure.contains(expected), "{failure}"),
                (failure, expected) => assert_eq!(failure.as_deref(), expected),
            }
        };
        check(|_| Err("refused".to_owned()), None);
        check(|_| panic!("on purpose"), Some("watch.rs"));
        check(|_| panic!("on purpose"), Some("on purpose"));
        let greedy = |_: &[u8]| Ok(vec![1u8; 70 << 20].len().to_string());
        check(greedy, Some("too much memory"));
    }
}
