//! From the derived schema to one that the API server takes, for what a cluster has.

use serde_json::{Map, Value, json};

/// Fields of `targetRef` that only files have.
const FILE_FIELDS: [&str; 6] =
    ["addresses", "command", "env", "startDeadline", "stopGrace", "workingDir"];
/// Kinds of `targetRef` that a cluster has.
const KINDS: [&str; 2] = ["Deployment", "StatefulSet"];

/// Takes out what only files have, says which lists are maps, and makes absent the only way to say
/// nothing: an object with a null is stored without it.
pub(super) fn make_structural(root: &mut Value) {
    simplify(root);
    if let Some(status) = root.pointer_mut("/properties/status") {
        without_defaults(status);
    }
    let target = at(root, "/spec/versions/[]/targetRef");
    let fields = target.get_mut("properties").and_then(Value::as_object_mut);
    let fields = fields.expect("targetRef has fields");
    fields.retain(|field, _| !FILE_FIELDS.contains(&field.as_str()));
    set(target, "required", json!(["kind", "name"]));
    set(at(root, "/spec/versions/[]/targetRef/kind"), "enum", json!(KINDS));
    for (list, key) in
        [("/spec/versions", "name"), ("/status/versions", "name"), ("/status/conditions", "type")]
    {
        let list = at(root, list);
        set(list, "x-kubernetes-list-type", json!("map"));
        set(list, "x-kubernetes-list-map-keys", json!([key]));
    }
    // What a list map goes by has to be there.
    set(at(root, "/status/versions/[]"), "required", json!(["name"]));
    set(at(root, "/spec/hosts"), "x-kubernetes-list-type", json!("set"));
}

/// The schema of a field; `[]` steps into the items of a list.
///
/// # Panics
/// When there is no such field: paths are constants, and a test builds the whole definition.
pub(super) fn at<'a>(root: &'a mut Value, path: &str) -> &'a mut Map<String, Value> {
    let found = path.split('/').skip(1).try_fold(root, |schema, step| match step {
        "" => Some(schema),
        "[]" => schema.get_mut("items"),
        field => schema.get_mut("properties")?.get_mut(field),
    });
    found.and_then(Value::as_object_mut).expect("the path names a field of the schema")
}

fn set(schema: &mut Map<String, Value>, keyword: &str, value: Value) {
    schema.insert(keyword.to_owned(), value);
}

/// What the router has not said is not there.
fn without_defaults(schema: &mut Value) {
    let Some(keywords) = schema.as_object_mut() else { return };
    keywords.remove("default");
    if let Some(items) = keywords.get_mut("items") {
        without_defaults(items);
    }
    if let Some(Value::Object(fields)) = keywords.get_mut("properties") {
        fields.values_mut().for_each(without_defaults);
    }
}

/// Drops `nullable` with its defaults of null, and the line ends of doc comments.
fn simplify(schema: &mut Value) {
    let Some(keywords) = schema.as_object_mut() else { return };
    keywords.remove("nullable");
    // Of an empty mapping: the API server knows no such schema, and prunes what is unknown.
    if keywords.get("additionalProperties").is_some_and(Value::is_boolean) {
        keywords.remove("additionalProperties");
    }
    keywords.remove("title");
    if let Some(Value::String(text)) = keywords.get_mut("description") {
        *text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    }
    match keywords.get_mut("default") {
        Some(Value::Null) => {
            keywords.remove("default");
        }
        Some(Value::Object(fields)) => fields.retain(|_, value| !value.is_null()),
        _ => {}
    }
    if let Some(Value::Array(words)) = keywords.get_mut("enum") {
        words.retain(|word| !word.is_null());
    }
    if let Some(items) = keywords.get_mut("items") {
        simplify(items);
        // kubectl prints it behind the description of the list, which says it already.
        if let Some(items) = items.as_object_mut() {
            items.remove("description");
        }
    }
    if let Some(Value::Object(fields)) = keywords.get_mut("properties") {
        fields.values_mut().for_each(simplify);
    }
}
