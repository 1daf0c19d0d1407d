//! A real server on a free port against a hand-made [`View`]. The sample is shared with the tests
//! of the operator's commands.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::ready,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::{
    AdminState, BODY_BYTES_MAX, CertificateView, Credentials, Guard, ReplicaView, RouterView, View,
    openapi,
    routes::routes,
    server::{Bounds, serve_within},
};
use crate::{
    domain::{
        AuthPolicy, Autoscale, Catalog, ClearKeys, ClearText, CredentialError, Decision,
        DecisionInputs, Endpoint, ErrorProfile, IssuedToken, IssuerStatus, KeyDigest, KeySlot,
        MAX_PAYLOAD_BYTES, Name, OnDisconnect, Replica, ReplicaId, ReplicaState, Review, Right,
        StickyBy, Version, VersionKey, VersionKind, VersionLoad,
    },
    lifecycle::{Lifecycle, Phase},
    telemetry::{AdminRefusal, DecisionLog, Metrics},
};

const LOCAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 5001);

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn version(text: &str, share: u8, replicas: Vec<Replica>) -> Version {
    Version {
        name: name(text),
        kind: VersionKind::Treatment,
        traffic_percentile: share,
        mirror_percentile: 0,
        scoring_path: "/score".into(),
        slots_per_replica: 2,
        max_queue_wait: Duration::from_millis(500),
        max_queue_length: None,
        request_timeout: Duration::from_secs(60),
        stream_idle_timeout: Duration::from_secs(300),
        on_disconnect: Some(OnDisconnect::Finish),
        fallback_to_default: false,
        autoscale: Autoscale {
            enabled: true,
            min_replicas: 1,
            max_replicas: 4,
            target_utilization: 70,
            scale_down_window: Duration::from_secs(60),
        },
        startable: true,
        rolling: false,
        replicas,
    }
}

fn replica(id: u64, state: ReplicaState) -> Replica {
    Replica {
        id: ReplicaId(id),
        name: format!("demo-blue-{id}").into(),
        ordinal: None,
        http: LOCAL,
        grpc: LOCAL,
        state,
        generation: 0,
    }
}

/// Endpoint `demo`: `blue` (default, 70 % written, 80 % in force) with load, `green` without.
fn catalog() -> Catalog {
    let states = [ReplicaState::Ready, ReplicaState::Starting, ReplicaState::Draining];
    let blue = (1..).zip(states).map(|(id, state)| replica(id, state)).collect();
    let demo = Endpoint {
        name: name("demo"),
        auth: AuthPolicy::of_keys(vec![KeyDigest([0xab; 32])]),
        forward_credentials: false,
        max_payload_bytes: MAX_PAYLOAD_BYTES,
        sticky_by: Some(StickyBy::Header("x-user-id".into())),
        error_profile: ErrorProfile::Kubernetes,
        hosts: vec!["demo.example".into()],
        server_timing: false,
        versions: vec![version("blue", 70, blue), version("green", 20, vec![])],
        default_version: 0,
    };
    Catalog { revision: 1, endpoints: BTreeMap::from([(name("demo"), Arc::new(demo))]) }
}

struct Sample(Arc<Catalog>);

