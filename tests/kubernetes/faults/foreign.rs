//! Pods and objects that only look as if they belonged to an endpoint.

use std::{
    net::{Ipv4Addr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::Value;

use super::world::{
    LIMIT, Model, NAMESPACE, PORT, World, address, await_ready, endpoint, endpoint_path, failures,
    load, names, pod, pod_path,
};
use crate::support::watch::{list, pass, until};

/// How long a load goes on.
const WHILE: Duration = Duration::from_secs(3);

/// A port that counts who connects.
struct Trap {
    ip: Ipv4Addr,
    connections: Arc<AtomicUsize>,
}

impl Trap {
    fn set() -> Self {
        let (ip, connections) = (address(), Arc::new(AtomicUsize::new(0)));
        let listener = TcpListener::bind((ip, PORT)).expect("the address is free");
        let counted = Arc::clone(&connections);
        thread::spawn(move || {
            for _ in listener.incoming() {
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { ip, connections }
    }

    fn caught(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

#[test]
fn foreign_pods_are_not_even_probed() {
    let world = World::new();
    world.deployment(NAMESPACE, "blue");
    world.deployment("other", "blue");
    world.endpoint("demo", &["blue"]);
    let (model, traps) = (Model::start(), [Trap::set(), Trap::set(), Trap::set()]);
    world.pod("blue", "blue-a", model.ip);
    let [wrong_owner, elsewhere, wrong_label] = &traps;
    let put = |namespace: &str, name: &str, app: &str, owner: &str, ip: &str| {
        world.api.put(&pod_path(namespace, name), pod(app, owner, ip));
    };
    put(NAMESPACE, "owned-by-nobody-known", "blue", "set-forged", &wrong_owner.ip.to_string());
    // The right owner, named from another namespace: owners are never there.
    put("other", "elsewhere", "blue", "set-models-blue", &elsewhere.ip.to_string());
    put(NAMESPACE, "wrong-label", "red", "set-models-blue", &wrong_label.ip.to_string());
    put(NAMESPACE, "metadata-server", "blue", "set-models-blue", "169.254.169.254");
    let router = world.router();
    await_ready(&router, "blue", &["blue-a"], LIMIT);
    let load = load(&router, "demo");
    pass(WHILE);
    load.stop();
    let outcomes = load.outcomes();
    assert_eq!(failures(&outcomes), Vec::<String>::new());
    assert_eq!(model.executions(), u64::try_from(outcomes.len()).expect("a small number"));
    assert_eq!(traps.each_ref().map(Trap::caught), [0, 0, 0], "nobody may connect to these");
    let there = list(&router, "replicas");
    let link_local: Vec<&Value> =
        there.iter().filter(|replica| replica["name"] == "metadata-server").collect();
    assert!(link_local.iter().all(|replica| replica["address"] == ""), "{link_local:?}");
    assert!(there.len() <= 2, "{there:#?}");
    println!("{} requests, 0 to foreign pods", outcomes.len());
}

#[test]
fn an_address_that_another_deployment_took_over_gets_no_requests_of_the_former() {
    let world = World::new();
    world.deployment(NAMESPACE, "blue");
    world.deployment(NAMESPACE, "red");
    world.endpoint("demo", &["blue"]);
    let (stays, moves) = (Model::start(), Model::start());
    world.pod("blue", "blue-a", stays.ip);
    world.pod("blue", "blue-b", moves.ip);
    let router = world.router();
    await_ready(&router, "blue", &["blue-a", "blue-b"], LIMIT);
    let load = load(&router, "demo");
    until(LIMIT, "both work", || (moves.executions() > 0).then_some(()));
    // The pod goes, and while connections to it are open a pod of somebody else has its address.
    world.remove_pod("blue-b");
    world.pod("red", "red-a", moves.ip);
    await_ready(&router, "blue", &["blue-a"], LIMIT);
    // What was on its way when the news came is still answered.
    pass(Duration::from_millis(300));
    let before = moves.executions();
    pass(WHILE);
    load.stop();
    let outcomes = load.outcomes();
    assert_eq!(failures(&outcomes), Vec::<String>::new());
    assert_eq!(moves.executions(), before, "requests of blue reached red's pod");
    // The same address again for blue, with another uid: another replica.
    world.api.remove(&pod_path(NAMESPACE, "red-a"));
    world.pod("blue", "blue-c", moves.ip);
    await_ready(&router, "blue", &["blue-a", "blue-c"], LIMIT);
    println!("{} requests, {before} to the address before it moved, 0 after", outcomes.len());
}

#[test]
fn an_endpoint_cannot_reach_into_another_namespace() {
    let world = World::new();
    world.deployment("kube-system", "coredns");
    let trap = Trap::set();
    world.api.put(
        &pod_path("kube-system", "coredns-a"),
        pod("coredns", "set-kube-system-coredns", &trap.ip.to_string()),
    );
    world.endpoint("same-name", &["coredns"]);
    for (name, target) in [("slash", "kube-system/coredns"), ("dots", "../kube-system/coredns")] {
        world.endpoint(name, &[target]);
    }
    let mut with_namespace = endpoint(PORT, &["coredns"]);
    with_namespace["spec"]["versions"][0]["targetRef"]["namespace"] = "kube-system".into();
    world.api.put(&endpoint_path(NAMESPACE, "with-namespace"), with_namespace);
    let router = world.router();
    until(LIMIT, "ready", || (router.admin_get("/readyz").0 == 200).then_some(()));
    let reason = |name: &str, kind: &str| {
        until(LIMIT, &format!("{kind} of {name}"), || condition(&world, name, kind))
    };
    let resolved = reason("same-name", "ResolvedRefs");
    assert_eq!(resolved["status"], "False", "{resolved}");
    for name in ["slash", "dots", "with-namespace"] {
        let accepted = reason(name, "Accepted");
        assert_eq!(accepted["status"], "False", "{name}: {accepted}");
        println!("{name}: {}", accepted["message"]);
    }
    assert_eq!(trap.caught(), 0);
    assert_eq!(list(&router, "replicas"), Vec::<Value>::new());
}

#[test]
fn the_second_endpoint_on_one_target_is_refused() {
    let world = World::new();
    world.deployment(NAMESPACE, "blue");
    let model = Model::start();
    world.pod("blue", "blue-a", model.ip);
    // Told apart by age, not by name.
    let older = |when: &str| {
        let mut object = endpoint(PORT, &["blue"]);
        object["metadata"]["creationTimestamp"] = when.into();
        object
    };
    world.api.put(&endpoint_path(NAMESPACE, "b-first"), older("2026-01-01T00:00:00Z"));
    world.api.put(&endpoint_path(NAMESPACE, "a-second"), older("2026-01-02T00:00:00Z"));
    let router = world.router();
    let accepted = until(LIMIT, "the verdict", || condition(&world, "a-second", "Accepted"));
    assert_eq!(
        (&accepted["status"], &accepted["reason"]),
        (&"False".into(), &"TargetTaken".into())
    );
    assert!(accepted["message"].as_str().expect("a text").contains("b-first"), "{accepted}");
    let first = until(LIMIT, "the verdict", || condition(&world, "b-first", "Accepted"));
    assert_eq!(first["status"], "True", "{first}");
    await_ready(&router, "blue", &["blue-a"], LIMIT);
    // It takes over when the older one goes.
    world.api.remove(&endpoint_path(NAMESPACE, "b-first"));
    until(LIMIT, "the second is accepted", || {
        (condition(&world, "a-second", "Accepted")?["status"] == "True").then_some(())
    });
    assert_eq!(names(&router, "blue"), ["blue-a"]);
}

/// A condition of an endpoint, once it is written.
fn condition(world: &World, name: &str, kind: &str) -> Option<Value> {
    let object = world.api.object(&endpoint_path(NAMESPACE, name))?;
    let conditions = object["status"]["conditions"].as_array()?;
    conditions.iter().find(|condition| condition["type"] == kind).cloned()
}
