//! The client's socket under hyper: the clocks that hyper does not have, and the refusals that
//! hyper writes bare.
//!
//! How: hyper 1 has one timer for the head of a request and none for an idle connection, a stalled
//! read of the answer, or the time before the protocol is known. Reads and writes pass through
//! here anyway, so the clocks are kept here, with one alarm per direction. What
//! hyper's parser refuses it answers with an empty body; as nothing else can be written while no
//! request is in progress, such bytes are recognised and replaced by our own form.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::Notify,
    time::Instant,
};

use super::{
    answer::raw_answer,
    error::ProxyError,
    frames::Frames,
    head,
    identity::Identity,
    link::Link,
    raw_head::{RawFault, RawHeads, Where},
    settings::Settings,
};
use crate::{net::Alarm, telemetry::ConnectionLimit};

/// In place of the time since when a connection does what it does: nobody has asked yet. Reading
/// the clock is left to the first who does, because most requests are over before anyone asks.
const NOT_ASKED: u64 = u64::MAX;

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Doing {
    /// Waiting for the first byte of a request.
    Idle = 0,
    /// Reading a head.
    Head = 1,
    /// A request is in progress.
    Busy = 2,
    /// Something without a head: HTTP/2 or an upgraded connection. No clock here applies.
    Other = 3,
}

/// The state of a client connection, shared by its socket and its requests.
#[derive(Debug, Clone)]
pub(crate) struct ClientState(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    began: Instant,
    doing: AtomicU8,
    since_ms: AtomicU64,
    requests: AtomicU32,
    /// Requests that have begun so far.
    begun: AtomicU32,
    /// Wakes whoever serves an HTTP/2 connection that should end.
    farewell: Notify,
    ends: AtomicBool,
    /// Which limit of the router ended the connection.
    limit: Mutex<Option<ConnectionLimit>>,
    /// Whether every byte of every answer has left, so that the next byte written is hyper's own.
    clean: AtomicBool,
    late_head: AtomicBool,
    refused: Mutex<Option<(ProxyError, Identity)>>,
    raw_fault: Mutex<Option<RawFault>>,
}

/// One request of a connection, until dropped.
#[derive(Debug)]
pub(crate) struct InProgress(ClientState);

impl ClientState {
    pub(crate) fn new(doing: Doing) -> Self {
        Self(Arc::new(Inner {
            began: Instant::now(),
            doing: AtomicU8::new(doing as u8),
            since_ms: AtomicU64::new(0),
            requests: AtomicU32::new(0),
            begun: AtomicU32::new(0),
            farewell: Notify::new(),
            ends: AtomicBool::new(false),
            limit: Mutex::new(None),
            clean: AtomicBool::new(true),
            late_head: AtomicBool::new(false),
            refused: Mutex::new(None),
            raw_fault: Mutex::new(None),
        }))
    }

    fn doing(&self) -> Doing {
        match self.0.doing.load(Ordering::Relaxed) {
            0 => Doing::Idle,
            1 => Doing::Head,
            2 => Doing::Busy,
            _ => Doing::Other,
        }
    }

    fn set(&self, doing: Doing) {
        self.0.since_ms.store(NOT_ASKED, Ordering::Relaxed);
        if self.doing() == Doing::Other {
            // It is looked at now and then, not with every read.
            self.since();
        } else {
            self.0.doing.store(doing as u8, Ordering::Relaxed);
        }
    }

    fn since(&self) -> Instant {
        let mut since_ms = self.0.since_ms.load(Ordering::Relaxed);
        if since_ms == NOT_ASKED {
            since_ms = u64::try_from(self.0.began.elapsed().as_millis()).unwrap_or(0);
            self.0.since_ms.store(since_ms, Ordering::Relaxed);
        }
        self.0.began + Duration::from_millis(since_ms)
    }

    /// A request has begun.
    pub(crate) fn begin(&self) -> InProgress {
        self.0.requests.fetch_add(1, Ordering::Relaxed);
        self.0.begun.fetch_add(1, Ordering::Relaxed);
        self.0.clean.store(false, Ordering::Relaxed);
        self.set(Doing::Busy);
        InProgress(self.clone())
    }

    /// Requests that have begun so far.
    pub(crate) fn begun(&self) -> u32 {
        self.0.begun.load(Ordering::Relaxed)
    }

    /// Asks for the end of an HTTP/2 connection: GOAWAY, then what has begun is finished.
    pub(crate) fn ask_to_end(&self) {
        self.0.farewell.notify_one();
    }

    /// Resolves when somebody has asked for the end.
    pub(crate) async fn asked_to_end(&self) {
        self.0.farewell.notified().await;
    }

    /// Whether nobody has asked for the end before; counts once for each connection.
    pub(crate) fn is_first_to_end(&self) -> bool {
        !self.0.ends.swap(true, Ordering::Relaxed)
    }

    /// Notes which limit ends the connection; the first one counts.
    pub(crate) fn ends_by(&self, limit: ConnectionLimit) {
        self.0.limit.lock().get_or_insert(limit);
    }

