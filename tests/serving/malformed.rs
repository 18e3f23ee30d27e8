//! Requests that are wrong: each is refused with words, and the server goes on.

use std::collections::BTreeMap;

use ncs_features::hash::split_mix;
use ncs_model::NetworkKind;

use super::harness::{Connection, Reply, Server};
use super::trained;

/// A request that is right, from which the wrong ones are made.
const RANK: &str = r#"{"id": "1", "user": "u", "context": {"user": 1, "hour": 9, "device": "d", "city": null},
 "candidates": {"item": [7, 8], "category": ["c", "c"], "tags": [["a"], []], "price": [3.5, null],
 "position": [1, 2], "banner": [1, 2], "shop": [1, 2], "delivery": [1, 2], "campaign": [1, 2],
 "browser": [1, 2], "bucket": [1, 2]}, "top_k": 1}"#;

/// What is put in the place of what, in [`RANK`], and what the refusal says of it.
#[rustfmt::skip]
const WRONG_RANKS: [(&str, &str, &str); 74] = [
    // Not JSON.
    ("{\"id\"", "", "expected"),
    ("{\"id\"", "[\"id\"", "expected"),
    ("\"id\": \"1\",", "\"id\": \"1\"", "expected `,` or `}`"),
    ("\"id\": \"1\",", "\"id\": \"1\",,", "key must be a string"),
    ("\"id\": \"1\",", "\"id\" \"1\",", "expected `:`"),
    ("\"id\": \"1\",", "id: \"1\",", "key must be a string"),
    ("\"id\": \"1\",", "'id': \"1\",", "key must be a string"),
    ("\"id\": \"1\",", "\"id\": \"\u{1}\",", "control character"),
    ("\"id\": \"1\",", "\"id\": \"\\x\",", "invalid escape"),
    ("\"id\": \"1\",", "\"id\": \"\\ud800\",", "hex escape"),
    ("\"top_k\": 1}", "\"top_k\": 1", "EOF"),
    ("\"top_k\": 1}", "\"top_k\": 1,}", "trailing comma"),
    ("\"top_k\": 1}", "\"top_k\": 1}}", "trailing characters"),
    ("\"top_k\": 1}", "\"top_k\": 1} {}", "trailing characters"),
    ("\"top_k\": 1}", "\"top_k\": 01}", "invalid number"),
    ("\"top_k\": 1}", "\"top_k\": 1e}", "invalid number"),
    ("\"top_k\": 1}", "\"top_k\": .5}", "expected value"),
    ("\"top_k\": 1}", "\"top_k\": tru}", "expected ident"),
    ("[3.5, null]", "[NaN, null]", "JSON has no NaN"),
    ("[3.5, null]", "[Infinity, null]", "JSON has no Infinity"),
    ("[3.5, null]", "[-Infinity, null]", "JSON has no Infinity"),
    ("[3.5, null]", "[1e999, null]", "number out of range"),
    // Keys of the request.
    ("\"id\": \"1\",", "\"idd\": \"1\",", "unknown key \"idd\"; did you mean \"id\"?"),
    ("\"id\": \"1\",", "\"id\": \"1\", \"id\": \"2\",", "\"id\" comes twice"),
    ("\"id\": \"1\",", "\"id\": [],", "\"id\": "),
    ("\"id\": \"1\",", "\"id\": {},", "\"id\": "),
    ("\"id\": \"1\",", "\"id\": 1.5,", "\"id\": expected a string or a whole number"),
    ("\"user\": \"u\",", "\"user\": [\"u\"],", "\"user\": "),
    ("\"user\": \"u\",", "\"model\": 3,", "\"model\": invalid type"),
    ("\"user\": \"u\",", "\"model\": \"other\",", "another model than the path"),
    ("\"user\": \"u\",", "\"version\": 2,", "version 2 is not loaded"),
    ("\"user\": \"u\",", "\"version\": -1,", "\"-1\" is not a valid version number"),
    ("\"user\": \"u\",", "\"version\": 1.0,", "\"version\": "),
    ("\"user\": \"u\",", "\"version\": \"new\",", "\"new\" is not a valid version number"),
    ("\"user\": \"u\",", "\"version\": 99999999999999999999,", "\"99999999999999999999\" is not a valid version number"),
    ("\"user\": \"u\",", "\"label\": \"canary\",", "\"canary\" is not a label"),
    ("\"user\": \"u\",", "\"label\": \"stabel\",", "did you mean \"stable\"?"),
    ("\"user\": \"u\",", "\"label\": 1,", "\"label\": invalid type"),
    ("\"user\": \"u\",", "\"version\": 1, \"label\": \"stable\",", "say one"),
    ("\"top_k\": 1", "\"top_k\": 0", "\"top_k\" is 0"),
    ("\"top_k\": 1", "\"top_k\": -1", "\"top_k\": invalid value"),
    ("\"top_k\": 1", "\"top_k\": 1.5", "\"top_k\": invalid type"),
    ("\"top_k\": 1", "\"top_k\": \"1\"", "\"top_k\": invalid type"),
    ("\"top_k\": 1", "\"top_k\": 1, \"top_by\": \"crt\"", "did you mean \"ctr\"?"),
    ("\"top_k\": 1", "\"top_k\": 1, \"top_by\": 1", "\"top_by\": invalid type"),
    ("\"top_k\": 1", "\"top_by\": \"ctr\"", "without \"top_k\""),
    // The context.
    ("\"context\": {", "\"context\": [{", "\"context\": "),
    ("\"user\": 1,", "\"user\": 1, \"user\": 2,", "column \"user\" comes twice"),
    ("\"user\": 1,", "\"usr\": 1,", "column \"usr\" is not a feature of this model; did you mean \"user\"?"),
    ("\"user\": 1,", "", "column missing: \"user\""),
    ("\"user\": 1, \"hour\": 9,", "", "columns missing: \"user\", \"hour\""),
    ("\"user\": 1,", "\"user\": {\"a\": 1},", "column \"user\": invalid type: map"),
    ("\"user\": 1,", "\"user\": [1, 2],", "column \"user\", row 1: 2 values where one belongs"),
    ("\"user\": 1,", "\"user\": [[1]],", "a list in a list"),
    ("\"user\": 1,", "\"user\": 1, \"click\": 1,", "it is a label, which a request cannot know"),
    ("\"user\": 1,", "\"user\": 1, \"item\": 1,", "column \"item\" comes twice, in context and in candidates"),
    ("\"user\": 1,", "\"user\": 1, \"\": 1,", "column \"\" is not a feature"),
    // The candidates.
    ("\"candidates\"", "\"candidate\"", "did you mean \"candidates\"?"),
    ("\"candidates\": {", "\"candidates\": [{", "\"candidates\": "),
    ("\"item\": [7, 8],", "\"item\": [7],", "has 2 values and column \"item\" has 1"),
    ("\"item\": [7, 8],", "\"item\": [],", "has 2 values and column \"item\" has 0"),
    ("\"item\": [7, 8],", "\"item\": 7,", "column \"item\": invalid type"),
    ("\"item\": [7, 8],", "\"item\": \"78\",", "column \"item\": invalid type"),
    ("\"item\": [7, 8],", "\"item\": null,", "column \"item\": invalid type"),
    ("\"item\": [7, 8],", "\"item\": {\"a\": 1},", "column \"item\": invalid type"),
    ("\"item\": [7, 8],", "\"item\": [7, [8, 9]],", "column \"item\", row 2: 2 values where one belongs"),
    ("\"item\": [7, 8],", "\"item\": [7, {}],", "column \"item\": invalid type: map"),
    ("\"item\": [7, 8],", "\"itme\": [7, 8],", "did you mean \"item\"?"),
    ("\"item\": [7, 8],", "", "column missing: \"item\""),
    ("[3.5, null]", "[\"cheap\", null]", "column \"price\", row 1: text where a number belongs: \"cheap\""),
    ("[3.5, null]", "[\"-inf\", null]", "column \"price\", row 1: -inf where a finite number belongs"),
    ("[3.5, null]", "[\"inf\", null]", "where a finite number belongs"),
    ("[3.5, null]", "[true, \"x\"]", "row 2: text where a number belongs"),
    ("[[\"a\"], []]", "[[\"a\", [\"b\"]], []]", "a list in a list"),
];

