//! What the server answers, how long it takes, and what it counts.

use std::time::Duration;

use http::StatusCode;
use tokio::{task::JoinSet, time::Instant};

use super::{Server, args, listen};
use crate::model::{Model, server::runtime};

#[tokio::test]
async fn an_answer_says_who_made_it_and_what_came() {
    let server = Server::start(&["--name", "fraud", "--replica", "fraud-blue-1"]).await;
    let seen = server.send("/score", &[("x-request-id", "r1")], b"{\"data\":1}").await.unwrap();
    assert_eq!(seen.status, StatusCode::OK);
    let json = seen.json();
    assert_eq!((&json["model"], &json["replica"]), (&"fraud".into(), &"fraud-blue-1".into()));
    assert_eq!((&json["requestBytes"], &json["requestId"]), (&10.into(), &"r1".into()));
    assert_eq!(server.get("/executions").await.json(), serde_json::json!({"r1": 1}));
    let stats = server.get("/stats").await.json();
    assert_eq!((&stats["executions"], &stats["bytesIn"]), (&1.into(), &10.into()));
}

#[tokio::test]
async fn health_swagger_and_unknown_addresses_execute_nothing() {
    let server = Server::start(&[]).await;
    assert_eq!(server.get("/").await.body, "Healthy");
    let swagger = server.get("/swagger.json").await.json();
    assert!(swagger["paths"]["/score"]["post"].is_object());
    assert_eq!(server.get("/other").await.status, StatusCode::NOT_FOUND);
    assert_eq!(server.stats().executions, 0);
}

#[tokio::test]
async fn a_request_takes_its_latency_and_may_ask_for_another() {
    let server = Server::start(&["--latency", "60ms"]).await;
    let start = Instant::now();
    server.get("/score").await;
    assert!(start.elapsed() >= Duration::from_millis(60));
    let start = Instant::now();
    server.get("/score?latency=150ms").await;
    assert!(start.elapsed() >= Duration::from_millis(150));
    let start = Instant::now();
    server.send("/score", &[("x-model-latency", "120ms")], b"").await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(120));
    assert_eq!(server.get("/score?latency=soon").await.status, StatusCode::BAD_REQUEST);
}

async fn four_at_once(server: &Server) -> Duration {
    let start = Instant::now();
    let mut requests = JoinSet::new();
    let url = format!("http://{}/score", server.address);
    for _ in 0..4 {
        let plan = crate::bench::Plan::new(url.parse().unwrap());
        let target = crate::bench::Target::new(plan.into());
        requests.spawn(async move { crate::bench::exchange(&target).await });
    }
    assert_eq!(requests.join_all().await.len(), 4);
    start.elapsed()
}

#[tokio::test]
async fn an_enforced_concurrency_makes_the_others_wait_inside() {
    let server = Server::start(&["--latency", "100ms", "--concurrency", "1"]).await;
    assert!(four_at_once(&server).await >= Duration::from_millis(400));
    let stats = server.stats();
    assert_eq!((stats.executions, stats.beyond_concurrency), (4, 0));
}

#[tokio::test]
async fn a_recorded_concurrency_only_shows_that_there_were_too_many() {
    let flags = ["--latency", "1s", "--concurrency", "1", "--concurrency-mode", "record"];
    let server = Server::start(&flags).await;
    assert!(four_at_once(&server).await < Duration::from_secs(4));
    let stats = server.stats();
    assert_eq!((stats.highest_concurrency, stats.beyond_concurrency), (4, 3));
    assert_eq!((stats.in_progress, stats.open), (0, 0));
}

#[tokio::test]
async fn a_share_of_requests_fails_with_the_wanted_status() {
    let server = Server::start(&["--fail", "30%", "--fail-status", "429", "--seed", "5"]).await;
    let mut failed = 0;
    for _ in 0..200 {
        let status = server.get("/score").await.status;
        assert!(status == StatusCode::OK || status == StatusCode::TOO_MANY_REQUESTS);
        failed += u32::from(status != StatusCode::OK);
    }
    assert!((40..=80).contains(&failed), "{failed} of 200");
    assert_eq!(server.get("/score?status=503").await.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn the_same_seed_fails_the_same_requests() {
    let mut runs = Vec::new();
    for seed in ["1", "1", "2"] {
        let server = Server::start(&["--fail", "50%", "--seed", seed]).await;
        let mut statuses = Vec::new();
        for _ in 0..40 {
            statuses.push(server.get("/score").await.status);
        }
        runs.push(statuses);
    }
    assert_eq!(runs[0], runs[1]);
    assert_ne!(runs[0], runs[2]);
}

#[tokio::test]
async fn an_answer_has_exactly_the_size_asked_for() {
    let server = Server::start(&["--body-bytes", "1MiB"]).await;
    let large = server.get("/score").await;
    assert_eq!(large.body.len(), 1 << 20);
    assert!(large.json()["padding"].is_string());
    let medium = server.get("/score?bodyBytes=500").await;
    assert_eq!(medium.body.len(), 500);
    assert!(medium.json()["model"].is_string());
    assert_eq!(server.get("/score?bodyBytes=3").await.body, "xxx");
    assert_eq!(server.get("/score?bodyBytes=0").await.body, "");
    let stats = server.until(|stats| stats.open == 0).await;
    assert_eq!((stats.executions, stats.cancelled), (4, 0));
}

#[tokio::test(start_paused = true)]
async fn nothing_listens_before_the_start_delay() {
    let start = Instant::now();
    let args = args(&["--start-delay", "2s", "--address", "127.0.0.2"]);
    let listener = listen(&args).await.unwrap();
    assert!(start.elapsed() >= Duration::from_secs(2));
    assert_eq!(Some(listener.local_addr().unwrap().ip()), args.address);
}

#[tokio::test(start_paused = true)]
async fn health_is_good_once_its_delay_has_passed() {
    let model = Model::new(&args(&["--health-delay", "3s"])).unwrap();
    tokio::time::advance(Duration::from_millis(2999)).await;
    assert!(!model.is_healthy());
    tokio::time::advance(Duration::from_millis(1)).await;
    assert!(model.is_healthy());
}

#[tokio::test]
async fn a_server_that_is_not_healthy_yet_scores_all_the_same() {
    let server = Server::start(&["--health-delay", "1h"]).await;
    assert_eq!(server.get("/").await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(server.get("/score").await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_ledger_tells_the_same_as_the_counts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger");
    let server = Server::start(&["--ledger", path.to_str().unwrap(), "--replica", "r"]).await;
    server.send("/score", &[("x-request-id", "one")], b"x").await.unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let words: Vec<_> = text.lines().map(|line| line.split('\t').nth(2).unwrap()).collect();
    assert_eq!(words, ["start", "end"]);
    assert!(text.starts_with("one\t"));
}

#[test]
fn there_are_as_many_threads_as_workers() {
    assert_eq!(runtime(1).unwrap().metrics().num_workers(), 1);
    assert_eq!(runtime(3).unwrap().metrics().num_workers(), 3);
    assert_eq!(args(&["--workers", "3"]).workers, 3);
}
