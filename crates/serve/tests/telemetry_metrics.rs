//! Tests of metrics: their values, and that the text is valid OpenMetrics.

use ncs_serve::ErrorKind;
use ncs_serve::telemetry::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

type Labels = BTreeMap<String, String>;

/// The samples of a text, by name and labels.
type Samples = BTreeMap<(String, Labels), f64>;

fn record(protocol: Protocol, call: Call, served: Option<&Arc<ServedVersion>>) -> Record {
    let mut record = Record::new(protocol, call, SystemTime::UNIX_EPOCH, Instant::now());
    record.served = served.cloned();
    record
}

fn serve(telemetry: &Telemetry, model: &str, version: u64) -> Arc<ServedVersion> {
    let by = ServedBy {
        model: model.into(),
        version,
        hash: "5f3a".into(),
    };
    telemetry.serve(by, &["ctr", "cvr"], &["user", "item"])
}

/// Parses the samples of `text`, which must be valid OpenMetrics.
fn samples(text: &str) -> Samples {
    let mut families = BTreeSet::new();
    let (mut family, mut kind) = (String::new(), String::new());
    let mut samples = Samples::new();
    let lines = text.strip_suffix("# EOF\n").expect("the text ends");
    for line in lines.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, found) = rest.split_once(' ').expect(line);
            (family, kind) = (name.to_owned(), found.to_owned());
            assert!(families.insert(name.to_owned()), "{name} comes twice");
        } else if line.starts_with("# HELP ") || line.starts_with("# UNIT ") {
            assert!(line.split(' ').count() > 3, "{line}");
        } else {
            let (name, labels, value) = sample(line);
            let suffix = name.strip_prefix(&family).expect(line);
            assert!(suffixes(&kind).contains(&suffix), "{kind} {line}");
            let before = samples.insert((name, labels), value);
            assert!(before.is_none(), "twice: {line}");
        }
    }
    samples
}

fn suffixes(kind: &str) -> &'static [&'static str] {
    match kind {
        "counter" => &["_total"],
        "gauge" => &[""],
        "histogram" => &["_bucket", "_count", "_sum"],
        "info" => &["_info"],
        _ => panic!("no such type: {kind}"),
    }
}

/// Parses a line: `name{label="value",...} number`.
fn sample(line: &str) -> (String, Labels, f64) {
    let end = line.find(['{', ' ']).expect(line);
    let (name, mut rest) = line.split_at(end);
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    assert!(!name.is_empty() && name.chars().all(is_name), "{line}");
    let mut labels = Labels::new();
    while let Some(label) = rest.strip_prefix(['{', ',']) {
        let (label, value) = label.split_once("=\"").expect(line);
        assert!(label.chars().all(is_name), "{line}");
        let (value, after) = unescaped(value);
        assert!(
            labels.insert(label.to_owned(), value).is_none(),
            "twice: {line}"
        );
        rest = after;
    }
    let number = rest.trim_start_matches('}').strip_prefix(' ').expect(line);
    (name.to_owned(), labels, number.parse().expect(line))
}

/// Splits a label's value at its closing quote.
fn unescaped(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &text[at + 1..]),
            '\\' => match chars.next().expect("something is escaped").1 {
                'n' => value.push('\n'),
                c @ ('"' | '\\') => value.push(c),
                c => panic!("\\{c}"),
            },
            c => value.push(c),
        }
    }
    panic!("no closing quote: {text}");
}

fn labels(labels: &[(&str, &str)]) -> Labels {
    let labels = labels.iter();
    let owned = labels.map(|(name, value)| (name.to_string(), value.to_string()));
    owned.collect()
}

#[track_caller]
fn check(samples: &Samples, name: &str, of: &[(&str, &str)], expected: f64) {
    let found = samples.get(&(name.to_owned(), labels(of)));
    assert_eq!(found, Some(&expected), "{name} {of:?}");
}

/// Checks that buckets increase up to the count and that each histogram has its sum.
fn check_histograms(samples: &Samples) {
    let mut buckets: BTreeMap<(String, Labels), Vec<(f64, f64)>> = BTreeMap::new();
    for ((name, labels), n) in samples {
        if let (Some(name), mut labels) = (name.strip_suffix("_bucket"), labels.clone()) {
            let bound = labels.remove("le").expect(name).parse().expect(name);
            let buckets = buckets.entry((name.to_owned(), labels)).or_default();
            buckets.push((bound, *n));
        }
    }
    assert!(!buckets.is_empty());
    for ((name, labels), mut buckets) in buckets {
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        assert!(
            buckets.is_sorted_by(|a, b| a.1 <= b.1),
            "{name} {buckets:?}"
        );
        let last = *buckets.last().expect("a bucket");
        let count = samples[&(format!("{name}_count"), labels.clone())];
        assert_eq!(last, (f64::INFINITY, count), "{name}");
        assert!(samples[&(format!("{name}_sum"), labels)].is_finite());
    }
}

