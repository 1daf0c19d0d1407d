//! What the API server last said, and who belongs to whom: pod to ReplicaSet to Deployment.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use super::{
    objects::{Hpa, Meta, Object, ObjectKey, Pod, ReplicaSet, Workload},
    table::{Delta, Table},
    target::{Target, WorkloadKind},
    watch::News,
};

/// The targets that news concern.
pub(super) type Touched = HashSet<Target>;

/// The workloads and their pods.
#[derive(Debug, Default)]
pub(super) struct Cluster {
    deployments: Table<Workload>,
    stateful_sets: Table<Workload>,
    replica_sets: Table<ReplicaSet>,
    pods: Table<Pod>,
    hpas: Table<Hpa>,
    /// Pods by the uid of their controlling owner.
    pods_of: HashMap<Arc<str>, BTreeSet<ObjectKey>>,
    /// ReplicaSets by the uid of their Deployment.
    sets_of: HashMap<Arc<str>, BTreeSet<Arc<str>>>,
    /// The Deployment of each ReplicaSet, by uid.
    deployment_of: HashMap<Arc<str>, Arc<str>>,
    workload_of: HashMap<Arc<str>, Target>,
    hpa_of: HashMap<Target, BTreeSet<Arc<str>>>,
}

impl Cluster {
    /// The workload, if it is there.
    pub(super) fn workload(&self, target: &Target) -> Option<&Arc<Workload>> {
        match target.kind {
            WorkloadKind::Deployment => self.deployments.get(&target.object),
            WorkloadKind::StatefulSet => self.stateful_sets.get(&target.object),
        }
    }

    /// The pods of a workload: owned by it, through a ReplicaSet where it is a Deployment, in its
    /// namespace, and fitting its selector. The owner alone could be forged by whoever may make
    /// pods, the selector alone catches pods that only look alike.
    pub(super) fn pods(&self, target: &Target) -> Vec<&Arc<Pod>> {
        let Some(workload) = self.workload(target) else { return Vec::new() };
        let uid = &workload.metadata.uid;
        let owners: Vec<&Arc<str>> = match target.kind {
            WorkloadKind::Deployment => self.sets_of.get(uid).into_iter().flatten().collect(),
            WorkloadKind::StatefulSet => vec![uid],
        };
        owners
            .into_iter()
            .filter_map(|owner| self.pods_of.get(owner))
            .flatten()
            .filter_map(|key| self.pods.get(key))
            .filter(|pod| pod.metadata.namespace == target.object.namespace)
            .filter(|pod| workload.spec.selector.fits(&pod.metadata.labels))
            .collect()
    }

    /// The HPA that scales this target; the first by name where there are several.
    pub(super) fn hpa(&self, target: &Target) -> Option<&Arc<str>> {
        self.hpa_of.get(target)?.first()
    }

    /// The workload of a pod, by its owners.
    pub(super) fn target_of(&self, pod: &Pod) -> Option<&Target> {
        let owner = controller(&pod.metadata)?;
        let owner = self.deployment_of.get(owner).unwrap_or(owner);
        self.workload_of.get(owner)
    }

    /// All pods.
    pub(super) fn all_pods(&self) -> impl Iterator<Item = &Arc<Pod>> {
        self.pods.values()
    }

    pub(super) fn take_workloads(
        &mut self,
        kind: WorkloadKind,
        namespace: Option<&str>,
        news: News<Workload>,
        touched: &mut Touched,
    ) {
        let table = match kind {
            WorkloadKind::Deployment => &mut self.deployments,
            WorkloadKind::StatefulSet => &mut self.stateful_sets,
        };
        for Delta { before, after } in table.apply(namespace, news) {
            for (object, is_there) in [(before, false), (after, true)] {
                let Some(object) = object else { continue };
                let target = Target { kind, object: object.key() };
                if is_there {
                    self.workload_of.insert(Arc::clone(&object.metadata.uid), target.clone());
                } else {
                    self.workload_of.remove(&object.metadata.uid);
                }
                touched.insert(target);
            }
        }
    }

    pub(super) fn take_replica_sets(
        &mut self,
        namespace: Option<&str>,
        news: News<ReplicaSet>,
        touched: &mut Touched,
    ) {
        for Delta { before, after } in self.replica_sets.apply(namespace, news) {
            for (set, is_there) in [(before, false), (after, true)] {
                let Some(set) = set else { continue };
                let Some(owner) = controller(&set.metadata) else { continue };
                let uid = &set.metadata.uid;
                if is_there {
                    self.deployment_of.insert(Arc::clone(uid), Arc::clone(owner));
                    self.sets_of.entry(Arc::clone(owner)).or_default().insert(Arc::clone(uid));
                } else {
                    self.deployment_of.remove(uid);
                    remove_from(&mut self.sets_of, owner, uid);
                }
                touched.extend(self.workload_of.get(owner).cloned());
            }
        }
    }

    pub(super) fn take_pods(
        &mut self,
        namespace: Option<&str>,
        news: News<Pod>,
        touched: &mut Touched,
    ) {
        for Delta { before, after } in self.pods.apply(namespace, news) {
            for (pod, is_there) in [(before, false), (after, true)] {
                let Some(pod) = pod else { continue };
                let Some(owner) = controller(&pod.metadata) else { continue };
                if is_there {
                    self.pods_of.entry(Arc::clone(owner)).or_default().insert(pod.key());
                } else {
                    remove_from(&mut self.pods_of, owner, &pod.key());
                }
                touched.extend(self.target_of(&pod).cloned());
            }
        }
    }

    pub(super) fn take_hpas(
        &mut self,
        namespace: Option<&str>,
        news: News<Hpa>,
        touched: &mut Touched,
    ) {
        for Delta { before, after } in self.hpas.apply(namespace, news) {
            for (hpa, is_there) in [(before, false), (after, true)] {
                let Some(hpa) = hpa else { continue };
                let Some(target) = scaled_by(&hpa) else { continue };
                if is_there {
                    let name = Arc::clone(&hpa.metadata.name);
                    self.hpa_of.entry(target.clone()).or_default().insert(name);
                } else {
                    remove_from(&mut self.hpa_of, &target, &hpa.metadata.name);
                }
                touched.insert(target);
            }
        }
    }
}

/// The uid of the one owner that manages the object.
fn controller(meta: &Meta) -> Option<&Arc<str>> {
    meta.owner_references.iter().find(|owner| owner.controller).map(|owner| &owner.uid)
}

fn scaled_by(hpa: &Hpa) -> Option<Target> {
    let target = &hpa.spec.scale_target_ref;
    let is_apps = target.api_version.is_empty() || target.api_version.starts_with("apps/");
    let kind = WorkloadKind::from_text(&target.kind).filter(|_| is_apps)?;
    let namespace = Arc::clone(&hpa.metadata.namespace);
    Some(Target { kind, object: ObjectKey { namespace, name: Arc::from(&*target.name) } })
}

fn remove_from<K, V>(index: &mut HashMap<K, BTreeSet<V>>, key: &K, value: &V)
where
    K: std::hash::Hash + Eq,
    V: Ord,
{
    if let Some(values) = index.get_mut(key) {
        values.remove(value);
        if values.is_empty() {
            index.remove(key);
        }
    }
}

#[cfg(test)]
#[path = "cluster_tests.rs"]
mod tests;
