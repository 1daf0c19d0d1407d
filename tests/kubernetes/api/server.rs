//! The same objects at a real API server, and what kubectl prints.

#![expect(clippy::indexing_slicing, reason = "JSON: what is not there is null")]

use std::time::Duration;

use expect_test::expect_file;
use modelway::platform::kubernetes::api::{EndpointStatus, LastScale, VersionStatus};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::cases::{self, Case};
use crate::support::{
    controlplane::ControlPlane,
    kubectl::{Kubectl, Said},
    watch::until,
};

/// How long the API server may take to serve a new kind; 0.3 s alone on two cores.
const ESTABLISHED_LIMIT: Duration = Duration::from_secs(60);

/// The definition as it is checked in, served.
pub(crate) fn install(plane: &ControlPlane) {
    // Two at once would both find that it is not there, and one be refused.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock();
    plane.kubectl().apply(include_str!("../../../deploy/crds/inferenceendpoints.yaml"));
    until(ESTABLISHED_LIMIT, "the kind is served", || {
        let name = "inferenceendpoints.modelway.dev";
        let found = plane.kubectl().json(&["customresourcedefinition", name]);
        let conditions = found["status"]["conditions"].as_array()?;
        let is = |kind: &str| {
            conditions.iter().any(|one| one["type"] == kind && one["status"] == "True")
        };
        (is("Established") && is("NamesAccepted")).then_some(())
    });
    until(ESTABLISHED_LIMIT, "kubectl knows the kind", || {
        plane.kubectl().try_run(&["get", "iep", "--all-namespaces"]).ok.then_some(())
    });
}

