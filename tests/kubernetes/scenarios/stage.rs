//! A namespace with a node, a router with an account of its own, and what they have to show.

#![expect(clippy::indexing_slicing, reason = "JSON: what is not there is null")]
#![expect(clippy::print_stdout, reason = "the line with the figures of a scenario")]

use std::{
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::Duration,
};

use serde_json::{Value, json};

use crate::support::{
    audit::{Call, counts},
    book::{Balance, Book, Kill},
    controlplane::ControlPlane,
    kubectl::Kubectl,
    kubelet::{Kubelet, Setup},
    ledger::{Load, Plan},
    router::Router,
    spec::{self, SCORE},
    watch::list,
};

/// How long anything may take that has no bound of its own, on a machine that does other things too.
pub(super) const LIMIT: Duration = Duration::from_secs(30);
/// The account of the router.
const ACCOUNT: &str = "modelway";
/// The longest that a load goes on; tests stop it.
const LOAD_MAX: Duration = Duration::from_secs(1800);

/// Slots of one replica of a [`roomy`] version: at 70 % there is room for two requests.
pub(super) const SLOTS: usize = 4;

/// Where a scenario plays.
pub(super) struct Stage<'p> {
    pub(super) plane: &'p ControlPlane,
    pub(super) namespace: String,
    pub(super) kubectl: Kubectl,
    pub(super) kubelet: Kubelet,
    kubeconfig: PathBuf,
    folder: tempfile::TempDir,
}

/// A load whose rate a test sets.
pub(super) struct Rate(AtomicU32);

impl Rate {
    pub(super) const fn of(per_second: u32) -> Self {
        Self(AtomicU32::new(per_second))
    }

    pub(super) fn set(&self, per_second: u32) {
        self.0.store(per_second, Relaxed);
    }

    pub(super) fn now(&self) -> f64 {
        f64::from(self.0.load(Relaxed))
    }
}

impl<'p> Stage<'p> {
    pub(super) fn new(plane: &'p ControlPlane, name: &str) -> Self {
        crate::api::install(plane);
        let (namespace, kubectl) = plane.namespace(name);
        kubectl.run(&["create", "serviceaccount", ACCOUNT]);
        let whom = format!("--serviceaccount={namespace}:{ACCOUNT}");
        kubectl.run(&[
            "create",
            "clusterrolebinding",
            &namespace,
            "--clusterrole=cluster-admin",
            &whom,
        ]);
        let kubelet = Kubelet::start(plane.kubeconfig(), Setup::of_namespace(&namespace));
        let kubeconfig = plane.kubeconfig_of(&namespace, ACCOUNT);
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self { plane, namespace, kubectl, kubelet, kubeconfig, folder }
    }

    /// A ready router of this name for the namespace.
    pub(super) fn router(&self, name: &str, arguments: &[&str]) -> Router {
        self.router_of(&self.namespace, name, arguments)
    }

    /// A ready router of this name for these namespaces.
    pub(super) fn router_of(&self, namespaces: &str, name: &str, arguments: &[&str]) -> Router {
        let router = Router::of_cluster(&self.kubeconfig, namespaces, name, arguments);
        router.eventually(LIMIT, "it is ready", |router| {
            (router.admin_get("/readyz").0 == 200).then_some(())
        });
        router
    }

