//! The limits and waits of the data plane, with their defaults (contract §5, §12).

use std::{num::NonZeroU32, time::Duration};

use super::plain::Plain;
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
    /// A TLS handshake must be complete this long after the connection was accepted.
    pub handshake_limit: Duration,
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
    /// Client connections of one IPv4 address or one /64 of IPv6; `None`:
    /// [`Settings::ADDRESS_PERCENT`] of `connections_max`.
    pub connections_per_address_max: Option<usize>,
    /// Requests of one client connection; after the last one it is asked to connect anew.
    pub requests_per_connection_max: u32,
    /// How many wrong credentials of one address are looked at closely.
    pub failed_credentials: FailedCredentials,
    /// Concurrent streams of one HTTP/2 client connection.
    pub streams_max: u32,
    /// What becomes of requests without TLS.
    pub plain: Plain,
    /// Connections to replicas.
    pub pool: PoolSettings,
}

/// The budget of an address for tries with wrong credentials. It is generous, because many clients
/// may share an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailedCredentials {
    /// Tries at once.
    pub burst: NonZeroU32,
    /// Further tries in each second.
    pub per_second: NonZeroU32,
}

impl Default for FailedCredentials {
    fn default() -> Self {
        const BURST: NonZeroU32 = NonZeroU32::new(1000).expect("not zero");
        const PER_SECOND: NonZeroU32 = NonZeroU32::new(20).expect("not zero");
        Self { burst: BURST, per_second: PER_SECOND }
    }
}

impl Settings {
    /// The share of all connections that one address may have by default. Behind a load balancer
    /// all clients are one address, so it is nearly all, and keeps the router within reach of
    /// others.
    pub const ADDRESS_PERCENT: usize = 97;

    /// Client connections of one address.
    pub(super) fn per_address_max(&self) -> usize {
        let share = (self.connections_max * Self::ADDRESS_PERCENT / 100).max(1);
        self.connections_per_address_max.unwrap_or(share)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            silence_limit: Duration::from_secs(5),
            handshake_limit: Duration::from_secs(5),
            head_limit: Duration::from_secs(10),
            body_stall_limit: Duration::from_secs(10),
            write_stall_limit: Duration::from_secs(30),
            idle_limit: Duration::from_secs(60),
            linger_limit: Duration::from_secs(10),
            linger_bytes_max: 512 * 1024 * 1024,
            reuse_retry_limit: Duration::from_millis(20),
            connections_max: 10_000,
            connections_per_address_max: None,
            requests_per_connection_max: 100_000,
            failed_credentials: FailedCredentials::default(),
            streams_max: 100,
            plain: Plain::Serve,
            pool: PoolSettings::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = include_str!("../../docs/configuration.md");

    #[test]
    fn the_limits_in_docs_are_those_in_force() {
        let Settings {
            silence_limit,
            handshake_limit,
            head_limit,
            body_stall_limit,
            write_stall_limit,
            idle_limit,
            linger_limit,
            linger_bytes_max,
            reuse_retry_limit,
            connections_max,
            connections_per_address_max: _,
            requests_per_connection_max,
            failed_credentials: FailedCredentials { burst, per_second },
            streams_max,
            plain,
            pool: PoolSettings { connect_timeout, idle_limit: pool_idle_limit },
        } = Settings::default();
        let time = |limit: Duration| humantime::format_duration(limit).to_string();
        let kib = |bytes: usize| format!("{} KiB |", bytes / 1024);
        let linger = format!("{}, {} MiB |", time(linger_limit), linger_bytes_max >> 20);
        let rows = [
            ("request line and fields together", kib(HEAD_BYTES_MAX)),
            ("fields of a request", format!("{HEAD_FIELDS_MAX} |")),
            ("request target", kib(TARGET_BYTES_MAX)),
            ("TLS handshake, from the connection on", time(handshake_limit)),
            ("refused upload: read and dropped", linger),
            ("connect to a replica", time(connect_timeout)),
            ("kept connection to a replica", time(pool_idle_limit)),
            ("body kept for a second try", kib(REPLAY_BYTES_MAX)),
            ("`reuseRetryLimit`", time(reuse_retry_limit)),
            ("`connectionsMax`", format!("{connections_max} |")),
            ("`connectionsPerAddress`", format!("{} % of", Settings::ADDRESS_PERCENT)),
            ("`requestsPerConnection`", format!("{requests_per_connection_max} |")),
            ("`failedCredentialsBurst`", format!("{burst} |")),
            ("`failedCredentialsRate`", format!("{per_second} |")),
            ("`streamsMax`", format!("{streams_max} |")),
            ("`silenceLimit`", time(silence_limit)),
            ("`headLimit`", time(head_limit)),
            ("`bodyStallLimit`", time(body_stall_limit)),
            ("`writeStallLimit`", time(write_stall_limit)),
            ("`idleLimit`", time(idle_limit)),
        ];
        assert_eq!(plain, Plain::Serve);
        for (what, value) in rows {
            let row = format!("| {what} | {value}");
            assert!(PAGE.contains(&row), "docs/configuration.md lacks `{row}`");
        }
    }
}
