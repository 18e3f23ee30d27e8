//! A model of three tasks over HTTP: all products are returned, and candidates are ranked by that of the longest chain.

use serde_json::{Value, json};

use super::harness::Server;
use super::trained::done;

fn served(tasks: &str) -> (tempfile::TempDir, Server) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let synth = ["synth", "--rows", "3000", "--click-rate", "0.4"];
    done(
        path,
        &[&synth[..], &["--tasks", tasks, "--out", "log"]].concat(),
    );
    let sets = [
        "threads=1",
        "network.kind=shared_bottom",
        "network.hidden=[8]",
        "training.epochs=1",
        "evaluation.bootstrap=0",
    ];
    let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
    done(
        path,
        &[&["train", "log/run.toml", "--out", "run"], &sets[..]].concat(),
    );
    let server = Server::start(path, &["feed=run"]);
    (folder, server)
}

fn rank(server: &Server, more: Value) -> Value {
    let mut body = json!({
        "context": {"user": 1, "hour": 9, "device": "device_1", "city": null},
        "candidates": {
            "item": [7, 8, 9, 10], "banner": ["a", "b", "c", "d"], "category": vec!["category_1"; 4],
            "tags": vec![["tag_1"]; 4], "price": [3.5, 90.0, 12.0, 1.0], "position": vec![1; 4],
            "shop": ["shop_1", "shop_2", "shop_3", "shop_4"], "delivery": vec![1; 4],
            "campaign": vec![1; 4], "browser": vec![1; 4], "bucket": vec![1; 4],
        },
    });
    for (key, value) in more.as_object().unwrap() {
        body[key] = value.clone();
    }
    let reply = server.post("/v2/models/feed/rank", &body.to_string());
    reply.good()
}

fn column(reply: &Value, output: &str) -> Vec<f64> {
    serde_json::from_value(reply["scores"][output].clone()).unwrap()
}

#[test]
fn the_products_of_a_chain_are_served_and_ranked_by() {
    let (_folder, server) = served("chain");
    let reply = rank(&server, json!({}));
    let [click, cart, purchase, two, all] = [
        "click",
        "cart",
        "purchase",
        "click_cart",
        "click_cart_purchase",
    ]
    .map(|output| column(&reply, output));
    for i in 0..4 {
        assert!((two[i] - click[i] * cart[i]).abs() < 1e-6);
        assert!((all[i] - two[i] * purchase[i]).abs() < 1e-6);
    }
    let best = rank(&server, json!({"top_k": 1}));
    let largest = all.iter().copied().fold(0.0, f64::max);
    assert_eq!(column(&best, "click_cart_purchase"), [largest]);
    let by_click = rank(&server, json!({"top_k": 1, "top_by": "click"}));
    let largest = click.iter().copied().fold(0.0, f64::max);
    assert_eq!(column(&by_click, "click"), [largest]);
}

#[test]
fn tasks_after_one_click_have_a_product_each_and_the_first_ranks() {
    let (_folder, server) = served("engagement");
    let reply = rank(&server, json!({}));
    let [click, long_view, product, like] =
        ["click", "long_view", "click_long_view", "click_like"].map(|name| column(&reply, name));
    for i in 0..4 {
        assert!((product[i] - click[i] * long_view[i]).abs() < 1e-6);
    }
    let best = rank(&server, json!({"top_k": 1}));
    let largest = like.iter().copied().fold(0.0, f64::max);
    assert_eq!(column(&best, "click_like"), [largest]);
}
