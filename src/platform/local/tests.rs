//! The local platform with real processes: small Python servers.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tokio::sync::watch::{Receiver, Sender, channel};

use super::*;
use crate::{
    domain::{
        AuthPolicy, Autoscale, Catalog, Endpoint, ErrorProfile, Name, Replica, ReplicaLoad,
        ReplicaState, Version, VersionKey, VersionKind, VersionLoad,
    },
    platform::spec::{Address, Probe, ProbeKind, ProcessTarget, Target, VersionSpec},
};

/// How long anything may take on a busy machine. Everything here takes far less.
const LIMIT: Duration = Duration::from_secs(30);

/// Answers 200 with its process id; 500 while the file named by its second argument exists.
const SERVER: &str = r#"
import http.server, os, sys
class Model(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(500 if os.path.exists(sys.argv[2]) else 200)
        self.end_headers()
        self.wfile.write(str(os.getpid()).encode())
    def log_message(self, *args):
        pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Model).serve_forever()
"#;

/// What the data plane would say: which replicas are busy is scripted, who is idle follows.
struct Work {
    busy: Mutex<BTreeMap<ReplicaId, u32>>,
    catalog: Receiver<Arc<Catalog>>,
}

impl LoadSource for Work {
    fn take_load(&self, _: &VersionKey) -> Option<VersionLoad> {
        None
    }

    fn peek_load(&self, _: &VersionKey) -> Option<VersionLoad> {
        None
    }

    fn arm_pressure(&self, _: &VersionKey, _: u32) {}

    fn is_idle(&self, replica: ReplicaId) -> bool {
        let catalog = self.catalog.borrow();
        let mut shown = replicas(&catalog);
        let open = shown.any(|r| r.id == replica && r.state != ReplicaState::Draining);
        !open && !self.busy.lock().contains_key(&replica)
    }

    fn replica_load(&self, replica: ReplicaId) -> Option<ReplicaLoad> {
        let busy = self.busy.lock().get(&replica).copied().unwrap_or(0);
        Some(ReplicaLoad { busy, usable: true, aside: None })
    }
}

struct World {
    life: Lifecycle,
    local: Local,
    work: Arc<Work>,
    catalog: Receiver<Arc<Catalog>>,
    /// The fewest ready replicas in any catalog since this was last set.
    fewest_ready: Arc<Mutex<usize>>,
    folder: tempfile::TempDir,
}

fn replicas(catalog: &Catalog) -> impl Iterator<Item = &Replica> {
    catalog.endpoints.values().flat_map(|e| &e.versions).flat_map(|v| &v.replicas)
}

fn ready(catalog: &Catalog) -> usize {
    replicas(catalog).filter(|r| r.state == ReplicaState::Ready).count()
}