impl View for Sample {
    fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.0)
    }

    fn load(&self, key: &VersionKey) -> Option<VersionLoad> {
        let load = VersionLoad { busy: 2, queued: 3, peak: 5, ready: 1, slots: 2, aside: 1 };
        (key.version.as_str() == "blue").then_some(load)
    }

    fn wanted(&self, key: &VersionKey) -> Option<u32> {
        (key.version.as_str() == "blue").then_some(4)
    }

    fn replicas(&self) -> Vec<ReplicaView> {
        let blue = &self.0.endpoints["demo"].versions[0];
        let view = |replica: &Replica| ReplicaView {
            endpoint: name("demo"),
            version: name("blue"),
            name: Arc::clone(&replica.name),
            id: replica.id,
            address: Some(replica.http),
            state: replica.state,
            busy: 1,
            slots: 2,
            pid: (replica.id == ReplicaId(1)).then_some(4711),
            restarts: 0,
            set_aside: (replica.id == ReplicaId(1)).then(|| Duration::from_secs(4)),
            message: "exit\u{1b}[31m code 1".to_owned(),
        };
        blue.replicas.iter().rev().map(view).collect()
    }

    fn catalog_age(&self) -> Duration {
        Duration::from_millis(2500)
    }

    fn certificates(&self) -> Vec<CertificateView> {
        Vec::new()
    }

    fn issuers(&self) -> Vec<IssuerStatus> {
        Vec::new()
    }

    fn router(&self) -> RouterView {
        RouterView {
            name: "laptop".to_owned(),
            version: "0.1.0".to_owned(),
            started: SystemTime::UNIX_EPOCH,
            data_address: "127.0.0.1:8080".parse().unwrap(),
            admin_address: "127.0.0.1:9001".parse().unwrap(),
            workers: 2,
            phase: Phase::Serving,
            requests: 5,
        }
    }
}

fn decision(version: &str, to: u32) -> Decision {
    Decision {
        time: SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
        key: VersionKey { endpoint: name("demo"), version: name(version) },
        from: 2,
        to,
        reason: format!("2 → {to}: 5 busy over 2 replicas × 1 slot = 250 % > 70 %"),
        inputs: DecisionInputs {
            busy: 5,
            queued: 0,
            ready: 2,
            starting: 0,
            slots_per_replica: 1,
            utilization: Some(2.5),
            target_utilization: 70,
            min_replicas: 1,
            max_replicas: 10,
            window_want: 0,
        },
    }
}

pub(crate) fn sample_state() -> AdminState {
    let decisions = DecisionLog::new();
    decisions.push(decision("blue", 4));
    decisions.push(decision("green", 1));
    AdminState {
        lifecycle: Lifecycle::new(),
        metrics: Metrics::new(),
        decisions,
        view: Arc::new(Sample(Arc::new(catalog()))),
        credentials: Arc::new(Held::default()),
        guard: Arc::new(Guard::new(true)),
    }
}

/// Keys of `demo` in memory; of everybody known, `reader` may only see them.
#[derive(Default)]
pub(crate) struct Held {
    primary: Mutex<u32>,
    pub(crate) in_cluster: bool,
}

impl Held {
    fn keys(&self) -> ClearKeys {
        let primary = format!("primary-{}", self.primary.lock());
        ClearKeys {
            primary: ClearText::new(primary),
            secondary: Some(ClearText::new("secondary-0")),
        }
    }
}

type Answered<T> = BoxFuture<'static, T>;

impl Credentials for Held {
    fn keys(&self, _endpoint: Name) -> Answered<Result<ClearKeys, CredentialError>> {
        Box::pin(ready(Ok(self.keys())))
    }

    fn regenerate(
        &self,
        _endpoint: Name,
        slot: KeySlot,
    ) -> Answered<Result<ClearKeys, CredentialError>> {
        if slot == KeySlot::Primary {
            *self.primary.lock() += 1;
        }
        Box::pin(ready(Ok(self.keys())))
    }

    fn token(&self, _endpoint: &Name) -> Result<IssuedToken, CredentialError> {
        Ok(IssuedToken {
            access_token: ClearText::new("head.claims.signature"),
            refresh_after: 1_700_000_000,
            expiry_on: 1_700_043_200,
        })
    }

    fn jwks(&self) -> Value {
        serde_json::json!({"keys": []})
    }

    fn review(&self, token: ClearText, right: Right, _endpoint: Name) -> Answered<Option<Review>> {
        let review = match token.reveal() {
            "of-reader" if right == Right::ShowKeys => Review::Allowed("reader".to_owned()),
            "of-reader" => Review::Denied("reader".to_owned()),
            "of-nobody-now" => Review::Unavailable("the API server is away".to_owned()),
            _ => Review::Unknown,
        };
        Box::pin(ready(self.in_cluster.then_some(review)))
    }
}

