//! A slot belongs to the replica's work, not to the client's patience.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};

use crate::support::{
    book::Book,
    line::{Line, post},
    router::Router,
    spec::{self, SCORE},
    watch::{await_gauge, metric, ready, stats, until},
};

const BUSY: &str = "modelway_busy_slots";

fn start(ledger: &std::path::Path, flags: &[&str], fields: &Value) -> Router {
    let fields = spec::with(&json!({"maxQueueWait": "30s"}), fields);
    let blue = spec::fixed("blue", &spec::model(ledger, flags), 1, &fields);
    let router = Router::start(&spec::endpoint(&[blue]), &["--workers", "2"]);
    router.await_replicas("blue", "ready", 1, Duration::from_secs(20));
    router
}

fn send(router: &Router, name: &str, latency: &str) -> Line {
    let mut line = Line::connect(router.data);
    line.send(&format!("{SCORE}?latency={latency}"), &[("x-ms-client-request-id", name)]);
    line
}

#[test]
fn a_client_that_leaves_does_not_free_the_slot_before_the_replica_has_finished() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = folder.path().join("ledger");
    let router = start(&ledger, &[], &json!({}));
    let leaver = send(&router, "leaver", "1500ms");
    await_gauge(&router, BUSY, "blue", 1);
    until(Duration::from_secs(5), "the model works", || {
        (Book::read(&ledger).of("leaver").len() == 1).then_some(())
    });
    leaver.reset();
    let mut next = send(&router, "next", "0ms");
    assert_eq!(next.answer().unwrap().status, 200);
    let book = Book::read(&ledger);
    let (left, served) = (&book.of("leaver")[0], &book.of("next")[0]);
    assert!(left.end_ms.is_some() && !left.cancelled, "{left:?}");
    assert!(Some(served.start_ms) >= left.end_ms, "{left:?} {served:?}");
    let highest: Vec<usize> = book.highest.values().map(|(_, highest)| *highest).collect();
    assert_eq!(highest, [1]);
    assert_eq!(stats(&ready(&router, "blue")[0])["highestOpen"], 1);
}

#[test]
fn on_disconnect_cancel_frees_the_slot_and_the_model_sees_it() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = folder.path().join("ledger");
    let flags = ["--ignore-disconnect=false"];
    let router = start(&ledger, &flags, &json!({"onDisconnect": "cancel"}));
    let leaver = send(&router, "leaver", "20s");
    until(Duration::from_secs(5), "the model works", || {
        (Book::read(&ledger).of("leaver").len() == 1).then_some(())
    });
    let left = Instant::now();
    leaver.reset();
    await_gauge(&router, BUSY, "blue", 0);
    until(Duration::from_secs(5), "the model has stopped", || {
        Book::read(&ledger).of("leaver")[0].cancelled.then_some(())
    });
    assert!(left.elapsed() < Duration::from_secs(5), "took {:?}", left.elapsed());
    assert_eq!(send(&router, "next", "0ms").answer().unwrap().status, 200);
}

#[test]
fn request_timeout_answers_504_and_frees_the_slot() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = folder.path().join("ledger");
    let flags = ["--ignore-disconnect=false"];
    let router = start(&ledger, &flags, &json!({"requestTimeout": "400ms"}));
    let asked = Instant::now();
    let late = post(router.data, &format!("{SCORE}?latency=20s"), &[]);
    let took = asked.elapsed();
    assert_eq!(late.status, 504, "{late:?}");
    assert_eq!(late.field("x-should-retry"), Some("false"), "{late:?}");
    assert!((400..5000).contains(&took.as_millis()), "took {took:?}");
    await_gauge(&router, BUSY, "blue", 0);
    until(Duration::from_secs(5), "the model was told", || {
        let cancelled = stats(&ready(&router, "blue")[0])["cancelled"].as_u64();
        (cancelled == Some(1)).then_some(())
    });
    assert_eq!(post(router.data, SCORE, &[]).status, 200);
}

/// A client that opens and resets streams as fast as it may. A proxy that frees a slot with the
/// stream puts thousands on the model; here there are never more than its slots.
#[test]
fn paced_http2_resets_never_put_more_than_its_slots_on_a_replica() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = folder.path().join("ledger");
    let fields = json!({"maxConcurrentRequestsPerReplica": 3});
    let router = start(&ledger, &["--latency", "2s"], &fields);
    let target = format!("http://{}{SCORE}", router.data);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let opened = tokio::task::LocalSet::new().block_on(&runtime, async move {
        let stream = tokio::net::TcpStream::connect(router_address(&target)).await.unwrap();
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .unwrap();
        tokio::task::spawn_local(async move { drop(connection.await) });
        let (sender, target) = (Rc::new(sender), Rc::new(target));
        let mut streams = tokio::task::JoinSet::new();
        for _ in 0..900 {
            let (mut sender, target) = ((*sender).clone(), Rc::clone(&target));
            streams.spawn_local(async move {
                let request = http::Request::post(target.as_str());
                let request = request.body(Full::new(Bytes::from_static(b"{}"))).unwrap();
                let asked = sender.send_request(request);
                drop(tokio::time::timeout(Duration::from_millis(15), asked).await);
            });
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let mut opened = 0;
        while streams.join_next().await.is_some() {
            opened += 1;
        }
        opened
    });
    let counts = stats(&ready(&router, "blue")[0]);
    println!("{opened} streams opened and reset; the model says {counts}");
    assert_eq!(opened, 900);
    assert!(counts["executions"].as_u64() >= Some(3), "{counts}");
    assert!(counts["highestOpen"].as_u64() <= Some(3), "{counts}");
    let panics = metric(&router, "modelway_request_panics_total", &[]);
    assert!(panics < 0.5, "{panics} panics");
    await_gauge(&router, BUSY, "blue", 0);
    await_gauge(&router, "modelway_queued_requests", "blue", 0);
    assert_eq!(post(router.data, &format!("{SCORE}?latency=0ms"), &[]).status, 200);
}

fn router_address(target: &str) -> std::net::SocketAddr {
    let rest = target.strip_prefix("http://").expect("a URI");
    rest.split('/').next().expect("an authority").parse().expect("an address")
}
