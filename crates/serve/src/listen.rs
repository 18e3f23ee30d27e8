//! Connections: a [`Port`] is bound, [`serve`] accepts its connections and passes their requests to a
//! router, a [`Drain`] shuts them down gracefully.
//!
//! HTTP/1.1 and HTTP/2 share a port, with or without TLS; the first bytes select the protocol. hyper speaks
//! both; ours are the limits that it does not have: of connections, of the time without a complete request
//! ([`ConnectionLimits`]) and of a shutdown ([`Drain`]). hyper refuses a head that is not HTTP or too large
//! with 400, 414 or 431 and an empty body (HTTP/2: it resets the stream) before the router is called.

mod activity;
mod connection;
mod drain;
mod port;
mod stream;

pub use drain::{Drain, DrainTimes};
pub use port::{ListenError, Port, tls};

use crate::api_error::ErrorKind;
use crate::budget::Budget;
use activity::ConnectionActivity;
use axum::Router;
use connection::ListenerContext;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use stream::WatchedStream;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep, timeout};

/// Limits of the connections of one port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Maximum number of open connections. One more gets 503 (over TLS, nothing) and is closed.
    pub connections: usize,
    /// Timeout of a TLS handshake, of a connection's first bytes, and of the head of an HTTP/1 request from
    /// its first byte to its last.
    pub header_time: Duration,
    /// Time that a connection may stay open without a request. (HTTP/2 pings count as activity.)
    pub idle_time: Duration,
    /// Time that a response waits for a peer that does not read it.
    pub send_time: Duration,
    /// Maximum size of the head of a request in bytes. It may have at most 100 headers too.
    pub header_bytes: usize,
    /// Maximum concurrent requests on an HTTP/2 connection.
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

/// Maximum bytes that a connection reads ahead of its requests: HTTP/2's window for all of its streams if
/// there are many connections.
pub const READ_AHEAD: usize = 64 << 10;

/// Maximum bytes of other memory of a connection: its state, HPACK tables, TLS.
pub const CONNECTION_STATE: usize = 64 << 10;

impl ConnectionLimits {
    /// Returns HTTP/2's window: it shrinks with the number of connections, so that together they take at
    /// most [`READ_AHEAD`] times 1024, but is never below the default of the protocol.
    fn window(&self) -> u32 {
        let share = (READ_AHEAD << 10) / self.connections.max(1);
        share.clamp(READ_AHEAD - 1, 1 << 20) as u32
    }

    /// Returns the maximum bytes of all connections of a port, besides their requests and responses.
    pub fn max_bytes(&self) -> usize {
        let each = self.window() as usize + self.header_bytes + CONNECTION_STATE;
        self.connections.saturating_mul(each)
    }
}

/// Maximum number of connections over the limit that get a response at the same time; more are closed
/// without one.
const MAX_REFUSING: usize = 64;

/// Time for aborted connections to end.
const ABORT_TIMEOUT: Duration = Duration::from_millis(100);

/// The peer of a request's connection; stored in the request's extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The peer's address; that of the proxy behind a proxy.
    pub address: SocketAddr,
    /// True if the connection is encrypted.
    pub is_secure: bool,
}

/// Counters of a port's connections.
#[derive(Debug, Default)]
pub struct Counts {
    open: AtomicU64,
    refused: AtomicU64,
    slow: AtomicU64,
    failed: AtomicU64,
}

impl Counts {
    /// Returns the number of open connections.
    pub fn n_open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// Returns the number of connections refused because the limit was reached.
    pub fn n_refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Returns the number of connections closed because their peer was too slow.
    pub fn n_slow(&self) -> u64 {
        self.slow.load(Ordering::Relaxed)
    }

    /// Returns the number of failed accepts, for example because of too many open files.
    pub fn n_failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    fn slow(&self) {
        self.slow.fetch_add(1, Ordering::Relaxed);
    }
}

/// Result of shutting a port down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Connections that did not finish in time and were aborted.
    pub n_aborted: usize,
}

/// Serves a port until it is shut down: see [`Drain`]. The router reports readiness by [`Drain::has_begun`].
/// The memory of requests other than their bodies is taken from the budget.
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
    let mut acceptor = Acceptor::new(listener, counts);
    let mut connections = ConnectionSet::new(context.clone());
    let mut closing = pin!(context.drain.closing());
    loop {
        tokio::select! {
            biased;
            () = &mut closing => break,
            () = connections.next_ended() => {}
            (stream, address) = acceptor.next() => connections.receive(stream, address),
        }
    }
    // Connections queued before the listener closes are still served.
    for _ in 0..context.limits.connections {
        let waiting = timeout(Duration::from_millis(1), acceptor.listener.accept());
        let Ok(Ok((stream, address))) = waiting.await else {
            break;
        };
        connections.receive(stream, address);
    }
    drop(acceptor);
    connections.finish(&context.drain).await
}