const BOUNDS: Bounds = Bounds {
    connections: 4,
    head_time: Duration::from_millis(300),
    stall_time: Duration::from_millis(500),
};

/// The server as it runs, ended with the lifecycle of the state.
pub(crate) async fn start(state: &AdminState) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    state.lifecycle.spawn("admin", serve_within(BOUNDS, listener, state.clone()));
    address
}

/// A path with its parameters filled in.
fn sample_path(path: &str) -> String {
    path.replace("{name}", "demo").replace("{key}", "primary")
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

async fn ask(address: SocketAddr, method: &str, target: &str) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request =
        format!("{method} {target} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

#[tokio::test]
async fn every_documented_path_answers_and_no_other_does() {
    let served: BTreeSet<_> = routes().into_iter().map(|(path, _)| path).collect();
    let document = openapi::document();
    let described: BTreeSet<_> =
        document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(served, described);

    let address = start(&sample_state()).await;
    for entry in openapi::PATHS {
        let path = sample_path(entry.path);
        let answer = ask(address, entry.method, &path).await;
        assert_eq!(answer.status, 200, "{path}");
        let other = if entry.method == "GET" { "POST" } else { "GET" };
        assert_eq!(ask(address, other, &path).await.status, 405, "{path}");
    }
    let lost = ask(address, "GET", "/api/v2/endpoints").await;
    assert_eq!(lost.status, 404);
    assert!(lost.head.contains("content-type: application/problem+json"), "{}", lost.head);
    assert_eq!(lost.json()["error"]["code"], "no_route");
    let written = ask(address, "POST", "/api/v1/endpoints").await;
    assert_eq!(written.status, 405);
    assert!(written.head.to_lowercase().contains("allow: get"), "{}", written.head);
    assert_eq!(written.json()["status"], 405);
}

/// Compares the fields of a value with those of a schema, down to the last one.
fn matches(document: &Value, schema: &Value, value: &Value, at: &str) {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = document.pointer(reference.trim_start_matches('#')).expect(reference);
        return matches(document, target, value, at);
    }
    match schema["type"].as_str() {
        Some("array") => {
            for item in value.as_array().expect(at) {
                matches(document, &schema["items"], item, at);
            }
        }
        Some("object") if schema["properties"].is_object() => {
            let fields = schema["properties"].as_object().unwrap();
            let described: BTreeSet<_> = fields.keys().collect();
            let served: BTreeSet<_> = value.as_object().expect(at).keys().collect();
            assert_eq!(served, described, "{at}");
            for (field, schema) in fields {
                matches(document, schema, &value[field], &format!("{at}.{field}"));
            }
        }
        Some("string") => assert!(value.is_string(), "{at}: {value}"),
        Some("boolean") => assert!(value.is_boolean(), "{at}: {value}"),
        Some("integer") => assert!(value.is_u64(), "{at}: {value}"),
        Some("number") => assert!(value.is_number(), "{at}: {value}"),
        Some("object") => assert!(value.is_object(), "{at}: {value}"),
        _ => {
            let inner = schema["type"][0].as_str().expect(at);
            if !value.is_null() {
                matches(document, &serde_json::json!({"type": inner}), value, at);
            }
        }
    }
}

#[tokio::test]
async fn what_is_served_has_exactly_the_described_fields() {
    let address = start(&sample_state()).await;
    let document = ask(address, "GET", "/openapi.json").await.json();
    for (path, entry) in document["paths"].as_object().unwrap() {
        let (method, operation) = entry.as_object().unwrap().iter().next().unwrap();
        let content = &operation["responses"]["200"]["content"]["application/json"];
        if !content.is_object() {
            continue;
        }
        let value = ask(address, &method.to_uppercase(), &sample_path(path)).await.json();
        assert!(value.as_array().is_none_or(|items| !items.is_empty()), "{path} shows something");
        matches(&document, &content["schema"], &value, path);
    }
}

#[tokio::test]
async fn an_endpoint_shows_its_load_and_no_key() {
    let address = start(&sample_state()).await;
    let list = ask(address, "GET", "/api/v1/endpoints").await;
    let one = ask(address, "GET", "/api/v1/endpoints/demo").await;
    assert_eq!(list.json(), serde_json::json!([one.json()]));
    assert!(!one.body.contains("abab") && !one.body.contains("171"), "{}", one.body);
    expect_test::expect_file!["./testdata/endpoint.json"].assert_eq(&format!("{:#}\n", one.json()));
    assert_eq!(ask(address, "GET", "/api/v1/endpoints/other").await.status, 404);
}

#[tokio::test]
async fn decisions_come_newest_first_and_pass_the_filter() {
    let address = start(&sample_state()).await;
    let versions = |answer: Answer| -> Vec<String> {
        let items = answer.json();
        items.as_array().unwrap().iter().map(|d| d["version"].as_str().unwrap().into()).collect()
    };
    let all = ask(address, "GET", "/api/v1/decisions").await;
    assert_eq!(all.json()[0]["time"], "2023-11-14T22:13:20.123Z");
    assert_eq!(versions(all), ["green", "blue"]);
    assert_eq!(versions(ask(address, "GET", "/api/v1/decisions?limit=1").await), ["green"]);
    let blue = "/api/v1/decisions?endpoint=demo&version=blue";
    assert_eq!(versions(ask(address, "GET", blue).await), ["blue"]);
    let none = ask(address, "GET", "/api/v1/decisions?endpoint=other").await;
    assert_eq!(none.body, "[]");
    for bad in ["limit=-1", "limit=many", "pod=1"] {
        let answer = ask(address, "GET", &format!("/api/v1/decisions?{bad}")).await;
        assert_eq!(answer.status, 400, "{bad}");
        assert_eq!(answer.json()["error"]["code"], "malformed_request");
    }
}

#[tokio::test]
async fn readiness_names_what_is_not_met_and_goes_when_the_router_drains() {
    let state = sample_state();
    let address = start(&state).await;
    let catalog = state.lifecycle.condition("catalog");
    let answer = ask(address, "GET", "/readyz").await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.body, "[-]catalog failed: not yet\nreadyz check failed\n");
    catalog.met();
    let answer = ask(address, "GET", "/readyz").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "ok\n"));
    let answer = ask(address, "GET", "/readyz?verbose").await;
    assert_eq!(
        answer.body,
        "[+]catalog ok\n[+]serving ok\n[+]catalog was in step 2.5 s ago\nreadyz check passed\n"
    );
    state.lifecycle.enter(Phase::Closing);
    let answer = ask(address, "GET", "/readyz?verbose").await;
    assert_eq!(answer.status, 503);
    assert_eq!(
        answer.body,
        "[+]catalog ok\n[-]serving failed: shutting down\n[+]catalog was in step 2.5 s ago\n\
         readyz check failed\n"
    );
    assert_eq!(ask(address, "GET", "/livez").await.status, 200, "alive while it drains");
    state.lifecycle.enter(Phase::Stopped);
    state.lifecycle.finish_tasks(Duration::from_secs(10)).await;
    assert!(TcpStream::connect(address).await.is_err(), "closed when stopped");
}

