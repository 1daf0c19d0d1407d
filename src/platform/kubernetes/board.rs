//! What other threads may look at: replicas for people, where endpoints come from, and how fresh the
//! picture is.

use std::{collections::BTreeMap, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::objects::ObjectKey;
use crate::domain::{Name, ReplicaStatus};

/// The actor writes, everybody reads.
#[derive(Debug)]
pub(super) struct Board {
    replicas: Mutex<BTreeMap<Name, Vec<ReplicaStatus>>>,
    places: Mutex<BTreeMap<Name, Place>>,
    in_step: Mutex<Instant>,
}

/// Where an endpoint of the catalog comes from.
#[derive(Debug)]
struct Place {
    object: ObjectKey,
    /// The Secret with its keys, where it asks for keys.
    secret: Option<ObjectKey>,
}

impl Board {
    /// Empty, and as fresh as now.
    pub(super) fn new() -> Self {
        Self {
            replicas: Mutex::default(),
            places: Mutex::default(),
            in_step: Mutex::new(Instant::now()),
        }
    }

    pub(super) fn show(&self, endpoint: Name, replicas: Vec<ReplicaStatus>) {
        self.replicas.lock().insert(endpoint, replicas);
    }

    pub(super) fn hide(&self, endpoint: &Name) {
        self.replicas.lock().remove(endpoint);
        self.places.lock().remove(endpoint);
    }

    pub(super) fn locate(&self, endpoint: Name, object: ObjectKey, secret: Option<ObjectKey>) {
        self.places.lock().insert(endpoint, Place { object, secret });
    }

    /// The object of an endpoint of the catalog.
    pub(super) fn object(&self, endpoint: &Name) -> Option<ObjectKey> {
        self.places.lock().get(endpoint).map(|place| place.object.clone())
    }

    /// The Secret with the keys of an endpoint of the catalog.
    pub(super) fn secret(&self, endpoint: &Name) -> Option<ObjectKey> {
        self.places.lock().get(endpoint)?.secret.clone()
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
