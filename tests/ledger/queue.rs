//! Waiting for a slot: order, bounds, leaving, and those who need not wait.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{
    book::Book,
    ledger::{Load, Plan},
    line::{Answer, Line, post},
    router::Router,
    spec::{self, SCORE},
    watch::await_gauge,
};

const QUEUED: &str = "modelway_queued_requests";
const BUSY: &str = "modelway_busy_slots";

struct Bench {
    router: Router,
    ledger: PathBuf,
    _folder: tempfile::TempDir,
}

/// One version with one replica of one slot.
fn bench(fields: &Value) -> Bench {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ledger = folder.path().join("ledger");
    let blue = spec::fixed("blue", &spec::model(&ledger, &[]), 1, fields);
    let router = Router::start(&spec::endpoint(&[blue]), &["--workers", "2"]);
    router.await_replicas("blue", "ready", 1, Duration::from_secs(20));
    Bench { router, ledger, _folder: folder }
}

impl Bench {
    /// A request on a connection of its own, sent and not answered.
    fn send(&self, name: &str, latency: &str) -> Line {
        let mut line = Line::connect(self.router.data);
        let target = format!("{SCORE}?latency={latency}");
        line.send(&target, &[("x-ms-client-request-id", name)]);
        line
    }

    /// Takes the slot for some time.
    fn occupy(&self, latency: &str) -> Line {
        let line = self.send("first", latency);
        await_gauge(&self.router, BUSY, "blue", 1);
        line
    }
}

fn assert_overloaded(answer: &Answer, text: &str) {
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.body.contains(text), "{}", answer.body);
    for field in ["retry-after", "retry-after-ms", "x-ms-retry-after-ms"] {
        let wait: u64 = answer.field(field).expect(field).parse().expect("a number");
        assert!(wait >= 1, "{field}: {wait}");
    }
    assert_eq!(answer.field("x-modelway-source"), Some("router"));
}

#[test]
fn first_come_is_first_served() {
    let bench = bench(&json!({"maxQueueWait": "30s"}));
    let first = bench.occupy("1s");
    let mut waiting = vec![first];
    for number in 1..=8 {
        waiting.push(bench.send(&format!("q{number}"), "10ms"));
        await_gauge(&bench.router, QUEUED, "blue", number);
    }
    for mut line in waiting {
        assert_eq!(line.answer().unwrap().status, 200);
    }
    let starts: Vec<String> =
        Book::read(&bench.ledger).starts.into_iter().map(|(id, _)| id).collect();
    assert_eq!(starts, ["first", "q1", "q2", "q3", "q4", "q5", "q6", "q7", "q8"]);
}

#[test]
fn a_full_queue_answers_at_once_and_says_when_to_come_back() {
    let bench = bench(&json!({"maxQueueWait": "30s", "maxQueueLength": 2}));
    let mut all = vec![bench.occupy("3s"), bench.send("q1", "0ms"), bench.send("q2", "0ms")];
    await_gauge(&bench.router, QUEUED, "blue", 2);
    let asked = Instant::now();
    let refused = post(bench.router.data, SCORE, &[]);
    assert!(asked.elapsed() < Duration::from_secs(10), "took {:?}", asked.elapsed());
    assert_overloaded(&refused, "Too many requests for service demo (overloaded)");
    for line in &mut all {
        assert_eq!(line.answer().unwrap().status, 200);
    }
}

#[test]
fn a_request_waits_no_longer_than_max_queue_wait() {
    let bench = bench(&json!({"maxQueueWait": "300ms"}));
    let mut first = bench.occupy("4s");
    let asked = Instant::now();
    let refused = post(bench.router.data, SCORE, &[]);
    let took = asked.elapsed();
    assert!((300..2500).contains(&took.as_millis()), "took {took:?}");
    assert_overloaded(&refused, "Too many requests for service demo (overloaded)");
    assert_eq!(first.answer().unwrap().status, 200);
}

#[test]
fn a_waiting_client_that_leaves_frees_its_place_at_once_and_is_never_served() {
    let bench = bench(&json!({"maxQueueWait": "30s"}));
    let mut first = bench.occupy("4s");
    let closes = bench.send("closes", "0ms");
    let half_closes = bench.send("half-closes", "0ms");
    let resets = bench.send("resets", "0ms");
    let mut stays = bench.send("stays", "0ms");
    await_gauge(&bench.router, QUEUED, "blue", 4);
    drop(closes);
    await_gauge(&bench.router, QUEUED, "blue", 3);
    half_closes.half_close();
    await_gauge(&bench.router, QUEUED, "blue", 2);
    resets.reset();
    await_gauge(&bench.router, QUEUED, "blue", 1);
    // All of that happened while the slot was taken, so nobody left because it was served.
    await_gauge(&bench.router, BUSY, "blue", 1);
    assert_eq!(Book::read(&bench.ledger).starts.len(), 1);
    assert_eq!(first.answer().unwrap().status, 200);
    assert_eq!(stays.answer().unwrap().status, 200);
    let book = Book::read(&bench.ledger);
    let served: Vec<&str> = book.starts.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(served, ["first", "stays"]);
}