#[tokio::test]
async fn a_scrape_shows_the_load_of_this_moment() {
    let address = start(&sample_state()).await;
    let answer = ask(address, "GET", "/metrics").await;
    assert!(answer.head.contains("content-type: text/plain; version=0.0.4"), "{}", answer.head);
    for line in [
        r#"modelway_busy_slots{endpoint="demo",version="blue"} 2"#,
        r#"modelway_queued_requests{endpoint="demo",version="blue"} 3"#,
        r#"modelway_replicas{endpoint="demo",state="starting",version="blue"} 1"#,
        r#"modelway_replicas{endpoint="demo",state="wanted",version="blue"} 4"#,
        r#"modelway_utilization_ratio{endpoint="demo",version="blue"} 2.5"#,
        "modelway_catalog_age_seconds 2.5",
    ] {
        assert!(answer.body.lines().any(|served| served == line), "{line}\n{}", answer.body);
    }
    let green = r#"modelway_utilization_ratio{endpoint="demo",version="green"}"#;
    assert!(!answer.body.contains(green), "no load is known");
}

#[tokio::test]
async fn silent_clients_hold_nobody_up_and_are_closed() {
    let address = start(&sample_state()).await;
    let mut silent = Vec::new();
    for sent in ["", "", "GET /livez HT", "", "", "GET /livez HTTP/1.1\r\nhost: a\r\n\r\n"] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        silent.push(stream);
    }
    assert_eq!(ask(address, "GET", "/livez").await.status, 200, "more than the bound are open");
    for mut stream in silent {
        // End of file or reset, also after an answer: nothing keeps the connection.
        let mut rest = Vec::new();
        let closed = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut rest));
        assert!(closed.await.is_ok(), "still open");
    }
}

