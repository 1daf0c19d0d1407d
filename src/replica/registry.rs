//! All live versions, and the data plane's side of [`LoadSource`].

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use parking_lot::RwLock;

use super::{tokens::TokenHolder, version::VersionState};
use crate::domain::{
    Catalog, Change, Endpoint, LoadSource, Name, ReplicaId, ReplicaLoad, SignalSink, VersionKey,
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
    endpoints: BTreeMap<Name, Arc<Endpoint>>,
    /// Versions that the applied catalog lacks, until they are released.
    going: HashSet<VersionKey>,
    /// Versions gone from the catalog that still finish something.
    leaving: HashMap<VersionKey, Arc<VersionState>>,
    /// Replicas gone from the catalog that may still finish something.
    ending: HashSet<ReplicaId>,
}

impl Registry {
    /// An empty registry.
    pub fn new(signals: SignalSink, tokens: Arc<dyn TokenHolder>) -> Arc<Self> {
        Arc::new(Self { signals, tokens, state: RwLock::default() })
    }

    /// Makes the live state follow the catalog, except that versions gone from it keep working:
    /// the caller first stops routing to them, then calls [`Registry::release`]. Returns what is
    /// not as it was in the catalog applied before; all the rest costs one comparison each.
    pub fn apply(&self, catalog: &Catalog) -> Vec<Change> {
        let mut state = self.state.write();
        let changes = catalog.changes_since(&state.endpoints);
        for change in &changes {
            if let Some(before) = &change.before {
                state.miss(before);
            }
            if let Some(now) = &change.now {
                state.take_over(now, self);
            }
        }
        changes
    }

    /// Lets versions that are not in the applied catalog finish what they have, and forgets what is
    /// done.
    pub fn release(&self) {
        let mut state = self.state.write();
        let State { versions, replicas, going, leaving, ending, .. } = &mut *state;
        for key in going.drain() {
            if let Some(version) = versions.remove(&key) {
                version.leave();
                leaving.insert(key, version);
            }
        }
        leaving.retain(|_, version| !version.is_finished());
        ending.retain(|id| {
            let busy = replicas.get(id).is_some_and(|version| version.replica_load(*id).is_some());
            if !busy {
                replicas.remove(id);
            }
            busy
        });
    }

    /// The live state of a version of the applied catalog.
    pub fn version(&self, key: &VersionKey) -> Option<Arc<VersionState>> {
        self.state.read().versions.get(key).cloned()
    }

    fn replica(&self, replica: ReplicaId) -> Option<Arc<VersionState>> {
        self.state.read().replicas.get(&replica).cloned()
    }
}

impl State {
    /// Everything of this endpoint is gone, unless the catalog has it again.
    fn miss(&mut self, before: &Endpoint) {
        self.endpoints.remove(&before.name);
        for version in &before.versions {
            self.going.insert(before.key_of(version));
            self.ending.extend(version.replicas.iter().map(|replica| replica.id));
        }
    }

