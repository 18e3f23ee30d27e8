//! ParameterIndex: a [`Port`] is bound, [`serve`] takes its connections and hands their requests to a router,
//! a [`Drain`] ends them in order.
//!
//! HTTP/1.1 and HTTP/2 are spoken on the same port, with TLS or without; the first bytes tell which. No
//! peer holds a connection for long without a request in hand: see [`ConnectionLimits`]. What the server
//! refuses by itself, before the router hears of it, has a JSON body `{"error": "..."}` too, but for
//! HTTP/2, where a bad stream is reset and a head that is too large is answered 431 without a body.

mod activity;
mod connection;
mod drain;
mod peek;
mod port;
mod refused;

pub use drain::{Drain, DrainTimes};
pub use port::{ListenError, Port, tls};

use crate::budget::Budget;
use axum::Router;
use connection::ListenerContext;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep, timeout};

/// What the connections of one port may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// ParameterIndex that are open at a time. One more is told 503 (over TLS, nothing) and closed.
    pub connections: usize,
    /// For a TLS handshake, for a connection's first bytes, and for the head of an HTTP/1 request from
    /// its first byte to its last.
    pub header_time: Duration,
    /// How long a connection stays open without a request. (An HTTP/2 connection whose peer pings it is
    /// in use.)
    pub idle_time: Duration,
    /// How long an answer waits for a peer that does not take it.
    pub send_time: Duration,
    /// The head of a request. It has at most 100 headers too.
    pub header_bytes: usize,
    /// HTTP/2: requests at a time on one connection.
    pub streams: u32,
}

impl Default for ConnectionLimits {
    fn default() -> ConnectionLimits {
        ConnectionLimits {
            connections: 4096,
            header_time: Duration::from_secs(5),
            idle_time: Duration::from_secs(75),
            send_time: Duration::from_secs(30),
            header_bytes: 16 << 10,
            streams: 128,
        }
    }
}

/// What a connection reads ahead of its requests at most: HTTP/1's buffer, HTTP/2's window for all of its
/// streams where there are many connections.
pub const READ_AHEAD: usize = 64 << 10;

/// What else a connection takes at most: its state, HPACK tables, TLS.
pub const CONNECTION_STATE: usize = 64 << 10;

impl ConnectionLimits {
    /// HTTP/2's window: the more connections, the smaller, so that together they take no more than
    /// [`READ_AHEAD`] times a thousand, or each the least that the protocol's default is.
    fn window(&self) -> u32 {
        let share = (READ_AHEAD << 10) / self.connections.max(1);
        share.clamp(READ_AHEAD - 1, 1 << 20) as u32
    }

    /// Bytes that all connections of a port may take, besides their requests and answers.
    pub fn most_bytes(&self) -> usize {
        let each = self.window() as usize + self.header_bytes + CONNECTION_STATE;
        self.connections.saturating_mul(each)
    }
}

/// Headers of an HTTP/1 request. (Hyper's default: another number makes it allocate for each request.)
const MOST_HEADERS: usize = 100;

/// ParameterIndex over the limit that are told so at a time; more are closed without a word.
const MOST_REFUSED: usize = 64;

/// What connections that are cut get to end.
const AFTER_CUT: Duration = Duration::from_millis(100);

/// Who is at the other end of a request's connection; among the request's extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The peer's address. Behind a proxy it is the proxy's.
    pub address: SocketAddr,
    /// Whether the connection is encrypted.
    pub is_secure: bool,
}

/// What became of a port's connections so far.
#[derive(Debug, Default)]
pub struct Counts {
    open: AtomicU64,
    accepted: AtomicU64,
    refused: AtomicU64,
    slow: AtomicU64,
    failed: AtomicU64,
}

impl Counts {
    /// ParameterIndex that are open now.
    pub fn n_open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// ParameterIndex that were accepted.
    pub fn n_accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// ParameterIndex that were refused, because as many as may be were open.
    pub fn n_refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// ParameterIndex that were cut because their peer was too slow.
    pub fn n_slow(&self) -> u64 {
        self.slow.load(Ordering::Relaxed)
    }

    /// Times that the system had no connection to give, such as with too many open files.
    pub fn n_failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    fn slow(&self) {
        self.slow.fetch_add(1, Ordering::Relaxed);
    }
}

/// How the connections of a port ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// ParameterIndex that did not finish in time and were cut.
    pub n_cut: usize,
}

/// Serves a port until its end: see [`Drain`]. Readiness is the router's to answer, by
/// [`Drain::has_begun`]. Requests take what they cost besides their bodies from the budget.
pub async fn serve(
    port: Port,
    router: Router,
    limits: ConnectionLimits,
    budget: Arc<Budget>,
    drain: Drain,
) -> Ended {
    let (listener, tls, counts) = port.into_parts();
    let context = Arc::new(ListenerContext {
        router,
        limits,
        budget,
        drain,
        tls,
        counts: counts.clone(),
    });
    let mut door = Acceptor::new(listener, counts);
    let mut connections = ConnectionSet::new(context.clone());
    let mut closing = pin!(context.drain.closing());
    loop {
        tokio::select! {
            biased;
            () = &mut closing => break,
            () = connections.one_leaves() => {}
            (stream, address) = door.next() => connections.receive(stream, address),
        }
    }
    // Who was connected before the listener closes is heard.
    for _ in 0..context.limits.connections {
        let waiting = timeout(Duration::from_millis(1), door.listener.accept());
        let Ok(Ok((stream, address))) = waiting.await else {
            break;
        };
        connections.receive(stream, address);
    }
    drop(door);
    connections.finish(&context.drain).await
}

