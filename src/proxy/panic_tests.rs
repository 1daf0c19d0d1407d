//! A panic anywhere in a request costs that request, and nothing else.

use std::{cell::Cell, net::SocketAddr, rc::Rc, sync::Arc, time::Duration};

use bytes::Bytes;
use http::Request;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
};

use super::fault::{Place, arm};
use crate::proxy::{Door, Proxy, Settings, listener::accept, upload::Upload, worker::Worker};
use crate::{
    auth::NoTokens,
    domain::{
        AuthPolicy, Catalog, Endpoint, ErrorProfile, LoadSource, Name, Replica, ReplicaId,
        ReplicaState, Version, VersionKey, samples,
    },
    lifecycle::Lifecycle,
    replica::{AllHere, Registry},
    telemetry::{AccessLog, Metrics},
    upstream::Pool,
};

/// Nothing here takes longer, even on a loaded machine.
const SOON: Duration = Duration::from_secs(20);
const PATH: &str = "/api/v1/endpoint/demo/score";

/// The data plane of one thread, and a replica beside it on the same thread.
struct Stage {
    metrics: Arc<Metrics>,
    registry: Arc<Registry>,
    data: SocketAddr,
    model: Rc<Model>,
}

/// A replica that answers when it is let.
#[derive(Default)]
struct Model {
    /// Whether it waits before each answer.
    holds: Cell<bool>,
    asked: Notify,
    released: Notify,
}

fn key() -> VersionKey {
    let name = Name::new("demo").unwrap();
    VersionKey { endpoint: name.clone(), version: name }
}

fn catalog(replica: SocketAddr) -> Catalog {
    let name = key().endpoint;
    let version = Version {
        traffic_percentile: 100,
        slots_per_replica: 10,
        max_queue_wait: SOON,
        stream_idle_timeout: Duration::from_secs(60),
        replicas: vec![Replica {
            id: ReplicaId(1),
            name: "demo-1".into(),
            ordinal: None,
            http: replica,
            grpc: replica,
            state: ReplicaState::Ready,
            generation: 1,
        }],
        ..samples::version(&name)
    };
    let endpoint = Endpoint {
        name: name.clone(),
        auth: AuthPolicy::open(),
        forward_credentials: false,
        max_payload_bytes: 1_000_000,
        sticky_by: None,
        error_profile: ErrorProfile::Kubernetes,
        hosts: Vec::new(),
        server_timing: false,
        versions: vec![version],
        default_version: 0,
    };
    Catalog { revision: 1, endpoints: [(name, Arc::new(endpoint))].into() }
}

impl Stage {
    async fn new() -> Self {
        let replica = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let router = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let metrics = Metrics::new();
        let registry = Registry::new(Arc::new(|_| {}), Arc::new(AllHere));
        let proxy = Proxy::new(
            Settings::default(),
            Lifecycle::new(),
            Arc::clone(&registry),
            Arc::clone(&metrics),
            AccessLog::off(),
            Arc::new(NoTokens),
        );
        proxy.publish(&catalog(replica.local_addr().unwrap()));
        let pool: Pool<Upload> = Pool::new(proxy.settings.pool);
        let worker = Rc::new(Worker { proxy, pool, tls: None });
        let data = router.local_addr().unwrap();
        tokio::task::spawn_local(accept(worker, router, Door::Plain));
        let model = Rc::new(Model::default());
        let shared = Rc::clone(&model);
        tokio::task::spawn_local(async move {
            while let Ok((stream, _)) = replica.accept().await {
                let model = Rc::clone(&shared);
                tokio::task::spawn_local(async move { model.serve(stream).await });
            }
        });
        Self { metrics, registry, data, model }
    }

