//! What other threads may look at: replicas for people, and how fresh the picture is.

use std::{collections::BTreeMap, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::domain::{Name, ReplicaStatus};

/// The actor writes, everybody reads.
#[derive(Debug)]
pub(super) struct Board {
    replicas: Mutex<BTreeMap<Name, Vec<ReplicaStatus>>>,
    in_step: Mutex<Instant>,
}

impl Board {
    /// Empty, and as fresh as now.
    pub(super) fn new() -> Self {
        Self { replicas: Mutex::default(), in_step: Mutex::new(Instant::now()) }
    }

    pub(super) fn show(&self, endpoint: Name, replicas: Vec<ReplicaStatus>) {
        self.replicas.lock().insert(endpoint, replicas);
    }

    pub(super) fn hide(&self, endpoint: &Name) {
        self.replicas.lock().remove(endpoint);
    }

    pub(super) fn replicas(&self) -> Vec<ReplicaStatus> {
        self.replicas.lock().values().flatten().cloned().collect()
    }

    /// How old the picture is now at most.
    pub(super) fn set_age(&self, age: Duration) {
        let now = Instant::now();
        *self.in_step.lock() = now.checked_sub(age).unwrap_or(now);
    }

    pub(super) fn age(&self) -> Duration {
        self.in_step.lock().elapsed()
    }
}
