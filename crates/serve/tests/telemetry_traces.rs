//! Tests of traces, as a collector receives them.

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use ncs_serve::ErrorKind;
use ncs_serve::telemetry::traces::{self, Traces};
use ncs_serve::telemetry::*;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind, status::StatusCode};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

/// Longer than any test runs.
const BOUND: Duration = Duration::from_secs(60);

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

/// A collector that stores the spans that it receives.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<ExportTraceServiceRequest>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.lock().unwrap().push(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    /// Starts the collector and returns its address.
    fn start(&self, runtime: &Runtime) -> String {
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let service = TraceServiceServer::new(self.clone());
        let router = Routes::new(service).prepare().into_axum_router();
        runtime.spawn(serve(listener, router));
        format!("http://{address}")
    }

    fn spans(&self) -> Vec<Span> {
        let requests = self.0.lock().unwrap().clone();
        let resources = requests
            .into_iter()
            .flat_map(|request| request.resource_spans);
        let scopes = resources.flat_map(|resource| resource.scope_spans);
        scopes.flat_map(|scope| scope.spans).collect()
    }
}

async fn serve(listener: TcpListener, router: Router) {
    while let Ok((stream, _)) = listener.accept().await {
        let service = TowerToHyperService::new(router.clone());
        tokio::spawn(async move {
            let builder = Builder::new(TokioExecutor::new());
            let _ = builder
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

/// Returns the spans that a collector receives for `records`.
fn sent(ratio: f64, records: impl FnOnce(&Telemetry)) -> (Vec<Span>, Collector) {
    let runtime = Runtime::new().unwrap();
    let collector = Collector::default();
    let endpoint = collector.start(&runtime);
    let telemetry = Telemetry::new(Some(traces::start(&endpoint, "ncs", ratio).unwrap()));
    records(&telemetry);
    telemetry.close(BOUND);
    (collector.spans(), collector)
}

fn record(traceparent: Option<String>) -> Record {
    let started = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
    let mut record = Record::new(Protocol::Http, Call::Rank, started, Instant::now());
    record.request_id = "r1".into();
    record.traceparent = traceparent;
    record
}

fn traceparent(flags: &str) -> Option<String> {
    Some(format!("00-{TRACE}-{CALLER}-{flags}"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Formats attributes as sorted text.
fn attributes(attributes: &[KeyValue]) -> Vec<String> {
    let shown = |attribute: &KeyValue| {
        let value = match attribute.value.clone().unwrap().value.unwrap() {
            Value::StringValue(text) => text,
            Value::IntValue(number) => number.to_string(),
            other => panic!("{other:?}"),
        };
        format!("{}={value}", attribute.key)
    };
    let mut shown: Vec<_> = attributes.iter().map(shown).collect();
    shown.sort();
    shown
}

#[test]
fn a_request_is_a_span_of_its_caller_with_its_stages() {
    let (spans, collector) = sent(0.0, |telemetry| {
        let mut record = record(traceparent("01"));
        let by = ServedBy {
            model: "m".into(),
            version: 4,
            hash: "5f3a".into(),
        };
        record.served = Some(telemetry.serve(by, &["ctr"], &["user"]));
        record.label = Some("canary");
        record.n_candidates = 500;
        let at = |microseconds| record.began + Duration::from_micros(microseconds);
        let (parsed, scored, ended) = (at(30), at(260), at(310));
        record.stages.set(Stage::Parse, record.began, parsed);
        record.stages.set(Stage::Score, parsed, scored);
        telemetry.done_at(&record, ended);
    });
    let [parse, score, rank] = &spans[..] else {
        panic!("{spans:?}")
    };
    assert_eq!(
        (&*parse.name, &*score.name, &*rank.name),
        ("parse", "score", "rank")
    );
    assert_eq!(rank.kind(), SpanKind::Server);
    assert_eq!(hex(&rank.parent_span_id), CALLER);
    for stage in [parse, score] {
        assert_eq!(stage.parent_span_id, rank.span_id);
        assert_eq!(stage.kind(), SpanKind::Internal);
    }
    assert!(spans.iter().all(|span| hex(&span.trace_id) == TRACE));
    let times = |span: &Span| {
        let start = 1_000_000_000_000;
        [span.start_time_unix_nano, span.end_time_unix_nano].map(|time| time - start)
    };
    assert_eq!(times(rank), [0, 310_000]);
    assert_eq!(times(parse), [0, 30_000]);
    assert_eq!(times(score), [30_000, 260_000]);
    let expected = [
        "http.response.status_code=200",
        "ncs.candidates=500",
        "ncs.model.hash=5f3a",
        "ncs.model.label=canary",
        "ncs.model.version=4",
        "ncs.model=m",
        "ncs.protocol=http",
        "ncs.request_id=r1",
    ];
    assert_eq!(attributes(&rank.attributes), expected);
    let requests = collector.0.lock().unwrap();
    let resource = requests[0].resource_spans[0].resource.as_ref().unwrap();
    assert!(attributes(&resource.attributes).contains(&"service.name=ncs".to_owned()));
}

#[test]
fn only_server_errors_have_an_error_status() {
    let check = |protocol, kind: ErrorKind, code: &str, expected: Option<StatusCode>| {
        let (spans, _) = sent(1.0, |telemetry| {
            let mut record = record(None);
            record.protocol = protocol;
            record.refused = Some(kind.error("no"));
            telemetry.done(&record);
        });
        let [span] = &spans[..] else {
            panic!("{spans:?}")
        };
        let found = attributes(&span.attributes);
        assert!(found.contains(&code.to_owned()), "{found:?}");
        assert!(found.contains(&"ncs.refusal=no".to_owned()), "{found:?}");
        let status = span.status.as_ref().map(|status| status.code());
        assert_eq!(status.filter(|code| *code != StatusCode::Unset), expected);
    };
    let error = Some(StatusCode::Error);
    check(
        Protocol::Http,
        ErrorKind::Internal,
        "http.response.status_code=500",
        error,
    );
    check(
        Protocol::Grpc,
        ErrorKind::Overloaded,
        "rpc.grpc.status_code=8",
        error,
    );
    check(
        Protocol::Http,
        ErrorKind::Invalid,
        "http.response.status_code=400",
        None,
    );
}

#[test]
fn the_caller_decides_on_sampling_and_otherwise_the_ratio() {
    let check = |traceparent: Option<String>, ratio, expected| {
        let (spans, _) = sent(ratio, |telemetry| telemetry.done(&record(traceparent)));
        assert_eq!(spans.len(), expected);
    };
    check(traceparent("01"), 0.0, 1);
    check(traceparent("00"), 1.0, 0);
    check(None, 0.0, 0);
    check(None, 1.0, 1);
    check(Some("00-xyz".into()), 1.0, 1);
    check(Some(String::new()), 0.0, 0);
}

#[test]
fn probes_leave_no_spans() {
    let (spans, _) = sent(1.0, |telemetry| {
        for call in [Call::Live, Call::Ready, Call::ModelReady, Call::Metrics] {
            let mut record = record(None);
            record.call = call;
            telemetry.done(&record);
        }
    });
    assert!(spans.is_empty());
}

#[test]
fn an_unavailable_collector_fails_no_request() {
    // Bound but never accepted from: it does not respond.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let telemetry = Telemetry::new(Some(traces::start(&endpoint, "ncs", 1.0).unwrap()));
    // More spans than fit into the queue.
    (0..20_000).for_each(|_| telemetry.done(&record(None)));
    telemetry.close(Duration::from_millis(1));
    telemetry.done(&record(None));
    assert!(telemetry.metrics().contains("} 20001"));
}

#[test]
fn a_server_in_a_task_can_drop_its_traces() {
    Runtime::new().unwrap().block_on(async {
        drop(traces::start("http://127.0.0.1:9", "ncs", 1.0).unwrap());
    });
}

#[test]
fn invalid_settings_are_refused() {
    let check = |endpoint: &str, ratio, expected: &str| {
        let started: Result<Traces, _> = traces::start(endpoint, "ncs", ratio);
        assert_eq!(started.expect_err("is refused").to_string(), expected);
    };
    for endpoint in [
        "",
        "collector:4317",
        "grpc://c:4317",
        "http://c:4317/v1/traces",
        "http:// c",
    ] {
        let expected = format!(
            "traces endpoint {endpoint:?}: must be the address of a collector, like \
             http://localhost:4317"
        );
        check(endpoint, 1.0, &expected);
    }
    let expected = "traces sample ratio 1.5: must be between 0 and 1";
    check("http://c:4317", 1.5, expected);
    let expected = "traces sample ratio NaN: must be between 0 and 1";
    check("http://c:4317", f64::NAN, expected);
}
