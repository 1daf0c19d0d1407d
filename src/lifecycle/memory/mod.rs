//! Memory: how much the process may have, how much of it is used, and what follows from that.
//!
//! Promises: what is near its limit first stops keeping connections, then refuses new work, and
//! only what goes on growing all the same is killed by the kernel. Being judged costs a request one
//! atomic load.
//!
//! How: a [`Meter`] reads the limit and the use from the cgroup, or the use from the process where
//! a limit was given by hand; a [`ladder::Ladder`] makes a [`Pressure`] of them four times a
//! second. In a cgroup with others, as replicas beside `modelway dev`, the router is judged by its
//! share of what they leave: to refuse requests would not make them smaller.

mod ladder;
mod limit;
mod meter;

use std::time::Duration;

pub use limit::{MEMORY_LIMIT_MIN, MemoryLimit};
pub use meter::Meter;

use self::ladder::Ladder;
use super::{Lifecycle, Phase};

/// How often memory is looked at: often enough that a burst of uploads gains a few MiB in between,
/// and as Envoy's overload manager does.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How short of memory the process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
#[repr(u8)]
pub enum Pressure {
    /// Not at all.
    #[default]
    Calm = 0,
    /// Connections are not kept after an answer.
    Tight = 1,
    /// New requests are refused.
    Full = 2,
}

impl Pressure {
    /// What the router does about it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::Tight => "connections are not kept",
            Self::Full => "new requests are refused",
        }
    }

    pub(super) const fn from_u8(value: u8) -> Self {
        match value {
            0 => Self::Calm,
            1 => Self::Tight,
            _ => Self::Full,
        }
    }
}

/// Memory at one moment, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reading {
    /// What this process uses and the kernel cannot take back.
    pub used: u64,
    /// What it may use.
    pub limit: u64,
}

impl Reading {
    /// Used bytes in percent of the limit.
    pub fn percent(&self) -> u64 {
        self.used.saturating_mul(100) / self.limit.max(1)
    }
}

/// Looks at memory until the process stops. `told` hears of every look.
pub async fn watch_memory(
    lifecycle: Lifecycle,
    meter: Meter,
    told: impl Fn(Reading, Pressure) + Send,
) {
    let mut ladder = Ladder::default();
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut unreadable = false;
    loop {
        tokio::select! {
            () = lifecycle.reached(Phase::Stopped) => return,
            _ = ticks.tick() => {}
        }
        let reading = match meter.read() {
            Ok(Some(reading)) => reading,
            // The limit was taken away.
            Ok(None) => Reading::default(),
            Err(error) => {
                if !std::mem::replace(&mut unreadable, true) {
                    tracing::warn!(%error, "memory cannot be read, the last look stays in force");
                }
                continue;
            }
        };
        unreadable = false;
        let before = lifecycle.pressure();
        let now = ladder.step(reading, lifecycle.requests());
        lifecycle.set_pressure(now);
        if now != before {
            tracing::warn!(
                used_bytes = reading.used,
                limit_bytes = reading.limit,
                percent = reading.percent(),
                "memory: {}",
                now.as_str()
            );
        }
        told(reading, now);
    }
}