/// An infer request that is right.
const INFER: &str = r#"{"id": "1", "parameters": {}, "inputs": [
 {"name": "user", "shape": [1], "datatype": "INT64", "data": [1]},
 {"name": "item", "shape": [2], "datatype": "INT32", "data": [7, 8]},
 {"name": "price", "shape": [2, 1], "datatype": "FP32", "data": [[3.5], [4.5]]},
 {"name": "tags", "shape": [2, 2], "datatype": "BYTES", "data": ["a", "b", "c", "d"]},
 {"name": "tags:lengths", "shape": [2], "datatype": "INT32", "data": [1, 2]},
 {"name": "hour", "shape": [1], "datatype": "INT64", "data": [1]},
 {"name": "device", "shape": [1], "datatype": "INT64", "data": [1]},
 {"name": "city", "shape": [1], "datatype": "INT64", "data": [1]},
 {"name": "category", "shape": [1], "datatype": "INT64", "data": [1]},
 {"name": "position", "shape": [1], "datatype": "INT64", "data": [1]},
 {"name": "banner", "shape": [1], "datatype": "INT64", "data": [1]},
 {"name": "shop", "shape": [1], "datatype": "INT64", "data": [1]},
 {"name": "delivery", "shape": [1], "datatype": "INT64", "data": [1]},
 {"name": "campaign", "shape": [1], "datatype": "INT64", "data": [1]},
 {"name": "browser", "shape": [1], "datatype": "INT64", "data": [1]},
 {"name": "bucket", "shape": [1], "datatype": "INT64", "data": [1]}],
 "outputs": [{"name": "cvr"}]}"#;