#[tokio::test]
async fn an_answer_left_unread_ends_the_connection() {
    let address = start(&sample_state()).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = "GET /openapi.json HTTP/1.1\r\nhost: a\r\n\r\n".repeat(100);
    let flood = async { while stream.write_all(request.as_bytes()).await.is_ok() {} };
    assert!(tokio::time::timeout(Duration::from_secs(20), flood).await.is_ok(), "still open");
}

#[tokio::test]
async fn a_head_too_large_or_malformed_is_refused() {
    let address = start(&sample_state()).await;
    let long = ask(address, "GET", &format!("/livez?{}", "a".repeat(20_000))).await;
    assert!([414, 431].contains(&long.status), "{}", long.status);
    assert_eq!(ask(address, "GET", "li vez").await.status, 400);
}

/// A request with these further fields, and a body.
async fn send(address: SocketAddr, line: &str, fields: &[&str], body: &str) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let fields: String = fields.iter().flat_map(|field| [*field, "\r\n"]).collect();
    let request = format!("{line} HTTP/1.1\r\nconnection: close\r\n{fields}\r\n{body}");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

const SHOW: &str = "GET /api/v1/endpoints/demo/keys";
const REGENERATE: &str = "POST /api/v1/endpoints/demo/keys/primary/regenerate";
const TOKEN: &str = "POST /api/v1/endpoints/demo/token";
const ADMIN_TOKEN: &str = "admin-token-canary-7d1f";
const LOCAL_HOST: &str = "host: 127.0.0.1";

/// The sample with a guard that knows one admin token, or none, and a cluster or none.
fn guarded_state(admin_token: Option<&str>, in_cluster: bool) -> AdminState {
    let guard = Guard::new(false);
    if let Some(token) = admin_token {
        guard.set_token(&ClearText::new(token));
    }
    let credentials = Held { in_cluster, ..Held::default() };
    AdminState { guard: Arc::new(guard), credentials: Arc::new(credentials), ..sample_state() }
}

fn refusals(state: &AdminState, why: AdminRefusal) -> f64 {
    let name = format!("modelway_admin_refusals_total{{refusal=\"{}\"}} ", why.as_str());
    let page = state.metrics.encode();
    page.lines().find_map(|line| line.strip_prefix(&name)).map_or(0.0, |n| n.parse().unwrap())
}

