//! The payload limit: exact, on every way a body can come, and its refusal readable.

use std::{
    net::SocketAddr,
    process::Command,
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::{
    support::wire::{
        Answer, Wire, ask, h2_answer, h2_ask, h2_request, h2_upload, request, with_h2,
    },
    world::{World, world},
};

/// Contract §5.
const LIMIT: u64 = 104_857_600;
const PATH: &str = "/api/v1/endpoint/upload/score";
const MIB: usize = 1024 * 1024;

fn with_length(address: SocketAddr, test: &str, length: u64) -> Answer {
    let mut wire = Wire::connect(address);
    wire.send(format!(
        "POST {PATH} HTTP/1.1\r\nhost: t\r\nx-test: {test}\r\ncontent-length: {length}\r\n\r\n"
    ));
    let piece = vec![0; MIB];
    let mut left = usize::try_from(length).expect("an address space");
    while left > 0 && wire.try_send(&piece[..left.min(MIB)]) {
        left -= left.min(MIB);
    }
    wire.answer()
}

fn chunked(address: SocketAddr, test: &str, length: u64) -> Answer {
    let mut wire = Wire::connect(address);
    wire.send(format!(
        "POST {PATH} HTTP/1.1\r\nhost: t\r\nx-test: {test}\r\ntransfer-encoding: chunked\r\n\r\n"
    ));
    let piece = vec![0; MIB];
    let mut left = usize::try_from(length).expect("an address space");
    while left > 0 {
        let size = left.min(MIB);
        let sent = wire.try_send(format!("{size:x}\r\n"))
            && wire.try_send(&piece[..size])
            && wire.try_send("\r\n");
        if !sent {
            break;
        }
        left -= size;
    }
    wire.try_send("0\r\n\r\n");
    wire.answer()
}

fn over_h2(address: SocketAddr, test: &str, length: u64, announced: bool) -> Answer {
    with_h2(address, async |sender| {
        let text = length.to_string();
        let mut fields = vec![("x-test", test)];
        if announced {
            fields.push(("content-length", &text));
        }
        let mut sender = sender.ready().await.expect("a connection");
        let request = h2_request("POST", PATH, &fields);
        let (response, mut stream) = sender.send_request(request, false).expect("a stream");
        let (sent, answer) =
            tokio::join!(h2_upload(&mut stream, length, true), h2_answer(response));
        let answer = answer.expect("an answer");
        assert!(sent.is_ok() || answer.status == 413, "{sent:?} {}", answer.status);
        answer
    })
}

fn refused(world: &World, answer: &Answer, test: &str) {
    assert_eq!((answer.status, answer.code().as_str()), (413, "payload_too_large"), "{test}");
    assert!(answer.text().contains("104857600"), "the limit in bytes: {}", answer.text());
    assert!(world.replica("upload").seen(test).iter().all(|seen| !seen.complete), "{test}");
}

#[test]
fn content_length_at_the_limit_passes_and_one_more_is_refused_before_the_body() {
    let world = world();
    let answer = with_length(world.router.data, "length-fits", LIMIT);
    assert_eq!((answer.status, answer.text()), (200, LIMIT.to_string()));
    let head = format!("POST {PATH} HTTP/1.1\r\nhost: t\r\nx-test: length-over\r\n");
    let answer = ask(world.router.data, format!("{head}content-length: {}\r\n\r\n", LIMIT + 1));
    refused(&world, &answer, "length-over");
    let answer = ask(world.router.data, format!("{head}content-length: {}\r\n\r\n", u64::MAX - 9));
    assert!(answer.status == 413 || answer.status == 400, "{}", answer.status);
    assert!(world.replica("upload").seen("length-over").is_empty(), "it never got that far");
    refused(&world, &with_length(world.router.data, "length-sent", LIMIT + 1), "length-sent");
}

#[test]
fn a_chunked_body_at_the_limit_passes_and_one_more_is_413() {
    let world = world();
    let answer = chunked(world.router.data, "chunked-fits", LIMIT);
    assert_eq!((answer.status, answer.text()), (200, LIMIT.to_string()));
    refused(&world, &chunked(world.router.data, "chunked-over", LIMIT + 1), "chunked-over");
}

#[test]
fn an_http2_body_with_a_length_keeps_the_same_limit() {
    let world = world();
    let answer = over_h2(world.router.data, "h2-fits", LIMIT, true);
    assert_eq!((answer.status, answer.text()), (200, LIMIT.to_string()));
    let answer = over_h2(world.router.data, "h2-over", LIMIT + 1, true);
    refused(&world, &answer, "h2-over");
    assert!(world.replica("upload").seen("h2-over").is_empty(), "refused before the body");
}

#[test]
fn an_http2_body_without_a_length_keeps_the_same_limit() {
    let world = world();
    let answer = over_h2(world.router.data, "h2-open-fits", LIMIT, false);
    assert_eq!((answer.status, answer.text()), (200, LIMIT.to_string()));
    let answer = over_h2(world.router.data, "h2-open-over", LIMIT + 1, false);
    refused(&world, &answer, "h2-open-over");
}

#[test]
fn an_endpoint_may_have_a_smaller_limit() {
    let world = world();
    let line = "POST /api/v1/endpoint/small/score";
    for (length, status) in [(1000, 200), (1001, 413)] {
        let answer = ask(world.router.data, request(line, "", &"x".repeat(length)));
        assert_eq!(answer.status, status, "{length}");
        let body = format!("{length:x}\r\n{}\r\n0\r\n\r\n", "x".repeat(length));
        let head = format!("{line} HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n");
        let answer = ask(world.router.data, head + &body);
        assert_eq!(answer.status, status, "{length} chunked: {}", answer.text());
    }
}

#[test]
fn the_replica_s_connection_is_cut_where_the_limit_is_passed() {
    let world = world();
    let replica = world.replica("small");
    replica.script("reads", |_, _| {
        use crate::support::replica::Step;
        vec![Step::Body, Step::Hangup(Duration::from_secs(20))]
    });
    let mut wire = Wire::connect(world.router.data);
    let head = "POST /api/v1/endpoint/small/score HTTP/1.1\r\nhost: t\r\n\
                transfer-encoding: chunked\r\nx-test: cut\r\nx-script: reads\r\n\r\n";
    wire.send(format!("{head}3e8\r\n{}\r\n", "x".repeat(1000)));
    replica.await_seen("cut", |seen| seen.body_length == 1000);
    wire.send("1\r\nx\r\n");
    assert_eq!(wire.answer().status, 413);
    let seen = replica.await_seen("cut", |seen| seen.done);
    assert!(!seen.complete, "it must not look like a short, complete request");
}

/// 50 MB, which two requests refuse early: no credential, and a limit of 1000 bytes.
const REFUSALS: [(&str, &str); 2] =
    [("/api/v1/endpoint/keyed/score", "401"), ("/api/v1/endpoint/small/score", "413")];

#[test]
fn python_reads_the_refusal_of_an_upload() {
    let world = world();
    let script = "import http.client, sys\n\
                  c = http.client.HTTPConnection(sys.argv[1], timeout=60)\n\
                  c.request('POST', sys.argv[2], body=b'x' * 50_000_000)\n\
                  r = c.getresponse()\n\
                  print(r.status, len(r.read()) > 50)\n";
    for (path, status) in REFUSALS {
        let address = world.router.data.to_string();
        let run = Command::new("python3").args(["-c", script, &address, path]).output();
        let run = run.expect("python3 runs");
        let text = String::from_utf8_lossy(&run.stdout).into_owned();
        let errors = String::from_utf8_lossy(&run.stderr);
        assert_eq!(text.trim(), format!("{status} True"), "{errors}");
    }
}

#[test]
fn curl_reads_the_refusal_of_an_upload_over_both_protocols() {
    let world = world();
    let body = world.router.folder().join("fifty-megabytes");
    std::fs::write(&body, vec![b'x'; 50_000_000]).expect("a file in the temporary folder");
    for (path, status) in REFUSALS {
        for more in [
            &["--http1.1"][..],
            &["--http1.1", "-H", "Expect:"],
            &["--http1.1", "-H", "Expect:", "-H", "Transfer-Encoding: chunked"],
            &["--http2-prior-knowledge"],
            &["--http2-prior-knowledge", "-H", "Expect:"],
        ] {
            let run = Command::new("curl")
                .args(["-sS", "--max-time", "60", "-w", "\n%{http_code} %{errormsg}"])
                .args(more)
                .arg("--data-binary")
                .arg(format!("@{}", body.display()))
                .arg(format!("http://{}{path}", world.router.data))
                .output()
                .expect("curl runs");
            let text = String::from_utf8_lossy(&run.stdout).into_owned();
            let (answer, end) = text.rsplit_once('\n').expect("two parts");
            assert!(run.status.success(), "{more:?} {path}: {text}");
            assert_eq!(end.trim(), status, "{more:?} {path}");
            assert!(answer.contains("\"error\""), "{more:?} {path}: {text}");
        }
    }
}

#[test]
fn an_http2_connection_survives_the_refusal_of_an_upload() {
    let world = world();
    with_h2(world.router.data, async |sender| {
        for round in 0..8 {
            let mut sender = sender.clone().ready().await.expect("a connection");
            let request = h2_request("POST", "/api/v1/endpoint/keyed/score", &[]);
            let (response, mut stream) = sender.send_request(request, false).expect("a stream");
            let begun = Instant::now();
            let sent = h2_upload(&mut stream, 3_000_000, true);
            let (_sent, answer) = tokio::join!(sent, h2_answer(response));
            let answer = answer.expect("an answer");
            assert_eq!((answer.status, answer.complete), (401, true), "round {round}");
            assert!(begun.elapsed() < Duration::from_secs(20), "round {round}");
        }
        let mut sender = sender.ready().await.expect("a connection");
        let request = h2_request("POST", "/api/v1/endpoint/plain/score", &[]);
        let (response, mut stream) = sender.send_request(request, false).expect("a stream");
        stream.send_data(Bytes::from_static(b"abc"), true).expect("room");
        assert_eq!(h2_answer(response).await.expect("an answer").text(), "3");
    });
}

/// hyper sends no body with GET and HEAD unless the head says that one follows.
#[test]
fn a_body_of_unknown_length_arrives_whatever_the_method() {
    let world = world();
    for method in ["GET", "HEAD", "DELETE", "OPTIONS", "POST"] {
        let test = format!("unknown-length-{method}");
        let head = format!("{method} {PATH} HTTP/1.1\r\nhost: t\r\nx-test: {test}\r\n");
        let mut wire = Wire::connect(world.router.data);
        wire.send(format!("{head}transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"));
        let seen = world.replica("upload").await_seen(&test, |seen| seen.complete);
        assert_eq!(seen.body, b"abc", "{method}");
        let test = format!("unknown-length-h2-{method}");
        let status = with_h2(world.router.data, async |sender| {
            let request = h2_request(method, PATH, &[("x-test", &test)]);
            h2_ask(&sender, request, b"abc").await.expect("an answer").status
        });
        assert_eq!(status, 200, "{method}");
        assert_eq!(world.replica("upload").only(&test).body, b"abc", "{method} over HTTP/2");
    }
}
