//! The budget in values, writes against a real API server.

mod budget;
mod replicas;
mod victim;

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use kube::{Api, api::PostParams};
use serde_json::json;
use tokio::time::Instant;

use super::super::{
    client::ApiServer,
    leader::Term,
    objects::ObjectKey,
    target::{Target, WorkloadKind},
};

const PATIENCE: Duration = Duration::from_secs(40);
const HOUR: Duration = Duration::from_secs(3600);

/// A term that outlasts every test.
fn term() -> Term {
    Term::new(1, Instant::now() + HOUR)
}

/// A workload whose pods nobody schedules.
async fn make(server: &ApiServer, kind: WorkloadKind, namespace: &str, replicas: u32) -> Target {
    let name = "workload";
    let workload = json!({
        "metadata": {"name": name},
        "spec": {
            "serviceName": name,
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "model", "image": "none"}]},
            },
        },
    });
    let client = server.client().clone();
    let params = PostParams::default();
    match kind {
        WorkloadKind::Deployment => {
            let workload: Deployment = serde_json::from_value(workload).expect("a Deployment");
            let made = Api::namespaced(client, namespace).create(&params, &workload).await;
            made.map(|_| ()).expect("it is accepted");
        }
        WorkloadKind::StatefulSet => {
            let workload: StatefulSet = serde_json::from_value(workload).expect("a StatefulSet");
            let made = Api::namespaced(client, namespace).create(&params, &workload).await;
            made.map(|_| ()).expect("it is accepted");
        }
    }
    let object = ObjectKey { namespace: Arc::from(namespace), name: name.into() };
    Target { kind, object }
}
