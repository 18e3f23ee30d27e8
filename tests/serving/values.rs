//! A value scores the same, however a client writes it.

use ncs_model::NetworkKind;
use serde_json::{Value, json};

use super::harness::Server;
use super::trained;

/// The scores of candidates that differ in nothing but how these columns are written.
fn rank(server: &Server, item: Value, banner: Value) -> Vec<f64> {
    let n = item.as_array().unwrap().len();
    let ones = json!(vec![1; n]);
    let body = json!({
        "context": {"user": 1, "hour": 9, "device": "d", "city": null},
        "candidates": {
            "item": item, "banner": banner, "category": vec!["c"; n], "tags": vec![["a"]; n],
            "price": vec![3.5; n], "position": ones, "shop": ones, "delivery": ones,
            "campaign": ones, "browser": ones, "bucket": ones,
        },
    });
    let printed = server
        .post("/v2/models/feed/rank", &body.to_string())
        .good();
    serde_json::from_value(printed["scores"]["ctr"].clone()).unwrap()
}

/// The score of a candidate whose columns are tensors, `item` of this type.
fn infer(server: &Server, datatype: &str, item: Value) -> f64 {
    let input = |name: &str, datatype: &str, data: Value| json!({"name": name, "shape": [1], "datatype": datatype, "data": data});
    let mut inputs = vec![
        input("user", "INT64", json!([1])),
        input("hour", "INT64", json!([9])),
        input("device", "BYTES", json!(["d"])),
        input("city", "BYTES", json!([""])),
        input("item", datatype, item),
        input("banner", "BOOL", json!([true])),
        input("category", "BYTES", json!(["c"])),
        input("price", "FP64", json!([3.5])),
    ];
    let mut tags = input("tags", "BYTES", json!(["a"]));
    tags["shape"] = json!([1, 1]);
    inputs.push(tags);
    for name in [
        "position", "shop", "delivery", "campaign", "browser", "bucket",
    ] {
        inputs.push(input(name, "INT64", json!([1])));
    }
    let body = json!({ "inputs": inputs }).to_string();
    let printed = server.post("/v2/models/feed/infer", &body).good();
    printed["outputs"][0]["data"][0].as_f64().unwrap()
}

#[test]
fn numbers_texts_and_booleans_are_what_they_were_in_training() {
    let folder = trained::folder(NetworkKind::SingleTask);
    let server = Server::start(folder.path(), &["feed=run"]);
    let items = json!([7, 7.0, "7", "7.0", " 7 ", "7.00", 7]);
    let banners = json!([1, 1.0, true, "true", "True", "1.0", "1"]);
    let scores = rank(&server, items, banners);
    assert!(scores.iter().all(|score| *score == scores[0]), "{scores:?}");
    let other = rank(&server, json!([8]), json!([0]));
    assert!((other[0] - scores[0]).abs() > 1e-5, "{other:?}, {scores:?}");
    for (datatype, item) in [
        ("INT64", json!([7])),
        ("UINT8", json!([7])),
        ("FP64", json!([7.0])),
        ("FP32", json!([7.0])),
        ("BYTES", json!(["7.0"])),
    ] {
        let score = infer(&server, datatype, item);
        assert!((score - scores[0]).abs() < 1e-6, "{datatype}: {score}");
    }
}