/// The listener, with recovery from accept errors.
struct Acceptor {
    listener: TcpListener,
    counts: Arc<Counts>,
    delay: Duration,
}

impl Acceptor {
    const FIRST_DELAY: Duration = Duration::from_millis(10);
    const MAX_DELAY: Duration = Duration::from_secs(1);

    fn new(listener: TcpListener, counts: Arc<Counts>) -> Acceptor {
        Acceptor {
            listener,
            counts,
            delay: Acceptor::FIRST_DELAY,
        }
    }

    async fn next(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok(accepted) => {
                    self.delay = Acceptor::FIRST_DELAY;
                    return accepted;
                }
                Err(error) if is_transient(&error) => {}
                Err(error) => self.back_off(&error).await,
            }
        }
    }

    /// Waits after the system ran out of files or memory: the connection stays in its queue.
    async fn back_off(&mut self, error: &io::Error) {
        self.counts.failed.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(%error, "no connection could be accepted; is the limit of open files too low (ulimit -n)?");
        let delay = self.delay;
        self.delay = (2 * delay).min(Acceptor::MAX_DELAY);
        sleep(delay).await;
    }
}

/// Returns true if accepting failed for this connection only.
fn is_transient(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    )
}

/// The open connections.
struct ConnectionSet {
    context: Arc<ListenerContext>,
    permits: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
    tasks: JoinSet<()>,
}

impl ConnectionSet {
    fn new(context: Arc<ListenerContext>) -> ConnectionSet {
        let n_permits = context.limits.connections.min(Semaphore::MAX_PERMITS);
        ConnectionSet {
            context,
            permits: Arc::new(Semaphore::new(n_permits)),
            refusals: Arc::new(Semaphore::new(MAX_REFUSING)),
            tasks: JoinSet::new(),
        }
    }

    fn receive(&mut self, stream: TcpStream, address: SocketAddr) {
        let Ok(permit) = self.permits.clone().try_acquire_owned() else {
            return self.refuse(stream);
        };
        let context = self.context.clone();
        let peer = Peer {
            address,
            is_secure: context.tls.is_some(),
        };
        let open = OpenConnection::new(context.counts.clone(), permit);
        self.tasks.spawn(async move {
            connection::serve_connection(context, stream, peer).await;
            drop(open);
        });
    }

    /// Sends a 503 response if the connection limit is reached, without waiting.
    fn refuse(&self, stream: TcpStream) {
        self.context.counts.refused.fetch_add(1, Ordering::Relaxed);
        let Ok(permit) = self.refusals.clone().try_acquire_owned() else {
            return;
        };
        if self.context.tls.is_some() {
            return;
        }
        let limits = &self.context.limits;
        let response = over_the_limit(limits.connections);
        let mut stream = WatchedStream::new(stream, ConnectionActivity::new());
        let refusing = timeout(limits.header_time, async move {
            if stream.write_all(&response).await.is_ok() {
                let _ = stream.shutdown().await;
            }
        });
        tokio::spawn(async move {
            let _ = refusing.await;
            drop(permit);
        });
    }

    /// Waits until a connection ends.
    async fn next_ended(&mut self) {
        match self.tasks.join_next().await {
            Some(ended) => log_panic(ended),
            None => std::future::pending().await,
        }
    }

    /// Waits until all connections have ended or are aborted.
    async fn finish(mut self, drain: &Drain) -> Ended {
        let mut aborting = pin!(drain.aborting());
        while !self.tasks.is_empty() {
            tokio::select! {
                biased;
                () = self.next_ended() => {}
                () = &mut aborting => break,
            }
        }
        while let Some(ended) = self.tasks.try_join_next() {
            log_panic(ended);
        }
        let n_aborted = self.tasks.len();
        self.tasks.abort_all();
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        // A task that does not yield is abandoned.
        let _ = timeout(ABORT_TIMEOUT, ended).await;
        Ended { n_aborted }
    }
}

/// Returns the response to a connection over the limit. It is HTTP/1; a peer that uses HTTP/2 sees its
/// connection fail.
fn over_the_limit(connections: usize) -> Vec<u8> {
    let error = ErrorKind::Overloaded.error(format!(
        "{connections} connections are open, the limit of this server; close idle ones, or try again \
         later or elsewhere"
    ));
    let body = error.body();
    let head = format!(
        "HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), &body].concat()
}

/// Logs the panic of a connection's task, which was raised while its response was sent.
fn log_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection made the server panic");
    }
}

/// The permit of an open connection.
struct OpenConnection {
    counts: Arc<Counts>,
    _permit: OwnedSemaphorePermit,
}

impl OpenConnection {
    fn new(counts: Arc<Counts>, permit: OwnedSemaphorePermit) -> OpenConnection {
        counts.open.fetch_add(1, Ordering::Relaxed);
        OpenConnection {
            counts,
            _permit: permit,
        }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.counts.open.fetch_sub(1, Ordering::Relaxed);
    }
}
