//! Replicas that break the protocol: their faults end with their own request.

use std::time::Duration;

use crate::{
    support::{
        replica::{Step, answer},
        wire::{Answer, Wire, h2_ask, h2_request, request, with_h2},
    },
    world::{World, world},
};

const PATH: &str = "/api/v1/endpoint/hostile/score";

/// Asks for a script and then, on the same connection where it is open, for an ordinary answer,
/// which must be its own.
fn asked(world: &World, script: &str) -> Answer {
    let mut wire = Wire::connect(world.router.data);
    let line = format!("POST {PATH}");
    wire.send(request(&line, &format!("x-script: {script}\r\n"), "{}"));
    let answer = wire.answer();
    if !answer.complete {
        wire = Wire::connect(world.router.data);
    }
    for length in [7, 8] {
        let clean = wire.send(request(&line, "", &"x".repeat(length))).answer();
        assert_eq!((clean.status, clean.text()), (200, length.to_string()), "after {script}");
        assert!(!clean.fields.iter().any(|(_, value)| value == "smuggled"), "{clean:?}");
    }
    answer
}

fn script(world: &World, name: &str, bytes: impl Into<Vec<u8>>, then: &[Step]) {
    let mut steps = vec![Step::Body, Step::Send(bytes.into())];
    steps.extend_from_slice(then);
    world.replica("hostile").script(name, move |_, _| steps.clone());
}

