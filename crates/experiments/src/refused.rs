//! A candidate that is not promoted.

/// A candidate that is not promoted; the exit code is 3.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not promoted: {}", reasons.join("; "))]
pub struct Refused {
    /// Why not.
    pub reasons: Vec<String>,
}
