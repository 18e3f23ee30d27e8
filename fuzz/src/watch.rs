//! Runs a target on one input, and records its outcome, memory and time.

use crate::targets::Target;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::Once;
use std::time::{Duration, Instant};

/// Maximum time for one input.
pub const MAX_TIME: Duration = Duration::from_secs(10);

/// Returns the maximum memory for an input of `n_bytes` bytes.
pub fn max_bytes(n_bytes: usize) -> u64 {
    (16 << 20) + 64 * n_bytes as u64
}

/// The observed behaviour of a target on an input.
#[derive(Clone, Debug)]
pub struct Observation {
    /// The kind of result, or the error.
    pub outcome: Result<String, String>,
    /// The failure, if there is one.
    pub failure: Option<String>,
    /// Peak memory on this thread, in bytes.
    pub peak: u64,
    /// The time.
    pub time: Duration,
}

thread_local! {
    static IS_WATCHED: Cell<bool> = const { Cell::new(false) };
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Runs a target on an input.
pub fn watch(target: &Target, input: &[u8]) -> Observation {
    static HOOK: Once = Once::new();
    HOOK.call_once(record_panics);
    let mut result = Ok(Ok(String::new()));
    let start = Instant::now();
    IS_WATCHED.set(true);
    let memory = allocation_counter::measure(|| {
        result = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    });
    IS_WATCHED.set(false);
    let time = start.elapsed();
    let (outcome, panic) = match result {
        Ok(outcome) => (outcome, None),
        Err(_) => (Err(String::new()), Some(PANIC.take())),
    };
    let failure = panic
        .or_else(|| too_much(memory.bytes_max, input.len()))
        .or_else(|| (time > MAX_TIME).then(|| "it takes too long".to_owned()));
    Observation {
        outcome,
        failure,
        peak: memory.bytes_max,
        time,
    }
}

fn too_much(peak: u64, n_bytes: usize) -> Option<String> {
    (peak > max_bytes(n_bytes)).then(|| "it takes too much memory".to_owned())
}

/// Records the messages of panics on watched threads instead of printing them.
fn record_panics() {
    let previous = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
        if IS_WATCHED.get() {
            PANIC.set(message(info))
        } else {
            previous(info)
        }
    }));
}

fn message(info: &PanicHookInfo<'_>) -> String {
    let place = info.location().map(ToString::to_string);
    let text = info.payload_as_str().unwrap_or("a panic without a message");
    format!("{}: {text}", place.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mutate::Form;

    fn target(run: fn(&[u8]) -> Result<String, String>) -> Target {
        Target {
            name: "test",
            run,
            seeds: Vec::new,
            form: Form::Bytes,
            words: &[],
            max_length: 10,
        }
    }

    #[test]
    fn panics_and_excessive_memory_are_failures_and_errors_are_not() {
        let check = |run, expected: Option<&str>| {
            let failure = watch(&target(run), b"x").failure;
            match (failure, expected) {
                (Some(failure), Some(expected)) => assert!(failure.contains(expected), "{failure}"),
                (failure, expected) => assert_eq!(failure.as_deref(), expected),
            }
        };
        check(|_| Err("rejected".to_owned()), None);
        check(|_| panic!("on purpose"), Some("watch.rs"));
        check(|_| panic!("on purpose"), Some("on purpose"));
        let greedy = |_: &[u8]| Ok(vec![1u8; 70 << 20].len().to_string());
        check(greedy, Some("too much memory"));
    }
}
