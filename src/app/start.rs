//! The start of the process: everything is made, connected and begun.

use std::{
    sync::{Arc, OnceLock},
    time::SystemTime,
};

use anyhow::Context;
use tokio::sync::{mpsc, watch};

use super::{
    admin_token, cores,
    credentials::Credentials,
    ending::{Running, StopSignals, end_early},
    https, memory,
    own_tokens::OwnTokens,
    source::Source,
    view::{Rooms, router_name, started},
};
use crate::{
    admin::{self, AdminState, Guard, RouterView},
    config::{CLIENT_FILES_PERCENT, RouterConfig},
    control::{DecisionSink, Driver, DriverHandle},
    domain::{Catalog, CatalogSink, Decision, Signal, SignalSink},
    lifecycle::{Lifecycle, Phase},
    platform::{Orders, Platform},
    proxy::{Door, Listeners, Proxy, Secure, Tls, Workers},
    replica::{AllHere, Registry},
    ring::Ring,
    telemetry::{AccessLog, DecisionLog, Metrics, watch_panics},
    tokens::{HttpFetch, Issuers},
};

/// Signals of the data plane that wait for the driver. When it is full the driver's tick finds the
/// same facts.
const SIGNALS_MAX: usize = 4096;

/// Tells a person something, a line at a time.
pub type Say = Arc<dyn Fn(&str) + Send + Sync>;

/// Where clients and operators come in.
struct Sockets {
    plain: Listeners,
    secure: Option<Secure>,
    admin: tokio::net::TcpListener,
}

/// Everything that is made before anything runs.
struct Parts {
    lifecycle: Lifecycle,
    metrics: Arc<Metrics>,
    decisions: DecisionLog,
    access_log: AccessLog,
    registry: Arc<Registry>,
    proxy: Arc<Proxy>,
    issuers: Arc<Issuers>,
    own_tokens: Arc<OwnTokens>,
    catalog: watch::Sender<Arc<Catalog>>,
    signals: mpsc::Receiver<Signal>,
    /// Filled once the platform has started, which needs the registry first.
    platform: Arc<OnceLock<Beside>>,
    guard: Arc<Guard>,
    say: Say,
}

/// The platform as the data plane's signals reach it.
struct Beside {
    platform: Arc<dyn Platform>,
    orders: Arc<dyn Orders>,
}

/// Runs a router until it is asked to stop. `say` gets what a person at a terminal should read.
pub async fn run(mut config: RouterConfig, say: Say) -> anyhow::Result<()> {
    cores::forbid();
    bound_connections(&mut config);
    let mut stop = StopSignals::listen().context("cannot listen for signals")?;
    let source = Source::open(&config, &say)?;
    let metrics = Metrics::new();
    watch_panics(&metrics);
    let secure = https::open(&mut config, &metrics)?;
    let listeners = Listeners::bind(Door::Plain, config.data, config.workers)?;
    let data = listeners.address();
    let admin_listener = tokio::net::TcpListener::bind(config.admin)
        .await
        .with_context(|| format!(
            "cannot listen on {} for the admin port (choose another with --admin-port; 0 finds a free one)",
            config.admin
        ))?;
    let admin_address = admin_listener.local_addr()?;
    let parts = Parts::make(&config, metrics, say)?;
    memory::watch(&parts.lifecycle, &parts.metrics, config.memory_limit);
    let base = https::greet(&parts.say, config.proxy.plain, data, secure.as_ref());
    source.greet(&parts.say, &base, admin_address);
    let lifecycle = parts.lifecycle.clone();
    let sockets = Sockets { plain: listeners, secure, admin: admin_listener };
    let begun = parts.begin(&config, source, sockets);
    let running = tokio::select! {
        running = Box::pin(begun) => running?,
        // Waiting for an API server that is away must not keep the process from ending.
        () = stop.next() => return end_early(&lifecycle).await,
    };
    stop.next().await;
    running.end(&config, stop).await
}

impl Parts {
    fn make(config: &RouterConfig, metrics: Arc<Metrics>, say: Say) -> anyhow::Result<Self> {
        let lifecycle = Lifecycle::new();
        let access_log = match config.access_log {
            Some(format) => AccessLog::start(format, Box::new(std::io::stdout()), &metrics)?,
            None => AccessLog::off(),
        };
        let (sender, signals) = mpsc::channel(SIGNALS_MAX);
        let platform = Arc::new(OnceLock::<Beside>::new());
        let waiting = Arc::clone(&platform);
        let sink: SignalSink = Arc::new(move |signal| {
            // What is the platform's affair goes there directly: the driver has forgotten a removed
            // version, and a failure that got lost would never be found again.
            match (&signal, waiting.get()) {
                (Signal::Idle(replica), Some(beside)) => beside.platform.idle(*replica),
                (Signal::Failed(replica, generation), Some(beside)) => {
                    beside.orders.suspect(*replica, *generation);
                }
                _ => {}
            }
            drop(sender.try_send(signal));
        });
        let guard = Arc::new(Guard::new(config.admin_open && config.admin.ip().is_loopback()));
        admin_token::keep(&lifecycle, &guard, config.admin_token.as_ref(), &metrics)?;
        let registry = Registry::new(sink, Arc::new(AllHere));
        let own_tokens = OwnTokens::new(config);
        let issuers = Issuers::new(Some(Arc::clone(&own_tokens) as _), SystemTime::now);
        let proxy = Proxy::new(
            config.proxy.clone(),
            lifecycle.clone(),
            Arc::clone(&registry),
            Arc::clone(&metrics),
            access_log.clone(),
            Arc::clone(&issuers) as _,
        );
        Ok(Self {
            lifecycle,
            metrics,
            decisions: DecisionLog::new(),
            access_log,
            registry,
            proxy,
            issuers,
            own_tokens,
            catalog: watch::Sender::new(Arc::default()),
            signals,
            platform,
            guard,
            say,
        })
    }

