//! A slot on a replica, held by one request.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::{aside::Aside, version::VersionState};
use crate::domain::{AsideCause, ReplicaId};

/// Where the requests of a replica go.
#[derive(Debug, PartialEq, Eq)]
pub struct Target {
    /// Never used again for another replica.
    pub id: ReplicaId,
    /// What people see.
    pub name: Arc<str>,
    /// For HTTP.
    pub http: SocketAddr,
    /// For gRPC.
    pub grpc: SocketAddr,
}

/// The right to have one request in progress on one replica. Dropping it gives it back, so it must
/// live exactly as long as the replica works.
#[derive(Debug)]
#[must_use = "a slot that is dropped at once frees a replica that is still working"]
pub struct Slot {
    pub(super) version: Arc<VersionState>,
    pub(super) index: u32,
    pub(super) target: Arc<Target>,
    pub(super) generation: u64,
    /// Answers of the replica so far, of this and of other requests.
    pub(super) answers: Arc<AtomicU64>,
    /// How many those were when this slot was given.
    pub(super) answers_before: u64,
}

impl Slot {
    /// Where the request goes.
    pub fn target(&self) -> &Arc<Target> {
        &self.target
    }

    /// A connection to the replica failed: it gets no more work until its platform finds it ready
    /// again, and, where that happens again and again, ever later. `Some`: that is news.
    pub fn connection_failed(&self) -> Option<Aside> {
        self.version.fails(self.index, self.generation, AsideCause::Unreachable)
    }

    /// The replica did not answer a whole request for nearly all of `requestTimeout`. `Some`: it was
    /// not the only one, and the replica gets no more work for a while. A replica that has answered
    /// others meanwhile does not hang: the input is too large for it, however many of those there are.
    pub fn timed_out(&self) -> Option<Aside> {
        if self.answers.load(Ordering::Relaxed) != self.answers_before {
            return None;
        }
        self.version.fails(self.index, self.generation, AsideCause::TimedOut)
    }

    /// The replica answered with this status.
    pub fn answered(&self, status: u16) {
        self.answers.fetch_add(1, Ordering::Relaxed);
        self.version.answers(self.index, self.generation, status < 500);
    }

    /// How long this slot was busy, for the expected wait of others.
    pub fn note_service(&self, busy: Duration) {
        self.version.note_service(busy);
    }

    /// A slot on another replica, where one has room at this moment, and this one beside it.
    pub fn on_another_replica(self) -> Result<(Self, Self), Self> {
        match self.version.take_except(self.index) {
            Some(other) => Ok((other, self)),
            None => Err(self),
        }
    }

    /// Whether the version has another replica that gets work.
    pub fn has_alternative(&self) -> bool {
        self.version.has_alternative(self.index)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        VersionState::give_back(&self.version, self.index);
    }
}