#[rustfmt::skip]
const WRONG_INFERS: [(&str, &str, &str); 62] = [
    ("{\"id\"", "", "expected"),
    ("\"id\": \"1\"", "\"id\": 1", "invalid type"),
    ("\"id\": \"1\"", "\"id\": \"1\", \"id\": \"1\"", "duplicate field `id`"),
    ("\"parameters\": {}", "\"parameters\": 1", "invalid type"),
    ("\"parameters\": {}", "\"parameters\": {\"timeout\": \"x\"}", "invalid type"),
    ("\"parameters\": {}", "\"parameters\": {\"timeout\": -1}", "invalid value"),
    ("\"parameters\": {}", "\"parameters\": {\"label\": \"canary\"}", "\"canary\" is not a label"),
    ("\"parameters\": {}", "\"parameters\": {\"label\": 1}", "invalid type"),
    ("\"inputs\"", "\"input\"", "missing field `inputs`"),
    ("\"inputs\": [", "\"inputs\": {", "expected"),
    ("\"name\": \"user\",", "", "missing field `name`"),
    ("\"name\": \"user\"", "\"name\": 1", "invalid type"),
    ("\"name\": \"user\"", "\"name\": \"usr\"", "did you mean \"user\"?"),
    ("\"name\": \"user\"", "\"name\": \"item\"", "input \"item\": it comes twice"),
    ("\"name\": \"user\"", "\"name\": \"\"", "is not a feature"),
    ("\"name\": \"user\"", "\"name\": \"click\"", "it is a label"),
    ("\"shape\": [1], \"datatype\": \"INT64\", \"data\": [1]}", "\"datatype\": \"INT64\", \"data\": [1]}", "missing field `shape`"),
    ("\"shape\": [2], \"datatype\": \"INT32\"", "\"shape\": [], \"datatype\": \"INT32\"", "input \"item\": shape []"),
    ("\"shape\": [2], \"datatype\": \"INT32\"", "\"shape\": [1, 2, 1], \"datatype\": \"INT32\"", "[rows] or [rows, list]"),
    ("\"shape\": [2], \"datatype\": \"INT32\"", "\"shape\": [-2], \"datatype\": \"INT32\"", "no such number of values"),
    ("\"shape\": [2], \"datatype\": \"INT32\"", "\"shape\": [2.0], \"datatype\": \"INT32\"", "invalid type"),
    ("\"shape\": [2], \"datatype\": \"INT32\"", "\"shape\": 2, \"datatype\": \"INT32\"", "invalid type"),
    ("\"shape\": [2], \"datatype\": \"INT32\"", "\"shape\": [3], \"datatype\": \"INT32\"", "2 values where shape [3] says 3"),
    ("\"shape\": [2], \"datatype\": \"INT32\"", "\"shape\": [1], \"datatype\": \"INT32\"", "2 values where shape [1] says 1"),
    ("\"shape\": [2], \"datatype\": \"INT32\"", "\"shape\": [9223372036854775807], \"datatype\": \"INT32\"", "no such number"),
    ("\"shape\": [2], \"datatype\": \"INT32\"", "\"shape\": [4294967296], \"datatype\": \"INT32\"", "no such number"),
    ("\"shape\": [2], \"datatype\": \"INT32\"", "\"shape\": [65536, 65536], \"datatype\": \"INT32\"", "no such number"),
    ("\"shape\": [2], \"datatype\": \"INT32\"", "\"shape\": [1, 2], \"datatype\": \"INT32\"", "row 1: 2 values where one belongs"),
    ("\"datatype\": \"INT32\", \"data\": [7", "\"data\": [7", "missing field `datatype`"),
    ("\"datatype\": \"INT32\", \"data\": [7", "\"datatype\": \"INT\", \"data\": [7", "no datatype \"INT\""),
    ("\"datatype\": \"INT32\", \"data\": [7", "\"datatype\": \"int32\", \"data\": [7", "no datatype \"int32\""),
    ("\"datatype\": \"INT32\", \"data\": [7", "\"datatype\": \"\", \"data\": [7", "no datatype"),
    ("\"datatype\": \"INT32\", \"data\": [7", "\"datatype\": 1, \"data\": [7", "invalid type"),
    ("\"datatype\": \"INT32\", \"data\": [7", "\"datatype\": \"BYTES\", \"data\": [7", "not all of datatype BYTES"),
    ("\"data\": [7, 8]", "\"data\": [7.5, 8]", "not all of datatype INT32"),
    ("\"data\": [7, 8]", "\"data\": [\"7\", 8]", "not all of datatype INT32"),
    ("\"data\": [7, 8]", "\"data\": [7]", "1 values where"),
    ("\"data\": [7, 8]", "\"data\": []", "0 values where"),
    ("\"data\": [7, 8]", "\"data\": [7, 8, 9]", "3 values where"),
    ("\"data\": [7, 8]", "\"data\": [7, null]", "invalid type: null"),
    ("\"data\": [7, 8]", "\"data\": [7, NaN]", "JSON has no NaN"),
    ("\"data\": [7, 8]", "\"data\": [7, {}]", "invalid type: map"),
    ("\"data\": [7, 8]", "\"data\": 7", "a list of values"),
    ("\"data\": [7, 8]", "\"data\": \"78\"", "a list of values"),
    ("\"data\": [7, 8]", "\"data\": [[[7, 8]]]", "lists of lists of lists"),
    (", \"data\": [7, 8]", "", "neither data nor binary_data_size"),
    (", \"data\": [7, 8]", ", \"parameters\": {\"binary_data_size\": 8}", "0 bytes are left"),
    (", \"data\": [7, 8]", ", \"parameters\": {\"binary_data_size\": -8}", "invalid value"),
    (", \"data\": [7, 8]", ", \"parameters\": {\"binary_data_size\": 18446744073709551615}", "bytes are left"),
    (", \"data\": [7, 8]", ", \"parameters\": {\"shared_memory_region\": \"x\"}", "no shared memory"),
    (", \"data\": [7, 8]", ", \"data\": [7, 8], \"parameters\": {\"binary_data_size\": 0}", "both data and"),
    ("[[3.5], [4.5]]", "[[\"a\"], [\"b\"]]", "not all of datatype FP32"),
    ("\"data\": [1, 2]}", "\"data\": [1, 3]}", "a length is outside 0 to 2"),
    ("\"data\": [1, 2]}", "\"data\": [-1, 2]}", "a length is outside 0 to 2"),
    ("\"name\": \"tags:lengths\"", "\"name\": \"tag:lengths\"", "no input with lists of that name"),
    ("\"name\": \"tags:lengths\"", "\"name\": \"item:lengths\"", "its shape is not a list"),
    ("\"name\": \"tags\"", "\"name\": \"tgas\"", "no input with lists of that name"),
    ("{\"name\": \"cvr\"}", "{\"name\": \"cvrr\"}", "no output \"cvrr\"; did you mean"),
    ("{\"name\": \"cvr\"}", "{\"name\": 1}", "invalid type"),
    ("{\"name\": \"cvr\"}", "{}", "missing field `name`"),
    ("{\"name\": \"cvr\"}", "{\"name\": \"cvr\", \"parameters\": {\"classification\": 2}}", "classification extension"),
    ("{\"name\": \"cvr\"}", "{\"name\": \"cvr\", \"parameters\": {\"shared_memory_region\": \"x\"}}", "no shared memory"),
];

