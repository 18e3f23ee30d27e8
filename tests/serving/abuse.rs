//! Requests that are small on the wire and would be large at work: each is refused before it costs much,
//! and the server stays within the memory that it states.

use std::time::{Duration, Instant};

use ncs_model::NetworkKind;
use ncs_serve::body::{Encoding, pack};
use tonic::Code;

use super::grpc::call;
use super::harness::{Connection, Reply, Server, TOKEN};
use super::trained;

const INFER: &str = "/inference.GRPCInferenceService/ModelInfer";
const RANK: &str = "/ncs4cvr.v1.Ranking/Rank";

/// A request that is right.
pub(super) const GOOD: &str = r#"{
    "context": {"user": 1, "hour": 9, "device": "device_1", "city": null, "category": null, "tags": [],
                "price": 3, "position": null, "banner": null, "shop": null, "delivery": null,
                "campaign": null, "browser": null, "bucket": null},
    "candidates": {"item": [7]}}"#;

const MB: usize = 1 << 20;

pub(super) fn server(arguments: &[&str]) -> (tempfile::TempDir, Server) {
    let folder = trained::folder(NetworkKind::SparseSharing);
    let arguments = [&["feed=run"], arguments].concat();
    let server = Server::start(folder.path(), &arguments);
    (folder, server)
}

/// A body in a piece that is repeated.
fn repeated(start: &str, piece: &str, end: &str, n_bytes: usize) -> String {
    let n = (n_bytes - start.len() - end.len()) / piece.len();
    format!("{start}{}{end}", piece.repeat(n))
}

/// Bodies of so many bytes that would be many times as large when they are read: path, body.
fn bodies(n_bytes: usize) -> Vec<(&'static str, String)> {
    let (rank, infer) = ("/v2/models/feed/rank", "/v2/models/feed/infer");
    let index = "/v2/repository/index";
    let of =
        |path, start: &str, piece: &str, end: &str| (path, repeated(start, piece, end, n_bytes));
    vec![
        of(index, "{\"a\":[", "{\"\":0},", "0]}"),
        of(index, "{\"a\":[", "[[]],", "0]}"),
        of(index, "{\"a\":[", "\"\",", "0]}"),
        of(index, "{\"", "x", "\":0}"),
        of(index, "", "[", ""),
        of(rank, "{\"candidates\": {\"item\": [[", "1,", "1]]}}"),
        of(rank, "{\"candidates\": {\"item\": [[", "\"\",", "1]]}}"),
        of(
            rank,
            "{\"candidates\": {\"item\": [\"a\",[",
            "1e300,",
            "1]]}}",
        ),
        of(
            rank,
            "{\"context\": {\"item\": [",
            "1e300,",
            "\"a\"]}, \"candidates\": []}",
        ),
        of(rank, "{\"candidates\": {\"item\": [", "[],", "[]]}}"),
        of(rank, "{\"candidates\": {\"", "x", "\": [1]}}"),
        of(rank, "{\"candidates\": [{\"", "x", "\": 1}]}"),
        of(rank, "{\"candidates\": [", "{},", "{}]}"),
        of(rank, "{\"", "x", "\": 1}"),
        of(rank, "{\"id\": \"", "\\n", "\", \"candidates\": []}"),
        of(rank, "{\"label\": \"", "x", "\", \"candidates\": []}"),
        of(rank, "{\"version\": \"", "1", "\", \"candidates\": []}"),
        of(rank, "{\"top_k\": \"", "x", "\", \"candidates\": []}"),
        of(rank, "{\"candidates\": ", "[", ""),
        of(
            infer,
            "{\"inputs\": [",
            "{\"name\":\"\",\"shape\":[],\"datatype\":\"\"},",
            "0]}",
        ),
        of(
            infer,
            "{\"inputs\": [], \"outputs\": [",
            "{\"name\":\"\"},",
            "0]}",
        ),
        of(
            infer,
            "{\"inputs\": [{\"name\": \"a\", \"shape\": [",
            "1,",
            "1]}]}",
        ),
        of(infer, "{\"inputs\": [{\"data\": [", "1,", "1]}]}"),
        of(infer, "{\"inputs\": [{\"data\": [", "\"\",", "1]}]}"),
        of(infer, "{\"inputs\": [{\"name\": \"", "x", "\"}]}"),
        of(infer, "{\"inputs\": [{\"datatype\": \"", "x", "\"}]}"),
        of(infer, "{\"parameters\": {\"", "x", "\": 1}}"),
        of(infer, "{\"x\": [", "[[]],", "0]}"),
    ]
}

