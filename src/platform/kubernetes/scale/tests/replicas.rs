//! Counts, with others who write at the same time.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;
use tokio::runtime::Handle;

use super::{
    super::{Known, MAX_TRIES, WriteError, Written, replicas::patch, set_replicas},
    make, term,
};
use crate::platform::kubernetes::{
    client::ApiServer,
    target::{Target, WorkloadKind},
    testing::cluster::{Cluster, connect},
};

fn known(written: &Written) -> Known {
    Known { resource_version: written.resource_version.clone(), replicas: written.to }
}

/// Changes the object without changing its count, as controllers do all the time.
fn disturb(server: &ApiServer, target: &Target) {
    let deployments: Api<Deployment> =
        Api::namespaced(server.client().clone(), &target.object.namespace);
    let now = format!("{:?}", Instant::now());
    let note = Patch::Merge(json!({"metadata": {"annotations": {"disturbed": now}}}));
    let (name, params) = (&target.object.name, PatchParams::default());
    tokio::task::block_in_place(|| {
        Handle::current().block_on(deployments.patch(name, &params, &note)).expect("it is changed");
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_of_both_kinds_are_written_and_not_again_when_they_are_right() {
    let Some(cluster) = Cluster::shared("counts are written") else { return };
    let server = cluster.server().await;
    for kind in [WorkloadKind::Deployment, WorkloadKind::StatefulSet] {
        let namespace = cluster.namespace("counts").await;
        let target = make(&server, kind, &namespace, 0).await;
        let up = set_replicas(&server, &term(), &target, None, |_| 3).await.expect("written");
        assert_eq!((up.from, up.to), (0, 3));
        let same = set_replicas(&server, &term(), &target, None, |now| now).await.expect("read");
        assert_eq!((same.from, same.to), (3, 3));
        let down = set_replicas(&server, &term(), &target, None, |_| 0).await.expect("written");
        assert_eq!((down.from, down.to), (3, 0), "zero is a count, too");
        // What is known is right, and nothing is asked for.
        let known = Some(known(&down));
        let same = set_replicas(&server, &term(), &target, known, |_| 0).await.expect("known");
        assert_eq!(same.resource_version, down.resource_version);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_upon_an_old_state_is_refused_and_decided_again() {
    let Some(cluster) = Cluster::shared("a write upon an old state") else { return };
    let server = cluster.server().await;
    let namespace = cluster.namespace("old-state").await;
    let target = make(&server, WorkloadKind::Deployment, &namespace, 1).await;
    let old = set_replicas(&server, &term(), &target, None, |_| 2).await.expect("written");
    set_replicas(&server, &term(), &target, None, |_| 5).await.expect("somebody else's");

    let refused = patch(&server, &target, &old.resource_version, 9).await.expect_err("it is old");
    assert_eq!(refused.code(), Some(409), "{refused}");

    let asked = Cell::new(Vec::new());
    let one_more = |now| {
        asked.set([asked.take(), vec![now]].concat());
        now + 1
    };
    let written = set_replicas(&server, &term(), &target, Some(known(&old)), one_more).await;
    let written = written.expect("written");
    assert_eq!((written.from, written.to), (5, 6));
    assert_eq!(asked.take()[..2], [2, 5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn tries_are_bounded_and_end_with_the_term() {
    // Without controllers, so that only this test writes.
    let Some(cluster) = Cluster::own("tries that are bounded") else { return };
    let server = cluster.server().await;
    let namespace = cluster.namespace("tries").await;
    let target = make(&server, WorkloadKind::Deployment, &namespace, 0).await;

    // One disturbance less than there are tries: the last one gets through.
    for (disturbances, is_written) in [(MAX_TRIES - 1, true), (MAX_TRIES, false)] {
        let tries = Cell::new(0);
        let wanted = |now: u32| {
            tries.set(tries.get() + 1);
            if tries.get() <= disturbances {
                disturb(&server, &target);
            }
            now + 1
        };
        let result = set_replicas(&server, &term(), &target, None, wanted).await;
        match result {
            Ok(_) => assert!(is_written),
            Err(error) => {
                assert!(matches!(error, WriteError::Conflict { .. }), "{error}");
                assert!(!is_written, "{error}");
            }
        }
        assert_eq!(tries.get(), MAX_TRIES);
    }

    let term = term();
    let wanted = |now| {
        term.end();
        now + 1
    };
    let refused = set_replicas(&server, &term, &target, None, wanted).await;
    assert!(matches!(refused, Err(WriteError::NotLeader)), "{refused:?}");
    let now = set_replicas(&server, &term, &target, None, |now| now).await.expect("a look");
    assert_eq!(now.to, 1, "only the write that got through");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_named() {
    let Some(cluster) = Cluster::shared("what is missing is named") else { return };
    let server = cluster.server().await;
    let namespace = cluster.namespace("missing").await;
    let target = make(&server, WorkloadKind::StatefulSet, &namespace, 1).await;
    for name in ["nobody", "../deployments", "a/scale?", "", ".."] {
        let mut nobody = target.clone();
        nobody.object.name = name.into();
        let refused = set_replicas(&server, &term(), &nobody, None, |_| 2).await.expect_err(name);
        assert!(matches!(refused, WriteError::NotFound { .. }), "{refused}");
        assert_eq!(refused.to_string(), format!("StatefulSet {namespace}/{name} does not exist"));
    }
    let stranger = connect(&cluster.as_user("stranger")).await;
    let refused = set_replicas(&stranger, &term(), &target, None, |_| 2).await;
    let said = refused.expect_err("no rights").to_string();
    let need = format!("needs get on statefulsets/scale in namespace {namespace}");
    assert!(said.starts_with(&need) && said.contains("stranger"), "{said}");
    let known = Some(Known { resource_version: "1".into(), replicas: 1 });
    let refused = set_replicas(&stranger, &term(), &target, known, |_| 2).await;
    let said = refused.expect_err("no rights").to_string();
    let need = format!("needs patch on statefulsets/scale in namespace {namespace}");
    assert!(said.starts_with(&need), "{said}");
}

/// From the decision to the accepted write; contract §8 gives saturation and write together 1 s.
#[tokio::test(flavor = "multi_thread")]
async fn fifty_counts_are_accepted_in_time_while_controllers_write_too() {
    let Some(cluster) = Cluster::shared("fifty counts") else { return };
    let server = cluster.server().await;
    let namespace = cluster.namespace("fifty").await;
    let target = make(&server, WorkloadKind::Deployment, &namespace, 1).await;
    let mut last = set_replicas(&server, &term(), &target, None, |now| now).await.expect("a look");
    let (mut times, mut asked) = (Vec::new(), 0);
    for step in 0..50_u32 {
        let wanted = 2 + step % 5;
        let tries = Cell::new(0);
        let ask = |_| {
            tries.set(tries.get() + 1);
            wanted
        };
        let begun = Instant::now();
        // What was written last is old as soon as a controller has counted a pod.
        last = set_replicas(&server, &term(), &target, Some(known(&last)), ask)
            .await
            .expect("written");
        times.push(begun.elapsed());
        asked += tries.get();
        assert_eq!(last.to, wanted);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    times.sort();
    let (half, most, worst) = (times[24], times[48], times[49]);
    println!("50 counts: p50 {half:?}, p98 {most:?}, worst {worst:?}, {asked} tries");
    assert!(asked > 50, "nobody wrote at the same time, so nothing is shown");
    assert!(worst < Duration::from_secs(1), "{worst:?}");
}
