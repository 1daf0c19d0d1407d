//! What reaches the actor: news of the watches, and results of what it started.

use std::sync::Arc;

use super::{
    client::CallError,
    objects::{EndpointObject, Hpa, ObjectKey, Pod, ReplicaSet, Secret, Workload},
    target::{Target, WorkloadKind},
    watch::News,
    writes::Outcome,
};
use crate::{
    domain::{Decision, ReplicaId},
    platform::probe::{Failure, Place},
};

/// Where a watch looks: one namespace or all.
pub(super) type Scope = Option<Arc<str>>;

/// One thing that the actor hears.
#[derive(Debug)]
pub(super) enum Fact {
    Endpoints(Scope, News<EndpointObject>),
    Workloads(WorkloadKind, Scope, News<Workload>),
    ReplicaSets(Scope, News<ReplicaSet>),
    Pods(Scope, News<Pod>),
    Hpas(Scope, News<Hpa>),
    Secret(ObjectKey, News<Secret>),
    Routers(News<Pod>),
    /// A probe of a replica, at the place it had then.
    Probed(ReplicaId, Place, Result<(), Failure>),
    /// A write to a target is done, or has failed.
    Written(Target, Outcome),
    /// Keys were to be made; why that failed.
    KeysMade(ObjectKey, Result<(), CallError>),
    /// The autoscaler has decided.
    Decided(Decision),
}
