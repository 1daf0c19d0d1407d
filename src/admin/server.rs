//! The listener of the admin port.
//!
//! hyper directly and not `axum::serve`, which has no time limits. A connection
//! can be slow in sending its head or in reading its answer; both are bounded, and when there are too
//! many connections the oldest one makes room. A body is read only where one may be sent, bounded in
//! size and time (`credentials`); hyper closes a connection that sends another one.

use std::{collections::VecDeque, convert::Infallible, net::SocketAddr, time::Duration};

use axum::{Router, body::Body};
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
};
use tower::ServiceExt as _;

use super::{AdminState, guard::Peer, routes, spare::Spare};
use crate::lifecycle::Phase;

/// The most connections at once.
pub const CONNECTIONS_MAX: usize = 128;
/// How long a client may take to send the head of a request, idle time included.
pub const HEAD_TIME_MAX: Duration = Duration::from_secs(10);
/// How long a client may leave an answer unread.
pub const STALL_TIME_MAX: Duration = Duration::from_secs(10);
/// The largest head of a request, in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// The pause after a failed accept: without file descriptors it would fail again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The bounds above, as a value so that tests need not wait for them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) connections: usize,
    pub(super) head_time: Duration,
    pub(super) stall_time: Duration,
}

const BOUNDS: Bounds =
    Bounds { connections: CONNECTIONS_MAX, head_time: HEAD_TIME_MAX, stall_time: STALL_TIME_MAX };

/// Answers until the life of the process reaches [`Phase::Stopped`]: probes and metrics are wanted
/// to the end, also while the router drains.
pub async fn serve(listener: TcpListener, state: AdminState) {
    serve_within(BOUNDS, listener, state).await;
}

pub(super) async fn serve_within(bounds: Bounds, listener: TcpListener, state: AdminState) {
    let lifecycle = state.lifecycle.clone();
    let router = routes::router(state);
    let mut connections = JoinSet::new();
    let mut by_age: VecDeque<AbortHandle> = VecDeque::new();
    let stopped = lifecycle.reached(Phase::Stopped);
    tokio::pin!(stopped);
    let mut spare = Spare::default();
    spare.refill();
    loop {
        tokio::select! {
            () = &mut stopped => return,
            Some(ended) = connections.join_next() => {
                by_age.retain(|connection| !connection.is_finished());
                spare.refill();
                if ended.is_err_and(|error| error.is_panic()) {
                    tracing::error!("a request to the admin port panicked");
                }
            }
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    if by_age.len() >= bounds.connections && let Some(oldest) = by_age.pop_front() {
                        tracing::debug!("too many admin connections, the oldest is closed");
                        oldest.abort();
                    }
                    let served = connection(bounds, stream, peer, router.clone());
                    by_age.push_back(connections.spawn(served));
                }
                Err(error) if spare.give_up(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "the admin port cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
}

async fn connection(bounds: Bounds, stream: TcpStream, peer: SocketAddr, router: Router) {
    #[cfg(target_os = "linux")]
    if let Err(error) =
        socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(bounds.stall_time))
    {
        tracing::debug!(%error, "an admin connection goes without a limit for unread answers");
    }
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        let router = router.clone();
        async move { Ok::<_, Infallible>(answer(router, request.map(Body::new)).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.head_time)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "an admin connection ended early");
    }
}

async fn answer(router: Router, request: Request<Body>) -> axum::response::Response {
    let Ok(response) = router.oneshot(request).await;
    response
}
