//! Routers as processes, and one real API server.

use std::time::{Duration, Instant};

use k8s_openapi::api::{
    apps::v1::Deployment,
    coordination::v1::Lease,
    rbac::v1::{Role, RoleBinding},
};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::json;

use super::{
    super::{FORBIDDEN_PAUSE, LEASE_CALL_LIMIT, LeaseSettings, elect},
    FOLLOW, LEASE_DURATION, Leadership, RETRY,
};
use crate::{
    lifecycle::{Lifecycle, Phase},
    platform::kubernetes::{
        client::ApiServer,
        testing::{
            child::{DEPLOYMENT, LEASE, Router},
            cluster::{Cluster, connect},
            gate::Gate,
            until,
        },
    },
};

/// What a loaded machine and the API server add to each deadline.
const SLACK: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(40);

/// A Deployment of one whose pods nobody schedules.
async fn deploy(server: &ApiServer, namespace: &str) -> Api<Deployment> {
    let deployments = Api::namespaced(server.client().clone(), namespace);
    let deployment = serde_json::from_value(json!({
        "metadata": {"name": DEPLOYMENT},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": DEPLOYMENT}},
            "template": {
                "metadata": {"labels": {"app": DEPLOYMENT}},
                "spec": {"containers": [{"name": "model", "image": "none"}]},
            },
        },
    }));
    let deployment: Deployment = deployment.expect("a Deployment");
    deployments.create(&PostParams::default(), &deployment).await.expect("it is accepted");
    deployments
}

async fn replicas(deployments: &Api<Deployment>) -> i32 {
    let deployment = deployments.get(DEPLOYMENT).await.expect("it is there");
    deployment.spec.and_then(|spec| spec.replicas).expect("a count")
}

async fn holder(server: &ApiServer, namespace: &str) -> Option<String> {
    let leases: Api<Lease> = Api::namespaced(server.client().clone(), namespace);
    leases.get(LEASE).await.ok()?.spec?.holder_identity
}

