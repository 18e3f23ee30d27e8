//! Wrapper of a connection's byte stream.

use super::activity::ConnectionActivity;
use super::refused;
use bytes::{Buf, Bytes, BytesMut};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// Time that a connection that was answered early continues to read, so that its peer can read the response
/// (lingering close): closing a socket with unread bytes discards what was sent.
const LINGER: Duration = Duration::from_secs(1);

/// Preface of every HTTP/2 connection.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Buffer size for the first bytes, which are returned again when the connection is read.
const FIRST_BYTES: usize = 2048;

/// A stream that reports to its [`ConnectionActivity`], adds a JSON body to hyper's own error responses, and
/// closes such that the peer can read the last response.
pub(super) struct PeekStream<S> {
    stream: S,
    activity: Arc<ConnectionActivity>,
    /// Bytes read to detect the protocol; they are returned again.
    first: Bytes,
    header_bytes: usize,
    protocol: Protocol,
    /// Bytes written in place of an error response of hyper.
    replacement: Option<Bytes>,
    has_refused: bool,
    /// Time until which bytes are read and discarded after the write side is shut down.
    linger: Option<Pin<Box<Sleep>>>,
}

/// Protocol of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

impl<S: AsyncRead + AsyncWrite + Unpin> PeekStream<S> {
    pub(super) fn new(
        stream: S,
        activity: Arc<ConnectionActivity>,
        header_bytes: usize,
    ) -> PeekStream<S> {
        PeekStream {
            stream,
            activity,
            first: Bytes::new(),
            header_bytes,
            protocol: Protocol::Http1,
            replacement: None,
            has_refused: false,
            linger: None,
        }
    }

    /// Prepares this stream for writing an error response without reading a request.
    pub(super) fn refusing(mut self) -> PeekStream<S> {
        self.has_refused = true;
        self
    }

    /// Reads until the protocol is known; `None` if the peer closes.
    pub(super) async fn protocol(&mut self) -> io::Result<Option<Protocol>> {
        let mut first = BytesMut::with_capacity(FIRST_BYTES);
        let protocol = loop {
            if self.stream.read_buf(&mut first).await? == 0 {
                return Ok(None);
            }
            let n_compared = first.len().min(HTTP2_PREFACE.len());
            if first[..n_compared] != HTTP2_PREFACE[..n_compared] {
                break Protocol::Http1;
            }
            if n_compared == HTTP2_PREFACE.len() {
                break Protocol::Http2;
            }
        };
        self.activity.read();
        self.first = first.freeze();
        self.protocol = protocol;
        Ok(Some(protocol))
    }

    /// Returns true if hyper is about to write an error response of its own, and prepares its replacement.
    fn replaces(&mut self, start: &[u8]) -> bool {
        if self.replacement.is_some() {
            return true;
        }
        if self.protocol == Protocol::Http2 || self.activity.is_unflushed() {
            return false;
        }
        self.replacement = refused::with_body(start, self.header_bytes);
        self.has_refused |= self.replacement.is_some();
        self.replacement.is_some()
    }

    /// Writes the replacement, then reports the `n_bytes` that it replaces as written.
    fn poll_replace(&mut self, cx: &mut Context<'_>, n_bytes: usize) -> Poll<io::Result<usize>> {
        while let Some(rest) = self
            .replacement
            .as_mut()
            .filter(|rest| rest.has_remaining())
        {
            let n_written = ready!(Pin::new(&mut self.stream).poll_write(cx, rest))?;
            if n_written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            rest.advance(n_written);
        }
        self.replacement = None;
        Poll::Ready(Ok(n_bytes))
    }

    /// Records the result of a write.
    fn record_write(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(_) => self.activity.wrote(),
            Poll::Pending => self.activity.blocked(),
        }
        written
    }

    /// Reads and discards bytes until the peer closes or the time is over.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let over = self.linger.get_or_insert_with(|| Box::pin(sleep(LINGER)));
        if over.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        // Limits the reads per poll, so that other tasks can run.
        for _ in 0..16 {
            let mut discarded = [0; 8192];
            let mut discarded = ReadBuf::new(&mut discarded);
            let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut discarded));
            if read.is_err() || discarded.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for PeekStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.first.has_remaining() {
            let n_bytes = this.first.len().min(into.remaining());
            into.put_slice(&this.first.split_to(n_bytes));
            return Poll::Ready(Ok(()));
        }
        let n_before = into.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, into))?;
        if into.filled().len() > n_before {
            this.activity.read();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for PeekStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let written = match this.replaces(bytes) {
            true => this.poll_replace(cx, bytes.len()),
            false => Pin::new(&mut this.stream).poll_write(cx, bytes),
        };
        this.record_write(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let written = match this.replaces(slices.first().map_or(&[], |first| first)) {
            true => this.poll_replace(cx, slices.iter().map(|slice| slice.len()).sum()),
            false => Pin::new(&mut this.stream).poll_write_vectored(cx, slices),
        };
        this.record_write(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.activity.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.linger.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        }
        if self.has_refused || self.activity.has_left_unread() {
            return self.poll_linger(cx);
        }
        Poll::Ready(Ok(()))
    }
}
