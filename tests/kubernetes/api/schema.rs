//! The checks of a structural schema, in this process. The rules in CEL are kube's affair.

#![expect(clippy::indexing_slicing, reason = "a schema of another shape is a failed test")]

use kube::core::cel::{RootContext, Validator};
use modelway::platform::kubernetes::api::crd;
use serde_json::{Value, json};

/// Whether a measure keeps a bound.
type Fits = fn(f64, f64) -> bool;

/// The schema of `InferenceEndpoint`.
pub(crate) fn schema() -> Value {
    let definition = serde_json::to_value(crd()).expect("JSON");
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

/// What is wrong with an object, or with its change from an older spec.
pub(crate) fn refusals(
    schema: &Value,
    name: &str,
    spec: &Value,
    old: Option<&Value>,
) -> Vec<String> {
    let object = |spec: &Value| json!({"metadata": {"name": name}, "spec": spec});
    let mut found = Vec::new();
    let spec_schema = &schema["properties"]["spec"];
    check(spec_schema, spec, "spec", &mut found);
    // As in the API server: rules see only what has the right form.
    if found.is_empty() {
        let old = old.map(object);
        let context: Option<&RootContext> = None;
        let ruled =
            Validator::new().validate_with_context(schema, &object(spec), old.as_ref(), context);
        found.extend(ruled.err().into_iter().flatten().map(|error| {
            assert!(!error.message.is_empty(), "{error:?}");
            format!("{}: {}", error.field_path, error.message)
        }));
    }
    found
}

fn check(schema: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
    if !has_type(schema, value) {
        found.push(format!("{path}: {value} is not of type {}", schema["type"]));
        return;
    }
    let bounds: [(&str, Option<f64>, Fits); 6] = [
        ("minimum", value.as_f64(), |value, bound| value >= bound),
        ("maximum", value.as_f64(), |value, bound| value <= bound),
        ("minLength", value.as_str().map(length), |value, bound| value >= bound),
        ("maxLength", value.as_str().map(length), |value, bound| value <= bound),
        ("minItems", value.as_array().map(|items| count(items.len())), |value, bound| {
            value >= bound
        }),
        ("maxItems", value.as_array().map(|items| count(items.len())), |value, bound| {
            value <= bound
        }),
    ];
    for (keyword, measure, fits) in bounds {
        if let (Some(measure), Some(bound)) = (measure, schema[keyword].as_f64())
            && !fits(measure, bound)
        {
            found.push(format!("{path}: {keyword} is {bound}"));
        }
    }
    if let Some(words) = schema["enum"].as_array()
        && !words.contains(value)
    {
        found.push(format!("{path}: {value} is none of {words:?}"));
    }
    if let (Some(pattern), true) = (schema["pattern"].as_str(), value.is_string())
        && !matches(pattern, value)
    {
        found.push(format!("{path}: {value} does not match {pattern}"));
    }
    check_items(schema, value, path, found);
    check_fields(schema, value, path, found);
}

fn check_items(schema: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
    let items = value.as_array().into_iter().flatten();
    let mut seen: Vec<&Value> = Vec::new();
    for (i, item) in items.enumerate() {
        check(&schema["items"], item, &format!("{path}[{i}]"), found);
        let key = match schema["x-kubernetes-list-type"].as_str() {
            Some("map") => {
                let keys = schema["x-kubernetes-list-map-keys"].as_array().expect("keys");
                &item[keys[0].as_str().expect("a key")]
            }
            Some("set") => item,
            _ => continue,
        };
        if seen.contains(&key) {
            found.push(format!("{path}[{i}]: {key} is there twice"));
        }
        seen.push(key);
    }
}

fn check_fields(schema: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
    let Some(fields) = value.as_object() else { return };
    let most = schema["maxProperties"].as_f64();
    if most.is_some_and(|most| count(fields.len()) > most) {
        found.push(format!("{path}: more fields than {most:?}"));
    }
    for (field, value) in fields {
        let named = schema["properties"].get(field);
        match named.or_else(|| schema.get("additionalProperties")) {
            Some(schema) => check(schema, value, &format!("{path}.{field}"), found),
            None => found.push(format!("{path}.{field}: unknown field")),
        }
    }
    for field in schema["required"].as_array().into_iter().flatten() {
        if !fields.contains_key(field.as_str().expect("a name")) {
            found.push(format!("{path}: {field} is missing"));
        }
    }
}

fn has_type(schema: &Value, value: &Value) -> bool {
    if schema["x-kubernetes-int-or-string"] == true {
        return value.is_i64() || value.is_string();
    }
    match schema["type"].as_str().expect("every schema has a type") {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64(),
        // Then every good object is refused, and the test says so.
        _ => false,
    }
}

/// With the regular expressions of CEL, which are those of patterns.
fn matches(pattern: &str, value: &Value) -> bool {
    let rule = format!("self.matches(r\"{pattern}\")");
    let schema = json!({"type": "string", "x-kubernetes-validations": [{"rule": rule}]});
    Validator::new().validate(&schema, value, None).is_ok()
}

fn length(text: &str) -> f64 {
    count(text.chars().count())
}

fn count(count: usize) -> f64 {
    f64::from(u32::try_from(count).expect("tests are small"))
}
