//! Asking one replica once whether it is healthy, on a fresh connection: a kept one would prove
//! that the connection lives, not that the replica accepts work.

use std::{future::Future, io, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpStream, time::Instant};

use super::spec::{Probe, ProbeKind};

/// How much of an answer to a probe is read, in bytes. Reading to the end spares simple servers a
/// broken pipe; a health page longer than this is cut.
const ANSWER_BYTES_MAX: usize = 65_536;
/// The health check of gRPC servers.
const GRPC_HEALTH_PATH: &str = "/grpc.health.v1.Health/Check";
/// One uncompressed message of no bytes: the whole server's health is asked for.
const GRPC_EMPTY_MESSAGE: &[u8] = &[0, 0, 0, 0, 0];
/// An uncompressed message whose field 1 is 1: SERVING.
const GRPC_SERVING: &[u8] = &[0, 0, 0, 0, 2, 8, 1];

/// Where a replica listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::platform) struct Place {
    pub(in crate::platform) http: SocketAddr,
    pub(in crate::platform) grpc: SocketAddr,
}

/// Why a probe failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::platform) struct Failure {
    /// What was found.
    pub(in crate::platform) found: Found,
    /// The same for people.
    pub(in crate::platform) reason: String,
}

/// What a failed probe found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::platform) enum Found {
    /// Nothing listens there.
    Refused,
    /// No connection within the timeout, or the network failed.
    Unreachable,
    /// A connection, and silence.
    Silent,
    /// A connection, and a wrong answer.
    Wrong,
}

/// Asks once. Takes at most the probe's timeout.
pub(in crate::platform) async fn ask(place: Place, probe: &Probe) -> Result<(), Failure> {
    let target = if probe.kind == ProbeKind::Grpc { place.grpc } else { place.http };
    let until = Instant::now() + probe.timeout;
    let stream = connect(target, until, probe.timeout).await?;
    let answer = async {
        match &probe.kind {
            ProbeKind::Http(path) => http(stream, target, path).await,
            ProbeKind::Grpc => grpc(stream, target).await,
            // For `none` this is asked only after a connection failed.
            ProbeKind::Tcp | ProbeKind::None => Ok(()),
        }
    };
    match tokio::time::timeout_at(until, Box::pin(answer)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(reason)) => Err(Failure { found: Found::Wrong, reason }),
        Err(_elapsed) => {
            let reason = format!("no answer from {target} within {:?}", probe.timeout);
            Err(Failure { found: Found::Silent, reason })
        }
    }
}

async fn connect(to: SocketAddr, until: Instant, limit: Duration) -> Result<TcpStream, Failure> {
    match tokio::time::timeout_at(until, TcpStream::connect(to)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
            Err(Failure { found: Found::Refused, reason: format!("nothing listens on {to}") })
        }
        Ok(Err(error)) => {
            let reason = format!("cannot connect to {to}: {error}");
            Err(Failure { found: Found::Unreachable, reason })
        }
        Err(_elapsed) => {
            let reason = format!("no connection to {to} within {limit:?}");
            Err(Failure { found: Found::Unreachable, reason })
        }
    }
}

async fn http(stream: TcpStream, host: SocketAddr, path: &str) -> Result<(), String> {
    let request = Request::get(path)
        .header(header::HOST, host.to_string())
        .header(header::USER_AGENT, "modelway-probe")
        .header(header::CONNECTION, "close")
        .body(Full::<Bytes>::default())
        .map_err(|error| format!("the probe path is not usable: {error}"))?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    let exchange = async {
        let answer = sender
            .send_request(request)
            .await
            .map_err(|error| format!("GET {path} failed: {error}"))?;
        let status = answer.status();
        if !status.is_success() {
            return Err(format!("GET {path} answers {status}"));
        }
        // The status has decided; the body is read for the server's sake only.
        drop(Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await);
        Ok(())
    };
    drive(connection, exchange).await
}

async fn grpc(stream: TcpStream, host: SocketAddr) -> Result<(), String> {
    let request = Request::post(format!("http://{host}{GRPC_HEALTH_PATH}"))
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .header(header::USER_AGENT, "modelway-probe")
        .body(Full::<Bytes>::from(GRPC_EMPTY_MESSAGE))
        .map_err(|error| error.to_string())?;
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .map_err(|error| format!("no HTTP/2 for the gRPC health check: {error}"))?;
    let exchange = async {
        let failed = |error: String| format!("the gRPC health check failed: {error}");
        let answer = sender.send_request(request).await.map_err(|e| failed(e.to_string()))?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| failed(error.to_string()))?;
        let trailers = body.trailers().cloned().unwrap_or_default();
        let status = trailers.get("grpc-status").or_else(|| head.headers.get("grpc-status"));
        let status = status.and_then(|status| status.to_str().ok()).unwrap_or("missing");
        if !head.status.is_success() || status != "0" {
            let http = head.status;
            return Err(format!("the gRPC health check answers {http}, grpc-status {status}"));
        }
        if body.to_bytes() == GRPC_SERVING {
            Ok(())
        } else {
            Err("the gRPC health check does not answer SERVING".to_owned())
        }
    };
    drive(connection, exchange).await
}

/// Runs the connection until the exchange is over. A connection that ends first only stops being
/// driven: what it has delivered already may still decide the exchange.
async fn drive<T>(connection: impl Future, exchange: impl Future<Output = T>) -> T {
    let connection = async {
        connection.await;
        std::future::pending::<std::convert::Infallible>().await
    };
    tokio::select! {
        result = exchange => result,
        never = connection => match never {},
    }
}

#[cfg(test)]
mod tests;