/// Messages of so many bytes: path, message.
fn messages(n_bytes: usize) -> Vec<(&'static str, Vec<u8>)> {
    let load = "/inference.GRPCInferenceService/RepositoryModelLoad";
    let index = "/inference.GRPCInferenceService/RepositoryIndex";
    let pieces: [(&'static str, &[u8]); 11] = [
        (INFER, b"\x3a\0"),
        (INFER, b"\x32\0"),
        (INFER, b"\x2a\0"),
        (INFER, b"\x22\0"),
        // An input's shape, parameters, and contents.
        (INFER, b"\x2a\x03\x1a\x01\x01"),
        (INFER, b"\x2a\x02\x22\0"),
        (INFER, b"\x2a\x06\x2a\x04\x42\0\x42\0"),
        (RANK, b"\x32\0"),
        (RANK, b"\x3a\x02\x12\0"),
        (load, b"\x1a\0"),
        (index, b"\x7a\0"),
    ];
    let long = |field: u8| {
        let mut message = vec![field, 0xff, 0xff, 0x3f];
        message.resize(4 + 0x0f_ffff, b'x');
        message
    };
    let mut messages: Vec<_> = pieces
        .into_iter()
        .map(|(path, piece)| (path, piece.repeat(n_bytes / piece.len())))
        .collect();
    messages.extend([0x0a, 0x1a].map(|field| (INFER, long(field))));
    messages.extend([0x0a, 0x22, 0x4a].map(|field| (RANK, long(field))));
    messages
}

fn post(server: &Server, path: &str, body: &str, is_packed: bool) -> Reply {
    let mut connection = Connection::open(server.http);
    if !is_packed {
        return connection.ask("POST", path, &[], body.as_bytes());
    }
    let packed = pack(Encoding::Gzip, body.as_bytes()).unwrap();
    let headers = [("content-encoding", "gzip")];
    connection.ask("POST", path, &headers, &packed)
}

/// Sends all bodies and messages; each must be refused in few words.
fn attack(server: &Server, n_bytes: usize) {
    for (place, (path, body)) in bodies(n_bytes).into_iter().enumerate() {
        let reply = post(server, path, &body, place % 2 == 1);
        let beginning = &body[..40];
        assert!(
            [400, 413].contains(&reply.status),
            "{beginning}: {}",
            reply.status
        );
        assert!(
            reply.error().len() <= 1000,
            "{beginning}: {}",
            reply.error()
        );
    }
    for (place, (path, message)) in messages(n_bytes).into_iter().enumerate() {
        let refused = call(server.grpc, path, &message, place % 2 == 1).unwrap_err();
        let codes = [
            Code::InvalidArgument,
            Code::ResourceExhausted,
            Code::PermissionDenied,
        ];
        assert!(
            codes.contains(&refused.code()),
            "{path} {:?}: {refused}",
            &message[..4]
        );
        assert!(refused.message().len() <= 1000, "{path}: {refused}");
    }
}

#[test]
fn a_message_costs_four_times_its_limit_at_most() {
    let (_folder, server) = server(&["--max-body", "4", "--threads", "1"]);
    server.post("/v2/rank", GOOD).good();
    let before = server.memory();
    // Beside the message: pools of the allocator, one for each thread, and the body before, which may still be held.
    let most = 4 * 4 * MB as u64 + (12 << 20);
    for (path, body) in bodies(4 * MB) {
        server.forget_peak();
        post(&server, path, &body, true);
        let cost = server.peak_memory().saturating_sub(before);
        println!("{path} {}: {cost} bytes", &body[..40]);
        assert!(cost < most, "{}: {cost}", &body[..40]);
    }
    for (path, message) in messages(4 * MB) {
        server.forget_peak();
        let _ = call(server.grpc, path, &message, true);
        let cost = server.peak_memory().saturating_sub(before);
        assert!(cost < most, "{path} {:?}: {cost}", &message[..4]);
    }
}

#[test]
fn what_is_refused_is_refused_soon_and_in_few_words() {
    let (_folder, server) = server(&["--log-level", "debug"]);
    let began = Instant::now();
    attack(&server, 2 * MB);
    println!("{} ms", began.elapsed().as_millis());
    assert!(began.elapsed() < Duration::from_secs(30));
    server.post("/v2/rank", GOOD).good();
    let longest = server.log().lines().map(str::len).max();
    assert!(longest < Some(4000), "{longest:?}");
}

#[test]
fn it_stays_within_the_memory_that_it_states() {
    let folder = trained::folder(NetworkKind::SparseSharing);
    let server = Server::start_within(
        folder.path(),
        &["feed=run", "--threads", "2", "--timeout-ms", "20000"],
        // Address space, of which the program, stacks and what the allocator reserves take a part.
        "ulimit -v 1310720",
    );
    let stated = server.metric("ncs_memory_bound_bytes");
    println!("stated: {} MB", stated >> 20);
    assert!(stated < 1 << 30, "{stated}");
    attack(&server, 15 * MB);
    // Bodies that do not end.
    let head = "POST /v2/rank HTTP/1.1\r\nhost: a\r\ncontent-length: 16000000\r\n\r\n";
    let part = vec![b' '; MB];
    let mut slow: Vec<Connection> = (0..200).map(|_| Connection::open(server.http)).collect();
    for _ in 0..6 {
        for connection in &mut slow {
            // It may have been told 503.
            let _ = connection.send(head.as_bytes());
            let _ = connection.send(&part);
        }
    }
    assert!(
        server.peak_memory() < stated,
        "{} of {stated}",
        server.peak_memory()
    );
    drop(slow);
    let good = || server.post("/v2/rank", GOOD).status == 200;
    let until = Instant::now() + Duration::from_secs(30);
    while !good() {
        assert!(Instant::now() < until, "it does not recover");
    }
    println!("peak: {} MB", server.peak_memory() >> 20);
    let log = server.log();
    assert!(log.contains("memory: at most "), "{log}");
}

#[test]
fn all_bodies_together_have_a_budget() {
    let (_folder, server) = server(&["--max-body", "4", "--max-total-body", "16"]);
    let head = "POST /v2/rank HTTP/1.1\r\nhost: a\r\ncontent-length: 4000000\r\n\r\n";
    let mut slow: Vec<Connection> = (0..8).map(|_| Connection::open(server.http)).collect();
    let part = vec![b' '; 3 * MB];
    for connection in &mut slow {
        connection.send(head.as_bytes()).unwrap();
        // It may have been told 503 already.
        let _ = connection.send(&part);
    }
    let until = Instant::now() + Duration::from_secs(3);
    while server.metric("ncs_body_bytes") < 4 * MB as u64 {
        assert!(
            Instant::now() < until,
            "{}",
            server.metric("ncs_body_bytes")
        );
    }
    // Large ones leave room for small ones.
    server.post("/v2/rank", GOOD).good();
    let refused: Vec<Reply> = slow
        .iter_mut()
        .filter_map(|slow| slow.reply().ok())
        .collect();
    let full = refused.iter().filter(|reply| reply.status == 503);
    let full: Vec<&Reply> = full.collect();
    assert!(!full.is_empty(), "{refused:?}");
    assert!(full[0].head.contains("retry-after: 1"), "{}", full[0].head);
    assert!(
        full[0].error().contains("--max-total-body"),
        "{}",
        full[0].error()
    );
    drop(slow);
    while server.metric("ncs_body_bytes") > MB as u64 {
        assert!(
            Instant::now() < until + Duration::from_secs(30),
            "nothing is given back"
        );
    }
}

#[test]
fn answers_have_a_limit_and_repeat_nothing() {
    let (_folder, server) = server(&[]);
    let outputs = |n: usize| vec![r#"{"name": "ctr"}"#; n].join(",");
    let ask = |outputs: &str| {
        let input = r#"{"name": "item", "shape": [1], "datatype": "INT8", "data": [1]}"#;
        let body = format!("{{\"inputs\": [{input}], \"outputs\": [{outputs}]}}");
        server.post("/v2/models/feed/infer", &body)
    };
    let reply = ask(&outputs(1000));
    assert_eq!(reply.status, 400);
    assert!(
        reply.error().contains("asked for twice"),
        "{}",
        reply.error()
    );
    assert!(ask(&outputs(1)).error().contains("missing"), "the columns");
}

#[test]
fn codes_of_grpc_say_who_is_to_act() {
    let (_folder, server) = server(&["--max-body", "1"]);
    let check = |path: &'static str, message: &[u8], code: Code, part: &str| {
        let refused = call(server.grpc, path, message, false).unwrap_err();
        assert_eq!(refused.code(), code, "{refused}");
        assert!(refused.message().contains(part), "{refused}");
    };
    let large = vec![0; 2 * MB];
    check(
        INFER,
        b"\x2a\x05",
        Code::InvalidArgument,
        "cannot be decoded",
    );
    check(
        RANK,
        b"\xff\xff\xff",
        Code::InvalidArgument,
        "cannot be decoded",
    );
    check(RANK, &large, Code::ResourceExhausted, "--max-body");
    let ready = "/inference.GRPCInferenceService/ModelReady";
    check(
        ready,
        b"\x0a\xff",
        Code::InvalidArgument,
        "cannot be decoded",
    );
    check(
        ready,
        &large,
        Code::ResourceExhausted,
        "bytes that this server reads here",
    );
    let none = "/inference.GRPCInferenceService/ModelTrain";
    check(none, b"", Code::Unimplemented, "no method \"ModelTrain\"");
    check(
        "/ncs4cvr.v1.Ranking/Sort",
        b"",
        Code::Unimplemented,
        "no method \"Sort\"",
    );
    check(
        "/other.Service/Call",
        b"",
        Code::Unimplemented,
        "no service at",
    );
    for address in [server.http, server.admin] {
        let refused = call(address, "/other.Service/Call", b"", false).unwrap_err();
        assert_eq!(refused.code(), Code::Unimplemented);
        assert!(refused.message().contains("no service at"), "{refused}");
    }
    let live = "/inference.GRPCInferenceService/ServerLive";
    assert_eq!(call(server.grpc, live, b"", true).unwrap(), b"\x08\x01");
}

#[test]
fn guesses_at_the_token_are_slowed() {
    let (_folder, server) = server(&[]);
    let with = |authorization: &str| {
        let headers = [("authorization", authorization)];
        let mut connection = Connection::open(server.admin);
        connection.ask("GET", "/v2/models/feed/labels", &headers, b"")
    };
    let began = Instant::now();
    for guess in 0..3 {
        assert_eq!(with(&format!("Bearer guess-number-{guess}")).status, 401);
    }
    assert!(
        began.elapsed() >= Duration::from_millis(1500),
        "{:?}",
        began.elapsed()
    );
    for scheme in ["bearer", "BEARER", "Bearer"] {
        with(&format!("{scheme} {TOKEN}")).good();
    }
    let labels = "/v2/models/feed/labels";
    let twice = server.admin("PUT", labels, r#"{"stable": 1, "stable": 1}"#);
    assert_eq!(twice.status, 400);
    assert!(
        twice.error().contains("duplicate field `stable`"),
        "{}",
        twice.error()
    );
    let twice = server.admin("PUT", labels, r#"{"shadow": [1, 1]}"#);
    assert!(
        twice.error().contains("is listed twice"),
        "{}",
        twice.error()
    );
    let large = format!("{{\"stable\": {}1}}", " ".repeat(1 << 17));
    assert_eq!(server.admin("PUT", labels, &large).status, 413);
}

#[test]
fn a_request_says_to_which_host_it_goes() {
    let (_folder, server) = server(&[]);
    let check = |head: &str, status: u16| {
        let mut connection = Connection::open(server.http);
        connection
            .send(format!("{head}\r\n\r\n").as_bytes())
            .unwrap();
        let reply = connection.reply().unwrap();
        assert_eq!(reply.status, status, "{head}");
        if status == 400 {
            assert!(reply.error().contains("Host"), "{}", reply.error());
        }
    };
    check("GET /v2/health/live HTTP/1.1", 400);
    check("GET /v2/health/live HTTP/1.1\r\nhost: a\r\nhost: b", 400);
    check("GET /v2/health/live HTTP/1.1\r\nhost: a b", 400);
    check("GET /v2/health/live HTTP/1.1\r\nhost: [::1]:8000", 200);
    check("GET /v2/health/live HTTP/1.0", 200);
}

#[test]
fn settings_that_cannot_be_are_refused() {
    let folder = trained::folder(NetworkKind::SharedBottom);
    let check = |arguments: &[&str], part: &str| {
        let output = trained::ncs(folder.path(), &[&["serve", "run"], arguments].concat());
        let printed = String::from_utf8_lossy(&output.stderr);
        assert!(
            [Some(1), Some(2)].contains(&output.status.code()),
            "{arguments:?}"
        );
        assert!(printed.contains(part), "{arguments:?}: {printed}");
    };
    check(&["--receive-timeout", "0"], "from 0.001");
    check(&["--watch", "0"], "from 0.001");
    check(&["--linger", "1e30"], "from 0 to 86400");
    check(&["--drain=-1"], "from 0 to 86400");
    check(&["--threads", "0"], "from 1 to 1024");
    check(&["--threads", "1000000"], "from 1 to 1024");
    check(&["--max-body", "17592186044417"], "from 1 to 2047");
    check(&["--max-total-body", "20"], "at least twice --max-body, 32");
}
