//! What follows from what was touched: states, catalogs, reports.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use super::{
    super::{endpoints::target_key, objects::ObjectKey},
    Actor, TICKS_PER_LOOK, Work,
};
use crate::{
    domain::{Endpoint, Name},
    platform::spec::Policy,
};

/// How long the start waits for Secrets. An endpoint whose Secret cannot be read for longer must not
/// keep all others waiting.
const SECRETS_WAIT_MAX: Duration = Duration::from_secs(10);
/// How long the start waits for the first probes: one time-out of a probe by default.
const PROBES_WAIT_MAX: Duration = Duration::from_secs(2);

/// Endpoints built anew; `None`: it is gone.
type Built = BTreeMap<Name, Option<Arc<Endpoint>>>;

impl Actor {
    pub(super) fn tick(&mut self) {
        if let Some(legacy) = &mut self.legacy {
            for (key, object) in legacy.changes(&self.cluster, &self.reporter.objects) {
                match object {
                    Some(object) => self.endpoints.put(key.clone(), object, Policy::CLUSTER),
                    None => self.endpoints.remove(&key),
                }
                self.work.resolve = true;
                self.work.endpoints.insert(key);
            }
        }
        self.board.set_age(self.sources.age());
        if !self.is_synced {
            self.wait_for_sources();
        }
        for secret in self.keys.expire() {
            self.touch_secret(&secret);
        }
        self.ticks = self.ticks.wrapping_add(1);
        if self.ticks.is_multiple_of(TICKS_PER_LOOK) {
            self.look_over();
        }
    }

    /// Nothing is published before everything was heard once: half a picture would refuse
    /// requests that the whole one serves.
    fn wait_for_sources(&mut self) {
        if let Some(why) = self.sources.missing() {
            self.synced.unmet(why);
            return;
        }
        let waited = self.complete_at.get_or_insert_with(Instant::now).elapsed();
        let awaited = self.fleet.awaiting_first_probe();
        match self.keys.unknown() {
            Some(secret) if waited < SECRETS_WAIT_MAX => {
                self.synced.unmet(format!("Secret {secret} was not read yet"));
            }
            // A router that takes over from another one must not begin without replicas.
            _ if awaited > 0 && waited < PROBES_WAIT_MAX => {
                self.synced.unmet(format!("{awaited} ready pods were not probed yet"));
            }
            _ => self.begin(),
        }
    }

    /// The first catalog.
    fn begin(&mut self) {
        self.is_synced = true;
        let keys: Vec<ObjectKey> = self.endpoints.keys().cloned().collect();
        self.work.rebuild.extend(keys.iter().cloned());
        self.work.endpoints.extend(keys);
        self.settle();
        if self.catalog.revision == 0 {
            self.publish(BTreeMap::new());
        }
        self.synced.met();
    }

    /// Settles what was touched, and publishes when that changed anything.
    pub(super) fn settle(&mut self) {
        let mut work = std::mem::take(&mut self.work);
        if work.resolve {
            self.resolve(&mut work);
        }
        for target in &work.touched {
            let workload = self.cluster.workload(target).map(Arc::clone);
            if self.endpoints.user(target).is_some() {
                self.writes.see(target, workload.as_deref());
            }
            let users: Vec<ObjectKey> = self.fleet.users(target).cloned().collect();
            // The workload itself, its HPA or its pods: any of them may show in the catalog.
            work.rebuild.extend(users.iter().cloned());
            work.endpoints.extend(users);
        }
        let mut built = BTreeMap::new();
        for key in &work.endpoints {
            let changed = self.fleet.settle(key, &self.cluster, &self.prober);
            if self.is_synced && (changed || work.rebuild.contains(key)) {
                self.build(key, &mut built);
            }
        }
        let gone: Vec<Name> = self
            .catalog
            .endpoints
            .keys()
            .filter(|_| work.resolve)
            .filter(|name| self.endpoints.by_name(name).is_none())
            .cloned()
            .collect();
        built.extend(gone.into_iter().map(|name| (name, None)));
        if !built.is_empty() {
            self.publish(built);
        }
        if self.is_synced {
            self.report(&work.endpoints);
        }
    }

    fn resolve(&mut self, work: &mut Work) {
        let changed = self.endpoints.resolve();
        for key in &changed {
            self.fleet.edit(key, self.endpoints.get(key).and_then(|r| r.spec()).map(|s| &**s));
        }
        let gone: Vec<ObjectKey> = work
            .endpoints
            .iter()
            .filter(|key| self.endpoints.get(key).is_none())
            .cloned()
            .collect();
        for key in gone {
            self.fleet.edit(&key, None);
        }
        let secrets = self.endpoints.in_force().filter_map(|(_, key)| self.secret_of(key));
        let secrets: HashSet<ObjectKey> = secrets.collect();
        self.keys.follow(&secrets);
        let Self { writes, endpoints, cluster, .. } = self;
        writes.retain(|target| endpoints.user(target).is_some());
        for key in &changed {
            let versions = endpoints.get(key).and_then(|record| record.spec());
            for details in versions.iter().flat_map(|spec| &spec.versions) {
                let target = target_key(&key.namespace, &details.target);
                if let Some(target) = target {
                    writes.see(&target, cluster.workload(&target).map(|w| &**w));
                }
            }
        }
        work.rebuild.extend(changed.iter().cloned());
        work.endpoints.extend(changed);
    }

    fn build(&self, key: &ObjectKey, built: &mut Built) {
        let secret = self.secret_of(key);
        let keys = secret.as_ref().map(|secret| self.keys.of(secret).0).unwrap_or_default();
        let endpoint = self.fleet.endpoint(key, &self.endpoints, &self.cluster, keys);
        if let Some(endpoint) = endpoint {
            let statuses = self.fleet.statuses(key, &endpoint.name);
            self.board.show(endpoint.name.clone(), statuses);
            self.board.locate(endpoint.name.clone(), key.clone(), secret);
            built.insert(endpoint.name.clone(), Some(Arc::new(endpoint)));
        }
    }

    /// The next catalog: endpoints that were not built are the very same as before.
    fn publish(&mut self, built: Built) {
        for (name, endpoint) in built {
            match endpoint {
                Some(endpoint) => {
                    self.catalog.endpoints.insert(name, endpoint);
                }
                None => {
                    self.catalog.endpoints.remove(&name);
                    self.board.hide(&name);
                }
            }
        }
        self.catalog.revision += 1;
        (self.sink)(Arc::new(self.catalog.clone()));
    }
}
