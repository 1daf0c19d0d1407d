//! Every clock of contract §5. Those that take ten seconds and more all run at once, begun by the
//! first test that wants one, so that the suite waits for the longest only.

use std::{
    collections::HashMap,
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::{
    support::{
        replica::{Step, answer, pause},
        wire::{Answer, Wire, ask, h2_answer, h2_request, h2_upload, request, with_h2},
    },
    world::{World, ok, world},
};

const QUICK: &str = "POST /api/v1/endpoint/quick/score";

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Runs against the shared world.
type Scenario = fn(&World);

/// The slow scenarios, by name. Each panics where it finds a fault.
const SLOW: &[(&str, Scenario)] = &[
    ("body-h1", body_stalls),
    ("body-chunked", chunked_body_stalls),
    ("body-h2", http2_body_stalls),
    ("body-late", body_stalls_after_the_head_of_the_answer),
    ("head", head_is_late),
    ("head-again", second_head_is_late),
    ("head-behind", head_behind_is_late),
    ("silence", connection_is_silent),
    ("idle", idle_connection_is_kept),
    ("write", client_refuses_to_read),
];

/// The scenarios that no test has joined yet.
type Running = HashMap<&'static str, JoinHandle<()>>;

/// Joins one slow scenario; the first caller starts all of them.
fn slow(name: &'static str) {
    static RUNNING: Mutex<Option<Running>> = Mutex::new(None);
    let world = world();
    let scenario = {
        let mut running = RUNNING.lock();
        let all = running.get_or_insert_with(|| {
            SLOW.iter()
                .map(|(name, run)| {
                    let world: Arc<World> = Arc::clone(&world);
                    (*name, std::thread::spawn(move || run(&world)))
                })
                .collect()
        });
        all.remove(name).expect("each scenario has one test")
    };
    if let Err(panic) = scenario.join() {
        std::panic::resume_unwind(panic);
    }
}

fn between(begun: Instant, least: u64, most: u64) {
    let took = begun.elapsed();
    assert!(took >= seconds(least) && took < seconds(most), "{took:?}, not {least} to {most} s");
}

#[test]
fn a_body_that_stalls_for_ten_seconds_is_408() {
    slow("body-h1");
}

fn body_stalls(world: &World) {
    let mut wire = Wire::connect(world.router.data);
    wire.send(
        "POST /api/v1/endpoint/plain/score HTTP/1.1\r\nhost: t\r\ncontent-length: 9\r\n\r\nabc",
    );
    // A byte within the limit begins it anew.
    pause(seconds(4));
    wire.send("d");
    let begun = Instant::now();
    let answer = wire.answer();
    between(begun, 9, 16);
    assert_eq!((answer.status, answer.code().as_str()), (408, "client_timeout"));
    assert!(wire.closes_within(seconds(20)));
}

#[test]
fn a_chunked_body_that_stalls_is_408_and_never_seen_complete() {
    slow("body-chunked");
}

fn chunked_body_stalls(world: &World) {
    let mut wire = Wire::connect(world.router.data);
    let begun = Instant::now();
    wire.send(
        "POST /api/v1/endpoint/plain/score HTTP/1.1\r\nhost: t\r\nx-test: stall\r\n\
         transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
    );
    assert_eq!(wire.answer().status, 408);
    between(begun, 9, 16);
    let seen = world.replica("plain/blue").await_seen("stall", |seen| seen.done);
    assert!(!seen.complete);
}

#[test]
fn an_http2_body_that_stalls_is_408_and_its_connection_lives() {
    slow("body-h2");
}

fn http2_body_stalls(world: &World) {
    with_h2(world.router.data, async |sender| {
        let mut sender = sender.ready().await.expect("a connection");
        let request = h2_request("POST", "/api/v1/endpoint/plain/score", &[]);
        let (response, mut stream) = sender.send_request(request, false).expect("a stream");
        h2_upload(&mut stream, 3, false).await.expect("room");
        let begun = Instant::now();
        let answer = h2_answer(response).await.expect("an answer");
        between(begun, 9, 16);
        assert_eq!((answer.status, answer.code().as_str()), (408, "client_timeout"));
        let mut sender = sender.ready().await.expect("the connection lives");
        let request = h2_request("GET", "/api/v1/endpoint/plain/x", &[]);
        let (response, _) = sender.send_request(request, true).expect("a stream");
        assert_eq!(h2_answer(response).await.expect("an answer").status, 200);
    });
}

#[test]
fn a_body_that_stalls_after_the_head_of_the_answer_cuts_the_answer_off() {
    slow("body-late");
}

fn body_stalls_after_the_head_of_the_answer(world: &World) {
    world.replica("plain/blue").script("early-head", |_, _| {
        let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n";
        vec![Step::Send(head.to_vec()), Step::Body, Step::Send(b"0\r\n\r\n".to_vec())]
    });
    let mut wire = Wire::connect(world.router.data);
    wire.send(
        "POST /api/v1/endpoint/plain/score HTTP/1.1\r\nhost: t\r\nx-test: late\r\n\
         x-script: early-head\r\ncontent-length: 9\r\n\r\nabc",
    );
    let begun = Instant::now();
    let answer = wire.answer();
    between(begun, 9, 16);
    assert_eq!((answer.status, answer.complete), (200, false), "cut off, visibly");
    let seen = world.replica("plain/blue").await_seen("late", |seen| seen.done);
    assert!(!seen.complete);
}

#[test]
fn a_head_that_takes_ten_seconds_is_408() {
    slow("head");
}

fn head_is_late(world: &World) {
    let mut wire = Wire::connect(world.router.data);
    let begun = Instant::now();
    // A trickle does not help: a head has ten seconds in all.
    wire.send("POST /api/v1/endpoint/plain/score HTTP/1.1\r\n");
    for _ in 0..4 {
        pause(seconds(2));
        wire.send("x-a: b\r\n");
    }
    let answer = wire.answer();
    between(begun, 9, 16);
    assert_eq!((answer.status, answer.code().as_str()), (408, "client_timeout"));
    assert_eq!(answer.field("connection"), Some("close"));
    assert!(wire.closes_within(seconds(10)));
}

#[test]
fn the_head_of_a_second_request_has_ten_seconds_too() {
    slow("head-again");
}

fn second_head_is_late(world: &World) {
    let mut wire = Wire::connect(world.router.data);
    let line = "POST /api/v1/endpoint/plain/score";
    assert_eq!(wire.send(request(line, "", "abc")).answer().text(), "3");
    pause(seconds(2));
    let begun = Instant::now();
    wire.send("POST /api");
    let answer = wire.answer();
    between(begun, 9, 16);
    assert_eq!(answer.status, 408);
}

#[test]
fn a_head_that_begins_in_the_packet_of_the_request_before_has_ten_seconds_too() {
    slow("head-behind");
}

fn head_behind_is_late(world: &World) {
    let mut wire = Wire::connect(world.router.data);
    let line = "POST /api/v1/endpoint/plain/score";
    let begun = Instant::now();
    wire.send(request(line, "", "abc") + "POST /api");
    assert_eq!(wire.answer().text(), "3");
    let answer = wire.answer();
    between(begun, 9, 16);
    assert_eq!(answer.status, 408);
}

#[test]
fn a_connection_that_says_nothing_is_closed_after_five_seconds() {
    slow("silence");
}

fn connection_is_silent(world: &World) {
    let begun = Instant::now();
    let mut wire = Wire::connect(world.router.data);
    let mut partial = Wire::connect(world.router.data);
    // Undecided between the two protocols is as good as silent.
    partial.send("PRI * HT");
    assert!(wire.closes_within(seconds(12)));
    between(begun, 4, 12);
    assert!(partial.closes_within(seconds(12)));
}

#[test]
fn an_idle_connection_is_kept_for_longer_than_twelve_seconds() {
    slow("idle");
}

fn idle_connection_is_kept(world: &World) {
    let mut wire = Wire::connect(world.router.data);
    let line = "POST /api/v1/endpoint/plain/score";
    assert_eq!(wire.send(request(line, "", "abc")).answer().text(), "3");
    assert!(wire.is_quiet_for(seconds(12)));
    assert_eq!(wire.send(request(line, "", "abc")).answer().text(), "3");
}

#[test]
fn a_client_that_refuses_to_read_is_dropped_after_thirty_seconds() {
    slow("write");
}

fn client_refuses_to_read(world: &World) {
    let replica = world.replica("upload");
    replica.script("flood", |_, _| {
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 80000000\r\n\r\n";
        vec![Step::Body, Step::Send(head.to_vec()), Step::Flood(vec![0; 100_000], 800)]
    });
    let mut wire = Wire::connect(world.router.data);
    wire.shrink_window();
    let line = "POST /api/v1/endpoint/upload/score";
    wire.send(request(line, "x-script: flood\r\nx-test: flood\r\n", "x"));
    assert!(wire.head().is_some());
    let begun = Instant::now();
    let gone = [("endpoint", "upload"), ("code", "499")];
    while world.metric("modelway_requests_total", &gone) < 0.5 && begun.elapsed() < seconds(45) {
        pause(Duration::from_millis(200));
    }
    between(begun, 28, 45);
}

#[test]
fn a_model_over_request_timeout_is_504_and_its_connection_is_closed() {
    let world = world();
    let replica = world.replica("quick");
    let fields = "x-script: stuck\r\nx-test: timeout\r\n";
    let begun = Instant::now();
    let answer = ask(world.router.data, request(QUICK, fields, "{}"));
    assert_eq!((answer.status, answer.code().as_str()), (504, "request_timeout"));
    assert!(begun.elapsed() >= Duration::from_millis(650), "{:?}", begun.elapsed());
    assert_eq!(answer.field("x-should-retry"), Some("false"));
    assert_eq!(answer.field("x-modelway-version"), Some("only"));
    assert_eq!(answer.field("retry-after"), None);
    let seen = replica.await_seen("timeout", |seen| seen.hung_up.is_some());
    assert_eq!(seen.hung_up, Some(true), "the connection to the replica is closed");
    // The only slot is free again.
    assert_eq!(ask(world.router.data, request(QUICK, "", "abc")).text(), "3");
}

#[test]
fn an_answer_over_request_timeout_is_cut_off() {
    let world = world();
    world.replica("quick").script("dribble", |_, _| {
        let mut steps = vec![
            Step::Body,
            Step::Send(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc".to_vec()),
        ];
        steps.push(Step::Hangup(seconds(20)));
        steps
    });
    let fields = "x-script: dribble\r\nx-test: dribble\r\n";
    let mut wire = Wire::connect(world.router.data);
    let answer = wire.send(request(QUICK, fields, "{}")).answer();
    assert_eq!((answer.status, answer.complete, answer.text().as_str()), (200, false, "abc"));
    let seen = world.replica("quick").await_seen("dribble", |seen| seen.hung_up.is_some());
    assert_eq!(seen.hung_up, Some(true));
    with_h2(world.router.data, async |sender| {
        let mut sender = sender.ready().await.expect("a connection");
        let fields = [("x-script", "dribble")];
        let request = h2_request("POST", "/api/v1/endpoint/quick/score", &fields);
        let (response, _) = sender.send_request(request, true).expect("a stream");
        let answer = h2_answer(response).await.expect("a head");
        assert_eq!((answer.status, answer.complete), (200, false), "RST_STREAM");
    });
}

#[test]
fn an_upload_unfinished_at_request_timeout_is_408() {
    let world = world();
    let mut wire = Wire::connect(world.router.data);
    wire.send(format!(
        "{QUICK} HTTP/1.1\r\nhost: t\r\nx-test: half\r\ncontent-length: 9\r\n\r\nabc"
    ));
    let answer = wire.answer();
    assert_eq!((answer.status, answer.code().as_str()), (408, "client_timeout"));
    let seen = world.replica("quick").await_seen("half", |seen| seen.done);
    assert!(!seen.complete);
    assert_eq!(ask(world.router.data, request(QUICK, "", "abc")).text(), "3", "the slot is free");
}

#[test]
fn queue_time_does_not_count_as_request_timeout() {
    let world = world();
    world.replica("quick").script("half-second", |_, _| {
        vec![Step::Body, Step::Wait(Duration::from_millis(450)), ok("done")]
    });
    let mut wires: Vec<Wire> = (0..3).map(|_| Wire::connect(world.router.data)).collect();
    for wire in &mut wires {
        wire.send(request(QUICK, "x-script: half-second\r\n", "{}"));
    }
    // The last one takes 1.35 s in all, of which at most 0.45 s have a slot.
    let answers: Vec<Answer> = wires.iter_mut().map(Wire::answer).collect();
    assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
}

#[test]
fn an_event_stream_may_outlive_request_timeout_but_not_be_silent() {
    let world = world();
    world.replica("quick").script("events", |_, _| {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n\
                    transfer-encoding: chunked\r\n\r\n";
        let mut steps = vec![Step::Body, Step::Send(head.into())];
        for _ in 0..6 {
            steps.push(Step::Send(b"9\r\ndata: x\n\n\r\n".to_vec()));
            steps.push(Step::Wait(Duration::from_millis(250)));
        }
        steps.push(Step::Hangup(seconds(20)));
        steps
    });
    let begun = Instant::now();
    let fields = "x-script: events\r\nx-test: events\r\n";
    let answer = Wire::connect(world.router.data).send(request(QUICK, fields, "{}")).answer();
    assert!(begun.elapsed() >= Duration::from_millis(1400), "beyond 700 ms: {:?}", begun.elapsed());
    assert_eq!(answer.text(), "data: x\n\n".repeat(6));
    assert!(!answer.complete, "silence ends it, visibly");
    let seen = world.replica("quick").await_seen("events", |seen| seen.hung_up.is_some());
    assert_eq!(seen.hung_up, Some(true));
}

#[test]
fn events_are_passed_on_as_they_come() {
    let world = world();
    world.replica("plain/blue").script("two-events", |_, _| {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                    transfer-encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n";
        vec![
            Step::Body,
            Step::Send(head.into()),
            Step::Wait(seconds(8)),
            Step::Send(b"9\r\ndata: 2\n\n\r\n0\r\n\r\n".to_vec()),
        ]
    });
    let mut wire = Wire::connect(world.router.data);
    let begun = Instant::now();
    let line = "POST /api/v1/endpoint/plain/score";
    wire.send(request(line, "x-script: two-events\r\n", "{}"));
    assert_eq!(wire.head().expect("a head").status, 200);
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
}

#[test]
fn a_plain_answer_without_an_end_of_the_model_is_not_a_stream() {
    let world = world();
    world.replica("quick").script("until-close", |_, _| {
        vec![Step::Body, Step::Send(b"HTTP/1.1 200 OK\r\n\r\nall of it".to_vec()), Step::Close]
    });
    let answer = ask(world.router.data, request(QUICK, "x-script: until-close\r\n", "{}"));
    assert_eq!((answer.text().as_str(), answer.complete), ("all of it", true));
    let replica = world.replica("quick");
    replica.script("plain", |_, _| vec![Step::Body, Step::Send(answer_ok())]);
    assert_eq!(ask(world.router.data, request(QUICK, "x-script: plain\r\n", "{}")).status, 200);
}

fn answer_ok() -> Vec<u8> {
    answer("200 OK", "", "fine")
}