    fn take_over(&mut self, now: &Arc<Endpoint>, registry: &Registry) {
        self.endpoints.insert(now.name.clone(), Arc::clone(now));
        for version in &now.versions {
            let key = now.key_of(version);
            self.going.remove(&key);
            let live = self.versions.entry(key).or_insert_with_key(|key| {
                self.leaving.remove(key).unwrap_or_else(|| {
                    let (signals, tokens) = (&registry.signals, &registry.tokens);
                    VersionState::new(key.clone(), Arc::clone(signals), Arc::clone(tokens))
                })
            });
            live.apply(version);
            for replica in &version.replicas {
                self.ending.remove(&replica.id);
                self.replicas.insert(replica.id, Arc::clone(live));
            }
        }
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::domain::{ReplicaState::Ready, Version};
    use crate::replica::{
        Acquired, AllHere,
        tests::{endpoint, version},
    };

    type Shape = BTreeMap<u8, (u8, BTreeMap<u8, BTreeSet<u64>>)>;

    fn name(letter: char, number: u8) -> Name {
        Name::new(&format!("{letter}-{number}")).unwrap()
    }

    fn replica_of(endpoint: u8, version: u8, number: u64) -> u64 {
        u64::from(endpoint) * 100 + u64::from(version) * 10 + number
    }

    /// Endpoints of the same shape as before are the same ones by pointer, as publishers make them.
    fn catalog(shape: &Shape, before: &(Shape, Catalog)) -> Catalog {
        let endpoints = shape.iter().map(|(number, parts)| {
            let called = name('e', *number);
            let same = before.0.get(number) == Some(parts);
            let old = before.1.endpoints.get(&called).filter(|_| same);
            let made = old.cloned().unwrap_or_else(|| {
                let versions = parts.1.iter().map(|(of, replicas)| {
                    let ids = replicas.iter().map(|id| (replica_of(*number, *of, *id), Ready));
                    Version { name: name('v', *of), ..version(&ids.collect::<Vec<_>>()) }
                });
                Arc::new(endpoint(called.clone(), versions.collect()))
            });
            (called, made)
        });
        Catalog { revision: 1, endpoints: endpoints.collect() }
    }

    fn registry() -> Arc<Registry> {
        Registry::new(Arc::new(|_| {}), Arc::new(AllHere))
    }

    fn shape() -> impl Strategy<Value = Shape> {
        let replicas = prop::collection::btree_set(0..4_u64, 0..4);
        let versions = prop::collection::btree_map(0..3_u8, replicas, 1..4);
        prop::collection::btree_map(0..4_u8, (0..2_u8, versions), 0..4)
    }

    proptest! {
        #[test]
        fn after_any_edits_exactly_the_catalog_is_known_and_nothing_is_left_over(
            edits in prop::collection::vec((shape(), any::<bool>()), 1..12),
        ) {
            let registry = registry();
            let mut last = (Shape::new(), Catalog::default());
            let count = edits.len();
            for (at, (shape, released)) in (1..).zip(edits) {
                let catalog = catalog(&shape, &last);
                registry.apply(&catalog);
                last = (shape, catalog);
                if !released && at < count {
                    continue; // The next one is applied before anything is released.
                }
                registry.release();
                let state = registry.state.read();
                let keys = last.0.iter().flat_map(|(endpoint, (_, versions))| {
                    versions.keys().map(|version| VersionKey {
                        endpoint: name('e', *endpoint),
                        version: name('v', *version),
                    })
                });
                prop_assert_eq!(
                    state.versions.keys().cloned().collect::<HashSet<_>>(),
                    keys.collect::<HashSet<_>>()
                );
                let ids = last.0.iter().flat_map(|(endpoint, (_, versions))| {
                    versions.iter().flat_map(|(version, replicas)| {
                        replicas.iter().map(|id| ReplicaId(replica_of(*endpoint, *version, *id)))
                    })
                });
                prop_assert_eq!(
                    state.replicas.keys().copied().collect::<HashSet<_>>(),
                    ids.collect::<HashSet<_>>()
                );
                for (id, version) in &state.replicas {
                    prop_assert!(version.replica_load(*id).is_some_and(|load| load.usable));
                }
                prop_assert!(state.going.is_empty() && state.leaving.is_empty());
                prop_assert!(state.ending.is_empty());
            }
        }
    }

    #[test]
    fn a_busy_replica_that_is_gone_is_known_until_the_release_after_its_end() {
        let registry = registry();
        let shape = |replicas: &[u64]| {
            let versions = BTreeMap::from([(0, replicas.iter().copied().collect())]);
            Shape::from([(0, (0, versions))])
        };
        let publish = |shape: &Shape| {
            let changes = registry.apply(&catalog(shape, &(Shape::new(), Catalog::default())));
            registry.release();
            changes.len()
        };
        assert_eq!(publish(&shape(&[1])), 1);
        let key = VersionKey { endpoint: name('e', 0), version: name('v', 0) };
        let version = registry.version(&key).unwrap();
        let Ok(Acquired::Slot(slot)) = version.acquire() else { panic!("no slot") };
        for gone in [shape(&[2]), Shape::new()] {
            publish(&gone);
            assert!(!registry.is_idle(ReplicaId(1)));
            assert_eq!(registry.replica_load(ReplicaId(1)).unwrap().busy, 1);
        }
        drop(slot);
        assert!(registry.is_idle(ReplicaId(1)));
        assert_eq!(publish(&Shape::new()), 0);
        let state = registry.state.read();
        assert!(state.replicas.is_empty() && state.ending.is_empty() && state.leaving.is_empty());
    }

    #[test]
    fn a_version_that_comes_back_while_it_finishes_is_the_same_one() {
        let registry = registry();
        let shape = Shape::from([(0, (0, BTreeMap::from([(0, BTreeSet::from([1]))])))]);
        let nothing = (Shape::new(), Catalog::default());
        let key = VersionKey { endpoint: name('e', 0), version: name('v', 0) };
        registry.apply(&catalog(&shape, &nothing));
        let version = registry.version(&key).unwrap();
        let Ok(Acquired::Slot(slot)) = version.acquire() else { panic!("no slot") };
        registry.apply(&Catalog::default());
        registry.release();
        assert!(registry.version(&key).is_none());
        registry.apply(&catalog(&shape, &nothing));
        registry.release();
        assert!(Arc::ptr_eq(&version, &registry.version(&key).unwrap()));
        drop(slot);
        assert!(!registry.is_idle(ReplicaId(1)));
    }
}
