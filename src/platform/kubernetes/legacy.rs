//! Pods as azureml-fe finds them: `isazuremlapp=true`, grouped by `azuremlappname`. Each group is
//! an endpoint with default settings, so that a cluster can be moved without new objects.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use serde_json::{Value, json};

use super::{
    cluster::Cluster,
    objects::{EndpointObject, Meta, ObjectKey},
    table::Table,
    target::Target,
};
use crate::domain::{NAME_LENGTH_MAX, Name, VERSIONS_MAX};

const IS_APP: &str = "isazuremlapp";
const APP_NAME: &str = "azuremlappname";
/// The router of Azure Machine Learning has such labels too, and is no model.
const ROUTER: &str = "azureml-fe";

/// The groups that were found.
#[derive(Debug, Default)]
pub(super) struct Legacy {
    /// The workloads of each group. A workload stays while it exists, with pods or without.
    groups: HashMap<ObjectKey, BTreeSet<Target>>,
    told: HashMap<ObjectKey, Arc<EndpointObject>>,
}

impl Legacy {
    /// What has changed since the last call: groups as objects, `None` where one is gone. An
    /// InferenceEndpoint of the same name in the same namespace takes the group's place.
    pub(super) fn changes(
        &mut self,
        cluster: &Cluster,
        objects: &Table<EndpointObject>,
    ) -> Vec<(ObjectKey, Option<Arc<EndpointObject>>)> {
        self.look(cluster);
        let mut changes = Vec::new();
        let groups: Vec<(ObjectKey, EndpointObject)> = self
            .groups
            .iter()
            .filter(|(key, _)| objects.get(key).is_none())
            .map(|(key, targets)| (key.clone(), object(key, targets, cluster)))
            .collect();
        let gone: Vec<ObjectKey> = self
            .told
            .keys()
            .filter(|key| !groups.iter().any(|(group, _)| group == *key))
            .cloned()
            .collect();
        for key in gone {
            self.told.remove(&key);
            // Its place may have been taken, and then the object itself is what counts.
            let successor = objects.get(&key).map(Arc::clone);
            changes.push((key, successor));
        }
        for (key, object) in groups {
            if self.told.get(&key).is_none_or(|told| told.spec != object.spec) {
                let object = Arc::new(object);
                self.told.insert(key.clone(), Arc::clone(&object));
                changes.push((key, Some(object)));
            }
        }
        changes
    }

    fn look(&mut self, cluster: &Cluster) {
        self.groups.retain(|_, targets| {
            targets.retain(|target| cluster.workload(target).is_some());
            !targets.is_empty()
        });
        for pod in cluster.all_pods() {
            let labels = &pod.metadata.labels;
            let is_app = labels.get(IS_APP).is_some_and(|value| &**value == "true");
            let Some(app) = labels.get(APP_NAME).filter(|app| is_app && &***app != ROUTER) else {
                continue;
            };
            if let Some(target) = cluster.target_of(pod) {
                let namespace = Arc::clone(&pod.metadata.namespace);
                let key = ObjectKey { namespace, name: Arc::from(&**app) };
                self.groups.entry(key).or_default().insert(target.clone());
            }
        }
    }
}

/// The object that a person would have written: one version for each workload, the oldest first,
/// which makes it the default.
fn object(key: &ObjectKey, targets: &BTreeSet<Target>, cluster: &Cluster) -> EndpointObject {
    let mut workloads: Vec<_> = targets
        .iter()
        .filter_map(|target| Some((target, &cluster.workload(target)?.metadata)))
        .collect();
    workloads.sort_by_key(|(target, meta)| (meta.creation_timestamp, (*target).clone()));
    let oldest = workloads.first().and_then(|(_, meta)| meta.creation_timestamp);
    let mut names = BTreeSet::new();
    let versions: Vec<Value> = workloads
        .iter()
        .take(VERSIONS_MAX)
        .map(|(target, _)| {
            json!({
                "name": version_name(&target.object.name, &mut names),
                "targetRef": {"kind": target.kind.as_str(), "name": &*target.object.name},
            })
        })
        .collect();
    let metadata = Meta {
        name: Arc::clone(&key.name),
        namespace: Arc::clone(&key.namespace),
        creation_timestamp: oldest,
        ..Meta::default()
    };
    EndpointObject { metadata, spec: json!({ "versions": versions }), status: Value::Null }
}

/// The name of the workload where that is a good name of a version, else one with a number.
fn version_name(workload: &str, taken: &mut BTreeSet<String>) -> String {
    let short = workload.get(..workload.len().min(NAME_LENGTH_MAX)).unwrap_or(workload);
    let short = short.trim_end_matches('-');
    let number = taken.len() + 1;
    let name = match Name::new(short) {
        Ok(name) if !taken.contains(name.as_str()) => name.to_string(),
        _ => format!("version-{number}"),
    };
    taken.insert(name.clone());
    name
}
