//! What the admin port needs to know of the rest of the process, as plain data.

use std::{
    fmt,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{Credentials, Guard};
use crate::{
    domain::{Catalog, IssuerStatus, Name, ReplicaId, ReplicaState, VersionKey, VersionLoad},
    lifecycle::{Lifecycle, Phase},
    telemetry::{DecisionLog, Metrics},
};

/// The live state, asked for at each request of an operator. Calls return at once.
pub trait View: Send + Sync {
    /// The catalog in force.
    fn catalog(&self) -> Arc<Catalog>;
    /// The load of a version, without starting a new peak; `None` when it is not known.
    fn load(&self, key: &VersionKey) -> Option<VersionLoad>;
    /// How many replicas the autoscaler wants; `None` when it leaves the version alone.
    fn wanted(&self, key: &VersionKey) -> Option<u32>;
    /// Every replica of every version.
    fn replicas(&self) -> Vec<ReplicaView>;
    /// Time since the source of the catalog was last known to be in step with it.
    fn catalog_age(&self) -> Duration;
    /// The certificates that HTTPS is served with.
    fn certificates(&self) -> Vec<CertificateView>;
    /// The keys of outside issuers.
    fn issuers(&self) -> Vec<IssuerStatus>;
    /// This process.
    fn router(&self) -> RouterView;
}

/// One replica as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaView {
    /// Its endpoint.
    pub endpoint: Name,
    /// Its version.
    pub version: Name,
    /// Its name, for example `demo-blue-1`.
    pub name: Arc<str>,
    /// Its id within this router.
    pub id: ReplicaId,
    /// Where HTTP requests go; `None` while it has no address.
    pub address: Option<SocketAddr>,
    /// Whether it may get work.
    pub state: ReplicaState,
    /// Slots in use.
    pub busy: u32,
    /// All its slots.
    pub slots: u32,
    /// The process, where it is a local one that runs.
    pub pid: Option<u32>,
    /// How often it was started again.
    pub restarts: u32,
    /// For how long it gets no work because requests to it failed.
    pub set_aside: Option<Duration>,
    /// Why it is in its state, in words; empty when there is nothing to say.
    pub message: String,
}

/// One certificate as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateView {
    /// The first host it is for.
    pub name: Box<str>,
    /// When it expires.
    pub expires: SystemTime,
    /// Why its files as they are now are not in force; `None`: they are.
    pub refused: Option<String>,
}

/// One router process as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouterView {
    /// Its name: the pod or the host.
    pub name: String,
    /// The version of Modelway.
    pub version: String,
    /// When it started.
    pub started: SystemTime,
    /// Where clients reach it.
    pub data_address: SocketAddr,
    /// Where this API is.
    pub admin_address: SocketAddr,
    /// Threads of the data plane.
    pub workers: usize,
    /// The phase of its life.
    pub phase: Phase,
    /// Requests in progress, waiting ones included.
    pub requests: usize,
}

/// Everything the admin port shows. Clones show the same.
#[derive(Clone)]
pub struct AdminState {
    /// The readiness conditions and the phase.
    pub lifecycle: Lifecycle,
    /// What `/metrics` shows.
    pub metrics: Arc<Metrics>,
    /// The last scaling decisions.
    pub decisions: DecisionLog,
    /// The live state.
    pub view: Arc<dyn View>,
    /// Keys and tokens of endpoints.
    pub credentials: Arc<dyn Credentials>,
    /// Who may see and change those.
    pub guard: Arc<Guard>,
}

impl fmt::Debug for AdminState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminState").field("lifecycle", &self.lifecycle).finish_non_exhaustive()
    }
}
