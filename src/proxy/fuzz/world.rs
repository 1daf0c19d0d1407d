//! Fuzz target: the whole data plane between a client and a replica, and its books afterwards.

use std::{cell::RefCell, net::SocketAddr, rc::Rc, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    runtime::{Builder, LocalOptions},
};

use super::{
    client,
    plan::{Client, Plan, Spec, SpecFraming},
    replica::{self, Book},
    wire::print,
};
use crate::{
    auth,
    domain::{
        AuthPolicy, Catalog, Endpoint, ErrorProfile, LoadSource, Name, Replica, ReplicaId,
        ReplicaState, Version, VersionKey, samples,
    },
    lifecycle::Lifecycle,
    proxy::{Door, Proxy, Settings, connection, raw_head::fuzz::trace, worker::Worker},
    replica::{AllHere, Registry},
    telemetry::{AccessLog, Metrics},
    upstream::Pool,
};

/// Longer than every timeout of the router together, in its time.
const END_LIMIT: Duration = Duration::from_secs(1200);
/// Type of a HEADERS frame (RFC 9113 §6.2).
const HEADERS_FRAME: u8 = 1;

/// Feeds a client connection of the real data plane, on a current-thread runtime with paused time.
/// Oracles: what the replica reads is strict HTTP/1.1 without credentials and without fields of the
/// client's connection; every answer is strict, complete, and belongs to its request; the replica
/// sees no request that no client has sent and none twice without a reason; nothing panics; and in
/// the end no request, slot or place in a queue is held.
pub fn data_plane(data: &[u8]) {
    let plan = Rc::new(Plan::read(data));
    let runtime = Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build_local(LocalOptions::default())
        .expect("a runtime");
    runtime.block_on(run(plan));
}

struct World {
    proxy: Arc<Proxy>,
    registry: Arc<Registry>,
    catalog: Catalog,
}

async fn run(plan: Rc<Plan>) {
    let (replica, replica_address) = listener().await;
    let book = Rc::new(RefCell::new(Book::default()));
    tokio::task::spawn_local(replica::serve(replica, Rc::clone(&plan), Rc::clone(&book)));
    let world = World::new(replica_address);
    let (front, address) = listener().await;
    let (client, served) = tokio::join!(TcpStream::connect(address), front.accept());
    let (client, (served, _)) = (client.expect("a connection"), served.expect("a connection"));
    let worker = Rc::new(Worker {
        pool: Pool::new(world.proxy.settings.pool),
        proxy: Arc::clone(&world.proxy),
        tls: None,
    });
    let seat = world.proxy.crowd.enter(address.ip(), 1).expect("the first connection");
    let serving = connection::serve(worker, served, Door::Plain, seat);
    let serving = tokio::task::spawn_local(serving);
    talk(client, &plan, &book).await;
    let ended = tokio::time::timeout(END_LIMIT, serving).await;
    ended.expect("the connection ends").expect("the connection does not panic");
    world.close_the_books().await;
    let faults = std::mem::take(&mut book.borrow_mut().faults);
    assert!(faults.is_empty(), "the replica was sent what it must not see: {faults:#?}");
}

/// A listener on a free port of the loopback.
async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound port");
    (listener, address)
}

async fn talk(client: TcpStream, plan: &Plan, book: &RefCell<Book>) {
    match &plan.client {
        Client::Http1(bytes) => {
            let received = client::exchange(client, false, bytes, plan).await;
            let received = received.expect("the router closes");
            if plan.reset {
                return;
            }
            let trace = trace(bytes);
            let answers = client::check_http1(&received, &trace, plan);
            let seen = book.borrow().seen.len();
            // A retry sends a request a second time, and only a bad replica causes one.
            let most = if plan.is_good() { answers } else { 2 * trace.messages.len() };
            assert!(seen <= most, "the replica saw {seen} requests, at most {most} were sent");
        }
        Client::RawHttp2(bytes) => {
            let received = client::exchange(client, true, bytes, plan).await;
            received.expect("the router closes");
            let (seen, sent) = (book.borrow().seen.len(), 2 * headers_frames(bytes));
            assert!(seen <= sent, "the replica saw {seen} requests, {sent} at most were sent");
        }
        Client::Http2(specs) => {
            let outcomes = client::exchange_http2(client, specs).await;
            check_http2(specs, &outcomes.expect("every stream ends"), plan);
            let (seen, sent) = (book.borrow().seen.len(), specs.len());
            let most = if plan.is_good() { sent } else { 2 * sent };
            assert!(seen <= most, "the replica saw {seen} requests, {sent} were sent");
        }
    }
}