fn object(name: &str, spec: &Value) -> String {
    let (version, kind) = ("modelway.dev/v1alpha1", "InferenceEndpoint");
    json!({"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec})
        .to_string()
}

fn apply(kubectl: &Kubectl, case: &Case) -> Said {
    kubectl.try_apply(&object(case.name, &case.spec))
}

#[test]
fn the_api_server_refuses_every_bad_object_in_words() {
    let Some(plane) = ControlPlane::shared("bad objects at the API server") else { return };
    install(plane);
    let (_, kubectl) = plane.namespace("bad-objects");
    let mut page = Vec::new();
    for case in cases::bad().into_iter().chain(cases::only_the_server()) {
        let said = apply(&kubectl, &case);
        assert!(!said.ok, "the API server takes {}: {}", case.what, said.out);
        page.push(format!("{}\n  {}\n", case.what, said.err.trim().replace('\n', "\n  ")));
    }
    expect_file!["../testdata/refused-by-server.txt"].assert_eq(&page.concat());
}

#[test]
fn the_api_server_takes_good_objects_and_what_only_the_router_sees() {
    let Some(plane) = ControlPlane::shared("good objects at the API server") else { return };
    install(plane);
    for case in cases::good().into_iter().chain(cases::only_the_router()) {
        let (_, kubectl) = plane.namespace("good-objects");
        let said = apply(&kubectl, &case);
        assert!(said.ok, "{}: {}", case.what, said.err);
    }
}

#[test]
fn the_api_server_fills_in_the_defaults_of_files() {
    let Some(plane) = ControlPlane::shared("defaults at the API server") else { return };
    install(plane);
    let (_, kubectl) = plane.namespace("defaults");
    let least =
        json!({"versions": [{"name": "blue", "targetRef": {"kind": "Deployment", "name": "a"}}]});
    kubectl.apply(&object("fraud", &least));
    let stored = kubectl.json(&["iep", "fraud"])["spec"].clone();
    let load = |spec: &Value| {
        let policy = modelway::platform::spec::Policy::CLUSTER;
        let loaded = modelway::platform::spec::load_object("models", "fraud", spec, policy);
        format!("{:#?}", loaded.expect("good"))
    };
    assert_ne!(stored, least);
    assert_eq!(load(&stored), load(&least));
}

#[test]
fn the_api_server_keeps_a_default_version() {
    let Some(plane) = ControlPlane::shared("changes at the API server") else { return };
    install(plane);
    for (what, old, new, is_allowed) in cases::changes() {
        let (_, kubectl) = plane.namespace("changes");
        kubectl.apply(&object("fraud", &old));
        let said = kubectl.try_apply(&object("fraud", &new));
        assert_eq!(said.ok, is_allowed, "{what}: {}{}", said.out, said.err);
        let words = "the default version cannot be removed while others exist";
        assert!(is_allowed || said.err.contains(words), "{what}: {}", said.err);
    }
}

/// A status as the router writes it.
fn status() -> EndpointStatus {
    let condition = json!({
        "type": "Ready", "status": "True", "reason": "Ready", "observedGeneration": 1,
        "message": "2 of 3 replicas are ready", "lastTransitionTime": "2026-01-02T03:04:05Z",
    });
    let version = |name: &str, replicas, ready, share| VersionStatus {
        name: name.to_owned(),
        desired_replicas: replicas,
        ready_replicas: ready,
        effective_percentile: share,
        last_scale: None,
    };
    let last = LastScale {
        time: Some("2026-01-02T03:04:05Z".parse().expect("a time")),
        from: 1,
        to: 2,
        reason: "2 busy of 1 slot".to_owned(),
    };
    EndpointStatus {
        observed_generation: 1,
        conditions: vec![serde_json::from_value(condition).expect("a condition")],
        default_version: Some("blue".to_owned()),
        effective_traffic: Some("blue=80% green=20%".to_owned()),
        replicas: Some("2/3".to_owned()),
        scoring_uri: Some("http://10.0.0.1/api/v1/service/fraud/score".to_owned()),
        versions: vec![
            VersionStatus { last_scale: Some(last), ..version("blue", 2, 1, 80) },
            version("green", 1, 1, 20),
        ],
    }
}

#[test]
fn kubectl_shows_what_people_ask_first() {
    let Some(plane) = ControlPlane::shared("what kubectl shows") else { return };
    install(plane);
    let (_, kubectl) = plane.namespace("shown");
    let versions = json!([
        {"name": "blue", "isDefault": true, "trafficPercentile": 80, "targetRef": {"kind": "Deployment", "name": "fraud-blue"}},
        {"name": "green", "trafficPercentile": 20, "targetRef": {"kind": "Deployment", "name": "fraud-green"}},
    ]);
    kubectl.apply(&object("fraud", &json!({"versions": versions})));
    let written = json!({"status": status()}).to_string();
    kubectl.run(&["patch", "iep", "fraud", "--subresource=status", "--type=merge", "-p", &written]);
    let stored: EndpointStatus =
        serde_json::from_value(kubectl.json(&["iep", "fraud"])["status"].clone())
            .expect("a status");
    assert_eq!(stored, status());
    let mut page = Vec::new();
    for line in [
        "get iep",
        "get inference -o wide",
        "explain iep",
        "explain iep.spec.versions",
        "explain iep.spec.versions.targetRef",
    ] {
        let said = kubectl.run(&line.split(' ').collect::<Vec<_>>());
        page.push(format!("$ kubectl {line}\n{}\n\n", ageless(&said)));
    }
    expect_file!["../testdata/shown.txt"].assert_eq(&page.concat());
    let documented = include_str!("../../../docs/endpoints.md");
    let shown = page.first().expect("the first answer").trim_end();
    assert!(documented.contains(shown), "docs/endpoints.md lacks this:\n{shown}");
    let refused = include_str!("../testdata/refused-by-server.txt");
    for line in documented.lines().filter(|line| line.starts_with("The InferenceEndpoint")) {
        assert!(refused.contains(line), "the API server does not say this:\n{line}");
    }
}

/// The same whenever it is asked: the column AGE says 9s.
fn ageless(table: &str) -> String {
    let Some(column) = table.lines().next().and_then(|head| head.find("AGE")) else {
        return table.to_owned();
    };
    let age = |(i, line): (usize, &str)| match (i, line.get(..column), line.get(column..)) {
        (0, ..) | (_, None, _) | (_, _, None) => line.to_owned(),
        (_, Some(before), Some(rest)) => {
            let after = rest.find(' ').map_or("", |end| rest.get(end..).unwrap_or_default());
            let width = rest.len() - after.len();
            format!("{before}{:<width$}{after}", "9s")
        }
    };
    table.lines().enumerate().map(age).collect::<Vec<_>>().join("\n")
}
