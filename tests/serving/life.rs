//! Start and shutdown of a server.

use std::fs;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ncs_model::NetworkKind;

use super::harness::{Connection, Server};
use super::trained;

/// A request of one candidate, all of whose columns are in the context or null.
pub(crate) const BODY: &str = r#"{
    "context": {"user": 1, "hour": 9, "device": "device_1", "city": null, "category": null, "tags": [],
                "price": 3, "position": null, "banner": null, "shop": null, "delivery": null,
                "campaign": null, "browser": null, "bucket": null},
    "candidates": {"item": [7]}}"#;

const TIME: Duration = Duration::from_secs(60);

#[test]
fn it_drains() {
    let folder = trained::folder(NetworkKind::SparseSharing);
    let mut server = Server::start(folder.path(), &["feed=run", "--linger", "1"]);
    let mut idle = Connection::open(server.http);
    idle.ask("GET", "/v2/health/ready", &[], b"").good();
    // Half a request is under way when the signal comes.
    let mut slow = Connection::open(server.http);
    let head = format!(
        "POST /v2/rank HTTP/1.1\r\nhost: test\r\ncontent-length: {}\r\n\r\n",
        BODY.len()
    );
    slow.send(head.as_bytes()).unwrap();
    slow.send(&BODY.as_bytes()[..20]).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    server.signal("TERM");
    let mut not_ready = idle.ask("GET", "/v2/health/ready", &[], b"");
    while not_ready.status == 200 {
        not_ready = idle.ask("GET", "/v2/health/ready", &[], b"");
    }
    assert_eq!(not_ready.status, 503);
    assert!(not_ready.error().contains("not ready"));
    // For a while it still answers those who have not heard.
    assert_eq!(server.get("/v2/health/live").status, 200);
    server.post("/v2/rank", BODY).good();
    slow.send(&BODY.as_bytes()[20..]).unwrap();
    slow.reply().unwrap().good();
    assert_eq!(server.wait(TIME), Some(0));
}

#[test]
fn killed_and_started_again_it_is_ready_only_when_it_answers() {
    let folder = trained::folder(NetworkKind::SparseSharing);
    let mut server = Server::start(folder.path(), &["feed=run"]);
    let address = server.http;
    let port = address.port().to_string();
    let is_over = AtomicBool::new(false);
    let ask = || {
        let mut n_good = 0;
        while !is_over.load(Ordering::Relaxed) {
            let Ok(mut connection) = Connection::try_open(address) else {
                continue;
            };
            let Ok(ready) = connection.try_ask("GET", "/v2/health/ready", &[], b"") else {
                continue;
            };
            let Ok(reply) = connection.try_ask("POST", "/v2/rank", &[], BODY.as_bytes()) else {
                continue;
            };
            match ready.status {
                200 => _ = reply.good(),
                _ => assert!([200, 503].contains(&reply.status), "{reply:?}"),
            }
            n_good += u32::from(reply.status == 200);
        }
        n_good
    };
    std::thread::scope(|scope| {
        let askers = [scope.spawn(ask), scope.spawn(ask)];
        for _ in 0..5 {
            std::thread::sleep(Duration::from_millis(200));
            drop(server);
            server = Server::start_on(folder.path(), &["feed=run"], &port);
        }
        std::thread::sleep(Duration::from_millis(200));
        is_over.store(true, Ordering::Relaxed);
        for asker in askers {
            assert!(asker.join().unwrap() > 0);
        }
    });
}

#[test]
fn what_keeps_it_from_starting_is_said_before_anything_long() {
    let folder = trained::folder(NetworkKind::SharedBottom);
    let path = folder.path();
    let check = |arguments: &[&str], parts: &[&str]| {
        let arguments = [&["serve"], arguments].concat();
        trained::refused(path, &arguments, parts);
    };
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let free = ["--grpc-port", "0", "--admin-port", "0"];
    check(
        &[&["run", "--http-port", &port][..], &free].concat(),
        &[&port, "in use"],
    );
    let any = [&["--http-port", "0"][..], &free].concat();
    let with = |arguments: &[&'static str]| [arguments, &any].concat();
    check(
        &with(&["feed=run", "feed=run/model"]),
        &["both called \"feed\""],
    );
    fs::create_dir(path.join("empty")).unwrap();
    check(&with(&["empty"]), &["no model here", "ncs train"]);
    fs::write(path.join("token"), "short").unwrap();
    let arguments = with(&["run", "--admin-token-file", "token"]);
    check(&arguments, &["token", "at least 8 characters"]);
    let arguments = with(&["run", "--admin-token-file", "absent"]);
    check(&arguments, &["absent", "No such file"]);
    let manifest = path.join("run/model/manifest.json");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text.replacen("ctr", "ctx", 1)).unwrap();
    check(&with(&["run"]), &["manifest.json", "checksum"]);
}

#[test]
fn a_log_that_nobody_reads_holds_up_nothing() {
    let folder = trained::folder(NetworkKind::SparseSharing);
    let mut server = Server::start_unread(folder.path(), &["feed=run", "--log-level", "trace"]);
    let mut connection = Connection::open(server.http);
    // More lines than a pipe holds.
    for _ in 0..2000 {
        connection
            .ask("POST", "/v2/rank", &[], BODY.as_bytes())
            .good();
    }
    server.signal("TERM");
    assert_eq!(server.wait(TIME), Some(0));
}

#[test]
fn more_than_it_can_do_is_refused_at_once() {
    let folder = trained::folder(NetworkKind::SparseSharing);
    let arguments = ["feed=run", "--threads", "1", "--max-queue", "1"];
    let server = Server::start(folder.path(), &arguments);
    let items: Vec<String> = (0..5000).map(|item| item.to_string()).collect();
    let body = BODY.replace("[7]", &format!("[{}]", items.join(",")));
    let ask = || {
        let mut connection = Connection::open(server.http);
        let replies = (0..20).map(|_| connection.ask("POST", "/v2/rank", &[], body.as_bytes()));
        replies.collect::<Vec<_>>()
    };
    let replies: Vec<_> = std::thread::scope(|scope| {
        let askers: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        let replies = askers.into_iter().flat_map(|asker| asker.join().unwrap());
        replies.collect()
    });
    let (good, refused): (Vec<_>, Vec<_>) = replies.iter().partition(|reply| reply.status == 200);
    println!("{} answered, {} refused", good.len(), refused.len());
    assert!(!good.is_empty() && !refused.is_empty());
    for reply in refused {
        assert_eq!(reply.status, 503);
        assert!(reply.head.contains("retry-after: 1"), "{}", reply.head);
        assert!(
            reply.error().contains("the queue is full (1 waiting"),
            "{}",
            reply.error()
        );
    }
    server.post("/v2/rank", BODY).good();
}

#[cfg(unix)]
#[test]
fn a_token_that_everyone_can_read_is_warned_of() {
    use std::os::unix::fs::PermissionsExt;
    let folder = trained::folder(NetworkKind::SharedBottom);
    let path = folder.path().join("token");
    std::fs::write(&path, "a-token-of-a-file").unwrap();
    for (mode, is_warned) in [(0o604, true), (0o640, false)] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let server = Server::start(folder.path(), &["run", "--admin-token-file", "token"]);
        // What is logged later was heard.
        while !server.log().contains("memory: at most") {
            std::thread::sleep(Duration::from_millis(2));
        }
        let log = server.log();
        let warning = "everyone on this machine can read this secret; chmod o-r";
        assert_eq!(log.contains(warning), is_warned, "{log}");
    }
}
