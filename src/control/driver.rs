//! The task: what wakes it, and which versions it looks at then.

use std::{collections::BTreeMap, fmt, pin::pin, sync::Arc, time::Duration};

use parking_lot::RwLock;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior},
};

use super::scaled::{Room, Scaled};
use crate::{
    domain::{Catalog, Decision, LoadSource, ReplicaId, Signal, Version, VersionKey},
    lifecycle::{Lifecycle, Phase},
    platform::Orders,
};

/// How often every version is looked at: the resolution of the default scale-down window, and the
/// longest that a lost signal delays anything (contract §8: goal 250 ms).
pub const TICK: Duration = Duration::from_millis(250);

/// Takes each decision to change a count, without blocking.
pub type DecisionSink = Arc<dyn Fn(Decision) + Send + Sync>;

/// What the autoscale driver is made of; [`Driver::start`] sets it to work.
pub struct Driver {
    /// What the data plane tells, bounded.
    pub signals: mpsc::Receiver<Signal>,
    /// The catalog. The data plane has to have each one before it is sent here.
    pub catalog: watch::Receiver<Arc<Catalog>>,
    /// Where the load is read.
    pub load: Arc<dyn LoadSource>,
    /// Who starts and ends replicas.
    pub orders: Arc<dyn Orders>,
    /// Who keeps the decisions.
    pub record: DecisionSink,
}

/// Asks the running driver; clones ask the same one.
#[derive(Debug, Clone)]
pub struct DriverHandle(Wanted);

type Wanted = Arc<RwLock<BTreeMap<VersionKey, u32>>>;

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").finish_non_exhaustive()
    }
}

impl Driver {
    /// Starts the task on the current runtime. It scales until [`Phase::Draining`] and ends with
    /// [`Phase::Stopped`].
    pub fn start(self, lifecycle: &Lifecycle) -> DriverHandle {
        let wanted = Wanted::default();
        let Self { signals, catalog, load, orders, record } = self;
        let running = Running {
            room: Room { load, orders, begun: Instant::now() },
            record,
            lifecycle: lifecycle.clone(),
            catalog: Arc::default(),
            versions: BTreeMap::new(),
            wanted: Arc::clone(&wanted),
        };
        lifecycle.spawn("autoscale driver", running.run(signals, catalog));
        DriverHandle(wanted)
    }
}

impl DriverHandle {
    /// The replicas wanted now; `None` for a version whose count is not the autoscaler's affair.
    pub fn wanted(&self, key: &VersionKey) -> Option<u32> {
        self.0.read().get(key).copied()
    }
}

/// The state of the task.
struct Running {
    room: Room,
    record: DecisionSink,
    lifecycle: Lifecycle,
    catalog: Arc<Catalog>,
    versions: BTreeMap<VersionKey, Scaled>,
    wanted: Wanted,
}

impl Running {
    async fn run(
        mut self,
        mut signals: mpsc::Receiver<Signal>,
        mut catalogs: watch::Receiver<Arc<Catalog>>,
    ) {
        let lifecycle = self.lifecycle.clone();
        let mut stopped = pin!(lifecycle.reached(Phase::Stopped));
        let mut tick = tokio::time::interval(TICK);
        // After a delay one look is enough: it sees the present, and the peak since the last one.
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut signals_open = true;
        let first = Arc::clone(&catalogs.borrow_and_update());
        self.adopt(first);
        loop {
            tokio::select! {
                () = &mut stopped => return,
                signal = signals.recv(), if signals_open => match signal {
                    Some(signal) => self.hear(signal),
                    None => signals_open = false,
                },
                changed = catalogs.changed() => {
                    if changed.is_err() {
                        return; // The platform is gone, and with it everybody who obeys orders.
                    }
                    let catalog = Arc::clone(&catalogs.borrow_and_update());
                    self.adopt(catalog);
                }
                _ = tick.tick() => self.look_at_all(),
            }
        }
    }

    fn hear(&mut self, signal: Signal) {
        match signal {
            Signal::Pressure(key) => self.look_at(&key),
            Signal::Idle(replica) => self.retire(replica),
            Signal::Failed(replica, generation) => self.room.orders.suspect(replica, generation),
        }
    }

    /// Takes over a new catalog, and looks at what changed with it.
    fn adopt(&mut self, catalog: Arc<Catalog>) {
        let before = std::mem::replace(&mut self.catalog, catalog);
        if !self.scales() {
            return;
        }
        self.let_go();
        let catalog = Arc::clone(&self.catalog);
        for endpoint in catalog.endpoints.values() {
            let known = before.endpoints.get(&endpoint.name);
            if known.is_some_and(|known| Arc::ptr_eq(known, endpoint)) {
                continue;
            }
            for version in endpoint.versions.iter().filter(|version| is_scaled(version)) {
                let key =
                    VersionKey { endpoint: endpoint.name.clone(), version: version.name.clone() };
                let scaled = self
                    .versions
                    .entry(key.clone())
                    .or_insert_with(|| Scaled::new(key.clone(), version, &self.room));
                scaled.take_over(version);
                self.look_at(&key);
            }
        }
    }

    /// Forgets versions that are gone or no longer ours to scale.
    fn let_go(&mut self) {
        let Self { versions, catalog, room, wanted, .. } = self;
        versions.retain(|key, scaled| {
            let version = find(catalog, key);
            let keep = version.is_some_and(is_scaled);
            if !keep {
                scaled.let_go(version, room);
                wanted.write().remove(key);
            }
            keep
        });
    }

    fn look_at_all(&mut self) {
        let keys: Vec<_> = self.versions.keys().cloned().collect();
        for key in keys {
            self.look_at(&key);
        }
    }

    /// Samples one version, decides, acts.
    fn look_at(&mut self, key: &VersionKey) {
        if !self.scales() {
            return;
        }
        let (Some(scaled), Some(version)) = (self.versions.get_mut(key), find(&self.catalog, key))
        else {
            return; // A signal from before the version came, or from after it went.
        };
        scaled.retire_idle(version, &self.room);
        let wanted_before = scaled.wanted();
        let decision = scaled.look(version, &self.room);
        let wanted = scaled.wanted();
        if wanted != wanted_before {
            self.wanted.write().insert(key.clone(), wanted.unwrap_or_default());
        }
        if let Some(decision) = decision {
            (self.record)(decision);
        }
    }

    fn retire(&mut self, replica: ReplicaId) {
        if !self.scales() {
            return;
        }
        let ours = self.versions.iter_mut().find(|(_, scaled)| scaled.is_victim(replica));
        if let Some((key, scaled)) = ours
            && let Some(version) = find(&self.catalog, key)
        {
            scaled.retire_idle(version, &self.room);
        }
    }

    fn scales(&self) -> bool {
        self.lifecycle.phase() == Phase::Serving
    }
}

fn is_scaled(version: &Version) -> bool {
    version.autoscale.enabled && version.startable
}

fn find<'a>(catalog: &'a Catalog, key: &VersionKey) -> Option<&'a Version> {
    let endpoint = catalog.endpoints.get(&key.endpoint)?;
    endpoint.version(key.version.as_str()).map(|(_, version)| version)
}