#[tokio::test]
async fn on_this_machine_nothing_is_asked_of_tools_and_nothing_given_to_web_pages() {
    let state = sample_state();
    let address = start(&state).await;
    for host in
        ["127.0.0.1", "127.0.0.1:9001", "localhost", "LOCALHOST:9001", "[::1]:9001", "127.8.9.1"]
    {
        let answer = send(address, SHOW, &[&format!("host: {host}")], "").await;
        assert_eq!(answer.status, 200, "{host}");
        assert_eq!(answer.json()["primaryKey"], "primary-0");
        assert!(answer.head.contains("cache-control: no-store"), "{}", answer.head);
    }
    let odd: &[&[&str]] = &[
        &["host: evil.example"],
        &["host: evil.example:9001"],
        &["host: 127.0.0.1.evil.example"],
        &["host: localhost.evil.example"],
        &["host: 10.0.0.1"],
        &["host: 0.0.0.0"],
        &["host: [::]"],
        &["host: me@127.0.0.1"],
        &["host:"],
        &[],
        &[LOCAL_HOST, "host: evil.example"],
        &[LOCAL_HOST, "origin: http://evil.example"],
        &[LOCAL_HOST, "origin: null"],
        &[LOCAL_HOST, "origin: http://127.0.0.1:9001"],
        &[LOCAL_HOST, "sec-fetch-site: same-origin"],
        &[LOCAL_HOST, "Sec-Fetch-Mode: no-cors"],
        &[LOCAL_HOST, "sec-fetch-dest: empty"],
        &[LOCAL_HOST, "sec-fetch-user: ?1"],
    ];
    for fields in odd {
        for line in [SHOW, REGENERATE, TOKEN] {
            let answer = send(address, line, fields, "").await;
            assert!([400, 403].contains(&answer.status), "{line} {fields:?}: {}", answer.status);
            assert!(!answer.body.contains("primary-"), "{line} {fields:?}");
        }
    }
    let absolute = "GET http://evil.example/api/v1/endpoints/demo/keys";
    assert_eq!(send(address, absolute, &[LOCAL_HOST], "").await.status, 403);
    assert_eq!(send(address, SHOW, &[LOCAL_HOST], "").await.json()["primaryKey"], "primary-0");
    assert!(refusals(&state, AdminRefusal::Foreign) >= 45.0);
    // What is open to all stays so.
    for line in ["GET /api/v1/endpoints", "GET /metrics", "GET /.well-known/jwks.json"] {
        assert_eq!(send(address, line, &["host: evil.example"], "").await.status, 200, "{line}");
    }
}

#[tokio::test]
async fn with_an_admin_token_nothing_else_lets_in_not_even_being_here() {
    let open = Guard::new(true);
    open.set_token(&ClearText::new(ADMIN_TOKEN));
    let state = AdminState { guard: Arc::new(open), ..sample_state() };
    let address = start(&state).await;
    let good = format!("authorization: Bearer {ADMIN_TOKEN}");
    for line in [SHOW, REGENERATE, TOKEN] {
        assert_eq!(send(address, line, &[LOCAL_HOST, &good], "").await.status, 200, "{line}");
        let cases = [
            ("", 401, AdminRefusal::Missing),
            ("authorization: Bearer wrong", 401, AdminRefusal::Wrong),
            ("authorization: Bearer admin-token-canary-7d1", 401, AdminRefusal::Wrong),
            ("authorization: Bearer admin-token-canary-7d1ff", 401, AdminRefusal::Wrong),
            ("authorization: Basic YWRtaW46YWRtaW4=", 401, AdminRefusal::Malformed),
            ("authorization: Bearer", 401, AdminRefusal::Malformed),
            ("authorization: Bearer a b", 401, AdminRefusal::Malformed),
            ("authorization: Bearer a\r\nauthorization: Bearer b", 400, AdminRefusal::Malformed),
        ];
        for (field, status, why) in cases {
            let before = refusals(&state, why);
            let fields = if field.is_empty() { vec![LOCAL_HOST] } else { vec![LOCAL_HOST, field] };
            let answer = send(address, line, &fields, "").await;
            assert_eq!(answer.status, status, "{line} {field}");
            assert!((refusals(&state, why) - before - 1.0).abs() < f64::EPSILON, "{field}");
            let challenge = answer.head.contains("www-authenticate: Bearer realm=");
            assert_eq!(challenge, status == 401, "{}", answer.head);
            assert!(!answer.body.contains("wrong") && !answer.body.contains("canary"));
        }
    }
    // A new token is in force at once, and the old one is not.
    state.guard.set_token(&ClearText::new("another-admin-token"));
    assert_eq!(send(address, SHOW, &[LOCAL_HOST, &good], "").await.status, 401);
    assert!(!format!("{:?}", state.guard).contains("another"), "{:?}", state.guard);
}

