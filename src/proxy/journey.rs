//! The journey of a request: where, who, how much, which, when; then the exchange.
//!
//! Steps 2 to 6 of `ARCHITECTURE.md` are [`decide`] and [`take_slot`], which know heads and never
//! bodies; step 7 is the exchange, step 8 the body of the answer.

use std::{
    pin::pin,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header, request::Parts};
use hyper::{
    body::{Body, Incoming},
    upgrade::OnUpgrade,
};

#[cfg(test)]
use super::guard::fault::{self, Place};
use super::{
    answer::{self, Manner},
    caller,
    connection::Client,
    decide::{Decided, decide},
    detach::Detach,
    error::ProxyError,
    exchange::{Exchange, Held, Outcome},
    forward::{self, Outgoing},
    guard::contained,
    head::{self, Kind},
    identity::Identity,
    record::Record,
    reply::Reply,
    routes::{LiveVersion, Proxy},
    upload::{UploadLimits, UploadState},
};
use crate::{
    domain::{ErrorProfile, OnDisconnect},
    lifecycle::{Phase, Pressure},
    replica::{Acquired, Refused, Slot, Waiting},
    routing::{self, Rest},
    telemetry::ConnectionLimit,
};

/// What may be left unread on a connection that stays open after a refusal.
const UNREAD_BYTES_MAX: u64 = 64 * 1024;
/// How long the reset of an HTTP/2 upload that is not read waits behind its refusal.
const RESET_DELAY: Duration = Duration::from_secs(1);

/// What is known of a request from its first line on.
struct Asked {
    kind: Kind,
    identity: Identity,
    http2: bool,
    /// Whether the path on the replica is one of the Open Inference Protocol.
    inference_protocol: bool,
    expects_continue: bool,
}

/// The client has gone: its connection is closed without an answer, which is what 499 means.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the client went away")]
pub(super) struct Gone;

/// Answers one request.
pub(super) async fn handle(
    request: Request<Incoming>,
    client: Rc<Client>,
) -> Result<Response<Reply>, Gone> {
    let in_progress = client.state.begin();
    let (parts, incoming) = request.into_parts();
    let asked = Asked {
        kind: head::kind(&parts),
        identity: Identity::of(&parts.headers),
        http2: parts.version == Version::HTTP_2,
        inference_protocol: names_inference_protocol(parts.uri.path()),
        expects_continue: parts.headers.contains_key(header::EXPECT),
    };
    let is_http2_head = asked.http2 && parts.method == Method::HEAD;
    let guarded = contained(pin!(travel(parts, incoming, &asked, &client))).await;
    let mut response = guarded.unwrap_or_else(|_panicked| {
        client.worker.count_panic();
        answer::refuse(&ProxyError::Internal, &asked.manner(None, None))
    });
    if !asked.http2 && response.extensions().get::<Gone>().is_some() {
        return Err(Gone);
    }
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        client.state.becomes_other();
    } else {
        end_if_due(&client, &asked, &mut response);
    }
    if is_http2_head {
        // hyper leaves out the body of such an answer for HTTP/1 only; clients take DATA frames
        // for a protocol error.
        response = response.map(Reply::without_body);
    }
    let http2 = asked.http2;
    let limit = client.worker.proxy.settings.write_stall_limit;
    Ok(response.map(|reply| {
        let reply = if http2 { reply.watch_reading(limit) } else { reply };
        reply.for_client(in_progress)
    }))
}

/// Asks a client to come back on another connection: when the router leaves, when this connection
/// has had its share, and when memory for connections is short.
fn end_if_due(client: &Client, asked: &Asked, response: &mut Response<Reply>) {
    let Proxy { lifecycle, settings, metrics, .. } = &*client.worker.proxy;
    let limit = if client.state.begun() >= settings.requests_per_connection_max {
        Some(ConnectionLimit::Requests)
    } else if lifecycle.pressure() > Pressure::Calm {
        Some(ConnectionLimit::Memory)
    } else {
        None
    };
    match (limit, asked.http2) {
        (None, _) if lifecycle.phase() == Phase::Serving => {}
        // Its whole connection gets GOAWAY when the router closes.
        (None, true) => {}
        (None, false) => close_after(response),
        (Some(limit), http2) => {
            if client.state.is_first_to_end() {
                metrics.bounds.connection(limit);
            }
            if http2 {
                client.state.ask_to_end();
            } else {
                close_after(response);
            }
        }
    }
}

