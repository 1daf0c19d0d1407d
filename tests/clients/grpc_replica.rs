//! A gRPC replica that shows what reached it, and breaks off when it is told to.

use std::{convert::Infallible, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::{
    body::{Frame, Incoming},
    server::conn::http2,
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use tokio::{net::TcpListener, sync::Notify, task::JoinSet};

/// What one call brought: its fields, its message bytes, its trailers.
#[derive(Debug, Default, Clone)]
pub(crate) struct Seen {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Option<HeaderMap>,
}

/// The replica; dropping it closes everything.
#[derive(Debug)]
pub(crate) struct GrpcReplica {
    pub(crate) address: SocketAddr,
    pub(crate) seen: Arc<Mutex<Vec<Seen>>>,
    /// Closes every connection.
    pub(crate) break_off: Arc<Notify>,
    tasks: JoinSet<()>,
}

impl GrpcReplica {
    /// Listens. Calls of `/test/Hang` answer their head and one message and then nothing.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let break_off = Arc::<Notify>::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, Arc::clone(&seen), Arc::clone(&break_off)));
        Self { address, seen, break_off, tasks }
    }

    /// Whether it still accepts.
    pub(crate) fn is_running(&mut self) -> bool {
        self.tasks.try_join_next().is_none()
    }
}

async fn accept(listener: TcpListener, seen: Arc<Mutex<Vec<Seen>>>, break_off: Arc<Notify>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _peer) = accepted.unwrap();
                let seen = Arc::clone(&seen);
                let service = service_fn(move |request| answer(request, Arc::clone(&seen)));
                connections.spawn(async move {
                    let serving = http2::Builder::new(TokioExecutor::new());
                    drop(serving.serve_connection(TokioIo::new(stream), service).await);
                });
            }
            () = break_off.notified() => connections.abort_all(),
        }
    }
}

type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>;

async fn answer(
    request: Request<Incoming>,
    seen: Arc<Mutex<Vec<Seen>>>,
) -> Result<Response<Body>, hyper::Error> {
    let hangs = request.uri().path() == "/test/Hang";
    let (parts, body) = request.into_parts();
    let mut call = Seen { headers: parts.headers, ..Seen::default() };
    if !hangs {
        let collected = body.collect().await?;
        call.trailers = collected.trailers().cloned();
        call.body = collected.to_bytes().to_vec();
    }
    seen.lock().push(call);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", 0.into());
    trailers.insert("x-last", "words".parse().unwrap());
    let message = Bytes::from_static(b"\0\0\0\0\x02hi");
    let first = futures_util::stream::iter([Ok(Frame::data(message))]);
    let body = if hangs {
        let never = futures_util::stream::pending();
        StreamBody::new(futures_util::StreamExt::chain(first, never)).boxed_unsync()
    } else {
        let last = futures_util::stream::iter([Ok(Frame::trailers(trailers))]);
        StreamBody::new(futures_util::StreamExt::chain(first, last)).boxed_unsync()
    };
    Ok(Response::builder().header("content-type", "application/grpc").body(body).unwrap())
}