#[test]
fn requests_are_counted_by_protocol_call_model_and_code() {
    let telemetry = Telemetry::new(None);
    let served = serve(&telemetry, "m", 1);
    telemetry.done(&record(Protocol::Http, Call::Rank, Some(&served)));
    telemetry.done(&record(Protocol::Http, Call::Rank, Some(&served)));
    let refuse = |protocol, kind: ErrorKind, served| {
        let mut record = record(protocol, Call::Infer, served);
        record.refused = Some(kind.error("no"));
        telemetry.done(&record);
    };
    refuse(Protocol::Http, ErrorKind::Overloaded, Some(&served));
    refuse(Protocol::Http, ErrorKind::Unavailable, Some(&served));
    refuse(Protocol::Grpc, ErrorKind::NotFound, None);
    let samples = samples(&telemetry.metrics());
    let check = |protocol, call, model, code, n| {
        let labels = [
            ("protocol", protocol),
            ("call", call),
            ("model", model),
            ("code", code),
        ];
        check(&samples, "ncs_requests_total", &labels, n);
    };
    check("http", "rank", "m", "200", 2.0);
    check("http", "infer", "m", "503", 2.0);
    check("grpc", "infer", "", "NOT_FOUND", 1.0);
    let n = samples
        .keys()
        .filter(|(name, _)| name == "ncs_requests_total");
    assert_eq!(n.count(), 3);
}

#[test]
fn durations_and_candidates_fall_into_buckets() {
    let telemetry = Telemetry::new(None);
    let served = serve(&telemetry, "m", 1);
    let mut record = record(Protocol::Http, Call::Rank, Some(&served));
    record.n_candidates = 500;
    let at = |microseconds| record.began + Duration::from_micros(microseconds);
    let (parsed, scored, ended) = (at(30), at(260), at(310));
    record.stages.set(Stage::Parse, record.began, parsed);
    record.stages.set(Stage::Score, parsed, scored);
    telemetry.done_at(&record, ended);
    let samples = samples(&telemetry.metrics());
    check_histograms(&samples);
    let check = |name, label, n| check(&samples, name, label, n);
    let bucket = "ncs_request_seconds_bucket";
    check(bucket, &[("call", "rank"), ("le", "0.0003")], 0.0);
    check(bucket, &[("call", "rank"), ("le", "0.0004")], 1.0);
    let bucket = "ncs_stage_seconds_bucket";
    check(bucket, &[("stage", "parse"), ("le", "0.00002")], 0.0);
    check(bucket, &[("stage", "parse"), ("le", "0.00005")], 1.0);
    check("ncs_stage_seconds_sum", &[("stage", "score")], 230e-6);
    let bucket = "ncs_candidates_bucket";
    check(bucket, &[("model", "m"), ("le", "256.0")], 0.0);
    check(bucket, &[("model", "m"), ("le", "512.0")], 1.0);
    let queue = (
        "ncs_stage_seconds_count".to_owned(),
        labels(&[("stage", "queue")]),
    );
    assert!(!samples.contains_key(&queue), "no request waited");
}

#[test]
fn a_version_counts_its_scores_and_values() {
    let telemetry = Telemetry::new(None);
    let served = serve(&telemetry, "m", 7);
    served.scores(0, &[0.05, 0.05, 0.5, 1e-5]);
    served.scores(2, &[0.5]); // no such task
    served.shadow_differences(1, &[0.5, 0.25], &[0.5, 0.5]);
    served.values(1, 40, 3, 5);
    served.values(2, 1, 1, 1); // no such column
    served.set_labels(&["stable", "canary"]);
    let samples = samples(&telemetry.metrics());
    check_histograms(&samples);
    let check = |name, label, n| {
        let mut labels = vec![("model", "m"), ("version", "7")];
        labels.extend(label);
        check(&samples, name, &labels, n);
    };
    check(
        "ncs_score_bucket",
        vec![("task", "ctr"), ("le", "0.0001")],
        1.0,
    );
    check(
        "ncs_score_bucket",
        vec![("task", "ctr"), ("le", "0.063")],
        3.0,
    );
    check("ncs_score_count", vec![("task", "ctr")], 4.0);
    let bucket = "ncs_shadow_difference_bucket";
    check(bucket, vec![("task", "cvr"), ("le", "0.2")], 1.0);
    check(bucket, vec![("task", "cvr"), ("le", "0.5")], 2.0);
    check("ncs_values_total", vec![("column", "item")], 40.0);
    check("ncs_unseen_values_total", vec![("column", "item")], 3.0);
    check("ncs_unseen_values_total", vec![("column", "user")], 0.0);
    check("ncs_clipped_values_total", vec![("column", "item")], 5.0);
    check(
        "ncs_model_info",
        vec![("hash", "5f3a"), ("labels", "stable,canary")],
        1.0,
    );
}

