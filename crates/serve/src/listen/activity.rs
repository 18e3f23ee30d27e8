//! What a connection is doing and since when, so that none can hold its place by doing nothing.

use super::ConnectionLimits;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;

/// The activity of one connection: its wire and its requests tell it what happens, [`judge`](ConnectionActivity::judge)
/// says what is to become of it.
#[derive(Debug)]
pub(super) struct ConnectionActivity(Mutex<State>);

#[derive(Debug)]
struct State {
    /// Requests that the router works at; it bounds their time itself.
    handled: usize,
    /// Answers that are not wholly handed over to the connection.
    answers: usize,
    /// Those of them whose next part is there and waits for the peer to take what came before.
    waiting_for_peer: usize,
    /// When the first bytes of a request's head came in (HTTP/1).
    head_since: Option<Instant>,
    /// When the peer stopped taking bytes.
    blocked_since: Option<Instant>,
    /// When something last went out, or ended.
    active: Instant,
    /// Whether bytes of the router's answers are yet to be written. If not, what is written is hyper's own.
    unflushed: bool,
    /// Whether a request was answered before its body was read.
    left_unread: bool,
}

/// What is to become of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// It may go on; ask again then.
    Wait(Instant),
    /// It idles: say goodbye.
    Leave,
    /// Its peer is too slow.
    Cut,
}

impl ConnectionActivity {
    pub(super) fn new() -> Arc<ConnectionActivity> {
        Arc::new(ConnectionActivity(Mutex::new(State {
            handled: 0,
            answers: 0,
            waiting_for_peer: 0,
            head_since: None,
            blocked_since: None,
            active: Instant::now(),
            unflushed: false,
            left_unread: false,
        })))
    }

    /// Bytes came in.
    pub(super) fn read(&self) {
        let mut state = self.state();
        if state.handled == 0 && state.answers == 0 && state.head_since.is_none() {
            state.head_since = Some(Instant::now());
        }
    }

    /// Bytes went out.
    pub(super) fn wrote(&self) {
        let mut state = self.state();
        state.active = Instant::now();
        state.blocked_since = None;
    }

    /// Bytes could not go out.
    pub(super) fn blocked(&self) {
        self.state().blocked_since.get_or_insert_with(Instant::now);
    }

    /// The connection is told goodbye, and gets its time to go.
    pub(super) fn told_goodbye(&self) {
        self.state().active = Instant::now();
    }

    /// All bytes went out.
    pub(super) fn flushed(&self) {
        self.state().unflushed = false;
    }

    /// Whether bytes that are written now belong to an answer of the router.
    pub(super) fn is_unflushed(&self) -> bool {
        self.state().unflushed
    }

    /// A request was answered, or left, before its body was read.
    pub(super) fn left_unread(&self) {
        self.state().left_unread = true;
    }

    /// Whether the peer may still be sending what nobody reads.
    pub(super) fn has_left_unread(&self) -> bool {
        self.state().left_unread
    }

    /// What is to become of this connection; `is_http1` because HTTP/2 sends more than heads between
    /// requests, and `is_leaving` when it was told goodbye already.
    pub(super) fn judge(
        &self,
        limits: &ConnectionLimits,
        is_http1: bool,
        is_leaving: bool,
    ) -> Action {
        self.state()
            .judge(Instant::now(), limits, is_http1, is_leaving)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn judge(
        &self,
        now: Instant,
        limits: &ConnectionLimits,
        is_http1: bool,
        is_leaving: bool,
    ) -> Action {
        let shortest = limits
            .header_time
            .min(limits.send_time)
            .min(limits.idle_time);
        // Whatever begins after now ends after this.
        let soon = now + shortest;
        let bounded = |end: Instant, verdict| match end <= now {
            true => verdict,
            false => Action::Wait(end.min(soon)),
        };
        if let Some(since) = self.blocked_since {
            return bounded(since + limits.send_time, Action::Cut);
        }
        if self.handled > 0 {
            return Action::Wait(soon);
        }
        if self.waiting_for_peer > 0 {
            return bounded(self.active + limits.send_time, Action::Cut);
        }
        if self.answers > 0 {
            return Action::Wait(soon);
        }
        match self.head_since {
            Some(since) if is_http1 => bounded(since + limits.header_time, Action::Cut),
            _ if is_leaving => bounded(self.active + limits.send_time, Action::Cut),
            _ => bounded(self.active + limits.idle_time, Action::Leave),
        }
    }
}

/// A request that the router works at.
pub(super) struct Handled(Arc<ConnectionActivity>);

impl Handled {
    pub(super) fn begin(activity: &Arc<ConnectionActivity>) -> Handled {
        let mut state = activity.state();
        state.handled += 1;
        state.head_since = None;
        drop(state);
        Handled(activity.clone())
    }

