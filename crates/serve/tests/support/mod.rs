//! A test server on a thread of its own, and a client that sends arbitrary bytes.

#![allow(dead_code, reason = "each test file uses its part")]

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use http::StatusCode;
use hyper::body::Frame;
use ncs_serve::ErrorKind;
use ncs_serve::body::{self, BodyLimits};
use ncs_serve::budget::Budget;
use ncs_serve::listen::{ConnectionLimits, Counts, Drain, DrainTimes, Ended, Port, serve};
use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::pin::Pin;
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio_rustls::rustls::ServerConfig;

/// Maximum time that a test waits for an event, long enough for any machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A timeout that a test waits for.
pub(crate) const SHORT: Duration = Duration::from_millis(300);

/// A timeout longer than any test.
pub(crate) const LONG: Duration = Duration::from_secs(600);

/// Settings of a test server: see [`Server::start`].
pub(crate) struct Settings {
    pub(crate) connections: ConnectionLimits,
    pub(crate) bodies: BodyLimits,
    /// Maximum bytes of all requests and responses in progress.
    pub(crate) total_bytes: usize,
    pub(crate) drain: DrainTimes,
    pub(crate) tls: Option<Arc<ServerConfig>>,
}

impl Default for Settings {
    /// Timeouts that no test reaches.
    fn default() -> Settings {
        Settings {
            connections: ConnectionLimits {
                header_time: LONG,
                idle_time: LONG,
                send_time: LONG,
                ..ConnectionLimits::default()
            },
            bodies: BodyLimits {
                bytes: 1 << 20,
                time: LONG,
            },
            total_bytes: 256 << 20,
            drain: DrainTimes {
                shutdown_delay: LONG,
                finish: LONG,
            },
            tls: None,
        }
    }
}

/// A server that stops at the end of the test.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) drain: Drain,
    pub(crate) counts: Arc<Counts>,
    state: ServerState,
    entered: mpsc::Receiver<()>,
    thread: Option<JoinHandle<Ended>>,
}

/// State shared by the routes of a test server.
#[derive(Clone)]
struct ServerState {
    bodies: BodyLimits,
    budget: Arc<Budget>,
    drain: Drain,
    entered: Arc<Mutex<mpsc::Sender<()>>>,
    released: Arc<Semaphore>,
}

