//! The mark on a victim, and what a ReplicaSet makes of it.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::ListParams};

use super::{
    super::{WriteError, mark_victim, set_replicas},
    PATIENCE, make, term,
};
use crate::platform::kubernetes::{
    target::WorkloadKind,
    testing::{
        cluster::{Cluster, connect},
        until,
    },
};

const COST: &str = "controller.kubernetes.io/pod-deletion-cost";

#[tokio::test(flavor = "multi_thread")]
async fn the_marked_pod_goes_first_and_the_mark_is_written_once() {
    let Some(cluster) = Cluster::shared("the mark on a victim") else { return };
    let server = cluster.server().await;
    let namespace: Arc<str> = cluster.namespace("victim").await.into();
    let target = make(&server, WorkloadKind::Deployment, &namespace, 4).await;
    let pods: Api<Pod> = Api::namespaced(server.client().clone(), &namespace);
    let list = async |count: usize| {
        until(PATIENCE, "the pods", async || {
            let list = pods.list(&ListParams::default()).await.ok()?.items;
            (list.len() == count).then_some(list)
        })
        .await
    };
    let all = list(4).await;
    let victim = &all[2].metadata;
    let (name, uid) = (victim.name.clone().unwrap(), victim.uid.clone().unwrap());

    // Another pod's uid, another's rights, a term that is over: nothing is written.
    mark_victim(&server, &term(), &namespace, &name, "another").await.expect("it needs no mark");
    let over = term();
    over.end();
    let refused = mark_victim(&server, &over, &namespace, &name, &uid).await;
    assert!(matches!(refused, Err(WriteError::NotLeader)), "{refused:?}");
    let stranger = connect(&cluster.as_user("stranger")).await;
    let refused = mark_victim(&stranger, &term(), &namespace, &name, &uid).await;
    let said = refused.expect_err("no rights").to_string();
    assert!(said.starts_with(&format!("needs patch on pods in namespace {namespace}")), "{said}");
    let pod = pods.get(&name).await.expect("the pod");
    assert_eq!(pod.metadata.annotations.unwrap_or_default().get(COST), None);

    let mut versions = Vec::new();
    for _ in 0..2 {
        mark_victim(&server, &term(), &namespace, &name, &uid).await.expect("marked");
        let pod = pods.get(&name).await.expect("the pod");
        assert_eq!(pod.metadata.annotations.unwrap_or_default()[COST], i32::MIN.to_string());
        versions.push(pod.metadata.resource_version);
    }
    assert_eq!(versions[0], versions[1], "the second mark changed nothing");

    set_replicas(&server, &term(), &target, None, |_| 3).await.expect("written");
    let left = list(3).await;
    assert!(left.iter().all(|pod| pod.metadata.uid.as_ref() != Some(&uid)), "the victim went");
    mark_victim(&server, &term(), &namespace, &name, &uid).await.expect("it is gone: no mark");
}
