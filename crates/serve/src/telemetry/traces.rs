//! Traces: a span for each request, with one for each of its stages, sent to an OpenTelemetry
//! collector (OTLP over gRPC).
//!
//! Spans are made after the request has been answered and wait in a queue that drops what it has no
//! room for; a thread of its own sends them. So a collector that is slow or away costs spans, and
//! never a request.

use super::{Protocol, Record, Stage};
use http::Uri;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{SpanKind, Status, TraceContextExt, Tracer, TracerProvider};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{
    self as sdk, BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider,
};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};
use tonic::Code;

/// Spans that wait to be sent at most: of a thousand requests or so.
const QUEUE: usize = 8192;

/// How long a span waits for others at most.
const SENT_EVERY: Duration = Duration::from_secs(1);

/// Where spans go. Dropped without [`shutdown`](Self::shutdown), it loses those that wait.
#[derive(Debug)]
pub struct Traces {
    tracer: SdkTracer,
    provider: SdkTracerProvider,
    propagator: TraceContextPropagator,
    /// Its own, so that it needs no worker of the server's, and works in a program without any.
    runtime: Option<Runtime>,
}

/// Why there are no traces.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    /// The address of the collector is none.
    #[error(
        "traces endpoint {0:?}: must be the address of a collector, like http://localhost:4317"
    )]
    Endpoint(String),
    /// The ratio is none.
    #[error("traces sample ratio {0}: must be between 0 and 1")]
    Ratio(f64),
    /// A setting of the exporter that it does not take.
    #[error("traces: {0}")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
    /// No thread to send them.
    #[error("traces: no thread to send them: {0}")]
    Thread(#[from] std::io::Error),
}

/// Sends spans to the collector at `endpoint` (`http://host:4317`), under the name `service_name`.
/// Requests with a `traceparent` are traced as it says, of the others the part `sample_ratio`. Does not
/// try to reach the collector. Settings that have no argument here come from the variables
/// `OTEL_EXPORTER_OTLP_*` and `OTEL_RESOURCE_ATTRIBUTES`.
pub fn start(endpoint: &str, service_name: &str, sample_ratio: f64) -> Result<Traces, TracesError> {
    check(endpoint, sample_ratio)?;
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("ncs-traces")
        .enable_all()
        .build()?;
    let exporter = {
        let _entered = runtime.enter();
        let exporter = SpanExporter::builder().with_tonic();
        exporter.with_endpoint(endpoint).build()?
    };
    let provider = provider(exporter, service_name, sample_ratio);
    Ok(Traces {
        tracer: provider.tracer("ncs-serve"),
        provider,
        propagator: TraceContextPropagator::new(),
        runtime: Some(runtime),
    })
}

fn check(endpoint: &str, sample_ratio: f64) -> Result<(), TracesError> {
    let uri = endpoint.parse::<Uri>();
    let is_address = uri.is_ok_and(|uri| {
        uri.scheme_str() == Some("http")
            && uri.host().is_some_and(|host| !host.is_empty())
            && matches!(uri.path(), "" | "/")
            && uri.query().is_none()
    });
    if !is_address {
        return Err(TracesError::Endpoint(endpoint.to_owned()));
    }
    if !(0.0..=1.0).contains(&sample_ratio) {
        return Err(TracesError::Ratio(sample_ratio));
    }
    Ok(())
}

fn provider(exporter: SpanExporter, service_name: &str, sample_ratio: f64) -> SdkTracerProvider {
    let batches = BatchConfigBuilder::default()
        .with_max_queue_size(QUEUE)
        .with_scheduled_delay(SENT_EVERY)
        .build();
    let exporter = Watched {
        exporter,
        fails: AtomicBool::new(false),
    };
    let processor = BatchSpanProcessor::builder(exporter).with_batch_config(batches);
    let by_ratio = Sampler::TraceIdRatioBased(sample_ratio);
    let resource = Resource::builder()
        .with_service_name(service_name.to_owned())
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    SdkTracerProvider::builder()
        .with_span_processor(processor.build())
        .with_sampler(Sampler::ParentBased(Box::new(by_ratio)))
        .with_resource(resource.build())
        .build()
}

