//! Objects, good and bad: one table for the router, for the rules in this process, and for the API
//! server.

use serde_json::{Value, json};

/// An object and what is special about it.
pub(crate) struct Case {
    pub(crate) what: &'static str,
    pub(crate) name: &'static str,
    pub(crate) spec: Value,
}

/// What all three refuse.
pub(crate) fn bad() -> Vec<Case> {
    [versions(), numbers(), texts(), targets(), others(), names()].into_iter().flatten().collect()
}

/// What all three take.
pub(crate) fn good() -> Vec<Case> {
    let paths = json!({"scoringPath": "/v1/a.b/%20c..d", "probe": {"http": "/.well-known/x"}});
    vec![
        case("the least that an endpoint needs", version(json!({}))),
        case("every field", full()),
        case(
            "shares of exactly 100",
            two(json!({"trafficPercentile": 30}), json!({"trafficPercentile": 70})),
        ),
        case(
            "the lowest bounds",
            version(json!({
                "port": 1, "grpcPort": 0, "maxConcurrentRequestsPerReplica": 1, "maxQueueLength": 0,
                "maxQueueWait": "0s", "requestTimeout": "1ms", "streamIdleTimeout": "1ms", "replicas": 0,
                "autoscale": {"minReplicas": 0, "maxReplicas": 1, "targetUtilization": 1, "scaleDownWindow": "0"},
                "probe": {"none": {}, "period": "100ms", "timeout": "10ms"},
            })),
        ),
        case(
            "the highest bounds",
            version(json!({
                "port": 65535, "grpcPort": 65535, "maxConcurrentRequestsPerReplica": 1000,
                "maxQueueLength": 100_000, "maxQueueWait": "1h", "requestTimeout": "300s",
                "streamIdleTimeout": "24h", "replicas": 1000, "trafficPercentile": 100,
                "autoscale": {"minReplicas": 1000, "maxReplicas": 1000, "targetUtilization": 100, "scaleDownWindow": "3600s"},
                "probe": {"grpc": {}, "period": "10m", "timeout": "1m"},
            })),
        ),
        case("paths with dots and escapes", version(paths)),
        case("six versions", with(json!({"versions": many(6)}))),
        case("a size in bytes", with(json!({"limits": {"maxPayload": 104_857_600}}))),
        case("a size in words", with(json!({"limits": {"maxPayload": "1.5 MiB"}}))),
        Case { name: "abc", ..case("the shortest name", version(json!({}))) },
        Case {
            name: "a23456789-123456789-123456789-12",
            ..case("the longest name", version(json!({})))
        },
    ]
}

/// What the API server takes and the router refuses: its status then says so.
pub(crate) fn only_the_router() -> Vec<Case> {
    vec![
        case("an address that is none", with(json!({"hosts": ["300.1.1.1"]}))),
        case("brackets around no address", with(json!({"hosts": ["[1::2::3]"]}))),
        case("one host in two spellings", with(json!({"hosts": ["a.example", "A.example"]}))),
        case("a size in words above the limit", with(json!({"limits": {"maxPayload": "101MiB"}}))),
        case("a size in words of nothing", with(json!({"limits": {"maxPayload": "0kB"}}))),
        case("an algorithm twice", issuer(&json!({"algorithms": ["RS256", "RS256"]}))),
        case(
            "a port of an issuer that is none",
            issuer(&json!({"jwksUri": "https://a.example:/k"})),
        ),
        case("a scope of two words", issuer(&json!({"requiredScopes": ["a b"]}))),
        case("a mirror, which is not served yet", version(json!({"mirrorPercentile": 10}))),
        case(
            "a target whose name ends like an address",
            target(&json!({"kind": "Deployment", "name": "a.1"})),
        ),
    ]
}

/// What the router would take from a file and the API server refuses.
pub(crate) fn only_the_server() -> Vec<Case> {
    vec![
        case("a unit that Go does not know", version(json!({"requestTimeout": "1min"}))),
        case("a zero without quotes", version(json!({"maxQueueWait": 0}))),
    ]
}