impl Server {
    /// `POST /length` returns the length of the body, `GET /ready` the readiness, `POST /hold` waits for
    /// [`Server::release`], `GET /panic` panics, `GET /late-panic` panics while sending, `GET /big` returns
    /// 64 MB.
    pub(crate) fn start(settings: Settings) -> Server {
        let drain = Drain::new(settings.drain);
        let (sender, entered) = mpsc::channel();
        let budget = Budget::new(settings.total_bytes);
        let state = ServerState {
            bodies: settings.bodies,
            budget: budget.clone(),
            drain: drain.clone(),
            entered: Arc::new(Mutex::new(sender)),
            released: Arc::new(Semaphore::new(0)),
        };
        let router = router(state.clone());
        let (sender, bound) = mpsc::channel();
        let served = drain.clone();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let any = "127.0.0.1:0".parse().unwrap();
                let port = Port::bind(any, settings.tls).await.unwrap();
                sender.send((port.address(), port.counts())).unwrap();
                serve(port, router, settings.connections, budget, served).await
            })
        });
        let (address, counts) = bound.recv().unwrap();
        Server {
            address,
            drain,
            counts,
            state,
            entered,
            thread: Some(thread),
        }
    }

    /// Opens a connection to this server.
    pub(crate) fn connect(&self) -> Client {
        Client::new(TcpStream::connect(self.address).unwrap())
    }

    /// Sends bytes and returns what the server sends until it closes.
    pub(crate) fn exchange(&self, bytes: &[u8]) -> String {
        let mut client = self.connect();
        client.send(bytes);
        client.until_closed()
    }

    /// Waits until a request is at `/hold`.
    pub(crate) fn wait_for_holding(&self) {
        self.entered.recv_timeout(PATIENCE).unwrap();
    }

    /// Lets a request at `/hold` continue.
    pub(crate) fn release(&self) {
        self.state.released.add_permits(1);
    }

    /// Waits for the end of the shutdown, which must have begun.
    pub(crate) fn ended(mut self) -> Ended {
        self.thread.take().unwrap().join().unwrap()
    }

    /// Opens a connection and waits for a response on it. (With short timeouts, a busy machine may need
    /// several attempts.)
    pub(crate) fn known_client(&self) -> Client {
        let mut known = None;
        eventually(|| {
            let mut client = self.connect();
            client.send(b"GET /ready HTTP/1.1\r\nhost: a\r\n\r\n");
            let answer = client.try_answer();
            known = answer
                .filter(|answer| answer.starts_with("HTTP/1.1 200 "))
                .map(|_| client);
            known.is_some()
        });
        known.unwrap()
    }

    /// Checks that a new connection is answered.
    pub(crate) fn check_answers(&self) {
        self.known_client();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.drain.abort();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn router(state: ServerState) -> Router {
    Router::new()
        .route("/length", post(length))
        .route("/ready", get(ready))
        .route("/hold", post(hold))
        .route("/panic", get(panic))
        .route("/late-panic", get(late_panic))
        .route("/big", get(big))
        .with_state(state)
}

async fn length(State(state): State<ServerState>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    match body::read(&head.headers, body, &state.bodies, &state.budget).await {
        Ok(bytes) => bytes.len().to_string().into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

async fn ready(State(state): State<ServerState>) -> Response {
    if state.drain.has_begun() {
        ErrorKind::Unavailable
            .error("shutting down")
            .into_response()
    } else {
        StatusCode::OK.into_response()
    }
}

async fn hold(State(state): State<ServerState>) -> &'static str {
    state.entered.lock().unwrap().send(()).unwrap();
    state.released.acquire().await.unwrap().forget();
    "held"
}

async fn panic() -> StatusCode {
    panic!("on purpose")
}

/// A body that panics when it is polled.
struct Panicking;

impl hyper::body::Body for Panicking {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        panic!("on purpose")
    }
}

async fn late_panic() -> Body {
    Body::new(Panicking)
}

async fn big() -> Body {
    vec![0; 64 << 20].into()
}

/// A socket with helper functions.
pub(crate) struct Client {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Client {
    pub(crate) fn new(stream: TcpStream) -> Client {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Client {
            stream,
            received: Vec::new(),
        }
    }

    /// Sends bytes; the server may have closed the connection.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Returns the bytes received until the server closes.
    pub(crate) fn bytes_until_closed(&mut self) -> Vec<u8> {
        let mut buffer = [0; 4096];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(n_bytes) => self.received.extend_from_slice(&buffer[..n_bytes]),
                Err(error) => {
                    let is_late = error.kind() == std::io::ErrorKind::WouldBlock;
                    assert!(!is_late, "the connection is still open");
                    break;
                }
            }
        }
        std::mem::take(&mut self.received)
    }

    pub(crate) fn until_closed(&mut self) -> String {
        String::from_utf8(self.bytes_until_closed()).unwrap()
    }

    /// Returns a response with a content length; the connection stays open.
    pub(crate) fn answer(&mut self) -> String {
        let answer = self.try_answer();
        answer
            .unwrap_or_else(|| panic!("closed after {:?}", String::from_utf8_lossy(&self.received)))
    }

    /// Returns a response, or `None` if the connection closes.
    fn try_answer(&mut self) -> Option<String> {
        let mut buffer = [0; 4096];
        loop {
            if let Some(length) = answer_length(&self.received) {
                let rest = self.received.split_off(length);
                let answer = std::mem::replace(&mut self.received, rest);
                return String::from_utf8(answer).ok();
            }
            let n_bytes = self
                .stream
                .read(&mut buffer)
                .ok()
                .filter(|n_bytes| *n_bytes > 0)?;
            self.received.extend_from_slice(&buffer[..n_bytes]);
        }
    }
}

/// Returns the length of a response if it is complete.
fn answer_length(bytes: &[u8]) -> Option<usize> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let (_, after) = head.split_once("content-length: ")?;
    let n_bytes: usize = after.split("\r\n").next()?.parse().ok()?;
    (bytes.len() >= end + n_bytes).then_some(end + n_bytes)
}

/// Checks the status of a response, and that its body is a JSON error with this text.
#[track_caller]
pub(crate) fn check_refused(answer: &str, status: u16, message: &str) {
    let start = format!("HTTP/1.1 {status} ");
    assert!(answer.starts_with(&start), "{status}: {answer}");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("content-type: application/json"), "{answer}");
    let body: serde_json::Value = serde_json::from_str(body).expect(answer);
    let error = body["error"].as_str().expect("an error");
    assert!(error.contains(message), "{error}");
}

/// Checks that hyper refused the head of a request: this status, no body, and the connection is closed.
#[track_caller]
pub(crate) fn check_refused_head(answer: &str, status: u16) {
    let start = format!("HTTP/1.1 {status} ");
    assert!(answer.starts_with(&start), "{status}: {answer}");
    assert!(answer.contains("content-length: 0\r\n"), "{answer}");
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
}

/// Waits until a condition holds.
#[track_caller]
pub(crate) fn eventually(mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "it did not happen");
        thread::sleep(Duration::from_millis(10));
    }
}