    /// A Deployment whose pods work so long on a request, go on for `pre_stop` seconds after they
    /// were deleted, and carry these labels beside their own.
    pub(super) fn deployment(&self, name: &str, latency: &str, pre_stop: u32, labels: &Value) {
        let labels = spec::with(&json!({"app": name}), labels);
        let ledger = self.folder.path().join("ledger");
        let mut container = json!({
            "name": "model",
            "image": "modelway",
            "args": ["model", "--address", "0.0.0.0", "--port", "5001", "--latency", latency,
                "--ledger", ledger],
            "env": [{"name": "MODELWAY_REPLICA",
                "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
            "ports": [{"name": "http", "containerPort": 5001}],
            "readinessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1},
        });
        if pre_stop > 0 {
            container["lifecycle"] = json!({"preStop": {"sleep": {"seconds": pre_stop}}});
        }
        let deployment = json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name},
            "spec": {
                "selector": {"matchLabels": {"app": name}},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {"terminationGracePeriodSeconds": 10, "containers": [container]},
                },
            },
        });
        self.kubectl.apply(&deployment.to_string());
    }

    /// Endpoint `demo`, open to all, with these versions.
    pub(super) fn endpoint(&self, versions: &[Value]) {
        self.kubectl.apply(&spec::endpoint(versions));
    }

    /// Endpoint `demo` with one version `blue` of the Deployment `blue`, a router, and the first
    /// replicas.
    pub(super) fn simple(&self, latency: &str, fields: &Value, replicas: usize) -> Router {
        self.deployment("blue", latency, 1, &json!({}));
        self.endpoint(&[version("blue", fields)]);
        let router = self.router("router-a", &[]);
        router.await_replicas("blue", "ready", replicas, LIMIT);
        router
    }

    /// The calls of the routers of this namespace.
    pub(super) fn calls(&self) -> Vec<Call> {
        let user = format!("system:serviceaccount:{}:{ACCOUNT}", self.namespace);
        let mut calls = self.plane.calls();
        calls.retain(|call| call.user == user);
        calls
    }

    /// Accepted writes of counts, so far.
    pub(super) fn scalings(&self) -> Vec<Call> {
        let mut calls = self.calls();
        calls.retain(|call| {
            call.verb == "patch" && call.resource == "deployments/scale" && call.code == 200
        });
        calls
    }

    /// `spec.replicas` of a Deployment.
    pub(super) fn replicas(&self, name: &str) -> u64 {
        let deployment = self.kubectl.json(&["deployment", name]);
        deployment["spec"]["replicas"].as_u64().expect("a count")
    }

    /// The reason and message of a condition of the endpoint; empty when it is not there.
    pub(super) fn condition(&self, kind: &str) -> (String, String) {
        let object = self.kubectl.json(&["inferenceendpoint", "demo"]);
        let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let found = conditions.iter().find(|condition| condition["type"] == kind);
        let text = |field: &str| {
            let value = found.and_then(|condition| condition[field].as_str());
            value.unwrap_or_default().to_owned()
        };
        (text("reason"), text("message"))
    }

    /// The books of clients and models side by side; all of one replica's slots are `slots`.
    pub(super) fn balance(&self, load: Load, kills: &[Kill], slots: usize) -> Balance {
        load.stop();
        let outcomes = load.outcomes();
        let ledger = self.folder.path().join("ledger");
        let balance = Book::read(&ledger).balance(&outcomes, kills, |_| slots);
        assert!(balance.faults.is_empty(), "{balance}{:?}", self.kubelet.notes());
        balance
    }

    /// The scenario's line.
    pub(super) fn tell(&self, what: &str, requests: usize, lost: usize, converged: Duration) {
        let calls = self.calls();
        let counts = counts(calls.iter().filter(|call| call.code < 300));
        let of = |verb: &str| {
            let found = counts.iter().filter(|((called, _), _)| *called == verb);
            let each: Vec<String> =
                found.map(|((_, resource), count)| format!("{count} {resource}")).collect();
            if each.is_empty() { "none".to_owned() } else { each.join(" + ") }
        };
        let lists = calls.iter().filter(|call| call.verb == "list").count();
        println!(
            "scenario: {what}: {requests} requests, {lost} lost, converged in {} ms; {lists} LIST; \
             PATCH {}; PUT {}",
            converged.as_millis(),
            of("patch"),
            of("update")
        );
    }
}

/// A version of the Deployment of the same name, whose requests wait rather than fail.
pub(super) fn version(name: &str, fields: &Value) -> Value {
    let target = json!({"kind": "Deployment", "name": name});
    let patient = json!({"maxQueueWait": "30s", "maxQueueLength": 10_000});
    spec::with(&spec::with(&json!({"name": name, "targetRef": target}), &patient), fields)
}

/// So many replicas, whatever the load.
pub(super) fn fixed(replicas: u32) -> Value {
    json!({"autoscale": {"enabled": false}, "replicas": replicas})
}

/// Between these counts; what is too many goes after this time.
pub(super) fn scaled(least: u32, most: u32, window: &str) -> Value {
    let scale = json!({"minReplicas": least, "maxReplicas": most, "scaleDownWindow": window});
    json!({"autoscale": scale})
}

/// The same with [`SLOTS`] on each replica, so that one request alone wants one replica.
pub(super) fn roomy(fields: &Value) -> Value {
    spec::with(fields, &json!({"maxConcurrentRequestsPerReplica": SLOTS}))
}

/// A load on endpoint `demo` until it is stopped.
pub(super) fn load(router: &Router, rate: fn(Duration) -> f64) -> Load {
    let data = router.data;
    Load::start(Plan { data, target: SCORE.to_owned(), rate, length: LOAD_MAX, leavers_percent: 0 })
}

/// Waits until exactly these pods are ready replicas of a version and none else is there.
pub(super) fn await_exactly(router: &Router, version: &str, count: usize) {
    let what = format!("exactly {count} replicas of {version}");
    router.eventually(LIMIT, &what, |router| {
        let mut replicas = list(router, "replicas");
        replicas.retain(|replica| replica["version"] == version);
        let all_ready = replicas.iter().all(|replica| replica["state"] == "ready");
        (replicas.len() == count && all_ready).then_some(())
    });
}