    /// Which limit has ended the connection.
    pub(crate) fn ended_by(&self) -> Option<ConnectionLimit> {
        *self.0.limit.lock()
    }

    /// From now on the bytes are not HTTP/1 requests.
    pub(crate) fn becomes_other(&self) {
        self.0.doing.store(Doing::Other as u8, Ordering::Relaxed);
    }

    /// Whether the connection is no HTTP/1 any more.
    pub(crate) fn is_other(&self) -> bool {
        self.doing() == Doing::Other
    }

    /// How long no request has been in progress; `None` while one is.
    pub(crate) fn idle_for(&self) -> Option<Duration> {
        let idle = self.0.requests.load(Ordering::Relaxed) == 0;
        idle.then(|| self.since().elapsed())
    }

    /// Whether the connection ended because a head was not complete in time.
    pub(crate) fn head_was_late(&self) -> bool {
        self.0.late_head.load(Ordering::Relaxed)
    }

    /// Whether every byte of every answer has left.
    pub(crate) fn is_clean(&self) -> bool {
        self.0.clean.load(Ordering::Relaxed)
    }

    /// What was wrong with a head that hyper did not get to see.
    pub(crate) fn raw_fault(&self) -> Option<RawFault> {
        *self.0.raw_fault.lock()
    }

    /// Whether something is still to be said on this connection after hyper has left it.
    fn has_last_words(&self) -> bool {
        self.head_was_late() || self.raw_fault().is_some()
    }

    /// Why hyper's parser refused a request, if it did.
    pub(crate) fn refused(&self) -> Option<(ProxyError, Identity)> {
        self.0.refused.lock().take()
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        let state = &self.0;
        state.0.requests.fetch_sub(1, Ordering::Relaxed);
        state.set(Doing::Idle);
    }
}

/// What hyper reads from and writes to.
#[derive(Debug)]
pub(crate) struct ClientIo {
    io: Link,
    state: ClientState,
    /// Bytes read to tell the protocol.
    prefix: Bytes,
    /// Looks at heads before hyper does.
    heads: RawHeads,
    /// Follows the frames of HTTP/2.
    frames: Option<Box<Frames>>,
    /// Whether they found a fault: nothing more is read.
    refused: bool,
    /// Our own bytes, in place of hyper's.
    pending: Bytes,
    read_alarm: Alarm,
    write_alarm: Alarm,
    write_waits_since: Option<Instant>,
    idle_limit: Duration,
    head_limit: Duration,
    write_stall_limit: Duration,
}

impl ClientIo {
    pub(crate) fn new(io: Link, state: ClientState, prefix: Bytes, settings: &Settings) -> Self {
        Self {
            io,
            state,
            prefix,
            heads: RawHeads::default(),
            frames: None,
            refused: false,
            pending: Bytes::new(),
            read_alarm: Alarm::default(),
            write_alarm: Alarm::default(),
            write_waits_since: None,
            idle_limit: settings.idle_limit,
            head_limit: settings.head_limit,
            write_stall_limit: settings.write_stall_limit,
        }
    }

    /// The same for HTTP/2, whose frames are counted.
    pub(crate) fn of_frames(self, streams_max: u32) -> Self {
        Self { frames: Some(Box::new(Frames::new(streams_max))), ..self }
    }

    /// Ends an HTTP/2 connection with too much of something.
    fn count_frames(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(frames) = &mut self.frames else { return Ok(()) };
        let Err(limit) = frames.follow(bytes) else { return Ok(()) };
        self.state.ends_by(limit);
        self.refused = true;
        if let Some(goaway) = frames.farewell() {
            self.io.write_now(&goaway);
        }
        Err(io::ErrorKind::InvalidData.into())
    }

    /// Refuses a head that hyper would forgive. The connection ends; whoever serves it says why.
    /// Good requests read together with it are handed on first.
    fn look_at(&mut self, buf: &mut ReadBuf<'_>, before: usize) -> io::Result<()> {
        if self.state.doing() == Doing::Other {
            return self.count_frames(buf.filled().split_at(before).1);
        }
        let Err((place, fault)) = self.heads.follow(buf.filled().split_at(before).1) else {
            return Ok(());
        };
        let good = match place {
            Where::Head(good) => {
                *self.state.0.raw_fault.lock() = Some(fault);
                good
            }
            // The request is answered like any other with a malformed body, so its head is needed.
            Where::Body(good) => good,
        };
        self.refused = true;
        buf.set_filled(before + good);
        if good > 0 {
            return Ok(());
        }
        Err(io::ErrorKind::InvalidData.into())
    }

    fn poll_read_clock(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let doing = match self.state.doing() {
            // It began behind the request before it, in the same read.
            Doing::Idle if self.heads.is_in_head() => Doing::Head,
            doing => doing,
        };
        let limit = match doing {
            Doing::Idle => self.idle_limit,
            Doing::Head => self.head_limit,
            Doing::Busy => return Poll::Pending,
            Doing::Other => return self.poll_frames_clock(cx),
        };
        ready!(self.read_alarm.poll(self.state.since() + limit, cx));
        if doing == Doing::Head {
            self.state.0.late_head.store(true, Ordering::Relaxed);
            self.state.ends_by(ConnectionLimit::Head);
        }
        Poll::Ready(io::ErrorKind::TimedOut.into())
    }

