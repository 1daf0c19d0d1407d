//! All watches but those of Secrets, and whether they are in step.

use std::{collections::HashSet, sync::Arc, time::Duration};

use tokio::{sync::mpsc, time::Instant};

use super::{
    client::ApiServer,
    facts::{Fact, Scope},
    objects::{EndpointObject, Hpa, Pod, ReplicaSet, Workload},
    target::WorkloadKind,
    watch::{News, Subject, Watch},
};
use crate::lifecycle::Lifecycle;

const APPS: &str = "/apis/apps/v1";
const GROUP: &str = "/apis/modelway.dev/v1alpha1";

/// What a watch is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Topic {
    Endpoints,
    Deployments,
    StatefulSets,
    ReplicaSets,
    Pods,
    Hpas,
    Routers,
}

/// One watch.
#[derive(Debug)]
struct Source {
    topic: Topic,
    scope: Scope,
    /// For people.
    subject: String,
    watch: Watch,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Sources {
    all: Vec<Source>,
    /// Those that were heard completely at least once.
    heard: HashSet<(Topic, Scope)>,
    begun: Instant,
}

/// Starts watches that report to one actor.
struct Starter<'a> {
    lifecycle: &'a Lifecycle,
    server: &'a ApiServer,
    facts: &'a mpsc::Sender<Fact>,
    all: Vec<Source>,
}

impl Sources {
    /// Starts the watches, for each of the namespaces or for all at once. `routers` selects the
    /// router's own kind of pods in its own namespace.
    pub(super) fn start(
        lifecycle: &Lifecycle,
        server: &ApiServer,
        facts: &mpsc::Sender<Fact>,
        namespaces: &[Arc<str>],
        routers: Option<&str>,
    ) -> Self {
        let mut starter = Starter { lifecycle, server, facts, all: Vec::new() };
        let scopes: Vec<Scope> = if namespaces.is_empty() {
            vec![None]
        } else {
            namespaces.iter().cloned().map(Some).collect()
        };
        for scope in scopes {
            starter.start_scope(&scope);
        }
        if let Some(labels) = routers {
            let namespace: Arc<str> = server.own_namespace.as_str().into();
            let subject = Subject {
                label_selector: Some(labels.to_owned()),
                namespace: Some(Arc::clone(&namespace)),
                ..Subject::all("/api/v1", "pods")
            };
            let scope = Some(namespace);
            starter.begin::<Pod>(Topic::Routers, &scope, subject, |_, news| Fact::Routers(news));
        }
        Self { all: starter.all, heard: HashSet::new(), begun: Instant::now() }
    }

    /// Remembers which topics were heard completely.
    pub(super) fn note(&mut self, fact: &Fact) {
        let heard = match fact {
            Fact::Endpoints(scope, News::All(_)) => (Topic::Endpoints, scope.clone()),
            Fact::Workloads(WorkloadKind::Deployment, scope, News::All(_)) => {
                (Topic::Deployments, scope.clone())
            }
            Fact::Workloads(WorkloadKind::StatefulSet, scope, News::All(_)) => {
                (Topic::StatefulSets, scope.clone())
            }
            Fact::ReplicaSets(scope, News::All(_)) => (Topic::ReplicaSets, scope.clone()),
            Fact::Pods(scope, News::All(_)) => (Topic::Pods, scope.clone()),
            Fact::Hpas(scope, News::All(_)) => (Topic::Hpas, scope.clone()),
            _ => return,
        };
        self.heard.insert(heard);
    }

    /// Why the picture is not complete yet; `None` once it is. Other routers are not waited for, nor
    /// HPAs that cannot be had: requests can be served without them. Those that are on their way
    /// are, because nothing may be scaled that an HPA scales.
    pub(super) fn missing(&self) -> Option<String> {
        let missing = self.all.iter().find(|source| {
            let is_optional = match source.topic {
                Topic::Routers => true,
                Topic::Hpas => source.watch.progress().trouble.is_some(),
                _ => false,
            };
            !is_optional && !self.heard.contains(&(source.topic, source.scope.clone()))
        })?;
        let trouble = missing.watch.progress().trouble;
        let why = trouble.unwrap_or_else(|| "not listed yet".to_owned());
        Some(format!("{}: {why}", missing.subject))
    }

    /// How long ago all of them were last proved to be in step; since the start, for one that never
    /// was. HPAs and other routers are no part of the catalog.
    pub(super) fn age(&self) -> Duration {
        let is_catalog = |topic| !matches!(topic, Topic::Hpas | Topic::Routers);
        let age = |source: &Source| source.watch.progress().proof_age;
        let sources = self.all.iter().filter(|source| is_catalog(source.topic));
        let ages = sources.map(|source| age(source).unwrap_or_else(|| self.begun.elapsed()));
        ages.max().unwrap_or_default()
    }
}

impl Starter<'_> {
    fn start_scope(&mut self, scope: &Scope) {
        let subject =
            |group, plural| Subject { namespace: scope.clone(), ..Subject::all(group, plural) };
        let endpoints = subject(GROUP, "inferenceendpoints");
        self.begin::<EndpointObject>(Topic::Endpoints, scope, endpoints, Fact::Endpoints);
        let sets = Subject { metadata_only: true, ..subject(APPS, "replicasets") };
        self.begin::<ReplicaSet>(Topic::ReplicaSets, scope, sets, Fact::ReplicaSets);
        self.begin::<Workload>(
            Topic::Deployments,
            scope,
            subject(APPS, "deployments"),
            |scope, news| Fact::Workloads(WorkloadKind::Deployment, scope, news),
        );
        self.begin::<Workload>(
            Topic::StatefulSets,
            scope,
            subject(APPS, "statefulsets"),
            |scope, news| Fact::Workloads(WorkloadKind::StatefulSet, scope, news),
        );
        self.begin::<Pod>(Topic::Pods, scope, subject("/api/v1", "pods"), Fact::Pods);
        let hpas = subject("/apis/autoscaling/v2", "horizontalpodautoscalers");
        self.begin::<Hpa>(Topic::Hpas, scope, hpas, Fact::Hpas);
    }

    fn begin<T: super::objects::Object>(
        &mut self,
        topic: Topic,
        scope: &Scope,
        subject: Subject,
        wrap: impl Fn(Scope, News<T>) -> Fact + Send + 'static,
    ) {
        let about = scope.clone();
        let wrap = move |news| wrap(about.clone(), news);
        let shown = subject.to_string();
        let watch = Watch::start(self.lifecycle, self.server, subject, self.facts.clone(), wrap);
        self.all.push(Source { topic, scope: scope.clone(), subject: shown, watch });
    }
}
