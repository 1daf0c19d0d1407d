//! The actor's record of one replica.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::Instant};

use super::{
    plan::{Fact, Recipe},
    supervise::Control,
};
use crate::{
    domain::{
        LoadSource, Replica as Published, ReplicaId, ReplicaState, ReplicaStatus, VersionKey,
    },
    platform::probe::Place,
};

/// How long the first restart waits; doubles with each further one.
const BACKOFF_MIN: Duration = Duration::from_millis(200);
/// The longest wait before a restart.
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// A replica that was ready for so long begins again with the shortest wait.
const STEADY_AFTER: Duration = Duration::from_secs(10);
/// By how much of itself a wait varies, so that replicas which fell together do not rise together.
const BACKOFF_JITTER: f64 = 0.2;

/// One replica, from its start order until its process is reaped. A restart is a new identity on
/// the same seat.
#[derive(Debug)]
pub(super) struct Replica {
    pub(super) key: VersionKey,
    pub(super) ordinal: u32,
    pub(super) name: Arc<str>,
    pub(super) recipe: Arc<Recipe>,
    pub(super) id: ReplicaId,
    /// Unknown until a host name is resolved.
    pub(super) place: Option<Place>,
    pub(super) healthy: bool,
    pub(super) generation: u64,
    /// Since when it is ready.
    pub(super) ready_since: Option<Instant>,
    pub(super) draining: Option<u64>,
    /// Ended when idle, and at this moment at the latest.
    pub(super) retire_by: Option<Instant>,
    /// Out of the catalog, on its way out.
    pub(super) stopping: bool,
    pub(super) replaces: Option<u64>,
    pub(super) restarts: u32,
    pub(super) backoff: Backoff,
    pub(super) pid: Option<u32>,
    pub(super) message: String,
    pub(super) control: watch::Sender<Control>,
}

/// The growing wait between restarts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(BACKOFF_MIN)
    }
}

impl Backoff {
    /// The wait before the next restart, varied by `dice` (0–1), and doubles for the one after.
    pub(super) fn next(&mut self, dice: f64) -> Duration {
        let wait = self.0;
        self.0 = (wait * 2).min(BACKOFF_MAX);
        wait.mul_f64(1.0 - BACKOFF_JITTER * dice.clamp(0.0, 1.0))
    }
}

impl Replica {
    /// Whether the data plane sees it.
    pub(super) fn is_visible(&self) -> bool {
        !self.stopping && self.replaces.is_none()
    }

    /// Whether it may get work.
    pub(super) fn state(&self) -> ReplicaState {
        match (self.draining.is_some() || self.stopping, self.healthy) {
            (true, _) => ReplicaState::Draining,
            (false, true) => ReplicaState::Ready,
            (false, false) => ReplicaState::Starting,
        }
    }

    /// It passes its probe again. A new generation ends what the data plane holds against it.
    pub(super) fn rise(&mut self, now: Instant) {
        self.healthy = true;
        self.generation += 1;
        self.ready_since.get_or_insert(now);
        "ready".clone_into(&mut self.message);
    }

    /// It does not pass its probe. Returns whether that is new.
    pub(super) fn fall(&mut self, now: Instant, why: String) -> bool {
        self.message = why;
        // Here, not at its end: the data plane often sees a crash before the exit is reported.
        let since = self.ready_since.take();
        if since.is_some_and(|since| now.duration_since(since) >= STEADY_AFTER) {
            self.backoff = Backoff::default();
        }
        std::mem::take(&mut self.healthy)
    }

    /// What plans depend on.
    pub(super) fn fact(&self, seat: u64, load: &dyn LoadSource) -> Fact {
        Fact {
            seat,
            recipe: Arc::clone(&self.recipe),
            healthy: self.healthy,
            busy: load.replica_load(self.id).map_or(0, |load| load.busy),
            draining: self.draining,
            replaces: self.replaces,
        }
    }

    /// What the data plane sees.
    pub(super) fn published(&self) -> Option<Published> {
        let place = self.place.filter(|_| self.is_visible())?;
        Some(Published {
            id: self.id,
            name: Arc::clone(&self.name),
            ordinal: None,
            http: place.http,
            grpc: place.grpc,
            state: self.state(),
            generation: self.generation,
        })
    }

    /// What people see.
    pub(super) fn status(&self) -> ReplicaStatus {
        ReplicaStatus {
            endpoint: self.key.endpoint.clone(),
            version: self.key.version.clone(),
            id: self.id,
            name: self.name.as_ref().to_owned(),
            address: self.place.map(|place| place.http.to_string()).unwrap_or_default(),
            pid: self.pid,
            state: self.state(),
            restarts: self.restarts,
            message: self.message.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_between_restarts_doubles_from_200_ms_to_30_s() {
        let mut backoff = Backoff::default();
        let waits: Vec<u128> = (0..10).map(|_| backoff.next(0.0).as_millis()).collect();
        assert_eq!(waits, [200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000]);
        assert_eq!(Backoff::default().next(1.0).as_millis(), 160);
    }
}