    /// A head of HTTP/2 has as long as one of HTTP/1.
    fn poll_frames_clock(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let Some(since) = self.frames.as_ref().and_then(|frames| frames.head_since()) else {
            return Poll::Pending;
        };
        ready!(self.read_alarm.poll(since + self.head_limit, cx));
        self.state.ends_by(ConnectionLimit::Head);
        Poll::Ready(io::ErrorKind::TimedOut.into())
    }

    fn poll_write_clock(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let mut since = *self.write_waits_since.get_or_insert_with(Instant::now);
        if let Some(progress) = self.io.since_progress() {
            // The layer below takes much at once and lets it out bit by bit.
            since = Instant::now().checked_sub(progress).map_or(since, |wrote| wrote.max(since));
        }
        ready!(self.write_alarm.poll(since + self.write_stall_limit, cx));
        self.state.ends_by(ConnectionLimit::Write);
        Poll::Ready(io::ErrorKind::TimedOut.into())
    }

    /// Whether these bytes are hyper's own refusal; if so, ours take their place.
    fn replaces(&mut self, bytes: &[u8]) -> bool {
        let clean = self.state.0.clean.load(Ordering::Relaxed);
        if !clean || self.state.doing() == Doing::Other {
            return false;
        }
        let status = bytes.strip_prefix(b"HTTP/1.1 ").or_else(|| bytes.strip_prefix(b"HTTP/1.0 "));
        let error = match status.and_then(|status| status.get(..3)) {
            Some(b"400") => head::malformed("the request is not well-formed HTTP/1.1 (RFC 9112)"),
            Some(b"414") => head::target_too_long(),
            Some(b"431") => head::too_large(),
            _ => return false,
        };
        let identity = Identity::fresh();
        self.pending = raw_answer(&error, &identity).into();
        *self.state.0.refused.lock() = Some((error, identity));
        true
    }

    fn poll_pending(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.pending.is_empty() {
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, &self.pending))?;
            self.pending.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write_with(
        &mut self,
        cx: &mut Context<'_>,
        first: &[u8],
        length: usize,
        write: impl FnOnce(&mut Link, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if self.pending.is_empty() && self.replaces(first) {
            return Poll::Ready(Ok(length));
        }
        ready!(self.poll_pending(cx))?;
        let written = write(&mut self.io, cx);
        self.clocked(written, cx)
    }

    /// A step of writing under the clock of a client that does not read.
    fn clocked<T>(
        &mut self,
        step: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        match step {
            Poll::Ready(done) => {
                self.write_waits_since = None;
                Poll::Ready(done)
            }
            Poll::Pending => self.poll_write_clock(cx).map(Err),
        }
    }
}

impl AsyncRead for ClientIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.refused {
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        let before = buf.filled().len();
        if !self.prefix.is_empty() {
            let count = self.prefix.len().min(buf.remaining());
            buf.put_slice(&self.prefix.split_to(count));
            return Poll::Ready(self.look_at(buf, before));
        }
        match Pin::new(&mut self.io).poll_read(cx, buf) {
            Poll::Ready(done) => {
                if buf.filled().len() > before && self.state.doing() == Doing::Idle {
                    self.state.set(Doing::Head);
                }
                Poll::Ready(done.and_then(|()| self.look_at(buf, before)))
            }
            Poll::Pending => self.poll_read_clock(cx).map(Err),
        }
    }
}

impl AsyncWrite for ClientIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let done = ready!(self.poll_write_with(cx, bytes, bytes.len(), |io, cx| {
            Pin::new(io).poll_write(cx, bytes)
        }));
        if let (Some(frames), Ok(count)) = (&mut self.frames, &done) {
            frames.sent(bytes.get(..*count).unwrap_or(bytes));
        }
        Poll::Ready(done)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first = slices.first().map_or(&[][..], |slice| slice);
        let length = slices.iter().map(|slice| slice.len()).sum();
        let done = ready!(self.poll_write_with(cx, first, length, |io, cx| {
            Pin::new(io).poll_write_vectored(cx, slices)
        }));
        if let (Some(frames), Ok(count)) = (&mut self.frames, &done) {
            let mut left = *count;
            for slice in slices {
                let written = slice.get(..left).unwrap_or(slice);
                frames.sent(written);
                left -= written.len();
            }
        }
        Poll::Ready(done)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_pending(cx))?;
        if self.io.is_secured() {
            let flushed = Pin::new(&mut self.io).poll_flush(cx);
            ready!(self.clocked(flushed, cx))?;
        }
        if self.state.doing() != Doing::Busy {
            self.state.0.clean.store(true, Ordering::Relaxed);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_pending(cx))?;
        if self.state.has_last_words() {
            return Poll::Ready(Ok(()));
        }
        let shut = Pin::new(&mut self.io).poll_shutdown(cx);
        self.clocked(shut, cx)
    }
}
