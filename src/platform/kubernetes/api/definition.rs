//! The definition of the kind, as `kubectl apply` wants it.

pub use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{CustomResource, CustomResourceExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{rules, schema, status::EndpointStatus};
use crate::platform::spec::types::Spec;

/// The name of the kind in paths of the API server.
pub const PLURAL: &str = "inferenceendpoints";

/// What is wanted of the endpoint.
// For the derive alone: objects are read by `platform::spec`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, CustomResource)]
#[serde(transparent)]
#[kube(
    group = "modelway.dev",
    version = "v1alpha1",
    kind = "InferenceEndpoint",
    plural = "inferenceendpoints",
    shortname = "iep",
    category = "inference",
    namespaced,
    status = "EndpointStatus",
    doc = "What a client addresses by name: an endpoint with up to six versions of a model behind it.",
    printcolumn = r#"{
        "name": "Ready",
        "type": "string",
        "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status",
        "description": "Whether requests can be answered"
    }"#,
    printcolumn = r#"{
        "name": "Reason",
        "type": "string",
        "jsonPath": ".status.conditions[?(@.type==\"Ready\")].reason",
        "description": "Why it is ready or not"
    }"#,
    printcolumn = r#"{
        "name": "Default",
        "type": "string",
        "jsonPath": ".status.defaultVersion",
        "description": "The version that takes what the percentiles leave to 100"
    }"#,
    printcolumn = r#"{
        "name": "Traffic",
        "type": "string",
        "jsonPath": ".status.effectiveTraffic",
        "description": "The shares of the versions, the default one's rest included"
    }"#,
    printcolumn = r#"{
        "name": "Replicas",
        "type": "string",
        "jsonPath": ".status.replicas",
        "description": "Ready and desired replicas of all versions"
    }"#,
    printcolumn = r#"{
        "name": "Age",
        "type": "date",
        "jsonPath": ".metadata.creationTimestamp"
    }"#,
    printcolumn = r#"{
        "name": "Auth",
        "type": "string",
        "jsonPath": ".spec.auth.mode",
        "description": "What a caller has to show",
        "priority": 1
    }"#,
    printcolumn = r#"{
        "name": "URI",
        "type": "string",
        "jsonPath": ".status.scoringUri",
        "description": "Where requests go",
        "priority": 1
    }"#,
    printcolumn = r#"{
        "name": "Message",
        "type": "string",
        "jsonPath": ".status.conditions[?(@.type==\"Ready\")].message",
        "description": "Why it is ready or not, in words",
        "priority": 1
    }"#
)]
struct ObjectSpec(Spec);

/// The definition of `InferenceEndpoint`, complete with schema and rules.
pub fn crd() -> CustomResourceDefinition {
    let derived = InferenceEndpoint::crd();
    let mut definition = serde_json::to_value(derived).expect("a definition is JSON");
    let root = definition
        .pointer_mut("/spec/versions/0/schema/openAPIV3Schema")
        .expect("the derived definition has one version with a schema");
    schema::make_structural(root);
    rules::add(root);
    serde_json::from_value(definition).expect("a definition with rules is a definition")
}
