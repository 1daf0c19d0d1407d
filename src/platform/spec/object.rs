//! An object of the API server as the tree that documents are read from.

use serde_json::Value as Json;

use super::{
    problem::Mark,
    tree::{DEPTH_MAX, Entry, Node, Value},
    types,
};

/// The document that the object would be in a file. `Err` says why it cannot be one.
pub(super) fn endpoint(namespace: &str, name: &str, spec: &Json) -> Result<Node, String> {
    // Two levels are those of the document and of `spec` itself.
    let spec = node(spec, DEPTH_MAX - 2)?;
    let metadata = [("name", text(name)), ("namespace", text(namespace))];
    Ok(map([
        ("apiVersion", text(types::API_VERSION)),
        ("kind", text(types::KIND)),
        ("metadata", map(metadata)),
        ("spec", spec),
    ]))
}

/// A JSON value as a tree; its depth is bounded as that of files is, because rules recurse.
fn node(json: &Json, depth: usize) -> Result<Node, String> {
    let below = || depth.checked_sub(1).ok_or_else(too_deep);
    let value = match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => match number.as_i64() {
            Some(integer) => Value::Integer(integer),
            None => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::Text(text.clone()),
        Json::Array(items) => {
            let depth = below()?;
            Value::List(items.iter().map(|item| node(item, depth)).collect::<Result<_, _>>()?)
        }
        Json::Object(fields) => {
            let depth = below()?;
            let entry = |(key, json): (&String, &Json)| {
                Ok::<_, String>(entry(key.clone(), node(json, depth)?))
            };
            Value::Map(fields.iter().map(entry).collect::<Result<_, _>>()?)
        }
    };
    Ok(at_no_place(value))
}

fn map<const N: usize>(fields: [(&str, Node); N]) -> Node {
    let entries = fields.into_iter().map(|(key, node)| entry(key.to_owned(), node));
    at_no_place(Value::Map(entries.collect()))
}

fn entry(key: String, node: Node) -> Entry {
    Entry { key, mark: Mark::NOWHERE, node }
}

fn text(text: &str) -> Node {
    at_no_place(Value::Text(text.to_owned()))
}

fn at_no_place(value: Value) -> Node {
    Node { mark: Mark::NOWHERE, value }
}

fn too_deep() -> String {
    format!("is nested deeper than {DEPTH_MAX} levels; no field of an endpoint is that deep")
}
