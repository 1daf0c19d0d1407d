//! All issuers of the catalog, and the task that follows it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::SystemTime,
};

use arc_swap::ArcSwap;
use tokio::{
    sync::Notify,
    task::{AbortHandle, JoinSet},
};

use super::{
    cache::Cache,
    check::OwnKeys,
    fetch::Fetch,
    source::{Source, SourceId},
};
use crate::{
    domain::{Catalog, IssuerStatus},
    lifecycle::{Lifecycle, Phase},
    telemetry::Metrics,
};

/// The most issuers whose keys are kept. One router serves the tenants of a cluster, each with a few;
/// every one costs a fetch in 5 to 15 minutes.
pub const ISSUERS_MAX: usize = 256;

/// What the data plane asks about tokens.
pub struct Issuers {
    sources: ArcSwap<BTreeMap<SourceId, Arc<Source>>>,
    changed: Notify,
    pub(super) cache: Cache,
    pub(super) own: Option<Arc<dyn OwnKeys>>,
    pub(super) clock: fn() -> SystemTime,
}

impl fmt::Debug for Issuers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuers").field("own", &self.own).finish_non_exhaustive()
    }
}

impl Issuers {
    /// No issuer yet. `own` knows the keys of the router's own tokens, which every endpoint that
    /// takes tokens accepts; `clock` tells the time on the wall.
    pub fn new(own: Option<Arc<dyn OwnKeys>>, clock: fn() -> SystemTime) -> Arc<Self> {
        Arc::new(Self {
            sources: ArcSwap::default(),
            changed: Notify::new(),
            cache: Cache::new(),
            own,
            clock,
        })
    }

    /// Keeps the keys of every issuer that was [published](Self::publish), until the process stops.
    pub async fn keep(
        self: Arc<Self>,
        lifecycle: Lifecycle,
        fetch: Arc<dyn Fetch>,
        metrics: Arc<Metrics>,
    ) {
        let mut tasks = Tasks { fetch, metrics, handles: BTreeMap::new(), set: JoinSet::new() };
        loop {
            tasks.follow(&self.sources.load());
            tokio::select! {
                () = self.changed.notified() => {}
                () = lifecycle.reached(Phase::Stopped) => return,
                Some(ended) = tasks.set.join_next() => note(&ended),
            }
        }
    }

    /// What is shown of every issuer.
    pub fn statuses(&self) -> Vec<IssuerStatus> {
        self.sources.load().values().map(|source| source.status()).collect()
    }

    pub(super) fn source(&self, id: &SourceId) -> Option<Arc<Source>> {
        self.sources.load().get(id).map(Arc::clone)
    }

    /// Takes up the new issuers of a catalog and gives up those that no endpoint names any more. To be
    /// called before the data plane has the catalog, so that its first request finds its issuer.
    /// Calls must not overlap.
    pub fn publish(&self, catalog: &Catalog) {
        let wanted = issuers_of(catalog);
        let before = self.sources.load();
        if wanted.len() == before.len() && wanted.iter().all(|id| before.contains_key(id)) {
            return;
        }
        let mut sources: BTreeMap<_, _> = before
            .iter()
            .filter(|(id, _)| wanted.contains(id))
            .map(|(id, source)| (id.clone(), Arc::clone(source)))
            .collect();
        for id in wanted {
            if sources.contains_key(&id) {
                continue;
            }
            if sources.len() == ISSUERS_MAX {
                tracing::warn!(
                    issuer = %id.issuer, limit = ISSUERS_MAX,
                    "the keys of the issuer are not fetched: there are too many issuers"
                );
                continue;
            }
            let source = Source::new(id.clone());
            sources.insert(id, source);
        }
        self.sources.store(Arc::new(sources));
        self.changed.notify_one();
    }
}

/// Every issuer that an endpoint names, once.
fn issuers_of(catalog: &Catalog) -> BTreeSet<SourceId> {
    let policies = catalog.endpoints.values().filter_map(|endpoint| endpoint.auth.token.as_ref());
    policies.flat_map(|policy| policy.issuers.iter().map(SourceId::of)).collect()
}

/// One task for each issuer.
struct Tasks {
    fetch: Arc<dyn Fetch>,
    metrics: Arc<Metrics>,
    handles: BTreeMap<SourceId, (Arc<Source>, AbortHandle)>,
    set: JoinSet<()>,
}

impl Tasks {
    fn follow(&mut self, sources: &BTreeMap<SourceId, Arc<Source>>) {
        self.handles.retain(|id, (source, handle)| {
            // One that went and came back is another one; one whose task has panicked gets a new task.
            let is_same = sources.get(id).is_some_and(|now| Arc::ptr_eq(now, source));
            let stays = is_same && !handle.is_finished();
            if !stays {
                handle.abort();
                if !sources.keys().any(|other| other.issuer == id.issuer) {
                    self.metrics.drop_issuer(&id.issuer);
                }
            }
            stays
        });
        for (id, source) in sources {
            if !self.handles.contains_key(id) {
                let keep =
                    keep(Arc::clone(source), Arc::clone(&self.fetch), Arc::clone(&self.metrics));
                self.handles.insert(id.clone(), (Arc::clone(source), self.set.spawn(keep)));
            }
        }
    }
}

fn note(ended: &Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "the task that keeps an issuer's keys panicked");
    }
}

/// Fetches the keys of one issuer for ever.
async fn keep(source: Arc<Source>, fetch: Arc<dyn Fetch>, metrics: Arc<Metrics>) {
    loop {
        source.begin();
        let result = fetch.fetch(&source.id).await;
        let (rest, outcome) = source.end(result, rand::random());
        metrics.issuer_fetch(&source.id.issuer, outcome);
        tokio::select! {
            () = tokio::time::sleep(rest) => {}
            () = source.asked.notified() => {}
        }
    }
}