fn settings(namespace: &str, name: &str) -> LeaseSettings {
    LeaseSettings { namespace: namespace.into(), name: LEASE.into(), identity: name.into() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_leader_is_replaced_and_a_draining_one_is_at_once() {
    let Some(cluster) = Cluster::shared("the election of a leader") else { return };
    let server = cluster.server().await;
    let namespace = cluster.namespace("killed").await;
    let start = |name| Router::start(cluster.kubeconfig(), &namespace, name);
    let first = start("first");
    assert_eq!(first.hears("leads", PATIENCE), "0");
    assert!(holder(&server, &namespace).await.is_some_and(|name| name.starts_with("first_")));

    let mut second = start("second");
    assert_eq!(second.next(2 * RETRY), None, "nobody else leads");
    let begun = Instant::now();
    first.signal("KILL");
    assert_eq!(second.hears("leads", PATIENCE), "1");
    let after = begun.elapsed();
    println!("killed: replaced after {after:?}");
    assert!(after + RETRY + SLACK > LEASE_DURATION, "it was not waited for");
    assert!(after < 2 * LEASE_DURATION, "{after:?}");

    let third = start("third");
    assert_eq!(third.next(2 * FOLLOW), None, "nobody else leads");
    let begun = Instant::now();
    second.order("drain");
    assert_eq!(third.hears("leads", PATIENCE), "2");
    let after = begun.elapsed();
    println!("drained: replaced after {after:?}");
    // What nobody gives back is free after LEASE_DURATION without the pause before a renewal.
    assert!(after + RETRY < LEASE_DURATION, "{after:?}: it was waited for");
    second.hears("follows", PATIENCE);
    assert!(holder(&server, &namespace).await.is_some_and(|name| name.starts_with("third_")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_was_stopped_neither_believes_nor_writes_when_it_wakes() {
    let Some(cluster) = Cluster::shared("a leader that is stopped") else { return };
    let namespace = cluster.namespace("stopped").await;
    let deployments = deploy(&cluster.server().await, &namespace).await;
    let mut old = Router::start(cluster.kubeconfig(), &namespace, "old");
    old.hears("leads", PATIENCE);
    let mut new = Router::start(cluster.kubeconfig(), &namespace, "new");
    old.order("scale 2");
    assert_eq!(old.hears("wrote", PATIENCE), "1 2");

    // It stops between its look at the count and its write. The new leader writes nothing, so
    // that only the term is in the way.
    old.order("stop-and-scale 7");
    old.hears("stops", PATIENCE);
    new.hears("leads", PATIENCE);
    assert_eq!(replicas(&deployments).await, 2);
    old.signal("CONT");
    let refused = old.hears("refused", PATIENCE);
    assert!(refused.contains("no longer leads"), "{refused}");
    assert_eq!(replicas(&deployments).await, 2);

    // Awake, it knows.
    old.order("scale 9");
    assert!(old.hears("refused", PATIENCE).contains("no longer leads"));
    new.order("scale 3");
    assert_eq!(new.hears("wrote", PATIENCE), "2 3");
    assert_eq!(replicas(&deployments).await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_was_under_way_when_its_leader_was_stopped_changes_nothing() {
    let Some(cluster) = Cluster::shared("a write that is under way") else { return };
    let namespace = cluster.namespace("under-way").await;
    let deployments = deploy(&cluster.server().await, &namespace).await;
    let gate = Gate::before(cluster.address());
    let behind = cluster.variant(&cluster.address(), &gate.address);
    let mut old = Router::start(&behind, &namespace, "old");
    old.hears("leads", PATIENCE);
    let mut new = Router::start(cluster.kubeconfig(), &namespace, "new");
    // A connection for the write is open by now, and the controllers have had their say.
    old.order("scale 2");
    assert_eq!(old.hears("wrote", PATIENCE), "1 2");
    let version = until(PATIENCE, "the controllers have counted two pods", async || {
        let deployment = deployments.get(DEPLOYMENT).await.expect("it is there");
        let generation = deployment.metadata.generation;
        let status = deployment.status.filter(|status| {
            status.replicas == Some(2) && status.observed_generation == generation
        });
        status.and(deployment.metadata.resource_version)
    });
    let version = version.await;

    // The term is valid, the write leaves, and does not arrive.
    gate.shut();
    let held = gate.held();
    old.order(&format!("scale-known {version} 2 7"));
    until(PATIENCE, "the write is at the gate", async || (gate.held() > held).then_some(())).await;
    old.signal("STOP");
    new.hears("leads", PATIENCE);
    new.order("scale 3");
    assert_eq!(new.hears("wrote", PATIENCE), "2 3");
    gate.open();
    until(PATIENCE, "it has arrived", async || (gate.held() == 0).then_some(())).await;
    old.signal("CONT");
    // Refused by the API server, or given up for lack of an answer while it stood still.
    old.hears("refused", PATIENCE);
    assert_eq!(replicas(&deployments).await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_without_the_api_server_steps_down_in_time_and_one_comes_back() {
    let Some(cluster) = Cluster::own("an API server that is away") else { return };
    let server = cluster.server().await;
    let namespace = cluster.namespace("away").await;
    let lifecycle = Lifecycle::new();
    let routers: Vec<Leadership> = ["one", "two"]
        .iter()
        .map(|name| elect(&lifecycle, &server, settings(&namespace, name)))
        .collect();
    let leaders = || routers.iter().filter(|router| router.term().is_some()).count();
    until(PATIENCE, "one leads", async || (leaders() == 1).then_some(())).await;

    cluster.hold();
    let begun = Instant::now();
    until(PATIENCE, "nobody leads", async || (leaders() == 0).then_some(())).await;
    let after = begun.elapsed();
    println!("away: stepped down after {after:?}");
    assert!(after < LEASE_DURATION, "{after:?}: another could have led by now");
    let told = || routers.iter().all(|router| router.standing().trouble.is_some());
    until(PATIENCE, "both say why", async || told().then_some(())).await;
    while begun.elapsed() < Duration::from_secs(20) {
        assert_eq!(leaders(), 0, "nobody can lead");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    cluster.release();
    until(PATIENCE, "the API server answers", async || {
        server.client().apiserver_version().await.ok()
    })
    .await;
    let begun = Instant::now();
    until(PATIENCE, "one leads again", async || {
        assert!(leaders() <= 1);
        (leaders() == 1).then_some(())
    })
    .await;
    let after = begun.elapsed();
    println!("back: one leads after {after:?}");
    assert!(after < RETRY + LEASE_CALL_LIMIT + SLACK, "{after:?}");
    lifecycle.enter(Phase::Draining);
    lifecycle.finish_tasks(PATIENCE).await;
    assert_eq!(holder(&server, &namespace).await, None, "given back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_cut_off_steps_down_before_another_leads() {
    let Some(cluster) = Cluster::shared("a leader that is cut off") else { return };
    let namespace = cluster.namespace("cut-off").await;
    let gate = Gate::before(cluster.address());
    let behind = connect(&cluster.variant(&cluster.address(), &gate.address)).await;
    let lifecycle = Lifecycle::new();
    let cut_off = elect(&lifecycle, &behind, settings(&namespace, "cut-off"));
    until(PATIENCE, "it leads", async || cut_off.term()).await;
    let other = elect(&lifecycle, &cluster.server().await, settings(&namespace, "other"));
    until(PATIENCE, "it follows", async || other.standing().holder).await;

    // Half-open: nothing is refused, nothing is answered.
    gate.shut();
    let begun = Instant::now();
    let (mut last_led, mut next_led) = (begun, None);
    while next_led.is_none() {
        assert!(begun.elapsed() < PATIENCE, "nobody took over");
        // In this order, so that a change in between is no fault.
        next_led = other.term().map(|_| Instant::now());
        if cut_off.term().is_some() {
            assert!(next_led.is_none(), "two lead");
            last_led = Instant::now();
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let without = next_led.map(|led| led.duration_since(last_led));
    println!("cut off: nobody led for {without:?}, until {:?}", begun.elapsed());
    gate.open();
    until(PATIENCE, "it sees who leads", async || {
        cut_off.standing().holder.filter(|holder| holder.starts_with("other_"))
    })
    .await;
    assert!(cut_off.term().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_without_the_right_says_so_and_leads_once_it_has_it() {
    let Some(cluster) = Cluster::shared("a router without rights") else { return };
    let server = cluster.server().await;
    let namespace = cluster.namespace("rights").await;
    let kubeconfig = cluster.as_user("somebody");
    let lifecycle = Lifecycle::new();
    let router = elect(&lifecycle, &connect(&kubeconfig).await, settings(&namespace, "router"));
    let said = async |verb: &str| {
        let what = format!("needs {verb} on leases.coordination.k8s.io in namespace {namespace}");
        until(PATIENCE, &what, async || {
            router.standing().trouble.filter(|trouble| trouble.contains(&what))
        })
        .await
    };
    said("get").await;

    let roles: Api<Role> = Api::namespaced(server.client().clone(), &namespace);
    let role = json!({
        "metadata": {"name": "leader"},
        "rules": [{"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get"]}],
    });
    let role = serde_json::from_value(role).expect("a Role");
    roles.create(&PostParams::default(), &role).await.expect("it is accepted");
    let bindings: Api<RoleBinding> = Api::namespaced(server.client().clone(), &namespace);
    let binding = serde_json::from_value(json!({
        "metadata": {"name": "leader"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "leader"},
        "subjects": [{"kind": "User", "name": "somebody"}],
    }));
    let binding = binding.expect("a RoleBinding");
    bindings.create(&PostParams::default(), &binding).await.expect("it is accepted");
    said("create").await;

    let all = json!({"rules": [{"apiGroups": ["coordination.k8s.io"], "resources": ["leases"],
        "verbs": ["get", "create", "update"]}]});
    roles.patch("leader", &PatchParams::default(), &Patch::Merge(all)).await.expect("more rights");
    until(FORBIDDEN_PAUSE + SLACK, "it leads", async || router.term()).await;
    assert_eq!(router.standing().trouble, None);
    lifecycle.enter(Phase::Draining);
    lifecycle.finish_tasks(PATIENCE).await;
    assert_eq!(holder(&server, &namespace).await, None, "given back");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_keep_in_the_lease_survives_and_a_deleted_lease_comes_back() {
    let Some(cluster) = Cluster::shared("a lease that others touch") else { return };
    let server = cluster.server().await;
    let namespace = cluster.namespace("touched").await;
    let leases: Api<Lease> = Api::namespaced(server.client().clone(), &namespace);
    let lease = json!({"metadata": {"name": LEASE, "labels": {"app": "router"}}});
    let lease = serde_json::from_value(lease).expect("a Lease");
    leases.create(&PostParams::default(), &lease).await.expect("it is accepted");
    let lifecycle = Lifecycle::new();
    let router = elect(&lifecycle, &server, settings(&namespace, "router"));
    let term = until(PATIENCE, "it leads", async || router.term()).await;
    let lease = leases.get(LEASE).await.expect("the lease");
    assert_eq!(
        lease.metadata.labels.and_then(|labels| labels.get("app").cloned()).as_deref(),
        Some("router")
    );

    // Somebody else's write does not end the term, nor does the loss of the object.
    let note = json!({"metadata": {"annotations": {"note": "hello"}}});
    leases.patch(LEASE, &PatchParams::default(), &Patch::Merge(note)).await.expect("a note");
    leases.delete(LEASE, &DeleteParams::default()).await.expect("it is deleted");
    until(PATIENCE, "the lease is there again", async || leases.get_opt(LEASE).await.ok()?).await;
    until(PATIENCE, "it is renewed", async || {
        let spec = leases.get(LEASE).await.ok()?.spec?;
        (spec.renew_time != spec.acquire_time).then_some(())
    })
    .await;
    assert!(term.is_valid(), "the same term goes on");
}
