//! Connections to replicas.
//!
//! Promises: a connection is used again only while that is provably safe: idle for less than its
//! limit, not closed by the peer, nothing unread on it; every failure says whether the replica can
//! have begun to work on the request.
//!
//! How: each data-plane thread has its own [`Pool`]; nothing is shared between threads. The pool
//! works on hyper's connection handles directly: the pooled client of hyper-util costs 7 % more
//! CPU per request, and does not tell a reused connection from a fresh one, which the retry rule
//! needs.
//!
//! Not here: which replica (`replica`), whether to try again (`proxy/exchange`).

mod connection;
mod heads;
mod pool;

pub use connection::{Connection, Failure, LocalExecutor, Protocol, spoils_connection};
pub use pool::{Pool, PoolSettings};
