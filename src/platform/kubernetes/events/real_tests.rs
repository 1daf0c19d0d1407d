//! Events on a real API server, and how often what is said.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::events::v1::Event as Shown;
use kube::{
    Api,
    api::{DeleteParams, ListParams},
};
use tokio::sync::watch;

use super::{
    super::{
        client::ApiServer,
        objects::ObjectKey,
        report::Target,
        target::WorkloadKind,
        testing::{cluster::Cluster, until},
    },
    Events,
    changes::{Event, NOTE_BYTES_MAX},
    kind::EventKind,
};
use crate::lifecycle::{Lifecycle, Phase};

/// How long anything may take on a busy machine. Everything here takes far less.
const LIMIT: Duration = Duration::from_secs(60);

struct World {
    server: ApiServer,
    namespace: String,
    lifecycle: Lifecycle,
    events: Events,
    leads: watch::Sender<bool>,
}

impl World {
    /// `None` where the programs are missing, which is said.
    async fn new(test: &str) -> Option<Self> {
        let cluster = Cluster::shared(test)?;
        let server = cluster.server().await;
        let namespace = cluster.namespace("events").await;
        let lifecycle = Lifecycle::new();
        let (leads, watched) = watch::channel(true);
        // A name as long as a pod's may be.
        let instance = "r".repeat(253);
        let events = Events::start(&lifecycle, server.clone(), watched, &instance);
        Some(Self { server, namespace, lifecycle, events, leads })
    }

    fn api(&self) -> Api<Shown> {
        Api::namespaced(self.server.client().clone(), &self.namespace)
    }

    fn event(&self, kind: EventKind, action: &str, note: &str) -> Event {
        Event {
            kind,
            key: ObjectKey { namespace: self.namespace.as_str().into(), name: "fraud".into() },
            uid: Arc::from("1b4e28ba-2fa1-11d2-883f-0016d3cca427"),
            action: action.to_owned(),
            related: Some(Target { kind: WorkloadKind::Deployment, name: "fraud-blue".into() }),
            note: note.to_owned(),
        }
    }

    /// Waits until exactly one event has this note; it.
    async fn shown(&self, note: &str) -> Shown {
        until(LIMIT, note, async || {
            let mut list = self.api().list(&ListParams::default()).await.expect("a list").items;
            list.retain(|event| event.note.as_deref() == Some(note));
            assert!(list.len() < 2, "{list:?}");
            list.pop()
        })
        .await
    }

    async fn count(&self) -> usize {
        self.api().list(&ListParams::default()).await.expect("a list").items.len()
    }

    async fn end(self) {
        self.lifecycle.enter(Phase::Stopped);
        self.lifecycle.finish_tasks(LIMIT).await;
    }
}

#[tokio::test]
async fn an_event_says_all_that_kubectl_shows() {
    let Some(world) = World::new("an event is shown").await else { return };
    let longest = "ä".repeat(NOTE_BYTES_MAX / 2);
    world.events.say(vec![world.event(EventKind::PodsFailing, "Watch-blue-Evicted", &longest)]);
    let shown = world.shown(&longest).await;
    assert_eq!(shown.type_.as_deref(), Some("Warning"));
    assert_eq!(shown.reason.as_deref(), Some("PodsFailing"));
    assert_eq!(shown.action.as_deref(), Some("Watch-blue-Evicted"));
    assert_eq!(shown.reporting_controller.as_deref(), Some("modelway.dev/router"));
    let regarding = shown.regarding.expect("an object");
    assert_eq!(regarding.kind.as_deref(), Some("InferenceEndpoint"));
    assert_eq!(regarding.name.as_deref(), Some("fraud"));
    assert_eq!(regarding.uid.as_deref(), Some("1b4e28ba-2fa1-11d2-883f-0016d3cca427"));
    let related = shown.related.expect("a workload");
    assert_eq!(related.name.as_deref(), Some("fraud-blue"));
    world.end().await;
}

#[tokio::test]
async fn different_numbers_are_different_events_and_the_same_ones_are_counted() {
    let Some(world) = World::new("events are counted").await else { return };
    let scaled = |from, to| {
        let action = format!("Scale-blue-{from}-{to}");
        world.event(EventKind::ScaledUp, &action, &format!("blue: {from} → {to} replicas"))
    };
    world.events.say(vec![scaled(1, 2), scaled(2, 4), scaled(1, 2), scaled(1, 2)]);
    world.shown("blue: 2 → 4 replicas").await;
    let series = until(LIMIT, "the third", async || {
        let shown = world.shown("blue: 1 → 2 replicas").await;
        shown.series.filter(|series| series.count == 3)
    });
    series.await;
    assert_eq!(world.count().await, 2);
    world.end().await;
}

#[tokio::test]
async fn a_warning_that_is_repeated_is_said_once() {
    let Some(world) = World::new("a warning is said once").await else { return };
    let warning = world.event(EventKind::AtMaxReplicas, "Autoscale-blue", "at the limit");
    let last = world.event(EventKind::ScaledUp, "Scale-blue-1-2", "the last");
    world.events.say(vec![warning.clone(), warning, last]);
    world.shown("the last").await;
    assert_eq!(world.shown("at the limit").await.series, None);
    world.end().await;
}

#[tokio::test]
async fn an_event_whose_series_was_deleted_is_said_anew() {
    let Some(world) = World::new("a deleted series").await else { return };
    let event = world.event(EventKind::ScaledUp, "Scale-blue-1-2", "again");
    world.events.say(vec![event.clone()]);
    let first = world.shown("again").await;
    let name = first.metadata.name.expect("a name");
    world.api().delete(&name, &DeleteParams::default()).await.expect("it is deleted");
    world.events.say(vec![event]);
    let second = world.shown("again").await;
    assert_ne!(second.metadata.name, Some(name));
    assert_eq!(world.events.dropped(), 0);
    world.end().await;
}

#[tokio::test]
async fn a_namespace_that_is_gone_holds_up_nobody() {
    let Some(world) = World::new("a namespace is gone").await else { return };
    let mut lost = world.event(EventKind::ScaledUp, "Scale-blue-1-2", "lost");
    lost.key.namespace = "never-was".into();
    world.events.say(vec![lost, world.event(EventKind::ScaledUp, "Scale-blue-1-2", "found")]);
    world.shown("found").await;
    assert_eq!(world.events.dropped(), 0);
    world.end().await;
}

#[tokio::test]
async fn who_does_not_lead_says_nothing() {
    let Some(world) = World::new("only the leader speaks").await else { return };
    world.leads.send_replace(false);
    world.events.say(vec![world.event(EventKind::ScaledUp, "Scale-blue-1-2", "unsaid")]);
    world.leads.send_replace(true);
    world.events.say(vec![world.event(EventKind::ScaledUp, "Scale-blue-2-3", "said")]);
    world.shown("said").await;
    assert_eq!(world.count().await, 1);
    world.end().await;
}

#[tokio::test]
async fn a_role_that_lacks_the_verb_costs_the_event_and_nothing_else() {
    let Some(cluster) = Cluster::shared("events are forbidden") else { return };
    let Some(world) = World::new("events are forbidden").await else { return };
    let nobody = super::super::testing::cluster::connect(&cluster.as_user("nobody")).await;
    let events = Events::start(&world.lifecycle, nobody, world.leads.subscribe(), "router-0");
    events.say(vec![world.event(EventKind::ScaledUp, "Scale-blue-1-2", "forbidden")]);
    until(LIMIT, "it is dropped", async || (events.dropped() == 1).then_some(())).await;
    assert_eq!(world.count().await, 0);
    world.end().await;
}
