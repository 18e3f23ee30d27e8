//! Traces: a span for each request, with a child span for each of its stages, sent to an OpenTelemetry
//! collector (OTLP over gRPC).
//!
//! Spans are created after the request has been answered and wait in a bounded queue that drops excess
//! spans; a separate thread sends them. A slow or unavailable collector therefore costs spans, never
//! requests.

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

/// Maximum number of spans waiting to be sent: those of about a thousand requests.
const QUEUE: usize = 8192;

/// Maximum time that a span waits for others.
const MAX_DELAY: Duration = Duration::from_secs(1);

/// Destination of spans. If it is dropped without [`shutdown`](Self::shutdown), waiting spans are lost.
#[derive(Debug)]
pub struct Traces {
    tracer: SdkTracer,
    provider: SdkTracerProvider,
    propagator: TraceContextPropagator,
    /// A separate runtime, so that it uses none of the server's threads and works without a server.
    runtime: Option<Runtime>,
}

/// Error of starting traces.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    /// The endpoint is not a valid address.
    #[error(
        "traces endpoint {0:?}: must be the address of a collector, like http://localhost:4317"
    )]
    Endpoint(String),
    /// The sample ratio is not valid.
    #[error("traces sample ratio {0}: must be between 0 and 1")]
    Ratio(f64),
    /// An invalid setting of the exporter.
    #[error("traces: {0}")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
    /// The thread that sends spans cannot be created.
    #[error("traces: no thread to send them: {0}")]
    Thread(#[from] std::io::Error),
}

/// Starts sending spans to the collector at `endpoint` (`http://host:4317`), with the service name
/// `service_name`. Requests with a `traceparent` follow its sampling decision; of the others, the share
/// `sample_ratio` is traced. Does not connect to the collector. Settings without an argument here come from
/// the variables `OTEL_EXPORTER_OTLP_*` and `OTEL_RESOURCE_ATTRIBUTES`.
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
        .with_scheduled_delay(MAX_DELAY)
        .build();
    let exporter = LoggingExporter {
        exporter,
        is_failing: AtomicBool::new(false),
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
    /// Creates the spans of a request that was answered at `ended`, if it is sampled.
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
            context.span().end_with_timestamp(record.wall_clock(ended));
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
                .with_start_time(record.wall_clock(from));
            let mut span = self.tracer.build_with_context(builder, context);
            opentelemetry::trace::Span::end_with_timestamp(&mut span, record.wall_clock(until));
        }
    }

    /// Sends waiting spans, for at most `bound`; afterwards nothing is traced. Blocks.
    pub fn shutdown(&self, bound: Duration) {
        if let Err(error) = self.provider.shutdown_with_timeout(bound) {
            tracing::debug!(%error, "some spans may not have been sent");
        }
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        // Otherwise the provider would wait for 5 s, and a runtime must not be waited for in a task of
        // another.
        let _ = self.provider.shutdown_with_timeout(Duration::ZERO);
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Sets the attributes of a request's span.
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
        span.set_attribute(text("ncs.refusal", refusal.message.clone()));
        // A server span has no error status for client errors (semantic conventions).
        if refusal.kind.status().is_server_error() {
            span.set_status(Status::error(refusal.message.clone()));
        }
    }
}

fn text(key: &'static str, value: impl Into<opentelemetry::StringValue>) -> KeyValue {
    KeyValue::new(key, Value::String(value.into()))
}

/// Returns the code by the attribute names of the semantic conventions.
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

/// Extractor for the header `traceparent` only.
struct TraceParent<'a>(Option<&'a str>);

impl Extractor for TraceParent<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.filter(|_| key == "traceparent")
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent"]
    }
}

/// Exporter that logs once when the collector becomes unreachable, and once when it is reachable again.
#[derive(Debug)]
struct LoggingExporter {
    exporter: SpanExporter,
    is_failing: AtomicBool,
}

impl sdk::SpanExporter for LoggingExporter {
    async fn export(&self, batch: Vec<sdk::SpanData>) -> OTelSdkResult {
        let result = self.exporter.export(batch).await;
        match (&result, self.is_failing.swap(result.is_err(), Relaxed)) {
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
