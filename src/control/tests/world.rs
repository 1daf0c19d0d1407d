//! A version in memory: the load of a data plane and the obedience of a platform, without either.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use crate::{
    control::{Driver, DriverHandle},
    domain::{
        AuthPolicy, Autoscale, Catalog, Decision, Endpoint, ErrorProfile, LoadSource, Name,
        Replica, ReplicaId, ReplicaLoad, ReplicaState, Signal, Version, VersionKey, VersionKind,
        VersionLoad,
    },
    lifecycle::Lifecycle,
    platform::Orders,
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Order {
    Start(u32),
    Drain(u64),
    Readmit(u64),
    Retire(Vec<u64>),
    Suspect(u64, u64),
}

#[derive(Clone)]
pub(super) struct World(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    signals: mpsc::Sender<Signal>,
    catalogs: watch::Sender<Arc<Catalog>>,
    /// Taken out when the election dies.
    leads: Mutex<Option<watch::Sender<bool>>>,
    lifecycle: Lifecycle,
}

#[expect(clippy::struct_excessive_bools, reason = "each is one fault a test may switch on")]
pub(super) struct State {
    pub(super) version: Version,
    pub(super) busy: Vec<(u64, u32)>,
    pub(super) queued: u32,
    pub(super) peak: u32,
    pub(super) armed: u32,
    /// The data plane does not know the version.
    pub(super) unknown: bool,
    /// Signals get lost.
    pub(super) mute: bool,
    /// Orders to start get lost.
    pub(super) deaf: bool,
    /// What the platform does is not published.
    pub(super) lagging: bool,
    pub(super) orders: Vec<Order>,
    pub(super) decisions: Vec<(Instant, Decision)>,
    /// Requests that were in progress on a replica when it was ended.
    pub(super) killed: u32,
    last_id: u64,
    revision: u64,
}

pub(super) fn key() -> VersionKey {
    VersionKey { endpoint: Name::new("demo").unwrap(), version: Name::new("blue").unwrap() }
}

pub(super) fn autoscale(min_replicas: u32, max_replicas: u32) -> Autoscale {
    Autoscale {
        enabled: true,
        min_replicas,
        max_replicas,
        target_utilization: 70,
        scale_down_window: Duration::from_secs(60),
    }
}

/// Lets every task run until it waits, without letting time pass.
pub(super) async fn settle() {
    for _ in 0..32 {
        tokio::task::yield_now().await;
    }
}

impl World {
    /// A version with this many ready replicas of one slot, and a driver that watches it and leads.
    pub(super) async fn with(ready: u32, settings: Autoscale) -> (Self, DriverHandle) {
        Self::of(ready, settings, true).await
    }

    /// As [`World::with`], but another router leads.
    pub(super) async fn following(ready: u32, settings: Autoscale) -> (Self, DriverHandle) {
        Self::of(ready, settings, false).await
    }

    async fn of(ready: u32, settings: Autoscale, leads: bool) -> (Self, DriverHandle) {
        let (signals, signals_out) = mpsc::channel(64);
        let (catalogs, catalogs_out) = watch::channel(Arc::default());
        let state = State {
            version: version(settings),
            busy: Vec::new(),
            queued: 0,
            peak: 0,
            armed: u32::MAX,
            unknown: false,
            mute: false,
            deaf: false,
            lagging: false,
            orders: Vec::new(),
            decisions: Vec::new(),
            killed: 0,
            last_id: 0,
            revision: 0,
        };
        let (leads, leads_out) = watch::channel(leads);
        let world = Self(Arc::new(Inner {
            state: Mutex::new(state),
            signals,
            catalogs,
            leads: Mutex::new(Some(leads)),
            lifecycle: Lifecycle::new(),
        }));
        world.change(|state| {
            state.add(ready);
            state.make_ready();
        });
        let recorder = world.clone();
        let handle = Driver {
            signals: signals_out,
            catalog: catalogs_out,
            load: Arc::new(world.clone()),
            orders: Arc::new(world.clone()),
            record: Arc::new(move |decision| {
                recorder.0.state.lock().decisions.push((Instant::now(), decision));
            }),
            leads: leads_out,
        }
        .start(&world.0.lifecycle);
        settle().await;
        (world, handle)
    }

    pub(super) fn lifecycle(&self) -> &Lifecycle {
        &self.0.lifecycle
    }

