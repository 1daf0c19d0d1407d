//! A slot and a request in, the head of an answer out: connect, send, wait, and try once more where
//! that is provably safe (contract §5, "retry").

use std::{
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use http::{HeaderValue, Request, Response, StatusCode, header, response::Parts};
use hyper::{body::Incoming, upgrade::OnUpgrade};

#[cfg(test)]
use super::guard::fault::{self, Place};
use super::{
    answer::{SOURCE, VERSION},
    error::ProxyError,
    evidence, forward,
    head::Kind,
    identity::Identity,
    record::Record,
    reply::{Flow, Keep, Patience, Reply},
    routes::LiveVersion,
    spare::Spare,
    tunnel,
    upload::{Upload, UploadState},
    verdict,
    worker::Worker,
};
use crate::{
    domain::{OnDisconnect, Reason},
    replica::{Acquired, Slot, VersionState},
    telemetry::RetryCause,
    upstream::{Connection, Failure, Protocol, spoils_connection},
};

/// How long a slot rests when its replica closed without a word. A process that dies closes its
/// connections before its listening socket, and is reported dead later still; whoever got the slot
/// in between would be lost with it.
const CRASH_NEWS_LIMIT: Duration = Duration::from_millis(50);

/// Frees a slot once the news of a crash of its replica would have come.
pub(crate) fn free_after_news(slot: Slot) {
    tokio::task::spawn_local(async move {
        tokio::time::sleep(CRASH_NEWS_LIMIT).await;
        drop(slot);
    });
}

/// Everything that one exchange needs.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) worker: Rc<Worker>,
    pub(crate) version: Arc<LiveVersion>,
    pub(crate) record: Box<Record>,
    pub(crate) identity: Identity,
    pub(crate) slot: Held,
    pub(crate) slot_since: Instant,
    pub(crate) head: Request<()>,
    /// `head` once more, while it may have to be sent again.
    pub(crate) spare: Option<Spare>,
    pub(crate) upload: Rc<UploadState>,
    pub(crate) kind: Kind,
    /// `requestTimeout`, or `grpc-timeout` where that is shorter.
    pub(crate) limit: Duration,
    /// Whether `limit` bounds a stream to its end, because the client said so.
    pub(crate) limit_is_total: bool,
    pub(crate) queue_left: Duration,
    pub(crate) auth_took: Duration,
    /// The client's side of an upgrade.
    pub(crate) client_upgrade: Option<OnUpgrade>,
}

/// The slot of an exchange. Where the exchange ends early, the slot is freed only after the
/// connection to the replica has been closed, which an aborted task does when it runs next.
#[derive(Debug)]
pub(crate) struct Held(Option<Slot>);

impl Held {
    /// Holds a slot.
    pub(crate) fn new(slot: Slot) -> Self {
        Self(Some(slot))
    }

    fn get(&self) -> Option<&Slot> {
        self.0.as_ref()
    }

    fn take(&mut self) -> Option<Slot> {
        self.0.take()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(slot) = self.0.take() {
            tokio::task::spawn_local(async move {
                tokio::task::yield_now().await;
                drop(slot);
            });
        }
    }
}

/// How one exchange ended: the error goes with the record that will be told.
pub(crate) type Outcome = Result<Response<Reply>, Box<(ProxyError, Box<Record>)>>;

/// An answer head with everything that is held for it.
struct Answered {
    response: Response<Incoming>,
    connection: Connection<Upload>,
}

/// One try that did not succeed.
enum Missed {
    /// Nothing of the request has been at work; another try may.
    Unstarted(RetryCause, ProxyError),
    /// That is the end.
    Failed(ProxyError),
}

impl Exchange {
    /// Runs to the head of the answer. The future is followed to its end even when the client
    /// leaves, because the slot is busy until the replica is done.
    pub(crate) async fn run(mut self: Box<Self>) -> Outcome {
        let deadline = tokio::time::Instant::from_std(self.slot_since) + self.limit;
        let first = self.attempt(deadline, false).await;
        let result = match first {
            Err(Missed::Unstarted(cause, error)) => {
                self.version.metrics.retries(cause);
                if !Box::pin(self.move_on(cause)).await {
                    return Err(Box::new((error, self.record)));
                }
                Box::pin(self.attempt(deadline, true)).await
            }
            first => first,
        };
        match result {
            Ok(answered) => self.answer(answered, deadline),
            Err(Missed::Unstarted(_, error) | Missed::Failed(error)) => {
                self.record.note_upload(&self.upload);
                Err(Box::new((error, self.record)))
            }
        }
    }