/// Whether the second spec may follow the first.
pub(crate) fn changes() -> Vec<(&'static str, Value, Value, bool)> {
    let named = |names: &[&str], default: &str| {
        let versions = names.iter().map(|name| {
            json!({"name": name, "isDefault": *name == default, "targetRef": {"kind": "Deployment", "name": name}})
        });
        json!({"versions": versions.collect::<Vec<_>>()})
    };
    vec![
        (
            "the default goes while another stays",
            named(&["blue", "green"], "green"),
            named(&["blue"], ""),
            false,
        ),
        (
            "the first, which is the default, goes",
            named(&["blue", "green"], ""),
            named(&["green"], ""),
            false,
        ),
        (
            "all go, new ones come",
            named(&["blue", "green"], ""),
            named(&["red", "gray"], ""),
            false,
        ),
        (
            "the default goes, another becomes it",
            named(&["blue", "green"], "green"),
            named(&["blue"], "blue"),
            true,
        ),
        (
            "another than the default goes",
            named(&["blue", "green"], "green"),
            named(&["green"], "green"),
            true,
        ),
        ("another than the first goes", named(&["blue", "green"], ""), named(&["blue"], ""), true),
        ("the only one is replaced", named(&["blue"], ""), named(&["green"], ""), true),
        (
            "a flag goes and the version stays",
            named(&["blue", "green"], "green"),
            named(&["blue", "green"], ""),
            true,
        ),
    ]
}

fn versions() -> Vec<Case> {
    vec![
        case("no version", with(json!({"versions": []}))),
        case("seven versions", with(json!({"versions": many(7)}))),
        case("no versions at all", json!({})),
        case(
            "one name twice",
            with(json!({"versions": [
                {"name": "blue", "targetRef": {"kind": "Deployment", "name": "one"}},
                {"name": "blue", "targetRef": {"kind": "Deployment", "name": "two"}},
            ]})),
        ),
        case("a name that is too short", version(json!({"name": "bl"}))),
        case("a name in capitals", version(json!({"name": "Blue"}))),
        case("a name that ends with a dash", version(json!({"name": "blue-"}))),
        case(
            "a version without a name",
            with(json!({"versions": [{"targetRef": {"kind": "Deployment", "name": "one"}}]})),
        ),
        case("a version without a target", with(json!({"versions": [{"name": "blue"}]}))),
        case(
            "shares above 100",
            two(json!({"trafficPercentile": 60}), json!({"trafficPercentile": 41})),
        ),
        case("two defaults", two(json!({"isDefault": true}), json!({"isDefault": true}))),
        case("two controls", two(json!({"type": "Control"}), json!({"type": "Control"}))),
        case(
            "a mirror with live traffic",
            version(json!({"trafficPercentile": 5, "mirrorPercentile": 10})),
        ),
        case("an unknown field", version(json!({"portt": 1}))),
        case("an unknown field of a probe", version(json!({"probe": {"tcp": {"port": 1}}}))),
        case("a text for an integer", version(json!({"trafficPercentile": "50%"}))),
        case("a fraction for an integer", version(json!({"trafficPercentile": 12.5}))),
        case("a text for a boolean", version(json!({"isDefault": "yes"}))),
        case("an unknown role", version(json!({"type": "control"}))),
        case("an unknown answer to leaving clients", version(json!({"onDisconnect": "abort"}))),
    ]
}

fn numbers() -> Vec<Case> {
    vec![
        case("a share above 100 alone", version(json!({"trafficPercentile": 101}))),
        case("a negative share", version(json!({"trafficPercentile": -1}))),
        case("a mirror above 100", version(json!({"mirrorPercentile": 101}))),
        case("port 0", version(json!({"port": 0}))),
        case("port 65536", version(json!({"port": 65536}))),
        case("a negative gRPC port", version(json!({"grpcPort": -1}))),
        case("no slots", version(json!({"maxConcurrentRequestsPerReplica": 0}))),
        case("1001 slots", version(json!({"maxConcurrentRequestsPerReplica": 1001}))),
        case("a queue of 100001", version(json!({"maxQueueLength": 100_001}))),
        case("1001 replicas", version(json!({"replicas": 1001}))),
        case("at least 1 and at most 0", version(json!({"autoscale": {"maxReplicas": 0}}))),
        case("at most 1001", version(json!({"autoscale": {"maxReplicas": 1001}}))),
        case("at least -1", version(json!({"autoscale": {"minReplicas": -1}}))),
        case(
            "at least 5 and at most 3",
            version(json!({"autoscale": {"minReplicas": 5, "maxReplicas": 3}})),
        ),
        case(
            "at least 11 and at most the default",
            version(json!({"autoscale": {"minReplicas": 11}})),
        ),
        case("a utilization of 0", version(json!({"autoscale": {"targetUtilization": 0}}))),
        case("a utilization of 101", version(json!({"autoscale": {"targetUtilization": 101}}))),
        case("a payload of 0", with(json!({"limits": {"maxPayload": 0}}))),
        case("a negative payload", with(json!({"limits": {"maxPayload": -1}}))),
        case("a payload above the limit", with(json!({"limits": {"maxPayload": 104_857_601}}))),
        case("a payload in no unit", with(json!({"limits": {"maxPayload": "lots"}}))),
    ]
}

