//! All replicas and versions of the local platform, and how orders and news change them. Starts
//! tasks, never waits.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

use super::{
    guardian::Guardian,
    plan::{self, Action, Fact, Recipe, Source, Wanted},
    ports::Ports,
    replica::{Backoff, Replica},
    supervise::{Control, Desk, Event, Job, News, PortPair, literal_place},
};
use crate::{
    domain::{Name, ReplicaId, VersionKey},
    platform::{inbox::Order, next_id, spec::EndpointSpec},
};

/// How much longer than one request may take an idle wait lasts, for bodies that are still read
/// after a client has left (the same slack as the router's own drain, contract §12).
const RETIRE_SLACK: Duration = Duration::from_secs(15);

/// The state of the local platform.
pub(super) struct Roster {
    pub(super) desk: Arc<Desk>,
    pub(super) specs: Vec<EndpointSpec>,
    pub(super) replicas: BTreeMap<u64, Replica>,
    /// Endpoints that differ from what was published.
    pub(super) dirty: BTreeSet<Name>,
    /// New specs have come that no catalog shows yet, perhaps without any endpoint.
    pub(super) applied: bool,
    /// No more restarts and no more catalogs: everything ends.
    pub(super) stopping: bool,
    versions: BTreeMap<VersionKey, Group>,
    ports: Ports,
    guardian: Option<Guardian>,
    seats: u64,
    drains: u64,
}

/// What is to hold for one version.
struct Group {
    wanted: Wanted,
    /// How long retiring waits for idleness.
    patience: Duration,
}

impl Roster {
    /// Nothing yet.
    pub(super) fn new(desk: Arc<Desk>) -> Self {
        Self {
            desk,
            specs: Vec::new(),
            replicas: BTreeMap::new(),
            dirty: BTreeSet::new(),
            applied: false,
            stopping: false,
            versions: BTreeMap::new(),
            ports: Ports::default(),
            guardian: None,
            seats: 0,
            drains: 0,
        }
    }

    /// Does what was asked. Orders about replicas that are gone mean nothing.
    pub(super) fn obey(&mut self, order: Order) {
        match order {
            Order::Look => {}
            Order::Shutdown => self.stop_all(),
            _ if self.stopping => {}
            Order::Apply(specs) => self.apply(specs),
            Order::Start(key, wanted) => {
                if let Some(group) = self.versions.get(&key) {
                    let actions = plan::fill(&group.wanted, &self.facts(&key), wanted);
                    self.perform(&key, actions);
                }
            }
            Order::Drain(id) => self.drain(id),
            Order::Readmit(id) => self.readmit(id),
            Order::Retire(id) => {
                if let Some((seat, key)) = self.scalable(id) {
                    self.perform(&key, [Action::Retire(seat)]);
                }
            }
            Order::Suspect(id, generation) => self.suspect(id, generation),
        }
    }

    /// Takes news of a replica. Only what the data plane or a person sees makes a difference.
    pub(super) fn hear(&mut self, event: Event) {
        let Event { seat, news } = event;
        if let News::Ended(why) = news {
            return self.ended(seat, why);
        }
        let Some(replica) = self.replicas.get_mut(&seat) else { return };
        let changed = match news {
            News::Placed(id, place) => {
                let moved = replica.place != Some(place) || replica.id != id;
                if moved {
                    replica.id = id;
                    replica.fall(Instant::now(), format!("probing {}", place.http));
                }
                replica.place = Some(place);
                moved
            }
            News::Running(pid) => {
                replica.pid = Some(pid);
                false
            }
            News::Ready => {
                replica.rise(Instant::now());
                tracing::debug!(replica = &*replica.name, "ready");
                true
            }
            News::NotReady(why) => {
                let new = replica.fall(Instant::now(), why);
                if new {
                    let why = &*replica.message;
                    tracing::warn!(
                        replica = &*replica.name,
                        why,
                        "the replica is not ready any more"
                    );
                }
                new
            }
            News::Ended(_) => false,
        };
        if changed {
            self.dirty.insert(replica.key.endpoint.clone());
        }
    }

    /// Continues what is under way in every version.
    pub(super) fn settle(&mut self) {
        if self.stopping {
            return;
        }
        let keys: Vec<VersionKey> = self.versions.keys().cloned().collect();
        for key in keys {
            let Some(group) = self.versions.get(&key) else { continue };
            let actions = plan::settle(&group.wanted, &self.facts(&key));
            self.perform(&key, actions);
        }
    }

    /// Takes those out of the catalog that were to go and are idle (or have had long enough); they
    /// are to be stopped once that is published.
    pub(super) fn take_idle(&mut self, now: Instant) -> Vec<u64> {
        let mut idle = Vec::new();
        for (seat, replica) in &mut self.replicas {
            let Some(by) = replica.retire_by.filter(|_| !replica.stopping) else { continue };
            if !self.desk.load.is_idle(replica.id) {
                if now < by {
                    continue;
                }
                let replica = &*replica.name;
                tracing::warn!(replica, "stopping a replica that did not become idle in time");
            }
            replica.stopping = true;
            self.dirty.insert(replica.key.endpoint.clone());
            idle.push(*seat);
        }
        idle
    }