    async fn attempt(
        &mut self,
        deadline: tokio::time::Instant,
        again: bool,
    ) -> Result<Answered, Missed> {
        let Some(slot) = self.slot.get() else {
            return Err(Missed::Failed(ProxyError::Internal));
        };
        let target = Arc::clone(slot.target());
        let (protocol, address) = match self.kind {
            Kind::Grpc => (Protocol::Http2, target.grpc),
            Kind::Plain | Kind::WebSocket => (Protocol::Http1, target.http),
        };
        self.record.target = Some(Arc::clone(&target));
        let pool = &self.worker.pool;
        let connecting = async {
            if again {
                pool.fresh_connection(target.id, address, protocol).await
            } else {
                pool.connection(target.id, address, protocol).await
            }
        };
        let Ok(connected) = tokio::time::timeout_at(deadline, connecting).await else {
            return Err(Missed::Failed(self.timed_out()));
        };
        let mut connection = match connected {
            Ok(connection) => connection,
            Err(failure) => {
                // A replica without alternative is asked a second time before it is given up.
                if !failure.is_the_routers() && (again || self.may_wait_for_another(slot)) {
                    evidence::unreachable(&self.version, slot);
                }
                return Err(Missed::Unstarted(RetryCause::ConnectFailed, ProxyError::Unreachable));
            }
        };
        self.record.sent = Some(Instant::now());
        // On a fresh HTTP/1 connection no failure is known to be harmless; an HTTP/2 stream can be
        // refused on any.
        let repeatable = connection.is_reused() || protocol == Protocol::Http2;
        let may_repeat = !again && repeatable && self.upload.is_replayable();
        let head = self.spare.take().map(Spare::into_head);
        let head = head.unwrap_or_else(|| std::mem::take(&mut self.head));
        self.spare = may_repeat.then(|| Spare::of(&head));
        let request = head.map(|()| self.upload.attempt());
        match connection.send(request, deadline).await {
            Some(Ok(response)) => Ok(Answered { response, connection }),
            Some(Err(failure)) => Err(self.judge(&failure, connection, deadline, may_repeat)),
            None => {
                connection.abort();
                // Whether the call hangs or its connection, nobody can tell; a deadline of the client's
                // own says nothing of either.
                if !self.limit_is_total {
                    self.worker.pool.retire(target.id, &connection);
                }
                if let (Some(slot), Some(sent)) = (self.slot.get(), self.record.sent) {
                    evidence::timed_out(&self.version, slot, self.upload.given_since(sent));
                }
                Err(Missed::Failed(self.timed_out()))
            }
        }
    }

    fn timed_out(&self) -> ProxyError {
        if self.upload.is_ended() {
            ProxyError::RequestTimeout { limit_ms: self.limit.as_millis() }
        } else {
            ProxyError::ClientTimeout("the upload was still unfinished at requestTimeout")
        }
    }