#[test]
fn what_is_no_answer_is_502() {
    let world = world();
    for (name, bytes) in [
        ("garbage", "this is not HTTP\r\n\r\n"),
        ("binary", "\0\x01\x02\x03\r\n\r\n"),
        ("status-999", "HTTP/1.1 999 Odd\r\ncontent-length: 2\r\n\r\nhi"),
        ("status-600", "HTTP/1.1 600 Odd\r\ncontent-length: 2\r\n\r\nhi"),
        ("status-099", "HTTP/1.1 099 Odd\r\ncontent-length: 2\r\n\r\nhi"),
        ("status-abc", "HTTP/1.1 abc Odd\r\ncontent-length: 2\r\n\r\nhi"),
        ("version", "HTTP/3.0 200 OK\r\ncontent-length: 2\r\n\r\nhi"),
        ("bad-field", "HTTP/1.1 200 OK\r\nbad name: x\r\ncontent-length: 2\r\n\r\nhi"),
        ("two-lengths", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nhi!"),
        (
            "switches",
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\nhi",
        ),
        ("bad-length", "HTTP/1.1 200 OK\r\ncontent-length: 2x\r\n\r\nhi"),
    ] {
        script(&world, name, bytes, &[]);
        let answer = asked(&world, name);
        assert_eq!((answer.status, answer.code().as_str()), (502, "replica_invalid"), "{name}");
        assert_eq!(answer.field("x-modelway-source"), Some("router"), "{name}");
        assert!(!answer.text().contains("127.0.0.1"), "{}", answer.text());
    }
}

#[test]
fn half_a_head_is_502() {
    let world = world();
    script(&world, "half-head", "HTTP/1.1 200 OK\r\ncontent-le", &[Step::Close]);
    let answer = asked(&world, "half-head");
    assert_eq!((answer.status, answer.code().as_str()), (502, "replica_invalid"));
}

#[test]
fn endless_heads_are_502_and_end() {
    let world = world();
    let field = format!("x-endless: {}\r\n", "y".repeat(1000)).into_bytes();
    script(&world, "endless", "HTTP/1.1 200 OK\r\n", &[Step::Flood(field, 100_000)]);
    let many = "a: b\r\n".repeat(1000);
    script(&world, "many", format!("HTTP/1.1 200 OK\r\n{many}content-length: 0\r\n\r\n"), &[]);
    for name in ["endless", "many"] {
        // Not 504: it ends long before requestTimeout.
        let answer = asked(&world, name);
        assert_eq!((answer.status, answer.code().as_str()), (502, "replica_invalid"), "{name}");
    }
}

#[test]
fn informational_answers_are_not_the_answer() {
    let world = world();
    let bytes = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n\
                 HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";
    script(&world, "informs", bytes, &[]);
    let answer = asked(&world, "informs");
    assert_eq!((answer.status, answer.text().as_str()), (200, "hi"));
}

#[test]
fn bytes_behind_an_answer_reach_nobody() {
    let world = world();
    let smuggled = "HTTP/1.1 200 OK\r\nx-smuggled: smuggled\r\ncontent-length: 8\r\n\r\nsmuggled";
    let complete = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";
    script(&world, "extra", format!("{complete}{smuggled}"), &[]);
    script(&world, "extra-byte", format!("{complete}\n"), &[]);
    let chunks = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
    script(&world, "extra-chunked", format!("{chunks}{smuggled}"), &[]);
    script(&world, "extra-204", format!("HTTP/1.1 204 No Content\r\n\r\n{smuggled}"), &[]);
    for name in ["extra", "extra-byte", "extra-chunked", "extra-204"] {
        for _ in 0..20 {
            let answer = asked(&world, name);
            let expected = if name == "extra-204" { (204, "") } else { (200, "hi") };
            assert_eq!((answer.status, answer.text().as_str()), expected, "{name}");
        }
    }
}

#[test]
fn an_answer_to_head_with_a_body_spoils_nothing() {
    let world = world();
    script(&world, "head-body", answer("200 OK", "", "smuggled"), &[]);
    for _ in 0..20 {
        let mut wire = Wire::connect(world.router.data);
        wire.send(format!("HEAD {PATH} HTTP/1.1\r\nhost: t\r\nx-script: head-body\r\n\r\n"));
        assert_eq!(wire.try_answer(true).expect("an answer").status, 200);
        let clean = wire.send(request(&format!("POST {PATH}"), "", "abc")).answer();
        assert_eq!((clean.status, clean.text().as_str()), (200, "3"));
    }
}

#[test]
fn an_answer_framed_twice_is_read_as_chunks_or_refused() {
    let world = world();
    let bytes = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n\
                 5\r\nhello\r\n0\r\n\r\n";
    script(&world, "framed-twice", bytes, &[]);
    for _ in 0..5 {
        let answer = asked(&world, "framed-twice");
        let passed = (answer.status, answer.text().as_str()) == (200, "hello");
        assert!(passed || answer.status == 502, "{answer:?}");
        assert!(answer.all("content-length").is_empty() || answer.status == 502, "{answer:?}");
    }
}

#[test]
fn a_truncated_answer_is_visibly_cut_off() {
    let world = world();
    let short = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf";
    let chunks = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n";
    let bad = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n";
    for (name, bytes) in [("short", short), ("short-chunked", chunks), ("bad-chunk", bad)] {
        // The head may leave before the fault is there.
        let pause = Step::Wait(Duration::from_millis(50));
        script(&world, name, bytes, &[pause, Step::Close]);
        let answer = asked(&world, name);
        assert_eq!((answer.status, answer.complete), (200, false), "{name}: {answer:?}");
        with_h2(world.router.data, async |sender| {
            let request = h2_request("POST", PATH, &[("x-script", name)]);
            let answer = h2_ask(&sender, request, b"{}").await.expect("a head");
            assert_eq!((answer.status, answer.complete), (200, false), "{name} over HTTP/2");
            let request = h2_request("POST", PATH, &[]);
            let clean = h2_ask(&sender, request, b"abc").await.expect("the connection lives");
            assert_eq!((clean.status, clean.text().as_str()), (200, "3"), "after {name}");
        });
    }
}

#[test]
fn an_answer_that_breaks_at_once_still_has_its_status() {
    let world = world();
    let bytes = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nZZ\r\n";
    script(&world, "broken-at-once", bytes, &[]);
    for _ in 0..5 {
        let answer = asked(&world, "broken-at-once");
        assert_eq!((answer.status, answer.complete), (200, false), "{answer:?}");
    }
}

#[test]
fn an_answer_before_the_upload_is_read_is_passed_on() {
    let world = world();
    // A replica of its own: it swallows whatever else is sent to it on that connection, and with
    // large socket buffers the router cannot always see that the upload was not read.
    let line = "POST /api/v1/endpoint/early/score";
    let bytes = answer("429 Too Many Requests", "", "the model is busy");
    world.replica("early").script("early", move |_, _| {
        vec![Step::Send(bytes.clone()), Step::Hangup(Duration::from_secs(10))]
    });
    let mut wire = Wire::connect(world.router.data);
    let body = "x".repeat(50_000_000);
    wire.try_send(request(line, "x-script: early\r\n", &body));
    let answer = wire.answer();
    assert_eq!((answer.status, answer.text().as_str()), (429, "the model is busy"));
    let mut wire = Wire::connect(world.router.data);
    let clean = wire.send(request(line, "", "abc")).answer();
    assert_eq!((clean.status, clean.text().as_str()), (200, "3"));
}

#[test]
fn bytes_long_after_an_answer_close_their_connection() {
    let world = world();
    // Bytes that come after the next request was sent are, in HTTP/1.1, its answer; those before
    // it must not be.
    let smuggled = "HTTP/1.1 200 OK\r\nx-a: smuggled\r\ncontent-length: 8\r\n\r\nsmuggled";
    let complete = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";
    let late = [Step::Wait(Duration::from_millis(30)), Step::Send(smuggled.into())];
    let replica = world.replica("late");
    let mut steps = vec![Step::Body, Step::Send(complete.into())];
    steps.extend(late);
    replica.script("extra-late", move |_, _| steps.clone());
    let line = "POST /api/v1/endpoint/late/score";
    for round in 0..10 {
        let test = format!("extra-late-{round}");
        let mut wire = Wire::connect(world.router.data);
        let fields = format!("x-script: extra-late\r\nx-test: {test}\r\n");
        assert_eq!(wire.send(request(line, &fields, "{}")).answer().text(), "hi");
        replica.await_seen(&test, |seen| seen.done);
        let clean = wire.send(request(line, "", "abc")).answer();
        assert_eq!((clean.status, clean.text().as_str()), (200, "3"), "round {round}");
    }
}
