//! The slots and the queue of one version, behind one lock.

use std::{
    collections::{HashMap, HashSet},
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::{
    aside::shown,
    buckets::{Buckets, Entry},
    queue::{Place, Queue},
    slot::{Slot, Target},
    tokens::TokenHolder,
};
use crate::domain::{
    Replica, ReplicaId, ReplicaLoad, ReplicaState, Signal, SignalSink, Version, VersionKey,
    VersionLoad,
};

/// The live state of one version. All routes to the version share one.
pub struct VersionState {
    key: VersionKey,
    pub(super) signals: SignalSink,
    tokens: Arc<dyn TokenHolder>,
    /// Whether anything is held against any replica.
    pub(super) doubts: AtomicBool,
    /// Smoothed time that a slot is busy, in microseconds; 0 until something was measured.
    service_us: AtomicU64,
    pub(super) inner: Mutex<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) buckets: Buckets,
    pub(super) indices: HashMap<ReplicaId, u32>,
    queue: Queue,
    queue_length_max: u32,
    busy: u32,
    peak: u32,
    pressure_above: u32,
    pub(super) ready: u32,
    pub(super) slots: u32,
    /// Replicas that are set aside.
    pub(super) aside: u32,
    /// Whether a replica may become ready without anybody's edit.
    may_recover: bool,
    /// Whether the version is gone from the catalog and only finishes what it has.
    leaving: bool,
}

/// A slot now, or a place in the queue.
#[derive(Debug)]
pub enum Acquired {
    /// There was a free slot.
    Slot(Slot),
    /// All are busy, or none is ready yet.
    Waiting(Waiting),
}

/// Why there is neither a slot nor a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The queue is at its bound.
    QueueFull {
        /// Requests waiting.
        length: u32,
    },
    /// No replica is ready and none can become ready.
    NoReplicas,
}

/// A place in the queue. Resolves with a slot; dropping it leaves the queue at once.
#[derive(Debug)]
pub struct Waiting {
    version: Arc<VersionState>,
    place: Place,
    slot: oneshot::Receiver<Slot>,
}

/// A slot handed to a waiter, sent only after the lock is released: a failed send drops the slot,
/// which takes the lock again.
pub(super) type Handover = (oneshot::Sender<Slot>, Slot);

impl VersionState {
    /// A version without replicas; [`VersionState::apply`] gives it some.
    pub fn new(key: VersionKey, signals: SignalSink, tokens: Arc<dyn TokenHolder>) -> Arc<Self> {
        Arc::new(Self {
            key,
            signals,
            tokens,
            doubts: AtomicBool::new(false),
            service_us: AtomicU64::new(0),
            inner: Mutex::new(Inner {
                buckets: Buckets::default(),
                indices: HashMap::new(),
                queue: Queue::default(),
                queue_length_max: 0,
                busy: 0,
                peak: 0,
                pressure_above: u32::MAX,
                ready: 0,
                slots: 0,
                aside: 0,
                may_recover: false,
                leaving: false,
            }),
        })
    }

    /// Its name among all versions.
    pub fn key(&self) -> &VersionKey {
        &self.key
    }

    /// A free slot, or a place in the queue, or a refusal; never waits.
    pub fn acquire(self: &Arc<Self>) -> Result<Acquired, Refused> {
        let mut inner = self.inner.lock();
        let acquired = if inner.queue.is_empty()
            && let Some(index) = inner.buckets.take(None)
        {
            inner.busy += 1;
            Acquired::Slot(inner.slot(self, index))
        } else {
            if inner.ready == 0 && !inner.may_recover {
                return Err(Refused::NoReplicas);
            }
            let length = inner.queue.len();
            if length >= inner.queue_length_max {
                return Err(Refused::QueueFull { length });
            }
            let (sender, slot) = oneshot::channel();
            let place = inner.queue.join(sender);
            Acquired::Waiting(Waiting { version: Arc::clone(self), place, slot })
        };
        let crossed = inner.note_load();
        drop(inner);
        if crossed {
            (self.signals)(Signal::Pressure(self.key.clone()));
        }
        Ok(acquired)
    }

    /// A place in front of the queue, for a request whose replica failed before it began. Not
    /// bounded by the queue's length: it had a slot, so there are at most as many as slots.
    pub fn wait_again(self: &Arc<Self>) -> Acquired {
        let mut inner = self.inner.lock();
        if let Some(index) = inner.buckets.take(None) {
            inner.busy += 1;
            return Acquired::Slot(inner.slot(self, index));
        }
        let (sender, slot) = oneshot::channel();
        let place = inner.queue.join_in_front(sender);
        Acquired::Waiting(Waiting { version: Arc::clone(self), place, slot })
    }

    /// Whether a replica is ready to get work.
    pub fn is_ready(&self) -> bool {
        self.inner.lock().ready > 0
    }

