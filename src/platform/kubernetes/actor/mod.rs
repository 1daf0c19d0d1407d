//! The loop: one turn takes what has come, settles what it concerns, publishes one catalog, starts
//! what is to be written, and reports.

mod orders;
mod settle;
mod upkeep;

use std::{collections::HashSet, sync::Arc, time::Duration};

use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior},
};

use super::{
    board::Board,
    cluster::{Cluster, Touched},
    endpoints::Endpoints,
    facts::Fact,
    fleet::Fleet,
    keys::Keys,
    leader::{Leadership, Term},
    legacy::Legacy,
    objects::{Object as _, ObjectKey, Secret},
    prober::Prober,
    reporter::Reporter,
    sources::Sources,
    target::Target,
    writes::Writes,
};
use crate::{
    domain::{Catalog, CatalogSink, Decision, VersionKey},
    lifecycle::{Condition, Lifecycle, Phase},
    platform::{
        inbox::Inbox,
        spec::{EndpointSpec, Policy},
    },
};

/// How often what waits for a time is looked at: retries, keys to be made, readiness.
const TICK: Duration = Duration::from_millis(200);
/// Each how many ticks every endpoint is looked at for what no news tells: once a second.
const TICKS_PER_LOOK: u32 = 5;
/// How many facts one turn takes before it publishes: a burst costs one catalog.
const FACTS_PER_TURN_MAX: usize = 512;

/// The state of the platform, all of it.
pub(super) struct Actor {
    pub(super) lifecycle: Lifecycle,
    pub(super) inbox: Arc<Inbox>,
    pub(super) facts: mpsc::Receiver<Fact>,
    pub(super) leadership: Leadership,
    /// The term that was heeded last.
    pub(super) term: Option<Arc<Term>>,
    pub(super) sink: CatalogSink,
    pub(super) synced: Condition,
    pub(super) sources: Sources,
    pub(super) cluster: Cluster,
    pub(super) endpoints: Endpoints,
    pub(super) legacy: Option<Legacy>,
    pub(super) fleet: Fleet,
    pub(super) keys: Keys,
    pub(super) prober: Prober,
    pub(super) writes: Writes,
    pub(super) reporter: Reporter,
    pub(super) board: Arc<Board>,
    pub(super) catalog: Catalog,
    /// What one turn has to settle.
    pub(super) work: Work,
    pub(super) is_synced: bool,
    /// When every source was heard completely.
    pub(super) complete_at: Option<Instant>,
    /// Ticks since the start.
    pub(super) ticks: u32,
}

/// What has been touched since the last settling.
#[derive(Debug, Default)]
pub(super) struct Work {
    touched: Touched,
    /// Endpoints to settle.
    endpoints: HashSet<ObjectKey>,
    /// Endpoints to build anew even when their replicas are as they were.
    rebuild: HashSet<ObjectKey>,
    /// Objects came or changed: who is in force is decided anew.
    resolve: bool,
}

impl Actor {
    pub(super) async fn run(mut self) {
        let lifecycle = self.lifecycle.clone();
        let stopped = lifecycle.reached(Phase::Stopped);
        tokio::pin!(stopped);
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut leadership = self.leadership.clone();
        loop {
            tokio::select! {
                () = &mut stopped => return,
                Some(fact) = self.facts.recv() => self.hear_all(fact),
                orders = self.inbox.take() => {
                    self.heed_term();
                    for order in orders {
                        self.obey(order);
                    }
                }
                () = leadership.changed() => self.heed_term(),
                _ = tick.tick() => self.tick(),
            }
            self.turn();
        }
    }

    /// Everything that follows from what has come.
    fn turn(&mut self) {
        self.settle();
        if self.is_synced {
            self.write();
        }
    }

    fn hear_all(&mut self, first: Fact) {
        self.hear(first);
        for _ in 1..FACTS_PER_TURN_MAX {
            let Ok(fact) = self.facts.try_recv() else { return };
            self.hear(fact);
        }
    }

