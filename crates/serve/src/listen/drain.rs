//! Graceful shutdown of a server.

use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// Durations of a graceful shutdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainTimes {
    /// Shutdown delay: the time from [`Drain::begin`] until listeners close. A load balancer needs it to
    /// notice that the server is no longer ready and to stop sending; meanwhile connections are accepted and
    /// requests answered as before.
    pub shutdown_delay: Duration,
    /// Time that requests in progress have from then on until connections are aborted.
    pub finish: Duration,
}

impl Default for DrainTimes {
    /// Five seconds and 20: together less than the 30 after which Kubernetes kills a pod.
    fn default() -> DrainTimes {
        DrainTimes {
            shutdown_delay: Duration::from_secs(5),
            finish: Duration::from_secs(20),
        }
    }
}

/// Graceful shutdown of a server, shared by its ports, its readiness and its signal handler.
///
/// It has three phases, each of which starts once:
///
/// 1. [`begin`](Drain::begin): [`has_begun`](Drain::has_begun) is true, so the router's readiness answers
///    503; connections are still accepted, and HTTP/1 responses have `connection: close`.
/// 2. After [`DrainTimes::shutdown_delay`], or on [`close`](Drain::close): listeners close, idle connections
///    end, HTTP/2 sends GOAWAY, requests in progress finish.
/// 3. After [`DrainTimes::finish`], or on [`abort`](Drain::abort): remaining connections are aborted.
///
/// On SIGTERM a server calls `begin`; on a second one it may call `close`, on a third `abort`.
#[derive(Clone, Debug)]
pub struct Drain {
    phases: Arc<watch::Sender<Phases>>,
    times: DrainTimes,
}

/// Start times of the phases; all unknown before the shutdown begins.
#[derive(Clone, Copy, Debug, Default)]
struct Phases {
    begin: Option<Instant>,
    close: Option<Instant>,
    abort: Option<Instant>,
}

impl Drain {
    /// Creates a shutdown that has not begun.
    pub fn new(times: DrainTimes) -> Drain {
        Drain {
            phases: Arc::new(watch::Sender::new(Phases::default())),
            times,
        }
    }

    /// Begins the shutdown. A second call has no effect.
    pub fn begin(&self) {
        let now = Instant::now();
        let close = now + self.times.shutdown_delay;
        self.bring_forward(now, close, close + self.times.finish);
    }

    /// Closes the listeners now, without waiting for the rest of the shutdown delay.
    pub fn close(&self) {
        let now = Instant::now();
        self.bring_forward(now, now, now + self.times.finish);
    }

    /// Aborts all connections now.
    pub fn abort(&self) {
        let now = Instant::now();
        self.bring_forward(now, now, now);
    }

    /// Returns true if the shutdown has begun: the server is not ready.
    pub fn has_begun(&self) -> bool {
        self.phases.borrow().begin.is_some()
    }

    /// Waits until the shutdown begins.
    pub async fn begun(&self) {
        self.wait(|phases| phases.begin).await;
    }

    /// Waits until listeners close.
    pub async fn closing(&self) {
        self.wait(|phases| phases.close).await;
    }

    /// Waits until connections are aborted.
    pub async fn aborting(&self) {
        self.wait(|phases| phases.abort).await;
    }

    fn bring_forward(&self, begin: Instant, close: Instant, abort: Instant) {
        let earlier =
            |before: Option<Instant>, new| Some(before.map_or(new, |before| before.min(new)));
        self.phases.send_modify(|phases| {
            *phases = Phases {
                begin: earlier(phases.begin, begin),
                close: earlier(phases.close, close),
                abort: earlier(phases.abort, abort),
            };
        });
    }

    /// Waits for a phase, whose start may be moved forward meanwhile.
    async fn wait(&self, phase: fn(&Phases) -> Option<Instant>) {
        let mut phases = self.phases.subscribe();
        loop {
            let at = phase(&phases.borrow_and_update());
            let reached = async {
                match at {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = reached => return,
                // The sender lives as long as `self`.
                _ = phases.changed() => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(1000);

    fn drain() -> Drain {
        Drain::new(DrainTimes {
            shutdown_delay: LONG,
            finish: 2 * LONG,
        })
    }

    /// Checks the times from the beginning to closing and to aborting, in multiples of `LONG`.
    fn check(drain: &Drain, expected: [u64; 2]) {
        let phases = *drain.phases.borrow();
        let begin = phases.begin.expect("has begun");
        let longs = |phase: Option<Instant>| {
            let since = phase.expect("is known").duration_since(begin);
            since.as_secs().div_ceil(LONG.as_secs())
        };
        assert_eq!([longs(phases.close), longs(phases.abort)], expected);
    }

    #[test]
    fn phases_start_in_order_and_only_move_forward() {
        let drain = drain();
        assert!(!drain.has_begun());
        drain.begin();
        assert!(drain.has_begun());
        check(&drain, [1, 3]);
        let before = *drain.phases.borrow();
        drain.begin();
        assert_eq!(drain.phases.borrow().close, before.close);
        assert_eq!(drain.phases.borrow().abort, before.abort);
        drain.close();
        let closed = *drain.phases.borrow();
        assert!(
            closed.close < before.close
                && closed.abort < before.abort
                && closed.close < closed.abort
        );
        drain.abort();
        let aborted = *drain.phases.borrow();
        assert!(
            aborted.begin == before.begin
                && aborted.close == closed.close
                && aborted.abort < closed.abort
        );
    }

    #[tokio::test]
    async fn waiting_tasks_see_a_phase_moved_forward() {
        let drain = drain();
        drain.begin();
        drain.begun().await;
        let other = drain.clone();
        let wait = tokio::spawn(async move {
            other.closing().await;
            other.aborting().await;
        });
        tokio::task::yield_now().await;
        drain.close();
        drain.abort();
        wait.await.unwrap();
    }
}
