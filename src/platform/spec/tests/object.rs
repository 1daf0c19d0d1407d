//! Objects of the API server: the same rules, without lines.

use serde_json::{Value, json};

use super::*;

fn version(fields: &Value) -> Value {
    let mut version = json!({"name": "blue", "targetRef": {"kind": "Deployment", "name": "fraud"}});
    for (field, value) in fields.as_object().expect("fields") {
        version[field] = value.clone();
    }
    json!({"versions": [version]})
}

fn refused(spec: &Value) -> Vec<Problem> {
    load_object("models", "fraud", spec, Policy::CLUSTER).expect_err("it is bad")
}

#[test]
fn an_object_becomes_an_endpoint_with_its_secret_named_and_not_read() {
    let mut spec = version(&json!({"trafficPercentile": 30, "port": 5005}));
    spec["auth"] = json!({"secretRef": {"name": "fraud-keys"}});
    spec["hosts"] = json!(["Fraud.Example"]);
    let loaded = load_object("models", "fraud", &spec, Policy::CLUSTER).expect("it is good");
    assert_eq!(loaded.secret.as_deref(), Some("fraud-keys"));
    assert_eq!(loaded.endpoint.name.as_str(), "fraud");
    assert_eq!(loaded.endpoint.hosts, ["fraud.example".into()]);
    assert!(loaded.endpoint.auth.keys.is_empty());
    assert!(loaded.endpoint.versions[0].startable);
    assert_eq!(loaded.endpoint.versions[0].traffic_percentile, 30);
    assert_eq!(loaded.versions[0].port, 5005);
    let name = "fraud".to_owned();
    assert_eq!(loaded.versions[0].target, Target::Cluster { kind: "Deployment", name });
}

#[test]
fn problems_of_an_object_have_a_path_and_no_line() {
    let problems = refused(&version(&json!({"port": 0, "trafficPercentil": 1})));
    let said: Vec<_> = problems.iter().map(ToString::to_string).collect();
    let expected = [
        "models/fraud: spec.versions[0].trafficPercentil: unknown field; did you mean \
         `trafficPercentile`?",
        "models/fraud: spec.versions[0].port: 0 is not within 1 to 65535",
    ];
    assert_eq!(said, expected);
    assert!(problems.iter().all(|problem| problem.mark.is_none()));
    let blue = version(&json!({}))["versions"][0].clone();
    let twice = json!({"versions": [blue, blue]});
    let said = refused(&twice).iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    assert!(said.contains("version `blue` is defined twice, first at spec.versions[0].name"));
}

#[test]
fn objects_that_are_no_endpoints_are_refused_and_cheap() {
    for spec in [json!(null), json!(5), json!([]), json!("spec"), json!({})] {
        assert_eq!(refused(&spec).len(), 1, "{spec}");
    }
    let mut deep = json!(1);
    for _ in 0..100 {
        deep = json!([deep]);
    }
    let problems = refused(&json!({"hosts": deep}));
    assert!(problems[0].message.contains("nested deeper than 32 levels"), "{problems:#?}");
    let start = Instant::now();
    let many = vec![json!({"x": 1.5e300}); 20_000];
    assert_eq!(refused(&json!({"versions": many})).len(), PROBLEMS_MAX + 1);
    assert!(start.elapsed() < Duration::from_secs(10), "took {:?}", start.elapsed());
}

#[test]
fn issuers_and_their_claims_are_bounded() {
    let issuers = |count: usize, audiences: usize, length: usize| {
        let one = |i: usize| {
            let issuer = format!("{i}{}", "i".repeat(length - 1));
            let uri = "https://login.example/keys";
            json!({"issuer": issuer, "audiences": vec!["a"; audiences], "jwksUri": uri})
        };
        let mut spec = version(&json!({}));
        let issuers: Vec<_> = (0..count).map(one).collect();
        spec["auth"] = json!({"mode": "Token", "token": {"issuers": issuers}});
        spec
    };
    let (count, claims, length) = (limits::ISSUERS_MAX, limits::CLAIMS_MAX, limits::URI_LENGTH_MAX);
    let good = issuers(count, claims, length);
    assert!(load_object("models", "fraud", &good, Policy::CLUSTER).is_ok());
    let mut plain = issuers(1, 1, 1);
    plain["auth"]["token"]["issuers"][0]["jwksUri"] = json!("http://127.0.0.1/keys");
    for (spec, words) in [
        (plain, "must be https: whoever is on the way"),
        (issuers(count + 1, 1, 1), "9 issuers are given; at most 8"),
        (issuers(1, claims + 1, 1), "17 audiences are given; at most 16"),
        (issuers(1, 1, length + 1), "has 2049 bytes; at most 2048"),
    ] {
        let problems = refused(&spec);
        assert!(problems[0].message.contains(words), "{problems:#?}");
    }
}
