//! The API server's audit log as calls that can be counted: who called, with which verb, on what.

#![expect(clippy::indexing_slicing, reason = "JSON: what is not there is null")]

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::Value;

/// One call. A watch is there as soon as it is answered, and once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Call {
    /// When it came, in milliseconds since the Unix epoch.
    pub(crate) at_ms: u64,
    /// For a service account `system:serviceaccount:NAMESPACE:NAME`.
    pub(crate) user: String,
    /// What the client calls itself.
    pub(crate) agent: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, …
    pub(crate) verb: String,
    /// Plural, with its subresource: `deployments/scale`; the path of what is no resource.
    pub(crate) resource: String,
    /// Empty where there is none.
    pub(crate) namespace: String,
    /// Empty where there is none.
    pub(crate) name: String,
    /// The HTTP status.
    pub(crate) code: u16,
}

/// All calls in a log, by time. A last line without its end is left for the next look.
pub(crate) fn read(log: &Path) -> Vec<Call> {
    let text = fs::read_to_string(log).expect("the audit log");
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let mut calls = BTreeMap::new();
    for line in whole.lines() {
        let event: Value = serde_json::from_str(line).expect("a line of the audit log");
        // A watch is written down at its start and at its end, with one id.
        calls.entry(text_of(&event["auditID"])).or_insert_with(|| call(&event));
    }
    let mut calls: Vec<Call> = calls.into_values().collect();
    calls.sort();
    calls
}

/// How often each verb was called on each resource, for what must not grow.
pub(crate) fn counts<'c>(
    calls: impl IntoIterator<Item = &'c Call>,
) -> BTreeMap<(&'c str, &'c str), u32> {
    let mut counts = BTreeMap::new();
    for call in calls {
        *counts.entry((call.verb.as_str(), call.resource.as_str())).or_default() += 1;
    }
    counts
}

fn call(event: &Value) -> Call {
    let object = &event["objectRef"];
    let resource = match (&object["resource"], &object["subresource"]) {
        (Value::String(resource), Value::String(sub)) => format!("{resource}/{sub}"),
        (Value::String(resource), _) => resource.clone(),
        _ => text_of(&event["requestURI"]),
    };
    let code = event["responseStatus"]["code"].as_u64().unwrap_or_default();
    Call {
        at_ms: super::watch::parse_ms(event["requestReceivedTimestamp"].as_str().expect("a time")),
        user: text_of(&event["user"]["username"]),
        agent: text_of(&event["userAgent"]),
        verb: text_of(&event["verb"]),
        resource,
        namespace: text_of(&object["namespace"]),
        name: text_of(&object["name"]),
        code: u16::try_from(code).expect("an HTTP status"),
    }
}

fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
