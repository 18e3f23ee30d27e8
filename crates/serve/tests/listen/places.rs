//! Tests of the time limits of connections.

use crate::support::{PATIENCE, SHORT, Server, Settings, check_refused, eventually};
use std::thread;
use std::time::Instant;

#[test]
fn incomplete_requests_are_closed_and_others_answered() {
    let mut settings = Settings::default();
    settings.connections.header_time = SHORT;
    let server = Server::start(settings);
    let halves: [&[u8]; 3] = [b"GET /rea", b"GET /ready HTTP/1.1\r\nhost: ", b"P"];
    let mut clients: Vec<_> = (0..300).map(|_| server.connect()).collect();
    for (client, half) in clients.iter_mut().zip(halves.iter().cycle()) {
        client.send(half);
    }
    server.check_answers();
    for client in &mut clients {
        assert_eq!(client.until_closed(), "");
    }
    eventually(|| server.counts.n_slow() >= 300);
    eventually(|| server.counts.n_open() == 0);
    server.check_answers();
}

#[test]
fn a_head_that_arrives_byte_by_byte_is_aborted() {
    let mut settings = Settings::default();
    settings.connections.header_time = SHORT;
    let server = Server::start(settings);
    let mut client = server.connect();
    client.send(b"GET /ready HTTP/1.1\r\nhost: ");
    let start = Instant::now();
    while server.counts.n_slow() == 0 {
        client.send(b"a");
        thread::sleep(SHORT / 10);
        assert!(start.elapsed() < PATIENCE);
    }
}

#[test]
fn a_connection_that_sends_nothing_is_closed() {
    let mut settings = Settings::default();
    settings.connections.header_time = SHORT;
    let server = Server::start(settings);
    assert_eq!(server.connect().until_closed(), "");
}

#[test]
fn an_idle_connection_is_not_limited_by_the_header_timeout() {
    let mut settings = Settings::default();
    settings.connections.header_time = SHORT;
    let server = Server::start(settings);
    let mut client = server.known_client();
    thread::sleep(3 * SHORT);
    client.send(b"GET /ready HTTP/1.1\r\nhost: a\r\n\r\n");
    assert!(client.answer().starts_with("HTTP/1.1 200"));
}

#[test]
fn an_idle_connection_is_closed_after_the_idle_timeout() {
    let mut settings = Settings::default();
    settings.connections.idle_time = SHORT;
    let server = Server::start(settings);
    let mut client = server.known_client();
    assert_eq!(client.until_closed(), "");
}

#[test]
fn a_request_in_progress_is_not_limited_by_these_timeouts() {
    let mut settings = Settings::default();
    settings.connections.idle_time = SHORT;
    settings.connections.send_time = SHORT;
    let server = Server::start(settings);
    let mut client = server.connect();
    client.send(b"POST /hold HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n");
    server.wait_for_holding();
    thread::sleep(3 * SHORT);
    server.release();
    assert!(client.answer().ends_with("held"));
}

#[test]
fn a_peer_that_does_not_read_is_aborted() {
    let mut settings = Settings::default();
    settings.connections.send_time = SHORT;
    let server = Server::start(settings);
    let mut client = server.connect();
    client.send(b"GET /big HTTP/1.1\r\nhost: a\r\n\r\n");
    eventually(|| server.counts.n_slow() == 1 && server.counts.n_open() == 0);
    server.check_answers();
}

#[test]
fn a_connection_over_the_limit_gets_503() {
    let mut settings = Settings::default();
    settings.connections.connections = 2;
    let server = Server::start(settings);
    let request = b"GET /ready HTTP/1.1\r\nhost: a\r\n\r\n";
    let mut connected = [server.known_client(), server.known_client()];
    for _ in 0..200 {
        let _ = server.connect();
    }
    let refusal = || server.exchange(request);
    let mut answer = String::new();
    // Earlier refusals may still be in progress, and only some are answered at a time.
    eventually(|| {
        answer = refusal();
        !answer.is_empty()
    });
    check_refused(&answer, 503, "2 connections are open");
    assert!(answer.contains("retry-after: 1"), "{answer}");
    connected[0].send(request);
    assert!(connected[0].answer().starts_with("HTTP/1.1 200"));
    drop(connected);
    eventually(|| server.counts.n_open() == 0);
    server.check_answers();
}

#[test]
fn a_panic_gets_500_and_the_connection_stays_open() {
    let server = Server::start(Settings::default());
    let mut client = server.connect();
    for _ in 0..2 {
        client.send(b"GET /panic HTTP/1.1\r\nhost: a\r\n\r\n");
        check_refused(&client.answer(), 500, "internal error");
    }
    server.check_answers();
}

#[test]
fn a_panic_while_sending_ends_only_its_connection() {
    let server = Server::start(Settings::default());
    let answer = server.exchange(b"GET /late-panic HTTP/1.1\r\nhost: a\r\n\r\n");
    assert!(!answer.ends_with("0\r\n\r\n"), "{answer}");
    server.check_answers();
}