/// The listener, which survives what accepting may meet.
struct Acceptor {
    listener: TcpListener,
    counts: Arc<Counts>,
    pause: Duration,
}

impl Acceptor {
    const FIRST_PAUSE: Duration = Duration::from_millis(10);
    const LONGEST_PAUSE: Duration = Duration::from_secs(1);

    fn new(listener: TcpListener, counts: Arc<Counts>) -> Acceptor {
        Acceptor {
            listener,
            counts,
            pause: Acceptor::FIRST_PAUSE,
        }
    }

    async fn next(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok(accepted) => {
                    self.pause = Acceptor::FIRST_PAUSE;
                    return accepted;
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => self.wait_for_room(&error).await,
            }
        }
    }

    /// The system has no room, for files or memory: the connection stays in its queue.
    async fn wait_for_room(&mut self, error: &io::Error) {
        self.counts.failed.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(%error, "no connection could be accepted; are too few files allowed (ulimit -n)?");
        let pause = self.pause;
        self.pause = (2 * pause).min(Acceptor::LONGEST_PAUSE);
        sleep(pause).await;
    }
}

/// Whether accepting failed for this connection only, and the next may be fine.
fn is_of_one_connection(error: &io::Error) -> bool {
    use ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    )
}

/// The open connections.
struct ConnectionSet {
    context: Arc<ListenerContext>,
    seats: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
    seated: JoinSet<()>,
}

impl ConnectionSet {
    fn new(context: Arc<ListenerContext>) -> ConnectionSet {
        let n_seats = context.limits.connections.min(Semaphore::MAX_PERMITS);
        ConnectionSet {
            context,
            seats: Arc::new(Semaphore::new(n_seats)),
            refusals: Arc::new(Semaphore::new(MOST_REFUSED)),
            seated: JoinSet::new(),
        }
    }

    fn receive(&mut self, stream: TcpStream, address: SocketAddr) {
        let Ok(seat) = self.seats.clone().try_acquire_owned() else {
            return self.refuse(stream);
        };
        self.context.counts.accepted.fetch_add(1, Ordering::Relaxed);
        let context = self.context.clone();
        let peer = Peer {
            address,
            is_secure: context.tls.is_some(),
        };
        let open = Open::new(context.counts.clone(), seat);
        self.seated.spawn(async move {
            connection::attend(context, stream, peer).await;
            drop(open);
        });
    }

    /// Says in a few bytes that there is no room, without keeping anyone waiting.
    fn refuse(&self, stream: TcpStream) {
        self.context.counts.refused.fetch_add(1, Ordering::Relaxed);
        let Ok(permit) = self.refusals.clone().try_acquire_owned() else {
            return;
        };
        if self.context.tls.is_some() {
            return;
        }
        let limits = &self.context.limits;
        let answer = refused::over_the_limit(limits.connections);
        let mut wire = peek::PeekStream::new(
            stream,
            activity::ConnectionActivity::new(),
            limits.header_bytes,
        )
        .refusing();
        let refusing = timeout(limits.header_time, async move {
            if wire.write_all(&answer).await.is_ok() {
                let _ = wire.shutdown().await;
            }
        });
        tokio::spawn(async move {
            let _ = refusing.await;
            drop(permit);
        });
    }

    /// Waits until a connection ends.
    async fn one_leaves(&mut self) {
        match self.seated.join_next().await {
            Some(ended) => note(ended),
            None => std::future::pending().await,
        }
    }

    /// Waits until all connections have ended, or are cut.
    async fn finish(mut self, drain: &Drain) -> Ended {
        let mut cutting = pin!(drain.cutting());
        while !self.seated.is_empty() {
            tokio::select! {
                biased;
                () = self.one_leaves() => {}
                () = &mut cutting => break,
            }
        }
        while let Some(ended) = self.seated.try_join_next() {
            note(ended);
        }
        let n_cut = self.seated.len();
        self.seated.abort_all();
        let ended = async { while self.seated.join_next().await.is_some() {} };
        // One that does not yield is left to itself.
        let _ = timeout(AFTER_CUT, ended).await;
        Ended { n_cut }
    }
}

/// Says that a connection made the server panic: its answer did, as it was sent.
fn note(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection made the server panic");
    }
}

/// A seat that is taken.
struct Open {
    counts: Arc<Counts>,
    _seat: OwnedSemaphorePermit,
}

impl Open {
    fn new(counts: Arc<Counts>, seat: OwnedSemaphorePermit) -> Open {
        counts.open.fetch_add(1, Ordering::Relaxed);
        Open {
            counts,
            _seat: seat,
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.counts.open.fetch_sub(1, Ordering::Relaxed);
    }
}
