//! The endpoint objects, what the rules say of them, and which of them are in force.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use super::{
    objects::{EndpointObject, ObjectKey},
    target::{Target, WorkloadKind},
};
use crate::{
    domain::Name,
    platform::spec::{self, EndpointSpec, Policy, Problem},
};

/// One endpoint object.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) object: Arc<EndpointObject>,
    /// What the rules say of the object as it is now.
    pub(super) checked: Result<Arc<EndpointSpec>, Vec<Problem>>,
    /// The newest spec that was in force, with its generation. It stays so when an edit is bad, or
    /// asks for what an older object has.
    last_good: Option<(i64, Arc<EndpointSpec>)>,
    /// What somebody older has already, when that keeps this object out.
    pub(super) taken: Option<Taken>,
    in_force: Option<(i64, Arc<EndpointSpec>)>,
}

/// What two endpoints cannot both have; the older object keeps it (contract §2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) what: Claim,
    pub(super) by: ObjectKey,
}

/// What an endpoint claims for itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Claim {
    Name(Name),
    Host(Box<str>),
    Target(Target),
}

/// All endpoint objects.
#[derive(Debug, Default)]
pub(super) struct Endpoints {
    records: HashMap<ObjectKey, Record>,
    by_name: BTreeMap<Name, ObjectKey>,
    users: HashMap<Target, ObjectKey>,
}

impl Record {
    /// The spec in force with its generation.
    pub(super) fn in_force(&self) -> Option<(i64, &Arc<EndpointSpec>)> {
        self.in_force.as_ref().map(|(generation, spec)| (*generation, spec))
    }

    /// The spec in force.
    pub(super) fn spec(&self) -> Option<&Arc<EndpointSpec>> {
        self.in_force.as_ref().map(|(_, spec)| spec)
    }

    /// Older objects first; two of one second in the order of their names, so that every router
    /// decides alike.
    fn by_age(&self, other: &Self) -> Ordering {
        let age = |record: &Self| {
            let meta = &record.object.metadata;
            (meta.creation_timestamp, Arc::clone(&meta.namespace), Arc::clone(&meta.name))
        };
        age(self).cmp(&age(other))
    }
}

