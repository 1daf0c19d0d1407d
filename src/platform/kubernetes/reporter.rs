//! What is told of endpoints in the cluster: their status and their events, from reports.

use std::{collections::HashMap, sync::Arc};

use super::{
    cluster::Cluster,
    endpoints::{Claim, Endpoints, Record},
    events::{Before, Events, changes},
    fleet::Fleet,
    keys::Keys,
    objects::{EndpointObject, ObjectKey, Pod},
    report::{InForce, Report, Routers, Scaling, Secret, Target, Troubles, Verdict, VersionReport},
    status::{EndpointStatus, Shown, StatusWriter},
    table::Table,
    watch::News,
    writes::Writes,
};
use crate::{
    domain::{Decision, ReplicaState, VersionKey},
    platform::spec::EndpointSpec,
};

/// Makes reports, and hands them to those who tell.
pub(super) struct Reporter {
    /// The objects as the API server shows them.
    pub(super) objects: Table<EndpointObject>,
    routers: Table<Pod>,
    last: HashMap<ObjectKey, Arc<Report>>,
    /// What the load wanted at the last decision about a version.
    wanted: HashMap<VersionKey, u32>,
    status: StatusWriter,
    events: Events,
    /// What stands before the path in scoring URIs; may be empty.
    public_url: String,
}

/// All that reports are made from.
#[derive(Clone, Copy)]
pub(super) struct Facts<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) endpoints: &'a Endpoints,
    pub(super) fleet: &'a Fleet,
    pub(super) keys: &'a Keys,
    pub(super) writes: &'a Writes,
    /// Whether anybody leads who could scale.
    pub(super) is_held: bool,
}

impl Reporter {
    pub(super) fn new(status: StatusWriter, events: Events, public_url: String) -> Self {
        let (objects, routers) = (Table::default(), Table::default());
        let (last, wanted) = (HashMap::new(), HashMap::new());
        Self { objects, routers, last, wanted, status, events, public_url }
    }

    /// Takes news of the routers' pods.
    pub(super) fn routers(&mut self, news: News<Pod>) {
        self.routers.apply(None, news);
    }

    /// Remembers what the load wants.
    pub(super) fn decided(&mut self, decision: &Decision) {
        self.wanted.insert(decision.key.clone(), decision.inputs.window_want);
    }

    /// The object is gone.
    pub(super) fn forget(&mut self, key: &ObjectKey) {
        self.status.forget(key);
        if let Some(report) = self.last.remove(key) {
            self.wanted.retain(|version, _| *version.endpoint.as_str() != *report.key.name);
        }
    }

    /// Tells how it is with one object, as far as that is news.
    pub(super) fn report(&mut self, key: &ObjectKey, facts: Facts<'_>) {
        let Some(object) = self.objects.get(key).map(Arc::clone) else { return };
        let Some(record) = facts.endpoints.get(key) else { return };
        let report = Arc::new(self.make(key, record, facts));
        let shown: EndpointStatus =
            serde_json::from_value(object.status.clone()).unwrap_or_default();
        let shown = Shown {
            resource_version: object.metadata.resource_version.clone(),
            status: Arc::new(shown),
        };
        match self.last.get(key) {
            Some(last) if last.uid == report.uid => {
                if **last != *report {
                    self.events.say(changes(Before::Report(last), &report));
                }
            }
            _ => self.events.say(changes(Before::Status(&shown.status), &report)),
        }
        self.status.offer(Arc::clone(&report), shown);
        self.last.insert(key.clone(), report);
    }

    fn make(&self, key: &ObjectKey, record: &Record, facts: Facts<'_>) -> Report {
        let meta = &record.object.metadata;
        Report {
            key: key.clone(),
            uid: Arc::clone(&meta.uid),
            generation: meta.generation,
            verdict: verdict(record),
            in_force: record.in_force().map(|(generation, spec)| InForce {
                generation,
                default_version: spec
                    .endpoint
                    .versions
                    .get(spec.endpoint.default_version)
                    .map_or_else(|| spec.endpoint.name.clone(), |version| version.name.clone()),
                scoring_uri: self.scoring_uri(spec),
                secret: secret(key, spec, facts.keys),
                versions: self.versions(key, spec, facts),
            }),
            // What other routers serve is theirs to say: this one speaks for itself.
            routers: Routers { serving: u32::from(record.in_force().is_some()), known: 1 },
        }
    }

    fn scoring_uri(&self, spec: &EndpointSpec) -> Arc<str> {
        format!("{}/api/v1/endpoint/{}/score", self.public_url, spec.endpoint.name).into()
    }

    fn versions(
        &self,
        key: &ObjectKey,
        spec: &EndpointSpec,
        facts: Facts<'_>,
    ) -> Vec<VersionReport> {
        let shares = spec.endpoint.effective_percentiles();
        let versions = spec.endpoint.versions.iter().zip(shares);
        versions
            .filter_map(|(version, effective_percentile)| {
                let seats = facts.fleet.seats(key, &version.name)?;
                let target = &seats.target;
                let count = |state| {
                    let here = seats.replicas().filter(|replica| replica.state == state);
                    u32::try_from(here.count()).unwrap_or(u32::MAX)
                };
                let mut troubles = Troubles::default();
                facts.cluster.pods(target).into_iter().for_each(|pod| troubles.look(pod));
                let id = VersionKey {
                    endpoint: spec.endpoint.name.clone(),
                    version: version.name.clone(),
                };
                Some(VersionReport {
                    name: version.name.clone(),
                    target: Target { kind: target.kind, name: Arc::clone(&target.object.name) },
                    found: facts.cluster.workload(target).is_some(),
                    effective_percentile,
                    ready: count(ReplicaState::Ready),
                    starting: count(ReplicaState::Starting),
                    draining: count(ReplicaState::Draining),
                    desired: facts.writes.replicas(target).unwrap_or(0),
                    scaling: Scaling {
                        enabled: version.autoscale.enabled,
                        min: version.autoscale.min_replicas,
                        max: version.autoscale.max_replicas,
                        wanted: self.wanted.get(&id).copied(),
                        hpa: facts.cluster.hpa(target).cloned(),
                        write_failed: facts.writes.trouble(target).map(Into::into),
                        held: facts.is_held,
                    },
                    last_scale: facts.writes.last(target).cloned(),
                    troubles: troubles.into_list(),
                })
            })
            .collect()
    }
}

fn verdict(record: &Record) -> Verdict {
    if let Err(problems) = &record.checked {
        let words = problems.iter().map(|problem| match problem.path.as_str() {
            "" => problem.message.as_str().into(),
            path => format!("{path}: {}", problem.message).into(),
        });
        return Verdict::Invalid(words.collect());
    }
    match &record.taken {
        None => Verdict::Accepted,
        Some(taken) => {
            let by = taken.by.clone();
            match &taken.what {
                Claim::Name(_) => Verdict::NameTaken { by },
                Claim::Host(host) => Verdict::HostTaken { host: host.clone(), by },
                Claim::Target(target) => Verdict::TargetTaken {
                    target: Target { kind: target.kind, name: Arc::clone(&target.object.name) },
                    by,
                },
            }
        }
    }
}

/// How it is with the Secret of an endpoint.
fn secret(key: &ObjectKey, spec: &EndpointSpec, keys: &Keys) -> Secret {
    match super::actor::secret_of(key, spec) {
        None => Secret::NotNeeded,
        Some(secret) => {
            let (_, state) = keys.of(&secret);
            Secret::Named { name: secret.name, state }
        }
    }
}
