//! Contract §5–§7: what a replica gets to see, and what a client gets back.

use crate::{
    support::{
        replica::{Step, answer},
        wire::{Answer, ask, h2_ask, h2_request, request, with_h2},
    },
    world::{PRIMARY, SECONDARY, World, world},
};

const SCORE: &str = "POST /api/v1/endpoint/plain/score";

fn sent(world: &World, test: &str, fields: &str) -> crate::support::replica::Seen {
    let fields = format!("x-test: {test}\r\n{fields}");
    assert_eq!(ask(world.router.data, request(SCORE, &fields, "{}")).status, 200);
    world.replica("plain/blue").only(test)
}

#[test]
fn ids_are_fresh_returned_and_the_same_on_both_sides() {
    let world = world();
    let fields = "x-test: ids\r\nx-request-id: mine\r\nx-ms-request-id: mine\r\n\
                  x-ms-client-request-id: a b/<c>_-9\r\n";
    let answer = ask(world.router.data, request(SCORE, fields, "{}"));
    let id = answer.field("x-request-id").expect("an id").to_owned();
    assert_eq!(id.len(), 36, "{id}");
    assert_eq!(answer.field("x-ms-request-id"), Some(id.as_str()));
    assert_eq!(answer.field("x-ms-client-request-id"), Some("abc_-9"));
    let seen = world.replica("plain/blue").only("ids");
    assert_eq!(seen.field("x-request-id"), Some(id.as_str()));
    assert_eq!(seen.field("x-ms-request-id"), Some(id.as_str()));
    assert_eq!(seen.field("x-ms-client-request-id"), Some("abc_-9"));
}

#[test]
fn a_long_client_request_id_is_cut_and_a_harmful_one_is_dropped() {
    let world = world();
    let back = |id: &str| {
        let fields = format!("x-ms-client-request-id: {id}\r\n");
        let answer = ask(world.router.data, request(SCORE, &fields, "{}"));
        assert_eq!(answer.status, 200);
        answer.field("x-ms-client-request-id").map(str::to_owned)
    };
    assert_eq!(back(&"x".repeat(500)), Some("x".repeat(40)));
    assert_eq!(back("<>"), None);
}

#[test]
fn a_model_cannot_forge_the_router_s_fields() {
    let world = world();
    world.replica("plain/blue").script("forger", |_, _| {
        let fields = "x-request-id: forged\r\nx-ms-request-id: forged\r\n\
                      x-ms-client-request-id: forged\r\nx-modelway-version: forged\r\n\
                      x-modelway-source: router\r\nX-Modelway-Anything: forged\r\nx-own: kept\r\n";
        vec![Step::Body, Step::Send(answer("200 OK", fields, "x"))]
    });
    let answer = ask(world.router.data, request(SCORE, "x-script: forger\r\n", "{}"));
    assert!(!answer.fields.iter().any(|(_, value)| value == "forged"), "{:?}", answer.fields);
    assert_eq!(answer.field("x-modelway-source"), Some("model"));
    assert_eq!(answer.field("x-modelway-version"), Some("blue"));
    assert_eq!(answer.field("x-request-id").map(str::len), Some(36));
    assert_eq!(answer.field("x-own"), Some("kept"));
}

