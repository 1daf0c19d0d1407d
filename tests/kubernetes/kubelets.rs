//! The kubelet that these tests play: it says what is true until it is told to lie.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::support::{
    controlplane::{ControlPlane, Options, programs},
    kubectl::Kubectl,
    kubelet::{Behaviour, Kubelet, Setup},
    router::get,
    watch::{alive, descendants, until},
};

const LIMIT: Duration = Duration::from_secs(30);

/// A deployment of stand-in models.
fn deployment(name: &str, replicas: u32, arguments: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}}}\nspec:\n  \
         replicas: {replicas}\n  selector: {{matchLabels: {{app: {name}}}}}\n  template:\n    \
         metadata: {{labels: {{app: {name}}}}}\n    spec:\n      \
         terminationGracePeriodSeconds: 2\n      containers:\n      - name: model\n        \
         image: modelway\n        args: [model, --address, 0.0.0.0, --port, \"5001\"{arguments}]\n        \
         ports: [{{name: http, containerPort: 5001}}]\n        \
         readinessProbe: {{httpGet: {{path: /, port: http}}, periodSeconds: 1, failureThreshold: 1}}\n"
    )
}

/// The pods of a deployment.
fn pods(kubectl: &Kubectl, name: &str) -> Vec<Value> {
    let list = kubectl.json(&["pods", "--selector", &format!("app={name}")]);
    list["items"].as_array().expect("a list").clone()
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
    conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

fn address(pod: &Value) -> SocketAddr {
    let ip = pod["status"]["podIP"].as_str().expect("an address");
    format!("{ip}:5001").parse().expect("an address")
}

/// Why its container waits, or an empty word.
fn waiting(pod: &Value) -> String {
    let reason = &pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"];
    reason.as_str().unwrap_or_default().to_owned()
}

/// Waits until there are so many pods, all of them Ready and none on its way out.
fn await_ready(kubectl: &Kubectl, kubelet: &Kubelet, name: &str, count: usize) -> Vec<Value> {
    until(LIMIT, &format!("{count} ready pods of {name}: {:?}", kubelet.notes()), || {
        let pods = pods(kubectl, name);
        let steady = |pod: &Value| is_ready(pod) && pod["metadata"]["deletionTimestamp"].is_null();
        (pods.len() == count && pods.iter().all(steady)).then_some(pods)
    })
}

/// Waits until the only pod of a deployment is so.
fn await_one(kubectl: &Kubectl, name: &str, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    until(LIMIT, &format!("a pod of {name} {what}"), || {
        pods(kubectl, name).into_iter().find(|pod| is(pod))
    })
}

#[test]
fn a_deployment_becomes_processes_that_answer_and_go() {
    let Some(plane) = ControlPlane::shared("the kubelet of the tests") else { return };
    let (namespace, kubectl) = plane.namespace("kubelet");
    let kubelet = Kubelet::start(plane.kubeconfig(), Setup::of_namespace(&namespace));
    let begun = Instant::now();
    kubectl.apply(&deployment("web", 3, ""));
    let ready = await_ready(&kubectl, &kubelet, "web", 3);
    println!("three ready after {:?}", begun.elapsed());
    for pod in &ready {
        assert_eq!(get(address(pod), "/").0, 200);
    }
    let mut addresses: Vec<_> = ready.iter().map(address).collect();
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), 3);

    let begun = Instant::now();
    kubectl.run(&["scale", "deployment", "web", "--replicas=5"]);
    await_ready(&kubectl, &kubelet, "web", 5);
    println!("two more ready after {:?}", begun.elapsed());
    let of_all = descendants(std::process::id());
    let running = kubelet.running(&namespace);
    let mine: Vec<_> = running.values().map(|running| running.pid).collect();
    let processes: Vec<_> = of_all.into_iter().filter(|(pid, _)| mine.contains(pid)).collect();
    assert_eq!(processes.len(), 5);

    kubectl.run(&["scale", "deployment", "web", "--replicas=1"]);
    let left = await_ready(&kubectl, &kubelet, "web", 1);
    until(LIMIT, "one process is left", || (alive(&processes).len() == 1).then_some(()));
    assert_eq!(get(address(&left[0]), "/").0, 200);

    kubectl.run(&["delete", "deployment", "web", "--cascade=foreground"]);
    until(LIMIT, "no pod is left", || pods(&kubectl, "web").is_empty().then_some(()));
    until(LIMIT, "no process is left", || alive(&processes).is_empty().then_some(()));
    assert!(kubelet.running(&namespace).is_empty());
    assert_eq!(kubelet.notes(), [""; 0]);
}

