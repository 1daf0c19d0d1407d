//! Keys and tokens as an operator and a fleet of routers use them.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::stage::{LIMIT, Stage, fixed, version};
use crate::support::{
    controlplane::ControlPlane,
    line::post,
    router::Router,
    spec::{self, SCORE},
    watch::until,
    wire::{self, Answer},
};

/// How soon a new key is in force (contract §7).
const KEY_LIMIT: Duration = Duration::from_secs(1);
/// The Secret of the signing keys.
const SIGNING: &str = "modelway-signing-keys";

fn score(router: &Router, credential: &str) -> u16 {
    post(router.data, SCORE, &[("Authorization", &format!("Bearer {credential}"))]).status
}

fn admin(router: &Router, line: &str, token: &str) -> Answer {
    let fields = format!("authorization: Bearer {token}\r\nconnection: close\r\n");
    wire::ask(router.admin, wire::request(line, &fields, ""))
}

impl Stage<'_> {
    /// Endpoint `demo` with this `auth`, a router, and its replica.
    fn with_auth(&self, auth: &Value, arguments: &[&str]) -> Router {
        self.deployment("blue", "0ms", 0, &json!({}));
        self.endpoint_with(auth);
        let router = self.router("router-a", arguments);
        router.await_replicas("blue", "ready", 1, LIMIT);
        router
    }

    fn endpoint_with(&self, auth: &Value) {
        let endpoint = spec::endpoint(&[version("blue", &fixed(1))]);
        self.kubectl.apply(&endpoint.replace(r#"{"mode":"None"}"#, &auth.to_string()));
    }

    /// A token of an account that may do this with these resources.
    fn account(&self, name: &str, verb: &str, resource: &str) -> String {
        let rule = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": {"name": name},
            "rules": [{"apiGroups": ["modelway.dev"], "resources": [resource], "verbs": [verb]}],
        });
        self.kubectl.apply(&rule.to_string());
        self.kubectl.run(&["create", "serviceaccount", name]);
        let whom = format!("--serviceaccount={}:{name}", self.namespace);
        self.kubectl.run(&["create", "rolebinding", name, &format!("--role={name}"), &whom]);
        self.kubectl.run(&["create", "token", name]).trim().to_owned()
    }
}

#[test]
fn who_may_in_the_cluster_replaces_a_key_and_the_other_goes_on() {
    let Some(plane) = ControlPlane::shared("keys by the admin port") else { return };
    let stage = Stage::new(plane, "regenerate");
    let router = stage.with_auth(&json!({"mode": "Key"}), &[]);
    let (reader, writer) = (
        stage.account("reader", "get", "inferenceendpoints/keys"),
        stage.account("writer", "update", "inferenceendpoints/keys"),
    );
    let show = "GET /api/v1/endpoints/demo/keys";
    let regenerate = "POST /api/v1/endpoints/demo/keys/primary/regenerate";
    let keys = until(LIMIT, "the keys", || {
        let answer = admin(&router, show, &reader);
        (answer.status == 200).then(|| answer.json())
    });
    let text = |keys: &Value, field: &str| keys[field].as_str().expect("a key").to_owned();
    let (mut last, secondary) = (text(&keys, "primaryKey"), text(&keys, "secondaryKey"));
    until(LIMIT, "they are in force", || (score(&router, &last) == 200).then_some(()));
    // Each may what its role says, and nobody else anything.
    for (line, token, status) in [
        (regenerate, &*reader, 403),
        (show, &*writer, 403),
        (show, "nobody", 401),
        (show, &*secondary, 401),
        ("POST /api/v1/endpoints/demo/token", &*writer, 403),
    ] {
        let answer = admin(&router, line, token);
        assert_eq!(answer.status, status, "{line}: {}", answer.text());
    }
    let (mut asked, mut slowest) = (0, Duration::ZERO);
    for _ in 0..5 {
        let answer = admin(&router, regenerate, &writer);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let begun = Instant::now();
        assert_eq!(text(&answer.json(), "secondaryKey"), secondary);
        let fresh = text(&answer.json(), "primaryKey");
        until(LIMIT, "the new key works", || {
            assert_eq!(score(&router, &secondary), 200);
            asked += 1;
            (score(&router, &fresh) == 200).then_some(())
        });
        slowest = slowest.max(begun.elapsed());
        assert_eq!(score(&router, &last), 401);
        last = fresh;
    }
    stage.tell("key replaced by the admin port", asked, 0, slowest);
    assert!(slowest < KEY_LIMIT, "{slowest:?}");
    let said = router.errors().join("\n");
    for secret in [&last, &secondary, &reader, &writer] {
        assert!(!said.contains(secret.as_str()), "a credential is in the log");
    }
}

