//! A single connection.

use super::activity::{Action, ConnectionActivity, Handled, Reply};
use super::stream::WatchedStream;
use super::{ConnectionLimits, Counts, Drain, Peer};
use crate::api_error::{ApiError, ErrorKind};
use crate::budget::{Budget, Share};
use crate::words::shown;
use axum::Router;
use axum::response::IntoResponse;
use bytes::Bytes;
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Request, Response, Version, header};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use std::convert::Infallible;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{sleep, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use tower::Service;

/// Grace period for the first request of a connection after listeners close: it may be in transit.
const FIRST_REQUEST_GRACE: Duration = Duration::from_millis(250);

/// HTTP/2: bytes buffered for each stream while the peer does not read.
const SEND_BUFFER_BYTES: usize = 64 << 10;

/// HTTP/2: maximum number of streams that a peer may open and reset before the server handles them, and of
/// streams that the server may have to reset because of the peer's errors, before the connection is closed.
const MAX_RESETS: usize = 64;

/// Smallest buffer that hyper accepts for HTTP/1.
const MIN_BUFFER_BYTES: usize = 8 << 10;

/// State shared by all connections of a port.
pub(super) struct ListenerContext {
    pub(super) router: Router,
    pub(super) limits: ConnectionLimits,
    pub(super) budget: Arc<Budget>,
    pub(super) drain: Drain,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) counts: Arc<Counts>,
}

/// Serves one connection until it ends.
pub(super) async fn serve_connection(context: Arc<ListenerContext>, stream: TcpStream, peer: Peer) {
    // Sends responses without delay. If the system refuses this option, they are only slower.
    let _ = stream.set_nodelay(true);
    let Some(tls) = &context.tls else {
        return serve_http(context, stream, peer).await;
    };
    let closing = async {
        context.drain.closing().await;
        sleep(FIRST_REQUEST_GRACE).await;
    };
    let opened = tokio::select! {
        biased;
        opened = timeout(context.limits.header_time, tls.accept(stream)) => opened,
        () = closing => return,
    };
    match opened {
        Ok(Ok(stream)) => serve_http(context, stream, peer).await,
        Ok(Err(error)) => tracing::debug!(peer = %peer.address, %error, "TLS handshake failed"),
        Err(_) => context.counts.slow(),
    }
}

/// Serves HTTP on a stream, in the version that the peer starts with, until it ends; shuts it down if it is
/// idle or the server shuts down, and aborts it if its peer is too slow.
async fn serve_http<S>(context: Arc<ListenerContext>, stream: S, peer: Peer)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let activity = ConnectionActivity::new();
    let stream = TokioIo::new(WatchedStream::new(stream, activity.clone()));
    let shared = (context.clone(), activity.clone());
    let service = service_fn(move |request| {
        let (context, activity) = shared.clone();
        async move { Ok::<_, Infallible>(respond(&context, &activity, peer, request).await) }
    });
    let builder = builder(&context.limits);
    let mut connection = pin!(builder.serve_connection(stream, service));
    let mut closing = pin!(async {
        context.drain.closing().await;
        if !activity.has_begun() {
            sleep(FIRST_REQUEST_GRACE).await;
        }
    });
    let mut is_shutting_down = false;
    loop {
        let wait = match activity.next_action(&context.limits, is_shutting_down) {
            Action::Wait(until) => until,
            Action::ShutDown => {
                connection.as_mut().graceful_shutdown();
                activity.shutdown_started();
                is_shutting_down = true;
                continue;
            }
            Action::Abort => {
                tracing::debug!(peer = %peer.address, "connection aborted: its peer is too slow");
                return context.counts.slow();
            }
        };
        tokio::select! {
            // Bytes already received are handled before the connection is shut down.
            biased;
            ended = &mut connection => {
                if let Err(error) = ended {
                    tracing::debug!(peer = %peer.address, %error, "connection ended");
                }
                return;
            }
            () = &mut closing, if !is_shutting_down => {
                connection.as_mut().graceful_shutdown();
                activity.shutdown_started();
                is_shutting_down = true;
            }
            () = sleep_until(wait) => {}
        }
    }
}

