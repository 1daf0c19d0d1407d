//! The task beside each replica: it starts the process or finds the address, probes it, and tells
//! the actor what it sees. It decides nothing about the version.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    process::ExitStatus,
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use super::{
    guardian::Guardian,
    health::{Change, Health},
    output::Outlet,
    plan::{Recipe, Source},
    ports::Port,
    process::{EXEC_FAILED, Launch, Placeholders, Process},
};
use crate::{
    domain::{LoadSource, ReplicaId},
    lifecycle::Lifecycle,
    platform::{
        next_id,
        probe::{Place, ask},
        spec::{Address, ProcessTarget},
    },
};

/// How long a host name may take to resolve.
const RESOLVE_LIMIT: Duration = Duration::from_secs(2);
/// How often a busy replica that does not answer probes is looked at for having no work.
const REST_INTERVAL: Duration = Duration::from_millis(50);
/// How often a host name of a replica that does not answer is resolved again.
const RESOLVE_INTERVAL: Duration = Duration::from_secs(1);

/// What a task tells the actor.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) seat: u64,
    pub(super) news: News,
}

/// What happened to a replica.
#[derive(Debug)]
pub(super) enum News {
    /// Its address is known, or is another one: then it has another identity too.
    Placed(ReplicaId, Place),
    /// Its process runs.
    Running(u32),
    /// It passes its probe (again).
    Ready,
    /// It does not pass its probe, and why.
    NotReady(String),
    /// It has ended, and why; the last news of its task.
    Ended(String),
}

/// What the actor tells a task.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Control {
    pub(super) stop: bool,
    /// Grows with each suspicion.
    pub(super) suspicions: u64,
}

/// What all tasks share.
pub(super) struct Desk {
    pub(super) lifecycle: Lifecycle,
    pub(super) load: Arc<dyn LoadSource>,
    pub(super) outlet: Outlet,
    pub(super) binary: Option<PathBuf>,
    pub(super) events: mpsc::Sender<Event>,
}

/// The ports of one process.
#[derive(Debug)]
pub(super) struct PortPair {
    pub(super) http: Port,
    pub(super) grpc: Option<Port>,
}

/// One replica to look after.
pub(super) struct Job {
    pub(super) seat: u64,
    pub(super) id: ReplicaId,
    pub(super) name: Arc<str>,
    pub(super) recipe: Arc<Recipe>,
    pub(super) ports: Option<std::io::Result<PortPair>>,
    pub(super) guardian: Option<Guardian>,
    /// Wait so long first: the backoff after a crash.
    pub(super) delay: Duration,
    pub(super) control: watch::Receiver<Control>,
    pub(super) desk: Arc<Desk>,
}

/// Why a replica is no longer attended to.
enum End {
    Stop,
    Expired(String),
    Moved(SocketAddr),
}

enum Heard {
    Stop,
    Suspect,
}

impl PortPair {
    /// Where the replica will listen.
    pub(super) fn place(&self) -> Place {
        let http = self.http.address();
        Place { http, grpc: self.grpc.as_ref().map_or(http, Port::address) }
    }
}

/// Where an address is, when no name has to be resolved for it.
pub(super) fn literal_place(address: &Address, grpc_port: Option<u16>) -> Option<Place> {
    let ip: IpAddr = address.host.parse().ok()?;
    Some(place_at(SocketAddr::new(ip, address.port), grpc_port))
}

fn place_at(http: SocketAddr, grpc_port: Option<u16>) -> Place {
    Place { http, grpc: SocketAddr::new(http.ip(), grpc_port.unwrap_or(http.port())) }
}

impl Job {
    /// Looks after the replica until it has ended, and says so.
    pub(super) async fn run(mut self) {
        let recipe = Arc::clone(&self.recipe);
        let ended = match &recipe.source {
            Source::Process(target) => self.process(target).await,
            Source::Address(address) => self.address(address).await,
        };
        self.tell(News::Ended(ended)).await;
    }

    async fn process(&mut self, target: &ProcessTarget) -> String {
        let mut ports = match self.ports.take() {
            Some(Ok(ports)) => ports,
            Some(Err(error)) => return format!("no port for it: {error}"),
            None => return "no port for it".to_owned(),
        };
        if self.stopped_within(self.delay).await {
            return "stopped before it started".to_owned();
        }
        ports.http.release();
        if let Some(grpc) = &mut ports.grpc {
            grpc.release();
        }
        let mut process = match self.spawn(target, ports.place()) {
            Ok(process) => process,
            Err(error) => return error.to_string(),
        };
        self.tell(News::Running(process.id())).await;
        let attended = Box::pin(self.attend(ports.place(), Some(target.start_deadline), None));
        let end = tokio::select! {
            status = process.wait() => return ended(status),
            end = attended => end,
        };
        let reason = match end {
            End::Expired(reason) => {
                self.tell(News::NotReady(reason.clone())).await;
                reason
            }
            End::Stop | End::Moved(_) => "stopped".to_owned(),
        };
        process.stop(target.stop_grace).await;
        reason
    }

    fn spawn(&self, target: &ProcessTarget, place: Place) -> std::io::Result<Process> {
        let (port, grpc_port) = (place.http.port(), place.grpc.port());
        let fill = Placeholders { replica: &self.name, port, grpc_port };
        let launch = Launch {
            lifecycle: &self.desk.lifecycle,
            outlet: &self.desk.outlet,
            guardian: self.guardian.as_ref(),
            binary: self.desk.binary.as_deref(),
        };
        Process::start(target, fill, launch)
    }

