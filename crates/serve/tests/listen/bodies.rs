//! Tests of request bodies over a socket.

use crate::support::{SHORT, Server, Settings, check_refused};
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use std::io::Write;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn post(headers: &str, body: &[u8]) -> Vec<u8> {
    let n_bytes = body.len();
    let head = format!(
        "POST /length HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {n_bytes}\r\n{headers}\r\n"
    );
    [head.as_bytes(), body].concat()
}

#[track_caller]
fn check_length(answer: &str, n_bytes: usize) {
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.ends_with(&format!("\r\n\r\n{n_bytes}")), "{answer}");
}

#[test]
fn ten_gigabytes_are_refused_before_the_first_byte() {
    let server = Server::start(Settings::default());
    let head = b"POST /length HTTP/1.1\r\nhost: a\r\ncontent-length: 10737418240\r\n\r\n";
    let message = "10737418240 bytes, more than the 1048576";
    check_refused(&server.exchange(head), 413, message);
}

#[test]
fn a_peer_that_sends_everything_before_reading_gets_the_error() {
    let server = Server::start(Settings::default());
    let answer = server.exchange(&post("", &vec![0; 3 << 20]));
    check_refused(&answer, 413, "3145728 bytes");
}

#[test]
fn expect_continue_is_refused_before_the_body_is_sent() {
    let server = Server::start(Settings::default());
    let head = "POST /length HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\n";
    let answer = server.exchange(format!("{head}content-length: 2000000\r\n\r\n").as_bytes());
    check_refused(&answer, 413, "2000000 bytes");
    let mut client = server.connect();
    client.send(format!("{head}content-length: 3\r\n\r\nabc").as_bytes());
    client.send(b"GET /ready HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    let answers = client.until_closed();
    assert!(
        answers.starts_with("HTTP/1.1 100 Continue\r\n\r\n"),
        "{answers}"
    );
    assert_eq!(answers.matches("HTTP/1.1 200 ").count(), 2, "{answers}");
}

#[test]
fn bodies_are_read_with_length_chunked_and_encoded() {
    let server = Server::start(Settings::default());
    check_length(&server.exchange(&post("", b"")), 0);
    check_length(&server.exchange(&post("", b"abc")), 3);
    check_length(&server.exchange(&post("", &vec![7; 1 << 20])), 1 << 20);
    let chunked = b"POST /length HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\
        transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nchecksum: 1\r\n\r\n";
    check_length(&server.exchange(chunked), 5);
    let long = vec![7; 500_000];
    check_length(
        &server.exchange(&post("content-encoding: gzip\r\n", &gzip(&long))),
        500_000,
    );
    check_length(
        &server.exchange(&post("content-encoding: deflate\r\n", &zlib(&long))),
        500_000,
    );
    check_length(
        &server.exchange(&post("content-encoding: identity\r\n", b"abc")),
        3,
    );
}

#[test]
fn chunks_over_the_limit_are_refused() {
    let server = Server::start(Settings::default());
    let chunk = format!("{:x}\r\n{}\r\n", 100_000, "a".repeat(100_000));
    let request = format!(
        "POST /length HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{}",
        chunk.repeat(12)
    );
    let message = "more bytes than the 1048576";
    check_refused(&server.exchange(request.as_bytes()), 413, message);
}

#[test]
fn a_malformed_chunk_is_refused() {
    let server = Server::start(Settings::default());
    let head = "POST /length HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    for chunk in [
        "xyz\r\n",
        "-1\r\nabc",
        "ffffffffffffffffff\r\n",
        "3\r\nabcdef\r\n",
    ] {
        let answer = server.exchange(format!("{head}{chunk}").as_bytes());
        check_refused(&answer, 400, "malformed");
    }
}

#[test]
fn encoded_bodies_that_are_damaged_are_refused() {
    let server = Server::start(Settings::default());
    let check = |encoding: &str, body: &[u8], status: u16, message: &str| {
        let request = post(&format!("content-encoding: {encoding}\r\n"), body);
        check_refused(&server.exchange(&request), status, message);
    };
    let body = b"click and conversion ".repeat(100);
    let whole = gzip(&body);
    check("gzip", &whole[..whole.len() - 9], 400, "truncated");
    check(
        "gzip",
        &[&whole[..], b"more"].concat(),
        400,
        "4 bytes follow",
    );
    check("gzip", b"not gzip at all", 400, "not gzip");
    check("deflate", b"\x78\x9cnot deflate at all", 400, "not deflate");
    check("br", b"abc", 415, "\"br\" cannot be read");
    check("gzip, gzip", &gzip(&whole), 415, "several encodings");
    server.check_answers();
}

#[test]
fn a_slow_body_is_refused() {
    let mut settings = Settings::default();
    settings.bodies.time = SHORT;
    let server = Server::start(settings);
    let head = b"POST /length HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\nabc";
    check_refused(&server.exchange(head), 408, "did not arrive in 300 ms");
}
