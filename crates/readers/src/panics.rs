//! Panics of libraries that decode files, as errors: some damaged bytes make them stop.

use std::any::Any;
use std::cell::Cell;
use std::panic::AssertUnwindSafe;
use std::sync::Once;

thread_local! {
    /// Whether a panic of this thread is awaited, so that nothing need be printed.
    static AWAITED: Cell<bool> = const { Cell::new(false) };
}

/// Has panics that are awaited print no message and no backtrace; all others are told as before.
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

/// What `read` returns; where it panics, what the panic said. Nothing that it left half done is read again: a
/// file that failed is given up.
pub(crate) fn caught<T>(read: impl FnOnce() -> T) -> Result<T, String> {
    keep_awaited_panics_quiet();
    let before = AWAITED.replace(true);
    let caught = std::panic::catch_unwind(AssertUnwindSafe(read));
    AWAITED.set(before);
    caught.map_err(|panic| words(panic.as_ref()))
}

/// What a panic said, at most 200 characters of it.
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
