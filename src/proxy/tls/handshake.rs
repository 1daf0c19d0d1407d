//! From an accepted socket to a connection under TLS, within one deadline.

use std::{io, sync::Arc, time::Duration};

use rustls::Error;
use tokio_rustls::TlsAcceptor;

use super::{Secured, Tls};
use crate::{
    net::{Socket, SocketIo},
    proxy::{answer::raw_answer, error::ProxyError, identity::Identity},
    telemetry::{EndpointMetrics, HandshakeResult, Metrics},
};

/// How long a client may take to read why its handshake failed.
const FAREWELL: Duration = Duration::from_secs(1);

/// What every handshake begins with (RFC 8446 §5.1, `ContentType`).
const HANDSHAKE_RECORD: u8 = 22;

/// What both sides have agreed to speak (ALPN, RFC 7301).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// `http/1.1`.
    Http1,
    /// `h2`.
    Http2,
    /// The client offered nothing: its first bytes tell.
    Unsaid,
}

/// Makes keys with a client; `None` when that failed, which is counted and told to the client. The
/// deadline is one for all of it, so a client that sends byte by byte gains nothing.
pub(crate) async fn handshake(
    tls: &Tls,
    socket: &Arc<Socket>,
    limit: Duration,
    metrics: &Metrics,
    unrouted: &EndpointMetrics,
) -> Option<(Arc<Secured>, Protocol)> {
    let accept = async {
        // Looked at beforehand, because what rustls answers nobody without TLS could read.
        match socket.first_byte().await.map_err(|error| judge(&error))? {
            Some(HANDSHAKE_RECORD) => {}
            Some(_) => return Err(HandshakeResult::NotTls),
            None => return Err(HandshakeResult::Closed),
        }
        let acceptor = TlsAcceptor::from(tls.config());
        acceptor.accept(SocketIo(Arc::clone(socket))).await.map_err(|error| judge(&error))
    };
    let result = match tokio::time::timeout(limit, accept).await {
        Ok(Ok(stream)) => {
            metrics.tls.handshake(HandshakeResult::Ok);
            let protocol = match stream.get_ref().1.alpn_protocol() {
                Some(b"h2") => Protocol::Http2,
                Some(_) => Protocol::Http1,
                None => Protocol::Unsaid,
            };
            return Some((Secured::new(stream), protocol));
        }
        Ok(Err(result)) => result,
        Err(_elapsed) => HandshakeResult::Timeout,
    };
    metrics.tls.handshake(result);
    match result {
        HandshakeResult::Timeout | HandshakeResult::Closed => return None,
        HandshakeResult::NotTls => {
            let error = ProxyError::Malformed(
                "this port speaks HTTPS; begin the address with https://".into(),
            );
            unrouted.rejected(error.reason());
            drop(socket.write_now(&raw_answer(&error, &Identity::fresh())));
        }
        // rustls has written its alert.
        _ => {}
    }
    // A socket closed with unread bytes resets, and the reset destroys what was said last.
    socket.shutdown_write();
    drop(tokio::time::timeout(FAREWELL, socket.discard()).await);
    None
}

/// Why a handshake failed, as far as it can be told.
fn judge(error: &io::Error) -> HandshakeResult {
    let Some(fault) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        return match error.kind() {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::WriteZero => HandshakeResult::Closed,
            _ => HandshakeResult::Failed,
        };
    };
    match fault {
        Error::PeerIncompatible(_) | Error::NoApplicationProtocol => HandshakeResult::Incompatible,
        Error::NoCertificatesPresented | Error::InvalidCertificate(_) => {
            HandshakeResult::ClientCertificate
        }
        Error::AlertReceived(_) => HandshakeResult::RefusedByClient,
        _ => HandshakeResult::Failed,
    }
}
