//! What the admin port shows, gathered from the rooms that know it.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::sync::watch;

use crate::{
    admin::{CertificateView, ReplicaView, RouterView, View},
    control::DriverHandle,
    domain::{AsideCause, Catalog, IssuerStatus, LoadSource, SetAside, VersionKey, VersionLoad},
    lifecycle::Lifecycle,
    platform::Platform,
    proxy::Tls,
    replica::Registry,
    tokens::Issuers,
};

/// The rooms behind the admin port.
pub(super) struct Rooms {
    pub(super) catalog: watch::Receiver<Arc<Catalog>>,
    pub(super) registry: Arc<Registry>,
    pub(super) driver: DriverHandle,
    pub(super) platform: Arc<dyn Platform>,
    pub(super) lifecycle: Lifecycle,
    /// Where HTTPS is served.
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) issuers: Arc<Issuers>,
    pub(super) router: RouterView,
}

impl View for Rooms {
    fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.catalog.borrow())
    }

    fn load(&self, key: &VersionKey) -> Option<VersionLoad> {
        self.registry.peek_load(key)
    }

    fn wanted(&self, key: &VersionKey) -> Option<u32> {
        self.driver.wanted(key)
    }

    fn replicas(&self) -> Vec<ReplicaView> {
        let catalog = self.catalog();
        let statuses = self.platform.replicas();
        statuses
            .into_iter()
            .map(|status| {
                let endpoint = catalog.endpoints.get(&status.endpoint);
                let slots = endpoint
                    .and_then(|e| e.version(status.version.as_str()))
                    .map_or(0, |(_, version)| version.slots_per_replica);
                let load = self.registry.replica_load(status.id);
                let aside = load.and_then(|load| load.aside);
                ReplicaView {
                    address: status.address.parse().ok(),
                    endpoint: status.endpoint,
                    version: status.version,
                    name: status.name.into(),
                    id: status.id,
                    state: status.state,
                    busy: load.map_or(0, |load| load.busy),
                    slots,
                    pid: status.pid,
                    restarts: status.restarts,
                    set_aside: aside.map(|aside| aside.left),
                    message: match aside {
                        Some(aside) => explain(aside, &status.message),
                        None => status.message,
                    },
                }
            })
            .collect()
    }

    fn catalog_age(&self) -> Duration {
        self.platform.source_age()
    }

    fn certificates(&self) -> Vec<CertificateView> {
        let all = self.tls.as_ref().map(|tls| tls.certificates()).unwrap_or_default();
        all.into_iter()
            .map(|status| CertificateView {
                name: status.name,
                expires: status.expires,
                refused: status.refused,
            })
            .collect()
    }

    fn issuers(&self) -> Vec<IssuerStatus> {
        self.issuers.statuses()
    }

    fn router(&self) -> RouterView {
        RouterView {
            phase: self.lifecycle.phase(),
            requests: self.lifecycle.requests(),
            ..self.router.clone()
        }
    }
}

/// Why a replica gets no work although its platform may call it ready.
fn explain(aside: SetAside, platform: &str) -> String {
    let seconds = aside.left.as_secs_f64().ceil();
    let why = match aside.cause {
        AsideCause::Unreachable => "connections to it fail",
        AsideCause::TimedOut => "its requests time out",
    };
    let times = aside.times;
    let beside = if platform.is_empty() { String::new() } else { format!("; {platform}") };
    format!("set aside for {seconds:.0} s more: {why} ({times} times in a row){beside}")
}

/// The name of this router: of its pod or its host.
pub fn router_name() -> String {
    ["MODELWAY_POD_NAME", "HOSTNAME"]
        .iter()
        .find_map(|variable| std::env::var(variable).ok())
        .unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().into_owned())
}

/// Now, on the wall clock.
pub(super) fn started() -> SystemTime {
    SystemTime::now()
}
