//! One pod as a replica: whether it may get work, and why not. Pure: facts in, state out.
//!
//! Two witnesses race at the start: our own probe, which asks many times a second, and Kubernetes'
//! word, which comes with kubelet's period. Later they differ in rank: Kubernetes' *not ready* takes
//! a replica out at once, and a refused connection takes it out whatever Kubernetes says.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use super::{
    objects::{Pod, PodCondition},
    scale::VICTIM_COST,
};
use crate::{
    domain::{Replica as Published, ReplicaId, ReplicaState, ReplicaStatus, VersionKey},
    platform::{
        next_id,
        probe::{Failure, Found, Place},
    },
};

/// The address of a pod that has none yet; it gets no work.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// Ports of the version's replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ports {
    pub(super) http: u16,
    pub(super) grpc: Option<u16>,
}

/// How far the removal of a replica has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Removal {
    /// It is to stay.
    None,
    /// It gets no work, and may be taken back.
    Drains,
    /// Its end is ordered from the API server.
    Ordered,
}

/// What is known of one pod of a version.
#[derive(Debug)]
pub(super) struct Replica {
    pub(super) id: ReplicaId,
    pub(super) pod: Arc<Pod>,
    pub(super) removal: Removal,
    generation: u64,
    place: Option<Place>,
    kube_ready: bool,
    /// Whether Kubernetes has said Ready since the containers started last.
    was_kube_ready: bool,
    restarts: u32,
    /// What the probes since the start, or since the last suspicion, have found.
    probed: Option<Result<(), Failure>>,
    /// How often that was forgotten: each time begins a probe that tells all it finds.
    round: u64,
    /// The state that was published last.
    pub(super) state: ReplicaState,
    message: String,
}

impl Replica {
    /// A pod that has just been seen.
    pub(super) fn new(pod: Arc<Pod>, ports: Ports) -> Self {
        let mut replica = Self {
            id: next_id(),
            pod: Arc::clone(&pod),
            removal: Removal::None,
            generation: 0,
            place: None,
            kube_ready: false,
            was_kube_ready: false,
            restarts: 0,
            probed: None,
            round: 0,
            state: ReplicaState::Starting,
            message: String::new(),
        };
        replica.see(pod, ports);
        replica
    }

    /// Takes what the API server says now.
    pub(super) fn see(&mut self, pod: Arc<Pod>, ports: Ports) {
        let place = place_of(&pod, ports);
        let restarts = pod.status.container_statuses.iter().map(|c| c.restart_count).sum();
        if place != self.place {
            // The data plane takes the address of an identity for good. Whoever knew the old one
            // gave orders about a replica that is no more.
            self.id = next_id();
            if self.removal == Removal::Drains {
                self.removal = Removal::None;
            }
        }
        if place != self.place || restarts != self.restarts {
            // Other processes: nothing that was found holds for them, and both witnesses race anew.
            self.forget_probe();
            self.was_kube_ready = false;
        }
        (self.place, self.restarts) = (place, restarts);
        let ready = is_true(&pod, "Ready");
        if self.kube_ready && !ready {
            self.forget_probe();
        }
        self.kube_ready = ready;
        self.was_kube_ready |= ready;
        self.pod = pod;
    }

    /// Takes the result of a probe.
    pub(super) fn hear(&mut self, result: Result<(), Failure>) {
        self.probed = Some(result);
    }

    /// A connection failed in this generation: it is asked again before it gets work.
    pub(super) fn suspect(&mut self, generation: u64) {
        if generation == self.generation && self.state == ReplicaState::Ready {
            self.forget_probe();
        }
    }

    fn forget_probe(&mut self) {
        self.probed = None;
        self.round += 1;
    }

    /// Which probe is asked for: one of an earlier round does not tell again what it has told.
    pub(super) fn round(&self) -> u64 {
        self.round
    }

    /// Whether, and where, it has to be probed now.
    pub(super) fn probe_place(&self) -> Option<Place> {
        let settled = match &self.probed {
            None => false,
            Some(Ok(())) => true,
            // It takes connections and Kubernetes vouches for it: its own word is not needed.
            Some(Err(failure)) => self.kube_ready && takes_connections(failure),
        };
        self.place.filter(|_| !settled && !self.is_leaving())
    }

    /// Whether the pod is on its way out, by our will or another's.
    pub(super) fn is_leaving(&self) -> bool {
        self.is_deleted() || self.is_marked() || self.removal != Removal::None
    }

    pub(super) fn is_deleted(&self) -> bool {
        self.pod.metadata.deletion_timestamp.is_some()
    }

    /// Whether a leader, perhaps another than us, has marked it as a victim. Every router reads the
    /// mark as "give it no work".
    pub(super) fn is_marked(&self) -> bool {
        let cost = self.pod.metadata.annotations.deletion_cost.as_deref();
        cost.and_then(|cost| cost.parse().ok()) == Some(VICTIM_COST)
    }

    /// Whether it would get work if only Kubernetes had not said *not ready*: it takes connections.
    pub(super) fn is_last_resort(&self) -> bool {
        let accepts = match &self.probed {
            Some(Ok(())) => true,
            Some(Err(failure)) => takes_connections(failure),
            None => false,
        };
        self.place.is_some()
            && !self.is_leaving()
            && accepts
            && self.was_kube_ready
            && !self.kube_ready
    }

    /// Whether Kubernetes calls it ready and only our own first probe is still to come.
    pub(super) fn awaits_first_probe(&self) -> bool {
        self.place.is_some() && self.kube_ready && self.probed.is_none() && !self.is_leaving()
    }