fn builder(limits: &ConnectionLimits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // [`ConnectionActivity`] distinguishes an incomplete head from an idle connection, which hyper does
        // not.
        .header_read_timeout(None)
        // A head must fit the buffer.
        .max_buf_size(limits.header_bytes.max(MIN_BUFFER_BYTES));
    let header_bytes = u32::try_from(limits.header_bytes).unwrap_or(u32::MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .initial_connection_window_size(limits.window())
        .initial_stream_window_size(limits.window())
        .max_header_list_size(header_bytes)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .max_pending_accept_reset_streams(MAX_RESETS)
        .max_local_error_reset_streams(MAX_RESETS);
    builder
}

/// Returns the router's response to a request, or an error response if it panics.
async fn respond(
    context: &ListenerContext,
    activity: &Arc<ConnectionActivity>,
    peer: Peer,
    request: Request<Incoming>,
) -> Response<Sent> {
    let handled = Handled::begin(activity);
    let is_http1 = request.version() < Version::HTTP_2;
    let mut request = request.map(axum::body::Body::new);
    request.extensions_mut().insert(peer);
    let uri = request.uri().clone();
    let admitted = admit(context, &request);
    let mut router = context.router.clone();
    let answered = async {
        match &admitted {
            Ok(_) => catch_panic(async move { router.call(request).await }).await,
            Err(refusal) => Ok(Ok(crate::grpc::refusal(request.headers(), refusal.clone()))),
        }
    };
    let mut response = match answered.await {
        Ok(Ok(response)) => response,
        Err(Panicked) => {
            let path = shown(uri.path());
            tracing::error!(path = &*path, "a request made the server panic");
            let what = "internal error: see the server's log, and report it";
            ErrorKind::Internal.error(what).into_response()
        }
    };
    if is_http1 && context.drain.has_begun() {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    let reply = handled.answered();
    response.map(|body| Sent {
        body,
        response: reply,
        _cost: admitted.ok(),
    })
}

/// Memory of a request besides its body and response while it is handled, in bytes.
const REQUEST: usize = 8 << 10;

/// Admits a request: it must have a valid `Host`, and the budget must have room for its head.
fn admit<B>(context: &ListenerContext, request: &Request<B>) -> Result<Share, ApiError> {
    if request.version() == Version::HTTP_11 {
        check_host(request.headers())?;
    }
    let headers = request.headers().iter();
    let head: usize = headers
        .map(|(name, value)| name.as_str().len() + value.len() + 64)
        .sum();
    let uri = request.uri().path().len() + request.uri().query().map_or(0, str::len);
    context.budget.admit(REQUEST + head + uri)
}

/// Checks that an HTTP/1.1 request has exactly one valid `Host` (RFC 9112, section 3.2).
fn check_host(headers: &HeaderMap) -> Result<(), ApiError> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let what = match (hosts.next(), hosts.next()) {
        (None, _) => "the request has no Host header, which HTTP/1.1 requires; send one",
        (_, Some(_)) => "the request has several Host headers; send one",
        (Some(host), None) if host.is_empty() => return Ok(()),
        (Some(host), None) => match Authority::try_from(host.as_bytes()) {
            Ok(host) if !host.as_str().contains('@') => return Ok(()),
            _ => "the Host header is invalid; send a name or an address, with a port if needed",
        },
    };
    Err(ErrorKind::Invalid.error(what))
}

struct Panicked;

async fn catch_panic<T>(work: impl Future<Output = T>) -> Result<T, Panicked> {
    let mut work = pin!(work);
    poll_fn(|cx| {
        let polled = catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx)));
        match polled {
            Ok(poll) => poll.map(Ok),
            Err(_) => Poll::Ready(Err(Panicked)),
        }
    })
    .await
}

/// A response's body; records its progress.
struct Sent {
    body: axum::body::Body,
    response: Reply,
    /// Returned with the body.
    _cost: Option<Share>,
}

impl Body for Sent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.response.polled();
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(_))) = polled {
            self.response.sent();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
