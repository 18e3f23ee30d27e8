//! Upper bound of the server's memory, computed from its limits.
//!
//! Every part is bounded by a setting and enforced while it is filled: bodies and responses by the
//! [budget](crate::budget), parsed requests by the [bounds](crate::wire::bounds) of their columns, queues by
//! the bytes of their items.

use crate::listen::ConnectionLimits;
use crate::rankers;
use crate::score_log::LogQueue;
use crate::server::Settings;
use crate::shadow;
use crate::version::Version;
use std::fmt;

/// Memory of a request that is read, encoded and scored, as a multiple of the maximum body size, besides the
/// body itself.
const REQUEST_FACTOR: usize = 3;

/// Bytes of each worker thread: its stack and buffers that do not grow with requests.
const THREAD: usize = 2 << 20;

/// Bytes of log lines and spans waiting to be written or sent.
const TELEMETRY: usize = 16 << 20;

/// Memory of the score log as a multiple of its limit: waiting entries, open files, and the file being
/// written.
const LOG_FACTOR: usize = 3;

/// Upper bound of memory in bytes, by part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorstCase {
    parts: Vec<(usize, String)>,
}

impl WorstCase {
    /// Computes the bound for these settings, without the memory in use after the models are loaded.
    pub fn of(settings: &Settings) -> WorstCase {
        let body = settings.body.bytes;
        let workers = settings.threads * (REQUEST_FACTOR * body + THREAD);
        let ports = 3 * ConnectionLimits::max_bytes(&settings.connections);
        let mut parts = vec![
            (
                settings.total_bytes,
                "requests and answers under way (--max-total-body)".to_owned(),
            ),
            (
                workers,
                format!(
                    "{} threads at work (each {REQUEST_FACTOR} x --max-body)",
                    settings.threads
                ),
            ),
            (
                ports,
                format!("3 x {} connections", settings.connections.connections),
            ),
            (
                shadow::MAX_BYTES + REQUEST_FACTOR * body + THREAD,
                "shadow versions".to_owned(),
            ),
            (TELEMETRY, "logs and traces".to_owned()),
        ];
        if let Some(n_bytes) = settings.context_cache {
            parts.push((
                n_bytes,
                "contexts of recent requests (--context-cache)".to_owned(),
            ));
        }
        if settings.log.is_some() {
            let n_bytes = LOG_FACTOR * settings.log_waiting.bytes + body + LogQueue::WRITER;
            parts.push((n_bytes, "the score log (--score-log-memory)".to_owned()));
        }
        WorstCase { parts }
    }

    /// Adds the memory in use, and the rankers that loaded versions may still build.
    pub fn with_models<'a>(
        &self,
        in_use: usize,
        versions: impl IntoIterator<Item = &'a Version>,
    ) -> WorstCase {
        let rankers = versions.into_iter().map(rankers::max_bytes).sum();
        let mut all = self.clone();
        all.parts
            .insert(0, (in_use, "in use with the models loaded".to_owned()));
        all.parts
            .push((rankers, "sets of context columns".to_owned()));
        all
    }

    /// Returns the sum of all parts.
    pub fn total(&self) -> usize {
        self.parts.iter().map(|(n_bytes, _)| n_bytes).sum()
    }
}

impl fmt::Display for WorstCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |n_bytes: usize| n_bytes.div_ceil(1 << 20);
        write!(f, "at most {} MiB:", mib(self.total()))?;
        let parts = self.parts.iter().filter(|(n_bytes, _)| *n_bytes > 0);
        for (i, (n_bytes, what)) in parts.enumerate() {
            let comma = if i == 0 { "" } else { "," };
            write!(f, "{comma} {} {what}", mib(*n_bytes))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_named_and_added() {
        let worst = WorstCase {
            parts: vec![(3 << 20, "one".to_owned()), (1, "other".to_owned())],
        };
        assert_eq!(worst.to_string(), "at most 4 MiB: 3 one, 1 other");
        let worst = worst.with_models(5 << 20, []);
        assert_eq!(worst.total(), (8 << 20) + 1);
        let expected = "at most 9 MiB: 5 in use with the models loaded, 3 one, 1 other";
        assert_eq!(worst.to_string(), expected);
    }
}
