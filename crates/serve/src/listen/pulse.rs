//! What a connection is doing and since when, so that none can hold its place by doing nothing.

use super::ConnectionLimits;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;

/// The pulse of one connection: its wire and its requests tell it what happens, [`judge`](Pulse::judge)
/// says what is to become of it.
#[derive(Debug)]
pub(super) struct Pulse(Mutex<State>);

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
pub(super) enum Verdict {
    /// It may go on; ask again then.
    Wait(Instant),
    /// It idles: say goodbye.
    Leave,
    /// Its peer is too slow.
    Cut,
}

impl Pulse {
    pub(super) fn new() -> Arc<Pulse> {
        Arc::new(Pulse(Mutex::new(State {
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
    ) -> Verdict {
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
    ) -> Verdict {
        let shortest = limits
            .header_time
            .min(limits.send_time)
            .min(limits.idle_time);
        // Whatever begins after now ends after this.
        let soon = now + shortest;
        let bounded = |end: Instant, verdict| match end <= now {
            true => verdict,
            false => Verdict::Wait(end.min(soon)),
        };
        if let Some(since) = self.blocked_since {
            return bounded(since + limits.send_time, Verdict::Cut);
        }
        if self.handled > 0 {
            return Verdict::Wait(soon);
        }
        if self.waiting_for_peer > 0 {
            return bounded(self.active + limits.send_time, Verdict::Cut);
        }
        if self.answers > 0 {
            return Verdict::Wait(soon);
        }
        match self.head_since {
            Some(since) if is_http1 => bounded(since + limits.header_time, Verdict::Cut),
            _ if is_leaving => bounded(self.active + limits.send_time, Verdict::Cut),
            _ => bounded(self.active + limits.idle_time, Verdict::Leave),
        }
    }
}

/// A request that the router works at.
pub(super) struct Handled(Arc<Pulse>);

impl Handled {
    pub(super) fn begin(pulse: &Arc<Pulse>) -> Handled {
        let mut state = pulse.state();
        state.handled += 1;
        state.head_since = None;
        drop(state);
        Handled(pulse.clone())
    }

    /// The router has answered.
    pub(super) fn answered(self) -> Answer {
        let mut state = self.0.state();
        state.answers += 1;
        state.unflushed = true;
        state.active = Instant::now();
        drop(state);
        Answer {
            pulse: self.0.clone(),
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
pub(super) struct Answer {
    pulse: Arc<Pulse>,
    is_waiting_for_peer: bool,
}

impl Answer {
    /// The connection asks for the next part.
    pub(super) fn asked(&mut self) {
        if std::mem::take(&mut self.is_waiting_for_peer) {
            let mut state = self.pulse.state();
            state.waiting_for_peer -= 1;
            state.active = Instant::now();
        }
    }

    /// The connection has got a part, and asks again when the peer has taken it.
    pub(super) fn given(&mut self) {
        self.is_waiting_for_peer = true;
        let mut state = self.pulse.state();
        state.waiting_for_peer += 1;
        state.unflushed = true;
        state.active = Instant::now();
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.asked();
        let mut state = self.pulse.state();
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
    fn check(pulse: &Pulse, is_leaving: bool, expected: (Verdict, u64)) {
        let start = Instant::now();
        let mut now = start;
        loop {
            match pulse.state().judge(now, &limits(), true, is_leaving) {
                Verdict::Wait(until) if until < start + Duration::from_secs(1000) => now = until,
                verdict => {
                    let seconds = (now - start).as_secs_f64().round() as u64;
                    return match verdict {
                        Verdict::Wait(_) => assert_eq!(expected.1, 1000),
                        verdict => assert_eq!((verdict, seconds), expected),
                    };
                }
            }
        }
    }

    const FOREVER: (Verdict, u64) = (Verdict::Leave, 1000);

    #[test]
    fn a_connection_without_requests_leaves_and_is_cut_if_it_stays() {
        let pulse = Pulse::new();
        check(&pulse, false, (Verdict::Leave, IDLE_S));
        check(&pulse, true, (Verdict::Cut, SEND_S));
    }

    #[test]
    fn a_half_sent_head_is_cut_however_often_it_gets_another_byte() {
        let pulse = Pulse::new();
        pulse.read();
        pulse.read();
        check(&pulse, false, (Verdict::Cut, HEADER_S));
    }

    #[test]
    fn the_router_has_its_own_bounds() {
        let pulse = Pulse::new();
        pulse.read();
        let handled = Handled::begin(&pulse);
        pulse.read();
        check(&pulse, false, FOREVER);
        drop(handled);
        check(&pulse, false, (Verdict::Leave, IDLE_S));
    }

    #[test]
    fn an_answer_waits_for_its_maker_but_not_for_its_reader() {
        let pulse = Pulse::new();
        let mut answer = Handled::begin(&pulse).answered();
        check(&pulse, false, FOREVER);
        answer.given();
        check(&pulse, false, (Verdict::Cut, SEND_S));
        answer.asked();
        check(&pulse, false, FOREVER);
        answer.given();
        drop(answer);
        check(&pulse, false, (Verdict::Leave, IDLE_S));
    }

    #[test]
    fn a_peer_that_takes_no_bytes_is_cut() {
        let pulse = Pulse::new();
        pulse.blocked();
        check(&pulse, false, (Verdict::Cut, SEND_S));
        pulse.wrote();
        check(&pulse, false, (Verdict::Leave, IDLE_S));
    }

    #[test]
    fn what_is_written_belongs_to_an_answer_until_it_is_flushed() {
        let pulse = Pulse::new();
        let mut answer = Handled::begin(&pulse).answered();
        assert!(pulse.is_unflushed());
        pulse.flushed();
        answer.given();
        assert!(pulse.is_unflushed());
        pulse.flushed();
        drop(answer);
        assert!(!pulse.is_unflushed());
    }
}