    /// The election says again or anew who leads.
    pub(super) fn lead(&self, leads: bool) {
        self.0.leads.lock().as_ref().unwrap().send_replace(leads);
    }

    /// The election is gone, and whatever it said last is of no worth.
    pub(super) fn end_election(&self) {
        drop(self.0.leads.lock().take());
    }

    pub(super) fn look<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.0.state.lock())
    }

    /// Changes something that shows in the catalog.
    pub(super) fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.0.state.lock();
        change(&mut state);
        state.serve_queue();
        if !state.lagging {
            state.revision += 1;
            self.0.catalogs.send_replace(Arc::new(state.catalog()));
        }
    }

    pub(super) fn signal(&self, signal: Signal) {
        if !self.look(|state| state.mute) {
            // A full channel loses the signal, as the real one does.
            drop(self.0.signals.try_send(signal));
        }
    }

    /// Requests begin or end until this many are in progress or waiting.
    pub(super) fn set_load(&self, load: u32) {
        while self.look(|state| state.load()) < load {
            let crossed = self.look(|state| {
                state.queued += 1;
                state.serve_queue();
                state.peak = state.peak.max(state.load());
                let crossed = state.load() > state.armed;
                if crossed {
                    state.armed = u32::MAX;
                }
                crossed
            });
            if crossed {
                self.signal(Signal::Pressure(key()));
            }
        }
        while self.look(|state| state.load()) > load {
            if self.look(|state| state.queued) > 0 {
                self.look(|state| state.queued -= 1);
            } else {
                let busy = self.look(|state| state.busy.iter().find(|one| one.1 > 0).unwrap().0);
                self.finish_on(busy);
            }
        }
    }

    /// One request on this replica ends.
    pub(super) fn finish_on(&self, id: u64) {
        let idle = self.look(|state| {
            state.busy.iter_mut().find(|one| one.0 == id).unwrap().1 -= 1;
            state.serve_queue();
            state.is_idle(id)
        });
        if idle {
            self.signal(Signal::Idle(ReplicaId(id)));
        }
    }

    pub(super) fn take_orders(&self) -> Vec<Order> {
        self.look(|state| std::mem::take(&mut state.orders))
    }

    pub(super) fn reasons(&self) -> Vec<String> {
        self.look(|state| state.decisions.drain(..).map(|(_, decision)| decision.reason).collect())
    }
}

impl State {
    pub(super) fn add(&mut self, count: u32) {
        for _ in 0..count {
            self.last_id += 1;
            let address = SocketAddr::from(([127, 0, 0, 1], 1));
            self.version.replicas.push(Replica {
                id: ReplicaId(self.last_id),
                name: format!("demo-blue-{}", self.last_id).into(),
                ordinal: None,
                http: address,
                grpc: address,
                state: ReplicaState::Starting,
                generation: 0,
            });
            self.busy.push((self.last_id, 0));
        }
    }

    /// From now on the platform can only remove the highest first: replica 1 has ordinal 0.
    pub(super) fn give_ordinals(&mut self) {
        for (ordinal, replica) in (0..).zip(&mut self.version.replicas) {
            replica.ordinal = Some(ordinal);
        }
    }

    pub(super) fn make_ready(&mut self) {
        for replica in &mut self.version.replicas {
            if replica.state == ReplicaState::Starting {
                (replica.state, replica.generation) = (ReplicaState::Ready, replica.generation + 1);
            }
        }
    }

    pub(super) fn count(&self, state: ReplicaState) -> u32 {
        self.version.count(state)
    }

    pub(super) fn ids(&self, state: ReplicaState) -> Vec<u64> {
        let replicas = self.version.replicas.iter();
        replicas.filter(|one| one.state == state).map(|one| one.id.0).collect()
    }

    pub(super) fn load(&self) -> u32 {
        self.queued + self.busy.iter().map(|one| one.1).sum::<u32>()
    }

    fn set(&mut self, id: ReplicaId, state: ReplicaState) {
        if let Some(replica) = self.version.replicas.iter_mut().find(|one| one.id == id) {
            replica.state = state;
        }
    }

    /// Oldest replica first.
    fn serve_queue(&mut self) {
        let slots = self.version.slots_per_replica;
        for id in self.ids(ReplicaState::Ready) {
            let busy = self.busy.iter_mut().find(|one| one.0 == id).unwrap();
            let taken = self.queued.min(slots - busy.1);
            busy.1 += taken;
            self.queued -= taken;
        }
    }

