//! What is promised without TLS is promised with it: bodies, streams, upgrades, ends.

use std::{
    io::ErrorKind,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http::Request;
use socket2::SockRef;
use tokio_tungstenite::{
    client_async,
    tungstenite::{Message, client::IntoClientRequest as _},
};

use crate::{
    client::{Hello, Line, dial, with_h2},
    site::{KEY, SCORE, SOON, Site, site},
    support::{
        replica::{Step, answer},
        watch::{await_gauge, metric, until},
        wire::{h2_answer, h2_ask, h2_request, h2_upload, request},
    },
};

#[test]
fn the_replica_is_told_that_the_client_came_by_https() {
    let site = site();
    let mut line = Line::open(site.secure, &site.hello()).unwrap();
    let fields = "x-test: proto\r\nx-forwarded-proto: http\r\n";
    assert_eq!(line.send(request(SCORE, fields, "abc")).answer().status, 200);
    let seen = site.replica.only("proto");
    assert_eq!(seen.field("x-forwarded-proto"), Some("https"));
    assert_eq!(seen.field("x-forwarded-for"), Some("127.0.0.1"));
    with_h2(site.secure, &site.hello(), async |sender, _task| {
        let request = Request::builder()
            .method("POST")
            .uri("https://localhost/api/v1/endpoint/plain/score")
            .version(http::Version::HTTP_2)
            .header("x-test", "proto-h2")
            .body(())
            .unwrap();
        assert_eq!(h2_ask(&sender, request, b"abc").await.unwrap().status, 200);
    });
    let seen = site.replica.only("proto-h2");
    assert_eq!(seen.field("x-forwarded-proto"), Some("https"));
    assert_eq!(seen.field("host"), Some("localhost"));
}

#[test]
fn a_connection_serves_many_requests_and_ends_in_order_when_asked() {
    let site = site();
    let mut line = Line::open(site.secure, &site.hello()).unwrap();
    for _ in 0..50 {
        assert_eq!(line.send(request(SCORE, "", "abc")).answer().text(), "3");
    }
    let mut pipelined = String::new();
    for length in 0..20 {
        pipelined.push_str(&request(SCORE, "", &"x".repeat(length)));
    }
    line.send(pipelined);
    for length in 0..20 {
        assert_eq!(line.answer().text(), length.to_string());
    }
    let last = line.send(request(SCORE, "connection: close\r\n", "abc")).answer();
    assert_eq!((last.status, last.field("connection")), (200, Some("close")));
    assert!(line.ends_in_order(SOON));
}

#[test]
fn keys_are_asked_for_as_ever() {
    let site = site();
    let line = "POST /api/v1/endpoint/keyed/score";
    let mut wire = Line::open(site.secure, &site.hello()).unwrap();
    assert_eq!(wire.send(request(line, "", "abc")).answer().status, 401);
    let fields = format!("authorization: Bearer {KEY}\r\n");
    assert_eq!(wire.send(request(line, &fields, "abc")).answer().status, 200);
}

/// The client sends all of it before it reads, as simple clients do.
#[test]
fn an_upload_over_the_limit_is_refused_readably() {
    const SENT: usize = 24 << 20;
    let site = site();
    let small = "POST /api/v1/endpoint/small/score HTTP/1.1\r\nhost: t\r\n";
    let piece = vec![0; 1 << 20];
    let mut announced = Line::open(site.secure, &site.hello()).unwrap();
    announced.send(format!("{small}content-length: {SENT}\r\n\r\n"));
    for _ in 0..SENT >> 20 {
        announced.send(&piece);
    }
    let refused = announced.answer();
    assert_eq!((refused.status, refused.code().as_str()), (413, "payload_too_large"));
    assert!(announced.ends_in_order(SOON));

    let mut streamed = Line::open(site.secure, &site.hello()).unwrap();
    streamed.send(format!("{small}transfer-encoding: chunked\r\n\r\n"));
    for _ in 0..SENT >> 20 {
        streamed.send(format!("{:x}\r\n", piece.len())).send(&piece).send("\r\n");
    }
    streamed.send("0\r\n\r\n");
    assert_eq!(streamed.answer().status, 413);

    // The limit of the router itself, and the last byte that is within it.
    let mut line = Line::open(site.secure, &site.hello()).unwrap();
    let head = "POST /api/v1/endpoint/plain/score HTTP/1.1\r\nhost: t\r\n";
    line.send(format!("{head}content-length: 104857601\r\n\r\n"));
    assert_eq!(line.answer().status, 413);
}

#[test]
fn a_large_upload_and_a_large_answer_arrive_whole_over_both_protocols() {
    const LENGTH: usize = 8 << 20;
    let site = site();
    site.replica.script("large", |_, _| {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {LENGTH}\r\n\r\n");
        vec![Step::Body, Step::Send(head.into()), Step::Flood(vec![7; 1 << 20], LENGTH >> 20)]
    });
    let mut line = Line::open(site.secure, &site.hello()).unwrap();
    line.send(format!("{SCORE} HTTP/1.1\r\nhost: t\r\ncontent-length: {LENGTH}\r\n\r\n"));
    line.send(vec![1; LENGTH]);
    assert_eq!(line.answer().text(), LENGTH.to_string());
    let answer = line.send(request(SCORE, "x-script: large\r\n", "x")).answer();
    assert!(answer.body.len() == LENGTH && answer.body.iter().all(|byte| *byte == 7));
    with_h2(site.secure, &site.hello(), async |sender, _task| {
        let path = "/api/v1/endpoint/plain/score";
        let mut sender = sender.ready().await.unwrap();
        let (response, mut stream) =
            sender.send_request(h2_request("POST", path, &[]), false).unwrap();
        let upload = h2_upload(&mut stream, LENGTH as u64, true);
        let (sent, answer) = tokio::join!(upload, h2_answer(response));
        sent.unwrap();
        assert_eq!(answer.unwrap().text(), LENGTH.to_string());
        let asked = h2_request("POST", path, &[("x-script", "large")]);
        let answer = h2_ask(&sender, asked, b"x").await.unwrap();
        assert!(answer.complete && answer.body.len() == LENGTH);
    });
}

#[test]
fn events_are_passed_on_as_they_come() {
    let site = site();
    site.replica.script("events", |_, _| {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                    transfer-encoding: chunked\r\n\r\n";
        vec![
            Step::Body,
            Step::Send(format!("{head}9\r\ndata: 1\n\n\r\n").into()),
            Step::Wait(Duration::from_secs(2)),
            Step::Send(b"9\r\ndata: 2\n\n\r\n0\r\n\r\n".to_vec()),
        ]
    });
    let mut line = Line::open(site.secure, &site.hello()).unwrap();
    let begun = Instant::now();
    line.send(request(SCORE, "x-script: events\r\n", "x"));
    assert_eq!(line.head().unwrap().field("content-type"), Some("text/event-stream"));
    assert_eq!(line.chunk().unwrap().as_deref(), Some(&b"data: 1\n\n"[..]));
    let first = begun.elapsed();
    assert_eq!(line.chunk().unwrap().as_deref(), Some(&b"data: 2\n\n"[..]));
    let second = begun.elapsed();
    assert_eq!(line.chunk().unwrap().as_deref(), Some(&[][..]));
    assert!(second >= Duration::from_secs(2), "{second:?}");
    assert!(second > first + Duration::from_millis(200), "not held back: {first:?} {second:?}");
}

#[test]
fn a_client_that_has_only_closed_its_half_gets_its_answer() {
    let site = site();
    site.replica.script("slow", |_, _| {
        let wait = Step::Wait(Duration::from_millis(500));
        vec![Step::Body, wait, Step::Send(answer("200 OK", "", "late"))]
    });
    let mut line = Line::open(site.secure, &site.hello()).unwrap();
    line.send(request(SCORE, "x-script: slow\r\n", "x"));
    line.half_close();
    assert_eq!(line.answer().text(), "late");
    assert!(line.ends_in_order(SOON));
}

/// `close_notify` would say that the answer is complete.
#[test]
fn a_cut_answer_is_never_ended_in_order() {
    let site = site();
    site.replica.script("cut", |_, _| {
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n";
        vec![Step::Body, Step::Send(head.into()), Step::Close]
    });
    let mut line = Line::open(site.secure, &site.hello()).unwrap();
    line.send(request(SCORE, "x-script: cut\r\n", "x"));
    assert_eq!(line.head().unwrap().status, 200);
    assert_eq!(line.chunk().unwrap().as_deref(), Some(&b"abc"[..]));
    match line.chunk() {
        Err(error) => assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{error}"),
        more => panic!("{more:?}"),
    }
}

#[test]
fn what_the_parser_refuses_is_told_under_tls_too() {
    let site = site();
    let table = [
        ("GET / HTTP/1.1\nhost: t\n\n", 400),
        ("G\u{1}T / HTTP/1.1\r\nhost: t\r\n\r\n", 400),
        ("GET /api/v1/endpoint/../x HTTP/1.1\r\nhost: t\r\n\r\n", 400),
        // Who has agreed to HTTP/1 is not served HTTP/2.
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    ];
    for (bytes, status) in table {
        let mut line = Line::open(site.secure, &site.hello()).unwrap();
        let answer = line.send(bytes).answer();
        assert_eq!(answer.status, status, "{bytes:?}");
        assert!(answer.field("x-request-id").is_some());
        if answer.field("connection") == Some("close") {
            assert!(line.ends_in_order(SOON), "{bytes:?}");
        }
    }
}

#[test]
fn a_head_that_is_not_finished_is_408_and_silence_is_ended_in_order() {
    let site = site();
    let begun = Instant::now();
    let mut silent = Line::open(site.secure, &site.hello()).unwrap();
    let mut partial = Line::open(site.secure, &site.hello()).unwrap();
    partial.send("POST / HTTP/1.1\r\nhost:");
    assert!(silent.ends_in_order(Duration::from_secs(25)));
    assert!(begun.elapsed() > Duration::from_secs(4), "{:?}", begun.elapsed());
    let late = partial.answer();
    assert_eq!((late.status, late.code().as_str()), (408, "client_timeout"));
    assert!(begun.elapsed() > Duration::from_secs(8), "{:?}", begun.elapsed());
    assert!(partial.ends_in_order(SOON));
}

#[test]
fn a_client_that_refuses_to_read_is_dropped_after_thirty_seconds() {
    let site = Site::start(&[]);
    site.replica.script("flood", |_, _| {
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 80000000\r\n\r\n";
        vec![Step::Body, Step::Send(head.to_vec()), Step::Flood(vec![0; 100_000], 800)]
    });
    let mut line = Line::open(site.secure, &site.hello()).unwrap();
    line.send(request(SCORE, "x-script: flood\r\n", "x"));
    assert!(line.head().is_ok());
    let begun = Instant::now();
    until(Duration::from_secs(60), "the client is given up", || {
        let gone = ["endpoint=\"plain\"", "code=\"499\""];
        (metric(&site.router, "modelway_requests_total", &gone) > 0.5).then_some(())
    });
    assert!(begun.elapsed() > Duration::from_secs(28), "{:?}", begun.elapsed());
}

#[test]
fn a_client_that_pauses_in_reading_gets_everything() {
    const LENGTH: usize = 3_000_000;
    let site = site();
    site.replica.script("slowly", |_, _| {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {LENGTH}\r\n\r\n");
        vec![Step::Body, Step::Send(head.into()), Step::Flood(vec![5; 100_000], LENGTH / 100_000)]
    });
    let mut line = Line::open(site.secure, &site.hello()).unwrap();
    line.send(request(SCORE, "x-script: slowly\r\n", "x"));
    crate::support::watch::pass(Duration::from_secs(3));
    let answer = line.answer();
    assert!(answer.complete && answer.body.len() == LENGTH);
}

#[test]
fn a_client_that_leaves_the_queue_is_noticed_at_once() {
    let site = site();
    site.replica.script("held", |_, _| vec![Step::Body, Step::Hangup(Duration::from_secs(60))]);
    let single = "POST /api/v1/endpoint/single/score";
    let mut first = Line::open(site.secure, &site.hello()).unwrap();
    first.send(request(single, "x-script: held\r\nx-test: held\r\n", "x"));
    site.replica.await_seen("held", |_| true);
    for reset in [true, false] {
        let mut waiting = Line::open(site.secure, &site.hello()).unwrap();
        waiting.send(request(single, "", "x"));
        await_gauge(&site.router, "modelway_queued_requests", "one", 1);
        if reset {
            SockRef::from(waiting.socket()).set_linger(Some(Duration::ZERO)).unwrap();
        } else {
            waiting.half_close();
        }
        drop(waiting);
        // Far below the longest wait in the queue.
        await_gauge(&site.router, "modelway_queued_requests", "one", 0);
    }
}

#[test]
fn a_websocket_works_both_ways_and_ends_in_order() {
    let site = site();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream = dial(site.secure, &site.hello()).await.unwrap();
        let asked = "wss://localhost/api/v1/endpoint/chat/ws".into_client_request().unwrap();
        let (mut socket, answer) = client_async(asked, stream).await.unwrap();
        assert_eq!(answer.headers()["x-modelway-version"], "model");
        let large: Vec<u8> = (0..=255).cycle().take(1 << 20).collect();
        for message in [Message::text("text"), Message::binary(large)] {
            socket.send(message.clone()).await.unwrap();
            let came = tokio::time::timeout(SOON, socket.next()).await.unwrap();
            assert!(came.unwrap().unwrap() == message, "not the same came back");
        }
        socket.close(None).await.unwrap();
        let came = tokio::time::timeout(SOON, socket.next()).await.unwrap();
        assert!(matches!(came, Some(Ok(Message::Close(_)))), "{came:?}");
        // After the words of WebSocket those of TLS; without them this would be an error.
        assert!(tokio::time::timeout(SOON, socket.next()).await.unwrap().is_none());
    });
}