#[test]
fn dozens_that_leave_the_queue_by_close_or_reset_are_never_served() {
    let bench = bench(&json!({"maxQueueWait": "30s"}));
    let mut first = bench.occupy("3s");
    // Each client that leaves stays for less than 80 ms and then resets its connection or stream.
    let load = Load::start(Plan {
        data: bench.router.data,
        target: SCORE.to_owned(),
        rate: |_| 200.0,
        length: Duration::from_millis(500),
        leavers_percent: 100,
    });
    let outcomes = load.outcomes();
    assert!(outcomes.len() >= 30, "{outcomes:?}");
    await_gauge(&bench.router, QUEUED, "blue", 0);
    await_gauge(&bench.router, BUSY, "blue", 1);
    assert_eq!(first.answer().unwrap().status, 200);
    assert_eq!(Book::read(&bench.ledger).starts.len(), 1, "somebody who had left was served");
}

/// More work than the two replicas can do, and a third of the clients leave, some in the very
/// moment in which they get a slot. A slot that were lost with them would stay idle to the end.
#[test]
fn a_slot_is_never_idle_while_somebody_waits() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = folder.path().join("ledger");
    let patient = json!({"maxQueueWait": "60s", "maxQueueLength": 10_000});
    let command = spec::model(&ledger, &["--latency", "25ms"]);
    let blue = spec::fixed("blue", &command, 2, &patient);
    let router = Router::start(&spec::endpoint(&[blue]), &["--workers", "2"]);
    router.await_replicas("blue", "ready", 2, Duration::from_secs(20));
    let load = Load::start(Plan {
        data: router.data,
        target: SCORE.to_owned(),
        rate: |_| 130.0,
        length: Duration::from_secs(5),
        leavers_percent: 33,
    });
    let outcomes = load.outcomes();
    drop(router);
    let book = Book::read(&ledger);
    let balance = book.balance(&outcomes, &[], |_| 1);
    assert!(balance.faults.is_empty(), "{balance}");
    let all = book.executions.values().flatten();
    let mut spans: Vec<_> =
        all.map(|e| (e.pid, e.start_ms, e.end_ms.unwrap_or(e.start_ms))).collect();
    spans.sort_unstable();
    let pauses = spans.windows(2).filter(|pair| pair[0].0 == pair[1].0);
    let longest = pauses.map(|pair| pair[1].1.saturating_sub(pair[0].2)).max().unwrap();
    println!("{} executions, longest pause of a slot {longest} ms", spans.len());
    assert!(longest < 1000, "a slot was idle for {longest} ms");
}

#[test]
fn without_replicas_the_refusal_comes_at_once() {
    let none = json!({"kind": "Addresses", "addresses": []});
    let blue = json!({"name": "blue", "targetRef": none, "maxQueueWait": "30s"});
    let router = Router::start(&spec::endpoint(&[blue]), &[]);
    let asked = Instant::now();
    let refused = post(router.data, SCORE, &[]);
    assert!(asked.elapsed() < Duration::from_secs(10), "took {:?}", asked.elapsed());
    assert_overloaded(&refused, "No ready replicas for service demo");
}

#[test]
fn a_version_without_replicas_falls_back_to_the_default_where_it_may() {
    let folder = tempfile::tempdir().unwrap();
    let blue = spec::fixed("blue", &spec::model(&folder.path().join("ledger"), &[]), 1, &json!({}));
    let none = json!({"kind": "Addresses", "addresses": []});
    let green = json!({
        "name": "green", "targetRef": none, "trafficPercentile": 100, "fallbackToDefault": true
    });
    let router = Router::start(&spec::endpoint(&[blue, green]), &[]);
    router.await_replicas("blue", "ready", 1, Duration::from_secs(20));
    for _ in 0..5 {
        let answer = post(router.data, SCORE, &[]);
        assert_eq!((answer.status, answer.version()), (200, "blue"), "{answer:?}");
    }
}
