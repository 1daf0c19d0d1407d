//! From the manifests to the first scored answer, with nothing but what a newcomer types.

use std::time::Instant;

use crate::{
    installed::{Installed, LIMIT, key, score},
    support::{cluster::Cluster, kubectl::Kubectl, watch::until},
};

/// Installs the router and the quick start in a namespace of level `restricted`, and scores.
pub(crate) fn install(cluster: &Cluster) -> Installed<'_> {
    let begun = Instant::now();
    let installed = Installed::apply(cluster);
    println!("manifests applied after {:?}", begun.elapsed());
    let models = installed.namespace("models", "restricted");
    models.apply(&installed.quickstart());
    println!("quick start applied after {:?}", begun.elapsed());
    let key = key(&models, "demo-keys");
    println!("key made after {:?}", begun.elapsed());
    let service = installed.service();
    assert!(!key.is_empty(), "a key has letters");
    until(LIMIT, "the first scored answer", || match score(service, "demo", &key) {
        Ok(200) => Some(()),
        // Its first replica comes up.
        Ok(status) => {
            assert!([404, 429, 502, 503].contains(&status), "{status}");
            None
        }
        // The Service has no router yet.
        Err(_) => None,
    });
    println!("first scored answer {:?} after the first kubectl apply", begun.elapsed());
    assert_eq!(score(service, "demo", "wrong").ok(), Some(401));
    await_ready(&models, "demo");
    show(&models);
    installed
}

/// Waits as a person does.
pub(crate) fn await_ready(kubectl: &Kubectl, endpoint: &str) {
    let endpoint = format!("iep/{endpoint}");
    kubectl.run(&["wait", "--for=condition=Ready", &endpoint, "--timeout=50s"]);
}

/// What kubectl says, as the documentation shows it.
fn show(models: &Kubectl) {
    for arguments in [
        &["get", "iep"][..],
        &["get", "iep", "-o", "wide"],
        &["describe", "iep", "demo"],
        &["get", "events.events.k8s.io", "--field-selector=regarding.kind=InferenceEndpoint"],
    ] {
        println!("$ kubectl -n models {}\n{}\n", arguments.join(" "), models.run(arguments));
    }
    let arrows = |event: &serde_json::Value| {
        event["note"].as_str().map_or(0, |note| note.matches('→').count())
    };
    let events = models.json(&["events.events.k8s.io"]);
    let events = events["items"].as_array().expect("a list");
    assert!(events.iter().all(|event| arrows(event) < 2), "counts twice: {events:#?}");
    let table = models.run(&["get", "iep", "demo", "--no-headers"]);
    let columns: Vec<&str> = table.split_whitespace().collect();
    assert_eq!(columns[..4], ["demo", "True", columns[2], "blue"], "{table}");
}
