//! What is known of one InferenceEndpoint, as plain data: the actor fills it in, `status` turns it
//! into conditions, `events` into events.
//!
//! *Promises*: no types of kube, no clock, no words for people except those that came from outside
//! (problems of the spec, messages of the cluster).

#[cfg(test)]
pub(super) mod samples;
mod trouble;
mod words;

use std::{fmt, sync::Arc};

use jiff::Timestamp;

use super::{objects::ObjectKey, target::WorkloadKind};
use crate::domain::Name;

pub(super) use trouble::{Trouble, TroubleKind, Troubles};
pub(super) use words::{cut, listed, one_line};

/// All that is known of one InferenceEndpoint at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Report {
    /// The object.
    pub(super) key: ObjectKey,
    /// Its uid; a namesake made later has another.
    pub(super) uid: Arc<str>,
    /// The generation that the verdict is about.
    pub(super) generation: i64,
    /// Whether the spec of this generation is good.
    pub(super) verdict: Verdict,
    /// What is in force: this generation where it is accepted, else the last good one. `None` when
    /// no spec of this object ever was good.
    pub(super) in_force: Option<InForce>,
    /// The routers that serve what is in force.
    pub(super) routers: Routers,
}

/// The judgement on a spec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is good.
    Accepted,
    /// It breaks rules: all problems, each as `path: message`.
    Invalid(Vec<Box<str>>),
    /// An older endpoint of another namespace has the name.
    NameTaken {
        /// Who has it.
        by: ObjectKey,
    },
    /// An older endpoint has one of the hosts.
    HostTaken {
        /// The host.
        host: Box<str>,
        /// Who has it.
        by: ObjectKey,
    },
    /// An older endpoint has one of the targets: the slots of a replica are counted once.
    TargetTaken {
        /// The target.
        target: Target,
        /// Who has it.
        by: ObjectKey,
    },
}

/// A good spec and how it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InForce {
    /// The generation it is from.
    pub(super) generation: i64,
    /// The name of the default version.
    pub(super) default_version: Name,
    /// Where requests go, for example `/api/v1/endpoint/fraud/score` or with a host before it.
    pub(super) scoring_uri: Arc<str>,
    /// The Secret with its keys.
    pub(super) secret: Secret,
    /// Its versions, in the order of the spec.
    pub(super) versions: Vec<VersionReport>,
}

/// One version and its replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct VersionReport {
    /// Its name.
    pub(super) name: Name,
    /// The workload that it names.
    pub(super) target: Target,
    /// Whether the workload exists; also true while that is not known yet.
    pub(super) found: bool,
    /// Its share of unpinned requests in percent, with what is missing to 100 given to the default.
    pub(super) effective_percentile: u8,
    /// Replicas that may get work.
    pub(super) ready: u32,
    /// Replicas that start.
    pub(super) starting: u32,
    /// Replicas that finish what they have.
    pub(super) draining: u32,
    /// `spec.replicas` of the workload; 0 where it was not found.
    pub(super) desired: u32,
    /// Who changes the count, and whether it works.
    pub(super) scaling: Scaling,
    /// The last change of the count that this router made, if it made one.
    pub(super) last_scale: Option<Scale>,
    /// Its pods in trouble, at most one entry for each kind (`Troubles` makes it).
    pub(super) troubles: Vec<Trouble>,
}

/// The workload that a version names, as messages call it: the namespace is the endpoint's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    /// Deployment or StatefulSet.
    pub(super) kind: WorkloadKind,
    /// Its name.
    pub(super) name: Arc<str>,
}

/// The state of a version's autoscaling.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Scaling {
    /// `autoscale.enabled`.
    pub(super) enabled: bool,
    /// `autoscale.minReplicas`.
    pub(super) min: u32,
    /// `autoscale.maxReplicas`.
    pub(super) max: u32,
    /// How many replicas the load wants, before `max` cuts it; `None` while the load is not known.
    pub(super) wanted: Option<u32>,
    /// The HorizontalPodAutoscaler on the same target, if there is one.
    pub(super) hpa: Option<Arc<str>>,
    /// Why the last write of the count came to nothing, in words; `None` once one succeeded.
    pub(super) write_failed: Option<Box<str>>,
    /// Nobody holds the lease, so nobody scales.
    pub(super) held: bool,
}

/// One change of the count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scale {
    /// When.
    pub(super) time: Timestamp,
    /// Replicas before.
    pub(super) from: u32,
    /// Replicas after.
    pub(super) to: u32,
    /// The reason in words, with its numbers.
    pub(super) reason: Box<str>,
}

/// The Secret of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Secret {
    /// The endpoint asks for no key.
    NotNeeded,
    /// It asks for one, and this is the Secret.
    Named {
        /// Its name; the namespace is the endpoint's.
        name: Arc<str>,
        /// How it is with it.
        state: SecretState,
    },
}

/// How it is with a Secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SecretState {
    /// It had keys, and was deleted or emptied.
    Lost {
        /// Until when its last keys are valid.
        until: Timestamp,
        /// Whether it is still there, without keys.
        is_emptied: bool,
        /// Whether that time is over.
        is_over: bool,
    },
    /// It has its keys.
    Found,
    /// The same, and a router made it.
    Made,
    /// It does not exist, and could not be made yet.
    Missing,
    /// It exists without this field.
    Lacks(&'static str),
    /// A field of it cannot be used: what is wrong, never the value.
    Unusable(Box<str>),
    /// The router may not do this with it.
    Forbidden {
        /// The verb that its role lacks: get, watch or create.
        verb: &'static str,
    },
}

/// How many routers serve an endpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Routers {
    /// Routers that serve what is in force.
    pub(super) serving: u32,
    /// Routers that are known.
    pub(super) known: u32,
}

impl Report {
    /// The versions in force; none when nothing is.
    pub(super) fn versions(&self) -> &[VersionReport] {
        self.in_force.as_ref().map_or(&[], |in_force| &in_force.versions)
    }
}

impl VersionReport {
    /// Whether the load wants more replicas than `maxReplicas` allows.
    pub(super) fn is_over_max(&self) -> bool {
        self.is_scaled() && self.scaling.wanted.is_some_and(|wanted| wanted > self.scaling.max)
    }

    /// Whether this is a version that the router scales: not switched off, and nobody else does.
    pub(super) fn is_scaled(&self) -> bool {
        self.scaling.enabled && self.scaling.hpa.is_none()
    }

    /// What keeps its pods now, the worst first. A pod that failed or was evicted stays for days
    /// after another has taken its place, so it counts only while replicas are missing.
    pub(super) fn troubles_now(&self) -> impl Iterator<Item = &Trouble> {
        let lacks = self.ready < self.desired;
        self.troubles.iter().filter(move |trouble| lacks || trouble.kind != TroubleKind::Failed)
    }

    /// Whether requests can be answered: a replica is ready, or the version sleeps at zero and
    /// wakes with the first request.
    pub(super) fn can_answer(&self) -> bool {
        let sleeps = self.desired == 0 && self.is_scaled() && self.scaling.min == 0;
        self.ready > 0 || (self.found && sleeps)
    }
}

/// `Deployment fraud-blue`.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.as_str(), self.name)
    }
}
