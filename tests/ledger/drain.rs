//! SIGTERM under load: not ready at once, everything begun is finished, and then it ends.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{
    book::Book,
    ledger::{Load, Plan},
    line::Line,
    router::Router,
    spec::{self, SCORE},
    watch::{alive, await_gauge, descendants, pass, until},
};

/// Frame types of HTTP/2 and the flag of an answered PING (RFC 9113 §6.7, §6.8).
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const ACK: u8 = 1;
/// The router ends within 1 s of the last answer; the rest is for a machine that does other things.
const END_LIMIT: Duration = Duration::from_secs(3);
/// A second signal waits neither for requests nor for the grace of replicas, which is 10 s.
const HURRY_LIMIT: Duration = Duration::from_secs(6);

fn start(ledger: &std::path::Path, fields: &Value, arguments: &[&str]) -> Router {
    let fields = spec::with(&json!({"maxQueueWait": "20s"}), fields);
    let blue = spec::fixed("blue", &spec::model(ledger, &[]), 1, &fields);
    let router = Router::start(&spec::endpoint(&[blue]), arguments);
    router.await_replicas("blue", "ready", 1, Duration::from_secs(20));
    router
}

/// An HTTP/2 connection without streams: preface and empty SETTINGS (RFC 9113 §3.4).
fn idle_http2(router: &Router) -> TcpStream {
    let mut stream = TcpStream::connect(router.data).expect("the port answers");
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").expect("sent");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket option");
    stream
}

/// The types of the frames up to the end of the connection. Answers PING as every client does, by
/// which the router tells that its GOAWAY has been read.
fn frame_types(mut stream: TcpStream) -> Vec<u8> {
    let mut types = Vec::new();
    let mut head = [0_u8; 9];
    while stream.read_exact(&mut head).is_ok() {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).expect("24 bits")];
        stream.read_exact(&mut payload).expect("a whole frame");
        if head[3..5] == [PING, 0] {
            let answer = [&[0, 0, 8, PING, ACK, 0, 0, 0, 0], payload.as_slice()].concat();
            stream.write_all(&answer).expect("the connection is open");
        }
        types.push(head[3]);
    }
    types
}

#[test]
fn what_has_begun_and_what_waits_is_finished_and_then_the_router_ends() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = folder.path().join("ledger");
    let mut router = start(&ledger, &json!({}), &["--workers", "2"]);
    let mut idle = Line::connect(router.data);
    assert_eq!(idle.ask(SCORE, &[]).status, 200);
    let silent = TcpStream::connect(router.data).unwrap();
    let http2 = idle_http2(&router);
    let http2 = std::thread::spawn(move || frame_types(http2));
    let target = format!("{SCORE}?latency=300ms");
    let mut lines: Vec<Line> = (0..6).map(|_| Line::connect(router.data)).collect();
    for line in &mut lines {
        line.send(&target, &[]);
    }
    await_gauge(&router, "modelway_busy_slots", "blue", 1);
    until(Duration::from_secs(5), "the others wait or are done", || {
        let begun = Book::read(&ledger).starts.len();
        let waiting = crate::support::watch::metric(&router, "modelway_queued_requests", &[]);
        (waiting >= 3.0 && begun >= 2).then_some(())
    });
    router.signal("TERM");
    let told = Instant::now();
    until(Duration::from_secs(1), "/readyz says no", || {
        (router.admin_get("/readyz").0 == 503).then_some(())
    });
    println!("/readyz says no after {:?}", told.elapsed());
    let answers: Vec<_> = lines.iter_mut().map(|line| line.answer().unwrap()).collect();
    let last = Instant::now();
    let ended = router.wait(Duration::from_secs(20)).expect("the router ends");
    println!("ended {:?} after the last answer", last.elapsed());
    assert!(last.elapsed() < END_LIMIT, "took {:?}", last.elapsed());
    assert!(ended.success(), "{ended}");
    for answer in &answers {
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let closing = answers.iter().filter(|answer| answer.field("connection") == Some("close"));
    assert!(closing.count() >= 3, "{answers:#?}");
    assert!(idle.is_closed_within(Duration::from_secs(1)));
    assert!(http2.join().unwrap().contains(&GOAWAY));
    drop(silent);
    assert_eq!(Book::read(&ledger).starts.len(), 7);
}

#[test]
fn a_load_that_goes_on_during_the_drain_delay_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = folder.path().join("ledger");
    let slots = json!({"maxConcurrentRequestsPerReplica": 4});
    let arguments = ["--workers", "2", "--drain-delay", "1500ms"];
    let mut router = start(&ledger, &slots, &arguments);
    let load = Load::start(Plan {
        data: router.data,
        target: format!("{SCORE}?latency=50ms"),
        rate: |_| 90.0,
        length: Duration::from_secs(30),
        leavers_percent: 10,
    });
    pass(Duration::from_millis(1500));
    router.signal("TERM");
    pass(Duration::from_secs(1));
    load.stop();
    let outcomes = load.outcomes();
    let ended = router.wait(Duration::from_secs(20)).expect("the router ends");
    assert!(ended.success(), "{ended}");
    let balance = Book::read(&ledger).balance(&outcomes, &[], |_| 4);
    println!("{balance}");
    assert!(balance.faults.is_empty(), "{balance}");
    assert!(balance.sent > 100, "{balance}");
}

#[test]
fn a_second_signal_waits_for_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let mut router = start(&folder.path().join("ledger"), &json!({}), &[]);
    let mut line = Line::connect(router.data);
    line.send(&format!("{SCORE}?latency=25s"), &[]);
    await_gauge(&router, "modelway_busy_slots", "blue", 1);
    router.signal("TERM");
    until(Duration::from_secs(5), "/readyz says no", || {
        (router.admin_get("/readyz").0 == 503).then_some(())
    });
    let replicas = descendants(router.pid());
    router.signal("TERM");
    let told = Instant::now();
    assert!(router.wait(Duration::from_secs(15)).is_some(), "it still waits");
    println!("ended {:?} after the second signal", told.elapsed());
    assert!(told.elapsed() < HURRY_LIMIT, "took {:?}", told.elapsed());
    until(HURRY_LIMIT, "the replicas end too", || alive(&replicas).is_empty().then_some(()));
}