    /// Whose fault a failure is, and whether the replica can have begun.
    fn judge(
        &mut self,
        failure: &Failure,
        connection: Connection<Upload>,
        deadline: tokio::time::Instant,
        may_repeat: bool,
    ) -> Missed {
        if let Some(error) = self.upload.error() {
            if matches!(error, ProxyError::Internal) {
                self.worker.count_panic();
            }
            // The replica has part of a request: it is busy until it says or does something. An
            // HTTP/2 stream has been reset, and its connection carries other calls.
            if self.kind != Kind::Grpc {
                self.leave_slot_with(connection, deadline);
            }
            return Missed::Failed(error);
        }
        if let Failure::Invalid(error) = failure
            && spoils_connection(error)
            && let Some(target) = &self.record.target
        {
            self.worker.pool.retire(target.id, &connection);
        }
        let reuse_retry_limit = self.worker.proxy.settings.reuse_retry_limit;
        // Asked again: what could be repeated before it was sent may have outgrown what is kept, and
        // a second try would then be a shorter request that looks complete.
        let may_repeat = may_repeat && self.upload.is_replayable();
        match failure {
            Failure::Closed { after, reused: true } if may_repeat && *after < reuse_retry_limit => {
                Missed::Unstarted(RetryCause::ReusedClosed, ProxyError::Closed)
            }
            Failure::Unsent if may_repeat => {
                Missed::Unstarted(RetryCause::ReusedClosed, ProxyError::Closed)
            }
            Failure::Refused if may_repeat => {
                Missed::Unstarted(RetryCause::RefusedStream, ProxyError::Closed)
            }
            Failure::Closed { .. } => {
                self.slot.take().into_iter().for_each(free_after_news);
                Missed::Failed(ProxyError::Closed)
            }
            Failure::Refused | Failure::Unsent => Missed::Failed(ProxyError::Closed),
            Failure::Unreachable(_) => Missed::Failed(ProxyError::Unreachable),
            Failure::Invalid(_) | Failure::Body => Missed::Failed(ProxyError::Invalid),
        }
    }

    /// Half-closes the connection and keeps the slot busy until the replica answers or closes,
    /// at most until the deadline (contract §4). The exchange goes on without a slot.
    fn leave_slot_with(&mut self, connection: Connection<Upload>, deadline: tokio::time::Instant) {
        let Some(slot) = self.slot.take() else { return };
        tokio::task::spawn_local(async move {
            let socket = connection.socket();
            socket.shutdown_write();
            // Passing the deadline is as good an end as any: the slot is freed then.
            drop(tokio::time::timeout_at(deadline, socket.discard()).await);
            drop(slot);
        });
    }

    /// Whether another replica is there, or comes in the place of one that has crashed.
    fn may_wait_for_another(&self, slot: &Slot) -> bool {
        self.version.settings().startable || slot.has_alternative()
    }

    /// A slot for the second try: on another replica where one has room; else the same. One whose
    /// connection failed is not asked again where another can be had: the request waits for
    /// whichever is ready first, which may be the same one, found healthy by its probe. Whether
    /// there is one.
    async fn move_on(&mut self, cause: RetryCause) -> bool {
        let Some(slot) = self.slot.take() else { return false };
        let next = match slot.on_another_replica() {
            Ok((other, old)) => {
                if cause == RetryCause::ReusedClosed {
                    free_after_news(old);
                }
                Some(other)
            }
            Err(same) if cause == RetryCause::ConnectFailed && self.may_wait_for_another(&same) => {
                drop(same);
                wait_again(&self.version.state, self.queue_left).await
            }
            Err(same) => Some(same),
        };
        match next {
            Some(slot) => {
                self.slot = Held::new(slot);
                true
            }
            None => false,
        }
    }

    fn answer(mut self: Box<Self>, answered: Answered, deadline: tokio::time::Instant) -> Outcome {
        let Answered { response, connection } = answered;
        let (mut parts, incoming) = response.into_parts();
        #[cfg(test)]
        fault::pass(Place::Exchange);
        let upgraded = parts.status == StatusCode::SWITCHING_PROTOCOLS;
        let is_reusable = match verdict::judge(&parts, self.kind == Kind::WebSocket) {
            Ok(is_reusable) => is_reusable,
            Err(error) => {
                connection.abort();
                if let Some(target) = &self.record.target {
                    self.worker.pool.retire(target.id, &connection);
                }
                self.record.note_upload(&self.upload);
                return Err(Box::new((error, self.record)));
            }
        };
        let Some(slot) = self.slot.take() else {
            return Err(Box::new((ProxyError::Internal, self.record)));
        };
        let now = Instant::now();
        self.record.head = Some(now);
        let status = parts.status.as_u16();
        self.record.model_status = Some(status);
        self.record.ends_with(status, Reason::Model);
        // An answer before the end of the upload comes from a replica that may never read the rest;
        // what is sent behind it could be taken for that rest.
        let may_keep = is_reusable && self.upload.is_ended();
        let keep = if may_keep { keep(&parts, self.kind) } else { Keep::No };
        self.rewrite(&mut parts, upgraded, now);
        let streaming = upgraded || is_streaming(&parts, self.kind);
        if streaming {
            slot.answered(status);
        }
        let settings = self.version.settings();
        let flow = Box::new(Flow {
            patience: Patience {
                deadline: (!streaming || self.limit_is_total).then_some(deadline),
                idle: streaming.then_some(settings.stream_idle_timeout),
                limit_ms: self.limit.as_millis(),
                timer: None,
                silent_since: None,
                last: now.into(),
            },
            on_disconnect: settings.on_disconnect.unwrap_or(if streaming {
                OnDisconnect::Cancel
            } else {
                OnDisconnect::Finish
            }),
            worker: self.worker,
            record: self.record,
            connection,
            slot,
            slot_since: self.slot_since,
            upload: self.upload,
            keep,
            grpc: self.kind == Kind::Grpc,
        });
        if upgraded {
            return Ok(tunnel::open(parts, self.client_upgrade, flow));
        }
        Ok(Response::from_parts(parts, Reply::model(incoming, flow)))
    }

