//! The life of the process: serving, draining, stopping; tasks that shutdown waits for; the
//! conditions behind `/readyz`; memory.
//!
//! Promises: phases only go forward; a task spawned with [`Lifecycle::spawn`] is awaited at
//! shutdown and a panic in it is logged, never lost; a readiness condition is unmet until somebody
//! says that it is met; memory near its limit is told as [`Pressure`] before it runs out.

mod memory;

pub use memory::{MEMORY_LIMIT_MIN, MemoryLimit, Meter, Pressure, Reading, watch_memory};

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
};

/// The phases of the process, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// Normal work.
    Serving = 0,
    /// Not ready, still accepting; answers ask clients to reconnect elsewhere.
    Draining = 1,
    /// No new connections; what has begun is finished.
    Closing = 2,
    /// What still runs is cut off.
    Stopped = 3,
}

/// Handle to the life of the process; clones are the same life.
#[derive(Debug, Clone)]
pub struct Lifecycle(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    phase: watch::Sender<Phase>,
    /// The same phase, for those who ask with every request.
    phase_now: AtomicU8,
    requests: AtomicUsize,
    requests_changed: Notify,
    tasks: Mutex<JoinSet<()>>,
    pressure: AtomicU8,
    conditions: Mutex<Vec<Arc<ConditionState>>>,
    remarks: Mutex<Vec<(&'static str, String)>>,
    conditions_changed: Arc<Notify>,
}

#[derive(Debug)]
struct ConditionState {
    name: &'static str,
    unmet: Mutex<Option<String>>,
}

/// Counts one request in progress until dropped.
#[derive(Debug)]
pub struct RequestGuard(Lifecycle);

/// One line of `/readyz?verbose`.
#[derive(Debug, Clone)]
pub struct Condition {
    state: Arc<ConditionState>,
    changed: Arc<Notify>,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self::new()
    }
}

impl Lifecycle {
    /// A life that begins in [`Phase::Serving`], without conditions.
    pub fn new() -> Self {
        Self(Arc::new(Inner {
            phase: watch::Sender::new(Phase::Serving),
            phase_now: AtomicU8::new(Phase::Serving as u8),
            requests: AtomicUsize::new(0),
            requests_changed: Notify::new(),
            tasks: Mutex::new(JoinSet::new()),
            pressure: AtomicU8::new(Pressure::Calm as u8),
            conditions: Mutex::new(Vec::new()),
            remarks: Mutex::new(Vec::new()),
            conditions_changed: Arc::default(),
        }))
    }

    /// The phase now.
    pub fn phase(&self) -> Phase {
        match self.0.phase_now.load(Ordering::Acquire) {
            0 => Phase::Serving,
            1 => Phase::Draining,
            2 => Phase::Closing,
            _ => Phase::Stopped,
        }
    }

    /// Goes to a later phase; an earlier one is ignored.
    pub fn enter(&self, phase: Phase) {
        self.0.phase.send_if_modified(|now| {
            let forward = phase > *now;
            if forward {
                *now = phase;
                self.0.phase_now.store(phase as u8, Ordering::Release);
            }
            forward
        });
    }

    /// Resolves once the phase is `phase` or later.
    pub async fn reached(&self, phase: Phase) {
        if self.phase() >= phase {
            return;
        }
        let mut watcher = self.0.phase.subscribe();
        // Every poll goes through to the channel, which takes a lock. Remembering that a phase is
        // watched already would save it, and would lose the next phase when two follow each other
        // so fast that the wake for the first finds it remembered.
        // An error would mean that the sender is gone, but `self` holds it.
        drop(watcher.wait_for(|now| *now >= phase).await);
    }

