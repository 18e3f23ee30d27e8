//! Tests of the log: valid JSON lines, rate limit of refusals, escaping.

use ncs_serve::ErrorKind;
use ncs_serve::telemetry::logs::{self, LogFormat};
use ncs_serve::telemetry::*;
use serde_json::{Value, json};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

/// A writer that keeps the log.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns the lines that `log` writes with a filter.
fn lines(filter: &str, format: LogFormat, log: impl FnOnce()) -> Vec<String> {
    let written = Written::default();
    let writer = written.clone();
    let subscriber = logs::subscriber(filter, format, move || writer.clone()).unwrap();
    tracing::subscriber::with_default(subscriber, log);
    let bytes = written.0.lock().unwrap().clone();
    let text = String::from_utf8(bytes).unwrap();
    text.lines().map(str::to_owned).collect()
}

fn json(filter: &str, log: impl FnOnce()) -> Vec<Value> {
    let lines = lines(filter, LogFormat::Json, log);
    let parsed = lines.iter().map(|line| serde_json::from_str(line));
    parsed.collect::<Result<_, _>>().unwrap()
}

fn record() -> Record {
    let mut record = Record::new(
        Protocol::Http,
        Call::Rank,
        SystemTime::UNIX_EPOCH,
        Instant::now(),
    );
    record.request_id = "r\"1\n".into();
    record.n_candidates = 2;
    record
}

fn refused(kind: ErrorKind) -> Record {
    let mut record = record();
    record.refused = Some(kind.error("line 1\nline 2 \u{1b}[31m"));
    record
}

#[test]
fn an_answer_is_a_json_line_with_its_stages() {
    let telemetry = Telemetry::new(None);
    let by = ServedBy {
        model: "m".into(),
        version: 4,
        hash: "5f3a".into(),
    };
    let mut record = record();
    record.served = Some(telemetry.serve(by, &["ctr"], &["user"]));
    record.label = Some("canary");
    let parsed = record.began + Duration::from_micros(30);
    record.stages.set(Stage::Parse, record.began, parsed);
    let ended = record.began + Duration::from_micros(310);
    let lines = json("debug", || telemetry.done_at(&record, ended));
    let [line] = &lines[..] else {
        panic!("{lines:?}")
    };
    let mut line = line.clone();
    let timestamp = line.as_object_mut().unwrap().remove("timestamp").unwrap();
    let timestamp = timestamp.as_str().unwrap();
    // 2026-11-26T12:00:00.000000Z
    assert!(
        timestamp.len() == 27 && timestamp.ends_with('Z'),
        "{timestamp}"
    );
    let expected = json!({
        "level": "DEBUG",
        "target": "ncs_serve::requests",
        "message": "answered",
        "request_id": "r\"1\n",
        "protocol": "http",
        "call": "rank",
        "code": "200",
        "model": "m",
        "version": 4,
        "label": "canary",
        "candidates": 2,
        "took_us": 310,
        "parse_us": 30,
    });
    assert_eq!(line, expected);
}

#[test]
fn client_errors_are_info_and_server_errors_warnings() {
    let check = |kind, filter, expected: &[&str]| {
        let telemetry = Telemetry::new(None);
        let lines = json(filter, || telemetry.done(&refused(kind)));
        let levels = lines.iter().map(|line| line["level"].as_str().unwrap());
        assert_eq!(levels.collect::<Vec<_>>(), expected);
    };
    check(ErrorKind::Internal, "info", &["WARN"]);
    check(ErrorKind::Overloaded, "info", &["WARN"]);
    check(ErrorKind::Invalid, "info", &["INFO"]);
    check(ErrorKind::Invalid, "warn", &[]);
    check(ErrorKind::Internal, "off", &[]);
    check(ErrorKind::Internal, "info,ncs_serve=error", &[]);
}

#[test]
fn refusals_are_rate_limited_and_the_others_counted() {
    let telemetry = Telemetry::new(None);
    let record = refused(ErrorKind::Internal);
    let at = |seconds| record.began + Duration::from_secs(seconds);
    let lines = json("info", || {
        (0..25).for_each(|_| telemetry.done_at(&record, at(0)));
        (0..12).for_each(|_| telemetry.done_at(&record, at(2)));
        telemetry.close(Duration::ZERO);
    });
    let left_out = |line: &Value| line["left_out"].as_u64();
    let left_out: Vec<_> = lines.iter().map(left_out).collect();
    let expected = [
        vec![None; 10],
        vec![Some(15)],
        vec![None; 10],
        vec![Some(2)],
    ];
    assert_eq!(left_out, expected.concat());
}

#[test]
fn no_request_breaks_a_line_of_text() {
    let telemetry = Telemetry::new(None);
    let lines = lines("info", LogFormat::Text, || {
        telemetry.done(&refused(ErrorKind::Invalid));
    });
    let [line] = &lines[..] else {
        panic!("{lines:?}")
    };
    assert!(
        line.contains(r#"refusal="line 1\nline 2 \u{1b}[31m""#),
        "{line}"
    );
    assert!(!line.contains('\u{1b}'), "{line}");
}

#[test]
fn an_invalid_filter_is_refused() {
    let check = |filter: &str, expected: &str| {
        let subscriber = logs::subscriber(filter, LogFormat::Text, io::sink);
        let error = subscriber.err().expect("is refused").to_string();
        assert!(error.starts_with(expected), "{error}");
    };
    check(
        "inof",
        r#"unknown log level "inof"; use off, error, warn, info"#,
    );
    check("", r#"unknown log level """#);
    check("ncs_serve=loud", r#"invalid log filter "ncs_serve=loud": "#);
}
