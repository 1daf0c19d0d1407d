//! The queue of a version: first come, first served; a place is left in logarithmic time.

use std::collections::BTreeMap;

use tokio::sync::oneshot;

use super::slot::Slot;

/// A place in the queue; lower is earlier. Never given out twice: whoever had it may still leave it
/// after somebody else would have got it.
pub(super) type Place = i64;

/// Requests waiting for a slot.
#[derive(Debug, Default)]
pub(super) struct Queue {
    places: BTreeMap<Place, oneshot::Sender<Slot>>,
    /// The last place given out at the end; counts up from zero.
    last: Place,
    /// The last place given out in front; counts down from zero.
    first: Place,
}

impl Queue {
    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.places.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// A place at the end.
    pub(super) fn join(&mut self, waiter: oneshot::Sender<Slot>) -> Place {
        self.last += 1;
        self.places.insert(self.last, waiter);
        self.last
    }

    /// A place before everybody else, for a request that has waited its turn already.
    pub(super) fn join_in_front(&mut self, waiter: oneshot::Sender<Slot>) -> Place {
        self.first -= 1;
        self.places.insert(self.first, waiter);
        self.first
    }

    /// Gives up a place; whether it was still there.
    pub(super) fn leave(&mut self, place: Place) -> bool {
        self.places.remove(&place).is_some()
    }

    /// The one who has waited longest.
    pub(super) fn pop(&mut self) -> Option<oneshot::Sender<Slot>> {
        self.places.pop_first().map(|(_, waiter)| waiter)
    }
}
