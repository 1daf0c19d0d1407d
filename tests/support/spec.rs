//! Endpoint files for tests: JSON, which is YAML too, so that a test can change one field.

use std::path::Path;

use serde_json::{Value, json};

/// Where requests of these endpoints go.
pub(crate) const SCORE: &str = "/api/v1/endpoint/demo/score";

/// Endpoint `demo`, open to all, with these versions.
pub(crate) fn endpoint(versions: &[Value]) -> String {
    json!({
        "apiVersion": "modelway.dev/v1alpha1",
        "kind": "InferenceEndpoint",
        "metadata": {"name": "demo"},
        "spec": {"auth": {"mode": "None"}, "versions": versions},
    })
    .to_string()
}

/// A version whose replicas run this command, with further fields.
pub(crate) fn version(name: &str, command: &Value, fields: &Value) -> Value {
    let target = json!({"kind": "Process", "command": command});
    with(&json!({"name": name, "targetRef": target}), fields)
}

/// A version with so many replicas, always.
pub(crate) fn fixed(name: &str, command: &Value, replicas: u32, fields: &Value) -> Value {
    let count = json!({"autoscale": {"enabled": false}, "replicas": replicas});
    with(&version(name, command, &count), fields)
}

/// The same object with some fields replaced.
pub(crate) fn with(object: &Value, fields: &Value) -> Value {
    let mut all = object.as_object().expect("an object").clone();
    all.extend(fields.as_object().expect("an object").clone());
    all.into()
}

/// `modelway model` with a ledger and further flags.
pub(crate) fn model(ledger: &Path, flags: &[&str]) -> Value {
    let ledger = ledger.to_str().expect("a path of letters");
    let command =
        ["modelway", "model", "--port", "{port}", "--replica", "{replica}", "--ledger", ledger];
    json!(command.iter().chain(flags).collect::<Vec<_>>())
}
