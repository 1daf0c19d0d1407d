//! What these tests stand on: the control plane answers, loses a part, gets it back, ends.

use std::time::{Duration, Instant};

use crate::support::{
    audit::counts,
    controlplane::{ControlPlane, Options, programs},
    watch::{alive, descendants, until},
};

const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn the_control_plane_answers() {
    let Some(plane) = ControlPlane::shared("the control plane") else { return };
    let (namespace, kubectl) = plane.namespace("answers");
    kubectl.run(&["create", "configmap", "here", "--from-literal=a=1"]);
    assert_eq!(kubectl.json(&["configmap", "here"])["data"]["a"], "1");
    assert!(kubectl.try_run(&["get", "secret", "nowhere"]).err.contains("not found"));
    // The log is written beside the answer.
    until(LIMIT, "the call in the audit log", || {
        let mut calls = plane.calls();
        calls.retain(|call| call.namespace == namespace && call.resource == "configmaps");
        (counts(&calls).get(&("create", "configmaps")) == Some(&1)).then_some(())
    });
}

#[test]
fn a_service_account_may_do_what_its_role_says_and_no_more() {
    let Some(plane) = ControlPlane::shared("service accounts") else { return };
    let (namespace, kubectl) = plane.namespace("account");
    kubectl.run(&["create", "serviceaccount", "reader"]);
    kubectl.run(&["create", "role", "reader", "--verb=list", "--resource=pods"]);
    let whom = format!("--serviceaccount={namespace}:reader");
    kubectl.run(&["create", "rolebinding", "reader", "--role=reader", &whom]);
    let reader = kubectl.with_kubeconfig(&plane.kubeconfig_of(&namespace, "reader"));
    reader.run(&["get", "pods"]);
    assert!(reader.try_run(&["get", "secrets"]).err.contains("Forbidden"));
    let user = format!("system:serviceaccount:{namespace}:reader");
    until(LIMIT, "both calls in the audit log", || {
        let calls = plane.calls();
        let mine = calls.iter().filter(|call| call.user == user && call.verb == "list");
        let seen: Vec<_> = mine.map(|call| (call.resource.as_str(), call.code)).collect();
        (seen.contains(&("pods", 200)) && seen.contains(&("secrets", 403))).then_some(())
    });
}

#[test]
fn a_part_of_the_control_plane_goes_comes_back_and_all_of_it_ends() {
    let Some(programs) = programs("the end of the control plane") else { return };
    let begun = Instant::now();
    let plane = ControlPlane::start(&programs, &Options::default());
    println!("started in {:?}", begun.elapsed());
    let kubectl = plane.kubectl().clone();
    kubectl.run(&["create", "configmap", "kept"]);
    let saved = plane.save();
    kubectl.run(&["create", "configmap", "lost"]);
    plane.hold("kube-apiserver");
    assert!(!kubectl.try_run(&["get", "configmaps"]).ok);
    plane.release("kube-apiserver");
    plane.await_ready();
    kubectl.run(&["get", "configmap", "lost"]);
    plane.restore(&saved);
    kubectl.run(&["get", "configmap", "kept"]);
    assert!(kubectl.try_run(&["get", "configmap", "lost"]).err.contains("not found"));
    let (folder, processes) = (plane.dir().to_owned(), descendants(std::process::id()));
    let mine: Vec<_> = processes.into_iter().filter(|(pid, _)| *pid == plane.pid("etcd")).collect();
    assert_eq!(alive(&mine).len(), 1);
    drop(plane);
    assert!(alive(&mine).is_empty() && !folder.exists());
}
