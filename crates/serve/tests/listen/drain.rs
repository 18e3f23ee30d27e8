//! The end of a server.

use crate::support::{LONG, SHORT, Server, Settings, check_refused, eventually};
use ncs_serve::listen::{DrainTimes, Ended};
use std::net::TcpStream;
use std::time::Duration;

const READY: &[u8] = b"GET /ready HTTP/1.1\r\nhost: a\r\n\r\n";
const HOLD: &[u8] = b"POST /hold HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n";

fn with_times(lame_duck: Duration, finish: Duration) -> Server {
    Server::start(Settings {
        drain: DrainTimes { lame_duck, finish },
        ..Settings::default()
    })
}

fn is_closed(server: &Server) -> bool {
    TcpStream::connect(server.address).is_err()
}

#[test]
fn a_lame_duck_is_not_ready_and_answers_as_before() {
    let server = with_times(LONG, LONG);
    let mut known = server.known_client();
    server.drain.begin();
    check_refused(&server.says(READY), 503, "about to end");
    // A connection that is in use is told not to be used again.
    known.send(b"POST /length HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc");
    let answer = known.until_closed();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    server.drain.close();
    assert_eq!(server.ended(), Ended { n_cut: 0 });
}

#[test]
fn the_lame_duck_time_ends_by_itself() {
    let server = with_times(SHORT, LONG);
    server.drain.begin();
    assert_eq!(server.ended(), Ended { n_cut: 0 });
}

#[test]
fn requests_in_flight_finish_and_idle_connections_close() {
    let server = with_times(Duration::ZERO, LONG);
    let mut idle = server.known_client();
    let mut held = server.connect();
    held.send(HOLD);
    server.wait_for_holding();
    server.drain.begin();
    assert_eq!(idle.until_closed(), "");
    eventually(|| is_closed(&server));
    server.release();
    let answer = held.until_closed();
    assert!(answer.contains("connection: close"), "{answer}");
    assert!(answer.ends_with("held"), "{answer}");
    assert_eq!(server.ended(), Ended { n_cut: 0 });
}

#[test]
fn a_connection_that_waits_to_be_accepted_is_heard() {
    let server = with_times(Duration::ZERO, LONG);
    let mut client = server.connect();
    client.send(READY);
    server.drain.begin();
    let answer = client.until_closed();
    assert!(answer.starts_with("HTTP/1.1 "), "{answer:?}");
    assert_eq!(server.ended(), Ended { n_cut: 0 });
}

#[test]
fn what_does_not_finish_is_cut_at_the_bound() {
    let server = with_times(Duration::ZERO, SHORT);
    let mut clients = [server.connect(), server.connect()];
    for client in &mut clients {
        client.send(HOLD);
        server.wait_for_holding();
    }
    server.drain.begin();
    assert_eq!(server.ended(), Ended { n_cut: 2 });
    for client in &mut clients {
        assert_eq!(client.until_closed(), "");
    }
}

#[test]
fn cutting_waits_for_nobody() {
    let server = with_times(LONG, LONG);
    let mut client = server.connect();
    client.send(HOLD);
    server.wait_for_holding();
    server.drain.begin();
    server.drain.cut();
    assert_eq!(server.ended(), Ended { n_cut: 1 });
    assert_eq!(client.until_closed(), "");
}
