//! One request and its answer, to the last byte.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http::{Request, StatusCode, Uri, Version};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use tokio::time::timeout;

use super::{Answered, Load, Outcome, Plan, ServerTiming, TransportError, outcome::error_code};

/// Bytes of an error answer that are searched for its code.
const ERROR_BYTES_MAX: usize = 4096;
/// The largest answer of [`fetch`], in bytes.
const FETCH_BYTES_MAX: usize = 1 << 20;
/// Time that [`fetch`] may take.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);

/// The server under load, with the connections to it. Clones share them.
#[derive(Debug, Clone)]
pub struct Target {
    plan: Arc<Plan>,
    clients: Arc<[Client<HttpConnector, Full<Bytes>>]>,
    next: Arc<AtomicUsize>,
}

impl Target {
    /// Nothing is connected before the first request.
    pub fn new(plan: Arc<Plan>) -> Self {
        // One client has one pool. A closed loop gives each connection its own, because a shared
        // pool may open more than asked for; HTTP/2 puts all requests of a pool on one connection.
        let pools = match plan.load {
            Load::Closed { connections } => connections,
            Load::Open { connections, .. } if plan.http2 => connections,
            Load::Open { .. } => 1,
        };
        let clients = (0..pools).map(|_| client(plan.http2)).collect();
        Self { plan, clients, next: Arc::new(AtomicUsize::new(0)) }
    }

    /// The run that this is the target of.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The next connection in turn, for a closed loop to keep.
    pub(super) fn connection(&self) -> Client<HttpConnector, Full<Bytes>> {
        let turn = self.next.fetch_add(1, Relaxed).checked_rem(self.clients.len()).unwrap_or(0);
        // There is at least one: the number of connections is at least 1.
        self.clients.get(turn).cloned().unwrap_or_else(|| client(self.plan.http2))
    }
}

fn client(http2: bool) -> Client<HttpConnector, Full<Bytes>> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .http2_only(http2)
        .build(connector)
}

/// Sends one request of the plan and reads its answer to the end, at most `plan.timeout`.
pub async fn exchange(target: &Target) -> Outcome {
    exchange_on(&target.connection(), &target.plan).await
}

pub(super) async fn exchange_on(
    client: &Client<HttpConnector, Full<Bytes>>,
    plan: &Plan,
) -> Outcome {
    match timeout(plan.timeout, answer(client, plan)).await {
        Ok(Ok(answered)) => Outcome::Answered(answered),
        Ok(Err(error)) => Outcome::Failed(error),
        Err(_passed) => Outcome::Failed(TransportError::Timeout),
    }
}

async fn answer(
    client: &Client<HttpConnector, Full<Bytes>>,
    plan: &Plan,
) -> Result<Answered, TransportError> {
    let mut request = Request::new(Full::new(plan.body.clone()));
    *request.uri_mut() = plan.url.clone();
    *request.method_mut() = plan.method.clone();
    *request.headers_mut() = plan.headers.clone();
    *request.version_mut() = if plan.http2 { Version::HTTP_2 } else { Version::HTTP_11 };
    let answer = client.request(request).await;
    let answer = answer.map_err(|error| TransportError::classify(&error, false))?;
    let (head, mut body) = answer.into_parts();
    let mut bytes = 0;
    let mut start = Vec::new();
    let failed = head.status.as_u16() >= 400;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| TransportError::classify(&error, true))?;
        let Some(data) = frame.data_ref() else { continue };
        bytes += data.len() as u64;
        if failed {
            let room = ERROR_BYTES_MAX.saturating_sub(start.len()).min(data.len());
            start.extend_from_slice(data.get(..room).unwrap_or_default());
        }
    }
    Ok(Answered {
        status: head.status,
        source: head.headers.get("x-modelway-source").cloned(),
        version: head.headers.get("x-modelway-version").cloned(),
        code: if failed { error_code(&start) } else { None },
        timing: ServerTiming::read(&head.headers),
        bytes,
    })
}

/// Reads a small document.
pub(super) async fn fetch(uri: Uri) -> anyhow::Result<(StatusCode, Bytes)> {
    let read = async {
        let answer = client(false).get(uri).await?;
        let status = answer.status();
        let body = http_body_util::Limited::new(answer.into_body(), FETCH_BYTES_MAX);
        let body = body.collect().await;
        let body = body.map_err(|error| anyhow::anyhow!("the answer is unreadable: {error}"))?;
        anyhow::Ok((status, body.to_bytes()))
    };
    let (status, body) = timeout(FETCH_TIMEOUT, read).await.context("no answer in time")??;
    ensure!(!body.is_empty(), "the answer is empty");
    Ok((status, body))
}
