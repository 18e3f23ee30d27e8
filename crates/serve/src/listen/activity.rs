//! Activity of a connection over time, so that idle and slow connections can be closed.

use super::ConnectionLimits;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;

/// Activity of one connection: its stream and its requests report events, and
/// [`next_action`](ConnectionActivity::next_action) decides whether the connection is kept.
#[derive(Debug)]
pub(super) struct ConnectionActivity(Mutex<State>);

#[derive(Debug)]
struct State {
    /// Number of requests in the router, which limits their time itself.
    handled: usize,
    /// Number of responses that have not been handed over completely to the connection.
    answers: usize,
    /// Number of these whose next part waits for the peer to read the previous one.
    waiting_for_peer: usize,
    /// Time since which a request's head is expected (HTTP/1): that of the connection's opening or of the
    /// head's first bytes.
    head_since: Option<Instant>,
    /// True once a request has begun.
    has_begun: bool,
    /// True if the connection speaks HTTP/2, which has other frames than heads between requests.
    is_http2: bool,
    /// Time since which writing has been blocked.
    blocked_since: Option<Instant>,
    /// Time of the last write or end of a request.
    active: Instant,
}

/// Decision about a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Keep it; check again at this time.
    Wait(Instant),
    /// Shut it down gracefully: it is idle.
    ShutDown,
    /// Abort it: its peer is too slow.
    Abort,
}

impl ConnectionActivity {
    pub(super) fn new() -> Arc<ConnectionActivity> {
        Arc::new(ConnectionActivity(Mutex::new(State {
            handled: 0,
            answers: 0,
            waiting_for_peer: 0,
            head_since: Some(Instant::now()),
            has_begun: false,
            is_http2: false,
            blocked_since: None,
            active: Instant::now(),
        })))
    }

    /// Records that bytes arrived.
    pub(super) fn read(&self) {
        let mut state = self.state();
        if state.handled == 0 && state.answers == 0 && state.head_since.is_none() {
            state.head_since = Some(Instant::now());
        }
    }

    /// Records that bytes were written. Those before the first request are HTTP/2's settings, or the last
    /// of an HTTP/1 connection: an error response to a malformed head.
    pub(super) fn wrote(&self) {
        let mut state = self.state();
        state.is_http2 |= !state.has_begun;
        state.active = Instant::now();
        state.blocked_since = None;
    }

    /// Records that a write was blocked.
    pub(super) fn blocked(&self) {
        self.state().blocked_since.get_or_insert_with(Instant::now);
    }

    /// Records that a graceful shutdown was started, which starts the idle time again.
    pub(super) fn shutdown_started(&self) {
        self.state().active = Instant::now();
    }

    /// Returns true if a request has begun.
    pub(super) fn has_begun(&self) -> bool {
        self.state().has_begun
    }

    /// Decides about this connection. `is_shutting_down`: its graceful shutdown has been started.
    pub(super) fn next_action(&self, limits: &ConnectionLimits, is_shutting_down: bool) -> Action {
        self.state()
            .next_action(Instant::now(), limits, is_shutting_down)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn next_action(
        &self,
        now: Instant,
        limits: &ConnectionLimits,
        is_shutting_down: bool,
    ) -> Action {
        let shortest = limits
            .header_time
            .min(limits.send_time)
            .min(limits.idle_time);
        // Anything that begins after now ends after this time.
        let next_check = now + shortest;
        let bounded = |end: Instant, action| {
            if end <= now {
                action
            } else {
                Action::Wait(end.min(next_check))
            }
        };
        if let Some(since) = self.blocked_since {
            return bounded(since + limits.send_time, Action::Abort);
        }
        if self.handled > 0 {
            return Action::Wait(next_check);
        }
        if self.waiting_for_peer > 0 {
            return bounded(self.active + limits.send_time, Action::Abort);
        }
        if self.answers > 0 {
            return Action::Wait(next_check);
        }
        match self.head_since {
            Some(since) if !self.is_http2 => bounded(since + limits.header_time, Action::Abort),
            _ if is_shutting_down => bounded(self.active + limits.send_time, Action::Abort),
            _ => bounded(self.active + limits.idle_time, Action::ShutDown),
        }
    }
}

/// A request in the router.
pub(super) struct Handled(Arc<ConnectionActivity>);

impl Handled {
    pub(super) fn begin(activity: &Arc<ConnectionActivity>) -> Handled {
        let mut state = activity.state();
        state.handled += 1;
        state.has_begun = true;
        state.head_since = None;
        drop(state);
        Handled(activity.clone())
    }

