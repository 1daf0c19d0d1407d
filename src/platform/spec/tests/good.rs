//! Good endpoints, and what becomes of them; several problems and several files at once.

use super::*;
use crate::domain::{Algorithm, ErrorProfile, MAX_PAYLOAD_BYTES};

/// Every field, as the design shows it, with what this release serves.
pub(super) const FULL: &str = r#"
apiVersion: modelway.dev/v1alpha1
kind: InferenceEndpoint
metadata: {name: fraud, namespace: models, labels: {team: risk}, resourceVersion: "7"}
spec:
  auth:
    mode: Key
    secretRef: {name: fraud-keys}
    token:
      issuers: [{issuer: https://login.example/, audiences: [api://fraud], jwksUri: https://login.example/keys, algorithms: [RS256]}]
      lifetime: 12h
  limits: {maxPayload: 10MiB}
  stickyBy: {header: X-User-Id}
  errorProfile: managed
  hosts: [Fraud.Example, "10.0.0.1"]
  serverTiming: true
  forwardCredentials: true
  versions:
    - name: blue
      isDefault: false
      type: Control
      trafficPercentile: 80
      mirrorPercentile: 0
      targetRef: {kind: Addresses, addresses: ["127.0.0.1:6001", model, "[::1]:7", "::2"]}
      port: 5005
      grpcPort: 0
      probe: {grpc: {}, period: 3s, timeout: 500ms}
      scoringPath: /v1/score
      maxConcurrentRequestsPerReplica: 4
      maxQueueWait: 1m30s
      maxQueueLength: 0
      requestTimeout: 300s
      streamIdleTimeout: 1h
      onDisconnect: cancel
      fallbackToDefault: true
      autoscale: {enabled: true, minReplicas: 1, maxReplicas: 10, targetUtilization: 70, scaleDownWindow: 60s}
    - name: green
      isDefault: true
      trafficPercentile: 20
      grpcPort: 5002
      maxQueueLength: 7
      replicas: 3
      autoscale: {enabled: false, minReplicas: 0}
      targetRef:
        kind: Process
        command: [azmlinfsrv, --entry_script, score.py, --port, "{port}"]
        env: {MODEL_DIR: ./model}
        workingDir: server
        startDeadline: 20m
        stopGrace: 0
status:
  observedGeneration: 3
  conditions: []
  scoringUri: …
---
apiVersion: v1
kind: Secret
metadata: {name: fraud-keys, namespace: models}
type: Opaque
data: {primaryKey: b3ZlcnJpZGRlbg==, secondaryKey: c2Vjb25k}
stringData: {primaryKey: first}
"#;

fn digest(key: &str) -> KeyDigest {
    KeyDigest(Sha256::digest(key).into())
}

#[test]
fn every_field_of_the_full_example_arrives() {
    let loaded = load(&[(PathBuf::from("conf/fraud.yaml"), FULL.to_owned())], Policy::FILES);
    let loaded = loaded.unwrap_or_else(|problems| panic!("{problems:#?}"));
    let [spec] = loaded.endpoints.as_slice() else { panic!("one endpoint") };
    let endpoint = &spec.endpoint;
    assert_eq!(endpoint.name.as_str(), "fraud");
    assert_eq!(endpoint.auth.mode, AuthMode::Key);
    assert_eq!(endpoint.auth.keys, [digest("first"), digest("second")]);
    assert!(endpoint.forward_credentials && endpoint.server_timing);
    assert_eq!(endpoint.max_payload_bytes, 10 * 1024 * 1024);
    assert_eq!(endpoint.sticky_by, Some(StickyBy::Header("x-user-id".into())));
    assert_eq!(endpoint.error_profile, ErrorProfile::Managed);
    assert_eq!(endpoint.hosts, ["fraud.example".into(), "10.0.0.1".into()]);
    assert_eq!(endpoint.default_version, 1);
    let [blue, green] = endpoint.versions.as_slice() else { panic!("two versions") };
    assert_eq!(blue.kind, VersionKind::Control);
    assert_eq!((blue.traffic_percentile, green.traffic_percentile), (80, 20));
    assert_eq!(&*blue.scoring_path, "/v1/score");
    assert_eq!(blue.slots_per_replica, 4);
    assert_eq!(blue.max_queue_wait, Duration::from_secs(90));
    assert_eq!((blue.max_queue_length, green.max_queue_length), (None, Some(7)));
    assert_eq!(blue.request_timeout, Duration::from_secs(300));
    assert_eq!(blue.stream_idle_timeout, Duration::from_secs(3600));
    assert_eq!(blue.on_disconnect, Some(OnDisconnect::Cancel));
    assert!(blue.fallback_to_default && !blue.startable && !blue.autoscale.enabled);
    assert!(green.startable && !green.autoscale.enabled);
    assert_eq!(green.autoscale.min_replicas, 0);
    let [blue, green] = spec.versions.as_slice() else { panic!("two versions") };
    assert_eq!((blue.port, blue.grpc_port, green.grpc_port), (5005, None, Some(5002)));
    assert_eq!(blue.probe.kind, ProbeKind::Grpc);
    let address = |host: &str, port| Address { host: host.to_owned(), port };
    let addresses = vec![
        address("127.0.0.1", 6001),
        address("model", 5005),
        address("::1", 7),
        address("::2", 5005),
    ];
    assert_eq!(blue.target, Target::Addresses(addresses));
    let Target::Process(process) = &green.target else { panic!("a process") };
    assert_eq!(process.working_dir, PathBuf::from("conf/server"));
    assert_eq!(process.start_deadline, Duration::from_secs(1200));
    assert_eq!(process.stop_grace, Duration::ZERO);
    assert_eq!(process.env.get("MODEL_DIR").map(String::as_str), Some("./model"));
    assert_eq!((green.replicas, process.command.len()), (Some(3), 5));
}

#[test]
fn a_minimal_endpoint_gets_the_defaults_of_the_contract() {
    let loaded = good(&format!(
        "{HEAD}spec: {{versions: [{{name: blue, targetRef: {{kind: Process, command: [run, \"{{port}}\"]}}}}]}}"
    ));
    assert_eq!(loaded.warnings, []);
    let spec = &loaded.endpoints[0];
    assert_eq!(spec.endpoint.auth.mode, AuthMode::Key);
    assert_eq!(spec.endpoint.auth.keys, []);
    assert_eq!(spec.endpoint.max_payload_bytes, MAX_PAYLOAD_BYTES);
    assert_eq!(spec.endpoint.error_profile, ErrorProfile::Kubernetes);
    let version = &spec.endpoint.versions[0];
    assert_eq!(version.kind, VersionKind::Treatment);
    assert_eq!(&*version.scoring_path, "/score");
    assert_eq!((version.slots_per_replica, version.max_queue_length), (1, None));
    assert_eq!(version.max_queue_wait, Duration::from_millis(500));
    assert_eq!(version.request_timeout, Duration::from_secs(60));
    assert_eq!(version.stream_idle_timeout, Duration::from_secs(300));
    assert_eq!(version.on_disconnect, None);
    let autoscale = version.autoscale;
    assert!(autoscale.enabled);
    assert_eq!((autoscale.min_replicas, autoscale.max_replicas), (1, 10));
    assert_eq!(autoscale.target_utilization, 70);
    assert_eq!(autoscale.scale_down_window, Duration::from_secs(60));
    let version = &spec.versions[0];
    assert_eq!((version.port, version.grpc_port, version.replicas), (5001, None, None));
    assert_eq!(version.probe.kind, ProbeKind::Http("/".to_owned()));
    let Target::Process(process) = &version.target else { panic!("a process") };
    assert_eq!(process.working_dir, PathBuf::from("."));
}

#[test]
fn the_shipped_example_is_good_and_without_warnings() {
    let loaded = good(include_str!("../../../../deploy/examples/demo.yaml"));
    assert_eq!(loaded.warnings, []);
    assert_eq!(loaded.endpoints[0].endpoint.name.as_str(), "demo");
}

#[test]
fn anchors_empty_fields_and_windows_line_ends_are_understood() {
    let text = format!(
        "\u{feff}# a comment\n---\n{HEAD}spec:\n  hosts:\n  limits:\n  versions:\n    - name: blue\n      \
         autoscale: &scale {{maxReplicas: 3}}\n      targetRef: &target {{kind: Addresses, addresses: }}\n    \
         - name: green\n      autoscale: *scale\n      probe: {{tcp: }}\n      targetRef: *target\n---\n"
    );
    for text in [text.clone(), text.replace('\n', "\r\n")] {
        let loaded = good(&text);
        let spec = &loaded.endpoints[0];
        assert_eq!(spec.endpoint.versions[1].autoscale.max_replicas, 3);
        assert_eq!(spec.versions[1].probe.kind, ProbeKind::Tcp);
        assert_eq!(spec.versions[1].target, Target::Addresses(Vec::new()));
    }
}

#[test]
fn shares_below_100_and_fields_without_effect_are_warnings() {
    let text = format!(
        "{HEAD}spec:
  auth: {{mode: None, secretRef: {{name: keys}}}}
  versions:
    - {{name: blue, replicas: 2, targetRef: {{kind: Process, command: [run]}}}}
    - {{name: green, trafficPercentile: 30, targetRef: {{kind: Addresses, addresses: [a]}}}}
---
{{apiVersion: v1, kind: Secret, metadata: {{name: keys}}, stringData: {{primaryKey: abc, secondaryKey: abc}}}}
---
{HEAD}spec:
  versions:
    - {{name: blue, targetRef: {{kind: Addresses, addresses: [a]}}}}
"
    );
    let (first, second) = text.split_at(text.rfind("apiVersion").expect("a last document"));
    let loaded = good(&format!("{first}{}", second.replace("name: demo", "name: other")));
    let said: Vec<_> = loaded.warnings.iter().map(ToString::to_string).collect();
    let expected = [
        "0.yaml:5:33: spec.auth.secretRef: has no effect: with `auth.mode: None`",
        "0.yaml:7:5: spec.versions: the percentiles add up to 30; the remaining 70 % go to the \
         default version `blue`",
        "0.yaml:7:30: spec.versions[0].replicas: has no effect while `autoscale.enabled` is true",
        "0.yaml:7:69: spec.versions[0].targetRef.command: neither command nor env holds `{port}`",
        "0.yaml:10:100: stringData.secondaryKey: is the same as `primaryKey`",
        "0.yaml:17:61: spec.versions[0].targetRef.addresses[0]: a port 5001 is also a replica of \
         endpoint `demo`",
    ];
    assert_eq!(said.len(), expected.len(), "{said:#?}");
    for (said, expected) in said.iter().zip(expected) {
        assert!(said.starts_with(expected), "{said}\nexpected {expected}");
    }
    assert!(loaded.endpoints[0].endpoint.auth.keys.is_empty());
}

#[test]
fn all_problems_of_all_files_are_reported_at_once_in_order() {
    let first = format!(
        "{HEAD}spec:
  hostz: []
  errorProfile: azure
  versions:
    - trafficPercentile: 200
      requestTimeout: 10m
      targetRef: {{kind: Process}}
    - name: Green
      portt: 1
      mirrorPercentile: lots
      targetRef: {{addresses: 5}}
    - 17
    - name: green
      autoscale: {{minReplicas: 5, maxReplicas: 3}}
      targetRef: {{kind: StatefulSet}}
---
kind: InferenceEndpoint
metadata: {{name: demo}}
"
    );
    let second =
        "kind: Secret\napiVersion: v2\nmetadata: {name: keys}\ndata: {primaryKey: '*'}\n---\na: [";
    let said = problems(&[&first, second, ""]).join("\n");
    let expected = "\
0.yaml:5:3: spec.hostz: unknown field; did you mean `hosts`?
0.yaml:6:17: spec.errorProfile: `azure` is not known; use one of `kubernetes`, `managed`
0.yaml:8:7: spec.versions[0].name: is required; add it
0.yaml:8:26: spec.versions[0].trafficPercentile: 200 is not within 0 to 100 percent
0.yaml:9:23: spec.versions[0].requestTimeout: 10m is too long; at most 5m is allowed
0.yaml:10:18: spec.versions[0].targetRef.command: is required and not empty; list program and arguments
0.yaml:11:13: spec.versions[1].name: name \"Green\" must be 3 to 32 characters of a-z, 0-9 and '-', start with a letter and not end with '-'
0.yaml:12:7: spec.versions[1].portt: unknown field; did you mean `port`?
0.yaml:13:25: spec.versions[1].mirrorPercentile: must be an integer, not a text
0.yaml:14:18: spec.versions[1].targetRef.kind: is required; add it
0.yaml:14:30: spec.versions[1].targetRef.addresses: must be a list, not an integer
0.yaml:15:7: spec.versions[2]: must be a mapping, not an integer
0.yaml:17:32: spec.versions[3].autoscale.minReplicas: 5 is above `maxReplicas`, which is 3; lower it or raise `maxReplicas`
0.yaml:18:25: spec.versions[3].targetRef.kind: `StatefulSet` works only in a cluster; use `Process` or `Addresses` in a file
0.yaml:20:1: apiVersion: is required; add it
0.yaml:20:1: spec: is required; add it
0.yaml:21:18: metadata.name: endpoint `demo` is defined twice, first at 0.yaml:3:18; names are unique per router, also across namespaces: rename or remove one
1.yaml:2:13: apiVersion: `v2` is not known for this kind; use `v1`
1.yaml:4:20: data.primaryKey: is not base64; encode it, or write it plainly in `stringData`
1.yaml:7:1: invalid YAML: while parsing a node, did not find expected node content
2.yaml: holds no InferenceEndpoint; add one, or remove the file from the command";
    assert_eq!(said, expected);
}

#[test]
fn the_same_name_host_or_secret_in_two_files_names_both_places() {
    let endpoint = |name: &str| {
        format!(
            "{}spec: {{hosts: [a.example], versions: [{{name: blue, targetRef: {{kind: Addresses, addresses: []}}}}]}}\n",
            HEAD.replace("demo", name)
        )
    };
    let secret = "---\n{apiVersion: v1, kind: Secret, metadata: {name: keys}}\n";
    let said = problems(&[
        &format!("{}{secret}", endpoint("demo")),
        &format!("{}{secret}", endpoint("demo")),
        &endpoint("other"),
    ]);
    let starts = [
        "1.yaml:3:18: metadata.name: endpoint `demo` is defined twice, first at 0.yaml:3:18;",
        "1.yaml:4:16: spec.hosts[0]: host `a.example` belongs to endpoint `demo` already, at 0.yaml:4:16;",
        "1.yaml:6:49: metadata.name: Secret `keys` is defined twice, first at 0.yaml:6:49;",
        "2.yaml:4:16: spec.hosts[0]: host `a.example` belongs to endpoint `demo` already, at 0.yaml:4:16;",
    ];
    assert_eq!(said.len(), starts.len(), "{said:#?}");
    for (said, start) in said.iter().zip(starts) {
        assert!(said.starts_with(start), "{said}\nexpected {start}");
    }
}

#[test]
fn a_file_of_secrets_beside_a_file_of_endpoints_is_fine_but_not_alone() {
    let endpoint = format!(
        "{HEAD}spec: {{auth: {{secretRef: {{name: keys}}}}, versions: [{{name: blue, targetRef: {{kind: Addresses, addresses: []}}}}]}}\n"
    );
    let secret =
        "{apiVersion: v1, kind: Secret, metadata: {name: keys}, stringData: {primaryKey: a}}";
    let loaded = load_texts(&[secret, &endpoint], Policy::FILES).expect("both are good");
    assert_eq!(loaded.endpoints[0].endpoint.auth.keys, [digest("a")]);
    for alone in [secret, "", "# nothing\n---\n---\n"] {
        assert!(problems(&[alone])[0].starts_with("0.yaml: holds no InferenceEndpoint"));
    }
}

#[test]
fn the_policy_decides_about_clusters_mirrors_and_payloads() {
    let version = |rest: &str| format!("{{name: blue, {rest}}}");
    let text = |versions: &[String]| {
        format!(
            "{HEAD}spec: {{auth: {{mode: Token, secretRef: {{name: keys}}}}, versions: [{}]}}",
            versions.join(", ")
        )
    };
    let deployment =
        version("mirrorPercentile: 10, targetRef: {kind: Deployment, name: fraud-blue}");
    let policy = Policy { mirror: true, ..Policy::ANY };
    let loaded =
        load_texts(&[&text(std::slice::from_ref(&deployment))], policy).expect("good in a cluster");
    let spec = &loaded.endpoints[0];
    assert_eq!(spec.endpoint.auth.mode, AuthMode::Token);
    assert_eq!(spec.endpoint.versions[0].mirror_percentile, 10);
    let name = "fraud-blue".to_owned();
    assert_eq!(spec.versions[0].target, Target::Cluster { kind: "Deployment", name });

    let bad = |text: &str| {
        let problems = load_texts(&[text], policy).expect_err("bad");
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let live = deployment.replace("blue, ", "blue, trafficPercentile: 5, ");
    assert!(bad(&text(&[live])).contains("10 is only allowed with `trafficPercentile: 0`"));
    let process = version("targetRef: {kind: Process, command: [a]}").replace("blue", "green");
    assert!(bad(&text(&[deployment.clone(), process])).contains("no router serves both"));
    assert!(
        bad(&text(&[deployment.replace("fraud-blue", "Fraud")])).contains("not a name of a Dep")
    );
    assert!(
        bad(&text(&[deployment.replace(", name: fraud-blue", "")])).contains("name the Deployment")
    );

    let small = Policy { max_payload_bytes: 1000, ..Policy::FILES };
    let text = |size: &str| {
        format!(
            "{HEAD}spec: {{limits: {{maxPayload: {size}}}, versions: [{{name: blue, targetRef: {{kind: Addresses, addresses: []}}}}]}}"
        )
    };
    assert!(load_texts(&[&text("1kB")], small).is_ok());
    assert!(load_texts(&[&text("1001")], small).is_err());
}

#[test]
fn files_that_cannot_be_read_are_problems_without_a_position() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("latin.yaml"), b"a: \xe4").expect("written");
    std::fs::write(path("large.yaml"), vec![b'#'; FILE_BYTES_MAX + 1]).expect("written");
    let files =
        [path("missing.yaml"), folder.path().to_owned(), path("latin.yaml"), path("large.yaml")];
    let problems = load_files(&files, Policy::FILES).expect_err("all are bad");
    let words = ["cannot be read", "is a folder", "not UTF-8 text (byte 3)", "larger than 1048576"];
    assert_eq!(problems.len(), words.len(), "{problems:#?}");
    for ((problem, file), words) in problems.iter().zip(&files).zip(words) {
        assert_eq!((&problem.file, problem.mark), (file, None));
        assert!(problem.message.contains(words), "{problem}");
    }
    assert_eq!(load_files(&[], Policy::FILES).expect_err("no file").len(), 1);
}

#[test]
fn a_policy_of_tokens_is_complete() {
    let load_one = |auth: &str| {
        let text = format!(
            "{HEAD}spec:\n  auth: {auth}\n  versions: [{{name: blue, targetRef: {{kind: Addresses, addresses: []}}}}]\n"
        );
        load_texts(&[&text], Policy::FILES).unwrap_or_else(|problems| panic!("{problems:#?}"))
    };
    let plain = load_one("{mode: Token}");
    let spec = &plain.endpoints[0];
    let policy = spec.endpoint.auth.token.as_ref().expect("there is a policy");
    assert_eq!((policy.lifetime, policy.issuers.len()), (Duration::from_secs(12 * 3600), 0));
    assert!(!spec.takes_keys && plain.warnings.is_empty(), "{:?}", plain.warnings);
    let full = load_one(
        "{mode: Token, keys: true, token: {issuers: [{issuer: \"http://localhost:8081/\", audiences: [a]}, \
         {issuer: accounts.example, audiences: [a, b], jwksUri: \"https://accounts.example/k?v=1\", \
         algorithms: [ES256, EdDSA], maxLifetime: 1h, requiredClaims: {tid: t}, requiredScopes: [score]}]}}",
    );
    let spec = &full.endpoints[0];
    let policy = spec.endpoint.auth.token.as_ref().expect("there is a policy");
    assert!(spec.takes_keys);
    let [first, second] = policy.issuers.as_slice() else { panic!("two issuers") };
    assert_eq!(
        (first.algorithms.as_slice(), first.jwks_uri.as_deref()),
        ([Algorithm::RS256].as_slice(), None)
    );
    assert_eq!(first.max_lifetime, Duration::from_secs(24 * 3600));
    assert_eq!(second.issuer, "accounts.example");
    assert_eq!(second.algorithms, [Algorithm::ES256, Algorithm::EdDSA]);
    assert_eq!(second.max_lifetime, Duration::from_secs(3600));
    assert_eq!(second.required_claims.get("tid").map(String::as_str), Some("t"));
    assert_eq!(second.required_scopes, ["score"]);
    let key = load_one("{mode: Key, keys: true, token: {lifetime: 1h}}");
    assert!(key.endpoints[0].endpoint.auth.token.is_none());
    assert_eq!(key.warnings.len(), 2, "{:?}", key.warnings);
}
