//! Pods of the stand-in model: the image starts, answers and goes. Routers in front of them come
//! into a file beside this one and start from the same [`Cluster`].

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{cluster::Cluster, kubectl::Kubectl, router::get, watch::until};

const LIMIT: Duration = Duration::from_secs(60);

/// A deployment of stand-in models that the Pod Security level `restricted` lets in.
fn deployment(image: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: model}}\nspec:\n  \
         selector: {{matchLabels: {{app: model}}}}\n  template:\n    \
         metadata: {{labels: {{app: model}}}}\n    spec:\n      \
         terminationGracePeriodSeconds: 5\n      \
         securityContext: {{runAsNonRoot: true, seccompProfile: {{type: RuntimeDefault}}}}\n      \
         containers:\n      - name: model\n        image: {image}\n        \
         args: [model, --address, 0.0.0.0, --port, \"5001\"]\n        \
         ports: [{{name: http, containerPort: 5001}}]\n        \
         readinessProbe: {{httpGet: {{path: /, port: http}}, periodSeconds: 1}}\n        \
         securityContext: {{allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, \
         capabilities: {{drop: [ALL]}}}}\n"
    )
}

fn pods(kubectl: &Kubectl) -> Vec<Value> {
    let list = kubectl.json(&["pods", "--selector", "app=model"]);
    list["items"].as_array().expect("a list").clone()
}

fn await_ready(kubectl: &Kubectl, count: usize) -> Vec<Value> {
    until(LIMIT, &format!("{count} ready pods"), || {
        let pods = pods(kubectl);
        let is_ready = |pod: &Value| {
            let status = &pod["status"]["containerStatuses"][0];
            status["ready"] == true && pod["metadata"]["deletionTimestamp"].is_null()
        };
        (pods.len() == count && pods.iter().all(is_ready)).then_some(pods)
    })
}

#[test]
fn the_image_runs_as_pods_that_answer_and_go() {
    let begun = Instant::now();
    let Some(cluster) = Cluster::start("the image on a real cluster") else { return };
    println!("image packed and imported, cluster up after {:?}", begun.elapsed());
    let name = format!("e2e-{}", std::process::id());
    let kubectl = cluster.kubectl().new_namespace(&name);
    let level = "pod-security.kubernetes.io/enforce=restricted";
    kubectl.run(&["label", "namespace", &name, level]);
    let begun = Instant::now();
    kubectl.apply(&deployment(cluster.image()));
    let pod = &await_ready(&kubectl, 1)[0];
    println!("ready after {:?}", begun.elapsed());
    let pod_name = pod["metadata"]["name"].as_str().expect("a name");
    let path = format!("/api/v1/namespaces/{name}/pods/{pod_name}:5001/proxy/stats");
    let stats: Value = serde_json::from_str(&kubectl.run(&["get", "--raw", &path])).expect("JSON");
    assert!(stats.is_object(), "{stats}");
    if cluster.is_own() {
        let ip = pod["status"]["podIP"].as_str().expect("an address");
        assert_eq!(get(format!("{ip}:5001").parse().expect("an address"), "/").0, 200);
    }
    let begun = Instant::now();
    kubectl.run(&["scale", "deployment", "model", "--replicas=3"]);
    await_ready(&kubectl, 3);
    println!("three ready after {:?}", begun.elapsed());
    let begun = Instant::now();
    kubectl.run(&["delete", "deployment", "model"]);
    until(LIMIT, "no pod is left", || pods(&kubectl).is_empty().then_some(()));
    println!("gone after {:?}", begun.elapsed());
    kubectl.run(&["delete", "namespace", &name]);
    if cluster.is_own() {
        parts_go_and_come_back(&cluster);
    }
    let folder = cluster.is_own().then(|| cluster.dir().to_owned());
    let begun = Instant::now();
    drop(cluster);
    println!("cluster gone after {:?}", begun.elapsed());
    assert!(folder.is_none_or(|folder| !folder.exists()));
}

/// The API server is held back and comes again; a kubelet that is killed goes on with its pods.
fn parts_go_and_come_back(cluster: &Cluster) {
    let kubectl = cluster.kubectl();
    let answers = || kubectl.try_run(&["get", "--raw", "/readyz"]).ok;
    assert!(answers());
    cluster.hold("kube-apiserver");
    until(LIMIT, "the API server is gone", || (!answers()).then_some(()));
    cluster.release("kube-apiserver");
    until(LIMIT, "the API server is back", || answers().then_some(()));
    let kubelet = cluster.pid("kubelet");
    cluster.signal("kubelet", "KILL");
    until(LIMIT, "another kubelet", || (cluster.pid("kubelet") != kubelet).then_some(()));
    let name = format!("e2e-again-{}", std::process::id());
    let kubectl = kubectl.new_namespace(&name);
    kubectl.apply(&deployment(cluster.image()));
    await_ready(&kubectl, 1);
}
