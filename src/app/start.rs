//! The start of the process: everything is made, connected and begun.

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
};

use anyhow::Context;
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};

use super::{
    ending::{Running, StopSignals},
    files::{Files, Ready, tell},
    view::{Rooms, router_name, started},
};
use crate::{
    admin::{self, AdminState, RouterView},
    config::{CLIENT_FILES_PERCENT, RouterConfig},
    control::{Driver, DriverHandle},
    domain::{AuthMode, Catalog, CatalogSink, Decision, Name, Signal, SignalSink},
    lifecycle::{Lifecycle, Phase},
    platform::{
        Orders as _,
        local::{self, Local},
    },
    proxy::{Listeners, Proxy, Workers},
    replica::{AllHere, Registry},
    telemetry::{AccessLog, DecisionLog, Metrics},
};

/// Signals of the data plane that wait for the driver. When it is full the driver's tick finds the
/// same facts.
const SIGNALS_MAX: usize = 4096;

/// Tells a person something, a line at a time.
pub type Say = Arc<dyn Fn(&str) + Send + Sync>;

/// Everything that is made before anything runs.
struct Parts {
    lifecycle: Lifecycle,
    metrics: Arc<Metrics>,
    decisions: DecisionLog,
    access_log: AccessLog,
    registry: Arc<Registry>,
    proxy: Arc<Proxy>,
    catalog: watch::Sender<Arc<Catalog>>,
    signals: mpsc::Receiver<Signal>,
    /// Filled once the platform has started, which needs the registry first.
    platform: Arc<OnceLock<Local>>,
    say: Say,
}

/// Runs a router until it is asked to stop. `say` gets what a person at a terminal should read.
pub async fn run(mut config: RouterConfig, say: Say) -> anyhow::Result<()> {
    bound_connections(&mut config);
    let mut stop = StopSignals::listen().context("cannot listen for signals")?;
    let binary = std::env::current_exe().context("cannot find the router's own binary")?;
    let mut files = Files::new(config.files.clone(), binary);
    let ready = files.load().map_err(|problems| {
        tell(&say, &problems);
        match problems.len() {
            1 => anyhow::anyhow!("the endpoints have a problem, see above"),
            count => anyhow::anyhow!("the endpoints have {count} problems, see above"),
        }
    })?;
    let listeners = Listeners::bind(config.data, config.workers)?;
    let data = listeners.address();
    let admin_listener = tokio::net::TcpListener::bind(config.admin)
        .await
        .with_context(|| format!(
            "cannot listen on {} for the admin port (choose another with --admin-port; 0 finds a free one)",
            config.admin
        ))?;
    let admin_address = admin_listener.local_addr()?;
    let parts = Parts::make(&config, say)?;
    greet(&parts.say, &ready, data, admin_address);
    let running = parts.begin(&config, files, ready, listeners, admin_listener).await?;
    stop.next().await;
    running.end(&config, stop).await
}

impl Parts {
    fn make(config: &RouterConfig, say: Say) -> anyhow::Result<Self> {
        let lifecycle = Lifecycle::new();
        let metrics = Metrics::new();
        let access_log = match config.access_log {
            Some(format) => AccessLog::start(format, Box::new(std::io::stdout()), &metrics)?,
            None => AccessLog::off(),
        };
        let (sender, signals) = mpsc::channel(SIGNALS_MAX);
        let platform = Arc::new(OnceLock::<Local>::new());
        let waiting = Arc::clone(&platform);
        let sink: SignalSink = Arc::new(move |signal| {
            // What is the platform's affair goes there directly: the driver has forgotten a removed
            // version, and a failure that got lost would never be found again.
            match (&signal, waiting.get()) {
                (Signal::Idle(replica), Some(local)) => local.idle(*replica),
                (Signal::Failed(replica, generation), Some(local)) => {
                    local.suspect(*replica, *generation);
                }
                _ => {}
            }
            drop(sender.try_send(signal));
        });
        let registry = Registry::new(sink, Arc::new(AllHere));
        let proxy = Proxy::new(
            config.proxy.clone(),
            lifecycle.clone(),
            Arc::clone(&registry),
            Arc::clone(&metrics),
            access_log.clone(),
        );
        Ok(Self {
            lifecycle,
            metrics,
            decisions: DecisionLog::new(),
            access_log,
            registry,
            proxy,
            catalog: watch::Sender::new(Arc::default()),
            signals,
            platform,
            say,
        })
    }

