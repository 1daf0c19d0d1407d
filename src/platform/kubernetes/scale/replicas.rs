//! The count of a workload.

use http::{Method, Request, header::CONTENT_TYPE};
use serde::Deserialize;
use serde_json::json;

use super::{
    super::{
        client::{ApiServer, CallError, FIELD_MANAGER},
        leader::Term,
        objects::{Meta, ObjectKey},
        target::Target,
    },
    MAX_TRIES, WRITE_LIMIT,
    error::{Call, WriteError},
    is_name,
};

/// What the watch showed last of the target.
#[derive(Debug, Clone)]
pub(in crate::platform::kubernetes) struct Known {
    pub(in crate::platform::kubernetes) resource_version: Box<str>,
    pub(in crate::platform::kubernetes) replicas: u32,
}

/// What is true of the target now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::platform::kubernetes) struct Written {
    /// The count that was found, which another may have written.
    pub(in crate::platform::kubernetes) from: u32,
    /// The count now; the same as `from` if there was nothing to write.
    pub(in crate::platform::kubernetes) to: u32,
    pub(in crate::platform::kubernetes) resource_version: Box<str>,
}

/// Brings the target to as many replicas as `wanted` says of its present count. Without [`Known`], or
/// when that is old, the count is asked for and `wanted` is asked again.
pub(in crate::platform::kubernetes) async fn set_replicas(
    server: &ApiServer,
    term: &Term,
    target: &Target,
    known: Option<Known>,
    wanted: impl Fn(u32) -> u32,
) -> Result<Written, WriteError> {
    if !is_name(&target.object.namespace) || !is_name(&target.object.name) {
        return Err(WriteError::NotFound { what: target.to_string() });
    }
    let tries = write(server, term, target, known, wanted);
    tokio::time::timeout(WRITE_LIMIT, tries)
        .await
        .unwrap_or_else(|_| Err(WriteError::Late { what: target.to_string(), limit: WRITE_LIMIT }))
}

async fn write(
    server: &ApiServer,
    term: &Term,
    target: &Target,
    mut known: Option<Known>,
    wanted: impl Fn(u32) -> u32,
) -> Result<Written, WriteError> {
    let call = |verb| Call {
        verb,
        resource: target.kind.scale_resource(),
        namespace: &target.object.namespace,
    };
    for _ in 0..MAX_TRIES {
        let Known { resource_version, replicas: from } = match known.take() {
            Some(known) => known,
            None => look(server, target)
                .await
                .map_err(|error| WriteError::of(error, call("get"), target))?,
        };
        let to = wanted(from);
        if to == from {
            return Ok(Written { from, to, resource_version });
        }
        if !term.is_valid() {
            return Err(WriteError::NotLeader);
        }
        match patch(server, target, &resource_version, to).await {
            Ok(Known { resource_version, replicas: to }) => {
                return Ok(Written { from, to, resource_version });
            }
            Err(error) if error.code() == Some(409) => {}
            Err(error) => return Err(WriteError::of(error, call("patch"), target)),
        }
    }
    Err(WriteError::Conflict { what: target.to_string(), tries: MAX_TRIES })
}

/// The subresource `scale`, as far as it matters.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Scale {
    metadata: Meta,
    spec: ScaleSpec,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ScaleSpec {
    /// Left out when it is 0.
    replicas: u32,
}

impl From<Scale> for Known {
    fn from(scale: Scale) -> Self {
        Self { resource_version: scale.metadata.resource_version, replicas: scale.spec.replicas }
    }
}

async fn look(server: &ApiServer, target: &Target) -> Result<Known, CallError> {
    let request = Request::get(url(target)).body(Vec::new()).map_err(kube::Error::HttpError)?;
    Ok(server.call::<Scale>(request).await?.into())
}

/// Refused with 409 if the object is no longer what `resource_version` names.
pub(super) async fn patch(
    server: &ApiServer,
    target: &Target,
    resource_version: &str,
    replicas: u32,
) -> Result<Known, CallError> {
    let patch = json!({
        "metadata": {"resourceVersion": resource_version},
        "spec": {"replicas": replicas},
    });
    let request = Request::builder()
        .method(Method::PATCH)
        .uri(format!("{}?fieldManager={FIELD_MANAGER}", url(target)))
        .header(CONTENT_TYPE, "application/merge-patch+json")
        .body(patch.to_string().into_bytes())
        .map_err(kube::Error::HttpError)?;
    Ok(server.call::<Scale>(request).await?.into())
}

fn url(target: &Target) -> String {
    let Target { kind, object: ObjectKey { namespace, name } } = target;
    format!("/apis/apps/v1/namespaces/{namespace}/{}/{name}/scale", kind.plural())
}
