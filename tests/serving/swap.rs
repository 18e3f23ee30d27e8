//! New versions under load: no request fails, each is answered by one version, memory stays.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use ncs_features::{Block, Column, Field, Values as ColumnValues};
use ncs_model::artifact::Artifact;
use ncs_model::{NetworkKind, Scorer, SelfTest};
use serde_json::{Value, json};

use super::harness::{Connection, Server};
use super::trained;

const SWAPS: u64 = 1000;

/// What the pools of the allocator were seen to take, in bytes.
const ALLOCATOR: f64 = (32 << 20) as f64;

/// A folder of versions, of which the odd ones are one model and the even ones another.
struct Versions {
    folder: tempfile::TempDir,
    models: [tempfile::TempDir; 2],
}

impl Versions {
    fn new() -> Versions {
        let kinds = [NetworkKind::SharedBottom, NetworkKind::SparseSharing];
        let versions = Versions {
            folder: tempfile::tempdir().unwrap(),
            models: kinds.map(trained::folder),
        };
        fs::create_dir(versions.path()).unwrap();
        versions
    }

    fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("feed")
    }

    /// Puts a version there in one move.
    fn put(&self, number: u64) {
        let draft = self.folder.path().join("draft");
        copy(
            &self.models[(number % 2) as usize].path().join("run/model"),
            &draft,
        );
        fs::rename(draft, self.path().join(number.to_string())).unwrap();
    }

    fn remove(&self, number: u64) {
        fs::remove_dir_all(self.path().join(number.to_string())).unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// A request that both models can answer.
fn body() -> String {
    let row = |item: u64| {
        json!({
            "item": item, "category": "category_1", "tags": ["tag_1"], "price": 3.5, "position": "position_1",
            "banner": "banner_3", "shop": "shop_1", "delivery": "delivery_1", "campaign": "campaign_7",
            "browser": "browser_1", "bucket": "bucket_1",
        })
    };
    let context = json!({ "user": "7", "hour": 9, "device": "device_1", "city": "city_2" });
    let candidates: Vec<Value> = (0..20).map(row).collect();
    json!({ "context": context, "candidates": candidates }).to_string()
}

#[test]
fn a_thousand_swaps_under_load_fail_no_request() {
    let versions = Versions::new();
    versions.put(1);
    let server = Server::start(versions.folder.path(), &["feed"]);
    let expected = [1, 2].map(|number| {
        if number > 1 {
            versions.put(number);
            server
                .admin("POST", "/v2/repository/models/feed/load", "")
                .good();
        }
        server.post("/v2/rank", &body()).good()
    });
    assert_ne!(expected[0]["scores"], expected[1]["scores"]);
    versions.remove(1);
    let is_over = AtomicBool::new(false);
    let n_answers = AtomicU64::new(0);
    let ask = || {
        let mut connection = Connection::open(server.http);
        while !is_over.load(Ordering::Relaxed) {
            let reply = connection.ask("POST", "/v2/rank", &[], body().as_bytes());
            let answer = reply.good();
            let number = answer["model"]["version"].as_u64().unwrap();
            let expected = &expected[(number as usize + 1) % 2];
            assert_eq!(answer["scores"], expected["scores"], "version {number}");
            assert_eq!(answer["model"]["hash"], expected["model"]["hash"]);
            n_answers.fetch_add(1, Ordering::Relaxed);
        }
    };
    let memory = std::thread::scope(|scope| {
        let askers = [scope.spawn(ask), scope.spawn(ask)];
        let mut memory = Vec::new();
        for number in 3..3 + SWAPS {
            versions.put(number);
            server
                .admin("POST", "/v2/repository/models/feed/load", "")
                .good();
            versions.remove(number - 1);
            if number.is_multiple_of(100) {
                memory.push(server.memory());
            }
            if askers.iter().any(|asker| asker.is_finished()) {
                break;
            }
        }
        is_over.store(true, Ordering::Relaxed);
        memory
    });
    println!(
        "{SWAPS} swaps, {} answers, memory by hundreds of swaps: {memory:?}",
        n_answers.load(Ordering::Relaxed)
    );
    // Nothing of a version stays: one that did would be more than this by the end. The allocator itself may
    // take a pool more for a thread, some time or other, and keep it.
    let (early, late) = (
        memory[1].max(memory[2]) as f64,
        *memory.last().unwrap() as f64,
    );
    assert!(late <= early * 1.05 + ALLOCATOR, "{memory:?}");
}

#[test]
fn a_bad_version_leaves_the_old_one_serving() {
    let versions = Versions::new();
    versions.put(1);
    let arguments = ["feed", "--watch", "0.05"];
    let server = Server::start(versions.folder.path(), &arguments);
    let weights = versions.path().join("2/weights.safetensors");
    let draft = versions.folder.path().join("draft");
    copy(&versions.models[0].path().join("run/model"), &draft);
    let mut bytes = fs::read(draft.join("weights.safetensors")).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(draft.join("weights.safetensors"), &bytes).unwrap();
    fs::rename(&draft, versions.path().join("2")).unwrap();
    let refused = server.admin("POST", "/v2/repository/models/feed/load", "");
    assert_eq!(refused.status, 400);
    assert!(refused.error().contains("version 2"), "{}", refused.error());
    let answer = server.post("/v2/rank", &body()).good();
    assert_eq!(answer["model"]["version"], 1);
    let index = server.post("/v2/repository/index", "{}").good();
    assert_eq!(index[0]["state"], "READY");
    assert_eq!(index[1]["state"], "UNAVAILABLE");
    assert!(
        index[1]["reason"].as_str().unwrap().contains("weights"),
        "{index}"
    );
    // Once it is repaired, the watch finds it by itself.
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&weights, &bytes).unwrap();
    until(|| server.post("/v2/rank", &body()).good()["model"]["version"] == 2);
}

