//! Contract §6, §7: the form of answers, credentials, profiles, sticky choice.

use std::{collections::BTreeSet, time::Duration};

use crate::{
    support::{
        replica::{Step, answer},
        wire::{Answer, Wire, ask, h2_ask, h2_request, request, with_h2},
    },
    world::{PRIMARY, SECONDARY, World, world},
};

fn keyed(world: &World, fields: &str) -> Answer {
    ask(world.router.data, request("POST /api/v1/endpoint/keyed/score", fields, "{}"))
}

#[test]
fn an_error_is_a_problem_document_with_an_error_object() {
    let world = world();
    let answer = ask(world.router.data, request("POST /api/v1/endpoint/nobody/score", "", "{}"));
    assert_eq!(answer.status, 404);
    assert_eq!(answer.field("content-type"), Some("application/problem+json"));
    assert_eq!(answer.field("x-modelway-source"), Some("router"));
    assert_eq!(answer.field("x-request-id"), answer.field("x-ms-request-id"));
    let problem = answer.json();
    assert_eq!(problem["status"], 404);
    assert_eq!(problem["title"], "Not Found");
    assert!(problem["type"].as_str().is_some_and(|t| t.starts_with("https://")));
    assert_eq!(problem["error"]["code"], "endpoint_not_found");
    assert_eq!(problem["error"]["message"], problem["detail"]);
}

#[test]
fn on_open_inference_paths_the_error_is_a_string() {
    let world = world();
    for line in [
        "POST /api/v1/endpoint/nobody/v2/models/m/infer",
        "POST /api/v1/endpoint/keyed/v2/models/m/infer",
        "POST /v2/models/m/infer",
    ] {
        let problem = ask(world.router.data, request(line, "", "{}")).json();
        assert!(problem["error"].is_string(), "{line}: {problem}");
        assert_eq!(problem["error"], problem["detail"], "{line}");
    }
}

#[test]
fn keys_are_accepted_in_either_field_and_either_of_the_two() {
    let world = world();
    for fields in [
        format!("authorization: Bearer {PRIMARY}\r\n"),
        format!("authorization: bearer {SECONDARY}\r\n"),
        format!("authorization: Bearer   {PRIMARY}\r\n"),
        format!("api-key: {PRIMARY}\r\n"),
        format!("API-Key: {SECONDARY}\r\n"),
    ] {
        assert_eq!(keyed(&world, &fields).status, 200, "{fields}");
    }
}

#[test]
fn a_missing_credential_is_challenged_and_a_wrong_one_is_told_so() {
    let world = world();
    let answer = keyed(&world, "");
    assert_eq!((answer.status, answer.code().as_str()), (401, "credential_missing"));
    assert_eq!(answer.field("www-authenticate"), Some("Bearer realm=\"modelway\""));
    for fields in [
        "authorization: Bearer wrong-secret-text\r\n",
        "authorization: Basic wrong-secret-text\r\n",
        "authorization: Bearer\r\n",
        "authorization: Bearer a wrong-secret-text\r\n",
        "api-key: wrong-secret-text\r\n",
    ] {
        let answer = keyed(&world, fields);
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (401, "credential_invalid"),
            "{fields}"
        );
        let challenge = answer.field("www-authenticate").expect("a challenge");
        assert!(challenge.starts_with("Bearer realm=\"modelway\", error=\"invalid_token\""));
        assert!(challenge.contains("error_description="), "{challenge}");
        assert!(!format!("{answer:?}{}", answer.text()).contains("wrong-secret-text"));
    }
}

#[test]
fn two_authorization_fields_are_400() {
    let world = world();
    let fields = format!("authorization: Bearer {PRIMARY}\r\nauthorization: Bearer {PRIMARY}\r\n");
    let answer = keyed(&world, &fields);
    assert_eq!((answer.status, answer.code().as_str()), (400, "malformed_request"));
}

#[test]
fn mode_none_asks_nobody_and_a_credential_does_no_harm() {
    let world = world();
    let line = "POST /api/v1/endpoint/plain/score";
    for fields in ["", "authorization: Bearer whatever\r\n", "authorization: Basic eA==\r\n"] {
        assert_eq!(ask(world.router.data, request(line, fields, "{}")).status, 200, "{fields}");
    }
}