impl Endpoints {
    pub(super) fn get(&self, key: &ObjectKey) -> Option<&Record> {
        self.records.get(key)
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &ObjectKey> {
        self.records.keys()
    }

    /// The endpoint in force of this name.
    pub(super) fn by_name(&self, name: &Name) -> Option<&ObjectKey> {
        self.by_name.get(name)
    }

    /// The endpoints in force, by name.
    pub(super) fn in_force(&self) -> impl Iterator<Item = (&Name, &ObjectKey)> {
        self.by_name.iter()
    }

    /// Who has this target.
    pub(super) fn user(&self, target: &Target) -> Option<&ObjectKey> {
        self.users.get(target)
    }

    /// Takes an object as it is now. [`Endpoints::resolve`] has to follow.
    pub(super) fn put(&mut self, key: ObjectKey, object: Arc<EndpointObject>, policy: Policy) {
        let known = self.records.remove(&key);
        let known = known.filter(|known| known.object.metadata.uid == object.metadata.uid);
        let same_spec = known.as_ref().filter(|known| known.object.spec == object.spec);
        let checked = match same_spec {
            Some(known) => known.checked.clone(),
            None => {
                spec::load_object(&key.namespace, &key.name, &object.spec, policy).map(Arc::new)
            }
        };
        let (last_good, in_force) =
            known.map_or((None, None), |known| (known.last_good, known.in_force));
        self.records.insert(key, Record { object, checked, last_good, taken: None, in_force });
    }

    /// Takes an object of which only the status or other news of no weight changed; true when that
    /// is so, false when it has to be [`Endpoints::put`]. The router's own writes of the status
    /// come back like this, one for each: deciding anew over all objects would cost too much.
    pub(super) fn refresh(&mut self, key: &ObjectKey, object: &Arc<EndpointObject>) -> bool {
        let Some(record) = self.records.get_mut(key) else { return false };
        let (old, new) = (&record.object.metadata, &object.metadata);
        let is_same = old.uid == new.uid
            && old.generation == new.generation
            && old.creation_timestamp == new.creation_timestamp
            && record.object.spec == object.spec;
        if is_same {
            record.object = Arc::clone(object);
        }
        is_same
    }

    pub(super) fn remove(&mut self, key: &ObjectKey) {
        self.records.remove(key);
    }

    /// Decides anew which specs are in force. Returns the objects for which that changed.
    pub(super) fn resolve(&mut self) -> HashSet<ObjectKey> {
        let mut keys: Vec<ObjectKey> = self.records.keys().cloned().collect();
        keys.sort_by(|a, b| match (self.records.get(a), self.records.get(b)) {
            (Some(a), Some(b)) => a.by_age(b),
            _ => Ordering::Equal,
        });
        let mut owners: HashMap<Claim, ObjectKey> = HashMap::new();
        let mut changed = HashSet::new();
        self.by_name.clear();
        self.users.clear();
        for key in keys {
            let Some(record) = self.records.get_mut(&key) else { continue };
            let before = (record.in_force.take(), record.taken.take());
            choose(&key, record, &mut owners);
            if let Some((_, spec)) = &record.in_force {
                self.by_name.insert(spec.endpoint.name.clone(), key.clone());
                for target in targets(&key, spec) {
                    self.users.insert(target, key.clone());
                }
            }
            let same_force = match (&before.0, &record.in_force) {
                (Some((_, a)), Some((_, b))) => Arc::ptr_eq(a, b),
                (None, None) => true,
                _ => false,
            };
            if !same_force || before.1 != record.taken {
                changed.insert(key);
            }
        }
        changed
    }
}

/// Puts in force what the object says now, or else its last good spec, unless somebody older has
/// what that needs. Even a bad object keeps its name: it is only waiting to be mended.
fn choose(key: &ObjectKey, record: &mut Record, owners: &mut HashMap<Claim, ObjectKey>) {
    if let Ok(name) = Name::new(&key.name)
        && let Some(taken) = claim(key, [Claim::Name(name)].into_iter(), owners)
    {
        record.taken = Some(taken);
        return;
    }
    let generation = record.object.metadata.generation;
    let now = record.checked.as_ref().ok().map(|spec| (generation, Arc::clone(spec)));
    for candidate in [now, record.last_good.clone()].into_iter().flatten() {
        let claims = claims(key, &candidate.1);
        match claim(key, claims.into_iter(), owners) {
            None => {
                record.last_good = Some(candidate.clone());
                record.in_force = Some(candidate);
                return;
            }
            Some(taken) => {
                record.taken.get_or_insert(taken);
            }
        }
    }
}

/// Takes all of the claims, or none when somebody has one of them.
fn claim(
    key: &ObjectKey,
    claims: impl Iterator<Item = Claim> + Clone,
    owners: &mut HashMap<Claim, ObjectKey>,
) -> Option<Taken> {
    for what in claims.clone() {
        if let Some(by) = owners.get(&what).filter(|by| *by != key) {
            return Some(Taken { what, by: by.clone() });
        }
    }
    owners.extend(claims.map(|what| (what, key.clone())));
    None
}

fn claims(key: &ObjectKey, spec: &EndpointSpec) -> Vec<Claim> {
    let hosts = spec.endpoint.hosts.iter().map(|host| Claim::Host(host.clone()));
    hosts.chain(targets(key, spec).map(Claim::Target)).collect()
}

fn targets<'a>(key: &'a ObjectKey, spec: &'a EndpointSpec) -> impl Iterator<Item = Target> + 'a {
    spec.versions.iter().filter_map(|version| target_key(&key.namespace, &version.target))
}

/// The workload that a version names.
pub(super) fn target_key(namespace: &Arc<str>, target: &spec::Target) -> Option<Target> {
    let spec::Target::Cluster { kind, name } = target else { return None };
    let object = ObjectKey { namespace: Arc::clone(namespace), name: Arc::from(name.as_str()) };
    Some(Target { kind: WorkloadKind::from_text(kind)?, object })
}

#[cfg(test)]
#[path = "endpoints_tests.rs"]
mod tests;
