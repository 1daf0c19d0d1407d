//! A small cluster on the scripted API server: endpoints, their workloads, and pods that are real
//! model processes on addresses of their own.

use std::{
    io::{BufRead, BufReader},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU16, Ordering},
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    fake_api::FakeApi,
    support::{
        ledger::{End, Load, Outcome, Plan},
        router::{Router, binary, get},
        watch::{ready, until},
    },
};

/// Nothing here may take longer.
pub(super) const LIMIT: Duration = Duration::from_secs(30);
/// Where the models of the pods listen.
pub(super) const PORT: u16 = 5001;
/// The namespace of the endpoints.
pub(super) const NAMESPACE: &str = "models";

/// How many addresses 127.16.x.x this process has tried. The kubelets of other tests have 127.32 to
/// 127.223.
static TRIED: AtomicU16 = AtomicU16::new(0);
/// Processes that follow each other are this far apart in these addresses.
const ADDRESSES_PER_PROCESS: u32 = 61;

/// An address of 127/8 where nobody listens on [`PORT`].
pub(super) fn address() -> Ipv4Addr {
    loop {
        let tried = u32::from(TRIED.fetch_add(1, Ordering::Relaxed));
        let number = std::process::id().wrapping_mul(ADDRESSES_PER_PROCESS).wrapping_add(tried);
        let [.., high, low] = number.to_be_bytes();
        let ip = Ipv4Addr::new(127, 16, high, low);
        if TcpListener::bind((ip, PORT)).is_ok() {
            return ip;
        }
    }
}

/// A model process. Dropping it kills it.
pub(super) struct Model {
    child: Child,
    /// Where it listens.
    pub(super) ip: Ipv4Addr,
}