#[test]
fn a_version_that_scores_otherwise_than_when_it_was_saved_is_refused() {
    let versions = Versions::new();
    versions.put(1);
    let model = versions.path().join("1");
    let mut artifact = Artifact::read(&model).unwrap();
    let scorer = Scorer::new(&artifact).unwrap();
    let column = |field: &Field| Column {
        name: field.column.clone(),
        values: ColumnValues::Int(vec![3, 4]),
        ..Column::default()
    };
    let rows = Block {
        n_rows: 2,
        columns: artifact.schema.fields.iter().map(column).collect(),
    };
    let mut test = SelfTest::record(&scorer, &rows).unwrap();
    artifact.self_test = Some(test.clone());
    artifact.write(&model).unwrap();
    let server = Server::start(versions.folder.path(), &["feed"]);
    test.scores[1][1] += 0.01;
    artifact.self_test = Some(test);
    artifact.write(&versions.path().join("2")).unwrap();
    let refused = server.admin("POST", "/v2/repository/models/feed/load", "");
    assert_eq!(refused.status, 400);
    assert!(
        refused.error().contains("row 2 of the self-test scores"),
        "{}",
        refused.error()
    );
    assert_eq!(
        server.post("/v2/rank", &body()).good()["model"]["version"],
        1
    );
}

#[test]
fn a_shadow_scores_after_the_answer_and_is_compared() {
    let versions = Versions::new();
    versions.put(1);
    versions.put(2);
    let server = Server::start(versions.folder.path(), &["feed"]);
    let labels = json!({ "stable": 1, "shadow": [2] });
    server
        .admin("PUT", "/v2/models/feed/labels", &labels.to_string())
        .good();
    let answer = server.post("/v2/rank", &body()).good();
    assert_eq!(answer["model"]["version"], 1);
    let metrics = || server.admin("GET", "/metrics", "");
    let compared = "ncs_shadow_difference_count{model=\"feed\",version=\"2\",task=\"cvr\"} 20";
    until(|| {
        String::from_utf8(metrics().body)
            .unwrap()
            .contains(compared)
    });
    let text = String::from_utf8(metrics().body).unwrap();
    let served = "ncs_score_count{model=\"feed\",version=\"1\",task=\"cvr\"} 20";
    assert!(text.contains(served), "{text}");
    // What a shadow says is no answer.
    assert!(!text.contains("ncs_score_count{model=\"feed\",version=\"2\",task=\"cvr\"} 20"));
}

#[test]
fn labels_send_a_share_of_the_users_to_the_canary() {
    let versions = Versions::new();
    versions.put(1);
    versions.put(2);
    let server = Server::start(versions.folder.path(), &["feed"]);
    let path = "/v2/models/feed/labels";
    let labels = json!({ "stable": 1, "canary": { "version": 2, "share": 0.25 } });
    server.admin("PUT", path, &labels.to_string()).good();
    assert_eq!(server.admin("GET", path, "").good(), labels);
    let kept = fs::read_to_string(versions.path().join("labels.json")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&kept).unwrap(), labels);
    let mut question: Value = serde_json::from_str(&body()).unwrap();
    let mut answer = |user: &str| {
        question["user"] = json!(user);
        server.post("/v2/rank", &question.to_string()).good()["model"].clone()
    };
    let models: Vec<Value> = (0..400).map(|user| answer(&format!("u{user}"))).collect();
    let canaries = models.iter().filter(|model| model["version"] == 2).count();
    // Four deviations of a binomial share of 400.
    assert!((66..=134).contains(&canaries), "{canaries}");
    assert!(models.iter().all(|model| match model["version"].as_u64() {
        Some(2) => model["label"] == "canary",
        _ => model["label"] == "stable",
    }));
    assert_eq!(answer("u3"), models[3]);
    question["label"] = json!("canary");
    let asked = server.post("/v2/rank", &question.to_string()).good();
    assert_eq!(asked["model"]["version"], 2);
    let refusals = [
        (json!({ "stable": 3 }), "there is no such folder"),
        (
            json!({ "canary": { "version": 2, "share": 1.5 } }),
            "from 0 to 1",
        ),
        (json!({ "stabel": 1 }), "unknown field `stabel`"),
    ];
    for (labels, expected) in refusals {
        let refused = server.admin("PUT", path, &labels.to_string());
        assert_eq!(refused.status, 400);
        assert!(refused.error().contains(expected), "{}", refused.error());
    }
    assert_eq!(server.admin("GET", path, "").good(), labels);
}

#[test]
fn only_the_admin_port_changes_models_and_only_by_token() {
    let versions = Versions::new();
    versions.put(1);
    let server = Server::start(versions.folder.path(), &["feed"]);
    let path = "/v2/repository/models/feed/unload";
    assert_eq!(server.post(path, "{}").status, 403);
    let mut admin = Connection::open(server.admin);
    assert_eq!(admin.ask("POST", path, &[], b"").status, 401);
    let wrong = [("authorization", "Bearer wrong")];
    assert_eq!(admin.ask("POST", path, &wrong, b"").status, 401);
    server.admin("POST", path, "").good();
    let refused = server.post("/v2/models/feed/rank", &body());
    assert_eq!(refused.status, 404, "{}", refused.error());
    server
        .admin("POST", "/v2/repository/models/feed/load", "")
        .good();
    server.post("/v2/models/feed/rank", &body()).good();
}

/// Waits for something that must come.
#[track_caller]
fn until(mut is_so: impl FnMut() -> bool) {
    let end = std::time::Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(std::time::Instant::now() < end, "it does not come");
        std::thread::sleep(Duration::from_millis(10));
    }
}