fn check_http2(specs: &[Spec], outcomes: &[client::Outcome], plan: &Plan) {
    for (spec, outcome) in specs.iter().zip(outcomes) {
        let Some((headers, complete)) = &outcome.answer else { continue };
        let is_whole = !spec.reset && spec.framing != SpecFraming::Lie;
        let echoes: Vec<&[u8]> =
            headers.get_all("x-echo").iter().map(http::HeaderValue::as_bytes).collect();
        if plan.is_good() && is_whole {
            assert!(complete, "an answer is cut: {spec:?} {headers:?}");
        }
        if !plan.has_raw_answers() && !echoes.is_empty() {
            assert_eq!(echoes, [print(&spec.body).as_bytes()], "{spec:?}");
        }
    }
}

/// How many HEADERS frames these bytes may hold.
fn headers_frames(mut bytes: &[u8]) -> usize {
    let mut count = 0;
    while let [a, b, c, kind, _, _, _, _, _, rest @ ..] = bytes {
        let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
        count += usize::from(*kind == HEADERS_FRAME);
        bytes = rest.get(length..).unwrap_or_default();
    }
    count
}

impl World {
    fn new(replica: SocketAddr) -> Self {
        let registry = Registry::new(Arc::new(|_| {}), Arc::new(AllHere));
        let (settings, lifecycle) = (Settings::default(), Lifecycle::new());
        let proxy = Proxy::new(
            settings,
            lifecycle,
            Arc::clone(&registry),
            Metrics::new(),
            AccessLog::off(),
            Arc::new(auth::NoTokens),
        );
        let catalog = catalog(replica);
        proxy.publish(&catalog);
        Self { proxy, registry, catalog }
    }

    /// Waits until nothing is in progress, and sees that nothing is held and nothing has panicked.
    async fn close_the_books(&self) {
        let idle = tokio::time::timeout(END_LIMIT, self.proxy.lifecycle.idle()).await;
        assert!(idle.is_ok(), "{} requests never end", self.proxy.lifecycle.requests());
        let freed = tokio::time::timeout(END_LIMIT, async {
            while self.held() > 0 {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        assert!(freed.await.is_ok(), "{} slots and places are never freed", self.held());
        assert_eq!(self.proxy.metrics.request_panics.get(), 0, "a request panicked");
    }

    /// Busy slots and waiting requests.
    fn held(&self) -> u32 {
        let endpoints = self.catalog.endpoints.values();
        let keys = endpoints
            .flat_map(|endpoint| endpoint.versions.iter().map(|version| endpoint.key_of(version)));
        let load =
            |key: VersionKey| self.registry.peek_load(&key).expect("a version of the catalog");
        keys.map(load).map(|load| load.busy + load.queued).sum()
    }
}

/// An open endpoint with two versions and a host, one with a key, and one for small payloads.
fn catalog(replica: SocketAddr) -> Catalog {
    let keyed = AuthPolicy::of_keys(vec![auth::digest(b"first")]);
    let endpoints = [
        endpoint("demo", AuthPolicy::open(), 4096, &[("blue", 1), ("green", 2)], replica),
        endpoint("keyed", keyed, 4096, &[("blue", 3)], replica),
        endpoint("tiny", AuthPolicy::open(), 16, &[("blue", 4)], replica),
    ];
    let endpoints = endpoints.map(|endpoint| (endpoint.name.clone(), Arc::new(endpoint)));
    Catalog { revision: 1, endpoints: endpoints.into_iter().collect() }
}

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

fn endpoint(
    called: &str,
    auth: AuthPolicy,
    max_payload_bytes: u64,
    versions: &[(&str, u64)],
    replica: SocketAddr,
) -> Endpoint {
    Endpoint {
        name: name(called),
        auth,
        forward_credentials: false,
        max_payload_bytes,
        sticky_by: None,
        error_profile: ErrorProfile::Kubernetes,
        hosts: vec![format!("{called}.example").into()],
        server_timing: false,
        versions: versions.iter().map(|(called, id)| version(called, *id, replica)).collect(),
        default_version: 0,
    }
}

fn version(called: &str, id: u64, replica: SocketAddr) -> Version {
    Version {
        traffic_percentile: 30,
        max_queue_length: Some(4),
        request_timeout: Duration::from_secs(20),
        stream_idle_timeout: Duration::from_secs(30),
        replicas: vec![Replica {
            id: ReplicaId(id),
            name: called.into(),
            ordinal: None,
            http: replica,
            grpc: replica,
            state: ReplicaState::Ready,
            generation: 1,
        }],
        ..samples::version(&name(called))
    }
}
