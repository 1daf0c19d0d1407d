//! Which pods are in trouble, on pods as the API server shows them.

use serde_json::{Value, json};

use super::{super::Troubles, MESSAGE_BYTES_MAX, Pod, Trouble, TroubleKind};

fn pod(name: &str, status: &Value) -> Pod {
    serde_json::from_value(json!({"metadata": {"name": name}, "status": status})).expect("a pod")
}

fn waiting(word: &str) -> Value {
    let state = json!({"waiting": {"reason": word, "message": "as kubelet says"}});
    json!({"phase": "Pending", "containerStatuses": [{"name": "model", "state": state}]})
}

fn look(pods: &[Pod]) -> Vec<Trouble> {
    let mut troubles = Troubles::default();
    for pod in pods {
        troubles.look(pod);
    }
    troubles.into_list()
}

#[test]
fn each_word_of_the_cluster_has_its_kind() {
    for (word, kind) in [
        ("CrashLoopBackOff", TroubleKind::CrashLoop),
        ("RunContainerError", TroubleKind::CrashLoop),
        ("ImagePullBackOff", TroubleKind::ImagePull),
        ("ErrImagePull", TroubleKind::ImagePull),
        ("InvalidImageName", TroubleKind::ImagePull),
        ("CreateContainerConfigError", TroubleKind::Config),
        ("CreateContainerError", TroubleKind::Config),
    ] {
        let found = look(&[pod("a", &waiting(word))]);
        let [trouble] = found.as_slice() else { panic!("{word}: {found:?}") };
        assert_eq!((trouble.kind, &*trouble.word), (kind, word));
        assert_eq!(&*trouble.message, "as kubelet says");
    }
}

#[test]
fn a_pod_that_only_starts_is_in_no_trouble() {
    let ready = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
    let unbound = json!({"phase": "Pending",
        "conditions": [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]});
    for status in
        [waiting("ContainerCreating"), waiting("PodInitializing"), ready, unbound, json!({})]
    {
        assert_eq!(look(&[pod("a", &status)]), [], "{status}");
    }
}

#[test]
fn the_scheduler_and_the_evictor_are_heard() {
    let unschedulable = json!({"phase": "Pending", "conditions": [{"type": "PodScheduled",
        "status": "False", "reason": "Unschedulable", "message": "0/3 nodes\nare available"}]});
    let evicted = json!({"phase": "Failed", "reason": "Evicted", "message": "low on memory"});
    let failed = json!({"phase": "Failed"});
    let found = look(&[pod("a", &failed), pod("b", &evicted), pod("c", &unschedulable)]);
    let shown: Vec<_> =
        found.iter().map(|t| (t.kind, t.count, &*t.pod, &*t.word, &*t.message)).collect();
    assert_eq!(
        shown,
        [
            (TroubleKind::Unschedulable, 1, "c", "Unschedulable", "0/3 nodes are available"),
            (TroubleKind::Failed, 2, "a", "Failed", ""),
        ]
    );
}

#[test]
fn a_pod_that_is_meant_to_go_is_in_no_trouble() {
    let mut gone = pod("a", &waiting("CrashLoopBackOff"));
    gone.metadata.deletion_timestamp = Some("2026-01-01T00:00:00Z".parse().expect("a time"));
    assert_eq!(look(&[gone]), []);
}

#[test]
fn pods_are_counted_and_the_first_by_name_is_shown_in_any_order() {
    let pods = ["c", "a", "b"].map(|name| pod(name, &waiting("ErrImagePull")));
    let found = look(&pods);
    assert_eq!((found.len(), found[0].count, &*found[0].pod), (1, 3, "a"));
    let mut reversed = pods;
    reversed.reverse();
    assert_eq!(look(&reversed), found);
}

#[test]
fn messages_are_bounded() {
    let mut status = waiting("ErrImagePull");
    status["containerStatuses"][0]["state"]["waiting"]["message"] = json!("x".repeat(5000));
    let found = look(&[pod("a", &status)]);
    assert_eq!(found[0].message.len(), MESSAGE_BYTES_MAX);
    assert!(found[0].message.ends_with('…'));
}
