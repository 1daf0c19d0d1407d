//! A version under the driver beside what the catalog says of it, so that a look at it searches for
//! nothing: with thousands of versions the search would be most of what a tick costs.

use std::sync::Arc;

use super::scaled::{Room, Scaled};
use crate::domain::{Decision, Endpoint, Version};

/// One version and its place in the newest catalog.
pub(super) struct Held {
    pub(super) scaled: Scaled,
    endpoint: Arc<Endpoint>,
    index: usize,
}

impl Held {
    pub(super) fn new(scaled: Scaled, endpoint: Arc<Endpoint>, index: usize) -> Self {
        Self { scaled, endpoint, index }
    }

    /// Takes over the version of a new catalog.
    pub(super) fn take_over(&mut self, endpoint: Arc<Endpoint>, index: usize, room: &Room) {
        (self.endpoint, self.index) = (endpoint, index);
        if let Some(version) = version(&self.endpoint, self.index) {
            self.scaled.take_over(version, room);
        }
    }

    /// See [`Scaled::look`].
    pub(super) fn look(&mut self, room: &Room) -> Option<Decision> {
        self.scaled.look(version(&self.endpoint, self.index)?, room)
    }

    /// See [`Scaled::retire_idle`].
    pub(super) fn retire_idle(&mut self, room: &Room) {
        if let Some(version) = version(&self.endpoint, self.index) {
            self.scaled.retire_idle(version, room);
        }
    }

    /// See [`Scaled::let_go`]; the version is still in the catalog.
    pub(super) fn let_go(&mut self, room: &Room) {
        self.scaled.let_go(version(&self.endpoint, self.index), room);
    }
}

/// A function of the field, not of the whole, so that the rest may change meanwhile.
fn version(endpoint: &Endpoint, index: usize) -> Option<&Version> {
    endpoint.versions.get(index)
}
