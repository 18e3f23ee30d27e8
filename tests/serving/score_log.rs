//! The score log under attack: its counters tell what became of every row, whatever the disk does.

use std::time::{Duration, Instant};

use ncs_model::NetworkKind;

use super::abuse::{GOOD, server};
use super::harness::Server;
use super::trained;

/// Rows written, dropped and pending.
fn counts(server: &Server) -> [u64; 3] {
    [
        "ncs_score_log_rows_total",
        "ncs_score_log_dropped_total",
        "ncs_score_log_pending_rows",
    ]
    .map(|name| server.metric(name))
}

#[test]
fn counters_tell_what_became_of_every_row() {
    let arguments = [
        "--score-log",
        "scores",
        "--score-log-rows",
        "10",
        "--score-log-seconds",
        "3600",
    ];
    let (folder, server) = server(&arguments);
    let ask = |n: usize| (0..n).for_each(|_| _ = server.post("/v2/rank", GOOD).good());
    let wait = |expected: [u64; 3]| {
        let until = Instant::now() + Duration::from_secs(30);
        while counts(&server) != expected {
            assert!(
                Instant::now() < until,
                "{:?} and not {expected:?}",
                counts(&server)
            );
        }
    };
    ask(12);
    wait([10, 0, 2]);
    // The open file's folder goes, and comes back.
    std::fs::rename(folder.path().join("scores"), folder.path().join("gone")).unwrap();
    ask(8);
    wait([10, 10, 0]);
    ask(1);
    wait([10, 11, 0]);
    std::fs::create_dir(folder.path().join("scores")).unwrap();
    ask(10);
    wait([20, 11, 0]);
}

#[test]
fn a_long_id_is_refused_and_comes_into_no_log() {
    let (_folder, server) = server(&["--score-log", "scores"]);
    let with = |id: &str| GOOD.replacen('{', &format!("{{\"id\": \"{id}\", "), 1);
    server.post("/v2/rank", &with(&"i".repeat(200))).good();
    let reply = server.post("/v2/rank", &with(&"i".repeat(201)));
    assert_eq!(reply.status, 400);
    assert!(
        reply
            .error()
            .contains("has 201 bytes, and 200 are the most"),
        "{}",
        reply.error()
    );
}

/// A disk that is full from some size on, as `ulimit -f` makes one without rights; under 1 GiB of addresses.
#[test]
fn a_score_log_that_cannot_be_written_counts_every_row_as_dropped() {
    let folder = trained::folder(NetworkKind::SparseSharing);
    let arguments = [
        "feed=run",
        "--threads",
        "1",
        "--score-log",
        "scores",
        "--score-log-rows",
        "10",
        "--max-total-body",
        "64",
        "--score-log-memory",
        "16",
    ];
    let limits = "ulimit -v 1048576 && ulimit -f 1";
    let mut server = Server::start_within(folder.path(), &arguments, limits);
    (0..25).for_each(|_| _ = server.post("/v2/rank", GOOD).good());
    let until = Instant::now() + Duration::from_secs(30);
    while counts(&server) != [0, 20, 5] {
        assert!(Instant::now() < until, "{:?}", counts(&server));
    }
    while !server.log().contains("the score log loses rows") {
        assert!(Instant::now() < until, "{}", server.log());
    }
    server.signal("TERM");
    assert_eq!(server.wait(Duration::from_secs(30)), Some(0));
    let left = std::fs::read_dir(folder.path().join("scores")).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.is_empty(), "{left:?}");
}
