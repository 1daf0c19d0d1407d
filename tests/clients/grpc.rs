//! gRPC on the wire: what no client library shows, and both ports of a replica.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::{
    body::{Frame, Incoming},
    client::conn::http2::{self, SendRequest},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpStream, task::JoinSet, time::timeout};

use crate::{
    asked::{SOON, await_busy, stat},
    endpoints::{self, KEY},
    grpc_replica::GrpcReplica,
    support::router::Router,
};

type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, std::convert::Infallible>;

/// An HTTP/2 connection with prior knowledge.
struct Client {
    sender: SendRequest<Body>,
    _driver: JoinSet<()>,
}

impl Client {
    async fn connect(router: &Router) -> Self {
        let stream = TcpStream::connect(router.data).await.unwrap();
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        let mut driver = JoinSet::new();
        driver.spawn(async move { drop(connection.await) });
        Self { sender, _driver: driver }
    }

    async fn call(
        &mut self,
        path: &str,
        fields: &[(&str, &str)],
        body: Body,
    ) -> Response<Incoming> {
        let mut request = Request::post(format!("http://router{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("authorization", format!("Bearer {KEY}"));
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(body).unwrap();
        timeout(SOON, self.sender.send_request(request)).await.unwrap().unwrap()
    }
}

fn route(endpoint: &str) -> (&'static str, String) {
    ("x-ms-aml-grpc-service-route", format!("/api/v1/endpoint/{endpoint}"))
}

fn message() -> Body {
    Full::new(Bytes::from_static(b"\0\0\0\0\x03abc")).boxed_unsync()
}

async fn whole(response: Response<Incoming>) -> (HeaderMap, Vec<u8>, HeaderMap) {
    let (head, body) = response.into_parts();
    let collected = timeout(SOON, body.collect()).await.unwrap().unwrap();
    let trailers = collected.trailers().cloned().unwrap_or_default();
    (head.headers, collected.to_bytes().to_vec(), trailers)
}

/// The status of a call, wherever it stands.
async fn status(response: Response<Incoming>) -> String {
    assert_eq!(response.status(), 200);
    let (head, _, trailers) = whole(response).await;
    let status = head.get("grpc-status").or_else(|| trailers.get("grpc-status"));
    status.expect("a grpc-status").to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn fields_and_trailers_pass_both_ways_and_credentials_do_not() {
    let replica = GrpcReplica::start().await;
    let router = Router::start(&endpoints::fixed(replica.address, replica.address), &[]);
    router.await_replicas("one", "ready", 1, SOON);
    let mut client = Client::connect(&router).await;
    let mut trailers = HeaderMap::new();
    trailers.insert("x-checksum", "7".parse().unwrap());
    let frames =
        [Ok(Frame::data(Bytes::from_static(b"\0\0\0\0\x03abc"))), Ok(Frame::trailers(trailers))];
    let body = StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync();
    let (name, value) = route("fixed");
    let fields = [(name, value.as_str()), ("x-mine-bin", "AAEC"), ("grpc-timeout", "9S")];
    let (head, answer, trailers) = whole(client.call("/test/Echo", &fields, body).await).await;
    assert_eq!(answer, b"\0\0\0\0\x02hi");
    assert_eq!(
        (&trailers["grpc-status"], &trailers["x-last"]),
        (&"0".parse().unwrap(), &"words".parse().unwrap())
    );
    assert_eq!(head["x-modelway-version"], "one");
    let seen = replica.seen.lock()[0].clone();
    assert_eq!(seen.body, b"\0\0\0\0\x03abc");
    assert_eq!(seen.trailers.expect("trailers")["x-checksum"], "7");
    assert_eq!(seen.headers["te"], "trailers");
    assert_eq!(seen.headers["x-mine-bin"], "AAEC");
    assert_eq!(seen.headers["grpc-timeout"], "9S");
    assert_eq!(seen.headers["x-request-id"], head["x-request-id"]);
    for gone in ["authorization", "x-ms-aml-grpc-service-route", "host"] {
        assert!(!seen.headers.contains_key(gone), "{gone}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_replica_that_breaks_off_is_unavailable() {
    let mut replica = GrpcReplica::start().await;
    let router = Router::start(&endpoints::fixed(replica.address, replica.address), &[]);
    router.await_replicas("one", "ready", 1, SOON);
    let mut client = Client::connect(&router).await;
    let (name, value) = route("fixed");
    let hanging = client.call("/test/Hang", &[(name, value.as_str())], message()).await;
    await_busy(&router, "one", 1);
    // Its only slot is taken: for gRPC and for HTTP, whose port is the same replica.
    let refused = client.call("/test/Echo", &[(name, value.as_str())], message()).await;
    assert!(refused.headers().contains_key("grpc-retry-pushback-ms"));
    assert_eq!(status(refused).await, "14");
    replica.break_off.notify_one();
    let (_, answer, trailers) = whole(hanging).await;
    assert_eq!(answer, b"\0\0\0\0\x02hi");
    assert_eq!(trailers["grpc-status"], "14");
    await_busy(&router, "one", 0);
    assert!(replica.is_running());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn grpc_timeout_bounds_a_call_to_its_last_byte() {
    let replica = GrpcReplica::start().await;
    let router = Router::start(&endpoints::fixed(replica.address, replica.address), &[]);
    router.await_replicas("one", "ready", 1, SOON);
    let mut client = Client::connect(&router).await;
    let (name, value) = route("fixed");
    let begun = Instant::now();
    // requestTimeout is 20 s; the client has no clock of its own here.
    let fields = [(name, value.as_str()), ("grpc-timeout", "300m")];
    assert_eq!(status(client.call("/test/Hang", &fields, message()).await).await, "4");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    await_busy(&router, "one", 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_dropped_call_frees_its_slot() {
    let replica = GrpcReplica::start().await;
    let router = Router::start(&endpoints::fixed(replica.address, replica.address), &[]);
    router.await_replicas("one", "ready", 1, SOON);
    let mut client = Client::connect(&router).await;
    let (name, value) = route("fixed");
    let hanging = client.call("/test/Hang", &[(name, value.as_str())], message()).await;
    await_busy(&router, "one", 1);
    drop(hanging);
    await_busy(&router, "one", 0);
    assert_eq!(status(client.call("/test/Echo", &[(name, &value)], message()).await).await, "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn grpc_and_http_have_their_ports_on_the_same_slots() {
    // The replica of `echo` lends its port for HTTP; gRPC goes to ours.
    let http = Router::start(&endpoints::echo(), &[]);
    http.await_replicas("one", "ready", 1, SOON);
    let replicas = http.admin_json("/api/v1/replicas");
    let model = replicas[0]["address"].as_str().unwrap().parse().unwrap();
    let grpc = GrpcReplica::start().await;
    let router = Router::start(&endpoints::fixed(model, grpc.address), &[]);
    router.await_replicas("one", "ready", 1, SOON);
    let before = stat(&router, "one", "executions");
    let mut client = Client::connect(&router).await;
    let (name, value) = route("fixed");
    assert_eq!(status(client.call("/test/Echo", &[(name, &value)], message()).await).await, "0");
    let plain = [("content-type", "application/json")];
    let score = |client: &mut Client| {
        let mut request = Request::post("http://router/api/v1/endpoint/fixed/score");
        for (name, value) in plain {
            request = request.header(name, value);
        }
        let request = request.header("api-key", KEY).body(message()).unwrap();
        client.sender.send_request(request)
    };
    assert_eq!(score(&mut client).await.unwrap().status(), 200);
    assert_eq!(grpc.seen.lock().len(), 1);
    assert_eq!(stat(&router, "one", "executions"), before + 1);
    let hanging = client.call("/test/Hang", &[(name, &value)], message()).await;
    let refused = score(&mut client).await.unwrap();
    assert_eq!(refused.status(), 503, "one slot, and gRPC has it");
    drop(hanging);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn grpc_web_is_plain_http() {
    let router = Router::start(&endpoints::echo(), &[]);
    let mut client = Client::connect(&router).await;
    let request = Request::post("http://router/api/v1/endpoint/nobody/score")
        .header("content-type", "application/grpc-web+proto");
    let refused = client.sender.send_request(request.body(message()).unwrap()).await.unwrap();
    assert_eq!(refused.status(), 404);
    assert_eq!(refused.headers()["content-type"], "application/problem+json");
}