    async fn begin(
        self,
        config: &RouterConfig,
        files: Files,
        ready: Ready,
        listeners: Listeners,
        admin_listener: tokio::net::TcpListener,
    ) -> anyhow::Result<Running> {
        let data_address = listeners.address();
        let catalog = self.catalog.subscribe();
        let local = Local::start(
            &self.lifecycle,
            self.catalog_sink(),
            Arc::clone(&self.registry) as _,
            config.replica_output.clone(),
            local::Settings::of_this_binary()?,
        );
        drop(self.platform.set(local.clone()));
        let driver = Driver {
            signals: self.signals,
            catalog: catalog.clone(),
            load: Arc::clone(&self.registry) as _,
            orders: Arc::new(local.clone()),
            record: decision_sink(&self.metrics, &self.decisions, &self.say),
        }
        .start(&self.lifecycle);
        let view = Rooms {
            catalog: catalog.clone(),
            registry: self.registry,
            driver: DriverHandle::clone(&driver),
            local: local.clone(),
            lifecycle: self.lifecycle.clone(),
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
        let state = AdminState {
            lifecycle: self.lifecycle.clone(),
            metrics: Arc::clone(&self.metrics),
            decisions: self.decisions,
            view: Arc::new(view),
        };
        self.lifecycle.spawn("admin", admin::serve(admin_listener, state));
        local.apply(ready.endpoints);
        follow(&self.lifecycle, files, &local, &self.metrics, &self.say);
        self.lifecycle.wait_until_ready().await;
        let workers = Workers::start(&self.proxy, listeners)?;
        Ok(Running {
            lifecycle: self.lifecycle,
            workers,
            local,
            access_log: self.access_log,
            catalog,
        })
    }

    fn catalog_sink(&self) -> CatalogSink {
        let proxy = Arc::clone(&self.proxy);
        let catalog = self.catalog.clone();
        let condition = self.lifecycle.condition("catalog");
        Arc::new(move |new: Arc<Catalog>| {
            // The data plane first: the driver asks it for the load of what it reads here.
            proxy.publish(&new);
            catalog.send_replace(new);
            condition.met();
        })
    }
}

fn decision_sink(
    metrics: &Arc<Metrics>,
    decisions: &DecisionLog,
    say: &Say,
) -> Arc<dyn Fn(Decision) + Send + Sync> {
    let (metrics, decisions, say) = (Arc::clone(metrics), decisions.clone(), Arc::clone(say));
    Arc::new(move |decision: Decision| {
        metrics.version(&decision.key).scaling_decisions(decision.direction());
        say(&format!("scale  {}  {}", decision.key, decision.reason));
        decisions.push(decision);
    })
}

/// Applies every edit of the files; a bad one changes nothing and is told.
fn follow(lifecycle: &Lifecycle, files: Files, local: &Local, metrics: &Arc<Metrics>, say: &Say) {
    if files.paths().is_empty() {
        return;
    }
    let paths = files.paths().to_vec();
    let (local, metrics, say) = (local.clone(), Arc::clone(metrics), Arc::clone(say));
    let files = Mutex::new(files);
    local::watch(lifecycle, paths, move || match files.lock().load() {
        Ok(ready) => {
            show_keys(&say, &ready.new_keys);
            tell(&say, &ready.warnings);
            say("edit   the endpoints were read again and are in force");
            local.apply(ready.endpoints);
        }
        Err(problems) => {
            metrics.configuration_refusals.inc();
            tell(&say, &problems);
            say("edit   refused, nothing changed; see the problems above");
        }
    });
}

fn greet(say: &Say, ready: &Ready, data: SocketAddr, admin: SocketAddr) {
    tell(say, &ready.warnings);
    for spec in &ready.endpoints {
        let name = &spec.endpoint.name;
        let uri = format!("http://{data}/api/v1/endpoint/{name}/score");
        let key = ready.new_keys.iter().find(|(endpoint, _)| endpoint == name).map(|(_, key)| key);
        say(&format!("endpoint  {name}"));
        say(&format!("  scoring  {uri}"));
        let credential = match (spec.endpoint.auth.mode, key) {
            (AuthMode::None, _) => String::new(),
            (_, Some(key)) => {
                say(&format!("  key      {key}"));
                format!(" -H 'Authorization: Bearer {key}'")
            }
            (_, None) => {
                say("  key      as in its Secret; before you paste: export MODELWAY_KEY=…");
                " -H \"Authorization: Bearer $MODELWAY_KEY\"".to_owned()
            }
        };
        // Without the type curl announces a form, and a real scoring script gets nothing.
        let content = "-H 'Content-Type: application/json' -d '{\"data\": [1, 2, 3]}'";
        // Alone on its line, so that the whole line can be pasted.
        say(&format!("curl {uri}{credential} {content}"));
    }
    say(&format!("admin     http://{admin}"));
    say("Ctrl-C    ends the router and its replicas");
}

fn show_keys(say: &Say, keys: &[(Name, String)]) {
    for (endpoint, key) in keys {
        say(&format!("key    {endpoint}  {key}"));
    }
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
