//! All live versions, and the data plane's side of [`LoadSource`].

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use parking_lot::RwLock;

use super::{tokens::TokenHolder, version::VersionState};
use crate::domain::{
    Catalog, Endpoint, LoadSource, Name, ReplicaId, ReplicaLoad, SignalSink, VersionKey,
    VersionLoad,
};

/// All live versions of the process.
pub struct Registry {
    signals: SignalSink,
    tokens: Arc<dyn TokenHolder>,
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    versions: HashMap<VersionKey, Arc<VersionState>>,
    replicas: HashMap<ReplicaId, Arc<VersionState>>,
    /// What was applied last, so that an unchanged endpoint costs one pointer comparison.
    endpoints: HashMap<Name, Arc<Endpoint>>,
    /// Versions gone from the catalog that still finish something.
    leaving: HashMap<VersionKey, Arc<VersionState>>,
}

impl Registry {
    /// An empty registry.
    pub fn new(signals: SignalSink, tokens: Arc<dyn TokenHolder>) -> Arc<Self> {
        Arc::new(Self { signals, tokens, state: RwLock::default() })
    }

    /// Makes the live state follow the catalog, except that versions gone from it keep working:
    /// the caller first stops routing to them, then calls [`Registry::release`].
    pub fn apply(&self, catalog: &Catalog) {
        let mut state = self.state.write();
        let state = &mut *state;
        for endpoint in catalog.endpoints.values() {
            let last = state.endpoints.insert(endpoint.name.clone(), Arc::clone(endpoint));
            if last.is_some_and(|last| Arc::ptr_eq(&last, endpoint)) {
                continue;
            }
            for version in &endpoint.versions {
                let key =
                    VersionKey { endpoint: endpoint.name.clone(), version: version.name.clone() };
                let live = state.versions.entry(key).or_insert_with_key(|key| {
                    state.leaving.remove(key).unwrap_or_else(|| {
                        VersionState::new(
                            key.clone(),
                            Arc::clone(&self.signals),
                            Arc::clone(&self.tokens),
                        )
                    })
                });
                live.apply(version);
                for replica in &version.replicas {
                    state.replicas.insert(replica.id, Arc::clone(live));
                }
            }
        }
    }

    /// Lets versions that are not in the catalog finish what they have, and forgets what is done.
    pub fn release(&self, catalog: &Catalog) {
        let mut state = self.state.write();
        let state = &mut *state;
        state.endpoints.retain(|name, _| catalog.endpoints.contains_key(name));
        let gone: Vec<VersionKey> = state
            .versions
            .keys()
            .filter(|key| {
                let endpoint = catalog.endpoints.get(&key.endpoint);
                endpoint.is_none_or(|e| e.version(key.version.as_str()).is_none())
            })
            .cloned()
            .collect();
        for key in gone {
            if let Some(version) = state.versions.remove(&key) {
                version.leave();
                state.leaving.insert(key, version);
            }
        }
        state.leaving.retain(|_, version| !version.is_finished());
        let live: HashSet<ReplicaId> = state
            .versions
            .values()
            .chain(state.leaving.values())
            .flat_map(|version| version.replicas())
            .collect();
        state.replicas.retain(|id, _| live.contains(id));
    }

    /// The live state of a version of the applied catalog.
    pub fn version(&self, key: &VersionKey) -> Option<Arc<VersionState>> {
        self.state.read().versions.get(key).cloned()
    }

    fn replica(&self, replica: ReplicaId) -> Option<Arc<VersionState>> {
        self.state.read().replicas.get(&replica).cloned()
    }
}

impl LoadSource for Registry {
    fn take_load(&self, key: &VersionKey) -> Option<VersionLoad> {
        Some(self.version(key)?.load(true))
    }

    fn peek_load(&self, key: &VersionKey) -> Option<VersionLoad> {
        Some(self.version(key)?.load(false))
    }

    fn arm_pressure(&self, key: &VersionKey, above: u32) {
        if let Some(version) = self.version(key) {
            version.arm_pressure(above);
        }
    }

    fn is_idle(&self, replica: ReplicaId) -> bool {
        self.replica(replica).is_none_or(|version| version.is_replica_idle(replica))
    }

    fn replica_load(&self, replica: ReplicaId) -> Option<ReplicaLoad> {
        self.replica(replica)?.replica_load(replica)
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry").field("state", &self.state).finish_non_exhaustive()
    }
}