    fn is_idle(&self, id: u64) -> bool {
        let busy = self.busy.iter().find(|one| one.0 == id);
        busy.is_none_or(|one| one.1 == 0 && self.ids(ReplicaState::Draining).contains(&id))
    }

    fn catalog(&self) -> Catalog {
        let name = Name::new("demo").unwrap();
        let endpoint = Endpoint {
            name: name.clone(),
            auth: AuthPolicy::open(),
            forward_credentials: false,
            max_payload_bytes: 1,
            sticky_by: None,
            error_profile: ErrorProfile::Kubernetes,
            hosts: Vec::new(),
            server_timing: false,
            versions: vec![self.version.clone()],
            default_version: 0,
        };
        Catalog { revision: self.revision, endpoints: [(name, Arc::new(endpoint))].into() }
    }
}

impl LoadSource for World {
    fn take_load(&self, key: &VersionKey) -> Option<VersionLoad> {
        let load = self.peek_load(key);
        self.look(|state| state.peak = state.load());
        load
    }

    fn peek_load(&self, _: &VersionKey) -> Option<VersionLoad> {
        self.look(|state| {
            let ready = state.count(ReplicaState::Ready);
            (!state.unknown).then(|| VersionLoad {
                busy: state.load() - state.queued,
                queued: state.queued,
                peak: state.peak,
                ready,
                slots: ready * state.version.slots_per_replica,
                aside: 0,
            })
        })
    }

    fn arm_pressure(&self, key: &VersionKey, above: u32) {
        let at_once = self.look(|state| {
            let at_once = state.load() > above;
            state.armed = if at_once { u32::MAX } else { above };
            at_once
        });
        if at_once {
            self.signal(Signal::Pressure(key.clone()));
        }
    }

    fn is_idle(&self, replica: ReplicaId) -> bool {
        self.look(|state| state.is_idle(replica.0))
    }

    fn replica_load(&self, replica: ReplicaId) -> Option<ReplicaLoad> {
        self.look(|state| {
            let busy = state.busy.iter().find(|one| one.0 == replica.0)?.1;
            let usable = state.ids(ReplicaState::Ready).contains(&replica.0);
            Some(ReplicaLoad { busy, usable, aside: None })
        })
    }
}

impl Orders for World {
    fn start(&self, _: &VersionKey, wanted: u32) {
        self.change(|state| {
            state.orders.push(Order::Start(wanted));
            let count = state.count(ReplicaState::Ready) + state.count(ReplicaState::Starting);
            if !state.deaf {
                state.add(wanted.saturating_sub(count));
            }
        });
    }

    fn drain(&self, replica: ReplicaId) {
        self.change(|state| {
            state.orders.push(Order::Drain(replica.0));
            state.set(replica, ReplicaState::Draining);
        });
    }

    fn readmit(&self, replica: ReplicaId) {
        self.change(|state| {
            state.orders.push(Order::Readmit(replica.0));
            state.set(replica, ReplicaState::Ready);
        });
    }

    fn retire(&self, _: &VersionKey, replicas: &[ReplicaId]) {
        self.change(|state| {
            let ids: Vec<_> = replicas.iter().map(|id| id.0).collect();
            let busy = state.busy.iter().filter(|one| ids.contains(&one.0)).map(|one| one.1);
            state.killed += busy.sum::<u32>();
            state.busy.retain(|one| !ids.contains(&one.0));
            state.version.replicas.retain(|one| !ids.contains(&one.id.0));
            state.orders.push(Order::Retire(ids));
        });
    }

    fn suspect(&self, replica: ReplicaId, generation: u64) {
        self.look(|state| state.orders.push(Order::Suspect(replica.0, generation)));
    }
}

fn version(settings: Autoscale) -> Version {
    Version {
        name: Name::new("blue").unwrap(),
        kind: VersionKind::Control,
        traffic_percentile: 100,
        mirror_percentile: 0,
        scoring_path: "/score".into(),
        slots_per_replica: 1,
        max_queue_wait: Duration::from_millis(500),
        max_queue_length: None,
        request_timeout: Duration::from_secs(60),
        stream_idle_timeout: Duration::from_secs(300),
        on_disconnect: None,
        fallback_to_default: false,
        autoscale: settings,
        startable: true,
        rolling: false,
        replicas: Vec::new(),
    }
}
