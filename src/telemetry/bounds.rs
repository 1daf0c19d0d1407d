//! What is counted where a client meets a bound of the router.

use prometheus::{Gauge, IntCounter, IntGauge};

use super::metrics::Families;

/// A bound that costs a client its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConnectionLimit {
    /// Too many connections of its address: refused.
    Address,
    /// No file descriptor was free: it waits in the kernel and is tried again.
    Files,
    /// It said nothing.
    Silence,
    /// A head was not complete in time.
    Head,
    /// It did not read its answer.
    Write,
    /// It had as many requests as one may have.
    Requests,
    /// Too many of its HTTP/2 streams were reset right after their begin.
    Resets,
    /// Too many HTTP/2 frames that carry no request.
    Frames,
    /// The router was short of memory.
    Memory,
}

impl ConnectionLimit {
    /// Every bound, for tables and tests.
    pub const ALL: [Self; 9] = [
        Self::Address,
        Self::Files,
        Self::Silence,
        Self::Head,
        Self::Write,
        Self::Requests,
        Self::Resets,
        Self::Frames,
        Self::Memory,
    ];

    /// The value of the label `limit`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Files => "files",
            Self::Silence => "silence",
            Self::Head => "head",
            Self::Write => "write",
            Self::Requests => "requests",
            Self::Resets => "resets",
            Self::Frames => "frames",
            Self::Memory => "memory",
        }
    }
}

/// The series of the router's own bounds.
#[derive(Debug)]
pub struct Bounds {
    connection_limits: [IntCounter; ConnectionLimit::ALL.len()],
    /// Tries with wrong credentials beyond the budget of their address.
    pub failed_credentials_suppressed: IntCounter,
    /// What the router does about memory: 0 nothing, 1 keeps no connections, 2 refuses requests.
    pub memory_pressure: IntGauge,
    /// Memory in use, in bytes.
    pub memory_used: Gauge,
    /// Memory that may be used, in bytes; 0 without a limit.
    pub memory_limit: Gauge,
}

impl Bounds {
    pub(super) fn new(families: &Families) -> Self {
        Self {
            connection_limits: ConnectionLimit::ALL
                .map(|limit| families.connection_limits.with_label_values(&[limit.as_str()])),
            failed_credentials_suppressed: families.failed_credentials_suppressed.clone(),
            memory_pressure: families.memory_pressure.clone(),
            memory_used: families.memory_used.clone(),
            memory_limit: families.memory_limit.clone(),
        }
    }

    /// Counts one connection that met this limit.
    pub fn connection(&self, limit: ConnectionLimit) {
        if let Some(counter) = self.connection_limits.get(limit as usize) {
            counter.inc();
        }
    }

    /// Shows memory as of the last look, in bytes.
    pub fn memory(&self, used: u64, limit: u64, pressure: u8) {
        #[expect(clippy::cast_precision_loss, reason = "exact up to 8 PiB")]
        let bytes = |bytes: u64| bytes as f64;
        self.memory_used.set(bytes(used));
        self.memory_limit.set(bytes(limit));
        self.memory_pressure.set(pressure.into());
    }
}
