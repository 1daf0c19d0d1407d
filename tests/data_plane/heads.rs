//! Contract §5, §12: how large a head may be, and what the parser refuses.

use crate::{
    support::wire::{Wire, ask, h2_ask, h2_request, request, with_h2},
    world::world,
};

/// How often a limit is tried: a head arrives in pieces that differ from run to run.
const RUNS: usize = 100;

/// A request whose head, with request line and empty line, has exactly this many bytes.
fn head_of(length: usize) -> String {
    let without = "GET /api/v1/endpoint/plain/x HTTP/1.1\r\nhost: test\r\n".len() + 2;
    let mut fields = String::new();
    let mut left = length - without;
    let mut number = 0;
    while left > 0 {
        // Several fields, so that no limit of a single one is met.
        let size = if left > 8192 { 4096 } else { left };
        let name = format!("x-fill-{number:02}: ");
        let value = "v".repeat(size - name.len() - 2);
        fields.extend([name.as_str(), &value, "\r\n"]);
        left -= size;
        number += 1;
    }
    let head = format!("GET /api/v1/endpoint/plain/x HTTP/1.1\r\nhost: test\r\n{fields}\r\n");
    assert_eq!(head.len(), length);
    head
}

#[test]
fn a_head_of_64_kib_passes_and_one_byte_more_is_431() {
    let world = world();
    for run in 0..RUNS {
        let answer = ask(world.router.data, head_of(65_536));
        assert_eq!(answer.status, 200, "run {run}: {}", answer.text());
        let answer = ask(world.router.data, head_of(65_537));
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (431, "headers_too_large"),
            "run {run}: {}",
            answer.text()
        );
    }
}

#[test]
fn a_head_far_over_its_limit_is_431_in_our_form() {
    let world = world();
    for size in [80_000, 140_000, 400_000] {
        let mut wire = Wire::connect(world.router.data);
        wire.try_send(head_of(size));
        let answer = wire.try_answer(false).expect("an answer that can be read");
        assert_eq!((answer.status, answer.code().as_str()), (431, "headers_too_large"), "{size}");
    }
}

#[test]
fn one_hundred_fields_pass_and_one_more_is_431() {
    let world = world();
    let with = |count: usize| {
        let fields: Vec<String> = (1..count).map(|n| format!("x-{n}: v\r\n")).collect();
        let fields = fields.concat();
        ask(world.router.data, request("GET /api/v1/endpoint/plain/x", &fields, ""))
    };
    for run in 0..RUNS {
        assert_eq!(with(100).status, 200, "run {run}");
        let answer = with(101);
        assert_eq!((answer.status, answer.code().as_str()), (431, "headers_too_large"), "{run}");
    }
    assert_eq!(with(150).status, 431);
}

#[test]
fn http2_has_the_same_limit_of_fields() {
    let world = world();
    with_h2(world.router.data, async |sender| {
        for (count, status) in [(99, 200), (100, 200), (101, 431)] {
            let names: Vec<String> = (0..count).map(|n| format!("x-{n}")).collect();
            let fields: Vec<(&str, &str)> = names.iter().map(|n| (n.as_str(), "v")).collect();
            let request = h2_request("GET", "/api/v1/endpoint/plain/x", &fields);
            let answer = h2_ask(&sender, request, b"").await.expect("an answer");
            assert_eq!(answer.status, status, "{count} fields: {}", answer.text());
        }
    });
}

#[test]
fn http2_heads_over_64_kib_are_431_and_the_connection_lives() {
    let world = world();
    let value = "v".repeat(8000);
    with_h2(world.router.data, async |sender| {
        for (count, status) in [(8, 200), (9, 431), (1, 200)] {
            let names: Vec<String> = (0..count).map(|n| format!("x-{n}")).collect();
            let fields: Vec<(&str, &str)> =
                names.iter().map(|n| (n.as_str(), value.as_str())).collect();
            let request = h2_request("GET", "/api/v1/endpoint/plain/x", &fields);
            let answer = h2_ask(&sender, request, b"").await.expect("an answer");
            assert_eq!(answer.status, status, "{count} × 8000 bytes: {}", answer.text());
        }
    });
}