#[test]
fn a_model_s_answer_passes_as_it_is() {
    let world = world();
    world.replica("plain/blue").script("teapot", |_, _| {
        let fields = "x-a: 1\r\nx-a: 2\r\ncontent-type: text/odd\r\nserver: model\r\n\
                      content-encoding: br\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\n";
        vec![Step::Body, Step::Send(answer("418 I'm a teapot", fields, "short and stout"))]
    });
    let line = "POST /api/v1/endpoint/plain/score";
    let answer = ask(world.router.data, request(line, "x-script: teapot\r\n", "{}"));
    assert_eq!((answer.status, answer.text().as_str()), (418, "short and stout"));
    assert_eq!(answer.all("x-a"), ["1", "2"]);
    assert_eq!(answer.field("content-type"), Some("text/odd"));
    assert_eq!(answer.field("content-encoding"), Some("br"));
    assert_eq!(answer.field("server"), Some("model"));
    assert_eq!(answer.field("date"), Some("Thu, 01 Jan 1970 00:00:00 GMT"));
    assert_eq!(answer.field("x-modelway-source"), Some("model"));
    assert_eq!(answer.field("server-timing"), None, "only where the endpoint asks for it");
}

#[test]
fn the_managed_profile_answers_as_managed_endpoints_do() {
    let world = world();
    let line = "POST /api/v1/endpoint/managed/score";
    let replica = world.replica("managed");
    for status in [400, 404, 429, 500, 503] {
        let name = format!("fails-{status}");
        replica.script(&name, move |_, _| {
            let line = format!("{status} Whatever");
            vec![Step::Body, Step::Send(answer(&line, "", "the model's own words"))]
        });
        let fields = format!("x-script: {name}\r\n");
        let answer = ask(world.router.data, request(line, &fields, "{}"));
        assert_eq!((answer.status, answer.text().as_str()), (424, "the model's own words"));
        let shown = answer.field("ms-azureml-model-error-statuscode");
        assert_eq!(shown, Some(status.to_string().as_str()));
        assert!(answer.field("ms-azureml-model-error-reason").is_some());
    }
    let answer = ask(world.router.data, request(line, "x-script: close\r\n", "{}"));
    assert_eq!(answer.status, 502, "not a model status");
    let answer = ask(world.router.data, request(line, "x-script: stuck\r\n", "{}"));
    assert_eq!((answer.status, answer.code().as_str()), (408, "request_timeout"));
    assert_eq!(answer.field("x-should-retry"), Some("false"));
    // One at work, one in the queue of one, and one too many.
    let mut wires: Vec<Wire> = (0..3).map(|_| Wire::connect(world.router.data)).collect();
    wires[0].send(request(line, "x-script: stuck\r\nx-test: managed-busy\r\n", "{}"));
    replica.await_seen("managed-busy", |_| true);
    let bytes = request(line, "", "{}");
    for wire in &mut wires[1..] {
        wire.send(&bytes);
    }
    let statuses: BTreeSet<u16> = wires[1..].iter_mut().map(|wire| wire.answer().status).collect();
    assert_eq!(statuses, BTreeSet::from([429]), "full at once, or after maxQueueWait");
}

#[test]
fn an_overload_says_so_and_when_to_come_back() {
    let world = world();
    let line = "POST /api/v1/endpoint/full/score";
    let replica = world.replica("full");
    replica.script("busy", |_, _| {
        vec![
            Step::Body,
            Step::Wait(Duration::from_millis(1500)),
            Step::Send(answer("200 OK", "", "x")),
        ]
    });
    let mut first = Wire::connect(world.router.data);
    first.send(request(line, "x-script: busy\r\nx-test: full\r\n", "{}"));
    replica.await_seen("full", |seen| seen.complete);
    let mut second = Wire::connect(world.router.data);
    let mut third = Wire::connect(world.router.data);
    second.send(request(line, "", "{}"));
    third.send(request(line, "", "{}"));
    let answers = [second.answer(), third.answer()];
    let codes: BTreeSet<String> = answers.iter().map(Answer::code).collect();
    assert_eq!(codes, BTreeSet::from(["queue_full".to_owned(), "queue_timeout".to_owned()]));
    for answer in answers {
        assert_eq!(answer.status, 503);
        let detail = answer.json()["detail"].as_str().expect("a text").to_owned();
        assert!(detail.starts_with("Too many requests for service full (overloaded)"), "{detail}");
        comes_back(&answer);
        assert_eq!(answer.field("x-modelway-version"), Some("only"));
    }
    assert_eq!(first.answer().status, 200);
}

