//! Edits of an endpoint and of its keys while requests go on.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::stage::{LIMIT, Stage, fixed, version};
use crate::support::{
    controlplane::ControlPlane,
    kubectl::Kubectl,
    line::{Line, post},
    router::Router,
    spec::{self, SCORE},
    watch::until,
};

/// How soon a new key works (contract §7).
const KEY_LIMIT: Duration = Duration::from_secs(1);

fn split(blue: u32, green: u32, default: &str) -> [Value; 2] {
    let one = |name: &str, percent: u32| {
        let share = json!({"trafficPercentile": percent, "isDefault": name == default});
        version(name, &spec::with(&fixed(1), &share))
    };
    [one("blue", blue), one("green", green)]
}

/// How many of a thousand requests blue answered; all are answered.
fn of_a_thousand(lines: &mut [Line]) -> usize {
    let count = lines.len();
    let answers = (0..1000).map(|number| lines[number % count].ask(SCORE, &[]));
    answers
        .filter(|answer| {
            assert_eq!(answer.status, 200, "{answer:?}");
            answer.version() == "blue"
        })
        .count()
}

/// Asks until the edit is in force, which the answers alone do not say.
fn ask_until(router: &Router, lines: &mut [Line], is: impl Fn(&Value) -> bool) -> usize {
    let mut asked = 0;
    until(LIMIT, "the edit is in force", || {
        assert_eq!(lines[0].ask(SCORE, &[]).status, 200);
        asked += 1;
        is(&router.admin_json("/api/v1/endpoints/demo")).then_some(asked)
    })
}

#[test]
fn the_split_and_the_default_change_exactly() {
    let Some(plane) = ControlPlane::shared("edits of the split") else { return };
    let stage = Stage::new(plane, "split");
    for name in ["blue", "green"] {
        stage.deployment(name, "0ms", 0, &json!({}));
    }
    stage.endpoint(&split(80, 20, "blue"));
    let router = stage.router("router-a", &[]);
    for name in ["blue", "green"] {
        router.await_replicas(name, "ready", 1, LIMIT);
    }
    let mut lines: Vec<Line> = (0..4).map(|_| Line::connect(router.data)).collect();
    assert_eq!(of_a_thousand(&mut lines), 800);
    let begun = Instant::now();
    stage.endpoint(&split(30, 70, "blue"));
    let mut asked =
        ask_until(&router, &mut lines, |demo| demo["versions"][0]["trafficPercentile"] == 30);
    let converged = begun.elapsed();
    assert_eq!(of_a_thousand(&mut lines), 300);
    // What the percentiles leave goes to the default version.
    stage.endpoint(&split(10, 0, "green"));
    asked += ask_until(&router, &mut lines, |demo| demo["versions"][1]["isDefault"] == true);
    assert_eq!(of_a_thousand(&mut lines), 100);
    stage.tell("split and default changed", 3000 + asked, 0, converged);
}

fn secret(kubectl: &Kubectl, field: &str) -> Option<String> {
    let path = format!("-o=go-template={{{{index .data \"{field}\" | base64decode}}}}");
    let said = kubectl.try_run(&["get", "secret", "demo-keys", &path]);
    said.ok.then_some(said.out)
}

fn ask(router: &Router, key: &str) -> u16 {
    post(router.data, SCORE, &[("Authorization", &format!("Bearer {key}"))]).status
}

#[test]
fn a_key_is_rotated_and_the_other_goes_on() {
    let Some(plane) = ControlPlane::shared("the rotation of a key") else { return };
    let stage = Stage::new(plane, "keys");
    stage.deployment("blue", "0ms", 0, &json!({}));
    let endpoint = spec::endpoint(&[version("blue", &fixed(1))]);
    stage.kubectl.apply(&endpoint.replace("\"None\"", "\"Key\""));
    let router = stage.router("router-a", &[]);
    router.await_replicas("blue", "ready", 1, LIMIT);
    let primary = until(LIMIT, "the Secret", || secret(&stage.kubectl, "primaryKey"));
    let secondary = secret(&stage.kubectl, "secondaryKey").unwrap();
    until(LIMIT, "the keys are in force", || (ask(&router, &primary) == 200).then_some(()));
    assert_eq!(ask(&router, &secondary), 200);
    let (mut asked, mut slowest) = (0, Duration::ZERO);
    let mut last = secondary;
    for number in 0..5 {
        let fresh = format!("a-fresh-key-of-thirty-two-letters-{number}");
        let patch = json!({"stringData": {"secondaryKey": fresh}}).to_string();
        stage.kubectl.run(&["patch", "secret", "demo-keys", "--patch", &patch]);
        let begun = Instant::now();
        until(LIMIT, "the new key works", || {
            assert_eq!(ask(&router, &primary), 200);
            asked += 1;
            (ask(&router, &fresh) == 200).then_some(())
        });
        slowest = slowest.max(begun.elapsed());
        assert_eq!(ask(&router, &last), 401);
        last = fresh;
    }
    stage.tell("key rotated", asked, 0, slowest);
    assert!(slowest < KEY_LIMIT, "{slowest:?}");
}

#[test]
fn pods_of_azureml_fe_are_endpoints_too() {
    let Some(plane) = ControlPlane::shared("azureml-fe's labels") else { return };
    let stage = Stage::new(plane, "legacy");
    let begun = Instant::now();
    stage.deployment("old", "0ms", 0, &json!({"isazuremlapp": "true", "azuremlappname": "demo"}));
    let router = stage.router("router-a", &["--legacy-labels"]);
    router.await_replicas("old", "ready", 1, LIMIT);
    let key = until(LIMIT, "the Secret", || secret(&stage.kubectl, "primaryKey"));
    until(LIMIT, "its key is in force", || (ask(&router, &key) == 200).then_some(()));
    stage.tell("azureml-fe's labels", 1, 0, begun.elapsed());
}
