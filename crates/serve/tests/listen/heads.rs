//! Tests of request heads.

use crate::support::{Server, Settings, check_refused_head};

#[test]
fn malformed_heads_are_refused() {
    let server = Server::start(Settings::default());
    let check = |bytes: &str, status: u16| {
        check_refused_head(&server.exchange(bytes.as_bytes()), status);
    };
    check("rubbish\r\n\r\n", 400);
    check("GET\r\n\r\n", 400);
    check("GET /ready HTTP/9.9\r\n\r\n", 400);
    check("GET /ready HTTP/1.1\r\nno colon\r\n\r\n", 400);
    check("GET /ready HTTP/1.1\r\na b: c\r\n\r\n", 400);
    check("GET /\0 HTTP/1.1\r\n\r\n", 400);
    check("\x16\x03\x01\x02\0\x01\0\x01\u{7c}\x03\x03", 400);
    let path = "a".repeat(20_000);
    check(&format!("GET /{path} HTTP/1.1\r\n"), 431);
    server.check_answers();
}

#[test]
fn a_malformed_head_after_a_good_request_is_refused_too() {
    let server = Server::start(Settings::default());
    let mut client = server.known_client();
    client.send(b"rubbish\r\n\r\n");
    check_refused_head(&client.until_closed(), 400);
}

#[test]
fn an_empty_response_of_the_router_stays_empty() {
    let server = Server::start(Settings::default());
    let answer = server.exchange(b"PUT /ready HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
}

#[test]
fn ten_thousand_headers_are_refused() {
    let server = Server::start(Settings::default());
    let headers: String = (0..10_000).map(|i| format!("a{i}: b\r\n")).collect();
    let head = format!("GET /ready HTTP/1.1\r\n{headers}\r\n");
    check_refused_head(&server.exchange(head.as_bytes()), 431);
    server.check_answers();
}

#[test]
fn a_header_of_a_megabyte_is_refused() {
    let server = Server::start(Settings::default());
    let head = format!("GET /ready HTTP/1.1\r\na: {}\r\n\r\n", "b".repeat(1 << 20));
    check_refused_head(&server.exchange(head.as_bytes()), 431);
    server.check_answers();
}

#[test]
fn contradicting_lengths_are_refused() {
    let server = Server::start(Settings::default());
    let check = |headers: &str| {
        let request = format!("POST /length HTTP/1.1\r\nhost: a\r\n{headers}\r\n\r\nabc");
        check_refused_head(&server.exchange(request.as_bytes()), 400);
    };
    check("content-length: -3");
    check("content-length: +3");
    check("content-length: 3, 4");
    check("content-length: 3\r\ncontent-length: 4");
    check("content-length: 99999999999999999999999");
    check("content-length: three");
    check("transfer-encoding: gzip");
    check("transfer-encoding: chunked, gzip");
    server.check_answers();
}

#[test]
fn nothing_is_smuggled_behind_a_length_beside_chunks() {
    let server = Server::start(Settings::default());
    let check = |headers: &str, body: &str| {
        let hidden = "GET /ready HTTP/1.1\r\nhost: a\r\n\r\n";
        let request =
            format!("POST /length HTTP/1.1\r\nhost: a\r\n{headers}\r\n\r\n{body}{hidden}");
        let answers = server.exchange(request.as_bytes());
        assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "{answers}");
    };
    let chunked = "0\r\n\r\n";
    check("content-length: 5\r\ntransfer-encoding: chunked", chunked);
    check("transfer-encoding: chunked\r\ncontent-length: 5", chunked);
    check("content-length: 3\r\ncontent-length: 4", "abc");
    check("transfer-encoding: chunked, identity", chunked);
}