#[test]
fn an_endpoint_without_replicas_says_so_at_once() {
    let world = world();
    let begun = std::time::Instant::now();
    let answer = ask(world.router.data, request("POST /api/v1/endpoint/empty/score", "", "{}"));
    assert_eq!((answer.status, answer.code().as_str()), (503, "no_ready_replicas"));
    assert_eq!(answer.json()["detail"], "No ready replicas for service empty");
    comes_back(&answer);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

/// Contract §6: whole seconds, at least 1, and the same in milliseconds twice.
fn comes_back(answer: &Answer) {
    let number = |name: &str| -> u64 {
        answer.field(name).and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{name}"))
    };
    assert!(number("retry-after") >= 1);
    assert!(number("retry-after-ms") >= 1);
    assert_eq!(number("retry-after-ms"), number("x-ms-retry-after-ms"));
}

#[test]
fn server_timing_is_given_where_the_endpoint_asks_for_it() {
    let world = world();
    let line = "POST /api/v1/endpoint/timed/score";
    let answer = ask(world.router.data, request(line, "x-script: slow\r\n", "{}"));
    let timing = answer.field("server-timing").expect("times");
    let dur = |name: &str| -> f64 {
        let part = timing.split(", ").find(|part| part.starts_with(name)).expect("a part");
        part.split_once("dur=").expect("a duration").1.parse().expect("a number")
    };
    assert!(dur("replica") >= 290.0 && dur("total") >= dur("replica"), "{timing}");
    assert!(dur("auth") >= 0.0 && dur("queue") >= 0.0, "{timing}");
}

#[test]
fn sticky_keys_choose_one_version_each_and_both_versions_are_chosen() {
    let world = world();
    for (endpoint, field) in [("by-header", "x-user: "), ("by-cookie", "cookie: a=b; session=")] {
        let line = format!("POST /api/v1/endpoint/{endpoint}/score");
        let version = |user: usize| {
            let fields = format!("{field}user-{user}\r\n");
            let answer = ask(world.router.data, request(&line, &fields, "{}"));
            assert_eq!(answer.status, 200, "{endpoint}: {}", answer.text());
            answer.field("x-modelway-version").expect("a version").to_owned()
        };
        let first: Vec<String> = (0..40).map(version).collect();
        let again: Vec<String> = (0..40).map(version).collect();
        assert_eq!(first, again, "{endpoint}");
        assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), 2, "{endpoint}");
    }
    // Without the key: the exact split.
    let without = |_: &u32| {
        let line = "POST /api/v1/endpoint/by-header/score";
        ask(world.router.data, request(line, "", "{}")).field("x-modelway-version") == Some("aaa")
    };
    let count = (0..100_u32).filter(without).count();
    assert!((49..=51).contains(&count), "{count} of 100 at 50 %");
}

#[test]
fn a_sticky_cookie_works_over_http2_crumbs() {
    let world = world();
    let line = "POST /api/v1/endpoint/by-cookie/score";
    let fields = "cookie: session=somebody\r\n";
    let one = ask(world.router.data, request(line, fields, "{}"));
    with_h2(world.router.data, async |sender| {
        let fields = [("cookie", "first=1"), ("cookie", "session=somebody")];
        let request = h2_request("POST", "/api/v1/endpoint/by-cookie/score", &fields);
        let two = h2_ask(&sender, request, b"{}").await.expect("an answer");
        assert_eq!(one.field("x-modelway-version"), two.field("x-modelway-version"));
    });
}

#[test]
fn refusals_are_counted_by_endpoint_and_reason() {
    let world = world();
    let count = |endpoint: &str, reason: &str| {
        world.metric("modelway_rejected_total", &[("endpoint", endpoint), ("reason", reason)])
    };
    let before = count("keyed", "credential_missing");
    let unrouted = count("", "no_route");
    for _ in 0..3 {
        keyed(&world, "");
        ask(world.router.data, request("GET /nowhere", "", ""));
    }
    world.router.eventually(Duration::from_secs(10), "three refusals", |_| {
        (count("keyed", "credential_missing") >= before + 3.0
            && count("", "no_route") >= unrouted + 3.0)
            .then_some(())
    });
}
