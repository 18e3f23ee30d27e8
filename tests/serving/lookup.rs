//! Features that the server looks up by ids of the request.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use ncs_model::NetworkKind;
use serde_json::{Value, json};

use crate::harness::Server;
use crate::trained::{self, done, refused};

fn request(candidates: Value) -> Value {
    json!({
        "context": {"user": 1, "hour": 9, "device": "device_1", "city": null, "position": null, "banner": null,
                    "shop": null, "delivery": null, "campaign": null, "browser": null, "bucket": null},
        "candidates": candidates,
    })
}

/// Writes features of the items 7 and 8.
fn write(path: &Path, price: f64) {
    let item = |id: u32, price: f64| json!({"item": id, "category": "category_9", "tags": ["tag_53", "tag_63"], "price": price});
    fs::write(
        path.join("items.jsonl"),
        format!("{}\n{}\n", item(7, price), item(8, 2.0)),
    )
    .unwrap();
}

fn scores(server: &Server, candidates: Value) -> Value {
    let reply = server.post("/v2/rank", &request(candidates).to_string());
    reply.good()["scores"].clone()
}

#[test]
fn requests_send_ids_and_get_the_scores_of_whole_requests() {
    let folder = trained::folder(NetworkKind::SparseSharing);
    let path = folder.path();
    write(path, 9.5);
    let arguments = ["feed=run", "--lookup", "item=items.jsonl", "--watch", "0.2"];
    let server = Server::start(path, &arguments);
    let tags = ["tag_53", "tag_63"];
    // By the id alone; the text of an id is that of the number.
    let by_id = scores(&server, json!({"item": ["7", 8, 9]}));
    let whole = |price: f64| json!({"item": [7, 8, 9], "category": ["category_9", "category_9", null], "tags": [tags, tags, []], "price": [price, 2.0, null]});
    assert_eq!(by_id, scores(&server, whole(9.5)));
    // What the request has is not looked up.
    let mut sent = json!({"item": [7], "price": [40.0]});
    let own = scores(&server, sent.clone());
    sent["category"] = json!(["category_9"]);
    sent["tags"] = json!([tags]);
    assert_eq!(own, scores(&server, sent));
    // Without the id nothing is looked up.
    let reply = server.post("/v2/rank", &request(json!({"price": [1.0]})).to_string());
    assert_eq!(reply.status, 400);
    assert!(reply.error().contains("item"), "{reply:?}");
    let list = server.post("/v2/rank", &request(json!({"item": [[7]]})).to_string());
    assert!(list.error().contains("not a list"), "{list:?}");
    assert_eq!(
        server.metric("ncs_lookup_values_total{key=\"item\",outcome=\"unknown\"}"),
        2
    );
    // A new file is served without a pause; a broken one is not.
    write(path, 700.0);
    let until = Instant::now() + Duration::from_secs(30);
    let expected = scores(&server, whole(700.0));
    while scores(&server, json!({"item": [7, 8, 9]})) != expected {
        assert!(Instant::now() < until, "{}", server.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    fs::write(path.join("items.jsonl"), "{\"item\": 7}\n{\"item\": 7.0}\n").unwrap();
    while !server.log().contains("comes twice") {
        assert!(Instant::now() < until, "{}", server.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(scores(&server, json!({"item": [7, 8, 9]})), expected);
}

#[test]
fn what_was_looked_up_is_in_the_score_log() {
    let folder = trained::folder(NetworkKind::SharedBottom);
    let path = folder.path();
    write(path, 9.5);
    let arguments = [
        "feed=run",
        "--lookup",
        "item=items.jsonl",
        "--score-log",
        "scores",
    ];
    let mut server = Server::start(path, &arguments);
    scores(&server, json!({"item": [7, 8]}));
    server.signal("TERM");
    assert_eq!(server.wait(Duration::from_secs(60)), Some(0));
    let report = done(path, &["replay", "scores", "run", "--json"]);
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(
        (&report["rows"], &report["rows_beyond"]),
        (&json!(2), &json!(0))
    );
}

#[test]
fn files_that_cannot_be_looked_up_are_refused_at_the_start() {
    let folder = trained::folder(NetworkKind::SharedBottom);
    let path = folder.path();
    write(path, 1.0);
    let check =
        |lookup: &str, parts: &[&str]| refused(path, &["serve", "run", "--lookup", lookup], parts);
    check(
        "itm=items.jsonl",
        &["items.jsonl: no column \"itm\"", "did you mean item?"],
    );
    check("item=absent.parquet", &["absent.parquet"]);
    check(
        "tags=items.jsonl",
        &["items.jsonl: column \"tags\" has lists"],
    );
    let odd = trained::ncs(path, &["serve", "run", "--lookup", "items.jsonl"]);
    assert_eq!(odd.status.code(), Some(2));
}