    /// The panic was counted, every slot is free, and the next request on a new connection is served.
    async fn is_unharmed(&self) {
        self.holds(false);
        let settled = async {
            let busy = || self.registry.peek_load(&key()).unwrap().busy;
            while self.metrics.request_panics.get() != 1 || busy() != 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(SOON, settled).await.expect("one panic is counted, no slot is busy");
        assert!(self.http1("{}").await.starts_with("HTTP/1.1 200"));
    }

    fn holds(&self, holds: bool) {
        self.model.holds.set(holds);
        self.model.released.notify_one();
    }

    /// What comes back for one request until the connection ends.
    async fn http1(&self, body: &str) -> String {
        let mut stream = TcpStream::connect(self.data).await.unwrap();
        let length = body.len();
        let head = format!("POST {PATH} HTTP/1.1\r\nhost: t\r\nconnection: close\r\n");
        let request = format!("{head}content-length: {length}\r\n\r\n{body}");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let read = tokio::time::timeout(SOON, stream.read_to_end(&mut answer)).await;
        read.expect("an end in time").unwrap();
        String::from_utf8(answer).unwrap()
    }

    async fn http2(&self) -> h2::client::SendRequest<Bytes> {
        let stream = TcpStream::connect(self.data).await.unwrap();
        let (sender, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::task::spawn_local(async move { drop(connection.await) });
        sender
    }
}

impl Model {
    async fn serve(&self, mut stream: TcpStream) {
        let (mut seen, mut piece) = (Vec::new(), [0; 4096]);
        loop {
            let count = stream.read(&mut piece).await.unwrap_or(0);
            if count == 0 {
                return;
            }
            seen.extend_from_slice(&piece[..count]);
            let text = String::from_utf8_lossy(&seen).into_owned();
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if length.is_some_and(|length| body.len() < length.parse().unwrap()) {
                continue;
            }
            seen.clear();
            self.asked.notify_one();
            while self.holds.get() {
                self.released.notified().await;
            }
            let answer = if head.contains("upgrade: websocket") {
                "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
            } else {
                "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ngood"
            };
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

/// A call over HTTP/2: its status and body, or how its stream ended.
async fn call(sender: &h2::client::SendRequest<Bytes>) -> Result<(u16, Bytes), h2::Error> {
    let request = Request::post(format!("http://t{PATH}")).body(()).unwrap();
    let mut ready = sender.clone().ready().await?;
    let (response, mut stream) = ready.send_request(request, false)?;
    stream.send_data(Bytes::from_static(b"{}"), true)?;
    let (head, mut body) = response.await?.into_parts();
    let mut bytes = Vec::new();
    while let Some(data) = body.data().await {
        bytes.extend_from_slice(&data?);
    }
    Ok((head.status.as_u16(), bytes.into()))
}

/// Runs on one thread, where what is armed for the data plane is seen by it.
fn on_stage(test: impl AsyncFnOnce(Stage)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async { test(Stage::new().await).await });
}

#[test]
fn a_panic_before_the_answer_is_500_and_the_connection_goes_on() {
    for place in [Place::Journey, Place::Exchange, Place::Upload] {
        on_stage(async |stage| {
            arm(place);
            let answer = stage.http1("{}").await;
            assert!(answer.starts_with("HTTP/1.1 500"), "{place:?}: {answer}");
            assert!(answer.contains(r#""code":"internal""#), "{place:?}: {answer}");
            stage.is_unharmed().await;
        });
        on_stage(async |stage| {
            let sender = stage.http2().await;
            arm(place);
            let (status, body) = call(&sender).await.unwrap();
            assert_eq!(status, 500, "{place:?}");
            assert!(body.windows(8).any(|w| w == b"internal"), "{place:?}: {body:?}");
            assert_eq!(call(&sender).await.unwrap(), (200, "good".into()), "{place:?}");
            stage.is_unharmed().await;
        });
    }
}

#[test]
fn a_panic_in_the_answer_visibly_cuts_it_off_and_other_streams_go_on() {
    on_stage(async |stage| {
        arm(Place::Reply);
        let answer = stage.http1("{}").await;
        assert!(!answer.contains("good"), "{answer}");
        stage.is_unharmed().await;
    });
    on_stage(async |stage| {
        let sender = stage.http2().await;
        stage.holds(true);
        let other = tokio::task::spawn_local({
            let sender = sender.clone();
            async move { call(&sender).await }
        });
        stage.model.asked.notified().await;
        stage.model.holds.set(false);
        arm(Place::Reply);
        assert!(call(&sender).await.is_err());
        stage.holds(false);
        assert_eq!(other.await.unwrap().unwrap(), (200, "good".into()));
        stage.is_unharmed().await;
    });
}

#[test]
fn a_panic_in_work_whose_client_has_left_is_counted_and_frees_its_slot() {
    on_stage(async |stage| {
        let sender = stage.http2().await;
        stage.holds(true);
        let client = tokio::task::spawn_local({
            let sender = sender.clone();
            async move { call(&sender).await }
        });
        stage.model.asked.notified().await;
        // Its drop resets the stream.
        client.abort();
        assert!(client.await.unwrap_err().is_cancelled());
        // What comes behind the reset on the same connection is answered after it.
        let request = Request::post("http://t/nowhere").body(()).unwrap();
        let mut ready = sender.clone().ready().await.unwrap();
        let (response, _stream) = ready.send_request(request, true).unwrap();
        assert_eq!(response.await.unwrap().status(), 404);
        arm(Place::Exchange);
        stage.holds(false);
        stage.is_unharmed().await;
    });
}

#[test]
fn a_panic_in_a_tunnel_closes_it_and_frees_its_slot() {
    on_stage(async |stage| {
        arm(Place::Tunnel);
        let mut stream = TcpStream::connect(stage.data).await.unwrap();
        let head = format!(
            "GET {PATH} HTTP/1.1\r\nhost: t\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let read = tokio::time::timeout(SOON, stream.read_to_end(&mut answer)).await;
        read.expect("the tunnel is closed").unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 101"), "{answer:?}");
        stage.is_unharmed().await;
    });
}
