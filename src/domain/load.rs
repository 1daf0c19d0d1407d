//! Load: what the data plane reports back, and how it wakes the control plane.

use std::{fmt, sync::Arc, time::Duration};

use super::{Catalog, Name, ReplicaId};

/// Names one version among all endpoints.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VersionKey {
    /// The endpoint.
    pub endpoint: Name,
    /// The version within it.
    pub version: Name,
}

impl fmt::Display for VersionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.endpoint, self.version)
    }
}

/// The load of one version at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VersionLoad {
    /// Slots with a request that the replica has not provably finished, draining replicas included.
    pub busy: u32,
    /// Requests waiting for a slot.
    pub queued: u32,
    /// The highest `busy + queued` since the last [`LoadSource::take_load`].
    pub peak: u32,
    /// Replicas that may get work now (a replica whose connection failed is not one of them).
    pub ready: u32,
    /// Slots of the ready replicas.
    pub slots: u32,
    /// Replicas that are set aside because requests to them failed.
    pub aside: u32,
}

/// The work of one replica at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplicaLoad {
    /// Slots in use.
    pub busy: u32,
    /// Whether the data plane gives it work.
    pub usable: bool,
    /// Whether it is set aside because requests to it failed.
    pub aside: Option<SetAside>,
}

/// A replica that gets no work for a while because requests to it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetAside {
    /// How they failed.
    pub cause: AsideCause,
    /// Time left.
    pub left: Duration,
    /// How often it failed since it last answered well.
    pub times: u32,
}

/// What a replica is set aside for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AsideCause {
    /// No connection could be made.
    Unreachable,
    /// Requests timed out, one after the other, without an answer between them.
    TimedOut,
}

impl AsideCause {
    /// Every cause, for tables and tests.
    pub const ALL: [Self; 2] = [Self::Unreachable, Self::TimedOut];

    /// Its word in metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::TimedOut => "timed_out",
        }
    }
}

/// What the control plane may ask of the data plane. Every call takes well under a microsecond.
pub trait LoadSource: Send + Sync {
    /// The load now, and starts a new `peak`. `None` for a version the data plane does not know:
    /// missing data, which holds the scale. Only the autoscale driver calls this; everyone else
    /// uses [`LoadSource::peek_load`].
    fn take_load(&self, key: &VersionKey) -> Option<VersionLoad>;

    /// The load now, without starting a new `peak`.
    fn peek_load(&self, key: &VersionKey) -> Option<VersionLoad>;

    /// Sends one [`Signal::Pressure`] when `busy + queued` next exceeds `above` (at once if it
    /// already does), then falls silent until armed again. `u32::MAX` disarms.
    fn arm_pressure(&self, key: &VersionKey, above: u32);

    /// Whether the replica has no work and will get none: it is draining or gone from the catalog,
    /// nothing of it is busy, and no request of a version gone from the catalog still waits.
    /// A replica that the data plane does not know is idle. [`Signal::Idle`] tells when this
    /// becomes true.
    fn is_idle(&self, replica: ReplicaId) -> bool;

    /// The work of one replica; `None` when the data plane does not know it.
    fn replica_load(&self, replica: ReplicaId) -> Option<ReplicaLoad>;
}

/// What the data plane tells the control plane without being asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signal {
    /// The version's load crossed the level armed with [`LoadSource::arm_pressure`], or a request
    /// waits for a version without replicas.
    Pressure(VersionKey),
    /// A connection to the replica failed, or requests to it timed out, while it was said to be
    /// ready in this generation.
    Failed(ReplicaId, u64),
    /// [`LoadSource::is_idle`] became true for this replica.
    Idle(ReplicaId),
}

/// Takes a signal without blocking. The receiver is bounded; when it is full the signal is dropped
/// and the receiver's own tick finds the same facts by asking [`LoadSource`].
pub type SignalSink = Arc<dyn Fn(Signal) + Send + Sync>;

/// Takes a new catalog. When the call returns, every request that starts from then on sees it.
pub type CatalogSink = Arc<dyn Fn(Arc<Catalog>) + Send + Sync>;
