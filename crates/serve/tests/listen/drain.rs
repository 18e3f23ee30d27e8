//! Tests of graceful shutdown.

use crate::support::{LONG, SHORT, Server, Settings, check_refused, eventually};
use ncs_serve::listen::{DrainTimes, Ended};
use std::net::TcpStream;
use std::time::Duration;

const READY: &[u8] = b"GET /ready HTTP/1.1\r\nhost: a\r\n\r\n";
const HOLD: &[u8] = b"POST /hold HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n";

fn with_times(shutdown_delay: Duration, finish: Duration) -> Server {
    Server::start(Settings {
        drain: DrainTimes {
            shutdown_delay,
            finish,
        },
        ..Settings::default()
    })
}

fn is_closed(server: &Server) -> bool {
    TcpStream::connect(server.address).is_err()
}

#[test]
fn during_the_shutdown_delay_the_server_is_not_ready_and_still_answers() {
    let server = with_times(LONG, LONG);
    let mut known = server.known_client();
    server.drain.begin();
    check_refused(&server.exchange(READY), 503, "shutting down");
    // A connection in use gets `connection: close`.
    known.send(b"POST /length HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc");
    let answer = known.until_closed();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    server.drain.close();
    assert_eq!(server.ended(), Ended { n_aborted: 0 });
}

#[test]
fn the_shutdown_delay_ends_by_itself() {
    let server = with_times(SHORT, LONG);
    server.drain.begin();
    assert_eq!(server.ended(), Ended { n_aborted: 0 });
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
    assert_eq!(server.ended(), Ended { n_aborted: 0 });
}

#[test]
fn a_connection_that_waits_to_be_accepted_is_answered() {
    let server = with_times(Duration::ZERO, LONG);
    let mut client = server.connect();
    client.send(READY);
    server.drain.begin();
    let answer = client.until_closed();
    assert!(answer.starts_with("HTTP/1.1 "), "{answer:?}");
    assert_eq!(server.ended(), Ended { n_aborted: 0 });
}

#[test]
fn requests_that_do_not_finish_in_time_are_aborted() {
    let server = with_times(Duration::ZERO, SHORT);
    let mut clients = [server.connect(), server.connect()];
    for client in &mut clients {
        client.send(HOLD);
        server.wait_for_holding();
    }
    server.drain.begin();
    assert_eq!(server.ended(), Ended { n_aborted: 2 });
    for client in &mut clients {
        assert_eq!(client.until_closed(), "");
    }
}

#[test]
fn aborting_does_not_wait_for_requests() {
    let server = with_times(LONG, LONG);
    let mut client = server.connect();
    client.send(HOLD);
    server.wait_for_holding();
    server.drain.begin();
    server.drain.abort();
    assert_eq!(server.ended(), Ended { n_aborted: 1 });
    assert_eq!(client.until_closed(), "");
}
