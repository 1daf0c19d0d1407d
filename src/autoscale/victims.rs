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
    /// See [`Replica::ordinal`](crate::domain::Replica::ordinal).
    pub ordinal: Option<u32>,
}

/// The `count` replicas that are missed least, the least missed first: those that do not serve yet,
/// then idle ones, then the least busy; among equals the newest, because the oldest is warm and has
/// proved itself. The order of the input does not matter.
///
/// Where the platform can only remove the highest ordinal first, they are the highest ones, busy or
/// not: to drain a lower one would free nothing. Those that drain already are passed over, so that
/// with them the chosen ones are all there is from the top down to the lowest chosen one.
pub fn victims(replicas: &[VictimView], count: usize) -> Vec<ReplicaId> {
    let mut candidates: Vec<_> =
        replicas.iter().filter(|replica| replica.state != ReplicaState::Draining).collect();
    candidates.sort_unstable_by_key(|replica| {
        let serves = replica.state == ReplicaState::Ready;
        let from_the_top = replica.ordinal.map(Reverse);
        (from_the_top, serves, replica.busy, Reverse(replica.started), Reverse(replica.id))
    });
    candidates.into_iter().take(count).map(|replica| replica.id).collect()
}
