//! From specs and replicas to the catalog.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use super::replica::Replica;
use crate::{
    domain::{self, Catalog, Endpoint, Name, VersionKey},
    platform::spec::{EndpointSpec, Target},
};

/// The catalogs published so far, of which only the last is kept.
#[derive(Debug, Default)]
pub(super) struct Publisher {
    last: Arc<Catalog>,
}

impl Publisher {
    /// The next catalog. Only endpoints in `changed` are built again: the data plane tells by the
    /// pointer which ones are as they were.
    pub(super) fn next(
        &mut self,
        specs: &[EndpointSpec],
        replicas: &BTreeMap<u64, Replica>,
        changed: &BTreeSet<Name>,
    ) -> Arc<Catalog> {
        let is_as_it_was =
            |name: &Name| !changed.contains(name) && self.last.endpoints.contains_key(name);
        let mut published = published(replicas, |name| !is_as_it_was(name));
        let mut endpoints = BTreeMap::new();
        for spec in specs {
            let name = &spec.endpoint.name;
            let same = self.last.endpoints.get(name).filter(|_| !changed.contains(name));
            let endpoint =
                same.map(Arc::clone).unwrap_or_else(|| Arc::new(endpoint(spec, &mut published)));
            endpoints.insert(name.clone(), endpoint);
        }
        self.last = Arc::new(Catalog { revision: self.last.revision + 1, endpoints });
        Arc::clone(&self.last)
    }
}

type Published = HashMap<VersionKey, Vec<domain::Replica>>;

/// What the data plane sees of the changed endpoints, by endpoint and version: one pass, however
/// many of them there are.
fn published(replicas: &BTreeMap<u64, Replica>, changed: impl Fn(&Name) -> bool) -> Published {
    let mut published = Published::new();
    for replica in replicas.values() {
        let key = &replica.key;
        if changed(&key.endpoint)
            && let Some(seen) = replica.published()
        {
            published.entry(key.clone()).or_default().push(seen);
        }
    }
    published
}

fn endpoint(spec: &EndpointSpec, published: &mut Published) -> Endpoint {
    let mut endpoint = spec.endpoint.clone();
    for (version, target) in endpoint.versions.iter_mut().zip(&spec.versions) {
        version.startable = matches!(target.target, Target::Process(_));
        let key = spec.endpoint.key_of(version);
        version.replicas = published.remove(&key).unwrap_or_default();
    }
    endpoint
}