impl Model {
    /// Starts on a new address, and waits until it listens.
    pub(super) fn start() -> Self {
        let ip = address();
        let mut child = Command::new(binary())
            .args(["model", "--address", &ip.to_string(), "--port", &PORT.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut line = String::new();
        let out = child.stdout.take().expect("piped");
        BufReader::new(out).read_line(&mut line).expect("its first line");
        assert!(line.contains("listens on"), "the model on {ip} does not start: {line:?}");
        Self { child, ip }
    }

    /// How many requests it has worked on.
    pub(super) fn executions(&self) -> u64 {
        let (_, body) = get(SocketAddr::V4(SocketAddrV4::new(self.ip, PORT)), "/stats");
        let stats: Value = serde_json::from_str(&body).expect("JSON");
        stats["executions"].as_u64().expect("a number")
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The cluster.
pub(super) struct World {
    /// Its API server.
    pub(super) api: FakeApi,
    folder: tempfile::TempDir,
}

impl World {
    /// An empty cluster.
    pub(super) fn new() -> Self {
        let (api, folder) = (FakeApi::start(), tempfile::tempdir().expect("a temporary folder"));
        std::fs::write(folder.path().join("kubeconfig"), api.kubeconfig()).expect("a file");
        Self { api, folder }
    }

    /// The kubeconfig for it.
    pub(super) fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// A router that serves it.
    pub(super) fn router(&self) -> Router {
        Router::cluster(&self.kubeconfig(), &[])
    }

    /// An endpoint, open to all, whose versions are the Deployments of these names in its
    /// namespace; its replicas are left alone.
    pub(super) fn endpoint(&self, name: &str, deployments: &[&str]) {
        self.api.put(&endpoint_path(NAMESPACE, name), endpoint(PORT, deployments));
    }

    /// A Deployment with its ReplicaSet.
    pub(super) fn deployment(&self, namespace: &str, name: &str) {
        let uid = format!("deployment-{namespace}-{name}");
        let set_uid = format!("set-{namespace}-{name}");
        let group = format!("/apis/apps/v1/namespaces/{namespace}");
        self.api.put(
            &format!("{group}/deployments/{name}"),
            json!({
                "metadata": {"uid": uid},
                "spec": {"replicas": 1, "selector": {"matchLabels": {"app": name}}},
            }),
        );
        self.api.put(
            &format!("{group}/replicasets/{name}-1"),
            json!({"metadata": {"uid": set_uid, "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "Deployment", "name": name, "uid": uid,
                "controller": true,
            }]}}),
        );
    }

    /// A Ready pod of a Deployment at this address.
    pub(super) fn pod(&self, deployment: &str, name: &str, ip: Ipv4Addr) {
        let owner = format!("set-{NAMESPACE}-{deployment}");
        self.api.put(&pod_path(NAMESPACE, name), pod(deployment, &owner, &ip.to_string()));
    }

    /// Takes a pod away at once.
    pub(super) fn remove_pod(&self, name: &str) {
        self.api.remove(&pod_path(NAMESPACE, name));
    }
}

/// Where an endpoint object is.
pub(super) fn endpoint_path(namespace: &str, name: &str) -> String {
    format!("/apis/modelway.dev/v1alpha1/namespaces/{namespace}/inferenceendpoints/{name}")
}

/// Where a pod is.
pub(super) fn pod_path(namespace: &str, name: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/pods/{name}")
}

/// An endpoint object, open to all; the first of its Deployments gets all traffic.
pub(super) fn endpoint(port: u16, deployments: &[&str]) -> Value {
    let version = |(number, name): (usize, &&str)| {
        json!({
            "name": name, "port": port, "trafficPercentile": if number == 0 { 100 } else { 0 },
            "targetRef": {"kind": "Deployment", "name": name},
            "autoscale": {"enabled": false},
            // On a busy machine a model is late; that is not what is looked at here.
            "maxConcurrentRequestsPerReplica": 32, "maxQueueWait": "10s",
        })
    };
    let versions: Vec<Value> = deployments.iter().enumerate().map(version).collect();
    json!({
        "apiVersion": "modelway.dev/v1alpha1", "kind": "InferenceEndpoint", "metadata": {},
        "spec": {"auth": {"mode": "None"}, "versions": versions},
    })
}

/// A Ready pod with the label of a Deployment, and this owner.
pub(super) fn pod(app: &str, owner: &str, ip: &str) -> Value {
    json!({
        "metadata": {
            "labels": {"app": app},
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("{app}-1"),
                "uid": owner, "controller": true,
            }],
        },
        "spec": {"nodeName": "node"},
        "status": {
            "phase": "Running", "podIP": ip,
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"name": "model", "restartCount": 0, "state": {"running": {}}}],
        },
    })
}

/// A steady load on an endpoint, until it is stopped.
pub(super) fn load(router: &Router, endpoint: &str) -> Load {
    Load::start(Plan {
        data: router.data,
        target: format!("/api/v1/endpoint/{endpoint}/score"),
        rate: |_| 25.0,
        length: Duration::from_secs(200),
        leavers_percent: 0,
    })
}

/// Waits until exactly these pods are ready replicas of a version.
pub(super) fn await_ready(router: &Router, version: &str, pods: &[&str], limit: Duration) {
    until(limit, &format!("{pods:?} are ready"), || (names(router, version) == pods).then_some(()));
}

/// The ready replicas of a version, sorted.
pub(super) fn names(router: &Router, version: &str) -> Vec<String> {
    let name = |replica: Value| replica["name"].as_str().expect("a name").to_owned();
    let mut names: Vec<String> = ready(router, version).into_iter().map(name).collect();
    names.sort();
    names
}

/// The requests that were not answered with 200, for people.
pub(super) fn failures(outcomes: &[Outcome]) -> Vec<String> {
    let is_good = |end: &End| matches!(end, End::Answered { status: 200, .. });
    let bad = outcomes.iter().filter(|outcome| !is_good(&outcome.end));
    bad.map(|outcome| format!("{outcome:?}")).collect()
}
