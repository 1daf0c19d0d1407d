//! Endpoints and replicas from a Kubernetes cluster.
//!
//! *Promises*: what the API server said last stays in force for as long as it is away; nothing it
//! says, or fails to say, ends the router; only the leader writes; a call without an answer ends at
//! its deadline.
//!
//! *How*: watches (`watch`, `sources`) turn what the API server says into facts. One actor owns all
//! state: the cluster as it was last described (`cluster`), the endpoint objects and which of them
//! are in force (`endpoints`), the replicas (`fleet`, `seats`, `replica`) with their probes, the
//! keys. From these it builds catalogs. What is to be written leaves it as wishes: counts and marks
//! (`writes`, which calls `scale`), statuses (`status`) and events (`events`), all of them only
//! while this router leads (`leader`).
//!
//! *Not here*: the rules of an endpoint (`platform::spec`), how many replicas are wanted
//! (`autoscale`), when (`control`).

mod actor;
pub mod api;
mod board;
mod client;
mod cluster;
mod credentials;
mod endpoints;
mod events;
mod facts;
mod fleet;
mod keys;
mod leader;
mod legacy;
mod objects;
mod prober;
mod replica;
mod report;
mod reporter;
mod review;
mod scale;
mod seats;
mod selector;
mod signing;
mod sources;
mod status;
mod table;
mod target;
#[cfg(test)]
mod testing;
mod watch;
mod writes;

use std::{fmt, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, watch as latest};

pub use api::crd;
pub use client::{Access, AccessError};

use crate::{
    domain::{Catalog, CatalogSink, Decision, ReplicaId, ReplicaStatus},
    lifecycle::{Condition, Lifecycle, Phase},
    platform::{Orders, Platform, Vault, inbox::Inbox},
};
use board::Board;
use client::ApiServer;
use facts::Fact;
use leader::Leadership;

/// How many facts wait for the actor; watches wait when it is full.
const FACTS_WAITING_MAX: usize = 1024;

/// What an admin sets about the cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Where the API server is.
    pub access: Access,
    /// The namespaces whose endpoints are served; empty: all.
    pub namespaces: Vec<String>,
    /// Whether pods with azureml-fe's labels are endpoints too.
    pub legacy_labels: bool,
    /// The Lease that says which router scales, in the router's own namespace.
    pub lease: String,
    /// The name of this router's pod, or of its host.
    pub identity: String,
    /// The namespace of the router; that of the kubeconfig or the pod by default.
    pub own_namespace: Option<String>,
    /// Selects the routers' own pods in that namespace; `None` outside of a cluster.
    pub router_selector: Option<String>,
    /// What stands before the path in scoring URIs, for example `https://models.example`.
    pub public_url: String,
    /// How long the last keys of a Secret that was deleted or emptied stay valid.
    pub key_grace: Duration,
    /// The Secret with the keys that tokens are signed with, in the router's own namespace.
    pub signing_secret: String,
}

/// Handle to the platform; clones are the same platform.
#[derive(Clone)]
pub struct Kubernetes {
    inbox: Arc<Inbox>,
    board: Arc<Board>,
    facts: mpsc::Sender<Fact>,
    leads: latest::Receiver<bool>,
    server: ApiServer,
    reviews: Arc<review::Reviews>,
    signing: Arc<signing::SigningSecret>,
}

impl fmt::Debug for Kubernetes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kubernetes").finish_non_exhaustive()
    }
}

