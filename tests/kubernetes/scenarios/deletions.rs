//! Endpoints and namespaces that go, and come again.

use std::time::Instant;

use serde_json::json;

use super::stage::{LIMIT, Stage, fixed, version};
use crate::support::{
    controlplane::ControlPlane,
    line::post,
    spec::{self, SCORE},
    watch::until,
};

#[test]
fn an_endpoint_is_deleted_and_made_again() {
    let Some(plane) = ControlPlane::shared("a deleted endpoint") else { return };
    let stage = Stage::new(plane, "deleted");
    let router = stage.simple("0ms", &fixed(1), 1);
    assert_eq!(post(router.data, SCORE, &[]).status, 200);
    let mut asked = 1;
    let begun = Instant::now();
    stage.kubectl.run(&["delete", "iep", "demo"]);
    until(LIMIT, "it is gone", || {
        asked += 1;
        let status = post(router.data, SCORE, &[]).status;
        assert!([200, 404].contains(&status), "{status}");
        (status == 404).then_some(())
    });
    let converged = begun.elapsed();
    stage.endpoint(&[version("blue", &fixed(1))]);
    until(LIMIT, "it is back", || {
        asked += 1;
        let status = post(router.data, SCORE, &[]).status;
        assert!([200, 404].contains(&status), "{status}");
        (status == 200).then_some(())
    });
    stage.tell("endpoint deleted and made again", asked, 0, converged);
}

#[test]
fn a_namespace_is_deleted_and_the_others_go_on() {
    let Some(plane) = ControlPlane::shared("a deleted namespace") else { return };
    let (doomed, stays) = (Stage::new(plane, "doomed"), Stage::new(plane, "stays"));
    for stage in [&doomed, &stays] {
        stage.deployment("blue", "0ms", 0, &json!({}));
    }
    stays.endpoint(&[version("blue", &fixed(1))]);
    let other = spec::endpoint(&[version("blue", &fixed(1))]).replace("\"demo\"", "\"other\"");
    doomed.kubectl.apply(&other);
    let both = format!("{},{}", doomed.namespace, stays.namespace);
    let router = stays.router_of(&both, "router-a", &[]);
    let path = SCORE.replace("demo", "other");
    router.await_replicas("blue", "ready", 2, LIMIT);
    assert_eq!(post(router.data, &path, &[]).status, 200);
    let begun = Instant::now();
    plane.kubectl().run(&["delete", "namespace", &doomed.namespace, "--wait=false"]);
    let mut asked = 0;
    until(LIMIT, "its endpoint is gone", || {
        asked += 1;
        assert_eq!(post(router.data, SCORE, &[]).status, 200);
        (post(router.data, &path, &[]).status == 404).then_some(())
    });
    let converged = begun.elapsed();
    router.await_replicas("blue", "ready", 1, LIMIT);
    assert_eq!(router.admin_get("/readyz").0, 200);
    stays.tell("namespace deleted", asked, 0, converged);
}
