//! Which replicas go when there are too many.

use std::cmp::Reverse;

use crate::domain::{ReplicaId, ReplicaState};

/// What the choice of a victim looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VictimView {
    /// Which replica.
    pub id: ReplicaId,
    /// Whether it gets work. A draining replica is on its way already and is never chosen.
    pub state: ReplicaState,
    /// Its busy slots.
    pub busy: u32,
    /// Grows with each replica started.
    pub started: u64,
}

/// The `count` replicas that are missed least, the least missed first: those that do not serve yet,
/// then idle ones, then the least busy; among equals the newest, because the oldest is warm and has
/// proved itself. The order of the input does not matter.
pub fn victims(replicas: &[VictimView], count: usize) -> Vec<ReplicaId> {
    let mut candidates: Vec<_> =
        replicas.iter().filter(|replica| replica.state != ReplicaState::Draining).collect();
    candidates.sort_unstable_by_key(|replica| {
        let serves = replica.state == ReplicaState::Ready;
        (serves, replica.busy, Reverse(replica.started), Reverse(replica.id))
    });
    candidates.into_iter().take(count).map(|replica| replica.id).collect()
}