    /// The router has answered.
    pub(super) fn answered(self) -> Reply {
        let mut state = self.0.state();
        state.answers += 1;
        state.unflushed = true;
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

/// An answer on its way to the connection.
pub(super) struct Reply {
    activity: Arc<ConnectionActivity>,
    is_waiting_for_peer: bool,
}

impl Reply {
    /// The connection asks for the next part.
    pub(super) fn asked(&mut self) {
        if std::mem::take(&mut self.is_waiting_for_peer) {
            let mut state = self.activity.state();
            state.waiting_for_peer -= 1;
            state.active = Instant::now();
        }
    }

    /// The connection has got a part, and asks again when the peer has taken it.
    pub(super) fn given(&mut self) {
        self.is_waiting_for_peer = true;
        let mut state = self.activity.state();
        state.waiting_for_peer += 1;
        state.unflushed = true;
        state.active = Instant::now();
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        self.asked();
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

    /// Judges an HTTP/1 connection until it is no longer told to wait; what then, and after how many
    /// seconds.
    fn check(activity: &ConnectionActivity, is_leaving: bool, expected: (Action, u64)) {
        let start = Instant::now();
        let mut now = start;
        loop {
            match activity.state().judge(now, &limits(), true, is_leaving) {
                Action::Wait(until) if until < start + Duration::from_secs(1000) => now = until,
                verdict => {
                    let seconds = (now - start).as_secs_f64().round() as u64;
                    return match verdict {
                        Action::Wait(_) => assert_eq!(expected.1, 1000),
                        verdict => assert_eq!((verdict, seconds), expected),
                    };
                }
            }
        }
    }

    const FOREVER: (Action, u64) = (Action::Leave, 1000);

    #[test]
    fn a_connection_without_requests_leaves_and_is_cut_if_it_stays() {
        let activity = ConnectionActivity::new();
        check(&activity, false, (Action::Leave, IDLE_S));
        check(&activity, true, (Action::Cut, SEND_S));
    }

    #[test]
    fn a_half_sent_head_is_cut_however_often_it_gets_another_byte() {
        let activity = ConnectionActivity::new();
        activity.read();
        activity.read();
        check(&activity, false, (Action::Cut, HEADER_S));
    }

    #[test]
    fn the_router_has_its_own_bounds() {
        let activity = ConnectionActivity::new();
        activity.read();
        let handled = Handled::begin(&activity);
        activity.read();
        check(&activity, false, FOREVER);
        drop(handled);
        check(&activity, false, (Action::Leave, IDLE_S));
    }

    #[test]
    fn an_answer_waits_for_its_maker_but_not_for_its_reader() {
        let activity = ConnectionActivity::new();
        let mut answer = Handled::begin(&activity).answered();
        check(&activity, false, FOREVER);
        answer.given();
        check(&activity, false, (Action::Cut, SEND_S));
        answer.asked();
        check(&activity, false, FOREVER);
        answer.given();
        drop(answer);
        check(&activity, false, (Action::Leave, IDLE_S));
    }

    #[test]
    fn a_peer_that_takes_no_bytes_is_cut() {
        let activity = ConnectionActivity::new();
        activity.blocked();
        check(&activity, false, (Action::Cut, SEND_S));
        activity.wrote();
        check(&activity, false, (Action::Leave, IDLE_S));
    }

    #[test]
    fn what_is_written_belongs_to_an_answer_until_it_is_flushed() {
        let activity = ConnectionActivity::new();
        let mut answer = Handled::begin(&activity).answered();
        assert!(activity.is_unflushed());
        activity.flushed();
        answer.given();
        assert!(activity.is_unflushed());
        activity.flushed();
        drop(answer);
        assert!(!activity.is_unflushed());
    }
}
