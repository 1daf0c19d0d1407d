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
    crowd::Seat,
    error::ProxyError,
    forward::forwarded_for,
    identity::Identity,
    journey,
    link::Link,
    listener::Door,
    raw_head::RawFault,
    record,
    routes::Proxy,
    settings::HEAD_BYTES_MAX,
    tls::{self, Protocol},
    worker::Worker,
};
use crate::{
    lifecycle::Phase,
    net::Socket,
    telemetry::{ConnectionLimit, Metrics, Open},
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
/// The same by HTTPS: before the first word there are up to three round trips of a handshake.
const CLOSING_GRACE_SECURE: Duration = Duration::from_millis(500);
/// How long a connection is still read when the router closes: a request that is in the kernel
/// already must be found before the connection is called idle.
const LAST_READ: Duration = Duration::from_millis(20);
/// How long the last answer of a closing connection may take to be read.
const FAREWELL: Duration = Duration::from_secs(1);

/// The same after a flood: long enough for a GOAWAY, too short to be worth going on.
const FLOOD_FAREWELL: Duration = Duration::from_millis(100);

/// A client connection as its requests see it.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) worker: Rc<Worker>,
    pub(crate) socket: Arc<Socket>,
    pub(crate) state: ClientState,
    /// Its address as replicas are told it.
    pub(crate) forwarded_for: HeaderValue,
    /// Whether it came by HTTPS.
    pub(crate) secured: bool,
}

impl Client {
    fn new(worker: Rc<Worker>, link: &Link, state: ClientState) -> Rc<Self> {
        let socket = Arc::clone(link.socket());
        let forwarded_for = forwarded_for(socket.peer());
        Rc::new(Self { worker, socket, state, forwarded_for, secured: link.is_secured() })
    }
}

/// Serves a connection to its end; it holds its place among those of its address for as long as
/// its socket is open, also as a tunnel.
pub(super) async fn serve(worker: Rc<Worker>, stream: TcpStream, door: Door, seat: Seat) {
    let Ok(socket) = Socket::new(stream) else { return };
    socket.hold(seat);
    let lifecycle = worker.proxy.lifecycle.clone();
    let grace = match door {
        Door::Plain => CLOSING_GRACE,
        Door::Secure => CLOSING_GRACE_SECURE,
    };
    let greeted = tokio::select! {
        greeted = greet(&worker, socket, door) => greeted,
        // Who has been accepted has perhaps sent a request already; who is silent has not.
        () = after(lifecycle.reached(Phase::Closing), grace) => return,
    };
    match greeted {
        // Boxed, because every HTTP/1 connection would carry the room for it.
        Some((link, prefix, true)) => Box::pin(serve_http2(worker, link, prefix)).await,
        Some((link, prefix, false)) => serve_http1(worker, link, prefix).await,
        None => {}
    }
}

/// What a client has to say before its first request: its handshake, where there is one, and which
/// protocol it speaks (`true`: HTTP/2). `None`: nothing came of it.
async fn greet(worker: &Worker, socket: Arc<Socket>, door: Door) -> Option<(Link, Bytes, bool)> {
    let Proxy { settings, metrics, unrouted, .. } = &*worker.proxy;
    let (mut link, agreed) = match door {
        Door::Plain => (Link::plain(socket), Protocol::Unsaid),
        Door::Secure => {
            let (tls, limit) = (worker.tls.as_ref()?, settings.handshake_limit);
            let (stream, agreed) =
                Box::pin(tls::handshake(tls, &socket, limit, metrics, unrouted)).await?;
            (Link::secured(stream), agreed)
        }
    };
    let detected = tokio::time::timeout(settings.silence_limit, detect(&mut link)).await;
    if detected.is_err() {
        metrics.bounds.connection(ConnectionLimit::Silence);
    }
    let Some((prefix, is_http2)) = detected.ok().flatten() else {
        link.say_end();
        return None;
    };
    let is_http2 = match agreed {
        Protocol::Http1 => false,
        // Whoever has agreed and then says something else is told so in the words of HTTP/2.
        Protocol::Http2 => true,
        Protocol::Unsaid => is_http2,
    };
    Some((link, prefix, is_http2))
}

/// Reads until the bytes are the HTTP/2 preface or cannot become it. `None`: the peer has closed.
async fn detect(link: &mut Link) -> Option<(Bytes, bool)> {
    let mut prefix = Vec::with_capacity(PREFACE.len());
    while PREFACE.starts_with(&prefix) {
        if prefix.len() == PREFACE.len() {
            return Some((prefix.into(), true));
        }
        let mut piece = [0_u8; PREFACE.len()];
        let room = piece.get_mut(..PREFACE.len() - prefix.len())?;
        let count = link.read(room).await.ok().filter(|count| *count > 0)?;
        prefix.extend_from_slice(room.get(..count)?);
    }
    Some((prefix.into(), false))
}

