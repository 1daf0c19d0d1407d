//! From specs and replicas to the catalog.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::replica::Replica;
use crate::{
    domain::{Catalog, Endpoint, Name},
    platform::spec::{EndpointSpec, Target},
};

/// The catalogs published so far, of which only the last is kept.
#[derive(Debug, Default)]
pub(super) struct Publisher {
    last: Catalog,
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
        let mut endpoints = BTreeMap::new();
        for spec in specs {
            let name = &spec.endpoint.name;
            let same = self.last.endpoints.get(name).filter(|_| !changed.contains(name));
            let endpoint =
                same.map(Arc::clone).unwrap_or_else(|| Arc::new(endpoint(spec, replicas)));
            endpoints.insert(name.clone(), endpoint);
        }
        self.last = Catalog { revision: self.last.revision + 1, endpoints };
        Arc::new(self.last.clone())
    }
}

fn endpoint(spec: &EndpointSpec, replicas: &BTreeMap<u64, Replica>) -> Endpoint {
    let mut endpoint = spec.endpoint.clone();
    for (version, target) in endpoint.versions.iter_mut().zip(&spec.versions) {
        version.startable = matches!(target.target, Target::Process(_));
        let here = replicas.values().filter(|replica| {
            replica.key.endpoint == spec.endpoint.name && replica.key.version == version.name
        });
        version.replicas = here.filter_map(Replica::published).collect();
    }
    endpoint
}
