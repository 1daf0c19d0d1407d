//! The connections of one thread that wait for their next request.

use std::{
    cell::RefCell,
    collections::HashMap,
    error::Error as StdError,
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use hyper::body::Body;

use super::connection::{Connection, Failure, Protocol};
use crate::domain::ReplicaId;

/// Idle connections kept for one replica by one thread.
const IDLE_PER_REPLICA_MAX: usize = 1024;
/// How often idle connections past their limit are closed.
const SWEEP_EVERY: Duration = Duration::from_millis(250);
/// The longest idle time that a replica's `Keep-Alive: timeout` may ask for.
const IDLE_LIMIT_MAX: Duration = Duration::from_secs(60);

/// How connections to replicas are made and kept.
#[derive(Debug, Clone, Copy)]
pub struct PoolSettings {
    /// How long a connection may take to be made.
    pub connect_timeout: Duration,
    /// How long an idle connection is used again where the replica does not say. Below 1 s,
    /// because common servers close after 1 to 5 s, and a request sent in that moment is lost.
    pub idle_limit: Duration,
}

impl Default for PoolSettings {
    fn default() -> Self {
        Self { connect_timeout: Duration::from_secs(1), idle_limit: Duration::from_millis(900) }
    }
}

struct Idle<B> {
    connection: Connection<B>,
    until: Instant,
}

struct State<B> {
    settings: PoolSettings,
    idle: RefCell<HashMap<ReplicaId, Vec<Idle<B>>>>,
    shared: RefCell<HashMap<ReplicaId, Connection<B>>>,
}

/// The connections of one thread. Clones are the same pool.
pub struct Pool<B>(Rc<State<B>>);

impl<B> Pool<B>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    /// An empty pool. Must be made on the thread that uses it, inside a `LocalSet`.
    pub fn new(settings: PoolSettings) -> Self {
        Self(Rc::new(State { settings, idle: RefCell::default(), shared: RefCell::default() }))
    }

    /// A connection to the replica: an idle one, or else a fresh one.
    pub async fn connection(
        &self,
        replica: ReplicaId,
        address: SocketAddr,
        protocol: Protocol,
    ) -> Result<Connection<B>, Failure> {
        if let Some(connection) = self.idle_connection(replica, protocol) {
            return Ok(connection);
        }
        self.fresh_connection(replica, address, protocol).await
    }

    /// A connection on which nothing has been sent yet.
    pub async fn fresh_connection(
        &self,
        replica: ReplicaId,
        address: SocketAddr,
        protocol: Protocol,
    ) -> Result<Connection<B>, Failure> {
        let limit = self.0.settings.connect_timeout;
        // Boxed, because every request would carry the room for it, and few need it.
        let connection = Box::pin(Connection::open(address, protocol, limit)).await?;
        if let Some(shared) = connection.share() {
            self.0.shared.borrow_mut().insert(replica, shared);
        }
        Ok(connection)
    }

    fn idle_connection(&self, replica: ReplicaId, protocol: Protocol) -> Option<Connection<B>> {
        if protocol == Protocol::Http2 {
            let mut shared = self.0.shared.borrow_mut();
            let connection = shared.get(&replica)?;
            if connection.is_ready() {
                return connection.share();
            }
            shared.remove(&replica);
            return None;
        }
        let mut idle = self.0.idle.borrow_mut();
        let connections = idle.get_mut(&replica)?;
        let now = Instant::now();
        // The one used last is the least likely to have been closed meanwhile.
        while let Some(Idle { mut connection, until }) = connections.pop() {
            if now < until && connection.is_ready() {
                connection.reused = true;
                return Some(connection);
            }
        }
        None
    }

    /// Keeps an HTTP/1 connection whose answer was read to its end, `now`. `keep_alive` is the
    /// value of the answer's `Keep-Alive` field.
    pub fn keep(
        &self,
        replica: ReplicaId,
        connection: Connection<B>,
        keep_alive: Option<&str>,
        now: Instant,
    ) {
        let limit = idle_limit(keep_alive, self.0.settings.idle_limit);
        let mut idle = self.0.idle.borrow_mut();
        let connections = idle.entry(replica).or_default();
        if limit.is_zero() || connections.len() >= IDLE_PER_REPLICA_MAX {
            return;
        }
        connections.push(Idle { connection, until: now + limit });
    }

    /// Gives no further requests to this HTTP/2 connection; those that it carries go on.
    pub fn retire(&self, replica: ReplicaId, connection: &Connection<B>) {
        let mut shared = self.0.shared.borrow_mut();
        let here = shared.get(&replica);
        if here.is_some_and(|here| Arc::ptr_eq(here.socket(), connection.socket())) {
            shared.remove(&replica);
        }
    }

    /// Closes idle connections past their limit, for as long as the thread lives.
    pub async fn sweep(self) {
        let mut tick = tokio::time::interval(SWEEP_EVERY);
        loop {
            tick.tick().await;
            let now = Instant::now();
            self.0.idle.borrow_mut().retain(|_, connections| {
                connections.retain(|idle| now < idle.until);
                !connections.is_empty()
            });
            self.0.shared.borrow_mut().retain(|_, connection| connection.is_ready());
        }
    }
}

/// How long an idle connection may wait: a second less than the replica promises to keep it, or
/// the default where it promises nothing.
fn idle_limit(keep_alive: Option<&str>, default: Duration) -> Duration {
    let promised = keep_alive.and_then(|field| {
        let seconds = field.split(',').find_map(|p| p.trim().strip_prefix("timeout="))?;
        seconds.trim().parse::<u64>().ok()
    });
    match promised {
        Some(seconds) => Duration::from_secs(seconds.saturating_sub(1)).min(IDLE_LIMIT_MAX),
        None => default,
    }
}

impl<B> Clone for Pool<B> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<B> std::fmt::Debug for Pool<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("settings", &self.0.settings).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_idle_limit_follows_the_replicas_promise_with_a_margin() {
        let default = Duration::from_millis(900);
        let limit = |field| idle_limit(field, default);
        assert_eq!(limit(None), default);
        assert_eq!(limit(Some("timeout=5")), Duration::from_secs(4));
        assert_eq!(limit(Some("timeout=5, max=100")), Duration::from_secs(4));
        assert_eq!(limit(Some("max=100, timeout=1")), Duration::ZERO);
        assert_eq!(limit(Some("timeout=0")), Duration::ZERO);
        assert_eq!(limit(Some("timeout=86400")), IDLE_LIMIT_MAX);
        assert_eq!(limit(Some("nonsense")), default);
    }
}