    /// Records that the router has returned a response.
    pub(super) fn answered(self) -> Reply {
        let mut state = self.0.state();
        state.answers += 1;
        state.active = Instant::now();
        drop(state);
        Reply {
            activity: self.0.clone(),
            is_waiting_for_peer: false,
        }
    }
}

impl Drop for Handled {
    fn drop(&mut self) {
        self.0.state().handled -= 1;
    }
}

/// A response being sent.
pub(super) struct Reply {
    activity: Arc<ConnectionActivity>,
    is_waiting_for_peer: bool,
}

impl Reply {
    /// Records that the connection polls for the next part.
    pub(super) fn polled(&mut self) {
        if std::mem::take(&mut self.is_waiting_for_peer) {
            let mut state = self.activity.state();
            state.waiting_for_peer -= 1;
            state.active = Instant::now();
        }
    }

    /// Records that the connection got a part; it polls again when the peer has read it.
    pub(super) fn sent(&mut self) {
        self.is_waiting_for_peer = true;
        let mut state = self.activity.state();
        state.waiting_for_peer += 1;
        state.active = Instant::now();
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        self.polled();
        let mut state = self.activity.state();
        state.answers -= 1;
        state.active = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const HEADER_S: u64 = 5;
    const IDLE_S: u64 = 60;
    const SEND_S: u64 = 30;

    fn limits() -> ConnectionLimits {
        ConnectionLimits {
            header_time: Duration::from_secs(HEADER_S),
            idle_time: Duration::from_secs(IDLE_S),
            send_time: Duration::from_secs(SEND_S),
            ..ConnectionLimits::default()
        }
    }

    /// Returns the activity of an HTTP/1 connection that has had a request.
    fn known() -> Arc<ConnectionActivity> {
        let activity = ConnectionActivity::new();
        drop(Handled::begin(&activity));
        activity
    }

    /// Applies the actions for a connection until one is not `Wait`, and checks this action and the
    /// seconds until then.
    fn check(activity: &ConnectionActivity, is_shutting_down: bool, expected: (Action, u64)) {
        let start = Instant::now();
        let mut now = start;
        loop {
            match activity
                .state()
                .next_action(now, &limits(), is_shutting_down)
            {
                Action::Wait(until) if until < start + Duration::from_secs(1000) => now = until,
                action => {
                    let seconds = (now - start).as_secs_f64().round() as u64;
                    return match action {
                        Action::Wait(_) => assert_eq!(expected.1, 1000),
                        action => assert_eq!((action, seconds), expected),
                    };
                }
            }
        }
    }

    const NEVER: (Action, u64) = (Action::ShutDown, 1000);

    #[test]
    fn a_connection_without_a_first_request_is_aborted() {
        check(&ConnectionActivity::new(), false, (Action::Abort, HEADER_S));
    }

    #[test]
    fn http2_is_known_by_its_settings_and_may_be_without_requests() {
        let activity = ConnectionActivity::new();
        activity.wrote();
        activity.read();
        check(&activity, false, (Action::ShutDown, IDLE_S));
    }

    #[test]
    fn an_idle_connection_is_shut_down_and_aborted_if_it_stays() {
        let activity = known();
        check(&activity, false, (Action::ShutDown, IDLE_S));
        check(&activity, true, (Action::Abort, SEND_S));
    }

    #[test]
    fn an_incomplete_head_is_aborted_even_if_bytes_keep_arriving() {
        let activity = known();
        activity.read();
        activity.read();
        check(&activity, false, (Action::Abort, HEADER_S));
    }

    #[test]
    fn requests_in_the_router_have_no_timeout_here() {
        let activity = ConnectionActivity::new();
        activity.read();
        let handled = Handled::begin(&activity);
        activity.read();
        check(&activity, false, NEVER);
        drop(handled);
        check(&activity, false, (Action::ShutDown, IDLE_S));
    }

    #[test]
    fn a_response_waits_for_the_router_but_not_for_its_peer() {
        let activity = ConnectionActivity::new();
        let mut answer = Handled::begin(&activity).answered();
        check(&activity, false, NEVER);
        answer.sent();
        check(&activity, false, (Action::Abort, SEND_S));
        answer.polled();
        check(&activity, false, NEVER);
        answer.sent();
        drop(answer);
        check(&activity, false, (Action::ShutDown, IDLE_S));
    }

    #[test]
    fn a_peer_that_reads_nothing_is_aborted() {
        let activity = known();
        activity.blocked();
        check(&activity, false, (Action::Abort, SEND_S));
        activity.wrote();
        check(&activity, false, (Action::ShutDown, IDLE_S));
    }
}