fn texts() -> Vec<Case> {
    vec![
        case("a wait in no unit", version(json!({"maxQueueWait": "500"}))),
        case("a wait in words", version(json!({"maxQueueWait": "soon"}))),
        case("a wait above an hour", version(json!({"maxQueueWait": "61m"}))),
        case("a timeout of nothing", version(json!({"requestTimeout": "0s"}))),
        case("a timeout above 5 minutes", version(json!({"requestTimeout": "5m1s"}))),
        case("a stream that may not be silent", version(json!({"streamIdleTimeout": "0s"}))),
        case("a window above an hour", version(json!({"autoscale": {"scaleDownWindow": "2h"}}))),
        case("a probe every millisecond", version(json!({"probe": {"period": "1ms"}}))),
        case("a probe of two minutes", version(json!({"probe": {"timeout": "2m"}}))),
        case("two probes", version(json!({"probe": {"http": "/", "tcp": {}}}))),
        case("a probe without a slash", version(json!({"probe": {"http": "healthz"}}))),
        case("a path without a slash", version(json!({"scoringPath": "score"}))),
        case("a path that goes up", version(json!({"scoringPath": "/a/../b"}))),
        case("a path with an empty segment", version(json!({"scoringPath": "/a//b"}))),
        case("a path with an escaped slash", version(json!({"scoringPath": "/a%2fb"}))),
        case("a path with half an escape", version(json!({"scoringPath": "/a%2"}))),
        case("a path with a query", version(json!({"scoringPath": "/a?b=c"}))),
        case("a host with a port", with(json!({"hosts": ["shop.example:8080"]}))),
        case("a host with a scheme", with(json!({"hosts": ["http://shop.example"]}))),
        case("a host with a wildcard", with(json!({"hosts": ["*.example"]}))),
        case("an empty host", with(json!({"hosts": [""]}))),
        case("one host twice", with(json!({"hosts": ["a.example", "a.example"]}))),
        case(
            "65 hosts",
            with(json!({"hosts": (0..65).map(|i| format!("h{i}.example")).collect::<Vec<_>>()})),
        ),
    ]
}

fn targets() -> Vec<Case> {
    vec![
        case("a process in a cluster", target(&json!({"kind": "Process", "command": ["run"]}))),
        case("the kind of a process", target(&json!({"kind": "Process", "name": "one"}))),
        case("addresses in a cluster", target(&json!({"kind": "Addresses", "addresses": []}))),
        case("a pod as a target", target(&json!({"kind": "Pod", "name": "one"}))),
        case("a target without a name", target(&json!({"kind": "Deployment"}))),
        case("a target without a kind", target(&json!({"name": "one"}))),
        case("a target in capitals", target(&json!({"kind": "Deployment", "name": "Fraud"}))),
        case(
            "a field of another kind",
            target(&json!({"kind": "Deployment", "name": "one", "command": ["run"]})),
        ),
        case(
            "one target twice",
            two(json!({}), json!({"targetRef": {"kind": "Deployment", "name": "fraud-blue"}})),
        ),
    ]
}

fn others() -> Vec<Case> {
    let issuers = |count: usize| {
        let one = |n: usize| json!({"issuer": format!("https://{n}.example"), "audiences": ["a"]});
        let issuers: Vec<_> = (0..count).map(one).collect();
        with(json!({"auth": {"token": {"issuers": issuers}}}))
    };
    vec![
        case("sticky by nothing", with(json!({"stickyBy": {}}))),
        case("sticky by two fields", with(json!({"stickyBy": {"header": "a", "cookie": "b"}}))),
        case("a header with a space", with(json!({"stickyBy": {"header": "x user"}}))),
        case("an unknown profile", with(json!({"errorProfile": "azure"}))),
        case("an unknown mode", with(json!({"auth": {"mode": "key"}}))),
        case("a token of a second", with(json!({"auth": {"token": {"lifetime": "1s"}}}))),
        case("nine issuers", issuers(9)),
        case("an issuer over http", issuer(&json!({"issuer": "http://login.example"}))),
        case("an issuer that is no address", issuer(&json!({"issuer": "login.example"}))),
        case("an issuer with a query", issuer(&json!({"issuer": "https://login.example?a=b"}))),
        case("keys over http", issuer(&json!({"jwksUri": "http://127.0.0.1/keys"}))),
        case("keys behind a password", issuer(&json!({"jwksUri": "https://a:b@login.example/"}))),
        case("keys with a fragment", issuer(&json!({"jwksUri": "https://login.example/#keys"}))),
        case("a token for nobody", issuer(&json!({"audiences": []}))),
        case("a token for the empty audience", issuer(&json!({"audiences": [""]}))),
        case("no algorithm", issuer(&json!({"algorithms": []}))),
        case("no signature", issuer(&json!({"algorithms": ["none"]}))),
        case("a shared secret", issuer(&json!({"algorithms": ["HS256"]}))),
        case("a token for a year", issuer(&json!({"maxLifetime": "8760h"}))),
        case("a claim that is checked anyway", issuer(&json!({"requiredClaims": {"iss": "x"}}))),
        case("an empty claim", issuer(&json!({"requiredClaims": {"tid": ""}}))),
        case("a Secret without a name", with(json!({"auth": {"secretRef": {}}}))),
        case("a Secret in capitals", with(json!({"auth": {"secretRef": {"name": "Keys"}}}))),
        case(
            "two minds on credentials",
            with(json!({"forwardCredentials": true, "auth": {"forwardCredentials": false}})),
        ),
        case("an unknown field of the spec", with(json!({"versionz": []}))),
    ]
}

