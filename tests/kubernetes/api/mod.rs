//! The API of the cluster: what the router, the rules in this process and the API server say of the
//! same objects, and what kubectl shows.

mod cases;
mod schema;
mod server;

use expect_test::expect_file;
use modelway::platform::spec::{DURATION_PATTERN, Policy, load_object};
use serde_json::Value;

use cases::Case;
use schema::{refusals, schema};
pub(crate) use server::install;

/// What the router says of an object; empty when it takes it.
fn router_says(case: &Case) -> Vec<String> {
    let loaded = load_object("models", case.name, &case.spec, Policy::CLUSTER);
    let problems = loaded.err().unwrap_or_default();
    problems.iter().map(|problem| format!("{}: {}", problem.path, problem.message)).collect()
}

#[test]
fn bad_objects_are_refused_by_the_router_and_by_the_rules() {
    let schema = schema();
    let mut page = Vec::new();
    for case in cases::bad() {
        let said = router_says(&case);
        assert!(!said.is_empty(), "the router takes {}", case.what);
        let ruled = refusals(&schema, case.name, &case.spec, None);
        assert!(!ruled.is_empty(), "the rules take {}", case.what);
        page.push(format!("{}\n  {}\n", case.what, said.join("\n  ")));
    }
    expect_file!["../testdata/refused-by-router.txt"].assert_eq(&page.concat());
}

#[test]
fn good_objects_are_taken_by_the_router_and_by_the_rules() {
    let schema = schema();
    for case in cases::good() {
        let nothing: Vec<String> = Vec::new();
        assert_eq!(router_says(&case), nothing, "{}", case.what);
        assert_eq!(refusals(&schema, case.name, &case.spec, None), nothing, "{}", case.what);
    }
}

#[test]
fn what_only_one_of_them_sees_is_known() {
    let schema = schema();
    let mut page = Vec::new();
    for case in cases::only_the_router() {
        let said = router_says(&case);
        assert!(!said.is_empty(), "the router takes {}", case.what);
        let ruled = refusals(&schema, case.name, &case.spec, None);
        assert!(ruled.is_empty(), "{}: {ruled:?}", case.what);
        page.push(format!("{}\n  {}\n", case.what, said.join("\n  ")));
    }
    expect_file!["../testdata/refused-by-router-alone.txt"].assert_eq(&page.concat());
    for case in cases::only_the_server() {
        assert!(router_says(&case).is_empty(), "the router refuses {}", case.what);
        let ruled = refusals(&schema, case.name, &case.spec, None);
        assert!(!ruled.is_empty(), "the rules take {}", case.what);
    }
}

#[test]
fn a_default_version_goes_only_when_another_takes_its_place() {
    let schema = schema();
    for (what, old, new, is_allowed) in cases::changes() {
        let said = refusals(&schema, "fraud", &new, Some(&old));
        assert_eq!(said.is_empty(), is_allowed, "{what}: {said:?}");
    }
}

#[test]
fn every_list_text_and_duration_of_the_spec_has_its_bound() {
    let schema = schema();
    let mut unbounded = Vec::new();
    bounds(&schema["properties"]["spec"], "spec", &mut unbounded);
    assert_eq!(unbounded, Vec::<String>::new());
}

/// Without a bound the API server takes a rule for too costly, and an object for any size.
fn bounds(schema: &Value, path: &str, unbounded: &mut Vec<String>) {
    let lacks = |keyword: &str| schema.get(keyword).is_none();
    let is_unbounded = match schema["type"].as_str() {
        Some("array") => lacks("maxItems"),
        Some("string") if schema["pattern"] == DURATION_PATTERN => {
            lacks("maxLength") || lacks("x-kubernetes-validations")
        }
        Some("string") => lacks("maxLength") && lacks("enum"),
        Some("integer") => lacks("maximum") || lacks("minimum"),
        _ => false,
    };
    if is_unbounded || lacks("description") && !path.ends_with(']') {
        unbounded.push(path.to_owned());
    }
    if let Some(items) = schema.get("items") {
        bounds(items, &format!("{path}[]"), unbounded);
    }
    for (field, schema) in schema["properties"].as_object().into_iter().flatten() {
        bounds(schema, &format!("{path}.{field}"), unbounded);
    }
}