#[test]
fn labels_are_escaped() {
    let telemetry = Telemetry::new(None);
    let odd = "a\"b\\c\nd} 1\n# EOF";
    let served = serve(&telemetry, odd, 1);
    telemetry.done(&record(Protocol::Grpc, Call::Rank, Some(&served)));
    telemetry.loaded(odd, LoadOutcome::Failed);
    let samples = samples(&telemetry.metrics());
    let of = [("model", odd), ("outcome", "failed")];
    check(&samples, "ncs_model_loads_total", &of, 1.0);
    let of = [
        ("protocol", "grpc"),
        ("call", "rank"),
        ("model", odd),
        ("code", "OK"),
    ];
    check(&samples, "ncs_requests_total", &of, 1.0);
}

#[test]
fn a_thousand_swaps_leave_no_series_behind() {
    let telemetry = Telemetry::new(None);
    let one = |version| {
        let served = serve(&telemetry, "m", version);
        telemetry.done(&record(Protocol::Http, Call::Rank, Some(&served)));
        served.scores(0, &[0.1]);
        served.shadow_differences(0, &[0.1], &[0.2]);
        served.values(0, 1, 0, 0);
        served
    };
    let names = |samples: &Samples| -> Vec<String> {
        let names = samples.keys().filter(|(name, _)| name.starts_with("ncs_"));
        names.map(|(name, _)| name.clone()).collect()
    };
    let mut served = one(0);
    let before = samples(&telemetry.metrics());
    for version in 1..=1000 {
        served = one(version);
    }
    let after = samples(&telemetry.metrics());
    assert_eq!(names(&before), names(&after));
    let versions = after.keys().filter_map(|(_, labels)| labels.get("version"));
    let versions = versions.filter(|version| *version != env!("CARGO_PKG_VERSION"));
    assert!(versions.into_iter().all(|version| version == "1000"));
    let of = [
        ("protocol", "http"),
        ("call", "rank"),
        ("model", "m"),
        ("code", "200"),
    ];
    check(&after, "ncs_requests_total", &of, 1001.0);
    drop(served);
    let gone = samples(&telemetry.metrics());
    assert!(!gone.keys().any(|(_, labels)| labels.contains_key("model")));
}

#[test]
fn a_version_served_again_has_its_series_once() {
    let telemetry = Telemetry::new(None);
    let older = serve(&telemetry, "m", 1);
    older.scores(0, &[0.1, 0.2]);
    let newer = serve(&telemetry, "m", 1);
    newer.scores(0, &[0.3]);
    let of = [("model", "m"), ("version", "1"), ("task", "ctr")];
    check(&samples(&telemetry.metrics()), "ncs_score_count", &of, 1.0);
    drop(older);
    check(&samples(&telemetry.metrics()), "ncs_score_count", &of, 1.0);
    drop(newer);
}

#[test]
fn the_server_itself_is_counted() {
    let telemetry = Telemetry::new(None);
    telemetry.queue_depth.inc();
    telemetry.ready.set(1);
    telemetry.score_log_rows.inc_by(500);
    telemetry.score_log_dropped.inc();
    telemetry.shadow_dropped.inc();
    let connections = telemetry.connections("8080");
    connections.inc();
    connections.inc();
    connections.dec();
    telemetry.loaded("m", LoadOutcome::Loaded);
    let samples = samples(&telemetry.metrics());
    let check = |name, labels, n| check(&samples, name, labels, n);
    check("ncs_queue_depth", &[], 1.0);
    check("ncs_ready", &[], 1.0);
    check("ncs_score_log_rows_total", &[], 500.0);
    check("ncs_score_log_dropped_total", &[], 1.0);
    check("ncs_shadow_dropped_total", &[], 1.0);
    check("ncs_connections", &[("port", "8080")], 1.0);
    let of = [("model", "m"), ("outcome", "loaded")];
    check("ncs_model_loads_total", &of, 1.0);
    let build = samples.keys().find(|(name, _)| name == "ncs_build_info");
    assert_eq!(
        build.expect("the build").1["version"],
        env!("CARGO_PKG_VERSION")
    );
}

#[cfg(target_os = "linux")]
#[test]
fn the_process_shows_its_memory_and_files() {
    let samples = samples(&Telemetry::new(None).metrics());
    let value = |name: &str| samples[&(name.to_owned(), Labels::new())];
    assert!(value("process_resident_memory_bytes") > 1e5);
    assert!(value("process_open_fds") >= 3.0);
    assert!(value("process_cpu_seconds_total") >= 0.0);
    assert!(value("process_start_time_seconds") > 1e9);
}