/// Method, path, headers as `name: value`, body, status, and what the refusal says.
type Odd = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    u16,
    &'static str,
);

#[rustfmt::skip]
const ODD: [Odd; 69] = [
    ("GET", "/", "", "", 404, "nothing at /"),
    ("GET", "/v1", "", "", 404, "nothing at"),
    ("GET", "/v3", "", "", 404, "nothing at"),
    ("GET", "/trace", "", "", 404, "nothing at"),
    ("GET", "/v2/models/feed/else", "", "", 404, "nothing at"),
    ("POST", "/v2/models/feed/trace/setting", "", "{}", 501, "start it with --otlp"),
    ("GET", "/v2/models/%ff/ready", "", "", 400, "a model's name has"),
    ("GET", "/v2/model", "", "", 404, "nothing at"),
    ("GET", "//v2", "", "", 404, "nothing at"),
    ("GET", "/v2/health", "", "", 404, "nothing at"),
    ("GET", "/v2/health/alive", "", "", 404, "nothing at"),
    ("GET", "/v2/models", "", "", 404, "nothing at"),
    ("GET", "/v2/models/feed/versions", "", "", 404, "nothing at"),
    ("GET", "/v2/models/feed/version/1", "", "", 404, "nothing at"),
    ("POST", "/v2/models/feed/rank/more", "", "", 404, "nothing at"),
    ("POST", "/v2/models/feed/versions/1/rank/x", "", "", 404, "nothing at"),
    ("GET", "/metrics", "", "", 404, "admin port"),
    ("GET", "/favicon.ico", "", "", 404, "nothing at"),
    ("GET", "/v2/models/feed/../feed", "", "", 404, "nothing at"),
    ("GET", "/%76%32", "", "", 404, "nothing at"),
    ("POST", "/v2", "", "", 405, "use GET"),
    ("POST", "/v2/health/live", "", "", 405, "use GET"),
    ("PUT", "/v2/health/ready", "", "", 405, "use GET"),
    ("DELETE", "/v2/models/feed", "", "", 405, "use GET"),
    ("GET", "/v2/models/feed/rank", "", "", 405, "use POST"),
    ("GET", "/v2/models/feed/infer", "", "", 405, "use POST"),
    ("PUT", "/v2/models/feed/rank", "", "{}", 405, "use POST"),
    ("PATCH", "/v2/rank", "", "{}", 405, "use POST"),
    ("OPTIONS", "/v2/rank", "", "", 405, "use POST"),
    ("HEADS", "/v2", "", "", 405, "use GET"),
    ("GET", "/v2/repository/index", "", "", 405, "use POST"),
    ("GET", "/v2/repository/models/feed/load", "", "", 405, "use POST"),
    ("POST", "/v2/repository/models/feed/load", "", "{}", 403, "admin port"),
    ("POST", "/v2/repository/models/feed/unload", "", "{}", 403, "admin port"),
    ("PUT", "/v2/models/feed/labels", "", "{}", 403, "admin port"),
    ("GET", "/v2/models/feed/labels", "", "", 403, "admin port"),
    ("GET", "/v2/models/other", "", "", 404, "no model \"other\""),
    ("GET", "/v2/models/fed", "", "", 404, "did you mean \"feed\"?"),
    ("GET", "/v2/models/feed/versions/2", "", "", 404, "version 2 is not loaded; loaded are 1"),
    ("GET", "/v2/models/feed/versions/x", "", "", 400, "is not a version number"),
    ("GET", "/v2/models/feed/versions/-1", "", "", 400, "is not a version number"),
    ("GET", "/v2/models/feed/versions/1.0/ready", "", "", 400, "is not a version number"),
    ("GET", "/v2/models/feed/versions/18446744073709551616", "", "", 400, "is not a version number"),
    ("GET", "/v2/models/../ready", "", "", 400, "a model's name has"),
    ("GET", "/v2/models/.hidden", "", "", 400, "a model's name has"),
    ("GET", "/v2/models/..%2f..%2fetc", "", "", 400, "a model's name has"),
    ("GET", "/v2/models/a%00b/config", "", "", 400, "a model's name has"),
    ("GET", "/v2/models/a%20b/stats", "", "", 400, "a model's name has"),
    ("POST", "/v2/models/..%2f..%2f/rank", "", "{}", 400, "a model's name has"),
    ("POST", "/v2/models/..%2f..%2f/infer", "", "{}", 400, "a model's name has"),
    ("GET", "/v2/models//ready", "", "", 400, "a model's name has"),
    ("POST", "/v2/models/other/rank", "", "{\"candidates\": []}", 404, "no model \"other\""),
    ("POST", "/v2/models/feed/versions/7/rank", "", "{\"candidates\": []}", 404, "version 7 is not loaded"),
    ("POST", "/v2/models/other/infer", "", "{\"inputs\": []}", 404, "no model \"other\""),
    ("GET", "/v2/systemsharedmemory/status", "", "", 501, "not supported"),
    ("POST", "/v2/cudasharedmemory/region/x/register", "", "{}", 501, "not supported"),
    ("POST", "/v2/trace/setting", "", "{}", 501, "not supported"),
    ("GET", "/v2/logging", "", "", 501, "not supported"),
    ("POST", "/v2/models/feed/generate", "", "{}", 501, "not supported"),
    ("POST", "/v2/repository/index", "", "[]", 400, "expected a JSON object"),
    ("POST", "/v2/repository/index", "", "{", 400, "EOF"),
    ("POST", "/v2/models/feed/infer", "inference-header-content-length: 5", "{}", 400, "says 5 bytes of JSON, and the body has 2"),
    ("POST", "/v2/models/feed/infer", "inference-header-content-length: x", "{}", 400, "is not a number of bytes"),
    ("POST", "/v2/models/feed/infer", "inference-header-content-length: -1", "{}", 400, "is not a number of bytes"),
    ("POST", "/v2/rank", "x-request-timeout-ms: soon", "{}", 400, "is not a number of milliseconds"),
    ("POST", "/v2/rank", "x-request-timeout-ms: 0", "{}", 504, "no answer within 0 ms"),
    ("POST", "/v2/rank", "content-encoding: br", "{}", 415, "br"),
    ("POST", "/v2/rank", "content-encoding: gzip", "{}", 400, "gzip"),
    ("POST", "/v2/rank", "content-encoding: deflate", "{}", 400, "deflate"),
];

