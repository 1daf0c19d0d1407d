//! The body of an answer on its way to the client, and everything that ends with it.
//!
//! Promises: the slot is freed at the last byte of the replica, not of the head; a body that was
//! cut off is never ended as if it were complete; when the client leaves, the replica's work is
//! followed to its end or cancelled, as the version says.

use std::{
    cell::RefCell,
    future::Future,
    pin::Pin,
    rc::{Rc, Weak},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::{task::AbortHandle, time::Sleep};

#[cfg(test)]
use super::guard::fault::{self, Place};
use super::{
    answer::grpc_trailers,
    client_io::InProgress,
    error::ProxyError,
    evidence,
    exchange::{Held, free_after_news},
    forward::clean_answer_trailers,
    guard::contain,
    record::Record,
    upload::{Upload, UploadState, is_malformed},
    worker::Worker,
};
use crate::{
    domain::{OnDisconnect, Reason},
    replica::Slot,
    upstream::{Connection, spoils_connection},
};

/// The body of every answer.
#[derive(Debug)]
pub(crate) struct Reply {
    content: Content,
    /// Dropped when the answer is done, so that the wait for the next request begins.
    client: Option<InProgress>,
}

#[derive(Debug)]
enum Content {
    /// Made by the router.
    Whole(Option<Bytes>),
    /// Streamed from a replica.
    Model(ModelBody),
    /// The same under HTTP/2, where a client can stop reading one answer while the connection
    /// lives on.
    Watched(Rc<RefCell<Watched>>),
}

/// The task that watches a body; it ends with the body.
#[derive(Debug)]
struct Watch(AbortHandle);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A body of an HTTP/2 answer, which its client may stop reading.
#[derive(Debug)]
struct Watched {
    body: ModelBody,
    /// When hyper took a frame that it has not come back from.
    taken: Option<tokio::time::Instant>,
    /// Whether the client was given up.
    given_up: bool,
    /// Held for its drop.
    watch: Option<Watch>,
}

/// The answer was cut off; hyper closes or resets, so that the client can tell.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the answer was cut off")]
pub(crate) struct CutOff;

/// A body from a replica. What is held for it is boxed: hyper moves a body several times.
#[derive(Debug)]
pub(crate) struct ModelBody {
    incoming: Option<Incoming>,
    flow: Option<Box<Flow>>,
    /// Whether the answer was cut off, which hyper is told one poll later.
    cut: bool,
}

/// What is held while a replica answers.
#[derive(Debug)]
pub(crate) struct Flow {
    pub(crate) worker: Rc<Worker>,
    pub(crate) record: Box<Record>,
    pub(crate) connection: Connection<Upload>,
    pub(crate) slot: Slot,
    pub(crate) slot_since: Instant,
    pub(crate) upload: Rc<UploadState>,
    /// Whether the connection serves another request after this one.
    pub(crate) keep: Keep,
    pub(crate) patience: Patience,
    pub(crate) on_disconnect: OnDisconnect,
    pub(crate) grpc: bool,
}

/// Whether the connection to the replica serves another request.
#[derive(Debug)]
pub(crate) enum Keep {
    /// For as long as this `Keep-Alive` field allows.
    For(Option<Box<str>>),
    /// The replica closes it, or it carries many requests anyway.
    No,
}

/// How long the router waits for the next bytes of an answer.
#[derive(Debug)]
pub(crate) struct Patience {
    /// The whole answer must be there by then.
    pub(crate) deadline: Option<tokio::time::Instant>,
    /// No pause may be longer.
    pub(crate) idle: Option<Duration>,
    /// `requestTimeout` in words.
    pub(crate) limit_ms: u128,
    pub(crate) timer: Option<Pin<Box<Sleep>>>,
    pub(crate) last: tokio::time::Instant,
    /// Since when the client waits for the replica, and not the other way round.
    pub(crate) silent_since: Option<Instant>,
}

impl Reply {
    /// A body that is there already.
    pub(crate) fn whole(bytes: Bytes) -> Self {
        Self { content: Content::Whole(Some(bytes).filter(|b| !b.is_empty())), client: None }
    }

    /// A body from a replica.
    pub(crate) fn model(incoming: Incoming, flow: Box<Flow>) -> Self {
        let mut body = ModelBody { incoming: Some(incoming), flow: Some(flow), cut: false };
        body.finish_if_ended();
        Self { content: Content::Model(body), client: None }
    }

    /// Gives the body up when the client does not read for `limit`. Under HTTP/1 the socket's own
    /// clock does that; an HTTP/2 stream can stall while its connection is busy, and then hyper
    /// does not ask the body for anything, so that no clock inside it would run.
    pub(crate) fn watch_reading(self, limit: Duration) -> Self {
        let Self { content: Content::Model(body), client } = self else { return self };
        if body.flow.is_none() {
            return Self { content: Content::Model(body), client };
        }
        let watched = Watched { body, taken: None, given_up: false, watch: None };
        let watched = Rc::new(RefCell::new(watched));
        let task = tokio::task::spawn_local(watch(Rc::downgrade(&watched), limit));
        watched.borrow_mut().watch = Some(Watch(task.abort_handle()));
        Self { content: Content::Watched(watched), client }
    }

    /// The same answer without a body of the router's own; a replica's answer to HEAD has none.
    pub(crate) fn without_body(mut self) -> Self {
        if let Content::Whole(bytes) = &mut self.content {
            *bytes = None;
        }
        self
    }

    /// Tells this connection when the answer is done.
    pub(crate) fn for_client(mut self, client: InProgress) -> Self {
        self.client = Some(client);
        self
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = CutOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        match &mut self.content {
            Content::Whole(bytes) => Poll::Ready(bytes.take().map(|b| Ok(Frame::data(b)))),
            Content::Model(body) => body.poll_next(cx),
            Content::Watched(watched) => watched.borrow_mut().poll_next(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Whole(bytes) => bytes.is_none(),
            Content::Model(body) => body.is_ended(),
            Content::Watched(watched) => {
                let watched = watched.borrow();
                watched.body.is_ended() && !watched.given_up
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Content::Model(body) => body.size_hint(),
            Content::Watched(watched) => watched.borrow().body.size_hint(),
        }
    }
}

impl Watched {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        if self.given_up {
            return Poll::Ready(Some(Err(CutOff)));
        }
        let polled = self.body.poll_next(cx);
        self.taken = matches!(polled, Poll::Ready(Some(Ok(_)))).then(tokio::time::Instant::now);
        polled
    }
}

/// Gives a body up when its client has not come back for more within `limit`.
async fn watch(watched: Weak<RefCell<Watched>>, limit: Duration) {
    let mut until = tokio::time::Instant::now() + limit;
    loop {
        tokio::time::sleep_until(until).await;
        let Some(watched) = watched.upgrade() else { return };
        let mut watched = watched.borrow_mut();
        let now = tokio::time::Instant::now();
        let since = watched.taken.unwrap_or(now);
        until = since + limit;
        if until <= now {
            watched.given_up = true;
            // Its drop does what a client that leaves causes.
            let given_up = ModelBody { incoming: None, flow: None, cut: true };
            drop(std::mem::replace(&mut watched.body, given_up));
            return;
        }
    }
}

impl ModelBody {
    fn is_ended(&self) -> bool {
        !self.cut && self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        if self.flow.as_ref().is_some_and(|flow| flow.grpc) {
            // Where a call breaks off, trailers that say so come before the end of any length.
            return SizeHint::default();
        }
        self.incoming.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        if self.cut {
            return Poll::Ready(Some(Err(CutOff)));
        }
        // hyper polls this in the task of the client's connection.
        contain(|| self.poll_incoming(cx)).unwrap_or_else(|_panicked| {
            if let Some(flow) = &self.flow {
                flow.worker.count_panic();
            }
            self.cut = true;
            self.fail(Reason::Internal);
            Poll::Ready(Some(Err(CutOff)))
        })
    }

    fn poll_incoming(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        #[cfg(test)]
        fault::pass(Place::Reply);
        let Some(incoming) = &mut self.incoming else { return Poll::Ready(None) };
        match Pin::new(incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(mut frame))) => {
                if let Some(trailers) = frame.trailers_mut() {
                    // What HTTP/1 has none of, an HTTP/2 client does not get either.
                    if self.flow.as_ref().is_some_and(|flow| !flow.grpc) {
                        self.finish();
                        return Poll::Ready(None);
                    }
                    clean_answer_trailers(trailers);
                }
                if let (Some(flow), Some(data)) = (&mut self.flow, frame.data_ref()) {
                    flow.record.response_bytes += data.len() as u64;
                    flow.patience.touch();
                }
                self.finish_if_ended();
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => {
                self.finish();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                // The replica's stream ends as well when the client's part of it is at fault.
                let fault = self.flow.as_ref().and_then(|flow| flow.upload.error());
                if let Some(flow) =
                    self.flow.as_ref().filter(|_| fault.is_none() && spoils_connection(&error))
                {
                    flow.worker.pool.retire(flow.slot.target().id, &flow.connection);
                }
                let error = fault.unwrap_or_else(|| broken_answer(&error));
                if let Ok(trailers) = self.cut_off(&error) {
                    return Poll::Ready(Some(Ok(trailers)));
                }
                // hyper drops what it has not flushed when a body fails: an answer that breaks in
                // its first bytes would be nothing at all, not even a status.
                self.cut = true;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Pending => self.poll_patience(cx),
        }
    }

    fn poll_patience(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        let Some(flow) = &mut self.flow else { return Poll::Pending };
        let Poll::Ready(error) = flow.patience.poll(cx) else { return Poll::Pending };
        if let (ProxyError::RequestTimeout { .. }, Some(version)) = (&error, &flow.record.version) {
            evidence::timed_out(version, &flow.slot, flow.patience.silent_since);
        }
        Poll::Ready(Some(self.cut_off(&error)))
    }

    /// Ends the answer before its end. gRPC can still say why: the trailers are the last frame.
    fn cut_off(&mut self, error: &ProxyError) -> Result<Frame<Bytes>, CutOff> {
        let grpc = self.flow.as_ref().is_some_and(|flow| flow.grpc);
        self.fail(error.reason());
        if grpc { Ok(Frame::trailers(grpc_trailers(error))) } else { Err(CutOff) }
    }

    fn finish_if_ended(&mut self) {
        if self.incoming.as_ref().is_some_and(Body::is_end_stream) {
            self.finish();
        }
    }

    /// The replica has answered to the end.
    fn finish(&mut self) {
        if let Some(flow) = self.flow.take() {
            flow.finish();
        }
    }

    /// The answer is cut off by the replica or by the clock.
    fn fail(&mut self, reason: Reason) {
        self.incoming = None;
        if let Some(mut flow) = self.flow.take() {
            flow.record.reason = reason;
            flow.connection.abort();
            if reason == Reason::RequestTimeout {
                flow.worker.pool.retire(flow.slot.target().id, &flow.connection);
            }
            flow.record.done = Some(Instant::now());
            flow.record.note_upload(&flow.upload);
            if reason == Reason::ReplicaClosed {
                free_after_news(flow.slot);
            } else {
                drop(Held::new(flow.slot));
            }
        }
    }
}

impl Drop for ModelBody {
    fn drop(&mut self) {
        let (Some(incoming), Some(mut flow)) = (self.incoming.take(), self.flow.take()) else {
            return;
        };
        flow.record.ends_with(499, Reason::ClientGone);
        match flow.on_disconnect {
            OnDisconnect::Finish => {
                tokio::task::spawn_local(read_to_end(ModelBody {
                    incoming: Some(incoming),
                    flow: Some(flow),
                    cut: false,
                }));
            }
            OnDisconnect::Cancel => {
                tokio::task::spawn_local(cancel(incoming, flow));
            }
        }
    }
}

/// Whether a body that failed was not what it should be, or only ended too early.
fn broken_answer(error: &hyper::Error) -> ProxyError {
    if is_malformed(error) { ProxyError::Invalid } else { ProxyError::Closed }
}

/// Follows the work of a replica whose client has left; `poll_next` ends it at the deadline.
async fn read_to_end(mut body: ModelBody) {
    // Only a frame means that more may come; an end, a failure and the deadline all end it.
    while let Some(Ok(_)) = std::future::poll_fn(|cx| body.poll_next(cx)).await {}
}

/// Closes the connection first and frees the slot when that is done.
async fn cancel(incoming: Incoming, flow: Box<Flow>) {
    flow.connection.abort();
    drop(incoming);
    // The aborted task drops its half of the socket when it is scheduled next.
    tokio::task::yield_now().await;
    drop(flow);
}

impl Flow {
    fn finish(mut self: Box<Self>) {
        let now = Instant::now();
        self.record.done = Some(now);
        self.record.note_upload(&self.upload);
        self.slot.note_service(now.duration_since(self.slot_since));
        self.slot.answered(self.record.model_status.unwrap_or_default());
        let Self { worker, record, connection, slot, upload, keep, .. } = *self;
        if !upload.is_ended() {
            // The model has answered without reading everything: nobody will read the rest.
            connection.abort();
            worker.linger(Rc::clone(&upload));
        } else if let Keep::For(keep_alive) = keep {
            worker.pool.keep(slot.target().id, connection, keep_alive.as_deref(), now);
        }
        // The connection is back before the slot is, so that whoever gets the slot finds it.
        drop(slot);
        drop(record);
    }
}

impl Patience {
    fn touch(&mut self) {
        self.silent_since = None;
        if self.idle.is_some() {
            self.last = tokio::time::Instant::now();
        }
    }

    /// Resolves when the wait was too long, with which limit it was. The timer is set only when a
    /// read has to wait, and moved only when it fires.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ProxyError> {
        self.silent_since.get_or_insert_with(Instant::now);
        loop {
            let idle = self.idle.map(|idle| self.last + idle);
            let Some(until) = self.deadline.into_iter().chain(idle).min() else {
                return Poll::Pending;
            };
            let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if tokio::time::Instant::now() >= until {
                let silent = self.idle.filter(|_| idle == Some(until));
                return Poll::Ready(match silent {
                    Some(limit) => ProxyError::StreamIdle { limit_ms: limit.as_millis() },
                    None => ProxyError::RequestTimeout { limit_ms: self.limit_ms },
                });
            }
            timer.as_mut().reset(until);
        }
    }
}
