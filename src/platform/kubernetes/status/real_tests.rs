//! Statuses on a real API server.

use std::{path::Path, sync::Arc, time::Duration};

use jiff::Timestamp;
use kube::core::{
    Request,
    params::{DeleteParams, GetParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use tokio::{sync::watch, time::Instant};

use super::{
    call::{Answer, write},
    pace::WRITE_INTERVAL,
    *,
};
use crate::{
    lifecycle::{Lifecycle, Phase},
    platform::kubernetes::{
        client::ApiServer,
        objects::{EndpointObject, Object as _, ObjectKey},
        report::{Report, samples::but_blue},
        testing::{
            cluster::{Cluster, connect},
            endpoints::{install, path},
            until,
        },
    },
};

/// How long anything may take on a busy machine. Everything here takes far less.
const LIMIT: Duration = Duration::from_secs(60);

/// An InferenceEndpoint in a namespace of its own.
struct World {
    server: ApiServer,
    key: ObjectKey,
    lifecycle: Lifecycle,
}

impl World {
    /// `None` where the programs are missing, which is said.
    async fn new(test: &str) -> Option<(Self, &'static Cluster)> {
        let cluster = Cluster::shared(test)?;
        let server = cluster.server().await;
        install(&server).await;
        let namespace = cluster.namespace("status").await.into();
        let key = ObjectKey { namespace, name: "fraud".into() };
        let world = Self { server, key, lifecycle: Lifecycle::new() };
        world.create().await;
        Some((world, cluster))
    }

    async fn create(&self) -> EndpointObject {
        let object = json!({
            "apiVersion": "modelway.dev/v1alpha1",
            "kind": "InferenceEndpoint",
            "metadata": {"name": &*self.key.name},
            "spec": {"versions": [
                {"name": "blue", "targetRef": {"kind": "Deployment", "name": "fraud-blue"}},
            ]},
        });
        let body = serde_json::to_vec(&object).expect("JSON");
        let request = Request::new(path(&self.key.namespace)).create(&PostParams::default(), body);
        self.server.call(request.expect("a request")).await.expect("it is created")
    }

    async fn delete(&self) {
        let request = Request::new(path(&self.key.namespace))
            .delete(&self.key.name, &DeleteParams::default());
        self.server.call::<Value>(request.expect("a request")).await.expect("it is deleted");
    }

    async fn get(&self) -> EndpointObject {
        let request =
            Request::new(path(&self.key.namespace)).get(&self.key.name, &GetParams::default());
        self.server.call(request.expect("a request")).await.expect("it is there")
    }

    /// Somebody else changes the object.
    async fn touch(&self) {
        let patch = Patch::Merge(json!({"metadata": {"labels": {"touched": "yes"}}}));
        let request = Request::new(path(&self.key.namespace)).patch(
            &self.key.name,
            &PatchParams::default(),
            &patch,
        );
        self.server.call::<Value>(request.expect("a request")).await.expect("it is changed");
    }

    /// A report about the object with so many ready replicas.
    async fn report(&self, ready: u32) -> (Arc<Report>, Shown) {
        let object = self.get().await;
        let mut report = but_blue(|blue| blue.ready = ready);
        report.key = self.key.clone();
        report.uid = Arc::clone(&object.meta().uid);
        (Arc::new(report), shown(&object))
    }

    async fn offer(&self, writer: &StatusWriter, ready: u32) {
        let (report, shown) = self.report(ready).await;
        writer.offer(report, shown);
    }

    fn writer(&self, leads: bool) -> (StatusWriter, watch::Sender<bool>) {
        let (tell, leads) = watch::channel(leads);
        (StatusWriter::start(&self.lifecycle, self.server.clone(), leads), tell)
    }

    /// Waits until the status shows so many ready and desired replicas.
    async fn await_replicas(&self, replicas: &str) -> EndpointObject {
        until(LIMIT, &format!("replicas {replicas}"), async || {
            let object = self.get().await;
            (object.status["replicas"] == replicas).then_some(object)
        })
        .await
    }

    async fn end(self) {
        self.lifecycle.enter(Phase::Stopped);
        self.lifecycle.finish_tasks(LIMIT).await;
    }
}

fn shown(object: &EndpointObject) -> Shown {
    Shown {
        resource_version: object.meta().resource_version.clone(),
        status: Arc::new(serde_json::from_value(object.status.clone()).unwrap_or_default()),
    }
}

fn status(report: &Report) -> EndpointStatus {
    compose(report, &EndpointStatus::default(), Timestamp::now())
}

#[tokio::test]
async fn a_status_is_written_at_once_and_what_follows_after_the_interval() {
    let Some((world, _)) = World::new("a status is written").await else { return };
    let (writer, _leads) = world.writer(true);
    world.offer(&writer, 1).await;
    let first = world.await_replicas("2/4").await;
    let begun = Instant::now();
    // A burst, of which only the last is worth a write.
    for ready in [2, 0, 1, 3] {
        world.offer(&writer, ready).await;
    }
    let mut versions = vec![first.metadata.resource_version];
    until(LIMIT, "the last of the burst", async || {
        let object = world.get().await;
        if versions.last() != Some(&object.metadata.resource_version) {
            versions.push(object.metadata.resource_version.clone());
        }
        (object.status["replicas"] == "4/4").then_some(())
    })
    .await;
    let waited = begun.elapsed() + Duration::from_secs(1);
    assert!(waited > WRITE_INTERVAL, "{waited:?}");
    assert_eq!(versions.len(), 2, "one write for the burst: {versions:?}");
    // The watch shows what was written, and nothing follows from that.
    world.offer(&writer, 3).await;
    let settled = world.get().await;
    let unchanged = tokio::time::timeout(WRITE_INTERVAL + Duration::from_secs(1), async {
        until(LIMIT, "a write", async || {
            let now = world.get().await;
            (now.metadata.resource_version != settled.metadata.resource_version).then_some(())
        })
        .await;
    });
    assert!(unchanged.await.is_err(), "it was written without a change");
    world.end().await;
}

#[tokio::test]
async fn only_the_leader_writes_and_a_new_one_writes_what_it_finds_wrong() {
    let Some((world, _)) = World::new("only the leader writes").await else { return };
    let (leader, lead) = world.writer(true);
    let (follower, follow) = world.writer(false);
    world.offer(&follower, 3).await;
    world.offer(&leader, 1).await;
    world.await_replicas("2/4").await;
    // The follower's watch shows it too.
    world.offer(&follower, 3).await;
    assert_eq!(world.get().await.status["replicas"], "2/4");
    lead.send_replace(false);
    follow.send_replace(true);
    world.await_replicas("4/4").await;
    world.end().await;
}

#[tokio::test]
async fn nothing_is_written_onto_an_object_that_was_deleted_or_is_a_namesake() {
    let Some((world, _)) = World::new("no status for the deleted").await else { return };
    let (report, seen) = world.report(3).await;
    let wanted = status(&report);
    world.delete().await;
    let gone = write(&world.server, &world.key, &seen.resource_version, &wanted).await;
    assert!(matches!(gone, Answer::Gone), "{gone:?}");
    let namesake = world.create().await;
    let refused = write(&world.server, &world.key, &seen.resource_version, &wanted).await;
    assert!(matches!(refused, Answer::Conflict), "{refused:?}");
    assert_eq!(world.get().await.status, Value::Null);
    let version = &namesake.metadata.resource_version;
    let written = write(&world.server, &world.key, version, &wanted).await;
    assert!(matches!(written, Answer::Written(_)), "{written:?}");
    let unseen = write(&world.server, &world.key, "", &wanted).await;
    assert!(matches!(unseen, Answer::Conflict), "{unseen:?}");
    world.end().await;
}

#[tokio::test]
async fn what_is_forgotten_before_its_time_is_not_written() {
    let Some((world, _)) = World::new("the forgotten is not written").await else { return };
    let (writer, lead) = world.writer(false);
    world.offer(&writer, 3).await;
    writer.forget(&world.key);
    lead.send_replace(true);
    // One that is not forgotten shows that the writer is at work.
    let other = StatusWriter::start(&world.lifecycle, world.server.clone(), lead.subscribe());
    world.offer(&other, 1).await;
    world.await_replicas("2/4").await;
    world.end().await;
}

#[tokio::test]
async fn a_conflict_is_solved_by_what_the_watch_shows_next() {
    let Some((world, _)) = World::new("a conflict is solved").await else { return };
    let (writer, _leads) = world.writer(true);
    let (report, seen) = world.report(3).await;
    world.touch().await;
    writer.offer(report, seen);
    world.offer(&writer, 3).await;
    world.await_replicas("4/4").await;
    world.end().await;
}

#[tokio::test]
async fn what_is_not_in_force_any_more_is_taken_out_of_the_status() {
    let Some((world, _)) = World::new("a field is taken out").await else { return };
    let (report, seen) = world.report(3).await;
    let full = write(&world.server, &world.key, &seen.resource_version, &status(&report)).await;
    let Answer::Written(version) = full else { panic!("{full:?}") };
    let refused = Report { in_force: None, ..(*report).clone() };
    let empty = write(&world.server, &world.key, &version, &status(&refused)).await;
    assert!(matches!(empty, Answer::Written(_)), "{empty:?}");
    let object = world.get().await;
    assert_eq!(shown(&object).status.scoring_uri, None, "{}", object.status);
    assert_eq!(shown(&object).status.versions, []);
    assert_eq!(shown(&object).status.conditions.len(), Aspect::ALL.len());
    world.end().await;
}

#[tokio::test]
async fn a_role_that_lacks_the_verb_is_told_from_other_failures() {
    let Some((world, cluster)) = World::new("a role lacks the verb").await else { return };
    let (report, seen) = world.report(3).await;
    let nobody = connect(&cluster.as_user("nobody")).await;
    let answer = write(&nobody, &world.key, &seen.resource_version, &status(&report)).await;
    let Answer::Forbidden(message) = &answer else { panic!("{answer:?}") };
    assert!(message.contains("cannot patch resource \"inferenceendpoints/status\""), "{message}");
    let away = cluster.variant(&cluster.address(), "127.0.0.1:1");
    let answer = write_through(&away, &world, &seen, &report).await;
    assert!(matches!(answer, Answer::Failed(_)), "{answer:?}");
    world.end().await;
}

async fn write_through(kubeconfig: &Path, world: &World, seen: &Shown, report: &Report) -> Answer {
    let server = connect(kubeconfig).await;
    write(&server, &world.key, &seen.resource_version, &status(report)).await
}