    /// How long a slot was busy, for [`VersionState::expected_wait`].
    pub fn note_service(&self, busy: Duration) {
        let sample = u64::try_from(busy.as_micros()).unwrap_or(u64::MAX >> 8);
        let old = self.service_us.load(Ordering::Relaxed);
        // One eighth of each new value: settles within some twenty requests. Two threads may lose
        // one of two samples to each other, which does not matter to an average.
        let new = if old == 0 { sample } else { old - old / 8 + sample / 8 };
        self.service_us.store(new.max(1), Ordering::Relaxed);
    }

    /// How long a request that joins the queue now would wait, from the length of the queue and
    /// the smoothed service time. `None` before anything was measured, or without slots.
    pub fn expected_wait(&self) -> Option<Duration> {
        let (queued, slots) = {
            let inner = self.inner.lock();
            (inner.queue.len(), inner.slots)
        };
        let service_us = self.service_us.load(Ordering::Relaxed);
        if slots == 0 || service_us == 0 {
            return None;
        }
        let turns = u64::from(queued) + 1;
        Some(Duration::from_micros(service_us.saturating_mul(turns) / u64::from(slots)))
    }

    pub(super) fn take_except(self: &Arc<Self>, index: u32) -> Option<Slot> {
        let mut inner = self.inner.lock();
        let other = inner.buckets.take(Some(index))?;
        inner.busy += 1;
        Some(inner.slot(self, other))
    }

    pub(super) fn has_alternative(&self, index: u32) -> bool {
        self.inner.lock().buckets.iter().any(|(other, entry)| other != index && entry.usable)
    }

    /// Takes an `Arc` explicitly because handing over makes new slots of the same version.
    pub(super) fn give_back(this: &Arc<Self>, index: u32) {
        let mut inner = this.inner.lock();
        inner.busy = inner.busy.saturating_sub(1);
        inner.buckets.give_back(index);
        let handover = inner.next_handover(this);
        let idle = if inner.leaving { inner.settle_all() } else { inner.settle(index) };
        drop(inner);
        this.finish(handover, idle);
    }

    /// Takes over settings and replicas from a new catalog.
    pub fn apply(self: &Arc<Self>, version: &Version) {
        let mut inner = self.inner.lock();
        let starting = version.count(ReplicaState::Starting);
        let ready = version.count(ReplicaState::Ready);
        inner.leaving = false;
        inner.queue_length_max = version.queue_length_max(ready + starting);
        inner.may_recover = starting > 0 || ready > 0 || can_start(version);
        inner.take_over(self, version);
        let handovers = inner.hand_over(self);
        let idle = inner.settle_all();
        drop(inner);
        self.finish(handovers, idle);
    }

    /// The version is gone from the catalog: its replicas finish the queue and what is in
    /// progress; each is idle when all of that is done.
    pub(super) fn leave(&self) {
        let mut inner = self.inner.lock();
        inner.leaving = true;
        // Whoever still comes by an old route finds nothing to wait for.
        inner.may_recover = false;
        inner.pressure_above = u32::MAX;
        let idle = inner.settle_all();
        drop(inner);
        self.finish(None, idle);
    }

    pub(super) fn is_finished(&self) -> bool {
        let inner = self.inner.lock();
        inner.leaving && inner.busy == 0 && inner.queue.is_empty()
    }

    pub(super) fn load(&self, new_peak: bool) -> VersionLoad {
        let mut inner = self.inner.lock();
        let (busy, queued) = (inner.busy, inner.queue.len());
        let Inner { peak, ready, slots, aside, .. } = *inner;
        let load = VersionLoad { busy, queued, peak, ready, slots, aside };
        if new_peak {
            inner.peak = busy + queued;
        }
        load
    }

    pub(super) fn arm_pressure(&self, above: u32) {
        let mut inner = self.inner.lock();
        inner.pressure_above = if inner.leaving { u32::MAX } else { above };
        let crossed = inner.note_load();
        drop(inner);
        if crossed {
            (self.signals)(Signal::Pressure(self.key.clone()));
        }
    }

    pub(super) fn replica_load(&self, replica: ReplicaId) -> Option<ReplicaLoad> {
        let inner = self.inner.lock();
        let entry = inner.buckets.get(*inner.indices.get(&replica)?)?;
        Some(ReplicaLoad { busy: entry.busy, usable: entry.usable, aside: shown(entry) })
    }

    pub(super) fn is_replica_idle(&self, replica: ReplicaId) -> bool {
        let inner = self.inner.lock();
        let found = inner.indices.get(&replica).and_then(|index| inner.buckets.get(*index));
        found.is_none_or(|entry| inner.is_idle(entry))
    }

    /// Sends what was decided under the lock, now that it is released.
    pub(super) fn finish(
        &self,
        handovers: impl IntoIterator<Item = Handover>,
        idle: Vec<ReplicaId>,
    ) {
        for (waiter, slot) in handovers {
            // A waiter that has just left drops the slot here, which hands it to the next one.
            drop(waiter.send(slot));
        }
        for replica in idle {
            (self.signals)(Signal::Idle(replica));
        }
    }
}

fn can_start(version: &Version) -> bool {
    version.startable && version.autoscale.enabled && version.autoscale.max_replicas > 0
}

