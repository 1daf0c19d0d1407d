//! The live routing table: the catalog with everything resolved that a request needs.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use arc_swap::ArcSwap;
use http::{HeaderMap, HeaderValue, header, uri::PathAndQuery};

use super::{crowd::Crowd, error::ProxyError, failures::Failures, head, settings::Settings};
use crate::{
    auth::Tokens,
    domain::{Catalog, Change, Endpoint, Name, StickyBy, Version, VersionKey},
    lifecycle::Lifecycle,
    replica::{Registry, VersionState},
    routing::{Split, sticky_version},
    telemetry::{AccessLog, EndpointMetrics, Metrics, VersionMetrics},
};

/// What all data-plane threads share.
#[derive(Debug)]
pub struct Proxy {
    pub(super) routes: ArcSwap<Routes>,
    pub(super) settings: Settings,
    pub(super) lifecycle: Lifecycle,
    pub(super) metrics: Arc<Metrics>,
    pub(super) unrouted: Arc<EndpointMetrics>,
    pub(super) access_log: AccessLog,
    /// Who knows the keys that tokens are signed with.
    pub(super) tokens: Arc<dyn Tokens>,
    /// Client connections now, over all threads.
    pub(super) connections: AtomicUsize,
    /// The same by address, and how many one address may have.
    pub(super) crowd: Crowd,
    pub(super) per_address_max: usize,
    /// Tries with wrong credentials.
    pub(super) failures: Failures,
    registry: Arc<Registry>,
}

/// All routes of one catalog. A copy costs two reference counts for each endpoint.
#[derive(Debug, Clone, Default)]
pub(super) struct Routes {
    endpoints: HashMap<Name, Arc<LiveEndpoint>>,
    /// Names, so that the change of an endpoint does not change its hosts.
    hosts: Arc<HashMap<Box<str>, Name>>,
}

/// An endpoint with its live parts.
#[derive(Debug)]
pub(super) struct LiveEndpoint {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) metrics: Arc<EndpointMetrics>,
    versions: Vec<Arc<LiveVersion>>,
    split: Split,
    /// Counts unpinned requests; outlives edits, so that the sequence goes on.
    tickets: Arc<AtomicU64>,
}

/// A version with its live parts.
#[derive(Debug)]
pub(super) struct LiveVersion {
    endpoint: Arc<Endpoint>,
    index: usize,
    pub(super) state: Arc<VersionState>,
    pub(super) metrics: Arc<VersionMetrics>,
    /// The name as the value of `x-modelway-version`.
    pub(super) label: HeaderValue,
    /// `scoringPath`, ready to be sent.
    pub(super) scoring: PathAndQuery,
}

impl Proxy {
    /// A data plane without endpoints.
    pub fn new(
        settings: Settings,
        lifecycle: Lifecycle,
        registry: Arc<Registry>,
        metrics: Arc<Metrics>,
        access_log: AccessLog,
        tokens: Arc<dyn Tokens>,
    ) -> Arc<Self> {
        Arc::new(Self {
            routes: ArcSwap::default(),
            unrouted: metrics.unrouted(),
            crowd: Crowd::default(),
            per_address_max: settings.per_address_max(),
            failures: Failures::new(settings.failed_credentials),
            settings,
            lifecycle,
            metrics,
            access_log,
            tokens,
            connections: AtomicUsize::new(0),
            registry,
        })
    }

    /// Routes by a new catalog from now on. Requests in progress keep what they have; versions
    /// gone from the catalog finish their queue. Calls must not overlap. Costs as much as what has
    /// changed, and a pass over the pointers of all endpoints.
    pub fn publish(&self, catalog: &Catalog) {
        let changes = self.registry.apply(catalog);
        if !changes.is_empty() {
            let mut routes = Routes::clone(&self.routes.load());
            for change in &changes {
                self.follow(change, &mut routes);
            }
            if changes.iter().any(changes_hosts) {
                routes.hosts = Arc::new(hosts(catalog));
            }
            self.routes.store(Arc::new(routes));
        }
        self.registry.release();
        self.drop_metrics(catalog);
    }

    fn follow(&self, change: &Change, routes: &mut Routes) {
        let Some(name) = change.name() else { return };
        let before = routes.endpoints.remove(name);
        let live = change.now.as_ref().and_then(|now| self.resolve(now, before.as_ref()));
        if let Some(live) = live {
            routes.endpoints.insert(name.clone(), Arc::new(live));
        }
    }

    /// Drops the series of versions that are gone. Each version of the catalog has been asked for,
    /// so when there are as many they are the same ones. What brought a gone one back, as a scrape
    /// of a moment too late does, is found at the next publication.
    fn drop_metrics(&self, catalog: &Catalog) {
        let counts = catalog.endpoints.values().map(|endpoint| endpoint.versions.len());
        let versions: usize = counts.sum();
        if self.metrics.versions() == versions {
            return;
        }
        let kept: BTreeSet<VersionKey> = catalog
            .endpoints
            .values()
            .flat_map(|endpoint| endpoint.versions.iter().map(|version| endpoint.key_of(version)))
            .collect();
        self.metrics.retain(&kept);
    }