    async fn address(&mut self, address: &Address) -> String {
        let grpc_port = self.recipe.grpc_port;
        let mut place = literal_place(address, grpc_port);
        loop {
            let Some(at) = place else {
                match resolve(address).await {
                    Ok(http) => place = Some(place_at(http, grpc_port)),
                    Err(reason) => {
                        self.tell(News::NotReady(reason)).await;
                        if self.stopped_within(RESOLVE_INTERVAL).await {
                            return "stopped".to_owned();
                        }
                    }
                }
                continue;
            };
            self.tell(News::Placed(self.id, at)).await;
            match Box::pin(self.attend(at, None, Some(address))).await {
                End::Stop | End::Expired(_) => return "stopped".to_owned(),
                End::Moved(http) => {
                    place = Some(place_at(http, grpc_port));
                    self.id = next_id();
                }
            }
        }
    }

    /// Probes the replica at this place until it is to stop, expires or turns out to be elsewhere.
    async fn attend(
        &mut self,
        place: Place,
        deadline: Option<Duration>,
        address: Option<&Address>,
    ) -> End {
        let (recipe, load, id) = (Arc::clone(&self.recipe), Arc::clone(&self.desk.load), self.id);
        let mut health = Health::new(Instant::now(), &recipe.probe, deadline);
        let mut suspicions = self.control.borrow().suspicions;
        let mut told = String::new();
        let mut resolved = Instant::now();
        if health.is_ready() {
            self.tell(News::Ready).await;
        }
        loop {
            let probed = async {
                match health.next {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => until_at_rest(load.as_ref(), id).await,
                }
                ask(place, &recipe.probe).await
            };
            let result = tokio::select! {
                result = probed => result,
                heard = hear(&mut self.control, &mut suspicions) => match heard {
                    Heard::Stop => return End::Stop,
                    // A probe that has begun may have begun before the failure: a new one decides.
                    Heard::Suspect => {
                        health.suspect(Instant::now());
                        told.clear();
                        continue;
                    }
                }
            };
            match health.observe(Instant::now(), result, is_busy(load.as_ref(), id)) {
                Some(Change::Ready) => {
                    told.clear();
                    self.tell(News::Ready).await;
                }
                Some(Change::NotReady(reason)) if reason != told => {
                    told.clone_from(&reason);
                    self.tell(News::NotReady(reason)).await;
                }
                None | Some(Change::NotReady(_)) => {}
                Some(Change::Expired(reason)) => return End::Expired(reason),
            }
            if let Some(address) = address
                && !health.is_ready()
                && resolved.elapsed() >= RESOLVE_INTERVAL
            {
                // A name that does not resolve now keeps the address it had.
                let found = resolve(address).await.ok();
                if let Some(http) = found.filter(|http| *http != place.http) {
                    return End::Moved(http);
                }
                resolved = Instant::now();
            }
        }
    }

    /// Waits, or returns true as soon as the replica is to stop.
    async fn stopped_within(&mut self, wait: Duration) -> bool {
        let stop = self.control.wait_for(|control| control.stop);
        tokio::time::timeout(wait, stop).await.is_ok()
    }

    async fn tell(&self, news: News) {
        // Without an actor the router ends, and nobody needs to know.
        let _told = self.desk.events.send(Event { seat: self.seat, news }).await;
    }
}

fn is_busy(load: &dyn LoadSource, replica: ReplicaId) -> bool {
    load.replica_load(replica).is_some_and(|load| load.busy > 0)
}

/// Returns when the data plane has no work there.
async fn until_at_rest(load: &dyn LoadSource, replica: ReplicaId) {
    while is_busy(load, replica) {
        tokio::time::sleep(REST_INTERVAL).await;
    }
}

/// The next thing the actor says. An actor that is gone wants everything stopped.
async fn hear(control: &mut watch::Receiver<Control>, suspicions: &mut u64) -> Heard {
    loop {
        let now = *control.borrow_and_update();
        if now.stop {
            return Heard::Stop;
        }
        if now.suspicions != *suspicions {
            *suspicions = now.suspicions;
            return Heard::Suspect;
        }
        if control.changed().await.is_err() {
            return Heard::Stop;
        }
    }
}

/// The first address of the name.
async fn resolve(address: &Address) -> Result<SocketAddr, String> {
    let Address { host, port } = address;
    let found = tokio::net::lookup_host((host.as_str(), *port));
    match tokio::time::timeout(RESOLVE_LIMIT, found).await {
        Ok(Ok(mut found)) => found.next().ok_or_else(|| format!("{host} has no address")),
        Ok(Err(error)) => Err(format!("{host} does not resolve: {error}")),
        Err(_elapsed) => Err(format!("{host} does not resolve within {RESOLVE_LIMIT:?}")),
    }
}

fn ended(status: std::io::Result<ExitStatus>) -> String {
    match status {
        Ok(status) if status.code() == Some(i32::from(EXEC_FAILED)) => {
            format!("its program could not be started: {status}, see its output")
        }
        Ok(status) => format!("its process ended: {status}"),
        Err(error) => format!("its process cannot be watched: {error}"),
    }
}
