//! HTTP as such: versions, pipelining, bodies that must not be, `Expect`.

use std::time::Duration;

use crate::{
    support::{
        replica::{Step, answer},
        wire::{Wire, ask, h2_ask, h2_request, request, with_h2},
    },
    world::{PRIMARY, world},
};

const SCORE: &str = "POST /api/v1/endpoint/plain/score";
const SOON: Duration = Duration::from_secs(10);

#[test]
fn http_1_0_works_and_closes() {
    let world = world();
    let mut wire = Wire::connect(world.router.data);
    wire.send("GET /api/v1/endpoint/plain/x HTTP/1.0\r\nx-test: ten\r\n\r\n");
    let answer = wire.answer();
    assert_eq!((answer.status, answer.text().as_str()), (200, "0"));
    assert!(wire.closes_within(SOON));
    assert_eq!(world.replica("plain/blue").only("ten").line(), "GET /x HTTP/1.1");
}

#[test]
fn http_1_0_gets_no_chunks() {
    let world = world();
    world.replica("plain/blue").script("chunks", |_, _| {
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        vec![Step::Body, Step::Send(format!("{head}3\r\nabc\r\n0\r\n\r\n").into_bytes())]
    });
    let bytes = "GET /api/v1/endpoint/plain/x HTTP/1.0\r\nx-script: chunks\r\n\r\n";
    let answer = ask(world.router.data, bytes);
    assert_eq!(answer.all("transfer-encoding"), Vec::<&str>::new());
    assert_eq!(answer.text(), "abc");
    let chunked = "GET /api/v1/endpoint/plain/x HTTP/1.1\r\nhost: t\r\nx-script: chunks\r\n\r\n";
    let answer = ask(world.router.data, chunked);
    assert_eq!(answer.field("transfer-encoding"), Some("chunked"));
    assert_eq!((answer.text().as_str(), answer.complete), ("abc", true));
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let world = world();
    let mut wire = Wire::connect(world.router.data);
    let mut bytes = String::new();
    for length in 0..20 {
        let fields = if length % 5 == 0 { "x-script: slow\r\n" } else { "" };
        bytes.push_str(&request(SCORE, fields, &"x".repeat(length)));
    }
    wire.send(bytes);
    for length in 0..20 {
        let expected = if length % 5 == 0 { "slow".to_owned() } else { length.to_string() };
        assert_eq!(wire.answer().text(), expected, "answer {length}");
    }
}

#[test]
fn a_connection_serves_many_requests_and_closes_when_asked() {
    let world = world();
    let mut wire = Wire::connect(world.router.data);
    for _ in 0..50 {
        assert_eq!(wire.send(request(SCORE, "", "abc")).answer().text(), "3");
    }
    let last = wire.send(request(SCORE, "connection: close\r\n", "abc")).answer();
    assert_eq!((last.status, last.field("connection")), (200, Some("close")));
    assert!(wire.closes_within(SOON));
}

#[test]
fn an_early_refusal_leaves_the_connection_usable_where_the_rest_is_small() {
    let world = world();
    let mut wire = Wire::connect(world.router.data);
    for _ in 0..5 {
        let refused = wire.send(request("POST /api/v1/endpoint/nobody/score", "", "abc")).answer();
        assert_eq!(refused.status, 404);
        assert_eq!(wire.send(request(SCORE, "", "abc")).answer().text(), "3");
    }
}

#[test]
fn answers_to_head_and_204_and_304_have_no_body() {
    let world = world();
    let replica = world.replica("plain/blue");
    replica.script("head", |_, _| {
        vec![Step::Send(b"HTTP/1.1 200 OK\r\ncontent-length: 1234\r\n\r\n".to_vec())]
    });
    replica.script("204", |_, _| {
        vec![Step::Body, Step::Send(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec())]
    });
    replica.script("304", |_, _| {
        let bytes = b"HTTP/1.1 304 Not Modified\r\netag: \"x\"\r\ncontent-length: 99\r\n\r\n";
        vec![Step::Body, Step::Send(bytes.to_vec())]
    });
    let mut wire = Wire::connect(world.router.data);
    for _ in 0..3 {
        wire.send("HEAD /api/v1/endpoint/plain/x HTTP/1.1\r\nhost: t\r\nx-script: head\r\n\r\n");
        let answer = wire.try_answer(true).expect("an answer");
        assert_eq!((answer.status, answer.field("content-length")), (200, Some("1234")));
        for (script, status) in [("204", 204), ("304", 304)] {
            let answer =
                wire.send(request(SCORE, &format!("x-script: {script}\r\n"), "x")).answer();
            assert_eq!(answer.status, status);
            assert!(answer.all("transfer-encoding").is_empty(), "{:?}", answer.fields);
        }
        assert_eq!(wire.send(request(SCORE, "", "abc")).answer().text(), "3");
    }
    with_h2(world.router.data, async |sender| {
        let path = "/api/v1/endpoint/plain/x";
        let request = h2_request("HEAD", path, &[("x-script", "head")]);
        let answer = h2_ask(&sender, request, b"").await.expect("an answer");
        assert_eq!((answer.status, answer.body.len(), answer.complete), (200, 0, true));
    });
}

#[test]
fn a_head_refusal_has_no_body_and_the_connection_goes_on() {
    let world = world();
    let mut wire = Wire::connect(world.router.data);
    wire.send("HEAD /api/v1/endpoint/nobody/x HTTP/1.1\r\nhost: t\r\n\r\n");
    assert_eq!(wire.try_answer(true).expect("an answer").status, 404);
    assert_eq!(wire.send(request(SCORE, "", "abc")).answer().text(), "3");
}