async fn serve_http1(worker: Rc<Worker>, link: Link, prefix: Bytes) {
    let metrics = Arc::clone(&worker.proxy.metrics);
    let _open = Open::count(&metrics.connections.http1);
    let state = ClientState::new(Doing::Head);
    let settings = &worker.proxy.settings;
    let io = ClientIo::new(link.clone(), state.clone(), prefix, settings);
    let lifecycle = worker.proxy.lifecycle.clone();
    let proxy = Arc::clone(&worker.proxy);
    let client = Client::new(worker, &link, state.clone());
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
    count_end(&state, &metrics);
    // After an upgrade the bytes are the tunnel's.
    if state.is_other() {
        return;
    }
    last_words(&state, &link, &proxy);
    if state.is_clean() {
        link.say_end();
    }
    let socket = link.socket();
    if !socket.is_quiet() {
        socket.shutdown_write();
        drop(tokio::time::timeout(FAREWELL, socket.discard()).await);
    }
}

/// Says why a connection ends, where hyper could not, and gives account of what hyper has said.
fn last_words(state: &ClientState, link: &Link, proxy: &Proxy) {
    let error = if state.head_was_late() {
        Some(ProxyError::ClientTimeout("the head was not complete in time"))
    } else {
        state.raw_fault().map(RawFault::error)
    };
    let said = match error {
        Some(error) => {
            let identity = Identity::fresh();
            link.write_now(&raw_answer(&error, &identity));
            link.say_end();
            link.socket().shutdown_write();
            Some((error, identity))
        }
        None => state.refused(),
    };
    if let Some((error, identity)) = said {
        record::tell_unread(proxy, &error, &identity);
    }
}

async fn serve_http2(worker: Rc<Worker>, link: Link, prefix: Bytes) {
    let metrics = Arc::clone(&worker.proxy.metrics);
    let _open = Open::count(&metrics.connections.http2);
    let state = ClientState::new(Doing::Other);
    let settings = &worker.proxy.settings;
    let (idle_limit, write_stall_limit) = (settings.idle_limit, settings.write_stall_limit);
    let client = Client::new(Rc::clone(&worker), &link, state.clone());
    let io = ClientIo::new(link.clone(), state.clone(), prefix, settings)
        .of_frames(settings.streams_max);
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
    let connection = builder.serve_connection(
        TokioIo::new(io),
        service_fn(move |request| journey::handle(request, Rc::clone(&client))),
    );
    let mut connection = pin!(connection);
    tokio::select! {
        biased;
        ended = connection.as_mut() => {
            // Who breaks the protocol has nothing to read but why it ended.
            let patience = if ended.is_ok() { write_stall_limit } else { FLOOD_FAREWELL };
            return end_http2(&state, link.socket(), &metrics, patience).await;
        }
        () = after(lifecycle.reached(Phase::Closing), LAST_READ) => {}
        () = idle(&state, idle_limit) => {}
        () = state.asked_to_end() => {}
    }
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        _ended = connection => {}
        () = idle_and_written(&state, link.socket(), GOAWAY_GRACE) => {}
    }
    end_http2(&state, link.socket(), &metrics, write_stall_limit).await;
}

/// A socket that is closed with unread bytes resets, and the reset destroys what the client has not
/// read yet: the GOAWAY, and the end of its last answers.
async fn end_http2(state: &ClientState, socket: &Socket, metrics: &Metrics, patience: Duration) {
    count_end(state, metrics);
    let limit = match state.ended_by() {
        Some(ConnectionLimit::Resets | ConnectionLimit::Frames) => FLOOD_FAREWELL,
        Some(ConnectionLimit::Head | ConnectionLimit::Write) => return,
        _ => patience,
    };
    socket.shutdown_write();
    drop(tokio::time::timeout(limit, socket.discard()).await);
}

/// Resolves when no request has been in progress for `limit` and nothing was written either: what
/// was answered last may still be on its way to a slow client.
async fn idle_and_written(state: &ClientState, socket: &Socket, limit: Duration) {
    loop {
        idle(state, limit).await;
        if socket.since_write() >= limit {
            return;
        }
    }
}

fn count_end(state: &ClientState, metrics: &Metrics) {
    if let Some(limit) = state.ended_by() {
        metrics.bounds.connection(limit);
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
