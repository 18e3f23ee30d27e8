//! Stops of long work on request.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::Error;

/// Returns an error once `stop` is set; `what` describes the consequence or the next step.
///
/// # Errors
/// A stop was requested.
pub fn refuse(stop: &AtomicBool, what: &str) -> Result<(), Error> {
    if stop.load(Ordering::Relaxed) {
        return Err(format!("stopped; {what}").into());
    }
    Ok(())
}