#[test]
fn a_head_refusal_has_no_body_over_http2_either() {
    let world = world();
    with_h2(world.router.data, async |sender| {
        for _ in 0..3 {
            let request = h2_request("HEAD", "/api/v1/endpoint/nobody/x", &[]);
            let answer = h2_ask(&sender, request, b"").await.expect("an answer");
            assert_eq!((answer.status, answer.body.len(), answer.complete), (404, 0, true));
        }
    });
}

#[test]
fn an_http2_body_shorter_than_its_length_never_arrives_complete() {
    let world = world();
    for (test, body) in [("h2-short", &b"abc"[..]), ("h2-long", b"abcdefgh")] {
        with_h2(world.router.data, async |sender| {
            let fields = [("content-length", "5"), ("x-test", test)];
            let request = h2_request("POST", "/api/v1/endpoint/plain/score", &fields);
            let answer = h2_ask(&sender, request, body).await;
            let refused = answer.as_ref().map_or(true, |answer| answer.status == 400);
            assert!(refused, "{test}: {answer:?}");
        });
        let seen = world.replica("plain/blue").seen(test);
        assert!(seen.iter().all(|seen| !seen.complete), "{test}: {seen:?}");
    }
}

#[test]
fn large_answers_arrive_whole_over_both_protocols() {
    const PIECES: usize = 400;
    let world = world();
    world.replica("plain/blue").script("large", |_, _| {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", PIECES * 100_000);
        vec![Step::Body, Step::Send(head.into()), Step::Flood(vec![7; 100_000], PIECES)]
    });
    let whole = |answer: &crate::support::wire::Answer| {
        assert_eq!((answer.status, answer.body.len()), (200, PIECES * 100_000));
        assert!(answer.complete && answer.body.iter().all(|byte| *byte == 7));
    };
    whole(&ask(world.router.data, request(SCORE, "x-script: large\r\n", "{}")));
    with_h2(world.router.data, async |sender| {
        let fields = [("x-script", "large")];
        let request = h2_request("POST", "/api/v1/endpoint/plain/score", &fields);
        whole(&h2_ask(&sender, request, b"{}").await.expect("an answer"));
    });
}

fn expecting(target: &str, fields: &str, length: usize) -> String {
    format!(
        "POST {target} HTTP/1.1\r\nhost: test\r\nexpect: 100-continue\r\n{fields}\
         content-length: {length}\r\n\r\n"
    )
}

#[test]
fn expect_is_answered_by_the_router_and_not_forwarded() {
    let world = world();
    let mut wire = Wire::connect(world.router.data);
    let target = "/api/v1/endpoint/plain/score";
    for run in 0..3 {
        let test = format!("expect-{run}");
        wire.send(expecting(target, &format!("x-test: {test}\r\n"), 3));
        assert_eq!(wire.answer().status, 100);
        assert_eq!(wire.send("abc").answer().text(), "3");
        assert!(world.replica("plain/blue").only(&test).all("expect").is_empty());
    }
}

#[test]
fn no_100_is_sent_before_there_is_a_slot() {
    let world = world();
    let replica = world.replica("single");
    let target = "/api/v1/endpoint/single/score";
    replica.script("gate", |_, _| {
        vec![
            Step::Body,
            Step::Wait(Duration::from_millis(1200)),
            Step::Send(answer("200 OK", "", "")),
        ]
    });
    let mut first = Wire::connect(world.router.data);
    let line = format!("POST {target}");
    first.send(request(&line, "x-script: gate\r\nx-test: gate\r\n", "x"));
    replica.await_seen("gate", |seen| seen.complete);
    let mut second = Wire::connect(world.router.data);
    second.send(expecting(target, "", 3));
    assert!(second.is_quiet_for(Duration::from_millis(400)), "100 came before the slot");
    assert_eq!(first.answer().status, 200);
    assert_eq!(second.answer().status, 100);
    assert_eq!(second.send("abc").answer().text(), "3");
}

#[test]
fn refusals_of_expect_come_without_100() {
    let world = world();
    let key = format!("authorization: Bearer {PRIMARY}\r\n");
    for (target, fields, length, status) in [
        ("/api/v1/endpoint/nobody/score", "", 3, 404),
        ("/api/v1/endpoint/keyed/score", "", 3, 401),
        ("/api/v1/endpoint/keyed/score", key.as_str(), 104_857_601, 413),
        ("/api/v1/endpoint/plain/score", "azureml-model-deployment: x\r\n", 3, 404),
    ] {
        let mut wire = Wire::connect(world.router.data);
        wire.send(expecting(target, fields, length));
        assert_eq!(wire.answer().status, status, "{target}");
        assert!(wire.closes_within(SOON), "the body, if sent, would be read as a request");
    }
}

#[test]
fn http2_serves_many_requests_at_once_on_one_connection() {
    let world = world();
    with_h2(world.router.data, async |sender| {
        let slow = || {
            let fields = [("x-script", "slow")];
            let request = h2_request("POST", "/api/v1/endpoint/plain/score", &fields);
            h2_ask(&sender, request, b"{}")
        };
        let begun = std::time::Instant::now();
        let answers = futures_util::future::join_all((0..50).map(|_| slow())).await;
        for answer in answers {
            assert_eq!(answer.expect("an answer").text(), "slow");
        }
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(8), "50 × 300 ms one after another? {took:?}");
    });
}

#[test]
fn the_first_bytes_may_come_one_by_one() {
    let world = world();
    let mut wire = Wire::connect(world.router.data);
    for byte in request("POST /api/v1/endpoint/plain/score", "", "abc").as_bytes() {
        wire.send([*byte]);
    }
    assert_eq!(wire.answer().text(), "3");
    // A method that begins like the HTTP/2 preface.
    let answer = ask(world.router.data, request("PRI /api/v1/endpoint/plain/score", "", "abc"));
    assert_eq!(answer.status, 200);
}