#[tokio::test]
async fn without_any_way_in_the_answer_says_how_to_make_one() {
    let address = start(&guarded_state(None, false)).await;
    let answer = send(address, SHOW, &[LOCAL_HOST], "").await;
    assert_eq!(answer.status, 401);
    assert!(answer.body.contains("--admin-token-file"), "{}", answer.body);
    let answer = send(address, SHOW, &[LOCAL_HOST, "authorization: Bearer any"], "").await;
    assert_eq!(answer.status, 403);
    assert!(answer.body.contains("has no admin token"), "{}", answer.body);
}

#[tokio::test]
async fn the_cluster_says_who_may_do_what() {
    let state = guarded_state(Some(ADMIN_TOKEN), true);
    let address = start(&state).await;
    let ask = |line, token| {
        let field = format!("authorization: Bearer {token}");
        async move { send(address, line, &[LOCAL_HOST, &field], "").await }
    };
    assert_eq!(ask(SHOW, ADMIN_TOKEN).await.status, 200);
    assert_eq!(ask(SHOW, "of-reader").await.status, 200);
    let denied = ask(REGENERATE, "of-reader").await;
    assert_eq!(denied.status, 403);
    let words = r#""reader\" may not: it needs the verb update on inferenceendpoints/keys"#;
    assert!(denied.body.contains(words), "{}", denied.body);
    let denied = ask(TOKEN, "of-reader").await;
    assert!(denied.body.contains("the verb create on inferenceendpoints/token"), "{}", denied.body);
    assert_eq!(ask(SHOW, "of-nobody").await.status, 401);
    let away = ask(SHOW, "of-nobody-now").await;
    assert_eq!(away.status, 503);
    assert!(away.head.contains("retry-after: "), "{}", away.head);
    // Nobody learns which endpoints there are without being let in first.
    let other = "GET /api/v1/endpoints/other/keys";
    assert_eq!(ask(other, "of-nobody").await.status, 401);
    assert_eq!(ask(other, ADMIN_TOKEN).await.status, 404);
}

#[tokio::test]
async fn a_post_takes_no_fields_and_no_form() {
    let state = sample_state();
    let address = start(&state).await;
    let json = "content-type: application/json";
    let post = |fields: Vec<String>, body: String| async move {
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        send(address, REGENERATE, &fields, &body).await.status
    };
    let with = |kind: &str, body: &str| {
        let fields =
            vec![LOCAL_HOST.to_owned(), kind.to_owned(), format!("content-length: {}", body.len())];
        post(fields, body.to_owned())
    };
    assert_eq!(with(json, "{}").await, 200);
    assert_eq!(with("content-type: application/json; charset=utf-8", " { } ").await, 200);
    assert_eq!(with("content-type: text/plain", "{}").await, 415);
    assert_eq!(with("content-type: application/x-www-form-urlencoded", "a=b").await, 415);
    assert_eq!(with("x-none: 1", "{}").await, 415);
    assert_eq!(with(json, r#"{"key": "secondary"}"#).await, 400);
    assert_eq!(with(json, "[]").await, 400);
    assert_eq!(with(json, "{").await, 400);
    let at = format!("{}{{}}", " ".repeat(BODY_BYTES_MAX - 2));
    assert_eq!(with(json, &at).await, 200);
    assert_eq!(with(json, &format!(" {at}")).await, 413);
    let chunked =
        vec![LOCAL_HOST.to_owned(), json.to_owned(), "transfer-encoding: chunked".to_owned()];
    assert_eq!(post(chunked, "2\r\n{}\r\n0\r\n\r\n".to_owned()).await, 200);
    assert_eq!(
        send(address, "POST /api/v1/endpoints/demo/keys/third/regenerate", &[LOCAL_HOST], "")
            .await
            .status,
        404
    );
    let keys = send(address, SHOW, &[LOCAL_HOST], "").await.json();
    assert_eq!(keys["primaryKey"], "primary-4", "four were good");
    assert_eq!(keys["secondaryKey"], "secondary-0");
}