fn server() -> (tempfile::TempDir, Server) {
    let folder = trained::folder(NetworkKind::SparseSharing);
    let server = Server::start(folder.path(), &["feed=run"]);
    (folder, server)
}

/// What is not as it should be in a refusal.
fn fault(reply: &Reply, status: impl Fn(u16) -> bool, expected: &str) -> Option<String> {
    let printed = reply.json();
    let error = printed["error"].as_str().unwrap_or("an answer");
    let is_json = reply.head.contains("application/json");
    let is_right = status(reply.status) && error.contains(expected) && is_json;
    (!is_right || error.len() > 1000).then(|| format!("{} {error}; not: {expected}", reply.status))
}

#[test]
fn two_hundred_wrong_requests_are_refused_with_words() {
    let (_folder, server) = server();
    let mut connection = Connection::open(server.http);
    let mut ask = |path: &str, body: &str| connection.ask("POST", path, &[], body.as_bytes());
    let (rank, infer) = ("/v2/models/feed/rank", "/v2/models/feed/infer");
    ask(rank, RANK).good();
    ask(infer, INFER).good();
    let mut faults = Vec::new();
    let ranks = WRONG_RANKS.iter().map(|case| (rank, RANK, case));
    let infers = WRONG_INFERS.iter().map(|case| (infer, INFER, case));
    for (path, valid, (from, to, expected)) in ranks.chain(infers) {
        assert!(valid.contains(from), "{from}");
        let reply = ask(path, &valid.replacen(from, to, 1));
        // 501 is the protocol's word for a part of it that is not there.
        let is_refusal = |status| (400..500).contains(&status) || status == 501;
        faults.extend(fault(&reply, is_refusal, expected).map(|fault| format!("{to} -> {fault}")));
    }
    for (method, path, header, body, status, expected) in ODD {
        let headers: Vec<(&str, &str)> = header.split_once(": ").into_iter().collect();
        let mut connection = Connection::open(server.http);
        let reply = connection.ask(method, path, &headers, body.as_bytes());
        let fault = fault(&reply, |found| found == status, expected);
        faults.extend(fault.map(|fault| format!("{method} {path} {header} -> {fault}")));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    let n = WRONG_RANKS.len() + WRONG_INFERS.len() + ODD.len();
    assert!(n >= 200, "{n}");
    assert_eq!(server.get("/v2/health/ready").status, 200);
    server.post("/v2/rank", RANK).good();
}

#[test]
fn paths_have_methods_and_may_end_with_a_slash() {
    let (_folder, server) = server();
    let check = |method: &str, path: &str, status: u16, allow: Option<&str>| {
        let mut connection = Connection::open(server.http);
        let request = format!("{method} {path} HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n");
        connection.send(request.as_bytes()).unwrap();
        let head = connection.head().unwrap();
        let expected = format!("HTTP/1.1 {status} ");
        assert!(head.starts_with(&expected), "{method} {path}: {head}");
        let found = head.lines().find_map(|line| line.strip_prefix("allow: "));
        assert_eq!(found, allow, "{method} {path}: {head}");
    };
    check("GET", "/v2", 200, None);
    check("GET", "/v2/", 200, None);
    check("HEAD", "/v2/health/live", 200, None);
    check("GET", "/v2/health/ready/", 200, None);
    check("GET", "/v2/models/stats", 200, None);
    check("GET", "/v2/models/feed/", 200, None);
    check("GET", "/v2/models/feed/versions/1/config", 200, None);
    check("POST", "/v2/repository/index", 200, None);
    check("POST", "/v2/health/live", 405, Some("GET,HEAD"));
    check("GET", "/v2/models/feed/infer", 405, Some("POST"));
    check(
        "DELETE",
        "/v2/models/feed/labels",
        405,
        Some("GET,HEAD,PUT"),
    );
}

/// Draws, the same in every run.
struct Draws(u64);

impl Draws {
    fn below(&mut self, n: usize) -> usize {
        (split_mix(&mut self.0) % n as u64) as usize
    }

    /// A right request with some of its bytes changed, left out, doubled or replaced by another's.
    fn spoiled(&mut self, valid: &[u8]) -> Vec<u8> {
        const PIECES: [&[u8]; 12] = [
            b"{",
            b"}",
            b"[",
            b"]",
            b"\"",
            b",",
            b"null",
            b"1e308",
            b"-9223372036854775808",
            b"\xff",
            b"\\u",
            b"[[[[[[[[",
        ];
        let mut body = valid.to_vec();
        for _ in 0..1 + self.below(4) {
            let at = self.below(body.len());
            let end = (at + 1 + self.below(20)).min(body.len());
            match self.below(5) {
                0 => body[at] = self.below(256) as u8,
                1 => _ = body.drain(at..end),
                2 => body = [&body[..end], &body[at..]].concat(),
                3 => body.truncate(at.max(1)),
                _ => {
                    let piece = PIECES[self.below(PIECES.len())];
                    body.splice(at..end, piece.iter().copied());
                }
            }
            if body.is_empty() {
                body.push(b'{');
            }
        }
        body
    }
}

#[test]
fn ten_thousand_random_requests_leave_it_well() {
    let (_folder, server) = server();
    let mut connection = Connection::open(server.http);
    let mut draws = Draws(1);
    let mut counts: BTreeMap<u16, u32> = BTreeMap::new();
    let mut early = 0;
    for number in 0..10_000 {
        if number == 2000 {
            early = server.memory();
        }
        let is_rank = draws.below(2) == 0;
        let (path, valid) = if is_rank {
            ("/v2/models/feed/rank", RANK)
        } else {
            ("/v2/models/feed/infer", INFER)
        };
        let body = match draws.below(10) {
            0 => (0..draws.below(300))
                .map(|_| draws.below(256) as u8)
                .collect(),
            _ => draws.spoiled(valid.as_bytes()),
        };
        let reply = connection.ask("POST", path, &[], &body);
        *counts.entry(reply.status).or_default() += 1;
        match reply.status {
            200 => _ = reply.json(),
            400 | 404 | 413 => _ = reply.error(),
            other => panic!("{other}: {}", String::from_utf8_lossy(&body)),
        }
    }
    println!("replies by status: {counts:?}");
    assert!(counts[&400] > 5000, "{counts:?}");
    assert_eq!(server.get("/v2/health/ready").status, 200);
    server.post("/v2/rank", RANK).good();
    let late = server.memory();
    assert!(late < early + (64 << 20), "{early} and then {late} bytes");
}

#[test]
fn too_much_is_refused_at_the_door() {
    let folder = trained::folder(NetworkKind::SparseSharing);
    let arguments = ["feed=run", "--max-candidates", "3", "--max-body", "1"];
    let server = Server::start(folder.path(), &arguments);
    let check = |body: &str, expected: &str| {
        let reply = server.post("/v2/rank", body);
        assert_eq!(reply.status, 413, "{}", reply.error());
        assert!(reply.error().contains(expected), "{}", reply.error());
    };
    check(
        r#"{"candidates": {"item": [1, 2, 3, 4]}}"#,
        "more than 3 candidates",
    );
    check(
        r#"{"candidates": [{}, {}, {}, {}]}"#,
        "more than 3 candidates",
    );
    check(&" ".repeat((1 << 20) + 1), "--max-body");
    assert_eq!(server.get("/v2/health/ready").status, 200);
}
