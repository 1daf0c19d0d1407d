//! One client connection: which protocol it speaks, then its requests until it ends.

use std::{pin::pin, rc::Rc, sync::Arc, time::Duration};

use bytes::Bytes;
use http::HeaderValue;
use hyper::{
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{io::AsyncReadExt, net::TcpStream, time::Instant};

use super::{
    answer::raw_answer,
    client_io::{ClientIo, ClientState, Doing},
    error::ProxyError,
    forward::forwarded_for,
    journey,
    settings::HEAD_BYTES_MAX,
    worker::Worker,
};
use crate::{
    lifecycle::Phase,
    net::{Socket, SocketIo},
    telemetry::{EndpointMetrics, Open},
    upstream::LocalExecutor,
};

/// RFC 9113 §3.4.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Upper bound of hyper's buffers for one direction; at least twice the largest head.
const BUFFER_BYTES_MAX: usize = 128 * 1024;
/// HTTP/2 counts 32 bytes of overhead for each field (RFC 9113 §6.5.2).
const HEADER_LIST_BYTES_MAX: u32 = 64 * 1024 + 100 * 32;
/// Flow-control windows: what one upload may have in memory, and what one connection may.
const STREAM_WINDOW_BYTES: u32 = 128 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
const SEND_BUFFER_BYTES_MAX: usize = 128 * 1024;
/// How often a silent HTTP/2 connection is asked whether it lives, and how long it may take.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// How often an HTTP/2 connection is looked at for being idle.
const IDLE_CHECK_EVERY: Duration = Duration::from_secs(1);
/// How long an HTTP/2 connection may take to end after GOAWAY once it is idle.
const GOAWAY_GRACE: Duration = Duration::from_secs(5);
/// How long a connection that was just accepted may take to say something when the router closes.
const CLOSING_GRACE: Duration = Duration::from_millis(100);
/// How long a connection is still read when the router closes: a request that is in the kernel
/// already must be found before the connection is called idle.
const LAST_READ: Duration = Duration::from_millis(20);
/// How long the last answer of a closing connection may take to be read.
const FAREWELL: Duration = Duration::from_secs(1);

/// A client connection as its requests see it.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) worker: Rc<Worker>,
    pub(crate) socket: Arc<Socket>,
    pub(crate) state: ClientState,
    /// Its address as replicas are told it.
    pub(crate) forwarded_for: HeaderValue,
}

impl Client {
    fn new(worker: Rc<Worker>, socket: Arc<Socket>, state: ClientState) -> Rc<Self> {
        let forwarded_for = forwarded_for(socket.peer());
        Rc::new(Self { worker, socket, state, forwarded_for })
    }
}

/// Serves a connection to its end.
pub(super) async fn serve(worker: Rc<Worker>, stream: TcpStream) {
    let Ok(socket) = Socket::new(stream) else { return };
    let lifecycle = worker.proxy.lifecycle.clone();
    let limit = worker.proxy.settings.silence_limit;
    let detected = tokio::select! {
        detected = tokio::time::timeout(limit, detect(&socket)) => detected,
        // Who has been accepted has perhaps sent a request already; who is silent has not.
        () = after(lifecycle.reached(Phase::Closing), CLOSING_GRACE) => return,
    };
    match detected {
        // Boxed, because every HTTP/1 connection would carry the room for it.
        Ok(Some((prefix, true))) => Box::pin(serve_http2(worker, socket, prefix)).await,
        Ok(Some((prefix, false))) => serve_http1(worker, socket, prefix).await,
        Ok(None) | Err(_) => {}
    }
}

/// Reads until the bytes are the HTTP/2 preface or cannot become it. `None`: the peer has closed.
async fn detect(socket: &Arc<Socket>) -> Option<(Bytes, bool)> {
    let mut io = SocketIo(Arc::clone(socket));
    let mut prefix = Vec::with_capacity(PREFACE.len());
    while PREFACE.starts_with(&prefix) {
        if prefix.len() == PREFACE.len() {
            return Some((prefix.into(), true));
        }
        let mut piece = [0_u8; PREFACE.len()];
        let room = piece.get_mut(..PREFACE.len() - prefix.len())?;
        let count = io.read(room).await.ok().filter(|count| *count > 0)?;
        prefix.extend_from_slice(room.get(..count)?);
    }
    Some((prefix.into(), false))
}

