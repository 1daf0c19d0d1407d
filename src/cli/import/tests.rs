//! Files as they are in repositories of Azure users, and what becomes of them.

use expect_test::{Expect, expect, expect_file};

use super::*;
use crate::platform::spec::{Loaded, Target};

const ENDPOINT: &str = "\
$schema: https://azuremlschemas.azureedge.net/latest/kubernetesOnlineEndpoint.schema.json
name: Fraud
compute: azureml:inference-cluster
auth_mode: Key
identity: {type: system_assigned}
tags: {team: risk}
traffic: {blue: 10, green: 90, gone: 0}
mirror_traffic: {blue: 5}
publicNetworkAccess: enabled
";

const BLUE: &str = "\
$schema: https://azuremlschemas.azureedge.net/latest/kubernetesOnlineDeployment.schema.json
name: blue
type: kubernetes
endpoint_name: fraud
app_insights_enabled: true
model:
  path: ../models/blue
code_configuration: {code: ../src, scoring_script: score.py}
environment:
  conda_file: ../environment/conda.yml
  image: registry.example/inference:1
environment_variables: {WORKERS: \"2\"}
instance_type: defaultinstancetype
instance_count: 2
scale_settings:
  type: default
request_settings:
  request_timeout_ms: 3000
  max_concurrent_requests_per_instance: 4
  max_queue_wait_ms: 1500
liveness_probe: {initial_delay: 5, period: 5, timeout: 10, success_threshold: 1, failure_threshold: 1}
readiness_probe: {initial_delay: 5, period: 5, timeout: 10, success_threshold: 1, failure_threshold: 1}
resources:
  requests: {cpu: \"0.1\", memory: 0.1Gi}
  limits: {cpu: \"0.2\", memory: 200Mi, nvidia.com/gpu: 1}
";

const GREEN: &str = "\
name: green
endpoint_name: fraud
model: azureml:fraud:2
environment:
  image: registry.example/triton:1
  inference_config:
    liveness_route: {port: 8000, path: /v2/health/live}
    readiness_route: {port: 8000, path: /v2/health/ready}
    scoring_route: {port: 8000, path: /v2/models/fraud/infer}
scale_settings:
  type: target_utilization
  min_instances: 1
  max_instances: 3
  polling_interval: 10
  target_utilization_percentage: 60
request_settings:
  request_timeout_ms: 600000
";

/// Imports texts as the files `0.yml`, `1.yml`…
fn import(texts: &[&str]) -> (String, String) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = |(i, text): (usize, &&str)| {
        let path = folder.path().join(format!("{i}.yml"));
        std::fs::write(&path, text).expect("written");
        path
    };
    let files: Vec<_> = texts.iter().enumerate().map(file).collect();
    let (page, notes) = imported(&files);
    let notes = notes.join("\n") + "\n";
    (page, notes.replace(&format!("{}/", folder.path().display()), ""))
}

fn loaded(page: &str) -> Loaded {
    load(&[(PathBuf::from("fraud.yaml"), page.to_owned())], Policy::ANY).expect("it is good")
}

/// Nothing comes out, and these are the notes.
fn refused(texts: &[&str], expected: &Expect) {
    let (page, notes) = import(texts);
    assert_eq!(page, "");
    expected.assert_eq(&notes);
}

#[test]
fn an_endpoint_and_its_deployments_become_one_endpoint() {
    let (page, notes) = import(&[ENDPOINT, BLUE, GREEN]);
    expect_file!["./testdata/fraud.yaml"].assert_eq(&page);
    expect_file!["./testdata/fraud.notes.txt"].assert_eq(&notes);
    let loaded = loaded(&page);
    let [spec] = loaded.endpoints.as_slice() else { panic!("one endpoint") };
    assert_eq!(spec.endpoint.default_version, 1);
    let shares: Vec<_> = spec.endpoint.versions.iter().map(|v| v.traffic_percentile).collect();
    assert_eq!(shares, [10, 90]);
    let target = Target::Cluster { kind: "Deployment", name: "green-fraud".to_owned() };
    assert_eq!(spec.versions[1].target, target);
    // The same in one file, in any order.
    let joined = format!("{BLUE}---\n{GREEN}---\n{ENDPOINT}");
    assert_eq!(import(&[&joined]).0, page);
}

#[test]
fn a_deployment_alone_gets_what_azure_assumes() {
    let (page, notes) = import(&["name: blue\nendpoint_name: fraud\nmodel: azureml:fraud:1\n"]);
    expect![[r#"
        apiVersion: modelway.dev/v1alpha1
        kind: InferenceEndpoint
        metadata:
          name: fraud
        spec:
          auth:
            mode: Key
          versions:
            - name: blue
              targetRef:
                kind: Deployment
                name: blue-fraud
              autoscale:
                maxReplicas: 1
                minReplicas: 1
              requestTimeout: "5s"
    "#]]
    .assert_eq(&page);
    expect![[r"
        0.yml: request_settings.request_timeout_ms: is not given; Azure's default of 5000 ms is written out
        0.yml: scale_settings.max_instances: is not given; Azure's default of 1 is written out
        0.yml: model: has no counterpart here; it belongs to the pods of the Deployment
        endpoint fraud: its document is not in the files; mode Key and no traffic are assumed
        endpoint fraud: blue becomes the default version: no deployment has traffic, and all of it goes there
        0.yml: name: blue-fraud is written as the name of the Deployment, as the Azure ML extension calls it; change targetRef.name if yours is called otherwise
    "]]
    .assert_eq(&notes);
    loaded(&page);
}

#[test]
fn several_endpoints_come_out_as_several_documents_and_a_bad_one_is_left_out() {
    let named = |name: &str| format!("name: blue\nendpoint_name: {name}\nmodel: a\n");
    let (page, notes) = import(&[&named("fraud"), &named("<ENDPOINT_NAME>"), &named("prices")]);
    let loaded = loaded(&page);
    let names: Vec<_> = loaded.endpoints.iter().map(|e| e.endpoint.name.as_str()).collect();
    assert_eq!(names, ["fraud", "prices"]);
    assert!(notes.contains("metadata.name: name \"<endpoint_name>\" must be 3 to 32"), "{notes}");
    assert!(notes.contains("endpoint <endpoint_name>: left out"), "{notes}");
}

#[test]
fn tokens_and_wrong_values_are_said_and_do_not_stop_the_rest() {
    let endpoint = "name: fraud\nauth_mode: aml_token\ntraffic: {blue: 101}\n";
    let blue = "name: blue\nmodel: a\nscale_settings: {type: cpu, min_instances: 3, max_instances: two}\n\
                request_settings: fast\nliveness_probes: {}\nenvironment: azureml:env:1\ntype: managed\n";
    let (page, notes) = import(&[endpoint, blue]);
    expect![[r#"
        0.yml: auth_mode: the router issues the tokens itself: get one with modelway token, or from the admin API
        0.yml: traffic.blue: 101 is not within 0 to 100; 100 is written instead
        1.yml: type: managed is read as kubernetes
        1.yml: request_settings: must be a mapping, not "fast"; left out
        1.yml: request_settings.request_timeout_ms: is not given; Azure's default of 5000 ms is written out
        1.yml: scale_settings.type: is neither default nor target_utilization; left out
        1.yml: scale_settings.max_instances: must be an integer, not "two"; left out
        1.yml: scale_settings.max_instances: is not given; Azure's default of 1 is written out
        1.yml: scale_settings.min_instances: 3 is above max_instances; 1 is written instead
        1.yml: environment: has no counterpart here; it belongs to the pods of the Deployment
        1.yml: liveness_probes: unknown field; left out
        1.yml: model: has no counterpart here; it belongs to the pods of the Deployment
        endpoint fraud: blue becomes the default version: it has the most traffic, and takes what is missing to 100
        1.yml: name: blue-fraud is written as the name of the Deployment, as the Azure ML extension calls it; change targetRef.name if yours is called otherwise
    "#]]
    .assert_eq(&notes);
    assert_eq!(loaded(&page).endpoints[0].endpoint.versions[0].traffic_percentile, 100);
}

#[test]
fn what_is_not_usable_comes_out_as_nothing_with_the_reasons() {
    refused(
        &[
            "",
            "- a\n",
            "a: [\n",
            "model: a\n",
            "name: blue\nmodel: a\n",
            "name: alone\n",
            "name: other\n",
        ],
        &expect![[r"
            0.yml: holds no document
            1.yml: must be a mapping; left out
            2.yml:2:1: invalid YAML: while parsing a node, did not find expected node content
            3.yml: name: is required; the document is left out
            4.yml: request_settings.request_timeout_ms: is not given; Azure's default of 5000 ms is written out
            4.yml: scale_settings.max_instances: is not given; Azure's default of 1 is written out
            4.yml: model: has no counterpart here; it belongs to the pods of the Deployment
            5.yml: auth_mode: new keys are made; to keep the old ones, put them into a Secret as primaryKey and secondaryKey and name it in spec.auth.secretRef
            6.yml: auth_mode: new keys are made; to keep the old ones, put them into a Secret as primaryKey and secondaryKey and name it in spec.auth.secretRef
            4.yml: endpoint_name: is required where the files do not hold exactly one endpoint; the deployment is left out
            5.yml: no deployment of it is in the files; left out
            6.yml: no deployment of it is in the files; left out
            nothing usable came out
        "]],
    );
}
