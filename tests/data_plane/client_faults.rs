//! What a client does wrong is never a 5xx, and never held against a replica.

use std::time::Duration;

use crate::{
    support::{
        replica::Step,
        wire::{Wire, ask, h2_request, h2_upload, request, with_h2},
    },
    world::{World, world},
};

const PATH: &str = "/api/v1/endpoint/faults/score";

fn head(test: &str, framing: &str) -> String {
    format!("POST {PATH} HTTP/1.1\r\nhost: t\r\nx-test: {test}\r\n{framing}\r\n\r\n")
}

/// The only replica of the endpoint works on at once, and nothing was counted as its fault.
fn unharmed(world: &World) {
    let answer = ask(world.router.data, request(&format!("POST {PATH}"), "", "abc"));
    assert_eq!((answer.status, answer.text().as_str()), (200, "3"), "{}", answer.text());
    for code in ["500", "502", "503", "504"] {
        let labels = [("endpoint", "faults"), ("code", code)];
        assert!(world.metric("modelway_requests_total", &labels) < 0.5, "{code}");
    }
}

#[test]
fn a_bad_chunk_is_400() {
    let world = world();
    for (number, bad) in ["zz\r\n", "3\r\nabcXX", "-3\r\n", "fffffffffffffffffff\r\n", "\r\n\r\n"]
        .into_iter()
        .enumerate()
    {
        let test = format!("chunk-{number}");
        let bytes = head(&test, "transfer-encoding: chunked") + "2\r\nab\r\n" + bad;
        let mut wire = Wire::connect(world.router.data);
        let answer = wire.send(bytes).answer();
        assert_eq!((answer.status, answer.code().as_str()), (400, "malformed_request"), "{bad:?}");
        assert!(wire.closes_within(Duration::from_secs(20)), "{bad:?}");
        let seen = world.replica("faults").seen(&test);
        assert!(seen.iter().all(|seen| !seen.complete), "{bad:?}");
        unharmed(&world);
    }
}

#[test]
fn a_truncated_upload_is_400_to_a_client_that_half_closes() {
    let world = world();
    for (test, framing, part) in [
        ("cut-length", "content-length: 100", "abc"),
        ("cut-chunked", "transfer-encoding: chunked", "3\r\nabc\r\n"),
        ("cut-in-chunk", "transfer-encoding: chunked", "9\r\nabc"),
    ] {
        let mut wire = Wire::connect(world.router.data);
        wire.send(head(test, framing) + part);
        world.replica("faults").await_seen(test, |_| true);
        wire.half_close();
        let answer = wire.answer();
        assert_eq!((answer.status, answer.code().as_str()), (400, "malformed_request"), "{test}");
        let seen = world.replica("faults").await_seen(test, |seen| seen.done);
        assert!(!seen.complete, "{test}");
        unharmed(&world);
    }
}

#[test]
fn a_client_that_half_closes_after_its_request_gets_its_answer() {
    let world = world();
    let mut wire = Wire::connect(world.router.data);
    let fields = "x-script: slow\r\nx-test: half-closed\r\n";
    wire.send(request("POST /api/v1/endpoint/plain/score", fields, "{}"));
    // In the queue a FIN means that the client is gone (contract §12); here it has its slot.
    world.replica("plain/blue").await_seen("half-closed", |seen| seen.complete);
    wire.half_close();
    assert_eq!(wire.answer().text(), "slow");
}

#[test]
fn a_client_that_resets_is_499_in_the_metric_and_its_work_is_finished() {
    let world = world();
    let labels = [("endpoint", "faults"), ("code", "499")];
    let before = world.metric("modelway_requests_total", &labels);
    let replica = world.replica("faults");
    replica.script("answers-late", |_, _| {
        let bytes = crate::support::replica::answer("200 OK", "", &"x".repeat(500_000));
        vec![Step::Body, Step::Wait(Duration::from_millis(400)), Step::Send(bytes)]
    });
    for number in 0..5 {
        let test = format!("gone-{number}");
        let fields = format!("x-script: answers-late\r\nx-test: {test}\r\n");
        let mut wire = Wire::connect(world.router.data);
        wire.send(request(&format!("POST {PATH}"), &fields, "{}"));
        replica.await_seen(&test, |seen| seen.complete);
        wire.reset();
        let seen = replica.await_seen(&test, |seen| seen.done);
        assert_eq!(seen.hung_up, None, "nobody hung up on the replica");
    }
    world.await_metric("modelway_requests_total", &labels, before + 5.0);
    assert_eq!(replica.highest_concurrency(), 1, "one slot, also through disconnects");
    unharmed(&world);
}

#[test]
fn a_client_that_leaves_in_the_middle_of_its_upload_is_not_a_fault_of_the_replica() {
    let world = world();
    let mut wire = Wire::connect(world.router.data);
    wire.send(head("upload-gone", "content-length: 100000") + "abc");
    world.replica("faults").await_seen("upload-gone", |seen| seen.body_length == 3);
    wire.reset();
    let seen = world.replica("faults").await_seen("upload-gone", |seen| seen.done);
    assert!(!seen.complete);
    unharmed(&world);
}

#[test]
fn an_http2_stream_reset_in_the_middle_of_its_upload_harms_nobody() {
    let world = world();
    with_h2(world.router.data, async |sender| {
        for number in 0..5 {
            let test = format!("h2-reset-{number}");
            let mut sender = sender.clone().ready().await.expect("the connection lives");
            let request = h2_request("POST", PATH, &[("x-test", &test)]);
            let (_response, mut stream) = sender.send_request(request, false).expect("a stream");
            h2_upload(&mut stream, 3, false).await.expect("room");
            // The reset must not overtake the request.
            tokio::time::sleep(Duration::from_millis(100)).await;
            stream.send_reset(h2::Reason::CANCEL);
        }
    });
    for seen in (0..5).flat_map(|n| world.replica("faults").seen(&format!("h2-reset-{n}"))) {
        assert!(!seen.complete);
    }
    unharmed(&world);
}