async fn travel(
    mut parts: Parts,
    incoming: Incoming,
    asked: &Asked,
    client: &Rc<Client>,
) -> Response<Reply> {
    let mut record = Record::begin(&client.worker, &parts, &asked.identity);
    #[cfg(test)]
    fault::pass(Place::Journey);
    let mut decided = decide(&parts, &incoming, asked.kind, client, &mut record);
    if let Err(error) = &decided
        && let Some(keys) = caller::keys_to_come(error, &parts, &record, client)
    {
        keys.await;
        decided = decide(&parts, &incoming, asked.kind, client, &mut record);
    }
    let decided = match decided {
        Ok(decided) => decided,
        Err(error) => {
            let error = caller::account(error, client);
            return refuse_unread(&error, asked, client, incoming, record);
        }
    };
    record.version = Some(Arc::clone(&decided.version));
    let slot = match take_slot(&decided.version, asked, client, &mut record.queue).await {
        Ok(slot) => slot,
        Err(error) => return refuse_unread(&error, asked, client, incoming, record),
    };
    let slot_since = Instant::now();
    let client_upgrade = parts.extensions.remove::<OnUpgrade>();
    let (limit, limit_is_total) = time_limit(&decided);
    let mut head = match outgoing_head(parts, &decided, asked, client) {
        Ok(head) => head,
        Err(error) => return refuse_unread(&error, asked, client, incoming, record),
    };
    let upload = UploadState::new(incoming, upload_limits(&decided, asked, client), true);
    if upload.length().is_none() && asked.kind != Kind::Grpc {
        forward::announce_chunks(&mut head);
    }
    let queue_left = decided.version.settings().max_queue_wait.saturating_sub(record.queue);
    let exchange = Box::new(Exchange {
        worker: Rc::clone(&client.worker),
        version: Arc::clone(&decided.version),
        record,
        identity: asked.identity.clone(),
        slot: Held::new(slot),
        slot_since,
        head,
        spare: None,
        upload: Rc::clone(&upload),
        kind: asked.kind,
        limit,
        limit_is_total,
        queue_left,
        auth_took: decided.auth_took,
        client_upgrade,
    });
    match follow(exchange, &decided.version, client, asked).await {
        // Its drop does what a client that leaves causes, and tells of it.
        Some(Ok(_)) if !asked.http2 && client.socket.is_reset() => gone(asked),
        Some(Ok(response)) => response,
        Some(Err(failed)) => {
            let (error, mut record) = *failed;
            let response = refuse(&error, asked, &mut record);
            finish_upload(response, asked, client, upload)
        }
        None => gone(asked),
    }
}

/// What stands for an answer that nobody is there to read.
fn gone(asked: &Asked) -> Response<Reply> {
    let mut response = answer::refuse(&ProxyError::ClientGone, &asked.manner(None, None));
    response.extensions_mut().insert(Gone);
    response
}

/// Runs the exchange. When the client leaves, its work is followed to the end, unless the version
/// says that leaving cancels it.
async fn follow(
    exchange: Box<Exchange>,
    version: &LiveVersion,
    client: &Client,
    asked: &Asked,
) -> Option<Outcome> {
    if version.settings().on_disconnect != Some(OnDisconnect::Cancel) {
        return Some(Detach::new(exchange.run(), &client.worker).await);
    }
    let run = Box::pin(exchange.run());
    if asked.http2 {
        return Some(run.await);
    }
    tokio::select! {
        outcome = run => Some(outcome),
        () = client.socket.reset() => None,
    }
}

/// Step 6: a slot, waiting for it where that can help. `queue` is how long it waited; a request
/// that finds a free slot did not wait at all.
async fn take_slot(
    version: &Arc<LiveVersion>,
    asked: &Asked,
    client: &Client,
    queue: &mut Duration,
) -> Result<Slot, ProxyError> {
    if client.worker.proxy.lifecycle.pressure() == Pressure::Full {
        return Err(ProxyError::OutOfMemory);
    }
    let endpoint = &version.endpoint().name;
    match version.state.acquire() {
        Ok(Acquired::Slot(slot)) => Ok(slot),
        Ok(Acquired::Waiting(waiting)) => {
            let began = Instant::now();
            // Boxed, because every request would carry the room for it, and most never wait.
            let waited = Box::pin(wait(waiting, version, asked, client)).await;
            *queue = began.elapsed();
            waited
        }
        Err(Refused::QueueFull { length }) => {
            Err(ProxyError::QueueFull { endpoint: endpoint.clone(), waiting: length })
        }
        Err(Refused::NoReplicas) => Err(ProxyError::NoReadyReplicas(endpoint.clone())),
    }
}

async fn wait(
    mut waiting: Waiting,
    version: &LiveVersion,
    asked: &Asked,
    client: &Client,
) -> Result<Slot, ProxyError> {
    let limit = version.settings().max_queue_wait;
    let left = async {
        if asked.http2 {
            // A reset stream drops this future; there is nothing to watch.
            std::future::pending::<()>().await;
        } else {
            client.socket.closed().await;
        }
    };
    let error = tokio::select! {
        biased;
        slot = &mut waiting => return Ok(slot),
        () = left => ProxyError::ClientGone,
        () = client.worker.proxy.lifecycle.reached(Phase::Stopped) => ProxyError::Draining,
        () = tokio::time::sleep(limit) => {
            let endpoint = version.endpoint().name.clone();
            if version.state.is_ready() {
                ProxyError::QueueTimeout { endpoint, waited_ms: limit.as_millis() }
            } else {
                ProxyError::NoReadyReplicas(endpoint)
            }
        }
    };
    let gone = matches!(error, ProxyError::ClientGone);
    waiting.give_up().filter(|_| !gone).ok_or(error)
}