#[test]
fn what_goes_wrong_is_said_as_a_kubelet_says_it() {
    let Some(plane) = ControlPlane::shared("the faults of pods") else { return };
    let (namespace, kubectl) = plane.namespace("faults");
    let kubelet = Kubelet::start(plane.kubeconfig(), Setup::of_namespace(&namespace));
    for (name, behaviour) in [
        ("stalls", Behaviour::Stall),
        ("pulls", Behaviour::ImagePullBackOff),
        ("crashes", Behaviour::CrashLoop),
        ("nowhere", Behaviour::Unschedulable),
    ] {
        kubelet.tell(&namespace, &format!("app={name}"), behaviour);
        kubectl.apply(&deployment(name, 1, ""));
    }
    await_one(&kubectl, "pulls", "cannot be pulled", |pod| waiting(pod) == "ImagePullBackOff");
    await_one(&kubectl, "crashes", "crashes again", |pod| {
        let restarts = pod["status"]["containerStatuses"][0]["restartCount"].as_u64();
        waiting(pod) == "CrashLoopBackOff" && restarts >= Some(2)
    });
    await_one(&kubectl, "nowhere", "fits nowhere", |pod| {
        pod["status"]["conditions"][0]["reason"] == "Unschedulable"
    });
    let stalled = await_one(&kubectl, "stalls", "is bound", |pod| !waiting(pod).is_empty());
    assert_eq!(stalled["status"]["phase"], "Pending");
    assert!(stalled["status"]["podIP"].is_null(), "{stalled}");
    for name in ["stalls", "pulls", "crashes", "nowhere"] {
        kubelet.tell(&namespace, &format!("app={name}"), Behaviour::Honest);
        await_ready(&kubectl, &kubelet, name, 1);
    }
}

#[test]
fn a_lie_is_told_and_taken_back() {
    let Some(plane) = ControlPlane::shared("the lies of a kubelet") else { return };
    let (namespace, kubectl) = plane.namespace("lies");
    let kubelet = Kubelet::start(plane.kubeconfig(), Setup::of_namespace(&namespace));
    kubectl.apply(&deployment("web", 1, ""));
    let pod = &await_ready(&kubectl, &kubelet, "web", 1)[0];
    kubelet.tell(&namespace, "", Behaviour::SayNotReady);
    await_one(&kubectl, "web", "is said not to be ready", |pod| !is_ready(pod));
    assert_eq!(get(address(pod), "/").0, 200);
    kubelet.tell(&namespace, "", Behaviour::Honest);
    await_ready(&kubectl, &kubelet, "web", 1);

    kubelet.tell(&namespace, "app=late", Behaviour::SayReady);
    kubectl.apply(&deployment("late", 1, ", --health-delay, 1h"));
    let late = &await_ready(&kubectl, &kubelet, "late", 1)[0];
    until(LIMIT, "it listens", || std::net::TcpStream::connect(address(late)).ok());
    assert_eq!(get(address(late), "/").0, 503);
    kubelet.tell(&namespace, "", Behaviour::Honest);
    kubelet.tell(&namespace, "app=late", Behaviour::Honest);
    await_one(&kubectl, "late", "is honestly not ready", |pod| !is_ready(pod));
}