    /// Whether it may get work by the ordinary rules.
    pub(super) fn is_usable(&self) -> bool {
        if self.place.is_none() || self.is_leaving() {
            return false;
        }
        match &self.probed {
            // Kubernetes may say Ready before anything listens, where no readiness probe is set.
            None => false,
            Some(Ok(())) => self.kube_ready || !self.was_kube_ready,
            Some(Err(failure)) => self.kube_ready && takes_connections(failure),
        }
    }

    /// Settles the state that is published next; true when it is another than before.
    pub(super) fn settle(&mut self, last_resort: bool) -> bool {
        let usable = self.is_usable() || (last_resort && self.is_last_resort());
        let state = match () {
            () if self.is_leaving() => ReplicaState::Draining,
            () if usable => ReplicaState::Ready,
            () => ReplicaState::Starting,
        };
        let message = self.explain(state, last_resort);
        if state == ReplicaState::Ready && self.state != ReplicaState::Ready {
            self.generation += 1;
        }
        let changed = state != self.state || message != self.message;
        (self.state, self.message) = (state, message);
        changed
    }

    /// What the data plane sees.
    pub(super) fn published(&self, ordinal: Option<u32>) -> Published {
        Published {
            id: self.id,
            name: Arc::clone(&self.pod.metadata.name),
            http: self.place.map_or(NOWHERE, |place| place.http),
            grpc: self.place.map_or(NOWHERE, |place| place.grpc),
            state: self.state,
            generation: self.generation,
            ordinal,
        }
    }

    /// What people see.
    pub(super) fn status(&self, key: &VersionKey) -> ReplicaStatus {
        ReplicaStatus {
            endpoint: key.endpoint.clone(),
            version: key.version.clone(),
            id: self.id,
            name: self.pod.metadata.name.to_string(),
            address: self.place.map_or_else(String::new, |place| place.http.to_string()),
            pid: None,
            state: self.state,
            restarts: self.restarts,
            message: self.message.clone(),
        }
    }

    fn explain(&self, state: ReplicaState, last_resort: bool) -> String {
        match state {
            ReplicaState::Ready if self.is_usable() => String::new(),
            ReplicaState::Ready => "not ready for Kubernetes, and no other replica is either: the \
                                    last resort"
                .to_owned(),
            ReplicaState::Draining if self.is_deleted() => "the pod is being deleted".to_owned(),
            ReplicaState::Draining if self.removal == Removal::Drains => {
                "is to be removed when it has no work".to_owned()
            }
            ReplicaState::Draining => "marked as the next pod to go".to_owned(),
            ReplicaState::Starting => self.why_not_ready(last_resort),
        }
    }

    fn why_not_ready(&self, last_resort: bool) -> String {
        if let Some((reason, message)) = trouble(&self.pod) {
            return format!("{reason}: {message}");
        }
        if self.place.is_none() {
            return format!("the pod is {} and has no address yet", phase(&self.pod));
        }
        let found = match &self.probed {
            None => "not probed yet".to_owned(),
            Some(Ok(())) => "its probe passes".to_owned(),
            Some(Err(failure)) => failure.reason.clone(),
        };
        match (self.was_kube_ready, self.kube_ready) {
            (true, false) if !last_resort => format!("Kubernetes says not ready; {found}"),
            (_, true) => format!("Kubernetes says ready; {found}"),
            _ => found,
        }
    }
}

/// Why a pod does not get on, in Kubernetes' own words: (reason, message).
pub(super) fn trouble(pod: &Pod) -> Option<(&str, &str)> {
    let waiting = pod.status.container_statuses.iter().filter_map(|c| c.state.waiting.as_ref());
    let waiting = waiting
        .filter(|waiting| !["", "ContainerCreating", "PodInitializing"].contains(&&*waiting.reason))
        .map(|waiting| (&*waiting.reason, &*waiting.message));
    let unscheduled = condition(pod, "PodScheduled")
        .filter(|condition| &*condition.status == "False")
        .map(|condition| (&*condition.reason, &*condition.message));
    unscheduled.into_iter().chain(waiting).next()
}

/// Whether the pod has ended for good: it never becomes a replica again.
pub(super) fn has_ended(pod: &Pod) -> bool {
    ["Succeeded", "Failed"].contains(&&*pod.status.phase)
}

fn takes_connections(failure: &Failure) -> bool {
    matches!(failure.found, Found::Silent | Found::Wrong)
}

fn phase(pod: &Pod) -> &str {
    if pod.status.phase.is_empty() { "Pending" } else { &pod.status.phase }
}

fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a PodCondition> {
    pod.status.conditions.iter().find(|condition| &*condition.kind == kind)
}

fn is_true(pod: &Pod, kind: &str) -> bool {
    condition(pod, kind).is_some_and(|condition| &*condition.status == "True")
}

/// Where the pod listens. Addresses that can never be a pod's are refused, because whoever may write
/// a pod's status could make the router send requests to them.
fn place_of(pod: &Pod, ports: Ports) -> Option<Place> {
    let ip: IpAddr = pod.status.pod_ip.parse().ok()?;
    let impossible = match ip {
        IpAddr::V4(ip) => {
            ip.is_link_local() || ip.is_unspecified() || ip.is_broadcast() || ip.is_multicast()
        }
        IpAddr::V6(ip) => ip.is_unspecified() || ip.is_multicast() || ip.is_unicast_link_local(),
    };
    (!impossible).then(|| Place {
        http: SocketAddr::new(ip, ports.http),
        grpc: SocketAddr::new(ip, ports.grpc.unwrap_or(ports.http)),
    })
}

#[cfg(test)]
#[path = "replica_tests.rs"]
mod tests;
