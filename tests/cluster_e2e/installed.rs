//! A router that was installed as an administrator does it, and how it is reached from outside.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    time::Duration,
};

use serde_json::Value;

use crate::support::{cluster::Cluster, kubectl::Kubectl, router::get, watch::until};

/// How long each step of an installation may take: images are there, so it is starting processes.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);
/// How long one try to score may take.
const TRY_LIMIT: Duration = Duration::from_secs(5);
/// The name of the image in all of `deploy/`.
const PUBLISHED: &str = "modelway:0.1.0";
/// The pods of the router.
const ROUTERS: &str = "app.kubernetes.io/component=router";

/// A router from `deploy/manifests/install.yaml`.
pub(crate) struct Installed<'a> {
    cluster: &'a Cluster,
    /// kubectl in the router's namespace.
    pub(crate) own: Kubectl,
}

impl<'a> Installed<'a> {
    /// Applies the manifest. Comes back when objects can be made, before the router is ready.
    pub(crate) fn apply(cluster: &'a Cluster) -> Self {
        let kubectl = cluster.kubectl();
        let manifest = file("deploy/manifests/install.yaml", cluster.image());
        let apply = ["apply", "--server-side", "-f", "-"];
        let said = kubectl.run_with(&apply, &manifest);
        assert!(said.ok, "{}{}", said.out, said.err);
        let kind = "crd/inferenceendpoints.modelway.dev";
        kubectl.run(&["wait", "--for=condition=Established", kind, "--timeout=30s"]);
        Self { cluster, own: kubectl.within("modelway") }
    }

    /// A namespace whose pods keep to this level of Pod Security, and in which the router may make
    /// keys.
    pub(crate) fn namespace(&self, name: &str, level: &str) -> Kubectl {
        let here = self.cluster.kubectl().new_namespace(name);
        let level = format!("pod-security.kubernetes.io/enforce={level}");
        here.run(&["label", "namespace", name, &level]);
        here.run(&[
            "create",
            "rolebinding",
            "modelway-modelway-keys",
            "--clusterrole=modelway-modelway-keys",
            "--serviceaccount=modelway:modelway",
        ]);
        here
    }

    /// The example, with the image of this cluster.
    pub(crate) fn quickstart(&self) -> String {
        file("deploy/examples/quickstart.yaml", self.cluster.image())
    }

    /// The Service's address, reached from this machine through kube-proxy.
    pub(crate) fn service(&self) -> SocketAddr {
        let service = self.own.json(&["service", "modelway"]);
        let ip = service["spec"]["clusterIP"].as_str().expect("an address");
        format!("{ip}:80").parse().expect("an address")
    }

    /// The router's pods that are not on their way out.
    pub(crate) fn pods(&self) -> Vec<Value> {
        pods(&self.own, ROUTERS)
    }

    /// The only router's metric, summed over the samples that have all these labels.
    pub(crate) fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let pods = self.pods();
        let ip = pods[0]["status"]["podIP"].as_str().expect("an address");
        let (_, text) = get(format!("{ip}:9001").parse().expect("an address"), "/metrics");
        let samples = text.lines().filter(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{']))
                && labels.iter().all(|label| line.contains(label))
        });
        samples.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }
}

/// All pods with this label, those that end included.
pub(crate) fn pods(kubectl: &Kubectl, label: &str) -> Vec<Value> {
    let list = kubectl.json(&["pods", "--selector", label]);
    list["items"].as_array().expect("a list").clone()
}

/// The key that the router has made.
pub(crate) fn key(kubectl: &Kubectl, secret: &str) -> String {
    until(LIMIT, "the router makes keys", || {
        let template = "-o=go-template={{.data.primaryKey | base64decode}}";
        let said = kubectl.try_run(&["get", "secret", secret, template]);
        said.ok.then_some(said.out)
    })
}

/// Scores once: the status, or why there is none.
pub(crate) fn score(service: SocketAddr, endpoint: &str, key: &str) -> Result<u16, std::io::Error> {
    let mut stream = TcpStream::connect_timeout(&service, TRY_LIMIT)?;
    stream.set_read_timeout(Some(TRY_LIMIT))?;
    write!(
        stream,
        "POST /api/v1/endpoint/{endpoint}/score HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\
         Authorization: Bearer {key}\r\nContent-Length: 13\r\n\r\n{{\"data\": [1]}}"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok(status.unwrap_or_default())
}

/// A file of this repository, with the image under test.
fn file(path: &str, image: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let text = fs::read_to_string(path).expect("a file of the repository");
    assert!(text.contains(PUBLISHED), "nothing to replace");
    text.replace(PUBLISHED, image)
}