impl Kubernetes {
    /// Starts the platform on the current runtime. Fails only when it is not known where the API
    /// server is; one that is away is waited for. `synced` is met with the first catalog.
    pub async fn start(
        lifecycle: &Lifecycle,
        settings: Settings,
        sink: CatalogSink,
        synced: Condition,
    ) -> Result<Self, AccessError> {
        let mut server = ApiServer::find(&settings.access).await?;
        if let Some(namespace) = &settings.own_namespace {
            server.own_namespace.clone_from(namespace);
        }
        let (sender, facts) = mpsc::channel(FACTS_WAITING_MAX);
        let terms = leader::elect(lifecycle, &server, settings.lease(&server));
        let leads = follow(lifecycle, terms.clone());
        let board = Arc::new(Board::new());
        let inbox = Arc::<Inbox>::default();
        let namespaces: Vec<Arc<str>> =
            settings.namespaces.iter().map(|name| Arc::from(name.as_str())).collect();
        let status = status::StatusWriter::start(lifecycle, server.clone(), leads.clone());
        let events =
            events::Events::start(lifecycle, server.clone(), leads.clone(), &settings.identity);
        let signing = signing::SigningSecret::watch(
            lifecycle,
            &server,
            &settings.signing_secret,
            leads.clone(),
        );
        let signing = Arc::new(signing);
        let actor = actor::Actor {
            lifecycle: lifecycle.clone(),
            inbox: Arc::clone(&inbox),
            facts,
            leadership: terms,
            term: None,
            sink,
            synced,
            sources: sources::Sources::start(
                lifecycle,
                &server,
                &sender,
                &namespaces,
                settings.router_selector.as_deref(),
            ),
            cluster: cluster::Cluster::default(),
            endpoints: endpoints::Endpoints::default(),
            legacy: settings.legacy_labels.then(legacy::Legacy::default),
            fleet: fleet::Fleet::default(),
            keys: keys::Keys::new(
                lifecycle.clone(),
                server.clone(),
                sender.clone(),
                settings.key_grace,
            ),
            prober: prober::Prober::new(lifecycle.clone(), sender.clone()),
            writes: writes::Writes::new(lifecycle.clone(), server.clone(), sender.clone()),
            reporter: reporter::Reporter::new(status, events, settings.public_url),
            board: Arc::clone(&board),
            catalog: Catalog::default(),
            work: actor::Work::default(),
            is_synced: false,
            complete_at: None,
            ticks: 0,
        };
        lifecycle.spawn("kubernetes platform", actor.run());
        Ok(Self { inbox, board, facts: sender, leads, server, reviews: Arc::default(), signing })
    }

    /// Whether this router scales; follows the lease.
    pub fn leads(&self) -> latest::Receiver<bool> {
        self.leads.clone()
    }

    /// Where the keys that tokens are signed with are kept.
    pub fn signing_keys(&self) -> Arc<dyn Vault> {
        Arc::clone(&self.signing) as _
    }

    /// A decision of the autoscaler, for statuses and events. Does not wait.
    pub fn decided(&self, decision: Decision) {
        // When it is full, a status lacks the words of one decision; the count is right.
        drop(self.facts.try_send(Fact::Decided(decision)));
    }
}

impl Settings {
    fn lease(&self, server: &ApiServer) -> leader::LeaseSettings {
        leader::LeaseSettings {
            namespace: server.own_namespace.as_str().into(),
            name: self.lease.as_str().into(),
            identity: self.identity.as_str().into(),
        }
    }
}

/// Whether there is a term, for those who need to know no more.
fn follow(lifecycle: &Lifecycle, mut terms: Leadership) -> latest::Receiver<bool> {
    let (sender, leads) = latest::channel(false);
    let life = lifecycle.clone();
    lifecycle.spawn("leadership", async move {
        let follow = async {
            loop {
                sender.send_replace(terms.term().is_some());
                terms.changed().await;
            }
        };
        tokio::select! {
            () = follow => {}
            () = life.reached(Phase::Stopped) => {}
        }
    });
    leads
}

impl Platform for Kubernetes {
    fn orders(&self) -> Arc<dyn Orders> {
        Arc::clone(&self.inbox) as _
    }

    fn idle(&self, _replica: ReplicaId) {}

    fn replicas(&self) -> Vec<ReplicaStatus> {
        self.board.replicas()
    }

    fn source_age(&self) -> Duration {
        self.board.age()
    }

    fn shutdown(&self) -> BoxFuture<'static, ()> {
        // Nothing was started that outlives the router.
        Box::pin(std::future::ready(()))
    }
}
