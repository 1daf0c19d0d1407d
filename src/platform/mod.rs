//! Where endpoints and replicas come from, and how a version is scaled.
//!
//! Promises: every platform publishes whole [`Catalog`](crate::domain::Catalog)s through a
//! [`CatalogSink`](crate::domain::CatalogSink) and obeys [`Orders`]; the last good catalog stays
//! when its source is bad or away.
//!
//! Not here: how many replicas are wanted (`autoscale`), and when (`control`).

pub mod local;
pub mod spec;

use crate::domain::{ReplicaId, VersionKey};

/// What the autoscale driver asks of a platform. Calls return at once; the platform does the work
/// and publishes a new catalog for every step.
pub trait Orders: Send + Sync {
    /// Bring the version to `wanted` replicas by taking draining ones back and starting new ones. Counts ready and starting
    /// replicas, not draining ones; a count that is reached already changes nothing.
    fn start(&self, key: &VersionKey, wanted: u32);
    /// Give the replica no new work: its state becomes draining.
    fn drain(&self, replica: ReplicaId);
    /// Take a draining replica back because load returned.
    fn readmit(&self, replica: ReplicaId);
    /// End replicas that are idle (see `LoadSource::is_idle`), for good.
    fn retire(&self, key: &VersionKey, replicas: &[ReplicaId]);
    /// A connection to the replica failed in this generation: probe it again before use.
    fn suspect(&self, replica: ReplicaId, generation: u64);
}
