//! Pods that go: by a rollout, by a person, with their machine.

use std::time::{Duration, Instant};

use super::stage::{LIMIT, Stage, await_exactly, fixed, load};
use crate::support::{
    book::Kill,
    controlplane::ControlPlane,
    kubelet::Behaviour,
    watch::{list, now_ms, pass, until},
};

/// How long a load goes on before and after what happens.
const BESIDE: Duration = Duration::from_secs(1);

/// The first pod of the namespace and its process.
fn first(stage: &Stage<'_>) -> (String, u32) {
    let running = stage.kubelet.running(&stage.namespace);
    let (name, running) = running.first_key_value().expect("a pod runs");
    (name.clone(), running.pid)
}

#[test]
fn a_rollout_loses_nothing() {
    let Some(plane) = ControlPlane::shared("a rollout") else { return };
    let stage = Stage::new(plane, "rollout");
    let router = stage.simple("30ms", &fixed(2), 2);
    let load = load(&router, |_| 30.0);
    pass(BESIDE);
    let before = stage.kubelet.running(&stage.namespace);
    let begun = Instant::now();
    stage.kubectl.run(&["rollout", "restart", "deployment", "blue"]);
    until(LIMIT, "only new pods are replicas", || {
        let replicas = list(&router, "replicas");
        let is_new = |replica: &serde_json::Value| {
            replica["state"] == "ready" && !before.contains_key(replica["name"].as_str().unwrap())
        };
        (replicas.len() == 2 && replicas.iter().all(is_new)).then_some(())
    });
    let converged = begun.elapsed();
    pass(BESIDE);
    let balance = stage.balance(load, &[], 1);
    stage.tell("rollout", balance.sent, balance.killed, converged);
    assert_eq!(balance.killed, 0);
}

#[test]
fn a_pod_that_is_deleted_finishes_its_work() {
    let Some(plane) = ControlPlane::shared("a deleted pod") else { return };
    let stage = Stage::new(plane, "graceful");
    let router = stage.simple("50ms", &fixed(2), 2);
    let load = load(&router, |_| 20.0);
    pass(BESIDE);
    let (name, _) = first(&stage);
    let begun = Instant::now();
    stage.kubectl.run(&["delete", "pod", &name]);
    await_exactly(&router, "blue", 2);
    let converged = begun.elapsed();
    pass(BESIDE);
    let balance = stage.balance(load, &[], 1);
    stage.tell("pod deleted with grace", balance.sent, balance.killed, converged);
    assert_eq!(balance.killed, 0);
}

#[test]
fn a_pod_that_is_deleted_by_force_loses_what_it_had_begun() {
    let Some(plane) = ControlPlane::shared("a pod deleted by force") else { return };
    let stage = Stage::new(plane, "forced");
    let router = stage.simple("50ms", &fixed(2), 2);
    let load = load(&router, |_| 20.0);
    pass(BESIDE);
    let (name, pid) = first(&stage);
    let begun = Instant::now();
    let kill = Kill { pid, at_ms: now_ms() };
    stage.kubectl.run(&["delete", "pod", &name, "--grace-period=0", "--force"]);
    await_exactly(&router, "blue", 2);
    let converged = begun.elapsed();
    pass(BESIDE);
    let balance = stage.balance(load, &[kill], 1);
    stage.tell("pod deleted by force", balance.sent, balance.killed, converged);
    assert!(balance.killed <= 1, "{balance}");
}

#[test]
fn processes_that_vanish_without_a_word_lose_what_they_had_begun() {
    let Some(plane) = ControlPlane::shared("processes that vanish") else { return };
    let stage = Stage::new(plane, "vanished");
    let router = stage.simple("50ms", &fixed(3), 3);
    let load = load(&router, |_| 20.0);
    pass(BESIDE);
    let (name, pid) = first(&stage);
    let begun = Instant::now();
    let kill = Kill { pid, at_ms: now_ms() };
    stage.kubelet.tell(&stage.namespace, &format!("pod/{name}"), Behaviour::Vanish);
    router.await_replicas("blue", "ready", 2, LIMIT);
    let converged = begun.elapsed();
    pass(BESIDE);
    let pods = stage.kubectl.json(&["pods"]);
    assert_eq!(pods["items"].as_array().map(Vec::len), Some(3), "nobody was told");
    let balance = stage.balance(load, &[kill], 1);
    stage.tell("node gone", balance.sent, balance.killed, converged);
    assert!(balance.killed <= 1, "{balance}");
}