/// An endpoint with one good issuer, some of its fields replaced.
fn issuer(changes: &Value) -> Value {
    let mut one = json!({"issuer": "https://login.example", "audiences": ["a"]});
    for (field, value) in changes.as_object().expect("an object") {
        one[field] = value.clone();
    }
    with(json!({"auth": {"mode": "Token", "token": {"issuers": [one]}}}))
}

fn names() -> Vec<Case> {
    let named = |what, name| Case { what, name, spec: version(json!({})) };
    vec![
        named("an endpoint with a short name", "ab"),
        named("an endpoint with a long name", "a23456789-123456789-123456789-123"),
        named("an endpoint with a number for a name", "123"),
        named("an endpoint with a dot in its name", "fraud.v1"),
    ]
}

/// Every field that a cluster has, but what this release does not serve.
pub(crate) fn full() -> Value {
    json!({
        "auth": {
            "mode": "Token", "keys": true, "secretRef": {"name": "fraud-keys"}, "forwardCredentials": true,
            "token": {"lifetime": "12h", "issuers": [{
                "issuer": "https://login.example/", "audiences": ["api://fraud"],
                "jwksUri": "https://login.example/keys?v=1", "algorithms": ["RS256", "EdDSA"],
                "maxLifetime": "720h", "requiredClaims": {"tid": "us"}, "requiredScopes": ["score"],
            }]},
        },
        "limits": {"maxPayload": "10MiB"},
        "stickyBy": {"header": "X-User-Id"},
        "errorProfile": "managed",
        "hosts": ["Fraud.Example", "10.0.0.1", "[::1]", "_svc.a-b.example"],
        "serverTiming": true,
        "forwardCredentials": true,
        "versions": [
            {
                "name": "blue", "isDefault": false, "type": "Control", "trafficPercentile": 80,
                "mirrorPercentile": 0, "targetRef": {"kind": "Deployment", "name": "fraud-blue"},
                "port": 5005, "grpcPort": 5006, "probe": {"grpc": {}, "period": "3s", "timeout": "500ms"},
                "scoringPath": "/v1/score", "maxConcurrentRequestsPerReplica": 4,
                "maxQueueWait": "1m30s", "maxQueueLength": 7, "requestTimeout": "300s",
                "streamIdleTimeout": "1h", "onDisconnect": "cancel", "fallbackToDefault": true,
                "autoscale": {"enabled": true, "minReplicas": 1, "maxReplicas": 10, "targetUtilization": 70, "scaleDownWindow": "60s"},
            },
            {
                "name": "green", "isDefault": true, "trafficPercentile": 20, "replicas": 3,
                "targetRef": {"kind": "StatefulSet", "name": "fraud-blue"}, "autoscale": {"enabled": false},
            },
        ],
    })
}

fn case(what: &'static str, spec: Value) -> Case {
    Case { what, name: "fraud", spec }
}

/// One version with these fields.
fn version(fields: Value) -> Value {
    let base = json!({"name": "blue", "targetRef": {"kind": "Deployment", "name": "fraud-blue"}});
    json!({"versions": [merged(base, fields)]})
}

/// One version with this target.
fn target(target: &Value) -> Value {
    version(json!({"targetRef": target}))
}

/// Two versions with these fields.
fn two(blue: Value, green: Value) -> Value {
    let base = |name: &str| json!({"name": name, "targetRef": {"kind": "Deployment", "name": format!("fraud-{name}")}});
    json!({"versions": [merged(base("blue"), blue), merged(base("green"), green)]})
}

/// One plain version, and these fields of the spec.
fn with(fields: Value) -> Value {
    merged(version(json!({})), fields)
}

fn many(count: usize) -> Vec<Value> {
    let one = |i| json!({"name": format!("v-{i}"), "targetRef": {"kind": "Deployment", "name": format!("d-{i}")}});
    (0..count).map(one).collect()
}

fn merged(mut base: Value, fields: Value) -> Value {
    if let (Some(base), Value::Object(mut fields)) = (base.as_object_mut(), fields) {
        base.append(&mut fields);
    }
    base
}
