//! Contract §2: which address reaches what, and what reaches nobody.

use crate::{
    support::wire::{Answer, ask, request},
    world::{PRIMARY, World, world},
};

fn line_for(world: &World, test: &str, line: &str, fields: &str) -> String {
    let fields = format!("x-test: {test}\r\n{fields}");
    let answer = ask(world.router.data, request(line, &fields, ""));
    assert_eq!(answer.status, 200, "{line}: {}", answer.text());
    world.replica("plain/blue").only(test).line().to_owned()
}

#[test]
fn every_address_reaches_its_path_on_the_replica_with_the_query_kept() {
    let world = world();
    for (number, (sent, arrives)) in [
        ("POST /api/v1/service/plain/score", "POST /score"),
        ("POST /api/v1/endpoint/plain/score", "POST /score"),
        ("GET /api/v1/endpoint/plain/score", "GET /score"),
        ("DELETE /api/v1/endpoint/plain/score", "DELETE /score"),
        ("POST /api/v1/service/plain/score?a=b&c=%2F..//", "POST /score?a=b&c=%2F..//"),
        ("POST /api/v1/service/plain/score?", "POST /score?"),
        ("GET /api/v1/service/plain/swagger.json", "GET /swagger.json"),
        ("GET /api/v1/endpoint/plain/swagger.json?version=3", "GET /swagger.json?version=3"),
        ("GET /api/v1/service/plain/v2/health/ready", "GET /v2/health/ready"),
        ("POST /api/v1/endpoint/plain/v1/chat/completions", "POST /v1/chat/completions"),
        ("PUT /api/v1/endpoint/plain/a%20b/c;d=e/%C3%A9", "PUT /a%20b/c;d=e/%C3%A9"),
        ("GET /api/v1/endpoint/plain/score/", "GET /score/"),
        ("GET /api/v1/endpoint/plain", "GET /"),
        ("GET /api/v1/endpoint/plain/", "GET /"),
        ("GET /api/v1/service/plain?x=1", "GET /?x=1"),
    ]
    .into_iter()
    .enumerate()
    {
        let line = line_for(&world, &format!("address-{number}"), sent, "");
        assert_eq!(line, format!("{arrives} HTTP/1.1"), "{sent}");
    }
}