async fn serve_http1(worker: Rc<Worker>, socket: Arc<Socket>, prefix: Bytes) {
    let metrics = Arc::clone(&worker.proxy.metrics);
    let _open = Open::count(&metrics.connections.http1);
    let state = ClientState::new(Doing::Head);
    let settings = &worker.proxy.settings;
    let io = ClientIo::new(Arc::clone(&socket), state.clone(), prefix, settings);
    let lifecycle = worker.proxy.lifecycle.clone();
    let unrouted = Arc::clone(&worker.proxy.unrouted);
    let client = Client::new(worker, Arc::clone(&socket), state.clone());
    let connection = http1::Builder::new()
        .half_close(true)
        .header_read_timeout(None)
        .max_buf_size(BUFFER_BYTES_MAX)
        .max_header_size(HEAD_BYTES_MAX)
        .serve_connection(
            TokioIo::new(io),
            service_fn(move |request| journey::handle(request, Rc::clone(&client))),
        )
        .with_upgrades();
    let mut connection = pin!(connection);
    tokio::select! {
        biased;
        // Its error tells what the answers and metrics have told already.
        _ended = connection.as_mut() => {}
        () = after(lifecycle.reached(Phase::Closing), LAST_READ) => {
            connection.as_mut().graceful_shutdown();
            drop(connection.as_mut().await);
        }
    }
    last_words(&state, &socket, &unrouted);
    // After an upgrade the bytes are the tunnel's.
    if !state.is_other() && !socket.is_quiet() {
        socket.shutdown_write();
        drop(tokio::time::timeout(FAREWELL, socket.discard()).await);
    }
}

/// Says why a connection ends, where hyper could not.
fn last_words(state: &ClientState, socket: &Socket, unrouted: &EndpointMetrics) {
    let error = if state.head_was_late() {
        ProxyError::ClientTimeout("the head was not complete in time")
    } else if let Some(fault) = state.raw_fault() {
        fault.error()
    } else if let Some(reason) = state.refused() {
        unrouted.rejected(reason);
        return;
    } else {
        return;
    };
    unrouted.rejected(error.reason());
    // What does not fit into an empty socket buffer would not be read by such a client.
    drop(socket.write_now(&raw_answer(&error)));
    socket.shutdown_write();
}

async fn serve_http2(worker: Rc<Worker>, socket: Arc<Socket>, prefix: Bytes) {
    let metrics = Arc::clone(&worker.proxy.metrics);
    let _open = Open::count(&metrics.connections.http2);
    let state = ClientState::new(Doing::Other);
    let settings = &worker.proxy.settings;
    let idle_limit = settings.idle_limit;
    let io = ClientIo::new(Arc::clone(&socket), state.clone(), prefix, settings);
    let mut builder = http2::Builder::new(LocalExecutor);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(settings.streams_max)
        .max_header_list_size(HEADER_LIST_BYTES_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES_MAX)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT);
    let lifecycle = worker.proxy.lifecycle.clone();
    let client = Client::new(worker, socket, state.clone());
    let connection = builder.serve_connection(
        TokioIo::new(io),
        service_fn(move |request| journey::handle(request, Rc::clone(&client))),
    );
    let mut connection = pin!(connection);
    tokio::select! {
        biased;
        _ended = connection.as_mut() => return,
        () = after(lifecycle.reached(Phase::Closing), LAST_READ) => {}
        () = idle(&state, idle_limit) => {}
    }
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        _ended = connection => {}
        () = idle(&state, GOAWAY_GRACE) => {}
    }
}

async fn after(event: impl Future<Output = ()>, pause: Duration) {
    event.await;
    tokio::time::sleep(pause).await;
}

/// Resolves when no request has been in progress for `limit`.
async fn idle(state: &ClientState, limit: Duration) {
    let began = Instant::now();
    loop {
        tokio::time::sleep(IDLE_CHECK_EVERY.min(limit)).await;
        let idle = state.idle_for().is_some_and(|idle| idle >= limit);
        if idle && began.elapsed() >= limit {
            return;
        }
    }
}