#[test]
fn a_grpc_call_passes_with_its_trailers() {
    let site = site();
    with_h2(site.secure, &site.hello(), async |sender, _task| {
        let fields = [
            ("content-type", "application/grpc"),
            ("te", "trailers"),
            ("x-ms-aml-grpc-service-route", "/api/v1/endpoint/chat"),
        ];
        let asked = h2_request("POST", "/test.Service/Echo", &fields);
        let mut sender = sender.ready().await.unwrap();
        let (response, mut stream) = sender.send_request(asked, false).unwrap();
        stream.send_data(Bytes::from_static(b"\0\0\0\0\x03abc"), true).unwrap();
        let mut body = response.await.unwrap().into_body();
        let mut bytes = Vec::new();
        while let Some(data) = body.data().await {
            let data = data.unwrap();
            body.flow_control().release_capacity(data.len()).unwrap();
            bytes.extend_from_slice(&data);
        }
        assert_eq!(bytes, b"\0\0\0\0\x03abc");
        assert_eq!(body.trailers().await.unwrap().expect("trailers")["grpc-status"], "0");
    });
}

#[test]
fn a_drain_finishes_what_is_in_progress_and_says_so() {
    let mut site = Site::start(&["--drain-timeout", "30s"]);
    site.replica.script("slow", |_, _| {
        let wait = Step::Wait(Duration::from_secs(2));
        vec![Step::Body, wait, Step::Send(answer("200 OK", "", "late"))]
    });
    let mut idle = Line::open(site.secure, &site.hello()).unwrap();
    assert_eq!(idle.send(request(SCORE, "", "abc")).answer().text(), "3");
    let mut busy = Line::open(site.secure, &site.hello()).unwrap();
    busy.send(request(SCORE, "x-script: slow\r\nx-test: busy\r\n", "x"));
    site.replica.await_seen("busy", |_| true);
    with_h2(site.secure, &site.hello(), async |sender, task| {
        let fields = [("x-script", "slow"), ("x-test", "h2")];
        let asked = h2_request("POST", "/api/v1/endpoint/plain/score", &fields);
        let mut sender = sender.ready().await.unwrap();
        let (response, mut stream) = sender.send_request(asked, false).unwrap();
        stream.send_data(Bytes::from_static(b"x"), true).unwrap();
        let seen = async {
            while site.replica.seen("h2").is_empty() {
                tokio::task::yield_now().await;
            }
            site.router.signal("TERM");
        };
        let (answer, ()) = tokio::join!(h2_answer(response), seen);
        assert_eq!(answer.unwrap().text(), "late");
        // GOAWAY without an error, and the end of the connection in order.
        task.await.unwrap().expect("an end in order");
        assert!(sender.ready().await.is_err(), "no more streams");
    });
    let late = busy.answer();
    assert_eq!((late.text().as_str(), late.field("connection")), ("late", Some("close")));
    assert!(busy.ends_in_order(SOON));
    assert!(idle.ends_in_order(SOON));
    assert!(site.router.wait(SOON).expect("it ends").success());
}