fn key() -> VersionKey {
    VersionKey { endpoint: name("demo"), version: name("blue") }
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

impl World {
    fn new() -> Self {
        let (published, catalog): (Sender<Arc<Catalog>>, _) = channel(Arc::default());
        let work = Arc::new(Work { busy: Mutex::default(), catalog: catalog.clone() });
        let fewest_ready = Arc::new(Mutex::new(0));
        let fewest = Arc::clone(&fewest_ready);
        let sink: CatalogSink = Arc::new(move |catalog: Arc<Catalog>| {
            assert_eq!(catalog.revision, published.borrow().revision + 1);
            let mut fewest = fewest.lock();
            *fewest = (*fewest).min(ready(&catalog));
            published.send_replace(catalog);
        });
        let life = Lifecycle::new();
        let load = Arc::clone(&work) as Arc<dyn LoadSource>;
        let settings = Settings { exec_step: None };
        let local = Local::start(&life, sink, load, Output::Discard, settings);
        let folder = tempfile::tempdir().unwrap();
        Self { life, local, work, catalog, fewest_ready, folder }
    }

    fn process(&self, command: &[&str]) -> ProcessTarget {
        ProcessTarget {
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            env: BTreeMap::new(),
            working_dir: self.folder.path().to_path_buf(),
            start_deadline: LIMIT,
            stop_grace: Duration::from_secs(5),
        }
    }

    /// The file that makes every server of this world answer 500.
    fn sick(&self) -> PathBuf {
        self.folder.path().join("sick")
    }

    fn server(&self) -> ProcessTarget {
        self.process(&["python3", "-c", SERVER, "{port}", self.sick().to_str().unwrap()])
    }

    /// A server that is the one of another edit.
    fn edited_server(&self) -> ProcessTarget {
        let env = BTreeMap::from([("EDIT".to_owned(), "2".to_owned())]);
        ProcessTarget { env, ..self.server() }
    }

    async fn until(&mut self, what: &str, holds: impl Fn(&Catalog) -> bool) -> Arc<Catalog> {
        let found = tokio::time::timeout(LIMIT, self.catalog.wait_for(|c| holds(c))).await;
        let Ok(found) = found else {
            panic!("never: {what}; last {:#?}", self.local.replicas());
        };
        Arc::clone(&found.unwrap())
    }

    async fn until_ready(&mut self, count: usize) -> Vec<Replica> {
        let what = format!("{count} ready replicas");
        let all = |c: &Catalog| ready(c) == count && replicas(c).count() == count;
        replicas(&*self.until(&what, all).await).cloned().collect()
    }

    async fn until_status(&self, what: &str, holds: impl Fn(&[ReplicaStatus]) -> bool) {
        let begun = Instant::now();
        while !holds(&self.local.replicas()) {
            assert!(begun.elapsed() < LIMIT, "never: {what}; {:#?}", self.local.replicas());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    fn status(&self, id: ReplicaId) -> Option<ReplicaStatus> {
        self.local.replicas().into_iter().find(|status| status.id == id)
    }

    fn pid(&self, id: ReplicaId) -> Pid {
        let pid = self.status(id).unwrap().pid.unwrap();
        Pid::from_raw(i32::try_from(pid).unwrap()).unwrap()
    }

    async fn end(self) {
        let pids: Vec<u32> = self.local.replicas().iter().filter_map(|r| r.pid).collect();
        self.local.shutdown().await;
        assert_eq!(self.local.replicas(), []);
        for pid in pids {
            let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
            assert!(test_kill_process(pid).is_err(), "process {pid:?} is left behind");
        }
        self.life.finish_tasks(LIMIT).await;
    }
}

fn probe(kind: ProbeKind) -> Probe {
    Probe { kind, period: Duration::from_millis(100), timeout: Duration::from_secs(1) }
}

fn spec(target: Target) -> EndpointSpec {
    spec_scaled(target, 1, 4)
}

fn spec_scaled(target: Target, min_replicas: u32, max_replicas: u32) -> EndpointSpec {
    let version = Version {
        name: name("blue"),
        kind: VersionKind::Treatment,
        traffic_percentile: 100,
        mirror_percentile: 0,
        scoring_path: "/score".into(),
        slots_per_replica: 1,
        max_queue_wait: Duration::from_millis(500),
        max_queue_length: None,
        request_timeout: Duration::from_secs(60),
        stream_idle_timeout: Duration::from_secs(300),
        on_disconnect: None,
        fallback_to_default: false,
        autoscale: Autoscale {
            enabled: true,
            min_replicas,
            max_replicas,
            target_utilization: 70,
            scale_down_window: Duration::from_secs(60),
        },
        startable: false,
        rolling: false,
        replicas: Vec::new(),
    };
    let endpoint = Endpoint {
        name: name("demo"),
        auth: AuthPolicy::open(),
        forward_credentials: false,
        max_payload_bytes: 1,
        sticky_by: None,
        error_profile: ErrorProfile::Kubernetes,
        hosts: Vec::new(),
        server_timing: false,
        versions: vec![version],
        default_version: 0,
    };
    let kind = ProbeKind::Http("/".to_owned());
    let version =
        VersionSpec { target, port: 5001, grpc_port: None, probe: probe(kind), replicas: None };
    EndpointSpec { endpoint, takes_keys: false, secret: None, versions: vec![version] }
}

#[tokio::test]
async fn a_process_is_starting_until_its_probe_passes_and_stopped_at_the_end() {
    let mut world = World::new();
    world.local.apply(vec![spec(Target::Process(world.server()))]);
    let first = world.until("a replica", |c| replicas(c).count() == 1).await;
    assert_eq!(replicas(&first).next().unwrap().state, ReplicaState::Starting);
    let found = world.until_ready(1).await.remove(0);
    assert_eq!((&*found.name, found.generation), ("demo-blue-1", 1));
    tokio::net::TcpStream::connect(found.http).await.unwrap();
    assert!(world.catalog.borrow().endpoints["demo"].versions[0].startable);
    let status = world.status(found.id).unwrap();
    assert_eq!((status.message.as_str(), status.restarts), ("ready", 0));
    assert_eq!(status.address, found.http.to_string());
    world.end().await;
}

#[tokio::test]
async fn a_killed_process_leaves_the_catalog_at_once_and_comes_back_as_another() {
    let mut world = World::new();
    world.local.apply(vec![spec(Target::Process(world.server()))]);
    let old = world.until_ready(1).await.remove(0);
    kill_process(world.pid(old.id), Signal::KILL).unwrap();
    let killed = Instant::now();
    world.until("the crash", |c| replicas(c).all(|r| r.id != old.id)).await;
    // 100 ms at most on a machine at rest. The period of probes is 100 ms here too: what is waited
    // for is the end of the process, which is the message of the replica that follows.
    assert!(killed.elapsed() < Duration::from_millis(800), "{:?}", killed.elapsed());
    let new = world.until_ready(1).await.remove(0);
    assert!(killed.elapsed() >= Duration::from_millis(160), "the restart waits");
    assert_eq!(new.name, old.name);
    assert_ne!(new.http, old.http);
    assert_eq!(world.status(new.id).unwrap().restarts, 1);
    world.end().await;
}

#[tokio::test]
async fn a_process_that_keeps_ending_is_starting_and_says_why() {
    let mut world = World::new();
    world.local.apply(vec![spec(Target::Process(world.process(&["sh", "-c", "exit 3"])))]);
    world.until_status("two restarts", |all| all.iter().any(|r| r.restarts == 2)).await;
    let status = world.local.replicas().remove(0);
    assert_eq!(status.message, "its process ended: exit status: 3");
    assert_eq!(status.state, ReplicaState::Starting);
    let shown = world.until("its place", |c| replicas(c).count() == 1).await;
    assert_eq!(replicas(&shown).next().unwrap().state, ReplicaState::Starting);
    world.end().await;
}

#[tokio::test]
async fn a_process_that_is_never_ready_is_started_again_after_its_deadline() {
    let world = World::new();
    let start_deadline = Duration::from_millis(300);
    let target = ProcessTarget { start_deadline, ..world.process(&["sleep", "600"]) };
    world.local.apply(vec![spec(Target::Process(target))]);
    world.until_status("a restart", |all| all.iter().any(|r| r.restarts == 1)).await;
    let message = world.local.replicas().remove(0).message;
    assert!(message.starts_with("not ready for 300ms: nothing listens on 127.0.0.1:"), "{message}");
    world.end().await;
}

#[tokio::test]
async fn start_fills_up_to_the_maximum_and_takes_draining_ones_back_first() {
    let mut world = World::new();
    world.local.apply(vec![spec_scaled(Target::Process(world.server()), 1, 3)]);
    let first = world.until_ready(1).await.remove(0);
    world.local.orders().start(&key(), 9);
    let three = world.until_ready(3).await;
    let names: Vec<&str> = three.iter().map(|r| &*r.name).collect();
    assert_eq!(names, ["demo-blue-1", "demo-blue-2", "demo-blue-3"]);
    world.local.orders().drain(first.id);
    let is_draining =
        |c: &Catalog| replicas(c).any(|r| r.id == first.id && r.state == ReplicaState::Draining);
    world.until("draining", is_draining).await;
    world.local.orders().start(&key(), 3);
    let mut again = world.until_ready(3).await;
    again.sort_by_key(|replica| replica.id);
    assert_eq!(again[0].id, first.id);
    world.end().await;
}

#[tokio::test]
async fn a_retired_replica_goes_only_when_it_is_idle_and_its_name_is_free_again() {
    let mut world = World::new();
    world.local.apply(vec![spec(Target::Process(world.server()))]);
    let old = world.until_ready(1).await.remove(0);
    let pid = world.pid(old.id);
    world.work.busy.lock().insert(old.id, 1);
    world.local.orders().drain(old.id);
    world.local.orders().retire(&key(), &[old.id]);
    world.until("draining", |c| ready(c) == 0 && replicas(c).count() == 1).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(test_kill_process(pid).is_ok(), "it is still at work");
    world.local.orders().readmit(old.id);
    world.until_ready(1).await;
    world.local.orders().retire(&key(), &[old.id]);
    world.until("draining again", |c| ready(c) == 0).await;
    world.work.busy.lock().clear();
    world.local.idle(old.id);
    world.until("gone", |c| replicas(c).count() == 0).await;
    world.until_status("reaped", <[_]>::is_empty).await;
    assert!(test_kill_process(pid).is_err());
    world.local.orders().start(&key(), 1);
    let new = world.until_ready(1).await.remove(0);
    assert_eq!(new.name, old.name);
    assert_ne!(new.id, old.id);
    world.end().await;
}

#[tokio::test]
async fn an_edit_takes_nothing_away_before_its_replacement_is_ready() {
    let mut world = World::new();
    world.local.apply(vec![spec_scaled(Target::Process(world.server()), 2, 4)]);
    let old: Vec<ReplicaId> = world.until_ready(2).await.iter().map(|r| r.id).collect();
    *world.fewest_ready.lock() = usize::MAX;
    world.local.apply(vec![spec_scaled(Target::Process(world.edited_server()), 2, 4)]);
    let replaced =
        |c: &Catalog| replicas(c).count() == 2 && replicas(c).all(|r| !old.contains(&r.id));
    world.until("the replacements", replaced).await;
    assert_eq!(*world.fewest_ready.lock(), 2, "never fewer ready than before");
    world.until_status("the old are reaped", |all| all.len() == 2).await;
    world.end().await;
}

#[tokio::test]
async fn an_edit_that_does_not_start_leaves_the_old_replicas_and_can_be_taken_back() {
    let mut world = World::new();
    world.local.apply(vec![spec(Target::Process(world.server()))]);
    let old = world.until_ready(1).await.remove(0);
    *world.fewest_ready.lock() = usize::MAX;
    world.local.apply(vec![spec(Target::Process(world.process(&["false"])))]);
    world.until_status("restarts", |all| all.iter().any(|r| r.restarts == 2)).await;
    world.local.apply(vec![spec(Target::Process(world.server()))]);
    world.until_status("one replica", |all| all.len() == 1).await;
    assert_eq!(world.until_ready(1).await[0].id, old.id);
    assert_eq!(*world.fewest_ready.lock(), 1);
    world.end().await;
}

#[tokio::test]
async fn an_edit_of_the_bounds_changes_the_count_and_nothing_else() {
    let mut world = World::new();
    let scaled = |min, max| vec![spec_scaled(Target::Process(world.server()), min, max)];
    let (one, three, fixed) = (scaled(1, 4), scaled(3, 4), {
        let mut specs = scaled(1, 4);
        specs[0].endpoint.versions[0].autoscale.enabled = false;
        specs[0].versions[0].replicas = Some(2);
        specs
    });
    world.local.apply(one);
    let first = world.until_ready(1).await.remove(0);
    world.local.apply(three);
    assert!(world.until_ready(3).await.iter().any(|r| r.id == first.id));
    world.local.apply(fixed);
    assert!(world.until_ready(2).await.iter().any(|r| r.id == first.id));
    world.end().await;
}

#[tokio::test]
async fn a_removed_version_is_out_at_once_and_its_process_goes_when_idle() {
    let mut world = World::new();
    world.local.apply(vec![spec(Target::Process(world.server()))]);
    let old = world.until_ready(1).await.remove(0);
    world.work.busy.lock().insert(old.id, 1);
    let pid = world.pid(old.id);
    world.local.apply(Vec::new());
    world.until("no endpoint", |c| c.endpoints.is_empty()).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(test_kill_process(pid).is_ok(), "it is still at work");
    world.work.busy.lock().clear();
    world.until_status("reaped", <[_]>::is_empty).await;
    assert!(test_kill_process(pid).is_err());
    world.end().await;
}

#[tokio::test]
async fn a_suspected_replica_is_out_until_its_next_good_probe() {
    let mut world = World::new();
    world.local.apply(vec![spec(Target::Process(world.server()))]);
    let replica = world.until_ready(1).await.remove(0);
    let revision = world.catalog.borrow().revision;
    world.local.orders().suspect(replica.id, replica.generation + 1);
    world.local.orders().suspect(replica.id, replica.generation);
    let risen = |c: &Catalog| replicas(c).any(|r| r.generation == 2 && r.id == replica.id);
    let now = world.until("the next generation", risen).await;
    assert_eq!(ready(&now), 1);
    assert_eq!(now.revision, revision + 2, "out, and in again");
    world.local.orders().suspect(replica.id, 1);
    world.local.orders().start(&key(), 2);
    let two = world.until_ready(2).await;
    assert!(two.iter().all(|r| r.generation <= 2), "an old suspicion means nothing");
    world.end().await;
}

#[tokio::test]
async fn a_replica_that_fails_its_probes_is_out_until_one_passes() {
    let mut world = World::new();
    world.local.apply(vec![spec(Target::Process(world.server()))]);
    let replica = world.until_ready(1).await.remove(0);
    std::fs::write(world.sick(), "").unwrap();
    world.until("out", |c| ready(c) == 0 && replicas(c).count() == 1).await;
    let message = world.status(replica.id).unwrap().message;
    assert_eq!(message, "GET / answers 500 Internal Server Error");
    std::fs::remove_file(world.sick()).unwrap();
    let back = world.until_ready(1).await.remove(0);
    assert_eq!((back.id, back.generation), (replica.id, 2));
    world.end().await;
}

#[tokio::test]
async fn a_replica_too_busy_to_answer_its_probe_keeps_its_place_until_it_has_no_work() {
    let mut world = World::new();
    let mut specs = vec![spec(Target::Process(world.server()))];
    specs[0].versions[0].probe.timeout = Duration::from_millis(50);
    specs[0].versions[0].probe.period = Duration::from_millis(20);
    world.local.apply(specs);
    let replica = world.until_ready(1).await.remove(0);
    world.work.busy.lock().insert(replica.id, 1);
    let pid = world.pid(replica.id);
    kill_process(pid, Signal::STOP).unwrap();
    let out = world.until("out", |c| ready(c) == 0);
    // Three failures would have taken 210 ms.
    assert!(tokio::time::timeout(Duration::from_millis(500), out).await.is_err());
    world.local.orders().suspect(replica.id, replica.generation);
    let risen = |c: &Catalog| replicas(c).any(|r| r.generation > replica.generation);
    world.until("it accepts a connection, which is enough", risen).await;
    world.work.busy.lock().clear();
    world.until("out", |c| ready(c) == 0 && replicas(c).count() == 1).await;
    kill_process(pid, Signal::CONT).unwrap();
    assert_eq!(world.until_ready(1).await[0].id, replica.id);
    world.end().await;
}

#[tokio::test]
async fn addresses_are_probed_and_never_scaled() {
    let mut world = World::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let address = |host: &str, at: SocketAddr| Address { host: host.to_owned(), port: at.port() };
    let spec_of = |addresses| {
        let mut spec = spec(Target::Addresses(addresses));
        spec.versions[0].probe = probe(ProbeKind::Tcp);
        spec.versions[0].grpc_port = Some(7);
        vec![spec]
    };
    world.local.apply(spec_of(vec![address("127.0.0.1", at)]));
    let replica = world.until_ready(1).await.remove(0);
    assert_eq!((replica.http, replica.grpc.port()), (at, 7));
    assert!(!world.catalog.borrow().endpoints["demo"].versions[0].startable);
    world.local.orders().start(&key(), 3);
    world.local.orders().drain(replica.id);
    drop(listener);
    world.until("refused", |c| ready(c) == 0 && replicas(c).count() == 1).await;
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let other = (other.local_addr().unwrap(), other);
    world.local.apply(spec_of(vec![address("localhost", other.0)]));
    let moved = world.until_ready(1).await.remove(0);
    assert_eq!(moved.http.port(), other.0.port());
    assert_ne!(moved.id, replica.id);
    world.local.apply(spec_of(Vec::new()));
    world.until_status("none", <[_]>::is_empty).await;
    assert!(world.catalog.borrow().endpoints["demo"].versions[0].replicas.is_empty());
    world.end().await;
}

#[tokio::test]
async fn a_host_without_address_is_shown_to_people_and_not_to_requests() {
    let mut world = World::new();
    let address = Address { host: "no-such-host.invalid".to_owned(), port: 1 };
    world.local.apply(vec![spec(Target::Addresses(vec![address]))]);
    world.until("the endpoint", |c| c.endpoints.len() == 1).await;
    let named = |all: &[ReplicaStatus]| {
        all.iter().any(|r| r.message.starts_with("no-such-host.invalid does not resolve"))
    };
    world.until_status("a reason", named).await;
    assert_eq!(replicas(&world.catalog.borrow()).count(), 0);
    world.end().await;
}

#[tokio::test]
async fn the_end_of_the_process_stops_replicas_without_being_asked() {
    let mut world = World::new();
    let mut none = spec(Target::Process(world.process(&["sleep", "600"])));
    none.versions[0].probe = probe(ProbeKind::None);
    world.local.apply(vec![none]);
    let replica = world.until_ready(1).await.remove(0);
    let pid = world.pid(replica.id);
    world.life.enter(crate::lifecycle::Phase::Stopped);
    world.life.finish_tasks(LIMIT).await;
    assert!(test_kill_process(pid).is_err());
}
