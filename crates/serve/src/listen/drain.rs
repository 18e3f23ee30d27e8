//! The end of a server, in its order.

use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// How long the end may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainTimes {
    /// The lame-duck time: from [`Drain::begin`] until listeners close. A load balancer needs it to hear
    /// that the server is no longer ready, and to stop sending; connections are accepted and answered as
    /// before.
    pub lame_duck: Duration,
    /// What requests that are being answered get from then on, until connections are cut.
    pub finish: Duration,
}

impl Default for DrainTimes {
    /// Five seconds and 20: together less than the 30 after which Kubernetes kills.
    fn default() -> DrainTimes {
        DrainTimes {
            lame_duck: Duration::from_secs(5),
            finish: Duration::from_secs(20),
        }
    }
}

/// The end of a server, shared by its ports, its readiness and its signal handler.
///
/// It goes through three moments, each of which happens once:
///
/// 1. [`begin`](Drain::begin): [`has_begun`](Drain::has_begun) is true, so the router's readiness answers
///    503; connections are still accepted, and HTTP/1 answers say `connection: close`.
/// 2. After [`DrainTimes::lame_duck`], or at [`close`](Drain::close): listeners close, idle connections
///    end, HTTP/2 says GOAWAY, requests that are being answered finish.
/// 3. After [`DrainTimes::finish`], or at [`cut`](Drain::cut): connections that are left are cut.
///
/// A server that gets SIGTERM calls `begin`; at a second one it may call `close`, at a third `cut`.
#[derive(Clone, Debug)]
pub struct Drain {
    moments: Arc<watch::Sender<Moments>>,
    times: DrainTimes,
}

/// When the end begins, closes and cuts; none is known before it has begun.
#[derive(Clone, Copy, Debug, Default)]
struct Moments {
    begin: Option<Instant>,
    close: Option<Instant>,
    cut: Option<Instant>,
}

impl Drain {
    /// An end that has not begun.
    pub fn new(times: DrainTimes) -> Drain {
        Drain {
            moments: Arc::new(watch::Sender::new(Moments::default())),
            times,
        }
    }

    /// Begins the end. A second call changes nothing.
    pub fn begin(&self) {
        let now = Instant::now();
        let close = now + self.times.lame_duck;
        self.bring_forward(now, close, close + self.times.finish);
    }

    /// Closes the listeners now, whatever is left of the lame-duck time.
    pub fn close(&self) {
        let now = Instant::now();
        self.bring_forward(now, now, now + self.times.finish);
    }

    /// Cuts all connections now.
    pub fn cut(&self) {
        let now = Instant::now();
        self.bring_forward(now, now, now);
    }

    /// Whether the end has begun: then the server is not ready.
    pub fn has_begun(&self) -> bool {
        self.moments.borrow().begin.is_some()
    }

    /// Waits until the end begins.
    pub async fn begun(&self) {
        self.wait(|moments| moments.begin).await;
    }

    /// Waits until listeners close.
    pub async fn closing(&self) {
        self.wait(|moments| moments.close).await;
    }

    /// Waits until connections are cut.
    pub async fn cutting(&self) {
        self.wait(|moments| moments.cut).await;
    }

    fn bring_forward(&self, begin: Instant, close: Instant, cut: Instant) {
        let earlier = |known: Option<Instant>, new| Some(known.map_or(new, |known| known.min(new)));
        self.moments.send_modify(|moments| {
            *moments = Moments {
                begin: earlier(moments.begin, begin),
                close: earlier(moments.close, close),
                cut: earlier(moments.cut, cut),
            };
        });
    }

    /// Waits for a moment, which may be brought forward while this waits.
    async fn wait(&self, moment: fn(&Moments) -> Option<Instant>) {
        let mut moments = self.moments.subscribe();
        loop {
            let at = moment(&moments.borrow_and_update());
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
                _ = moments.changed() => {}
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
            lame_duck: LONG,
            finish: 2 * LONG,
        })
    }

    /// Times from the beginning to closing and to cutting, in `LONG`s.
    fn check(drain: &Drain, expected: [u64; 2]) {
        let moments = *drain.moments.borrow();
        let begin = moments.begin.expect("has begun");
        let longs = |moment: Option<Instant>| {
            let since = moment.expect("is known").duration_since(begin);
            since.as_secs().div_ceil(LONG.as_secs())
        };
        assert_eq!([longs(moments.close), longs(moments.cut)], expected);
    }

    #[test]
    fn moments_come_in_order_and_only_earlier() {
        let drain = drain();
        assert!(!drain.has_begun());
        drain.begin();
        assert!(drain.has_begun());
        check(&drain, [1, 3]);
        let known = *drain.moments.borrow();
        drain.begin();
        assert_eq!(drain.moments.borrow().close, known.close);
        assert_eq!(drain.moments.borrow().cut, known.cut);
        drain.close();
        let closed = *drain.moments.borrow();
        assert!(closed.close < known.close && closed.cut < known.cut && closed.close < closed.cut);
        drain.cut();
        let cut = *drain.moments.borrow();
        assert!(cut.begin == known.begin && cut.close == closed.close && cut.cut < closed.cut);
    }

    #[tokio::test]
    async fn who_waits_hears_that_it_comes_earlier() {
        let drain = drain();
        drain.begin();
        drain.begun().await;
        let other = drain.clone();
        let wait = tokio::spawn(async move {
            other.closing().await;
            other.cutting().await;
        });
        tokio::task::yield_now().await;
        drain.close();
        drain.cut();
        wait.await.unwrap();
    }
}
