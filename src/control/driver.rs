//! The task: what wakes it, and which versions it looks at then.

use std::{
    collections::BTreeMap,
    fmt,
    pin::pin,
    sync::{Arc, LazyLock},
    time::Duration,
};

use parking_lot::RwLock;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior},
};

use super::{
    held::Held,
    scaled::{Room, Scaled},
};
use crate::{
    domain::{Catalog, Decision, Endpoint, LoadSource, ReplicaId, Signal, Version, VersionKey},
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
    /// Whether this router is the one that scales; [`always_leads`] where there is no other. To be
    /// told again what is known changes nothing. When the sender is gone, nobody scales: whoever
    /// does not know that it leads does not.
    pub leads: watch::Receiver<bool>,
}

/// For a platform that has one router: it leads, for good.
pub fn always_leads() -> watch::Receiver<bool> {
    static ALONE: LazyLock<watch::Sender<bool>> = LazyLock::new(|| watch::Sender::new(true));
    ALONE.subscribe()
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
    /// Starts the task on the current runtime. It scales while this router leads, at most until
    /// [`Phase::Draining`], and ends with [`Phase::Stopped`].
    pub fn start(self, lifecycle: &Lifecycle) -> DriverHandle {
        let wanted = Wanted::default();
        let Self { signals, catalog, load, orders, record, leads } = self;
        let running = Running {
            room: Room { load, orders, begun: Instant::now() },
            record,
            lifecycle: lifecycle.clone(),
            leads,
            leading: false,
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
    leads: watch::Receiver<bool>,
    /// Whether the versions are ours: what `leads` said when it was last acted on.
    leading: bool,
    catalog: Arc<Catalog>,
    versions: BTreeMap<VersionKey, Held>,
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
        let (mut signals_open, mut elected) = (true, true);
        let first = Arc::clone(&catalogs.borrow_and_update());
        self.adopt(first);
        self.leads.mark_changed();
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
                changed = self.leads.changed(), if elected => {
                    elected = changed.is_ok();
                    let leads = elected && *self.leads.borrow_and_update();
                    self.lead(leads);
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

    /// Begins to scale like a driver that has just started, or lets go of everything: by the time
    /// this router leads again, others have scaled, and what it had seen is no proof of anything.
    fn lead(&mut self, leads: bool) {
        if leads == std::mem::replace(&mut self.leading, leads) {
            return;
        }
        tracing::debug!(leads, "leadership of scaling changed");
        if leads {
            self.take_over(&Catalog::default());
        } else {
            for mut held in std::mem::take(&mut self.versions).into_values() {
                held.let_go(&self.room);
            }
            self.wanted.write().clear();
        }
    }

    /// Takes over a new catalog, and looks at what changed with it.
    fn adopt(&mut self, catalog: Arc<Catalog>) {
        let before = std::mem::replace(&mut self.catalog, catalog);
        self.take_over(&before);
    }

    /// Takes over what is not as it was in `before`.
    fn take_over(&mut self, before: &Catalog) {
        // Not `scales`: an edit must not be missed while a change of leadership waits to be heard.
        if !self.leading || !self.serves() {
            return;
        }
        for change in Arc::clone(&self.catalog).changes_since(&before.endpoints) {
            if let Some(before) = &change.before {
                self.let_go(before, change.now.as_deref());
            }
            if let Some(now) = &change.now {
                self.take_over_endpoint(now);
            }
        }
    }

    fn take_over_endpoint(&mut self, endpoint: &Arc<Endpoint>) {
        for (index, version) in endpoint.versions.iter().enumerate() {
            if !is_scaled(version) {
                continue;
            }
            let key = endpoint.key_of(version);
            let held = self.versions.entry(key.clone()).or_insert_with(|| {
                let scaled = Scaled::new(key.clone(), version, &self.room);
                Held::new(scaled, Arc::clone(endpoint), index)
            });
            held.take_over(Arc::clone(endpoint), index, &self.room);
            self.look_at(&key);
        }
    }

    /// Forgets versions of a changed endpoint that are gone or no longer ours to scale.
    fn let_go(&mut self, before: &Endpoint, now: Option<&Endpoint>) {
        for version in &before.versions {
            let shown = now.and_then(|now| now.version(version.name.as_str()));
            let shown = shown.map(|(_, version)| version);
            let key = before.key_of(version);
            if !shown.is_some_and(is_scaled)
                && let Some(mut held) = self.versions.remove(&key)
            {
                held.scaled.let_go(shown, &self.room);
                self.wanted.write().remove(&key);
            }
        }
    }

    fn look_at_all(&mut self) {
        if !self.scales() {
            return;
        }
        let Self { versions, room, record, wanted, .. } = self;
        for (key, held) in versions {
            look(key, held, room, record, wanted);
        }
    }

    fn look_at(&mut self, key: &VersionKey) {
        if !self.scales() {
            return;
        }
        // A signal may come from before the version came, or from after it went.
        if let Some(held) = self.versions.get_mut(key) {
            look(key, held, &self.room, &self.record, &self.wanted);
        }
    }

    fn retire(&mut self, replica: ReplicaId) {
        if !self.scales() {
            return;
        }
        let ours = self.versions.values_mut().find(|held| held.scaled.is_victim(replica));
        if let Some(held) = ours {
            held.retire_idle(&self.room);
        }
    }

    /// Asks for the newest word, too: an order given after leadership was lost is one too many.
    fn scales(&self) -> bool {
        self.leading && *self.leads.borrow() && self.serves()
    }

    fn serves(&self) -> bool {
        self.lifecycle.phase() == Phase::Serving
    }
}

fn is_scaled(version: &Version) -> bool {
    version.autoscale.enabled && version.startable
}

/// Samples one version, decides, acts.
fn look(key: &VersionKey, held: &mut Held, room: &Room, record: &DecisionSink, wanted: &Wanted) {
    held.retire_idle(room);
    let wanted_before = held.scaled.wanted();
    let decision = held.look(room);
    let wanted_now = held.scaled.wanted();
    if wanted_now != wanted_before {
        wanted.write().insert(key.clone(), wanted_now.unwrap_or_default());
    }
    if let Some(decision) = decision {
        record(decision);
    }
}
