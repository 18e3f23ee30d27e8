//! API keys of the callers who score, and the description of the HTTP paths.

use std::fs;

use ncs_model::NetworkKind;
use serde_json::Value;

use crate::grpc;
use crate::harness::{Connection, Server, TOKEN};
use crate::life::BODY;
use crate::trained;

const KEYS: &str = "# the ranker\nkey-of-the-ranker-1\nkey-of-the-ranker-2\n";

/// The status of a rank call with this header.
fn status(server: &Server, port: std::net::SocketAddr, authorization: Option<&str>) -> u16 {
    let headers: Vec<(&str, &str)> = authorization
        .map(|value| ("authorization", value))
        .into_iter()
        .collect();
    let reply = Connection::open(port).ask("POST", "/v2/rank", &headers, BODY.as_bytes());
    if reply.status == 401 {
        assert!(
            reply.error().contains("Authorization: Bearer KEY"),
            "{reply:?}"
        );
    }
    assert_eq!(server.get("/v2/health/ready").status, 200);
    reply.status
}

#[test]
fn scoring_needs_a_key_and_nothing_else_does() {
    let folder = trained::folder(NetworkKind::SparseSharing);
    fs::write(folder.path().join("keys"), KEYS).unwrap();
    let server = Server::start(folder.path(), &["feed=run", "--api-keys-file", "keys"]);
    let admin = format!("Bearer {TOKEN}");
    for port in [server.http, server.admin] {
        for (authorization, expected) in [
            (None, 401),
            (Some("Bearer key-of-the-ranker-1"), 200),
            (Some("bearer key-of-the-ranker-2"), 200),
            (Some("Bearer key-of-the-ranker-3"), 401),
            (Some("Bearer key-of-the-ranker"), 401),
            (Some("Bearer # the ranker"), 401),
            (Some("Basic key-of-the-ranker-1"), 401),
            // The token of the admin port is no key.
            (Some(admin.as_str()), 401),
        ] {
            let found = status(&server, port, authorization);
            assert_eq!(found, expected, "{authorization:?}");
        }
    }
    let infer = server.post("/v2/models/feed/infer", "{}");
    assert_eq!(infer.status, 401);
    for path in [
        "/v2/models/feed",
        "/v2/models/feed/stats",
        "/openapi.json",
        "/v2",
    ] {
        assert_eq!(server.get(path).status, 200, "{path}");
    }
    for path in [
        "/ncs4cvr.v1.Ranking/Rank",
        "/inference.GRPCInferenceService/ModelInfer",
        "/inference.GRPCInferenceService/ModelStreamInfer",
    ] {
        let refused = grpc::call(server.grpc, path, b"", false).unwrap_err();
        assert_eq!(refused.code(), tonic::Code::Unauthenticated, "{path}");
    }
    let open = "/inference.GRPCInferenceService/ServerReady";
    grpc::call(server.grpc, open, b"", false).unwrap();
    assert!(!server.log().contains("key-of-the-ranker"));
}

#[test]
fn keys_that_cannot_be_are_refused_without_showing_them() {
    let folder = trained::folder(NetworkKind::SparseSharing);
    let path = folder.path();
    let check = |keys: &str, parts: &[&str]| {
        fs::write(path.join("keys"), keys).unwrap();
        let serve = ["serve", "run", "--api-keys-file", "keys"];
        trained::refused(path, &serve, parts);
        let output = trained::ncs(path, &serve);
        assert!(!String::from_utf8_lossy(&output.stderr).contains("sesame"));
    };
    check("sesame\n", &["keys: line 1", "at least 16 characters"]);
    check("a-very-long-sesame-key with spaces\n", &["keys: line 1"]);
    check("# nothing\n", &["keys: it has no key"]);
    fs::remove_file(path.join("keys")).unwrap();
    let serve = ["serve", "run", "--api-keys-file", "keys"];
    trained::refused(path, &serve, &["keys"]);
}

/// Every path of the document takes the methods that it lists, with the statuses that it lists, and no other method.
#[test]
fn the_openapi_document_has_the_paths_of_the_server() {
    let folder = trained::folder(NetworkKind::SparseSharing);
    let server = Server::start(folder.path(), &["feed=run"]);
    let document = server.get("/openapi.json").good();
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    let paths = document["paths"].as_object().unwrap();
    assert_eq!(paths.len(), 23);
    for (path, methods) in paths {
        let called = path.replace("{model}", "feed").replace("{version}", "1");
        for method in ["get", "post", "put", "delete"] {
            // Called last, below: nothing is served after it.
            if path.ends_with("/unload") && method == "post" {
                continue;
            }
            let reply = server.admin(&method.to_uppercase(), &called, "{}");
            match methods.get(method) {
                None => assert_eq!(reply.status, 405, "{method} {path}"),
                Some(about) => check(&document, about, reply.status, &format!("{method} {path}")),
            }
        }
    }
    let unload = "/v2/repository/models/feed/unload";
    assert_eq!(server.admin("POST", unload, "{}").status, 200);
}

#[track_caller]
fn check(document: &Value, about: &Value, status: u16, call: &str) {
    assert!([200, 400].contains(&status), "{call}: {status}");
    assert!(
        about["responses"][status.to_string()].is_object(),
        "{call}: {status}"
    );
    references(document, about);
}

/// Every reference leads to something.
fn references(document: &Value, part: &Value) {
    match part {
        Value::Object(map) => {
            if let Some(to) = map.get("$ref") {
                let pointer = to.as_str().unwrap().trim_start_matches('#');
                assert!(document.pointer(pointer).is_some(), "{to}");
            }
            map.values().for_each(|inner| references(document, inner));
        }
        Value::Array(list) => list.iter().for_each(|inner| references(document, inner)),
        _ => {}
    }
}
