//! Replicas that are set aside because requests to them failed, and how they come back.
//!
//! Promises: never more than the share of `standing` is set aside, so never the last one; whoever is
//! set aside comes back, when its time is over, when the share shrinks, or with an answer, and gets
//! work as soon as its platform's probe passes as well.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    buckets::Entry,
    standing::share,
    version::{Inner, VersionState},
};
use crate::domain::{AsideCause, ReplicaId, SetAside, Signal};

/// A replica that gets no more work for now. Whoever caused it awaits [`Aside::over`].
#[derive(Debug)]
#[must_use = "the replica comes back when `over` was awaited"]
pub struct Aside {
    version: Arc<VersionState>,
    replica: ReplicaId,
    until: Instant,
    /// Why.
    pub cause: AsideCause,
}

impl Aside {
    /// Waits until the time is over, and lets the replica come back.
    pub async fn over(self) {
        tokio::time::sleep_until(self.until).await;
        self.version.time_is_over(self.replica);
    }
}

impl VersionState {
    /// A request to the replica failed through no fault of its client. `Some`: it gets no more work
    /// until its platform finds it ready again, and not before its time is over.
    pub(super) fn fails(
        self: &Arc<Self>,
        index: u32,
        generation: u64,
        cause: AsideCause,
    ) -> Option<Aside> {
        let now = Instant::now();
        let mut inner = self.inner.lock();
        let may_be_aside = inner.aside < share(inner.ready + inner.aside);
        let entry = inner.buckets.get_mut(index)?;
        // What failed before its last good probe, or while it is out anyway, is no news.
        if !entry.usable || entry.generation != generation {
            return None;
        }
        self.doubts.store(true, Ordering::Relaxed);
        if !entry.standing.fails(cause, may_be_aside, now) {
            return None;
        }
        let target = Arc::clone(&entry.target);
        inner.buckets.update(index, |entry| {
            entry.failed_in = Some(generation);
            entry.is_fit = false;
            entry.judge();
        });
        let aside = inner.buckets.get(index).and_then(|entry| entry.standing.aside());
        let until = aside.map_or(now, |(until, _)| until);
        inner.count();
        let handovers = inner.hand_over(self);
        drop(inner);
        self.finish(handovers, Vec::new());
        (self.signals)(Signal::Failed(target.id, generation));
        let (replica, for_ms) = (&*target.name, (until - now).as_millis());
        let cause_word = cause.as_str();
        tracing::warn!(replica, cause = cause_word, for_ms, "the replica is set aside");
        Some(Aside { version: Arc::clone(self), replica: target.id, until, cause })
    }

    /// The replica has answered. Costs one load while nothing is held against anybody.
    pub(super) fn answers(self: &Arc<Self>, index: u32, generation: u64, is_well: bool) {
        if !self.doubts.load(Ordering::Relaxed) {
            return;
        }
        let mut inner = self.inner.lock();
        let Some(entry) = inner.buckets.get(index) else { return };
        if entry.generation != generation || entry.standing.is_clean() {
            return;
        }
        inner.buckets.update(index, |entry| {
            entry.standing.answers(is_well);
            entry.judge();
        });
        let doubts = inner.buckets.iter().any(|(_, entry)| !entry.standing.is_clean());
        self.doubts.store(doubts, Ordering::Relaxed);
        self.changed(inner);
    }

    fn time_is_over(self: &Arc<Self>, replica: ReplicaId) {
        let mut inner = self.inner.lock();
        let Some(index) = inner.indices.get(&replica).copied() else { return };
        let aside = inner.buckets.get(index).and_then(|entry| entry.standing.aside());
        // It may have come back meanwhile, and be set aside once more.
        if aside.is_some_and(|(until, _)| until <= Instant::now()) {
            inner.let_back(index);
            self.changed(inner);
        }
    }

    fn changed(self: &Arc<Self>, mut inner: parking_lot::MutexGuard<'_, Inner>) {
        inner.count();
        let handovers = inner.hand_over(self);
        drop(inner);
        self.finish(handovers, Vec::new());
    }
}

impl Inner {
    /// Counts what gets work, and lets back whoever is set aside beyond the share.
    pub(super) fn count(&mut self) {
        loop {
            let (mut ready, mut slots, mut aside, mut first) = (0, 0, 0, None);
            for (index, entry) in self.buckets.iter() {
                if entry.usable {
                    ready += 1;
                    slots += entry.tokens;
                } else if let Some((until, _)) = entry.standing.aside().filter(|_| !entry.ending) {
                    aside += 1;
                    if first.is_none_or(|(earliest, _)| until < earliest) {
                        first = Some((until, index));
                    }
                }
            }
            (self.ready, self.slots, self.aside) = (ready, slots, aside);
            match first.filter(|_| aside > share(ready + aside)) {
                Some((_, index)) => self.let_back(index),
                None => return,
            }
        }
    }

    fn let_back(&mut self, index: u32) {
        self.buckets.update(index, |entry| {
            entry.standing.comes_back();
            entry.judge();
        });
    }
}

/// What people are told of a replica that is set aside.
pub(super) fn shown(entry: &Entry) -> Option<SetAside> {
    let (until, cause) = entry.standing.aside()?;
    let left = until.checked_duration_since(Instant::now()).unwrap_or(Duration::ZERO);
    Some(SetAside { cause, left, times: entry.standing.times() })
}

#[cfg(test)]
#[path = "aside_tests.rs"]
mod tests;
