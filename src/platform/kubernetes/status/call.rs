//! The write of one status.
//!
//! A merge patch with the `resourceVersion` that was seen as its precondition, because then
//! nothing is written onto an object that has changed, was deleted or is a namesake made since, and
//! of two routers that both believe to lead, one gets a conflict. Server-side apply would need the
//! uid for the first, has nothing for the second, and keeps a record of managed fields that is
//! larger than the status itself.

use kube::core::{
    Request,
    params::{Patch, PatchParams},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::{
    api::EndpointStatus,
    client::{ApiServer, CallError},
    objects::{Meta, ObjectKey},
};

/// Who wrote, as `managedFields` says it.
const FIELD_MANAGER: &str = "modelway";
/// The fields of a status that may be absent. A merge patch removes a field only by name.
const OPTIONAL_FIELDS: [&str; 4] = ["defaultVersion", "effectiveTraffic", "replicas", "scoringUri"];

/// What came of a write.
#[derive(Debug)]
pub(super) enum Answer {
    /// It is written; the object's resource version now.
    Written(Box<str>),
    /// The object does not exist any more.
    Gone,
    /// The object is not as it was seen.
    Conflict,
    /// The router's role does not allow it; what the API server says.
    Forbidden(String),
    /// No answer, or one that may be another one the next time.
    Failed(CallError),
}

/// Only what is needed of the answer.
#[derive(Deserialize)]
struct Object {
    metadata: Meta,
}

/// Writes the status of the object as it was in this resource version.
pub(super) async fn write(
    server: &ApiServer,
    key: &ObjectKey,
    resource_version: &str,
    status: &EndpointStatus,
) -> Answer {
    if resource_version.is_empty() {
        // Without it the patch would have no precondition.
        return Answer::Conflict;
    }
    let url =
        format!("/apis/modelway.dev/v1alpha1/namespaces/{}/inferenceendpoints", key.namespace);
    let params =
        PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let patch = Patch::Merge(body(resource_version, status));
    let request = Request::new(url).patch_subresource("status", &key.name, &params, &patch);
    let request = match request {
        Ok(request) => request,
        Err(error) => return Answer::Failed(kube::Error::BuildRequest(error).into()),
    };
    match server.call::<Object>(request).await {
        Ok(object) => Answer::Written(object.metadata.resource_version),
        Err(error) => match (error.code(), error) {
            (Some(404), _) => Answer::Gone,
            (Some(409), _) => Answer::Conflict,
            (Some(403), error) => Answer::Forbidden(error.to_string()),
            (_, error) => Answer::Failed(error),
        },
    }
}

fn body(resource_version: &str, status: &EndpointStatus) -> Value {
    let mut status = json!(status);
    if let Value::Object(fields) = &mut status {
        for field in OPTIONAL_FIELDS {
            fields.entry(field).or_insert(Value::Null);
        }
        // A list is replaced as a whole, and in it null is a value, which the schema refuses.
        for list in ["conditions", "versions"] {
            if let Some(list) = fields.get_mut(list) {
                drop_nulls(list);
            }
        }
    }
    json!({ "metadata": { "resourceVersion": resource_version }, "status": status })
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// Says which right is missing and what follows from it.
pub(super) fn warn_forbidden(key: &ObjectKey, message: &str) {
    tracing::warn!(
        endpoint = %key,
        "the status of InferenceEndpoints is not written, and `kubectl get iep` shows old news: the \
         router's role needs the verb patch on inferenceendpoints/status of modelway.dev in \
         namespace {} ({message})",
        key.namespace
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_takes_away_what_is_not_there_any_more() {
        let body = body("7", &EndpointStatus::default());
        for field in OPTIONAL_FIELDS {
            assert_eq!(body["status"].get(field), Some(&Value::Null), "{field}");
        }
        assert_eq!(body["metadata"]["resourceVersion"], "7");
    }

    #[test]
    fn a_list_holds_no_null() {
        let mut list = json!([{"name": "blue", "lastScale": null}, {"lastScale": {"time": null}}]);
        drop_nulls(&mut list);
        assert_eq!(list, json!([{"name": "blue"}, {"lastScale": {}}]));
    }
}
