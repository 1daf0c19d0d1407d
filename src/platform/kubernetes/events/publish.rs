//! The task that publishes events.
//!
//! kube's recorder joins events that agree in object, reason, action and workload into a series for
//! six minutes: the first is created, each further one is a patch of its count and time. It never
//! looks at the note, so the note of a series stays the first one (seen in kube-runtime 5.0.0,
//! `events.rs`); that is why each [`Event::action`] holds what differs. Its memory of series has no
//! bound but its six minutes, so the pace of the task bounds it. A series whose event was deleted
//! fails until it is forgotten, so a recorder that gets a 404 is replaced.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{self, EventType, Recorder, Reporter};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use super::{
    super::{
        client::{ApiServer, CALL_LIMIT, CallError, within},
        objects::ObjectKey,
        report::cut,
    },
    changes::Event,
    kind::EventKind,
};
use crate::lifecycle::{Lifecycle, Phase};

/// The most events that wait: one for each of a thousand endpoints.
const QUEUE_MAX: usize = 1024;
/// The pause after each event. With the six minutes of the recorder's memory this bounds it to
/// 3 600 series, some megabytes.
const EVENT_INTERVAL: Duration = Duration::from_millis(100);
/// The least time between two warnings of one series: a load at its limit crosses it many times a
/// minute.
const REPEAT_INTERVAL: Duration = Duration::from_secs(60);
/// How often an event is tried before it is dropped.
const TRIES_MAX: u32 = 3;
/// The wait before the second try; it doubles with each further one.
const RETRY_WAIT: Duration = Duration::from_secs(1);
/// The component that says it.
const CONTROLLER: &str = "modelway.dev/router";
/// The most bytes of the name of the router (the API server's own limit for
/// `reportingInstance`). Names of pods may be longer.
const INSTANCE_BYTES_MAX: usize = 128;

/// Says events. Clones are the same.
#[derive(Clone)]
pub(in super::super) struct Events {
    queue: mpsc::Sender<Event>,
    leads: watch::Receiver<bool>,
    dropped: Arc<AtomicU64>,
}

