//! The bytes of a connection on their way through.

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

/// How long a connection that was answered early reads on, so that its peer gets to read the answer: a
/// socket that is closed with unread bytes takes back what it sent.
const LINGER: Duration = Duration::from_secs(1);

/// What every HTTP/2 connection begins with.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Room for the first bytes; they come again when the connection is read.
const FIRST_BYTES: usize = 2048;

/// A stream that tells its [`ConnectionActivity`] what passes, gives hyper's own refusals a JSON body, and closes such
/// that the peer can read what was said.
pub(super) struct PeekStream<S> {
    stream: S,
    activity: Arc<ConnectionActivity>,
    /// What was read to tell the protocol, and is to be read again.
    first: Bytes,
    header_bytes: usize,
    protocol: Protocol,
    /// What is written in place of a refusal of hyper's.
    replacement: Option<Bytes>,
    has_refused: bool,
    /// Reads on until this is over, once the other direction is shut.
    linger: Option<Pin<Box<Sleep>>>,
}

/// What is spoken on a connection.
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

    /// This wire, on which nobody reads and a refusal is about to be written.
    pub(super) fn refusing(mut self) -> PeekStream<S> {
        self.has_refused = true;
        self
    }

    /// Reads as much as it takes to tell the protocol; `None` if the peer leaves.
    pub(super) async fn protocol(&mut self) -> io::Result<Option<Protocol>> {
        let mut first = BytesMut::with_capacity(FIRST_BYTES);
        let protocol = loop {
            if self.stream.read_buf(&mut first).await? == 0 {
                return Ok(None);
            }
            let seen = first.len().min(HTTP2_PREFACE.len());
            if first[..seen] != HTTP2_PREFACE[..seen] {
                break Protocol::Http1;
            }
            if seen == HTTP2_PREFACE.len() {
                break Protocol::Http2;
            }
        };
        self.activity.read();
        self.first = first.freeze();
        self.protocol = protocol;
        Ok(Some(protocol))
    }

    /// Whether hyper is about to write an answer of its own; if so, prepares what is written instead.
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

    /// Writes the replacement, then says that the `n_bytes` which it replaces are written.
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

    /// Tells the activity how a write went.
    fn told(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(_) => self.activity.wrote(),
            Poll::Pending => self.activity.blocked(),
        }
        written
    }

    /// Reads and forgets, until the peer has nothing more to say or the time is over.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let over = self.linger.get_or_insert_with(|| Box::pin(sleep(LINGER)));
        if over.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        // So many reads at a time, then others get their turn.
        for _ in 0..16 {
            let mut forgotten = [0; 8192];
            let mut forgotten = ReadBuf::new(&mut forgotten);
            let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut forgotten));
            if read.is_err() || forgotten.filled().is_empty() {
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
        let wire = &mut *self;
        if wire.first.has_remaining() {
            let n_bytes = wire.first.len().min(into.remaining());
            into.put_slice(&wire.first.split_to(n_bytes));
            return Poll::Ready(Ok(()));
        }
        let n_before = into.filled().len();
        ready!(Pin::new(&mut wire.stream).poll_read(cx, into))?;
        if into.filled().len() > n_before {
            wire.activity.read();
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
        let wire = &mut *self;
        let written = match wire.replaces(bytes) {
            true => wire.poll_replace(cx, bytes.len()),
            false => Pin::new(&mut wire.stream).poll_write(cx, bytes),
        };
        wire.told(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wire = &mut *self;
        let written = match wire.replaces(slices.first().map_or(&[], |first| first)) {
            true => wire.poll_replace(cx, slices.iter().map(|slice| slice.len()).sum()),
            false => Pin::new(&mut wire.stream).poll_write_vectored(cx, slices),
        };
        wire.told(written)
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
