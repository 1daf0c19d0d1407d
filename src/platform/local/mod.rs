//! Endpoints from files on this machine: replicas as child processes of the router, or at fixed
//! addresses.
//!
//! *Promises*: a replica that is ready in the catalog has passed its probe; a crash is seen at once
//! and the process started again, ever more slowly; an edit takes nothing away before its
//! replacement is ready; a process is stopped only when the data plane has no work on it, or after
//! its requests' longest time; no process outlives the router, however that ends.
//!
//! *How*: one actor owns all state ([`Local`] is its handle). `plan` says, purely, what to do;
//! `roster` does it; beside each replica a task (`supervise`) runs its process or address, and
//! reports. Processes start through a small step of the router's own binary ([`EXEC_REPLICA`]) that
//! ties them to the router's life, and a guardian process ([`EXEC_GUARDIAN`]) ends their helpers
//! when the router is killed. Everything runs on the control runtime, on the main thread: the
//! kernel ties a child's life to the thread that started it.
//!
//! *Not here*: reading the files (`platform::spec`), how many replicas are wanted (`autoscale`), the
//! two hidden commands (`cli`).

mod actor;
mod catalog;
mod guardian;
mod health;
mod output;
mod plan;
mod ports;
mod process;
mod replica;
mod roster;
mod supervise;
mod watch;

use std::{fmt, io, path::PathBuf, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::mpsc;

pub use output::Output;
pub use process::{EXEC_FAILED, EXEC_GUARDIAN, EXEC_REPLICA};
pub use watch::{Seen, watch, watch_since};

use crate::{
    domain::{CatalogSink, LoadSource, ReplicaId, ReplicaStatus},
    lifecycle::Lifecycle,
    platform::{
        Orders, Platform,
        inbox::{Inbox, Order},
        spec::EndpointSpec,
    },
};

/// How much news of replicas waits for the actor; their tasks wait when it is full.
const NEWS_WAITING_MAX: usize = 256;

/// How the local platform starts processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The router's binary, which has the commands [`EXEC_REPLICA`] and [`EXEC_GUARDIAN`]. `None`
    /// starts replicas directly, and a killed router leaves them behind.
    pub exec_step: Option<PathBuf>,
}

impl Settings {
    /// With the binary that runs now.
    pub fn of_this_binary() -> io::Result<Self> {
        Ok(Self { exec_step: Some(std::env::current_exe()?) })
    }
}

/// Handle to the local platform; clones are the same platform.
#[derive(Clone)]
pub struct Local {
    inbox: Arc<Inbox>,
    board: Arc<Mutex<Vec<ReplicaStatus>>>,
    alive: tokio::sync::watch::Receiver<()>,
}

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local").finish_non_exhaustive()
    }
}

impl Local {
    /// Starts the platform, without endpoints, on the current runtime: the control runtime, whose
    /// thread lives as long as the router. Nothing is published before the first [`Local::apply`].
    pub fn start(
        lifecycle: &Lifecycle,
        sink: CatalogSink,
        load: Arc<dyn LoadSource>,
        output: Output,
        settings: Settings,
    ) -> Self {
        let (events, news) = mpsc::channel(NEWS_WAITING_MAX);
        let (alive, watched) = tokio::sync::watch::channel(());
        let desk = supervise::Desk {
            lifecycle: lifecycle.clone(),
            load,
            outlet: output::Outlet::open(output),
            binary: settings.exec_step,
            events,
        };
        let local = Self { inbox: Arc::default(), board: Arc::default(), alive: watched };
        let actor = actor::Actor {
            roster: roster::Roster::new(Arc::new(desk)),
            inbox: Arc::clone(&local.inbox),
            news,
            sink,
            board: Arc::clone(&local.board),
            publisher: catalog::Publisher::default(),
            alive,
        };
        lifecycle.spawn("local platform", actor.run());
        local
    }

    /// Makes these the endpoints. Keys have to be filled in already. What is unchanged keeps its
    /// replicas; what has another target gets new ones, which take over when they are ready.
    pub fn apply(&self, specs: Vec<EndpointSpec>) {
        self.inbox.push(Order::Apply(specs));
    }
}

impl Platform for Local {
    fn orders(&self) -> Arc<dyn Orders> {
        Arc::clone(&self.inbox) as _
    }

    fn idle(&self, _replica: ReplicaId) {
        self.inbox.push(Order::Look);
    }

    fn replicas(&self) -> Vec<ReplicaStatus> {
        self.board.lock().clone()
    }

    /// Files are in step whenever they were read last; a bad edit is told elsewhere.
    fn source_age(&self) -> Duration {
        Duration::ZERO
    }

    /// Stops every process: SIGTERM to its group, SIGKILL after its grace; all are reaped then.
    fn shutdown(&self) -> BoxFuture<'static, ()> {
        self.inbox.push(Order::Shutdown);
        let mut alive = self.alive.clone();
        Box::pin(async move { while alive.changed().await.is_ok() {} })
    }
}

#[cfg(test)]
mod tests;
