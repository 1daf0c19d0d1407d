//! The replicas of one version: pods of its target, each with its probe.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use super::{
    cluster::Cluster,
    objects::Pod,
    prober::{Prober, Probing},
    replica::{Ports, Removal, Replica, has_ended},
    target::{Target, WorkloadKind},
};
use crate::{
    domain::{Replica as Published, ReplicaId, ReplicaState, ReplicaStatus, VersionKey},
    platform::spec::{Probe, VersionSpec},
};

/// One replica with its probe, and the target that it came with.
#[derive(Debug)]
struct Seat {
    replica: Replica,
    target: Target,
    /// The running probe and its round.
    probing: Option<(u64, Probing)>,
}

/// The replicas of one version.
#[derive(Debug)]
pub(super) struct Seats {
    pub(super) target: Target,
    ports: Ports,
    probe: Probe,
    /// By the uid of the pod, so that a pod which takes over an address is another replica.
    by_pod: BTreeMap<Arc<str>, Seat>,
}

/// How many pods of the target there are, for whoever writes its count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Pods that count for `spec.replicas`: those that are not being deleted and have not ended.
    pub(super) live: u32,
    /// Of those, the ones that drain and may still be taken back.
    pub(super) draining: u32,
    /// Of those, the ones whose end is ordered.
    pub(super) ordered: u32,
    /// Whether pods of more than one ReplicaSet live: a rollout.
    pub(super) mixed: bool,
}

impl Seats {
    pub(super) fn new(target: Target, spec: &VersionSpec) -> Self {
        let by_pod = BTreeMap::new();
        Self { target, ports: ports(spec), probe: spec.probe.clone(), by_pod }
    }

    /// Takes over an edit of the version. Replicas of a former target stay until one of the new
    /// target is ready.
    pub(super) fn edit(&mut self, target: Target, spec: &VersionSpec) {
        let (ports, probe) = (ports(spec), spec.probe.clone());
        if (ports, &probe) != (self.ports, &self.probe) {
            for seat in self.by_pod.values_mut() {
                seat.probing = None;
                seat.replica.see(Arc::clone(&seat.replica.pod), ports);
            }
        }
        (self.target, self.ports, self.probe) = (target, ports, probe);
    }

    /// Every target whose pods are here.
    pub(super) fn targets(&self) -> HashSet<Target> {
        let former = self.by_pod.values().map(|seat| seat.target.clone());
        former.chain([self.target.clone()]).collect()
    }

    /// Makes the seats follow the pods, settles every state, and starts and ends probes. True when
    /// anything changed that others see.
    pub(super) fn settle(&mut self, cluster: &Cluster, prober: &Prober) -> bool {
        let mut changed = self.follow(cluster);
        let usable = self.by_pod.values().any(|seat| seat.replica.is_usable());
        for seat in self.by_pod.values_mut() {
            changed |= seat.replica.settle(!usable);
            let round = seat.replica.round();
            let is_asked =
                |place| seat.probing.as_ref().is_some_and(|(of, p)| *of == round && p.is_at(place));
            match seat.replica.probe_place() {
                None => seat.probing = None,
                Some(place) if is_asked(place) => {}
                Some(place) => {
                    let probe = self.probe.clone();
                    seat.probing = Some((round, prober.start(seat.replica.id, place, probe)));
                }
            }
        }
        changed
    }

    fn follow(&mut self, cluster: &Cluster) -> bool {
        let mut pods: HashMap<Arc<str>, (Arc<Pod>, Target)> = HashMap::new();
        for target in self.targets() {
            for pod in cluster.pods(&target).into_iter().filter(|pod| !has_ended(pod)) {
                pods.insert(Arc::clone(&pod.metadata.uid), (Arc::clone(pod), target.clone()));
            }
        }
        let (target, before) = (&self.target, self.by_pod.len());
        let replaced = self
            .by_pod
            .values()
            .any(|seat| seat.target == *target && seat.replica.state == ReplicaState::Ready);
        self.by_pod
            .retain(|uid, seat| pods.contains_key(uid) && (seat.target == *target || !replaced));
        let mut changed = self.by_pod.len() != before;
        for (uid, (pod, target)) in pods {
            match self.by_pod.get_mut(&uid) {
                Some(seat) if Arc::ptr_eq(&seat.replica.pod, &pod) => {}
                Some(seat) => seat.replica.see(pod, self.ports),
                None if target == self.target => {
                    let replica = Replica::new(pod, self.ports);
                    self.by_pod.insert(uid, Seat { replica, target, probing: None });
                    changed = true;
                }
                None => {}
            }
        }
        changed
    }

    /// The replica of this id.
    pub(super) fn replica(&mut self, id: ReplicaId) -> Option<&mut Replica> {
        let seat = self.by_pod.values_mut().find(|seat| seat.replica.id == id)?;
        Some(&mut seat.replica)
    }

    /// A probe has ended with a good answer; its task is over.
    pub(super) fn probe_ended(&mut self, id: ReplicaId) {
        if let Some(seat) = self.by_pod.values_mut().find(|seat| seat.replica.id == id) {
            seat.probing = None;
        }
    }

    /// The replicas whose pods are of the present target: its count is about them alone.
    pub(super) fn own(&self) -> impl Iterator<Item = &Replica> {
        let here = self.by_pod.values().filter(|seat| seat.target == self.target);
        here.map(|seat| &seat.replica)
    }

    pub(super) fn replicas(&self) -> impl Iterator<Item = &Replica> {
        self.by_pod.values().map(|seat| &seat.replica)
    }

    pub(super) fn replicas_mut(&mut self) -> impl Iterator<Item = &mut Replica> {
        self.by_pod.values_mut().map(|seat| &mut seat.replica)
    }

    /// What the data plane sees.
    pub(super) fn published(&self) -> Vec<Published> {
        self.by_pod
            .values()
            .map(|seat| {
                let is_ordered = seat.target.kind == WorkloadKind::StatefulSet;
                let ordinal = ordinal(&seat.replica.pod.metadata.name).filter(|_| is_ordered);
                seat.replica.published(ordinal)
            })
            .collect()
    }

    /// What people see.
    pub(super) fn statuses(&self, key: &VersionKey) -> Vec<ReplicaStatus> {
        self.replicas().map(|replica| replica.status(key)).collect()
    }

    /// Counts the pods of the target itself.
    pub(super) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        let mut owners = HashSet::new();
        for replica in self.own().filter(|replica| !replica.is_deleted()) {
            counts.live += 1;
            owners.extend(replica.pod.metadata.owner_references.iter().map(|owner| &owner.uid));
            if replica.removal == Removal::Drains {
                counts.draining += 1;
            } else if replica.is_leaving() {
                counts.ordered += 1;
            }
        }
        counts.mixed = self.target.kind == WorkloadKind::Deployment && owners.len() > 1;
        counts
    }
}

fn ports(spec: &VersionSpec) -> Ports {
    Ports { http: spec.port, grpc: spec.grpc_port }
}

/// The number at the end of the name of a StatefulSet's pod.
pub(super) fn ordinal(pod: &str) -> Option<u32> {
    pod.rsplit_once('-')?.1.parse().ok()
}
