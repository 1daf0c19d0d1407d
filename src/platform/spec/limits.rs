//! Every bound of an endpoint, with its reason.

use std::{ops::RangeInclusive, time::Duration};

const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

const HOUR: Duration = seconds(3600);
const MILLISECOND: Duration = Duration::from_millis(1);

/// The most host names of one endpoint: they are looked up per request, and nobody has more.
pub const HOSTS_MAX: usize = 64;
/// The most replicas of a version: what the slots are measured with, and what a cluster can bear.
pub const REPLICAS_MAX: u32 = 1000;
/// Slots of one replica. Each may hold one connection; more than a thousand to one process only
/// moves the queue from the router, which is fair and visible, into the replica.
pub const SLOTS: RangeInclusive<u32> = 1..=1000;
/// The longest queue of a version. Each waiter is an open request with its connection.
pub const QUEUE_LENGTH: RangeInclusive<u32> = 0..=100_000;
/// Percent of traffic.
pub const PERCENT: RangeInclusive<u32> = 0..=100;
/// Utilization aimed at; 0 would want infinitely many replicas.
pub const UTILIZATION: RangeInclusive<u32> = 1..=100;
/// Ports that a replica can listen on.
pub const PORT: RangeInclusive<u32> = 1..=65_535;
/// Time to the last byte of an answer (contract §5).
pub const REQUEST_TIMEOUT: RangeInclusive<Duration> = MILLISECOND..=seconds(300);
/// Time in the queue. An hour is for batch clients that wake a model from zero; longer than that
/// no client or load balancer keeps a connection.
pub const QUEUE_WAIT: RangeInclusive<Duration> = Duration::ZERO..=HOUR;
/// Silence of a streaming answer.
pub const STREAM_IDLE: RangeInclusive<Duration> = MILLISECOND..=seconds(24 * 3600);
/// Memory of the autoscaler; the same bound as a HorizontalPodAutoscaler's stabilization window.
pub const SCALE_DOWN_WINDOW: RangeInclusive<Duration> = Duration::ZERO..=HOUR;
/// How often a replica is probed: not so often that probes are load of their own.
pub const PROBE_PERIOD: RangeInclusive<Duration> = Duration::from_millis(100)..=seconds(600);
/// How long a probe may take.
pub const PROBE_TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(10)..=seconds(60);
/// Start of a replica process; loading the largest models takes the better part of an hour.
pub const START_DEADLINE: RangeInclusive<Duration> = Duration::from_millis(100)..=seconds(6 * 3600);
/// Time between SIGTERM and SIGKILL.
pub const STOP_GRACE: RangeInclusive<Duration> = Duration::ZERO..=seconds(600);
/// Lifetime of a token that the router issues.
pub const TOKEN_LIFETIME: RangeInclusive<Duration> = seconds(60)..=seconds(7 * 24 * 3600);
/// Lifetime of a token of an outside issuer. Nobody can take back a token, so a month is long.
pub const MAX_LIFETIME: RangeInclusive<Duration> = seconds(60)..=seconds(30 * 24 * 3600);
/// The longest key: four times what the router generates itself.
pub const KEY_LENGTH_MAX: usize = 256;
/// The most outside issuers of tokens of one endpoint: each costs a fetch of its keys.
pub const ISSUERS_MAX: usize = 8;
/// The most audiences of one issuer; of algorithms, required claims and required scopes as well.
pub const CLAIMS_MAX: usize = 16;
/// The longest name of a claim, and the longest scope, in bytes.
pub const CLAIM_LENGTH_MAX: usize = 256;
/// The longest URI or claim, in bytes: what browsers and proxies agree on.
pub const URI_LENGTH_MAX: usize = 2048;