impl Inner {
    fn slot(&self, version: &Arc<VersionState>, index: u32) -> Slot {
        let entry = self.buckets.get(index).expect("a taken replica is there");
        Slot {
            version: Arc::clone(version),
            index,
            target: Arc::clone(&entry.target),
            generation: entry.generation,
            answers: Arc::clone(&entry.answers),
            answers_before: entry.answers.load(Ordering::Relaxed),
        }
    }

    /// Keeps the peak; whether the load crossed the armed level just now.
    fn note_load(&mut self) -> bool {
        let load = self.busy + self.queue.len();
        self.peak = self.peak.max(load);
        let crossed = load > self.pressure_above;
        if crossed {
            self.pressure_above = u32::MAX;
        }
        crossed
    }

    fn next_handover(&mut self, version: &Arc<VersionState>) -> Option<Handover> {
        if self.queue.is_empty() {
            return None;
        }
        let index = self.buckets.take(None)?;
        self.busy += 1;
        let slot = self.slot(version, index);
        let waiter = self.queue.pop().expect("the queue was not empty under this lock");
        Some((waiter, slot))
    }

    pub(super) fn hand_over(&mut self, version: &Arc<VersionState>) -> Vec<Handover> {
        std::iter::from_fn(|| self.next_handover(version)).collect()
    }

    fn take_over(&mut self, state: &Arc<VersionState>, version: &Version) {
        let mut gone: HashSet<ReplicaId> = self.indices.keys().copied().collect();
        for replica in &version.replicas {
            gone.remove(&replica.id);
            let tokens = state.tokens.tokens(&state.key, replica.id, version.slots_per_replica);
            let index = self.index_of(replica);
            let Some(entry) = self.buckets.get(index) else { continue };
            let failed = entry.failed_in.is_some_and(|failed| failed >= replica.generation);
            let is_fit = replica.state == ReplicaState::Ready && !failed;
            let ending = replica.state == ReplicaState::Draining;
            let same = (entry.is_fit, entry.ending, entry.tokens) == (is_fit, ending, tokens);
            // An unchanged replica keeps its turn among the idle ones.
            if same && entry.known && entry.generation == replica.generation {
                continue;
            }
            self.buckets.update(index, |entry| {
                (entry.is_fit, entry.ending, entry.tokens) = (is_fit, ending, tokens);
                entry.known = true;
                if entry.generation != replica.generation {
                    entry.generation = replica.generation;
                    entry.standing.rises();
                }
                entry.judge();
                entry.announced &= ending;
            });
        }
        for index in gone.iter().filter_map(|id| self.indices.get(id)) {
            self.buckets.update(*index, |entry| {
                (entry.is_fit, entry.ending, entry.known) = (false, true, false);
                entry.judge();
            });
        }
        self.count();
    }

    fn index_of(&mut self, replica: &Replica) -> u32 {
        *self.indices.entry(replica.id).or_insert_with(|| {
            let target = Arc::new(Target {
                id: replica.id,
                name: Arc::clone(&replica.name),
                http: replica.http,
                grpc: replica.grpc,
            });
            self.buckets.insert(target, 0, replica.generation)
        })
    }

    /// Idle for good, in the sense of `LoadSource::is_idle`.
    fn is_idle(&self, entry: &Entry) -> bool {
        let ends = entry.ending || (self.leaving && self.queue.is_empty());
        entry.busy == 0 && ends
    }

    /// Looks at one replica that has just given a slot back: constant time, also while others
    /// drain.
    fn settle(&mut self, index: u32) -> Vec<ReplicaId> {
        let Some(entry) = self.buckets.get(index) else { return Vec::new() };
        if !self.is_idle(entry) {
            return Vec::new();
        }
        let (id, news) = (entry.target.id, !entry.announced);
        if entry.known && !self.leaving {
            self.buckets.update(index, |entry| entry.announced = true);
        } else {
            self.indices.remove(&id);
            self.buckets.remove(index);
        }
        if news { vec![id] } else { Vec::new() }
    }

    fn settle_all(&mut self) -> Vec<ReplicaId> {
        let indices: Vec<u32> = self.indices.values().copied().collect();
        let idle = indices.into_iter().flat_map(|index| self.settle(index)).collect();
        self.count();
        idle
    }
}

impl Waiting {
    /// Gives up the place. A slot that was handed over in the same moment is returned, not lost.
    pub fn give_up(mut self) -> Option<Slot> {
        self.leave();
        self.slot.try_recv().ok()
    }

    fn leave(&self) {
        let mut inner = self.version.inner.lock();
        let left = inner.queue.leave(self.place);
        let idle = if left && inner.leaving { inner.settle_all() } else { Vec::new() };
        drop(inner);
        self.version.finish(None, idle);
    }
}

impl Future for Waiting {
    type Output = Slot;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Slot> {
        match Pin::new(&mut self.slot).poll(cx) {
            Poll::Ready(Ok(slot)) => Poll::Ready(slot),
            // The sender leaves the queue only with a slot or by this value's own drop.
            Poll::Ready(Err(_)) | Poll::Pending => Poll::Pending,
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.leave();
    }
}

impl std::fmt::Debug for VersionState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VersionState").field("key", &self.key).finish_non_exhaustive()
    }
}