#[test]
fn forwarded_fields_say_who_asked_for_what_through_whom() {
    let world = world();
    let seen = sent(
        &world,
        "forwarded",
        "x-forwarded-for: 10.0.0.1\r\nx-forwarded-proto: https\r\n\
                                          x-forwarded-host: evil\r\nvia: 1.0 fred\r\n",
    );
    assert_eq!(seen.field("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(seen.field("x-forwarded-proto"), Some("http"));
    assert_eq!(seen.field("x-forwarded-host"), Some("test"));
    assert_eq!(seen.field("host"), Some("test"));
    assert_eq!(seen.all("via").join(", "), "1.0 fred, 1.1 modelway");
}

#[test]
fn a_trace_is_continued_with_a_new_span_and_begun_where_there_is_none() {
    let world = world();
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let given = format!("traceparent: 00-{trace}-00f067aa0ba902b7-01\r\ntracestate: a=b\r\n");
    let seen = sent(&world, "trace-1", &given);
    let parent = seen.field("traceparent").expect("a trace");
    assert!(parent.starts_with(&format!("00-{trace}-")) && parent.ends_with("-01"), "{parent}");
    assert!(!parent.contains("00f067aa0ba902b7"), "{parent}");
    assert_eq!(seen.field("tracestate"), Some("a=b"));
    let seen = sent(&world, "trace-2", "traceparent: nonsense\r\ntracestate: a=b\r\n");
    assert_eq!(seen.field("traceparent").map(str::len), Some(55));
    assert_eq!(seen.field("tracestate"), None);
}

#[test]
fn fields_of_one_connection_do_not_travel_in_either_direction() {
    let world = world();
    let hop = "connection: keep-alive, x-listed, x-request-id, content-length\r\n\
               keep-alive: timeout=9\r\nproxy-connection: keep-alive\r\nx-listed: 1\r\n\
               te: trailers\r\nproxy-authorization: Basic eDp5\r\nupgrade: h2c\r\n\
               http2-settings: AAMAAABkAAQAAP__\r\n";
    let seen = sent(&world, "hop", hop);
    for name in [
        "keep-alive",
        "proxy-connection",
        "x-listed",
        "te",
        "proxy-authorization",
        "upgrade",
        "http2-settings",
        "connection",
    ] {
        assert!(seen.all(name).is_empty(), "{name}: {}", seen.head);
    }
    assert_eq!(seen.body, b"{}", "a listed Content-Length does not unframe the body");
    assert_eq!(seen.field("x-request-id").map(str::len), Some(36));

    world.replica("plain/blue").script("hop", |_, _| {
        let fields = "connection: keep-alive, x-listed\r\nkeep-alive: timeout=9\r\n\
                      x-listed: 1\r\nproxy-connection: x\r\nupgrade: h2c\r\nx-kept: 1\r\n\
                      set-cookie: a=1\r\nset-cookie: b=2\r\n";
        vec![Step::Body, Step::Send(answer("200 OK", fields, "x"))]
    });
    let check = |answer: &Answer| {
        for name in ["keep-alive", "x-listed", "proxy-connection", "upgrade", "connection"] {
            assert!(answer.all(name).is_empty(), "{name}: {:?}", answer.fields);
        }
        assert_eq!(answer.field("x-kept"), Some("1"));
        assert_eq!(answer.all("set-cookie"), ["a=1", "b=2"]);
    };
    check(&ask(world.router.data, request(SCORE, "x-script: hop\r\n", "{}")));
    with_h2(world.router.data, async |sender| {
        let request = h2_request("POST", "/api/v1/endpoint/plain/score", &[("x-script", "hop")]);
        check(&h2_ask(&sender, request, b"{}").await.expect("an answer"));
    });
}

#[test]
fn upgrade_to_h2c_is_ignored() {
    let world = world();
    let fields = "connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\n\
                  http2-settings: AAMAAABkAAQAAP__\r\n";
    let seen = sent(&world, "h2c", fields);
    assert!(seen.all("upgrade").is_empty() && seen.all("http2-settings").is_empty());
}

#[test]
fn cookies_of_http2_are_joined_and_its_authority_beats_host() {
    let world = world();
    with_h2(world.router.data, async |sender| {
        let fields = [("cookie", "a=1"), ("cookie", "b=2"), ("host", "x"), ("x-test", "crumbs")];
        let request = h2_request("POST", "/api/v1/endpoint/plain/score", &fields);
        assert_eq!(h2_ask(&sender, request, b"{}").await.expect("an answer").status, 200);
    });
    let seen = world.replica("plain/blue").only("crumbs");
    assert_eq!(seen.field("cookie"), Some("a=1; b=2"));
    assert_eq!(seen.field("host"), Some("test"));
    assert_eq!(seen.line(), "POST /score HTTP/1.1");
}

#[test]
fn credentials_stay_with_the_router_unless_the_endpoint_says_otherwise() {
    let world = world();
    for (endpoint, reaches) in [("keyed", false), ("trusted", true)] {
        let fields =
            format!("x-test: creds\r\nauthorization: Bearer {PRIMARY}\r\napi-key: {SECONDARY}\r\n");
        let line = format!("POST /api/v1/endpoint/{endpoint}/score");
        assert_eq!(ask(world.router.data, request(&line, &fields, "{}")).status, 200);
        let seen = world.replica(endpoint).only("creds");
        assert_eq!(!seen.all("authorization").is_empty(), reaches, "{endpoint}");
        assert_eq!(!seen.all("api-key").is_empty(), reaches, "{endpoint}");
    }
}

#[test]
fn the_framing_of_a_body_is_kept() {
    let world = world();
    let seen = sent(&world, "framing-1", "");
    assert_eq!(seen.field("content-length"), Some("2"));
    assert!(seen.all("transfer-encoding").is_empty());
    let chunked = format!(
        "{SCORE} HTTP/1.1\r\nhost: test\r\nx-test: framing-2\r\ntransfer-encoding: chunked\r\n\r\n\
         3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nx-trailer: 1\r\n\r\n"
    );
    assert_eq!(ask(world.router.data, chunked).text(), "5");
    let seen = world.replica("plain/blue").only("framing-2");
    assert_eq!(seen.field("transfer-encoding"), Some("chunked"));
    assert!(seen.all("content-length").is_empty());
    assert_eq!(seen.body, b"abcde");
    let empty =
        format!("{SCORE} HTTP/1.1\r\nhost: t\r\nx-test: framing-3\r\ncontent-length: 0\r\n\r\n");
    assert_eq!(ask(world.router.data, empty).text(), "0");
    assert_eq!(world.replica("plain/blue").only("framing-3").field("content-length"), Some("0"));
    let none = "GET /api/v1/endpoint/plain/x HTTP/1.1\r\nhost: t\r\nx-test: framing-4\r\n\r\n";
    assert_eq!(ask(world.router.data, none).text(), "0");
    let seen = world.replica("plain/blue").only("framing-4");
    assert!(seen.all("content-length").is_empty() && seen.all("transfer-encoding").is_empty());
}
