//! The limits and waits of the data plane, with their defaults (contract §5, §12).

use std::time::Duration;

use crate::upstream::PoolSettings;

/// The largest header block: request line and fields (contract §12, "sizes").
pub(super) const HEAD_BYTES_MAX: usize = 64 * 1024;
/// The most header fields.
pub(super) const HEAD_FIELDS_MAX: usize = 100;
/// The longest request target.
pub(super) const TARGET_BYTES_MAX: usize = 16 * 1024;
/// How much of a request body is kept for a second try.
pub(super) const REPLAY_BYTES_MAX: usize = 64 * 1024;

/// What an operator may change.
#[derive(Debug, Clone)]
pub struct Settings {
    /// A connection that says nothing is closed after this.
    pub silence_limit: Duration,
    /// A request head must be complete this long after its first byte.
    pub head_limit: Duration,
    /// A request body may pause for this long.
    pub body_stall_limit: Duration,
    /// A client may refuse to read for this long.
    pub write_stall_limit: Duration,
    /// A kept-alive connection without a request is closed after this.
    pub idle_limit: Duration,
    /// How long a refused upload is read and dropped so that its sender can read the refusal.
    pub linger_limit: Duration,
    /// How much of a refused upload is read and dropped.
    pub linger_bytes_max: u64,
    /// A reused connection that closes within this time of sending did not start the request;
    /// zero means never to assume that.
    pub reuse_retry_limit: Duration,
    /// Client connections over all threads. Half of the file limit stays for replicas.
    pub connections_max: usize,
    /// Concurrent streams of one HTTP/2 client connection.
    pub streams_max: u32,
    /// Connections to replicas.
    pub pool: PoolSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            silence_limit: Duration::from_secs(5),
            head_limit: Duration::from_secs(10),
            body_stall_limit: Duration::from_secs(10),
            write_stall_limit: Duration::from_secs(30),
            idle_limit: Duration::from_secs(60),
            linger_limit: Duration::from_secs(10),
            linger_bytes_max: 512 * 1024 * 1024,
            reuse_retry_limit: Duration::from_millis(20),
            connections_max: 10_000,
            streams_max: 100,
            pool: PoolSettings::default(),
        }
    }
}