#[test]
fn the_keys_of_a_deleted_secret_last_for_the_grace_and_then_nobody_gets_in() {
    let Some(plane) = ControlPlane::shared("a deleted Secret") else { return };
    let stage = Stage::new(plane, "grace");
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "demo-keys"},
        "stringData": {"primaryKey": "of-a-person"},
    });
    stage.kubectl.apply(&secret.to_string());
    let auth = json!({"mode": "Key", "secretRef": {"name": "demo-keys"}});
    let router = stage.with_auth(&auth, &["--key-grace", "8s"]);
    until(LIMIT, "the key is in force", || (score(&router, "of-a-person") == 200).then_some(()));
    stage.kubectl.run(&["delete", "secret", "demo-keys"]);
    let begun = Instant::now();
    until(LIMIT, "the condition", || {
        let (reason, message) = stage.condition("ResolvedRefs");
        (reason == "SecretNotFound" && message.contains("its last keys stay valid until"))
            .then_some(())
    });
    assert_eq!(score(&router, "of-a-person"), 200);
    until(LIMIT, "the end of the grace", || (score(&router, "of-a-person") == 401).then_some(()));
    let ended = begun.elapsed();
    assert!(ended > Duration::from_secs(7), "{ended:?}");
    assert_eq!(post(router.data, SCORE, &[]).status, 401, "never open");
    until(LIMIT, "the condition says so", || {
        stage.condition("ResolvedRefs").1.contains("were valid until").then_some(())
    });
    stage.kubectl.apply(&secret.to_string());
    until(LIMIT, "it is back", || (score(&router, "of-a-person") == 200).then_some(()));
    stage.tell("Secret deleted", 1, 0, ended);
}

/// The document of the signing keys, once it has so many keys.
fn signing(stage: &Stage<'_>, keys: usize) -> Value {
    let template = "-o=go-template={{index .data \"keys.json\" | base64decode}}";
    until(LIMIT, "the signing keys", || {
        let said = stage.kubectl.try_run(&["get", "secret", SIGNING, template]);
        let document: Value = serde_json::from_str(&said.out).ok()?;
        (document["keys"].as_array()?.len() == keys).then_some(document)
    })
}

/// As if the keys had been made so long ago, in seconds.
fn age(stage: &Stage<'_>, mut document: Value, ages: &[u64]) {
    let keys = document["keys"].as_array_mut().expect("a list");
    for (key, age) in keys.iter_mut().zip(ages) {
        let made = jiff::Timestamp::now() - Duration::from_secs(*age);
        key["made"] = json!(made.to_string());
    }
    let patch = json!({"stringData": {"keys.json": document.to_string()}}).to_string();
    stage.kubectl.run(&["patch", "secret", SIGNING, "--patch", &patch]);
}

fn kids(router: &Router) -> Vec<String> {
    let jwks = router.admin_json("/.well-known/jwks.json");
    let keys = jwks["keys"].as_array().expect("a list").iter();
    keys.map(|key| key["kid"].as_str().expect("a name").to_owned()).collect()
}

fn kid(token: &str) -> String {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let head = token.split('.').next().expect("three parts");
    let head = URL_SAFE_NO_PAD.decode(head).expect("base64url");
    let head: Value = serde_json::from_slice(&head).expect("JSON");
    head["kid"].as_str().expect("a name").to_owned()
}

#[test]
fn two_routers_accept_each_others_tokens_through_a_rotation() {
    let Some(plane) = ControlPlane::shared("two routers and their tokens") else { return };
    let stage = Stage::new(plane, "tokens");
    let first = stage.with_auth(&json!({"mode": "Token"}), &[]);
    let second = stage.router("router-b", &[]);
    second.await_replicas("blue", "ready", 1, LIMIT);
    let routers = [&first, &second];
    let may = stage.account("caller", "create", "inferenceendpoints/token");
    let issue = |router: &Router| -> Option<String> {
        let answer = admin(router, "POST /api/v1/endpoints/demo/token", &may);
        assert!([200, 503].contains(&answer.status), "{}", answer.text());
        (answer.status == 200)
            .then(|| answer.json()["accessToken"].as_str().expect("a token").to_owned())
    };
    let everywhere = |token: &str| {
        for router in routers {
            assert_eq!(score(router, token), 200);
        }
    };
    // The first key: made by one, accepted by both, signed with by both after a while.
    let document = signing(&stage, 1);
    let begun = Instant::now();
    let old: Vec<String> =
        routers.iter().map(|router| until(LIMIT, "a first token", || issue(router))).collect();
    let waited = begun.elapsed();
    for token in &old {
        everywhere(token);
    }
    assert_eq!(kid(&old[0]), kid(&old[1]));
    // A month later there is a second one. Both accept it, and go on signing with the first.
    age(&stage, document, &[31 * 24 * 3600]);
    let document = signing(&stage, 2);
    for router in routers {
        until(LIMIT, "both keys are accepted", || (kids(router).len() == 2).then_some(()));
        assert_eq!(kid(&issue(router).expect("a token")), kid(&old[0]));
    }
    // Five minutes later it signs; the first one is accepted until its last token is gone.
    age(&stage, document.clone(), &[31 * 24 * 3600, 301]);
    let new: Vec<String> = routers
        .iter()
        .map(|router| {
            until(LIMIT, "a token of the new key", || {
                issue(router).filter(|token| kid(token) != kid(&old[0]))
            })
        })
        .collect();
    for token in new.iter().chain(&old) {
        everywhere(token);
    }
    age(&stage, document, &[40 * 24 * 3600, 9 * 24 * 3600]);
    signing(&stage, 1);
    for router in routers {
        until(LIMIT, "the first key is gone", || (kids(router) == [kid(&new[0])]).then_some(()));
        assert_eq!(score(router, &old[0]), 401);
    }
    for token in &new {
        everywhere(token);
    }
    stage.tell("signing keys rotated", 12, 0, waited);
}
