//! The request body on its way to the replica.
//!
//! Promises: at most one frame is in memory, plus what is kept for a second try; the payload limit
//! is exact; a body that fails is seen by the replica as aborted, never as short and complete; the
//! first fault is remembered, with whose it is.

use std::{
    cell::RefCell,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep};

#[cfg(test)]
use super::guard::fault::{self, Place};
use super::{
    error::ProxyError, forward::clean_trailers, grpc::MessageMeter, guard::contain,
    settings::REPLAY_BYTES_MAX,
};

/// What went wrong with a request body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UploadFault {
    /// Over the limit.
    #[error("the payload is over its limit")]
    TooLarge,
    /// Nothing came for too long.
    #[error("the payload stalled")]
    Stalled,
    /// The client closed or reset in the middle.
    #[error("the payload was cut off")]
    CutOff,
    /// The framing is wrong.
    #[error("the payload is malformed")]
    Malformed,
    /// The router panicked over it.
    #[error("the router failed")]
    Panicked,
}

/// The limits of one request body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UploadLimits {
    /// Bytes in all; for gRPC, bytes of one message.
    pub(crate) payload_bytes_max: u64,
    /// How long it may pause.
    pub(crate) stall: Duration,
    /// Whether trailers go on to the replica (gRPC).
    pub(crate) trailers: bool,
}

/// The state of a request body, shared by the tries to send it.
#[derive(Debug)]
pub(crate) struct UploadState(RefCell<Inner>);

#[derive(Debug)]
struct Inner {
    incoming: Incoming,
    limits: UploadLimits,
    length: Option<u64>,
    received: u64,
    meter: MessageMeter,
    kept: Vec<Bytes>,
    kept_bytes: usize,
    replayable: bool,
    started: bool,
    ended: bool,
    /// When the last byte came; `None` for a request without a body.
    ended_at: Option<std::time::Instant>,
    /// When a piece was handed on last.
    given_at: Option<std::time::Instant>,
    fault: Option<UploadFault>,
    stall: Option<Pin<Box<Sleep>>>,
    last: Option<Instant>,
}

/// One try to send a request body; what hyper reads.
#[derive(Debug)]
pub(crate) struct Upload {
    state: Rc<UploadState>,
    replayed: usize,
    sent_bytes: u64,
}

impl UploadState {
    /// Takes over the body of a request. `replay`: whether to keep it for a second try.
    pub(crate) fn new(incoming: Incoming, limits: UploadLimits, replay: bool) -> Rc<Self> {
        let ended = incoming.is_end_stream();
        // HTTP/2 can announce nothing and send something: a length of zero is true when it has ended.
        let announced = incoming.size_hint().exact().filter(|length| *length > 0);
        let length = if ended { Some(0) } else { announced };
        let fits = length.is_none_or(|length| length <= REPLAY_BYTES_MAX as u64);
        Rc::new(Self(RefCell::new(Inner {
            incoming,
            limits,
            length,
            received: 0,
            meter: MessageMeter::default(),
            kept: Vec::new(),
            kept_bytes: 0,
            replayable: replay && fits,
            started: false,
            ended,
            ended_at: None,
            given_at: None,
            fault: None,
            stall: None,
            last: None,
        })))
    }

    /// A try from the first byte.
    pub(crate) fn attempt(self: &Rc<Self>) -> Upload {
        Upload { state: Rc::clone(self), replayed: 0, sent_bytes: 0 }
    }

    /// Whether a second try can send the same bytes.
    pub(crate) fn is_replayable(&self) -> bool {
        let inner = self.0.borrow();
        inner.fault.is_none() && (inner.replayable || !inner.started)
    }

    /// What went wrong, if something did.
    pub(crate) fn fault(&self) -> Option<UploadFault> {
        self.0.borrow().fault
    }

    /// The same as an error of the request.
    pub(crate) fn error(&self) -> Option<ProxyError> {
        let inner = self.0.borrow();
        Some(match inner.fault? {
            UploadFault::TooLarge => {
                ProxyError::PayloadTooLarge { limit: inner.limits.payload_bytes_max }
            }
            UploadFault::Stalled => ProxyError::ClientTimeout("no payload came for too long"),
            UploadFault::CutOff => ProxyError::Malformed("the payload was cut off".into()),
            UploadFault::Malformed => ProxyError::Malformed("the payload is malformed".into()),
            UploadFault::Panicked => ProxyError::Internal,
        })
    }

    /// Whether the client has sent everything.
    pub(crate) fn is_ended(&self) -> bool {
        self.0.borrow().ended
    }

    /// When the client had sent everything; `None` for a request without a body.
    pub(crate) fn ended_at(&self) -> Option<std::time::Instant> {
        self.0.borrow().ended_at
    }

    /// Since when the replica has had all that the client has sent, not before `sent`, when the
    /// request was given to it; `None` while the client has to send more.
    pub(crate) fn given_since(&self, sent: std::time::Instant) -> Option<std::time::Instant> {
        let inner = self.0.borrow();
        if inner.ended {
            return Some(inner.ended_at.unwrap_or(sent).max(sent));
        }
        // Nobody waits for the client: what it has sent is not taken.
        inner.given_at.filter(|_| inner.last.is_none()).map(|at| at.max(sent))
    }

    /// The length that the client has announced; `None` where it has not.
    pub(crate) fn length(&self) -> Option<u64> {
        self.0.borrow().length
    }

    /// Payload bytes received so far.
    pub(crate) fn received(&self) -> u64 {
        self.0.borrow().received
    }