    /// Whether some replica waits to become idle.
    pub(super) fn has_retiring(&self) -> bool {
        self.replicas.values().any(|replica| replica.retire_by.is_some() && !replica.stopping)
    }

    /// Tells the task to end the replica.
    pub(super) fn stop(&mut self, seat: u64) {
        if let Some(replica) = self.replicas.get_mut(&seat) {
            replica.stopping = true;
            "stopping".clone_into(&mut replica.message);
            replica.control.send_modify(|control| control.stop = true);
        }
    }

    /// Ends every replica, whatever it does.
    pub(super) fn stop_all(&mut self) {
        self.stopping = true;
        let seats: Vec<u64> = self.replicas.keys().copied().collect();
        for seat in seats {
            self.stop(seat);
        }
    }

    fn apply(&mut self, specs: Vec<EndpointSpec>) {
        let mut before = std::mem::take(&mut self.versions);
        self.dirty.extend(self.specs.iter().map(|spec| spec.endpoint.name.clone()));
        for spec in &specs {
            self.dirty.insert(spec.endpoint.name.clone());
            for (version, target) in spec.endpoint.versions.iter().zip(&spec.versions) {
                let key = VersionKey {
                    endpoint: spec.endpoint.name.clone(),
                    version: version.name.clone(),
                };
                let wanted = Wanted::of(version, target);
                let patience = version.request_timeout + RETIRE_SLACK;
                before.remove(&key);
                self.versions.insert(key, Group { wanted, patience });
            }
        }
        self.specs = specs;
        self.applied = true;
        for (key, group) in before {
            self.remove_version(&key, group.patience);
        }
        let keys: Vec<VersionKey> = self.versions.keys().cloned().collect();
        for key in keys {
            let Some(group) = self.versions.get(&key) else { continue };
            let actions = plan::clamp(&group.wanted, &self.facts(&key));
            self.perform(&key, actions);
        }
    }

    /// It is out of the catalog with this change; its processes go when its requests have ended.
    fn remove_version(&mut self, key: &VersionKey, patience: Duration) {
        for fact in self.facts(key) {
            if fact.replaces.is_some() {
                self.stop(fact.seat);
            } else {
                self.retire(fact.seat, patience);
            }
        }
    }

    fn facts(&self, key: &VersionKey) -> Vec<Fact> {
        let here = self.replicas.iter().filter(|(_, replica)| replica.key == *key);
        let staying = here.filter(|(_, replica)| !replica.stopping);
        staying.map(|(seat, replica)| replica.fact(*seat, self.desk.load.as_ref())).collect()
    }

    fn perform(&mut self, key: &VersionKey, actions: impl IntoIterator<Item = Action>) {
        for action in actions {
            self.dirty.insert(key.endpoint.clone());
            match action {
                Action::Start(recipe) => self.start(key, recipe, None),
                Action::Replace { old, recipe } => self.start(key, recipe, Some(old)),
                Action::Supersede { old, new } => {
                    self.show(new);
                    self.retire_of(key, old);
                }
                Action::Adopt(seat) => self.show(seat),
                Action::Stop(seat) => self.stop(seat),
                Action::Retire(seat) => self.retire_of(key, seat),
                Action::Readmit(seat) => {
                    if let Some(replica) = self.replicas.get_mut(&seat) {
                        replica.draining = None;
                        replica.retire_by = None;
                    }
                }
            }
        }
    }

    fn show(&mut self, seat: u64) {
        if let Some(replica) = self.replicas.get_mut(&seat) {
            replica.replaces = None;
        }
    }

    fn retire_of(&mut self, key: &VersionKey, seat: u64) {
        let patience = self.versions.get(key).map_or(RETIRE_SLACK, |group| group.patience);
        self.retire(seat, patience);
    }

    fn retire(&mut self, seat: u64, patience: Duration) {
        self.drains += 1;
        if let Some(replica) = self.replicas.get_mut(&seat) {
            replica.draining.get_or_insert(self.drains);
            replica.retire_by.get_or_insert(Instant::now() + patience);
        }
    }

    fn start(&mut self, key: &VersionKey, recipe: Arc<Recipe>, replaces: Option<u64>) {
        self.seats += 1;
        let of_version = self.replicas.values().filter(|replica| replica.key == *key);
        let taken: BTreeSet<u32> = of_version.map(|replica| replica.ordinal).collect();
        let ordinal = (1..=u32::MAX).find(|ordinal| !taken.contains(ordinal)).unwrap_or(0);
        let replica = Replica {
            key: key.clone(),
            ordinal,
            name: format!("{}-{}-{ordinal}", key.endpoint, key.version).into(),
            recipe,
            id: next_id(),
            place: None,
            healthy: false,
            generation: 0,
            ready_since: None,
            draining: None,
            retire_by: None,
            stopping: false,
            replaces,
            restarts: 0,
            backoff: Backoff::default(),
            pid: None,
            message: "starting".to_owned(),
            control: watch::Sender::new(Control::default()),
        };
        self.launch(self.seats, replica, Duration::ZERO);
    }

