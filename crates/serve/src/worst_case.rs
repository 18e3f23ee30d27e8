//! The most memory that a server takes, from its limits.
//!
//! Every part is bounded by a setting, and while it is filled: bodies and answers by their [budget](crate::budget), what a
//! request becomes by the [bounds](crate::wire::bounds) of its columns, queues by the bytes that wait in them.

use crate::listen::ConnectionLimits;
use crate::rankers;
use crate::score_log::LogQueue;
use crate::server::Settings;
use crate::shadow;
use crate::version::Version;
use std::fmt;

/// A request that is read, encoded and scored takes so many times the bytes that its body may have, besides
/// the body itself.
const AT_WORK: usize = 3;

/// Of each thread that computes: its stack, and buffers that do not grow with requests.
const THREAD: usize = 2 << 20;

/// Log lines and spans that wait to be written or sent.
const TOLD: usize = 16 << 20;

/// The score log holds what waits, what its files hold, and once more what it is writing.
const LOG_TIMES: usize = 3;

/// Bytes by what takes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorstCase {
    parts: Vec<(usize, String)>,
}

impl WorstCase {
    /// What these settings allow, without what is in use once the models are loaded.
    pub fn of(settings: &Settings) -> WorstCase {
        let body = settings.body.bytes;
        let at_work = settings.threads * (AT_WORK * body + THREAD);
        let ports = 3 * ConnectionLimits::most_bytes(&settings.connections);
        let mut parts = vec![
            (
                settings.total_bytes,
                "requests and answers under way (--max-total-body)".to_owned(),
            ),
            (
                at_work,
                format!(
                    "{} threads at work (each {AT_WORK} x --max-body)",
                    settings.threads
                ),
            ),
            (
                ports,
                format!("3 x {} connections", settings.connections.connections),
            ),
            (
                shadow::MOST_BYTES + AT_WORK * body + THREAD,
                "shadow versions".to_owned(),
            ),
            (TOLD, "logs and traces".to_owned()),
        ];
        if settings.log.is_some() {
            let n_bytes = LOG_TIMES * settings.log_waiting.bytes + body + LogQueue::WRITER;
            parts.push((n_bytes, "the score log (--score-log-memory)".to_owned()));
        }
        WorstCase { parts }
    }

    /// Adds what the process has in use, and what loaded versions may still make for their callers.
    pub fn with_models<'a>(
        &self,
        in_use: usize,
        versions: impl IntoIterator<Item = &'a Version>,
    ) -> WorstCase {
        let rankers = versions.into_iter().map(rankers::most_bytes).sum();
        let mut all = self.clone();
        all.parts
            .insert(0, (in_use, "in use with the models loaded".to_owned()));
        all.parts
            .push((rankers, "sets of context columns".to_owned()));
        all
    }

    /// All parts together.
    pub fn total(&self) -> usize {
        self.parts.iter().map(|(n_bytes, _)| n_bytes).sum()
    }
}

impl fmt::Display for WorstCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |n_bytes: usize| n_bytes.div_ceil(1 << 20);
        write!(f, "at most {} MiB:", mib(self.total()))?;
        let parts = self.parts.iter().filter(|(n_bytes, _)| *n_bytes > 0);
        for (place, (n_bytes, what)) in parts.enumerate() {
            let comma = if place == 0 { "" } else { "," };
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