#[test]
fn what_an_idle_connection_costs_is_told() {
    const COUNT: usize = 400;
    let site = Site::start(&[]);
    let resident = || metric(&site.router, "process_resident_memory_bytes", &[]);
    let config = site.hello().config();
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let open = || Line::open_with(site.secure, Arc::clone(&config), name.clone()).unwrap();
    // What is needed once is there already.
    drop((0..20).map(|_| open()).collect::<Vec<_>>());
    let before = resident();
    let mut lines: Vec<Line> = (0..COUNT)
        .map(|_| {
            let mut line = open();
            assert_eq!(line.send(request(SCORE, "", "abc")).answer().status, 200);
            line
        })
        .collect();
    let each = (resident() - before) / f64::from(u32::try_from(COUNT).unwrap()) / 1024.0;
    tell(&format!("an idle TLS connection after a request: {each:.1} KiB (debug build)"));
    assert!(each < 100.0, "{each:.1} KiB for each idle connection");
    assert_eq!(lines[COUNT - 1].send(request(SCORE, "", "abc")).answer().status, 200);
}

/// Says something for whoever reads the output of the test.
#[expect(clippy::print_stderr, reason = "a figure of this run")]
fn tell(words: &str) {
    eprintln!("{words}");
}

#[test]
fn an_http2_client_that_breaks_its_word_is_told_so() {
    let site = site();
    let hello = Hello { alpn: vec![b"h2"], ..site.hello() };
    let mut line = Line::open(site.secure, &hello).unwrap();
    line.send(request(SCORE, "", "abc"));
    // A frame of HTTP/2, not an answer of HTTP/1: SETTINGS or GOAWAY.
    let ended = line.try_answer();
    assert!(ended.is_err(), "{ended:?}");
}