#[test]
fn a_scoring_path_takes_the_place_of_score_and_of_nothing_else() {
    let world = world();
    for (test, rest, arrives) in [
        ("scoring-1", "score", "POST /v2/models/m/infer HTTP/1.1"),
        ("scoring-2", "score?q=1", "POST /v2/models/m/infer?q=1 HTTP/1.1"),
        ("scoring-3", "other", "POST /other HTTP/1.1"),
    ] {
        let fields = format!("azureml-model-deployment: path\r\nx-test: {test}\r\n");
        let line = format!("POST /api/v1/service/plain/{rest}");
        let answer = ask(world.router.data, request(&line, &fields, "{}"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(world.replica("plain/path").only(test).line(), arrives);
    }
}

#[test]
fn a_host_of_an_endpoint_reaches_it_with_the_path_unchanged() {
    let world = world();
    for (number, host) in
        ["plain.example", "plain.example:8080", "PLAIN.Example"].into_iter().enumerate()
    {
        let test = format!("host-{number}");
        let bytes =
            format!("GET /v1/models?x=y HTTP/1.1\r\nHost: {host}\r\nx-test: {test}\r\n\r\n");
        assert_eq!(ask(world.router.data, bytes).status, 200, "{host}");
        assert_eq!(world.replica("plain/blue").only(&test).line(), "GET /v1/models?x=y HTTP/1.1");
    }
    let absolute =
        "GET http://plain.example/v1/x HTTP/1.1\r\nHost: other\r\nx-test: host-a\r\n\r\n";
    assert_eq!(ask(world.router.data, absolute).status, 200);
    let seen = world.replica("plain/blue").only("host-a");
    assert_eq!(seen.line(), "GET /v1/x HTTP/1.1", "the authority of the target beats Host");
    assert_eq!(seen.field("host"), Some("plain.example"));
}

#[test]
fn a_pin_reaches_a_version_at_zero_percent_and_an_unknown_one_is_404_with_the_names() {
    let world = world();
    let pinned = |pin: &str, test: &str| {
        let fields = format!("azureml-model-deployment: {pin}\r\nx-test: {test}\r\n");
        ask(world.router.data, request("POST /api/v1/service/plain/score", &fields, "{}"))
    };
    let answer = pinned("path", "pin-1");
    assert_eq!((answer.status, answer.field("x-modelway-version")), (200, Some("path")));
    let answer = pinned("nobody", "pin-2");
    assert_eq!((answer.status, answer.code().as_str()), (404, "version_not_found"));
    assert!(answer.text().contains("blue, path"), "{}", answer.text());
    assert_eq!(answer.field("x-modelway-version"), None, "no version was chosen");
    assert!(world.replica("plain/blue").seen("pin-2").is_empty());
}

#[test]
fn unknown_endpoints_and_other_addresses_are_404_and_reach_nobody() {
    let world = world();
    let before: Vec<usize> =
        ["plain/blue", "keyed"].map(|name| world.replica(name).seen("nobody").len()).to_vec();
    for (path, code) in [
        ("/api/v1/service/nobody/score", "endpoint_not_found"),
        ("/api/v1/endpoint/Plain/score", "endpoint_not_found"),
        ("/api/v1/endpoint/plai%6e/score", "endpoint_not_found"),
        ("/", "no_route"),
        ("/score", "no_route"),
        ("/api/v1/service/", "no_route"),
        ("/api/v1/services/plain/score", "no_route"),
        ("/API/v1/service/plain/score", "no_route"),
        ("/api/v2/service/plain/score", "no_route"),
        ("/metrics", "no_route"),
    ] {
        let line = format!("POST {path}");
        let answer = ask(world.router.data, request(&line, "x-test: nobody\r\n", "{}"));
        assert_eq!((answer.status, answer.code().as_str()), (404, code), "{path}");
        assert_eq!(answer.field("www-authenticate"), None, "{path}");
    }
    let after: Vec<usize> =
        ["plain/blue", "keyed"].map(|name| world.replica(name).seen("nobody").len()).to_vec();
    assert_eq!(before, after);
}

#[test]
fn ambiguous_paths_are_refused_and_the_rest_passes() {
    let world = world();
    let sent = |rest: &str, test: &str| -> Answer {
        let line = format!("GET /api/v1/endpoint/plain{rest}");
        ask(world.router.data, request(&line, &format!("x-test: {test}\r\n"), ""))
    };
    for rest in [
        "/..",
        "/../x",
        "/./x",
        "/.",
        "/a/../b",
        "/%2e%2e/x",
        "/.%2E/x",
        "/%2e",
        "/..;a=b/x",
        "/a%2fb",
        "/a%2Fb",
        "/a\\b",
        "/a%5cb",
        "/a%5Cb",
        "/%00",
        "//x",
        "/a//b",
        "/a//",
        "/%",
        "/%2",
        "/%zz",
    ] {
        let answer = sent(rest, "ambiguous");
        assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_path"), "{rest}");
    }
    for outside in ["/../api/v1/endpoint/plain/score", "//api/v1/endpoint/plain/score", "/x/%2f"] {
        let answer = ask(world.router.data, request(&format!("GET {outside}"), "", ""));
        assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_path"), "{outside}");
    }
    assert!(world.replica("plain/blue").seen("ambiguous").is_empty());
    for (number, rest) in
        ["/a;b", "/;", "/...", "/a..", "/.a", "/a/", "/%252f", "/a%3bb", "/?x=/../%2f"]
            .into_iter()
            .enumerate()
    {
        let test = format!("passes-{number}");
        assert_eq!(sent(rest, &test).status, 200, "{rest}");
        let line = world.replica("plain/blue").only(&test).line().to_owned();
        assert_eq!(line, format!("GET {rest} HTTP/1.1"));
    }
}

#[test]
fn trace_and_connect_are_405_and_other_methods_pass() {
    let world = world();
    for line in ["TRACE /api/v1/endpoint/plain/score", "CONNECT plain.example:80"] {
        let answer = ask(world.router.data, format!("{line} HTTP/1.1\r\nhost: test\r\n\r\n"));
        assert_eq!((answer.status, answer.code().as_str()), (405, "method_not_allowed"), "{line}");
        assert!(answer.field("allow").is_some_and(|allow| allow.contains("POST")), "RFC 9110");
    }
    let sent = line_for(&world, "method", "PROPFIND /api/v1/endpoint/plain/x", "");
    assert_eq!(sent, "PROPFIND /x HTTP/1.1");
}

#[test]
fn refusals_come_in_the_order_of_the_contract() {
    let world = world();
    let pin = "azureml-model-deployment: nobody\r\n";
    let key = format!("authorization: Bearer {PRIMARY}\r\n");
    let huge = "content-length: 104857601\r\n";
    let path = "/api/v1/endpoint/keyed";
    for (target, fields, status) in [
        ("/api/v1/endpoint/nobody/a//b".to_owned(), format!("{pin}{huge}"), 400),
        ("/api/v1/endpoint/nobody/score".to_owned(), format!("{pin}{huge}"), 404),
        (format!("{path}/score"), format!("{pin}{huge}"), 401),
        (format!("{path}/score"), format!("{key}{pin}{huge}"), 413),
        (format!("{path}/score"), format!("{key}{pin}content-length: 0\r\n"), 404),
        (format!("{path}/score"), format!("{key}content-length: 0\r\n"), 200),
    ] {
        let bytes = format!("POST {target} HTTP/1.1\r\nhost: test\r\n{fields}\r\n");
        assert_eq!(ask(world.router.data, bytes).status, status, "{target} {fields}");
    }
    let root = ask(world.router.data, request("GET /api/v1/endpoint/keyed", "", ""));
    assert_eq!(root.status, 401, "the replica's root needs the same credential");
}
