//! The time for which this router may write.

use parking_lot::Mutex;
use tokio::time::Instant;

/// One term of leading. The same object while it is renewed; once over, it stays over.
#[derive(Debug)]
pub(in crate::platform::kubernetes) struct Term {
    epoch: u64,
    /// `None` once it was given back or taken away.
    ends: Mutex<Option<Instant>>,
}

impl Term {
    /// A term that is valid before `ends`.
    pub(in crate::platform::kubernetes) fn new(epoch: u64, ends: Instant) -> Self {
        Self { epoch, ends: Mutex::new(Some(ends)) }
    }

    /// Whether this router leads now. False some seconds before anybody else could, whatever the
    /// election task is doing: ask right before each write.
    pub(in crate::platform::kubernetes) fn is_valid(&self) -> bool {
        self.is_valid_at(Instant::now())
    }

    /// Higher in each later term, whoever leads: the lease's `leaseTransitions`.
    pub(in crate::platform::kubernetes) fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(super) fn is_valid_at(&self, now: Instant) -> bool {
        self.ends.lock().is_some_and(|ends| now < ends)
    }

    /// When it ends unless it is renewed; `None` when it was ended.
    pub(super) fn ends(&self) -> Option<Instant> {
        *self.ends.lock()
    }

    /// Renewed: valid before `ends`. A term that is over stays over.
    pub(super) fn extend(&self, now: Instant, ends: Instant) {
        let mut current = self.ends.lock();
        if current.is_some_and(|current| now < current && current < ends) {
            *current = Some(ends);
        }
    }

    /// Over, at once.
    pub(in crate::platform::kubernetes) fn end(&self) {
        *self.ends.lock() = None;
    }
}
