//! Who belongs to whom.

use serde_json::{Value, json};

use super::*;

fn read<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn meta(name: &str, uid: &str, owner: Option<&str>) -> Value {
    let owners: Vec<_> =
        owner.into_iter().map(|uid| json!({"uid": uid, "controller": true})).collect();
    json!({"namespace": "models", "name": name, "uid": uid, "resourceVersion": uid,
           "labels": {"app": "fraud"}, "ownerReferences": owners})
}

fn pod(name: &str, owner: Option<&str>) -> Pod {
    read(json!({"metadata": meta(name, name, owner)}))
}

fn deployment(uid: &str) -> Workload {
    let selector = json!({"matchLabels": {"app": "fraud"}});
    read(json!({"metadata": meta("fraud", uid, None), "spec": {"selector": selector}}))
}

fn target() -> Target {
    let object = ObjectKey { namespace: "models".into(), name: "fraud".into() };
    Target { kind: WorkloadKind::Deployment, object }
}

/// A Deployment with one ReplicaSet.
fn cluster() -> Cluster {
    let (mut cluster, mut touched) = (Cluster::default(), Touched::new());
    let kind = WorkloadKind::Deployment;
    cluster.take_workloads(kind, None, News::All(vec![deployment("d")]), &mut touched);
    let set = read(json!({"metadata": meta("fraud-1", "s", Some("d"))}));
    cluster.take_replica_sets(None, News::Changed(set), &mut touched);
    assert_eq!(touched, Touched::from([target()]));
    cluster
}

fn names(cluster: &Cluster) -> Vec<String> {
    cluster.pods(&target()).iter().map(|pod| pod.metadata.name.to_string()).collect()
}

#[test]
fn a_pod_needs_the_owner_the_selector_and_the_namespace() {
    let mut cluster = cluster();
    let mut elsewhere = pod("elsewhere", Some("s"));
    elsewhere.metadata.namespace = "others".into();
    let mut unlabelled = pod("unlabelled", Some("s"));
    unlabelled.metadata.labels.clear();
    let mut uncontrolled = pod("uncontrolled", Some("s"));
    uncontrolled.metadata.owner_references[0].controller = false;
    let direct = pod("direct", Some("d"));
    let stranger = pod("stranger", None);
    let pods = vec![pod("good", Some("s")), elsewhere, unlabelled, uncontrolled, direct, stranger];
    cluster.take_pods(None, News::All(pods), &mut Touched::new());
    assert_eq!(names(&cluster), ["good"]);
}

#[test]
fn every_change_touches_the_target_and_the_last_one_leaves_nothing() {
    let mut cluster = cluster();
    for news in [News::Changed(pod("a", Some("s"))), News::Gone(pod("a", Some("s")))] {
        let mut touched = Touched::new();
        cluster.take_pods(None, news, &mut touched);
        assert_eq!(touched, Touched::from([target()]));
    }
    let mut touched = Touched::new();
    cluster.take_replica_sets(None, News::All(Vec::new()), &mut touched);
    let kind = WorkloadKind::Deployment;
    cluster.take_workloads(kind, None, News::Changed(deployment("e")), &mut touched);
    assert_eq!(cluster.workload_of.len(), 1, "the uid before is forgotten");
    cluster.take_workloads(kind, None, News::All(Vec::new()), &mut touched);
    assert_eq!(touched, Touched::from([target()]));
    assert!(cluster.workload(&target()).is_none());
    assert!(cluster.workload_of.is_empty() && cluster.deployment_of.is_empty());
    assert!(cluster.sets_of.is_empty() && cluster.pods_of.is_empty());
}

#[test]
fn an_hpa_counts_for_workloads_of_apps_alone() {
    let mut cluster = cluster();
    for (group, expected) in [("apps/v1", true), ("", true), ("example.dev/v1", false)] {
        let hpa: Hpa = read(json!({"metadata": meta("hpa", group, None), "spec": {
            "scaleTargetRef": {"apiVersion": group, "kind": "Deployment", "name": "fraud"},
        }}));
        cluster.take_hpas(None, News::Changed(hpa.clone()), &mut Touched::new());
        assert_eq!(cluster.hpa(&target()).is_some(), expected, "{group}");
        cluster.take_hpas(None, News::Gone(hpa), &mut Touched::new());
        assert!(cluster.hpa(&target()).is_none());
    }
}
