//! Ctrl-C and SIGTERM: the first asks a verb to end in order, the second ends it at once.

use std::sync::atomic::{AtomicBool, Ordering};

static ASKED: AtomicBool = AtomicBool::new(false);

/// The exit code of a program that a signal ended.
const INTERRUPTED: i32 = 130;

/// Listens from now on; the flag is set once the program was asked to end.
///
/// # Errors
/// The system does not allow it.
pub fn flag() -> Result<&'static AtomicBool, ctrlc::Error> {
    let asked = || {
        if ASKED.swap(true, Ordering::Relaxed) {
            std::process::exit(INTERRUPTED);
        }
        eprintln!("stopping in order; once more ends at once");
    };
    match ctrlc::set_handler(asked) {
        Ok(()) | Err(ctrlc::Error::MultipleHandlers) => Ok(&ASKED),
        Err(error) => Err(error),
    }
}

/// Refuses to go on once the program was asked to end: `what` was left undone.
///
/// # Errors
/// It was asked.
pub(crate) fn refuse(asked: &AtomicBool, what: &str) -> Result<(), String> {
    match asked.load(Ordering::Relaxed) {
        true => Err(format!("stopped; {what}")),
        false => Ok(()),
    }
}
