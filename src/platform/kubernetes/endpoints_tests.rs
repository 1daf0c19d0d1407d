//! Which objects are in force, by age and by claims.

use serde_json::{Value, json};

use super::*;

fn object(name: &str, uid: &str, born: &str, spec: &Value) -> (ObjectKey, Arc<EndpointObject>) {
    let object: EndpointObject = serde_json::from_value(json!({
        "metadata": {"namespace": "models", "name": name, "uid": uid, "generation": 1,
                     "creationTimestamp": born},
        "spec": spec,
    }))
    .unwrap();
    (ObjectKey { namespace: "models".into(), name: name.into() }, Arc::new(object))
}

fn spec(target: &str, hosts: &[&str]) -> Value {
    let target = json!({"kind": "Deployment", "name": target});
    json!({"hosts": hosts, "versions": [{"name": "blue", "targetRef": target}]})
}

/// Puts the object and decides; the names of the objects for which anything changed.
fn put(endpoints: &mut Endpoints, (key, object): (ObjectKey, Arc<EndpointObject>)) -> Vec<String> {
    endpoints.put(key, object, Policy::CLUSTER);
    let mut changed: Vec<_> = endpoints.resolve().iter().map(|key| key.name.to_string()).collect();
    changed.sort();
    changed
}

/// The hosts of the spec in force, and what is taken by whom.
fn state(endpoints: &Endpoints, name: &str) -> (Option<Vec<String>>, Option<(Claim, String)>) {
    let key = ObjectKey { namespace: "models".into(), name: name.into() };
    let record = endpoints.get(&key).unwrap();
    let hosts =
        |spec: &Arc<EndpointSpec>| spec.endpoint.hosts.iter().map(ToString::to_string).collect();
    let taken = record.taken.as_ref().map(|t| (t.what.clone(), t.by.name.to_string()));
    (record.spec().map(hosts), taken)
}

const OLD: &str = "2026-01-01T00:00:00Z";
const NEW: &str = "2026-02-01T00:00:00Z";

#[test]
fn the_older_object_keeps_a_target_and_the_younger_heals_when_it_goes() {
    let mut endpoints = Endpoints::default();
    put(&mut endpoints, object("younger", "2", NEW, &spec("one", &[])));
    assert_eq!(state(&endpoints, "younger"), (Some(Vec::new()), None));
    let changed = put(&mut endpoints, object("older", "1", OLD, &spec("one", &[])));
    assert_eq!(changed, ["older", "younger"]);
    let (in_force, taken) = state(&endpoints, "younger");
    assert_eq!(in_force, None);
    assert!(matches!(taken, Some((Claim::Target(_), by)) if by == "older"));
    endpoints.remove(&ObjectKey { namespace: "models".into(), name: "older".into() });
    endpoints.resolve();
    assert_eq!(state(&endpoints, "younger"), (Some(Vec::new()), None));
}

#[test]
fn an_edit_that_asks_for_what_another_has_leaves_the_last_good_in_force() {
    let mut endpoints = Endpoints::default();
    put(&mut endpoints, object("older", "1", OLD, &spec("one", &["a.example"])));
    put(&mut endpoints, object("younger", "2", NEW, &spec("two", &["b.example"])));
    put(&mut endpoints, object("younger", "2", NEW, &spec("two", &["a.example"])));
    let taken = Some((Claim::Host("a.example".into()), "older".to_owned()));
    assert_eq!(state(&endpoints, "younger"), (Some(vec!["b.example".to_owned()]), taken));
    put(&mut endpoints, object("older", "1", OLD, &spec("one", &[])));
    assert_eq!(state(&endpoints, "younger"), (Some(vec!["a.example".to_owned()]), None));
}

#[test]
fn a_bad_edit_leaves_the_last_good_in_force_and_a_namesake_inherits_nothing() {
    let mut endpoints = Endpoints::default();
    put(&mut endpoints, object("fraud", "1", OLD, &spec("one", &["a.example"])));
    put(&mut endpoints, object("fraud", "1", OLD, &json!({"versions": 7})));
    assert_eq!(state(&endpoints, "fraud").0, Some(vec!["a.example".to_owned()]));
    put(&mut endpoints, object("fraud", "2", NEW, &json!({"versions": 7})));
    assert_eq!(state(&endpoints, "fraud").0, None);
}

#[test]
fn the_older_object_keeps_a_name_across_namespaces_even_while_it_is_bad() {
    let mut endpoints = Endpoints::default();
    put(&mut endpoints, object("fraud", "1", OLD, &json!({"versions": 7})));
    let (mut key, thief) = object("fraud", "2", NEW, &spec("one", &[]));
    key.namespace = "others".into();
    let mut thief = EndpointObject::clone(&thief);
    thief.metadata.namespace = "others".into();
    endpoints.put(key.clone(), Arc::new(thief), Policy::CLUSTER);
    endpoints.resolve();
    let record = endpoints.get(&key).unwrap();
    assert!(matches!(&record.taken, Some(Taken { what: Claim::Name(_), .. })));
    assert!(record.spec().is_none());
}

#[test]
fn a_new_status_alone_decides_nothing() {
    let mut endpoints = Endpoints::default();
    let (key, first) = object("fraud", "1", OLD, &spec("one", &[]));
    put(&mut endpoints, (key.clone(), Arc::clone(&first)));
    let mut told = EndpointObject::clone(&first);
    told.status = json!({"ready": 1});
    assert!(endpoints.refresh(&key, &Arc::new(told)));
    assert_eq!(endpoints.get(&key).unwrap().object.status, json!({"ready": 1}));
    assert!(endpoints.get(&key).unwrap().spec().is_some());
}
