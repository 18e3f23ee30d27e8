//! Panics of libraries that decode files, as errors: some damaged bytes make them stop.

use std::any::Any;
use std::cell::Cell;
use std::panic::AssertUnwindSafe;
use std::sync::Once;

thread_local! {
    /// True if a panic of this thread is expected, so that nothing is printed.
    static AWAITED: Cell<bool> = const { Cell::new(false) };
}

/// Suppresses the message and the backtrace of expected panics; all others are reported as before.
fn keep_awaited_panics_quiet() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !AWAITED.get() {
                usual(info);
            }
        }));
    });
}

/// Returns the result of `read`, or the message of its panic. State that a panic left incomplete is not used
/// again: reading of that file ends.
pub(crate) fn caught<T>(read: impl FnOnce() -> T) -> Result<T, String> {
    keep_awaited_panics_quiet();
    let before = AWAITED.replace(true);
    let caught = std::panic::catch_unwind(AssertUnwindSafe(read));
    AWAITED.set(before);
    caught.map_err(|panic| words(panic.as_ref()))
}

/// Returns the message of a panic, at most 200 characters of it.
fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no reason given")
        .chars()
        .take(200)
        .collect()
}