#[test]
fn a_target_of_16_kib_passes_and_one_byte_more_is_414() {
    let world = world();
    let with = |length: usize| {
        let path = "/api/v1/endpoint/plain/x?";
        let line = format!("GET {path}{}", "q".repeat(length - path.len()));
        ask(world.router.data, request(&line, "", ""))
    };
    assert_eq!(with(16_384).status, 200);
    let answer = with(16_385);
    assert_eq!((answer.status, answer.code().as_str()), (414, "target_too_long"));
    let answer = with(60_000);
    assert_eq!((answer.status, answer.code().as_str()), (414, "target_too_long"));
    let mut wire = Wire::connect(world.router.data);
    wire.try_send(format!("GET /{}", "q".repeat(200_000)));
    let answer = wire.try_answer(false).expect("an answer that can be read");
    assert_eq!((answer.status, answer.code().as_str()), (414, "target_too_long"), "endless");
    with_h2(world.router.data, async |sender| {
        for (length, status) in [(16_384, 200), (16_385, 414)] {
            let path = "/api/v1/endpoint/plain/x?";
            let path = format!("{path}{}", "q".repeat(length - path.len()));
            let answer = h2_ask(&sender, h2_request("GET", &path, &[]), b"").await.unwrap();
            assert_eq!(answer.status, status, "{length}");
        }
    });
}

#[test]
fn what_the_parser_refuses_is_answered_in_our_form() {
    let world = world();
    let path = "/api/v1/endpoint/plain/score";
    let chunked = "transfer-encoding: chunked\r\n";
    for bad in [
        "GARBAGE\r\n\r\n".to_owned(),
        format!("GET  {path} HTTP/1.1\r\nhost: a\r\n\r\n"),
        format!("GET {path} HTTP/9.9\r\nhost: a\r\n\r\n"),
        format!("G\x01T {path} HTTP/1.1\r\nhost: a\r\n\r\n"),
        format!("GET {path} HTTP/1.1\r\nhost: a\r\nbad name: x\r\n\r\n"),
        format!("GET {path} HTTP/1.1\r\nhost: a\r\nname : x\r\n\r\n"),
        format!("GET {path} HTTP/1.1\r\nhost: a\r\nx: a\x01b\r\n\r\n"),
        format!("GET {path} HTTP/1.1\r\nhost: a\r\n folded\r\n\r\n"),
        format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: x\r\n\r\n"),
        format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n"),
        format!(
            "POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab"
        ),
        format!("POST {path} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n\r\n"),
        format!("POST {path} HTTP/1.1\r\nhost: a\r\n{chunked}content-length: 3\r\n\r\n0\r\n\r\n"),
        format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n{chunked}\r\n0\r\n\r\n"),
        format!("POST {path} HTTP/1.1\r\nhost: a\r\n{chunked}{chunked}\r\n0\r\n\r\n"),
        format!(
            "POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\na"
        ),
        format!("GET {path} HTTP/1.1\nhost: a\n\n"),
        format!("GET {path} HTTP/1.1\r\nhost: a\nx: y\r\n\r\n"),
        format!("GET {path} HTTP/1.1\r\n\r\n"),
        format!("GET {path} HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n"),
        format!("GET {path} HTTP/1.1\r\nhost: a b\r\n\r\n"),
    ] {
        let answer = ask(world.router.data, &bad);
        assert_eq!(answer.status, 400, "{bad:?}");
        let problem = answer.json();
        assert_eq!(problem["status"], 400, "{bad:?}");
        assert_eq!(answer.code(), "malformed_request", "{bad:?}");
        assert_eq!(answer.field("content-type"), Some("application/problem+json"), "{bad:?}");
        assert!(answer.field("x-request-id").is_some_and(|id| id.len() == 36), "{bad:?}");
        assert_eq!(answer.field("x-modelway-source"), Some("router"), "{bad:?}");
    }
}

#[test]
fn a_parser_refusal_after_good_answers_is_in_our_form_too() {
    let world = world();
    let mut wire = Wire::connect(world.router.data);
    let good = request("POST /api/v1/endpoint/plain/score", "", "abc");
    assert_eq!(wire.send(&good).answer().text(), "3");
    assert_eq!(wire.send(&good).answer().text(), "3");
    let answer = wire.send("NONSENSE\r\n\r\n").answer();
    assert_eq!((answer.status, answer.code().as_str()), (400, "malformed_request"));
    assert!(wire.closes_within(std::time::Duration::from_secs(5)));
}

#[test]
fn a_model_s_bytes_that_look_like_a_refusal_are_left_alone() {
    let world = world();
    let text = "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
    world.replica("plain/blue").script("parrot", move |_, _| {
        use crate::support::replica::{Step, answer};
        vec![Step::Body, Step::Send(answer("400 Bad Request", "", text))]
    });
    let mut wire = Wire::connect(world.router.data);
    for _ in 0..20 {
        let bytes = request("POST /api/v1/endpoint/plain/score", "x-script: parrot\r\n", "a");
        let answer = wire.send(bytes).answer();
        assert_eq!((answer.status, answer.text().as_str()), (400, text));
        assert_eq!(answer.field("x-modelway-source"), Some("model"));
    }
}
