//! What is known of one request for metrics and the access log; told once, when it is dropped.

use std::{
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use http::{Method, Version, header, request::Parts};

use super::{
    error::ProxyError,
    identity::Identity,
    routes::{LiveEndpoint, LiveVersion, Proxy},
    upload::UploadState,
    worker::Worker,
};
use crate::{
    auth::Caller,
    domain::{AuthMode, ErrorProfile, Reason},
    lifecycle::RequestGuard,
    replica::Target,
    telemetry::{AccessRecord, PATH_CHARS_MAX, USER_AGENT_CHARS_MAX, bounded},
};

/// Stands for the method and the path of a head that nobody has read.
const UNREAD: &str = "-";

/// The account of one request.
#[derive(Debug)]
pub(crate) struct Record {
    worker: Rc<Worker>,
    started: Instant,
    pub(crate) endpoint: Option<Arc<LiveEndpoint>>,
    pub(crate) version: Option<Arc<LiveVersion>>,
    pub(crate) target: Option<Arc<Target>>,
    pub(crate) caller: Option<Caller>,
    /// Time spent waiting for a slot.
    pub(crate) queue: Duration,
    /// When the request was given to a connection.
    pub(crate) sent: Option<Instant>,
    /// When the head of the answer came.
    pub(crate) head: Option<Instant>,
    /// When the replica was done.
    pub(crate) done: Option<Instant>,
    pub(crate) status: u16,
    pub(crate) reason: Reason,
    pub(crate) model_status: Option<u16>,
    pub(crate) request_bytes: u64,
    uploaded: Option<Instant>,
    pub(crate) response_bytes: u64,
    details: Option<Box<Details>>,
    _in_progress: RequestGuard,
}

/// Tells of a head that was refused before there was a request: nobody has read its method and path.
pub(crate) fn tell_unread(proxy: &Proxy, error: &ProxyError, identity: &Identity) {
    proxy.unrouted.rejected(error.reason());
    if !proxy.access_log.is_on() {
        return;
    }
    proxy.access_log.write(AccessRecord {
        time: SystemTime::now(),
        endpoint: None,
        version: None,
        method: Method::from_bytes(UNREAD.as_bytes()).unwrap_or_default(),
        path: UNREAD.into(),
        protocol: Version::HTTP_11,
        response_code: error.status(ErrorProfile::Kubernetes).as_u16(),
        reason: error.reason(),
        model_status: None,
        request_bytes: 0,
        response_bytes: 0,
        user_agent: None,
        request_id: identity.id,
        client_request_id: None,
        total: Duration::ZERO,
        request_duration: None,
        response_duration: None,
        queue_duration: Duration::ZERO,
        auth: None,
        replica: None,
    });
}

/// What only the access log wants.
#[derive(Debug)]
struct Details {
    time: SystemTime,
    method: Method,
    path: Box<str>,
    protocol: Version,
    user_agent: Option<Box<str>>,
    identity: Identity,
}

impl Record {
    /// Begins the account of a request.
    /// Boxed, because it is handed on from stage to stage until the last byte.
    pub(crate) fn begin(worker: &Rc<Worker>, parts: &Parts, identity: &Identity) -> Box<Self> {
        let details = worker.proxy.access_log.is_on().then(|| {
            Box::new(Details {
                time: SystemTime::now(),
                method: parts.method.clone(),
                path: bounded(parts.uri.path(), PATH_CHARS_MAX),
                protocol: parts.version,
                user_agent: parts.headers.get(header::USER_AGENT).map(|agent| {
                    bounded(&String::from_utf8_lossy(agent.as_bytes()), USER_AGENT_CHARS_MAX)
                }),
                identity: identity.clone(),
            })
        });
        Box::new(Self {
            worker: Rc::clone(worker),
            started: Instant::now(),
            endpoint: None,
            version: None,
            target: None,
            caller: None,
            queue: Duration::ZERO,
            sent: None,
            head: None,
            done: None,
            status: 0,
            reason: Reason::Internal,
            model_status: None,
            request_bytes: 0,
            uploaded: None,
            response_bytes: 0,
            details,
            _in_progress: worker.proxy.lifecycle.begin_request(),
        })
    }

    /// When the request began.
    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    /// Takes over what is known of the request's body.
    pub(crate) fn note_upload(&mut self, upload: &UploadState) {
        self.request_bytes = upload.received();
        self.uploaded = upload.ended_at();
    }

    /// No line for this one.
    pub(crate) fn leave_out_of_log(&mut self) {
        self.details = None;
    }

    /// How the request ended, as its client sees it.
    pub(crate) fn ends_with(&mut self, status: u16, reason: Reason) {
        self.status = status;
        self.reason = reason;
    }

    fn count(&self, total: Duration) {
        if let Some(version) = &self.version {
            let metrics = &version.metrics;
            metrics.requests(self.status, self.reason);
            metrics.request_seconds.observe(total.as_secs_f64());
            metrics.queue_wait_seconds.observe(self.queue.as_secs_f64());
            metrics.request_bytes.inc_by(self.request_bytes);
            metrics.response_bytes.inc_by(self.response_bytes);
            if let Some(sent) = self.sent {
                let router = sent.saturating_duration_since(self.started);
                metrics.router_seconds.observe(router.saturating_sub(self.queue).as_secs_f64());
            }
            if let (Some(sent), Some(done)) = (self.sent, self.done) {
                metrics.replica_seconds.observe(done.duration_since(sent).as_secs_f64());
            }
        }
        if self.sent.is_none() {
            let metrics =
                self.endpoint.as_ref().map_or(&self.worker.proxy.unrouted, |e| &e.metrics);
            metrics.rejected(self.reason);
        }
    }

    fn log(&self, details: Details, total: Duration) {
        let since_start = |at: Option<Instant>| at.map(|at| at.duration_since(self.started));
        let Details { time, method, path, protocol, user_agent, identity } = details;
        let client = identity.client.as_ref().and_then(|value| value.to_str().ok());
        self.worker.proxy.access_log.write(AccessRecord {
            time,
            endpoint: self.endpoint.as_ref().map(|live| live.endpoint.name.clone()),
            version: self.version.as_ref().map(|live| live.settings().name.clone()),
            method,
            path,
            protocol,
            response_code: self.status,
            reason: self.reason,
            model_status: self.model_status,
            request_bytes: self.request_bytes,
            response_bytes: self.response_bytes,
            user_agent,
            request_id: identity.id,
            client_request_id: client.map(Into::into),
            total,
            // A request without a body was there as soon as its head was.
            request_duration: since_start(self.uploaded.or(Some(self.started))),
            response_duration: since_start(self.head),
            queue_duration: self.queue,
            auth: self.caller.map(|caller| match caller {
                Caller::Key => AuthMode::Key,
                Caller::Token => AuthMode::Token,
                Caller::Anonymous => AuthMode::None,
            }),
            replica: self.target.as_ref().map(|target| Arc::clone(&target.name)),
        });
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The client may have the head of an answer already.
            let status = if self.status == 0 { 500 } else { self.status };
            self.ends_with(status, Reason::Internal);
        } else if self.status == 0 {
            // Nobody has said how it ended: its client left and everything was dropped.
            self.ends_with(499, Reason::ClientGone);
        }
        let total = self.done.unwrap_or_else(Instant::now).duration_since(self.started);
        self.count(total);
        if let Some(details) = self.details.take() {
            self.log(*details, total);
        }
    }
}
