//! The one door to the question who holds a slot.
//!
//! Each slot of a replica is a token that exactly one router holds. A router alone holds them all;
//! several routers will hand tokens over while they are idle. Nothing else in this room knows that
//! other routers exist: it asks how many tokens are here, and is told when that changes.

use std::fmt::Debug;

use crate::domain::{ReplicaId, VersionKey};

/// Says how many slots of a replica this router may hand out.
pub trait TokenHolder: Send + Sync + Debug {
    /// At most `slots_per_replica`.
    fn tokens(&self, key: &VersionKey, replica: ReplicaId, slots_per_replica: u32) -> u32;
}

/// A router alone: every token is here.
#[derive(Debug, Clone, Copy, Default)]
pub struct AllHere;

impl TokenHolder for AllHere {
    fn tokens(&self, _key: &VersionKey, _replica: ReplicaId, slots_per_replica: u32) -> u32 {
        slots_per_replica
    }
}