    fn rewrite(&mut self, parts: &mut Parts, upgraded: bool, now: Instant) {
        forward::clean_answer(&mut parts.headers, upgraded);
        parts.version = http::Version::default();
        let endpoint = self.version.endpoint();
        if endpoint.error_profile == crate::domain::ErrorProfile::Managed {
            forward::manage_status(parts);
        }
        self.record.status = parts.status.as_u16();
        let headers = &mut parts.headers;
        if self.kind == Kind::Grpc || parts.status == StatusCode::NO_CONTENT {
            // A call that breaks off ends with trailers, before any length; 204 has none (RFC 9110
            // §8.6).
            headers.remove(header::CONTENT_LENGTH);
        }
        self.identity.stamp(headers);
        headers.insert(SOURCE, HeaderValue::from_static("model"));
        headers.insert(VERSION, self.version.label.clone());
        if endpoint.server_timing {
            let value = self.server_timing(now);
            headers.append(forward::SERVER_TIMING, value);
        }
    }

    /// Times up to the head of the answer, in milliseconds (contract §12).
    fn server_timing(&self, now: Instant) -> HeaderValue {
        let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
        let replica = self.record.sent.map_or(0.0, |sent| ms(now.duration_since(sent)));
        let text = format!(
            "auth;dur={:.3}, queue;dur={:.3}, replica;dur={replica:.3}, total;dur={:.3}",
            ms(self.auth_took),
            ms(self.record.queue),
            ms(now.duration_since(self.record.started())),
        );
        HeaderValue::from_str(&text).expect("digits and names are a valid value")
    }
}

async fn wait_again(version: &Arc<VersionState>, limit: Duration) -> Option<Slot> {
    match version.wait_again() {
        Acquired::Slot(slot) => Some(slot),
        Acquired::Waiting(mut waiting) => match tokio::time::timeout(limit, &mut waiting).await {
            Ok(slot) => Some(slot),
            Err(_) => waiting.give_up(),
        },
    }
}

fn keep(parts: &Parts, kind: Kind) -> Keep {
    let closes = parts.version != http::Version::HTTP_11
        || parts.headers.get_all(header::CONNECTION).iter().any(|value| {
            value
                .as_bytes()
                .split(|b| *b == b',')
                .any(|t| t.trim_ascii().eq_ignore_ascii_case(b"close"))
        });
    if closes || kind != Kind::Plain {
        return Keep::No;
    }
    let field = parts.headers.get("keep-alive").and_then(|value| value.to_str().ok());
    Keep::For(field.map(Into::into))
}

/// Whether an answer is of the kind that has no end to wait for (contract §12).
fn is_streaming(parts: &Parts, kind: Kind) -> bool {
    if kind == Kind::Grpc {
        return true;
    }
    let Some(media_type) = parts.headers.get(header::CONTENT_TYPE) else { return false };
    let essence = media_type.as_bytes().split(|b| *b == b';').next().unwrap_or_default();
    let essence = essence.trim_ascii().to_ascii_lowercase();
    // gRPC-Web is plain HTTP here, and streams all the same.
    essence.starts_with(b"application/grpc")
        || [&b"text/event-stream"[..], b"application/x-ndjson", b"application/jsonl"]
            .contains(&essence.as_slice())
}
