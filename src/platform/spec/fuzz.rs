//! Fuzz target: endpoint files. What is accepted is written again and has to mean the same.

use std::path::PathBuf;

use serde_json::{Value as Json, json};

use super::{
    EndpointSpec, PROBLEMS_MAX, Policy, Problem,
    decode::decode,
    load, load_object,
    tree::{self, Node},
    types,
};

/// Longer than any message and shorter than any input that could make one longer.
const MESSAGE_BYTES_MAX: usize = 4096;
/// The folder of the file is also the namespace of its objects, so that both ways to read an
/// endpoint mean the same folder.
const FILE: &str = "default/file.yaml";
const NAMESPACE: &str = "default";

/// Everything the grammar knows, so that nothing is refused for being out of place.
fn policies() -> [Policy; 2] {
    let everything = Policy { mirror: true, ..Policy::ANY };
    [everything, Policy::FILES]
}

/// Three oracles: a refusal has bounded words; an accepted text, written again from what was read,
/// is accepted and means the same; and each endpoint without a Secret means the same as an object
/// of the API server.
pub fn endpoints(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for policy in policies() {
        match load_text(text, policy) {
            Err(problems) => check_words(&problems),
            Ok(endpoints) => {
                let written = rewritten(text);
                let again = load_text(&written, policy)
                    .map_err(|problems| format!("{problems:#?}\n{written}"))
                    .expect("what is accepted is accepted when it is written again");
                assert_eq!(meaning(&endpoints), meaning(&again), "{written}");
                for endpoint in &endpoints {
                    check_object(text, endpoint, policy);
                }
            }
        }
    }
}

fn load_text(text: &str, policy: Policy) -> Result<Vec<EndpointSpec>, Vec<Problem>> {
    load(&[(PathBuf::from(FILE), text.to_owned())], policy).map(|loaded| loaded.endpoints)
}

fn check_words(problems: &[Problem]) {
    assert!(!problems.is_empty() && problems.len() <= PROBLEMS_MAX + 1, "{}", problems.len());
    for problem in problems {
        let words = problem.to_string();
        assert!(words.len() < MESSAGE_BYTES_MAX, "{} bytes of words: {words}", words.len());
    }
}

/// All fields, and the digests of keys, which `Debug` does not show.
fn meaning(endpoints: &[EndpointSpec]) -> Vec<(String, Vec<[u8; 32]>)> {
    let one = |spec: &EndpointSpec| {
        let keys = spec.endpoint.auth.keys.iter().map(|digest| digest.0).collect();
        (format!("{spec:?}"), keys)
    };
    endpoints.iter().map(one).collect()
}

/// The documents of an accepted text as JSON, made from the types they were read into.
fn rewritten(text: &str) -> String {
    let documents = tree::parse(text).documents;
    let written = documents.iter().filter_map(|root| endpoint(root).or_else(|| secret(root)));
    written.flat_map(|json| [json.to_string(), "\n---\n".to_owned()]).collect()
}

fn kind(root: &Node) -> Option<&str> {
    root.get("kind")?.text()
}

fn endpoint(root: &Node) -> Option<Json> {
    if kind(root) != Some(types::KIND) {
        return None;
    }
    let raw: types::InferenceEndpoint = decode(root).value?;
    Some(json!({
        "apiVersion": raw.api_version,
        "kind": raw.kind,
        "metadata": metadata(&raw.metadata),
        "spec": without_nulls(serde_json::to_value(raw.spec).expect("a spec is JSON")),
    }))
}

fn secret(root: &Node) -> Option<Json> {
    let raw: types::Secret = decode(root).value.filter(|_| kind(root) == Some("Secret"))?;
    let texts = |map: &std::collections::BTreeMap<String, types::SecretText>| -> Json {
        map.iter().map(|(key, text)| (key.clone(), Json::from(text.0.as_str()))).collect()
    };
    Some(json!({
        "apiVersion": raw.api_version,
        "kind": raw.kind,
        "metadata": metadata(&raw.metadata),
        "data": texts(&raw.data),
        "stringData": texts(&raw.string_data),
    }))
}

fn metadata(raw: &types::Metadata) -> Json {
    match &raw.namespace {
        Some(namespace) => json!({"name": raw.name, "namespace": namespace}),
        None => json!({"name": raw.name}),
    }
}

/// The API server drops fields that are null; a file may leave them out.
fn without_nulls(json: Json) -> Json {
    match json {
        Json::Object(fields) => fields
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name, without_nulls(value)))
            .collect(),
        Json::Array(items) => items.into_iter().map(without_nulls).collect(),
        other => other,
    }
}

/// The same endpoint from the API server. Its keys would come by another way, so only those
/// without a Secret are compared.
fn check_object(text: &str, expected: &EndpointSpec, policy: Policy) {
    let name = expected.endpoint.name.as_str();
    let documents = tree::parse(text).documents;
    let Some(json) = documents
        .iter()
        .filter_map(endpoint)
        .find(|json| json.pointer("/metadata/name").and_then(Json::as_str) == Some(name))
    else {
        return;
    };
    let namespace = json.pointer("/metadata/namespace").and_then(Json::as_str);
    if expected.secret.is_some() || namespace.is_some_and(|given| given != NAMESPACE) {
        return;
    }
    let spec = json.get("spec").expect("it was written");
    let read = load_object(NAMESPACE, name, spec, policy)
        .expect("what is accepted in a file is accepted as an object");
    assert_eq!(meaning(std::slice::from_ref(expected)), meaning(&[read]), "{spec}");
}