impl Traces {
    /// Makes the spans of a request that was answered at `ended`, if it is one of those that are traced.
    pub(super) fn record(&self, record: &Record, ended: Instant) {
        if record.call.is_probe() {
            return;
        }
        let parent = TraceParent(record.traceparent.as_deref());
        let parent = self
            .propagator
            .extract_with_context(&Context::new(), &parent);
        let builder = self
            .tracer
            .span_builder(record.call.as_str())
            .with_kind(SpanKind::Server)
            .with_start_time(record.started);
        let span = self.tracer.build_with_context(builder, &parent);
        let context = Context::new().with_span(span);
        if context.span().is_recording() {
            self.stages(record, &context);
            describe(record, &context);
            context.span().end_with_timestamp(record.calendar(ended));
        }
    }

    fn stages(&self, record: &Record, context: &Context) {
        for stage in Stage::ALL {
            let Some((from, until)) = record.stages.get(stage) else {
                continue;
            };
            let builder = self
                .tracer
                .span_builder(stage.as_str())
                .with_start_time(record.calendar(from));
            let mut span = self.tracer.build_with_context(builder, context);
            opentelemetry::trace::Span::end_with_timestamp(&mut span, record.calendar(until));
        }
    }

    /// Sends what waits, for `bound` at most; from then on nothing is traced. It blocks.
    pub fn shutdown(&self, bound: Duration) {
        if let Err(error) = self.provider.shutdown_with_timeout(bound) {
            tracing::debug!(%error, "some spans may not have been sent");
        }
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        // Else the provider would wait for 5 s, and the runtime must not be waited for in another's task.
        let _ = self.provider.shutdown_with_timeout(Duration::ZERO);
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// What a request's span says.
fn describe(record: &Record, context: &Context) {
    let span = context.span();
    span.set_attribute(code(record));
    span.set_attribute(text("ncs.protocol", record.protocol.as_str()));
    span.set_attribute(text("ncs.request_id", record.request_id.clone()));
    span.set_attribute(KeyValue::new("ncs.candidates", record.n_candidates as i64));
    if let Some(served) = &record.served {
        let by = served.by();
        span.set_attribute(text("ncs.model", by.model.clone()));
        span.set_attribute(KeyValue::new("ncs.model.version", by.version as i64));
        span.set_attribute(text("ncs.model.hash", by.hash.clone()));
    }
    if let Some(label) = record.label {
        span.set_attribute(text("ncs.model.label", label));
    }
    if let Some(refusal) = &record.refused {
        span.set_attribute(text("ncs.refusal", refusal.what.clone()));
        // A server's span has no error where the caller is to mend something (semantic conventions).
        if refusal.kind.status().is_server_error() {
            span.set_status(Status::error(refusal.what.clone()));
        }
    }
}

fn text(key: &'static str, value: impl Into<opentelemetry::StringValue>) -> KeyValue {
    KeyValue::new(key, Value::String(value.into()))
}

/// The code by the names of the semantic conventions.
fn code(record: &Record) -> KeyValue {
    let kind = record.kind();
    match record.protocol {
        Protocol::Http => {
            let status = kind.map_or(200, |kind| kind.status().as_u16());
            KeyValue::new("http.response.status_code", i64::from(status))
        }
        Protocol::Grpc => {
            let code = kind.map_or(Code::Ok, |kind| kind.code());
            KeyValue::new("rpc.grpc.status_code", i64::from(i32::from(code)))
        }
    }
}

/// The one header that says who asked.
struct TraceParent<'a>(Option<&'a str>);

impl Extractor for TraceParent<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.filter(|_| key == "traceparent")
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent"]
    }
}

/// Says once that the collector cannot be reached, and once that it can again.
#[derive(Debug)]
struct Watched {
    exporter: SpanExporter,
    fails: AtomicBool,
}

impl sdk::SpanExporter for Watched {
    async fn export(&self, batch: Vec<sdk::SpanData>) -> OTelSdkResult {
        let result = self.exporter.export(batch).await;
        match (&result, self.fails.swap(result.is_err(), Relaxed)) {
            (Err(error), false) => tracing::warn!(%error, "spans cannot be sent and are lost"),
            (Ok(()), true) => tracing::info!("spans can be sent again"),
            _ => {}
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn shutdown(&self) -> OTelSdkResult {
        self.exporter.shutdown()
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
