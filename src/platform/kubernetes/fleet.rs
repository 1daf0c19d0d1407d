//! The replicas of every endpoint in force, and what is built from them: endpoints of the catalog,
//! lists for people.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{
    cluster::Cluster,
    endpoints::{Endpoints, target_key},
    objects::ObjectKey,
    prober::Prober,
    replica::Replica,
    seats::Seats,
    target::Target,
};
use crate::{
    domain::{Endpoint, KeyDigest, Name, ReplicaId, ReplicaStatus, VersionKey},
    platform::{
        probe::{Failure, Place},
        spec::EndpointSpec,
    },
};

/// The versions of one endpoint, in the order of its spec.
pub(super) type Crew = BTreeMap<Name, Seats>;

/// All replicas.
#[derive(Debug, Default)]
pub(super) struct Fleet {
    crews: HashMap<ObjectKey, Crew>,
    /// Where a replica sits.
    by_id: HashMap<ReplicaId, (ObjectKey, Name)>,
    /// Which endpoints have pods of a target, former targets included.
    users: HashMap<Target, HashSet<ObjectKey>>,
    /// What the two above hold because of each endpoint, so that one is indexed anew at the cost
    /// of its own replicas and not of all.
    entries: HashMap<ObjectKey, Entries>,
}

/// What the indexes hold because of one endpoint.
#[derive(Debug, Default)]
struct Entries {
    ids: HashSet<ReplicaId>,
    targets: HashSet<Target>,
}

impl Fleet {
    /// Makes the crew of an endpoint follow its spec in force. `None`: it has none any more.
    pub(super) fn edit(&mut self, key: &ObjectKey, spec: Option<&EndpointSpec>) {
        let Some(spec) = spec else {
            self.crews.remove(key);
            self.index(key);
            return;
        };
        let crew = self.crews.entry(key.clone()).or_default();
        crew.retain(|name, _| spec.endpoint.version(name.as_str()).is_some());
        for (version, details) in spec.endpoint.versions.iter().zip(&spec.versions) {
            let Some(target) = target_key(&key.namespace, &details.target) else { continue };
            match crew.get_mut(&version.name) {
                Some(seats) => seats.edit(target, details),
                None => {
                    crew.insert(version.name.clone(), Seats::new(target, details));
                }
            }
        }
        self.index(key);
    }

    /// Settles the replicas of one endpoint; true when anything changed that others see.
    pub(super) fn settle(&mut self, key: &ObjectKey, cluster: &Cluster, prober: &Prober) -> bool {
        let Some(crew) = self.crews.get_mut(key) else { return false };
        let mut changed = false;
        for seats in crew.values_mut() {
            changed |= seats.settle(cluster, prober);
        }
        self.index(key);
        changed
    }

    fn index(&mut self, key: &ObjectKey) {
        let mut now = Entries::default();
        for (name, seats) in self.crews.get(key).into_iter().flatten() {
            now.targets.extend(seats.targets());
            for replica in seats.replicas() {
                now.ids.insert(replica.id);
                self.by_id.insert(replica.id, (key.clone(), name.clone()));
            }
        }
        let before = self.entries.remove(key).unwrap_or_default();
        for id in before.ids.difference(&now.ids) {
            self.by_id.remove(id);
        }
        for target in before.targets.difference(&now.targets) {
            if let Some(users) = self.users.get_mut(target) {
                users.remove(key);
                if users.is_empty() {
                    self.users.remove(target);
                }
            }
        }
        for target in &now.targets {
            self.users.entry(target.clone()).or_default().insert(key.clone());
        }
        if self.crews.contains_key(key) {
            self.entries.insert(key.clone(), now);
        }
    }

    /// How many replicas Kubernetes calls ready and we have not probed yet.
    pub(super) fn awaiting_first_probe(&self) -> usize {
        let seats = self.crews.values().flat_map(Crew::values);
        seats.flat_map(Seats::replicas).filter(|replica| replica.awaits_first_probe()).count()
    }

    /// Who has pods of this target.
    pub(super) fn users(&self, target: &Target) -> impl Iterator<Item = &ObjectKey> {
        self.users.get(target).into_iter().flatten()
    }

    pub(super) fn crew(&self, key: &ObjectKey) -> Option<&Crew> {
        self.crews.get(key)
    }

    pub(super) fn seats(&self, key: &ObjectKey, version: &Name) -> Option<&Seats> {
        self.crews.get(key)?.get(version)
    }

    pub(super) fn seats_mut(&mut self, key: &ObjectKey, version: &Name) -> Option<&mut Seats> {
        self.crews.get_mut(key)?.get_mut(version)
    }

    /// The endpoint and version of a replica.
    pub(super) fn seat_of(&self, id: ReplicaId) -> Option<(ObjectKey, Name)> {
        self.by_id.get(&id).cloned()
    }

    /// Changes a replica; whose endpoint has to be settled then.
    pub(super) fn change(
        &mut self,
        id: ReplicaId,
        change: impl FnOnce(&mut Replica),
    ) -> Option<ObjectKey> {
        let (key, version) = self.seat_of(id)?;
        change(self.seats_mut(&key, &version)?.replica(id)?);
        Some(key)
    }

    /// Takes the result of a probe, unless the replica is elsewhere by now.
    pub(super) fn probed(
        &mut self,
        id: ReplicaId,
        place: Place,
        result: Result<(), Failure>,
    ) -> Option<ObjectKey> {
        let (key, version) = self.seat_of(id)?;
        let seats = self.seats_mut(&key, &version)?;
        let replica = seats.replica(id)?;
        if replica.probe_place() != Some(place) {
            return None;
        }
        let is_good = result.is_ok();
        replica.hear(result);
        if is_good {
            seats.probe_ended(id);
        }
        Some(key)
    }

    /// All replicas, for people.
    pub(super) fn statuses(&self, key: &ObjectKey, endpoint: &Name) -> Vec<ReplicaStatus> {
        let versions = self.crews.get(key).into_iter().flatten();
        versions
            .flat_map(|(version, seats)| {
                let (endpoint, version) = (endpoint.clone(), version.clone());
                seats.statuses(&VersionKey { endpoint, version })
            })
            .collect()
    }

    /// The endpoint as the data plane sees it.
    pub(super) fn endpoint(
        &self,
        key: &ObjectKey,
        endpoints: &Endpoints,
        cluster: &Cluster,
        keys: Vec<KeyDigest>,
    ) -> Option<Endpoint> {
        let spec = endpoints.get(key)?.spec()?;
        let mut endpoint = spec.endpoint.clone();
        endpoint.auth.keys = keys;
        for version in &mut endpoint.versions {
            let Some(seats) = self.seats(key, &version.name) else { continue };
            let workload = cluster.workload(&seats.target);
            // Somebody else scales it, or nobody can.
            let is_foreign = cluster.hpa(&seats.target).is_some() || workload.is_none();
            version.autoscale.enabled &= !is_foreign;
            version.startable = workload.is_some();
            version.replicas = seats.published();
            let counts = seats.counts();
            let wanted = workload.and_then(|workload| workload.spec.replicas).unwrap_or(1);
            version.rolling = counts.mixed || counts.live.saturating_sub(counts.ordered) > wanted;
        }
        Some(endpoint)
    }
}
