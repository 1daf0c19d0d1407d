//! The objects of one kind as the API server last described them.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::{
    objects::{Object, ObjectKey},
    watch::News,
};

/// All known objects of a kind.
#[derive(Debug)]
pub(super) struct Table<T>(HashMap<ObjectKey, Arc<T>>);

/// What news changed: an object before and after; at least one of the two is there.
#[derive(Debug)]
pub(super) struct Delta<T> {
    pub(super) before: Option<Arc<T>>,
    pub(super) after: Option<Arc<T>>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T: Object> Table<T> {
    pub(super) fn get(&self, key: &ObjectKey) -> Option<&Arc<T>> {
        self.0.get(key)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &Arc<T>> {
        self.0.values()
    }

    /// Takes news of the objects in `namespace` (`None`: all). An object that was deleted and made
    /// again under its name is told as two changes, because nothing of the first one holds for the
    /// second.
    pub(super) fn apply(&mut self, namespace: Option<&str>, news: News<T>) -> Vec<Delta<T>> {
        match news {
            News::Changed(object) => self.put(object).collect(),
            News::Gone(object) => self.take(&object.key()).into_iter().collect(),
            News::All(objects) => {
                let listed: HashSet<ObjectKey> = objects.iter().map(Object::key).collect();
                let gone: Vec<ObjectKey> = self
                    .0
                    .keys()
                    .filter(|key| namespace.is_none_or(|name| *key.namespace == *name))
                    .filter(|key| !listed.contains(key))
                    .cloned()
                    .collect();
                let mut deltas: Vec<_> = gone.iter().filter_map(|key| self.take(key)).collect();
                for object in objects {
                    deltas.extend(self.put(object));
                }
                deltas
            }
        }
    }

    fn put(&mut self, object: T) -> impl Iterator<Item = Delta<T>> + use<T> {
        let key = object.key();
        let known = self.0.get(&key);
        let same_version =
            known.is_some_and(|k| k.meta().resource_version == object.meta().resource_version);
        if same_version && known.is_some_and(|k| k.meta().uid == object.meta().uid) {
            return None.into_iter().chain(None);
        }
        let replaced = known.is_some_and(|k| k.meta().uid != object.meta().uid);
        let gone = if replaced { self.take(&key) } else { None };
        let after = Arc::new(object);
        let before = self.0.insert(key, Arc::clone(&after));
        gone.into_iter().chain(Some(Delta { before, after: Some(after) }))
    }

    fn take(&mut self, key: &ObjectKey) -> Option<Delta<T>> {
        self.0.remove(key).map(|before| Delta { before: Some(before), after: None })
    }
}

#[cfg(test)]
mod tests {
    use super::{super::objects::Workload, *};

    fn workload(namespace: &str, name: &str, uid: &str, version: &str) -> Workload {
        serde_json::from_value(serde_json::json!({"metadata": {
            "namespace": namespace, "name": name, "uid": uid, "resourceVersion": version,
        }}))
        .unwrap()
    }

    fn told(deltas: &[Delta<Workload>]) -> Vec<String> {
        let name = |object: &Option<Arc<Workload>>| {
            object.as_ref().map_or("-".to_owned(), |o| {
                format!("{}@{}", o.metadata.uid, o.metadata.resource_version)
            })
        };
        let mut told: Vec<_> =
            deltas.iter().map(|d| format!("{} {}", name(&d.before), name(&d.after))).collect();
        told.sort();
        told
    }

    #[test]
    fn a_list_replaces_its_namespace_and_no_other() {
        let mut table = Table::default();
        let all = vec![workload("a", "x", "1", "1"), workload("b", "y", "2", "1")];
        assert_eq!(told(&table.apply(None, News::All(all))), ["- 1@1", "- 2@1"]);
        let none = table.apply(Some("a"), News::All(Vec::new()));
        assert_eq!(told(&none), ["1@1 -"]);
        assert_eq!(table.values().count(), 1);
    }

    #[test]
    fn the_same_object_again_changes_nothing_and_a_namesake_is_another() {
        let mut table = Table::default();
        table.apply(None, News::Changed(workload("a", "x", "1", "1")));
        assert_eq!(told(&table.apply(None, News::Changed(workload("a", "x", "1", "1")))), [""; 0]);
        let changed = table.apply(None, News::Changed(workload("a", "x", "1", "2")));
        assert_eq!(told(&changed), ["1@1 1@2"]);
        let namesake = table.apply(None, News::All(vec![workload("a", "x", "2", "3")]));
        assert_eq!(told(&namesake), ["- 2@3", "1@2 -"]);
        let gone = table.apply(None, News::Gone(workload("a", "x", "2", "4")));
        assert_eq!(told(&gone), ["2@3 -"]);
        assert_eq!(told(&table.apply(None, News::Gone(workload("a", "x", "2", "4")))), [""; 0]);
    }
}