    async fn begin(
        self,
        config: &RouterConfig,
        source: Source,
        sockets: Sockets,
    ) -> anyhow::Result<Running> {
        let Sockets { plain, secure, admin: admin_listener } = sockets;
        let data_address = plain.address();
        let tls = secure.as_ref().map(|secure| Arc::clone(&secure.tls));
        self.follow_certificates(tls.as_ref());
        self.keep_issuers(config)?;
        let catalog = self.catalog.subscribe();
        let sink = self.catalog_sink();
        let load = Arc::clone(&self.registry) as _;
        let begun =
            source.begin(&self.lifecycle, config, sink, load, &self.metrics, &self.say).await?;
        let orders = begun.platform.orders();
        let beside = Beside { platform: Arc::clone(&begun.platform), orders: Arc::clone(&orders) };
        drop(self.platform.set(beside));
        let driver = Driver {
            signals: self.signals,
            catalog: catalog.clone(),
            load: Arc::clone(&self.registry) as _,
            orders,
            record: decision_sink(&self.metrics, &self.decisions, &self.say, begun.decided),
            leads: begun.leads,
        }
        .start(&self.lifecycle);
        let view = Rooms {
            catalog: catalog.clone(),
            registry: self.registry,
            driver: DriverHandle::clone(&driver),
            platform: Arc::clone(&begun.platform),
            lifecycle: self.lifecycle.clone(),
            tls,
            issuers: Arc::clone(&self.issuers),
            router: RouterView {
                name: router_name(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                started: started(),
                data_address,
                admin_address: admin_listener.local_addr()?,
                workers: config.workers,
                phase: Phase::Serving,
                requests: 0,
            },
        };
        let ring =
            Ring::start(&self.lifecycle, config.ring.clone(), begun.vault, SystemTime::now).await;
        self.own_tokens.begin(&ring);
        let credentials = Credentials {
            catalog: catalog.clone(),
            keys: begun.keys,
            reviewer: begun.reviewer,
            ring,
        };
        let state = AdminState {
            lifecycle: self.lifecycle.clone(),
            metrics: Arc::clone(&self.metrics),
            decisions: self.decisions,
            view: Arc::new(view),
            credentials: Arc::new(credentials),
            guard: self.guard,
        };
        self.lifecycle.spawn("admin", admin::serve(admin_listener, state));
        self.lifecycle.wait_until_ready().await;
        let workers = Workers::start(&self.proxy, plain, secure)?;
        Ok(Running {
            lifecycle: self.lifecycle,
            workers,
            platform: begun.platform,
            access_log: self.access_log,
            catalog,
        })
    }

    fn follow_certificates(&self, tls: Option<&Arc<Tls>>) {
        if let Some(tls) = tls {
            https::follow(&self.lifecycle, tls);
        }
    }

    /// Before the platform begins, so that keys are on their way when the first catalog is.
    fn keep_issuers(&self, config: &RouterConfig) -> anyhow::Result<()> {
        let fetch = Arc::new(HttpFetch::new(&config.issuer_roots)?);
        let keep = Arc::clone(&self.issuers).keep(
            self.lifecycle.clone(),
            fetch,
            Arc::clone(&self.metrics),
        );
        self.lifecycle.spawn("issuers", keep);
        Ok(())
    }

    fn catalog_sink(&self) -> CatalogSink {
        let (proxy, issuers) = (Arc::clone(&self.proxy), Arc::clone(&self.issuers));
        let catalog = self.catalog.clone();
        Arc::new(move |new: Arc<Catalog>| {
            // The issuers first, then the data plane: the driver asks it for the load of what it reads here.
            issuers.publish(&new);
            proxy.publish(&new);
            catalog.send_replace(new);
        })
    }
}

fn decision_sink(
    metrics: &Arc<Metrics>,
    decisions: &DecisionLog,
    say: &Say,
    also: Option<DecisionSink>,
) -> DecisionSink {
    let (metrics, decisions, say) = (Arc::clone(metrics), decisions.clone(), Arc::clone(say));
    Arc::new(move |decision: Decision| {
        metrics.version(&decision.key).scaling_decisions(decision.direction());
        say(&format!("scale  {}  {}", decision.key, decision.reason));
        if let Some(also) = &also {
            also(decision.clone());
        }
        decisions.push(decision);
    })
}

/// Raises the limit of open files as far as it may go, and keeps clients below their share of it.
fn bound_connections(config: &mut RouterConfig) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Where it may not be raised, the limit as it is counts below.
    let _as_it_was = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    if let Some(files) = getrlimit(Resource::Nofile).current {
        let share = usize::try_from(files.saturating_mul(CLIENT_FILES_PERCENT) / 100);
        config.proxy.connections_max =
            config.proxy.connections_max.min(share.unwrap_or(usize::MAX)).max(1);
    }
}
