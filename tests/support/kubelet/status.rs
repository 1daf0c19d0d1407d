//! A pod's status as a kubelet writes it: patched, and only when something has changed.

use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::until_answered;

/// What there is to say of a pod with one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Report {
    /// `Pending`, `Running`, `Succeeded`, `Failed`.
    pub(super) phase: &'static str,
    pub(super) ip: Option<Ipv4Addr>,
    pub(super) ready: bool,
    /// When `ready` became what it is.
    pub(super) ready_since: String,
    pub(super) container: Container,
    pub(super) restarts: u32,
    /// The exit code of the container before this one, and when it ended.
    pub(super) last: Option<(i32, String)>,
}

/// The state of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Container {
    /// Reason and message.
    Waiting(&'static str, String),
    /// Since when.
    Running(String),
    /// Exit code and when.
    Terminated(i32, String),
}

/// Now, as in the objects of Kubernetes.
pub(super) fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Whether nothing will run in this pod any more.
pub(super) fn is_over(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed")) && pod.metadata.deletion_timestamp.is_none()
}

/// Whether it is said already that no node has room.
pub(super) fn is_unschedulable(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| {
        condition.type_ == "PodScheduled" && condition.reason.as_deref() == Some("Unschedulable")
    })
}

impl Report {
    /// The patch, for a pod with these names.
    pub(super) fn patch(&self, pod: &Pod) -> Value {
        let spec = pod.spec.as_ref().expect("a pod has a spec");
        let container = spec.containers.first().expect("a pod has a container");
        let image = container.image.clone().unwrap_or_default();
        let truth = |is: bool| if is { "True" } else { "False" };
        let since = &self.ready_since;
        let condition = |kind: &str, is: bool| {
            let reason = if is { Value::Null } else { json!("ContainersNotReady") };
            json!({"type": kind, "status": truth(is), "reason": reason, "lastTransitionTime": since})
        };
        let last = match &self.last {
            Some((code, at)) => terminated(*code, at),
            None => json!({}),
        };
        let state = match &self.container {
            Container::Waiting(reason, message) => {
                json!({"waiting": {"reason": reason, "message": message}})
            }
            Container::Running(since) => json!({"running": {"startedAt": since}}),
            Container::Terminated(code, at) => terminated(*code, at),
        };
        let scheduled = &pod.metadata.creation_timestamp;
        json!({"status": {
            "phase": self.phase,
            "startTime": scheduled,
            "podIP": self.ip,
            "podIPs": self.ip.map(|ip| json!([{"ip": ip}])),
            "conditions": [
                {"type": "PodScheduled", "status": "True", "reason": null, "message": null, "lastTransitionTime": scheduled},
                {"type": "Initialized", "status": "True", "lastTransitionTime": scheduled},
                condition("ContainersReady", self.ready),
                condition("Ready", self.ready),
            ],
            "containerStatuses": [{
                "name": container.name,
                "image": image,
                "imageID": "",
                "ready": self.ready,
                "started": matches!(self.container, Container::Running(_)),
                "restartCount": self.restarts,
                "state": state,
                "lastState": last,
            }],
        }})
    }
}

fn terminated(code: i32, at: &str) -> Value {
    let reason = if code == 0 { "Completed" } else { "Error" };
    json!({"terminated": {"exitCode": code, "reason": reason, "finishedAt": at}})
}

/// Patches the status of exactly this pod, for as long as it takes.
pub(super) async fn write(
    client: &Client,
    pod: &Pod,
    patch: &Value,
    stop: &mut watch::Receiver<bool>,
) {
    let pods: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
    let mut patch = patch.clone();
    // A pod of the same name that came after it is another one.
    if let Some(object) = patch.as_object_mut() {
        object.insert("metadata".to_owned(), json!({"uid": pod.uid()}));
    }
    let (name, patch) = (pod.name_any(), Patch::Strategic(patch));
    let parameters = PatchParams::default();
    drop(until_answered(stop, || pods.patch_status(&name, &parameters, &patch)).await);
}

/// The last word of a kubelet: the object goes.
pub(super) async fn delete(client: &Client, pod: &Pod, stop: &mut watch::Receiver<bool>) {
    let pods: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
    let parameters = DeleteParams {
        grace_period_seconds: Some(0),
        preconditions: Some(Preconditions { uid: pod.uid(), resource_version: None }),
        ..DeleteParams::default()
    };
    let name = pod.name_any();
    // Refused only when it is gone.
    drop(until_answered(stop, || pods.delete(&name, &parameters)).await);
}
