//! Listening sockets: one for each thread, all on one port.

use std::{
    io,
    net::{SocketAddr, TcpListener as StdListener},
    rc::Rc,
    sync::atomic::Ordering,
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

use super::{connection::serve, worker::Worker};
use crate::{lifecycle::Phase, telemetry::ConnectionLimit};

/// Connections that the kernel holds for each listener until they are accepted.
const BACKLOG: i32 = 4096;
/// First and longest pause after accepting failed, for example for lack of file descriptors.
const ACCEPT_PAUSE_MIN: Duration = Duration::from_millis(50);
const ACCEPT_PAUSE_MAX: Duration = Duration::from_secs(1);
/// How long the connections that the kernel has accepted already may take to be reported.
const REST_LIMIT: Duration = Duration::from_millis(5);
/// How often a full router looks whether a connection has ended.
const FULL_PAUSE: Duration = Duration::from_millis(10);

/// Why no listener could be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} (choose another with {}; 0 finds a free one)", door.flag())]
pub struct BindError {
    address: SocketAddr,
    door: Door,
    source: io::Error,
}

/// Which way clients come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// Plain HTTP.
    Plain,
    /// HTTPS.
    Secure,
}

impl Door {
    fn flag(self) -> &'static str {
        match self {
            Self::Plain => "--port",
            Self::Secure => "--tls-port",
        }
    }
}
/// What accepting says of a client that has left already or never quite came (accept(2), "Error
/// handling"): a pause for these would let one client keep out the others.
const CLIENT_FAULTS: [io::ErrorKind; 6] = [
    io::ErrorKind::ConnectionAborted,
    io::ErrorKind::ConnectionReset,
    io::ErrorKind::HostUnreachable,
    io::ErrorKind::Interrupted,
    io::ErrorKind::NetworkDown,
    io::ErrorKind::NetworkUnreachable,
];

/// Bound listening sockets of one address.
#[derive(Debug)]
pub struct Listeners {
    sockets: Vec<StdListener>,
    address: SocketAddr,
}

impl Listeners {
    /// Binds `count` sockets to one address; port 0 finds a free one. `SO_REUSEPORT` lets the
    /// kernel spread connections over them, so that no thread hands a connection to another.
    pub fn bind(door: Door, address: SocketAddr, count: usize) -> Result<Self, BindError> {
        let failed = |source| BindError { address, door, source };
        if address.port() != 0 {
            // Without this, a second router of the same user would silently share the port.
            drop(socket(address, false).map_err(failed)?);
        }
        let first = socket(address, true).map_err(failed)?;
        let bound = first.local_addr().map_err(failed)?;
        let mut sockets = vec![first];
        for _ in 1..count {
            sockets.push(socket(bound, true).map_err(failed)?);
        }
        Ok(Self { sockets, address: bound })
    }

    /// Where they listen.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn into_inner(self) -> Vec<StdListener> {
        self.sockets
    }
}

fn socket(address: SocketAddr, shared: bool) -> io::Result<StdListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Accepts until the process closes, then takes what the kernel has accepted already: closing the
/// socket would reset those clients.
pub(super) async fn accept(worker: Rc<Worker>, listener: TcpListener, door: Door) {
    let mut pause = ACCEPT_PAUSE_MIN;
    loop {
        tokio::select! {
            biased;
            () = worker.proxy.lifecycle.reached(Phase::Closing) => break,
            () = accept_one(&worker, &listener, door, &mut pause) => {}
        }
    }
    let rest = async {
        for _ in 0..BACKLOG {
            accept_one(&worker, &listener, door, &mut pause).await;
        }
    };
    // Without a budget: what the kernel holds is taken in one go, however much it is.
    let rest = tokio::task::unconstrained(rest);
    drop(tokio::time::timeout(REST_LIMIT, rest).await);
}

async fn accept_one(worker: &Rc<Worker>, listener: &TcpListener, door: Door, pause: &mut Duration) {
    let count = &worker.proxy.connections;
    while count.load(Ordering::Relaxed) >= worker.proxy.settings.connections_max {
        tokio::time::sleep(FULL_PAUSE).await;
    }
    match listener.accept().await {
        Ok((stream, peer)) => {
            *pause = ACCEPT_PAUSE_MIN;
            let Some(seat) = worker.proxy.crowd.enter(peer.ip(), worker.proxy.per_address_max)
            else {
                worker.proxy.metrics.bounds.connection(ConnectionLimit::Address);
                return;
            };
            let counted = Counted::new(worker);
            let worker = Rc::clone(worker);
            tokio::task::spawn_local(async move {
                serve(worker, stream, door, seat).await;
                drop(counted);
            });
        }
        Err(error) if CLIENT_FAULTS.contains(&error.kind()) => {}
        Err(error) => {
            worker.proxy.metrics.bounds.connection(ConnectionLimit::Files);
            tracing::warn!(%error, pause_ms = pause.as_millis(), "cannot accept connections");
            tokio::time::sleep(*pause).await;
            *pause = (*pause * 2).min(ACCEPT_PAUSE_MAX);
        }
    }
}

/// A connection in the count, also when its task ends by a panic.
pub(super) struct Counted(Rc<Worker>);

impl Counted {
    pub(super) fn new(worker: &Rc<Worker>) -> Self {
        worker.proxy.connections.fetch_add(1, Ordering::AcqRel);
        Self(Rc::clone(worker))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.proxy.connections.fetch_sub(1, Ordering::AcqRel);
    }
}