fn upload_limits(decided: &Decided, asked: &Asked, client: &Client) -> UploadLimits {
    UploadLimits {
        payload_bytes_max: decided.version.endpoint().max_payload_bytes,
        stall: client.worker.proxy.settings.body_stall_limit,
        trailers: asked.kind == Kind::Grpc,
    }
}

/// `requestTimeout`, or the shorter `grpc-timeout`, which then bounds the whole call.
fn time_limit(decided: &Decided) -> (Duration, bool) {
    let limit = decided.version.settings().request_timeout;
    match decided.grpc_timeout {
        Some(asked) if asked < limit => (asked, true),
        _ => (limit, false),
    }
}

fn outgoing_head(
    parts: Parts,
    decided: &Decided,
    asked: &Asked,
    client: &Client,
) -> Result<Request<()>, ProxyError> {
    let outgoing = Outgoing {
        path: decided.path.clone(),
        authority: &decided.authority,
        peer: &client.forwarded_for,
        secured: client.secured,
        identity: &asked.identity,
        kind: asked.kind,
        forward_credentials: decided.version.endpoint().forward_credentials,
    };
    forward::request_head(parts, &outgoing)
}

/// A refusal of a request whose body has not been touched.
fn refuse_unread(
    error: &ProxyError,
    asked: &Asked,
    client: &Client,
    incoming: Incoming,
    mut record: Box<Record>,
) -> Response<Reply> {
    let mut response = refuse(error, asked, &mut record);
    if matches!(error, ProxyError::CredentialFlood { .. } | ProxyError::OutOfMemory) {
        // Its body is not read, and not even its connection is kept: reading would cost the memory
        // or the time that the refusal is to save.
        if asked.http2 {
            client.state.ask_to_end();
            if !incoming.is_end_stream() {
                // Dropped at once, its reset would travel with the answer, and many clients lose
                // the answer then. Nothing is read, so no more is sent than was granted.
                tokio::task::spawn_local(async move {
                    tokio::time::sleep(RESET_DELAY).await;
                    drop(incoming);
                });
            }
        } else {
            close_after(&mut response);
        }
        if matches!(error, ProxyError::CredentialFlood { .. }) {
            client.worker.proxy.metrics.bounds.failed_credentials_suppressed.inc();
        }
        return response;
    }
    let limits = UploadLimits {
        payload_bytes_max: u64::MAX,
        stall: client.worker.proxy.settings.body_stall_limit,
        trailers: false,
    };
    finish_upload(response, asked, client, UploadState::new(incoming, limits, false))
}

fn refuse(error: &ProxyError, asked: &Asked, record: &mut Record) -> Response<Reply> {
    let version = record.version.as_ref();
    let wait = version.and_then(|version| version.state.expected_wait());
    let mut manner = asked.manner(version.map(|version| version.label.clone()), wait);
    if let Some(live) = &record.endpoint {
        manner.profile = live.endpoint.error_profile;
    }
    if let ProxyError::CredentialFlood { wait, .. } = error {
        manner.expected_wait = Some(*wait);
        record.leave_out_of_log();
    }
    let mut response = answer::refuse(error, &manner);
    let status = if matches!(error, ProxyError::ClientGone) {
        499
    } else {
        error.status(manner.profile).as_u16()
    };
    record.ends_with(status, error.reason());
    record.response_bytes = response.body().size_hint().exact().unwrap_or(0);
    // Behind CONNECT comes what its sender takes for a tunnel.
    let ends = match error {
        ProxyError::ClientTimeout(_) => true,
        ProxyError::Method(method) => method.as_str().eq_ignore_ascii_case("CONNECT"),
        _ => false,
    };
    if ends && !asked.http2 {
        close_after(&mut response);
    }
    if matches!(error, ProxyError::ClientGone) {
        response.extensions_mut().insert(Gone);
    }
    response
}

/// Sees to the rest of an upload whose answer came early.
fn finish_upload(
    mut response: Response<Reply>,
    asked: &Asked,
    client: &Client,
    upload: Rc<UploadState>,
) -> Response<Reply> {
    if upload.is_ended() {
        return response;
    }
    let small = upload.length().is_some_and(|length| length <= UNREAD_BYTES_MAX);
    if !asked.http2 && (asked.expects_continue || !small || upload.fault().is_some()) {
        close_after(&mut response);
    }
    // Reading the body of a client that waits for `100 Continue` would send it.
    if !asked.expects_continue || upload.received() > 0 {
        client.worker.linger(upload);
    }
    response
}

fn close_after(response: &mut Response<Reply>) {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
}

fn names_inference_protocol(path: &str) -> bool {
    let rest = match routing::route(path).map(|routed| routed.rest) {
        Some(Rest::Path(rest)) => rest,
        Some(Rest::Score) => return false,
        None => path,
    };
    rest.starts_with("/v2/")
}

impl Asked {
    fn manner(&self, version: Option<HeaderValue>, expected_wait: Option<Duration>) -> Manner<'_> {
        Manner {
            identity: &self.identity,
            kind: self.kind,
            inference_protocol: self.inference_protocol,
            profile: ErrorProfile::Kubernetes,
            version,
            expected_wait,
        }
    }
}
