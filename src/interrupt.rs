//! Ctrl-C and SIGTERM: the first asks a run to save and end, the second ends it at once.

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
        eprintln!("stopping after this step; once more ends at once, without saving");
    };
    match ctrlc::set_handler(asked) {
        Ok(()) | Err(ctrlc::Error::MultipleHandlers) => Ok(&ASKED),
        Err(error) => Err(error),
    }
}