    /// Reads and drops what is left, for as long as the limits allow, so that the client can read
    /// an answer that came early.
    pub(crate) async fn discard(self: Rc<Self>, bytes_max: u64) {
        let mut left = bytes_max;
        let next = |cx: &mut Context<'_>| self.0.borrow_mut().poll_incoming(cx);
        while let Some(Ok(frame)) = std::future::poll_fn(next).await {
            let size = frame.data_ref().map_or(0, Bytes::len) as u64;
            match left.checked_sub(size) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    }
}

impl Inner {
    fn poll_incoming(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadFault>>> {
        let frame = match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                ready!(self.poll_stall(cx));
                return Poll::Ready(Some(Err(UploadFault::Stalled)));
            }
        };
        self.last = None;
        Poll::Ready(frame.map(|frame| frame.map_err(|error| judge(&error))))
    }

    /// Resolves when nothing has come for too long. The timer is set only when a read has to wait,
    /// and moved only when it fires: most bodies never set one.
    fn poll_stall(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let since = *self.last.get_or_insert_with(Instant::now);
        let deadline = since + self.limits.stall;
        let timer = self.stall.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        while timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
        Poll::Pending
    }

    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadFault>>> {
        if let Some(fault) = self.fault {
            return Poll::Ready(Some(Err(fault)));
        }
        if self.ended {
            return Poll::Ready(None);
        }
        self.started = true;
        let checked = match ready!(self.poll_incoming(cx)) {
            None => {
                self.end();
                return Poll::Ready(None);
            }
            Some(frame) => frame.and_then(|frame| self.check(frame)),
        };
        match checked {
            Ok(Some(frame)) => Poll::Ready(Some(Ok(frame))),
            // Trailers that nobody wants; they are the last frame.
            Ok(None) => {
                self.end();
                Poll::Ready(None)
            }
            Err(fault) => {
                self.fault = Some(fault);
                Poll::Ready(Some(Err(fault)))
            }
        }
    }

    fn check(&mut self, mut frame: Frame<Bytes>) -> Result<Option<Frame<Bytes>>, UploadFault> {
        if let Some(trailers) = frame.trailers_mut() {
            clean_trailers(trailers);
        }
        let Some(data) = frame.data_ref() else {
            return Ok(Some(frame).filter(|_| self.limits.trailers));
        };
        self.received += data.len() as u64;
        self.given_at = Some(std::time::Instant::now());
        let limit = self.limits.payload_bytes_max;
        let within = if self.limits.trailers {
            self.meter.passes(data, limit)
        } else {
            self.received <= limit
        };
        if !within {
            return Err(UploadFault::TooLarge);
        }
        if self.replayable {
            self.keep(data.clone());
        }
        if self.incoming.is_end_stream() {
            self.end();
        }
        Ok(Some(frame))
    }
}

impl Inner {
    fn end(&mut self) {
        self.ended = true;
        self.ended_at = Some(std::time::Instant::now());
    }

    fn keep(&mut self, data: Bytes) {
        self.kept_bytes += data.len();
        self.kept.push(data);
        if self.kept_bytes > REPLAY_BYTES_MAX {
            self.replayable = false;
            self.kept = Vec::new();
        }
    }
}

/// Whose fault a broken body is: always the client's, but a connection that ended is told from
/// bytes that are not chunks.
fn judge(error: &hyper::Error) -> UploadFault {
    if is_malformed(error) { UploadFault::Malformed } else { UploadFault::CutOff }
}

/// Whether a body failed because its bytes are not what they should be, and not because they ended.
pub(super) fn is_malformed(error: &hyper::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<std::io::Error>() {
            return matches!(
                io.kind(),
                std::io::ErrorKind::InvalidInput | std::io::ErrorKind::InvalidData
            );
        }
        source = cause.source();
    }
    error.is_parse()
}

impl Body for Upload {
    type Data = Bytes;
    type Error = UploadFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadFault>>> {
        // hyper polls this in the task of the connection to the replica.
        contain(|| self.poll_next(cx)).unwrap_or_else(|_panicked| {
            self.state.0.borrow_mut().fault = Some(UploadFault::Panicked);
            Poll::Ready(Some(Err(UploadFault::Panicked)))
        })
    }

    fn is_end_stream(&self) -> bool {
        let inner = self.state.0.borrow();
        inner.ended && inner.fault.is_none() && self.replayed >= inner.kept.len()
    }

    fn size_hint(&self) -> SizeHint {
        let inner = self.state.0.borrow();
        match inner.length {
            Some(length) => SizeHint::with_exact(length.saturating_sub(self.sent_bytes)),
            None => SizeHint::default(),
        }
    }
}

impl Upload {
    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadFault>>> {
        #[cfg(test)]
        fault::pass(Place::Upload);
        let state = Rc::clone(&self.state);
        let mut inner = state.0.borrow_mut();
        if let Some(kept) = inner.kept.get(self.replayed) {
            self.replayed += 1;
            self.sent_bytes += kept.len() as u64;
            return Poll::Ready(Some(Ok(Frame::data(kept.clone()))));
        }
        let frame = ready!(inner.poll_next(cx));
        // What was kept just now has been sent by this try already.
        self.replayed = inner.kept.len();
        if let Some(Ok(frame)) = &frame {
            self.sent_bytes += frame.data_ref().map_or(0, Bytes::len) as u64;
        }
        Poll::Ready(frame)
    }
}