impl Events {
    /// Starts the task that publishes, until [`Phase::Stopped`]. `instance` is the name of the
    /// router's pod.
    pub(in super::super) fn start(
        lifecycle: &Lifecycle,
        server: ApiServer,
        leads: watch::Receiver<bool>,
        instance: &str,
    ) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        let dropped = Arc::default();
        let reporter = Reporter {
            controller: CONTROLLER.to_owned(),
            instance: Some(cut(instance.to_owned(), INSTANCE_BYTES_MAX)),
        };
        let publisher = Publisher {
            recorder: Recorder::new(server.client().clone(), reporter.clone()),
            server,
            reporter,
            leads: leads.clone(),
            repeats: Repeats::default(),
            dropped: Arc::clone(&dropped),
            said_forbidden: false,
        };
        let life = lifecycle.clone();
        lifecycle.spawn("events", async move {
            tokio::select! {
                () = life.reached(Phase::Stopped) => {}
                () = publisher.run(waiting) => {}
            }
        });
        Self { queue, leads, dropped }
    }

    /// Queues events; what does not fit is dropped and counted. Does nothing while not leading.
    /// Does not wait.
    pub(in super::super) fn say(&self, events: Vec<Event>) {
        if !*self.leads.borrow() {
            return;
        }
        for event in events {
            if self.queue.try_send(event).is_err() {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Events that were dropped since the start: too many waited, or the API server took them not.
    #[cfg_attr(not(test), expect(dead_code, reason = "a metric will show it"))]
    pub(in super::super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

struct Publisher {
    server: ApiServer,
    recorder: Recorder,
    reporter: Reporter,
    leads: watch::Receiver<bool>,
    repeats: Repeats,
    dropped: Arc<AtomicU64>,
    /// Whether it was said that the role lacks the verbs, since the last event that was taken.
    said_forbidden: bool,
}

impl Publisher {
    async fn run(mut self, mut waiting: mpsc::Receiver<Event>) {
        while let Some(event) = waiting.recv().await {
            if !self.repeats.is_due(&event, Instant::now()) {
                continue;
            }
            if !self.publish(&event).await {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
            tokio::time::sleep(EVENT_INTERVAL).await;
        }
    }

    /// Whether the event is out, or nobody wants it any more.
    async fn publish(&mut self, event: &Event) -> bool {
        let (said, regarding) = (said(event), regarding(event));
        let mut wait = RETRY_WAIT;
        for tried in 1..=TRIES_MAX {
            if !*self.leads.borrow() {
                return true;
            }
            let error = match within(CALL_LIMIT, self.recorder.publish(&said, &regarding)).await {
                Ok(()) => {
                    self.said_forbidden = false;
                    return true;
                }
                Err(error) => error,
            };
            match Trouble::of(&error) {
                Trouble::NamespaceEnds => return true,
                Trouble::SeriesGone => self.renew(),
                Trouble::Forbidden => {
                    self.warn_forbidden(event, &error);
                    return false;
                }
                Trouble::Refused => {
                    tracing::warn!(endpoint = %event.key, %error, "an event was refused");
                    return false;
                }
                Trouble::Passing if tried < TRIES_MAX => {
                    tokio::time::sleep(wait).await;
                    wait *= 2;
                }
                Trouble::Passing => {}
            }
        }
        tracing::debug!(endpoint = %event.key, reason = event.kind.as_str(), "an event is dropped");
        false
    }

    fn renew(&mut self) {
        self.recorder = Recorder::new(self.server.client().clone(), self.reporter.clone());
    }

    fn warn_forbidden(&mut self, event: &Event, error: &CallError) {
        if !std::mem::replace(&mut self.said_forbidden, true) {
            tracing::warn!(
                endpoint = %event.key,
                "events are not written: the router's role needs the verbs create and patch on \
                 events of events.k8s.io in namespace {} ({error})",
                event.key.namespace
            );
        }
    }
}

/// Why an event was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    /// The namespace is being deleted and takes nothing new, or is gone.
    NamespaceEnds,
    /// The event whose count was to grow is gone.
    SeriesGone,
    Forbidden,
    /// The API server says that it is not well-formed.
    Refused,
    /// Another time it may be taken.
    Passing,
}

impl Trouble {
    fn of(error: &CallError) -> Self {
        let CallError::Kube(kube::Error::Api(status)) = error else { return Self::Passing };
        let details = status.details.as_ref();
        let ends = details.is_some_and(|details| {
            let causes = &details.causes;
            let of_namespace = details.kind == "namespaces" && status.code == 404;
            of_namespace || causes.iter().any(|cause| cause.reason == "NamespaceTerminating")
        });
        match status.code {
            _ if ends => Self::NamespaceEnds,
            404 => Self::SeriesGone,
            401 | 403 => Self::Forbidden,
            400 | 413 | 422 => Self::Refused,
            _ => Self::Passing,
        }
    }
}

/// When each warning was said last. What is older than [`REPEAT_INTERVAL`] is forgotten, so the
/// pace of the task bounds it.
#[derive(Debug, Default)]
struct Repeats(HashMap<(ObjectKey, EventKind, String), Instant>);

impl Repeats {
    /// Whether the event may be said now; then it counts as said.
    fn is_due(&mut self, event: &Event, now: Instant) -> bool {
        if !event.kind.is_warning() {
            return true;
        }
        self.0.retain(|_, said| now.saturating_duration_since(*said) < REPEAT_INTERVAL);
        let series = (event.key.clone(), event.kind, event.action.clone());
        if self.0.contains_key(&series) {
            return false;
        }
        self.0.insert(series, now);
        true
    }
}

fn said(event: &Event) -> events::Event {
    let related = event.related.as_ref().map(|target| ObjectReference {
        api_version: Some("apps/v1".to_owned()),
        kind: Some(target.kind.as_str().to_owned()),
        namespace: Some(event.key.namespace.to_string()),
        name: Some(target.name.to_string()),
        ..ObjectReference::default()
    });
    events::Event {
        type_: if event.kind.is_warning() { EventType::Warning } else { EventType::Normal },
        reason: event.kind.as_str().to_owned(),
        note: Some(event.note.clone()),
        action: event.action.clone(),
        secondary: related,
    }
}

fn regarding(event: &Event) -> ObjectReference {
    ObjectReference {
        api_version: Some("modelway.dev/v1alpha1".to_owned()),
        kind: Some("InferenceEndpoint".to_owned()),
        namespace: Some(event.key.namespace.to_string()),
        name: Some(event.key.name.to_string()),
        uid: Some(event.uid.to_string()),
        ..ObjectReference::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: EventKind, action: &str) -> Event {
        Event {
            kind,
            key: ObjectKey { namespace: "models".into(), name: "fraud".into() },
            uid: "uid-1".into(),
            action: action.to_owned(),
            related: None,
            note: "a note".to_owned(),
        }
    }

    #[test]
    fn a_warning_may_be_said_again_after_the_interval_and_news_always() {
        let (mut repeats, now) = (Repeats::default(), Instant::now());
        let warning = event(EventKind::AtMaxReplicas, "Autoscale-blue");
        assert!(repeats.is_due(&warning, now));
        assert!(!repeats.is_due(&warning, now + REPEAT_INTERVAL - Duration::from_nanos(1)));
        assert!(repeats.is_due(&event(EventKind::AtMaxReplicas, "Autoscale-green"), now));
        assert!(repeats.is_due(&event(EventKind::HpaConflict, "Autoscale-blue"), now));
        assert!(repeats.is_due(&warning, now + REPEAT_INTERVAL));
        assert_eq!(repeats.0.len(), 1, "what is old is forgotten");
        for _ in 0..2 {
            assert!(repeats.is_due(&event(EventKind::ScaledUp, "Scale-blue-1-2"), now));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_fit_into_the_queue_is_dropped_and_counted() {
        let (queue, mut waiting) = mpsc::channel(QUEUE_MAX);
        let (_tell, leads) = watch::channel(true);
        let events = Events { queue, leads, dropped: Arc::default() };
        let scaled = event(EventKind::ScaledUp, "Scale-blue-1-2");
        events.say(vec![scaled; QUEUE_MAX + 3]);
        assert_eq!(events.dropped(), 3);
        assert!(waiting.recv().await.is_some());
    }
}