    /// Runs a control-plane task on the current runtime until it ends or the process stops. It
    /// should watch [`Lifecycle::reached`] and end by itself; [`Lifecycle::finish_tasks`] waits.
    pub fn spawn<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut tasks = self.0.tasks.lock();
        while let Some(ended) = tasks.try_join_next() {
            report(ended);
        }
        tasks.spawn(async move {
            task.await;
            tracing::debug!(task = name, "task ended");
        });
    }

    /// Waits until every task has ended, at most `limit`; the rest is aborted.
    pub async fn finish_tasks(&self, limit: Duration) {
        let mut tasks = std::mem::take(&mut *self.0.tasks.lock());
        let all = async {
            while let Some(ended) = tasks.join_next().await {
                report(ended);
            }
        };
        if tokio::time::timeout(limit, all).await.is_err() {
            tracing::warn!(limit_ms = limit.as_millis(), "tasks did not end in time, aborted");
        }
    }

    /// Counts a request in progress.
    pub fn begin_request(&self) -> RequestGuard {
        self.0.requests.fetch_add(1, Ordering::Relaxed);
        RequestGuard(self.clone())
    }

    /// Requests in progress, waiting ones included.
    pub fn requests(&self) -> usize {
        self.0.requests.load(Ordering::Acquire)
    }

    /// Resolves when no request is in progress.
    pub async fn idle(&self) {
        loop {
            let changed = self.0.requests_changed.notified();
            if self.requests() == 0 {
                return;
            }
            changed.await;
        }
    }

    /// How short of memory the process is, as of the last look.
    pub fn pressure(&self) -> Pressure {
        Pressure::from_u8(self.0.pressure.load(Ordering::Relaxed))
    }

    /// Sets what [`Lifecycle::pressure`] tells.
    pub fn set_pressure(&self, pressure: Pressure) {
        self.0.pressure.store(pressure as u8, Ordering::Relaxed);
    }

    /// Sets a line of `/readyz?verbose` that has no say in readiness; the same name replaces it.
    pub fn remark(&self, name: &'static str, text: String) {
        let mut remarks = self.0.remarks.lock();
        match remarks.iter_mut().find(|(known, _)| *known == name) {
            Some((_, now)) => *now = text,
            None => remarks.push((name, text)),
        }
    }

    /// Every remark in the order of its first appearance.
    pub fn remarks(&self) -> Vec<(&'static str, String)> {
        self.0.remarks.lock().clone()
    }

    /// Adds a readiness condition, unmet at first.
    pub fn condition(&self, name: &'static str) -> Condition {
        let state =
            Arc::new(ConditionState { name, unmet: Mutex::new(Some("not yet".to_owned())) });
        self.0.conditions.lock().push(Arc::clone(&state));
        Condition { state, changed: Arc::clone(&self.0.conditions_changed) }
    }

    /// Every condition with `None` when met, or why it is not; draining is one of them.
    pub fn conditions(&self) -> Vec<(&'static str, Option<String>)> {
        let mut lines: Vec<_> = self
            .0
            .conditions
            .lock()
            .iter()
            .map(|condition| (condition.name, condition.unmet.lock().clone()))
            .collect();
        let draining = (self.phase() > Phase::Serving).then(|| "shutting down".to_owned());
        lines.push(("serving", draining));
        lines
    }

    /// Resolves once every condition that exists by then is met.
    pub async fn wait_until_ready(&self) {
        loop {
            let changed = self.0.conditions_changed.notified();
            if self.0.conditions.lock().iter().all(|c| c.unmet.lock().is_none()) {
                return;
            }
            changed.await;
        }
    }

    /// Whether every condition is met.
    pub fn is_ready(&self) -> bool {
        self.phase() == Phase::Serving
            && self.0.conditions.lock().iter().all(|condition| condition.unmet.lock().is_none())
    }
}

impl Condition {
    /// The condition holds.
    pub fn met(&self) {
        *self.state.unmet.lock() = None;
        self.changed.notify_waiters();
    }

    /// The condition does not hold, and why.
    pub fn unmet(&self, why: impl Into<String>) {
        *self.state.unmet.lock() = Some(why.into());
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        let Self(Lifecycle(inner)) = self;
        if inner.requests.fetch_sub(1, Ordering::AcqRel) == 1 {
            inner.requests_changed.notify_waiters();
        }
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a task of the control plane panicked");
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    #[test]
    fn phases_only_go_forward() {
        let life = Lifecycle::new();
        life.enter(Phase::Closing);
        life.enter(Phase::Draining);
        assert_eq!(life.phase(), Phase::Closing);
    }

    #[test]
    fn readiness_needs_every_condition_and_ends_with_draining() {
        let life = Lifecycle::new();
        let catalog = life.condition("catalog");
        assert!(!life.is_ready());
        catalog.met();
        assert!(life.is_ready());
        life.enter(Phase::Draining);
        assert!(!life.is_ready());
    }

    #[tokio::test]
    async fn a_later_phase_is_seen_after_an_earlier_one_has_woken_the_waiter() {
        let life = Lifecycle::new();
        let mut waiting = pin!(life.reached(Phase::Closing));
        for phase in [Phase::Serving, Phase::Draining] {
            life.enter(phase);
            let waited = tokio::time::timeout(Duration::from_millis(5), waiting.as_mut());
            assert!(waited.await.is_err());
        }
        let enter = async { life.enter(Phase::Closing) };
        tokio::join!(waiting, enter);
    }

    #[test]
    fn no_phase_is_missed_however_fast_they_follow() {
        for _ in 0..300 {
            let life = Lifecycle::new();
            let waiting = life.clone();
            let thread = std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
                runtime.unwrap().block_on(async {
                    // Polls the wait again and again while the phases change, then only wakes do.
                    let busy = async {
                        for _ in 0..300 {
                            tokio::task::yield_now().await;
                        }
                        std::future::pending::<()>().await;
                    };
                    let reached = async {
                        tokio::select! {
                            biased;
                            () = waiting.reached(Phase::Closing) => {}
                            () = busy => {}
                        }
                    };
                    tokio::time::timeout(Duration::from_secs(10), reached).await.is_ok()
                })
            });
            std::thread::yield_now();
            life.enter(Phase::Draining);
            life.enter(Phase::Closing);
            assert!(thread.join().unwrap(), "a wake was lost");
        }
    }

    #[tokio::test]
    async fn idle_waits_for_the_last_request() {
        let life = Lifecycle::new();
        let guard = life.begin_request();
        let waiter = tokio::time::timeout(Duration::from_millis(20), life.idle());
        assert!(waiter.await.is_err());
        drop(guard);
        life.idle().await;
    }
}