    fn resolve(
        &self,
        endpoint: &Arc<Endpoint>,
        before: Option<&Arc<LiveEndpoint>>,
    ) -> Option<LiveEndpoint> {
        let percentiles: Vec<u8> =
            endpoint.versions.iter().map(|version| version.traffic_percentile).collect();
        // Before anything can fail: `drop_metrics` relies on it.
        let metrics: Vec<_> = endpoint
            .versions
            .iter()
            .map(|version| self.metrics.version(&endpoint.key_of(version)))
            .collect();
        let versions = endpoint
            .versions
            .iter()
            .zip(metrics)
            .enumerate()
            .map(|(index, (version, metrics))| {
                let live = LiveVersion {
                    endpoint: Arc::clone(endpoint),
                    index,
                    state: self.registry.version(&endpoint.key_of(version))?,
                    metrics,
                    label: HeaderValue::from_str(version.name.as_str()).ok()?,
                    scoring: PathAndQuery::try_from(version.scoring_path.as_ref()).ok()?,
                };
                Some(Arc::new(live))
            })
            .collect::<Option<Vec<_>>>();
        if versions.is_none() {
            tracing::error!(endpoint = %endpoint.name, "endpoint cannot be routed, left out");
        }
        Some(LiveEndpoint {
            metrics: self.metrics.endpoint(&endpoint.name),
            versions: versions?,
            split: Split::new(&percentiles, endpoint.default_version),
            tickets: before.map(|live| Arc::clone(&live.tickets)).unwrap_or_default(),
            endpoint: Arc::clone(endpoint),
        })
    }
}

/// Which endpoint has a host. If several say so, the last one by name.
fn hosts(catalog: &Catalog) -> HashMap<Box<str>, Name> {
    let endpoints = catalog.endpoints.values();
    let hosts =
        endpoints.flat_map(|endpoint| endpoint.hosts.iter().map(move |host| (host, endpoint)));
    hosts.map(|(host, endpoint)| (host.clone(), endpoint.name.clone())).collect()
}

fn changes_hosts(change: &Change) -> bool {
    fn hosts(endpoint: Option<&Arc<Endpoint>>) -> &[Box<str>] {
        endpoint.map_or(&[], |endpoint| &endpoint.hosts)
    }
    hosts(change.before.as_ref()) != hosts(change.now.as_ref())
}

impl Routes {
    pub(super) fn endpoint(&self, name: &str) -> Option<&Arc<LiveEndpoint>> {
        self.endpoints.get(name)
    }

    /// The endpoint that lists this authority as one of its hosts.
    pub(super) fn host(&self, authority: &str) -> Option<&Arc<LiveEndpoint>> {
        if self.hosts.is_empty() {
            return None;
        }
        self.endpoints.get(self.hosts.get(head::host_of(authority).as_ref())?)
    }
}

impl LiveEndpoint {
    /// The version for this request: the pinned one, the sticky one, or the next of the split.
    pub(super) fn choose(&self, headers: &HeaderMap) -> Result<&Arc<LiveVersion>, ProxyError> {
        if let Some(pin) = head::single(headers, &head::PIN)? {
            // Whoever names a version wants that one or an error, not the default in its place.
            return self.versions.get(self.pinned(pin)?).ok_or(ProxyError::Internal);
        }
        let index = self
            .sticky(headers)
            .unwrap_or_else(|| self.split.version(self.tickets.fetch_add(1, Ordering::Relaxed)));
        let chosen = self.versions.get(index).ok_or(ProxyError::Internal)?;
        if chosen.settings().fallback_to_default && !chosen.state.is_ready() {
            return self.versions.get(self.endpoint.default_version).ok_or(ProxyError::Internal);
        }
        Ok(chosen)
    }

    fn pinned(&self, pin: &HeaderValue) -> Result<usize, ProxyError> {
        let asked = String::from_utf8_lossy(pin.as_bytes());
        if let Some((index, _)) = self.endpoint.version(&asked) {
            return Ok(index);
        }
        let known: Vec<&str> = self.endpoint.versions.iter().map(|v| v.name.as_str()).collect();
        Err(ProxyError::Version {
            endpoint: self.endpoint.name.clone(),
            asked: asked.chars().take(64).collect::<String>().into(),
            known: known.join(", ").into(),
        })
    }

    fn sticky(&self, headers: &HeaderMap) -> Option<usize> {
        let key = match self.endpoint.sticky_by.as_ref()? {
            StickyBy::Header(name) => headers.get(name.as_ref())?.as_bytes(),
            StickyBy::Cookie(name) => cookie(headers, name.as_bytes())?,
        };
        let names = self.endpoint.versions.iter().map(|version| version.name.as_str());
        let shares = names.zip(self.split.shares().iter().copied());
        sticky_version(self.endpoint.name.as_str(), key, shares)
    }
}

fn cookie<'h>(headers: &'h HeaderMap, name: &[u8]) -> Option<&'h [u8]> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .flat_map(|field| field.as_bytes().split(|b| *b == b';'))
        .find_map(|pair| pair.trim_ascii().strip_prefix(name)?.strip_prefix(b"="))
}

impl LiveVersion {
    /// The version's settings.
    pub(super) fn settings(&self) -> &Version {
        self.endpoint.versions.get(self.index).expect("the index was taken from this endpoint")
    }

    /// The endpoint it belongs to.
    pub(super) fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }
}

#[cfg(test)]
#[path = "routes_tests.rs"]
mod tests;
