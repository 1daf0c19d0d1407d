//! The mark on the pod that goes first when its ReplicaSet shrinks.

use std::sync::Arc;

use http::{Method, Request, header::CONTENT_TYPE};
use serde::Deserialize;
use serde_json::json;

use super::{
    super::{
        client::{ApiServer, CallError, FIELD_MANAGER},
        leader::Term,
        objects::Meta,
    },
    MAX_TRIES, WRITE_LIMIT,
    error::{Call, WriteError},
    is_name,
};

/// The cost of a victim: the lowest there is, so that no cost that somebody else gave is lower.
pub(in crate::platform::kubernetes) const VICTIM_COST: i32 = i32::MIN;

/// Marks the pod with [`VICTIM_COST`]. A pod that is gone, or whose name another pod has taken, needs
/// no mark. The object changes at most once: marking again changes nothing. True when the pod is there
/// and still counts, false when it is gone or being deleted.
pub(in crate::platform::kubernetes) async fn mark_victim(
    server: &ApiServer,
    term: &Term,
    namespace: &Arc<str>,
    pod_name: &str,
    pod_uid: &str,
) -> Result<bool, WriteError> {
    let what = || format!("Pod {namespace}/{pod_name}");
    if !is_name(namespace) || !is_name(pod_name) {
        return Err(WriteError::NotFound { what: what() });
    }
    let tries = async {
        for _ in 0..MAX_TRIES {
            if !term.is_valid() {
                return Err(WriteError::NotLeader);
            }
            let refused = match patch(server, namespace, pod_name, pod_uid).await {
                Ok(marked) => return Ok(marked.metadata.deletion_timestamp.is_none()),
                Err(refused) => refused,
            };
            match refused.code() {
                // Gone, or the name is another pod's by now.
                Some(404 | 422) => return Ok(false),
                Some(409) if refused.to_string().contains("UID") => return Ok(false),
                // Others wrote at the same time.
                Some(409) => {}
                _ => {
                    let call = Call { verb: "patch", resource: "pods", namespace };
                    return Err(WriteError::of(refused, call, &what()));
                }
            }
        }
        Err(WriteError::Conflict { what: what(), tries: MAX_TRIES })
    };
    tokio::time::timeout(WRITE_LIMIT, tries)
        .await
        .unwrap_or_else(|_| Err(WriteError::Late { what: what(), limit: WRITE_LIMIT }))
}

/// The pod as the API server answers, as far as it matters.
#[derive(Debug, Deserialize)]
struct Marked {
    metadata: Meta,
}

async fn patch(
    server: &ApiServer,
    namespace: &str,
    name: &str,
    uid: &str,
) -> Result<Marked, CallError> {
    let patch = json!({"metadata": {
        "uid": uid,
        "annotations": {"controller.kubernetes.io/pod-deletion-cost": VICTIM_COST.to_string()},
    }});
    let request = Request::builder()
        .method(Method::PATCH)
        .uri(format!("{}?fieldManager={FIELD_MANAGER}", url(namespace, name)))
        .header(CONTENT_TYPE, "application/merge-patch+json")
        .body(patch.to_string().into_bytes())
        .map_err(kube::Error::HttpError)?;
    server.call(request).await
}

fn url(namespace: &str, name: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/pods/{name}")
}
