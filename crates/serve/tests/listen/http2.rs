//! Tests of HTTP/2 without TLS, on the same port as HTTP/1.

use crate::support::{SHORT, Server, Settings, eventually};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use ncs_serve::listen::Ended;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

type Sender = SendRequest<Full<Bytes>>;

/// Opens a connection; the second value completes when it ends.
pub(crate) async fn connect<S>(stream: S) -> (Sender, JoinHandle<()>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connected = handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (sender, connection) = connected.await.unwrap();
    let ended = tokio::spawn(async move { drop(connection.await) });
    (sender, ended)
}

pub(crate) async fn send(sender: &mut Sender, path: &str, body: &[u8]) -> Response<Incoming> {
    let uri = format!("http://localhost{path}");
    let body = Full::new(Bytes::copy_from_slice(body));
    let method = match path {
        "/length" | "/hold" => "POST",
        _ => "GET",
    };
    let request = Request::builder().method(method).uri(uri).body(body);
    sender.send_request(request.unwrap()).await.unwrap()
}

pub(crate) async fn text(response: Response<Incoming>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn both_versions_share_a_port() {
    let server = Server::start(Settings::default());
    let stream = TcpStream::connect(server.address).await.unwrap();
    let (mut sender, _ended) = connect(stream).await;
    assert_eq!(text(send(&mut sender, "/length", b"abc").await).await, "3");
    let large = send(&mut sender, "/length", &vec![0; 2 << 20]).await;
    assert_eq!(large.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let panicked = send(&mut sender, "/panic", b"").await;
    assert_eq!(panicked.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(text(send(&mut sender, "/length", b"abcd").await).await, "4");
    server.check_answers();
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_in_flight_finish_when_the_server_ends() {
    let server = Server::start(Settings::default());
    let stream = TcpStream::connect(server.address).await.unwrap();
    let (sender, ended) = connect(stream).await;
    let mut holding = sender.clone();
    let held = tokio::spawn(async move { text(send(&mut holding, "/hold", b"").await).await });
    server.wait_for_holding();
    server.drain.close();
    eventually(|| std::net::TcpStream::connect(server.address).is_err());
    server.release();
    assert_eq!(held.await.unwrap(), "held");
    ended.await.unwrap();
    drop(sender);
    assert_eq!(server.ended(), Ended { n_aborted: 0 });
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: u8 = 4;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const RST_STREAM: u8 = 3;
const PING: u8 = 6;
const GOAWAY: u8 = 7;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [&head, payload].concat()
}

fn beginning() -> Vec<u8> {
    [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()
}

/// `GET http://a/` in HPACK.
const GET_ROOT: &[u8] = &[0x82, 0x86, 0x84, 0x41, 1, b'a'];

/// Returns the types of the frames that a server sent.
fn kinds(mut bytes: &[u8]) -> Vec<u8> {
    let mut kinds = Vec::new();
    while let [a, b, c, kind, ..] = *bytes {
        kinds.push(kind);
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        bytes = bytes.get(9 + length..).unwrap_or_default();
    }
    kinds
}

#[test]
fn a_connection_without_streams_gets_goaway() {
    let mut settings = Settings::default();
    settings.connections.idle_time = SHORT;
    settings.connections.send_time = SHORT;
    let server = Server::start(settings);
    let mut client = server.connect();
    client.send(&beginning());
    let sent = kinds(&client.bytes_until_closed());
    assert!(sent.contains(&GOAWAY), "{sent:?}");
}

#[test]
fn half_a_preface_is_closed() {
    let mut settings = Settings::default();
    settings.connections.header_time = SHORT;
    let server = Server::start(settings);
    let mut client = server.connect();
    client.send(&PREFACE[..10]);
    assert_eq!(client.until_closed(), "");
}

/// Checks that the frames end their connection and do not affect others.
fn check_flood(name: &str, frames: &[u8]) {
    let server = Server::start(Settings::default());
    let mut client = server.connect();
    client.send(&[beginning(), frames.to_vec()].concat());
    server.check_answers();
    let sent = kinds(&client.bytes_until_closed());
    assert!(
        sent.contains(&GOAWAY) || sent.is_empty(),
        "{name}: {sent:?}"
    );
    server.check_answers();
}

#[test]
fn streams_that_are_reset_at_once_end_the_connection() {
    let resets: Vec<u8> = (0..10_000)
        .map(|i| 2 * i + 1)
        .flat_map(|stream| {
            let head = frame(HEADERS, 0x5, stream, GET_ROOT);
            [head, frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())].concat()
        })
        .collect();
    check_flood("rapid reset", &resets);
}

#[test]
fn endless_continuations_end_the_connection() {
    let start = frame(HEADERS, 0x1, 1, GET_ROOT);
    let more = frame(CONTINUATION, 0, 1, &[0x40, 1, b'b', 1, b'c'].repeat(1000));
    check_flood("continuations", &[start, more.repeat(1000)].concat());
}

#[test]
fn a_flood_of_pings_and_settings_does_not_affect_others() {
    let server = Server::start(Settings::default());
    let mut client = server.connect();
    client.send(&beginning());
    for _ in 0..100 {
        client.send(&frame(PING, 0, 0, &[0; 8]).repeat(100));
        client.send(&frame(SETTINGS, 0, 0, &[]).repeat(100));
    }
    server.check_answers();
}
