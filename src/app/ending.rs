//! The end of the process, in order (contract §12, "drain").

use std::{sync::Arc, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};

use crate::{
    config::{DRAIN_MARGIN, RouterConfig},
    domain::Catalog,
    lifecycle::{Lifecycle, Phase},
    platform::Platform,
    proxy::Workers,
    telemetry::AccessLog,
};

/// How long tasks of the control plane may take to notice the end.
const TASKS_LIMIT: Duration = Duration::from_secs(2);
/// How long the access log may take to write what it has.
const LOG_LIMIT: Duration = Duration::from_secs(1);

/// SIGTERM and SIGINT, remembered from the moment this is made: a router that is still starting
/// must end in order too, and not by the kernel's default.
pub(super) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    pub(super) fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Resolves at the next signal.
    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Waits for `work` unless a signal comes; whether one came.
    async fn interrupts(&mut self, work: impl Future<Output = ()>) -> bool {
        tokio::select! {
            () = work => false,
            () = self.next() => true,
        }
    }
}

/// What has to end.
pub(super) struct Running {
    pub(super) lifecycle: Lifecycle,
    pub(super) workers: Workers,
    pub(super) platform: Arc<dyn Platform>,
    pub(super) access_log: AccessLog,
    pub(super) catalog: watch::Receiver<Arc<Catalog>>,
}

impl Running {
    /// Ends everything. A second signal skips the waits, for requests and for replicas.
    pub(super) async fn end(
        self,
        config: &RouterConfig,
        mut again: StopSignals,
    ) -> anyhow::Result<()> {
        let Self { lifecycle, workers, platform, access_log, catalog } = self;
        let limit = config.drain_timeout.unwrap_or_else(|| longest_request(&catalog));
        lifecycle.enter(Phase::Draining);
        tracing::info!(requests = lifecycle.requests(), "draining");
        // The threads of the data plane end by themselves when nothing is left to do.
        let mut joined = tokio::task::spawn_blocking(move || workers.join());
        let drained = async {
            tokio::time::sleep(config.drain_delay).await;
            lifecycle.enter(Phase::Closing);
            drop(tokio::time::timeout(limit, &mut joined).await);
        };
        let hurried = again.interrupts(drained).await;
        if !joined.is_finished() {
            tracing::warn!(requests = lifecycle.requests(), "requests are cut off");
            lifecycle.enter(Phase::Stopped);
            joined.await?;
        }
        if !hurried {
            again.interrupts(platform.shutdown()).await;
        }
        // Replicas that are still there then are killed with the tasks beside them.
        lifecycle.enter(Phase::Stopped);
        lifecycle.finish_tasks(TASKS_LIMIT).await;
        if !access_log.close(LOG_LIMIT) {
            tracing::warn!("the access log could not be written to its end");
        }
        Ok(())
    }
}

/// Ends a router that was never ready: no request was taken, so nothing has to be finished.
pub(super) async fn end_early(lifecycle: &Lifecycle) -> anyhow::Result<()> {
    tracing::info!("stopped before the router was ready");
    lifecycle.enter(Phase::Stopped);
    lifecycle.finish_tasks(TASKS_LIMIT).await;
    Ok(())
}

fn longest_request(catalog: &watch::Receiver<Arc<Catalog>>) -> Duration {
    let catalog = catalog.borrow();
    let versions = catalog.endpoints.values().flat_map(|endpoint| &endpoint.versions);
    let longest = versions.map(|version| version.request_timeout).max().unwrap_or_default();
    longest + DRAIN_MARGIN
}
