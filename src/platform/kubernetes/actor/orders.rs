//! What the autoscale driver asks for, and what follows from a change of the leader.

use std::sync::Arc;

use super::{
    super::{objects::ObjectKey, replica::Removal, seats::Seats, writes::Victim},
    Actor,
};
use crate::{
    domain::{Name, ReplicaId, VersionKey},
    platform::inbox::Order,
};

impl Actor {
    pub(super) fn obey(&mut self, order: Order) {
        match order {
            Order::Start(version, wanted) => self.start(&version, wanted),
            Order::Drain(id) => self.remove(id, Removal::Drains),
            Order::Readmit(id) => self.remove(id, Removal::None),
            Order::Retire(id) => self.retire(id),
            Order::Suspect(id, generation) => {
                let key = self.fleet.change(id, |replica| replica.suspect(generation));
                self.work.endpoints.extend(key);
            }
            // Files have no part in this, and what the process started is nothing but connections.
            Order::Apply(_) | Order::Look | Order::Shutdown => {}
        }
    }

    pub(super) fn leads(&self) -> bool {
        self.leadership.term().is_some()
    }

    /// Takes back replicas that drain, and orders what is still missing.
    fn start(&mut self, version: &VersionKey, wanted: u32) {
        let Some((key, target)) = self.target(version) else { return };
        if !self.leads() {
            return;
        }
        let Some(seats) = self.fleet.seats_mut(&key, &version.version) else { return };
        let counts = seats.counts();
        let staying = counts.live.saturating_sub(counts.draining + counts.ordered);
        let mut missing = wanted.saturating_sub(staying);
        for replica in seats.replicas_mut().filter(|r| r.removal == Removal::Drains) {
            if missing > 0 {
                replica.removal = Removal::None;
                missing -= 1;
            }
        }
        let counts = seats.counts();
        // Those that are on their way out still count for `spec.replicas` until they are deleted;
        // once it was lowered for them, or is about to be before it is raised, they no longer do.
        let lowered = self.writes.is_removing(&target)
            || self.writes.replicas(&target).is_some_and(|replicas| replicas < counts.live);
        let leaving = counts.draining + if lowered { 0 } else { counts.ordered };
        self.writes.grow(&target, wanted + leaving);
        self.work.endpoints.insert(key);
    }

    fn remove(&mut self, id: ReplicaId, removal: Removal) {
        if !self.leads() {
            return;
        }
        let key = self.fleet.change(id, |replica| {
            // What is ordered from the API server cannot be taken back.
            if replica.removal != Removal::Ordered {
                replica.removal = removal;
            }
        });
        self.work.endpoints.extend(key);
    }

    fn retire(&mut self, id: ReplicaId) {
        let Some((key, version)) = self.fleet.seat_of(id).filter(|_| self.leads()) else { return };
        let Some(seats) = self.fleet.seats_mut(&key, &version) else { return };
        let target = seats.target.clone();
        if !seats.own().any(|replica| replica.id == id) {
            // A pod of a former target does not count there, and goes as soon as it is replaced.
            return;
        }
        let Some(replica) = seats.replica(id) else { return };
        if replica.removal == Removal::Ordered || replica.is_deleted() {
            return;
        }
        replica.removal = Removal::Ordered;
        let meta = &replica.pod.metadata;
        let victim = Victim { name: Arc::clone(&meta.name), uid: Arc::clone(&meta.uid) };
        self.writes.shrink(&target, [victim].into_iter());
        self.work.endpoints.insert(key);
    }

    /// Follows the election. Asked before anything is done under a term, because orders and facts
    /// may be heard before the change itself is.
    pub(super) fn heed_term(&mut self) {
        let term = self.leadership.term();
        let is_same = match (&self.term, &term) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            _ => false,
        };
        if !is_same {
            self.term = term;
            self.change_term();
        }
    }

    /// Another term, or none: what was wished under the old one is nobody's any more.
    fn change_term(&mut self) {
        self.writes.lay_down();
        let keys: Vec<ObjectKey> = self.endpoints.keys().cloned().collect();
        for key in &keys {
            let versions: Vec<Name> =
                self.fleet.crew(key).into_iter().flatten().map(|(name, _)| name.clone()).collect();
            for version in versions {
                let seats = self.fleet.seats_mut(key, &version);
                for replica in seats.into_iter().flat_map(Seats::replicas_mut) {
                    // A mark stays in the cluster, and every router goes by it.
                    replica.removal = Removal::None;
                }
            }
        }
        self.work.rebuild.extend(keys.iter().cloned());
        self.work.endpoints.extend(keys);
    }
}
