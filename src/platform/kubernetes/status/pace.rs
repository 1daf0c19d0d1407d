//! When which object may be written: pure, `now` is an argument.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use tokio::time::Instant;

use super::super::objects::ObjectKey;

/// The least time between two writes for one object. Someone who watches `kubectl get -w` can read
/// at this pace, and a thousand busy endpoints cost etcd at most 200 writes a second.
pub(in super::super) const WRITE_INTERVAL: Duration = Duration::from_secs(5);
/// The most calls at one time: enough for some hundred writes a second, and no storm when this
/// router begins to lead.
pub(super) const CALLS_MAX: usize = 4;
/// The wait after the first failed call; it doubles with each further one. Also after a conflict:
/// the watch shows within that time what the object has become.
const RETRY_MIN: Duration = Duration::from_millis(250);
/// The longest wait after a failed call.
const RETRY_MAX: Duration = Duration::from_secs(10);

/// How a write went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// There was nothing to write.
    Unchanged,
    /// It is written.
    Written,
    /// It is not, and is to be tried again.
    Failed,
    /// The object does not exist any more.
    Gone,
}

/// The order in which objects are written. Each object with news gets its turn, so what was said
/// last is always written in the end.
#[derive(Debug, Default)]
pub(super) struct Pace {
    slots: HashMap<ObjectKey, Slot>,
    /// The objects of the slots in [`State::Due`], the most urgent first.
    due: BTreeSet<(Instant, ObjectKey)>,
    calls: usize,
}

#[derive(Debug)]
struct Slot {
    state: State,
    /// No write before this.
    not_before: Option<Instant>,
    /// Failed calls in a row.
    failures: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Due(Instant),
    /// Being written; whether there was news meanwhile, and whether it was forgotten.
    Busy {
        news: bool,
        forgotten: bool,
    },
}

impl Pace {
    /// There is news of an object.
    pub(super) fn news(&mut self, key: &ObjectKey, now: Instant) {
        let slot = self.slots.entry(key.clone()).or_insert(Slot {
            state: State::Idle,
            not_before: None,
            failures: 0,
        });
        match slot.state {
            State::Idle => {
                let at = slot.not_before.map_or(now, |earliest| earliest.max(now));
                slot.state = State::Due(at);
                self.due.insert((at, key.clone()));
            }
            State::Due(_) => {}
            State::Busy { .. } => slot.state = State::Busy { news: true, forgotten: false },
        }
    }

    /// The object is gone; nothing of it is written any more.
    pub(super) fn forget(&mut self, key: &ObjectKey) {
        match self.slots.get_mut(key).map(|slot| &mut slot.state) {
            None => {}
            Some(State::Busy { news, forgotten }) => (*news, *forgotten) = (false, true),
            Some(State::Due(at)) => {
                let entry = (*at, key.clone());
                self.due.remove(&entry);
                self.slots.remove(key);
            }
            Some(State::Idle) => {
                self.slots.remove(key);
            }
        }
    }

    /// All objects are looked at again: another router may have written them.
    pub(super) fn all(&mut self, now: Instant) {
        let keys: Vec<ObjectKey> = self.slots.keys().cloned().collect();
        for key in keys {
            self.news(&key, now);
        }
    }

    /// The next object whose time has come, unless there are [`CALLS_MAX`] calls. Each one taken
    /// must be given back with [`Pace::done`].
    pub(super) fn take(&mut self, now: Instant) -> Option<ObjectKey> {
        if self.calls >= CALLS_MAX || self.due.first()?.0 > now {
            return None;
        }
        let (_, key) = self.due.pop_first()?;
        let slot = self.slots.get_mut(&key)?;
        slot.state = State::Busy { news: false, forgotten: false };
        self.calls += 1;
        Some(key)
    }

    /// When [`Pace::take`] has something; `None` while that depends on something else than time.
    pub(super) fn next(&self) -> Option<Instant> {
        let (at, _) = self.due.first().filter(|_| self.calls < CALLS_MAX)?;
        Some(*at)
    }

    /// Gives back what was taken.
    pub(super) fn done(&mut self, key: &ObjectKey, outcome: Outcome, now: Instant) {
        self.calls = self.calls.saturating_sub(1);
        let Some(slot) = self.slots.get_mut(key) else { return };
        let State::Busy { news, forgotten } = slot.state else { return };
        slot.state = State::Idle;
        if forgotten || (outcome == Outcome::Gone && !news) {
            self.slots.remove(key);
            return;
        }
        match outcome {
            Outcome::Unchanged | Outcome::Gone => slot.failures = 0,
            Outcome::Written => {
                slot.failures = 0;
                slot.not_before = Some(now + WRITE_INTERVAL);
            }
            Outcome::Failed => {
                slot.failures = slot.failures.saturating_add(1);
                slot.not_before = Some(now + retry_wait(slot.failures));
            }
        }
        if news || outcome == Outcome::Failed {
            self.news(key, now);
        }
    }
}

/// [`RETRY_MIN`], doubled with each further failure in a row up to [`RETRY_MAX`].
fn retry_wait(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    RETRY_MIN.saturating_mul(1 << doublings).min(RETRY_MAX)
}

#[cfg(test)]
#[path = "pace_tests.rs"]
mod tests;