    fn hear(&mut self, fact: Fact) {
        self.sources.note(&fact);
        let touched = &mut self.work.touched;
        match fact {
            Fact::Endpoints(scope, news) => {
                for delta in self.reporter.objects.apply(scope.as_deref(), news) {
                    let Some(object) = delta.after.as_ref().or(delta.before.as_ref()) else {
                        continue;
                    };
                    let key = object.key();
                    self.work.endpoints.insert(key.clone());
                    match delta.after {
                        Some(object) if self.endpoints.refresh(&key, &object) => continue,
                        Some(object) => self.endpoints.put(key.clone(), object, Policy::CLUSTER),
                        None => {
                            self.endpoints.remove(&key);
                            self.reporter.forget(&key);
                        }
                    }
                    self.work.resolve = true;
                }
            }
            Fact::Workloads(kind, scope, news) => {
                self.cluster.take_workloads(kind, scope.as_deref(), news, touched);
            }
            Fact::ReplicaSets(scope, news) => {
                self.cluster.take_replica_sets(scope.as_deref(), news, touched);
            }
            Fact::Pods(scope, news) => self.cluster.take_pods(scope.as_deref(), news, touched),
            Fact::Hpas(scope, news) => self.cluster.take_hpas(scope.as_deref(), news, touched),
            Fact::Secret(key, news) => self.hear_secret(&key, news),
            Fact::Routers(news) => self.reporter.routers(news),
            Fact::Probed(id, place, result) => {
                self.work.endpoints.extend(self.fleet.probed(id, place, result));
            }
            Fact::Written(target, outcome) => {
                self.writes.hear(&target, outcome);
                touched.insert(target);
            }
            Fact::KeysMade(secret, result) => {
                self.keys.made(&secret, result);
                self.touch_secret(&secret);
            }
            Fact::Decided(decision) => self.explain(&decision),
        }
    }

    fn hear_secret(&mut self, secret: &ObjectKey, news: super::watch::News<Secret>) {
        self.keys.hear(secret, news);
        self.touch_secret(secret);
    }

    pub(super) fn touch_secret(&mut self, secret: &ObjectKey) {
        let users: Vec<ObjectKey> = self
            .endpoints
            .in_force()
            .map(|(_, key)| key)
            .filter(|key| self.secret_of(key).as_ref() == Some(secret))
            .cloned()
            .collect();
        self.work.rebuild.extend(users.iter().cloned());
        self.work.endpoints.extend(users);
    }

    /// The Secret with the keys of an endpoint in force, where it asks for keys.
    fn secret_of(&self, key: &ObjectKey) -> Option<ObjectKey> {
        secret_of(key, self.endpoints.get(key)?.spec()?)
    }

    fn explain(&mut self, decision: &Decision) {
        self.reporter.decided(decision);
        if let Some((key, target)) = self.target(&decision.key) {
            self.writes.explain(&target, decision.direction(), decision.cause());
            self.work.endpoints.insert(key);
        }
    }

    /// The object and the target of a version in force.
    fn target(&self, version: &VersionKey) -> Option<(ObjectKey, Target)> {
        let key = self.endpoints.by_name(&version.endpoint)?;
        let seats = self.fleet.seats(key, &version.version)?;
        Some((key.clone(), seats.target.clone()))
    }
}

/// The Secret with the keys of an endpoint, where it asks for keys: the one that it names, or one
/// that is named after it.
pub(super) fn secret_of(endpoint: &ObjectKey, spec: &EndpointSpec) -> Option<ObjectKey> {
    if !spec.takes_keys {
        return None;
    }
    let name =
        spec.secret.as_deref().map_or_else(|| format!("{}-keys", endpoint.name).into(), Arc::from);
    Some(ObjectKey { namespace: Arc::clone(&endpoint.namespace), name })
}