    /// Starts the task beside the replica; a process gets its ports at once, so that it is counted
    /// as capacity to come from this moment on.
    fn launch(&mut self, seat: u64, mut replica: Replica, delay: Duration) {
        let mut ports = None;
        match &replica.recipe.source {
            Source::Process(target) => {
                let wants_grpc = replica.recipe.grpc_port.is_some()
                    || target
                        .command
                        .iter()
                        .chain(target.env.values())
                        .any(|w| w.contains("{grpcPort}"));
                let pair = self.ports.take().and_then(|http| {
                    let grpc = wants_grpc.then(|| self.ports.take()).transpose()?;
                    Ok(PortPair { http, grpc })
                });
                replica.place = pair.as_ref().ok().map(PortPair::place);
                ports = Some(pair);
                if let (None, Some(binary)) = (&self.guardian, &self.desk.binary) {
                    self.guardian = Some(Guardian::start(&self.desk.lifecycle, binary.clone()));
                }
            }
            Source::Address(address) => {
                replica.place = literal_place(address, replica.recipe.grpc_port);
            }
        }
        let job = Job {
            seat,
            id: replica.id,
            name: Arc::clone(&replica.name),
            recipe: Arc::clone(&replica.recipe),
            ports,
            guardian: self.guardian.clone(),
            delay,
            control: replica.control.subscribe(),
            desk: Arc::clone(&self.desk),
        };
        self.replicas.insert(seat, replica);
        self.desk.lifecycle.spawn("replica", job.run());
    }

    /// Its process is gone: a new one takes the seat, unless it was to go anyway.
    fn ended(&mut self, seat: u64, why: String) {
        let Some(mut replica) = self.replicas.remove(&seat) else { return };
        self.dirty.insert(replica.key.endpoint.clone());
        if replica.stopping || self.stopping {
            return tracing::debug!(replica = &*replica.name, why, "ended");
        }
        let Some(group) = self.versions.get(&replica.key) else { return };
        let successor = self.replicas.values_mut().find(|other| other.replaces == Some(seat));
        if successor.is_some() || replica.draining.is_some() {
            tracing::warn!(replica = &*replica.name, why, "a replica that was to go ended early");
            if let Some(successor) = successor {
                successor.replaces = None;
            }
            return;
        }
        if let Wanted::Count { recipe, .. } = &group.wanted {
            replica.recipe = Arc::clone(recipe);
        }
        replica.fall(Instant::now(), why);
        let wait = replica.backoff.next(rand::random());
        replica.restarts += 1;
        tracing::warn!(
            replica = &*replica.name,
            why = &*replica.message,
            restarts = replica.restarts,
            next_try_ms = wait.as_millis(),
            "a replica ended and is started again"
        );
        replica.id = next_id();
        replica.generation = 0;
        replica.pid = None;
        replica.control = watch::Sender::new(Control::default());
        self.launch(seat, replica, wait);
    }

    fn drain(&mut self, id: ReplicaId) {
        let Some((seat, key)) = self.scalable(id) else { return };
        self.drains += 1;
        if let Some(replica) = self.replicas.get_mut(&seat) {
            replica.draining.get_or_insert(self.drains);
            self.dirty.insert(key.endpoint);
        }
    }

    fn readmit(&mut self, id: ReplicaId) {
        let Some((seat, key)) = self.scalable(id) else { return };
        let Some(group) = self.versions.get(&key) else { return };
        let facts = self.facts(&key);
        if facts.iter().any(|fact| fact.seat == seat && group.wanted.asks_for(&fact.recipe)) {
            self.perform(&key, [Action::Readmit(seat)]);
        }
    }

    /// The replica's seat and version, where its count may change at all.
    fn scalable(&self, id: ReplicaId) -> Option<(u64, VersionKey)> {
        let (seat, replica) = self.find(id)?;
        let group = self.versions.get(&replica.key)?;
        matches!(group.wanted, Wanted::Count { .. }).then(|| (seat, replica.key.clone()))
    }

    fn find(&self, id: ReplicaId) -> Option<(u64, &Replica)> {
        let staying = self.replicas.iter().filter(|(_, replica)| !replica.stopping);
        staying.map(|(seat, replica)| (*seat, replica)).find(|(_, replica)| replica.id == id)
    }

    /// Counts only in the generation it was seen in; later ones have passed a probe since.
    fn suspect(&mut self, id: ReplicaId, generation: u64) {
        let Some((seat, _)) = self.find(id) else { return };
        let Some(replica) = self.replicas.get_mut(&seat) else { return };
        if replica.healthy && replica.generation == generation {
            replica.fall(Instant::now(), "requests to it failed".to_owned());
            replica.control.send_modify(|control| control.suspicions += 1);
            self.dirty.insert(replica.key.endpoint.clone());
        }
    }
}
