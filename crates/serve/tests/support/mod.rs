//! A server on a thread of its own, and a client that sends whatever bytes a test wants.

#![allow(dead_code, reason = "each test file uses its part")]

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use http::StatusCode;
use hyper::body::Frame;
use ncs_serve::Kind;
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

/// Long enough for whatever should happen, on any machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A short time that a test waits out.
pub(crate) const SHORT: Duration = Duration::from_millis(300);

/// A time that no test waits out.
pub(crate) const LONG: Duration = Duration::from_secs(600);

/// What a test server does: see [`Server::start`].
pub(crate) struct Settings {
    pub(crate) connections: ConnectionLimits,
    pub(crate) bodies: BodyLimits,
    /// Bytes of all requests and answers together.
    pub(crate) total_bytes: usize,
    pub(crate) drain: DrainTimes,
    pub(crate) tls: Option<Arc<ServerConfig>>,
}

impl Default for Settings {
    /// Nothing takes too long.
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
                lame_duck: LONG,
                finish: LONG,
            },
            tls: None,
        }
    }
}

/// A server that ends with the test.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) drain: Drain,
    pub(crate) counts: Arc<Counts>,
    house: ListenerContext,
    entered: mpsc::Receiver<()>,
    thread: Option<JoinHandle<Ended>>,
}

/// What the routes of a test server share.
#[derive(Clone)]
struct ListenerContext {
    bodies: BodyLimits,
    budget: Arc<Budget>,
    drain: Drain,
    entered: Arc<Mutex<mpsc::Sender<()>>>,
    released: Arc<Semaphore>,
}

impl Server {
    /// `POST /length` says how long the body is, `GET /ready` what a probe sees, `POST /hold` answers when
    /// it is let, `GET /panic` panics, `GET /late-panic` does so while it is sent, `GET /big` answers 64 MB.
    pub(crate) fn start(settings: Settings) -> Server {
        let drain = Drain::new(settings.drain);
        let (sender, entered) = mpsc::channel();
        let budget = Budget::new(settings.total_bytes);
        let house = ListenerContext {
            bodies: settings.bodies,
            budget: budget.clone(),
            drain: drain.clone(),
            entered: Arc::new(Mutex::new(sender)),
            released: Arc::new(Semaphore::new(0)),
        };
        let router = router(house.clone());
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
            house,
            entered,
            thread: Some(thread),
        }
    }

    /// A connection to this server.
    pub(crate) fn connect(&self) -> Client {
        Client::new(TcpStream::connect(self.address).unwrap())
    }

    /// What the server says to some bytes, until it closes.
    pub(crate) fn says(&self, bytes: &[u8]) -> String {
        let mut client = self.connect();
        client.send(bytes);
        client.until_closed()
    }

    /// Waits until a request is at `/hold`.
    pub(crate) fn wait_for_holding(&self) {
        self.entered.recv_timeout(PATIENCE).unwrap();
    }

    /// Lets a request at `/hold` be answered.
    pub(crate) fn release(&self) {
        self.house.released.add_permits(1);
    }

    /// Waits for the end, which must have begun.
    pub(crate) fn ended(mut self) -> Ended {
        self.thread.take().unwrap().join().unwrap()
    }

    /// A connection that has been answered once. (Where times are short, a busy machine may need several
    /// attempts.)
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

    /// Asserts that a new connection is answered.
    pub(crate) fn check_answers(&self) {
        self.known_client();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.drain.cut();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn router(house: ListenerContext) -> Router {
    Router::new()
        .route("/length", post(length))
        .route("/ready", get(ready))
        .route("/hold", post(hold))
        .route("/panic", get(panic))
        .route("/late-panic", get(late_panic))
        .route("/big", get(big))
        .with_state(house)
}

async fn length(State(house): State<ListenerContext>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    match body::read(&head.headers, body, &house.bodies, &house.budget).await {
        Ok(bytes) => bytes.len().to_string().into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

async fn ready(State(house): State<ListenerContext>) -> Response {
    match house.drain.has_begun() {
        true => Kind::Unavailable.says("about to end").into_response(),
        false => StatusCode::OK.into_response(),
    }
}

async fn hold(State(house): State<ListenerContext>) -> &'static str {
    house.entered.lock().unwrap().send(()).unwrap();
    house.released.acquire().await.unwrap().forget();
    "held"
}

async fn panic() -> StatusCode {
    panic!("as the test wants it")
}

/// A body that panics when it is asked for.
struct Panicking;

impl hyper::body::Body for Panicking {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        panic!("as the test wants it")
    }
}

async fn late_panic() -> Body {
    Body::new(Panicking)
}

async fn big() -> Body {
    vec![0; 64 << 20].into()
}

/// A socket and what a test does with it.
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

    /// Sends bytes; the server may have closed already.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// What comes until the server closes, one way or the other.
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

    /// One answer that tells its length, while the connection stays open.
    pub(crate) fn answer(&mut self) -> String {
        let answer = self.try_answer();
        answer
            .unwrap_or_else(|| panic!("closed after {:?}", String::from_utf8_lossy(&self.received)))
    }

    /// One answer, or `None` if the connection closes.
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

/// How long an answer is, if all of it is there.
fn answer_length(bytes: &[u8]) -> Option<usize> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let (_, after) = head.split_once("content-length: ")?;
    let n_bytes: usize = after.split("\r\n").next()?.parse().ok()?;
    (bytes.len() >= end + n_bytes).then_some(end + n_bytes)
}

/// Asserts the status of an answer, and that its body is an error in JSON which says this.
#[track_caller]
pub(crate) fn check_refused(answer: &str, status: u16, says: &str) {
    let start = format!("HTTP/1.1 {status} ");
    assert!(answer.starts_with(&start), "{status}: {answer}");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("content-type: application/json"), "{answer}");
    let body: serde_json::Value = serde_json::from_str(body).expect(answer);
    let error = body["error"].as_str().expect("an error");
    assert!(error.contains(says), "{error}");
}

/// Waits until something is so.
#[track_caller]
pub(crate) fn eventually(mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "it did not happen");
        thread::sleep(Duration::from_millis(10));
    }
}