#[test]
fn a_deleted_pod_has_its_grace_and_its_address_can_be_given_again() {
    let Some(plane) = ControlPlane::shared("the grace of a pod") else { return };
    let (namespace, kubectl) = plane.namespace("grace");
    let kubelet = Kubelet::start(plane.kubeconfig(), Setup::of_namespace(&namespace));
    kubelet.reuse_addresses(true);
    kubectl.apply(&deployment("web", 1, ""));
    let first = await_ready(&kubectl, &kubelet, "web", 1).remove(0);
    // Stopped, it cannot heed SIGTERM: only SIGKILL after the grace of 2 s ends it.
    let name = first["metadata"]["name"].as_str().expect("a name");
    let pid = kubelet.running(&namespace)[name].pid;
    crate::support::router::signal(pid, "STOP");
    kubectl.run(&["scale", "deployment", "web", "--replicas=0"]);
    let begun = Instant::now();
    until(LIMIT, "the pod is gone", || pods(&kubectl, "web").is_empty().then_some(()));
    assert!(begun.elapsed() > Duration::from_millis(1500), "{:?}", begun.elapsed());
    kubectl.run(&["scale", "deployment", "web", "--replicas=1"]);
    let second = await_ready(&kubectl, &kubelet, "web", 1).remove(0);
    assert_eq!(address(&second), address(&first));
    assert_ne!(second["metadata"]["uid"], first["metadata"]["uid"]);
    assert_eq!(get(address(&second), "/").0, 200);
}

#[test]
fn a_machine_that_loses_its_power_says_nothing() {
    let Some(plane) = ControlPlane::shared("the loss of a node") else { return };
    let (namespace, kubectl) = plane.namespace("power");
    let kubelet = Kubelet::start(plane.kubeconfig(), Setup::of_namespace(&namespace));
    kubectl.apply(&deployment("web", 2, ""));
    let ready = await_ready(&kubectl, &kubelet, "web", 2);
    kubelet.tell(&namespace, "", Behaviour::Vanish);
    until(LIMIT, "nobody listens", || {
        let refused = |pod| std::net::TcpStream::connect(address(pod)).is_err();
        ready.iter().all(refused).then_some(())
    });
    let then = pods(&kubectl, "web");
    assert!(then.iter().all(is_ready), "{then:#?}");
    // Deleted, such a pod stays until somebody is sure enough to use force.
    let name = ready[0]["metadata"]["name"].as_str().expect("a name");
    kubectl.run(&["delete", "pod", name, "--wait=false"]);
    kubelet.set_pods_max(0);
    assert_eq!(pods(&kubectl, "web").iter().filter(|pod| is_ready(pod)).count(), 2);
    kubectl.run(&["delete", "pod", name, "--grace-period=0", "--force"]);
    until(LIMIT, "the pod is gone", || {
        pods(&kubectl, "web").iter().all(|pod| pod["metadata"]["name"] != name).then_some(())
    });
}

#[test]
fn pods_live_on_while_the_api_server_is_away() {
    let Some(programs) = programs("pods without an API server") else { return };
    let plane = ControlPlane::start(&programs, &Options::default());
    let (namespace, kubectl) = plane.namespace("away");
    let kubelet = Kubelet::start(plane.kubeconfig(), Setup::of_namespace(&namespace));
    kubectl.apply(&deployment("web", 1, ""));
    let pod = &await_ready(&kubectl, &kubelet, "web", 1)[0];
    let name = pod["metadata"]["name"].as_str().expect("a name");
    plane.hold("kube-apiserver");
    crate::support::router::signal(kubelet.running(&namespace)[name].pid, "KILL");
    until(LIMIT, "its container runs again", || {
        let again = kubelet.running(&namespace)[name].clone();
        (again.starts == 2 && again.pid != 0).then_some(())
    });
    until(LIMIT, "it listens", || std::net::TcpStream::connect(address(pod)).ok());
    plane.release("kube-apiserver");
    plane.await_ready();
    await_one(&kubectl, "web", "is ready and was restarted", |pod| {
        is_ready(pod) && pod["status"]["containerStatuses"][0]["restartCount"] == 1
    });
    // What is made from now on is seen as well.
    kubectl.run(&["scale", "deployment", "web", "--replicas=2"]);
    await_ready(&kubectl, &kubelet, "web", 2);
}
