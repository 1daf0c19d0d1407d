//! Facts in, state out.

use serde_json::{Value, json};

use super::*;

const PORTS: Ports = Ports { http: 5001, grpc: None };

fn pod(address: &str, ready: Option<bool>, restarts: u32, more: &Value) -> Arc<Pod> {
    let mut meta = json!({"namespace": "models", "name": "pod", "uid": "1"});
    meta.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let ready = ready.map(|r| json!({"type": "Ready", "status": if r { "True" } else { "False" }}));
    let pod = json!({"metadata": meta, "status": {
        "phase": "Running", "podIP": address, "conditions": Vec::from_iter(ready),
        "containerStatuses": [{"name": "model", "restartCount": restarts}],
    }});
    Arc::new(serde_json::from_value(pod).unwrap())
}

fn plain(ready: Option<bool>) -> Arc<Pod> {
    pod("10.0.0.1", ready, 0, &json!({}))
}

fn failure(found: Found) -> Failure {
    Failure { found, reason: "why".to_owned() }
}

fn state(replica: &mut Replica, last_resort: bool) -> ReplicaState {
    replica.settle(last_resort);
    replica.state
}

#[test]
fn two_witnesses_race_and_a_refused_connection_outranks_kubernetes() {
    use ReplicaState::{Ready, Starting};
    for (kube, probed, expected) in [
        (None, None, Starting),
        (None, Some(Ok(())), Ready),
        (Some(false), Some(Ok(())), Ready),
        (Some(true), None, Starting),
        (Some(true), Some(Err(failure(Found::Refused))), Starting),
        (Some(true), Some(Err(failure(Found::Unreachable))), Starting),
        (Some(true), Some(Err(failure(Found::Silent))), Ready),
        (Some(true), Some(Err(failure(Found::Wrong))), Ready),
        (Some(false), Some(Err(failure(Found::Silent))), Starting),
        (Some(true), Some(Ok(())), Ready),
    ] {
        let mut replica = Replica::new(plain(kube), PORTS);
        if let Some(result) = probed.clone() {
            replica.hear(result);
        }
        assert_eq!(state(&mut replica, false), expected, "{kube:?} {probed:?}");
    }
}

#[test]
fn not_ready_counts_at_once_and_is_used_only_as_the_last_resort() {
    let mut replica = Replica::new(plain(Some(true)), PORTS);
    replica.hear(Ok(()));
    assert_eq!(state(&mut replica, false), ReplicaState::Ready);
    replica.see(plain(Some(false)), PORTS);
    assert_eq!(state(&mut replica, true), ReplicaState::Starting, "it is asked anew first");
    assert!(replica.probe_place().is_some());
    replica.hear(Err(failure(Found::Silent)));
    assert_eq!(state(&mut replica, false), ReplicaState::Starting);
    assert_eq!(state(&mut replica, true), ReplicaState::Ready);
    replica.hear(Err(failure(Found::Refused)));
    assert_eq!(state(&mut replica, true), ReplicaState::Starting);
    replica.see(plain(Some(true)), PORTS);
    replica.hear(Ok(()));
    assert_eq!(state(&mut replica, false), ReplicaState::Ready);
}

#[test]
fn a_suspicion_of_this_generation_is_checked_by_a_probe_that_tells_anew() {
    let mut replica = Replica::new(plain(None), PORTS);
    replica.hear(Ok(()));
    assert_eq!(state(&mut replica, false), ReplicaState::Ready);
    let (generation, round) = (replica.published(None).generation, replica.round());
    replica.suspect(generation - 1);
    assert_eq!((state(&mut replica, false), replica.round()), (ReplicaState::Ready, round));
    replica.suspect(generation);
    assert_eq!(state(&mut replica, false), ReplicaState::Starting);
    assert_ne!(replica.round(), round);
    replica.hear(Ok(()));
    assert_eq!(state(&mut replica, false), ReplicaState::Ready);
    assert_eq!(replica.published(None).generation, generation + 1);
}

#[test]
fn a_restart_begins_the_race_anew_and_another_address_is_another_replica() {
    let mut replica = Replica::new(plain(Some(true)), PORTS);
    replica.hear(Ok(()));
    state(&mut replica, false);
    let (id, round) = (replica.id, replica.round());
    replica.see(pod("10.0.0.1", Some(false), 1, &json!({})), PORTS);
    assert_eq!(state(&mut replica, false), ReplicaState::Starting);
    assert_ne!(replica.round(), round);
    assert_eq!(replica.id, id);
    replica.hear(Ok(()));
    assert_eq!(
        state(&mut replica, false),
        ReplicaState::Ready,
        "NotReady was of the process before"
    );
    replica.removal = Removal::Drains;
    replica.see(pod("10.0.0.2", Some(true), 1, &json!({})), PORTS);
    assert_ne!(replica.id, id);
    assert_eq!(state(&mut replica, false), ReplicaState::Starting);
}

#[test]
fn what_leaves_gets_no_work_and_no_probe() {
    let cost =
        |cost: &str| json!({"annotations": {"controller.kubernetes.io/pod-deletion-cost": cost}});
    for (more, leaves) in [
        (json!({"deletionTimestamp": "2026-01-01T00:00:00Z"}), true),
        (cost("-2147483648"), true),
        (cost("-5"), false),
        (cost("low"), false),
    ] {
        let mut replica = Replica::new(pod("10.0.0.1", Some(true), 0, &more), PORTS);
        replica.hear(Ok(()));
        let expected = if leaves { ReplicaState::Draining } else { ReplicaState::Ready };
        assert_eq!(state(&mut replica, true), expected, "{more}");
        assert!(replica.probe_place().is_none());
    }
}

#[test]
fn addresses_that_no_pod_can_have_are_refused() {
    for address in ["", "169.254.169.254", "0.0.0.0", "224.0.0.1", "fe80::1", "::", "text"] {
        let replica = Replica::new(pod(address, Some(true), 0, &json!({})), PORTS);
        assert!(replica.probe_place().is_none(), "{address}");
    }
    let replica = Replica::new(pod("fd00::1", None, 0, &json!({})), PORTS);
    assert_eq!(replica.probe_place().unwrap().http, "[fd00::1]:5001".parse().unwrap());
}
